"""UTC time and calendar periods."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_notebook.errors import BadArgument
from ares_notebook.model.time import (
    Period,
    as_utc,
    cut_periods,
    month_of,
    period_of,
    to_ms,
    utc,
)
from ares_notebook.model.window import (
    get_daily_periods,
    get_monthly_periods,
    lookback_start,
    window_in_words,
    window_of,
)

_DAY = timedelta(days=1)
moments = st.datetimes(
    datetime(2017, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    datetime(2035, 1, 1),  # noqa: DTZ001 - see above
    timezones=st.just(UTC),
)


@pytest.mark.parametrize(
    "value",
    [
        "2025-01-01",
        "2025-01-01T00:00",
        " 2025-01-01T00:00:00Z ",
        "2025-01-01T05:30+05:30",
        date(2025, 1, 1),
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(2024, 12, 31, 19, tzinfo=timezone(timedelta(hours=-5))),
    ],
)
def test_a_moment_is_read_as_people_write_it(value):
    """All these mean the first midnight of 2025 in UTC."""
    moment = as_utc(value)

    assert moment == datetime(2025, 1, 1, tzinfo=UTC)
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2025, 1, 1),  # noqa: DTZ001 - the very thing that is refused
        "yesterday",
        "2025-13-01",
        "",
        1_735_689_600,
        None,
        "0001-01-01T00:00+01:00",
        "9999-12-31T23:59-01:00",
    ],
)
def test_what_is_no_moment_is_refused_by_name(value):
    """A moment without zone, or none at all, is refused, and the error names the argument."""
    with pytest.raises(BadArgument, match="from_date="):
        as_utc(value, "from_date")


@settings(deadline=None)
@given(moments)
def test_milliseconds_and_back(moment):
    """A stamp in milliseconds is the moment rounded down, whatever the year."""
    back = utc(to_ms(moment))

    assert timedelta(0) <= moment - back < timedelta(milliseconds=1)


@settings(deadline=None)
@given(moments, st.integers(0, 900), st.sampled_from(["month", "day"]))
def test_periods_tile_the_window(first, days, cut):
    """The first period is whole, each begins where the one before ends, the last ends at the end."""
    last = first + timedelta(days=days, hours=1)

    periods = cut_periods(cut, first, last)

    assert periods[0].start == period_of(cut, first).start
    assert periods[-1].end == last
    assert all(one.end == other.start for one, other in pairwise(periods))
    assert all(period == period_of(cut, period.start) for period in periods[:-1])


def test_no_time_has_no_periods():
    """A window that ends where it begins has no period, even in the middle of a month."""
    noon = datetime(2025, 3, 5, 12, tzinfo=UTC)

    assert cut_periods("month", noon, noon) == []
    assert cut_periods("day", noon, noon - _DAY) == []


@pytest.mark.parametrize(
    ("end", "years", "start"),
    [
        ("2024-02-29", 1, "2023-02-28"),
        ("2024-02-29", 4, "2020-02-29"),
        ("2025-03-01", 2, "2023-03-01"),
        ("2025-03-01", 2.0, "2023-03-01"),
        ("2025-01-01", 0.5, "2024-07-02T09:00"),
    ],
)
def test_lookback(end, years, start):
    """Whole years step by the calendar; a fraction counts 365.25 days a year."""
    assert lookback_start(as_utc(end), years) == as_utc(start)


@pytest.mark.parametrize(
    "years",
    [0, -1, float("nan"), float("inf"), True, "5", None, 56, 3000, 1e9, 1e300, 10**400],
    ids=lambda value: repr(value)[:10],
)
def test_a_lookback_that_cannot_be_meant_is_refused(years):
    """Nothing, less than nothing, no number, or a reach beyond 1970 is a bad argument."""
    with pytest.raises(BadArgument, match="lookback_years="):
        lookback_start(as_utc("2025-01-01"), years)


def test_months_and_days_end_at_one_moment():
    """Months and days follow one rule: the first whole, the last up to the end."""
    months = get_monthly_periods(0.1, end="2024-03-05T06:00")
    days = get_daily_periods(0.1, end="2024-03-05T06:00")

    assert months[-1].end == days[-1].end == as_utc("2024-03-05T06:00")
    assert months[0].start == as_utc("2024-01-01")
    assert days[0].start == as_utc("2024-01-28")
    assert all(moment.utcoffset() == timedelta(0) for period in days for moment in period)


def test_start_from_date_shortens_but_never_lengthens():
    """A later start cuts the lookback to its month; an earlier one changes nothing."""
    cut = get_monthly_periods(1, "2024-11-20", end="2025-01-01")
    same = get_monthly_periods(1, date(2001, 1, 1), end="2025-01-01")

    assert [period.start.month for period in cut] == [11, 12]
    assert len(same) == 12


def test_a_period_unpacks_and_counts():
    """A period is a plain pair that also tells its milliseconds."""
    start, end = period = month_of(as_utc("2024-02-10T17:00"))

    assert isinstance(period, Period)
    assert (end - start).days == 29
    assert period.end_ms - period.start_ms == 29 * 86_400_000


@pytest.mark.parametrize(
    ("lookback", "start"),
    [
        ("6 months", "2024-08-28"),
        ("1 month", "2025-01-28"),
        ("6mo", "2024-08-28"),
        ("2 years", "2023-02-28"),
        ("1y", "2024-02-28"),
        ("0.5 years", "2024-08-28"),
        ("90d", "2024-11-30"),
        ("90 Days", "2024-11-30"),
        ("2 weeks", "2025-02-14"),
        ("36h", "2025-02-26T12:00"),
        (timedelta(days=1, hours=6), "2025-02-26T18:00"),
    ],
)
def test_a_lookback_is_read_as_people_write_it(lookback, start):
    """Months and years step by the calendar, weeks, days and hours have their length."""
    assert lookback_start(as_utc("2025-02-28"), lookback) == as_utc(start)


@pytest.mark.parametrize(
    ("lookback", "words"),
    [
        ("6m", '"6 months"'),
        ("30min", '"6 months"'),
        ("5", "years as a number"),
        ("soon", "years as a number"),
        ("0 days", "is no lookback"),
        ("1.5 months", "months are whole"),
        ("-3 days", "years as a number"),
        (timedelta(0), "is no lookback"),
        ("9999 years", "before 1970"),
        ("99999999999999999999 days", "before 1970"),
    ],
)
def test_a_lookback_in_words_that_cannot_be_meant_is_refused(lookback, words):
    """The message shows what was given, and how a lookback is written."""
    with pytest.raises(BadArgument, match=words) as error:
        lookback_start(as_utc("2025-02-28"), lookback)

    assert repr(lookback) in str(error.value)


def test_a_start_says_the_same_as_a_lookback():
    """A window begins at *start*, or *lookback* before its end."""
    assert window_of("1 month", None, "2025-03-01") == window_of(None, "2025-02-01", "2025-03-01")


@pytest.mark.parametrize(
    ("lookback", "start", "words"),
    [
        (None, None, "say how far back"),
        (1, "2024-01-01", "give one"),
        (None, "2025-03-01", "not before the end"),
        (None, "1969-12-31", "outside the years 1970"),
    ],
)
def test_a_window_that_cannot_be_meant_is_refused(lookback, start, words):
    """A beginning is said once, and lies before the end."""
    with pytest.raises(BadArgument, match=words):
        window_of(lookback, start, "2025-03-01")


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2024-09-01", "2025-03-01", "2024-09-01 → 2025-03-01 UTC, end exclusive, 181 days"),
        ("2025-03-01", "2025-03-02", "2025-03-01 → 2025-03-02 UTC, end exclusive, 1 day"),
        (
            "2025-03-01",
            "2025-03-02T12:30",
            "2025-03-01 → 2025-03-02 12:30 UTC, end exclusive, 1.5 days",
        ),
    ],
)
def test_a_window_is_shown_with_its_length(start, end, words):
    """Days without their midnight, hours where there are some, and how many days it is."""
    assert window_in_words(as_utc(start), as_utc(end)) == words
