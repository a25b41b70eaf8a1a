"""
Have, want, missing: where rows are missing, and what the exchange has said of it.

Where the data cannot tell (was there a trade before the first of the day?), what
the exchange answered is remembered as an *absence*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ares_notebook.model.evidence import Absence, evidence_of
from ares_notebook.model.facts import ALONE, Facts, Gap, Neighbours, grid_rows
from ares_notebook.model.files import CacheFile
from ares_notebook.model.time import next_open_ms

__all__ = ["gaps_in", "is_final", "joined_edges", "meets", "unasked", "unexplained"]

_HOUR_MS = 3_600_000


def gaps_in(
    file: CacheFile, facts: Facts, until_ms: int, neighbours: Neighbours = ALONE
) -> list[Gap]:
    """Where rows are missing, or may be, in the file's period up to *until_ms*."""
    start_ms, end_ms = file.start_ms, _last_end(file, until_ms)
    if facts.covered_from_ms is None or facts.covered_until_ms is None:
        missing = _between(neighbours.last_id_before, neighbours.first_id_after)
        parts = [Gap(start_ms, end_ms, missing)]
    else:
        # A trade that is missing may share the millisecond of the one that is there.
        first_id, last_id = facts.first_id, facts.last_id
        head_end_ms = facts.covered_from_ms + (first_id is not None)
        before = _between(neighbours.last_id_before, first_id)
        after = _between(last_id, neighbours.first_id_after)
        head = Gap(start_ms, head_end_ms, before, before_id=first_id)
        tail = Gap(facts.covered_until_ms, end_ms, after, after_id=last_id)
        parts = [head, *facts.gaps, tail]
    gaps = []
    for part in parts:
        inside = part if part.end_ms <= end_ms else replace(part, end_ms=end_ms)
        if inside.start_ms < inside.end_ms:
            gap = _counted(file, facts, inside)
            if gap.rows != 0:
                gaps.append(gap)
    return gaps


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


def _counted(file: CacheFile, facts: Facts, gap: Gap) -> Gap:
    """The gap, with the number of rows that it hides where that is certain."""
    if file.dataset.key == "open_time":
        return replace(gap, rows=grid_rows(file, gap.start_ms, gap.end_ms))
    if gap.rows is not None or facts.first_ms is None:
        return gap
    # Funding: events that are due by the pace are missing for certain.
    is_tail = gap.start_ms > facts.first_ms
    pace_ms = facts.pace_ms if is_tail else facts.first_pace_ms
    if not pace_ms:
        return gap
    # The event just before the tail is there, and is due at its own hour.
    since_ms = gap.start_ms - _HOUR_MS + 1 if is_tail else gap.start_ms
    due = -(-gap.end_ms // pace_ms) - -(-since_ms // pace_ms)
    return replace(gap, rows=due)


def unexplained(file: CacheFile, gaps: Iterable[Gap], absences: Iterable[Absence]) -> list[Gap]:
    """The gaps, or parts of gaps, that no proof explains."""
    return _without(file, gaps, [each for each in absences if each.is_proof])


def unasked(file: CacheFile, gaps: Iterable[Gap], absences: Iterable[Absence]) -> list[Gap]:
    """
    Those of the `unexplained` gaps of which the archive has not been asked either.

    Where the archive alone may be asked, this is what is still to be done.
    """
    heard = [each for each in absences if each.is_proof or each.evidence == "archive"]
    return _without(file, gaps, heard)


def _without(file: CacheFile, gaps: Iterable[Gap], absences: Sequence[Absence]) -> list[Gap]:
    """What is left of the gaps when the answers about them are taken away."""
    left: list[Gap] = []
    for gap in gaps:
        heard = absences
        if gap.rows is not None:
            heard = [each for each in absences if evidence_of(each.evidence).explains_rows]
        left += _left_of(file, gap, heard)
    return left


def joined_edges(file: CacheFile, facts: Facts, until_ms: int, neighbours: Neighbours) -> list[Gap]:
    """The edges of a day of trades at which nothing is missing, since the ids run on from there."""
    if file.dataset.key != "id" or not facts.rows or neighbours == ALONE:
        return []
    left = {(gap.after_id, gap.before_id) for gap in gaps_in(file, facts, until_ms, neighbours)}
    alone = gaps_in(file, facts, until_ms)
    return [gap for gap in alone if (gap.after_id, gap.before_id) not in left]


def is_final(
    file: CacheFile,
    facts: Facts,
    absences: Iterable[Absence],
    until_ms: int,
    neighbours: Neighbours = ALONE,
) -> bool:
    """
    Whether the file's period is over by *until_ms*, and every row there or explained for good.
    """
    settled = [each for each in absences if each.is_settled]
    gaps = gaps_in(file, facts, until_ms, neighbours)
    return until_ms >= file.grid_end_ms and not unexplained(file, gaps, settled)


def meets(gap: Gap, absence: Absence) -> bool:
    """Whether an answer speaks of some part of a gap."""
    return absence.start_ms < gap.end_ms and gap.start_ms < absence.end_ms


def _left_of(file: CacheFile, gap: Gap, absences: Sequence[Absence]) -> list[Gap]:
    if gap.after_id is not None and gap.before_id is not None:
        return [] if any(_within_ids(gap, absence) for absence in absences) else [gap]
    parts = [gap]
    # An absence between two ids shares its milliseconds with rows that are there.
    for absence in (each for each in absences if None in (each.after_id, each.before_id)):
        parts = [piece for part in parts for piece in _minus(part, absence)]
    if file.dataset.key == "open_time":
        parts = [replace(part, rows=grid_rows(file, part.start_ms, part.end_ms)) for part in parts]
    return [part for part in parts if part.rows != 0]


def _within_ids(gap: Gap, absence: Absence) -> bool:
    if gap.after_id is None or gap.before_id is None:
        return False
    if absence.after_id is None or absence.before_id is None:
        return False
    return absence.after_id <= gap.after_id and gap.before_id <= absence.before_id


def _minus(gap: Gap, absence: Absence) -> list[Gap]:
    absence = _apart(gap, absence)
    if absence.end_ms <= gap.start_ms or gap.end_ms <= absence.start_ms:
        return [gap]
    before = replace(gap, end_ms=absence.start_ms)
    after = replace(gap, start_ms=absence.end_ms)
    return [part for part in (before, after) if part.start_ms < part.end_ms]


def _apart(gap: Gap, absence: Absence) -> Absence:
    """
    The absence, without the milliseconds that it shares with trades beside it.

    Beside the same trades it holds in full; where they are not there any more,
    they are missing themselves.
    """
    same = gap.after_id == absence.after_id and gap.before_id == absence.before_id
    if same:
        return absence
    return replace(
        absence,
        start_ms=absence.start_ms + (absence.after_id is not None),
        end_ms=absence.end_ms - (absence.before_id is not None),
    )
