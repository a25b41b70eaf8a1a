"""
Have, want, missing: what rows prove, as pure arithmetic.

Completeness is read off the data: k-lines against the grid of their open times,
trades by ids without a hole, funding by the pace that the exchange itself shows.
Where the data cannot tell (was there a trade before the first of the day?), what
the exchange answered is remembered as an *absence*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ares_notebook.datasets import CacheFile
from ares_notebook.periods import next_open_ms
from ares_notebook.rows import Table, keys_of, stamps_ms

__all__ = ["Absence", "Facts", "Hole", "Measure", "find_holes", "unexplained"]

_HOUR_MS = 3_600_000
_LONGEST_FUNDING_MS = 8 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Hole:
    """
    A stretch ``[start_ms, end_ms)`` in which rows are missing, or may be.

    Parameters
    ----------
    start_ms, end_ms : int
        Milliseconds since the epoch, UTC.
    rows : int, optional
        How many rows are missing for certain; None where only the exchange can
        tell whether any are (before the first trade of a day, say).
    after_id, before_id : int, optional
        For trades, the ids of the rows on either side.
    """

    start_ms: int
    end_ms: int
    rows: int | None = None
    after_id: int | None = None
    before_id: int | None = None


@dataclass(frozen=True, slots=True)
class Absence:
    """
    What the exchange has answered: in ``[start_ms, end_ms)`` it has no row but those stored.

    Parameters
    ----------
    start_ms, end_ms : int
    evidence : str
        ``rest`` or ``archive``, or the sentence that says why there can be nothing.
    at : str
        When it was answered, ISO, UTC.
    after_id, before_id : int, optional
        For a hole in the ids of trades.
    """

    start_ms: int
    end_ms: int
    evidence: str
    at: str
    after_id: int | None = None
    before_id: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What the rows of a file prove.

    Parameters
    ----------
    rows : int
    first_ms, last_ms : int, optional
        First and last stamp.
    covered_from_ms, covered_until_ms : int, optional
        The stretch in which `gaps` are all the holes there are.
    first_id, last_id : int, optional
        For trades.
    pace_ms : int, optional
        For funding, the last distance between two events.
    gaps : tuple of Hole
        Holes between the first and the last row.
    off_grid : int
        K-lines that did not open on the grid.
    """

    rows: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    covered_from_ms: int | None = None
    covered_until_ms: int | None = None
    first_id: int | None = None
    last_id: int | None = None
    pace_ms: int | None = None
    gaps: tuple[Hole, ...] = ()
    off_grid: int = 0


