"""Count what is checked: masks over rows, runs of rows, and findings of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.model.files import CacheFile
from ares_notebook.model.rows import Table
from ares_notebook.quality.findings import Severity, moment_in_words, row_in_words

__all__ = ["Cells", "Check", "Count", "Mask", "RowCheck", "Rows", "RunCheck", "Runs", "where"]

# Any: PyArrow publishes no types of its own.
Cells = Any
Mask = npt.NDArray[np.bool_]

# The narrow one is twice as fast, and holds whatever the exchange writes.
_DECIMALS = (pa.decimal128(38, 18), pa.decimal256(76, 38))


class Rows:
    """One table of a file, with the row before it, as the checks look at it."""

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


_Lines = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check is called, and what it promises."""

    name: str
    severity: Severity
    # Names of the datasets whose rows it looks at.
    datasets: tuple[str, ...]
    # What it finds broken, as a sentence.
    promise: str
    # The columns that an example tells.
    shown: tuple[str, ...]


class Count(Protocol):
    """How many rows a check has found in a file so far."""

    def add(self, rows: Rows) -> None:
        """Look at the next rows."""

    def found(self) -> tuple[int, str]:
        """How many rows break the promise, and the first of them in words."""

    def next_file(self) -> Count:
        """The same for the file after: nothing found, and what is still under way known."""


@dataclass(frozen=True, slots=True)
class RowCheck(Check):
    """A check of single rows, each beside the row before it."""

    # Takes `Rows` and returns a mask: which of them break the promise. A cell that is null (the
    # original downloader stored fewer columns) breaks none.
    offending: Callable[[Rows], Mask]

    def counted(self) -> Count:
        """A count of it, for the first file of a series."""
        return _RowCount(self)


class _RowCount:
    """Counts single rows: nothing is under way from one table to the next."""

    def __init__(self, check: RowCheck) -> None:
        self._check = check
        self._rows = 0
        self._first = ""

    def add(self, rows: Rows) -> None:
        broken = np.flatnonzero(self._check.offending(rows))
        if len(broken):
            self._first = self._first or _in_words(self._check, rows, int(broken[0]))
            self._rows += len(broken)

    def found(self) -> tuple[int, str]:
        return self._rows, self._first

    def next_file(self) -> Count:
        return _RowCount(self._check)


class Runs(NamedTuple):
    """Which rows are of a run, and how long each lasts."""

    # Whether a row can be of a run at all.
    within: Mask
    # Whether it is of the run of the row before it, if that is of one.
    goes_on: Mask
    # How long a row lasts, in microseconds: the interval of a candle, 0 of an event.
    row_us: int


@dataclass(frozen=True, slots=True)
class RunCheck(Check):
    """
    A check of runs of rows, which go on from table to table and from file to file.

    A run is measured from its first row, in whichever file that is; counted are its rows in the
    file in question, once it is long.
    """

    # Takes `Rows` and returns their `Runs`.
    runs: Callable[[Rows], Runs]
    # From which length on a run breaks the promise, in microseconds.
    long_us: int

    def counted(self) -> Count:
        """A count of it, for the first file of a series."""
        return _RunCount(self)


@dataclass(frozen=True, slots=True)
class _Run:
    """The run that the last row is of; its rows in this file, and the first of those in words."""

    since_us: int
    until_us: int
    rows: int = 0
    first: str = ""


class _RunCount:
    """Counts the rows of long runs; the last one may go on in the next table, or file."""

    def __init__(self, check: RunCheck, under_way: _Run | None = None) -> None:
        self._check = check
        self._under_way = under_way
        self._rows = 0
        self._first = ""

    def add(self, rows: Rows) -> None:
        runs, stamps = self._check.runs(rows), rows.stamps_us()
        follows = np.concatenate(([self._under_way is not None], runs.within[:-1]))
        begins = runs.within & ~(runs.goes_on & follows)
        # Where a run cannot go on: at a row of none, at the first row of another, at the end.
        stops = np.append(np.flatnonzero(begins | ~runs.within), len(stamps))
        if self._under_way and stops[0]:
            until_us = int(stamps[stops[0] - 1]) + runs.row_us
            self._extend(rows, int(stops[0]), until_us)
        if stops[0] < len(stamps):
            self._close()
            self._add_new(rows, np.flatnonzero(begins), stops, runs.row_us)

    def found(self) -> tuple[int, str]:
        return self._with(self._under_way)

    def next_file(self) -> Count:
        run = self._under_way
        return _RunCount(self._check, run and replace(run, rows=0, first=""))

    def _add_new(self, rows: Rows, begins: _Lines, stops: _Lines, row_us: int) -> None:
        """The runs that begin in this table; one that reaches its end stays under way."""
        stamps = rows.stamps_us()
        ends = stops[np.searchsorted(stops, begins, side="right")]
        lasting = stamps[ends - 1] + row_us - stamps[begins]
        long = lasting >= self._check.long_us
        is_open = bool(len(ends)) and int(ends[-1]) == len(stamps)
        if is_open:
            long[-1] = False
        if long.any():
            self._rows += int((ends - begins)[long].sum())
            at = int(begins[np.argmax(long)])
            self._first = self._first or _in_words(self._check, rows, at)
        if is_open:
            begin = int(begins[-1])
            words = _in_words(self._check, rows, begin)
            until_us = int(stamps[-1]) + row_us
            self._under_way = _Run(int(stamps[begin]), until_us, len(stamps) - begin, words)

    def _extend(self, rows: Rows, number: int, until_us: int) -> None:
        """Rows more of the run under way; in a file after its own it says since when it is."""
        run = self._under_way
        assert run is not None  # noqa: S101 - for the type checker; the caller has looked
        first = run.first
        if not run.rows:
            words = _in_words(self._check, rows, 0)
            first = f"{words}, the same since {moment_in_words(run.since_us)}"
        self._under_way = replace(run, until_us=until_us, rows=run.rows + number, first=first)

    def _close(self) -> None:
        self._rows, self._first = self._with(self._under_way)
        self._under_way = None

    def _with(self, run: _Run | None) -> tuple[int, str]:
        """What was found, with that of *run* if it is long."""
        if run is None or run.until_us - run.since_us < self._check.long_us:
            return self._rows, self._first
        return self._rows + run.rows, self._first or run.first


def _in_words(check: Check, rows: Rows, at: int) -> str:
    return row_in_words(rows.file.dataset, rows.table, at, check.shown)
