"""What the cache holds of one file, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from ares_notebook.cache.receipts import Source
from ares_notebook.market.facts import ALONE, Absence, Beside, Facts, Hole, Trouble
from ares_notebook.market.holes import find_holes, unexplained
from ares_notebook.market.series import CacheFile

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
    expected_sha256 : str, optional
        Of the final file that was here, where its bytes are others now.
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
    expected_sha256: str | None = None
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

    def holes(self, until_ms: int) -> list[Hole]:
        """Where rows are missing, or may be, up to *until_ms*; see `find_holes`."""
        return find_holes(self.file, self.facts, until_ms, self.beside)

    def unexplained(self, until_ms: int, *, by_rest: bool = True) -> list[Hole]:
        """Those of the holes of which the exchange has not been heard; see `unexplained`."""
        return self.unheard(self.holes(until_ms), by_rest=by_rest)

    def unheard(self, holes: Iterable[Hole], *, by_rest: bool = True) -> list[Hole]:
        """Those of *holes*, or parts of them, of which the exchange has not been heard."""
        return unexplained(self.file, holes, self.absences, by_rest=by_rest)

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
