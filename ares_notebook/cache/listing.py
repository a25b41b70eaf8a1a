"""
What lies in a cache folder, by name.

To list 100,000 names takes a tenth of a second, and a notebook asks again and again:
what was listed is remembered in memory while the folders say of themselves that nothing
was added to them or taken away.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left, insort
from dataclasses import dataclass
from pathlib import Path

from ares_notebook.cache.disk import cannot_access

__all__ = ["CacheListing", "list_cache"]

# The coarsest clock of a file system (FAT) ticks so; what changed within a tick shows no change.
_TICK_NS = 2_000_000_000
# On Windows not every file system stamps a folder in which a file was put.
_FOLDERS_ARE_STAMPED = os.name != "nt"


@dataclass(slots=True)
class CacheListing:
    """The names in a cache folder."""

    # Cache files by name without compression: how they are called on disk.
    there: dict[str, str]
    # Names of the files that have a receipt.
    noted: set[str]
    # Both, in order.
    names: list[str]

    def copy(self) -> CacheListing:
        """Another one, that can be changed without this one."""
        return CacheListing(self.there.copy(), self.noted.copy(), self.names.copy())

    def put(self, name: str, on_disk: str | None) -> None:
        """Take note that a file lies there now, or (None) not any more."""
        if on_disk is not None:
            self._add(name)
            self.there[name] = on_disk
        elif self.there.pop(name, None) is not None and name not in self.noted:
            del self.names[bisect_left(self.names, name)]

    def note(self, name: str) -> None:
        """Take note that a file has a receipt now."""
        self._add(name)
        self.noted.add(name)

    def look(self, name: str, folder: Path, receipts: Path) -> None:
        """Take note of how one file lies there by now; the plain form wins."""
        forms = (form for form in (name, f"{name}.zst") if os.path.lexists(folder / form))
        self.put(name, next(forms, None))
        if os.path.lexists(receipts / f"{name}.json"):
            self.note(name)

    def _add(self, name: str) -> None:
        if name not in self.there and name not in self.noted:
            insort(self.names, name)

    def beginning(self, prefix: str) -> list[str]:
        """The names that begin so, in order."""
        names = self.names
        first = bisect_left(names, prefix)
        end = bisect_left(names, True, lo=first, key=lambda name: not name.startswith(prefix))
        return names[first:end]


# When a folder was changed last, as it says itself, and which folder it is.
_State = tuple[int, ...]
_known: dict[tuple[Path, Path], tuple[list[_State], CacheListing]] = {}


def list_cache(folder: Path, receipts: Path) -> CacheListing:
    """The names in a cache folder and in that of its receipts."""
    now_ns = time.time_ns()
    states = [_state_of(folder), _state_of(receipts)]
    known = _known.get((folder, receipts))
    if known is not None and known[0] == states:
        return known[1]
    # Only one cache is remembered, that memory does not grow.
    _known.clear()
    listing = _listed(folder, receipts)
    if _FOLDERS_ARE_STAMPED and all(_is_settled(each, now_ns) for each in states):
        _known[folder, receipts] = states, listing
    return listing


def _state_of(folder: Path) -> _State:
    try:
        status = folder.stat()
    except OSError:
        # Who lists it tells why.
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _is_settled(state: _State, now_ns: int) -> bool:
    return now_ns - max(state[:2], default=now_ns) > _TICK_NS


def _listed(folder: Path, receipts: Path) -> CacheListing:
    """Look at the disk; the plain file wins where both forms are there."""
    names = [name for name in _names_in(folder) if not name.startswith(".")]
    there = {name.removesuffix(".zst"): name for name in names if name.endswith(".csv.zst")}
    there.update((name, name) for name in names if name.endswith(".csv"))
    noted = {name.removesuffix(".json") for name in _names_in(receipts) if name.endswith(".json")}
    return CacheListing(there, noted, sorted(there.keys() | noted))


def _names_in(folder: Path) -> list[str]:
    try:
        # listdir, not iterdir: of 100,000 names no path is needed.
        return os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot_access(folder, error) from error
