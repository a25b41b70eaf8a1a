"""Rows of the cache with types: moments, floats or decimals, flags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.market.datasets import Dataset, Kind
from ares_notebook.market.rows import Table, empty_rows

__all__ = ["in_groups", "typed", "typed_schema"]

# Any: PyArrow publishes no types of its own.
Schema = Any
# Binance writes eight digits after the point, and a month of a large market twenty before it;
# other readers know no more than 38 in all.
_EXACT = pa.decimal128(38, 18)
_FLOAT = pa.float64()
_TYPES: dict[Kind, Any] = {
    "time": pa.timestamp("us", tz="UTC"),
    "integer": pa.int64(),
    "flag": pa.bool_(),
}
# Large enough to be read fast, small enough to be skipped by a query for an hour.
_GROUP_ROWS = 1 << 17


def typed_schema(dataset: Dataset, *, decimal: bool) -> Schema:
    """The types of the columns of *dataset*; numbers are exact decimals, or 64-bit floats."""
    types = {**_TYPES, "number": _EXACT if decimal else _FLOAT}
    return pa.schema([(column.name, types[column.kind]) for column in dataset.columns])


def typed(dataset: Dataset, rows: Table, *, decimal: bool) -> Table:
    """
    The same rows with types; null where the ancestor stored nothing.

    Raises
    ------
    pyarrow.ArrowInvalid
        If a cell is not of its kind.
    """
    schema = typed_schema(dataset, decimal=decimal)
    columns = []
    for column, field in zip(dataset.columns, schema, strict=True):
        cells = rows[column.name]
        if column.kind == "flag":
            cells = pc.equal(cells, "True")
        columns.append(pc.cast(cells, field.type))
    return pa.table(columns, schema=schema)


def in_groups(dataset: Dataset, tables: Iterable[Table]) -> Iterator[Table]:
    """The same rows in tables of as many as a row group holds; the last may have fewer."""
    kept = empty_rows(dataset)
    for table in tables:
        kept = pa.concat_tables([kept, table])
        while kept.num_rows >= _GROUP_ROWS:
            yield kept.slice(0, _GROUP_ROWS).combine_chunks()
            kept = kept.slice(_GROUP_ROWS)
    if kept.num_rows:
        yield kept.combine_chunks()
