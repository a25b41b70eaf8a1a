"""Many cache files, read side by side into one frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ares_notebook.cache.cells import Wanted, decimals, read_cells
from ares_notebook.cache.have import Have
from ares_notebook.errors import CacheUnavailable
from ares_notebook.market.datasets import Column
from ares_notebook.market.rows import Table

__all__ = ["frame_of"]

_Arrays = dict[str, npt.NDArray[Any]]


def frame_of(haves: Sequence[Have], wanted: Wanted) -> pd.DataFrame:
    """
    The wanted cells of some files, in one frame.

    Each thread writes what it has parsed where it belongs at once, so that nothing
    is in memory twice.

    Parameters
    ----------
    haves : sequence of Have
        Files that are there, of one series, oldest first.
    wanted : Wanted

    Returns
    -------
    pandas.DataFrame
        As `load_klines` returns it, without ``attrs``.

    Raises
    ------
    CorruptFile
        If a file is not what its name says.
    CacheUnavailable
        If one has changed since it was looked at.
    """
    read = partial(read_cells, wanted=wanted)
    # PyArrow leaves Python's lock while it parses, so threads do run side by side.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        # Where no receipt tells how many rows will come, and of what types, they come first.
        others = [have for have in haves if not _is_known(have, wanted)]
        tables = dict(zip((have.file for have in others), pool.map(read, others), strict=True))
        rows = [
            tables[have.file].num_rows if have.file in tables else have.facts.rows for have in haves
        ]
        arrays = _arrays(sum(rows), wanted, list(tables.values()))

        def put(have: Have, start: int, count: int) -> None:
            table = tables.pop(have.file) if have.file in tables else read(have)
            _put(
                table, {name: cells[start : start + count] for name, cells in arrays.items()}, have
            )

        # list() brings what went wrong in a thread.
        list(pool.map(put, haves, accumulate(rows, initial=0), rows))
    _sort_by_stamp(arrays)
    stamps = pd.DatetimeIndex(arrays.pop("timestamp").view("M8[us]"), name="timestamp", copy=False)
    return pd.DataFrame(arrays, index=stamps.tz_localize("UTC"), copy=False)


def _sort_by_stamp(arrays: _Arrays) -> None:
    """
    Put rows into the order of their stamps; those of one stamp keep theirs.

    Ids of trades ascend, and in 2017 some stamps go back by a second: a frame that is not in
    order of its index could not be cut by time.
    """
    stamps = arrays["timestamp"]
    if np.all(stamps[1:] >= stamps[:-1]):
        return
    order = np.argsort(stamps, kind="stable")
    for name, cells in arrays.items():
        arrays[name] = cells[order]


def _is_known(have: Have, wanted: Wanted) -> bool:
    """Whether a receipt tells how many rows of the file will come, and all in our own form."""
    return wanted.covers(have) and have.final and not have.legacy


def _arrays(rows: int, wanted: Wanted, tables: Sequence[Table]) -> _Arrays:
    """Room for all rows; counts that the ancestor did not store make floats of the others, too."""

    def dtype(column: Column) -> Any:
        if column.kind == "integer":
            lacks = any(table[column.name].null_count for table in tables)
            return np.float64 if lacks else np.int64
        number = np.object_ if wanted.exact else np.float64
        return np.bool_ if column.kind == "flag" else number

    types = {"timestamp": np.int64} | {column.name: dtype(column) for column in wanted.columns}
    return {name: np.empty(rows, kind) for name, kind in types.items()}


def _put(table: Table, room: _Arrays, have: Have) -> None:
    """Write a file's cells into their room, which they must fill: what is not written is anything."""
    for name, cells in room.items():
        column = table[name]
        if len(column) != len(cells) or (column.null_count and cells.dtype == np.int64):
            msg = f"{have.path} has changed while it was read: somebody has written it; try again"
            raise CacheUnavailable(msg)
        if cells.dtype == np.object_:
            cells[:] = decimals(column)
            continue
        at = 0
        for chunk in column.chunks:
            cells[at : at + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
            at += len(chunk)
