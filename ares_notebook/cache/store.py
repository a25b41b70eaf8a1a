"""The cache folder: its files, their entries, and how a new version replaces an old one."""

from __future__ import annotations

import logging
import os
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ares_notebook.cache.disk import (
    PART_SUFFIX,
    TICK_NS,
    cannot_access,
    check_writable,
    delete,
    file_sha256,
    flush_to_disk,
    put_text,
    read_small,
    rename,
)
from ares_notebook.cache.entry import COPIES, CacheEntry, Receipt, Source, with_neighbours
from ares_notebook.cache.market_guard import claim, market_of, refuse_another
from ares_notebook.cache.measured import MeasuredFiles
from ares_notebook.cache.names import CacheListing, known_listing, list_cache, look_up_names
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.facts import Facts, Trouble
from ares_notebook.model.files import (
    EXCHANGE_MARK,
    CacheFile,
    forms_of,
    parse_file_name,
    with_exchange,
)
from ares_notebook.model.gaps import Absence
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    from ares_notebook.cache.writer import FileWriter
    from ares_notebook.model.rows import Table

_LOGGER = logging.getLogger("DataDownloader")
# Beyond so many, the folder is listed in less time.
_MOST_LOOKED_UP = 2000
_MICROSECOND = timedelta(microseconds=1)


