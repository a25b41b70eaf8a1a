"""Does one part of the cache agree with another? Trades with candles, small candles with large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.neighbours import entries_of
from ares_notebook.cache.store import Store
from ares_notebook.errors import DataError
from ares_notebook.model.datasets import AGG_TRADES
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.intervals import INTERVALS, opens_between
from ares_notebook.model.rows import Table, between, empty_rows, stamps_ms
from ares_notebook.model.time import DAY_MS, utc
from ares_notebook.quality.candles import (
    Comparison,
    candles_of_candles,
    candles_of_trades,
    compare,
)
from ares_notebook.runtime.progress import tracked
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["reconcile"]

_COLUMNS = ["symbol", "what", "compared", "equal", "missing", "first_difference"]


def reconcile(store: Store, files: Sequence[CacheFile], settings: Settings) -> pd.DataFrame:
    """
    Rebuild candles from trades, and large ones from small ones, and compare to the last digit.

    Trades make up the finest interval that is stored (up to a day); each other interval is added up
    from the finest that divides it. Only what is complete on both sides is compared.
    """
    import pandas as pd  # noqa: PLC0415 - the rest does without it

    by_series: dict[Series, list[CacheFile]] = {}
    for file in sorted(files, key=lambda each: each.name):
        by_series.setdefault(file.series, []).append(file)
    whole = {
        series: {entry.file: entry for entry in entries_of(store, group) if _is_whole(entry)}
        for series, group in by_series.items()
    }
    rows = []
    for series in whole:
        if series.interval is None:
            continue
        base = _base_of(series, whole)
        if base is None:
            continue
        what = f"{series.interval} from {base.interval or 'trades'}"
        files_of = list(whole[series if base.interval else base])
        pair = _Pair(store, whole, series, base)
        found = [pair.of(file) for file in tracked(files_of, settings, f"{series.symbol} {what}")]
        total = reduce(Comparison.plus, found, Comparison())
        if total.compared:
            rows.append({"symbol": series.symbol, "what": what, **asdict(total)})
    return pd.DataFrame(rows, columns=_COLUMNS)


def _is_whole(entry: CacheEntry) -> bool:
    """Whether a file has all its rows up to where it ends, in our own columns."""
    if entry.path is None or entry.problem is not None or entry.legacy:
        return False
    # What was altered is compared too: it is where the two may differ.
    entry = replace(entry, is_altered=False)
    end_ms = _end_ms(entry)
    if entry.file.dataset is AGG_TRADES and any(gap.rows for gap in entry.gaps(end_ms)):
        # Confirmed or not, those trades are in the candles and not in the file.
        return False
    return not entry.unexplained(end_ms)


def _end_ms(entry: CacheEntry) -> int:
    return entry.file.period.end_ms if entry.final else entry.facts.covered_until_ms or 0


def _base_of(series: Series, there: Iterable[Series]) -> Series | None:
    """What the candles of *series* are rebuilt from: the finest that divides them, else trades."""
    own = [each for each in there if each.symbol == series.symbol]
    grids = [each for each in own if each.interval is not None]
    finest = min(grids, key=lambda each: _length_ms(each.interval))
    if series == finest:
        trades = [each for each in own if each.dataset is AGG_TRADES]
        return trades[0] if trades and _length_ms(series.interval) <= DAY_MS else None
    smaller = [each for each in grids if _divides(each.interval, series.interval)]
    return min(smaller, key=lambda each: _length_ms(each.interval), default=None)


def _length_ms(interval: str | None) -> int:
    return INTERVALS[interval or "1M"] or 31 * DAY_MS


def _divides(small: str | None, large: str | None) -> bool:
    small_ms, large_ms = _length_ms(small), _length_ms(large)
    # Beyond a day the grids do not hold each other, but all of them hold days.
    return small_ms < large_ms and small_ms <= DAY_MS and (large == "1M" or not large_ms % small_ms)


class _Pair:
    """Candles of one series, and what they are rebuilt from."""

    def __init__(
        self,
        store: Store,
        whole: dict[Series, dict[CacheFile, CacheEntry]],
        series: Series,
        base: Series,
    ) -> None:
        self._store = store
        self._whole = whole
        self._series = series
        self._base = base

    def of(self, file: CacheFile) -> Comparison:
        """Compare over one file: a day of trades, or a file of the larger candles."""
        start_ms, end_ms = file.period.start_ms, file.grid_end_ms
        if self._base.interval is not None:
            start_ms = file.opens(end_ms)[0]
        bases, stored = (self._files(each, start_ms, end_ms) for each in (self._base, self._series))
        if bases is None or stored is None:
            return Comparison()
        # Of a running month both must have come as far.
        end_ms = min(end_ms, *(max(_end_ms(entry), start_ms) for entry in (bases[-1], stored[-1])))
        interval = self._series.interval or ""
        rows = self._rows(bases, start_ms, end_ms)
        make = candles_of_candles if self._base.interval else candles_of_trades
        opens = pa.array(np.asarray(opens_between(interval, start_ms, end_ms), np.int64) * 1000)
        there = self._rows(stored, start_ms, end_ms)
        try:
            candles = pa.concat_tables([empty_rows(self._series.dataset), *there])
            return compare(*(_opening(each, opens) for each in (make(rows, interval), candles)))
        except DataError as error:
            # What cannot be compared is not equal either.
            return Comparison(1, 0, 0, f"{file.name}: {error}")

    def _files(self, series: Series, start_ms: int, end_ms: int) -> list[CacheEntry] | None:
        """The files of a stretch; None unless all are there and whole."""
        wanted = files_between(series, utc(start_ms), utc(end_ms))
        entries = [self._whole[series].get(file) for file in wanted]
        return [entry for entry in entries if entry] if all(entries) else None

    def _rows(self, entries: Iterable[CacheEntry], start_ms: int, end_ms: int) -> Iterator[Table]:
        for entry in entries:
            for table in self._store.rows(entry.file):
                if table.num_rows and stamps_ms(table)[0] >= end_ms:
                    break
                rows = between(table, start_ms, end_ms)
                if rows.num_rows:
                    yield rows


def _opening(candles: Table, opens: pa.Array) -> Table:
    """The candles that open at these times: one that is cut by an end tells nothing."""
    return candles.filter(pc.is_in(candles["timestamp"], value_set=opens))
