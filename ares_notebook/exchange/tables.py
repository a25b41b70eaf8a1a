"""
Rows as the exchange publishes them, read cell by cell.

For the blocks that the express does not take: it reads whatever the dialect allows,
and says what is wrong with what it does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.errors import BadAnswer
from ares_notebook.exchange.moments import microseconds_of
from ares_notebook.market.datasets import Column, Dataset
from ares_notebook.market.rows import Table, empty_rows, keys_of, schema_of

__all__ = ["rows_of_csv"]

_ARROW_ERRORS = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    OverflowError,
)


def rows_of_csv(dataset: Dataset, block: bytes, origin: str) -> Table:
    """Rows of a block of archive CSV as a table; parameters and errors are those of `lines_of_csv`."""
    if not block.strip(b"\r\n"):
        return empty_rows(dataset)
    width = block[: block.find(b"\n")].count(b",") + 1 if b"\n" in block else block.count(b",") + 1
    columns = dataset.published[:width]
    if {each.name for each in dataset.columns} - {each.name for each in columns}:
        msg = f"{origin}: a row of {width} columns is no row of {dataset.name}; nothing is stored, run again later"
        raise BadAnswer(msg)
    try:
        table = arrow_csv.read_csv(pa.BufferReader(block), *_csv_options(columns, width))
        return _ours(dataset, table, origin)
    except _ARROW_ERRORS as error:
        raise BadAnswer(_unreadable(origin, error)) from error


def _csv_options(columns: tuple[Column, ...], width: int) -> tuple[Any, Any, Any]:
    names = [each.name for each in columns] + [f"extra {at}" for at in range(len(columns), width)]
    kept = [each for each in columns if each.kind != "ignored"]
    types = {each.name: pa.string() for each in kept}
    return (
        arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 26),
        arrow_csv.ParseOptions(quote_char=False),
        arrow_csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            strings_can_be_null=False,
            null_values=[],
            # Every letter that is kept is looked at below.
            check_utf8=False,
        ),
    )


def _ours(dataset: Dataset, table: Table, origin: str) -> Table:
    """Check the cells and put them into our columns; a null is no cell of the exchange."""
    for column in dataset.columns:
        cells = table[column.name]
        if cells.null_count:
            msg = f"{origin}: a row has no {column.name}; nothing is stored, run again later"
            raise BadAnswer(msg)
        if column.kind in ("time", "integer"):
            cells = _integers(cells, column, origin)
            table = _set(table, column.name, cells)
        if column.kind == "number":
            _check_numbers(cells, column, origin)
        elif column.kind == "flag":
            table = _set(table, column.name, _flags(cells, origin))
        elif column.kind == "time":
            stamps = microseconds_of(dataset, cells.to_numpy(), origin)
            table = _set(table, column.name, pa.array(stamps))
    rows = table.select(list(dataset.column_names)).cast(schema_of(dataset))
    return _without_doubles(dataset, rows, origin)


def _set(table: Table, name: str, cells: Any) -> Table:
    return table.set_column(table.column_names.index(name), name, cells)


def _integers(cells: Any, column: Column, origin: str) -> Any:
    """What is written in digits alone; PyArrow would read 0x10, too, and blanks around a number."""
    try:
        if not pc.any(pc.match_substring_regex(cells, "[^0-9-]")).as_py():
            return cells.cast(pa.int64())
    except _ARROW_ERRORS as error:
        raise BadAnswer(_unreadable(origin, error)) from error
    msg = f"{origin}: a {column.name} is no integer; nothing is stored, run again later"
    raise BadAnswer(msg)


def _check_numbers(cells: Any, column: Column, origin: str) -> None:
    """The text is what is stored; here it is proven to be that of plain numbers."""
    try:
        finite = pc.all(pc.is_finite(cells.cast(pa.float64()))).as_py()
    except _ARROW_ERRORS as error:
        raise BadAnswer(_unreadable(origin, error)) from error
    # 1e5, nan and inf are numbers too, and the exchange never writes them.
    plain = not pc.any(pc.match_substring_regex(cells, "[^0-9.-]")).as_py()
    if not (finite and plain):
        msg = f"{origin}: a {column.name} is not a plain number; nothing is stored, run again later"
        raise BadAnswer(msg)


def _flags(cells: Any, origin: str) -> Any:
    """Flags as True and False; archives of futures write them small."""
    if _all_in(cells, "True", "False"):
        return cells
    lower = pc.ascii_lower(cells)
    if not _all_in(lower, "true", "false"):
        msg = f"{origin}: a flag is neither true nor false; nothing is stored, run again later"
        raise BadAnswer(msg)
    return pc.if_else(pc.equal(lower, "true"), "True", "False")


def _all_in(cells: Any, one: str, other: str) -> bool:
    return pc.all(pc.or_(pc.equal(cells, one), pc.equal(cells, other))).as_py() is not False


def _without_doubles(dataset: Dataset, rows: Table, origin: str) -> Table:
    """Each row once: archives of outage days repeat some. Rows that disagree are refused."""
    keys = keys_of(dataset, rows)
    steps = np.diff(keys)
    if bool(np.all(steps > 0)):
        return rows
    if bool(np.any(steps < 0)):
        msg = f"{origin}: rows are not in order; nothing is stored, run again later"
        raise BadAnswer(msg)
    doubles = np.flatnonzero(steps == 0) + 1
    if not rows.take(doubles).equals(rows.take(doubles - 1)):
        msg = f"{origin}: two different rows have one key; nothing is stored, run again later"
        raise BadAnswer(msg)
    keep = np.ones(len(keys), dtype=bool)
    keep[doubles] = False
    return rows.filter(pa.array(keep))


def _unreadable(origin: str, error: Exception) -> str:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return f"{origin}: the answer is not in the exchange's dialect ({reason}); nothing is stored, run again later"
