"""Rows as Arrow tables and as lines of text, the text of their cells, and a check of prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.errors import BadAnswer
from ares_notebook.formatting import refused
from ares_notebook.model.columns import Column, Kind
from ares_notebook.model.datasets import MICROSECONDS_SINCE_MS, Dataset

_COMMA, _LINE_END = b",\n"
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Lines of a cache file, ready to be written."""

    # The id of each trade, else its timestamp; see `time_keys`.
    keys: npt.NDArray[np.int64]
    # Microseconds since the epoch, UTC.
    stamps_us: npt.NDArray[np.int64]
    # The lines, each with its end.
    text: npt.NDArray[np.uint8]
    # For funding, the hours between events by the archive's column, 0 where unknown; not stored.
    hours: npt.NDArray[np.int64] | None = None

    @classmethod
    def none(cls) -> Lines:
        """No lines."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.keys)

    def between(self, start_ms: int, end_ms: int) -> Lines:
        """The lines with ``start_ms <= timestamp < end_ms``."""
        inside = (self.stamps_us >= start_ms * 1000) & (self.stamps_us < end_ms * 1000)
        return self.only(inside)

    def after(self, before: Lines) -> Lines:
        """The lines without a first one that repeats the last of *before*, as on outage days."""
        if not len(self) or not len(before) or self.keys[0] != before.keys[-1]:
            return self
        again = self.only(np.arange(len(self)) == 0)
        last = before.only(np.arange(len(before)) == len(before) - 1)
        is_same = np.array_equal(again.text, last.text)
        return self.only(np.arange(len(self)) > 0) if is_same else self

    def with_hours(self, hours_by_key: Mapping[int, int]) -> Lines:
        """The lines with *hours_by_key* as `hours`."""
        if not hours_by_key:
            return self
        hours = np.array([hours_by_key.get(key, 0) for key in self.keys.tolist()], np.int64)
        return replace(self, hours=hours)

    def narrowed(self, columns: int) -> Lines:
        """The lines with only their first *columns* cells, as in old files."""
        marks = np.flatnonzero((self.text == _COMMA) | (self.text == _LINE_END))
        in_lines = marks.reshape(len(self), -1)
        cuts, ends = in_lines[:, columns - 1], in_lines[:, -1]
        starts = np.concatenate([[0], ends[:-1] + 1])
        # Keep the head of each line, drop the rest, keep the line end.
        lengths = np.stack([cuts - starts, ends - cuts, np.ones_like(ends)], axis=1)
        stays = np.repeat(np.tile([True, False, True], len(self)), lengths.ravel())
        return Lines(self.keys, self.stamps_us, self.text[stays], self.hours)

    def only(self, kept: npt.NDArray[np.bool_]) -> Lines:
        """The lines that the mask marks."""
        if kept.all():
            return self
        ends = np.flatnonzero(self.text == _LINE_END) + 1
        letters = np.repeat(kept, np.diff(ends, prepend=0))
        hours = None if self.hours is None else self.hours[kept]
        return Lines(self.keys[kept], self.stamps_us[kept], self.text[letters], hours)


def time_keys(dataset: Dataset, stamps_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """
    The keys of rows without an id: their timestamps in microseconds.

    The key of a funding event is its hour: sources stamp it up to 47 ms late, and differently.
    """
    return stamps_us // HOUR_US if dataset.key == "event_time" else stamps_us


LONGEST_PART = 24
"""The most digits before and after the point; no number of the exchange has as many."""

_PLAIN = rf"(?:0|[1-9][0-9]{{0,{LONGEST_PART - 1}}})(?:\.[0-9]{{1,{LONGEST_PART}}})?"
# Written out it is no longer than the longest plain one.
_SCIENTIFIC = r"[0-9](?:\.[0-9]{1,8})?E[+-](?:[1-9]|1[0-6])"
_INTEGER = r"(?:0|[1-9][0-9]{0,18})"
_OF_ANOTHER_KIND = {
    # A negative timestamp is a number, and refused later as no moment.
    "time": f"-?{_INTEGER}",
    "close": _INTEGER,
    # Archives of futures write flags in lower case.
    "flag": "(?i:true|false)",
    "hours": "(?:0|[1-9][0-9]?)",
    # Of letters of any script.
    "symbol": r"[^\s\",]+",
}

_LABEL = "20[0-9]{2}(?:-[0-9]{2}){2} [0-9]{2}(?::[0-9]{2}){2}"

UNUSUAL_NUMBER = r"E|^-0(?:\.0+)?$"
"""Matches valid numbers that `plain_number` changes."""


def pattern_of(column: Column) -> str:
    """The regular expression of valid cells of *column* in answers."""
    if column.kind == "number":
        number = f"{'-?' if column.signed else ''}(?:{_PLAIN}|{_SCIENTIFIC})"
        return f'(?:{number}|"")?' if column.may_be_empty or column.proves_row else number
    if column.is_zero:
        return r"0(?:\.0+)?"
    if column.is_label:
        return _LABEL
    return plain_pattern_of(column)


def plain_pattern_of(column: Column) -> str:
    """The regular expression of valid cells of *column* in cache files: without exponents."""
    if column.kind == "number":
        number = f"{'-?' if column.signed else ''}(?:{_PLAIN})"
        return f"(?:{number})?" if column.may_be_empty else number
    if column.kind == "integer":
        # -1 is the id of no trade.
        return f"(?:{_INTEGER}|-1)" if column.signed else _INTEGER
    return _OF_ANOTHER_KIND[column.kind]


def plain_number(text: str) -> str:
    """The text of a number in the cache: without exponent, with all digits, no negative zero."""
    plain = f"{Decimal(text):f}" if "E" in text else text
    return plain if plain.strip("-0.") else plain.removeprefix("-")


MICROSECONDS_FROM = 100_000_000_000_000
"""Stamps from here on are microseconds: as milliseconds it is the year 5138."""

# Valid timestamps: 2009 to 2100, in microseconds.
_EARLIEST_US, _LATEST_US = 1_230_768_000_000_000, 4_102_444_800_000_000


def microseconds_of(
    dataset: Dataset, stamps: npt.NDArray[np.int64], origin: str
) -> npt.NDArray[np.int64]:
    """
    Timestamps in microseconds since the epoch, as precise as the cache keeps them.

    Spot archives write microseconds from 2025-01-01 on, milliseconds before.
    """
    us = np.where(stamps >= MICROSECONDS_FROM, stamps, stamps * 1000)
    if len(us) and (us.min() < _EARLIEST_US or us.max() >= _LATEST_US):
        raise BadAnswer(refused(origin, "a stamp is no moment between 2009 and 2100"))
    whole: npt.NDArray[np.int64] = us // 1000 * 1000
    if dataset.stamp_digits != 6:  # noqa: PLR2004 - microseconds
        return whole
    # REST also has the microseconds of older trades, the archive has not: both sources must give
    # the same bytes.
    return np.where(us < MICROSECONDS_SINCE_MS * 1000, whole, us)


_DAY_US = 86_400_000_000
SECOND_US = 1_000_000
_DAY_BYTES, _CLOCK_BYTES = 11, 8
# The fraction is written in groups of three digits.
_GROUP = 1_000


def stamp_cells(stamps_us: npt.NDArray[np.int64], digits: int) -> npt.NDArray[np.void]:
    """Timestamps as ``2025-01-15 00:00:00`` with *digits* after the second."""
    groups = digits // 3
    cells = np.empty(len(stamps_us), _layout(groups))
    # Division by a constant is ten times as fast as divmod.
    days = stamps_us // _DAY_US
    in_day_us = stamps_us - days * _DAY_US
    cells["day"] = _day_text(days)
    seconds = in_day_us // SECOND_US
    cells["clock"] = _clocks()[seconds]
    if groups:
        cells["point"] = b"."
        fraction = (in_day_us - seconds * SECOND_US).astype(np.int32)
        milliseconds = fraction // _GROUP
        cells["ms"] = _three_digits()[milliseconds]
    if groups > 1:
        cells["us"] = _three_digits()[fraction - milliseconds * _GROUP]
    return cells


@cache
def _layout(groups: int) -> np.dtype[np.void]:
    fields = [("day", f"S{_DAY_BYTES}"), ("clock", f"S{_CLOCK_BYTES}")]
    fraction = [("point", "S1"), ("ms", "S3"), ("us", "S3")]
    return np.dtype(fields + fraction[: groups + 1 if groups else 0])


def _day_text(days: npt.NDArray[np.int64]) -> npt.NDArray[np.bytes_]:
    """Dates, each with a blank; equal neighbours are formatted once."""
    starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
    dates = np.datetime_as_string(days[starts].astype("datetime64[D]"))
    texts = np.array([f"{date} " for date in dates], f"S{_DAY_BYTES}")
    return np.repeat(texts, np.diff(starts, append=len(days)))


@cache
def _clocks() -> npt.NDArray[np.bytes_]:
    """All seconds of a day as text."""
    two_digits = np.array([f"{number:02d}" for number in range(60)], "S2")
    fields = ("hour", "S2"), ("colon", "S1"), ("minute", "S2"), ("another", "S1"), ("second", "S2")
    clocks = np.empty((24, 60, 60), list(fields))
    clocks["hour"] = two_digits[:24, None, None]
    clocks["minute"] = two_digits[:, None]
    clocks["second"] = two_digits
    clocks["colon"] = clocks["another"] = b":"
    return clocks.reshape(-1).view(f"S{_CLOCK_BYTES}")


@cache
def _three_digits() -> npt.NDArray[np.bytes_]:
    return np.array([f"{number:03d}" for number in range(_GROUP)], "S3")


# Any: PyArrow publishes no types of its own.
Table = Any

_TYPES: dict[Kind, Any] = {
    "time": pa.int64(),
    "number": pa.string(),
    "integer": pa.int64(),
    "flag": pa.string(),
}
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
    """The key of each row: the trade's id, else `time_keys`."""
    if dataset.key == "id":
        return _numbers(table, "agg_trade_id")
    return time_keys(dataset, _numbers(table, "timestamp"))


