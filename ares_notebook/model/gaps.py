"""
Have, want, missing: where rows are missing, and what the exchange has said of it.

Where the data cannot tell (was there a trade before the first of the day?), what
the exchange answered is remembered as an *absence*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ares_notebook.model.evidence import Absence, evidence_of
from ares_notebook.model.facts import ALONE, Beside, Facts, Hole, grid_rows
from ares_notebook.model.files import CacheFile
from ares_notebook.model.intervals import next_open_ms

__all__ = ["find_holes", "is_final", "joined_edges", "meets", "unasked", "unexplained"]

_HOUR_MS = 3_600_000


def find_holes(file: CacheFile, facts: Facts, until_ms: int, beside: Beside = ALONE) -> list[Hole]:
    """
    Where rows are missing, or may be, in the file's period up to *until_ms*.

    Parameters
    ----------
    file : CacheFile
    facts : Facts
        What its rows prove; ``Facts()`` for a file that is not there.
    until_ms : int
        The end (exclusive) of what is wanted.
    beside : Beside
        The trades on either side: where the ids run on nothing is missing, where
        they do not, that much is.

    Returns
    -------
    list of Hole
        In order of time. They do not overlap, but that those of trades reach into
        the milliseconds of the rows on either side.
    """
    start_ms, end_ms = file.start_ms, _last_end(file, until_ms)
    if facts.covered_from_ms is None or facts.covered_until_ms is None:
        missing = _between(beside.last_id_before, beside.first_id_after)
        parts = [Hole(start_ms, end_ms, missing)]
    else:
        # A trade that is missing may share the millisecond of the one that is there.
        first_id, last_id = facts.first_id, facts.last_id
        head_end_ms = facts.covered_from_ms + (first_id is not None)
        before = _between(beside.last_id_before, first_id)
        after = _between(last_id, beside.first_id_after)
        head = Hole(start_ms, head_end_ms, before, before_id=first_id)
        tail = Hole(facts.covered_until_ms, end_ms, after, after_id=last_id)
        parts = [head, *facts.gaps, tail]
    holes = []
    for part in parts:
        inside = part if part.end_ms <= end_ms else replace(part, end_ms=end_ms)
        if inside.start_ms < inside.end_ms:
            hole = _counted(file, facts, inside)
            if hole.rows != 0:
                holes.append(hole)
    return holes


def _between(last_id: int | None, next_id: int | None) -> int | None:
    """How many ids lie between two; None where one is not known, or they are used twice."""
    if last_id is None or next_id is None or next_id <= last_id:
        # Binance has used an id again on the next day (ZILBTC, 2021-02-28/03-01).
        return None
    return next_id - last_id - 1


def _last_end(file: CacheFile, until_ms: int) -> int:
    """The end of what is wanted: for k-lines, that of the last candle that is closed."""
    if file.series.interval is None:
        return min(until_ms, file.end_ms)
    opens = file.opens(until_ms)
    return next_open_ms(file.series.interval, opens[-1]) if opens else file.start_ms


def _counted(file: CacheFile, facts: Facts, hole: Hole) -> Hole:
    """The hole, with the number of rows that it hides where that is certain."""
    if file.dataset.key == "open_time":
        return replace(hole, rows=grid_rows(file, hole.start_ms, hole.end_ms))
    if hole.rows is not None or facts.first_ms is None:
        return hole
    # Funding: events that are due by the pace are missing for certain.
    is_tail = hole.start_ms > facts.first_ms
    pace_ms = facts.pace_ms if is_tail else facts.first_pace_ms
    if not pace_ms:
        return hole
    # The event just before the tail is there, and is due at its own hour.
    since_ms = hole.start_ms - _HOUR_MS + 1 if is_tail else hole.start_ms
    due = -(-hole.end_ms // pace_ms) - -(-since_ms // pace_ms)
    return replace(hole, rows=due)


def unexplained(file: CacheFile, holes: Iterable[Hole], absences: Iterable[Absence]) -> list[Hole]:
    """
    The holes, or parts of holes, that no proof explains.

    Parameters
    ----------
    file : CacheFile
    holes : iterable of Hole
    absences : iterable of Absence
        Those that are no proof, such as the silence of the archive alone, explain nothing.

    Returns
    -------
    list of Hole
    """
    return _without(file, holes, [each for each in absences if each.is_proof])


def unasked(file: CacheFile, holes: Iterable[Hole], absences: Iterable[Absence]) -> list[Hole]:
    """
    Those of the `unexplained` holes of which the archive has not been asked either.

    Where the archive alone may be asked, this is what is still to be done.

    Parameters
    ----------
    file, holes, absences
        As there.
    """
    heard = [each for each in absences if each.is_proof or each.evidence == "archive"]
    return _without(file, holes, heard)


def _without(file: CacheFile, holes: Iterable[Hole], absences: Sequence[Absence]) -> list[Hole]:
    """What is left of the holes when the answers about them are taken away."""
    left: list[Hole] = []
    for hole in holes:
        heard = absences
        if hole.rows is not None:
            heard = [each for each in absences if evidence_of(each.evidence).explains_rows]
        left += _left_of(file, hole, heard)
    return left


def joined_edges(file: CacheFile, facts: Facts, until_ms: int, beside: Beside) -> list[Hole]:
    """
    The edges of a day of trades at which nothing is missing, since the ids run on from there.

    Parameters
    ----------
    file, facts, until_ms, beside
        As in `find_holes`.
    """
    if file.dataset.key != "id" or not facts.rows or beside == ALONE:
        return []
    left = {(hole.after_id, hole.before_id) for hole in find_holes(file, facts, until_ms, beside)}
    alone = find_holes(file, facts, until_ms)
    return [hole for hole in alone if (hole.after_id, hole.before_id) not in left]


def is_final(
    file: CacheFile,
    facts: Facts,
    absences: Iterable[Absence],
    until_ms: int,
    beside: Beside = ALONE,
) -> bool:
    """
    Whether the file's period is over by *until_ms*, and every row there or explained for good.

    Parameters
    ----------
    file : CacheFile
    facts : Facts
    absences : iterable of Absence
        Only the settled ones count.
    until_ms : int
    beside : Beside
    """
    settled = [each for each in absences if each.is_settled]
    holes = find_holes(file, facts, until_ms, beside)
    return until_ms >= file.grid_end_ms and not unexplained(file, holes, settled)


def meets(hole: Hole, absence: Absence) -> bool:
    """Whether an answer speaks of some part of a hole."""
    return absence.start_ms < hole.end_ms and hole.start_ms < absence.end_ms


def _left_of(file: CacheFile, hole: Hole, absences: Sequence[Absence]) -> list[Hole]:
    if hole.after_id is not None and hole.before_id is not None:
        return [] if any(_within_ids(hole, absence) for absence in absences) else [hole]
    parts = [hole]
    # An absence between two ids shares its milliseconds with rows that are there.
    for absence in (each for each in absences if None in (each.after_id, each.before_id)):
        parts = [piece for part in parts for piece in _minus(part, absence)]
    if file.dataset.key == "open_time":
        parts = [replace(part, rows=grid_rows(file, part.start_ms, part.end_ms)) for part in parts]
    return [part for part in parts if part.rows != 0]


def _within_ids(hole: Hole, absence: Absence) -> bool:
    if hole.after_id is None or hole.before_id is None:
        return False
    if absence.after_id is None or absence.before_id is None:
        return False
    return absence.after_id <= hole.after_id and hole.before_id <= absence.before_id


def _minus(hole: Hole, absence: Absence) -> list[Hole]:
    absence = _apart(hole, absence)
    if absence.end_ms <= hole.start_ms or hole.end_ms <= absence.start_ms:
        return [hole]
    before = replace(hole, end_ms=absence.start_ms)
    after = replace(hole, start_ms=absence.end_ms)
    return [part for part in (before, after) if part.start_ms < part.end_ms]


def _apart(hole: Hole, absence: Absence) -> Absence:
    """
    The absence, without the milliseconds that it shares with trades beside it.

    Beside the same trades it holds in full; where they are not there any more,
    they are missing themselves.
    """
    same = hole.after_id == absence.after_id and hole.before_id == absence.before_id
    if same:
        return absence
    return replace(
        absence,
        start_ms=absence.start_ms + (absence.after_id is not None),
        end_ms=absence.end_ms - (absence.before_id is not None),
    )
