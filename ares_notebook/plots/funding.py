"""Plots of funding rates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ares_notebook.frame_checks import check_frame
from ares_notebook.plots.figure import (
    axes_or_new,
    days_of,
    draw_boxes,
    fit,
    in_time_order,
    legend_below,
    message_only,
    padded,
    points_of,
    set_title,
    time_axis,
)
from ares_notebook.plots.row_gaps import LONGEST_WAIT
from ares_notebook.quality.calendar import Style

_SIZE = (9.0, 3.2)
_BASIS_POINTS = 10_000
# A longer wait is a gap, and earns nothing.
_LONGEST_WAIT_DAYS = LONGEST_WAIT / pd.Timedelta(days=1)
_YEAR_DAYS = 365.25
_SIGNS = (
    ("longs pay shorts", Style("#0b62a4"), 1),
    ("shorts pay longs", Style("#e08a2e"), -1),
)


def plot_funding(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw funding rates.

    How to read it: a bar a payment, in basis points (hundredths of a percent) of the
    position, as wide as the time to the next. Above zero, dark: longs pay shorts;
    below, light: shorts pay longs. The title says what a long position would have
    paid a year.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `load_futures` returns it.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    BadArgument
        If *frame* is of another kind; the error says what it lacks and what it seems to be.

    Examples
    --------
    >>> index = pd.date_range("2025-01-01", periods=3, freq="8h", tz="UTC", name="timestamp")
    >>> ax = plot_funding(pd.DataFrame({"fundingRate": [0.0001, 0.0001, -0.0002]}, index=index))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['longs pay shorts', 'shorts pay longs']
    """
    check_frame(frame, "load_funding")
    ax = axes_or_new(ax, _SIZE)
    frame = in_time_order(frame)
    if frame.empty:
        return message_only(ax, "No funding rates")
    bars = funding_bars(frame)
    entries = draw_payments(ax, bars)
    _frame(ax, bars)
    sums = (
        f"mean {bars['height'].mean():+.2f} bp a payment",
        f"{yearly_share(frame):+.1%} a year",
    )
    set_title(ax, [str(frame.attrs.get("symbol") or ""), *sums])
    legend_below(ax, entries)
    fit(ax)
    return ax


def draw_payments(ax: Axes, bars: pd.DataFrame) -> list[tuple[str, object]]:
    """Draw a bar a payment; what they are in a legend."""
    entries: list[tuple[str, object]] = []
    for words, style, sign in _SIGNS:
        some = bars[np.sign(bars["height"]) == sign]
        if len(some):
            shapes = draw_boxes(ax, (some["x0"], 0, some["width"], some["height"]), style)
            # In five years a bar is narrower than a pixel.
            shapes.set(edgecolor=style.colour, linewidth=0.6)
            entries.append((words, style))
    return entries


def funding_bars(frame: pd.DataFrame) -> pd.DataFrame:
    """What `plot_funding` draws: a row a payment."""
    x0 = days_of(pd.DatetimeIndex(frame.index))
    waits = np.minimum(np.diff(x0), _LONGEST_WAIT_DAYS)
    last = waits[-1] if len(waits) else _LONGEST_WAIT_DAYS
    height = frame["fundingRate"].to_numpy() * _BASIS_POINTS
    return pd.DataFrame({"x0": x0, "width": np.append(waits, last), "height": height})


def yearly_share(frame: pd.DataFrame) -> float:
    """What a long position paid a year, as a share of itself: rates over the time they cover."""
    paid = float(frame["fundingRate"].sum())
    return paid * _YEAR_DAYS / float(funding_bars(frame)["width"].sum())


def _frame(ax: Axes, bars: pd.DataFrame) -> None:
    low, high = bars["x0"].min(), (bars["x0"] + bars["width"]).max()
    time_axis(ax, padded(low, high))
    bottom, top = min(bars["height"].min(), 0.0), max(bars["height"].max(), 0.0)
    # Rates that are all zero need some height too.
    room = 0.06 * (top - bottom) or 1.0
    ax.set_ylim(bottom - room if bottom else 0.0, top + room)
    ax.axhline(0, color="#999999", linewidth=0.8, zorder=0)
    ax.set_ylabel("basis points", fontsize=points_of(ax))
    ax.tick_params(labelsize=points_of(ax))
    ax.spines[["top", "right"]].set_visible(False)
