"""Downloads: what came when, and by which road."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ares_notebook.formatting import many
from ares_notebook.plots.figure import (
    around,
    axes_or_new,
    days_of,
    legend_below,
    say_only,
    show_times,
)

__all__ = ["download_marks", "plot_downloads"]

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
