"""Files that are not what they should be: seen by their bytes, believed by nobody, put aside."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from msgspec.structs import replace

from ares_notebook.cache.disk import cannot_access, file_sha256
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.receipts import Source
from ares_notebook.cache.store import Store
from ares_notebook.errors import CacheError
from ares_notebook.model.facts import Facts, Trouble
from ares_notebook.model.files import CacheFile

__all__ = ["quarantine_copy", "quarantine_entry", "verified"]

_LOGGER = logging.getLogger("DataDownloader")


def verified(store: Store, entry: CacheEntry) -> CacheEntry:
    """
    The same, its bytes read and compared with its receipt.

    Size and time tell nearly every change; what a disk or a hand has changed behind their back
    shows only here. From then on nobody believes size and time, and the next download replaces the
    file.
    """
    receipt = store.receipt(entry.file)
    if entry.path is None or receipt is None or not entry.is_remembered:
        # Without a match of size and time the bytes have been read just now.
        return entry
    try:
        is_same = file_sha256(entry.path) == receipt.sha256
    except FileNotFoundError:
        store.look_again(entry.file)
        return replace(store.entry(entry.file), neighbours=entry.neighbours)
    except OSError as error:
        raise cannot_access(entry.path, error) from error
    if is_same:
        return entry
    _strike(store, entry.file)
    return replace(store.entry(entry.file), neighbours=entry.neighbours, is_altered=True)


def _strike(store: Store, file: CacheFile) -> None:
    """Have nobody believe size and time of *file* again: its bytes are not those of its receipt."""
    receipt = store.receipt(file)
    if receipt is None or receipt.mtime_ns is None:
        return
    _LOGGER.warning(
        "%s is not what its receipt says, although size and time are; the next download of its "
        "period replaces it",
        file.name,
    )
    try:
        store.write_receipt(replace(receipt, mtime_ns=None))
    except CacheError as error:
        _LOGGER.warning("that could not be noted, so others may still believe it: %s", error)


def quarantine_copy(store: Store, entry: CacheEntry) -> None:
    """Keep an altered file in the quarantine, before a whole one takes its place."""
    from ares_notebook.cache.quarantine import (  # noqa: PLC0415 - slow to import
        quarantine,
        quarantine_of,
    )

    if entry.path is None:
        return
    why = f"the bytes of {entry.path} are not those of its receipt"
    try:
        moved = quarantine(quarantine_of(store.folder), entry.path, why, stays=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_access(entry.path, error) from error
    _LOGGER.warning("%s; a copy of it is in %s", why, moved)


def quarantine_entry(store: Store, entry: CacheEntry) -> None:
    """
    Move a damaged file to the quarantine; what is good in it stays, until a whole one comes.

    Of a file that lies where there is no row nothing stays.
    """
    # Slow to import, and few files are damaged.
    from ares_notebook.cache.quarantine import (  # noqa: PLC0415
        quarantine,
        quarantine_of,
        salvage,
    )
    from ares_notebook.model.rows import lines_of  # noqa: PLC0415

    if entry.path is None:
        return
    why = entry.problem or f"{entry.path} lies where there is no row, as its receipt says"
    rows = salvage(entry.path, entry.file)
    try:
        moved = quarantine(quarantine_of(store.folder), entry.path, why)
    except OSError as error:
        raise cannot_access(entry.path, error) from error
    _LOGGER.warning("%s; it is in %s now", why, moved)
    store.remember(entry.file, None)
    if entry.problem is None:
        store.note(replace(entry, on_disk=None, facts=Facts()), final=True)
        return
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with store.part(entry.file) as part:
        part.write_lines(lines_of(entry.file.dataset, rows))
        store.commit(
            part,
            sources=(Source("salvaged", moved.name, at),),
            absences=entry.absences,
            final=False,
            ended_ms=entry.noted_end_ms,
        )
    words = f"{entry.problem}; it is in {moved.relative_to(store.folder)}"
    store.record_failure(entry.file, Trouble("corrupt, quarantined", words, at))
