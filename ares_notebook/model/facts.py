"""What is known of one file: facts about its rows, its gaps, the neighbouring trades."""

from __future__ import annotations

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
    # K-lines that did not open on the grid.
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
