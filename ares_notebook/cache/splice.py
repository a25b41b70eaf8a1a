"""Patches put into the holes they were fetched for, row streams in and out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ares_notebook.cache.text import read_rows
from ares_notebook.market.datasets import Dataset
from ares_notebook.market.facts import Facts, Hole
from ares_notebook.market.rows import Table, keys_of
from ares_notebook.market.series import CacheFile

__all__ = ["Patch", "spliced"]


_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Patch:
    """
    Rows fetched for a hole, in a temporary file.

    Parameters
    ----------
    file : CacheFile
    hole : Hole
    path : Path
    facts : Facts
        What the rows prove; never of no rows.
    """

    file: CacheFile
    hole: Hole
    path: Path
    facts: Facts

    @property
    def keys(self) -> tuple[int, int]:
        """
        First key, and the key after the last, of the rows that this replaces.

        A candle off the grid between two of REST's gives way to them; an id or a
        funding hour can only be the same row again.
        """
        facts = self.facts
        first_ms, last_ms = facts.first_ms or 0, facts.last_ms or 0
        match self.file.dataset.key:
            case "id":
                return facts.first_id or 0, (facts.last_id or 0) + 1
            case "open_time":
                return first_ms * 1000, last_ms * 1000 + 1
            case "event_time":
                return first_ms // _HOUR_MS, last_ms // _HOUR_MS + 1


def spliced(dataset: Dataset, base: Iterable[Table], patches: Iterable[Patch]) -> Iterator[Table]:
    """
    The rows of *base* with those of *patches* in their places, ascending.

    Parameters
    ----------
    dataset : Dataset
    base : iterable of pyarrow.Table
    patches : iterable of Patch
        Of holes that do not overlap.

    Yields
    ------
    pyarrow.Table
    """
    waiting = sorted(patches, key=lambda patch: patch.keys)
    resume_at: int | None = None
    for whole in base:
        table = whole
        if resume_at is not None:
            table = _from_key(dataset, table, resume_at)
        while waiting and table.num_rows:
            first, end = waiting[0].keys
            keys = keys_of(dataset, table)
            cut = int(np.searchsorted(keys, first))
            if cut == len(keys):
                break
            yield table.slice(0, cut)
            patch = waiting.pop(0)
            yield from read_rows(patch.path, patch.file)
            resume_at = end
            table = _from_key(dataset, table, end)
        yield table
    for patch in waiting:
        yield from read_rows(patch.path, patch.file)


def _from_key(dataset: Dataset, table: Table, key: int) -> Table:
    return table.slice(int(np.searchsorted(keys_of(dataset, table), key)))
