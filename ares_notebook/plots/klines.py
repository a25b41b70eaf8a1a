"""Plots of k-lines and of funding rates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ares_notebook.cache.gap_reasons import NOT_DOWNLOADED
from ares_notebook.errors import BadArgument
from ares_notebook.frame_attrs import missing
from ares_notebook.frame_checks import check_frame
from ares_notebook.model.datasets import DATASETS, KLINES, Dataset
from ares_notebook.model.gaps import CONFIRMED, UNCONFIRMED
from ares_notebook.model.markets import CM
from ares_notebook.plots.figure import (
    POINTS_AN_INCH,
    axes_or_new,
    days_of,
    draw_boxes,
    fit,
    in_time_order,
    ink_of,
    least_share,
    legend_below,
    message_only,
    padded,
    points_of,
    set_text,
    set_title,
    size_inches,
    time_axis,
    widened,
)
from ares_notebook.quality.calendar import STYLES, Style

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
    sums = (
        f"mean {bars['height'].mean():+.2f} bp a payment",
        f"{yearly_share(frame):+.1%} a year",
    )
    set_title(ax, [str(frame.attrs.get("symbol") or ""), *sums])
    legend_below(ax, entries)
    fit(ax)
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
    ax.set_ylabel("basis points", fontsize=points_of(ax))
    ax.tick_params(labelsize=points_of(ax))
    ax.spines[["top", "right"]].set_visible(False)


_Span = tuple[pd.Timestamp, pd.Timestamp]
_SIZE = (9.0, 4.6)
_MOST_CANDLES = 500
# More points than a screen has columns only take time.
_MOST_POINTS = 2000
_BODY = 0.7
# The months of the calendar differ by less, a candle that is not there makes it two.
_LARGER = 1.5
_MISSING, _ABSENT = "missing", "no candle (confirmed absent)"
_UNKNOWN = "no candle (missing or absent)"
_GAPS = {
    _MISSING: STYLES[NOT_DOWNLOADED],
    _ABSENT: STYLES[CONFIRMED],
    _UNKNOWN: STYLES[UNCONFIRMED],
}
# The height of the tick of a gap, as a share of the axes.
_GAP_TICK = 0.05
_UP, _DOWN = Style("#a8e6cf", ink="#0a7a58"), Style("#b34a00", ink="#b34a00")
_VOLUME = Style("#8a8a8a")
_CLOSE, _RANGE = "#1f7ac0", "#1f7ac055"
_PERCENT = 100
_PRICES = ("open", "high", "low", "close")
# The pane of the volume: its height and its distance from the price, as shares of the axes.
_PANE_HEIGHT, _PANE_SPACE = 0.2, 0.04
# The ticks of gaps are in front of it.
_PANE_ORDER = 3
_LEAST_LEGEND_INCHES, _LEAST_BODY_POINTS = 3.5, 4.0


def plot_klines(frame: pd.DataFrame, *, ax: Axes | None = None, log: bool = False) -> Axes:
    """
    Draw k-lines with their volume, and where they are missing.

    How to read it: up to five hundred rows are candles, light where the price rose and
    dark where it fell; more are the band between low and high with the close as a
    line. Ticks at the bottom are gaps: a hatched one is missing and can be
    downloaded; a plain one has no candle because the exchange has none there. A
    short tick is wider than its gap, so that none is invisible. Below is the volume, where the
    frame has one and there is room: of COIN-M it counts contracts, else it is in the base
    asset. A premium is drawn in percent. The title and the unit of the price are those of
    ``frame.attrs``, where it has them.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `load_klines` returns it, or `load_rows` candles of any dataset.
    ax : Axes, optional
        Where to draw; by default on a new figure, which a notebook shows. The volume is
        drawn on axes inside these.
    log : bool, default False
        Whether the axis of the price is logarithmic.

    Returns
    -------
    Axes
        Those of the price.

    Raises
    ------
    BadArgument
        If *frame* is of another kind (the error says what it lacks and what it seems to be), or
        *log* is wanted of prices that are not above zero.

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
    bars = frame[[*_PRICES, *frame.columns.intersection(["volume"])]].astype(float)
    if _is_share(frame.attrs):
        bars[list(_PRICES)] *= _PERCENT
    if log and not (bars[list(_PRICES)] > 0).all(axis=None):
        msg = "prices that are not above zero have no logarithm; leave out log=True"
        raise BadArgument(msg)
    is_band = len(frame) > _MOST_CANDLES
    bars = band_of(bars) if is_band else bars
    entries = _band(ax, bars) if is_band else _candles(ax, bars, _usual_step(frame))
    # What candles look like is well known, and there is no room for it.
    entries = entries if size_inches(ax).width >= _LEAST_LEGEND_INCHES else []
    entries += _draw_gaps(ax, frame)
    floor = _PANE_HEIGHT + _PANE_SPACE if "volume" in bars else _GAP_TICK
    _price_axis(ax, bars, floor, frame.attrs, log=log)
    if "volume" in bars:
        _volume_pane(ax, bars, frame.attrs)
    _title(ax, frame)
    ax.spines[["top", "right"]].set_visible(False)
    time_axis(ax, _window(frame))
    legend_below(ax, entries)
    fit(ax)
    return ax


