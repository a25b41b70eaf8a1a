"""Plots of downloaded files and of runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from ares_notebook.formatting import many, time_in_words
from ares_notebook.frame_checks import check_frame
from ares_notebook.plots.figure import (
    axes_or_new,
    days_of,
    legend_below,
    message_only,
    padded,
    set_ticks,
    show_times,
    time_axis,
)

__all__ = ["download_marks", "plot_downloads", "plot_runs", "run_marks"]

_SIZE = (9.0, 4.0)


class _Mark(NamedTuple):
    colour: str
    marker: str


_SOURCES = {
    "monthly archive": _Mark("#0b62a4", "s"),
    "daily archive": _Mark("#7cc4ee", "o"),
    "rest": _Mark("#d95f02", "^"),
    "legacy": _Mark("#8a8a8a", "D"),
    "salvaged": _Mark("#4a2040", "v"),
}
_ENDINGS = {
    "done": _Mark("#0b62a4", "o"),
    "incomplete": _Mark("#7cc4ee", "s"),
    "below threshold": _Mark("#8a6d00", "^"),
    "differs": _Mark("#a3457c", "D"),
    "failed": _Mark("#d95f02", "X"),
    "cancelled": _Mark("#8a8a8a", "v"),
}
_OTHER = _Mark("#8a8a8a", "x")
_HALF_A_MINUTE_DAYS = 30 / 86_400
# The longest run of a lane has this height, the shortest that; a lane is 1 high.
_TALLEST, _LEAST = 0.72, 0.06
_FEW_SECONDS = 10


def plot_downloads(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw when the files of a cache were downloaded, and from which source.

    How to read it: a mark is a source of a file. To the right is when it was downloaded, upwards
    the period that it holds; form and colour are the source, and the legend counts the
    files. One column of marks is one run; a file that was completed later has a mark
    in each of them.

    Parameters
    ----------
    table : pandas.DataFrame
        As `download_history` returns it.
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
    >>> from ares_notebook import DemoExchange, download_history, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-02-10", settings=settings))
    ...     ax = plot_downloads(download_history(settings=settings))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['monthly archive (1 file)', 'rest (1 file)']
    """
    check_frame(table, "download_history")
    ax = axes_or_new(ax, _SIZE)
    marks = download_marks(table)
    if marks.empty:
        return message_only(ax, "Nothing was downloaded")
    entries = []
    for road, some in marks.groupby("road", sort=False):
        colour, marker = _SOURCES.get(str(road), _OTHER)
        x, low, high = some["x"], some["low"], some["high"]
        ax.vlines(x, low, high, color=colour, linewidth=1, alpha=0.6)
        [line] = ax.plot(x, (low + high) / 2, marker, color=colour, markersize=5)
        entries.append((f"{road} ({many(some['file'].nunique(), 'file')})", line))
    _time_axis(ax, marks["x"], "when it came, UTC")
    show_times(ax.yaxis)
    ax.set_ylabel("what it holds", fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    legend_below(ax, entries)
    return ax


def download_marks(table: pd.DataFrame) -> pd.DataFrame:
    """What `plot_downloads` draws: a row a source of which it is known when it came."""
    known = table[table["at"].notna()]
    marks = pd.DataFrame(
        {
            "file": known["file"].to_numpy(),
            "road": known["road"].to_numpy(),
            "x": days_of(known["at"]),
            "low": days_of(known["start"]),
            "high": days_of(known["end"]),
        }
    )
    return _sorted(marks, "road", _SOURCES)


def _sorted(marks: pd.DataFrame, column: str, styles: Iterable[str]) -> pd.DataFrame:
    """The marks in the order of the legend; unknown names last."""
    order = {name: at for at, name in enumerate(styles)}
    return marks.sort_values(
        column, key=lambda names: names.map(order).fillna(len(order)), kind="stable"
    )


def _time_axis(ax: Axes, x: pd.Series[float], label: str) -> None:
    """Make the x axis one of times; a minute long at least."""
    time_axis(ax, padded(x.min(), x.max(), 0.03, _HALF_A_MINUTE_DAYS), label)


def plot_runs(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw the run history: a lane a verb, a mark a run.

    How to read it: to the right is when a run began. Its stem is as high as it was long,
    compared with the longest of its lane, which is written at the right; form and colour of
    the mark are how it ended, and the legend counts them.

    Parameters
    ----------
    table : pandas.DataFrame
        As `load_runs` returns it.
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
    >>> from ares_notebook import DemoExchange, download_klines_data, load_runs, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-02-10", settings=settings))
    ...     ax = plot_runs(load_runs(settings=settings))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['done (1 run)']
    """
    check_frame(table, "load_runs")
    ax = axes_or_new(ax, _SIZE)
    marks = run_marks(table)
    if marks.empty:
        return message_only(ax, "Nothing was run")
    entries = []
    for ending, some in marks.groupby("ending", sort=False):
        colour, marker = _ENDINGS.get(str(ending), _OTHER)
        ax.vlines(some["x"], some["lane"], some["top"], color=colour, linewidth=2, alpha=0.7)
        [line] = ax.plot(some["x"], some["top"], marker, color=colour, markersize=6)
        entries.append((f"{ending} ({many(len(some), 'run')})", line))
    _time_axis(ax, marks["x"], "when it began, UTC")
    _name_lanes(ax, marks)
    ax.spines[["top", "right", "left"]].set_visible(False)
    legend_below(ax, entries)
    return ax


def run_marks(table: pd.DataFrame) -> pd.DataFrame:
    """What `plot_runs` draws: a row a run of which it is known when it began."""
    known = table[table["at"].notna()].sort_values("at", kind="stable")
    verbs = list(dict.fromkeys(known["what"].astype(str)))
    lanes = {verb: len(verbs) - 1 - at for at, verb in enumerate(verbs)}
    seconds = known["seconds"].fillna(0).astype(float)
    longest = seconds.groupby(known["what"]).transform("max").replace(0, np.nan)
    marks = pd.DataFrame(
        {
            "what": known["what"].astype(str),
            "ending": known["ending"].astype(str),
            "seconds": seconds,
            "x": days_of(known["at"]),
            "lane": known["what"].astype(str).map(lanes).astype(int),
        }
    )
    marks["top"] = marks["lane"] + (_TALLEST * seconds / longest).fillna(0).clip(lower=_LEAST)
    return _sorted(marks, "ending", _ENDINGS)


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _FEW_SECONDS else time_in_words(seconds)


def _name_lanes(ax: Axes, marks: pd.DataFrame) -> None:
    """The verb of each lane, and how long its longest run was."""
    longest = marks.groupby("lane").agg({"what": "first", "seconds": "max"})
    set_ticks(ax.yaxis, longest.index + _TALLEST / 2, longest["what"])
    neighbours = blended_transform_factory(ax.transAxes, ax.transData)
    for lane, seconds in zip(longest.index, longest["seconds"], strict=True):
        words = f"up to {_short(seconds)}"
        ax.text(
            1.0, lane + 0.95, words, transform=neighbours, ha="right", va="top", fontsize="x-small"
        )
    ax.tick_params(axis="y", length=0, labelsize="small")
    for lane in longest.index:
        ax.axhline(lane, color="#8a8a8a", linewidth=0.6, alpha=0.5, zorder=0)
    ax.set_ylim(-0.08, len(longest) - 0.08)
