"""K-lines, drawn: candles or a band, and the gaps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.load import IncompleteData
from ares_notebook.plots.figure import new_axes
from ares_notebook.plots.klines import band_of, gaps_of

ABSENT = "no candle (confirmed absent)"


def hours(count: int, without: slice = slice(0, 0)) -> pd.DataFrame:
    """Hourly candles, some of them left out."""
    index = pd.date_range("2025-01-01", periods=count, freq="h", tz="UTC", name="timestamp")
    close = 100 + np.sin(np.arange(count))
    frame = pd.DataFrame(
        {"open": close[::-1], "high": close + 2, "low": close - 2, "close": close}, index=index
    )
    frame = frame.drop(index=index[without])
    frame.attrs = {"complete": True, "missing": []}
    return frame


def at(hour: int) -> pd.Timestamp:
    """So many hours after the first candle."""
    return pd.Timestamp("2025-01-01", tz="UTC") + pd.Timedelta(hours=hour)


def legend(ax) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_larger_steps_are_absences():
    """Where the index steps over candles and nothing is missing, there are none to be had."""
    assert gaps_of(hours(48, slice(10, 13))).to_numpy().tolist() == [[at(10), at(13), ABSENT]]


def test_what_is_missing_is_no_absence():
    """A step over candles of which some are missing is split into the two."""
    frame = hours(48, slice(10, 16))
    frame.attrs["missing"] = [(at(12), at(14)), (at(46), at(48))]

    assert gaps_of(frame).to_numpy().tolist() == [
        [at(10), at(12), ABSENT],
        [at(12), at(14), "missing"],
        [at(14), at(16), ABSENT],
        [at(46), at(48), "missing"],
    ]


def test_months_of_unlike_length_are_no_gaps():
    """Candles of a month follow one another, though February is shorter."""
    index = pd.date_range("2024-01-01", periods=14, freq="MS", tz="UTC")
    frame = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}, index=index)

    assert gaps_of(frame).empty
    assert len(gaps_of(frame.drop(index=index[5]))) == 1


def test_a_frame_without_attrs_is_drawn():
    """A frame that lost its attrs on the way has gaps only where its index has."""
    frame = hours(24, slice(3, 4))
    frame.attrs = {}

    assert gaps_of(frame)["what"].tolist() == [ABSENT]


@pytest.mark.parametrize("most", [7, 50, 1000])
def test_a_band_keeps_the_extremes(most):
    """Of many candles the highest high, the lowest low and the last close are kept."""
    frame = hours(500)
    band = band_of(frame, most)

    assert len(band) <= most
    assert band["high"].max() == frame["high"].max()
    assert band["low"].min() == frame["low"].min()
    assert band["close"].iloc[-1] == frame["close"].iloc[-1]


def test_no_line_over_a_gap():
    """Where there is no candle the band has empty cells, so the line breaks."""
    band = band_of(hours(300, slice(100, 110)))

    assert band["close"].isna().sum() == 10
    assert all(math.isnan(each) for each in band.loc[at(100) : at(109), "high"])


@pytest.mark.parametrize(("count", "words"), [(200, "fell"), (201, "close")])
def test_up_to_two_hundred_are_candles(count, words):
    """Two hundred rows are candles, one more is a band with the close."""
    ax = ares.plot_klines(hours(count), ax=new_axes((9, 4)))

    assert words in legend(ax)


def test_each_row_is_a_candle():
    """Bodies are as many as rows, from open to close, and wicks from low to high."""
    frame = hours(30)
    ax = ares.plot_klines(frame, ax=new_axes((9, 4)))
    wicks, bodies = ax.collections[::2], ax.collections[1::2]

    assert sum(len(each.get_segments()) for each in wicks) == 30
    assert sum(len(each.get_paths()) for each in bodies) == 30
    tops = sorted(path.get_extents().y1 for each in bodies for path in each.get_paths())
    assert tops == pytest.approx(sorted(frame[["open", "close"]].max(axis=1)))
    ends = [point[1] for each in wicks for wick in each.get_segments() for point in wick]
    assert (min(ends), max(ends)) == pytest.approx((frame["low"].min(), frame["high"].max()))


async def test_a_real_window_is_drawn(settings):
    """A halt and a gap that somebody made are two looks, and only what occurs is explained."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-04-01", settings=settings)
    whole = ares.plot_klines(
        ares.load_klines("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=settings),
        ax=new_axes((9, 4)),
    )
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv").unlink()
    with pytest.warns(IncompleteData):
        frame = ares.load_klines("BTCUSDT", "1h", settings=settings)
    holed = ares.plot_klines(frame, ax=new_axes((9, 4)))

    assert legend(whole) == ["low to high", "close"]
    assert legend(holed) == ["low to high", "close", "missing", ABSENT]
    assert [shapes.get_hatch() for shapes in holed.collections[1:]] == ["////", None]


def test_one_candle_and_none():
    """A single candle has an axis; no candle has a sentence."""
    one = ares.plot_klines(hours(1), ax=new_axes((9, 4)))
    none = ares.plot_klines(hours(1).iloc[:0], ax=new_axes((9, 4)))

    low, high = one.get_xlim()
    assert high - low == pytest.approx(1.02 / 24)
    assert [text.get_text() for text in none.texts] == ["No k-lines"]


@pytest.mark.parametrize("count", [100, 5_000])
def test_candles_in_any_order_draw_the_same(count):
    """Sorted otherwise, a complete window is drawn without a gap, as candles and as a band."""
    stamps = pd.date_range("2025-01-01", periods=count, freq="h", tz="UTC", name="timestamp")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 1.0), index=stamps)

    for odd in (frame.iloc[::-1], frame.sample(frac=1, random_state=1)):
        legend = ares.plot_klines(odd, ax=new_axes((6, 3))).get_legend()
        words = [text.get_text() for text in legend.get_texts()] if legend else []
        assert not any("confirmed" in each or "missing" in each for each in words)