def null_where_empty(column: Column, cells: Any) -> Any:
    """The text of a column, null in place of the empty cells that it may have."""
    if not column.may_be_empty:
        return cells
    return pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)


def stamps_ms(table: Table) -> npt.NDArray[np.int64]:
    """Timestamps in whole milliseconds, rounded down."""
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
    The rows as lines of a cache file, without header, in a PyArrow buffer.

    The first column is the timestamp; others may be left out.
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
    """Timestamps with the dataset's number of digits, but for candles that open within a second."""
    stamps_us = _numbers(table, "timestamp")
    text = _in_arrow(stamp_cells(stamps_us, dataset.stamp_digits))
    if dataset.stamp_digits or not np.any(within := stamps_us % SECOND_US):
        return text
    # Candles that opened off the grid (December 2017, February 2018) keep their fraction.
    return pc.if_else(pa.array(within != 0), _in_arrow(stamp_cells(stamps_us, 3)), text)


def _in_arrow(cells: npt.NDArray[np.void]) -> Any:
    """Cells of one width as strings, without a copy."""
    width = cells.dtype.itemsize
    ends = np.arange(0, width * len(cells) + 1, width, dtype=np.int32)
    return pa.StringArray.from_buffers(len(cells), pa.py_buffer(ends), pa.py_buffer(cells))


# The largest factor between the prices of adjacent rows; no market of Binance has exceeded it.
_LARGEST_FACTOR = 5.0


class Scale:
    """Compares the prices of adjacent rows of a file, table by table."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._last: float | None = None

    def breaks_at(self, table: Table) -> int | None:
        """The first row whose price is of another scale than the previous one; None without."""
        for column in self._dataset.columns:
            if column.kind == "number":
                # Raises where a decimal, which is kept as text, is no number.
                null_where_empty(column, table[column.name]).cast(pa.float64())
        names = self._dataset.price_names
        if names is None or not table.num_rows:
            return None
        first, last = (_floats(table, name) for name in names)
        before = np.concatenate([[first[0] if self._last is None else self._last], last[:-1]])
        self._last = float(last[-1])
        broken = np.flatnonzero(_is_apart(first, before))
        return int(broken[0]) if len(broken) else None


def in_scale(dataset: Dataset, table: Table) -> Table:
    """The rows whose prices are of the scale of their median."""
    names = dataset.price_names
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
