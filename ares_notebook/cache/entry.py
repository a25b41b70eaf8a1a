"""What the cache holds of one file, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from ares_notebook.cache.receipts import Source
from ares_notebook.model.evidence import Absence
from ares_notebook.model.facts import ALONE, Beside, Facts, Hole, Trouble
from ares_notebook.model.files import CacheFile
from ares_notebook.model.gaps import find_holes, joined_edges, unexplained

__all__ = ["Have"]


class Have(Struct, frozen=True, gc=False):
    """
    What the cache holds of one file.

    Parameters
    ----------
    file : CacheFile
    on_disk : str, optional
        Where it lies; None when there is none.
    facts : Facts
        What its rows prove.
    sources, absences, final
        As in its receipt; empty without one.
    legacy : bool
        Whether the ancestor wrote it.
    problem : str, optional
        Why it cannot be read; its rows then count as absent.
    is_remembered : bool
        Whether its receipt was believed without looking into the file.
    is_witnessed : bool
        Whether a receipt tells where just these bytes came from.
    is_altered : bool
        Whether a receipt tells of other bytes than are here now: its rows prove nothing then.
    noted_end_ms, noted_rows : int, optional
        Where the rows ended that the last receipt of it knew, and how many they were.
    trouble : Trouble, optional
        Why rows are missing that were asked for.
    beside : Beside
        The trades on either side, where they were looked at.
    """

    file: CacheFile
    on_disk: str | None = None
    facts: Facts = Facts()
    sources: tuple[Source, ...] = ()
    absences: tuple[Absence, ...] = ()
    final: bool = False
    legacy: bool = False
    problem: str | None = None
    is_remembered: bool = False
    is_witnessed: bool = False
    is_altered: bool = False
    noted_end_ms: int | None = None
    noted_rows: int = 0
    trouble: Trouble | None = None
    beside: Beside = ALONE

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

    def holes(self, until_ms: int) -> list[Hole]:
        """Where rows are missing, or may be, up to *until_ms*; see `find_holes`."""
        return find_holes(self.file, self.proven, until_ms, self.beside)

    def unexplained(self, until_ms: int) -> list[Hole]:
        """
        Those of the holes that no proof explains; the one truth that every face tells.

        A file that lies where it is proven that there is no row is not believed either.
        """
        if self.is_stray:
            return [Hole(self.file.start_ms, min(until_ms, self.file.end_ms))]
        return unexplained(self.file, self.holes(until_ms), self.absences)

    def unnoted_edges(self, until_ms: int) -> list[Hole]:
        """The edges that the neighbouring days prove, and its own receipt does not yet tell of."""
        joined = joined_edges(self.file, self.proven, until_ms, self.beside)
        return unexplained(self.file, joined, self.absences)

    @property
    def is_stray(self) -> bool:
        """Whether it lies where it is proven that there is no row at all."""
        if not self.is_altered:
            return False
        return not unexplained(self.file, self.holes(self.file.grid_end_ms), self.absences)

    def missing(self, holes: Iterable[Hole]) -> int:
        """
        How many rows these holes of the file hide, where that is certain.

        What is missing between two days of trades is counted with the earlier one.
        """
        return sum([hole.rows or 0 for hole in holes if not self.is_told_before(hole)])

    def is_told_before(self, hole: Hole) -> bool:
        """Whether the hole is the later side of one that begins in the file before."""
        is_head = hole.before_id is not None and hole.after_id is None
        return is_head and self.beside.last_id_before is not None
