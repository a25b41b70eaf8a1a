"""Plots of k-lines."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ares_notebook.errors import BadArgument
from ares_notebook.frame_checks import check_frame
from ares_notebook.plots.figure import (
    axes_or_new,
    days_of,
    draw_boxes,
    fit,
    in_time_order,
    legend_below,
    message_only,
    padded,
    points_of,
    set_text,
    set_title,
    size_inches,
    time_axis,
)
from ares_notebook.plots.panes import (
    BELOW_HEIGHT,
    VOLUME_HEIGHT,
    below_pane,
    check_below,
    points_a_row,
    volume_pane,
    with_separators,
)
from ares_notebook.plots.row_gaps import (
    GAP_TICK,
    draw_gaps,
    gaps_of,
    resampled,
    span_of,
    times_of,
    usual_step,
    whole_span_of,
)
from ares_notebook.plots.units import Quantity, quantity_of
from ares_notebook.quality.calendar import Style

_SIZE = (9.0, 4.6)
_MOST_CANDLES = 500
# More points than a screen has columns only take time.
_MOST_POINTS = 2000
_BODY = 0.7
_UP, _DOWN = Style("#a8e6cf", ink="#0a7a58"), Style("#b34a00", ink="#b34a00")
_CLOSE, _RANGE = "#1f7ac0", "#1f7ac055"
_PRICES = ("open", "high", "low", "close")
# The distance of a pane from the price, as a share of the axes.
_PANE_SPACE = 0.04
_LEAST_LEGEND_INCHES = 3.5


def plot_klines(
    frame: pd.DataFrame,
    *,
    below: pd.DataFrame | None = None,
    ax: Axes | None = None,
    log: bool = False,
) -> Axes:
    """
    Draw k-lines, below them their volume or other rows, and where rows are missing.

    How to read it: up to five hundred rows are candles, light where the price rose and
    dark where it fell; more are the band between low and high with the close as a
    line. Ticks at the bottom are gaps: a hatched one is missing (`find_gaps` says why); a plain
    one has no candle because the exchange has none there. Of a frame from which rows were removed,
    or without ``attrs``, it is not known which of the two a gap is. A
    short tick is wider than its gap, so that none is invisible. Below is the volume, where the
    frame has one and there is room: of COIN-M it counts contracts, else it is in the base
    asset. A premium is drawn in percent. The title and the unit of the price are those of
    ``frame.attrs``, where it has them.

    With *below*, other rows take the place of the volume, on the same axis of time and with an
    axis of their own: funding as bars in percent of the position, above zero where longs pay
    shorts; all else as a line, which is broken where a row is not there. Gaps of these rows are
    ticks at their bottom, also where they do not reach as far as the candles.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `load_klines` returns it, or `load_rows` candles of any dataset.
    below : pandas.DataFrame, optional
        As `load_funding` returns it, or `load_rows` funding, candles or open interest. Of candles
        the closes are drawn, of other rows the first column: to draw another one, pass
        ``rows[["count_long_short_ratio"]]``. Rows outside the window of the candles are left out.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows. The volume, or what
        is below, is drawn on axes inside these.
    log : bool, default False
        Whether the axis of the price is logarithmic.

    Returns
    -------
    Axes
        Those of the price.

    Raises
    ------
    BadArgument
        If *frame* or *below* is of another kind (the error says what it lacks and what it seems to
        be), *below* holds trades, or *log* is wanted of prices that are not above zero.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, load_klines, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.05, end="2025-04-01", settings=settings))
    ...     ax = plot_klines(load_klines("BTCUSDT", "1h", settings=settings))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['low to high', 'close', 'no candle (confirmed absent)']
    """
    check_frame(frame, "load_klines")
    if below is not None:
        check_below(below)
    ax = axes_or_new(ax, _SIZE)
    # A bar over missing rows is empty, and drawn as a gap.
    given, frame = frame, in_time_order(frame.dropna(how="all"))
    if frame.empty:
        return message_only(ax, "No k-lines")
    price = quantity_of("close", frame.attrs)
    bars = frame[[*_PRICES, *frame.columns.intersection(["volume"])]].astype(float)
    bars[list(_PRICES)] *= price.factor
    if log and not (bars[list(_PRICES)] > 0).all(axis=None):
        msg = "prices that are not above zero have no logarithm; leave out log=True"
        raise BadArgument(msg)
    is_band = len(frame) > _MOST_CANDLES
    bars = band_of(bars) if is_band else bars
    window = whole_span_of(frame)
    time_axis(ax, padded(*days_of(pd.DatetimeIndex(window))))
    entries = _band(ax, bars) if is_band else _candles(ax, bars, usual_step(frame))
    # What candles look like is well known, and there is no room for it.
    entries = entries if size_inches(ax).width >= _LEAST_LEGEND_INCHES else []
    gaps = gaps_of(frame, given=given)
    if below is not None:
        floor = BELOW_HEIGHT + _PANE_SPACE + GAP_TICK
        entries += draw_gaps(ax, frame, gaps, floor - GAP_TICK)
    else:
        floor = VOLUME_HEIGHT + _PANE_SPACE if "volume" in bars else GAP_TICK
        entries += draw_gaps(ax, frame, gaps)
    _price_axis(ax, bars, floor, price, log=log)
    if below is not None:
        entries += below_pane(ax, below, str(frame.attrs.get("symbol") or ""), window)
    elif "volume" in bars:
        volume_pane(ax, bars, frame.attrs)
    _title(ax, frame)
    ax.spines[["top", "right"]].set_visible(False)
    legend_below(ax, list(dict(entries).items()))
    fit(ax)
    return ax


def band_of(frame: pd.DataFrame, most: int = _MOST_POINTS) -> pd.DataFrame:
    """The highs, lows, closes and volumes of *frame* in no more than about *most* rows."""
    how = {"high": "max", "low": "min", "close": "last"}
    return resampled(frame, how | ({"volume": "sum"} if "volume" in frame else {}), most)


def _title(ax: Axes, frame: pd.DataFrame) -> None:
    """Symbol, interval, dataset, window and market, as far as they are known and there is room."""
    attrs = frame.attrs
    dataset = attrs.get("dataset")
    names = [attrs.get("symbol"), attrs.get("interval"), None if dataset == "klines" else dataset]
    first, last = span_of(frame)
    is_whole = all(each == each.normalize() for each in (first, last))
    form = "%Y-%m-%d" if is_whole else "%Y-%m-%d %H:%M"
    window = f"{first:{form}} to {last:{form}} UTC"
    name = " ".join(str(each) for each in names if each)
    set_title(ax, [name, window, str(attrs.get("market") or "")])


def _price_axis(ax: Axes, bars: pd.DataFrame, floor: float, price: Quantity, *, log: bool) -> None:
    """The axis of the price, whose part below *floor*, a share of it, is left free."""
    set_text(ax.set_ylabel("", loc="top", fontsize=points_of(ax)), price.words)
    low, high = float(bars["low"].min()), float(bars["high"].max())
    if log:
        ax.set_yscale("log")
        bottom, top = padded(np.log(low), np.log(high), 0.03, 1e-6)
        ax.set_ylim(*np.exp([bottom - (top - bottom) * floor / (1 - floor), top]))
    else:
        bottom, top = padded(low, high, 0.03, abs(high) * 1e-6 or 1.0)
        ax.set_ylim(bottom - (top - bottom) * floor / (1 - floor), top)
    most = max(3, min(9, int(4 * size_inches(ax).height)))
    is_wide = log and high > low * 10
    ax.yaxis.set_major_locator(
        ticker.LogLocator(subs=(1, 2, 5)) if is_wide else ticker.MaxNLocator(most)
    )
    ax.yaxis.set_minor_locator(ticker.NullLocator())
    with_separators(ax, np.exp(bottom) if log else bottom)


def _candles(ax: Axes, frame: pd.DataFrame, step: pd.Timedelta) -> list[tuple[str, object]]:
    """Bodies and wicks; what they are in a legend."""
    width = step / pd.Timedelta(days=1)
    middle = days_of(times_of(frame)) + width / 2
    # So many candles on narrow axes would else be one block.
    points = points_a_row(ax, frame)
    wick, edge = min(1.0, 0.4 * points), min(0.6, 0.15 * points)
    entries: list[tuple[str, object]] = []
    for words, style, chosen in (
        ("rose, or stayed", _UP, frame["close"] >= frame["open"]),
        ("fell", _DOWN, frame["close"] < frame["open"]),
    ):
        some, at = frame[chosen], middle[chosen.to_numpy()]
        if some.empty:
            continue
        ax.vlines(at, some["low"], some["high"], colors=style.ink, linewidth=wick)
        bottom, height = some[["open", "close"]].min(axis=1), (some["close"] - some["open"]).abs()
        bodies = draw_boxes(ax, (at - _BODY * width / 2, bottom, _BODY * width, height), style)
        # A candle whose price did not move is a line, not invisible.
        bodies.set(linewidth=edge, zorder=3)
        entries.append((words, style))
    return entries


def _band(ax: Axes, band: pd.DataFrame) -> list[tuple[str, object]]:
    x = days_of(times_of(band))
    ax.fill_between(x, band["low"], band["high"], color=_RANGE, linewidth=0.5)
    [line] = ax.plot(x, band["close"], color=_CLOSE, linewidth=0.8)
    return [("low to high", Patch(color=_RANGE)), ("close", line)]
