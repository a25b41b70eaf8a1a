"""Each candle gets what is known at its close, and never what comes later."""

from __future__ import annotations

import json
import warnings
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument
from ares_notebook.model.datasets import DATASETS

DAY = 1 / 365.25
NAN = float("nan")


def candles(count: int, interval: str = "1h", start: str = "2025-01-01") -> pd.DataFrame:
    """Candles whose close is their number."""
    step = {"1M": "MS", "1d": "D"}.get(interval, interval.replace("m", "min"))
    index = pd.date_range(start, periods=count, freq=step, tz="UTC", name="timestamp")
    frame = pd.DataFrame({"close": np.arange(count, dtype=float)}, index=index)
    frame.attrs = {"dataset": "klines", "interval": interval}
    return frame


def events(*stamps: str) -> pd.DataFrame:
    """Funding events whose rates are their numbers."""
    index = pd.DatetimeIndex(stamps, tz="UTC", name="timestamp")
    return pd.DataFrame({"fundingRate": np.arange(len(stamps), dtype=float)}, index=index)


def same(found: pd.Series, expected: list[float]) -> bool:
    """Whether a column has just these cells."""
    return np.array_equal(found.to_numpy(dtype=float), np.array(expected), equal_nan=True)


@pytest.fixture
async def filled(settings):
    """Three weeks of candles and funding, and two days of trades."""
    for interval in ("1h", "4h"):
        await ares.download_klines_data(
            "BTCUSDT", interval, start="2025-02-01", end="2025-03-15", settings=settings
        )
    await ares.download_futures_data(
        "BTCUSDT", start="2025-02-01", end="2025-03-15", settings=settings
    )
    await ares.download_agg_trades_data(
        "BTCUSDT", start="2025-03-13", end="2025-03-15", settings=settings
    )
    return settings


