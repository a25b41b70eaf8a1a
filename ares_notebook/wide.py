"""Several symbols in one frame: their rows side by side, aligned by time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ares_notebook.cache.cells import Selection, chosen, read_cells
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.frames import decimals
from ares_notebook.cache.reader import unreadable
from ares_notebook.cache.spans import Moment, nothing_of_all, window_of_all
from ares_notebook.cache.store import Store
from ares_notebook.cached_window import CachedWindow, rows_asked_us
from ares_notebook.download.plan import Wanted
from ares_notebook.errors import BadArgument
from ares_notebook.frame_attrs import MOST_LISTED, missing, trusted_attrs
from ares_notebook.model.columns import Column
from ares_notebook.model.datasets import dataset_named
from ares_notebook.model.files import Series
from ares_notebook.model.rows import time_keys
from ares_notebook.model.symbols import Listed
from ares_notebook.model.time import (
    Period,
    as_utc,
    next_open_ms,
    opens_between,
    to_us,
    utc,
    utc_of_us,
)
from ares_notebook.settings import Settings, settings_given

_T = TypeVar("_T")
_Int64s = npt.NDArray[np.int64]
_HOUR_US = 3_600_000_000


def several_series(dataset: str, wanted: Wanted, interval: str | None) -> list[Series]:
    """The series of some symbols, in their order, whose rows can be side by side."""
    several = [Series.of(dataset, name, interval) for name in wanted.symbols]
    kind = several[0].dataset
    if kind.key == "id":
        msg = (
            f"{kind.label} of several symbols have no times in common; load each symbol by itself, "
            f"or candles of all"
        )
        raise BadArgument(msg)
    return several


def wide_frame(
    dataset: str,
    symbols: Sequence[str] | pd.DataFrame,
    interval: str | None,
    window: tuple[Moment, Moment],
    *,
    columns: Sequence[str] | str | None,
    decimal: bool,
    settings: Settings | None,
) -> pd.DataFrame:
    """The rows of several symbols in one frame, as `load_klines` describes it; never warns."""
    wanted = Wanted.of(symbols)
    several = several_series(dataset, wanted, interval)
    fields = chosen(several[0].dataset, [columns] if isinstance(columns, str) else columns)
    store = Store(settings_given(settings))
    span_ms = window_of_all(store, several, *window)
    span = Period(*map(utc, span_ms))
    windows = [
        CachedWindow.within(store, each, _listed_ms(wanted, listed, each, span), *window)
        for listed, each in zip(wanted.listed, several, strict=True)
    ]
    attrs = [each.attrs(-1) for each in windows]
    rows = _AlignedRows.of(windows, fields, exact=decimal)
    read = partial(_read_into, rows, fields, decimal=decimal)
    counts = _in_threads(lambda numbered: read(*numbered), list(enumerate(windows)))
    lacking = [
        each
        for each, own, count in zip(several, attrs, counts, strict=True)
        if not count and not own["complete"]
    ]
    if lacking:
        raise nothing_of_all(store, lacking, *span)
    names = [each.symbol for each in several]
    frames = {each.name: rows.frame(each, names) for each in fields}
    frame = (
        frames[columns] if isinstance(columns, str) else pd.concat(frames, axis=1, names=["field"])
    )
    frame.attrs = _attrs_of(attrs, rows_asked_us(span_ms, *window), len(frame))
    if isinstance(columns, str):
        frame.attrs["column"] = columns
    return frame


def frames_of_symbols(
    frame: pd.DataFrame, settings: Settings | None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each symbol of a wide frame, with its rows as a frame of its own."""
    attrs = trusted_attrs(frame)
    lacking = missing(frame, settings=settings)
    kinds = {each.name: each.kind for each in dataset_named(attrs["dataset"]).columns}
    for name in frame.columns.unique("symbol"):
        if frame.columns.nlevels == 1:
            one = frame[[name]].set_axis([attrs["column"]], axis=1)
        else:
            one = cast("pd.DataFrame", frame.xs(name, axis=1, level="symbol"))
        one = one.dropna(how="all")
        # Beside symbols with more rows counts are floats.
        counts = [each for each in one.columns if kinds.get(each) == "integer"]
        one = one.astype(dict.fromkeys(counts, np.int64))
        one.attrs = {key: each for key, each in attrs.items() if key not in ("symbols", "column")}
        one.attrs |= {"symbol": name}
        if "start" in attrs:
            windows = lacking[lacking["symbol"] == name][["start", "end"]].to_numpy()
            own = attrs["symbols"][name] | {
                "missing": [[*map(pd.Timestamp.isoformat, each)] for each in windows]
            }
            one.attrs |= own | {"rows": len(one)}
        yield name, one


