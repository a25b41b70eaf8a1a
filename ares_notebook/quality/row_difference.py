"""The rows that differ between two histories of one dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.model.columns import Column
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.rows import Table, empty_rows, keys_of, null_where_empty, text_of

_CHANGED, _UPSTREAM, _CACHED = "changed", "only upstream", "only in the cache"


@dataclass(frozen=True, slots=True)
class RowDifference:
    """One cell, or one row, that is not the same in the cache and upstream."""

    # Its timestamp, as a cache file writes it; for trades also its id.
    row: str
    kind: str
    # The column of a changed cell; empty for a whole row.
    column: str
    # The cell, or the row's line, on either side; empty where there is none.
    cached: str
    upstream: str


def row_differences(
    dataset: Dataset,
    cached: Iterable[Table],
    upstream: Iterable[Table],
    most: int,
    *,
    by_value: bool = False,
) -> tuple[int, list[RowDifference]]:
    """
    Read two ascending streams of rows in step: how much is not the same, and the first *most* of it.

    Text is compared as text: ``1.10`` and ``1.1`` differ, but *by_value*, as rows have to be that went
    through floats and milliseconds. A null cell (a column that an old file does not have) is not
    compared. Memory holds a block of each.
    """
    ours, theirs = _Stream(dataset, cached), _Stream(dataset, upstream)
    count, first = 0, list[RowDifference]()
    while ours.fill() | theirs.fill():
        # As far as both are read; where one has ended, as far as the other is.
        until = min(each.last_key for each in (ours, theirs) if each.table.num_rows)
        found = _within(dataset, ours.take(until), theirs.take(until), by_value=by_value)
        count += len(found)
        # By the key alone: of one row the columns keep their order. To name one takes longer than to find it.
        found.sort(key=lambda each: each[0])
        first += [_named(dataset, each) for each in found[: most - len(first)]]
    return count, first


class _Stream:
    """Rows that come in blocks, taken up to a key."""

    def __init__(self, dataset: Dataset, tables: Iterable[Table]) -> None:
        self._dataset = dataset
        self._tables = (table for table in tables if table.num_rows)
        self.table = empty_rows(dataset)

    def fill(self) -> bool:
        """Read a block where none is left; whether there are rows."""
        if not self.table.num_rows:
            self.table = next(self._tables, self.table)
        return bool(self.table.num_rows)

    @property
    def last_key(self) -> int:
        """The key of the last row of the block."""
        return int(keys_of(self._dataset, self.table.slice(self.table.num_rows - 1))[0])

    def take(self, key: int) -> Table:
        """Remove and return the rows up to and with *key*."""
        at = int(np.searchsorted(keys_of(self._dataset, self.table), key, side="right"))
        taken, self.table = self.table.slice(0, at), self.table.slice(at)
        return taken


# A key, the rows of either side (None where there is none) with their tables, and a column.
_Found = tuple[int, tuple[Table, int] | None, tuple[Table, int] | None, str]


def _within(dataset: Dataset, cached: Table, upstream: Table, *, by_value: bool) -> list[_Found]:
    """The differences of two tables that cover the same keys."""
    if cached.equals(upstream):
        return []
    ours, theirs = keys_of(dataset, cached), keys_of(dataset, upstream)
    is_theirs, is_ours = np.isin(ours, theirs), np.isin(theirs, ours)
    found: list[_Found] = [
        (int(ours[at]), (cached, at), None, "") for at in np.flatnonzero(~is_theirs).tolist()
    ]
    found += [
        (int(theirs[at]), None, (upstream, at), "") for at in np.flatnonzero(~is_ours).tolist()
    ]
    one, other = cached.filter(pa.array(is_theirs)), upstream.filter(pa.array(is_ours))
    keys = ours[is_theirs]
    for column in dataset.columns:
        cells = (one[column.name], other[column.name])
        if by_value:
            cells = tuple(_value(column, each) for each in cells)
        unequal = pc.fill_null(pc.not_equal(*cells), fill_value=False)
        found += [
            (int(keys[at]), (one, at), (other, at), column.name)
            for at in np.flatnonzero(unequal.to_numpy()).tolist()
        ]
    return found


def _value(column: Column, cells: Any) -> Any:
    """The cells as the original downloader stored them: floats, and milliseconds."""
    if column.kind == "number":
        return pc.cast(null_where_empty(column, cells), pa.float64())
    if column.kind == "time":
        return pc.divide(pc.cast(cells, pa.int64()), 1000)
    return cells


def _named(dataset: Dataset, found: _Found) -> RowDifference:
    """One difference, as people read it."""
    _, cached, upstream, column = found
    if cached is None or upstream is None:
        table, at = cached or upstream or (empty_rows(dataset), 0)
        name, text = _name(dataset, table, at), _line(dataset, table, at)
        if upstream is None:
            return RowDifference(name, _CACHED, "", text, "")
        return RowDifference(name, _UPSTREAM, "", "", text)
    cells = (_cell(dataset, table, column, at) for table, at in (cached, upstream))
    return RowDifference(_name(dataset, *cached), _CHANGED, column, *cells)


def _cell(dataset: Dataset, table: Table, column: str, at: int) -> str:
    if column == "timestamp":
        return _line(dataset, table, at).partition(",")[0]
    return str(table[column][at].as_py())


def _name(dataset: Dataset, table: Table, at: int) -> str:
    stamp = _cell(dataset, table, "timestamp", at)
    return (
        f"{stamp} id {_cell(dataset, table, 'agg_trade_id', at)}" if dataset.key == "id" else stamp
    )


def _line(dataset: Dataset, table: Table, at: int) -> str:
    return str(text_of(dataset, table.slice(at, 1)).to_pybytes().decode()).rstrip("\n")
