"""Plots of coverage and of gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import pandas as pd
from matplotlib.axes import Axes

from ares_notebook.cache.gap_reasons import REASONS
from ares_notebook.frame_checks import check_frame
from ares_notebook.plots.figure import (
    POINTS_AN_INCH,
    add_text,
    axes_or_new,
    days_of,
    draw_boxes,
    fit,
    least_share,
    legend_below,
    message_only,
    named_rows,
    padded,
    points_of,
    set_ticks,
    size_inches,
    time_axis,
    widened,
)
from ares_notebook.quality.calendar import STYLES, Block, Line, calendar_of, states_in

# Heights in lines: title of a series, its marks, a cell, the space below.
_TITLE, _MARKS, _CELL, _FREE = 1.0, 0.9, 0.78, 0.5
# In inches; a line is as high as its label, or higher.
_WIDTH, _LINE, _TALLEST = 9.0, 0.23, 14.0
_LINE_SPACING = 1.45
_MORE = "and {} more series: use plot_universe"


def plot_coverage(
    table: pd.DataFrame, *, gaps: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """
    Draw what the cache holds as a calendar.

    How to read it: a block is a series, a line a year (or a month of days), a cell a
    file, from left to right its time. Dark is where rows are; a gap has the colour and the
    hatch of its reason and lies where it lies in time, a short one wider than it is, so
    that none is invisible. Where nothing is drawn no row is due. Of more series than fit,
    the first are drawn, and a line says how many are not: `plot_universe` has a line each.

    Parameters
    ----------
    table : pandas.DataFrame
        As `coverage` returns it, or some of its rows.
    gaps : pandas.DataFrame, optional
        As `find_gaps` returns it. Defaults to the gaps that *table* carries in its
        ``attrs``, which ``pandas.concat`` of several tables loses; a file whose gaps are not
        known has the style of its state all over.
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
    drawn = ax or axes_or_new(None, _size(calendar_of(table, gaps)))
    extent = size_inches(drawn)
    blocks = calendar_of(table, gaps, least=least_share(drawn))
    if not blocks:
        return message_only(drawn, "The cache holds nothing")
    fitting = _fitting(blocks, extent.height, points_of(drawn))
    _draw_blocks(drawn, blocks[:fitting], len(blocks) - fitting)
    fit(drawn)
    return drawn


def _size(blocks: Sequence[Block]) -> tuple[float, float]:
    legend = 0.12 + 0.17 * -(-len(states_in(blocks)) // 3)
    return _WIDTH, min(_TALLEST, max(0.9, 0.1 + legend + _LINE * _height(blocks)))


def _height(blocks: Sequence[Block]) -> float:
    return sum(_TITLE + _MARKS + len(block.lines) + _FREE for block in blocks) - _FREE


def _fitting(blocks: Sequence[Block], inches: float, points: float) -> int:
    """How many of the series have room for readable lines; one at least."""
    room = inches * POINTS_AN_INCH / (_LINE_SPACING * points)
    if _height(blocks) <= room:
        return len(blocks)
    heights = accumulate(_height([block]) + _FREE for block in blocks)
    return max(1, sum(height + 1 <= room for height in heights))


def _draw_blocks(ax: Axes, blocks: Sequence[Block], more: int) -> None:
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
    height = _height(blocks)
    if more:
        add_text(ax, (0, height + 0.1), _MORE.format(more), va="top", style="italic")
    _frame(ax, height + (1.3 if more else 0))
    legend_below(ax, [(state, STYLES[state]) for state in states])


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
        add_text(ax, (0, y), block.title, va="top", weight="bold")
        for at, mark in block.marks:
            add_text(ax, (at, y + _TITLE + _MARKS - 0.25), mark, ha="center")
        y += _TITLE + _MARKS + len(block.lines) + _FREE


def _frame(ax: Axes, height: float) -> None:
    ax.set(xlim=(0, 1), ylim=(height, 0))
    ax.xaxis.set_visible(False)
    ax.tick_params(axis="y", length=0, labelsize=points_of(ax))
    ax.spines[:].set_visible(False)


_LANE, _REST = 0.34, 0.7
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
    if lanes.empty:
        return message_only(axes_or_new(ax, (_WIDTH, _REST + _LANE)), "Nothing is missing")
    names = list(dict.fromkeys(lanes["name"]))
    # The lines of the legend need space, too.
    lines = -(-lanes["reason"].nunique() // _REASONS_A_LINE)
    height = _REST + _LANE * len(names) + _LEGEND_LINE * lines
    ax = axes_or_new(ax, (_WIDTH, min(_TALLEST, height)))
    low, high = _window(lanes)
    least = (high - low) * least_share(ax)
    counts = lanes["reason"].value_counts()
    reasons = sorted(counts.index, key=list(REASONS).index)
    for reason in reasons:
        bars = lanes[lanes["reason"] == reason]
        bottom = bars["lane"] - _BAR / 2
        x0, width = widened(bars["x0"].to_numpy(), bars["width"].to_numpy(), least)
        draw_boxes(ax, (x0, bottom, width, _BAR), STYLES[reason])
    named = named_rows(ax, len(names))
    set_ticks(ax.yaxis, named, [names[at] for at in named])
    ax.set_ylim(len(names) - 0.5, -0.5)
    time_axis(ax, (low, high))
    ax.hlines(named, *ax.get_xlim(), color="#999999", linewidth=0.5, zorder=0)
    ax.tick_params(axis="y", length=0, labelsize=points_of(ax))
    ax.spines[["left", "top", "right"]].set_visible(False)
    legend_below(ax, [(f"{reason} ({counts[reason]:,})", STYLES[reason]) for reason in reasons])
    fit(ax)
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
