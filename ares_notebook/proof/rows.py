"""The rows of one table as the checks look at them: exact numbers, and the row before each."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.market.rows import Table
from ares_notebook.market.series import CacheFile

__all__ = ["Cells", "Mask", "Rows", "where"]

# Any: PyArrow publishes no types of its own.
Cells = Any
Mask = npt.NDArray[np.bool_]

# The narrow one is twice as fast, and holds whatever the exchange writes.
_DECIMALS = (pa.decimal128(38, 18), pa.decimal256(76, 38))


class Rows:
    """
    One table of a file, with the row before it, as the checks look at it.

    Parameters
    ----------
    file : CacheFile
    table : pyarrow.Table
    before : pyarrow.Table, optional
        The one row before the first; None where nothing is next to it.
    price_jump_share : float
    """

    def __init__(
        self, file: CacheFile, table: Table, before: Table | None, price_jump_share: float
    ) -> None:
        self.file = file
        self.table = table
        self.price_jump_share = price_jump_share
        self._rows = table if before is None else pa.concat_tables([before, table])
        self._lead = self._rows.num_rows - table.num_rows
        self._columns: dict[str, Cells] = {}

    def now(self, name: str) -> Cells:
        """A column: decimals, or integers; null where there is no number."""
        return self._column(name)[self._lead :]

    def before(self, name: str) -> Cells:
        """The same of the row before each; null where there is none."""
        column = self._column(name)
        if self._lead:
            return column[:-1]
        first = pa.nulls(1, column.type)
        return pa.chunked_array([first, *column[:-1].chunks], column.type)

    def all_of(self, *names: str) -> list[Cells]:
        """Those of the columns that the dataset has."""
        return [self.now(name) for name in names if name in self.table.column_names]

    def stamps_us(self) -> npt.NDArray[np.int64]:
        """Stamps in microseconds."""
        stamps: npt.NDArray[np.int64] = self.table["timestamp"].to_numpy()
        return stamps

    def _column(self, name: str) -> Cells:
        if name not in self._columns:
            cells = self._rows[name]
            self._columns[name] = _decimals(cells) if cells.type == pa.string() else cells
        return self._columns[name]


def _decimals(cells: Cells) -> Cells:
    """Text as exact decimals; null where it is none."""
    for kind in _DECIMALS:
        try:
            return cells.cast(kind)
        except pa.ArrowInvalid:
            continue
    exact = [_decimal(cell) for cell in cells.to_pylist()]
    return pa.chunked_array([pa.array(exact, _DECIMALS[-1])])


def _decimal(cell: str | None) -> Any:
    try:
        return pa.scalar(cell, pa.string()).cast(_DECIMALS[-1]).as_py()
    except pa.ArrowInvalid:
        return None


def where(*conditions: Cells) -> Mask:
    """Where at least one condition is true; null is not true."""
    mask: Mask = reduce(pc.or_, (pc.fill_null(each, False) for each in conditions)).to_numpy()
    return mask