def _draw_gaps(ax: Axes, frame: pd.DataFrame) -> list[tuple[str, object]]:
    """Ticks at the bottom of the axes where candles are missing; what they are in a legend."""
    low, high = _window(frame)
    gaps = gaps_of(frame)
    gaps = gaps[(days_of(gaps["end"]) > low) & (days_of(gaps["start"]) < high)]
    least = (high - low) * least_share(ax)
    entries: list[tuple[str, object]] = []
    for what, style in _GAPS.items():
        some = gaps[gaps["what"] == what]
        if len(some):
            x0 = days_of(some["start"])
            x0, width = widened(x0, days_of(some["end"]) - x0, least)
            ticks = draw_boxes(ax, (x0, 0, width, _GAP_TICK), style)
            ticks.set(transform=ax.get_xaxis_transform(), zorder=_PANE_ORDER + 1)
            entries.append((what, style))
    return entries


# Of spot and of futures; the longer ones first, since USD ends none of the others.
_QUOTES = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "USDS", "BIDR", "BVND", "IDRT", "BKRW"),
    *("USD1", "EURI", "AEUR", "DOGE", "BTC", "ETH", "BNB", "XRP", "TRX", "SOL", "DOT", "DAI"),
    *("PAX", "VAI", "UST", "NGN", "RUB", "TRY", "EUR", "ZAR", "UAH", "GBP", "BRL", "AUD"),
    *("PLN", "RON", "ARS", "JPY", "MXN", "CZK", "COP", "USD"),
)


def assets_of(symbol: str) -> tuple[str, str]:
    """The base and the quote asset of a symbol; empty where they cannot be told from its name."""
    # Contracts: BTCUSD_PERP, BTCUSDT_250328.
    name, _, _ = symbol.partition("_")
    quote = next((each for each in _QUOTES if name.endswith(each) and name != each), "")
    return (name.removesuffix(quote), quote) if quote else ("", "")


def _dataset_of(attrs: Mapping[Hashable, Any]) -> Dataset:
    """The dataset of a frame; that of spot where its attrs do not tell."""
    return next((each for each in DATASETS if each.name == attrs.get("dataset")), KLINES)


def _is_share(attrs: Mapping[Hashable, Any]) -> bool:
    """Whether the candles are those of a share, which may be negative, and not of a price."""
    return _dataset_of(attrs).price_names is None


def _volume_unit(attrs: Mapping[Hashable, Any]) -> str:
    """What the volume counts; empty where it cannot be told."""
    is_coin_m = CM in _dataset_of(attrs).markets
    return "contracts" if is_coin_m else assets_of(str(attrs.get("symbol") or ""))[0]


def _title(ax: Axes, frame: pd.DataFrame) -> None:
    """Symbol, interval, dataset, window and market, as far as they are known and there is room."""
    attrs = frame.attrs
    dataset = attrs.get("dataset")
    names = [attrs.get("symbol"), attrs.get("interval"), None if dataset == "klines" else dataset]
    first, last = _opens(frame)[0], _opens(frame)[-1] + _usual_step(frame)
    is_whole = all(each == each.normalize() for each in (first, last))
    form = "%Y-%m-%d" if is_whole else "%Y-%m-%d %H:%M"
    window = f"{first:{form}} to {last:{form}} UTC"
    name = " ".join(str(each) for each in names if each)
    set_title(ax, [name, window, str(attrs.get("market") or "")])


def _price_axis(
    ax: Axes, bars: pd.DataFrame, floor: float, attrs: Mapping[Hashable, Any], *, log: bool
) -> None:
    """The axis of the price, whose part below *floor*, a share of it, is left free."""
    _, quote = assets_of(str(attrs.get("symbol") or ""))
    words = "premium, %" if _is_share(attrs) else f"price, {quote}" if quote else "price"
    set_text(ax.set_ylabel("", loc="top", fontsize=points_of(ax)), words)
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
    _with_separators(ax, np.exp(bottom) if log else bottom)


