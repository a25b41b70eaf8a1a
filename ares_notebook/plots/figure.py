"""Figures: axes, boxes, legends and text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import dates, font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Bbox, ScaledTranslation

from ares_notebook.quality.calendar import Style

POINTS_AN_INCH = 72
# In pixels; axes may become narrower when the figure is laid out.
_LEAST_PIXELS = 2.5
# Readable on white (contrast 4.5) and on the black of JupyterLab's dark theme (4.1).
_INK_ON_BOTH = "#767676"
# The area around its axes in which a plot on given axes draws labels, in inches: left, bottom,
# right, top.
_AROUND = (0.4, 0.16, 0.05, 0.1)


def set_text(text: Text, words: str) -> Text:
    r"""
    Set *words* as the content of a text; a dollar begins no formula.

    Characters that its font lacks come from another installed font; without one, and where they
    cannot be printed, they are written as escapes, such as ``\u5e01``.
    """
    text.set_parse_math(False)
    own = _letters(font_manager.findfont(text.get_fontproperties()))
    foreign = frozenset(each for each in words if each.isprintable()) - own
    family = _family_with(foreign, _number(text.get_fontweight())) if foreign else None
    if family is not None:
        text.set_fontfamily([*text.get_fontfamily(), family])
    known = own if family is None else own | foreign
    text.set_text("".join(each if each in known else _escaped(each) for each in words))
    return text


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def set_ticks(axis: Axis, at: Iterable[float], words: Iterable[str]) -> None:
    """Label an axis with *words* at the given positions."""
    names = list(words)
    axis.set_ticks(list(at), labels=names)
    labels = axis.get_ticklabels()
    for label, name in zip(labels, names, strict=True):
        set_text(label, name)
    # The axis writes its labels anew whenever it is drawn, and keeps all else of them.
    axis.set_ticklabels([label.get_text() for label in labels])


@cache
def _letters(path: str) -> frozenset[str]:
    return frozenset(chr(code) for code in FT2Font(path).get_charmap())


@cache
def _family_with(letters: frozenset[str], weight: int) -> str | None:
    """An installed font that has all of these characters, of the nearest weight."""
    # Last Resort has a box for every character.
    upright = (
        entry
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and "Last Resort" not in entry.name
    )
    for entry in sorted(upright, key=lambda each: abs(_number(each.weight) - weight)):
        if letters <= _letters(entry.fname):
            return str(entry.name)
    return None


def _number(weight: str | float) -> int:
    """A font weight from 0 to 1000."""
    return font_manager.weight_dict.get(weight, 400) if isinstance(weight, str) else int(weight)


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes on a figure that pyplot does not know: for a thread, or a file."""
    return Figure(figsize=size, layout="constrained").subplots()


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """
    The given axes, or those of a new figure of pyplot, which a notebook shows.

    A new figure has no background and grey text, which suits a light and a dark page, unless the
    user has chosen a style with a background of its own.
    """
    if ax is not None:
        return ax
    # Not with axes given: pyplot keeps figures, and belongs to the main thread.
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, new = plt.subplots(figsize=size, layout="constrained")
    if to_hex(mpl.rcParams["figure.facecolor"]) == "#ffffff":
        # Of a transparent colour a notebook would conclude that a white background is needed.
        figure.set_frameon(False)
        new.set_facecolor("none")
        new.tick_params(colors=_INK_ON_BOTH)
        new.spines[:].set_color(_INK_ON_BOTH)
        for label in (new.xaxis.label, new.yaxis.label, new.title):
            label.set_color(_INK_ON_BOTH)
    return new


def ink_of(ax: Axes) -> str:
    """The colour of text on these axes."""
    return to_hex(ax.xaxis.label.get_color())


def points_of(ax: Axes) -> float:
    """The size of small text on these axes: less where they are narrow."""
    share = min(1.0, 0.6 + size_inches(ax).width / 15)
    return 0.85 * share * float(mpl.rcParams["font.size"])


def add_text(ax: Axes, at: tuple[float, float], words: str, **options: Any) -> Text:
    """Add a small text in the colour of the axes."""
    style: dict[str, Any] = {"color": ink_of(ax), "fontsize": points_of(ax)} | options
    return set_text(ax.text(*at, "", **style), words)


def set_title(ax: Axes, parts: Iterable[str]) -> None:
    """Set a title at the left, above the axes: as many of its parts as there is room for."""
    left = [part for part in parts if part]
    title = ax.set_title("", loc="left", fontsize=1.15 * points_of(ax), color=ink_of(ax))
    set_text(title, ", ".join(left))
    while len(left) > 1 and title.get_window_extent().width > ax.get_window_extent().width:
        left.pop()
        set_text(title, ", ".join(left))


def fit(ax: Axes) -> None:
    """
    Keep the labels of the axes and their legend in the area of the axes.

    A figure with a layout engine does that itself; in any other the axes become smaller.
    """
    figure = ax.figure
    if figure.get_layout_engine() is not None:
        return
    left, bottom, right, top = (each * float(figure.dpi) for each in _AROUND)
    own, drawn = ax.get_window_extent(), ax.get_tightbbox()
    if drawn is None:
        return
    room = Bbox.from_extents(own.x0 - left, own.y0 - bottom, own.x1 + right, own.y1 + top)
    room = Bbox.intersection(room, figure.bbox) or own
    inside = Bbox.from_extents(
        own.x0 + max(room.x0 - drawn.x0, 0),
        own.y0 + max(room.y0 - drawn.y0, 0),
        own.x1 - max(drawn.x1 - room.x1, 0),
        own.y1 - max(drawn.y1 - room.y1, 0),
    )
    if inside.width > 0 and inside.height > 0:
        ax.set_position(inside.transformed(figure.transFigure.inverted()))


