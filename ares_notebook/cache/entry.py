"""What is known of one cache file: its stored receipt, and its entry with the gaps."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, convert, to_builtins
from msgspec.json import Decoder
from msgspec.structs import replace

from ares_notebook.cache.disk import file_sha256
from ares_notebook.model.facts import ALONE, NOT_PUBLISHED, Facts, Gap, Neighbours, Trouble
from ares_notebook.model.files import CacheFile
from ares_notebook.model.gaps import Absence, gaps_in, joined_edges, unexplained

_LOGGER = logging.getLogger("DataDownloader")
_FORMAT = 1

COPIES = ".ares/arrow"
"""Where Arrow copies of cache files are, in the cache folder."""

COPY_SUFFIX = ".arrow"
"""What the name of a copy has after that of its file."""


class Source(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Where rows came from."""

    # ``legacy`` is a file of the original downloader, ``salvaged`` the rest of a damaged one.
    road: str
    url: str
    # When, ISO, UTC.
    at: str
    # Of the archive: the sum in its ``.CHECKSUM``, which its bytes have.
    sha256: str | None = None


class Receipt(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What is stored about one cache file, or about a file that is absent."""

    file: str
    # The file when the receipt was written; None when there was none.
    size: int | None
    mtime_ns: int | None
    sha256: str | None
    # What its rows prove.
    facts: Facts
    # Oldest first.
    sources: tuple[Source, ...] = ()
    # Answers of the exchange; they stay valid when the file changes.
    absences: tuple[Absence, ...] = ()
    # Whether its period is over and every row is there or explained.
    final: bool = False
    # Why requested rows are missing.
    trouble: Trouble | None = None
    # Where the rows of the damaged file ended from which these were salvaged.
    ended_ms: int | None = None

    @property
    def end_ms(self) -> int | None:
        """Where the rows end; None if it has none."""
        known = [self.ended_ms, self.facts.end_ms]
        return max((each for each in known if each is not None), default=None)

    @property
    def recorded(self) -> dict[str, Any]:
        """What the entry of a file has of its receipt, also where the file is another one."""
        return {
            "absences": self.absences,
            "trouble": self.trouble,
            "recorded_end_ms": self.end_ms,
            "recorded_rows": self.facts.rows,
        }

    def matches(self, path: str, status: os.stat_result) -> bool:
        """Whether the file is still the one that the receipt was written for."""
        if status.st_size != self.size:
            return False
        # A copied cache has other times and the same bytes.
        return status.st_mtime_ns == self.mtime_ns or file_sha256(Path(path)) == self.sha256

    def to_json(self) -> str:
        """The stored text; the same for the same receipt."""
        fields = {"format": _FORMAT, **to_builtins(self)}
        if self.ended_ms is None:
            # Receipts without this later field keep the bytes that they always had.
            del fields["ended_ms"]
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt | None:
        """Read what `to_json` wrote; None (and a line in the log) for anything else."""
        try:
            return convert(_DECODER.decode(text), cls, from_attributes=True)
        except (ValueError, RecursionError) as error:
            _LOGGER.debug("a receipt that cannot be read is measured again: %s", error)
            return None


class _StoredFacts(Facts, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Facts in a receipt, where the gaps are required."""

    gaps: tuple[Gap, ...]


class _StoredReceipt(Receipt, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A receipt in a file, where these fields are required."""

    format: Literal[1]
    facts: _StoredFacts
    sources: tuple[Source, ...]
    absences: tuple[Absence, ...]


_DECODER = Decoder(_StoredReceipt)


class CacheEntry(Struct, frozen=True, gc=False):
    """What the cache holds of one file."""

    file: CacheFile
    # Its path; None when it is absent.
    on_disk: str | None = None
    # What its rows prove.
    facts: Facts = Facts()
    # As in its receipt; empty without one.
    sources: tuple[Source, ...] = ()
    absences: tuple[Absence, ...] = ()
    final: bool = False
    # Whether the original downloader wrote it.
    legacy: bool = False
    # Why it cannot be read; its rows then count as absent.
    problem: str | None = None
    # Whether size and time match its receipt, so that the file was not read.
    is_remembered: bool = False
    # Whether a receipt states where exactly these bytes came from.
    has_provenance: bool = False
    # The sum that the receipt states of exactly these bytes of ours; None if no receipt vouches for them.
    sha256: str | None = None
    # Whether its receipt is of other bytes: its rows prove nothing then.
    is_altered: bool = False
    # Where the rows ended according to the last receipt, and how many they were.
    recorded_end_ms: int | None = None
    recorded_rows: int = 0
    # Why requested rows are missing.
    trouble: Trouble | None = None
    # The trades on either side, where they are known.
    neighbours: Neighbours = ALONE
    # False of a file that would have to be read, so that its facts are not known.
    is_counted: bool = True

    @property
    def path(self) -> Path | None:
        """Its path, made on demand: making it costs as much as the rest of the entry."""
        return None if self.on_disk is None else Path(self.on_disk)

    @property
    def copy_path(self) -> str | None:
        """Where its Arrow copy is, or would be; None where no receipt vouches for its bytes."""
        if self.on_disk is None or self.sha256 is None:
            return None
        folder, name = os.path.split(self.on_disk)
        return f"{folder}/{COPIES}/{name}{COPY_SUFFIX}"

    @property
    def is_salvaged(self) -> bool:
        """Whether it holds only the readable rows of a damaged file."""
        return any(source.road == "salvaged" for source in self.sources)

    @property
    def is_unpublished(self) -> bool:
        """Whether it has had no row so far, since the archive had nothing of its period yet."""
        reason = self.trouble and self.trouble.reason
        return reason == NOT_PUBLISHED and not (self.facts.rows or self.recorded_rows)

    @property
    def is_untrue(self) -> bool:
        """Whether the file is damaged or altered."""
        return self.is_altered or self.problem is not None

    @property
    def is_restorable(self) -> bool:
        """Whether it seems to lack only some rows of the file that its receipt describes."""
        is_readable = self.problem is None and not self.legacy
        return self.is_altered and is_readable and 0 < self.facts.rows < self.recorded_rows

    @property
    def proven(self) -> Facts:
        """What its rows prove; nothing if the file was altered."""
        return Facts() if self.is_altered else self.facts

    @property
    def end_ms(self) -> int | None:
        """Where its rows end according to its receipt, or without one to its rows."""
        return self.facts.end_ms if self.recorded_end_ms is None else self.recorded_end_ms

    @property
    def asked_end_ms(self) -> int:
        """Up to where it was requested: the end of its rows, or of the answers about it."""
        return max([self.facts.end_ms or 0, *(each.end_ms for each in self.absences)])

    def gaps(self, until_ms: int) -> list[Gap]:
        """Where rows are missing, or may be, up to *until_ms*; see `gaps_in`."""
        return gaps_in(self.file, self.proven, until_ms, self.neighbours)

    def unexplained(self, until_ms: int) -> list[Gap]:
        """The gaps that no proof explains; all of the period for a stray file."""
        if self.is_stray:
            return [Gap(self.file.start_ms, min(until_ms, self.file.end_ms))]
        return unexplained(self.file, self.gaps(until_ms), self.absences)

    def unrecorded_edges(self, until_ms: int) -> list[Gap]:
        """The edges that the neighbouring days prove, and its receipt does not state yet."""
        joined = joined_edges(self.file, self.proven, until_ms, self.neighbours)
        return unexplained(self.file, joined, self.absences)

    @property
    def is_stray(self) -> bool:
        """Whether it lies in a period that is proven to have no row at all."""
        if not self.is_altered:
            return False
        return not unexplained(self.file, self.gaps(self.file.grid_end_ms), self.absences)

    def missing(self, gaps: Iterable[Gap]) -> int:
        """How many rows of the gaps are certainly missing; see `is_counted_before`."""
        return sum([self.missing_in(gap) or 0 for gap in gaps])

    def missing_in(self, gap: Gap) -> int | None:
        """The rows missing in a gap; 0 if they are counted with the file before, None if unknown."""
        return 0 if gap.rows and self.is_counted_before(gap) else gap.rows

    def is_counted_before(self, gap: Gap) -> bool:
        """Whether the gap between two days of trades is counted with the earlier one."""
        is_head = gap.before_id is not None and gap.after_id is None
        return is_head and self.neighbours.last_id_before is not None


# The trade id next to a file, whether everything in between is there or known to be empty, and
# whether the file of that id has provenance.
_AdjacentId = tuple[int | None, bool, bool]


def with_neighbours(
    entries: Sequence[CacheEntry],
    before: Sequence[CacheEntry] = (),
    after: Sequence[CacheEntry] = (),
) -> list[CacheEntry]:
    """
    Days of trades, in order, each with the trades on either side; *before* and *after* are read only.

    The ids of a day prove that nothing is missing inside it. Whether rows are missing at midnight
    is proven by the days on either side.
    """
    row = [*before, *entries, *after]
    ids_before = _adjacent_ids(row, forwards=True)
    ids_after = _adjacent_ids(row[::-1], forwards=False)[::-1]
    sides = list(zip(row, ids_before, ids_after, strict=True))
    wanted = sides[len(before) : len(before) + len(entries)]
    return [replace(entry, neighbours=_neighbours(entry, *ids)) for entry, *ids in wanted]


def _adjacent_ids(row: Iterable[CacheEntry], *, forwards: bool) -> list[_AdjacentId]:
    """For each file, the last id on the way to it."""
    found: list[_AdjacentId] = []
    last_id, is_sure, has_provenance = None, True, True
    edge_ms = None
    for entry in row:
        bounds = (entry.file.start_ms, entry.file.end_ms)
        start_ms, end_ms = bounds if forwards else bounds[::-1]
        is_sure = is_sure and edge_ms in (None, start_ms)
        edge_ms = end_ms
        found.append((last_id, is_sure, has_provenance))
        own = entry.proven.last_id if forwards else entry.proven.first_id
        if own is not None:
            last_id, is_sure, has_provenance = own, True, entry.has_provenance
        else:
            is_sure = is_sure and entry.final
    return found


def _neighbours(entry: CacheEntry, before: _AdjacentId, after: _AdjacentId) -> Neighbours:
    """The ids on either side, where they prove something about this file."""
    last_id, is_sure_before, has_provenance_before = before
    first_id, is_sure_after, has_provenance_after = after
    own_first, own_last = entry.proven.first_id, entry.proven.last_id
    if own_first is None:
        is_continuous = last_id is not None and first_id == last_id + 1
        is_sure_before = is_sure_after = is_continuous or (is_sure_before and is_sure_after)
    else:
        # Where the ids are continuous, nothing is missing in between.
        is_sure_before |= last_id is not None and own_first == last_id + 1
        is_sure_after |= own_last is not None and first_id == own_last + 1
    if entry.has_provenance:
        # A file without provenance proves nothing about one with it.
        is_sure_before &= has_provenance_before
        is_sure_after &= has_provenance_after
    return Neighbours(last_id if is_sure_before else None, first_id if is_sure_after else None)
