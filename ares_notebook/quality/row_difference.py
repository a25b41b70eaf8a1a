"""The rows that differ between two histories of one dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.model.datasets import Dataset
from ares_notebook.model.rows import Table, empty_rows, keys_of, text_of

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
    dataset: Dataset, cached: Iterable[Table], upstream: Iterable[Table]
) -> Iterator[RowDifference]:
    """
    Read two ascending streams of rows in step, and yield what is not the same.

    Text is compared as text: ``1.10`` and ``1.1`` differ. A null cell (a column that an old file
    does not have) is not compared. Memory holds a block of each.
    """
    ours, theirs = _Stream(dataset, cached), _Stream(dataset, upstream)
    while ours.fill() | theirs.fill():
        # As far as both are read; where one has ended, as far as the other is.
        until = min(each.last_key for each in (ours, theirs) if each.table.num_rows)
        found = _within(dataset, ours.take(until), theirs.take(until))
        # By the key alone: of one row the columns keep their order.
        yield from (each for _, each in sorted(found, key=lambda pair: pair[0]))


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


def _within(
    dataset: Dataset, cached: Table, upstream: Table
) -> Iterator[tuple[int, RowDifference]]:
    """The differences of two tables that cover the same keys, each with its key."""
    if cached.equals(upstream):
        return
    ours, theirs = keys_of(dataset, cached), keys_of(dataset, upstream)
    is_theirs, is_ours = np.isin(ours, theirs), np.isin(theirs, ours)
    for at in np.flatnonzero(~is_theirs).tolist():
        name, text = _name(dataset, cached, at), _line(dataset, cached, at)
        yield int(ours[at]), RowDifference(name, _CACHED, "", text, "")
    for at in np.flatnonzero(~is_ours).tolist():
        name, text = _name(dataset, upstream, at), _line(dataset, upstream, at)
        yield int(theirs[at]), RowDifference(name, _UPSTREAM, "", "", text)
    both = [cached.filter(pa.array(is_theirs)), upstream.filter(pa.array(is_ours))]
    keys = ours[is_theirs]
    for column in dataset.column_names:
        unequal = pc.fill_null(pc.not_equal(*(each[column] for each in both)), fill_value=False)
        for at in np.flatnonzero(unequal.to_numpy()).tolist():
            cells = (_cell(dataset, each, column, at) for each in both)
            yield (
                int(keys[at]),
                RowDifference(_name(dataset, both[0], at), _CHANGED, column, *cells),
            )


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
