"""Candle grids: where the candles of an interval open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

INTERVALS = {
    "1s": SECOND, "1m": MINUTE, "3m": 3 * MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE,
    "30m": 30 * MINUTE, "1h": HOUR, "2h": 2 * HOUR, "4h": 4 * HOUR, "6h": 6 * HOUR,
    "8h": 8 * HOUR, "12h": 12 * HOUR, "1d": DAY, "3d": 3 * DAY, "1w": 7 * DAY, "1M": 31 * DAY,
}  # fmt: skip
"""Length of a candle in ms; of the longest one where they differ."""

# Weeks start on Monday 1970-01-05, three-day candles on 1970-01-02.
_PHASE = {"1w": 4 * DAY, "3d": DAY}


def opens_of(interval: str, times_ms: Ints) -> Ints:
    """Open time of the candle that each time belongs to."""
    if interval == "1M":
        months = times_ms.astype("M8[ms]").astype("M8[M]")
        return months.astype("M8[ms]").astype(np.int64)
    phase = _PHASE.get(interval, 0)
    return times_ms - (times_ms - phase) % INTERVALS[interval]


def open_of(interval: str, time_ms: int) -> int:
    """Open time of the candle that *time_ms* belongs to."""
    return int(opens_of(interval, np.array([time_ms], dtype=np.int64))[0])


def advance(interval: str, open_ms: int, candles: int) -> int:
    """Open time so many candles after (or, if negative, before) *open_ms*."""
    if interval != "1M":
        return open_ms + candles * INTERVALS[interval]
    month = np.datetime64(open_ms, "ms").astype("M8[M]") + candles
    return int(month.astype("M8[ms]").astype(np.int64))


def closes_of(interval: str, opens_ms: Ints) -> Ints:
    """Open time of the candle after each."""
    if interval != "1M":
        return opens_ms + INTERVALS[interval]
    months = opens_ms.astype("M8[ms]").astype("M8[M]") + 1
    return months.astype("M8[ms]").astype(np.int64)


def first_open_from(interval: str, time_ms: int) -> int:
    """Earliest open time at or after *time_ms*."""
    floor = open_of(interval, time_ms)
    return floor if floor == time_ms else advance(interval, floor, 1)
