"""The cache folder: its files, their entries, and how a new version takes its place."""

from __future__ import annotations

import logging
import os
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ares_notebook.cache.disk import (
    PART_SUFFIX,
    cannot_access,
    file_sha256,
    flush_to_disk,
    put_text,
    read_small,
)
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.market_guard import claim, refuse_another
from ares_notebook.cache.receipts import (
    Receipt,
    Source,
    holds,
    size_and_time,
    status_of,
    tell_of_change,
)
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.facts import Facts, Trouble
from ares_notebook.model.files import CacheFile, parse_file_name
from ares_notebook.model.gaps import Absence
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    from ares_notebook.cache.writer import FileWriter
    from ares_notebook.model.rows import Table

__all__ = ["CacheListing", "Store", "list_cache"]

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


_LOGGER = logging.getLogger("DataDownloader")


class Store:
    """
    The cache of one set of settings.

    Cheap to make; touches the disk only when asked something. The folder is listed once, at the
    first question, and whenever `refresh` is called.
    """

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.cache_dir
        self.patience_seconds = settings.operation_timeout_seconds
        self._place = os.fspath(self.folder)
        self._ours = self.folder / ".ares"
        self._receipts = self._ours / "receipts"
        self._market = settings.market_name
        self._compressed = settings.compression is not None
        self._found: CacheListing | None = None
        self._is_found_ours = False
        self._lock = threading.RLock()

    def prepare(self) -> None:
        """Make the folder ready to be filled."""
        try:
            self._receipts.mkdir(parents=True, exist_ok=True)
            (self._ours / "locks").mkdir(exist_ok=True)
            # Of no name, so that a killed process cannot leave it.
            TemporaryFile(dir=self._ours).close()
            self.refuse_another()
        except OSError as error:
            raise cannot_access(self.folder, error) from error

    def refuse_another(self) -> None:
        """Raise if another market filled the cache."""
        refuse_another(self.folder, self._market, self._there())

    def _there(self) -> Iterator[tuple[CacheFile, Path]]:
        """The cache files that are there, with their paths."""
        for file in self.files():
            path = self.path_of(file)
            if path is not None:
                yield file, path

    def files(self, symbol: str | None = None) -> list[CacheFile]:
        """The cache files that are there, or that a receipt tells of, in order of their names."""
        listing = self._listing()
        if symbol is None:
            return [file for file in map(parse_file_name, listing.names) if file]
        prefixes = sorted(f"{dataset.file_prefix}_{symbol}_" for dataset in DATASETS)
        names = (name for prefix in prefixes for name in listing.beginning(prefix))
        # What begins so may have a longer symbol.
        found = (file for file in map(parse_file_name, names) if file)
        return [file for file in found if file.series.symbol == symbol]

    def stamps_of(self, stem: str) -> list[str]:
        """The periods, as names carry them, of the files that begin so; in order of time."""
        listing = self._listing()
        names = (name for name in listing.beginning(f"{stem}_") if name in listing.there)
        stamps = (name.removeprefix(f"{stem}_").removesuffix(".csv") for name in names)
        return sorted(stamp for stamp in stamps if stamp[:1].isdecimal())

    def path_of(self, file: CacheFile) -> Path | None:
        """Where *file* lies, compressed or not; None when it is not there."""
        name = self._listing().there.get(file.name)
        return None if name is None else self.folder / name

    def entry(self, file: CacheFile) -> CacheEntry:
        """
        What is known of *file*: from its receipt while that holds, else measured on its rows.

        Never raises for a file that cannot be read: that is a finding.
        """
        name = self._listing().there.get(file.name)
        receipt = self.receipt(file)
        absences = receipt.absences if receipt else ()
        trouble = receipt.trouble if receipt else None
        end_ms, rows = (receipt.end_ms, receipt.facts.rows) if receipt else (None, 0)
        on_disk = f"{self._place}/{name}"
        status = status_of(on_disk) if name else None
        if status is None:
            final = bool(receipt and receipt.final and not receipt.size)
            entry = CacheEntry(file, absences=absences, final=final, trouble=trouble)
            return replace(entry, noted_end_ms=end_ms, noted_rows=rows)
        if receipt and holds(receipt, on_disk, status):
            # An earlier version noted what it had measured of a file from nowhere.
            has_provenance = bool(receipt.sources)
            return CacheEntry(
                file,
                on_disk,
                receipt.facts,
                receipt.sources,
                absences,
                receipt.final and has_provenance,
                legacy="legacy" in [source.road for source in receipt.sources],
                is_remembered=status.st_mtime_ns == receipt.mtime_ns,
                has_provenance=has_provenance,
                trouble=trouble,
                noted_end_ms=end_ms,
            )
        entry = self._measured(file, on_disk, receipt, status.st_mtime_ns)
        return replace(
            entry, absences=absences, trouble=trouble, noted_end_ms=end_ms, noted_rows=rows
        )

    def _measured(
        self, file: CacheFile, on_disk: str, receipt: Receipt | None, mtime_ns: int
    ) -> CacheEntry:
        """What the rows of a file tell of which no receipt holds."""
        # PyArrow is slow to import, and who trusts the receipts does without it.
        from ares_notebook.cache.reader import examined  # noqa: PLC0415 - as said

        path = Path(on_disk)
        # A final receipt of no file says that there is none, and now there is one.
        is_altered = receipt is not None and (receipt.sha256 is not None or receipt.final)
        if is_altered:
            tell_of_change(path, mtime_ns)
        return replace(examined(file, path), is_altered=is_altered)

    def rows(self, file: CacheFile) -> Iterator[Table]:
        """Read the rows of *file*, block by block; none when it is not there."""
        from ares_notebook.cache.reader import read_rows  # noqa: PLC0415 - see `entry`

        path = self.path_of(file)
        if path is not None:
            yield from read_rows(path, file)

    def part(self, file: CacheFile, columns: Sequence[str] | None = None) -> FileWriter:
        """Begin a new version of *file* beside it, in all its columns or in these."""
        from ares_notebook.cache.writer import FileWriter  # noqa: PLC0415 - see `entry`

        # The original downloader compressed nothing, so its files are known by being plain.
        compressed = self._compressed and columns is None
        return FileWriter(file, self.folder, compressed=compressed, columns=columns)

    def commit(
        self,
        part: FileWriter,
        *,
        sources: tuple[Source, ...],
        absences: tuple[Absence, ...],
        final: bool,
        ended_ms: int | None = None,
    ) -> None:
        """
        Put *part* in its place, whole, and write its receipt.

        A part without rows leaves no file: only the receipt says why. Of what is left of a damaged
        file *ended_ms* tells where its rows ended.
        """
        file, facts = part.file, part.facts
        name = part.path.name.removeprefix(".").rsplit(".", 2)[0]
        target, old = self.folder / name, self.path_of(file)
        part.close()
        try:
            claim(self.folder, self._market, self._there())
            if facts.rows:
                # On the disk before its name is, and the name before the receipt.
                flush_to_disk(part.path)
                part.path.replace(target)
                flush_to_disk(self.folder)
            if old is not None and (old != target or not facts.rows):
                old.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_access(target, error) from error
        there = target if facts.rows else None
        self.remember(file, there)
        self.write_receipt(
            Receipt(
                file.name,
                *size_and_time(there),
                sha256=part.sha256 if there else None,
                facts=facts,
                sources=sources,
                absences=absences,
                final=final,
                ended_ms=ended_ms,
            )
        )

    def note(self, entry: CacheEntry, *, final: bool) -> None:
        """Write the receipt of a file that stays as it is, with what was learnt of it."""
        receipt = self.receipt(entry.file)
        if receipt is not None and entry.is_remembered and receipt.size is not None:
            known = replace(receipt, sources=entry.sources, absences=entry.absences, final=final)
            self.write_receipt(replace(known, trouble=None))
            return
        digest = file_sha256(entry.path) if entry.path else None
        self.write_receipt(
            Receipt(
                entry.file.name,
                *size_and_time(entry.path),
                sha256=digest,
                facts=entry.facts,
                sources=entry.sources,
                absences=entry.absences,
                final=final,
            )
        )

    def record_failure(self, file: CacheFile, trouble: Trouble) -> None:
        """Remember why rows of *file* are still missing; what is known besides stays."""
        receipt = self.receipt(file)
        if receipt is None:
            # Of no bytes: nobody has seen yet where those that may be there came from.
            receipt = Receipt(file.name, None, None, None, Facts())
        self.write_receipt(replace(receipt, trouble=trouble))

    def lock_path(self, file: CacheFile) -> Path:
        """The lock that whoever changes *file* holds."""
        return self._ours / "locks" / f"{file.name}.lock"

    def receipt_path(self, file: CacheFile) -> Path:
        """Where the receipt of *file* lies, if it has one."""
        return self._receipts / f"{file.name}.json"

    def parts(self, file: CacheFile | None = None) -> list[Path]:
        """Temporary files, of *file* or of all: stale, unless somebody holds the lock."""
        pattern = f".{file.name}*{PART_SUFFIX}" if file else f".*{PART_SUFFIX}"
        places = (self.folder, self._receipts, self._ours / "quarantine")
        return [part for place in places for part in sorted(place.glob(pattern))]

    def refresh(self) -> None:
        """Look at the folder anew, since another process may have changed it."""
        with self._lock:
            self._found, self._is_found_ours = None, False

    def look_again(self, file: CacheFile) -> None:
        """Look at *file* alone anew; the folder as a whole would be a long look for each file."""
        self._our_listing().look(file.name, self.folder, self._receipts)

    def _listing(self) -> CacheListing:
        # One look at the field: another thread may call `refresh` at any moment.
        found = self._found
        if found is None:
            with self._lock:
                found = self._found = self._found or list_cache(self.folder, self._receipts)
        return found

    def _our_listing(self) -> CacheListing:
        """One that can be changed; what is remembered of the folder is everybody's."""
        with self._lock:
            if not self._is_found_ours:
                self._found, self._is_found_ours = self._listing().copy(), True
            return self._listing()

    def remember(self, file: CacheFile, path: Path | None) -> None:
        """Take note that a file lies there now, or (None) not any more."""
        self._our_listing().put(file.name, path.name if path else None)

    def receipt(self, file: CacheFile) -> Receipt | None:
        """What was noted of *file*, whether it still holds or not; None without a note."""
        if file.name not in self._listing().noted:
            return None
        try:
            receipt = Receipt.from_json(
                read_small(f"{self._place}/.ares/receipts/{file.name}.json")
            )
        except OSError as error:
            _LOGGER.debug("no receipt of %s: %s", file.name, error)
            return None
        return receipt if receipt and receipt.file == file.name else None

    def write_receipt(self, receipt: Receipt) -> None:
        """Write what is known of a file, whole or not at all."""
        path = self._receipts / f"{receipt.file}.json"
        try:
            put_text(path, receipt.to_json())
        except OSError as error:
            raise cannot_access(path, error) from error
        self._our_listing().note(receipt.file)
