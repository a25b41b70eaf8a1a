"""K-line intervals, and the grid of open times that each lays over time."""

from __future__ import annotations

from bisect import bisect_left

from ares_notebook.errors import BadArgument
from ares_notebook.model.time import DAY_MS, cut_periods, month_of, utc

__all__ = [
    "GRID_ORIGIN_MS",
    "INTERVALS",
    "interval_text",
    "next_open_ms",
    "opens_between",
    "validate_interval",
]

INTERVALS: dict[str, int] = {
    "1s": 1_000,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
    # A month has no fixed length; nothing may compute with this number.
    "1M": 0,
}
"""Binance's k-line intervals and their length in milliseconds."""

GRID_ORIGIN_MS = {"1w": 4 * DAY_MS, "3d": DAY_MS}
"""
Where a grid begins that does not begin with the epoch.

Weeks open on Mondays (the epoch was a Thursday); three-day candles count from 1970-01-02,
and never restart with the month.
"""


def validate_interval(interval: str | None) -> str:
    """Return *interval* if Binance has it."""
    if not isinstance(interval, str) or interval not in INTERVALS:
        msg = f"interval={interval!r} is not one of Binance's: {', '.join(INTERVALS)} (1m is a minute, 1M a month)"
        raise BadArgument(msg)
    return interval


def interval_text(interval: str) -> str:
    """
    The interval as file names carry it: ``1M`` is ``1mo``, as in Binance's archive.

    ``1M`` and ``1m`` would be one file on a disk that ignores case.
    """
    return "1mo" if interval == "1M" else interval


def next_open_ms(interval: str, open_ms: int) -> int:
    """
    The open time of the candle after the one that opens at *open_ms*.

    It is also the moment at which that candle is closed.
    """
    if interval == "1M":
        return month_of(utc(open_ms)).end_ms
    return open_ms + INTERVALS[interval]


def opens_between(interval: str, start_ms: int, end_ms: int) -> range | list[int]:
    """
    The open times on Binance's grid of all candles that open at or after *start_ms* and are closed
    by *end_ms*.
    """
    if interval == "1M":
        return _month_opens(start_ms, end_ms)
    step = INTERVALS[interval]
    origin = GRID_ORIGIN_MS.get(interval, 0)
    first = start_ms + (origin - start_ms) % step
    return range(first, max(first, end_ms - step + 1), step)


def _month_opens(start_ms: int, end_ms: int) -> list[int]:
    if end_ms <= start_ms:
        return []
    months = cut_periods("month", utc(start_ms), utc(end_ms))
    # cut_periods takes the first month whole; a candle that opened before the
    # window is not asked for, nor one that is still open at its end.
    opens = [month.start_ms for month in months if month_of(month.start).end_ms <= end_ms]
    return opens[bisect_left(opens, start_ms) :]
