"""The datasets as data: columns, key, period, names and addresses of k-lines, trades and funding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Literal

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import did_you_mean
from ares_notebook.model.time import Cut, to_ms

Kind = Literal["time", "number", "integer", "flag", "close", "hours", "ignored"]


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column: its name in the cache, and the kind of its text.

    ``time`` is a timestamp, ``number`` a decimal kept as the exchange's text, ``integer`` a count or
    an id, ``flag`` True or False. ``close`` (a candle's close time) and ``hours`` (between two
    events) are checked but not kept.
    """

    name: str
    kind: Kind
    # Whether a number may be negative; an integer may then be -1, the id of no trade.
    signed: bool = False


# Compared by identity: to compare and hash 20 fields would be slow.
@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """One kind of market history; every other module treats all of them alike."""

    # As users write it in ``datasets=``.
    name: str
    # A name of its rows in a sentence, and one on a button.
    label: str
    title: str
    # How cache file names begin.
    file_prefix: str
    # The period of one cache file.
    cut: Cut
    # Columns of a cache file, in order.
    columns: tuple[Column, ...]
    # How many of `columns`, from the first on, the original downloader wrote.
    original_columns: int
    # Columns of the exchange's rows, in order, alike in all sources; names are those of `columns`,
    # any other column is not kept.
    published: tuple[Column, ...]
    # Digits after the second in the stamp: 0, 3 or 6.
    stamp_digits: Literal[0, 3, 6]
    # What identifies a row, and so how completeness is proven: by a grid of open times, by ids
    # without a gap, by the interval between events.
    key: Literal["open_time", "id", "event_time"]
    market: Literal["spot", "futures"]
    # The REST endpoint.
    rest_path: str
    # Keys of a REST row that is an object, in the order of `published`; empty where a REST row is
    # an array. A missing name fills no column.
    rest_fields: tuple[str, ...]
    # Key of a REST row that holds its symbol; empty without one.
    rest_symbol: str
    # The most rows on a page.
    rest_rows: int
    # Cost of a page: request weight, for funding one request.
    rest_weight: int
    # Folder in the archive, with fields ``cut``, ``symbol`` and ``interval``.
    archive_path: str
    # The word in an archive name; empty where that is the interval.
    archive_word: str
    # The periods of the files in the archive.
    archive_cuts: tuple[Cut, ...]
    # From when on a missing file of the archive proves anything: that of spot is as old as the
    # exchange, that of funding begins with 2020, after some contracts.
    archive_since_ms: int
    # Size of a row in an archive, in a cache file, and in memory while frames are put together; for
    # estimates (measured on BTCUSDT).
    zipped_row_bytes: float
    stored_row_bytes: float
    loaded_row_bytes: float
    # For estimates, where there is no grid (BTCUSDT: a million trades a day).
    rows_per_day: float
    # The period of zips from which a file is cut where those of `archive_cuts` are not published.
    archive_spare_cut: Cut | None = None

    def __reduce__(self) -> tuple[Callable[[str], Dataset], tuple[str]]:
        # Unpickled in another process it must be the same object, since it is compared by identity.
        return dataset_named, (self.name,)

    @property
    def has_interval(self) -> bool:
        """Whether its files differ by a k-line interval."""
        return self.key == "open_time"

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the cache columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def original_names(self) -> tuple[str, ...]:
        """The columns of every file that the original downloader wrote."""
        return self.column_names[: self.original_columns]


def _decimals(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "number") for name in names)


