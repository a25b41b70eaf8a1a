"""
Candles of a series at several steps of time, so that any window of it is drawn from a few hundred.

The fine steps, which would fill the memory, are read from the cache when a view is short enough to
show them; the coarse ones are made once, file by file, and kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ares_notebook.cache.cells import Selection, read_cells
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cached_window import CachedWindow
from ares_notebook.model.files import Series
from ares_notebook.model.time import DAY_MS, GRID_ORIGIN_MS, interval_ms

_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000
_MONTH_MS, _PAYMENT_MS = 30 * DAY_MS, 8 * _HOUR_MS
_WEEK_MS = 7 * DAY_MS
# Each divides the next one, so that a candle of one step lies in one of the next.
_STEPS = (
    *(1_000, 15_000, _MINUTE_MS, 5 * _MINUTE_MS, 15 * _MINUTE_MS),
    *(_HOUR_MS, 4 * _HOUR_MS, DAY_MS, _WEEK_MS, 4 * _WEEK_MS),
)
# 48 bytes each: with the coarser steps about 40 MB at most.
_MOST_KEPT = 600_000
_Numbers = npt.NDArray[np.float64]


class Bars(NamedTuple):
    """Candles as arrays of equal length, ascending by their open times; NaN stands for no value."""

    open_ms: npt.NDArray[np.int64]
    open: _Numbers
    high: _Numbers
    low: _Numbers
    close: _Numbers
    volume: _Numbers

    def between(self, start_ms: int, end_ms: int) -> Bars:
        """The candles that open in a half-open window."""
        first, last = np.searchsorted(self.open_ms, [start_ms, end_ms])
        return Bars(self.open_ms[first:last], *(each[first:last] for each in self[1:]))

    def put_together(self, step_ms: int) -> Bars:
        """Candles of a longer step; of these the first opens it and the last closes it."""
        if not len(self.open_ms):
            return self
        origin = _origin_ms(step_ms)
        opens = (self.open_ms - origin) // step_ms * step_ms + origin
        starts = np.flatnonzero(np.r_[True, opens[1:] != opens[:-1]])
        ends = np.r_[starts[1:], len(opens)] - 1
        return Bars(
            opens[starts],
            self.open[starts],
            np.fmax.reduceat(self.high, starts),
            np.fmin.reduceat(self.low, starts),
            self.close[ends],
            np.add.reduceat(np.nan_to_num(self.volume), starts),
        )


def joined(parts: Sequence[Bars]) -> Bars:
    """Candles one after the other."""
    if not parts:
        nothing = np.empty(0)
        return Bars(np.empty(0, np.int64), nothing, nothing, nothing, nothing, nothing)
    opens, *others = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Bars(opens, *others)


def _origin_ms(step_ms: int) -> int:
    """Where a grid begins: weeks on a Monday, as the exchange's."""
    return GRID_ORIGIN_MS.get("1w", 0) if step_ms % _WEEK_MS == 0 else 0


def shown_columns(series: Series) -> tuple[str, ...]:
    """The columns that are drawn: of candles the prices and the volume, else one."""
    names = series.dataset.column_names
    if "open" in names:
        return tuple(n for n in ("open", "high", "low", "close", "volume") if n in names)
    return (names[1],)


def row_ms(series: Series) -> int:
    """The time from a row to the next; nominal for months, and for payments."""
    if series.interval is None:
        return _PAYMENT_MS
    return interval_ms(series.interval) or _MONTH_MS


