"""
Series and their files: what a cache file is called, and where the archive keeps its zip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property, lru_cache

from msgspec import Struct

from ares_notebook.errors import BadArgument
from ares_notebook.model.datasets import DATASETS, Dataset, dataset_named
from ares_notebook.model.symbols import validate_symbol
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
    """One history: a dataset of one symbol and, for k-lines, one interval."""

    dataset: Dataset
    symbol: str
    interval: str | None

    @classmethod
    def of(cls, dataset: str | Dataset, symbol: str, interval: str | None = None) -> Series:
        """Check the parts and put them together; an interval is kept only where it matters."""
        kind = dataset if isinstance(dataset, Dataset) else dataset_named(dataset)
        if not kind.has_interval:
            return cls(kind, validate_symbol(symbol), None)
        return cls(kind, validate_symbol(symbol), validate_interval(interval))

    @cached_property
    def stem(self) -> str:
        """How the names of its cache files begin."""
        parts = [self.dataset.file_prefix, self.symbol]
        return "_".join(parts + ([interval_text(self.interval)] if self.interval else []))

    @property
    def archive_cuts(self) -> tuple[Cut, ...]:
        """What the archive offers of it; candles above a day exist only by month."""
        if self.interval in ("3d", "1w", "1M"):
            return ("month",)
        return self.dataset.archive_cuts

    def archive_folder(self, cut: Cut) -> str:
        """Its folder in the archive."""
        word = "monthly" if cut == "month" else "daily"
        return self.dataset.archive_path.format(
            cut=word, symbol=self.symbol, interval=interval_text(self.interval or "")
        )

    def archive_key(self, cut: Cut, start: datetime) -> str:
        """The address of the zip that begins at *start*, relative to the archive's root."""
        word = self.dataset.archive_word or interval_text(self.interval or "")
        return f"{self.archive_folder(cut)}{self.symbol}-{word}-{_stamp(cut, start)}.zip"


class CacheFile(Struct, frozen=True, gc=False):
    """
    One file of the cache: a series and the calendar period it holds.

    The period is whole, whatever part of it is wanted or there.
    """

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
        """What it holds."""
        return self.series.dataset

    @property
    def stamp(self) -> str:
        """Its period, as its name carries it."""
        return _stamp(self.dataset.cut, self.period.start)

    def opens(self, until_ms: int) -> Sequence[int]:
        """Open times of the candles it must hold by *until_ms*: closed, and opened in its period."""
        if self.series.interval is None:
            msg = f"{self.name} has no grid"
            raise TypeError(msg)
        end_ms = min(until_ms, self.grid_end_ms)
        return opens_between(self.series.interval, self.start_ms, end_ms)

    @property
    def grid_end_ms(self) -> int:
        """The moment at which the last row that belongs into the file is closed."""
        interval, end_ms = self.series.interval, self.end_ms
        if interval not in ("3d", "1w"):
            return end_ms
        step = INTERVALS[interval]
        opens = opens_between(interval, self.start_ms, end_ms + step)
        return max((at + step for at in opens if at < end_ms), default=end_ms)


def _stamp(cut: Cut, start: datetime) -> str:
    # Twice as fast as by a format, and asked for each of thousands of files.
    day = start.date().isoformat()
    return day[:7] if cut == "month" else day


# A cache has thousands of files, of few series and of the same periods.
@lru_cache(maxsize=8192)
def _period_at(cut: Cut, moment: datetime) -> tuple[Period, str, int, int]:
    """The period that holds *moment*, how names carry it, and its bounds in milliseconds."""
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


def parse_file_name(name: str) -> CacheFile | None:
    """
    The cache file that is called *name*, or None if none is called so.

    Only the one spelling that we write: a copy by hand is not taken for ours.
    """
    plain = name.removesuffix(".zst")
    stem, _, stamp = plain.removesuffix(".csv").rpartition("_")
    series = _series_called(stem) if plain.endswith(".csv") else None
    start = _start_called(series.dataset.cut, stamp) if series else None
    return CacheFile.of(series, start) if series and start else None


_STEM = re.compile(
    r"(?P<prefix>klines|aggtrades|futures)_(?P<symbol>.+?)(?:_(?P<interval>\d{1,2}(?:s|m|h|d|w|mo)))?"
)


@lru_cache(maxsize=1024)
def _series_called(stem: str) -> Series | None:
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
def _start_called(cut: Cut, stamp: str) -> datetime | None:
    try:
        start = as_utc(stamp if cut == "day" else f"{stamp}-01")
    except BadArgument:
        return None
    return start if _stamp(cut, start) == stamp else None
