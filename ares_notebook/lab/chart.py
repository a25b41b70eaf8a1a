"""An interactive chart of cached candles."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import traitlets

from ares_notebook.cache.coverage import find_gaps
from ares_notebook.cache.gap_reasons import QUIET
from ares_notebook.cache.spans import Moment
from ares_notebook.cached_window import CachedWindow, warn_incomplete
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import many
from ares_notebook.lab.candle_levels import Bars, CandleLevels, joined, row_ms, shown_columns
from ares_notebook.lab.chart_svg import chart_svg
from ares_notebook.lab.widget import Answer, AskedWidget, css, esm
from ares_notebook.load import read_frame
from ares_notebook.model.datasets import DATASETS, KLINES, Dataset, dataset_named
from ares_notebook.model.files import Series
from ares_notebook.model.time import as_utc, to_ms, utc
from ares_notebook.plots.units import Quantity, quantity_of
from ares_notebook.settings import Settings, settings_given

View: TypeAlias = "tuple[datetime, datetime]"
# What a page may ask for, and a static picture has room for.
_MOST_BARS, _PICTURE_BARS = 4_000, 150
# The longest of a view are told; more can be seen by nobody.
_MOST_GAPS = 300


class CandleChart(AskedWidget):
    """
    Candles of a cached series, to zoom and to move in; made by `chart`.

    The wheel, two fingers or ``+`` and ``-`` zoom; a drag or the arrow keys move; the pointer,
    or the arrow keys with Shift, read a candle. Gaps are shaded with their reason. For each view
    the kernel puts the candles together that fit its width. In a saved notebook a picture of the
    last view stands in its place.

    Parameters
    ----------
    symbol, interval, start, end, dataset, settings
        As in `chart`.

    Raises
    ------
    NeverDownloaded, CorruptFile, CacheUnavailable, BadArgument
        As `chart`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     shown = CandleChart("BTCUSDT", "1d", settings=settings)
    ...     shown.view = "2025-02-01", "2025-02-15"
    ...     len(shown.frame())
    14
    """

    _esm, _css, _label = esm("chart.js"), css("chart.css"), "chart"
    # What does not change: words, units, the window.
    about = traitlets.Dict().tag(sync=True)
    # Half-open, milliseconds since the epoch.
    view_ms = traitlets.List(traitlets.Int(), minlen=2, maxlen=2).tag(sync=True)
    # The name of the rows in the lowest pane; empty without one.
    lower = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        symbol: str,
        interval: str | None = None,
        start: Moment = None,
        end: Moment = None,
        *,
        dataset: str = "klines",
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings_given(settings)
        self.series = series = _candle_series(dataset, symbol, interval)
        cached = CachedWindow.asked(self.settings, series, start, end)
        self._levels: CandleLevels | None = CandleLevels.of(cached)
        self._gaps = _gaps_of(cached, self.settings)
        self._lowers = {_word_of(each): each for each in _below(cached)}
        self._lower_levels: dict[str, CandleLevels | None] = {}
        self._lower_lock = threading.Lock()
        self._window_ms = cached.start_ms, cached.end_ms
        cached.refuse_nothing(cached.attrs(0), self._levels.rows_kept)
        super().__init__(
            {"candles": self._candles, "rest": self._rest},
            about=self._about(),
            lower=next(iter(self._lowers), ""),
            view_ms=[*self._window_ms],
        )

    # --- what it shows ---

    @property
    def view(self) -> View:
        """
        The window that is shown, aware UTC, half-open.

        Set it to two moments, as *start* and *end* of `load_klines`; the chart follows.

        Raises
        ------
        BadArgument
            If it is set to what is no window.
        """
        start_ms, end_ms = self.view_ms
        return utc(start_ms), utc(end_ms)

    @view.setter
    def view(self, window: tuple[Moment, Moment]) -> None:
        if not isinstance(window, tuple | list) or len(window) != len(self._window_ms):
            msg = f'view={window!r} is no window; set it to two moments, such as ("2025-01-01", "2025-02-01")'
            raise BadArgument(msg)
        bounds = [
            bound if each is None else to_ms(as_utc(each, "view"))
            for each, bound in zip(window, self._window_ms, strict=True)
        ]
        if bounds[0] >= bounds[1]:
            msg = f"view={window!r} ends before it begins; its end is exclusive"
            raise BadArgument(msg)
        self.view_ms = bounds
        self._renew_static_view()

    def frame(self) -> pd.DataFrame:
        """
        Load the rows of the view.

        Returns
        -------
        pandas.DataFrame
            As `load_rows` returns it.

        Warns
        -----
        IncompleteData
            Once, if rows are missing.

        Raises
        ------
        NeverDownloaded, CorruptFile, CacheUnavailable
            As `load_rows`.
        """
        series = self.series
        frame = read_frame(
            *(series.dataset.name, series.symbol, series.interval, self.view),
            columns=None,
            decimal=False,
            settings=self.settings,
        )
        warn_incomplete(frame.attrs, self.settings, stacklevel=2)
        return frame

    def close(self) -> None:
        """Remove the chart from the page, and its candles from the memory."""
        super().close()
        self._levels = None
        self._lower_levels = {}

    @traitlets.validate("view_ms")
    def _check_view(self, proposal: Mapping[str, Any]) -> list[int]:
        """A page may say anything; a view has a length, and lies at a time that there is."""
        start_ms, end_ms = proposal["value"]
        first, last = self._window_ms
        span = min(max(end_ms - start_ms, 1_000), 4 * (last - first))
        start_ms = min(max(start_ms, first - span), last)
        return [start_ms, start_ms + span]

    @traitlets.validate("lower")
    def _check_lower(self, proposal: Mapping[str, Any]) -> str:
        name = proposal["value"]
        if name and name not in self._lowers:
            there = ", ".join(map(repr, self._lowers)) or "nothing"
            msg = f"lower={name!r} is not in the cache of this symbol; there is {there}"
            raise BadArgument(msg)
        return str(name)

    # --- what the page asks ---

    def _candles(self, asked: Mapping[str, Any]) -> Answer:
        """The candles of a view and of as much on either side, so that a drag shows no emptiness."""
        levels = self._levels
        start_ms, end_ms, most = (int(asked[each]) for each in ("start", "end", "bars"))
        if levels is None or start_ms >= end_ms:
            return {"dropped": True}, ()
        # Who asks for a view shows it; the kernel follows.
        self.view_ms = [start_ms, end_ms]
        (first, last), span = self._window_ms, end_ms - start_ms
        around = max(start_ms - span // 2, first), min(end_ms + span // 2, last)
        step = levels.step_for(span, max(1, min(most, _MOST_BARS)))
        bars = levels.between(step, *around)
        lower, lower_step = self._lower_bars(str(asked.get("lower", "")), around, span, most)
        told = {
            "start": start_ms,
            "end": end_ms,
            "step": step,
            "lowerStep": lower_step,
            "gaps": self._gaps_between(*around),
            "text": self.text(start_ms, end_ms),
        }
        drawn = (*bars, *lower[:-1])
        return told, [np.ascontiguousarray(each, np.float64).tobytes() for each in drawn]

    def _rest(self, _asked: Mapping[str, Any]) -> Answer:
        """The page has come to rest: what a saved notebook shows is this view."""
        self._renew_static_view()
        return {}, ()

    def _lower_bars(
        self, name: str, around: tuple[int, int], span_ms: int, most: int
    ) -> tuple[Bars, int]:
        """The rows of the lowest pane and their step; none of a name that there is not."""
        series = self._lowers.get(name)
        if series is None:
            return joined([]), 1
        with self._lower_lock:
            if name not in self._lower_levels:
                self._lower_levels[name] = self._read_lower(series)
            levels = self._lower_levels[name]
        if levels is None:
            return joined([]), 1
        step = levels.step_for(span_ms, max(1, min(most, _MOST_BARS)))
        return levels.between(step, *around), step

    def _read_lower(self, series: Series) -> CandleLevels | None:
        """The rows of another dataset in the window of the chart."""
        levels = self._levels
        if levels is None:
            return None
        store = levels.cached.store
        return CandleLevels.of(CachedWindow.of(store, series, *self._window_ms))

    def _gaps_between(self, start_ms: int, end_ms: int) -> list[list[Any]]:
        """The gaps of a window: start, end, rows or null, reason, note."""
        gaps = self._gaps
        gaps = gaps[(gaps["end"] > start_ms) & (gaps["start"] < end_ms)]
        if len(gaps) > _MOST_GAPS:
            longest = (gaps["end"] - gaps["start"]).nlargest(_MOST_GAPS)
            gaps = gaps.loc[longest.index].sort_values("start")
        return [
            [int(start), int(end), None if pd.isna(rows) else int(rows), reason, note]
            for start, end, rows, reason, note in gaps.itertuples(index=False)
        ]

    # --- in words ---

    def text(self, start_ms: int, end_ms: int) -> str:
        """What a screen reader says of a window."""
        window = " to ".join(_time_words(each) for each in (start_ms, end_ms))
        if self._levels is None:
            return f"{self._title()}, {window}, closed"
        low, high = self._levels.extremes(start_ms, end_ms)
        gaps = self._gaps
        count = int(((gaps["end"] > start_ms) & (gaps["start"] < end_ms)).sum())
        prices = "no candle" if np.isnan(low) else f"low {_number(low)}, high {_number(high)}"
        return f"{self._title()}, {window}, {prices}, {many(count, 'gap')}"

    def __repr__(self) -> str:
        return self.text(*self.view_ms)

    def static_html(self) -> str:
        """A picture of the view, and its text."""
        levels, (start_ms, end_ms) = self._levels, self.view_ms
        if levels is None:
            return chart_svg(joined([]), 1, (start_ms, end_ms), [], repr(self))
        step = levels.step_for(end_ms - start_ms, _PICTURE_BARS)
        bars = levels.between(step, start_ms, end_ms)
        gaps = self._gaps_between(start_ms, end_ms)
        return chart_svg(bars, step, (start_ms, end_ms), gaps, repr(self))

    def _title(self) -> str:
        series = self.series
        label = "" if series.dataset is KLINES else f" {series.dataset.label}"
        return f"{series.symbol} {series.interval}{label}"

    def _about(self) -> dict[str, Any]:
        series, prices = self.series, _quantity(self.series, "close")
        has_volume = "volume" in series.dataset.column_names
        return {
            "title": self._title(),
            "price": prices.words,
            "factor": prices.factor,
            "volume": _quantity(series, "volume").words if has_volume else "",
            "window": [*self._window_ms],
            "row": row_ms(series),
            "lowers": {word: _lower_words(each) for word, each in self._lowers.items()},
        }


def chart(
    symbol: str,
    interval: str | None = None,
    start: Moment = None,
    end: Moment = None,
    *,
    dataset: str = "klines",
    settings: Settings | None = None,
) -> CandleChart:
    """
    Show candles of the cache as an interactive chart, with their gaps and the reasons for these.

    Reads the disk only. Below the candles are their volume and, where the cache has them of
    this symbol, funding rates, the premium or the open interest.

    Parameters
    ----------
    symbol : str
        As its market writes it: ``BTCUSDT``, ``BTCUSD_PERP``.
    interval : str
        Of the candles, one of ``ares_notebook.INTERVALS``.
    start, end : datetime, date or str, optional
        Half-open window of open times, UTC. Defaults to what the cache spans.
    dataset : str, default "klines"
        Of ``ares_notebook.DATASETS`` one that has candles.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.

    Returns
    -------
    CandleChart
        A widget; the last line of a cell shows it. Its ``view`` is the window that is shown, and may
        be set; its ``frame()`` has the rows of it.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of the window.
    CorruptFile
        If a file of the window is damaged.
    CacheUnavailable
        If the cache folder cannot be read.
    BadArgument
        If an argument is invalid, or the dataset has no candles.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.05, end="2025-03-01", settings=settings))
    ...     chart("BTCUSDT", "1h", settings=settings)
    BTCUSDT 1h, 2025-02-01 to 2025-03-01, low 86,184.57, high 102,904.99, 0 gaps
    """
    return CandleChart(symbol, interval, start, end, dataset=dataset, settings=settings)


def _candle_series(dataset: str, symbol: str, interval: str | None) -> Series:
    kind = dataset_named(dataset)
    if not kind.has_interval:
        candles = ", ".join(each.name for each in DATASETS if each.has_interval)
        msg = f"dataset={dataset!r} has no candles, which a chart shows; there are {candles}"
        raise BadArgument(msg)
    return Series.of(kind, symbol, interval)


def _gaps_of(cached: CachedWindow, settings: Settings) -> pd.DataFrame:
    """The gaps of a window, with their times in milliseconds."""
    series = cached.series
    gaps = find_gaps(
        *(series.symbol, series.interval),
        start=utc(cached.start_ms),
        end=utc(cached.end_ms),
        settings=settings,
        datasets=[series.dataset.name],
    )
    gaps = gaps[gaps["reason"] != QUIET]
    for name in ("start", "end"):
        gaps = gaps.assign(**{name: gaps[name].dt.as_unit("ms").astype("int64")})
    return gaps[["start", "end", "missing", "reason", "note"]]


def _below(cached: CachedWindow) -> list[Series]:
    """What the cache holds of a symbol that is drawn below its candles: one series of a kind."""
    own = cached.series
    found: dict[Dataset, Series] = {}
    files = cached.store.files(own.symbol)
    for series in sorted({file.series for file in files}, key=lambda each: each.stem):
        kind = series.dataset
        is_premium = kind.has_interval and kind.price_names is None
        if kind is own.dataset or kind.has_interval != is_premium or kind.key == "id":
            continue
        # The premium may be there at several intervals.
        if kind not in found or _is_nearer(series, found[kind], own):
            found[kind] = series
    return [found[each] for each in DATASETS if each in found]


def _is_nearer(one: Series, other: Series, own: Series) -> bool:
    """Whether the rows of *one* are closer to the candles in length than those of *other*."""
    return abs(row_ms(one) - row_ms(own)) < abs(row_ms(other) - row_ms(own))


def _quantity(series: Series, column: str) -> Quantity:
    """What a column of a series holds."""
    return quantity_of(column, {"symbol": series.symbol, "dataset": series.dataset.name})


def _lower_words(series: Series) -> dict[str, Any]:
    """What the page must know of the rows below the candles; payments are bars, others a line."""
    names = shown_columns(series)
    quantity = _quantity(series, "close" if "close" in names else names[0])
    return {"words": quantity.words, "factor": quantity.factor, "bars": series.interval is None}


def _word_of(series: Series) -> str:
    """What the rows below the candles are called, such as ``Funding rate``."""
    return str(_lower_words(series)["words"]).partition(",")[0].capitalize()


def _time_words(moment_ms: int) -> str:
    moment = utc(moment_ms)
    is_midnight = not (moment.hour or moment.minute or moment.second)
    return f"{moment:%Y-%m-%d}" if is_midnight else f"{moment:%Y-%m-%d %H:%M}"


def _number(value: float) -> str:
    """A price with as many digits as tell something."""
    digits = 2 if abs(value) >= 1 else 8
    return f"{value:,.{digits}f}"
