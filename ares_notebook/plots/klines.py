"""Plots of k-lines and of funding rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ares_notebook.cache.gap_reasons import CONFIRMED, NOT_DOWNLOADED
from ares_notebook.frame_attrs import missing
from ares_notebook.frame_checks import check_frame
from ares_notebook.plots.figure import (
    axes_or_new,
    days_of,
    draw_boxes,
    in_time_order,
    legend_below,
    message_only,
    padded,
    set_text,
    time_axis,
    widened,
)
from ares_notebook.quality.calendar import STYLES, Style

__all__ = ["band_of", "funding_bars", "gaps_of", "plot_funding", "plot_klines", "yearly_share"]

_FUNDING_SIZE = (9.0, 3.2)
_BASIS_POINTS = 10_000
# Binance pays every 8, 4 or 1 hours: a longer wait is a gap, and earns nothing.
_LONGEST_WAIT_DAYS = 8 / 24
_YEAR_DAYS = 365.25
_SIGNS = (
    ("longs pay shorts", Style("#0b62a4"), 1),
    ("shorts pay longs", Style("#e08a2e"), -1),
)


def plot_funding(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw funding rates.

    How to read it: a bar a payment, in basis points (hundredths of a percent) of the
    position, as wide as the time to the next. Above zero, dark: longs pay shorts;
    below, light: shorts pay longs. The title says what a long position would have
    paid a year.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `load_futures` returns it.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    BadArgument
        If *frame* is of another kind; the error says what it lacks and what it seems to be.

    Examples
    --------
    >>> index = pd.date_range("2025-01-01", periods=3, freq="8h", tz="UTC", name="timestamp")
    >>> ax = plot_funding(pd.DataFrame({"fundingRate": [0.0001, 0.0001, -0.0002]}, index=index))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['longs pay shorts', 'shorts pay longs']
    """
    check_frame(frame, "load_funding")
    ax = axes_or_new(ax, _FUNDING_SIZE)
    frame = in_time_order(frame)
    if frame.empty:
        return message_only(ax, "No funding rates")
    bars = funding_bars(frame)
    entries = []
    for words, style, sign in _SIGNS:
        some = bars[np.sign(bars["height"]) == sign]
        if len(some):
            shapes = draw_boxes(ax, (some["x0"], 0, some["width"], some["height"]), style)
            # In five years a bar is narrower than a pixel.
            shapes.set(edgecolor=style.colour, linewidth=0.6)
            entries.append((words, style))
    _frame(ax, bars)
    words = f"mean {bars['height'].mean():+.2f} bp a payment, {yearly_share(frame):+.1%} a year"
    set_text(ax.set_title("", loc="left", fontsize="medium"), words)
    legend_below(ax, entries)
    return ax


def funding_bars(frame: pd.DataFrame) -> pd.DataFrame:
    """What `plot_funding` draws: a row a payment."""
    x0 = days_of(pd.DatetimeIndex(frame.index))
    waits = np.minimum(np.diff(x0), _LONGEST_WAIT_DAYS)
    last = waits[-1] if len(waits) else _LONGEST_WAIT_DAYS
    height = frame["fundingRate"].to_numpy() * _BASIS_POINTS
    return pd.DataFrame({"x0": x0, "width": np.append(waits, last), "height": height})


def yearly_share(frame: pd.DataFrame) -> float:
    """What a long position paid a year, as a share of itself: rates over the time they cover."""
    paid = float(frame["fundingRate"].sum())
    return paid * _YEAR_DAYS / float(funding_bars(frame)["width"].sum())


def _frame(ax: Axes, bars: pd.DataFrame) -> None:
    low, high = bars["x0"].min(), (bars["x0"] + bars["width"]).max()
    time_axis(ax, padded(low, high))
    bottom, top = min(bars["height"].min(), 0.0), max(bars["height"].max(), 0.0)
    # Rates that are all zero need some height too.
    room = 0.06 * (top - bottom) or 1.0
    ax.set_ylim(bottom - room if bottom else 0.0, top + room)
    ax.axhline(0, color="#999999", linewidth=0.8, zorder=0)
    ax.set_ylabel("basis points")
    ax.spines[["top", "right"]].set_visible(False)


_Span = tuple[pd.Timestamp, pd.Timestamp]
_SIZE = (9.0, 4.0)
_MOST_CANDLES = 200
# More points than a screen has columns only take time.
_MOST_POINTS = 2000
_BODY = 0.7
_LEAST_SHARE = 0.003
# The months of the calendar differ by less, a candle that is not there makes it two.
_LARGER = 1.5
_MISSING, _ABSENT = "missing", "no candle (confirmed absent)"
_GAPS = {_MISSING: STYLES[NOT_DOWNLOADED], _ABSENT: STYLES[CONFIRMED]}
_UP, _DOWN = Style("#a8e6cf", ink="#0a7a58"), Style("#b34a00", ink="#b34a00")
_CLOSE, _RANGE = "#0b62a4", "#cfcfcf"