def _kept(published: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(each for each in published if each.kind not in ("close", "hours", "ignored"))


_TIMESTAMP = Column("timestamp", "time")
_CANDLE = (
    _TIMESTAMP,
    *_decimals("open", "high", "low", "close", "volume"),
    # A candle cut by a halt has a wrong close time (in old files even before its open time), so it
    # is not kept; those of most candles show the interval.
    Column("close_time", "close"),
    *_decimals("quote_asset_volume"),
    Column("number_of_trades", "integer"),
    *_decimals("taker_buy_base_asset_volume", "taker_buy_quote_asset_volume"),
    Column("ignore", "ignored"),
)
_ID = Column("agg_trade_id", "integer")
_ID_RANGE = (
    Column("first_trade_id", "integer", signed=True),
    Column("last_trade_id", "integer", signed=True),
)
_PRICE_AND_QUANTITY = _decimals("price", "quantity")
_IS_BUYER_MAKER = Column("is_buyer_maker", "flag")
_FUNDING = (
    _TIMESTAMP,
    Column("funding_interval_hours", "hours"),
    Column("fundingRate", "number", signed=True),
)

KLINES = Dataset(
    name="klines",
    label="k-lines",
    title="K-lines",
    file_prefix="klines",
    cut="month",
    columns=_kept(_CANDLE),
    original_columns=6,
    published=_CANDLE,
    stamp_digits=0,
    key="open_time",
    market="spot",
    rest_path="/api/v3/klines",
    rest_fields=(),
    rest_symbol="",
    rest_rows=1000,
    rest_weight=2,
    archive_path="data/spot/{cut}/klines/{symbol}/{interval}/",
    archive_word="",
    archive_cuts=("month", "day"),
    archive_since_ms=0,
    zipped_row_bytes=48,
    stored_row_bytes=125,
    loaded_row_bytes=250,
    rows_per_day=24,
)
"""Spot candles; a file holds a month of one interval."""

AGG_TRADES = Dataset(
    name="agg_trades",
    label="aggregated trades",
    title="Trades",
    file_prefix="aggtrades",
    cut="day",
    columns=(_TIMESTAMP, *_PRICE_AND_QUANTITY, _IS_BUYER_MAKER, _ID, *_ID_RANGE),
    original_columns=5,
    published=(
        _ID,
        *_PRICE_AND_QUANTITY,
        *_ID_RANGE,
        _TIMESTAMP,
        _IS_BUYER_MAKER,
        Column("is_best_match", "ignored"),
    ),
    stamp_digits=6,
    key="id",
    market="spot",
    rest_path="/api/v3/aggTrades",
    rest_fields=("a", "p", "q", "f", "l", "T", "m"),
    rest_symbol="",
    rest_rows=1000,
    rest_weight=4,
    archive_path="data/spot/{cut}/aggTrades/{symbol}/",
    archive_word="aggTrades",
    archive_cuts=("day",),
    archive_since_ms=0,
    zipped_row_bytes=17,
    stored_row_bytes=96,
    loaded_row_bytes=200,
    rows_per_day=1_000_000,
    # A month of BTCUSDT trades is one zip of 450 MB.
    archive_spare_cut="month",
)
"""Spot trades, aggregated by the exchange; a file holds a day."""

FUTURES = Dataset(
    name="futures",
    label="funding rates",
    title="Funding",
    file_prefix="futures",
    cut="month",
    columns=_kept(_FUNDING),
    original_columns=2,
    published=_FUNDING,
    stamp_digits=3,
    key="event_time",
    market="futures",
    rest_path="/fapi/v1/fundingRate",
    rest_fields=("fundingTime", "", "fundingRate"),
    rest_symbol="symbol",
    rest_rows=1000,
    rest_weight=1,
    archive_path="data/futures/um/{cut}/fundingRate/{symbol}/",
    archive_word="fundingRate",
    archive_cuts=("month",),
    archive_since_ms=to_ms(datetime(2020, 1, 1, tzinfo=UTC)),
    zipped_row_bytes=16,
    stored_row_bytes=36,
    loaded_row_bytes=60,
    rows_per_day=3,
)
"""Funding rates of the USD-M perpetual of the same name; a file holds a month."""

DATASETS: tuple[Dataset, ...] = (KLINES, AGG_TRADES, FUTURES)
"""All datasets, in the order in which users name them."""

DEFAULT_DATASETS: tuple[str, ...] = (KLINES.name, FUTURES.name)
"""What is meant where no dataset is named: trades are large, and come only where they are named."""

MICROSECONDS_SINCE_MS = to_ms(datetime(2025, 1, 1, tzinfo=UTC))
"""From 2025-01-01 on Binance's spot archive writes microseconds."""


# The field's words for two of them.
_ALIASES = {"trades": AGG_TRADES, "funding": FUTURES}


def datasets_named(names: Sequence[str]) -> tuple[Dataset, ...]:
    """The datasets of these names, each once, in the order of `DATASETS`; one name is enough."""
    wanted = {dataset_named(name) for name in ([names] if isinstance(names, str) else names)}
    if not wanted:
        known = ", ".join(repr(dataset.name) for dataset in DATASETS)
        msg = f"datasets is empty; name at least one of {known}"
        raise BadArgument(msg)
    return tuple(dataset for dataset in DATASETS if dataset in wanted)


def dataset_named(name: str) -> Dataset:
    """The dataset that users call *name*, which may be one of its aliases."""
    named = {dataset.name: dataset for dataset in DATASETS} | _ALIASES
    if isinstance(name, str) and name in named:
        return named[name]
    msg = f"datasets: {name!r} is none of {', '.join(repr(each.name) for each in DATASETS)}"
    if meant := _meant(name, named):
        msg += f"; {did_you_mean(meant)}"
    raise BadArgument(msg)


def _meant(name: object, named: Mapping[str, Dataset]) -> list[str]:
    """The name of the dataset that a slip, or a word of the exchange, may stand for."""
    words = {_plain(each): dataset.name for each, dataset in named.items()}
    for dataset in DATASETS:
        words |= dict.fromkeys(map(_plain, (dataset.label, dataset.title)), dataset.name)
        words[_plain(dataset.rest_path.rpartition("/")[2])] = dataset.name
    words |= dict.fromkeys(("candles", "candlesticks", "ohlcv"), KLINES.name)
    close = get_close_matches(_plain(name), words, n=1, cutoff=_CLOSE)
    return [words[each] for each in close]


# So much of two words is alike, where one may be a slip for the other.
_CLOSE = 0.75


def _plain(name: object) -> str:
    return "".join(filter(str.isalnum, str(name).lower()))
