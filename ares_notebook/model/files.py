"""Series and their files: the names of cache files, and the keys of zips in the archive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property, lru_cache

from msgspec import Struct

from ares_notebook.errors import BadArgument
from ares_notebook.model.datasets import DATASETS, Dataset, dataset_named
from ares_notebook.model.markets import Market
from ares_notebook.model.symbols import contract_hint, pair_of, validate_symbol
from ares_notebook.model.time import (
    INTERVALS,
    Cut,
    Period,
    as_utc,
    interval_text,
    opens_between,
    period_of,
    validate_interval,
)


class Series(Struct, frozen=True, dict=True):
    """One history: a dataset of one symbol and, where its rows are on a grid, one interval."""

    dataset: Dataset
    symbol: str
    interval: str | None

    @classmethod
    def of(cls, dataset: str | Dataset, symbol: str, interval: str | None = None) -> Series:
        """A series of checked parts; *interval* says nothing where the dataset has none to choose."""
        kind = dataset if isinstance(dataset, Dataset) else dataset_named(dataset)
        checked = validate_symbol(symbol)
        market = next((each for each in kind.markets if each.has(checked)), None)
        if market is None:
            of = " or ".join(market.label for market in kind.markets)
            msg = (
                f"symbol={symbol!r} is not written as symbols of {of} are, such as "
                f"{kind.markets[0].example!r}, which have {kind.label}"
            )
            raise BadArgument("; ".join(filter(None, (msg, contract_hint(checked, [kind])))))
        pair = pair_of(checked)
        if kind.rest_symbol_parameter == "pair" and pair != checked:
            msg = (
                f"symbol={symbol!r} is a contract, and {kind.label} are those of a pair; write "
                f"{pair!r}, in a call of its own beside those of contracts"
            )
            raise BadArgument(msg)
        if kind.rest_symbol_parameter == "symbol" and pair == checked and market.names_contracts:
            msg = (
                f"symbol={symbol!r} is a pair, and {kind.label} are those of a contract, such as "
                f"{market.example!r}"
            )
            raise BadArgument(msg)
        own = validate_interval(interval) if kind.has_interval else kind.fixed_interval
        return cls(kind, checked, own)

    @cached_property
    def market(self) -> Market:
        """The market of its symbol."""
        return next(market for market in self.dataset.markets if market.has(self.symbol))

    @cached_property
    def stem(self) -> str:
        """The beginning of the names of its cache files."""
        parts = (self.dataset.file_prefix, self.symbol, self.interval_word)
        return "_".join(filter(None, parts))

    @property
    def interval_word(self) -> str:
        """Its interval in names of files and folders; empty where the dataset has none to choose."""
        if self.interval is None or not self.dataset.has_interval:
            return ""
        return interval_text(self.interval)

    @property
    def rest_path(self) -> str:
        """The path of its endpoint in the API."""
        return self.market.api + self.dataset.path_name

    @property
    def archive_cuts(self) -> tuple[Cut, ...]:
        """The periods of its files in the archive; candles above a day exist only by month."""
        if self.interval in ("3d", "1w", "1M"):
            return ("month",)
        return self.dataset.archive_cuts

    @property
    def candles(self) -> Series:
        """The daily candles of its symbol, which whatever is traded has; of a pair, those of its index."""
        own = self.dataset.rest_symbol_parameter if self.market.names_contracts else "symbol"
        kinds = (each for each in DATASETS if each.has_interval and self.market in each.markets)
        kind = next(each for each in kinds if each.rest_symbol_parameter == own)
        return Series.of(kind, self.symbol, "1d")

    def symbol_folder(self, cut: Cut) -> str:
        """The folder of its dataset and symbol in the archive, which holds all intervals."""
        period = "monthly" if cut == "month" else "daily"
        return f"{self.market.archive}{period}/{self.dataset.path_name}/{self.symbol}/"

    def archive_folder(self, cut: Cut) -> str:
        """Its folder in the archive."""
        return self.symbol_folder(cut) + (f"{self.interval_word}/" if self.interval_word else "")

    def archive_key(self, cut: Cut, start: datetime) -> str:
        """The key of the zip that begins at *start*."""
        word = self.interval_word or self.dataset.path_name
        return f"{self.archive_folder(cut)}{self.symbol}-{word}-{_stamp(cut, start)}.zip"

    def label_shift_ms(self, start_ms: int) -> int:
        """From the label of a row to its start, in the zip of the day that begins at *start_ms*."""
        if self.dataset.end_labels is None or self.interval is None:
            return 0
        market, until_ms = self.dataset.end_labels
        is_end = self.market is market and start_ms < until_ms
        return -INTERVALS[self.interval] if is_end else 0


class CacheFile(Struct, frozen=True, gc=False):
    """One file of the cache: a series and the whole calendar period that the file may hold."""

    series: Series
    period: Period
    # Its file name, without compression.
    name: str
    # Its period, in milliseconds since the epoch.
    start_ms: int
    end_ms: int

    @classmethod
    def of(cls, series: Series, moment: datetime) -> CacheFile:
        """The file of *series* that holds *moment*."""
        period, stamp, start_ms, end_ms = _period_at(series.dataset.cut, moment)
        return cls(series, period, f"{series.stem}_{stamp}.csv", start_ms, end_ms)

    @property
    def dataset(self) -> Dataset:
        """The dataset of its series."""
        return self.series.dataset

    @property
    def stamp(self) -> str:
        """Its period, as its name shows it."""
        return _stamp(self.dataset.cut, self.period.start)

    def opens(self, until_ms: int) -> Sequence[int]:
        """Open times of the candles in its period that are closed by *until_ms*."""
        if self.series.interval is None:
            msg = f"{self.name} has no grid"
            raise TypeError(msg)
        end_ms = min(until_ms, self.grid_end_ms)
        return opens_between(self.series.interval, self.start_ms, end_ms)

    @property
    def grid_end_ms(self) -> int:
        """When the last candle of the file is closed; for other datasets the end of its period."""
        interval, end_ms = self.series.interval, self.end_ms
        if interval not in ("3d", "1w"):
            return end_ms
        step = INTERVALS[interval]
        opens = opens_between(interval, self.start_ms, end_ms + step)
        return max((at + step for at in opens if at < end_ms), default=end_ms)


def _stamp(cut: Cut, start: datetime) -> str:
    # Twice as fast as strftime, and called for thousands of files.
    day = start.date().isoformat()
    return day[:7] if cut == "month" else day


# A cache has thousands of files, of few series and of the same periods.
@lru_cache(maxsize=8192)
def _period_at(cut: Cut, moment: datetime) -> tuple[Period, str, int, int]:
    """The period that holds *moment*, its stamp in file names, and its bounds in milliseconds."""
    period = period_of(cut, moment)
    return period, _stamp(cut, period.start), period.start_ms, period.end_ms


def files_between(series: Series, start: datetime, end: datetime) -> list[CacheFile]:
    """The cache files that hold ``[start, end)`` of *series*, oldest first."""
    files: list[CacheFile] = []
    file = CacheFile.of(series, start)
    while file.period.start < end and start < end:
        files.append(file)
        file = CacheFile.of(series, file.period.end)
    return files


EXCHANGE_MARK = "_BINANCE_"
"""In names of some versions of the original downloader, between the kind of data and the symbol."""


def with_exchange(name: str) -> str:
    """The name of a cache file as those versions wrote it."""
    return name.replace("_", EXCHANGE_MARK, 1)


def without_exchange(name: str) -> str:
    """The name of a cache file as we write it, whoever has written it."""
    return name.replace(EXCHANGE_MARK, "_", 1)


def forms_of(name: str) -> tuple[str, ...]:
    """The names that a cache file may have on disk; the first one that is there counts."""
    old = with_exchange(name)
    return name, f"{name}.zst", old, f"{old}.zst"


def parse_file_name(name: str) -> CacheFile | None:
    """
    The cache file of this name, which may have the exchange in it.

    None unless it is spelt exactly as `CacheFile.of` does otherwise.
    """
    plain = without_exchange(name.removesuffix(".zst"))
    stem, _, stamp = plain.removesuffix(".csv").rpartition("_")
    series = _series_named(stem) if plain.endswith(".csv") else None
    start = _start_of(series.dataset.cut, stamp) if series else None
    return CacheFile.of(series, start) if series and start else None


_PREFIXES = "|".join(dataset.file_prefix for dataset in DATASETS)
_STEM = re.compile(
    rf"(?P<prefix>{_PREFIXES})_(?P<symbol>.+?)(?:_(?P<interval>\d{{1,2}}(?:s|m|h|d|w|mo)))?"
)


@lru_cache(maxsize=1024)
def _series_named(stem: str) -> Series | None:
    match = _STEM.fullmatch(stem)
    if match is None:
        return None
    dataset = next(each for each in DATASETS if each.file_prefix == match["prefix"])
    interval = {"1mo": "1M"}.get(match["interval"] or "", match["interval"])
    try:
        series = Series.of(dataset, match["symbol"], interval)
    except BadArgument:
        return None
    return series if series.stem == stem else None


@lru_cache(maxsize=8192)
def _start_of(cut: Cut, stamp: str) -> datetime | None:
    try:
        start = as_utc(stamp if cut == "day" else f"{stamp}-01")
    except BadArgument:
        return None
    return start if _stamp(cut, start) == stamp else None
