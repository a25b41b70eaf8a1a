"""What is known of one file: facts about its rows, its gaps, the neighbouring trades."""

from __future__ import annotations

from itertools import pairwise

from msgspec import Struct

from ares_notebook.model.files import CacheFile


# Immutable values form no cycles, and the garbage collector would traverse hundreds of thousands of
# them in vain: hence `gc=False`.
class Gap(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A span ``[start_ms, end_ms)`` in which rows are missing, or may be."""

    # Milliseconds since the epoch, UTC.
    start_ms: int
    end_ms: int
    # How many rows are certainly missing; None where only the exchange knows whether any are, such as
    # before the first trade of a day.
    rows: int | None = None
    # For trades, the ids of the rows on either side.
    after_id: int | None = None
    before_id: int | None = None


class Neighbours(Struct, frozen=True, gc=False):
    """
    The ids of the trades before and after a file; None where they are not known.

    They reveal a day whose zip was published incomplete.
    """

    last_id_before: int | None = None
    first_id_after: int | None = None


ALONE = Neighbours()
"""Neither neighbour is known."""


NOT_PUBLISHED = "not yet published"


class Trouble(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Why rows are still missing after they were asked for."""

    reason: str
    # The text of the error or finding.
    words: str
    # When, ISO, UTC.
    at: str


class Facts(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What the rows of a file prove about it."""

    rows: int = 0
    # First and last timestamp.
    first_ms: int | None = None
    last_ms: int | None = None
    # The span in which `gaps` lists all gaps.
    covered_from_ms: int | None = None
    covered_until_ms: int | None = None
    # For trades.
    first_id: int | None = None
    last_id: int | None = None
    # For funding, the interval between events at the end of the file, and at its beginning in
    # `first_pace_ms`; None where neither the archive nor two equal intervals show it.
    pace_ms: int | None = None
    # Gaps between the first and the last row.
    gaps: tuple[Gap, ...] = ()
    # Rows that are off the grid.
    off_grid: int = 0
    # For trades, hours without any although the ids continue.
    quiet: tuple[Gap, ...] = ()
    first_pace_ms: int | None = None

    @property
    def end_ms(self) -> int | None:
        """The end of the last candle, or just after the last trade or event."""
        if self.last_ms is None:
            return None
        return max(self.last_ms + 1, self.covered_until_ms or 0)


def grid_rows(file: CacheFile, start_ms: int, end_ms: int) -> int:
    """How many candles of the file open in ``[start_ms, end_ms)``."""
    grid = file.opens(file.grid_end_ms)
    if isinstance(grid, range):
        steps = [-(-(at - grid.start) // grid.step) for at in (start_ms, end_ms)]
        first, last = (min(max(step, 0), len(grid)) for step in steps)
        return max(0, last - first)
    return sum(start_ms <= at < end_ms for at in grid)


_LARGEST_INT64 = 2**63 - 1
_DAY_MS = 86_400_000


def could_be_of(file: CacheFile, facts: Facts) -> bool:
    """Whether rows of *file* could prove *facts*, by its period and by the numbers themselves."""
    start_ms, end_ms = file.start_ms, max(file.end_ms, file.grid_end_ms)
    pairs = [
        (facts.first_ms, facts.last_ms),
        (facts.covered_from_ms, facts.covered_until_ms),
    ]
    if facts.first_id is not None or file.dataset.key == "id":
        most = (facts.last_id or 0) - (facts.first_id or 0) + 1
        is_sound = _is_pair(facts.first_id, facts.last_id, 0, _LARGEST_INT64)
        is_sound &= (facts.first_id is None) == (facts.rows == 0)
    else:
        # No dataset has more than one row a second.
        most, is_sound = (end_ms - start_ms) // 1000, facts.last_id is None
    return (
        is_sound
        and (facts.first_ms is None) == (facts.rows == 0)
        and 0 <= facts.off_grid <= facts.rows <= most
        and all(_is_pair(*pair, start_ms, end_ms) for pair in pairs)
        and all(
            pace is None or 0 < pace <= _DAY_MS for pace in (facts.pace_ms, facts.first_pace_ms)
        )
        and all(_are_spans(gaps, start_ms, end_ms, most) for gaps in (facts.gaps, facts.quiet))
    )


def _is_pair(first: int | None, last: int | None, least: int, most: int) -> bool:
    """Whether both are absent, or in order and within bounds."""
    if first is None or last is None:
        return first is last
    return least <= first <= last <= most


def _are_spans(gaps: tuple[Gap, ...], start_ms: int, end_ms: int, most: int) -> bool:
    """Whether gaps are in order, in the period, and of possible numbers of rows and ids."""
    return all(
        start_ms <= gap.start_ms < gap.end_ms <= end_ms
        and (gap.rows is None or 0 <= gap.rows <= most)
        and _is_pair(gap.after_id, gap.before_id, 0, _LARGEST_INT64)
        for gap in gaps
    ) and all(before.start_ms <= after.start_ms for before, after in pairwise(gaps))
