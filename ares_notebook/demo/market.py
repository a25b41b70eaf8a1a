"""The market that REST serves pages of: what a page is, and the synthetic market."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ares_notebook.demo import generator
from ares_notebook.demo.funding import adjusted_hours, funding_of
from ares_notebook.demo.generator import DAY_US, MINUTE_US, TradeGenerator
from ares_notebook.demo.symbols import (
    DAY,
    HOUR,
    INSTRUMENTS,
    MINUTE,
    Instrument,
    Product,
    minute_of,
)
from ares_notebook.demo.tables import (
    INTERVALS,
    NO_CANDLES,
    Candles,
    Ints,
    Trades,
    advance,
    decimal,
    first_open_from,
    join_candles,
    open_of,
    render,
)

# Older funding rows of the real exchange carry no mark price.
_MARK_PRICE_FROM_MS = minute_of("2023-11-01") * MINUTE
# In 2100: all there is lies before it.
_END_OF_TIME_US = 4_102_444_800_000_000


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The rows of a list that a request asks for; times in µs since the epoch, inclusive."""

    # No more rows than these.
    limit: int
    # What is later does not exist yet.
    now_us: int
    # Whether the page tells times in microseconds.
    in_micros: bool = False
    # With a start, the oldest rows from there; without, the newest up to the end.
    start_us: int | None = None
    end_us: int | None = None
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


class DemoMarket(Protocol):
    """Where REST takes its pages from; each is a JSON array."""

    def symbols(self, product: Product, now_us: int) -> Sequence[SymbolInfo]:
        """Symbols that are known at a time."""

    def klines(self, product: Product, symbol: str, interval: str, query: PageQuery) -> bytes:
        """A page of k-lines."""

    def agg_trades(self, product: Product, symbol: str, query: PageQuery) -> bytes:
        """A page of aggregate trades."""

    def funding(self, symbol: str, query: PageQuery) -> bytes:
        """A page of funding events."""


class SyntheticMarket:
    """A market that is a pure function of symbol and time."""

    def __init__(self, trades_per_day: int) -> None:
        self._trades_per_day = trades_per_day

    def generator(self, product: Product, symbol: str) -> TradeGenerator:
        """The trade generator of a symbol."""
        return TradeGenerator(INSTRUMENTS[product][symbol], self._trades_per_day)

    def symbols(self, product: Product, now_us: int) -> list[SymbolInfo]:
        """Symbols that are known at a time; one that is gone stays listed."""
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
            )
            for one in INSTRUMENTS[product].values()
            if one.first_ms <= now_ms
        ]

    def klines(self, product: Product, symbol: str, interval: str, query: PageQuery) -> bytes:
        """A page of k-lines; the candle in progress is the last one."""
        source = self.generator(product, symbol)
        candles = _newest_candles if query.start_us is None else _oldest_candles
        page = candles(source, interval, query)
        return page.json(source.instrument, interval, in_micros=query.in_micros)

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
        return page.json(source.instrument, in_micros=query.in_micros)

    def funding(self, symbol: str, query: PageQuery) -> bytes:
        """A page of funding events."""
        source = self.generator("um", symbol)
        events = funding_of(source.instrument)
        page = events.cut(query.rows(events.time_ms * 1_000))
        ticks = generator.prices(source, page.time_ms // MINUTE)
        marks = render([decimal(ticks, source.instrument.tick), b"\n"], len(page)).splitlines()
        is_recent = page.time_ms >= _MARK_PRICE_FROM_MS
        return page.json(symbol, np.where(is_recent, np.array(marks, dtype=np.bytes_), b""))


def candles_between(
    source: TradeGenerator,
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
    if interval == "1s":
        return _second_candles(source, first, end, now_us)
    days = range(first // DAY, min(-(-end // DAY), now_us // DAY_US + 1))
    small = join_candles(_day_candles(source, interval, day, now_us) for day in days)
    return small.between(first, end).fold(interval)


def _day_candles(source: TradeGenerator, interval: str, day: int, now_us: int) -> Candles:
    """The candles of a day that those of *interval* are made of, as far as it is past."""
    if (day + 1) * DAY_US <= now_us:
        by_hour = INTERVALS[interval] >= HOUR
        return (
            generator.hour_candles(source, day)
            if by_hour
            else generator.minute_candles(source, day)
        )
    minute = now_us // MINUTE_US
    closed = generator.minute_candles(source, day).between(day * DAY, minute * MINUTE)
    running = _trades_until(source, minute * MINUTE_US, now_us).candles("1m")
    return join_candles([closed, running])


def _trades_until(source: TradeGenerator, first_us: int, now_us: int) -> Trades:
    """Trades from one time to another, both inclusive."""
    return generator.trades_between(
        source, generator.id_at(source, first_us), generator.id_at(source, now_us + 1)
    )


def _second_candles(source: TradeGenerator, first_ms: int, end_ms: int, now_us: int) -> Candles:
    """1s candles; a second without a trade repeats the last price."""
    # Whole minutes, since the flat seconds take their price from one before.
    start = first_ms - first_ms % MINUTE
    until = min(-(-end_ms // MINUTE) * MINUTE * 1_000 - 1, now_us)
    traded = _trades_until(source, start * 1_000, until).candles("1s")
    return traded.with_flat_seconds(now_us // 1_000).between(first_ms, end_ms)


def _oldest_candles(source: TradeGenerator, interval: str, query: PageQuery) -> Candles:
    """The first candles that a query asks for."""
    instrument = source.instrument
    start = max(first_open_from(interval, query.start_ms), open_of(interval, instrument.first_ms))
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


def _newest_candles(source: TradeGenerator, interval: str, query: PageQuery) -> Candles:
    """The last candles that a query asks for."""
    instrument = source.instrument
    floor = open_of(interval, instrument.first_ms)
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
