"""The gaps on a line of time: where rows are missing, and why."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes

from ares_notebook.cache.gap_reasons import REASONS
from ares_notebook.plots.figure import (
    axes_or_new,
    days_of,
    draw_boxes,
    explain,
    letter_ticks,
    say_only,
    show_times,
    widened,
)
from ares_notebook.quality.findings import STYLES

__all__ = ["gap_lanes", "plot_gaps"]

_WIDTH, _LANE, _REST = 9.0, 0.34, 0.7
_LEGEND_LINE, _REASONS_A_LINE = 0.2, 3
_BAR = 0.7
# Of a gap of two hours in five years one would see nothing.
_LEAST_SHARE = 0.004
_MARGIN, _HALF_A_DAY = 0.01, 0.5
_SERIES = ["symbol", "dataset", "interval"]


def plot_gaps(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw where rows are missing, and why, on a line of time.

    How to read it: a lane is a series, a bar a gap, its colour and hatch the reason;
    the legend counts them. A short gap is drawn wider than it is, around its middle,
    so that none is too small to be seen.

    Parameters
    ----------
    table : pandas.DataFrame
        As `find_gaps` returns it, or several of them put together by ``pandas.concat``.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows.

    Returns
    -------
    Axes

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
    lanes = gap_lanes(table)
    names = list(dict.fromkeys(lanes["name"]))
    # Each line of the legend takes its room, too.
    lines = -(-lanes["reason"].nunique() // _REASONS_A_LINE)
    height = _REST + _LANE * max(len(names), 1) + _LEGEND_LINE * lines
    ax = axes_or_new(ax, (_WIDTH, height))
    if lanes.empty:
        return say_only(ax, "Nothing is missing")
    counts = lanes["reason"].value_counts()
    reasons = sorted(counts.index, key=list(REASONS).index)
    for reason in reasons:
        draw_boxes(ax, list(_boxes(lanes[lanes["reason"] == reason])), STYLES[reason])
    letter_ticks(ax.yaxis, range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(*_window(lanes))
    ax.hlines(range(len(names)), *ax.get_xlim(), color="#999999", linewidth=0.5, zorder=0)
    ax.tick_params(axis="y", length=0)
    ax.spines[["left", "top", "right"]].set_visible(False)
    show_times(ax.xaxis)
    ax.set_xlabel("UTC", loc="left", fontsize="small")
    explain(ax, [(f"{reason} ({counts[reason]:,})", STYLES[reason]) for reason in reasons])
    return ax


def gap_lanes(table: pd.DataFrame) -> pd.DataFrame:
    """What `plot_gaps` draws: a row a bar."""
    keys = table[_SERIES].fillna("").astype(str)
    names = (
        keys.apply(lambda row: " ".join(filter(None, row)), axis=1)
        if len(table)
        else keys["symbol"]
    )
    x0, end = days_of(table["start"]), days_of(table["end"])
    lanes = pd.DataFrame(
        {
            "lane": pd.factorize(names)[0],
            "name": names.to_numpy(),
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
    margin = max(_MARGIN * (high - low), _HALF_A_DAY - (high - low) / 2)
    return low - margin, high + margin


def _boxes(lanes: pd.DataFrame) -> Iterator[tuple[float, float, float, float]]:
    for lane, x0, width in zip(lanes["lane"], lanes["x0"], lanes["width"], strict=True):
        yield x0, lane - _BAR / 2, width, _BAR
