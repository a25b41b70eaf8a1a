"""Patches put into the gaps they were fetched for, row streams in and out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ares_notebook.cache.reader import read_rows
from ares_notebook.cache.writer import Patch
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.files import CacheFile
from ares_notebook.model.rows import Table, keys_of

__all__ = ["spliced"]


def spliced(dataset: Dataset, base: Iterable[Table], patches: Iterable[Patch]) -> Iterator[Table]:
    """The rows of *base* with those of *patches* in their places, ascending."""
    waiting = sorted(patches, key=lambda patch: patch.keys)
    # The patch that has been reached, and the rows of the base that lie in its extent.
    reached: Patch | None = None
    under: list[Table] = []
    for whole in base:
        table = whole
        while table.num_rows:
            if reached is not None:
                cut = _position(dataset, table, reached.keys[1])
                under.append(table.slice(0, cut))
                table = table.slice(cut)
                if not table.num_rows:
                    break
                yield from _laid_over(reached, under)
                reached, under = None, []
            cut = _position(dataset, table, waiting[0].keys[0]) if waiting else table.num_rows
            yield table.slice(0, cut)
            table = table.slice(cut)
            if table.num_rows:
                reached = waiting.pop(0)
    if reached is not None:
        yield from _laid_over(reached, under)
    for patch in waiting:
        yield from read_rows(patch.part.path, patch.part.file)


def _laid_over(patch: Patch, under: list[Table]) -> Iterator[Table]:
    """The patch, with those rows under it that none of its own replaces."""
    below = pa.concat_tables(under)
    if not below.num_rows or not patch.part.file.dataset.has_interval:
        # An id or a funding hour can only be the same row again.
        yield from read_rows(patch.part.path, patch.part.file)
        return
    # Candles off the grid (February 2018) give way to one that opens in their place,
    # and stay where the exchange has none. They are few, and so is what lies over them.
    above = pa.concat_tables(read_rows(patch.part.path, patch.part.file))
    is_replaced = np.isin(_slots(patch.part.file, below), _slots(patch.part.file, above))
    kept = below.filter(pa.array(~is_replaced))
    yield pa.concat_tables([above, kept]).sort_by("timestamp")


def _slots(file: CacheFile, table: Table) -> npt.NDArray[np.int64]:
    """For each candle the open time, on the grid, in whose place it stands."""
    opens_us = np.asarray(file.opens(file.grid_end_ms)) * 1000
    at = np.searchsorted(opens_us, keys_of(file.dataset, table), side="right") - 1
    slots: npt.NDArray[np.int64] = opens_us[np.maximum(at, 0)]
    return slots


def _position(dataset: Dataset, table: Table, key: int) -> int:
    return int(np.searchsorted(keys_of(dataset, table), key))
