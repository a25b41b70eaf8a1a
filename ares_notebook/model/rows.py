"""Rows as Arrow tables, and the check that their prices are of one scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.model.datasets import Dataset, Kind
from ares_notebook.model.lines import SECOND_US, Lines, stamp_cells, time_keys

__all__ = [
    "Scale",
    "between",
    "empty_rows",
    "header_of",
    "in_scale",
    "keys_of",
    "lines_of",
    "schema_of",
    "stamps_ms",
    "text_of",
]

# Any: PyArrow publishes no types of its own.
Table = Any

_TYPES: dict[Kind, Any] = {
    "time": pa.int64(),
    "number": pa.string(),
    "integer": pa.int64(),
    "flag": pa.string(),
}
# Batches of as many rows as a block has: each costs a round of its own.
_TEXT = arrow_csv.WriteOptions(include_header=False, quoting_style="none", batch_size=1 << 16)


def schema_of(dataset: Dataset) -> Any:
    """The PyArrow schema of a table of rows."""
    return pa.schema([(column.name, _TYPES[column.kind]) for column in dataset.columns])


def empty_rows(dataset: Dataset) -> Table:
    """A table of no rows."""
    return schema_of(dataset).empty_table()


def header_of(dataset: Dataset) -> bytes:
    """The first line of a cache file, with its line end."""
    return (",".join(dataset.column_names) + "\n").encode()


def keys_of(dataset: Dataset, table: Table) -> npt.NDArray[np.int64]:
    """What a row is known by, one int64 a row: the trade's id, else its stamp; see `time_keys`."""
    if dataset.key == "id":
        return _numbers(table, "agg_trade_id")
    return time_keys(dataset, _numbers(table, "timestamp"))


def stamps_ms(table: Table) -> npt.NDArray[np.int64]:
    """Stamps in whole milliseconds, rounded down."""
    return _numbers(table, "timestamp") // 1000


def _numbers(table: Table, name: str) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = table[name].to_numpy()
    return numbers


def between(rows: Table, start_ms: int, end_ms: int) -> Table:
    """The rows with ``start_ms <= timestamp < end_ms``."""
    stamps = rows["timestamp"]
    inside = pc.and_(pc.greater_equal(stamps, start_ms * 1000), pc.less(stamps, end_ms * 1000))
    return rows if pc.all(inside).as_py() is not False else rows.filter(inside)


def text_of(dataset: Dataset, table: Table) -> Any:
    """
    The lines of a cache file for these rows, without header, as a PyArrow buffer.

    The same rows give the same bytes, wherever they came from. The first column is
    the timestamp; others may have been left out.
    """
    lines = table.set_column(0, "timestamp", _stamp_text(dataset, table))
    sink = pa.BufferOutputStream()
    # PyArrow (26.0.1) writes half a megabyte of zeros for an empty batch before others.
    full = [batch for batch in lines.to_batches() if batch.num_rows]
    arrow_csv.write_csv(pa.Table.from_batches(full, lines.schema), sink, _TEXT)
    return sink.getvalue()


def lines_of(dataset: Dataset, table: Table) -> Lines:
    """A table's rows as lines of a cache file."""
    text = np.frombuffer(text_of(dataset, table), np.uint8)
    return Lines(keys_of(dataset, table), _numbers(table, "timestamp"), text)


def _stamp_text(dataset: Dataset, table: Table) -> Any:
    """Stamps in the dataset's number of digits, but for candles that opened within a second."""
    stamps_us = _numbers(table, "timestamp")
    text = _in_arrow(stamp_cells(stamps_us, dataset.stamp_digits))
    if dataset.stamp_digits or not np.any(within := stamps_us % SECOND_US):
        return text
    # Candles that opened off the grid (December 2017, February 2018) keep their
    # fraction, so that the cell says what the exchange said.
    return pc.if_else(pa.array(within != 0), _in_arrow(stamp_cells(stamps_us, 3)), text)


def _in_arrow(cells: npt.NDArray[np.void]) -> Any:
    """Cells of one width as strings, their bytes not copied."""
    width = cells.dtype.itemsize
    ends = np.arange(0, width * len(cells) + 1, width, dtype=np.int32)
    return pa.StringArray.from_buffers(len(cells), pa.py_buffer(ends), pa.py_buffer(cells))


# Between two neighbouring rows; no market of Binance has moved so far in one.
_LARGEST_FACTOR = 5.0
_PRICES = {"open_time": ("open", "close"), "id": ("price", "price")}


class Scale:
    """Follows the prices of a file, table by table."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._last: float | None = None

    def breaks_at(self, table: Table) -> int | None:
        """
        The first row of *table* whose price is of another scale than the one before; None without.
        """
        for column in self._dataset.columns:
            if column.kind == "number":
                # Decimals are kept as text, so nobody has looked at them before.
                table[column.name].cast(pa.float64())
        names = _PRICES.get(self._dataset.key)
        if names is None or not table.num_rows:
            return None
        first, last = (_floats(table, name) for name in names)
        before = np.concatenate([[first[0] if self._last is None else self._last], last[:-1]])
        self._last = float(last[-1])
        broken = np.flatnonzero(_is_apart(first, before))
        return int(broken[0]) if len(broken) else None


def in_scale(dataset: Dataset, table: Table) -> Table:
    """The rows of *table* whose prices are of the scale of most of them."""
    names = _PRICES.get(dataset.key)
    if names is None or not table.num_rows:
        return table
    prices = _floats(table, names[0])
    return table.filter(pa.array(~_is_apart(prices, np.full(len(prices), np.median(prices)))))


def _floats(table: Table, name: str) -> npt.NDArray[np.float64]:
    numbers: npt.NDArray[np.float64] = table[name].cast(pa.float64()).to_numpy()
    return numbers


def _is_apart(
    prices: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    return (prices > others * _LARGEST_FACTOR) | (prices * _LARGEST_FACTOR < others)
