"""The coverage calendar: what the cache holds, a cell a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ares_notebook.plots.figure import (
    axes_or_new,
    draw_boxes,
    explain,
    letter,
    letter_ticks,
    new_axes,
    say_only,
)
from ares_notebook.quality.calendar import Block, Line, calendar_of, states_in
from ares_notebook.quality.findings import STYLES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["draw_coverage", "plot_coverage"]

# In lines: the head of a series, its marks, the cell of a line, what is free below.
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
    blocks = calendar_of(table)
    ax = axes_or_new(ax, _size(blocks))
    if not blocks:
        return say_only(ax, "The cache holds nothing")
    places = list(_places(blocks))
    states = states_in(blocks)
    for state in states:
        boxes = [
            (piece.x0, y, piece.width, _CELL)
            for y, line in places
            for piece in line.pieces
            if piece.state == state
        ]
        draw_boxes(ax, boxes, STYLES[state])
    _heads(ax, blocks)
    letter_ticks(ax.yaxis, [y + _CELL / 2 for y, _ in places], [line.label for _, line in places])
    _frame(ax, _height(blocks))
    explain(ax, [(state, STYLES[state]) for state in states])
    return ax


def draw_coverage(table: pd.DataFrame) -> Figure:
    """
    The same on a figure of its own, which pyplot does not know: for `as_svg`, from any thread.
    """
    ax = new_axes(_size(calendar_of(table)))
    return cast("Figure", plot_coverage(table, ax=ax).figure)


def _size(blocks: Sequence[Block]) -> tuple[float, float]:
    legend = 0.12 + 0.17 * -(-len(states_in(blocks)) // 3)
    return _WIDTH, max(0.9, 0.1 + legend + _LINE * _height(blocks))


def _height(blocks: Sequence[Block]) -> float:
    return sum(_TITLE + _MARKS + len(block.lines) + _FREE for block in blocks) - _FREE


def _places(blocks: Sequence[Block]) -> Iterator[tuple[float, Line]]:
    """Each line, and how far down it lies."""
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
        letter(ax.text(0, y + 0.1, "", va="top", weight="bold"), block.title)
        for at, mark in block.marks:
            ax.text(at, y + _TITLE + _MARKS - 0.15, mark, ha="center", fontsize="small")
        y += _TITLE + _MARKS + len(block.lines) + _FREE


def _frame(ax: Axes, height: float) -> None:
    ax.set_xlim(0, 1)
    ax.set_ylim(height, 0)
    ax.xaxis.set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
