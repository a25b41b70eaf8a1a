"""CSV of the exchange as tables, column by column, and what is expected of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import Column, Dataset
from ares_notebook.model.lines import (
    MICROSECONDS_FROM,
    UNUSUAL_NUMBER,
    Lines,
    microseconds_of,
    pattern_of,
    plain_number,
)
from ares_notebook.model.rows import Table, empty_rows, keys_of, lines_of, schema_of
from ares_notebook.model.time import GRID_ORIGIN_MS, INTERVALS

__all__ = ["ANY", "Expected", "lines_by_cell", "on_grid", "rows_of_csv"]

_Int64s = npt.NDArray[np.int64]

# A candle of September 2017 closes a millisecond late.
_LATEST_CLOSE_MS = 1
# That of months is longer than all others.
_LENGTHS_MS = frozenset(INTERVALS.values()) - {0}


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of the rows of a block before they are read."""

    # Of candles; None where nobody knows it, or the rows are none.
    interval: str | None = None
    # How many columns each row has; None where the first row tells.
    width: int | None = None
    # The number of the first row, for errors.
    first: int = 1
    # What such a number counts: lines of a file, or rows of a page.
    unit: str = "line"

    def place(self, at: int) -> str:
        """The row *at* of the block, counted from 0, in words."""
        return f"{self.unit} {self.first + at}"

    def check_closes(self, opens_us: _Int64s, closes: _Int64s, origin: str) -> None:
        """
        Refuse candles of another interval than the one that was asked for.

        A halt cuts single candles short (in old files the close time may even lie before the open
        time), so most of them must be as long as the interval. A candle that is alone must not be
        longer, nor just as long as those of another interval.
        """
        if self.interval is None or not len(opens_us):
            return
        lengths = _lengths_ms(opens_us, closes)
        wanted = _wanted_ms(self.interval, opens_us // 1000)
        fits = lengths == wanted
        if len(lengths) > 1:
            is_sound = 2 * int(np.count_nonzero(fits)) >= len(lengths)
        else:
            is_longer = lengths[0] > wanted[0] + _LATEST_CLOSE_MS
            is_sound = bool(fits[0]) or not (is_longer or lengths[0] in _LENGTHS_MS)
        if not is_sound:
            at = int(np.argmin(fits))
            msg = (
                f"{origin} has candles that were not asked for: that in {self.place(at)} is "
                f"{lengths[at] / 1000:,.3f} seconds long, not {self.interval}; nothing is stored, run again later"
            )
            raise BadAnswer(msg)


ANY = Expected()
"""Nothing is known beforehand."""


def on_grid(interval: str, opens_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Mark those of the open times that are on Binance's grid."""
    if interval == "1M":
        months = opens_ms.astype("datetime64[ms]").astype("datetime64[M]")
        since_open: npt.NDArray[np.int64] = opens_ms - months.astype("datetime64[ms]").astype(int)
    else:
        since_open = (opens_ms - GRID_ORIGIN_MS.get(interval, 0)) % INTERVALS[interval]
    return np.equal(since_open, 0)


def _lengths_ms(opens_us: _Int64s, closes: _Int64s) -> _Int64s:
    """How long each candle is, from its open time to the end of its last unit of time."""
    ends_us = np.where(closes >= MICROSECONDS_FROM, closes + 1, (closes + 1) * 1000)
    # A close time in microseconds may be written to the millisecond.
    lengths: _Int64s = -((opens_us - ends_us) // 1000)
    return lengths


def _wanted_ms(interval: str, opens_ms: _Int64s) -> _Int64s:
    """How long each candle is to be; months differ."""
    if interval != "1M":
        return np.full(len(opens_ms), INTERVALS[interval], np.int64)
    months = opens_ms.astype("datetime64[ms]").astype("datetime64[M]")
    ends: _Int64s = (months + 1).astype("datetime64[ms]").astype(np.int64)
    return ends - opens_ms


_ARROW_ERRORS = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    OverflowError,
)
# What is shown of a cell that is wrong.
_SHOWN_BYTES = 40


def lines_by_cell(dataset: Dataset, block: bytes, origin: str, expected: Expected) -> Lines:
    """Lines of a block of archive CSV; parameters and errors are those of `lines_of_csv`."""
    rows, hours = _rows_and_hours(dataset, block, origin, expected)
    lines = lines_of(dataset, rows)
    return Lines(lines.keys, lines.stamps_us, lines.text, hours)


def rows_of_csv(dataset: Dataset, block: bytes, origin: str, expected: Expected = ANY) -> Table:
    """Rows of a block of archive CSV as a table; parameters and errors are those of `lines_of_csv`."""
    return _rows_and_hours(dataset, block, origin, expected)[0]


def _rows_and_hours(
    dataset: Dataset, block: bytes, origin: str, expected: Expected
) -> tuple[Table, npt.NDArray[np.int64] | None]:
    """The rows, and of funding the hours between two events as the archive tells them."""
    if not block.strip(b"\r\n"):
        return empty_rows(dataset), None
    if not block.endswith(b"\n"):
        msg = f"{origin} ends inside a line; nothing of that is stored, run again later"
        raise BadAnswer(msg)
    width = expected.width or block[: block.find(b"\n")].count(b",") + 1
    columns = dataset.published[:width]
    if {each.name for each in dataset.columns} - {each.name for each in columns}:
        msg = f"{origin}: a row of {width} columns is no row of {dataset.name}; nothing is stored, run again later"
        raise BadAnswer(msg)
    try:
        table = arrow_csv.read_csv(pa.BufferReader(block), *_csv_options(columns, width))
    except _ARROW_ERRORS as error:
        raise BadAnswer(
            _torn(block, width, origin, expected) or _unreadable(origin, error)
        ) from error
    if table.num_rows != block.count(b"\n"):
        msg = f"{origin}: a line end stands inside a line; nothing is stored, run again later"
        raise BadAnswer(msg)
    try:
        return _ours(dataset, table, origin, expected)
    except _ARROW_ERRORS as error:
        raise BadAnswer(_unreadable(origin, error)) from error


def _csv_options(columns: tuple[Column, ...], width: int) -> tuple[Any, Any, Any]:
    names = [each.name for each in columns] + [f"extra {at}" for at in range(len(columns), width)]
    kept = [each for each in columns if each.kind != "ignored"]
    types = {each.name: pa.string() for each in kept}
    return (
        arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 26),
        # A line without a cell is one of another width.
        arrow_csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        arrow_csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            strings_can_be_null=False,
            null_values=[],
            # Every letter that is kept is looked at below.
            check_utf8=False,
        ),
    )


