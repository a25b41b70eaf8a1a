"""
Rows as the exchange publishes them, CSV of the archive and JSON of REST, made ours.

Both roads meet here: the same row gives the same cells whichever way it came.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.errors import BadAnswer
from ares_notebook.exchange.moments import microseconds_of
from ares_notebook.market.datasets import Column, Dataset
from ares_notebook.market.rows import Table, empty_rows, keys_of, schema_of

__all__ = ["rows_of_csv", "rows_of_json"]

# No longer than what every float can hold.
_LONGEST_DECIMAL = 40
_ARROW_ERRORS = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    OverflowError,
)


def rows_of_csv(dataset: Dataset, block: bytes, origin: str) -> Table:
    """
    Rows of a block of archive CSV: whole lines, without header.

    Columns are told by position. Files of futures have fewer (no best-match flag)
    than those of spot.

    Parameters
    ----------
    dataset : Dataset
    block : bytes
    origin : str
        File or URL, for the error.

    Raises
    ------
    BadAnswer
        If a line is not a row of this dataset.
    """
    if not block or block.isspace():
        return empty_rows(dataset)
    width = block[: block.find(b"\n")].count(b",") + 1 if b"\n" in block else block.count(b",") + 1
    columns = dataset.published[:width]
    if {each.name for each in dataset.columns} - {each.name for each in columns}:
        msg = f"{origin}: a row of {width} columns is no row of {dataset.name}; nothing is stored"
        raise BadAnswer(msg)
    try:
        table = arrow_csv.read_csv(pa.BufferReader(block), *_csv_options(columns, width))
    except _ARROW_ERRORS as error:
        raise BadAnswer(_unreadable(origin, error)) from error
    return _ours(dataset, table, origin)


def _csv_options(columns: tuple[Column, ...], width: int) -> tuple[Any, Any, Any]:
    names = [each.name for each in columns] + [f"extra {at}" for at in range(len(columns), width)]
    kept = [each for each in columns if each.kind != "ignored"]
    types = {
        each.name: pa.int64() if each.kind in ("time", "integer") else pa.string() for each in kept
    }
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


def rows_of_json(dataset: Dataset, body: bytes, origin: str) -> Table:
    """
    Rows of a page of REST.

    Parameters
    ----------
    dataset : Dataset
    body : bytes
    origin : str
        URL, for the error.

    Raises
    ------
    BadAnswer
        If it is not a list of rows of this dataset.
    """
    try:
        table = _json_table(dataset, json.loads(body))
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        RecursionError,
        *_ARROW_ERRORS,
    ) as error:
        raise BadAnswer(_unreadable(origin, error)) from error
    return _ours(dataset, table, origin) if table.num_rows else empty_rows(dataset)


def _json_table(dataset: Dataset, page: Any) -> Any:
    if not isinstance(page, list):
        msg = "it is not a list"
        raise TypeError(msg)
    keys: list[Any] = list(dataset.rest_fields) or list(range(len(dataset.published)))
    columns = {}
    for column, key in zip(dataset.published, keys, strict=False):
        if column.kind == "ignored":
            continue
        cells = [row[key] for row in page]
        if column.kind == "flag":
            columns[column.name] = pa.array(cells, pa.bool_()).cast(pa.string())
        else:
            columns[column.name] = pa.array(cells, _json_type(column, cells))
    return pa.table(columns)


def _json_type(column: Column, cells: list[Any]) -> Any:
    if column.kind == "number":
        return pa.string()
    # PyArrow would cut 9.5 to 9 without a word.
    if not {int}.issuperset(map(type, cells)):
        msg = f"a {column.name} is not a whole number"
        raise TypeError(msg)
    return pa.int64()


def _ours(dataset: Dataset, table: Table, origin: str) -> Table:
    """Check the cells and put them into our columns; a null is no cell of the exchange."""
    for column in dataset.columns:
        cells = table[column.name]
        if cells.null_count:
            msg = f"{origin}: a row has no {column.name}; nothing is stored"
            raise BadAnswer(msg)
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


def _check_numbers(cells: Any, column: Column, origin: str) -> None:
    """The text is what is stored; here it is proven to be that of plain numbers."""
    if all(map(_are_decimals, cells.chunks)):
        return
    try:
        finite = pc.all(pc.is_finite(cells.cast(pa.float64()))).as_py()
    except _ARROW_ERRORS as error:
        raise BadAnswer(_unreadable(origin, error)) from error
    # 1e5, nan and inf are numbers too, and the exchange never writes them.
    plain = not pc.any(pc.match_substring_regex(cells, "[^0-9.-]")).as_py()
    if not (finite and plain):
        msg = f"{origin}: a {column.name} is not a plain number; nothing is stored"
        raise BadAnswer(msg)


def _are_decimals(cells: Any) -> bool:
    """
    Whether all cells are digits, a point and digits, as nearly all numbers of the exchange are.

    Their letters lie side by side in memory and are looked at all at once, in a
    fraction of the time of reading each as a number.
    """
    _, ends, letters = cells.buffers()
    if not len(cells) or letters is None:
        return False
    bounds = np.frombuffer(ends, np.int32)[cells.offset : cells.offset + len(cells) + 1]
    text = np.frombuffer(letters, np.uint8)[bounds[0] : bounds[-1]]
    points = np.flatnonzero(text == ord(".")) + bounds[0]
    if len(points) != len(cells) or np.max(np.diff(bounds)) > _LONGEST_DECIMAL:
        return False
    # One point in each, with a digit on either side of it; and all others are digits.
    inside = np.all((bounds[:-1] < points) & (points < bounds[1:] - 1))
    digits = np.count_nonzero(text - np.uint8(ord("0")) <= ord("9") - ord("0"))
    return bool(inside and digits == len(text) - len(points))


def _flags(cells: Any, origin: str) -> Any:
    """Flags as True and False; archives of futures write them small."""
    if _all_in(cells, "True", "False"):
        return cells
    lower = pc.utf8_lower(cells)
    if not _all_in(lower, "true", "false"):
        msg = f"{origin}: a flag is neither true nor false; nothing is stored"
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
        msg = f"{origin}: rows are not in order; nothing is stored"
        raise BadAnswer(msg)
    doubles = np.flatnonzero(steps == 0) + 1
    if not rows.take(doubles).equals(rows.take(doubles - 1)):
        msg = f"{origin}: two different rows have one key; nothing is stored"
        raise BadAnswer(msg)
    keep = np.ones(len(keys), dtype=bool)
    keep[doubles] = False
    return rows.filter(pa.array(keep))


def _unreadable(origin: str, error: Exception) -> str:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return f"{origin}: the answer is not in the exchange's dialect ({reason}); nothing is stored"
