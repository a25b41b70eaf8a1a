"""Time: timestamps in UTC, half-open windows, periods of files, intervals of candles."""

from __future__ import annotations

import re
from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import did_you_mean

DAY_MS = 86_400_000

Cut = Literal["month", "day"]
"""The length of a file's period."""


class Period(NamedTuple):
    """A half-open span of UTC time: ``start <= t < end``."""

    start: datetime
    end: datetime

    @property
    def start_ms(self) -> int:
        """Start in milliseconds since the epoch."""
        return to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """End (exclusive) in milliseconds since the epoch."""
        return to_ms(self.end)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware *moment*, rounded down."""
    # Integer arithmetic: a float would lose the last millisecond of distant dates.
    return (moment - _EPOCH) // _MILLISECOND


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch of an aware *moment*."""
    return (moment - _EPOCH) // _MICROSECOND


# Timestamps count from 1970; Python cannot represent the end of the last month of 9999.
_FIRST_YEAR, _LAST_YEAR = 1970, 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND, _DAY = timedelta(milliseconds=1), timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


def utc(milliseconds: int) -> datetime:
    """The aware UTC moment of *milliseconds* since the epoch."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def utc_of_us(microseconds: int) -> datetime:
    """The aware UTC moment of *microseconds* since the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


def as_utc(value: datetime | date | str, argument: str = "end") -> datetime:
    """Convert to aware UTC: a date is its midnight, an ISO string without a zone is UTC."""
    moment = _as_utc(value, argument)
    if not _FIRST_YEAR <= moment.year < _LAST_YEAR:
        msg = f"{argument}={value!r} lies outside the years {_FIRST_YEAR} to {_LAST_YEAR - 1}"
        raise BadArgument(msg)
    return moment


def _as_utc(value: datetime | date | str, argument: str) -> datetime:
    if isinstance(value, str):
        return _from_text(value, argument)
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            msg = (
                f"{argument}={value!r} has no time zone and would mean another moment on "
                f"every machine; pass {argument}=datetime(..., tzinfo=UTC) or an ISO string"
            )
            raise BadArgument(msg)
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            msg = f"{argument}={value!r} is a moment that UTC does not have"
            raise BadArgument(msg) from error
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    msg = (
        f"{argument}={value!r} is not a moment; pass an aware datetime, a date or "
        f'an ISO string such as "2025-01-31"'
    )
    raise BadArgument(msg)


