"""
Rows as the exchange publishes them, CSV of the archive and JSON of REST, made ours.

Both roads meet here: the same row gives the same line whichever way it came.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from ares_notebook.binance.expected import ANY, Expected
from ares_notebook.binance.fast_path import read_fast
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import Column, Dataset, Kind
from ares_notebook.model.files import Series
from ares_notebook.model.lines import Lines

__all__ = ["lines_of_csv", "lines_of_json"]

# As JSON has them; what the archive calls a flag is a word there.
_JSON_TYPES: dict[Kind, Any] = {
    "time": int,
    "number": str,
    "integer": int,
    "flag": bool,
    "close": int,
    "hours": int,
    "ignored": Any,
}


def lines_of_csv(dataset: Dataset, block: bytes, origin: str, expected: Expected = ANY) -> Lines:
    r"""
    The lines of the cache for a block of archive CSV.

    Columns are told by position. Files of futures have fewer (no best-match flag) than those of
    spot. A number has one text, whatever its source writes: see `ares_notebook.model.numbers`.
    """
    lines = read_fast(dataset, block, origin, expected) if block else None
    if lines is None:
        from ares_notebook.binance.csv_tables import (  # noqa: PLC0415 - slow to import, and few need it
            lines_by_cell,
        )

        lines = lines_by_cell(dataset, block, origin, expected)
    return lines


def lines_of_json(series: Series, body: bytes, origin: str) -> Lines:
    """The same for a page of REST that *series* was asked for."""
    dataset = series.dataset
    try:
        page = msgspec.json.decode(body, type=list[_row_type(dataset)])  # type: ignore[misc]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{origin}: the answer is not in the exchange's dialect ({error}); nothing is stored, run again later"
        raise BadAnswer(msg) from error
    if not page:
        return Lines.none()
    rows = list(map(msgspec.structs.astuple, page))
    if dataset.rest_symbol and any(row[0] != series.symbol for row in rows):
        msg = f"{origin} answered with rows of another symbol than {series.symbol}; nothing is stored, run again later"
        raise BadAnswer(msg)
    line = _line_of(dataset)
    block = "".join(map(line.__mod__, rows)).encode()
    # A cell of text that holds one of these would be two of CSV.
    if block.count(b",") != line.count(",") * len(rows) or block.count(b"\n") != len(rows):
        msg = f"{origin}: a cell holds a comma or a line end; nothing is stored, run again later"
        raise BadAnswer(msg)
    return lines_of_csv(dataset, block, origin, Expected(series.interval, unit="row"))


@cache
def _row_type(dataset: Dataset) -> type[msgspec.Struct]:
    """What a row of JSON must be: an array, or an object with these names."""
    owner = [("owner", str)] if dataset.rest_symbol else []
    named = [(column, name) for column, name in _named(dataset) if name]
    return msgspec.defstruct(
        f"Row of {dataset.name}",
        owner + [(column.name, _JSON_TYPES[column.kind]) for column, _ in named],
        rename={"owner": dataset.rest_symbol} | {column.name: name for column, name in named},
        array_like=not dataset.rest_fields,
    )


@cache
def _line_of(dataset: Dataset) -> str:
    """The pattern of a row as a line of archive CSV; what JSON lacks and nobody keeps is 0."""
    cells = [
        ("0" if not name else "0%.0s" if column.kind == "ignored" else "%s")
        for column, name in _named(dataset)
    ]
    return ("%.0s" if dataset.rest_symbol else "") + ",".join(cells) + "\n"


def _named(dataset: Dataset) -> list[tuple[Column, str]]:
    """The columns that are published, and what REST calls them; nothing where it lacks one."""
    names = dataset.rest_fields or tuple(column.name for column in dataset.published)
    return list(zip(dataset.published, names, strict=False))
