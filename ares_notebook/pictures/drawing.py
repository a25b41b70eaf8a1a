"""What the pictures share: boxes in a look, times in UTC, a legend that covers nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch
from matplotlib.transforms import Transform

from ares_notebook.pictures.lettering import letter
from ares_notebook.proof.looks import Look

__all__ = [
    "around",
    "days_of",
    "draw_boxes",
    "explain",
    "in_time_order",
    "legend_below",
    "patch_of",
    "say_only",
    "show_times",
    "widened",
]

_ENTRY_INCHES = 2.2
_DAY_NS = 86_400_000_000_000
_HALF_A_MINUTE = 30 / 86_400
Numbers = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]
"""Left, bottom, width, height."""


def draw_boxes(
    ax: Axes, boxes: Sequence[Box], look: Look, *, transform: Transform | None = None
) -> PolyCollection:
    """
    Draw rectangles in one look, as one shape with many parts.

    Parameters
    ----------
    ax : Axes
    boxes : sequence of tuple
        Left, bottom, width and height of each.
    look : Look
    transform : Transform, optional
        Data by default.

    Returns
    -------
    PolyCollection
    """
    corners = [
        ((x, y), (x, y + height), (x + width, y + height), (x + width, y))
        for x, y, width, height in boxes
    ]
    options: dict[str, Any] = {} if transform is None else {"transform": transform}
    shapes = PolyCollection(corners, **_style(look), **options)
    ax.add_collection(shapes, autolim=False)
    return shapes


def _style(look: Look) -> dict[str, Any]:
    # A hatch is drawn in the colour of the edge, also where the edge is not drawn.
    return {
        "facecolor": look.colour,
        "edgecolor": look.ink,
        "hatch": look.hatch * 4 or None,
        "linewidth": 0,
    }


def explain(ax: Axes, entries: Iterable[tuple[str, Look]]) -> None:
    """
    A legend below the axes, where it covers nothing.

    Parameters
    ----------
    ax : Axes
    entries : iterable of (str, Look)
    """
    legend_below(ax, [(words, patch_of(look)) for words, look in entries])


def patch_of(look: Look) -> Patch:
    """A look as it stands in a legend."""
    return Patch(**_style(look))


def legend_below(ax: Axes, entries: Sequence[tuple[str, Any]]) -> None:
    """
    The same, of any handles.

    Parameters
    ----------
    ax : Axes
    entries : sequence of (str, artist)
    """
    if not entries:
        return
    has_times = ax.xaxis.get_visible() and ax.xaxis.get_ticks_position() != "top"
    legend = ax.legend(
        [handle for _, handle in entries],
        ["" for _ in entries],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=4.2 if has_times else 0.6,
        borderpad=0,
        ncols=_columns(ax),
        frameon=False,
        fontsize="small",
    )
    for text, (words, _) in zip(legend.get_texts(), entries, strict=True):
        letter(text, words)


def _columns(ax: Axes) -> int:
    """How many entries fit beside one another."""
    inches = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted()).width
    return min(max(int(inches / _ENTRY_INCHES), 1), 3)


def show_times(axis: Axis) -> None:
    """
    Write the moments of an axis in UTC, no more words than needed.

    Parameters
    ----------
    axis : Axis
    """
    untyped: Any = dates
    locator = untyped.AutoDateLocator(tz=UTC, minticks=3, maxticks=9)
    axis.set_major_locator(locator)
    axis.set_major_formatter(untyped.ConciseDateFormatter(locator, tz=UTC))


def around(ax: Axes, x: pd.Series[float]) -> None:
    """
    Let the x axis reach from the first of some moments to the last, with a margin; a minute at least.

    Parameters
    ----------
    ax : Axes
    x : pandas.Series
        In days since 1970, at least one.
    """
    low, high = x.min(), x.max()
    margin = max(0.03 * (high - low), _HALF_A_MINUTE)
    ax.set_xlim(low - margin, high + margin)
    show_times(ax.xaxis)


def days_of(moments: pd.Series | pd.DatetimeIndex) -> Numbers:
    """
    Moments as matplotlib counts them: in days since 1970, UTC.

    Parameters
    ----------
    moments : pandas.Series or pandas.DatetimeIndex
        Aware.

    Examples
    --------
    >>> days_of(pd.DatetimeIndex(["1970-01-02 14:00+02:00"])).tolist()
    [1.5]
    """
    stamps = pd.DatetimeIndex(moments).tz_convert("UTC").tz_localize(None)
    return (stamps.as_unit("ns").asi8 / _DAY_NS).astype(np.float64)


def widened(x0: Numbers, width: Numbers, least: float) -> tuple[Numbers, Numbers]:
    """
    Stretches of which none is narrower than *least*, each around its own middle.

    Parameters
    ----------
    x0, width : array of float
    least : float

    Returns
    -------
    tuple of array
        Where they begin, and how wide they are.

    Examples
    --------
    >>> x0, width = widened(np.array([10.0, 20.0]), np.array([1.0, 8.0]), 4.0)
    >>> x0.tolist(), width.tolist()
    ([8.5, 20.0], [4.0, 8.0])
    """
    wide = np.maximum(width, least)
    return x0 - (wide - width) / 2, wide


def say_only(ax: Axes, words: str) -> Axes:
    """
    Axes that say one thing, where there is nothing to draw.

    Parameters
    ----------
    ax : Axes
    words : str
    """
    ax.set_axis_off()
    letter(ax.text(0.5, 0.5, "", transform=ax.transAxes, ha="center", va="center"), words)
    return ax


def in_time_order(frame: pd.DataFrame) -> pd.DataFrame:
    """
    The rows by time and each moment once, however somebody has sorted or stacked them.

    Examples
    --------
    >>> stamps = pd.to_datetime(["2025-01-02", "2025-01-01", "2025-01-01"])
    >>> in_time_order(pd.DataFrame({"close": [3, 1, 2]}, index=stamps))["close"].tolist()
    [1, 3]
    """
    return frame[~frame.index.duplicated()].sort_index()
