"""The synthetic market: pages of it, as REST serves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ares_notebook.demo import history, tape
from ares_notebook.demo.funding import (
    Funding,
    funding_of,
    interval_hours_at,
    is_adjusted,
)
from ares_notebook.demo.schedule import Tape
from ares_notebook.demo.symbols import INSTRUMENTS, Instrument, Road, minute_of
from ares_notebook.demo.tape import MINUTE_US
from ares_notebook.demo.text import Column, decimal, json_array, render, signed, whole
from ares_notebook.demo.window import Window

# Older funding rows of the real exchange carry no mark price.
_MARK_PRICE_FROM_MS = minute_of("2023-11-01") * 60_000


@dataclass(frozen=True, slots=True)
class MarketListing:
    """
    What ``exchangeInfo`` says about a symbol; *tick* and *step* in units of the eighth decimal.

    ``funding_hours`` is set for a perpetual whose funding interval was ever adjusted.
    """

    symbol: str
    base: str
    quote: str
    is_trading: bool = True
    onboard_ms: int = 0
    tick: int = 1_000_000
    step: int = 1_000
    funding_hours: int | None = None


class Market(Protocol):
    """Where REST takes its answers from. Times in µs since the epoch."""

    def listings(self, road: Road, now_us: int) -> Sequence[MarketListing]:
        """Symbols that are known at a moment."""

    def klines(
        self,
        road: Road,
        symbol: str,
        interval: str,
        window: Window,
        *,
        now_us: int,
        micros: bool,
    ) -> bytes:
        """A page of k-lines, as a JSON array."""

    def agg_trades(
        self, road: Road, symbol: str, window: Window, *, now_us: int, micros: bool
    ) -> bytes:
        """A page of aggregate trades, as a JSON array."""

    def funding(self, symbol: str, window: Window, *, now_us: int) -> bytes:
        """A page of funding events, as a JSON array."""


class SyntheticMarket:
    """A market that is made up, and a pure function of symbol and time."""

    def __init__(self, trades_per_day: int) -> None:
        self._trades_per_day = trades_per_day

    def tape(self, road: Road, symbol: str) -> Tape:
        """The tape of a symbol."""
        return Tape(INSTRUMENTS[road][symbol], self._trades_per_day)

    def listings(self, road: Road, now_us: int) -> list[MarketListing]:
        """Symbols that are known at a moment; one that is gone stays listed."""
        return [
            MarketListing(
                symbol=one.symbol,
                base=one.base,
                quote=one.quote,
                is_trading=one.end_minute * MINUTE_US > now_us,
                onboard_ms=one.first_minute * 60_000,
                tick=one.tick,
                step=one.step,
                funding_hours=_adjusted_hours(one, now_us),
            )
            for one in INSTRUMENTS[road].values()
            if one.first_minute * MINUTE_US <= now_us
        ]

    def klines(
        self,
        road: Road,
        symbol: str,
        interval: str,
        window: Window,
        *,
        now_us: int,
        micros: bool,
    ) -> bytes:
        """A page of k-lines, as a JSON array; the candle in progress is the last one."""
        source = self.tape(road, symbol)
        page = history.page(source, interval, window, now_us)
        return page.json(source.instrument, interval, micros=micros)

    def agg_trades(
        self, road: Road, symbol: str, window: Window, *, now_us: int, micros: bool
    ) -> bytes:
        """A page of aggregate trades, as a JSON array."""
        source = self.tape(road, symbol)
        end = tape.id_at(source, min(window.last_us, now_us) + 1)
        if window.from_id is not None:
            first = max(window.from_id, source.first_id)
        elif window.start_us is not None:
            first = tape.id_at(source, window.start_us)
        else:
            first = max(end - window.limit, source.first_id)
        page = tape.trades_between(source, first, min(first + window.limit, end))
        return page.json(source.instrument, micros=micros)

    def funding(self, symbol: str, window: Window, *, now_us: int) -> bytes:
        """A page of funding events, as a JSON array."""
        instrument = INSTRUMENTS["um"][symbol]
        events = funding_of(instrument)
        page = events.cut(window.rows(events.time_ms * 1_000, now_us))
        columns: list[Column | bytes] = [
            b'{"symbol":"' + symbol.encode() + b'","fundingTime":',
            whole(page.time_ms),
            b',"fundingRate":"',
            signed(page.rate),
            b'","markPrice":"',
            [self._mark_prices(instrument, page)],
            b'"},',
        ]
        return json_array(render(columns, len(page)))

    def _mark_prices(self, instrument: Instrument, page: Funding) -> NDArray[np.bytes_]:
        """Text of the mark prices; empty for old events."""
        ticks = tape.prices(self.tape("um", instrument.symbol), page.time_ms // 60_000)
        texts = render([decimal(ticks, instrument.tick), b"\n"], len(page)).splitlines()
        recent = page.time_ms >= _MARK_PRICE_FROM_MS
        return np.where(recent, np.array(texts, dtype=np.bytes_), b"")


def _adjusted_hours(instrument: Instrument, now_us: int) -> int | None:
    """Hours between payments, for a perpetual that ever departed from the default."""
    if instrument.road == "spot" or not is_adjusted(instrument):
        return None
    return interval_hours_at(instrument, now_us // 1_000)
