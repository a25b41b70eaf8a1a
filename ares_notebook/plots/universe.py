"""A universe: what the cache holds of many symbols, month by month, as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from ares_notebook.cache.gap_reasons import EXPLAINED
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import many
from ares_notebook.frame_checks import check_frame
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.gaps import BEFORE_LISTING
from ares_notebook.plots.figure import (
    Boxes,
    axes_or_new,
    draw_boxes,
    fit,
    legend_below,
    message_only,
    named_rows,
    points_of,
    set_ticks,
    set_title,
    size_inches,
)
from ares_notebook.quality.calendar import STYLES, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The least share of each class with its style, in the order of the legend.
_CLASSES = (
    (1.0, "all rows", Style("#0b62a4")),
    (0.99, "99 % or more", Style("#4796cf")),
    (0.9, "90 % or more", Style("#8fc4e8")),
    (0.5, "half or more", Style("#f5e663")),
    (1e-9, "less than half", Style("#d95f02")),
    (0.0, "none", Style("#4a2040")),
)
_UNLISTED = ("not listed, no rows exist", STYLES[BEFORE_LISTING])
# In inches.
_WIDTH, _LINE, _TALLEST = 9.0, 0.22, 9.0
_AROUND = 0.95
# With more symbols cells are too small to be separated.
_MOST_APART, _MOST_AN_INCH = 40, 16
_GAP = 0.12
# So many months are named each, by quarters; beyond that years are.
_MOST_MONTHS, _MOST_QUARTERS = 6, 30
Shares = npt.NDArray[np.float64]


def plot_universe(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw how complete each symbol is in the cache, month by month.

    How to read it: a line a symbol, a column a month. Dark blue is complete: every row is
    there, or the exchange has confirmed that it has none. The paler, the more rows are
    missing, and from less than nine tenths on the colour changes. Light grey is a month
    without any row at the exchange, such as before the listing. Where nothing is drawn the
    cache knows nothing of that month.

    Parameters
    ----------
    table : pandas.DataFrame
        As `coverage` returns it, or some of its rows: of one dataset, and of one interval.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    BadArgument
        If the table is of another kind, or of more than one series a symbol.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, coverage, download_universe, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_universe(["BTCUSDT", "ETHUSDT"], "1d", 0.2, end="2025-03-01",
    ...                                    settings=settings, datasets=["klines"]))
    ...     table = coverage(settings=settings)
    >>> ax = plot_universe(table)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['BTCUSDT', 'ETHUSDT']
    """
    check_frame(table, "coverage", ("start", "share"))
    shares = month_shares(table)
    height = min(_TALLEST, _LINE * len(shares))
    ax = axes_or_new(ax, (_WIDTH, height + _AROUND))
    if shares.empty:
        return message_only(ax, "The cache holds nothing")
    classes = _classes(shares.to_numpy())
    entries = []
    unlisted = unlisted_months(table).to_numpy()
    if unlisted.any():
        draw_boxes(ax, _boxes(ax, unlisted.astype(np.int64), 1), _UNLISTED[1])
    for number, (_, words, style) in enumerate(_CLASSES):
        if (classes == number).any():
            draw_boxes(ax, _boxes(ax, classes, number), style)
            entries.append((words, style))
    entries += [_UNLISTED] if unlisted.any() else []
    _name_symbols(ax, list(shares.index))
    _name_months(ax, pd.PeriodIndex(shares.columns))
    ax.set(xlim=(0, shares.shape[1]), ylim=(len(shares), 0))
    ax.tick_params(length=0, labelsize=points_of(ax))
    ax.spines[:].set_visible(False)
    _head(ax, table, len(shares))
    legend_below(ax, entries)
    fit(ax)
    return ax


def month_shares(table: pd.DataFrame) -> pd.DataFrame:
    """
    How complete each month is: a row a symbol, a column a month, cells from 0 to 1.

    Rows that are confirmed absent count as there. Of days the mean over those of the month that the
    table reaches to and that have rows at the exchange, each that is not there counting nothing.
    NaN where nothing is known of a month, or where it has no rows at the exchange.
    """
    series = table[["dataset", "interval"]].drop_duplicates()
    if len(series) > 1:
        names = ", ".join(" ".join(filter(None, each)) for each in series.to_numpy().tolist())
        column = "dataset" if len(series["dataset"].unique()) > 1 else "interval"
        one = series[column].iloc[0]
        msg = f'the table is of {names}; take one, such as table[table["{column}"] == "{one}"]'
        raise BadArgument(msg)
    if table.empty:
        return pd.DataFrame()
    cells = _cells(table)
    shares = _by_month(cells, cells.dropna(subset="share"), "share")
    every = pd.PeriodIndex(shares.columns)
    if {each.name: each.cut for each in DATASETS}.get(table["dataset"].iloc[0]) == "day":
        first, last = table["start"].min(), table["start"].max()
        begins = np.maximum(every.start_time.to_numpy(), first.to_datetime64())
        ends = np.minimum(every.end_time.to_numpy(), last.to_datetime64())
        days = (ends - begins) // np.timedelta64(1, "D") + 1
        shares = shares / (days - _by_month(cells, cells, "unlisted").fillna(0))
    return shares


