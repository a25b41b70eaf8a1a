"""What plots draw on: new figures and given axes, light and dark, large and small."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import ares_notebook as ares
from ares_notebook.plots.figure import axes_or_new, new_axes


def test_given_axes_are_drawn_on_and_nothing_is_made():
    """With axes given, pyplot makes no figure."""
    before = plt.get_fignums()
    given = new_axes((2, 2))

    assert axes_or_new(given, (9, 9)) is given
    assert plt.get_fignums() == before


def test_without_axes_there_is_one_new_figure_of_pyplot():
    """Without axes, pyplot has one figure more, of the wanted size: that is what a notebook shows."""
    before = plt.get_fignums()
    ax = axes_or_new(None, (3, 2))

    try:
        assert len(plt.get_fignums()) == len(before) + 1
        assert plt.gcf() is ax.figure
        assert ax.figure.get_size_inches().tolist() == [3, 2]
    finally:
        plt.close(ax.figure)


def luminance(colour: str) -> float:
    """The amount of light, from 0 to 1."""
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4
        for each in to_rgb(colour)
    ]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """As WCAG reckons it, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def months() -> pd.DataFrame:
    """Coverage of two months of candles, one of which failed."""
    starts = pd.date_range("2025-01-01", periods=3, freq="MS", tz="UTC")
    return pd.DataFrame(
        {
            "dataset": "klines",
            "symbol": "BTCUSDT",
            "interval": "1h",
            "file": "f.csv",
            "start": starts[:-1],
            "end": starts[1:],
            "rows": 744,
            "expected": 744,
            "share": 1.0,
            "state": ["complete", "failed"],
        }
    )


def gaps() -> pd.DataFrame:
    """A gap of an hour."""
    at = pd.Timestamp("2025-01-01", tz="UTC")
    names = {"dataset": "klines", "symbol": "BTCUSDT", "interval": "1h", "reason": "failed"}
    return pd.DataFrame([{**names, "start": at, "end": at + pd.Timedelta(hours=1)}])


def hours() -> pd.DataFrame:
    """Two days of candles."""
    index = pd.date_range("2025-01-01", periods=48, freq="h", tz="UTC", name="timestamp")
    names = ("open", "high", "low", "close", "volume")
    return pd.DataFrame(dict.fromkeys(names, 1.0), index=index)


def payments() -> pd.DataFrame:
    """Two days of funding."""
    index = pd.date_range("2025-01-01", periods=6, freq="8h", tz="UTC", name="timestamp")
    return pd.DataFrame({"fundingRate": 0.0001}, index=index)


def sources() -> pd.DataFrame:
    """Two sources of two files, a month apart."""
    at = pd.date_range("2025-06-01", periods=2, freq="MS", tz="UTC")
    start = pd.date_range("2023-01-01", periods=2, freq="MS", tz="UTC")
    files = {"file": ["a", "b"], "road": ["rest", "monthly archive"]}
    return pd.DataFrame({**files, "at": at, "start": start, "end": start + pd.Timedelta(days=28)})


def runs() -> pd.DataFrame:
    """Two runs, a month apart."""
    at = pd.date_range("2025-06-01", periods=2, freq="MS", tz="UTC")
    ends = {"what": ["download", "audit"], "ending": ["done", "failed"], "seconds": [1.0, 90.0]}
    return pd.DataFrame({**ends, "at": at})


PLOTS = {
    "downloads": lambda ax=None: ares.plot_downloads(sources(), ax=ax),
    "runs": lambda ax=None: ares.plot_runs(runs(), ax=ax),
    "coverage": lambda ax=None: ares.plot_coverage(months(), ax=ax),
    "universe": lambda ax=None: ares.plot_universe(months(), ax=ax),
    "gaps": lambda ax=None: ares.plot_gaps(gaps(), ax=ax),
    "klines": lambda ax=None: ares.plot_klines(hours(), ax=ax),
    "funding": lambda ax=None: ares.plot_funding(payments(), ax=ax),
    "nothing": lambda ax=None: ares.plot_coverage(months().iloc[:0], ax=ax),
}
every = pytest.mark.parametrize("name", PLOTS)


def inks(ax) -> set[str]:
    """The colours of all text that can be seen."""
    ax.figure.canvas.draw()
    return {to_hex(text.get_color()) for text in shown(ax)}


@every
def test_a_new_figure_is_legible_on_a_light_and_a_dark_page(name):
    """A new figure is transparent, and its text stands out from white and from black."""
    ax = PLOTS[name]()
    try:
        stream = io.BytesIO()
        ax.figure.savefig(stream, facecolor=ax.figure.get_facecolor())
        pixels = plt.imread(io.BytesIO(stream.getvalue()))
        assert pixels[:, 0, 3].max() == pixels[0, :, 3].max() == 0
        assert (pixels[..., 3] == 0).mean() > 0.2
        assert min(contrast(ink, page) for ink in inks(ax) for page in ("#ffffff", "#111111")) >= 4
    finally:
        plt.close(ax.figure)


@every
@pytest.mark.parametrize("given", [False, True])
def test_a_dark_style_is_followed(name, given):
    """Whoever has chosen a dark style gets its background, and text that is legible on it."""
    with plt.style.context("dark_background"):
        ax = PLOTS[name](new_axes((6, 3)) if given else None)
        try:
            assert {to_hex(each.get_facecolor()) for each in (ax.figure, ax)} == {"#000000"}
            assert min(contrast(ink, "#000000") for ink in inks(ax)) >= 4
        finally:
            plt.close(ax.figure)


def axes_of(ax) -> list[Axes]:
    """The axes and those inside them."""
    return [ax, *ax.child_axes]


@every
def test_given_axes_keep_their_colours(name):
    """On the white of the user's own figure text is black."""
    ax = PLOTS[name](new_axes((6, 3)))

    assert to_hex(ax.figure.get_facecolor()) == "#ffffff"
    assert inks(ax) == {"#000000"}


@every
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_small_axes_cut_nothing_off(name, layout):
    """On three by two inches all text lies inside the figure, whoever lays it out."""
    figure, ax = plt.subplots(figsize=(3, 2), layout=layout)
    try:
        PLOTS[name](ax)
        figure.savefig(io.BytesIO())
        inside = Bbox.from_extents(-1, -1, figure.bbox.x1 + 1, figure.bbox.y1 + 1)
        outside = [each.get_text() for each in shown(ax) if not within(inside, each)]
        assert shown(ax)
        assert outside == []
    finally:
        plt.close(figure)


def shown(ax) -> list[Text]:
    """All text that can be seen: labels of ticks beyond the limits of an axis cannot."""
    legend = ax.get_legend()
    texts = [*ax.texts, ax.title, ax._left_title, *(legend.get_texts() if legend else ())]
    for each in axes_of(ax):
        for axis in (each.xaxis, each.yaxis) if each.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            texts += [axis.label, axis.get_offset_text()] if axis.get_visible() else []
            texts += [label for at, label in ticks if low <= at <= high and axis.get_visible()]
    return [each for each in texts if each.get_text() and each.get_visible()]


def within(outer: Bbox, text: Text) -> bool:
    """Whether a text lies inside a box."""
    own = text.get_window_extent()
    return outer.x0 <= own.x0 and own.x1 <= outer.x1 and outer.y0 <= own.y0 and own.y1 <= outer.y1
