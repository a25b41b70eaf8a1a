"""File locks: one process at a time changes a cache file."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from shlex import quote

from filelock import FileLock, Timeout

from ares_notebook.cache.disk import cannot_access, remove_part
from ares_notebook.cache.store import Store
from ares_notebook.errors import CacheError, CacheUnavailable
from ares_notebook.model.files import CacheFile
from ares_notebook.runtime.progress import count

_LOGGER = logging.getLogger("DataDownloader")
_POLL_SECONDS = 0.1


@asynccontextmanager
async def locked(store: Store, file: CacheFile) -> AsyncIterator[None]:
    """
    Hold the lock of *file*, waiting for it for ``operation_timeout_seconds`` at most.

    The operating system releases the lock of a process that dies. The temporary files that it left
    are then removed.
    """
    path = store.lock_path(file)
    lock = _lock(path)
    is_waiting, began = False, time.monotonic()
    try:
        while not _acquired(lock):
            if not is_waiting:
                _LOGGER.info("another process is at work on %s; waiting for it", file.name)
                is_waiting = True
            if time.monotonic() - began > store.patience_seconds:
                msg = (
                    f"another process has been at work on {file.name} for over "
                    f"{store.patience_seconds:g} seconds, and holds {path}; if it hangs, end it: "
                    f"`fuser {quote(str(path))}` names it"
                )
                raise CacheUnavailable(msg)
            count()
            await asyncio.sleep(_POLL_SECONDS)
    except OSError as error:
        raise cannot_access(path, error) from error
    try:
        # Another process may have changed the file before we had the lock.
        store.refresh_file(file)
        for part in store.parts(file) if is_waiting else ():
            remove_part(part)
        yield
    finally:
        lock.release()


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the lock at *path* without waiting; yields whether it was free."""
    lock = _lock(path)
    try:
        is_ours = _acquired(lock)
    except OSError as error:
        raise cannot_access(path, error) from error
    try:
        yield is_ours
    finally:
        if is_ours:
            lock.release()


def sweep(store: Store) -> None:
    """Remove temporary files that a killed process left; those of a running one are locked."""
    for part in store.parts():
        try:
            with held(store.lock_of_part(part)) as is_ours:
                if is_ours:
                    remove_part(part)
        except CacheError as error:
            _LOGGER.warning("a temporary file stays: %s", error)


def _lock(path: Path) -> FileLock:
    # Acquired in one task and released in the context of another thread: not thread-local.
    return FileLock(path, thread_local=False)


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
