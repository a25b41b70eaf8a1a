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

from ares_notebook.cache.disk import PART_SUFFIX, cannot_access
from ares_notebook.cache.reader import read_rows
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.facts import Facts, Gap
from ares_notebook.model.files import CacheFile
from ares_notebook.model.measure import Measure
from ares_notebook.model.rows import Lines, Table, keys_of
from ares_notebook.model.time import next_open_ms

__all__ = ["FileWriter", "Patch", "spliced"]


class FileWriter:
    """
    A temporary sibling of a cache file, to be put in its place when it is whole.

    A context manager: what was not moved away when it closes is removed. Rows must come in
    ascending order of their key, each once.
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
        # Named, not mkstemp: that makes files of mode 0600, which the rename
        # would hand on to the cache.
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
        # What passes through our own write() is hashed, compressed or not.
        self._sink: Any = self
        if compressed:
            import pyarrow as pa  # noqa: PLC0415 - slow to import, and few compress

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
            # The disk is full and a buffer cannot go: the part is removed anyway,
            # and the first error is the one to hear of.
            if error is None:
                raise
        finally:
            self.path.unlink(missing_ok=True)

    @property
    def facts(self) -> Facts:
        """What the rows written so far prove."""
        return self._measure.facts()

    @property
    def told_hours(self) -> dict[int, int]:
        """The pace of funding that the archive told with its rows; see `Measure.told_hours`."""
        return self._measure.told_hours()

    @property
    def sha256(self) -> str:
        """Of the bytes on disk."""
        return self._digest.hexdigest()

    def write_lines(self, lines: Lines) -> None:
        """Append rows; of those of an old file only its columns."""
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
        shown = lines if is_whole else lines.narrowed(len(self.columns))
        try:
            self._sink.write(shown.text)
        except OSError as error:
            raise cannot_access(self.path, error) from error

    def write_all(self, lines: Iterable[Lines]) -> None:
        """Append all of *lines* and finish writing."""
        for each in lines:
            self.write_lines(each)
        self.close()

    def close(self) -> None:
        """Finish writing; the file stays a temporary one until it is moved."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._sink is not self:
                self._sink.close()
            self._raw.close()
        except OSError as error:
            raise cannot_access(self.path, error) from error

    # What PyArrow asks of a file.
    closed = False

    def write(self, data: bytes) -> int:
        """Write and hash bytes; called by PyArrow."""
        self._digest.update(data)
        return self._raw.write(data)

    def flush(self) -> None:
        """Flush to the operating system; called by PyArrow."""
        if not self._raw.closed:
            self._raw.flush()


_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Patch:
    """Rows fetched for a gap, in a temporary file."""

    gap: Gap
    # Written to its end, and never of no rows.
    part: FileWriter

    @property
    def keys(self) -> tuple[int, int]:
        """
        First key, and the key after the last, of what this may replace.

        For candles to the end of the last one: one off the grid may lie in it. An id
        or a funding hour can only be the same row again.
        """
        facts = self.part.facts
        first_ms, last_ms = facts.first_ms or 0, facts.last_ms or 0
        match self.part.file.dataset.key:
            case "id":
                return facts.first_id or 0, (facts.last_id or 0) + 1
            case "open_time":
                end_ms = next_open_ms(self.part.file.series.interval or "", last_ms)
                return first_ms * 1000, end_ms * 1000
            case "event_time":
                return first_ms // _HOUR_MS, last_ms // _HOUR_MS + 1


def spliced(dataset: Dataset, base: Iterable[Table], patches: Iterable[Patch]) -> Iterator[Table]:
    """The rows of *base* with those of *patches* in their places, ascending."""
    waiting = sorted(patches, key=lambda patch: patch.keys)
    # The patch that has been reached, and the rows of the base that lie in its extent.
    reached: Patch | None = None
    under: list[Table] = []
    for whole in base:
        table = whole
        while table.num_rows:
            if reached is not None:
                cut = _position(dataset, table, reached.keys[1])
                under.append(table.slice(0, cut))
                table = table.slice(cut)
                if not table.num_rows:
                    break
                yield from _laid_over(reached, under)
                reached, under = None, []
            cut = _position(dataset, table, waiting[0].keys[0]) if waiting else table.num_rows
            yield table.slice(0, cut)
            table = table.slice(cut)
            if table.num_rows:
                reached = waiting.pop(0)
    if reached is not None:
        yield from _laid_over(reached, under)
    for patch in waiting:
        yield from read_rows(patch.part.path, patch.part.file)


def _laid_over(patch: Patch, under: list[Table]) -> Iterator[Table]:
    """The patch, with those rows under it that none of its own replaces."""
    below = pa.concat_tables(under)
    if not below.num_rows or not patch.part.file.dataset.has_interval:
        # An id or a funding hour can only be the same row again.
        yield from read_rows(patch.part.path, patch.part.file)
        return
    # Candles off the grid (February 2018) give way to one that opens in their place,
    # and stay where the exchange has none. They are few, and so is what lies over them.
    above = pa.concat_tables(read_rows(patch.part.path, patch.part.file))
    is_replaced = np.isin(_slots(patch.part.file, below), _slots(patch.part.file, above))
    kept = below.filter(pa.array(~is_replaced))
    yield pa.concat_tables([above, kept]).sort_by("timestamp")


def _slots(file: CacheFile, table: Table) -> npt.NDArray[np.int64]:
    """For each candle the open time, on the grid, in whose place it stands."""
    opens_us = np.asarray(file.opens(file.grid_end_ms)) * 1000
    at = np.searchsorted(opens_us, keys_of(file.dataset, table), side="right") - 1
    slots: npt.NDArray[np.int64] = opens_us[np.maximum(at, 0)]
    return slots


def _position(dataset: Dataset, table: Table, key: int) -> int:
    return int(np.searchsorted(keys_of(dataset, table), key))
