"""The datasets as data: columns, key, period, names and addresses of k-lines, trades and funding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Literal

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import did_you_mean
from ares_notebook.model.markets import CM, SPOT, UM, Market
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
    # Whether zeros at the end of a number are dropped: those of futures are padded in one source and
    # not in another, and in files of one year and not of another.
    trimmed: bool = False


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
    # The markets that have it; a symbol's form shows of which it is.
    markets: tuple[Market, ...]
    # Its name in paths of the archive and of the API.
    path_name: str
    # The parameter of the API that names the symbol.
    rest_symbol_parameter: Literal["symbol", "pair"]
    # Keys of a REST row that is an object, in the order of `published`; empty where a REST row is
    # an array. A missing name fills no column.
    rest_fields: tuple[str, ...]
    # Key of a REST row that holds its symbol; empty without one.
    rest_symbol: str
    # The most rows on a page.
    rest_rows: int
    # The cost of a page by its most rows, ascending: request weight, or requests of a pool of its own.
    rest_weights: tuple[tuple[int, int], ...]
    # The pool of requests that its pages draw on; empty for the weight of its market.
    rest_pool: str
    # Whether the exchange writes a row for each interval, also for one without a trade; then a missing
    # one is a fault, which no empty answer explains.
    writes_each_row: bool
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
    def price_names(self) -> tuple[str, str] | None:
        """The columns of a row's first and last price; None without one, or where it may be negative."""
        first = next((each for each in self.columns if each.name in ("open", "price")), None)
        if first is None or first.signed:
            return None
        return first.name, "close" if first.name == "open" else first.name

    def rest_weight(self, rows: int) -> int:
        """The cost of a page of at most so many *rows*."""
        return next(weight for most, weight in self.rest_weights if rows <= most)

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
    markets=(SPOT,),
    path_name="klines",
    rest_symbol_parameter="symbol",
    rest_fields=(),
    rest_symbol="",
    rest_rows=1000,
    rest_weights=((1000, 2),),
    rest_pool="",
    writes_each_row=False,
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
    markets=(SPOT,),
    path_name="aggTrades",
    rest_symbol_parameter="symbol",
    rest_fields=("a", "p", "q", "f", "l", "T", "m"),
    rest_symbol="",
    rest_rows=1000,
    rest_weights=((1000, 4),),
    rest_pool="",
    writes_each_row=False,
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
    markets=(UM,),
    path_name="fundingRate",
    rest_symbol_parameter="symbol",
    rest_fields=("fundingTime", "", "fundingRate"),
    rest_symbol="symbol",
    rest_rows=1000,
    rest_weights=((1000, 1),),
    rest_pool="funding",
    writes_each_row=False,
    archive_cuts=("month",),
    archive_since_ms=to_ms(datetime(2020, 1, 1, tzinfo=UTC)),
    zipped_row_bytes=16,
    stored_row_bytes=36,
    loaded_row_bytes=60,
    rows_per_day=3,
)
"""Funding rates of the USD-M perpetual of the same name; a file holds a month."""

# Those of candles by the limit of a page [USD-M docs, Kline/Candlestick Data]; a page of 1,000 has the
# most rows for its weight of those that are worth a request.
_CANDLE_WEIGHTS = ((99, 1), (499, 2), (1000, 5), (1500, 10))
_FUTURES_SINCE_MS = to_ms(datetime(2020, 1, 1, tzinfo=UTC))
_COIN_SINCE_MS = to_ms(datetime(2020, 9, 1, tzinfo=UTC))


