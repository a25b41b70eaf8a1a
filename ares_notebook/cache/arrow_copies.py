"""
Arrow copies of cache files: the same rows as numbers, mapped into memory instead of parsed.

A copy is never authority. Its metadata name the sha256 of the file that it was made from, so that
it counts only while a receipt vouches for just that file; each column of each batch has a checksum,
which is compared before a value is used. Without a sound copy the file itself is parsed.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from threading import get_ident
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from isal import isal_zlib
from pyarrow import ipc

from ares_notebook.cache.disk import PART_SUFFIX, TICK_NS, remove_part, rename
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.errors import CacheError
from ares_notebook.model.columns import Column
from ares_notebook.model.rows import Table

_LOGGER = logging.getLogger("DataDownloader")
_FORMAT = 1
# A month of one-minute candles is one batch, a day of a million trades sixteen.
_BATCH_ROWS = 1 << 16
_KEY = b"ares"
# The columns of copies whose checksums this process has compared, by path; beside them the version
# of the copy: who writes to a file changes its ctime, later at times where it is mapped to be written.
_CHECKED: dict[str, tuple[tuple[object, ...], set[str]]] = {}
_MOST_CHECKED = 1 << 16


def arrow_field(column: Column) -> Any:
    """A column as copies and Arrow tables have it; a null stands for an empty cell."""
    types = {"time": pa.timestamp("us", "UTC"), "integer": pa.int64(), "flag": pa.bool_()}
    return pa.field(column.name, types.get(column.kind, pa.float64()))


@lru_cache
def _schema_of(columns: tuple[Column, ...]) -> Any:
    return pa.schema(map(arrow_field, columns))


def read_copy(entry: CacheEntry, names: Sequence[str]) -> Table | None:
    """
    These columns of the copy of a cache file; None without a sound copy of just its bytes.

    The cells stay in the mapped file: only those that are used are read from the disk.
    """
    path = entry.copy_path
    if path is None:
        return None
    try:
        # PyArrow's own mapping would ask the disk for all columns of a batch.
        with open(path, "rb") as file:  # noqa: PTH123 - a Path takes longer to make than to open
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            status = os.fstat(file.fileno())
        reader = ipc.open_file(pa.py_buffer(mapped))
        return _sound(reader, entry, names, _checked_columns(path, status, entry))
    except FileNotFoundError:
        return None
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
    ) as error:
        _LOGGER.debug("%s is damaged, and made anew: %s", path, error)
        return None


def _checked_columns(path: str, status: os.stat_result, entry: CacheEntry) -> set[str]:
    """The columns of this version of a copy that were compared with their checksums, to be added to."""
    version = (
        *(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
        *(entry.sha256, entry.facts.rows),
    )
    # On Windows the ctime is that of the creation.
    if os.name == "nt" or time.time_ns() - status.st_ctime_ns < TICK_NS:
        return set()
    known = _CHECKED.get(path)
    if known is None or known[0] != version:
        if len(_CHECKED) >= _MOST_CHECKED:
            _CHECKED.clear()
        known = _CHECKED[path] = version, set()
    return known[1]


def _sound(reader: Any, entry: CacheEntry, names: Sequence[str], checked: set[str]) -> Table | None:
    """The columns, each compared with its checksum unless it was; raises for a damaged copy."""
    schema = _schema_of(entry.file.dataset.columns)
    if not reader.schema.equals(schema) or reader.schema.metadata is None:
        return None
    batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    if not checked.issuperset(names):
        note = json.loads(reader.schema.metadata[_KEY])
        if note != _note(entry, note["checksums"], entry.facts.rows):
            return None
        new = [schema.get_field_index(name) for name in names if name not in checked]
        for batch, sums in zip(batches, note["checksums"], strict=True):
            wrong = [each for each in new if _checksum(batch.column(each)) != sums[each]]
            if wrong:
                msg = f"the checksum of {schema.names[wrong[0]]} differs"
                raise ValueError(msg)
        checked.update(names)
    table = pa.Table.from_batches(batches, schema).select(names)
    return table if table.num_rows == entry.facts.rows else None


def write_copy(entry: CacheEntry, rows: Table, how: Literal["plain", "lz4", "off"]) -> None:
    """Write all *rows* of a cache file as its copy; where that fails there is none."""
    if entry.copy_path is None:
        return
    path = Path(entry.copy_path)
    part = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}{PART_SUFFIX}")
    schema = _schema_of(entry.file.dataset.columns)
    batches = list(_batches(rows, schema))
    sums = [[_checksum(column) for column in batch.columns] for batch in batches]
    # The fast levels of LZ4 leave 0.43 of the CSV, this one 0.38, and both are read equally fast.
    codec = pa.Codec("lz4", compression_level=3) if how == "lz4" else None
    options = ipc.IpcWriteOptions(compression=codec)
    note = json.dumps(_note(entry, sums, rows.num_rows)).encode()
    try:
        path.parent.mkdir(exist_ok=True)
        try:
            with (
                pa.OSFile(str(part), "wb") as sink,
                ipc.new_file(sink, schema.with_metadata({_KEY: note}), options=options) as writer,
            ):
                for batch in batches:
                    writer.write_batch(batch)
            rename(part, path)
        finally:
            remove_part(part)
    except (OSError, CacheError) as error:
        _LOGGER.debug("no Arrow copy of %s: %s", entry.path, error)


def _note(entry: CacheEntry, checksums: list[list[int]], rows: int) -> dict[str, Any]:
    """What the metadata of the copy of an entry must be."""
    return {
        "format": _FORMAT,
        "dataset": entry.file.dataset.name,
        "sha256": entry.sha256,
        "rows": rows,
        "checksums": checksums,
    }


def _batches(rows: Table, schema: Any) -> Iterator[Any]:
    """The rows in batches that share no memory with others."""
    table = rows.select(schema.names).cast(schema)
    for start in range(0, max(1, table.num_rows), _BATCH_ROWS):
        columns = [column.combine_chunks() for column in table.slice(start, _BATCH_ROWS).columns]
        yield pa.record_batch(columns, schema=schema)


def _checksum(column: Any) -> int:
    """The CRC32 of the cells of a column: no changed byte of a value leaves it as it is."""
    if column.null_count:
        # No cell is NaN, so that a null changes the sum.
        column = column.fill_null(np.nan)
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    cells = column.to_numpy(zero_copy_only=not pa.types.is_boolean(column.type))
    return int(isal_zlib.crc32(memoryview(cells).cast("B")))
