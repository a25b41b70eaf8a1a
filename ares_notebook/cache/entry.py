"""What the cache holds of one file, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from ares_notebook.cache.receipts import Source
from ares_notebook.model.facts import ALONE, Facts, Gap, Neighbours, Trouble
from ares_notebook.model.files import CacheFile
from ares_notebook.model.gaps import Absence, gaps_in, joined_edges, unexplained

__all__ = ["CacheEntry"]


class CacheEntry(Struct, frozen=True, gc=False):
    """What the cache holds of one file."""

    file: CacheFile
    # Where it lies; None when there is none.
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
    # Whether its receipt was believed without looking into the file.
    is_remembered: bool = False
    # Whether a receipt tells where just these bytes came from.
    has_provenance: bool = False
    # Whether a receipt tells of other bytes than are here now: its rows prove nothing then.
    is_altered: bool = False
    # Where the rows ended that the last receipt of it knew, and how many they were.
    noted_end_ms: int | None = None
    noted_rows: int = 0
    # Why rows are missing that were asked for.
    trouble: Trouble | None = None
    # The trades on either side, where they were looked at.
    neighbours: Neighbours = ALONE

    @property
    def path(self) -> Path | None:
        """Where it lies, made when it is asked for: a path costs as much as all else here."""
        return None if self.on_disk is None else Path(self.on_disk)

    @property
    def is_salvaged(self) -> bool:
        """Whether it is only what was good in a damaged file."""
        return any(source.road == "salvaged" for source in self.sources)

    @property
    def is_untrue(self) -> bool:
        """Whether what lies there is not what was once stored: damaged, or altered."""
        return self.is_altered or self.problem is not None

    @property
    def is_restorable(self) -> bool:
        """Whether it seems to lack only some rows: with these its bytes may be those of the receipt."""
        is_readable = self.problem is None and not self.legacy
        return self.is_altered and is_readable and 0 < self.facts.rows < self.noted_rows

    @property
    def proven(self) -> Facts:
        """What its rows prove: nothing, where they are not those of the receipt."""
        return Facts() if self.is_altered else self.facts

    @property
    def end_ms(self) -> int | None:
        """Where its rows end, as far as the receipt or, without one, its rows can be believed."""
        return self.facts.end_ms if self.noted_end_ms is None else self.noted_end_ms

    @property
    def asked_end_ms(self) -> int:
        """Up to where it was asked for: the end of its rows, or of what was answered about it."""
        return max([self.facts.end_ms or 0, *(each.end_ms for each in self.absences)])

    def gaps(self, until_ms: int) -> list[Gap]:
        """Where rows are missing, or may be, up to *until_ms*; see `gaps_in`."""
        return gaps_in(self.file, self.proven, until_ms, self.neighbours)

    def unexplained(self, until_ms: int) -> list[Gap]:
        """
        Those of the gaps that no proof explains; the one truth that every face tells.

        A file that lies where it is proven that there is no row is not believed either.
        """
        if self.is_stray:
            return [Gap(self.file.start_ms, min(until_ms, self.file.end_ms))]
        return unexplained(self.file, self.gaps(until_ms), self.absences)

    def unnoted_edges(self, until_ms: int) -> list[Gap]:
        """The edges that the neighbouring days prove, and its own receipt does not yet tell of."""
        joined = joined_edges(self.file, self.proven, until_ms, self.neighbours)
        return unexplained(self.file, joined, self.absences)

    @property
    def is_stray(self) -> bool:
        """Whether it lies where it is proven that there is no row at all."""
        if not self.is_altered:
            return False
        return not unexplained(self.file, self.gaps(self.file.grid_end_ms), self.absences)

    def missing(self, gaps: Iterable[Gap]) -> int:
        """
        How many rows these gaps of the file hide, where that is certain.

        What is missing between two days of trades is counted with the earlier one.
        """
        return sum([gap.rows or 0 for gap in gaps if not self.is_told_before(gap)])

    def is_told_before(self, gap: Gap) -> bool:
        """Whether the gap is the later side of one that begins in the file before."""
        is_head = gap.before_id is not None and gap.after_id is None
        return is_head and self.neighbours.last_id_before is not None
