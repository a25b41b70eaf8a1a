"""What a frame states about itself in ``attrs``, and the windows that it lacks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry, with_neighbours
from ares_notebook.cache.spans import Spans, missing_spans
from ares_notebook.cache.store import Store
from ares_notebook.cache.table import table_of
from ares_notebook.errors import BadArgument, CacheError
from ares_notebook.frame_merging import KeyedFrame
from ares_notebook.model.datasets import AGG_TRADES, FUTURES, KLINES, Dataset
from ares_notebook.model.facts import Gap, grid_rows
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.time import (
    INTERVALS,
    as_utc,
    next_open_ms,
    opens_between,
    to_ms,
    to_us,
    utc,
)
from ares_notebook.settings import Settings, settings_given

# pandas copies the attrs with every selection of a column.
MOST_LISTED = 100


# What attrs state of a window: true of all rows that were loaded, and of no other frame.
_OF_WINDOW = ("start", "end", "rows", "complete", "missing", "missing_count", "fingerprint")


def attrs_of(
    series: Series, market: str | None, span_ms: tuple[int, int], windows: Spans, rows: int
) -> dict[Any, Any]:
    """The ``attrs`` of so many *rows* of a span that lack *windows*: JSON of bounded size."""
    start_ms, end_ms = span_ms
    return {
        "dataset": series.dataset.name,
        "symbol": series.symbol,
        "interval": series.interval,
        "market": market,
        "start": utc(start_ms).isoformat(),
        "end": utc(end_ms).isoformat(),
        "rows": rows,
        "complete": not windows,
        "missing": iso_pairs(windows),
        "missing_count": len(windows),
    }


def is_cut(frame: pd.DataFrame) -> bool:
    """
    Whether rows were removed from a frame, or added, since it was made.

    Known from their number in the window that its ``attrs`` state, so also of rows that were moved
    out of it; not known where ``attrs`` state none. Empty rows may be added, as asfreq does.
    """
    stated = frame.attrs.get("rows")
    if stated is None or not isinstance(frame.index, pd.DatetimeIndex):
        return False
    is_inside = rows_inside(frame, frame.attrs)
    if np.count_nonzero(is_inside) == stated:
        return False
    is_row = frame.notna().any(axis=1).to_numpy()
    return bool(np.count_nonzero(is_inside & is_row) != stated)


def rows_inside(frame: pd.DataFrame, attrs: Mapping[Any, Any]) -> npt.NDArray[np.bool_]:
    """Which rows are in the window that *attrs* state."""
    stamps: npt.NDArray[np.int64] = frame.index.as_unit("us").asi8  # type: ignore[attr-defined]
    start_us, end_us = (to_us(as_utc(attrs[key])) for key in ("start", "end"))
    return (stamps >= start_us) & (stamps < end_us)


def trusted_attrs(frame: pd.DataFrame) -> Mapping[Any, Any]:
    """The ``attrs`` of a frame; of one that was cut, without what they state of its window."""
    if not is_cut(frame):
        return frame.attrs
    return {key: each for key, each in frame.attrs.items() if key not in _OF_WINDOW}


def iso_pairs(windows: Spans) -> list[list[str]]:
    """The first hundred windows as they stand in ``attrs``."""
    return [[start.isoformat(), end.isoformat()] for start, end in windows[:MOST_LISTED]]


def listed_windows(attrs: Mapping[Any, Any]) -> Spans:
    """The windows that ``attrs["missing"]`` lists: the first hundred."""
    return [(as_utc(start), as_utc(end)) for start, end in attrs.get("missing", ())]


def dataset_of(frame: pd.DataFrame) -> Dataset:
    """The dataset of a frame by its columns; rows on a grid count as k-lines."""
    if "close" in frame:
        return KLINES
    if "agg_trade_id" in frame:
        return AGG_TRADES
    return FUTURES if "fundingRate" in frame else KLINES


def missing(frame: pd.DataFrame, *, settings: Settings | None = None) -> pd.DataFrame:
    """
    List all windows that a loaded frame lacks.

    ``frame.attrs["missing"]`` lists the first hundred, so that ``attrs`` stay small (of several
    symbols the first hundred of all); up to a hundred windows are taken from there. Of more, all are read from the cache if it still lacks the same
    windows; else those after the hundredth are derived from the rows of the frame: the grid of open
    times, the ids of trades or the interval of funding.

    What is derived from rows includes windows in which the exchange is proven to have no row, since
    rows alone do not show that. A frame without ``attrs`` (pandas drops them where frames with
    different ones are concatenated) is derived from its rows alone, between the first and the last.

    Parameters
    ----------
    frame : pandas.DataFrame
        As the loaders, `fetch_missing_data`, `align`, `resample_klines` or `candles_from_trades` return
        it. Rows that were removed from it later do not count as missing as long as ``attrs`` list all
        windows; how many trades or payments such a frame lacks is then not counted.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read where more than a hundred windows are missing. Defaults
        to the environment's.

    Returns
    -------
    pandas.DataFrame
        One row for each window, in order of time, with the columns ``start, end`` (aware UTC,
        half-open) and ``rows`` (Int64): how many rows are missing there, NA where they cannot be
        counted, such as trades after the last known id. Of a frame of several symbols, before
        these a column ``symbol``; of symbols with windows beyond the hundredth they are read from
        the cache.

    Raises
    ------
    BadArgument
        If the windows cannot be derived: the rows are neither on a grid of Binance's intervals nor
        trades or funding, ``agg_trade_id`` was not loaded, more than a hundred windows of an aligned
        frame are missing, or bars were removed from a frame of bars that lacks more than a hundred;
        if the cache lacks other windows of a frame of several symbols than when it was loaded.

    Examples
    --------
    >>> import tempfile, warnings
    >>> from ares_notebook import DemoExchange, download_klines_data, load_klines, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.05, end="2025-02-01", settings=settings))
    ...     with warnings.catch_warnings(action="ignore"):
    ...         frame = load_klines("BTCUSDT", "1h", "2025-01-31", "2025-02-02", settings=settings)
    >>> frame.attrs["missing"]
    [['2025-02-01T00:00:00+00:00', '2025-02-02T00:00:00+00:00']]
    >>> print(*missing(frame).iloc[0])
    2025-02-01 00:00:00+00:00 2025-02-02 00:00:00+00:00 24
    """
    if "symbols" in frame.attrs:
        return _missing_of_each(frame.attrs, settings)
    windows = missing_windows(frame, settings)
    counts = _Counts(frame) if windows else None
    rows = [
        {"start": to_ms(start), "end": to_ms(end), "rows": counts.rows(start, end)}
        for start, end in windows
        if counts is not None
    ]
    table = table_of(["start", "end", "rows"], rows)
    table["rows"] = table["rows"].astype("Int64")
    return table


def lists_all(attrs: Mapping[Any, Any]) -> bool:
    """Whether ``attrs`` state all windows that a frame lacks."""
    return "missing" in attrs and attrs.get("missing_count", 0) <= len(attrs["missing"])


def missing_windows(frame: pd.DataFrame, settings: Settings | None = None) -> Spans:
    """The windows that a frame lacks, as `missing` lists them."""
    if settings is not None:
        # Few frames need them, and wrong ones are refused with any.
        settings_given(settings)
    windows = listed_windows(frame.attrs)
    if lists_all(frame.attrs):
        return windows
    if "made_from" in frame.attrs:
        return _empty_bars(frame, windows)
    return _all_windows(frame, windows, settings)


def _empty_bars(frame: pd.DataFrame, listed: Spans) -> Spans:
    """Also those windows of bars that ``attrs`` do not list: each has a bar that is empty."""
    attrs = frame.attrs
    stamps_ms = frame.index.as_unit("us").asi8 // 1000  # type: ignore[attr-defined]
    ends_ms = [*stamps_ms[1:].tolist(), to_ms(as_utc(attrs["end"]))]
    if attrs["interval"] is not None:
        ends_ms = [next_open_ms(attrs["interval"], at) for at in stamps_ms.tolist()]
    empty = np.flatnonzero(frame.isna().all(axis=1).to_numpy())
    spans = [(utc(int(stamps_ms[at])), utc(ends_ms[at])) for at in empty.tolist()]
    windows = merged_windows([*listed, *spans])
    if len(windows) != attrs["missing_count"]:
        msg = (
            f"attrs state {attrs['missing_count']} windows without rows, and the frame shows "
            f"{len(windows)}: bars were removed from it; pass it as it was made"
        )
        raise BadArgument(msg)
    return windows


def merged_windows(windows: Iterable[tuple[Any, Any]]) -> Spans:
    """The windows in order of time, those that meet as one, empty ones left out."""
    merged: Spans = []
    for start, end in sorted(window for window in windows if window[0] < window[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _all_windows(frame: pd.DataFrame, listed: Spans, settings: Settings | None) -> Spans:
    """Also those windows that ``attrs`` do not list."""
    if "aligned" in frame.attrs:
        msg = (
            f"the aligned frame lacks {frame.attrs['missing_count']} windows, and lists only "
            f"{len(listed)}; call missing() with each of the frames that were aligned"
        )
        raise BadArgument(msg)
    series = series_of(frame)
    if series is None:
        return []
    start_ms, end_ms = _window_ms(frame, series)
    if listed:
        cached = _cached_windows(frame.attrs, series, settings)
        if cached:
            return cached
        start_ms = max(start_ms, to_ms(listed[-1][1]))
    return [*listed, *missing_spans(_measured(frame, series), start_ms, end_ms)]


def _missing_of_each(attrs: Mapping[Any, Any], settings: Settings | None) -> pd.DataFrame:
    """The windows that each symbol of a wide frame lacks."""
    rows = []
    for symbol, own in attrs["symbols"].items():
        windows = listed_windows(own)
        if own["missing_count"] > len(windows):
            windows = _cached_windows_of(symbol, {**attrs, **own}, settings)
        for start, end in windows:
            count = _rows_between(symbol, attrs, start, end)
            rows.append({"symbol": symbol, "start": to_ms(start), "end": to_ms(end), "rows": count})
    table = table_of(["symbol", "start", "end", "rows"], rows)
    return table.astype({"rows": "Int64"})


def _cached_windows_of(symbol: str, attrs: Mapping[Any, Any], settings: Settings | None) -> Spans:
    """What the cache lacks of one symbol of a wide frame, if it is what the frame lacked when it was loaded."""
    if "made_from" in attrs:
        msg = (
            f"attrs list {len(attrs['missing'])} of the {attrs['missing_count']} windows without bars of "
            f"{symbol}; make the bars of each symbol by itself"
        )
        raise BadArgument(msg)
    store = Store(settings_given(settings))
    series = Series.of(attrs["dataset"], symbol, attrs["interval"])
    windows = _windows_in(store, series, attrs)
    if windows is None or len(windows) != attrs["missing_count"]:
        msg = (
            f"{store.folder} lacks other windows of {series.stem} than the cache did from which "
            f"the frame was loaded; if that was another one, pass its settings, as in "
            f"missing(frame, settings=settings); else load the frame again"
        )
        raise BadArgument(msg)
    return windows


def _rows_between(
    symbol: str, attrs: Mapping[Any, Any], start: datetime, end: datetime
) -> int | None:
    """How many rows a symbol of a wide frame lacks in a window; None where that cannot be counted."""
    if "made_from" in attrs:
        return len(opens_between(attrs["interval"], to_ms(start), to_ms(end)))
    series = Series.of(attrs["dataset"], symbol, attrs["interval"])
    return None if series.interval is None else _rows_due(series, start, end)


def _windows_in(store: Store, series: Series, attrs: Mapping[Any, Any]) -> Spans | None:
    """What the cache lacks of the window that ``attrs`` state; None if it is of another market."""
    if store.market != attrs["market"]:
        return None
    start, end = as_utc(attrs["start"]), as_utc(attrs["end"])
    entries = store.entries(files_between(series, start, end))
    return missing_spans(entries, to_ms(start), to_ms(end))


def _cached_windows(
    attrs: Mapping[Any, Any], series: Series, settings: Settings | None
) -> Spans | None:
    """What the cache lacks of the window; None unless it is what the frame lacked when it was loaded."""
    try:
        windows = _windows_in(Store(settings_given(settings)), series, attrs)
    except CacheError:
        # The rows of the frame are evidence, too.
        return None
    if windows is None:
        return None
    is_same = len(windows) == attrs["missing_count"] and iso_pairs(windows) == attrs["missing"]
    return windows if is_same else None


def series_of(frame: pd.DataFrame) -> Series | None:
    """The series of a frame, from its ``attrs``, else from its columns and steps; None of too few rows."""
    attrs = frame.attrs
    if "dataset" in attrs:
        return Series.of(attrs["dataset"], attrs["symbol"], attrs["interval"])
    if len(frame) < 2:  # noqa: PLR2004 - a gap lies between two rows
        return None
    dataset = dataset_of(frame)
    if not dataset.has_interval:
        return Series(dataset, "", None)
    steps = pd.Series(KeyedFrame.of(frame, KLINES).stamps_us).diff().iloc[1:] // 1000
    step_ms = int(steps.mode().iloc[0])
    names = [name for name, length in INTERVALS.items() if length == step_ms]
    if not names and step_ms >= 28 * INTERVALS["1d"]:
        names = ["1M"]
    if not names:
        msg = (
            f"the rows of the frame are {step_ms / 1000:g} seconds apart, which is no interval of "
            f"Binance's, so no grid shows what is missing; pass a frame as the loaders return it"
        )
        raise BadArgument(msg)
    return Series(KLINES, "", names[0])


def _window_ms(frame: pd.DataFrame, series: Series) -> tuple[int, int]:
    """The window of a frame; where ``attrs`` do not state it, what lies between first and last row."""
    if "start" in frame.attrs:
        return to_ms(as_utc(frame.attrs["start"])), to_ms(as_utc(frame.attrs["end"]))
    stamps_us = KeyedFrame.of(frame, series.dataset).stamps_us
    first_ms, last_ms = int(stamps_us[0]) // 1000, int(stamps_us[-1]) // 1000
    if series.interval is not None:
        return first_ms, next_open_ms(series.interval, last_ms)
    # A trade may be missing in the millisecond of another one.
    return first_ms + 1, last_ms


def _measured(frame: pd.DataFrame, series: Series) -> list[CacheEntry]:
    """What the rows of a frame would prove if they were the cache files of its window."""
    keyed = KeyedFrame.of(frame, series.dataset)
    start_ms, end_ms = _window_ms(frame, series)
    files = files_between(series, utc(start_ms), utc(end_ms))
    altered = frame.attrs.get("altered", ())
    entries = [
        CacheEntry(file) if file.name in altered else CacheEntry(file, facts=keyed.facts_in(file))
        for file in files
    ]
    return with_neighbours(entries) if series.dataset.key == "id" else entries


def _rows_due(series: Series, start: datetime, end: datetime) -> int:
    """How many rows the grid has in a window."""
    files: Sequence[CacheFile] = files_between(series, start, end)
    return sum(grid_rows(file, to_ms(start), to_ms(end)) for file in files)


class _Counts:
    """Counts the rows that are missing in windows of a frame."""

    def __init__(self, frame: pd.DataFrame) -> None:
        is_one_series = "dataset" in frame.attrs or "missing" not in frame.attrs
        is_one_series &= "made_from" not in frame.attrs
        self._series = None
        # Of bars that were made from other rows: no file has them.
        self._interval = frame.attrs.get("interval") if "made_from" in frame.attrs else None
        self._gaps: list[Gap] = []
        self._starts: list[int] = []
        if not is_one_series or "aligned" in frame.attrs:
            return
        self._series = series = series_of(frame)
        if series is None or series.interval is not None or is_cut(frame):
            return
        if series.dataset.key == "id" and "agg_trade_id" not in frame:
            return
        _, end_ms = _window_ms(frame, series)
        for entry in _measured(frame, series):
            gaps = entry.gaps(min(end_ms, entry.file.end_ms))
            self._gaps += [replace(gap, rows=entry.missing_in(gap)) for gap in gaps]
        self._starts = [gap.start_ms for gap in self._gaps]

    def rows(self, start: datetime, end: datetime) -> int | None:
        """How many rows are missing in a window; None where they cannot be counted."""
        start_ms, end_ms = to_ms(start), to_ms(end)
        if self._interval is not None:
            return len(opens_between(self._interval, start_ms, end_ms))
        if self._series is None:
            return None
        if self._series.interval is not None:
            return _rows_due(self._series, start, end)
        first, last = (bisect_left(self._starts, at) for at in (start_ms, end_ms))
        gaps = self._gaps[first:last]
        counts = [gap.rows for gap in gaps if gap.rows is not None]
        is_covered = sum(gap.end_ms - gap.start_ms for gap in gaps) >= end_ms - start_ms
        return sum(counts) if is_covered and len(counts) == len(gaps) else None
