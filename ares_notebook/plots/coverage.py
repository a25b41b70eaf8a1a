"""Plots of coverage and of gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ares_notebook.cache.gap_reasons import REASONS
from ares_notebook.frame_checks import check_frame
from ares_notebook.plots.figure import (
    axes_or_new,
    days_of,
    draw_boxes,
    legend_below,
    message_only,
    new_axes,
    padded,
    set_text,
    set_ticks,
    time_axis,
    widened,
)
from ares_notebook.quality.calendar import STYLES, Block, Line, calendar_of, states_in

__all__ = ["draw_coverage", "gap_lanes", "plot_coverage", "plot_gaps"]

# Heights in lines: title of a series, its marks, a cell, the space below.
_TITLE, _MARKS, _CELL, _FREE = 0.9, 0.9, 0.78, 0.7
_WIDTH, _LINE = 9.0, 0.23


def plot_coverage(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw what the cache holds as a calendar.

    How to read it: a block is a series, a line a year (or a month of days), a cell a
    file. The dark part of a cell is the share of its rows that is there; the rest has
    the colour and the hatch of the reason why it is not. Dark all over is complete.

    Parameters
    ----------
    table : pandas.DataFrame
        As `coverage` returns it, or some of its rows.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    BadArgument
        If *table* is of another kind; the error says what it lacks and what it seems to be.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, coverage, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     table = coverage(settings=settings)
    >>> ax = plot_coverage(table)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['complete']
    """
    check_frame(table, "coverage", ("file", "start", "end", "rows", "expected", "state", "share"))
    blocks = calendar_of(table)
    ax = axes_or_new(ax, _size(blocks))
    if not blocks:
        return message_only(ax, "The cache holds nothing")
    lines = list(_lines(blocks))
    pieces = [(y, piece) for y, line in lines for piece in line.pieces]
    states = states_in(blocks)
    for state in states:
        x0, y0, width = zip(
            *((p.x0, y, p.width) for y, p in pieces if p.state == state), strict=True
        )
        draw_boxes(ax, (x0, y0, width, _CELL), STYLES[state])
    _heads(ax, blocks)
    set_ticks(ax.yaxis, [y + _CELL / 2 for y, _ in lines], [line.label for _, line in lines])
    _frame(ax, _height(blocks))
    legend_below(ax, [(state, STYLES[state]) for state in states])
    return ax


def draw_coverage(table: pd.DataFrame) -> Figure:
    """The same on a figure that pyplot does not know: for `as_svg`, from any thread."""
    ax = new_axes(_size(calendar_of(table)))
    return cast("Figure", plot_coverage(table, ax=ax).figure)


def _size(blocks: Sequence[Block]) -> tuple[float, float]:
    legend = 0.12 + 0.17 * -(-len(states_in(blocks)) // 3)
    return _WIDTH, max(0.9, 0.1 + legend + _LINE * _height(blocks))


def _height(blocks: Sequence[Block]) -> float:
    return sum(_TITLE + _MARKS + len(block.lines) + _FREE for block in blocks) - _FREE


def _lines(blocks: Sequence[Block]) -> Iterator[tuple[float, Line]]:
    """Each line with its distance from the top."""
    y = 0.0
    for block in blocks:
        y += _TITLE + _MARKS
        for line in block.lines:
            yield y, line
            y += 1
        y += _FREE


def _heads(ax: Axes, blocks: Sequence[Block]) -> None:
    y = 0.0
    for block in blocks:
        set_text(ax.text(0, y + 0.1, "", va="top", weight="bold"), block.title)
        for at, mark in block.marks:
            ax.text(at, y + _TITLE + _MARKS - 0.15, mark, ha="center", fontsize="small")
        y += _TITLE + _MARKS + len(block.lines) + _FREE


def _frame(ax: Axes, height: float) -> None:
    ax.set(xlim=(0, 1), ylim=(height, 0))
    ax.xaxis.set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)


_WIDTH, _LANE, _REST = 9.0, 0.34, 0.7
_LEGEND_LINE, _REASONS_A_LINE = 0.2, 3
_BAR = 0.7
# A gap of two hours in five years would be invisible.
_LEAST_SHARE = 0.004
_SERIES = ["symbol", "dataset", "interval"]


def plot_gaps(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw where rows are missing, and why, on a line of time.

    How to read it: a lane is a series, a bar a gap, its colour and hatch the reason;
    the legend counts them. A short gap is drawn wider than it is, around its middle,
    so that none is invisible.

    Parameters
    ----------
    table : pandas.DataFrame
        As `find_gaps` returns it, or several of them put together by ``pandas.concat``.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    BadArgument
        If *table* is of another kind; the error says what it lacks and what it seems to be.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, find_gaps, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.05, end="2025-04-01", settings=settings))
    ...     ax = plot_gaps(find_gaps("BTCUSDT", settings=settings))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['confirmed absent upstream (1)']
    """
    check_frame(table, "find_gaps")
    lanes = gap_lanes(table)
    names = list(dict.fromkeys(lanes["name"]))
    # The lines of the legend need space, too.
    lines = -(-lanes["reason"].nunique() // _REASONS_A_LINE)
    height = _REST + _LANE * max(len(names), 1) + _LEGEND_LINE * lines
    ax = axes_or_new(ax, (_WIDTH, height))
    if lanes.empty:
        return message_only(ax, "Nothing is missing")
    counts = lanes["reason"].value_counts()
    reasons = sorted(counts.index, key=list(REASONS).index)
    for reason in reasons:
        bars = lanes[lanes["reason"] == reason]
        bottom = bars["lane"] - _BAR / 2
        draw_boxes(ax, (bars["x0"], bottom, bars["width"], _BAR), STYLES[reason])
    set_ticks(ax.yaxis, range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    time_axis(ax, _window(lanes))
    ax.hlines(range(len(names)), *ax.get_xlim(), color="#999999", linewidth=0.5, zorder=0)
    ax.tick_params(axis="y", length=0)
    ax.spines[["left", "top", "right"]].set_visible(False)
    legend_below(ax, [(f"{reason} ({counts[reason]:,})", STYLES[reason]) for reason in reasons])
    return ax


def gap_lanes(table: pd.DataFrame) -> pd.DataFrame:
    """What `plot_gaps` draws: a row a bar."""
    keys = table[_SERIES].fillna("").astype(str)
    names = [" ".join(filter(None, row)) for row in keys.itertuples(index=False)]
    x0, end = days_of(table["start"]), days_of(table["end"])
    lanes = pd.DataFrame(
        {
            "lane": pd.factorize(pd.Series(names, dtype=object))[0],
            "name": names,
            "reason": table["reason"].to_numpy(),
            "x0": x0,
            "width": end - x0,
        }
    )
    if lanes.empty:
        return lanes
    low, high = _window(lanes)
    lanes["x0"], lanes["width"] = widened(x0, end - x0, (high - low) * _LEAST_SHARE)
    return lanes.sort_values(["lane", "width"], ascending=[True, False], kind="stable")


def _window(lanes: pd.DataFrame) -> tuple[float, float]:
    """From the first gap to the last, with a margin; a day at least."""
    low, high = float(lanes["x0"].min()), float((lanes["x0"] + lanes["width"]).max())
    return padded(low, high, least=(1 - (high - low)) / 2)
