"""The window of a download: a lookback or a start, its end, its periods, and how it is shown."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, date, datetime, timedelta
from numbers import Real

from ares_notebook.errors import BadArgument
from ares_notebook.model.time import Cut, Period, as_utc, cut_periods, utc

Lookback = float | str | timedelta
"""How far back: years as a number; ``"6 months"`` or ``"90d"``; or a timedelta."""

_EPOCH = utc(0)
# Longer than any market; a larger number is a slip, such as days for years.
_MOST_YEARS = 10_000
_WAYS = 'years as a number such as 5 or 0.25, a text such as "6 months" or "90d", or a timedelta'
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)
_MONTHS = {"month": 1, "months": 1, "mo": 1, "year": 12, "years": 12, "y": 12, "yr": 12}
_LENGTHS = {
    **dict.fromkeys(("w", "week", "weeks"), timedelta(weeks=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
    **dict.fromkeys(("h", "hour", "hours"), timedelta(hours=1)),
}


def window_of(
    lookback: Lookback | None,
    start: datetime | date | str | None,
    end: datetime | date | str | None,
) -> Period:
    """The window ``[start, end)`` that a caller means by a lookback or a start, and an end or now."""
    stop = end_of(end)
    if start is None:
        if lookback is None:
            msg = f'say how far back: lookback_years= ({_WAYS}), or start=, such as "2024-09-01"'
            raise BadArgument(msg)
        return Period(lookback_start(stop, lookback), stop)
    if lookback is not None:
        msg = f"start={start!r} and lookback_years={lookback!r} both say where to begin; give one"
        raise BadArgument(msg)
    begin = as_utc(start, "start")
    if begin >= stop:
        msg = f"start={start!r} is not before the end, {stop:%Y-%m-%d %H:%M} UTC"
        raise BadArgument(msg)
    return Period(begin, stop)


def end_of(end: datetime | date | str | None) -> datetime:
    """The end of a window, by default now; an end in the future is refused."""
    now = datetime.now(UTC)
    stop = now if end is None else as_utc(end)
    if stop > now:
        msg = f"end={end!r} is in the future; leave it out to mean now"
        raise BadArgument(msg)
    return stop


def window_in_words(start: datetime, end: datetime) -> str:
    """
    A window as people read it: ``2024-09-01 → 2025-03-01 UTC, end exclusive, 181 days``.

    Hours are shown where a moment is not midnight.
    """
    days = (end - start) / timedelta(days=1)
    length = f"{days:,.0f}" if days == int(days) else f"{days:,.1f}"
    unit = "day" if length == "1" else "days"
    return f"{_moment(start)} → {_moment(end)} UTC, end exclusive, {length} {unit}"


def _moment(moment: datetime) -> str:
    is_midnight = moment.hour == moment.minute == 0
    return f"{moment:%Y-%m-%d}" if is_midnight else f"{moment:%Y-%m-%d %H:%M}"


def lookback_start(end: datetime, lookback: Lookback) -> datetime:
    """
    The moment that lies *lookback* before *end*.

    Whole years and months step by the calendar (29 February becomes the 28th); a fraction of a
    year counts 365.25 days a year.
    """
    try:
        start = _start(end, lookback)
    except BadArgument:
        raise
    except (ValueError, OverflowError) as error:
        raise BadArgument(_too_far(lookback)) from error
    if start < _EPOCH:
        raise BadArgument(_too_far(lookback))
    return start


def _start(end: datetime, lookback: Lookback) -> datetime:
    if isinstance(lookback, timedelta):
        if lookback <= timedelta():
            raise BadArgument(_no_lookback(lookback))
        return end - lookback
    if isinstance(lookback, str):
        return _start_of_text(end, lookback)
    years = _positive(lookback)
    if years == int(years):
        return _months_before(end, 12 * int(years))
    return end - timedelta(days=365.25 * years)


def _start_of_text(end: datetime, lookback: str) -> datetime:
    match = _TEXT.fullmatch(lookback)
    count, unit = (float(match[1]), match[2].lower()) if match else (0.0, "")
    if unit == "m" or unit.startswith("min"):
        msg = (
            f'lookback_years={lookback!r}: write months as "6 months"; the shortest unit is an hour'
        )
        raise BadArgument(msg)
    if not count or unit not in {*_MONTHS, *_LENGTHS}:
        raise BadArgument(_no_lookback(lookback))
    if unit in _LENGTHS:
        return end - count * _LENGTHS[unit]
    months = count * _MONTHS[unit]
    if months != int(months):
        if _MONTHS[unit] == 1:
            msg = f"lookback_years={lookback!r}: months are whole; take days for a part of one"
            raise BadArgument(msg)
        return _start(end, count)
    return _months_before(end, int(months))


def _months_before(end: datetime, months: int) -> datetime:
    """The same day of an earlier month, or the last one of that month where it has no such day."""
    year, month = divmod(12 * end.year + end.month - 1 - months, 12)
    for day in range(end.day, 27, -1):
        try:
            return end.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return end.replace(year=year, month=month + 1)


def _no_lookback(lookback: object) -> str:
    return f"lookback_years={lookback!r} is no lookback; write {_WAYS}"


def _too_far(lookback: object) -> str:
    return f"lookback_years={lookback!r} reaches before 1970; Binance's history begins in 2017"


def _positive(years: float) -> float:
    number = isinstance(years, Real) and not isinstance(years, bool)
    # Compared first: a huge int has no float to ask whether it is finite.
    if number and _MOST_YEARS <= years < float("inf"):
        raise BadArgument(_too_far(years))
    if not number or not 0 < years < _MOST_YEARS:
        raise BadArgument(_no_lookback(years))
    return float(years)


def get_monthly_periods(
    years_back: Lookback,
    start_from_date: datetime | date | str | None = None,
    *,
    end: datetime | date | str | None = None,
) -> list[Period]:
    """
    Cut the lookback into UTC calendar months, oldest first.

    The first month is taken whole, so that its cache file is the same whatever
    day it was asked for; the last one ends at *end* and may still be growing.

    Parameters
    ----------
    years_back : float, str or timedelta
        How far back to reach: whole years by the calendar, a fraction at 365.25 days a
        year; ``"6 months"``, ``"90d"``; or a timedelta.
    start_from_date : datetime, date or str, optional
        Reach back no further than the month of this.
    end : datetime, date or str, optional
        The end of the lookback (exclusive, UTC). Defaults to the present.

    Warns
    -----
    UserWarning
        If a datetime is naive, as those of the original downloader; it is taken as UTC.

    Returns
    -------
    list of Period
        ``(start, end)`` pairs, aware UTC, half-open.

    Raises
    ------
    BadArgument
        If the lookback is not a positive number, or a moment is none.

    Examples
    --------
    >>> for start, end in get_monthly_periods(0.1, end="2024-03-05"):
    ...     print(f"{start:%Y-%m-%d} to {end:%Y-%m-%d}")
    2024-01-01 to 2024-02-01
    2024-02-01 to 2024-03-01
    2024-03-01 to 2024-03-05
    """
    return _cut("month", years_back, start_from_date, end)


def get_daily_periods(
    years_back: Lookback,
    start_from_date: datetime | date | str | None = None,
    *,
    end: datetime | date | str | None = None,
) -> list[Period]:
    """
    Cut the lookback into UTC days, oldest first.

    The first day is taken whole; the last one ends at *end*. The same rule as
    that of the months, so that all datasets end at one moment.

    Parameters
    ----------
    years_back : float, str or timedelta
        How far back to reach, as in `get_monthly_periods`.
    start_from_date : datetime, date or str, optional
        Reach back no further than the day of this.
    end : datetime, date or str, optional
        The end of the lookback (exclusive, UTC). Defaults to the present.

    Warns
    -----
    UserWarning
        If a datetime is naive, as those of the original downloader; it is taken as UTC.

    Returns
    -------
    list of Period
        ``(start, end)`` pairs, aware UTC, half-open.

    Raises
    ------
    BadArgument
        If the lookback is not a positive number, or a moment is none.

    Examples
    --------
    >>> days = get_daily_periods(1, "2024-02-28", end="2024-03-01T06:00")
    >>> [f"{start:%m-%d}" for start, end in days]
    ['02-28', '02-29', '03-01']
    """
    return _cut("day", years_back, start_from_date, end)


def _cut(
    cut: Cut,
    years_back: Lookback,
    start_from_date: datetime | date | str | None,
    end: datetime | date | str | None,
) -> list[Period]:
    if _is_naive(start_from_date) or _is_naive(end):
        naive = start_from_date if _is_naive(start_from_date) else end
        msg = f"{naive!r} has no time zone and is taken as UTC; pass datetime(..., tzinfo=UTC)"
        warnings.warn(msg, UserWarning, stacklevel=3)
    last = datetime.now(UTC) if end is None else as_utc(_with_zone(end))
    first = lookback_start(last, years_back)
    if start_from_date is not None:
        first = max(first, as_utc(_with_zone(start_from_date), "start_from_date"))
    return cut_periods(cut, first, last)


def _is_naive(moment: object) -> bool:
    return isinstance(moment, datetime) and moment.utcoffset() is None


def _with_zone(moment: datetime | date | str) -> datetime | date | str:
    """The same moment; of a naive one, as UTC."""
    if isinstance(moment, datetime) and _is_naive(moment):
        return moment.replace(tzinfo=UTC)
    return moment
