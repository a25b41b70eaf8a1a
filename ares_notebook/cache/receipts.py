"""Receipts: what is known of a cache file, and whether a file is still the one of its receipt."""

from __future__ import annotations

import json
import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from msgspec import Struct, convert, to_builtins
from msgspec.json import Decoder

from ares_notebook.cache.disk import file_sha256
from ares_notebook.model.facts import Facts, Gap, Trouble
from ares_notebook.model.gaps import Absence

__all__ = ["Receipt", "Source", "holds", "size_and_time", "status_of", "tell_of_change"]

_LOGGER = logging.getLogger("DataDownloader")
_FORMAT = 1


class Source(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Where rows came from."""

    # Legacy is what the original downloader wrote, salvaged what was good in a damaged file.
    road: str
    url: str
    # When, ISO, UTC.
    at: str
    # Of the archive, as its ``.CHECKSUM`` says and as it was.
    sha256: str | None = None


class Receipt(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What is known of one cache file."""

    # Its name; an absent file has a receipt too, which says why.
    file: str
    # The file when it was last seen; None when there is none.
    size: int | None
    mtime_ns: int | None
    sha256: str | None
    # What its rows prove.
    facts: Facts
    # Oldest first.
    sources: tuple[Source, ...] = ()
    # Facts about the exchange; they survive changes of the file.
    absences: tuple[Absence, ...] = ()
    # Whether its period is over and every row is there or explained.
    final: bool = False
    # Why rows are missing that were asked for.
    trouble: Trouble | None = None
    # Where the rows of the damaged file ended of which these are the good ones.
    ended_ms: int | None = None

    @property
    def end_ms(self) -> int | None:
        """Where the rows end of which it tells; None if of none."""
        known = [self.ended_ms, self.facts.end_ms]
        return max((each for each in known if each is not None), default=None)

    def to_json(self) -> str:
        """The text that is stored; readable, and the same for the same receipt."""
        told = {"format": _FORMAT, **to_builtins(self)}
        if self.ended_ms is None:
            # Of a field that few have, the others keep the bytes that they always had.
            del told["ended_ms"]
        return json.dumps(told, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt | None:
        """Read what `to_json` wrote; None (and a line in the log) for anything else."""
        try:
            return convert(_DECODER.decode(text), cls, from_attributes=True)
        except (ValueError, RecursionError) as error:
            _LOGGER.debug("a receipt that cannot be read is measured anew: %s", error)
            return None


class _StoredFacts(Facts, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Facts as they are stored: what may be left out when they are made stands there."""

    gaps: tuple[Gap, ...]


class _Stored(Receipt, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """The same of a receipt."""

    format: Literal[1]
    facts: _StoredFacts
    sources: tuple[Source, ...]
    absences: tuple[Absence, ...]


_DECODER = Decoder(_Stored)


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
