"""The row diff: where two histories of one file are not the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.market.datasets import Dataset
from ares_notebook.market.rows import Table, empty_rows, keys_of, text_of

__all__ = ["RowDifference", "row_differences"]

_CHANGED, _UPSTREAM, _CACHED = "changed", "only upstream", "only in the cache"


@dataclass(frozen=True, slots=True)
class RowDifference:
    """
    One cell, or one row, that is not the same on both sides.

    Parameters
    ----------
    row : str
        Its timestamp, as a cache file writes it; for trades also its id.
    kind : {"changed", "only upstream", "only in the cache"}
    column : str
        Of a changed cell; empty for a whole row.
    cached, upstream : str
        The cell, or the row's line, on either side; empty where there is none.
    """

    row: str
    kind: str
    column: str
    cached: str
    upstream: str


def row_differences(
    dataset: Dataset, cached: Iterable[Table], upstream: Iterable[Table]
) -> Iterator[RowDifference]:
    """
    Walk two ascending streams of rows side by side, and tell what is not the same.

    Text is compared as text: ``1.10`` and ``1.1`` differ. A null cell (a column that
    an old file does not have) is not compared. Memory holds a block of each.

    Parameters
    ----------
    dataset : Dataset
    cached, upstream : iterable of pyarrow.Table

    Yields
    ------
    RowDifference
        In the order of the keys.
    """
    left, right = _Stream(dataset, cached), _Stream(dataset, upstream)
    while left.fill() | right.fill():
        # As far as both are known; where one has ended, as far as the other is.
        ends = [each.last_key for each in (left, right) if each.table.num_rows]
        bound = min(ends)
        yield from _within(dataset, left.up_to(bound), right.up_to(bound))


class _Stream:
    """Rows that come in blocks, taken up to a key."""

    def __init__(self, dataset: Dataset, tables: Iterable[Table]) -> None:
        self._dataset = dataset
        self._tables = iter(tables)
        self.table = empty_rows(dataset)

    def fill(self) -> bool:
        """Have rows, if there are any more."""
        while not self.table.num_rows:
            following = next(self._tables, None)
            if following is None:
                return False
            self.table = following
        return True

    @property
    def last_key(self) -> int:
        """The key of the last row at hand."""
        return int(keys_of(self._dataset, self.table.slice(self.table.num_rows - 1))[0])

    def up_to(self, key: int) -> Table:
        """The rows at hand up to and with *key*; they are then gone."""
        at = int(np.searchsorted(keys_of(self._dataset, self.table), key, side="right"))
        taken, self.table = self.table.slice(0, at), self.table.slice(at)
        return taken


def _within(dataset: Dataset, cached: Table, upstream: Table) -> Iterator[RowDifference]:
    """The differences of two tables that cover the same keys."""
    if cached.equals(upstream):
        return
    ours, theirs = keys_of(dataset, cached), keys_of(dataset, upstream)
    found: list[tuple[int, RowDifference]] = []
    found += _alone(dataset, cached, ~np.isin(ours, theirs), _CACHED)
    found += _alone(dataset, upstream, ~np.isin(theirs, ours), _UPSTREAM)
    both = cached.filter(pa.array(np.isin(ours, theirs)))
    other = upstream.filter(pa.array(np.isin(theirs, ours)))
    found += _changed(dataset, both, other)
    # Keys are compared alone: of one row the columns keep their order.
    yield from (each for _, each in sorted(found, key=lambda pair: pair[0]))


def _alone(
    dataset: Dataset, table: Table, mask: npt.NDArray[np.bool_], kind: str
) -> Iterator[tuple[int, RowDifference]]:
    rows = table.filter(pa.array(mask))
    for at, key in enumerate(keys_of(dataset, rows)):
        line = _line(dataset, rows, at)
        sides = (line, "") if kind == _CACHED else ("", line)
        yield int(key), RowDifference(_name(dataset, rows, at), kind, "", *sides)


def _changed(
    dataset: Dataset, cached: Table, upstream: Table
) -> Iterator[tuple[int, RowDifference]]:
    keys = keys_of(dataset, cached)
    for column in dataset.columns:
        unequal = pc.not_equal(cached[column.name], upstream[column.name])
        for at in np.flatnonzero(pc.fill_null(unequal, fill_value=False).to_numpy()):
            sides = (_cell(dataset, each, column.name, int(at)) for each in (cached, upstream))
            name = _name(dataset, cached, int(at))
            yield int(keys[at]), RowDifference(name, _CHANGED, column.name, *sides)


def _cell(dataset: Dataset, table: Table, column: str, at: int) -> str:
    if column == "timestamp":
        return _line(dataset, table, at).partition(",")[0]
    return str(table[column][at].as_py())


def _name(dataset: Dataset, table: Table, at: int) -> str:
    stamp = _line(dataset, table, at).partition(",")[0]
    return f"{stamp} id {table['agg_trade_id'][at].as_py()}" if dataset.key == "id" else stamp


def _line(dataset: Dataset, table: Table, at: int) -> str:
    # Any: PyArrow publishes no types of its own.
    text: Any = text_of(dataset, table.slice(at, 1))
    return str(text.to_pybytes().decode()).rstrip("\n")
