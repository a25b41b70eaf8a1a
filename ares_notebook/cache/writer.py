"""Write a new version of a cache file to a temporary file, whole or in patches."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ares_notebook.cache.disk import PART_SUFFIX, cannot_access, remove_part
from ares_notebook.cache.reader import read_rows
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.facts import Facts, Gap
from ares_notebook.model.files import CacheFile
from ares_notebook.model.measure import Measure
from ares_notebook.model.rows import Lines, Table, keys_of
from ares_notebook.model.time import next_open_ms

_HOUR_MS = 3_600_000


class FileWriter:
    """
    A new version of a cache file in a temporary file, to be renamed into place when it is whole.

    A context manager that removes the temporary file unless it was renamed. Rows must be written
    in ascending order of their keys, each once.
    """

    def __init__(
        self,
        file: CacheFile,
        folder: Path,
        *,
        compressed: bool,
        columns: Sequence[str] | None = None,
    ) -> None:
        self.file = file
        self.columns = list(columns or file.dataset.column_names)
        self.compressed = compressed
        suffix = ".zst" if compressed else ""
        # Not mkstemp: it makes files of mode 0600, which the rename would keep.
        name = f".{file.name}{suffix}.{secrets.token_hex(4)}{PART_SUFFIX}"
        self.path = folder / name
        self._digest = hashlib.sha256()
        self._measure = Measure(file)
        self._last_key: int | None = None
        self._closed = False
        try:
            self._raw = self.path.open("xb")
        except OSError as error:
            raise cannot_access(self.path, error) from error
        # Our own write() hashes all bytes, compressed or not.
        self._sink: Any = self
        if compressed:
            self._sink = pa.CompressedOutputStream(pa.PythonFile(self, "w"), "zstd")
        self._sink.write((",".join(self.columns) + "\n").encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._raw.close()
        except OSError:
            # The disk is full and a buffer cannot be flushed: only the first error is raised.
            if error is None:
                raise
        finally:
            remove_part(self.path)

    @property
    def facts(self) -> Facts:
        """What the rows written so far prove."""
        return self._measure.facts()

    @property
    def stated_hours(self) -> dict[int, int]:
        """The funding pace that the archive states with its rows; see `Measure.stated_hours`."""
        return self._measure.stated_hours()

    @property
    def sha256(self) -> str:
        """The sha256 of the bytes on disk."""
        return self._digest.hexdigest()

    def write_lines(self, lines: Lines) -> None:
        """Append rows; only in the columns of this file."""
        if not len(lines):
            return
        keys = lines.keys
        after = -1 if self._last_key is None else self._last_key
        if keys[0] <= after or not bool(np.all(np.diff(keys) > 0)):
            msg = f"rows for {self.file.name} are not in order; nothing of them is stored, run again later"
            raise BadAnswer(msg)
        self._last_key = int(keys[-1])
        self._measure.add(keys, lines.stamps_us // 1000, lines.hours)
        is_whole = len(self.columns) == len(self.file.dataset.columns)
        text = (lines if is_whole else lines.narrowed(len(self.columns))).text
        try:
            self._sink.write(text)
        except OSError as error:
            raise cannot_access(self.path, error) from error

    def write_all(self, lines: Iterable[Lines]) -> None:
        """Append all *lines* and finish writing."""
        for each in lines:
            self.write_lines(each)
        self.close()

    def close(self) -> None:
        """Finish writing; the file stays a temporary one until it is renamed."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._sink is not self:
                self._sink.close()
            self._raw.close()
        except OSError as error:
            raise cannot_access(self.path, error) from error

    # What PyArrow requires of a file.
    closed = False

    def write(self, data: bytes) -> int:
        """Write and hash bytes; called by PyArrow."""
        self._digest.update(data)
        return self._raw.write(data)

    def flush(self) -> None:
        """Flush to the operating system; called by PyArrow."""
        if not self._raw.closed:
            self._raw.flush()


@dataclass(frozen=True, slots=True)
class Patch:
    """Rows fetched for a gap, in a temporary file."""

    gap: Gap
    # Closed, and never without rows.
    writer: FileWriter

    @property
    def keys(self) -> tuple[int, int]:
        """
        The half-open range of keys that the patch may replace.

        For candles up to the end of the last one: one off the grid may lie in it. An id or a
        funding hour can only be the same row again.
        """
        facts, file = self.writer.facts, self.writer.file
        first_ms, last_ms = facts.first_ms or 0, facts.last_ms or 0
        match file.dataset.key:
            case "id":
                return facts.first_id or 0, (facts.last_id or 0) + 1
            case "open_time":
                end_ms = next_open_ms(file.series.interval or "", last_ms)
                return first_ms * 1000, end_ms * 1000
            case "event_time":
                return first_ms // _HOUR_MS, last_ms // _HOUR_MS + 1

    def rows(self) -> Iterator[Table]:
        """Its rows, block by block."""
        return read_rows(self.writer.path, self.writer.file)


def spliced(dataset: Dataset, base: Iterable[Table], patches: Iterable[Patch]) -> Iterator[Table]:
    """The rows of *base* with those of *patches* inserted, ascending."""
    rows = _Rows(dataset, base)
    for patch in sorted(patches, key=lambda patch: patch.keys):
        first, end = patch.keys
        yield from rows.before(first)
        yield from _overlaid(patch, list(rows.before(end)))
    yield from rows.before(None)


class _Rows:
    """Tables of ascending rows, taken up to one key after the other."""

    def __init__(self, dataset: Dataset, tables: Iterable[Table]) -> None:
        self._dataset = dataset
        self._tables = iter(tables)
        self._pending: list[Table] = []

    def before(self, key: int | None) -> Iterator[Table]:
        """Take the next rows up to *key*, or all."""
        while (table := self._next()) is not None:
            keys = keys_of(self._dataset, table)
            cut = len(keys) if key is None else int(np.searchsorted(keys, key))
            if cut < len(keys):
                self._pending.append(table.slice(cut))
            yield table.slice(0, cut)
            if self._pending:
                return

    def _next(self) -> Table | None:
        return self._pending.pop() if self._pending else next(self._tables, None)


def _overlaid(patch: Patch, base: Sequence[Table]) -> Iterator[Table]:
    """The rows of the patch, with the rows of *base* in its range that it does not replace."""
    file = patch.writer.file
    if not file.dataset.has_grid or not any(table.num_rows for table in base):
        yield from patch.rows()
        return
    # Candles off the grid (February 2018) are replaced by one that opens in their slot, and stay
    # where the exchange has none. They are few, and so are the rows of the patch over them.
    old, new = pa.concat_tables(base), pa.concat_tables(patch.rows())
    is_replaced = np.isin(_slots(file, old), _slots(file, new))
    kept = old.filter(pa.array(~is_replaced))
    yield pa.concat_tables([new, kept]).sort_by("timestamp")


def _slots(file: CacheFile, table: Table) -> npt.NDArray[np.int64]:
    """The open time, on the grid, of the slot of each candle."""
    opens_us = np.asarray(file.opens(file.grid_end_ms)) * 1000
    at = np.searchsorted(opens_us, keys_of(file.dataset, table), side="right") - 1
    slots: npt.NDArray[np.int64] = opens_us[np.maximum(at, 0)]
    return slots
