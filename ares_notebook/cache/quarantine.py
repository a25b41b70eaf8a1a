"""Damaged and altered files: detected by their bytes, quarantined with a note, salvaged."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ares_notebook.cache.disk import (
    cannot_access,
    file_sha256,
    flush_to_disk,
    put_text,
    rename,
)
from ares_notebook.cache.entry import CacheEntry, Receipt, Source
from ares_notebook.cache.store import Store
from ares_notebook.errors import CacheError, CorruptFile
from ares_notebook.model.facts import Facts, Trouble
from ares_notebook.model.files import CacheFile, parse_file_name

if TYPE_CHECKING:
    from ares_notebook.model.rows import Table

_LOGGER = logging.getLogger("DataDownloader")
# A colon is not allowed in a file name on Windows.
_STAMP = "%Y%m%dT%H%M%S%f"


def compared(store: Store, entry: CacheEntry) -> CacheEntry:
    """
    The entry after its bytes were compared with its receipt; writes nothing.

    A change that left size and time as they were is found only here. The file then counts as
    altered.
    """
    receipt = store.receipt(entry.file)
    if entry.path is None or receipt is None or not entry.is_remembered:
        # If size and time do not match, the bytes have just been read.
        return entry
    try:
        is_sound = file_sha256(entry.path) == receipt.sha256
    except FileNotFoundError:
        is_sound = False
    except OSError as error:
        raise cannot_access(entry.path, error) from error
    if entry.sha256 not in (None, receipt.sha256) or not (
        is_sound or _is_of(store, receipt, entry)
    ):
        # A download has replaced the file meanwhile, or it was deleted.
        store.refresh_file(entry.file)
        return replace(store.entry(entry.file), neighbours=entry.neighbours)
    if is_sound:
        return entry
    from ares_notebook.cache.reader import examined  # noqa: PLC0415 - few files are altered

    return replace(
        examined(entry.file, entry.path),
        is_altered=True,
        absences=entry.absences,
        trouble=entry.trouble,
        recorded_end_ms=entry.recorded_end_ms,
        recorded_rows=entry.recorded_rows,
        neighbours=entry.neighbours,
    )


def _is_of(store: Store, receipt: Receipt, entry: CacheEntry) -> bool:
    """Whether a receipt is still the stored one, and the file has the size and time that it names."""
    path = entry.path
    try:
        status = path.stat() if path else None
    except OSError:
        return False
    identity = (status.st_size, status.st_mtime_ns) if status else None
    return identity == (receipt.size, receipt.mtime_ns) and store.receipt(entry.file) == receipt


def verified(store: Store, entry: CacheEntry) -> CacheEntry:
    """
    The entry as `compared` returns it; a receipt or note that differs from the bytes is struck.

    Everyone then finds the file altered, and the next download replaces it.
    """
    receipt = store.receipt(entry.file)
    found = compared(store, entry)
    if not entry.is_remembered:
        store.strike_note(found)
        return found
    if receipt is None or not found.is_altered or not _is_of(store, receipt, entry):
        return found
    _LOGGER.warning(
        "%s differs from its receipt, although size and time agree; the next download of its "
        "period replaces it",
        entry.file.name,
    )
    try:
        # Without a time the receipt matches no file until its bytes are read.
        store.write_receipt(replace(receipt, mtime_ns=None))
    except CacheError as error:
        _LOGGER.warning("that could not be recorded, so others may still trust it: %s", error)
    return found


def quarantine_copy(store: Store, entry: CacheEntry) -> None:
    """Copy an altered file to the quarantine before a new version replaces it."""
    if entry.path is None:
        return
    why = f"the bytes of {entry.path} are not those of its receipt"
    try:
        copy = quarantine(quarantine_of(store.folder), entry.path, why, keep=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_access(entry.path, error) from error
    _LOGGER.warning("%s; a copy of it is in %s", why, copy)


def quarantine_entry(store: Store, entry: CacheEntry) -> None:
    """
    Move a damaged file to the quarantine; its salvaged rows stay until a whole file replaces them.

    Of a file in a period that is proven to have no rows, nothing stays.
    """
    from ares_notebook.model.rows import lines_of  # noqa: PLC0415 - few files are damaged

    if entry.path is None:
        return
    why = entry.problem or f"by its receipt there are no rows in the period of {entry.path}"
    rows = salvage(entry.path, entry.file)
    try:
        moved = quarantine(quarantine_of(store.folder), entry.path, why)
    except OSError as error:
        raise cannot_access(entry.path, error) from error
    _LOGGER.warning("%s; it is in %s now", why, moved)
    store.set_path(entry.file, None)
    if entry.problem is None:
        store.update_receipt(replace(entry, on_disk=None, facts=Facts()), final=True)
        return
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with store.writer(entry.file) as writer:
        writer.write_lines(lines_of(entry.file.dataset, rows))
        store.commit(
            writer,
            sources=(Source("salvaged", moved.name, at),),
            absences=entry.absences,
            final=False,
            ended_ms=entry.recorded_end_ms,
        )
    words = f"{entry.problem}; it is in {moved.relative_to(store.folder)}"
    store.record_failure(entry.file, Trouble("corrupt, quarantined", words, at))


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A damaged file in the quarantine."""

    path: Path
    # The cache file that it was.
    file: CacheFile
    # When it was quarantined, aware UTC.
    at: datetime

    @property
    def note(self) -> Path:
        """The file that states the reason."""
        return _note_of(self.path)


def quarantine_of(folder: Path) -> Path:
    """The quarantine of the cache in *folder*."""
    return folder / ".ares" / "quarantine"


def quarantine(folder: Path, path: Path, why: str, *, keep: bool = False) -> Path:
    """Move a damaged file to the quarantine *folder*, or copy it (*keep*), with a note of why."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    target = folder / f"{path.name}.{now:{_STAMP}}"
    note = {"file": path.name, "why": why, "at": now.isoformat(timespec="seconds")}
    put_text(_note_of(target), json.dumps(note, indent=1) + "\n")
    if keep:
        shutil.copy2(path, target)
        flush_to_disk(target)
    else:
        rename(path, target)
    flush_to_disk(folder)
    return target


def quarantined(folder: Path) -> Iterator[Quarantined]:
    """The files in a quarantine, ordered by name; files with foreign names are left out."""
    try:
        # listdir, not iterdir: a note and its file are one.
        names = {name.removesuffix(".json") for name in os.listdir(folder)}  # noqa: PTH208
    except FileNotFoundError:
        return
    for name in sorted(names):
        stem, _, stamp = name.rpartition(".")
        file = parse_file_name(stem)
        if file is None:
            continue
        try:
            at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
        except ValueError:
            continue
        yield Quarantined(folder / name, file, at)


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def salvage(path: Path, file: CacheFile) -> Table:
    """
    The readable rows of a damaged file that lie in its period, ascending, each key once.

    They are used until a whole file replaces them. The file is read as a whole.
    """
    # Slow to import, and few files are damaged.
    from ares_notebook.cache.reader import read_legacy  # noqa: PLC0415
    from ares_notebook.model.rows import between, empty_rows, in_scale  # noqa: PLC0415

    nothing = empty_rows(file.dataset)
    if path.name.endswith(".zst"):
        # What follows a broken block of compression cannot be found again.
        return nothing
    try:
        rows = read_legacy(path, file.dataset)
    except CorruptFile:
        return nothing
    if any(rows[column.name].null_count for column in file.dataset.columns):
        # An old file is measured as it is, and its rows cannot be mixed with others.
        return nothing
    return in_scale(file.dataset, between(rows, file.start_ms, file.end_ms))
