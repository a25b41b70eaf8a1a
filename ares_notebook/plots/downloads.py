"""Plots of downloaded files and of runs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from ares_notebook.formatting import many
from ares_notebook.frame_checks import check_frame
from ares_notebook.plots.figure import (
    axes_or_new,
    days_of,
    fit,
    ink_of,
    legend_below,
    message_only,
    named_rows,
    padded,
    points_of,
    show_times,
    size_inches,
    time_axis,
)

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
_OTHER = _Mark("#8a8a8a", "x")
# A colour each ending, the good ones first, and a form each verb.
_ENDINGS = {
    "done": "#2f86cf",
    "incomplete": "#7cc4ee",
    "below threshold": "#b08d00",
    "differs": "#c05a96",
    "failed": "#d95f02",
    "cancelled": "#8a8a8a",
}
_OTHER_ENDING = "#8a8a8a"
_FORMS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MARK_POINTS = 6
_HALF_A_MINUTE_DAYS = 30 / 86_400
# The durations that are named, in seconds. A shorter run is drawn at the lowest.
_DURATIONS = {
    0.01: "10 ms",
    0.1: "100 ms",
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    36_000: "10 h",
    360_000: "100 h",
}
_LEAST_SECONDS = 0.01


def plot_downloads(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw when the files of a cache were downloaded, and from which source.

    How to read it: a bar with a mark is a source of a file. To the right is when it was
    downloaded, upwards the period of the file; form and colour are the source, and the legend
    counts the files. One column of marks is one run; a file that was completed later has a
    mark in each of them.

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
        ax.vlines(x, low, high, color=colour, linewidth=2, alpha=0.5)
        [line] = ax.plot(x, (low + high) / 2, marker, color=colour, markersize=_mark_points(ax))
        entries.append((f"{road} ({many(some['file'].nunique(), 'file')})", line))
    _time_axis(ax, marks["x"], "downloaded at, UTC")
    show_times(ax.yaxis)
    ax.set_ylabel("period of the file, UTC", fontsize=points_of(ax))
    ax.spines[["top", "right"]].set_visible(False)
    legend_below(ax, entries)
    fit(ax)
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
    Draw the run history: when each run began, how long it took and how it ended.

    How to read it: a mark is a run. To the right is when it began, upwards how long it took, on a
    logarithmic axis; the colour is how it ended, and the form the verb. The legend counts
    both.

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
    ['done (1 run)', 'download (1 run)']
    """
    check_frame(table, "load_runs")
    ax = axes_or_new(ax, _SIZE)
    marks = run_marks(table)
    if marks.empty:
        return message_only(ax, "Nothing was run")
    forms = dict(zip(dict.fromkeys(marks["what"]), cycle(_FORMS)))
    for (ending, what), some in marks.groupby(["ending", "what"], sort=False):
        colour = _ENDINGS.get(str(ending), _OTHER_ENDING)
        ax.plot(some["x"], some["seconds"], forms[what], color=colour, markersize=_mark_points(ax))
    _time_axis(ax, marks["x"], "began at, UTC")
    _duration_axis(ax, marks["seconds"])
    ax.spines[["top", "right"]].set_visible(False)
    endings = [
        (f"{ending} ({many(count, 'run')})", Patch(color=_ENDINGS.get(str(ending), _OTHER_ENDING)))
        for ending, count in marks["ending"].value_counts(sort=False).items()
    ]
    verbs = [
        (f"{what} ({many(count, 'run')})", _form_alone(forms[what], ink_of(ax)))
        for what, count in marks["what"].value_counts(sort=False).items()
    ]
    legend_below(ax, [*endings, *verbs])
    fit(ax)
    return ax


def run_marks(table: pd.DataFrame) -> pd.DataFrame:
    """What `plot_runs` draws: a row a run of which it is known when it began and how long it took."""
    known = table[table["at"].notna() & table["seconds"].notna()].sort_values("at", kind="stable")
    marks = pd.DataFrame(
        {
            "what": known["what"].astype(str),
            "ending": known["ending"].astype(str),
            "seconds": known["seconds"].astype(float).clip(lower=_LEAST_SECONDS),
            "x": days_of(known["at"]),
        }
    )
    return _sorted(marks, "ending", _ENDINGS)


def _mark_points(ax: Axes) -> float:
    """The size of a mark: less on narrow axes, where more of them meet."""
    return min(_MARK_POINTS, float(size_inches(ax).width))


def _form_alone(form: str, ink: str) -> Line2D:
    """A mark for the legend."""
    return Line2D([], [], linestyle="", marker=form, color=ink, markersize=_MARK_POINTS)


def _duration_axis(ax: Axes, seconds: pd.Series[float]) -> None:
    """Make the y axis one of durations, from the named one below the shortest to that above the longest."""
    low, high = float(seconds.min()), float(seconds.max())
    bottom = max((each for each in _DURATIONS if each < low), default=min(_DURATIONS))
    top = min((each for each in _DURATIONS if each > high), default=2 * high)
    ax.set_yscale("log")
    ax.set_ylim(bottom, top)
    ax.yaxis.set_minor_locator(NullLocator())
    named = [each for each in _DURATIONS if bottom <= each <= top]
    ax.set_yticks([named[at] for at in named_rows(ax, len(named))])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda at, _: _DURATIONS[at]))
    ax.set_ylabel("took", fontsize=points_of(ax))
    ax.tick_params(axis="y", labelsize=points_of(ax))