@dataclass(frozen=True, slots=True)
class CandleLevels:
    """The rows of a window of a series, as candles of any step."""

    cached: CachedWindow
    # In ascending order; the first is that of the rows.
    steps: tuple[int, ...]
    # From some step on, by the step.
    kept: dict[int, Bars]

    @classmethod
    def of(cls, cached: CachedWindow) -> CandleLevels:
        """Read a window of the cache once, and keep its coarse candles."""
        own = row_ms(cached.series)
        steps = (own, *(each for each in _STEPS if each > own and each % own == 0))
        rows = sum(entry.facts.rows for entry in cached.entries if entry.on_disk is not None)
        first = next((each for each in steps if rows * own / each <= _MOST_KEPT), steps[-1])
        kept = {first: _read(cached, first if first > own else None)}
        for before, each in pairwise(steps):
            if each > first:
                kept[each] = kept[before].put_together(each)
        return cls(cached, steps, kept)

    def step_for(self, span_ms: float, bars: int) -> int:
        """The shortest step of which a span has at most so many *bars*."""
        return next((each for each in self.steps if span_ms / each <= bars), self.steps[-1])

    @property
    def rows_kept(self) -> int:
        """How many candles of all steps are in memory."""
        return sum(len(each.open_ms) for each in self.kept.values())

    def between(self, step_ms: int, start_ms: int, end_ms: int) -> Bars:
        """The candles of a step that have any time in common with a window."""
        start_ms -= step_ms - 1
        if step_ms in self.kept:
            return self.kept[step_ms].between(start_ms, end_ms)
        cached = self.cached
        # Whole candles, also at the edges.
        origin = _origin_ms(step_ms)
        first = (start_ms - origin + step_ms - 1) // step_ms * step_ms + origin
        last = (end_ms - origin + step_ms - 1) // step_ms * step_ms + origin
        first, last = max(first, cached.start_ms), min(last, cached.end_ms)
        part = CachedWindow.of(cached.store, cached.series, first, last)
        return _read(part, step_ms if step_ms > self.steps[0] else None)

    def extremes(self, start_ms: int, end_ms: int) -> tuple[float, float]:
        """The lowest and the highest price of the rows that open in a window; NaN without one."""
        step = next(iter(self.kept))
        origin = _origin_ms(step)
        first = (start_ms - origin + step - 1) // step * step + origin
        last = (end_ms - origin) // step * step + origin
        if step == self.steps[0] or first >= last:
            parts = [self._rows(start_ms, end_ms)]
        else:
            inner = self.kept[step].between(first, last)
            parts = [self._rows(start_ms, first), inner, self._rows(last, end_ms)]
        found = joined(parts)
        lows, highs = found.low[~np.isnan(found.low)], found.high[~np.isnan(found.high)]
        if not len(lows) or not len(highs):
            return np.nan, np.nan
        return float(lows.min()), float(highs.max())

    def _rows(self, start_ms: int, end_ms: int) -> Bars:
        """The rows that open in a window, as they are."""
        if start_ms >= end_ms:
            return joined([])
        return self.between(self.steps[0], start_ms, end_ms).between(start_ms, end_ms)


def _read(cached: CachedWindow, step_ms: int | None) -> Bars:
    """The rows of a window, put together if a step is given; no more is in memory than a few files."""

    def put_together(entries: Sequence[CacheEntry], wanted: Selection) -> Bars:
        def bars(entry: CacheEntry) -> Bars:
            found = _bars_of(read_cells(entry, wanted))
            return found if step_ms is None else found.put_together(step_ms)

        # PyArrow releases the GIL while it parses.
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            whole = joined([*pool.map(bars, entries)])
        # A candle may have its rows in two files.
        return whole if step_ms is None else whole.put_together(step_ms)

    return cached.read(shown_columns(cached.series), put_together)


def _bars_of(table: Any) -> Bars:
    """The rows of a file; where there is one value a row, it is each price of it."""
    stamps = table["timestamp"].cast(pa.int64()).to_numpy() // 1000
    columns = [
        table[name].cast(pa.float64()).to_numpy()
        for name in table.column_names
        if name != "timestamp"
    ]
    if len(columns) == 1:
        columns *= 4
    opened, high, low, close, *others = columns
    volume = others[0] if others else np.full(len(stamps), np.nan)
    return Bars(stamps, opened, high, low, close, volume)
