"""What can be known of one file: its facts, its gaps, and the exchange's answers about them."""

from __future__ import annotations

from msgspec import Struct

from ares_notebook.model.files import CacheFile


# A value that never changes is part of no circle, and the collector would walk through
# hundreds of thousands of them in vain: hence `gc=False`, here and in what is made of them.
class Gap(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A stretch ``[start_ms, end_ms)`` in which rows are missing, or may be."""

    # Milliseconds since the epoch, UTC.
    start_ms: int
    end_ms: int
    # How many rows are missing for certain; None where only the exchange can tell whether any are
    # (before the first trade of a day, say).
    rows: int | None = None
    # For trades, the ids of the rows on either side.
    after_id: int | None = None
    before_id: int | None = None


class Neighbours(Struct, frozen=True, gc=False):
    """
    The trades on either side of a file, by their ids; None where they are not known.

    They are known where every day between is there or known to be empty, or where the ids run on
    over it. So a day that was published cut short shows.
    """

    last_id_before: int | None = None
    first_id_after: int | None = None


ALONE = Neighbours()
"""Nothing is known of the files on either side."""


class Trouble(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Why rows are still missing after they were asked for."""

    reason: str
    # The error, or what was found.
    words: str
    # When, ISO, UTC.
    at: str


class Facts(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What the rows of a file prove."""

    rows: int = 0
    # First and last stamp.
    first_ms: int | None = None
    last_ms: int | None = None
    # The stretch in which `gaps` are all the gaps there are.
    covered_from_ms: int | None = None
    covered_until_ms: int | None = None
    # For trades.
    first_id: int | None = None
    last_id: int | None = None
    # For funding, the distance between two events at the end of the file and at its beginning; None
    # where neither the archive nor two waits that agree tell of it.
    pace_ms: int | None = None
    # Gaps between the first and the last row.
    gaps: tuple[Gap, ...] = ()
    # K-lines that did not open on the grid.
    off_grid: int = 0
    # For trades, hours and more without one, over which the ids run on.
    quiet: tuple[Gap, ...] = ()
    first_pace_ms: int | None = None

    @property
    def end_ms(self) -> int | None:
        """Where the rows end: that of the last candle, or just after the last trade or event."""
        if self.last_ms is None:
            return None
        return max(self.last_ms + 1, self.covered_until_ms or 0)


def grid_rows(file: CacheFile, start_ms: int, end_ms: int) -> int:
    """How many candles open in ``[start_ms, end_ms)`` and belong into the file."""
    grid = file.opens(file.grid_end_ms)
    if isinstance(grid, range):
        steps = [-(-(at - grid.start) // grid.step) for at in (start_ms, end_ms)]
        first, last = (min(max(step, 0), len(grid)) for step in steps)
        return max(0, last - first)
    return sum(start_ms <= at < end_ms for at in grid)