def _trimmed(published: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(replace(each, trimmed=each.kind == "number") for each in published)


def _futures_candles(
    name: str, label: str, title: str, published: tuple[Column, ...], market: Market
) -> Dataset:
    """Candles of trades on a market of futures."""
    return replace(
        KLINES,
        name=name,
        label=label,
        title=title,
        file_prefix=name.replace("_", ""),
        columns=_kept(published),
        original_columns=len(_kept(published)),
        published=published,
        markets=(market,),
        rest_weights=_CANDLE_WEIGHTS,
        writes_each_row=True,
        archive_since_ms=_FUTURES_SINCE_MS if market is UM else _COIN_SINCE_MS,
        zipped_row_bytes=52,
        stored_row_bytes=110,
    )


UM_KLINES = _futures_candles("um_klines", "USD-M k-lines", "USD-M k-lines", _trimmed(_CANDLE), UM)
"""Candles of USD-M perpetuals and delivery contracts; a file holds a month of one interval."""

# The volume of COIN-M counts contracts, and what the archive's header calls quote volume is in the
# coin [recorded REST answers; binance-public-data#267].
_COIN_NAMES = {
    "quote_asset_volume": "base_asset_volume",
    "taker_buy_base_asset_volume": "taker_buy_volume",
    "taker_buy_quote_asset_volume": "taker_buy_base_asset_volume",
}
CM_KLINES = _futures_candles(
    "cm_klines",
    "COIN-M k-lines",
    "COIN-M k-lines",
    tuple(replace(each, name=_COIN_NAMES.get(each.name, each.name)) for each in _trimmed(_CANDLE)),
    CM,
)
"""Candles of COIN-M perpetuals and delivery contracts; ``volume`` counts contracts."""

_FUTURES_TRADE = _trimmed((_ID, *_PRICE_AND_QUANTITY, *_ID_RANGE, _TIMESTAMP, _IS_BUYER_MAKER))


def _futures_trades(name: str, label: str, title: str, market: Market, zipped: float) -> Dataset:
    """Trades on a market of futures, aggregated by the exchange."""
    number = _trimmed(_PRICE_AND_QUANTITY)
    columns = (_TIMESTAMP, *number, _IS_BUYER_MAKER, _ID, *_ID_RANGE)
    return replace(
        AGG_TRADES,
        name=name,
        label=label,
        title=title,
        file_prefix=name.replace("_", ""),
        columns=columns,
        original_columns=len(columns),
        published=_FUTURES_TRADE,
        stamp_digits=3,
        markets=(market,),
        rest_weights=((1000, 20),),
        archive_since_ms=_FUTURES_SINCE_MS if market is UM else _COIN_SINCE_MS,
        zipped_row_bytes=zipped,
        stored_row_bytes=80,
    )


UM_AGG_TRADES = _futures_trades("um_agg_trades", "USD-M aggregated trades", "USD-M trades", UM, 12)
"""Trades of USD-M futures, aggregated by the exchange; a file holds a day."""

CM_AGG_TRADES = _futures_trades(
    "cm_agg_trades", "COIN-M aggregated trades", "COIN-M trades", CM, 14
)
"""Trades of COIN-M futures, aggregated by the exchange; a file holds a day."""

CM_FUNDING = replace(
    FUTURES,
    name="cm_funding",
    label="COIN-M funding rates",
    title="COIN-M funding",
    file_prefix="cmfunding",
    markets=(CM,),
    rest_pool="",
    archive_since_ms=to_ms(datetime(2022, 8, 1, tzinfo=UTC)),
)
"""Funding rates of COIN-M perpetuals; a file holds a month."""

# Their other columns are zero, or count samples and not trades.
_PRICE = (
    _TIMESTAMP,
    *_decimals("open", "high", "low", "close"),
    Column("volume", "ignored"),
    Column("close_time", "close"),
    *(
        Column(name, "ignored")
        for name in (
            "quote_asset_volume",
            "number_of_samples",
            "taker_buy_base_asset_volume",
            "taker_buy_quote_asset_volume",
            "ignore",
        )
    ),
)


def _price_candles(name: str, label: str, path_name: str, *, signed: bool = False) -> Dataset:
    """Candles of a price that is calculated, of both markets of futures."""
    published = tuple(
        replace(each, signed=signed and each.kind == "number") for each in _trimmed(_PRICE)
    )
    return replace(
        KLINES,
        name=name,
        label=label,
        title=label[0].upper() + label[1:],
        file_prefix=name.replace("_", ""),
        columns=_kept(published),
        original_columns=len(_kept(published)),
        published=published,
        # The first whose symbols are written so.
        markets=(CM, UM),
        path_name=path_name,
        rest_symbol_parameter="pair" if path_name == "indexPriceKlines" else "symbol",
        rest_weights=_CANDLE_WEIGHTS,
        archive_since_ms=_FUTURES_SINCE_MS,
        zipped_row_bytes=24,
        stored_row_bytes=60,
        loaded_row_bytes=120,
    )


MARK_PRICE_KLINES = _price_candles("mark_price_klines", "mark price k-lines", "markPriceKlines")
"""Candles of the mark price of a contract; a file holds a month of one interval."""

INDEX_PRICE_KLINES = _price_candles("index_price_klines", "index price k-lines", "indexPriceKlines")
"""Candles of the index price of a pair, ``BTCUSDT`` or ``BTCUSD``; a file holds a month of one interval."""

PREMIUM_INDEX_KLINES = _price_candles(
    "premium_index_klines", "premium index k-lines", "premiumIndexKlines", signed=True
)
"""Candles of the premium of a contract over its index; a file holds a month of one interval."""

DATASETS: tuple[Dataset, ...] = (
    KLINES,
    AGG_TRADES,
    FUTURES,
    UM_KLINES,
    UM_AGG_TRADES,
    CM_KLINES,
    CM_AGG_TRADES,
    CM_FUNDING,
    MARK_PRICE_KLINES,
    INDEX_PRICE_KLINES,
    PREMIUM_INDEX_KLINES,
)
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
    # Of several datasets with one word the first is meant.
    for dataset in reversed(DATASETS):
        names = (dataset.label, dataset.title, dataset.path_name)
        words |= dict.fromkeys(map(_plain, names), dataset.name)
    words |= dict.fromkeys(("candles", "candlesticks", "ohlcv"), KLINES.name)
    close = get_close_matches(_plain(name), words, n=1, cutoff=_CLOSE)
    return [words[each] for each in close]


# So much of two words is alike, where one may be a slip for the other.
_CLOSE = 0.75


def _plain(name: object) -> str:
    return "".join(filter(str.isalnum, str(name).lower()))