class Store:
    """
    The cache of one set of settings.

    Cheap to make; touches the disk only when asked something. The folder is listed once, at the
    first question, and whenever `refresh` is called.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.folder = settings, settings.cache_dir
        self.patience_seconds = settings.operation_timeout_seconds
        self._folder_text = os.fspath(self.folder)
        self._own = self.folder / ".ares"
        self._receipts = self._own / "receipts"
        self._market = settings.market_name
        self._compressed = settings.compression is not None
        self.arrow_copies, self.copies_at = settings.arrow_copies, settings.arrow_copies_at
        self._measured = MeasuredFiles(self.folder)
        self._names: CacheListing | None = None
        self._is_own_listing = False
        # Whether only those files are listed that were looked up.
        self._is_partial = False
        self._lock = threading.RLock()

    def prepare(self) -> None:
        """Create the folders; raise if they cannot be written or hold another market."""
        try:
            self._receipts.mkdir(parents=True, exist_ok=True)
            (self._own / "locks").mkdir(exist_ok=True)
            check_writable(self._own)
            self.refuse_another()
        except OSError as error:
            # One of our folders may be in the way, where the cache folder is not.
            raise cannot_access(Path(error.filename or self.folder), error) from error

    @property
    def market(self) -> str:
        """The market that filled the folder; that of the settings where no note names it."""
        return market_of(self.folder) or self._market

    def refuse_another(self) -> None:
        """Raise if another market filled the cache."""
        refuse_another(self.folder, self._market, self._paths())

    def _paths(self) -> Iterator[tuple[CacheFile, Path]]:
        """The cache files on disk, with their paths."""
        for file in self.files():
            path = self.path_of(file)
            if path is not None:
                yield file, path

    def files(self, symbol: str | None = None) -> list[CacheFile]:
        """The cache files that are on disk or have a receipt, ordered by name."""
        listing = self._whole_listing()
        names = listing.names
        if symbol is not None:
            prefixes = sorted(f"{dataset.file_prefix}_{symbol}_" for dataset in DATASETS)
            names = [name for prefix in prefixes for name in listing.beginning(prefix)]
        found = [file for file in map(parse_file_name, names) if file]
        # A longer symbol may begin with this one.
        return [file for file in found if symbol in (None, file.series.symbol)]

    def symbols(self) -> list[str]:
        """The symbols of which there are files on disk, sorted."""
        found: dict[str, str] = {}
        for name in self._whole_listing().on_disk:
            stem = name.rpartition("_")[0]
            # Thousands of files are of a few series.
            if stem not in found and (file := parse_file_name(name)):
                found[stem] = file.series.symbol
        return sorted(set(found.values()))

    def stamps_of(self, stem: str) -> list[str]:
        """The periods, as names carry them, of a series' files on disk; in order of time."""
        listing = self._listing()
        names = (name for name in listing.beginning(f"{stem}_") if name in listing.on_disk)
        stamps = (name.removeprefix(f"{stem}_").removesuffix(".csv") for name in names)
        return sorted(stamp for stamp in stamps if stamp[:1].isdecimal())

    def path_of(self, file: CacheFile) -> Path | None:
        """The path of *file*, compressed or not; None when it is absent."""
        name = self._listing().on_disk.get(file.name)
        return None if name is None else self.folder / name

    def entry(self, file: CacheFile) -> CacheEntry:
        """
        What is known of *file*: from its receipt if that matches, else measured on its rows.

        Never raises for a file that cannot be read: that is a finding.
        """
        return self._entry(file, lambda on_disk, _: _examined(file, on_disk))

    def _entry(
        self, file: CacheFile, examine: Callable[[str, os.stat_result], CacheEntry]
    ) -> CacheEntry:
        name = self._listing().on_disk.get(file.name)
        receipt = self.receipt(file)
        known = receipt.recorded if receipt else {}
        on_disk = f"{self._folder_text}/{name}"
        try:
            # Not a Path, which takes longer to make for each of 100,000 files.
            status = os.stat(on_disk) if name else None  # noqa: PTH116 - as said
        except FileNotFoundError:
            status = None
        if status is None:
            is_final = bool(receipt and receipt.final and not receipt.size)
            return CacheEntry(file, final=is_final, **known)
        if receipt and receipt.matches(on_disk, status):
            # An earlier version wrote receipts without sources for files of unknown origin.
            has_provenance = bool(receipt.sources)
            is_legacy = "legacy" in [source.road for source in receipt.sources]
            return CacheEntry(
                file,
                on_disk,
                receipt.facts,
                receipt.sources,
                final=receipt.final and has_provenance,
                legacy=is_legacy,
                is_remembered=status.st_mtime_ns == receipt.mtime_ns,
                has_provenance=has_provenance,
                sha256=receipt.sha256 if has_provenance and not is_legacy else None,
                **known,
            )
        # A final receipt of an absent file states that there is no row, and now there is a file.
        is_altered = receipt is not None and (receipt.sha256 is not None or receipt.final)
        found = examine(on_disk, status)
        if is_altered:
            if self.receipt(file) != receipt:
                # A download puts its file in place, and then the receipt.
                return self._entry(file, examine)
            if found.is_counted:
                _warn_of_change(on_disk, status.st_mtime_ns)
        return replace(found, is_altered=is_altered, **known)

    def entries(self, files: Sequence[CacheFile]) -> list[CacheEntry]:
        """The entries of consecutive *files* of one series, each with its neighbours."""
        entries = self._beside_neighbours([self.entry(file) for file in files], self.entry)
        if self._is_partial and any(entry.unexplained(entry.file.end_ms) for entry in entries):
            # A file that is further away may explain it.
            self.refresh()
            return self.entries(files)
        return entries

    def noted_entries(
        self, files: Sequence[CacheFile], on_measured: Callable[[], object]
    ) -> list[CacheEntry]:
        """
        The same for tables that change nothing: a file that has been noted is not read again.

        What is measured here is noted. *on_measured* is called after each file that was read.
        """
        try:
            entries = [self._entry(file, self._measuring(file, on_measured)) for file in files]
        finally:
            self._measured.save(self._listing().on_disk.values())
        return self._beside_neighbours(entries, self.entry)

    def known_entries(self, files: Sequence[CacheFile]) -> list[CacheEntry]:
        """
        The same by receipts and notes alone, so that no file is read and nothing is written.

        A file that would have to be read is not counted.
        """

        def known(file: CacheFile) -> CacheEntry:
            return self._entry(file, self._noted(file))

        return self._beside_neighbours([known(file) for file in files], known)

    def _noted(self, file: CacheFile) -> Callable[[str, os.stat_result], CacheEntry]:
        def examine(on_disk: str, status: os.stat_result) -> CacheEntry:
            found = self._measured.get(file, on_disk, status)
            return found or CacheEntry(file, on_disk, is_counted=False)

        return examine

    def _beside_neighbours(
        self, entries: list[CacheEntry], look: Callable[[CacheFile], CacheEntry]
    ) -> list[CacheEntry]:
        if not entries or entries[0].file.dataset.key != "id":
            return entries
        stem = entries[0].file.series.stem
        stamps = self.stamps_of(stem)
        first = bisect_left(stamps, entries[0].file.stamp)
        last = bisect_right(stamps, entries[-1].file.stamp)
        before, after = (
            [look(file) for file in map(parse_file_name, names) if file]
            for names in (
                [f"{stem}_{stamp}.csv" for stamp in stamps[max(first - 1, 0) : first]],
                [f"{stem}_{stamp}.csv" for stamp in stamps[last : last + 1]],
            )
        )
        return with_neighbours(entries, before, after)

    def unmeasured(self, files: Iterable[CacheFile]) -> list[CacheFile]:
        """Those of *files* that nothing is noted of: they have to be read."""
        listing, known = self._listing(), self._measured
        return [
            file
            for file in files
            if file.name not in listing.receipts
            and (name := listing.on_disk.get(file.name))
            and not known.has(name)
        ]

    def strike_note(self, entry: CacheEntry) -> None:
        """Remove the note on a file if it differs from *entry*, which its bytes gave."""
        self._measured.strike(entry)

    def _measuring(
        self, file: CacheFile, on_measured: Callable[[], object]
    ) -> Callable[[str, os.stat_result], CacheEntry]:
        def examine(on_disk: str, status: os.stat_result) -> CacheEntry:
            entry = self._measured.get(file, on_disk, status)
            if entry is not None:
                return entry
            entry = _examined(file, on_disk)
            # A change within a tick of the file system's clock would not be visible.
            if entry.problem is None and time.time_ns() - status.st_mtime_ns > TICK_NS:
                self._measured.add(entry, status)
            on_measured()
            return entry

        return examine

    def rows(self, file: CacheFile) -> Iterator[Table]:
        """Read the rows of *file*, block by block; none when it is absent."""
        from ares_notebook.cache.reader import read_rows  # noqa: PLC0415 - see `_examined`

        path = self.path_of(file)
        if path is not None:
            yield from read_rows(path, file)

    def writer(self, file: CacheFile, columns: Sequence[str] | None = None) -> FileWriter:
        """Begin a new version of *file*, with all its columns or with these."""
        from ares_notebook.cache.writer import FileWriter  # noqa: PLC0415 - see `_examined`

        # The original downloader compressed nothing, so its files must stay plain.
        compressed = self._compressed and columns is None
        return FileWriter(file, self.folder, compressed=compressed, columns=columns)

    def commit(
        self,
        writer: FileWriter,
        *,
        sources: tuple[Source, ...],
        absences: tuple[Absence, ...],
        final: bool,
        ended_ms: int | None = None,
    ) -> None:
        """
        Rename the written file into place and write its receipt; without rows, only the receipt.

        Of salvaged rows *ended_ms* is the end of the damaged file.
        """
        file, facts = writer.file, writer.facts
        name = writer.path.name.removeprefix(".").rsplit(".", 2)[0]
        old = self.path_of(file)
        # A project that reads files by names with the exchange in them goes on finding all.
        is_old_series = file.series.stem in self._listing().exchange_stems
        if EXCHANGE_MARK in old.name if old is not None else is_old_series:
            name = with_exchange(name)
        target = self.folder / name
        writer.close()
        try:
            claim(self.folder, self._market, self._paths())
            if facts.rows:
                # Its bytes reach the disk before its name, and its name before the receipt.
                flush_to_disk(writer.path)
                rename(writer.path, target)
                flush_to_disk(self.folder)
            if old is not None and (old != target or not facts.rows):
                delete(old)
        except OSError as error:
            raise cannot_access(target, error) from error
        path = target if facts.rows else None
        sha256 = writer.sha256 if path else None
        self.set_path(file, path)
        receipt = Receipt(
            file.name, *_size_and_time(path), sha256, facts, sources, absences, final=final
        )
        self.write_receipt(replace(receipt, ended_ms=ended_ms))

    def update_receipt(self, entry: CacheEntry, *, final: bool) -> None:
        """Write the receipt of a file that stays as it is, with what was learnt about it."""
        self.write_receipt(replace(self.receipt_of(entry), final=final, trouble=None))

    def receipt_of(self, entry: CacheEntry) -> Receipt:
        """The receipt of a file as the entry describes it; hashes the file only if it must."""
        stored = self.receipt(entry.file)
        if stored is None or not entry.is_remembered or stored.size is None:
            path = entry.path
            digest = file_sha256(path) if path else None
            stored = Receipt(entry.file.name, *_size_and_time(path), digest, entry.facts)
        return replace(
            stored,
            sources=entry.sources,
            absences=entry.absences,
            final=entry.final,
            trouble=entry.trouble,
        )

    def record_failure(self, file: CacheFile, trouble: Trouble) -> None:
        """Record why rows of *file* are still missing; the rest of its receipt stays."""
        # A new receipt is of no bytes: the origin of a file that may be there is unknown.
        receipt = self.receipt(file) or Receipt(file.name, None, None, None, Facts())
        self.write_receipt(replace(receipt, trouble=trouble))

    def lock_path(self, file: CacheFile) -> Path:
        """The lock that is held to change *file*."""
        return self._own / "locks" / f"{file.name}.lock"

    def lock_of_part(self, part: Path) -> Path:
        """The lock that is held to write the temporary file *part*."""
        name = part.name.removeprefix(".").partition(".csv")[0]
        return self._own / "locks" / f"{name}.csv.lock"

    def receipt_path(self, file: CacheFile) -> Path:
        """The path of the receipt of *file*, if it has one."""
        return self._receipts / f"{file.name}.json"

    def parts(self, file: CacheFile | None = None) -> list[Path]:
        """Temporary files, of *file* or of all: stale, unless a process holds the lock."""
        pattern = f".{file.name}*{PART_SUFFIX}" if file else f".*{PART_SUFFIX}"
        folders = (self.folder, self._receipts, self._own / "quarantine", self.folder / COPIES)
        return [part for folder in folders for part in sorted(folder.glob(pattern))]

    def refresh(self) -> None:
        """List the folder anew, since another process may have changed it."""
        with self._lock:
            self._names, self._is_own_listing, self._is_partial = None, False, False

    def look_up(self, files: Sequence[CacheFile]) -> None:
        """
        List *files* of one series alone, and of trades the days beside them, by their names.

        Of 100,000 names in the folder that takes milliseconds; it is listed as a whole when that is
        needed. For a store that only reads.
        """
        if len(files) > _MOST_LOOKED_UP or known_listing(self.folder, self._receipts):
            return
        names = {file.name for file in files}
        if files[0].dataset.key == "id":
            sides = (files[0].period.start - _MICROSECOND, files[-1].period.end)
            names |= {CacheFile.of(files[0].series, moment).name for moment in sides}
        with self._lock:
            if self._names is None:
                self._names = look_up_names(self.folder, self._receipts, names)
                self._is_own_listing = self._is_partial = True

    def has_any(self, files: Sequence[CacheFile]) -> bool:
        """Whether any of *files* of one series is on disk; the folder is not listed for that."""
        self.look_up(files)
        return any(file.name in self._listing().on_disk for file in files)

    def _whole_listing(self) -> CacheListing:
        if self._is_partial:
            self.refresh()
        return self._listing()

    def refresh_file(self, file: CacheFile) -> None:
        """List *file* alone anew, which takes less time than the folder; the plain form wins."""
        listing, name = self._own_listing(), file.name
        forms = (form for form in forms_of(name) if os.path.lexists(self.folder / form))
        listing.set_file(name, next(forms, None))
        if os.path.lexists(self.receipt_path(file)):
            listing.add_receipt(name)

    def _listing(self) -> CacheListing:
        # Read the attribute once: another thread may call `refresh` at any moment.
        names = self._names
        if names is None:
            with self._lock:
                names = self._names = self._names or list_cache(self.folder, self._receipts)
        return names

    def _own_listing(self) -> CacheListing:
        """One that can be changed; that of `list_cache` is shared by all stores."""
        with self._lock:
            if not self._is_own_listing:
                self._names, self._is_own_listing = self._listing().copy(), True
            return self._listing()

    def set_path(self, file: CacheFile, path: Path | None) -> None:
        """Record the path of a file, or (None) that it is gone."""
        self._own_listing().set_file(file.name, path.name if path else None)

    def receipt(self, file: CacheFile) -> Receipt | None:
        """The stored receipt of *file*, whether it matches or not; None without one."""
        if file.name not in self._listing().receipts:
            return None
        try:
            text = read_small(f"{self._folder_text}/.ares/receipts/{file.name}.json")
        except OSError as error:
            _LOGGER.debug("no receipt of %s: %s", file.name, error)
            return None
        receipt = Receipt.from_json(text)
        return receipt if receipt and receipt.file == file.name else None

    def write_receipt(self, receipt: Receipt) -> None:
        """Write a receipt, whole or not at all."""
        path = self._receipts / f"{receipt.file}.json"
        try:
            put_text(path, receipt.to_json())
        except OSError as error:
            raise cannot_access(path, error) from error
        self._own_listing().add_receipt(receipt.file)


def _examined(file: CacheFile, on_disk: str) -> CacheEntry:
    # PyArrow is slow to import, and not needed where all receipts match.
    from ares_notebook.cache.reader import examined  # noqa: PLC0415 - as said

    return examined(file, Path(on_disk))


def _size_and_time(path: Path | None) -> tuple[int | None, int | None]:
    """Size and time that identify a file; None for an absent one."""
    status = path.stat() if path else None
    return (status.st_size, status.st_mtime_ns) if status else (None, None)


@lru_cache(maxsize=1024)
def _warn_of_change(path: str, mtime_ns: int) -> None:
    """Warn once for each change, however often the file is read."""
    _LOGGER.warning("%s has changed since its receipt was written; measured anew", path)
    _LOGGER.debug("its time is %d ns now", mtime_ns)
