"""
Arrow copies of cache files: the same rows as numbers, mapped into memory instead of parsed.

A copy is never authority. Its metadata name the sha256 of the file that it was made from, so that
it counts only while a receipt vouches for just that file; each column of each batch has a checksum,
which is compared before a value is used. Without a sound copy the file itself is parsed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from threading import get_ident
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from isal import isal_zlib
from pyarrow import ipc

from ares_notebook.cache.disk import PART_SUFFIX, remove_part, rename
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.errors import CacheError
from ares_notebook.model.columns import Column
from ares_notebook.model.rows import Table

_LOGGER = logging.getLogger("DataDownloader")
_FORMAT = 1
# A month of one-minute candles is one batch, a day of a million trades sixteen.
_BATCH_ROWS = 1 << 16
_KEY = b"ares"


def arrow_field(column: Column) -> Any:
    """A column as copies and Arrow tables have it; a null stands for an empty cell."""
    types = {"time": pa.timestamp("us", "UTC"), "integer": pa.int64(), "flag": pa.bool_()}
    return pa.field(column.name, types.get(column.kind, pa.float64()))


def read_copy(entry: CacheEntry, names: Sequence[str]) -> Table | None:
    """
    These columns of the copy of a cache file; None without a sound copy of just its bytes.

    The cells stay in the mapped file: only those that are used are read from the disk.
    """
    path = entry.copy_path
    if path is None:
        return None
    try:
        with pa.memory_map(str(path)) as mapped:
            return _sound(ipc.open_file(mapped), entry, names)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        _LOGGER.debug("%s is damaged, and made anew: %s", path, error)
        return None


def _sound(reader: Any, entry: CacheEntry, names: Sequence[str]) -> Table | None:
    """The columns, each compared with its checksum; raises for a damaged copy."""
    schema = pa.schema(map(arrow_field, entry.file.dataset.columns))
    if not reader.schema.equals(schema) or reader.schema.metadata is None:
        return None
    [note] = [json.loads(reader.schema.metadata[_KEY])]
    if note != _note(entry, note["checksums"], entry.facts.rows):
        return None
    at = [schema.get_field_index(name) for name in names]
    batches = []
    for number, sums in zip(range(reader.num_record_batches), note["checksums"], strict=True):
        batch = reader.get_batch(number)
        for each in at:
            if _checksum(batch.column(each)) != sums[each]:
                msg = f"the checksum of {schema.names[each]} in batch {number} differs"
                raise ValueError(msg)
        batches.append(batch.select(names))
    table = pa.Table.from_batches(batches, pa.schema([schema.field(each) for each in at]))
    return table if table.num_rows == entry.facts.rows else None


def write_copy(entry: CacheEntry, rows: Table, how: Literal["plain", "lz4", "off"]) -> None:
    """Write all *rows* of a cache file as its copy; where that fails there is none."""
    path = entry.copy_path
    if path is None:
        return
    part = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}{PART_SUFFIX}")
    schema = pa.schema(map(arrow_field, entry.file.dataset.columns))
    batches = list(_batches(rows, schema))
    sums = [[_checksum(column) for column in batch.columns] for batch in batches]
    options = ipc.IpcWriteOptions(compression="lz4" if how == "lz4" else None)
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
