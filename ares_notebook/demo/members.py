"""What is in the files of the synthetic archive: CSV text, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator

from ares_notebook.demo import history, tape
from ares_notebook.demo.funding import funding_of
from ares_notebook.demo.grid import DAY
from ares_notebook.demo.schedule import Tape, first_id_of_day
from ares_notebook.demo.symbols import Instrument, minute_of
from ares_notebook.demo.text import Column, render, signed, whole

# A file has one unit, that of its first day: microseconds since 2025, on spot.
_MICROSECONDS_FROM_MS = minute_of("2025-01-01") * 60_000
# Tables of this many rows stay in the processor's cache while they become text.
_CHUNK_TRADES = 65_536


def kline_texts(source: Tape, interval: str, first_ms: int, end_ms: int) -> Iterator[bytes]:
    """Text of a k-line file, 1s candles a day at a time."""
    step = DAY if interval == "1s" else end_ms - first_ms
    micros = source.instrument.road == "spot" and first_ms >= _MICROSECONDS_FROM_MS
    for low in range(first_ms, end_ms, step):
        page = history.candles(source, interval, low, min(low + step, end_ms) - 1)
        yield page.csv(source.instrument, interval, micros=micros)


def trade_texts(source: Tape, first_ms: int, end_ms: int) -> Iterator[bytes]:
    """Text of a file of trades; the period is one of whole days."""
    for day in range(first_ms // DAY, end_ms // DAY):
        ids = (first_id_of_day(source, day), first_id_of_day(source, day + 1))
        trades = tape.trades_between(source, *ids)
        for row in range(0, len(trades), _CHUNK_TRADES):
            page = trades.cut(row, row + _CHUNK_TRADES)
            yield page.csv(source.instrument, micros=first_ms >= _MICROSECONDS_FROM_MS)


def funding_text(perpetual: Instrument, first_ms: int, end_ms: int) -> bytes:
    """Text of a funding file: header, and the events of a period."""
    events = funding_of(perpetual)
    low, high = events.time_ms.searchsorted([first_ms, end_ms])
    page = events.cut(slice(low, high))
    columns: list[Column | bytes] = [
        whole(page.time_ms),
        b",",
        whole(page.hours),
        b",",
        signed(page.rate),
        b"\n",
    ]
    return b"calc_time,funding_interval_hours,last_funding_rate\n" + render(columns, len(page))
