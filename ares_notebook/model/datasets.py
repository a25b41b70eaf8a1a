"""The datasets as data: columns, key, period, names and addresses of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Literal

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import did_you_mean
from ares_notebook.model.columns import (
    CANDLE,
    CANDLE_NAMES,
    FUNDING,
    FUNDING_NAMES,
    FUTURES_TRADE,
    ID,
    ID_RANGE,
    IS_BUYER_MAKER,
    METRIC,
    METRIC_NAMES,
    PRICE,
    PRICE_AND_QUANTITY,
    TIMESTAMP,
    TRADE_NAMES,
    Column,
    kept,
    trimmed,
)
from ares_notebook.model.markets import CM, SPOT, UM, Market
from ares_notebook.model.time import Cut, to_ms


# Compared by identity: to compare and hash 20 fields would be slow.
@dataclass(frozen=True, slots=True, eq=False, repr=False)
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
    # Columns of the exchange's rows, in order, alike in all sources; those of `columns` are kept.
    published: tuple[Column, ...]
    # The names of `published` in a header of the archive.
    archive_names: tuple[str, ...]
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
    # Keys of a REST row that is an object, as `published` (an empty one fills no column); empty for arrays.
    rest_fields: tuple[str, ...]
    # Key of a REST row that holds its symbol; empty without one.
    rest_symbol: str
    # The most rows on a page; 0 where the API has no such rows, so that the archive is the only source.
    rest_rows: int
    # The cost of a page by its most rows, ascending: request weight, or requests of a pool of its own.
    rest_weights: tuple[tuple[int, int], ...]
    # The pool of requests that its pages draw on, also those of all symbols; empty for the market's weight.
    rest_pool: str
    # Whether the exchange writes a row also for an interval without a trade, so that none is ever missing.
    writes_each_row: bool
    # The periods of the files in the archive.
    archive_cuts: tuple[Cut, ...]
    # From when on a missing file of the archive proves anything: that of futures is younger than they are.
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
    # The share of candles that a halt may have cut short; some of these open off the grid.
    odd_candles: float = 0
    # The interval of rows on a grid that have only this one; names of files do not show it.
    fixed_interval: str | None = None
    # The market whose zips of days before a moment (in milliseconds since the epoch) label a row by
    # the end of its interval; all others label it by the start.
    end_labels: tuple[Market, int] | None = None

    def __reduce__(self) -> tuple[Callable[[str], Dataset], tuple[str]]:
        # Unpickled in another process it must be the same object, since it is compared by identity.
        return dataset_named, (self.name,)

    def __repr__(self) -> str:
        return f"<Dataset {self.name}>"

    @property
    def has_grid(self) -> bool:
        """Whether its rows are on a grid of open times."""
        return self.key == "open_time"

    @property
    def has_interval(self) -> bool:
        """Whether its files differ by a k-line interval."""
        return self.has_grid and self.fixed_interval is None

    @property
    def is_traded(self) -> bool:
        """Whether its rows are trades, or made of trades."""
        return self.key == "id" or self.path_name == "klines"

    @property
    def has_rest(self) -> bool:
        """Whether the API has its rows, too."""
        return self.rest_rows > 0

    @property
    def archive_alone(self) -> str:
        """Why nothing is asked of the API where `has_rest` is false."""
        return f'{self.label} are in the archive alone, which source="rest" leaves out'

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


KLINES = Dataset(
    name="klines",
    label="k-lines",
    title="K-lines",
    file_prefix="klines",
    cut="month",
    columns=kept(CANDLE),
    original_columns=6,
    published=CANDLE,
    archive_names=CANDLE_NAMES,
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
    odd_candles=0.5,
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
    columns=(TIMESTAMP, *PRICE_AND_QUANTITY, IS_BUYER_MAKER, ID, *ID_RANGE),
    original_columns=5,
    published=(
        ID,
        *PRICE_AND_QUANTITY,
        *ID_RANGE,
        TIMESTAMP,
        IS_BUYER_MAKER,
        Column("is_best_match", "ignored"),
    ),
    archive_names=TRADE_NAMES,
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
    columns=kept(FUNDING),
    original_columns=2,
    published=FUNDING,
    archive_names=FUNDING_NAMES,
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
        columns=kept(published),
        original_columns=len(kept(published)),
        published=published,
        markets=(market,),
        rest_weights=_CANDLE_WEIGHTS,
        writes_each_row=True,
        odd_candles=0,
        archive_since_ms=_FUTURES_SINCE_MS if market is UM else _COIN_SINCE_MS,
        zipped_row_bytes=52,
        stored_row_bytes=110,
    )


UM_KLINES = _futures_candles("um_klines", "USD-M k-lines", "USD-M k-lines", trimmed(CANDLE), UM)
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
    tuple(replace(each, name=_COIN_NAMES.get(each.name, each.name)) for each in trimmed(CANDLE)),
    CM,
)
"""Candles of COIN-M perpetuals and delivery contracts; ``volume`` counts contracts."""


def _futures_trades(name: str, label: str, title: str, market: Market, zipped: float) -> Dataset:
    """Trades on a market of futures, aggregated by the exchange."""
    number = trimmed(PRICE_AND_QUANTITY)
    columns = (TIMESTAMP, *number, IS_BUYER_MAKER, ID, *ID_RANGE)
    return replace(
        AGG_TRADES,
        name=name,
        label=label,
        title=title,
        file_prefix=name.replace("_", ""),
        columns=columns,
        original_columns=len(columns),
        published=FUTURES_TRADE,
        stamp_digits=3,
        markets=(market,),
        rest_weights=((1000, 20),),
        archive_since_ms=_FUTURES_SINCE_MS if market is UM else _COIN_SINCE_MS,
        zipped_row_bytes=zipped,
        stored_row_bytes=80,
        # Zips of a day of BTCUSD_PERP have 1 to 9 MB.
        rows_per_day=1_000_000 if market is UM else 300_000,
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


def _price_candles(name: str, label: str, path_name: str, *, signed: bool = False) -> Dataset:
    """Candles of a price that is calculated, of both markets of futures."""
    published = tuple(
        replace(each, signed=signed and each.kind == "number") for each in trimmed(PRICE)
    )
    return replace(
        KLINES,
        name=name,
        label=label,
        title=label[0].upper() + label[1:],
        file_prefix=name.replace("_", ""),
        columns=kept(published),
        original_columns=len(kept(published)),
        published=published,
        # The first whose symbols are written so.
        markets=(CM, UM),
        path_name=path_name,
        rest_symbol_parameter="pair" if path_name == "indexPriceKlines" else "symbol",
        rest_weights=_CANDLE_WEIGHTS,
        odd_candles=0,
        archive_since_ms=_FUTURES_SINCE_MS,
        zipped_row_bytes=24,
        stored_row_bytes=75,
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

METRICS = Dataset(
    name="metrics",
    label="open interest and ratios",
    title="Open interest and ratios",
    file_prefix="metrics",
    cut="month",
    columns=kept(METRIC),
    original_columns=len(kept(METRIC)),
    published=METRIC,
    archive_names=METRIC_NAMES,
    stamp_digits=0,
    key="open_time",
    markets=(CM, UM),
    path_name="metrics",
    rest_symbol_parameter="symbol",
    # The API rounds ratios to four digits, and reaches back 30 days.
    rest_fields=(),
    rest_symbol="",
    rest_rows=0,
    rest_weights=(),
    rest_pool="",
    writes_each_row=True,
    archive_cuts=("day",),
    archive_since_ms=to_ms(datetime(2021, 12, 1, tzinfo=UTC)),
    zipped_row_bytes=32,
    stored_row_bytes=100,
    loaded_row_bytes=130,
    rows_per_day=288,
    fixed_interval="5m",
    # [binance-public-data#491]
    end_labels=(UM, to_ms(datetime(2026, 6, 25, tzinfo=UTC))),
)
"""Open interest and long/short ratios of a contract, each five minutes; a file holds a month."""

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
    METRICS,
)
"""All datasets, in the order in which users name them."""

DEFAULT_DATASETS: tuple[str, ...] = (KLINES.name, FUTURES.name)
"""What is meant where no dataset is named: trades are large, and come only where they are named."""


def default_datasets(market: Market) -> tuple[str, ...]:
    """What is meant for symbols of a market: its candles and its funding; for spot, `DEFAULT_DATASETS`."""
    if market is SPOT:
        return DEFAULT_DATASETS
    own = (each for each in DATASETS if each.markets == (market,) and each.key != "id")
    return tuple(each.name for each in own)


MICROSECONDS_SINCE_MS = to_ms(datetime(2025, 1, 1, tzinfo=UTC))
"""From 2025-01-01 on Binance's spot archive writes microseconds."""


ALIASES = {"trades": AGG_TRADES, "funding": FUTURES}
"""The field's words for two of them."""


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
    named = {dataset.name: dataset for dataset in DATASETS} | ALIASES
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
    words |= dict.fromkeys(("openinterest", "longshortratio"), METRICS.name)
    close = get_close_matches(_plain(name), words, n=1, cutoff=_CLOSE)
    return [words[each] for each in close]


# So much of two words is alike, where one may be a slip for the other.
_CLOSE = 0.75


def _plain(name: object) -> str:
    return "".join(filter(str.isalnum, str(name).lower()))