def side_by_side(frames: Mapping[str, pd.DataFrame], like: pd.DataFrame) -> pd.DataFrame:
    """The frames of some symbols as one wide frame, with as many levels of columns as *like* has."""
    each = [one.attrs for one in frames.values()]
    names = next(iter(frames.values())).columns
    empty: Any = Decimal("NaN")
    fields = {}
    for field in names:
        columns = {symbol: one[field] for symbol, one in frames.items()}
        wide = pd.concat(columns, axis=1, names=["symbol"]).sort_index()
        is_exact = any(each == np.object_ for each in wide.dtypes)
        fields[field] = wide.where(wide.notna(), empty) if is_exact else wide
    is_flat = like.columns.nlevels == 1
    made = fields[names[0]] if is_flat else pd.concat(fields, axis=1, names=["field"])
    starts, ends = zip(
        *((to_us(as_utc(own[key])) for key in ("start", "end")) for own in each), strict=True
    )
    made.attrs = _attrs_of(each, (min(starts), max(ends)), len(made))
    made.attrs |= {"made_from": each[0]["made_from"]}
    if is_flat:
        made.attrs["column"] = like.attrs["column"]
    return made


def _listed_ms(wanted: Wanted, listed: Listed, series: Series, span: Period) -> tuple[int, int]:
    """The part of a window in which a table lists a symbol; all of it without a table."""
    cut = wanted.window(listed, series, span) or Period(span.start, span.start)
    return cut.start_ms, cut.end_ms


def _in_threads(work: Callable[[Any], _T], parts: Sequence[Any]) -> list[_T]:
    # PyArrow and NumPy release the GIL while they copy.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, parts))


@dataclass(frozen=True, slots=True)
class _AlignedRows:
    """An array of each field, with a row of cells for each symbol, and the keys of its columns."""

    # Ascending; microseconds since the epoch, of funding hours.
    keys: _Int64s
    unit_us: int
    # Whether any symbol has a row there; other columns are left out in the end.
    has_row: npt.NDArray[np.bool_]
    cells: dict[str, npt.NDArray[Any]]

    @classmethod
    def of(
        cls, windows: Sequence[CachedWindow], fields: Sequence[Column], *, exact: bool
    ) -> _AlignedRows:
        """Empty rows for all that the windows may hold."""
        dataset = windows[0].series.dataset
        keys = np.union1d(_grid(windows), _keys_off_grid(windows, fields[0].name))
        numbers = (Decimal("NaN"), np.object_) if exact else (np.nan, np.float64)
        cells = {
            each.name: np.full(
                (len(windows), len(keys)),
                *(numbers if each.kind == "number" else (np.nan, np.float64)),
            )
            for each in fields
        }
        unit_us = _HOUR_US if dataset.key == "event_time" else 1
        return cls(keys, unit_us, np.zeros(len(keys), np.bool_), cells)

    def put(self, at: int, entry: CacheEntry, table: Any) -> None:
        """Write the cells of one file of the symbol at this place."""
        keys = _keys_of(entry, table)
        if not len(keys):
            return
        first = int(np.searchsorted(self.keys, keys[0]))
        where: Any = slice(first, first + len(keys))
        if not np.array_equal(self.keys[where], keys):
            where = np.searchsorted(self.keys, keys)
            if where.max() >= len(self.keys) or np.any(self.keys[where] != keys):
                raise unreadable(Path(str(entry.on_disk)), "its times are not those of its receipt")
        self.has_row[where] = True
        for name, cells in self.cells.items():
            is_exact = cells.dtype == np.object_
            column = table[name]
            cells[at, where] = decimals(column) if is_exact else column.to_numpy()

    def frame(self, field: Column, symbols: Sequence[str]) -> pd.DataFrame:
        """The frame of one field, which takes its array over."""
        cells, keys = self.cells.pop(field.name), self.keys
        if not self.has_row.all():
            cells, keys = cells[:, self.has_row], keys[self.has_row]
        stamps = pd.DatetimeIndex((keys * self.unit_us).view("M8[us]"), name="timestamp")
        names = pd.Index(symbols, name="symbol")
        frame = pd.DataFrame(cells.T, stamps.tz_localize("UTC"), names, copy=False)
        if field.kind != "integer":
            return frame
        is_whole = ~np.isnan(cells).any(axis=1)
        types = dict.fromkeys(np.asarray(symbols)[is_whole].tolist(), np.int64)
        return frame.astype(np.int64 if is_whole.all() else types)


