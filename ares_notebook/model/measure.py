"""Derive facts from the rows of a file, block by block; for funding by its event intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from ares_notebook.model.facts import Facts, Gap, grid_rows
from ares_notebook.model.files import CacheFile
from ares_notebook.model.time import next_open_ms

_HOUR_MS = 3_600_000
_LONGEST_WAIT = 8
_DAY_HOURS = 24


def funding_facts(facts: Facts, events: Sequence[int], paces: Sequence[int]) -> Facts:
    """The facts of a file of funding, from the hours of its events and their intervals (0: unknown)."""
    # An interval that does not divide the day has no grid to count on.
    known = [pace if pace and _DAY_HOURS % pace == 0 else 0 for pace in paces]
    waits = [after - before for before, after in pairwise(events)]
    gaps = []
    for at, (before, after) in enumerate(pairwise(events)):
        if any(known[at : at + 2]):
            found = _by_column(before, after, known[at], known[at + 1])
        else:
            found = _by_neighbours(waits, at)
        if found is not None:
            first, rows = found
            gaps.append(Gap((before + first) * _HOUR_MS, after * _HOUR_MS, rows=rows))
    return replace(
        facts,
        gaps=tuple(gaps),
        pace_ms=_pace_ms(known[-1], waits[-2:]),
        first_pace_ms=_pace_ms(known[0], waits[:2]),
        covered_from_ms=events[0] * _HOUR_MS,
        # The interval may shorten at any time; an hour is the shortest.
        covered_until_ms=(events[-1] + 1) * _HOUR_MS,
    )


def _by_column(before: int, after: int, pace: int, next_pace: int) -> tuple[int, int] | None:
    """After how many hours an event is missing, and how many certainly are; None if none."""
    if pace and after <= (before // pace + 1) * pace:
        return None
    if next_pace and before >= (after - 1) // next_pace * next_pace:
        return None
    paces = [each for each in (pace, next_pace) if each]
    first = min((before // each + 1) * each for each in paces) - before
    return first, min((after - 1) // each - before // each for each in paces)


def _by_neighbours(waits: Sequence[int], at: int) -> tuple[int, int] | None:
    """The same without the archive's column, by the neighbouring intervals."""
    wait, neighbours = waits[at], [*waits[max(0, at - 1) : at], *waits[at + 1 : at + 2]]
    agree = len(neighbours) == 2 and neighbours[0] == neighbours[1]  # noqa: PLR2004 - both sides
    if agree and neighbours[0] < wait:
        pace = min(neighbours[0], _LONGEST_WAIT)
        return pace, -(-wait // pace) - 1
    if wait > _LONGEST_WAIT:
        return min([*neighbours, _LONGEST_WAIT]), -(-wait // _LONGEST_WAIT) - 1
    return None


def _pace_ms(pace: int, waits: Sequence[int]) -> int | None:
    """The interval at an edge of a file: that of the archive's column, or two equal ones."""
    if not pace and len(waits) == 2 and waits[0] == waits[1]:  # noqa: PLR2004 - two waits
        pace = min(waits[0], _LONGEST_WAIT)
    return pace * _HOUR_MS or None


# Shorter times without a trade are common for small symbols.
_QUIET_MS = _HOUR_MS


@dataclass(slots=True)
class Measure:
    """Accumulates the facts of a file from its rows, block by block, in order."""

    file: CacheFile
    _facts: Facts = field(default_factory=Facts)
    _gaps: list[Gap] = field(default_factory=list)
    _quiet: list[Gap] = field(default_factory=list)
    # For funding, the hour of each event and the interval in the archive's column; 0 if unknown.
    _events: list[int] = field(default_factory=list)
    _paces: list[int] = field(default_factory=list)

    def add(
        self,
        keys: npt.NDArray[np.int64],
        stamps: npt.NDArray[np.int64],
        hours: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Add the next rows."""
        if not len(keys):
            return
        facts = self._facts
        first = facts.first_ms if facts.first_ms is not None else int(stamps[0])
        self._facts = replace(
            facts,
            rows=facts.rows + len(keys),
            first_ms=first,
            last_ms=int(stamps[-1]),
        )
        match self.file.dataset.key:
            case "open_time":
                self._add_opens(stamps)
            case "id":
                self._add_ids(keys, stamps)
            case "event_time":
                self._events.extend((stamps // _HOUR_MS).tolist())
                self._paces.extend([0] * len(keys) if hours is None else hours.tolist())

    def stated_hours(self) -> dict[int, int]:
        """For funding, the interval of each event by its key, where the archive has it."""
        return {key: pace for key, pace in zip(self._events, self._paces, strict=True) if pace}

    def facts(self) -> Facts:
        """The facts of all rows so far."""
        if self._events:
            return funding_facts(self._facts, self._events, self._paces)
        return replace(self._facts, gaps=tuple(self._gaps), quiet=tuple(self._quiet))

    def _add_opens(self, opens: npt.NDArray[np.int64]) -> None:
        interval = self.file.series.interval or ""
        grid = self.file.opens(self.file.grid_end_ms)
        on_grid = _on(opens, grid)
        off = len(opens) - len(on_grid)
        self._facts = facts = replace(self._facts, off_grid=self._facts.off_grid + off)
        if not len(on_grid):
            return
        before = facts.covered_until_ms
        if before is not None and on_grid[0] > before:
            self._gaps.append(_grid_gap(self.file, before, int(on_grid[0])))
        if isinstance(grid, range):
            for at in np.flatnonzero(np.diff(on_grid) > grid.step):
                start = int(on_grid[at]) + grid.step
                self._gaps.append(_grid_gap(self.file, start, int(on_grid[at + 1])))
        first = facts.covered_from_ms
        self._facts = replace(
            facts,
            covered_from_ms=int(on_grid[0]) if first is None else first,
            covered_until_ms=next_open_ms(interval, int(on_grid[-1])),
        )

    def _add_ids(self, ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64]) -> None:
        facts = self._facts
        first_id = int(ids[0]) if facts.first_id is None else facts.first_id
        if facts.last_id is not None and facts.covered_until_ms is not None:
            # Include the step from the previous block.
            ids = np.concatenate([[facts.last_id], ids])
            stamps = np.concatenate([[facts.covered_until_ms], stamps])
        steps, waits = np.diff(ids), np.diff(stamps)
        for at in np.flatnonzero(steps > 1):
            self._gaps.append(
                _id_gap(int(stamps[at]), int(stamps[at + 1]), int(ids[at]), int(ids[at + 1]))
            )
        for at in np.flatnonzero((steps == 1) & (waits >= _QUIET_MS)):
            self._quiet.append(Gap(int(stamps[at]), int(stamps[at + 1]), rows=0))
        self._facts = replace(
            facts,
            first_id=first_id,
            last_id=int(ids[-1]),
            covered_from_ms=facts.first_ms,
            covered_until_ms=int(stamps[-1]),
        )


def _on(opens: npt.NDArray[np.int64], grid: Sequence[int]) -> npt.NDArray[np.int64]:
    """The open times that are on the grid; that of months is a list."""
    if isinstance(grid, range):
        on: npt.NDArray[np.bool_] = (opens - grid.start) % grid.step == 0
    else:
        on = np.isin(opens, grid)
    return opens[on]


def _id_gap(start_ms: int, end_ms: int, after_id: int, before_id: int) -> Gap:
    # Both ends may lie in one millisecond; the gap must not be empty.
    missing = before_id - after_id - 1
    return Gap(start_ms, end_ms + 1, missing, after_id=after_id, before_id=before_id)


def _grid_gap(file: CacheFile, start_ms: int, end_ms: int) -> Gap:
    return Gap(start_ms, end_ms, rows=grid_rows(file, start_ms, end_ms))