@dataclass(slots=True)
class Measure:
    """
    Take the measure of a file from its rows, table by table, in order.

    Examples
    --------
    A file's tables are added as they pass by; nothing of them is kept.

    >>> from ares_notebook.datasets import parse_file_name
    >>> Measure(parse_file_name("futures_BTCUSDT_2025-01.csv")).facts().rows
    0
    """

    file: CacheFile
    _facts: Facts = field(default_factory=Facts)
    _gaps: list[Hole] = field(default_factory=list)
    # The last two funding events: a hole shows only beside its neighbours.
    _hours: list[int] = field(default_factory=list)

    def add(self, table: Table) -> None:
        """Add the next rows; keys must ascend."""
        if not table.num_rows:
            return
        stamps = stamps_ms(table)
        facts = self._facts
        first = facts.first_ms if facts.first_ms is not None else int(stamps[0])
        self._facts = replace(
            facts,
            rows=facts.rows + table.num_rows,
            first_ms=first,
            last_ms=int(stamps[-1]),
        )
        match self.file.dataset.key:
            case "open_time":
                self._add_opens(stamps)
            case "id":
                self._add_ids(keys_of(self.file.dataset, table), stamps)
            case "event_time":
                self._hours.extend((stamps // _HOUR_MS * _HOUR_MS).tolist())

    def facts(self) -> Facts:
        """What all the rows so far prove."""
        if self._hours:
            return _funding_facts(self._facts, self._hours)
        return replace(self._facts, gaps=tuple(self._gaps))

    def _add_opens(self, opens: npt.NDArray[np.int64]) -> None:
        interval = self.file.series.interval or ""
        grid = self.file.opens(self.file.grid_end_ms)
        on_grid = (
            opens[np.isin(opens, grid)] if isinstance(grid, list) else _on(opens, grid)
        )
        off = len(opens) - len(on_grid)
        self._facts = facts = replace(self._facts, off_grid=self._facts.off_grid + off)
        if not len(on_grid):
            return
        before = facts.covered_until_ms
        if before is not None and on_grid[0] > before:
            self._gaps.append(_grid_hole(self.file, before, int(on_grid[0])))
        if isinstance(grid, range):
            for at in np.flatnonzero(np.diff(on_grid) > grid.step):
                start = int(on_grid[at]) + grid.step
                self._gaps.append(_grid_hole(self.file, start, int(on_grid[at + 1])))
        start = facts.covered_from_ms
        self._facts = replace(
            facts,
            covered_from_ms=int(on_grid[0]) if start is None else start,
            covered_until_ms=next_open_ms(interval, int(on_grid[-1])),
        )

    def _add_ids(
        self, ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64]
    ) -> None:
        facts = self._facts
        if facts.last_id is not None and ids[0] > facts.last_id + 1:
            start = facts.covered_until_ms or int(stamps[0])
            self._gaps.append(
                _id_hole(start, int(stamps[0]), facts.last_id, int(ids[0]))
            )
        for at in np.flatnonzero(np.diff(ids) > 1):
            self._gaps.append(
                _id_hole(
                    int(stamps[at]), int(stamps[at + 1]), int(ids[at]), int(ids[at + 1])
                )
            )
        self._facts = replace(
            facts,
            first_id=int(ids[0]) if facts.first_id is None else facts.first_id,
            last_id=int(ids[-1]),
            covered_from_ms=facts.first_ms,
            covered_until_ms=int(stamps[-1]),
        )


def _on(opens: npt.NDArray[np.int64], grid: range) -> npt.NDArray[np.int64]:
    return opens[(opens - grid.start) % grid.step == 0]


def _grid_hole(file: CacheFile, start_ms: int, end_ms: int) -> Hole:
    return Hole(start_ms, end_ms, rows=_grid_rows(file, start_ms, end_ms))


def _grid_rows(file: CacheFile, start_ms: int, end_ms: int) -> int:
    """How many candles open in ``[start_ms, end_ms)`` and belong into the file."""
    grid = file.opens(file.grid_end_ms)
    if isinstance(grid, range):
        steps = [-(-(at - grid.start) // grid.step) for at in (start_ms, end_ms)]
        first, last = (min(max(step, 0), len(grid)) for step in steps)
        return max(0, last - first)
    return sum(start_ms <= at < end_ms for at in grid)


def _id_hole(start_ms: int, end_ms: int, after_id: int, before_id: int) -> Hole:
    # Both ends may lie in one millisecond; the hole must not have zero length.
    missing = before_id - after_id - 1
    return Hole(start_ms, end_ms + 1, missing, after_id=after_id, before_id=before_id)


def _funding_facts(facts: Facts, hours: list[int]) -> Facts:
    """Read the pace off the events: a wait longer than those on both sides hides events."""
    waits = [b - a for a, b in zip(hours, hours[1:], strict=False)]
    gaps = []
    for at, wait in enumerate(waits):
        beside = waits[max(0, at - 1) : at] + waits[at + 1 : at + 2]
        pace = min(max(beside, default=_LONGEST_FUNDING_MS), _LONGEST_FUNDING_MS)
        if wait > pace:
            gaps.append(
                Hole(hours[at] + pace, hours[at + 1], rows=-(-wait // pace) - 1)
            )
    pace_ms = min(waits[-1], _LONGEST_FUNDING_MS) if waits else None
    return replace(
        facts,
        gaps=tuple(gaps),
        pace_ms=pace_ms,
        covered_from_ms=hours[0],
        covered_until_ms=hours[-1] + (pace_ms or _HOUR_MS),
    )


def find_holes(file: CacheFile, facts: Facts, until_ms: int) -> list[Hole]:
    """
    Where rows are missing, or may be, in the file's period up to *until_ms*.

    Parameters
    ----------
    file : CacheFile
    facts : Facts
        What its rows prove; ``Facts()`` for a file that is not there.
    until_ms : int
        The end (exclusive) of what is wanted.

    Returns
    -------
    list of Hole
        In order of time, without overlap.
    """
    start_ms, end_ms = file.period.start_ms, _last_end(file, until_ms)
    if facts.covered_from_ms is None or facts.covered_until_ms is None:
        parts = [Hole(start_ms, end_ms)]
    else:
        head = Hole(start_ms, facts.covered_from_ms, before_id=facts.first_id)
        tail = Hole(facts.covered_until_ms, end_ms, after_id=facts.last_id)
        parts = [head, *facts.gaps, tail]
    holes = [hole for hole in parts if hole.start_ms < min(hole.end_ms, end_ms)]
    return [
        each
        for each in (_counted(file, facts, hole) for hole in holes)
        if each.rows != 0
    ]


def _last_end(file: CacheFile, until_ms: int) -> int:
    """The end of what is wanted: for k-lines, that of the last candle that is closed."""
    if file.series.interval is None:
        return min(until_ms, file.period.end_ms)
    opens = file.opens(until_ms)
    return (
        next_open_ms(file.series.interval, opens[-1]) if opens else file.period.start_ms
    )


def _counted(file: CacheFile, facts: Facts, hole: Hole) -> Hole:
    """The hole, with the number of rows that it hides where that is certain."""
    if file.dataset.key == "open_time":
        return replace(hole, rows=_grid_rows(file, hole.start_ms, hole.end_ms))
    if facts.pace_ms and hole.rows is None:
        return replace(hole, rows=-(-(hole.end_ms - hole.start_ms) // facts.pace_ms))
    return hole


def unexplained(
    file: CacheFile,
    holes: Iterable[Hole],
    absences: Sequence[Absence],
    *,
    by_rest: bool,
) -> list[Hole]:
    """
    The holes, or parts of holes, about which the exchange has not been heard.

    Parameters
    ----------
    file : CacheFile
    holes : iterable of Hole
    absences : sequence of Absence
    by_rest : bool
        Whether only an answer of REST explains a hole in which rows are missing
        for certain. The archive's silence is not enough there: its files have
        been published cut short. At a quiet edge it is.

    Returns
    -------
    list of Hole
    """
    left: list[Hole] = []
    for hole in holes:
        certain = by_rest and hole.rows is not None
        heard = [
            each for each in absences if not (certain and each.evidence == "archive")
        ]
        left += _left_of(file, hole, heard)
    return left


def _left_of(file: CacheFile, hole: Hole, absences: Sequence[Absence]) -> list[Hole]:
    if hole.after_id is not None and hole.before_id is not None:
        return [] if any(_within_ids(hole, absence) for absence in absences) else [hole]
    parts = [hole]
    for absence in absences:
        parts = [piece for part in parts for piece in _minus(part, absence)]
    if file.dataset.key == "open_time":
        parts = [
            replace(part, rows=_grid_rows(file, part.start_ms, part.end_ms))
            for part in parts
        ]
    return [part for part in parts if part.rows != 0]


def _within_ids(hole: Hole, absence: Absence) -> bool:
    if hole.after_id is None or hole.before_id is None:
        return False
    if absence.after_id is None or absence.before_id is None:
        return False
    return absence.after_id <= hole.after_id and hole.before_id <= absence.before_id


def _minus(hole: Hole, absence: Absence) -> list[Hole]:
    if absence.end_ms <= hole.start_ms or hole.end_ms <= absence.start_ms:
        return [hole]
    before = replace(hole, end_ms=absence.start_ms)
    after = replace(hole, start_ms=absence.end_ms)
    return [part for part in (before, after) if part.start_ms < part.end_ms]
