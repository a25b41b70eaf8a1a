"""
What a k-line, a trade and a funding file *are*: columns, key, cut, name, address.

What differs between the three is written here as data; every other module treats
them alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ares_notebook.errors import BadArgument
from ares_notebook.model.time import Cut, to_ms

Kind = Literal["time", "number", "integer", "flag", "close", "hours", "ignored"]


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column: its name in the cache, and what its text means.

    ``time`` is a stamp, ``number`` a decimal kept as the exchange's text, ``integer`` a count or an
    id, ``flag`` True or False. ``close`` is when a candle closes and ``hours`` the time between two
    events: both are looked at and not kept.
    """

    name: str
    kind: Kind
    # Whether a number may be below zero. An integer that is signed may be -1: the id of a trade
    # that there is none of.
    signed: bool = False


# There are three, and each is only itself: to compare and hash 20 fields would be slow.
@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """All that sets one kind of market history apart from the others."""

    # As users write it in ``datasets=``.
    name: str
    # What people call its rows, in a sentence and on a button.
    label: str
    title: str
    # How cache file names begin.
    file_prefix: str
    # What one cache file holds.
    cut: Cut
    # Of a cache file, in order.
    columns: tuple[Column, ...]
    # How many of `columns`, from the first on, the original downloader wrote.
    original_columns: int
    # Of the exchange's rows, in order; the same on both roads. Names are those of `columns`; what
    # has another name is not kept.
    published: tuple[Column, ...]
    # Digits after the second in the stamp: 0, 3 or 6.
    stamp_digits: Literal[0, 3, 6]
    # By what a row is known, and so how completeness is proven: a grid of open times, ids without a
    # gap, events at the pace that the exchange shows.
    key: Literal["open_time", "id", "event_time"]
    market: Literal["spot", "futures"]
    # The REST endpoint.
    rest_path: str
    # Keys of a REST row that is an object, in the order of `published`; empty where a REST row is
    # an array. A missing name fills no column.
    rest_fields: tuple[str, ...]
    # Key of a REST row that says whose it is; empty where none does.
    rest_symbol: str
    # The most rows of a page.
    rest_rows: int
    # What a page costs of its budget: request weight, for funding one request.
    rest_weight: int
    # Folder in the archive, with fields ``cut``, ``symbol`` and ``interval``.
    archive_path: str
    # The word in an archive name; empty where that is the interval.
    archive_word: str
    # What the archive offers as one file.
    archive_cuts: tuple[Cut, ...]
    # From when on the silence of the archive says anything: that of spot is as old as the exchange,
    # that of funding begins with 2020 for contracts that are older.
    archive_since_ms: int
    # Size of a row in an archive, in a cache file, and in memory while frames are put together; for
    # estimates (measured on BTCUSDT).
    zipped_row_bytes: float
    stored_row_bytes: float
    loaded_row_bytes: float
    # For estimates, where no grid tells (BTCUSDT: a million trades a day).
    rows_per_day: float

    def __reduce__(self) -> tuple[Callable[[str], Dataset], tuple[str]]:
        # In another process too it is itself, and no copy.
        return dataset_named, (self.name,)

    @property
    def has_interval(self) -> bool:
        """Whether its files are told apart by a k-line interval."""
        return self.key == "open_time"

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the cache columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def original_names(self) -> tuple[str, ...]:
        """The columns that the original downloader always wrote; a file that lacks one is not its work."""
        return self.column_names[: self.original_columns]


def _columns(*pairs: tuple[str, Kind]) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name, kind in pairs)


_TIMESTAMP = Column("timestamp", "time")
_FIRST_ID = Column("first_trade_id", "integer", signed=True)
_LAST_ID = Column("last_trade_id", "integer", signed=True)
_RATE = Column("fundingRate", "number", signed=True)

KLINES = Dataset(
    name="klines",
    label="k-lines",
    title="K-lines",
    file_prefix="klines",
    cut="month",
    columns=(
        _TIMESTAMP,
        *_columns(
            ("open", "number"),
            ("high", "number"),
            ("low", "number"),
            ("close", "number"),
            ("volume", "number"),
            ("quote_asset_volume", "number"),
            ("number_of_trades", "integer"),
            ("taker_buy_base_asset_volume", "number"),
            ("taker_buy_quote_asset_volume", "number"),
        ),
    ),
    original_columns=6,
    published=(
        _TIMESTAMP,
        *_columns(
            ("open", "number"),
            ("high", "number"),
            ("low", "number"),
            ("close", "number"),
            ("volume", "number"),
            # A candle cut by a halt has a close time that cannot be trusted
            # (in old files even before its open time), so it is not kept; that
            # of most tells of the interval.
            ("close_time", "close"),
            ("quote_asset_volume", "number"),
            ("number_of_trades", "integer"),
            ("taker_buy_base_asset_volume", "number"),
            ("taker_buy_quote_asset_volume", "number"),
            ("ignore", "ignored"),
        ),
    ),
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
"""Spot candles; a month of one interval a file."""

AGG_TRADES = Dataset(
    name="agg_trades",
    label="aggregated trades",
    title="Trades",
    file_prefix="aggtrades",
    cut="day",
    columns=(
        _TIMESTAMP,
        *_columns(
            ("price", "number"),
            ("quantity", "number"),
            ("is_buyer_maker", "flag"),
            ("agg_trade_id", "integer"),
        ),
        _FIRST_ID,
        _LAST_ID,
    ),
    original_columns=5,
    published=(
        *_columns(
            ("agg_trade_id", "integer"),
            ("price", "number"),
            ("quantity", "number"),
        ),
        _FIRST_ID,
        _LAST_ID,
        _TIMESTAMP,
        Column("is_buyer_maker", "flag"),
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
    # A month of BTCUSDT trades is one zip of 450 MB; days can be had one by one.
    archive_cuts=("day",),
    archive_since_ms=0,
    zipped_row_bytes=17,
    stored_row_bytes=96,
    loaded_row_bytes=200,
    rows_per_day=1_000_000,
)
"""Spot trades, aggregated by the exchange; a day a file."""

FUTURES = Dataset(
    name="futures",
    label="funding rates",
    title="Funding",
    file_prefix="futures",
    cut="month",
    columns=(_TIMESTAMP, _RATE),
    original_columns=2,
    published=(
        _TIMESTAMP,
        Column("funding_interval_hours", "hours"),
        _RATE,
    ),
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
"""Funding rates of the USD-M perpetual of the same name; a month a file."""

DATASETS: tuple[Dataset, ...] = (KLINES, AGG_TRADES, FUTURES)
"""All of them, in the order in which users name them."""

MICROSECONDS_SINCE_MS = to_ms(datetime(2025, 1, 1, tzinfo=UTC))
"""From 2025-01-01 on Binance's spot archive writes microseconds."""


def dataset_named(name: str) -> Dataset:
    """The dataset that users call *name*."""
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    known = ", ".join(repr(dataset.name) for dataset in DATASETS)
    msg = f"datasets: {name!r} is none of {known}"
    raise BadArgument(msg)
