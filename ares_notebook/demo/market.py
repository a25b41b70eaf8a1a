"""The market that REST serves pages of: what a page is, and the synthetic market."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ares_notebook.demo import generator
from ares_notebook.demo.funding import PriceSeries, adjusted_hours, funding_of, mark_prices
from ares_notebook.demo.generator import DAY_US, MINUTE_US, TradeGenerator
from ares_notebook.demo.metrics import statistics_rows, times_of
from ares_notebook.demo.symbols import (
    DAY,
    HOUR,
    INSTRUMENTS,
    MINUTE,
    PAIRS,
    Instrument,
    Product,
    minute_of,
)
from ares_notebook.demo.tables import (
    INTERVALS,
    NO_CANDLES,
    Candles,
    CandleSource,
    Ints,
    advance,
    decimal,
    first_open_from,
    join_candles,
    open_of,
    render,
)

# Older funding rows of the real exchange carry no mark price.
_MARK_PRICE_FROM_MS = minute_of("2023-11-01") * MINUTE
# The ``deliveryDate`` of a contract without one.
_NO_DELIVERY_MS = 4_133_404_800_000
# A contract that is delivered in more days than a quarter has is that of the next one.
_QUARTER_DAYS = 92
# In 2100: all there is lies before it.
_END_OF_TIME_US = 4_102_444_800_000_000


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The rows of a list that a request asks for; times in µs since the epoch, inclusive."""

    # No more rows than these.
    limit: int
    # What is later does not exist yet.
    now_us: int
    # Whether the times of the page are in microseconds.
    in_micros: bool = False
    # With a start, the oldest rows from there; without, the newest up to the end.
    start_us: int | None = None
    end_us: int | None = None
    # With a start, too, the newest rows up to the end.
    has_newest: bool = False
    # Trades from this aggregate id on; comes without times.
    from_id: int | None = None

    @property
    def last_us(self) -> int:
        """The latest time that is asked for and exists."""
        return self.now_us if self.end_us is None else min(self.end_us, self.now_us)

    @property
    def start_ms(self) -> int:
        """Start in milliseconds, rounded up: what opens before it is not asked for."""
        return -(-(self.start_us or 0) // 1_000)

    def rows(self, times_us: Ints) -> slice:
        """Choose from a whole list, given the times of its rows."""
        stop = int(np.searchsorted(times_us, self.last_us, side="right"))
        if self.start_us is None:
            return slice(max(stop - self.limit, 0), stop)
        start = int(np.searchsorted(times_us, self.start_us, side="left"))
        if self.has_newest:
            return slice(max(stop - self.limit, start), max(stop, start))
        return slice(start, max(min(start + self.limit, stop), start))


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """What ``exchangeInfo`` says about a symbol."""

    symbol: str
    base: str
    quote: str
    is_trading: bool = True
    onboard_ms: int = 0
    # In units of the eighth decimal.
    tick: int = 1_000_000
    step: int = 1_000
    # For a symbol whose funding interval was ever adjusted.
    funding_hours: int | None = None
    # Of a contract: the name of its index, when it ends (0: on no day that is known), and for
    # COIN-M how many US dollars it is.
    pair: str = ""
    end_ms: int = 0
    is_delivery: bool = False
    contract_usd: int = 0

    def described(self, now_ms: int) -> dict[str, Any]:
        """The symbol as ``exchangeInfo`` of its product describes it."""
        return self._as_contract(now_ms) if self.pair else self._as_spot()

    def _as_spot(self) -> dict[str, Any]:
        """A symbol as spot describes it."""
        return {
            "symbol": self.symbol,
            "status": "TRADING" if self.is_trading else "BREAK",
            "baseAsset": self.base,
            "baseAssetPrecision": 8,
            "quoteAsset": self.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
            "isSpotTradingAllowed": self.is_trading,
            "isMarginTradingAllowed": False,
            "filters": self._filters(),
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }

    def _as_contract(self, now_ms: int) -> dict[str, Any]:
        """A contract as futures describe it."""
        described: dict[str, Any] = {
            "symbol": self.symbol,
            "pair": self.pair,
            "contractType": self.contract_type(now_ms),
            "deliveryDate": self.end_ms or _NO_DELIVERY_MS,
            "onboardDate": self.onboard_ms,
        }
        if self.contract_usd:
            described["contractStatus"] = "TRADING" if self.is_trading else "DELIVERING"
            described["contractSize"] = self.contract_usd
        else:
            described["status"] = "TRADING" if self.is_trading else "SETTLING"
        return {
            **described,
            "baseAsset": self.base,
            "quoteAsset": self.quote,
            "marginAsset": self.base if self.contract_usd else self.quote,
            "filters": self._filters(),
        }

    def contract_type(self, now_ms: int) -> str:
        """``contractType`` of a contract."""
        if not self.is_delivery:
            return "PERPETUAL"
        is_current = self.end_ms - now_ms <= _QUARTER_DAYS * DAY
        return "CURRENT_QUARTER" if is_current else "NEXT_QUARTER"

    def _filters(self) -> list[dict[str, str]]:
        """The grid that prices and quantities lie on."""
        tick, step = (f"{units // 10**8}.{units % 10**8:08d}" for units in (self.tick, self.step))
        price = {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000"}
        lot = {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000.00000000"}
        return [{**price, "tickSize": tick}, {**lot, "stepSize": step}]


class DemoMarket(Protocol):
    """Where REST takes its pages from; each is a JSON array."""

    def symbols(self, product: Product, now_us: int) -> Sequence[SymbolInfo]:
        """Symbols that are known at a time."""

    def klines(self, product: Product, symbol: str, interval: str, query: PageQuery) -> bytes:
        """A page of k-lines."""

    def price_pairs(self, product: Product, now_us: int) -> Sequence[str]:
        """Names of the indices that are known at a time."""

    def price_klines(
        self, product: Product, kind: str, name: str, interval: str, query: PageQuery
    ) -> bytes:
        """A page of k-lines of a computed price; *name* is a symbol, or the pair of an index."""

    def agg_trades(self, product: Product, symbol: str, query: PageQuery) -> bytes:
        """A page of aggregate trades."""

    def funding(self, symbol: str, query: PageQuery) -> bytes:
        """A page of funding events."""

    def statistics(
        self, product: Product, symbol: str, kind: str, period_ms: int, query: PageQuery
    ) -> list[dict[str, Any]]:
        """A page of open interest, ratios or volumes of takers, without the names in its rows."""


class SyntheticMarket:
    """A market that is a pure function of symbol and time."""

    def __init__(self, trades_per_day: int) -> None:
        self._trades_per_day = trades_per_day

    def generator(self, product: Product, symbol: str) -> TradeGenerator:
        """The trade generator of a symbol."""
        return TradeGenerator(INSTRUMENTS[product][symbol], self._trades_per_day)

    def symbols(self, product: Product, now_us: int) -> list[SymbolInfo]:
        """Symbols that are known at a time; one that is gone stays listed, unless it was delivered."""
        now_ms = now_us // 1_000
        return [
            SymbolInfo(
                symbol=one.symbol,
                base=one.base,
                quote=one.quote,
                is_trading=one.end_ms > now_ms,
                onboard_ms=one.first_ms,
                tick=one.tick,
                step=one.step,
                funding_hours=adjusted_hours(one, now_ms),
                pair=one.pair,
                end_ms=one.end_ms if one.is_delivery or one.end_ms <= now_ms else 0,
                is_delivery=one.is_delivery,
                contract_usd=one.contract_usd,
            )
            for one in INSTRUMENTS[product].values()
            if one.first_ms <= now_ms and not (one.is_delivery and one.end_ms <= now_ms)
        ]

    def price_pairs(self, product: Product, now_us: int) -> list[str]:
        """Names of the indices that are known at a time."""
        return [pair for pair, one in PAIRS[product].items() if one.first_ms * 1_000 <= now_us]

    def klines(self, product: Product, symbol: str, interval: str, query: PageQuery) -> bytes:
        """A page of k-lines; the candle in progress is the last one."""
        source = self.generator(product, symbol)
        page = _page_of_candles(source, interval, query)
        return page.json(source.instrument, interval, in_micros=query.in_micros)

    def price_klines(
        self, product: Product, kind: str, name: str, interval: str, query: PageQuery
    ) -> bytes:
        """A page of k-lines of a computed price."""
        series = PriceSeries(product, kind, name)
        return _page_of_candles(series, interval, query).price_json(interval)

    def agg_trades(self, product: Product, symbol: str, query: PageQuery) -> bytes:
        """A page of aggregate trades."""
        source = self.generator(product, symbol)
        end = generator.id_at(source, query.last_us + 1)
        if query.from_id is not None:
            first = max(query.from_id, source.first_id)
        elif query.start_us is not None:
            first = generator.id_at(source, query.start_us)
        else:
            first = max(end - query.limit, source.first_id)
        page = generator.trades_between(source, first, min(first + query.limit, end))
        return page.json(source.instrument, in_micros=query.in_micros, now_us=query.now_us)

    def funding(self, symbol: str, query: PageQuery) -> bytes:
        """A page of funding events; a delivery contract has none."""
        instrument = INSTRUMENTS["um"].get(symbol) or INSTRUMENTS["cm"][symbol]
        if instrument.is_delivery:
            return b"[]"
        events = funding_of(instrument)
        page = events.cut(query.rows(events.time_ms * 1_000))
        prices = mark_prices(instrument, page.time_ms // MINUTE)
        marks = render([decimal(prices, 1), b"\n"], len(page)).splitlines()
        is_recent = page.time_ms >= _MARK_PRICE_FROM_MS
        return page.json(symbol, np.where(is_recent, np.array(marks, dtype=np.bytes_), b""))

    def statistics(
        self, product: Product, symbol: str, kind: str, period_ms: int, query: PageQuery
    ) -> list[dict[str, Any]]:
        """A page of open interest, ratios or volumes of takers, without the names in its rows."""
        source = self.generator(product, symbol)
        times_ms = times_of(kind, period_ms, source.first_ms, query.now_us // 1_000)
        chosen = times_ms[query.rows(times_ms * 1_000)]
        return statistics_rows(source, kind, period_ms, chosen)


def candles_between(
    source: CandleSource,
    interval: str,
    first_ms: int,
    last_ms: int,
    now_us: int = _END_OF_TIME_US,
) -> Candles:
    """Candles that open from *first_ms* to *last_ms*; the one in progress ends with *now_us*."""
    first = first_open_from(interval, max(first_ms, 0))
    last = open_of(interval, min(last_ms, now_us // 1_000))
    if last < first:
        return NO_CANDLES
    end = advance(interval, last, 1)
    if isinstance(source, TradeGenerator) and interval == "1s":
        return _second_candles(source, first, end, now_us)
    days = range(first // DAY, min(-(-end // DAY), now_us // DAY_US + 1))
    small = join_candles(_day_candles(source, interval, day, now_us) for day in days)
    return small.between(first, end).fold(interval)


def _day_candles(source: CandleSource, interval: str, day: int, now_us: int) -> Candles:
    """The candles of a day that those of *interval* are made of, as far as it is past."""
    if (day + 1) * DAY_US <= now_us:
        by_hour = INTERVALS[interval] >= HOUR
        return source.hour_candles(day) if by_hour else source.minute_candles(day)
    closed = source.minute_candles(day).between(day * DAY, now_us // MINUTE_US * MINUTE)
    return join_candles([closed, source.running_candle(now_us)])


def _second_candles(source: TradeGenerator, first_ms: int, end_ms: int, now_us: int) -> Candles:
    """1s candles; a second without a trade repeats the last price."""
    # Whole minutes, since the flat seconds take their price from one before.
    start = first_ms - first_ms % MINUTE
    until = min(-(-end_ms // MINUTE) * MINUTE * 1_000 - 1, now_us)
    traded = source.trades_until(start * 1_000, until).candles("1s")
    return traded.with_flat_seconds(now_us // 1_000).between(first_ms, end_ms)


def _page_of_candles(source: CandleSource, interval: str, query: PageQuery) -> Candles:
    """The candles that a query asks for; the one in progress is the last one."""
    has_newest = query.start_us is None or query.has_newest
    return (_newest_candles if has_newest else _oldest_candles)(source, interval, query)


def _oldest_candles(source: CandleSource, interval: str, query: PageQuery) -> Candles:
    """The first candles that a query asks for."""
    instrument = source.instrument
    start = max(first_open_from(interval, query.start_ms), open_of(interval, source.first_ms))
    end = min(query.last_us // 1_000, instrument.end_ms - 1)
    parts: list[Candles] = []
    wanted = query.limit
    while wanted > 0 and start <= end:
        last = min(advance(interval, start, wanted - 1), end)
        parts.append(candles_between(source, interval, start, last, query.now_us))
        wanted -= len(parts[-1])
        start = last + 1
        if halt := _halt_at(instrument, start):
            start = max(start, open_of(interval, halt[1]))
        start = first_open_from(interval, start)
    return join_candles(parts)


def _newest_candles(source: CandleSource, interval: str, query: PageQuery) -> Candles:
    """The last candles that a query asks for."""
    instrument = source.instrument
    floor = max(first_open_from(interval, query.start_ms), open_of(interval, source.first_ms))
    end = min(query.last_us // 1_000, instrument.end_ms - 1)
    parts: list[Candles] = []
    wanted = query.limit
    while wanted > 0 and end >= floor:
        first = max(advance(interval, open_of(interval, end), 1 - wanted), floor)
        parts.insert(0, candles_between(source, interval, first, end, query.now_us))
        wanted -= len(parts[0])
        halt = _halt_at(instrument, first - 1)
        end = halt[0] - 1 if halt else first - 1
    return join_candles(parts)


def _halt_at(instrument: Instrument, time_ms: int) -> tuple[int, int] | None:
    """Start and end (ms) of the halt that *time_ms* lies in, if there is one."""
    for start, end in instrument.halts:
        if start * MINUTE <= time_ms < end * MINUTE:
            return start * MINUTE, end * MINUTE
    return None