def plot_klines(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """
    Draw k-lines, and where they are missing.

    How to read it: up to two hundred rows are candles, light where the price rose and
    dark where it fell; more are the band between low and high with the close as a
    line. A hatched stripe is missing and can be downloaded; a plain one has no candle
    because the exchange has none there. Short stripes are
    drawn wider than they are, so that none is invisible.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `load_klines` returns it.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    BadArgument
        If *frame* is of another kind; the error says what it lacks and what it seems to be.

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
    ax = axes_or_new(ax, _SIZE)
    frame = in_time_order(frame)
    if frame.empty:
        return message_only(ax, "No k-lines")
    entries = _candles(ax, frame) if len(frame) <= _MOST_CANDLES else _band(ax, frame)
    ax.autoscale_view()
    ax.margins(x=0.01)
    low, high = _window(frame)
    time_axis(ax, (low, high))
    gaps = gaps_of(frame)
    for what, style in _GAPS.items():
        stripes = gaps[gaps["what"] == what]
        if len(stripes):
            x0 = days_of(stripes["start"])
            x0, width = widened(x0, days_of(stripes["end"]) - x0, (high - low) * _LEAST_SHARE)
            boxes = draw_boxes(ax, (x0, 0, width, 1), style)
            boxes.set(transform=ax.get_xaxis_transform(), zorder=0.5)
            entries.append((what, style))
    ax.set_ylabel("price")
    ax.spines[["top", "right"]].set_visible(False)
    legend_below(ax, entries)
    return ax


def gaps_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Where *frame* has no candle."""
    windows = _missing(frame)
    rows = [(start, end, _MISSING) for start, end in windows]
    for start, end in _larger_steps(frame):
        rows += [(*left, _ABSENT) for left in _without(start, end, windows)]
    table = pd.DataFrame(rows, columns=["start", "end", "what"])
    stamps = dict.fromkeys(("start", "end"), "datetime64[us, UTC]")
    return table.astype(stamps).sort_values("start", ignore_index=True)


def band_of(frame: pd.DataFrame, most: int = _MOST_POINTS) -> pd.DataFrame:
    """The highs, lows and closes of *frame* in no more than about *most* rows."""
    step = _usual_step(frame)
    span = frame.index[-1] - frame.index[0] + step
    grid = step * max(1, int(np.ceil(span / step / most)))
    binned = frame[["high", "low", "close"]].resample(grid, origin="start")
    return binned.agg({"high": "max", "low": "min", "close": "last"})


def _missing(frame: pd.DataFrame) -> list[_Span]:
    if "missing" not in frame.attrs:
        return []
    windows = missing(frame)
    return list(zip(windows["start"], windows["end"], strict=True))


def _opens(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame.index)


def _steps(frame: pd.DataFrame) -> npt.NDArray[np.timedelta64]:
    # Without the zone, which would make an object of each of two million moments.
    return np.diff(_opens(frame).tz_convert(None).to_numpy())


def _usual_step(frame: pd.DataFrame) -> pd.Timedelta:
    steps = np.sort(_steps(frame))
    return pd.Timedelta(steps[len(steps) // 2]) if len(steps) else pd.Timedelta(hours=1)


def _larger_steps(frame: pd.DataFrame) -> list[_Span]:
    """From where the next candle would open to where it does."""
    usual = _usual_step(frame)
    stamps = _opens(frame)
    wide = np.flatnonzero(_steps(frame) > (usual * _LARGER).to_timedelta64())
    return [(stamps[at] + usual, stamps[at + 1]) for at in wide.tolist()]


def _without(start: pd.Timestamp, end: pd.Timestamp, others: Sequence[_Span]) -> list[_Span]:
    """What of ``[start, end)`` none of *others* holds; they are in order."""
    left = []
    for other_start, other_end in others:
        if other_end <= start or end <= other_start:
            continue
        if start < other_start:
            left.append((start, other_start))
        start = max(start, other_end)
    return [*left, (start, end)] if start < end else left


def _window(frame: pd.DataFrame) -> tuple[float, float]:
    """From the first candle, or gap before it, to the last, with a margin."""
    edges = [_opens(frame)[0], _opens(frame)[-1] + _usual_step(frame)]
    edges += [moment for span in _missing(frame) for moment in span]
    low, high = days_of(pd.DatetimeIndex([min(edges), max(edges)]))
    return padded(low, high)


def _candles(ax: Axes, frame: pd.DataFrame) -> list[tuple[str, object]]:
    """Bodies and wicks; what they are in a legend."""
    width = _usual_step(frame) / pd.Timedelta(days=1)
    middle = days_of(_opens(frame)) + width / 2
    entries: list[tuple[str, object]] = []
    for words, style, chosen in (
        ("rose, or stayed", _UP, frame["close"] >= frame["open"]),
        ("fell", _DOWN, frame["close"] < frame["open"]),
    ):
        some, at = frame[chosen], middle[chosen.to_numpy()]
        if some.empty:
            continue
        ax.vlines(at, some["low"], some["high"], colors=style.ink, linewidth=1)
        bottom, height = some[["open", "close"]].min(axis=1), (some["close"] - some["open"]).abs()
        bodies = draw_boxes(ax, (at - _BODY * width / 2, bottom, _BODY * width, height), style)
        # A candle whose price did not move is a line, not invisible.
        bodies.set(linewidth=0.6, zorder=3)
        entries.append((words, style))
    return entries


def _band(ax: Axes, frame: pd.DataFrame) -> list[tuple[str, object]]:
    band = band_of(frame)
    x = days_of(_opens(band))
    ax.fill_between(x, band["low"], band["high"], color=_RANGE, linewidth=0.5)
    [line] = ax.plot(x, band["close"], color=_CLOSE, linewidth=0.8)
    return [("low to high", Patch(color=_RANGE)), ("close", line)]
