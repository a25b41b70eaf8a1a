"""The cells of one cache file as numbers: from its Arrow copy, or parsed."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
from collections.abc import Container, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.cache.arrow_copies import read_copy, write_copy
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
from ares_notebook.cache.store import Store
from ares_notebook.errors import AresError, BadArgument
from ares_notebook.model.columns import Column
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.files import CacheFile
from ares_notebook.model.rows import (
    Table,
    empty_rows,
    header_of,
    keys_of,
    null_where_empty,
)
from ares_notebook.model.time import to_ms

_LOGGER = logging.getLogger("DataDownloader")
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
    # Half-open window of stamps, in microseconds since the epoch.
    start_us: int
    end_us: int
    # Which Arrow copies are made and read, as in the settings.
    copies: Literal["plain", "lz4", "off"] = "off"

    def covers(self, entry: CacheEntry) -> bool:
        """Whether the window contains the file's period."""
        return self._has(entry.file.start_ms, entry.file.end_ms)

    def has_all_of(self, entry: CacheEntry) -> bool:
        """Whether the window contains all rows of the file."""
        return self._has(entry.file.start_ms, entry.facts.end_ms or 0)

    def _has(self, start_ms: int, end_ms: int) -> bool:
        return self.start_us <= start_ms * 1000 and end_ms * 1000 <= self.end_us

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
        wrong = f"must be a sequence of names{_such_as(names, known)}"
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


def _such_as(name: object, known: Container[str]) -> str:
    return f", such as [{name!r}]" if isinstance(name, str) and name in known else ""


def read_cells(entry: CacheEntry, wanted: Selection) -> Table:
    """
    The rows of one file that lie in the window, as numbers.

    From its Arrow copy, which is made where all of the file is wanted. Else, of an uncompressed file
    with provenance, only the part that holds the window is read.
    """
    names = ["timestamp", *(column.name for column in wanted.columns)]
    if wanted.copies != "off" and not wanted.exact and entry.sha256 is not None:
        table = read_copy(entry, names)
        if table is None and wanted.has_all_of(entry):
            table = _copied(_path_of(entry), entry, wanted)
        if table is not None:
            stamps = table["timestamp"].cast(pa.int64())
            table = table.set_column(table.column_names.index("timestamp"), "timestamp", stamps)
            table = table.select(names)
            # The stamp of the last trade need not be the latest.
            is_latest = wanted.has_all_of(entry) and entry.file.dataset.key != "id"
            return table if is_latest or wanted.covers(entry) else _window(table, wanted)
    path = _path_of(entry)
    try:
        parse = _parsed if is_ours(path, entry.file.dataset) else _parsed_legacy
        table = _window(parse(path, entry, wanted), wanted)
        _check_numbers(table, wanted)
    except (pa.ArrowTypeError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return table.select(names)


def _path_of(entry: CacheEntry) -> Path:
    if entry.path is None:
        msg = f"{entry.file.name} is not there"
        raise ValueError(msg)
    return entry.path


def make_copy(store: Store, file: CacheFile) -> None:
    """Make the Arrow copy of a file that has just been written; where that fails there is none."""
    entry = store.entry(file)
    if entry.path is None or entry.sha256 is None:
        return
    every = Selection(chosen(file.dataset, None), False, 0, sys.maxsize, store.arrow_copies)
    try:
        _copied(entry.path, entry, every)
    except AresError as error:
        _LOGGER.debug("no Arrow copy of %s: %s", entry.path, error)


class _HashedFile:
    """A file whose sum is taken while PyArrow reads it."""

    closed = False

    def __init__(self, file: io.BufferedReader) -> None:
        self._file, self._sum = file, hashlib.sha256()

    def close(self) -> None:
        """Closed by who opened it; PyArrow closes what it decompresses."""

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        self._sum.update(data)
        return data

    def sha256(self) -> str:
        """The sum of the whole file."""
        while self.read(_BLOCK_BYTES):
            pass
        return self._sum.hexdigest()


def _copied(path: Path, entry: CacheEntry, wanted: Selection) -> Table:
    """All cells of a file, from which its copy was made; its bytes must be those of its receipt."""
    every = replace(wanted, columns=chosen(entry.file.dataset, None))
    try:
        with path.open("rb") as file:
            text = _HashedFile(file)
            stream = pa.PythonFile(text, "r")
            if is_compressed(path):
                stream = pa.CompressedInputStream(stream, "zstd")
            table = _parsed_text(path, entry.file.dataset, every, stream)
            _check_numbers(table, every)
            if text.sha256() != entry.sha256:
                raise unreadable(path, "its bytes are not those of its receipt")
    except (pa.ArrowTypeError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    write_copy(entry, table, wanted.copies)
    return table


def _window(table: Table, wanted: Selection) -> Table:
    """The rows in the window, which are not copied where their stamps ascend."""
    stamps = table["timestamp"].to_numpy()
    if np.any(stamps[1:] < stamps[:-1]):
        is_inside = (stamps >= wanted.start_us) & (stamps < wanted.end_us)
        return table.filter(pa.array(is_inside))
    first, last = np.searchsorted(stamps, [wanted.start_us, wanted.end_us])
    return table.slice(first, last - first)


def _parsed(path: Path, entry: CacheEntry, wanted: Selection) -> Table:
    """The cells of a file of ours that may be in the window."""
    with _text(path, entry, wanted) as stream:
        return _parsed_text(path, entry.file.dataset, wanted, stream)


def _parsed_text(path: Path, dataset: Dataset, wanted: Selection, stream: Any) -> Table:
    """The cells in the text of a file of ours, whose keys must ascend."""
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
        begin = _offset_of(text, len(header), wanted.start_us - _MARGIN_US)
        end = _offset_of(text, len(header), wanted.end_us + _MARGIN_US)
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