# The distance of a legend from the axes, where there are labels of times between them or not.
_TIMES_EMS, _EMS = 4.0, 0.6
_ENTRY_EMS = 18
_TIME_INCHES, _MOST_TIMES = 0.45, 9
# As `matplotlib.dates` calls them: a year of months, a month of days, and so on.
_WHOLE_UNITS = {"MONTHLY": 12, "DAILY": 31, "HOURLY": 24, "MINUTELY": 60, "SECONDLY": 60}
_DAY_NS = 86_400_000_000_000
Numbers = npt.NDArray[np.float64]


Boxes = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
"""Left, bottom, width and height of rectangles; a number holds for all of them."""


def draw_boxes(ax: Axes, boxes: Boxes, style: Style) -> PolyCollection:
    """Draw rectangles in one style, as one collection."""
    x, y, width, height = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in boxes))
    right, top = x + width, y + height
    corners: Any = np.stack([x, y, x, top, right, top, right, y], axis=-1).reshape(-1, 4, 2)
    shapes = PolyCollection(corners, **_options(style))
    ax.add_collection(shapes, autolim=False)
    return shapes


def _options(style: Style) -> dict[str, Any]:
    # A hatch has the colour of the edge, also where the edge is not drawn.
    return {
        "facecolor": style.colour,
        "edgecolor": style.ink,
        "hatch": style.hatch * 4 or None,
        "linewidth": 0,
    }


def legend_below(ax: Axes, entries: Sequence[tuple[str, Any]]) -> None:
    """A legend below the axes, where it covers nothing: of styles, or of matplotlib's artists."""
    if not entries:
        return
    entry_inches = _ENTRY_EMS * points_of(ax) / POINTS_AN_INCH
    has_times = ax.xaxis.get_visible() and ax.xaxis.get_ticks_position() != "top"
    ems = _TIMES_EMS if has_times else _EMS
    drop = -ems * points_of(ax) / POINTS_AN_INCH
    below = ScaledTranslation(0, drop, ax.figure.dpi_scale_trans)
    legend = ax.legend(
        [Patch(**_options(each)) if isinstance(each, Style) else each for _, each in entries],
        ["" for _ in entries],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=ax.transAxes + below,
        borderaxespad=0,
        borderpad=0,
        ncols=min(max(int(size_inches(ax).width / entry_inches), 1), 3),
        frameon=False,
        fontsize=points_of(ax),
        labelcolor=ink_of(ax),
    )
    for label, (words, _) in zip(legend.get_texts(), entries, strict=True):
        set_text(label, words)


def named_rows(ax: Axes, count: int) -> range:
    """Which of *count* rows are labelled: all, or as many as there is room for, evenly spaced."""
    label_inches = 1.5 * points_of(ax) / POINTS_AN_INCH
    return range(0, count, max(1, math.ceil(count * label_inches / size_inches(ax).height)))


def size_inches(ax: Axes) -> Bbox:
    """The extent of the axes in inches."""
    return ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())


def least_share(ax: Axes) -> float:
    """The share of the width of the axes that can be seen: some pixels."""
    return _LEAST_PIXELS / float(ax.get_window_extent().width)


def show_times(axis: Axis) -> None:
    """Label an axis with times in UTC, as short as they are unambiguous."""
    untyped: Any = dates
    extent, points = size_inches(axis.axes), points_of(axis.axes)
    inches = extent.width if isinstance(axis, XAxis) else 2 * extent.height
    most = min(max(int(inches / _TIME_INCHES), 4), _MOST_TIMES)
    locator = untyped.AutoDateLocator(
        tz=UTC, minticks=3 if most == _MOST_TIMES else 2, maxticks=most
    )
    # Of few ticks matplotlib's intervals leave some spans without any.
    for unit, whole in _WHOLE_UNITS.items():
        intervals = locator.intervald[getattr(untyped, unit)]
        locator.intervald[getattr(untyped, unit)] = [*intervals, whole]
    axis.set_major_locator(locator)
    axis.set_major_formatter(untyped.ConciseDateFormatter(locator, tz=UTC))
    axis.set_tick_params(labelsize=points)
    axis.get_offset_text().set_fontsize(points)


def padded(low: float, high: float, share: float = 0.01, least: float = 0.0) -> tuple[float, float]:
    """Limits of an axis from *low* to *high* with a margin."""
    margin = max(share * (high - low), least)
    return low - margin, high + margin


def time_axis(ax: Axes, limits: tuple[float, float], label: str = "UTC") -> None:
    """Make the x axis one of times."""
    ax.set_xlim(*limits)
    show_times(ax.xaxis)
    ax.set_xlabel(label, loc="left", fontsize=points_of(ax))


def days_of(moments: pd.Series | pd.DatetimeIndex) -> Numbers:
    """Times in matplotlib's unit: days since 1970, UTC."""
    stamps = pd.DatetimeIndex(moments).tz_convert("UTC").tz_localize(None)
    return (stamps.as_unit("ns").asi8 / _DAY_NS).astype(np.float64)


def widened(x0: Numbers, width: Numbers, least: float) -> tuple[Numbers, Numbers]:
    """Intervals, those narrower than *least* widened around their middle."""
    wide = np.maximum(width, least)
    return x0 - (wide - width) / 2, wide


def message_only(ax: Axes, words: str) -> Axes:
    """Show a message on axes that have nothing to draw."""
    ax.set_axis_off()
    add_text(ax, (0.5, 0.5), words, transform=ax.transAxes, ha="center", va="center")
    return ax


def in_time_order(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in order of time, without duplicated times."""
    return frame[~frame.index.duplicated()].sort_index()
