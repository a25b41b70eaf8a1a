"""What of a tape can be seen at a moment: candles of any interval, and trades."""

from __future__ import annotations

import numpy as np

from ares_notebook.demo import tape
from ares_notebook.demo.candles import (
    CLOSE,
    EMPTY,
    HIGH,
    LOW,
    OPEN,
    VOLUME,
    Candles,
    joined,
)
from ares_notebook.demo.grid import (
    DAY,
    HOUR,
    INTERVALS,
    MINUTE,
    SECOND,
    advance,
    first_open_from,
    open_of,
)
from ares_notebook.demo.schedule import Tape
from ares_notebook.demo.symbols import Instrument
from ares_notebook.demo.tape import DAY_US, MINUTE_US
from ares_notebook.demo.trades import Trades
from ares_notebook.demo.window import Window

ALWAYS_US = 4_102_444_800_000_000
"""A moment (in 2100) from which everything can be seen."""


def candles(
    source: Tape, interval: str, first_ms: int, last_ms: int, now_us: int = ALWAYS_US
) -> Candles:
    """
    Candles that open at or after *first_ms* and at or before *last_ms*.

    The candle that *now_us* falls into holds what was traded until then; there is none
    where nothing was traded.
    """
    first = first_open_from(interval, max(first_ms, 0))
    last = open_of(interval, min(last_ms, now_us // 1_000))
    if last < first:
        return EMPTY
    end = advance(interval, last, 1)
    if interval == "1s":
        return _second_candles(source, first, end, now_us)
    small = joined(
        _day_candles(source, interval, day, now_us)
        for day in range(first // DAY, min(-(-end // DAY), now_us // DAY_US + 1))
    )
    return small.between(first, end).fold(interval)


def _day_candles(source: Tape, interval: str, day: int, now_us: int) -> Candles:
    """The candles of a day that those of *interval* are made of, as far as it is past."""
    by_hour = INTERVALS[interval] >= HOUR
    if (day + 1) * DAY_US <= now_us:
        return tape.hour_candles(source, day) if by_hour else tape.minute_candles(source, day)
    minute = now_us // MINUTE_US
    closed = tape.minute_candles(source, day).between(day * DAY, minute * MINUTE)
    running = _trades_until(source, minute * MINUTE_US, now_us).candles("1m")
    return joined([closed, running])


def _trades_until(source: Tape, first_us: int, now_us: int) -> Trades:
    """Trades from one moment to another, both inclusive."""
    return tape.trades_between(source, tape.id_at(source, first_us), tape.id_at(source, now_us + 1))


def _second_candles(source: Tape, first_ms: int, end_ms: int, now_us: int) -> Candles:
    """1s candles; a second without a trade repeats the last price."""
    # Whole minutes, since the flat seconds take their price from one before.
    start = first_ms - first_ms % MINUTE
    until = min(-(-end_ms // MINUTE) * MINUTE * 1_000 - 1, now_us)
    traded = _trades_until(source, start * 1_000, until).candles("1s")
    if not len(traded):
        return EMPTY
    minutes = np.unique(traded.opened // MINUTE) * MINUTE
    seconds = (minutes[:, None] + np.arange(0, MINUTE, SECOND)).ravel()
    seconds = seconds[seconds <= now_us // 1_000]
    # A minute's first trade falls in its first second: there is always one before.
    latest = np.searchsorted(traded.opened, seconds, side="right") - 1
    rows = traded.rows[:, latest]
    is_flat = rows[0] != seconds
    for line in (OPEN, HIGH, LOW):
        rows[line, is_flat] = rows[CLOSE, is_flat]
    rows[VOLUME:, is_flat] = 0
    rows[0] = seconds
    return Candles(rows).between(first_ms, end_ms)


def page(source: Tape, interval: str, window: Window, now_us: int) -> Candles:
    """The candles that a request asks for: oldest first if it has a start, else the newest."""
    turn = _newest if window.start_us is None else _oldest
    return turn(source, interval, window, now_us)


def _oldest(source: Tape, interval: str, window: Window, now_us: int) -> Candles:
    """The first candles that open in a window."""
    listed = source.instrument.first_minute * MINUTE
    start = max(first_open_from(interval, window.start_ms), open_of(interval, listed))
    end = min(window.end_ms, now_us // 1_000, source.instrument.end_minute * MINUTE - 1)
    parts: list[Candles] = []
    wanted = window.limit
    while wanted > 0 and start <= end:
        last = min(advance(interval, start, wanted - 1), end)
        parts.append(candles(source, interval, start, last, now_us))
        wanted -= len(parts[-1])
        after = last + 1
        start = first_open_from(interval, _end_of_halt(source.instrument, interval, after))
    return joined(parts)


def _newest(source: Tape, interval: str, window: Window, now_us: int) -> Candles:
    """The last candles that open in a window."""
    instrument = source.instrument
    floor = open_of(interval, instrument.first_minute * MINUTE)
    end = min(window.end_ms, now_us // 1_000, instrument.end_minute * MINUTE - 1)
    parts: list[Candles] = []
    wanted = window.limit
    while wanted > 0 and end >= floor:
        first = max(advance(interval, open_of(interval, end), 1 - wanted), floor)
        parts.insert(0, candles(source, interval, first, end, now_us))
        wanted -= len(parts[0])
        end = _start_of_halt(instrument, first - 1)
    return joined(parts)


def _end_of_halt(instrument: Instrument, interval: str, time_ms: int) -> int:
    """*time_ms*, or if nothing trades then, the candle in which trading goes on."""
    for start, end in instrument.halts:
        if start * MINUTE <= time_ms < end * MINUTE:
            return max(time_ms, open_of(interval, end * MINUTE))
    return time_ms


def _start_of_halt(instrument: Instrument, time_ms: int) -> int:
    """*time_ms*, or if nothing trades then, the last moment at which something did."""
    for start, end in instrument.halts:
        if start * MINUTE <= time_ms < end * MINUTE:
            return start * MINUTE - 1
    return time_ms
