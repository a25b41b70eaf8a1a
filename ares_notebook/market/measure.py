"""
Take the measure of a file from its rows, as pure arithmetic.

Completeness is read off the data: k-lines against the grid of their open times,
trades by ids without a hole, funding by the pace that the exchange itself shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from ares_notebook.market.facts import Facts, Hole, grid_rows
from ares_notebook.market.funding import funding_facts
from ares_notebook.market.intervals import next_open_ms
from ares_notebook.market.series import CacheFile

__all__ = ["Measure"]

_HOUR_MS = 3_600_000
# A shorter silence of a small symbol is nothing to speak of.
_QUIET_MS = _HOUR_MS


@dataclass(slots=True)
class Measure:
    """
    Take the measure of a file from its rows, some at a time, in order.

    Examples
    --------
    Rows are added as they pass by; nothing of them is kept.

    >>> from ares_notebook.market.series import parse_file_name
    >>> Measure(parse_file_name("futures_BTCUSDT_2025-01.csv")).facts().rows
    0
    """

    file: CacheFile
    _facts: Facts = field(default_factory=Facts)
    _gaps: list[Hole] = field(default_factory=list)
    _quiet: list[Hole] = field(default_factory=list)
    # Of funding each event, and the pace that the archive tells with it; 0 where it does not.
    _events: list[int] = field(default_factory=list)
    _paces: list[int] = field(default_factory=list)

    def add(
        self,
        keys: npt.NDArray[np.int64],
        stamps: npt.NDArray[np.int64],
        hours: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """
        Add the next rows.

        Parameters
        ----------
        keys : array of int64
            What they are known by; must ascend.
        stamps : array of int64
            Milliseconds since the epoch.
        hours : array of int64, optional
            For funding, the time between two events, where the archive tells it.
        """
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

    def told_hours(self) -> dict[int, int]:
        """Of funding, the hours to the next event by the key of each, where the archive told them."""
        return {key: pace for key, pace in zip(self._events, self._paces, strict=True) if pace}

    def facts(self) -> Facts:
        """What all the rows so far prove."""
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
            self._gaps.append(_grid_hole(self.file, before, int(on_grid[0])))
        if isinstance(grid, range):
            for at in np.flatnonzero(np.diff(on_grid) > grid.step):
                start = int(on_grid[at]) + grid.step
                self._gaps.append(_grid_hole(self.file, start, int(on_grid[at + 1])))
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
            # The step from the table before counts like any other.
            ids = np.concatenate([[facts.last_id], ids])
            stamps = np.concatenate([[facts.covered_until_ms], stamps])
        steps, waits = np.diff(ids), np.diff(stamps)
        for at in np.flatnonzero(steps > 1):
            self._gaps.append(
                _id_hole(int(stamps[at]), int(stamps[at + 1]), int(ids[at]), int(ids[at + 1]))
            )
        for at in np.flatnonzero((steps == 1) & (waits >= _QUIET_MS)):
            self._quiet.append(Hole(int(stamps[at]), int(stamps[at + 1]), rows=0))
        self._facts = replace(
            facts,
            first_id=first_id,
            last_id=int(ids[-1]),
            covered_from_ms=facts.first_ms,
            covered_until_ms=int(stamps[-1]),
        )


def _on(opens: npt.NDArray[np.int64], grid: Sequence[int]) -> npt.NDArray[np.int64]:
    """Those of the open times that are on the grid; of months the grid is a list."""
    if isinstance(grid, range):
        on: npt.NDArray[np.bool_] = (opens - grid.start) % grid.step == 0
    else:
        on = np.isin(opens, grid)
    return opens[on]


def _id_hole(start_ms: int, end_ms: int, after_id: int, before_id: int) -> Hole:
    # Both ends may lie in one millisecond; the hole must not have zero length.
    missing = before_id - after_id - 1
    return Hole(start_ms, end_ms + 1, missing, after_id=after_id, before_id=before_id)


def _grid_hole(file: CacheFile, start_ms: int, end_ms: int) -> Hole:
    return Hole(start_ms, end_ms, rows=grid_rows(file, start_ms, end_ms))
