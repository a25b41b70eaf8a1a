"""
The pace of funding: whether events are missing between two that are there.

Binance pays on the hour, each 1, 2, 4 or 8 hours of the day, and changes that when it
likes; now and then it pays more often for half a day. Where the archive's own column
tells the pace, nothing need be guessed. Where REST alone speaks, a wait hides events
for certain only if those on both sides of it agree on a shorter one, or if it is longer
than any pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec.structs import replace

from ares_notebook.market.facts import Facts, Hole

__all__ = ["funding_facts"]

_HOUR_MS = 3_600_000
_LONGEST_WAIT = 8
_DAY_HOURS = 24


def funding_facts(facts: Facts, events: Sequence[int], paces: Sequence[int]) -> Facts:
    """
    What events prove of their file.

    Parameters
    ----------
    facts : Facts
        What is known without them.
    events : sequence of int
        Hours since the epoch, ascending.
    paces : sequence of int
        The hours between two events that the archive tells with each, 0 where it does
        not. Whether it speaks of those before or after is not documented, so a wait
        that either neighbour explains hides nothing.

    Returns
    -------
    Facts

    Examples
    --------
    Hourly to 14:00, then 16:00, 20:00:

    >>> funding_facts(Facts(), [13, 14, 16, 20], [1, 1, 4, 4]).gaps
    ()
    >>> [hole.rows for hole in funding_facts(Facts(), [0, 8, 24, 32], [8, 8, 8, 8]).gaps]
    [1]
    """
    # On another grid than that of days nothing can be counted.
    known = [pace if pace and _DAY_HOURS % pace == 0 else 0 for pace in paces]
    waits = [after - before for before, after in pairwise(events)]
    gaps = []
    for at, (before, after) in enumerate(pairwise(events)):
        told = [pace for pace in known[at : at + 2] if pace]
        if told:
            found = _by_column(before, after, known[at], known[at + 1])
        else:
            found = _by_neighbours(waits, at)
        if found is not None:
            first, rows = found
            gaps.append(Hole((before + first) * _HOUR_MS, after * _HOUR_MS, rows=rows))
    return replace(
        facts,
        gaps=tuple(gaps),
        pace_ms=_pace_ms(known[-1], waits[-2:]),
        first_pace_ms=_pace_ms(known[0], waits[:2]),
        covered_from_ms=events[0] * _HOUR_MS,
        # The pace may rise at any time; an hour is the shortest there is.
        covered_until_ms=(events[-1] + 1) * _HOUR_MS,
    )


def _by_column(before: int, after: int, pace: int, next_pace: int) -> tuple[int, int] | None:
    """After how many hours an event is missing, and how many are for certain; None if none is."""
    if pace and after <= (before // pace + 1) * pace:
        return None
    if next_pace and before >= (after - 1) // next_pace * next_pace:
        return None
    told = [each for each in (pace, next_pace) if each]
    first = min((before // each + 1) * each for each in told) - before
    return first, min((after - 1) // each - before // each for each in told)


def _by_neighbours(waits: Sequence[int], at: int) -> tuple[int, int] | None:
    """The same where the waits alone tell."""
    wait, beside = waits[at], [*waits[max(0, at - 1) : at], *waits[at + 1 : at + 2]]
    agree = len(beside) == 2 and beside[0] == beside[1]  # noqa: PLR2004 - both sides
    if agree and beside[0] < wait:
        pace = min(beside[0], _LONGEST_WAIT)
        return pace, -(-wait // pace) - 1
    if wait > _LONGEST_WAIT:
        return min([*beside, _LONGEST_WAIT]), -(-wait // _LONGEST_WAIT) - 1
    return None


def _pace_ms(pace: int, waits: Sequence[int]) -> int | None:
    """The pace at an edge of a file: as the archive tells it, or two waits that agree."""
    if not pace and len(waits) == 2 and waits[0] == waits[1]:  # noqa: PLR2004 - two waits
        pace = min(waits[0], _LONGEST_WAIT)
    return pace * _HOUR_MS or None