def _from_text(text: str, argument: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = f'{argument}={text!r} is not an ISO date; write it like "2025-01-31" or "2025-01-31T12:00"'
        raise BadArgument(msg) from error


def month_of(moment: datetime) -> Period:
    """The calendar month, in UTC, that holds *moment*."""
    start = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    # Day 28 plus four days is always in the next month.
    return Period(start, (start.replace(day=28) + timedelta(days=4)).replace(day=1))


def period_of(cut: Cut, moment: datetime) -> Period:
    """The whole calendar month or day, in UTC, that holds *moment*."""
    if cut == "month":
        return month_of(moment)
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(start, start + _DAY)


def cut_periods(cut: Cut, first: datetime, last: datetime) -> list[Period]:
    """Cut ``[first, last)`` into calendar months or days, the first of them whole."""
    periods: list[Period] = []
    period = period_of(cut, first)
    while period.start < last and first < last:
        periods.append(Period(period.start, min(period.end, last)))
        period = period_of(cut, period.end)
    return periods


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
Origins of grids other than the epoch.

Weeks open on Mondays (the epoch was a Thursday); three-day candles count from 1970-01-02.
"""


_MONTH, _MINUTE = "month", 60_000
# Units as other programs and people write them, in milliseconds; a month has no fixed length.
_UNITS: dict[str, int | str] = {
    **dict.fromkeys(("ms", "millisecond"), 1),
    **dict.fromkeys(("s", "sec", "second"), 1_000),
    **dict.fromkeys(("m", "t", "min", "minute"), _MINUTE),
    **dict.fromkeys(("h", "hr", "hour"), 60 * _MINUTE),
    **dict.fromkeys(("d", "day", "daily"), DAY_MS),
    **dict.fromkeys(("w", "wk", "week"), 7 * DAY_MS),
    **dict.fromkeys(("mo", "mon", "mth", "mn", "month"), _MONTH),
}
# A number and its unit, or (as MetaTrader has it) the unit first.
_AMOUNT = re.compile(
    r"(?P<count>\d*)\s*(?P<unit>[a-z]+)|(?P<first>[a-z]+)\s*(?P<behind>\d+)", re.IGNORECASE
)


def validate_interval(interval: str | None) -> str:
    """Return *interval* if Binance has it."""
    if isinstance(interval, str) and interval in INTERVALS:
        return interval
    msg = f"interval={interval!r} is not one of Binance's: {', '.join(INTERVALS)} (1m is a minute, 1M a month)"
    if meant := _meant(interval):
        msg += f"; {did_you_mean([meant])}"
    raise BadArgument(msg)


def interval_of_bars(interval: str | timedelta) -> str:
    """The name of an interval of bars: one of Binance's, or any other that divides a day (``5s``)."""
    if isinstance(interval, str) and (interval in INTERVALS or _MONTHS.fullmatch(interval)):
        # Nobody can tell whether 3M is meant to be months or minutes.
        return validate_interval(interval)
    if meant := _meant(interval):
        return meant
    length = _amount_of(interval)
    if not isinstance(length, int) or length <= 0 or DAY_MS % length:
        msg = (
            f"interval={interval!r} is none that bars can have: pass one of Binance's "
            f"({', '.join(INTERVALS)}), or a length that divides a day, such as 5s or 10m"
        )
        raise BadArgument(msg)
    unit = next(unit for unit in _BAR_UNITS if not length % int(_UNITS[unit]))
    return f"{length // int(_UNITS[unit])}{unit}"


_MONTHS = re.compile(r"\s*\d+\s*M\s*")
# Longest first.
_BAR_UNITS = ("h", "m", "s", "ms")


def interval_ms(interval: str) -> int:
    """The length of an interval of bars in milliseconds; 0 of a month."""
    if interval in INTERVALS:
        return INTERVALS[interval]
    length = _amount_of(interval)
    return length if isinstance(length, int) else 0


def divides(small: str, large: str) -> bool:
    """Whether bars of one interval make up those of another, or of the same."""
    small_ms, large_ms = interval_ms(small), interval_ms(large)
    # Beyond a day the grids do not contain each other, but all contain days.
    is_part = 0 < small_ms <= DAY_MS and large_ms % small_ms == 0
    return small == large or is_part


def _meant(interval: object) -> str | None:
    """The interval of the same length as one that is written otherwise; None if there is none."""
    length = _amount_of(interval)
    if length == _MONTH:
        return "1M"
    return next((name for name, each in INTERVALS.items() if each and each == length), None)


def _amount_of(interval: object) -> int | str | None:
    """The length of an interval in milliseconds, or that it is a month; None of other texts."""
    if isinstance(interval, timedelta):
        return None if interval % _MILLISECOND else interval // _MILLISECOND
    match = _AMOUNT.fullmatch(interval.strip()) if isinstance(interval, str) else None
    if match is None:
        return None
    count, unit = match["count"] or match["behind"] or "1", match["unit"] or match["first"]
    one = _MONTH if interval == "M" else _length_of(unit)
    if one == _MONTH:
        return _MONTH if int(count) == 1 else None
    return int(count) * one if isinstance(one, int) else None


def _length_of(unit: str) -> int | str | None:
    """The length of a unit in milliseconds, or that it is a month."""
    # pandas: the start and the end of a month.
    if unit in ("MS", "ME"):
        return _MONTH
    word = unit.lower()
    singular = word.removesuffix("ly").removesuffix("s") if len(word) > len("ms") else word
    return _UNITS.get(word, _UNITS.get(singular))


def interval_text(interval: str) -> str:
    """The interval in file names: ``1M`` is ``1mo``, since some file systems ignore case."""
    return "1mo" if interval == "1M" else interval


def opened_ms(interval: str, moment_ms: int) -> int:
    """When the candle in which a moment lies opens."""
    if interval == "1M":
        return month_of(utc(moment_ms)).start_ms
    return moment_ms - (moment_ms - GRID_ORIGIN_MS.get(interval, 0)) % INTERVALS[interval]


def next_open_ms(interval: str, open_ms: int) -> int:
    """When the candle that opens at *open_ms* is closed, and the next one opens."""
    if interval == "1M":
        return month_of(utc(open_ms)).end_ms
    return open_ms + interval_ms(interval)


def opens_between(interval: str, start_ms: int, end_ms: int) -> range | list[int]:
    """Open times of all candles that open at or after *start_ms* and are closed by *end_ms*."""
    if interval == "1M":
        return _month_opens(start_ms, end_ms)
    step = interval_ms(interval)
    origin = GRID_ORIGIN_MS.get(interval, 0)
    first = start_ms + (origin - start_ms) % step
    return range(first, max(first, end_ms - step + 1), step)


def _month_opens(start_ms: int, end_ms: int) -> list[int]:
    if end_ms <= start_ms:
        return []
    months = cut_periods("month", utc(start_ms), utc(end_ms))
    # cut_periods takes the first month whole, even if it begins before *start_ms*.
    opens = [month.start_ms for month in months if month_of(month.start).end_ms <= end_ms]
    return opens[bisect_left(opens, start_ms) :]
