"""Cache files as one DataFrame, parsed in parallel."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ares_notebook.cache.arrow_copies import arrow_field
from ares_notebook.cache.cells import Selection, read_cells
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.errors import CacheUnavailable
from ares_notebook.model.columns import TIMESTAMP, Column
from ares_notebook.model.rows import (
    Table,
)


def decimals(text: Any) -> npt.NDArray[np.object_]:
    """Numbers as text, as decimals of the same digits; null becomes ``Decimal("NaN")``."""
    # Many numbers repeat, so each distinct text is converted once.
    encoded = text.combine_chunks().fill_null("NaN").dictionary_encode()
    numbers = map(Decimal, encoded.dictionary.to_pylist())
    distinct = np.fromiter(numbers, dtype=np.object_, count=len(encoded.dictionary))
    cells: npt.NDArray[np.object_] = distinct[encoded.indices.to_numpy()]
    return cells


_Arrays = dict[str, npt.NDArray[Any]]


def frame_of(entries: Sequence[CacheEntry], wanted: Selection) -> pd.DataFrame:
    """
    The selected cells of some files, in one frame.

    Each thread writes its cells into the arrays of the frame, so that nothing is in memory twice.
    """
    read = partial(read_cells, wanted=wanted)
    # PyArrow releases the GIL while it parses.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        # Files whose number of rows and types no receipt states are read first.
        others = [entry for entry in entries if not _is_sized(entry, wanted)]
        tables = dict(zip((entry.file for entry in others), pool.map(read, others), strict=True))
        rows = [
            tables[entry.file].num_rows if entry.file in tables else entry.facts.rows
            for entry in entries
        ]
        arrays = _arrays(sum(rows), wanted, list(tables.values()))

        def put(entry: CacheEntry, start: int, count: int, each: Callable[..., Any] = map) -> None:
            table = tables.pop(entry.file) if entry.file in tables else read(entry)
            end = start + count
            # list() raises what a thread raised.
            list(each(lambda name: _put(table[name], arrays[name][start:end], entry), arrays))

        if len(entries) == 1:
            put(entries[0], 0, rows[0], pool.map)
        else:
            list(pool.map(put, entries, accumulate(rows, initial=0), rows))
    _sort_by_stamp(arrays)
    stamps = pd.DatetimeIndex(arrays.pop("timestamp").view("M8[us]"), name="timestamp", copy=False)
    return pd.DataFrame(arrays, index=stamps.tz_localize("UTC"), copy=False)


def arrow_of(entries: Sequence[CacheEntry], wanted: Selection) -> pa.Table:
    """The selected cells of some files in one Arrow table, mapped from their copies."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        tables = list(pool.map(partial(read_cells, wanted=wanted), entries))
    schema = pa.schema(map(arrow_field, (TIMESTAMP, *wanted.columns)))
    table = pa.concat_tables([schema.empty_table(), *(each.cast(schema) for each in tables)])
    if entries and entries[0].file.dataset.key == "id":
        stamps = table["timestamp"].cast(pa.int64()).to_numpy()
        if np.any(stamps[1:] < stamps[:-1]):
            table = table.take(pa.array(np.argsort(stamps, kind="stable")))
    return table


def _sort_by_stamp(arrays: _Arrays) -> None:
    """
    Sort rows by stamp; rows with the same stamp keep their order.

    Trades are ordered by id, and in 2017 some stamps go back by a second: a frame with an unsorted
    index could not be sliced by time.
    """
    stamps = arrays["timestamp"]
    if np.all(stamps[1:] >= stamps[:-1]):
        return
    order = np.argsort(stamps, kind="stable")
    for name, cells in arrays.items():
        arrays[name] = cells[order]


def _is_sized(entry: CacheEntry, wanted: Selection) -> bool:
    """Whether the receipt states how many rows the file has in the window, all with our types."""
    return wanted.covers(entry) and entry.final and not entry.legacy


def _arrays(rows: int, wanted: Selection, tables: Sequence[Table]) -> _Arrays:
    """Empty arrays for all rows; integers are floats where the original downloader stored none."""

    def dtype(column: Column) -> Any:
        if column.kind == "integer":
            lacks = any(table[column.name].null_count for table in tables)
            return np.float64 if lacks else np.int64
        number = np.object_ if wanted.exact else np.float64
        return np.bool_ if column.kind == "flag" else number

    types = {"timestamp": np.int64} | {column.name: dtype(column) for column in wanted.columns}
    return {name: np.empty(rows, kind) for name, kind in types.items()}


def _put(column: Any, cells: npt.NDArray[Any], entry: CacheEntry) -> None:
    """Write a file's column into an uninitialized array, which it must fill."""
    if len(column) != len(cells) or (column.null_count and cells.dtype == np.int64):
        msg = f"{entry.path} was changed by another program while it was read; try again"
        raise CacheUnavailable(msg)
    if cells.dtype == np.object_:
        cells[:] = decimals(column)
        return
    at = 0
    for chunk in column.chunks:
        cells[at : at + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        at += len(chunk)