def _with_separators(ax: Axes, least: float) -> None:
    """Write the numbers of the y axis from *least* on, with separators of thousands."""

    def words(value: float, _: int | None = None) -> str:
        at = np.unique(ax.yaxis.get_majorticklocs())
        step = np.diff(at).min() if len(at) > 1 else abs(value)
        exponent = Decimal(f"{step:.2g}").normalize().as_tuple().exponent
        digits = max(-int(exponent), 0) if step else 0
        return f"{value:,.{digits}f}" if value >= least else ""

    ax.yaxis.set_major_formatter(ticker.FuncFormatter(words))
    # Ticks without a number, beside the volume, would mislead.
    ax.tick_params(axis="y", length=0, labelsize=points_of(ax))


def _volume_pane(ax: Axes, bars: pd.DataFrame, attrs: Mapping[Hashable, Any]) -> None:
    """Axes inside these, at their bottom, with the volume."""
    bounds = (0, 0, 1, _PANE_HEIGHT)
    pane = ax.inset_axes(bounds, sharex=ax, facecolor="none", zorder=_PANE_ORDER)
    width = _usual_step(bars) / pd.Timedelta(days=1)
    # Of narrow bars the space between them would make a pattern.
    body = _BODY if _points_a_row(ax, bars) > _LEAST_BODY_POINTS else 1.0
    x0 = days_of(_opens(bars)) + (1 - body) / 2 * width
    draw_boxes(pane, (x0, 0, body * width, bars["volume"].fillna(0)), _VOLUME)
    pane.set_ylim(0, 1.1 * float(bars["volume"].max()) or 1.0)
    pane.yaxis.set_major_locator(ticker.MaxNLocator(2, prune="lower"))
    _with_separators(pane, 0)
    pane.xaxis.set_visible(False)
    pane.tick_params(axis="y", colors=ink_of(ax), labelsize=points_of(ax))
    pane.spines[["left", "bottom", "right"]].set_visible(False)
    pane.spines["top"].set(color=ink_of(ax), alpha=0.4, linewidth=0.5)
    unit = _volume_unit(attrs)
    label = pane.set_ylabel("", fontsize=points_of(ax), color=ink_of(ax))
    # Both words only where there is room for them; contracts are no asset, which must not be lost.
    short = "contracts" if unit == "contracts" else "volume"
    for words in (f"volume, {unit}" if unit else "volume", short, ""):
        set_text(label, words)
        if label.get_window_extent().height <= pane.get_window_extent().height:
            break


def gaps_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Where *frame* has no candle."""
    windows = _missing(frame)
    rows = [(start, end, _MISSING) for start, end in windows]
    # Without attrs nothing is known of why a candle is not there.
    what = _ABSENT if "missing" in frame.attrs else _UNKNOWN
    for start, end in _larger_steps(frame):
        rows += [(*left, what) for left in _without(start, end, windows)]
    table = pd.DataFrame(rows, columns=["start", "end", "what"])
    stamps = dict.fromkeys(("start", "end"), "datetime64[us, UTC]")
    return table.astype(stamps).sort_values("start", ignore_index=True)


def band_of(frame: pd.DataFrame, most: int = _MOST_POINTS) -> pd.DataFrame:
    """The highs, lows, closes and volumes of *frame* in no more than about *most* rows."""
    step = _usual_step(frame)
    span = frame.index[-1] - frame.index[0] + step
    grid = step * max(1, int(np.ceil(span / step / most)))
    how = {"high": "max", "low": "min", "close": "last"}
    how |= {"volume": "sum"} if "volume" in frame else {}
    return frame[list(how)].resample(grid, origin="start").agg(how)


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
    """From the first candle, or the gap that ends there, to the last, with a margin."""
    first, last = _opens(frame)[0], _opens(frame)[-1] + _usual_step(frame)
    missing = _missing(frame)
    # Part of a frame lists the gaps of the whole one.
    first = min([first, *(start for start, end in missing if start < first <= end)])
    last = max([last, *(end for start, end in missing if start <= last < end)])
    return padded(*days_of(pd.DatetimeIndex([first, last])))


def _points_a_row(ax: Axes, frame: pd.DataFrame) -> float:
    return float(size_inches(ax).width) * POINTS_AN_INCH / len(frame)


def _candles(ax: Axes, frame: pd.DataFrame, step: pd.Timedelta) -> list[tuple[str, object]]:
    """Bodies and wicks; what they are in a legend."""
    width = step / pd.Timedelta(days=1)
    middle = days_of(_opens(frame)) + width / 2
    # So many candles on narrow axes would else be one block.
    points = _points_a_row(ax, frame)
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
    x = days_of(_opens(band))
    ax.fill_between(x, band["low"], band["high"], color=_RANGE, linewidth=0.5)
    [line] = ax.plot(x, band["close"], color=_CLOSE, linewidth=0.8)
    return [("low to high", Patch(color=_RANGE)), ("close", line)]
