"""Cache files as one DataFrame, parsed in parallel."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.reader import (
    check_last_line,
    csv_options,
    is_compressed,
    is_ours,
    last_in_order,
    open_text,
    read_rows,
    unreadable,
)
from ares_notebook.errors import BadArgument, CacheUnavailable
from ares_notebook.model.columns import Column
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.rows import (
    Table,
    between,
    empty_rows,
    header_of,
    keys_of,
    null_where_empty,
)
from ares_notebook.model.time import to_ms

# Small enough for the cache of a core, together with the parsed cells.
_BLOCK_BYTES = 1 << 20
# Trades are ordered by id, and nearly always by stamp: in 105,280 recorded ones no stamp goes
# back. A window would miss a trade whose stamp goes back by more than this.
_MARGIN_US = 600_000_000


@dataclass(frozen=True, slots=True)
class Selection:
    """What to read of the files of a series."""

    # Besides the timestamp, in this order.
    columns: tuple[Column, ...]
    # Whether numbers are read as text, to become decimals; else as float64.
    exact: bool
    # Half-open window of stamps.
    start_ms: int
    end_ms: int

    def covers(self, entry: CacheEntry) -> bool:
        """Whether the window contains the file's period."""
        return self.start_ms <= entry.file.start_ms and entry.file.end_ms <= self.end_ms

    def type_of(self, column: Column) -> Any:
        """The PyArrow type of a column."""
        number = pa.string() if self.exact else pa.float64()
        types = {"time": pa.timestamp("us"), "integer": pa.int64(), "flag": pa.bool_()}
        return types.get(column.kind, number)


def chosen(dataset: Dataset, names: Sequence[str] | None) -> tuple[Column, ...]:
    """The columns of these names, in this order; None means all but the timestamp."""
    known = {column.name: column for column in dataset.columns if column.kind != "time"}
    if names is None:
        return tuple(known.values())
    wrong = None
    # A set has no order.
    is_list = isinstance(names, Iterable) and not isinstance(names, str | bytes | AbstractSet)
    asked = tuple(names) if is_list else ()
    if not asked or not all(isinstance(name, str) for name in asked):
        wrong = "must be a sequence of names"
    elif "timestamp" in asked:
        wrong = "must not name the timestamp: it is the index, and always there"
    elif not set(asked) <= set(known):
        wrong = f"names {next(name for name in asked if name not in known)!r}, which there is not"
    elif len(set(asked)) < len(asked):
        wrong = "names a column twice"
    if wrong:
        msg = f"columns={asked or names!r} {wrong}; there are {', '.join(known)}"
        raise BadArgument(msg)
    return tuple(known[name] for name in asked)