def _grid(windows: Sequence[CachedWindow]) -> _Int64s:
    """The open times of the interval from the first row of any file to the last one."""
    facts = [entry.facts for window in windows for entry in window.entries]
    firsts = [each.first_ms for each in facts if each.first_ms is not None]
    interval = windows[0].series.interval
    if not firsts or interval is None:
        return np.empty(0, np.int64)
    last_ms = max(each.last_ms for each in facts if each.last_ms is not None)
    start_ms = max(min(firsts), min(each.start_ms for each in windows))
    end_ms = min(last_ms + 1, max(each.end_ms for each in windows))
    opens = opens_between(interval, start_ms, next_open_ms(interval, end_ms))
    return np.asarray(opens, np.int64) * 1000


def _keys_off_grid(windows: Sequence[CachedWindow], name: str) -> _Int64s:
    """The keys of rows that the grid may not have: candles after old halts, and all funding."""

    def keys_in(window: CachedWindow) -> list[_Int64s]:
        def put_together(entries: Sequence[CacheEntry], wanted: Selection) -> list[_Int64s]:
            needed = (each for each in entries if is_event or each.facts.off_grid)
            return [np.unique(_keys_of(each, read_cells(each, wanted))) for each in needed]

        return window.read([name], put_together)

    is_event = windows[0].series.interval is None
    found = list(chain.from_iterable(_in_threads(keys_in, windows)))
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _keys_of(entry: CacheEntry, table: Any) -> _Int64s:
    return time_keys(entry.file.dataset, table["timestamp"].to_numpy())


def _read_into(
    rows: _AlignedRows, fields: Sequence[Column], at: int, window: CachedWindow, *, decimal: bool
) -> int:
    """Write the rows of one symbol into those of all; returns how many they are."""

    def put_together(entries: Sequence[CacheEntry], wanted: Selection) -> int:
        count = 0
        for entry in entries:
            table = read_cells(entry, wanted)
            rows.put(at, entry, table)
            count += table.num_rows
        return count

    return window.read([each.name for each in fields], put_together, decimal=decimal)


def _attrs_of(
    each: Sequence[dict[Any, Any]], window_us: tuple[int, int], rows: int
) -> dict[Any, Any]:
    """The attrs of the frame, from those that the frames of its symbols would have."""
    attrs = {key: each[0][key] for key in ("dataset", "interval", "market")}
    attrs["start"], attrs["end"] = (utc_of_us(at).isoformat() for at in window_us)
    attrs["rows"] = rows
    attrs["complete"] = all(own["complete"] for own in each)
    attrs["symbols"], room = {}, MOST_LISTED
    for own in each:
        bounds = {key: own[key] for key in ("start", "end") if own[key] != attrs[key]}
        stated = bounds | {key: own[key] for key in ("complete", "missing_count")}
        if not own["complete"]:
            stated["missing"] = own["missing"][:room]
            room -= len(stated["missing"])
        attrs["symbols"][own["symbol"]] = stated
    if altered := [name for own in each for name in own.get("altered", ())]:
        attrs["altered"] = altered[:MOST_LISTED]
    return attrs
