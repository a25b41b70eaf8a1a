"""K-line intervals and their grids of open times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.errors import BadArgument
from ares_notebook.model.time import (
    INTERVALS,
    as_utc,
    interval_text,
    next_open_ms,
    opens_between,
    to_ms,
    utc,
    validate_interval,
)

_DAY = timedelta(days=1)
moments = st.datetimes(
    datetime(2017, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    datetime(2035, 1, 1),  # noqa: DTZ001 - see above
    timezones=st.just(UTC),
)


@pytest.mark.parametrize("wrong", ["1H", "60m", "1mo", "", "7m", "1y"])
def test_an_unknown_interval_lists_the_known_ones(wrong):
    """A typo does not become another interval; the error lists those that there are."""
    with pytest.raises(BadArgument, match=r"1s, 1m, 3m, .*1w, 1M"):
        validate_interval(wrong)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("60m", "1h"), ("1H", "1h"), ("1min", "1m"), ("1D", "1d"), ("24h", "1d"), ("1hour", "1h"),
        ("5T", "5m"), ("1mo", "1M"), ("1 month", "1M"), ("monthly", "1M"), ("1MS", "1M"), ("M", "1M"),
        ("5M", "5m"), ("1MIN", "1m"), ("60s", "1m"), ("1440m", "1d"), ("7d", "1w"), ("1W", "1w"),
        ("2hrs", "2h"), ("15 minutes", "15m"), ("daily", "1d"), ("H1", "1h"), ("M5", "5m"),
        ("MN1", "1M"), ("1h ", "1h"), (timedelta(hours=4), "4h"),
    ],
)  # fmt: skip
def test_an_interval_that_is_written_otherwise_gets_a_hint(written, meant):
    """An interval as other programs write it is refused with Binance's of the same length."""
    with pytest.raises(BadArgument, match=rf"; did you mean {meant}\?$"):
        validate_interval(written)


@pytest.mark.parametrize("written", ["7m", "90m", "12M", "1ms", "0h", "1y", "1hh", "", 60, None])
def test_no_interval_is_suggested_that_is_not_of_that_length(written):
    """Where Binance has no interval of a length, none is suggested."""
    with pytest.raises(BadArgument, match=r"\(1m is a minute, 1M a month\)$"):
        validate_interval(written)


def test_minute_and_month_are_two_files_on_every_disk():
    """In file names the month is 1mo, so that no two intervals differ by case alone."""
    texts = {interval_text(each).lower() for each in INTERVALS}

    assert len(texts) == len(INTERVALS)
    assert interval_text("1M") == "1mo"


@pytest.mark.parametrize("interval", list(INTERVALS))
@given(start=moments, days=st.integers(0, 70))
def test_opens_are_all_closed_candles_of_the_window(interval, start, days):
    """Opens lie in the window, follow each other without a gap, are closed, and none more would fit."""
    span = min(days, 1) if interval in ("1s", "1m") else days
    start_ms, end_ms = to_ms(start), to_ms(start + timedelta(days=span))

    opens = list(opens_between(interval, start_ms, end_ms))

    assert all(next_open_ms(interval, one) == other for one, other in pairwise(opens))
    if opens:
        assert start_ms <= opens[0]
        following = next_open_ms(interval, opens[-1])
        assert following <= end_ms < next_open_ms(interval, following)


@pytest.mark.parametrize(
    ("interval", "day", "first"),
    [
        ("1w", "2025-01-01", "2025-01-06"),
        ("3d", "1970-01-01", "1970-01-02"),
        ("3d", "2025-02-01", "2025-02-03"),
        ("1M", "2025-01-02", "2025-02-01"),
        ("1d", "2025-01-01T00:00:00.001", "2025-01-02"),
    ],
)
def test_grids_have_their_own_origins(interval, day, first):
    """Weeks open on Mondays, three days count from 1970-01-02, months on the first."""
    start_ms = to_ms(as_utc(day))

    opens = opens_between(interval, start_ms, start_ms + 100 * 86_400_000)

    assert utc(opens[0]) == as_utc(first)


def test_an_open_month_is_no_candle_yet():
    """The monthly candle counts only when its month is over."""
    start_ms = to_ms(as_utc("2025-01-01"))

    opens = opens_between("1M", start_ms, to_ms(as_utc("2025-03-01")) - 1)

    assert opens == [start_ms]
