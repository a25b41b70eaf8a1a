"""Panes below the prices of a plot: the volume, or rows of another dataset."""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from pandas.api.types import is_numeric_dtype

from ares_notebook.errors import BadArgument
from ares_notebook.frame_checks import check_frame, frame_in_words
from ares_notebook.plots.figure import (
    POINTS_AN_INCH,
    days_of,
    draw_boxes,
    in_time_order,
    ink_of,
    padded,
    points_of,
    set_text,
    size_inches,
)
from ares_notebook.plots.funding import draw_payments, funding_bars
from ares_notebook.plots.row_gaps import (
    GAP_TICK,
    PANE_ORDER,
    Span,
    draw_gaps,
    gaps_of,
    resampled,
    times_of,
    usual_step,
)
from ares_notebook.plots.units import Attrs, Quantity, quantity_of
from ares_notebook.quality.calendar import Style

# Heights of panes, as shares of the axes.
VOLUME_HEIGHT, BELOW_HEIGHT = 0.2, 0.34
_VOLUME = Style("#8a8a8a")
_LINE = "#1f7ac0"
_BODY = 0.7
_LEAST_BODY_POINTS = 4.0
_MOST_POINTS = 2000
# What is left free in a pane for its label, as a share of what is drawn.
_LABEL_SHARE = 0.22


def volume_pane(ax: Axes, bars: pd.DataFrame, attrs: Attrs) -> None:
    """Axes inside these, at their bottom, with the volume."""
    pane = _pane(ax, VOLUME_HEIGHT)
    width = usual_step(bars) / pd.Timedelta(days=1)
    # Of narrow bars the space between them would make a pattern.
    body = _BODY if points_a_row(ax, bars) > _LEAST_BODY_POINTS else 1.0
    x0 = days_of(times_of(bars)) + (1 - body) / 2 * width
    draw_boxes(pane, (x0, 0, body * width, bars["volume"].fillna(0)), _VOLUME)
    pane.set_ylim(0, 1.1 * float(bars["volume"].max()) or 1.0)
    pane.yaxis.set_major_locator(ticker.MaxNLocator(2, prune="lower"))
    with_separators(pane, 0)
    words = quantity_of("volume", attrs).words
    label = pane.set_ylabel("", fontsize=points_of(ax), color=ink_of(ax))
    # Both words only where there is room for them; contracts are no asset, which must not be lost.
    short = "contracts" if words.endswith("contracts") else "volume"
    for each in (words, short, ""):
        set_text(label, each)
        if label.get_window_extent().height <= pane.get_window_extent().height:
            break


def below_pane(
    ax: Axes, frame: pd.DataFrame, symbol: str, around: Span
) -> list[tuple[str, object]]:
    """
    Axes inside these, at their bottom, with rows of another dataset; what they are in a legend.

    *symbol* and *around* are those of the candles above.
    """
    pane = _pane(ax, BELOW_HEIGHT)
    given, frame = frame, in_time_order(frame)
    column = _column_of(frame)
    frame = frame[[column]].dropna()
    gaps = gaps_of(frame, around, given=given)
    stamps = times_of(frame)
    frame = frame[(stamps >= around[0]) & (stamps < around[1])]
    quantity = quantity_of(str(column), frame.attrs)
    entries, (low, high) = _draw_rows(pane, frame, column, quantity)
    tick = GAP_TICK / BELOW_HEIGHT
    bottom, top = padded(low, high, 0.03, max(abs(low), abs(high)) * 1e-6 or 1.0)
    height = (top - bottom) / (1 - tick - _LABEL_SHARE)
    pane.set_ylim(bottom - tick * height, top + _LABEL_SHARE * height)
    most = max(4, min(6, int(5 * size_inches(pane).height)))
    pane.yaxis.set_major_locator(ticker.MaxNLocator(most) if len(frame) else ticker.NullLocator())
    with_separators(pane, bottom)
    label = pane.set_ylabel("", fontsize=points_of(ax), color=ink_of(ax), rotation=0)
    label.set(ha="left", va="top")
    set_text(label, _label_of(quantity, column, frame.attrs, symbol))
    pane.yaxis.set_label_coords(0.006, 0.97)
    return entries + draw_gaps(pane, frame, gaps, height=tick)