def unlisted_months(table: pd.DataFrame) -> pd.DataFrame:
    """Which cells of `month_shares` are NaN since the month has no rows at the exchange."""
    cells = _cells(table)
    unlisted = _by_month(cells, cells[cells["unlisted"]], "unlisted")
    return unlisted.notna() & _by_month(cells, cells[~cells["unlisted"]], "unlisted").isna()


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    """A row a file: the share that is complete, or that it is proven to have no rows."""
    share, unlisted = table["share"], pd.Series(False, table.index)
    if {"rows", "state", "expected", "confirmed_absent"} <= set(table.columns):
        unlisted = (table["rows"] == 0) & table["state"].isin(EXPLAINED)
        absent = table["confirmed_absent"] / table["expected"].where(table["expected"] > 0)
        share = (share + absent.fillna(0)).where(~unlisted)
    months = table["start"].dt.tz_convert("UTC").dt.tz_localize(None).dt.to_period("M")
    cells = {"symbol": table["symbol"], "month": months, "share": share, "unlisted": unlisted}
    return pd.DataFrame(cells)


def _by_month(cells: pd.DataFrame, some: pd.DataFrame, name: str) -> pd.DataFrame:
    """The sums of a column of *some* cells: a row a symbol, a column a month, without a month left out."""
    sums = some.pivot_table(index="symbol", columns="month", values=name, aggfunc="sum")
    months = pd.period_range(cells["month"].min(), cells["month"].max(), freq="M")
    return sums.reindex(index=sorted(cells["symbol"].unique()), columns=months)


def _classes(shares: Shares) -> npt.NDArray[np.int64]:
    """The class of each cell; -1 where there is no cell."""
    floors = np.array([floor for floor, _, _ in _CLASSES])
    # A sum of floats may fall short of one by its last digit.
    classes = (shares[..., None] + 1e-12 < floors).sum(axis=-1)
    return np.where(np.isnan(shares), -1, classes)


def _boxes(ax: Axes, classes: npt.NDArray[np.int64], number: int) -> Boxes:
    """Left, bottom, width and height of the cells of a class; of small cells neighbours are joined."""
    if len(classes) <= _MOST_APART and classes.shape[1] <= _MOST_AN_INCH * size_inches(ax).width:
        y, x = np.nonzero(classes == number)
        # The space between columns is that between lines, however wide the columns are.
        aside = min(_GAP, _GAP * _LINE * classes.shape[1] / _WIDTH) / 2
        return x + aside, y + _GAP / 2, 1 - 2 * aside, 1 - _GAP
    # Where a run of cells begins and ends in its row.
    edges = np.diff((classes == number).astype(int), prepend=0, append=0, axis=1)
    (y, x), (_, ends) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    return x, y, ends - x, 1


def _name_symbols(ax: Axes, symbols: list[str]) -> None:
    named = named_rows(ax, len(symbols))
    set_ticks(ax.yaxis, [at + 0.5 for at in named], [symbols[at] for at in named])


def _name_months(ax: Axes, months: pd.PeriodIndex) -> None:
    """Years, each at its January; of a short time quarters or months, as far as there is room."""
    share = size_inches(ax).width / _WIDTH
    every = 1 if len(months) <= _MOST_MONTHS * share else 3
    form = "%Y-%m"
    if len(months) > _MOST_QUARTERS * share:
        every, form = 12, "%Y"
    named = [at for at, month in enumerate(months) if (month.month - 1) % every == 0]
    if not named:
        named, form = [0], "%Y-%m"
    ax.set_xticks(named, [months[at].strftime(form) for at in named], ha="left")
    ax.xaxis.tick_top()


def _head(ax: Axes, table: pd.DataFrame, count: int) -> None:
    dataset, interval = table["dataset"].iloc[0], table["interval"].iloc[0]
    set_title(ax, [" ".join(filter(None, (dataset, interval))), many(count, "symbol")])
