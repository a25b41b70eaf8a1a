"""What the file system of a cache folder can do, and what lies there that nobody uses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp

from ares_notebook.cache.disk import cannot_access, flush, put_text
from ares_notebook.cache.entry import COPIES, COPY_SUFFIX
from ares_notebook.cache.locks import held
from ares_notebook.cache.quarantine import quarantine_of, quarantined
from ares_notebook.cache.store import Store
from ares_notebook.errors import CacheError
from ares_notebook.settings import Settings


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """What was found of a cache folder; a problem is empty where there is none."""

    folder: Path
    is_there: bool
    # Files can be made, renamed and deleted.
    write_problem: str = ""
    flush_problem: str = ""
    # Of the folder itself, which some file systems cannot flush.
    folder_flush_problem: str = ""
    lock_problem: str = ""
    market_problem: str = ""
    free_bytes: int = 0
    files: int = 0
    # Temporary files that no running process holds, and Arrow copies of files that are gone.
    orphans: int = 0
    orphan_bytes: int = 0
    quarantined: int = 0
    quarantined_bytes: int = 0
    # When the oldest of them was quarantined, aware UTC.
    oldest_at: datetime | None = None


def probe_folder(settings: Settings) -> FolderFacts:
    """Try the file system at the cache folder, in a folder of its own that is removed, and count."""
    folder = settings.cache_dir
    facts = FolderFacts(folder, folder.is_dir())
    nearest = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    try:
        facts = replace(facts, free_bytes=shutil.disk_usage(nearest).free)
        trial = Path(mkdtemp(prefix=".ares-doctor-", dir=nearest))
    except OSError as error:
        return replace(facts, write_problem=str(cannot_access(folder, error)))
    try:
        facts = _tried(facts, trial)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    return _counted(facts, Store(settings)) if facts.is_there else facts


def _tried(facts: FolderFacts, trial: Path) -> FolderFacts:
    """Write, replace, flush and lock in the folder *trial*."""
    file = trial / "file"
    try:
        put_text(file, "1")
        # The second replaces the first, as a new version of a cache file does.
        put_text(file, "2")
        if file.read_text(encoding="utf-8") != "2":
            return replace(facts, write_problem=f"{trial.parent} does not replace files")
    except (CacheError, OSError) as error:
        return replace(facts, write_problem=str(error))
    return replace(
        facts,
        flush_problem=_fault_of_flush(file),
        folder_flush_problem=_fault_of_flush(trial),
        lock_problem=_fault_of_locks(trial / "lock"),
    )


def _fault_of_flush(path: Path) -> str:
    try:
        flush(path)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _fault_of_locks(path: Path) -> str:
    """Why a lock that is held does not keep a second one out."""
    try:
        with held(path) as is_first, held(path) as is_second:
            if is_first and not is_second:
                return ""
    except CacheError as error:
        return str(error)
    return "two held one lock at once" if is_second else "a new lock could not be taken"


def _counted(facts: FolderFacts, store: Store) -> FolderFacts:
    """Count what lies in the folder."""
    try:
        store.refuse_another()
        files = store.files()
    except (CacheError, OSError) as error:
        return replace(facts, market_problem=str(error))
    orphans = [*filter(_is_stale(store), store.parts()), *_copies_of_nothing(store)]
    damaged = list(quarantined(quarantine_of(store.folder)))
    return replace(
        facts,
        files=sum(1 for file in files if store.path_of(file) is not None),
        orphans=len(orphans),
        orphan_bytes=_bytes_of(orphans),
        quarantined=len(damaged),
        quarantined_bytes=_bytes_of(each.path for each in damaged),
        oldest_at=min((each.at for each in damaged), default=None),
    )


def _is_stale(store: Store) -> Callable[[Path], bool]:
    """Whether no running process holds the lock of the file that a temporary file is of."""

    def is_stale(part: Path) -> bool:
        lock = store.lock_of_part(part)
        if not lock.exists():
            return True
        try:
            with held(lock) as is_free:
                return is_free
        except CacheError:
            return False

    return is_stale


def _copies_of_nothing(store: Store) -> list[Path]:
    """Arrow copies whose cache file is gone."""
    folder = store.folder / COPIES
    copies = folder.glob(f"*{COPY_SUFFIX}")
    return [each for each in copies if not (store.folder / each.name[: -len(COPY_SUFFIX)]).exists()]


def _bytes_of(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        # Another process may have deleted it.
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
