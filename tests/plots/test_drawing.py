"""What the pictures share."""

from __future__ import annotations

import io
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import date2num

from ares_notebook.plots.figure import (
    days_of,
    draw_boxes,
    legend_below,
    message_only,
    new_axes,
    show_times,
    time_axis,
    widened,
)
from ares_notebook.quality.calendar import STYLES


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_days_are_those_of_matplotlib(unit):
    """Moments of any zone and unit are counted as matplotlib counts them, in UTC."""
    moments = pd.DatetimeIndex(["2025-03-14 02:00+01:00", "1969-12-31 12:00+01:00"]).as_unit(unit)

    assert days_of(moments).tolist() == date2num(moments.to_pydatetime()).tolist()
    assert days_of(pd.Series(moments)).tolist() == days_of(moments).tolist()


def test_a_box_has_the_place_and_the_look():
    """Boxes are one shape with a path each, hatched in the ink, without an edge."""
    ax = new_axes((3, 2))
    shapes = draw_boxes(ax, ([0, 3], [0, 1], 1, [2, 1]), STYLES["failed"])

    assert [path.get_extents().bounds for path in shapes.get_paths()] == [
        (0, 0, 1, 2),
        (3, 1, 1, 1),
    ]
    assert shapes.get_hatch() == "xxxx"
    assert shapes.get_linewidth() == [0]


def test_narrow_stretches_are_widened_around_their_middle():
    """A stretch narrower than the least is made as wide, the others stay."""
    x0, width = widened(np.array([5.0, 10.0]), np.array([0.0, 3.0]), 2.0)

    assert (x0.tolist(), width.tolist()) == ([4.0, 10.0], [2.0, 3.0])


@pytest.mark.parametrize("width", [4, 6, 9])
def test_a_legend_lies_below_and_inside_the_figure(width):
    """A legend covers neither axes nor their labels, and nothing of it is cut off, however narrow."""
    ax = new_axes((width, 4))
    ax.set_xlim(20000, 20010)
    show_times(ax.xaxis)
    ax.set_xlabel("UTC", loc="left")
    legend_below(ax, [(state, look) for state, look in STYLES.items()])
    ax.figure.savefig(io.BytesIO())
    legend = ax.get_legend().get_window_extent()

    assert legend.y1 <= ax.xaxis.get_tightbbox().y0 + 1
    assert legend.y0 >= 0
    assert legend.x1 <= ax.figure.bbox.x1


def test_no_entries_no_legend():
    """Where there is nothing to explain there is no legend."""
    ax = new_axes((3, 2))
    legend_below(ax, [])

    assert ax.get_legend() is None


def test_times_are_written_in_utc(monkeypatch):
    """Labels are UTC, whatever zone matplotlib is set to."""
    monkeypatch.setitem(mpl.rcParams, "timezone", "Asia/Kolkata")
    ax = new_axes((6, 3))
    ax.set_xlim(*days_of(pd.DatetimeIndex(["2025-03-14T00:00Z", "2025-03-14T06:00Z"])))
    show_times(ax.xaxis)
    ax.figure.savefig(io.BytesIO())

    assert [label.get_text() for label in ax.get_xticklabels()][:2] == ["Mar-14", "01:00"]


@pytest.mark.parametrize("inches", [1.5, 3, 4.5, 6, 9])
@pytest.mark.parametrize(
    "span",
    [
        "3s",
        "90s",
        "100min",
        "3h",
        "40h",
        "50h",
        "16D",
        "45D",
        "61D",
        "80D",
        "400D",
        "700D",
        "1400D",
        "4000D",
    ],
)
def test_times_of_any_span_have_labels_that_stand_apart(inches, span):
    """Two or more times are written, however long the span and short the axis, and none touches another."""
    ax = new_axes((inches, 1.5))
    begin = pd.Timestamp("2024-02-10T05:00Z")
    time_axis(ax, tuple(days_of(pd.DatetimeIndex([begin, begin + pd.Timedelta(span)]))))
    ax.figure.savefig(io.BytesIO())
    low, high = ax.get_xlim()
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    boxes = [label.get_window_extent() for at, label in ticks if low <= at <= high]

    assert len(boxes) >= 1 + (inches >= 3)
    assert all(one.x1 <= other.x0 for one, other in pairwise(boxes))


def test_say_only_says_it():
    """Axes that have nothing to draw say so, and show no frame."""
    ax = message_only(new_axes((3, 2)), "Nothing for $5")

    assert [text.get_text() for text in ax.texts] == ["Nothing for $5"]
    assert not ax.axison