def read_cells(entry: CacheEntry, wanted: Selection) -> Table:
    """
    The rows of one file that lie in the window, as numbers.

    Of an uncompressed file with provenance, only the part that holds the window is read.
    """
    path = entry.path
    if path is None:
        msg = f"{entry.file.name} is not there"
        raise ValueError(msg)
    try:
        parse = _parsed if is_ours(path, entry.file.dataset) else _parsed_legacy
        table = between(parse(path, entry, wanted), wanted.start_ms, wanted.end_ms)
        _check_numbers(table, wanted)
    except (pa.ArrowTypeError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return table.select(["timestamp", *(column.name for column in wanted.columns)])


def _parsed(path: Path, entry: CacheEntry, wanted: Selection) -> Table:
    """The cells of a file of ours, whose keys must ascend."""
    dataset = entry.file.dataset
    check_last_line(path)
    # The key is always read: its order proves the file.
    names = dict.fromkeys(["timestamp", *(column.name for column in wanted.columns)])
    if dataset.key == "id":
        names["agg_trade_id"] = None
    types = {each.name: wanted.type_of(each) for each in dataset.columns}
    # Where no cell may be empty, an empty one is found as what is no number.
    empty = [""] if any(each.may_be_empty for each in dataset.columns) else []
    # Text that is no number is found when it is converted.
    options = csv_options(types, names, _BLOCK_BYTES, check_utf8=False, null_values=empty)
    with _text(path, entry, wanted) as stream:
        table = arrow_csv.read_csv(stream, **options)
    if empty:
        table = _with_nulls(table, dataset)
    table = table.set_column(0, "timestamp", table["timestamp"].cast(pa.int64()))
    last_in_order(path, keys_of(dataset, table), -1)
    return table


def _with_nulls(table: Table, dataset: Dataset) -> Table:
    """The cells with null where one is empty; raises for one that must not be."""
    columns = {each.name: each for each in dataset.columns}
    for at, name in enumerate(table.column_names):
        if table[name].null_count and not columns[name].may_be_empty:
            msg = f"a cell of {name} is empty"
            raise ValueError(msg)
        if table[name].type == pa.string():
            table = table.set_column(at, name, null_where_empty(columns[name], table[name]))
    return table


def _text(path: Path, entry: CacheEntry, wanted: Selection) -> Any:
    """The file's text, or its header and the lines around the window where that is sufficient."""
    is_searchable = entry.has_provenance and not is_compressed(path)
    if wanted.covers(entry) or not is_searchable:
        return open_text(path)
    header = header_of(entry.file.dataset)
    with path.open("rb") as text:
        begin = _offset_of(text, len(header), wanted.start_ms * 1000 - _MARGIN_US)
        end = _offset_of(text, len(header), wanted.end_ms * 1000 + _MARGIN_US)
        text.seek(begin)
        return pa.BufferReader(header + text.read(end - begin))


def _offset_of(text: io.BufferedReader, begin: int, time_us: int) -> int:
    """The offset of the first line stamped at *time_us* or later, by bisection; else the end."""
    low, high = begin - 1, text.seek(0, os.SEEK_END)
    while low < high:
        middle = (low + high) // 2
        text.seek(middle)
        text.readline()
        line = text.readline()
        if line and _stamp_us(line) < time_us:
            low = middle + 1
        else:
            high = middle
    text.seek(low)
    text.readline()
    return text.tell()


def _stamp_us(line: bytes) -> int:
    stamp = line.partition(b",")[0].decode("ascii")
    # NumPy would accept "today" too, and a zone with a warning.
    time = datetime.fromisoformat(stamp).replace(tzinfo=UTC)
    return to_ms(time) * 1000 + time.microsecond % 1000


def _parsed_legacy(path: Path, entry: CacheEntry, wanted: Selection) -> Table:
    """The cells of a file of the original downloader."""
    rows = pa.concat_tables([empty_rows(entry.file.dataset), *read_rows(path, entry.file)])
    cells = {"timestamp": rows["timestamp"]}
    for column in wanted.columns:
        text = rows[column.name]
        if column.kind == "flag":
            cells[column.name] = pc.equal(text, "True")
        else:
            cells[column.name] = null_where_empty(column, text).cast(wanted.type_of(column))
    return pa.table(cells)


def _check_numbers(table: Table, wanted: Selection) -> None:
    """Refuse text that is no number; nan and inf, too."""
    for column in wanted.columns:
        if column.kind == "number":
            numbers = table[column.name].cast(pa.float64())
            if pc.all(pc.is_finite(numbers)).as_py() is False:
                msg = f"a cell of {column.name} is no number"
                raise ValueError(msg)


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

        def put(entry: CacheEntry, start: int, count: int) -> None:
            table = tables.pop(entry.file) if entry.file in tables else read(entry)
            for name, cells in arrays.items():
                _put(table[name], cells[start : start + count], entry)

        # list() raises what a thread raised.
        list(pool.map(put, entries, accumulate(rows, initial=0), rows))
    _sort_by_stamp(arrays)
    stamps = pd.DatetimeIndex(arrays.pop("timestamp").view("M8[us]"), name="timestamp", copy=False)
    return pd.DataFrame(arrays, index=stamps.tz_localize("UTC"), copy=False)


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