def test_no_candle_is_lost_to_the_milliseconds_of_funding(filled):
    """A join by equal stamps loses most events, align gives each candle the last one before its close."""
    klines = ares.load_klines("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=filled)
    funding = ares.load_futures("BTCUSDT", "2025-02-01", "2025-03-01", settings=filled)
    aligned = ares.align(klines, funding)
    close = klines.index + pd.Timedelta(hours=1)

    assert klines.join(funding)["fundingRate"].notna().sum() < len(funding)
    assert aligned.index.equals(klines.index)
    assert list(aligned.columns) == [*klines.columns, "fundingRate"]
    assert same(aligned["fundingRate"], [funding[funding.index <= at].iloc[-1, 0] for at in close])
    assert aligned.attrs["complete"]
    pd.testing.assert_frame_equal(aligned[klines.columns], klines, check_flags=False)


@pytest.mark.parametrize(
    ("stamp", "rates"),
    [
        ("2025-01-01 01:59:59.999", [NAN, 0, 0]),
        ("2025-01-01 02:00:00.000", [NAN, 0, 0]),
        ("2025-01-01 02:00:00.001", [NAN, NAN, 0]),
    ],
)
def test_an_event_is_seen_at_its_own_moment_and_not_before(stamp, rates):
    """At the close an event is seen, a millisecond later by the next candle only."""
    assert same(ares.align(candles(3), events(stamp))["fundingRate"], rates)


@pytest.mark.parametrize(
    ("tolerance", "rates"),
    [
        (None, [0, 0, 0]),
        ("90min", [0, 0, NAN]),
        (timedelta(minutes=90, milliseconds=-1), [0, NAN, NAN]),
        ("150min", [0, 0, 0]),
        (timedelta(minutes=150, milliseconds=-1), [0, 0, NAN]),
        (timedelta(0), [NAN, NAN, NAN]),
        ("1d", [0, 0, 0]),
    ],
)
def test_a_value_of_just_the_tolerance_counts(tolerance, rates):
    """A value counts whose age at the close is the tolerance, and none that is a millisecond older."""
    funding = events("2025-01-01 00:30:00")

    assert same(ares.align(candles(3), funding, tolerance=tolerance)["fundingRate"], rates)


def test_the_tolerance_of_candles_counts_from_their_close():
    """The age of a candle's values is counted from its close, since they are known from then on."""
    aligned = ares.align(candles(13), candles(1, "4h"), tolerance="4h")

    assert same(aligned["close_klines_4h"], [NAN] * 3 + [0.0] * 5 + [NAN] * 5)


def test_a_longer_candle_is_known_after_its_close_only():
    """Until a 4h candle is closed the one before is seen; at its close it is."""
    aligned = ares.align(candles(9), candles(3, "4h"))

    assert same(aligned["close_klines_4h"], [NAN, NAN, NAN, 0, 0, 0, 0, 1, 1])


def test_a_shorter_candle_is_seen_up_to_the_close():
    """An hour sees the last of its own four quarters."""
    assert same(ares.align(candles(2), candles(8, "15m"))["close_klines_15m"], [3, 7])


def test_a_month_is_known_when_it_is_over():
    """A candle of a month, which has no fixed length, is seen by the day that ends the month."""
    months = candles(2, "1M")
    days = ares.align(candles(60, "1d"), months)["close_klines_1M"]
    months.attrs = {}

    assert same(ares.align(candles(60, "1d"), months)["close_klines_1M"], days.tolist())
    assert days.isna().sum() == 30
    assert same(days["2025-01-31":"2025-02-27"], [0.0] * 28)
    assert days["2025-02-28"] == 1


def test_no_future_row_changes_a_row():
    """Whatever comes after a candle's close, the candle's row stays as it is."""
    klines, other = candles(60, "15m"), candles(60, "1h")
    whole = ares.align(klines, other, events("2025-01-01 03:00:00.007", "2025-01-01 08:00:00"))
    for at in range(1, 60):
        now = klines.index[at - 1] + pd.Timedelta(minutes=15)
        known = other[other.index + pd.Timedelta(hours=1) <= now]
        seen = events("2025-01-01 03:00:00.007", "2025-01-01 08:00:00")
        part = ares.align(klines.iloc[:at], known, seen[seen.index <= now])
        pd.testing.assert_frame_equal(part, whole.iloc[:at])


def test_bars_of_trades_are_known_at_their_end(filled):
    """Of 5s bars that somebody made an hour sees the one that ends with it, and no trade after its close."""
    klines = ares.load_klines("BTCUSDT", "1h", "2025-03-13", "2025-03-14", settings=filled)
    trades = ares.load_agg_trades("BTCUSDT", "2025-03-13", "2025-03-14", settings=filled)
    grouped = trades.groupby(trades.index.floor("5s"))
    bars = grouped.agg(last=("price", "last"), last_id=("agg_trade_id", "last"))
    like_trades = grouped.agg({"price": "last", "agg_trade_id": "last"})
    close = klines.index + pd.Timedelta(hours=1)
    ids = [trades[trades.index < at]["agg_trade_id"].iloc[-1] for at in close]

    assert like_trades.attrs["dataset"] == "agg_trades"
    assert ares.align(klines, bars)["last_id"].tolist() == ids
    assert ares.align(klines, like_trades)["agg_trade_id"].tolist() == ids
    assert ares.align(klines, trades)["agg_trade_id"].tolist() == ids
    assert same(ares.align(klines, bars)["last"], klines["close"].tolist())


def test_bars_of_a_number_of_trades_are_refused(filled):
    """Bars of a hundred trades each keep the attrs of trades; when one of them is over, nothing tells."""
    trades = ares.load_agg_trades("BTCUSDT", "2025-03-13", "2025-03-14", settings=filled)
    grouped = trades.reset_index().groupby(np.arange(len(trades)) // 100)
    bars = grouped.agg(timestamp=("timestamp", "first"), close=("price", "last"))
    bars = bars.set_index("timestamp")
    bars.attrs = trades.attrs

    with pytest.raises(BadArgument, match="on no regular grid"):
        ares.align(candles(24, start="2025-03-13"), bars)


def test_trades_and_bars_get_funding_too():
    """The rows that are kept may be trades, decided at their own times, or bars at their ends."""
    index = pd.DatetimeIndex(["2025-01-01 08:00:00", "2025-01-01 08:00:00.004"], tz="UTC")
    trades = pd.DataFrame({"price": 1.0, "agg_trade_id": [1, 2]}, index=index)
    funding = events("2025-01-01 08:00:00.003")
    bars = candles(3, "10s", "2025-01-01 07:59:50")
    bars.attrs = {}

    assert same(ares.align(trades, funding)["fundingRate"], [NAN, 0])
    assert same(ares.align(bars, funding)["fundingRate"], [NAN, 0, 0])


def test_daily_sums_of_funding_are_known_when_the_day_is_over():
    """The sum of a day of funding is no event of its midnight, though it has the columns of one."""
    funding = events(*(f"2025-01-0{day} {hour}:00:00.002" for day in (1, 2) for hour in (0, 8, 16)))
    aligned = ares.align(candles(30), funding.resample("1D").sum())

    assert same(aligned["fundingRate"], [NAN] * 23 + [3.0] * 7)


def test_a_candle_off_the_grid_is_over_when_the_next_begins():
    """A candle that opens late, after a halt, decides when the next one opens, not an interval after its own."""
    klines = candles(3).set_axis(
        pd.DatetimeIndex(["2018-02-09 09:28:14", "2018-02-09 10:00", "2018-02-09 11:00"], tz="UTC")
    )
    aligned = ares.align(klines, events("2018-02-09 10:10:00"))

    assert same(aligned["fundingRate"], [NAN, 0, 0])


@pytest.mark.parametrize(
    "method", [lambda frame: frame.resample("4h").last(), lambda frame: frame[::4]]
)
def test_a_stale_interval_is_refused(method):
    """After a resample the attrs still say 1h, and trusting them would look three hours ahead."""
    with pytest.raises(BadArgument, match=r"'1h'.*no two rows are closer than 0 days 04:00:00"):
        ares.align(candles(12), method(candles(12)))
    right = candles(12).resample("4h").last()
    right.attrs["interval"] = "4h"
    assert same(ares.align(candles(4), right)["close_klines_4h"], [NAN, NAN, NAN, 3])


@pytest.mark.parametrize(
    "method",
    [
        lambda frame: frame.resample("1D").last(),
        lambda frame: frame.groupby(frame.index.floor("D")).last(),
        lambda frame: frame.resample("15h", origin="start").last(),
        lambda frame: frame.resample("MS").last(),
        lambda frame: frame.iloc[[0, 9]],
    ],
)
def test_too_few_rows_to_show_a_stale_interval_are_refused(filled, method):
    """One row, or two, of a day's candles that keep attrs of 1h are refused, since they may be the day."""
    klines = ares.load_klines("BTCUSDT", "1h", "2025-02-01T00:00", "2025-02-02", settings=filled)
    few = method(klines)

    assert few.attrs["interval"] == "1h"
    with pytest.raises(BadArgument, match=r"of frame 2 is '1h'.*set frame\.(attrs|index)"):
        ares.align(klines, few)


def test_a_day_of_candles_is_seen_when_its_attrs_say_that_it_is_a_day(filled):
    """The close of a resampled day with attrs of 1d is seen at midnight, and not an hour before."""
    klines = ares.load_klines("BTCUSDT", "1h", "2025-02-01", "2025-02-02", settings=filled)
    day = klines[["close"]].resample("1D").last()
    day.attrs["interval"] = "1d"
    seen = ares.align(klines, day)["close_klines_1d"]

    assert same(seen, [NAN] * 23 + [klines["close"].iloc[-1]])


def test_the_only_row_of_a_loaded_window_is_a_bar(filled):
    """A window of one 4h candle has one row, whose interval the window confirms, and one without a row is complete."""
    hours = ares.load_klines("BTCUSDT", "1h", "2025-02-01", "2025-02-01T06:00", settings=filled)
    one = ares.load_klines("BTCUSDT", "4h", "2025-02-01", "2025-02-01T04:00", settings=filled)

    later = ares.load_klines(
        "BTCUSDT", "1h", "2025-02-01T01:00", "2025-02-01T06:00", settings=filled
    )
    none = ares.load_klines(
        "BTCUSDT", "4h", "2025-02-01T01:00", "2025-02-01T03:00", settings=filled
    )

    assert ares.align(hours, one)["close_klines_4h"].isna().tolist() == [True] * 3 + [False] * 3
    assert ares.align(later, none)["close_klines_4h"].isna().all()
    assert ares.align(later, none).attrs["complete"]


def test_candles_spread_over_shorter_steps_are_refused():
    """Rows of 4h candles that are repeated each hour have no decision moments four hours later."""
    spread = candles(3, "4h").resample("1h").ffill()

    for frame in (spread, spread.set_axis(pd.DatetimeIndex(spread.index, freq=None))):
        with pytest.raises(BadArgument, match=r"'4h', and its index has steps of 0 days 01:00:00"):
            ares.align(frame, events("2025-01-01 09:30"))


@pytest.mark.parametrize(("step", "ends"), [("QS", 90), ("YS", 365), ("2MS", 59)])
@pytest.mark.parametrize("has_freq", [True, False])
def test_bars_that_begin_with_a_month_are_known_when_all_their_months_are_over(
    step, ends, has_freq
):
    """Quarters and years, which all begin with a month, are seen on their last day and not before."""
    days = candles(800, "1d", "2023-01-01")
    days.attrs = {}
    bars = days.resample(step).last().rename(columns={"close": "last"})
    if not has_freq:
        bars = bars.set_axis(pd.DatetimeIndex(bars.index, freq=None))
    seen = ares.align(days, bars)["last"]

    assert seen.iloc[: ends - 1].isna().all()
    assert seen.iloc[ends - 1] == ends - 1
    assert (seen.dropna() <= days["close"][seen.notna()]).all()


def test_bars_of_different_numbers_of_months_are_refused():
    """Of rows that begin a month and are one and two months apart it is not known how long each lasts."""
    stamps = pd.DatetimeIndex(["2025-01-01", "2025-02-01", "2025-04-01"], tz="UTC")
    bars = pd.DataFrame({"close": [0.0, 1.0, 2.0]}, index=stamps)

    with pytest.raises(BadArgument, match="frame 2 are on no regular grid"):
        ares.align(candles(120, "1d"), bars)
    bars.attrs["interval"] = "1M"
    seen = ares.align(candles(120, "1d"), bars)["close_klines_1M"]
    assert same(seen.iloc[[29, 30, 57, 58]], [NAN, 0, 0, 1])


@pytest.mark.parametrize("step", ["30D", "ME", "QS"])
def test_a_stale_month_is_refused(step):
    """Monthly candles that were resampled keep attrs of 1M, which their rows do not confirm."""
    months = candles(5, "1M").resample(step).last().iloc[:2]

    with pytest.raises(BadArgument, match="frame 2 is '1M'"):
        ares.align(candles(120, "1d"), months)


def test_business_days_are_known_when_the_next_one_begins():
    """A bar of Friday that holds the weekend is seen on Sunday evening, and not on Saturday."""
    hours = candles(24 * 5, start="2025-01-03")
    hours.attrs = {}
    days = hours.resample("B").last().rename(columns={"close": "last"})
    seen = ares.align(hours, days)["last"]

    assert same(seen.iloc[[70, 71]], [NAN, 71])
    days.attrs["interval"] = "1d"
    with pytest.raises(BadArgument, match="frame 2 is '1d', and its index does not show it"):
        ares.align(hours, days)


@pytest.mark.parametrize("zone_day", ["2025-03-08", "2025-11-01"])
def test_days_of_another_zone_are_as_long_as_they_are(zone_day):
    """Days in New York that last 23 or 25 hours end at the next midnight there."""
    index = pd.date_range(zone_day, periods=72, freq="h", tz="America/New_York")
    hours = pd.DataFrame({"close": np.arange(72.0)}, index=index)
    days = hours.resample("D").last().rename(columns={"close": "last"})
    seen = ares.align(hours, days)["last"]
    over = seen.notna() & (seen != seen.shift())

    assert (seen[over] == hours["close"][over]).all()
    assert over.sum() >= 2


@pytest.mark.parametrize(
    "method",
    [
        lambda frame: frame.resample("8h").sum(),
        lambda frame: frame.resample("4h").last(),
        lambda frame: frame.resample("1h").last(),
        lambda frame: frame.iloc[:4].resample("8h").sum(),
        lambda frame: frame.groupby(frame.index.floor("8h")).sum(),
    ],
)
@pytest.mark.parametrize(
    "attrs", [{}, *({"dataset": name, "interval": None} for name in ("futures", "cm_funding"))]
)
def test_sums_of_funding_are_no_events(method, attrs):
    """Sums of hourly funding are refused until attrs state their length, or that they are events."""
    stamps = pd.date_range("2025-01-01", periods=500, freq="h", tz="UTC") + timedelta(
        milliseconds=3
    )
    funding = pd.DataFrame({"fundingRate": 1.0}, index=pd.DatetimeIndex(stamps, freq=None))
    funding.attrs = attrs
    sums = method(funding)

    assert ares.align(candles(9), funding)["fundingRate"].notna().all()
    with pytest.raises(BadArgument, match=r'frame 2 are on a regular grid.*"8h".*"events"'):
        ares.align(candles(9), sums)


@pytest.mark.parametrize("dataset", [each.name for each in DATASETS if not each.has_grid])
def test_events_of_each_dataset_are_known_at_their_own_moment(dataset):
    """Funding and trades of any market are seen in the candle in which they happen."""
    rows = events("2025-01-01 00:00:00.003", "2025-01-01 02:30:00.007", "2025-01-01 03:10:00.001")
    rows.attrs["dataset"] = dataset

    assert same(ares.align(candles(4), rows)["fundingRate"], [0.0, 0.0, 1.0, 2.0])


def test_a_sum_of_eight_hours_is_seen_when_they_are_over():
    """With attrs of 8h the sum is seen at 08:00 and not at 07:00, as events at its own time."""
    stamps = pd.date_range("2025-01-01", periods=24, freq="h", tz="UTC")
    sums = pd.DataFrame({"fundingRate": 1.0}, index=stamps).resample("8h").sum()
    sums.attrs["interval"] = "8h"
    assert same(ares.align(candles(9), sums)["fundingRate"], [NAN] * 7 + [8.0] * 2)
    sums.attrs = {"dataset": "events"}
    assert same(ares.align(candles(2), sums)["fundingRate"], [8.0, 8.0])


def test_funding_stamped_at_full_hours_is_funding():
    """A few events that happen to lie on full hours, as half of all do, are known at their own times."""
    funding = events("2025-01-01 00:00", "2025-01-01 08:00", "2025-01-01 16:00")

    assert same(ares.align(candles(9), funding)["fundingRate"], [0.0] * 7 + [1.0] * 2)


@pytest.mark.parametrize("step", ["500ms", "50ms"])
def test_sums_of_trades_over_less_than_a_second_are_no_events(filled, step):
    """Trades that were summed over a part of a second are refused, with a frequency and without one."""
    trades = ares.load_agg_trades("BTCUSDT", "2025-03-13", "2025-03-13T01:00", settings=filled)
    seconds = candles(60, "1s", "2025-03-13")
    columns = trades[["quantity", "agg_trade_id"]]
    for sums in (columns.resample(step).sum(), columns.groupby(columns.index.floor(step)).sum()):
        with pytest.raises(BadArgument, match="frame 2 are on a regular grid"):
            ares.align(seconds, sums)
    assert ares.align(sums, trades)["agg_trade_id_agg_trades"].notna().any()


def test_two_rows_around_a_halt_are_no_resample():
    """Two hourly candles with a halt between them do not contradict their interval."""
    klines = candles(5, start="2025-01-01 01:00").iloc[[0, 4]]

    assert same(ares.align(klines, events("2025-01-01 01:30"))["fundingRate"], [0, 0])


def irregular(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of which it is not known how long each of them lasts."""
    stamps = pd.DatetimeIndex(
        [f"2025-01-01 00:00:{second:02}" for second in (0, 7, 9, 20)], tz="UTC"
    )
    return pd.DataFrame({"score": frame["close"].to_numpy()[:4]}, index=stamps)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.tz_localize(None), 'no time zone.*tz_localize\\("UTC"\\)'),
        (lambda frame: frame.iloc[::-1], "not ascending.*sort_index"),
        (lambda frame: frame.reset_index(), "holds no times"),
        (lambda frame: frame["close"], "is a Series.*to_frame"),
        (irregular, "on no regular grid.*events"),
        (lambda frame: irregular(frame).iloc[:1], "on no regular grid"),
    ],
)
@pytest.mark.parametrize("place", ["the first frame", "frame 2"])
def test_what_has_no_clear_moments_is_refused(change, words, place):
    """Naive, unsorted and irregular frames are refused with the frame's place and what to do."""
    wrong, right = change(candles(9)), candles(9)
    frames = (wrong, right) if place == "the first frame" else (right, wrong)
    with pytest.raises(BadArgument, match=words) as caught:
        ares.align(*frames)

    assert place in str(caught.value)


@pytest.mark.parametrize(
    "tolerance", ["soon", "-1h", 3600, timedelta(-1), float("nan"), "NaT", "", timedelta.max]
)
def test_a_tolerance_is_a_length_of_time(tolerance):
    """What is no length of time is refused with its value."""
    with pytest.raises(BadArgument, match="is no length of time"):
        ares.align(candles(2), events("2025-01-01"), tolerance=tolerance)


def test_irregular_events_are_aligned_where_they_are_called_so():
    """Rows on no grid are known at their own times if attrs say that they are events."""
    news = events("2025-01-01 00:00:01", "2025-01-01 00:00:08", "2025-01-01 01:30:00")
    news = news.rename(columns={"fundingRate": "score"})
    news.attrs["dataset"] = "events"

    assert same(ares.align(candles(3), news)["score"], [1, 2, 2])


def test_other_zones_and_units_are_the_same_moments():
    """Frames in any time zone and of any resolution give the same rows; the index of the first is kept."""
    klines, funding = candles(9), events("2025-01-01 03:00:00", "2025-01-01 05:00:00.001")
    plain = ares.align(klines, funding)
    local = ares.align(klines.tz_convert("Asia/Kolkata"), funding.tz_convert("America/New_York"))
    coarse = ares.align(
        klines.set_axis(klines.index.as_unit("s")), funding.set_axis(funding.index.as_unit("ns"))
    )

    assert str(local.index.tz) == "Asia/Kolkata"
    assert same(local["fundingRate"], plain["fundingRate"].tolist())
    assert same(coarse["fundingRate"], plain["fundingRate"].tolist())


def test_columns_that_collide_are_told_apart():
    """A taken name gets dataset and interval, then the symbol; one frame twice is refused."""
    hours, others = candles(4), [candles(4) for _ in range(2)]
    for frame, symbol in zip([hours, *others], ["BTCUSDT", "ETHUSDT", "SOLUSDT"], strict=True):
        frame.attrs["symbol"] = symbol
    aligned = ares.align(hours, *others, candles(4, "15m"))

    assert list(aligned.columns) == [
        "close",
        "close_klines_1h",
        "close_klines_1h_SOLUSDT",
        "close_klines_15m",
    ]
    with pytest.raises(BadArgument, match="two frames have a column 'close_klines_1h_SOLUSDT'"):
        ares.align(hours, *others, others[1])


def test_empty_frames_are_aligned():
    """An empty first frame stays empty with all columns, an empty other one gives NaN."""
    klines, funding = candles(3), events("2025-01-01")
    nothing = ares.align(klines.iloc[:0], funding)
    unknown = ares.align(klines, funding.iloc[:0], candles(0, "4h"))

    assert (len(nothing), list(nothing.columns)) == (0, ["close", "fundingRate"])
    assert unknown[["fundingRate", "close_klines_4h"]].isna().all(axis=None)
    assert list(ares.align(klines).columns) == ["close"]


def test_whole_numbers_stay_whole_where_all_are_known(filled):
    """Integers keep their dtype where each candle has a value."""
    klines = ares.load_klines("BTCUSDT", "1h", "2025-02-02", "2025-02-03", settings=filled)
    longer = ares.load_klines("BTCUSDT", "4h", "2025-02-01", "2025-02-03", settings=filled)

    assert ares.align(klines, longer)["number_of_trades_klines_4h"].dtype == "int64"
    assert ares.align(klines, longer[2:])["number_of_trades_klines_4h"].dtype == "int64"
    assert ares.align(klines, longer[7:])["number_of_trades_klines_4h"].dtype == "float64"


def loaded(settings, *window: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candles and funding of a window, without the warning that they are incomplete."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return (
            ares.load_klines("BTCUSDT", "1h", *window, settings=settings),
            ares.load_futures("BTCUSDT", *window, settings=settings),
        )


def test_default_windows_are_complete_together(filled):
    """What was downloaded to one end is complete together, though funding ends with its last event."""
    klines, funding = loaded(filled)
    longer = ares.load_klines("BTCUSDT", "4h", settings=filled)
    aligned = ares.align(klines, funding, longer)

    assert funding.attrs["end"] < klines.attrs["end"]
    assert aligned.attrs["complete"]
    assert aligned.attrs["aligned"] == [["futures", "BTCUSDT", None], ["klines", "BTCUSDT", "4h"]]
    assert json.loads(json.dumps(aligned.attrs)) == aligned.attrs


def test_a_longer_candle_that_is_not_over_is_not_missing(filled):
    """A window of 4h candles that ends hours earlier is enough as long as no other one is closed in between."""
    longer = ares.load_klines("BTCUSDT", "4h", "2025-03-01", "2025-03-10T20:00", settings=filled)
    enough, _ = loaded(filled, "2025-03-01", "2025-03-10T23:00")
    more, _ = loaded(filled, "2025-03-01", "2025-03-11")

    assert ares.align(enough, longer).attrs["complete"]
    assert ares.align(more, longer).attrs["missing"] == [
        ["2025-03-10T20:00:00+00:00", "2025-03-11T00:00:00+00:00"]
    ]


def test_an_incomplete_frame_makes_all_incomplete(filled):
    """The windows of all frames are missing, those that meet as one, and missing() lists them."""
    _, funding = loaded(filled, "2025-03-01", "2025-03-20")
    klines, _ = loaded(filled, "2025-03-01", "2025-03-15")
    aligned = ares.align(klines, funding)
    both = ares.align(*loaded(filled, "2025-03-01", "2025-03-20"))

    assert klines.attrs["complete"]
    assert aligned.attrs["complete"] is False
    assert aligned.attrs["missing"] == funding.attrs["missing"]
    assert both.attrs["missing"][0][1] == "2025-03-20T00:00:00+00:00"
    assert both.attrs["missing_count"] == len(both.attrs["missing"]) == 1
    assert len(ares.missing(both)) == 1


def test_a_shorter_window_of_funding_is_not_complete(filled):
    """Candles without funding beside them, before or after, are said to lack it."""
    klines, _ = loaded(filled, "2025-03-01", "2025-03-10")
    _, funding = loaded(filled, "2025-03-03", "2025-03-08")
    aligned = ares.align(klines, funding)

    assert funding.attrs["complete"]
    assert aligned.attrs["complete"] is False
    assert aligned.attrs["missing"] == [
        ["2025-03-01T00:00:00+00:00", "2025-03-03T00:00:00+00:00"],
        ["2025-03-08T00:00:00+00:00", "2025-03-10T00:00:00+00:00"],
    ]


def test_a_frame_that_says_nothing_proves_nothing(filled):
    """Beside a frame without attrs nothing is complete: its whole window counts as missing."""
    klines, funding = loaded(filled, "2025-03-01", "2025-03-10")
    funding.attrs = {}
    aligned = ares.align(klines, funding)

    assert aligned.attrs["complete"] is False
    assert aligned.attrs["missing"] == [["2025-03-01T00:00:00+00:00", "2025-03-10T00:00:00+00:00"]]
    assert "fingerprint" not in ares.align(*loaded(filled, "2025-02-01", "2025-03-01")).attrs


@pytest.mark.parametrize("which", [0, 1])
def test_rows_that_were_removed_make_all_incomplete(filled, which):
    """Beside a frame of which rows were removed after loading nothing is complete, as beside one without attrs."""
    frames = loaded(filled, "2025-03-01", "2025-03-10")
    gone = [
        each.drop(each.index[[5, 6]]) if at == which else each for at, each in enumerate(frames)
    ]
    bare = [each.copy() for each in gone]
    bare[which].attrs = {key: frames[which].attrs[key] for key in ("dataset", "interval")}
    aligned, like = (ares.align(*each) for each in (gone, bare))

    assert ares.align(*frames).attrs["complete"]
    assert aligned.attrs["complete"] is False
    assert aligned.attrs["missing"] == like.attrs["missing"]
    assert "start" in aligned.attrs if which else "start" not in aligned.attrs


def test_more_missing_windows_than_are_listed_are_asked_of_each_frame(filled):
    """Of an aligned frame with more than a hundred windows missing() refuses, and says what to call."""
    klines, funding = loaded(filled, "2025-03-01", "2025-03-10")
    klines.attrs.update(
        complete=False, missing_count=120, missing=[["2025-03-01", "2025-03-02"]] * 100
    )
    aligned = ares.align(klines, funding)

    assert aligned.attrs["missing_count"] == 21
    with pytest.raises(BadArgument, match="each of the frames"):
        ares.missing(aligned)


@pytest.mark.parametrize(
    ("candles_of", "events_of", "symbol", "column"),
    [
        ("cm_klines", "cm_funding", "BTCUSD_PERP", "fundingRate"),
        ("um_klines", "um_agg_trades", "BTCUSDT", "price"),
    ],
)
async def test_events_of_any_market_are_known_at_their_own_time(
    settings, candles_of, events_of, symbol, column
):
    """Funding and trades of futures are aligned as those of spot: the last one at the close of a candle."""
    window = {"start": "2025-02-01", "end": "2025-02-03", "settings": settings}
    await ares.download_all_data(symbol, "1h", datasets=[candles_of, events_of], **window)
    klines = ares.load_rows(candles_of, symbol, "1h", **window)
    rows = ares.load_rows(events_of, symbol, **window)
    aligned = ares.align(klines, rows[[column]])
    known = [rows[column][:close].iloc[-1] for close in klines.index + pd.Timedelta("1h")]

    assert same(aligned[column], known)
    assert aligned.attrs["complete"]


async def test_payments_of_coin_m_are_known_until_the_next_is_due(settings):
    """Funding of COIN-M whose window is not stated is complete until its next payment is due."""
    window = {"start": "2025-02-01", "end": "2025-02-03", "settings": settings}
    await ares.download_all_data(
        "BTCUSD_PERP", "1h", datasets=["cm_klines", "cm_funding"], **window
    )
    rows = ares.load_rows("cm_funding", "BTCUSD_PERP", **window)
    rows.attrs = {name: rows.attrs[name] for name in ("dataset", "complete", "missing")}
    klines = ares.load_rows("cm_klines", "BTCUSD_PERP", "1h", **window | {"start": "2025-02-02"})

    assert ares.align(klines, rows).attrs["complete"]
    assert not ares.align(klines, rows[:-1]).attrs["complete"]