def check_below(frame: pd.DataFrame) -> None:
    """Raise `BadArgument` unless *frame* can be drawn below candles."""
    check_frame(frame, "load_rows")
    if {"price", "quantity"} <= set(frame.columns):
        msg = 'below= takes no trades; pass candles of them: candles_from_trades(frame, "1m")'
        raise BadArgument(msg)
    if frame.columns.empty or not is_numeric_dtype(frame[_column_of(frame)]):
        msg = f"below= needs a column of numbers, and draws the first: {frame_in_words(frame)}"
        raise BadArgument(msg)


def _column_of(frame: pd.DataFrame) -> Hashable:
    """The column that is drawn."""
    return next((each for each in ("fundingRate", "close") if each in frame), frame.columns[0])


def _label_of(quantity: Quantity, column: Hashable, attrs: Attrs, above: str) -> str:
    """What is drawn; of which symbol, where the candles are of another; and whose price."""
    symbol, dataset = (str(attrs.get(each) or "") for each in ("symbol", "dataset"))
    is_price = column == "close" and quantity.factor == 1
    names = ("" if symbol == above else symbol, dataset if is_price else "", quantity.words)
    return " ".join(filter(None, names))


def _draw_rows(
    pane: Axes, frame: pd.DataFrame, column: Hashable, quantity: Quantity
) -> tuple[list[tuple[str, object]], tuple[float, float]]:
    """Payments as bars, all else as a line; what they are in a legend, and from where to where they reach."""
    if frame.empty:
        return [], (0.0, 0.0)
    values = frame[column].rename("value").astype(float) * quantity.factor
    if column == "fundingRate":
        bars = funding_bars(frame).assign(height=values.to_numpy())
        pane.axhline(0, color="#999999", linewidth=0.8, zorder=0)
        return draw_payments(pane, bars), (min(values.min(), 0.0), max(values.max(), 0.0))
    # A row that is not there breaks the line.
    points = resampled(values.to_frame(), {"value": "last"}, _MOST_POINTS)
    pane.plot(days_of(times_of(points)), points["value"], color=_LINE, linewidth=0.8)
    return [], (float(values.min()), float(values.max()))


def _pane(ax: Axes, height: float) -> Axes:
    """Axes inside these, at their bottom, with the same axis of time."""
    pane = ax.inset_axes((0, 0, 1, height), sharex=ax, facecolor="none", zorder=PANE_ORDER)
    pane.xaxis.set_visible(False)
    pane.tick_params(axis="y", colors=ink_of(ax), labelsize=points_of(ax))
    pane.spines[["left", "bottom", "right"]].set_visible(False)
    pane.spines["top"].set(visible=True, color=ink_of(ax), alpha=0.4, linewidth=0.5)
    return pane


def with_separators(ax: Axes, least: float) -> None:
    """Write the numbers of the y axis from *least* on, with separators of thousands."""

    def words(value: float, _: int | None = None) -> str:
        at = np.unique(ax.yaxis.get_majorticklocs())
        step = np.diff(at).min() if len(at) > 1 else abs(value)
        exponent = Decimal(f"{step:.2g}").normalize().as_tuple().exponent
        digits = max(-int(exponent), 0) if step else 0
        return f"{value:,.{digits}f}" if value >= least else ""

    ax.yaxis.set_major_formatter(ticker.FuncFormatter(words))
    # Ticks without a number, beside the volume, would mislead.
    ax.tick_params(axis="y", length=0, labelsize=points_of(ax))


def points_a_row(ax: Axes, frame: pd.DataFrame) -> float:
    """The width of the axes in points, a row."""
    return float(size_inches(ax).width) * POINTS_AN_INCH / len(frame)
