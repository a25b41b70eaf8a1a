"""What readers have measured of files without a receipt, so that the next one need not read them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from ares_notebook.cache.disk import add_lines, put_text
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.errors import CacheError
from ares_notebook.model.facts import Facts, could_be_of
from ares_notebook.model.files import CacheFile

_LOGGER = logging.getLogger("DataDownloader")
_NAME = "measured.jsonl"
# So many lines more than files are kept before the file is written anew.
_SPARE_LINES = 1000
# A writer holds the lock for milliseconds.
_STRIKE_WAIT_SECONDS = 2.0


class _Measured(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A line: what the rows of a file prove, whatever their origin."""

    format: Literal[1]
    # Its name on disk, and what it was when it was read.
    file: str
    size: int
    mtime_ns: int
    # Whether the original downloader wrote it.
    legacy: bool
    facts: Facts


_DECODER, _ENCODER = Decoder(_Measured), Encoder()


class MeasuredFiles:
    """
    The facts of files without a matching receipt, in ``.ares/measured.jsonl``.

    A line holds while size and time of its file match. It tells nothing of where the rows came
    from: only a receipt does. Whoever cannot write, or finds another process writing, writes nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._own = folder / ".ares"
        self._known: dict[str, _Measured] | None = None
        self._lines = 0
        self._new: dict[str, _Measured] = {}
        self._may_write = True

    def get(self, file: CacheFile, on_disk: str, status: os.stat_result) -> CacheEntry | None:
        """The entry of a file that is as it was when it was measured; None for any other."""
        found = self._all().get(os.path.basename(on_disk))  # noqa: PTH119 - of 100,000 files
        if found is None or (found.size, found.mtime_ns) != (status.st_size, status.st_mtime_ns):
            return None
        if not could_be_of(file, found.facts):
            return None
        return CacheEntry(file, on_disk, found.facts, legacy=found.legacy)

    def has(self, name: str) -> bool:
        """Whether a file of this name on disk has been measured, however it is now."""
        return name in self._all()

    def add(self, entry: CacheEntry, status: os.stat_result) -> None:
        """Remember what was measured; `save` writes it."""
        name = os.path.basename(entry.on_disk or "")  # noqa: PTH119 - as above
        size, mtime_ns = status.st_size, status.st_mtime_ns
        self._new[name] = _Measured(1, name, size, mtime_ns, entry.legacy, entry.facts)

    def save(self, names: Collection[str]) -> None:
        """Write what is new, if this process may; *names* are those of the files on disk."""
        if not self._new or not self._may_write:
            return
        new, self._new = self._new, {}
        known = self._all()
        known |= new

        def write() -> None:
            if self._lines + len(new) > len(known) + _SPARE_LINES:
                self._rewrite(new, names)
                return
            add_lines(self._own / _NAME, _text(new))
            self._lines += len(new)

        self._under_lock(write, wait_seconds=0)

    def strike(self, entry: CacheEntry) -> None:
        """Remove the note on a file if it differs from *entry*, which its bytes gave."""
        name = os.path.basename(entry.on_disk or "")  # noqa: PTH119 - as above
        noted = self._all().get(name)
        if noted is None:
            return
        if entry.problem is None and (noted.facts, noted.legacy) == (entry.facts, entry.legacy):
            return
        names = self._all().keys() - {name}
        self._under_lock(lambda: self._rewrite({}, names), wait_seconds=_STRIKE_WAIT_SECONDS)

    def _under_lock(self, write: Callable[[], None], wait_seconds: float) -> None:
        """Write the notes; what cannot be written is left out, with a line in the log."""
        from filelock import FileLock, Timeout  # noqa: PLC0415 - few files have no receipt

        try:
            (self._own / "locks").mkdir(parents=True, exist_ok=True)
            path = self._own / "locks" / f"{_NAME}.lock"
            with FileLock(path, timeout=wait_seconds, thread_local=False):
                write()
        except Timeout:
            _LOGGER.debug("another process writes %s; what was measured is not noted", _NAME)
        except (OSError, CacheError) as error:
            # A folder that can only be read, or a full disk, must not fail a reader.
            self._may_write = False
            _LOGGER.debug("what was measured is not noted: %s", error)

    def _rewrite(self, new: Mapping[str, _Measured], names: Collection[str]) -> None:
        """Write the notes on *names* anew; another process may have removed some since."""
        self._known = None
        self._known = {name: each for name, each in {**self._all(), **new}.items() if name in names}
        put_text(self._own / _NAME, _text(self._known))
        self._lines = len(self._known)

    def _all(self) -> dict[str, _Measured]:
        if self._known is None:
            self._known = {}
            try:
                lines = (self._own / _NAME).read_bytes().splitlines()
            except OSError as error:
                _LOGGER.debug("nothing that was measured is known: %s", error)
                lines = []
            self._lines = len(lines)
            for line in lines:
                try:
                    found = _DECODER.decode(line)
                except (ValueError, RecursionError):
                    # A line that was cut short, or of another version.
                    continue
                self._known[found.file] = found
        return self._known


def _text(lines: Mapping[str, _Measured]) -> str:
    return "".join(f"{_ENCODER.encode(each).decode()}\n" for each in lines.values())
