"""The names in a cache folder, remembered while the folder does not change."""

from __future__ import annotations

import os
import time
from bisect import bisect_left, insort
from dataclasses import dataclass
from pathlib import Path

from ares_notebook.cache.disk import TICK_NS, cannot_access

# On Windows not every file system stamps a folder into which a file was put.
_FOLDERS_ARE_STAMPED = os.name != "nt"


@dataclass(slots=True)
class CacheListing:
    """The names in a cache folder."""

    # The names on disk of the cache files, by their names without compression.
    on_disk: dict[str, str]
    # Names of the files that have a receipt.
    receipts: set[str]
    # Both, in order.
    names: list[str]

    def copy(self) -> CacheListing:
        """An independent copy."""
        return CacheListing(self.on_disk.copy(), self.receipts.copy(), self.names.copy())

    def set_file(self, name: str, on_disk: str | None) -> None:
        """Record the file's name on disk, or (None) that the file is gone."""
        if on_disk is not None:
            self._add(name)
            self.on_disk[name] = on_disk
        elif self.on_disk.pop(name, None) is not None and name not in self.receipts:
            del self.names[bisect_left(self.names, name)]

    def add_receipt(self, name: str) -> None:
        """Record that the file has a receipt."""
        self._add(name)
        self.receipts.add(name)

    def _add(self, name: str) -> None:
        if name not in self.on_disk and name not in self.receipts:
            insort(self.names, name)

    def beginning(self, prefix: str) -> list[str]:
        """The names that begin with *prefix*, in order."""
        names = self.names
        first = bisect_left(names, prefix)
        end = bisect_left(names, True, lo=first, key=lambda name: not name.startswith(prefix))
        return names[first:end]


# The identity of a folder, and when it was last changed.
_FolderState = tuple[int, ...]
_known: dict[tuple[Path, Path], tuple[list[_FolderState], CacheListing]] = {}


def list_cache(folder: Path, receipts: Path) -> CacheListing:
    """The names in a cache folder and in its folder of receipts; the plain form of a file wins."""
    now_ns = time.time_ns()
    states = [_state_of(folder), _state_of(receipts)]
    known = _known.get((folder, receipts))
    if known is not None and known[0] == states:
        return known[1]
    # Only one cache is remembered, so that memory does not grow.
    _known.clear()
    names = [name for name in _names_in(folder) if not name.startswith(".")]
    on_disk = {name.removesuffix(".zst"): name for name in names if name.endswith(".csv.zst")}
    on_disk.update((name, name) for name in names if name.endswith(".csv"))
    notes = [name for name in _names_in(receipts) if name.endswith(".json")]
    with_receipt = {name.removesuffix(".json") for name in notes}
    listing = CacheListing(on_disk, with_receipt, sorted(on_disk.keys() | with_receipt))
    is_settled = all(now_ns - max(each[:2], default=now_ns) > TICK_NS for each in states)
    if _FOLDERS_ARE_STAMPED and is_settled:
        _known[folder, receipts] = states, listing
    return listing


def _state_of(folder: Path) -> _FolderState:
    try:
        status = folder.stat()
    except OSError:
        # Listing the folder raises the error.
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _names_in(folder: Path) -> list[str]:
    try:
        # listdir, not iterdir: of 100,000 names no path is needed.
        return os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot_access(folder, error) from error
