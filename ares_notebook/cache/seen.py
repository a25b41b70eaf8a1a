"""How a file is known again: by its size and time, and where only the time is another, by its bytes."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path

from ares_notebook.cache.disk import file_sha256
from ares_notebook.cache.receipts import Receipt

__all__ = ["holds", "size_and_time", "status_of", "tell_of_change"]

_LOGGER = logging.getLogger("DataDownloader")


def status_of(path: str) -> os.stat_result | None:
    """How a file stands; None for one that has been deleted since the folder was listed."""
    try:
        return os.stat(path)  # noqa: PTH116 - asked for each of 100,000 files
    except FileNotFoundError:
        return None


def holds(receipt: Receipt, path: str, status: os.stat_result) -> bool:
    """Whether the file is still the one that the receipt was written for."""
    if status.st_size != receipt.size:
        return False
    if status.st_mtime_ns == receipt.mtime_ns:
        return True
    # A copied cache has other times and the same bytes.
    return file_sha256(Path(path)) == receipt.sha256


@lru_cache(maxsize=1024)
def tell_of_change(path: Path, mtime_ns: int) -> None:
    """Once a change, however often the file is looked at; *mtime_ns* tells changes apart."""
    _LOGGER.warning("%s has changed since its receipt was written; measured anew", path)
    _LOGGER.debug("its time is %d ns now", mtime_ns)


def size_and_time(path: Path | None) -> tuple[int | None, int | None]:
    """Size and time by which a file is known again; of no file, neither."""
    if path is None:
        return None, None
    status = path.stat()
    return status.st_size, status.st_mtime_ns
