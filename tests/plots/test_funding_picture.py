"""Funding rates, drawn."""

from __future__ import annotations

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.plots.figure import new_axes
from ares_notebook.plots.funding import funding_bars, yearly_share


def rates(*values: float, hours: int = 8) -> pd.DataFrame:
    """Rates, so many hours apart."""
    index = pd.date_range("2025-01-01", periods=len(values), freq=f"{hours}h", tz="UTC")
    return pd.DataFrame({"fundingRate": values}, index=index)


def test_bars_are_in_basis_points_and_touch():
    """A rate of 0.01 % is a bar of one basis point, up to the next payment."""
    bars = funding_bars(rates(0.0001, -0.0002, 0.0))

    assert bars["height"].tolist() == pytest.approx([1, -2, 0])
    assert (bars["x0"] + bars["width"]).tolist()[:-1] == pytest.approx(bars["x0"].tolist()[1:])


@pytest.mark.parametrize("hours", [1, 4, 8])
def test_a_pace_is_kept(hours):
    """Payments every hour, four or eight are as wide, the last one too."""
    bars = funding_bars(rates(0.1, 0.1, 0.1, hours=hours))

    assert (bars["width"] * 24).tolist() == pytest.approx([hours] * 3)


def test_a_gap_earns_nothing():
    """Over a month without a payment no bar is drawn, and the yearly rate is not thinned by it."""
    frame = rates(*[0.0001] * 30)
    holed = pd.concat([frame, frame.set_index(frame.index + pd.Timedelta(days=40))])

    assert funding_bars(holed)["width"].max() * 24 == pytest.approx(8)
    assert yearly_share(holed) == pytest.approx(0.0001 * 3 * 365.25)


def test_signs_have_a_look_and_a_side():
    """Who pays is told by the side of zero and by the colour; only what occurs is explained."""
    ax = ares.plot_funding(rates(0.0001, -0.0002, 0.0003, 0.0), ax=new_axes((9, 3)))
    longs, shorts = ax.collections

    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "longs pay shorts",
        "shorts pay longs",
    ]
    assert all(path.get_extents().y0 == 0 for path in longs.get_paths())
    assert all(path.get_extents().y1 == 0 for path in shorts.get_paths())
    assert (len(longs.get_paths()), len(shorts.get_paths())) == (2, 1)
    only = ares.plot_funding(rates(0.0001), ax=new_axes((9, 3)))
    assert [text.get_text() for text in only.get_legend().get_texts()] == ["longs pay shorts"]


def test_the_title_tells_the_mean_and_the_year():
    """The mean of a payment and what it comes to in a year stand above the picture."""
    ax = ares.plot_funding(rates(0.0001, 0.0001), ax=new_axes((9, 3)))

    assert ax.get_title(loc="left") == "mean +1.00 bp a payment, +11.0% a year"


@pytest.mark.parametrize("values", [(0.0,), (0.0, 0.0), (-0.0001,)])
def test_any_rates_have_an_axis(values):
    """Rates that are all zero, or all below, are drawn too, and none is outside the axes."""
    ax = ares.plot_funding(rates(*values), ax=new_axes((9, 3)))
    bottom, top = ax.get_ylim()

    assert bottom < top
    assert bottom <= min(values) * 10_000
    assert top >= 0


async def test_a_real_window_is_drawn(settings):
    """A month of the demo exchange's rates is drawn with a bar a payment."""
    await ares.download_futures_data("BTCUSDT", 0.05, end="2025-03-01", settings=settings)
    frame = ares.load_futures("BTCUSDT", settings=settings)
    ax = ares.plot_funding(frame, ax=new_axes((9, 3)))

    drawn = sum(len(shapes.get_paths()) for shapes in ax.collections)
    assert drawn == (frame["fundingRate"] != 0).sum()


def test_no_rates_is_said():
    """Of no rate there is a sentence."""
    ax = ares.plot_funding(rates(0.1).iloc[:0], ax=new_axes((4, 2)))

    assert [text.get_text() for text in ax.texts] == ["No funding rates"]


@pytest.mark.parametrize("how", ["backwards", "shuffled", "doubled"])
def test_the_order_of_the_rows_is_no_matter(how):
    """Sorted otherwise, or stacked twice, a table of funding tells the same yearly rate."""
    stamps = pd.date_range("2025-01-01", periods=90, freq="8h", tz="UTC", name="timestamp")
    frame = pd.DataFrame({"fundingRate": [0.0001 * (at % 5) for at in range(90)]}, index=stamps)
    odd = {
        "backwards": frame.iloc[::-1],
        "shuffled": frame.sample(frac=1, random_state=1),
        "doubled": pd.concat([frame, frame]),
    }[how]

    title = ares.plot_funding(odd, ax=new_axes((6, 3))).get_title(loc="left")

    assert title == ares.plot_funding(frame, ax=new_axes((6, 3))).get_title(loc="left")
    assert "a year" in title
