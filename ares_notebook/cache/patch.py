"""What was fetched for a hole, and what of a file it may replace."""

from __future__ import annotations

from dataclasses import dataclass

from ares_notebook.cache.part import Part
from ares_notebook.market.facts import Hole
from ares_notebook.market.intervals import next_open_ms

__all__ = ["Patch"]

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Patch:
    """
    Rows fetched for a hole, in a temporary file.

    Parameters
    ----------
    hole : Hole
    part : Part
        Written to its end, and never of no rows.
    """

    hole: Hole
    part: Part

    @property
    def keys(self) -> tuple[int, int]:
        """
        First key, and the key after the last, of what this may replace.

        For candles to the end of the last one: one off the grid may lie in it. An id
        or a funding hour can only be the same row again.
        """
        facts = self.part.facts
        first_ms, last_ms = facts.first_ms or 0, facts.last_ms or 0
        match self.part.file.dataset.key:
            case "id":
                return facts.first_id or 0, (facts.last_id or 0) + 1
            case "open_time":
                end_ms = next_open_ms(self.part.file.series.interval or "", last_ms)
                return first_ms * 1000, end_ms * 1000
            case "event_time":
                return first_ms // _HOUR_MS, last_ms // _HOUR_MS + 1
