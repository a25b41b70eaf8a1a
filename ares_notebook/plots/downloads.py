"""Plots of downloaded files and of runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from ares_notebook.formatting import many, time_in_words
from ares_notebook.plots.figure import (
    around,
    axes_or_new,
    days_of,
    legend_below,
    letter_ticks,
    say_only,
    show_times,
)

__all__ = ["download_marks", "plot_downloads", "plot_runs", "run_marks"]

_SIZE = (9.0, 4.0)
# Colour and form; what is not one of the known roads is a cross.
_ROADS = {
    "monthly archive": ("#0b62a4", "s"),
    "daily archive": ("#7cc4ee", "o"),
    "rest": ("#d95f02", "^"),
    "legacy": ("#8a8a8a", "D"),
    "salvaged": ("#4a2040", "v"),
}
_OTHER = ("#8a8a8a", "x")


def plot_downloads(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw when the files of a cache came, and by which road.

    How to read it: a mark is a source of a file. To the right is when it came, upwards
    the period that it holds; form and colour are the road, and the legend counts the
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
    ax = axes_or_new(ax, _SIZE)
    marks = download_marks(table)
    if marks.empty:
        return say_only(ax, "Nothing was downloaded")
    entries = [_drawn(ax, str(road), some) for road, some in marks.groupby("road", sort=False)]
    around(ax, marks["x"])
    show_times(ax.yaxis)
    ax.set_xlabel("when it came, UTC", loc="left", fontsize="small")
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
    order = {road: at for at, road in enumerate(_ROADS)}
    return marks.sort_values(
        "road", key=lambda roads: roads.map(order).fillna(len(order)), kind="stable"
    )


def _drawn(ax: Axes, road: str, marks: pd.DataFrame) -> tuple[str, Line2D]:
    colour, form = _ROADS.get(road, _OTHER)
    ax.vlines(marks["x"], marks["low"], marks["high"], color=colour, linewidth=1, alpha=0.6)
    [line] = ax.plot(
        marks["x"], (marks["low"] + marks["high"]) / 2, form, color=colour, markersize=5
    )
    files = marks["file"].nunique()
    return f"{road} ({many(files, 'file')})", line


# A lane is one high; the longest run of it reaches so far up.
_TALLEST, _LEAST = 0.72, 0.06
_FEW_SECONDS = 10


class _Form(NamedTuple):
    colour: str
    marker: str


_ENDINGS = {
    "done": _Form("#0b62a4", "o"),
    "incomplete": _Form("#7cc4ee", "s"),
    "below threshold": _Form("#8a6d00", "^"),
    "differs": _Form("#a3457c", "D"),
    "failed": _Form("#d95f02", "X"),
    "cancelled": _Form("#8a8a8a", "v"),
}
_OTHER_ENDING = _Form("#8a8a8a", "x")


def plot_runs(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw the run history: a lane a verb, a mark a run.

    How to read it: to the right is when a run began. Its stem is as high as it was long,
    compared with the longest of its lane, which stands at the right; form and colour of
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
    ax = axes_or_new(ax, _SIZE)
    marks = run_marks(table)
    if marks.empty:
        return say_only(ax, "Nothing was run")
    entries = [
        _drawn_runs(ax, str(name), some) for name, some in marks.groupby("ending", sort=False)
    ]
    around(ax, marks["x"])
    _name_lanes(ax, marks)
    ax.set_xlabel("when it began, UTC", loc="left", fontsize="small")
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
    order = {ending: at for at, ending in enumerate(_ENDINGS)}
    return marks.sort_values(
        "ending", key=lambda names: names.map(order).fillna(len(order)), kind="stable"
    )


def _drawn_runs(ax: Axes, ending: str, marks: pd.DataFrame) -> tuple[str, Line2D]:
    form = _ENDINGS.get(ending, _OTHER_ENDING)
    ax.vlines(marks["x"], marks["lane"], marks["top"], color=form.colour, linewidth=2, alpha=0.7)
    [line] = ax.plot(marks["x"], marks["top"], form.marker, color=form.colour, markersize=6)
    return f"{ending} ({many(len(marks), 'run')})", line


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _FEW_SECONDS else time_in_words(seconds)


def _name_lanes(ax: Axes, marks: pd.DataFrame) -> None:
    """The verb of each lane, and how long its longest run was."""
    longest = marks.groupby("lane").agg({"what": "first", "seconds": "max"})
    letter_ticks(ax.yaxis, longest.index + _TALLEST / 2, longest["what"])
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