def _ours(
    dataset: Dataset, table: Table, origin: str, expected: Expected
) -> tuple[Table, npt.NDArray[np.int64] | None]:
    """Check the cells and put them into our columns."""
    for column in (each for each in dataset.published if each.name in table.column_names):
        cells = table[column.name]
        if column.kind == "flag":
            table = _set(table, column.name, _flags(cells, origin))
            continue
        _check_grammar(cells, column, origin, expected)
        if column.kind == "number":
            table = _set(table, column.name, _plain(cells))
            continue
        numbers = cells.cast(pa.int64())
        if column.kind == "time":
            numbers = pa.array(microseconds_of(dataset, numbers.to_numpy(), origin))
        table = _set(table, column.name, numbers)
    rows = table.select(list(dataset.column_names)).cast(schema_of(dataset))
    keep = _once(dataset, rows, origin)
    if "close_time" in table.column_names:
        stamps = table["timestamp"].to_numpy()
        expected.check_closes(stamps, table["close_time"].to_numpy(), origin)
    told = "funding_interval_hours"
    hours = table[told].to_numpy() if told in table.column_names else None
    if keep is None:
        return rows, hours
    return rows.filter(pa.array(keep)), hours if hours is None else hours[keep]


def _set(table: Table, name: str, cells: Any) -> Table:
    return table.set_column(table.column_names.index(name), name, cells)


def _check_grammar(cells: Any, column: Column, origin: str, expected: Expected) -> None:
    """Refuse what the exchange does not write, though it may be a number elsewhere."""
    fits = pc.match_substring_regex(cells, f"^(?:{pattern_of(column)})$")
    if pc.all(fits).as_py() is not False:
        return
    at = pc.index(fits, value=False).as_py()
    cell = cells.cast(pa.binary())[at].as_py()[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    msg = (
        f"{origin}: the {column.name} in {expected.place(at)} is {cell!r}, which is no number "
        f"as the exchange writes them; nothing is stored, run again later"
    )
    raise BadAnswer(msg)


def _plain(cells: Any) -> Any:
    """Numbers as the cache writes them: nearly all are as they stand."""
    unusual = pc.match_substring_regex(cells, UNUSUAL_NUMBER)
    if not pc.any(unusual).as_py():
        return cells
    return pa.array([plain_number(cell) for cell in cells.to_pylist()], pa.string())


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


def _once(dataset: Dataset, rows: Table, origin: str) -> npt.NDArray[np.bool_] | None:
    """
    Marks each row once, or None where each is there once.

    Archives of outage days repeat some. Rows that disagree are refused.
    """
    keys = keys_of(dataset, rows)
    steps = np.diff(keys)
    if bool(np.all(steps > 0)):
        return None
    if bool(np.any(steps < 0)):
        msg = f"{origin}: rows are not in order; nothing is stored, run again later"
        raise BadAnswer(msg)
    doubles = np.flatnonzero(steps == 0) + 1
    if not rows.take(doubles).equals(rows.take(doubles - 1)):
        msg = f"{origin}: two different rows have one key; nothing is stored, run again later"
        raise BadAnswer(msg)
    keep = np.ones(len(keys), dtype=bool)
    keep[doubles] = False
    return keep


def _torn(block: bytes, width: int, origin: str, expected: Expected) -> str | None:
    """What to say of the first line that has not as many columns as the others."""
    for at, line in enumerate(block[:-1].split(b"\n")):
        if line.count(b",") + 1 != width:
            return (
                f"{origin}: {expected.place(at)} has {line.count(b',') + 1} columns, not {width} as "
                f"the first; nothing is stored, run again later"
            )
    return None


def _unreadable(origin: str, error: Exception) -> str:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return f"{origin}: the answer is not in the exchange's dialect ({reason}); nothing is stored, run again later"
