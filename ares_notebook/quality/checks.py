"""Checks of rows, and how their findings are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.model.datasets import KLINES
from ares_notebook.model.files import CacheFile
from ares_notebook.model.rows import Table
from ares_notebook.model.time import INTERVALS
from ares_notebook.quality.findings import Finding, Severity, moment_in_words, row_in_words
from ares_notebook.runtime.tasks import check_cancelled

__all__ = [
    "ROW_CHECKS",
    "Cells",
    "Check",
    "Count",
    "Mask",
    "RowCheck",
    "RowTally",
    "Rows",
    "RunCheck",
    "Runs",
    "where",
]

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


_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
# Binance stamps up to 47 ms late; a minute is another event.
_LATEST_EVENT_US = 60_000_000
_FUNDING_HOURS = (1, 2, 4, 8)


def _check(
    name: str, severity: Severity, datasets: tuple[str, ...], shown: tuple[str, ...] = ()
) -> Callable[[Callable[[Rows], Mask]], RowCheck]:
    """Make a check of the function below; its docstring is the promise."""
    return lambda find: RowCheck(name, severity, datasets, str(find.__doc__), shown, find)


def _run_check(
    name: str, datasets: tuple[str, ...], long_us: int, shown: tuple[str, ...] = ()
) -> Callable[[Callable[[Rows], Runs]], RunCheck]:
    """The same of a function that tells which rows are of one run."""
    return lambda find: RunCheck(name, "warning", datasets, str(find.__doc__), shown, find, long_us)


_KLINES, _TRADES, _FUTURES = ("klines",), ("agg_trades",), ("futures",)
_SPOT = (*_KLINES, *_TRADES)
_PRICES = ("open", "high", "low", "close")
_VOLUMES = tuple(column.name for column in KLINES.columns[len(_PRICES) + 1 :])


@_check("schema", "error", (*_SPOT, *_FUTURES))
def _no_numbers(rows: Rows) -> Mask:
    """Every number is one, and every flag is True or False."""
    conditions = []
    for column in rows.file.dataset.columns:
        text = rows.table[column.name]
        if column.kind == "number":
            conditions.append(pc.and_(pc.is_valid(text), pc.is_null(rows.now(column.name))))
        elif column.kind == "flag":
            conditions.append(pc.invert(pc.is_in(text, pa.array(["True", "False"]))))
    return where(*conditions)


@_check("stamps inside the period", "error", (*_SPOT, *_FUTURES))
def _outside(rows: Rows) -> Mask:
    """Every stamp lies in the period that the file's name says."""
    period, stamps = rows.file.period, rows.now("timestamp")
    before = pc.less(stamps, period.start_ms * 1000)
    return where(before, pc.greater_equal(stamps, period.end_ms * 1000))


# Held by all 105,280 recorded trades; but it is ids, not stamps, that are in order.
@_check("stamps in order", "warning", _TRADES, ("agg_trade_id",))
def _back_in_time(rows: Rows) -> Mask:
    """No trade is stamped before the one that it follows."""
    return where(pc.less(rows.now("timestamp"), rows.before("timestamp")))


# In a file that is an error of reading; over midnight it has happened (ZILBTC, 2021-02-28).
@_check("order and uniqueness", "warning", _TRADES, ("agg_trade_id",))
def _used_twice(rows: Rows) -> Mask:
    """No id of a trade is used again on the next day."""
    return where(pc.less_equal(rows.now("agg_trade_id"), rows.before("agg_trade_id")))


# 43 hours of February 2018 opened at 28:14.789.
@_check("grid", "warning", _KLINES)
def _off_grid(rows: Rows) -> Mask:
    """Every candle opens on the grid of its interval."""
    grid, stamps = rows.file.opens(rows.file.grid_end_ms), rows.stamps_us()
    if isinstance(grid, range):
        off: Mask = (stamps - grid.start * 1000) % (grid.step * 1000) != 0
        return off
    return ~np.isin(stamps, np.array(grid, np.int64) * 1000)


@_check("low ≤ open, close ≤ high", "error", _KLINES, _PRICES)
def _out_of_range(rows: Rows) -> Mask:
    """Open and close lie between low and high."""
    low, high, *inner = (rows.now(name) for name in ("low", "high", "open", "close"))
    below = [pc.less(price, low) for price in inner]
    return where(*below, *(pc.greater(price, high) for price in inner))


# Archives of trades have held rows of price 0 and quantity 0.
@_check("prices above zero", "warning", _SPOT, (*_PRICES, "price", "quantity", "agg_trade_id"))
def _not_above_zero(rows: Rows) -> Mask:
    """Prices are above zero, and so is the quantity of a trade."""
    return where(*(pc.less_equal(each, 0) for each in rows.all_of(*_PRICES, "price", "quantity")))


@_check("non-negative volumes", "error", _SPOT, (*_VOLUMES, "quantity", "agg_trade_id"))
def _below_zero(rows: Rows) -> Mask:
    """Volumes, counts and quantities are not negative."""
    return where(*(pc.less(each, 0) for each in rows.all_of(*_VOLUMES, "quantity")))


@_check("taker ≤ total", "error", _KLINES, _VOLUMES)
def _taker_above_total(rows: Rows) -> Mask:
    """Takers bought at most what was traded, in both assets."""
    return where(
        pc.greater(rows.now("taker_buy_base_asset_volume"), rows.now("volume")),
        pc.greater(rows.now("taker_buy_quote_asset_volume"), rows.now("quote_asset_volume")),
    )


# Held by all four recorded candles without a trade: too few to condemn others.
@_check("zero volume is flat", "warning", _KLINES, (*_PRICES, "volume"))
def _not_flat(rows: Rows) -> Mask:
    """A candle without a trade stays at the close before it."""
    first, *others = (rows.now(name) for name in _PRICES)
    apart = [pc.not_equal(first, other) for other in (*others, rows.before("close"))]
    return where(pc.equal(rows.now("volume"), 0)) & where(*apart)


@_check("price jumps", "warning", _SPOT, ("open", "price", "agg_trade_id"))
def _jumps(rows: Rows) -> Mask:
    """A price is as near to the one before (a candle's open to the close) as price_jump_share says."""
    names = ("open", "close") if rows.file.dataset.has_interval else ("price", "price")
    # A threshold is no digit: floats do, and never overflow.
    price = rows.now(names[0]).cast(pa.float64())
    last = rows.before(names[1]).cast(pa.float64())
    step = pc.abs(pc.subtract(price, last))
    return where(pc.greater(step, pc.multiply(last, rows.price_jump_share)))


# Futures leave out insurance and liquidation trades.
@_check("trade ids run on", "information", _TRADES, ("first_trade_id", "agg_trade_id"))
def _ids_apart(rows: Rows) -> Mask:
    """The first trade of a row is the one after the last trade of the row before."""
    follows = pc.equal(rows.now("agg_trade_id"), pc.add(rows.before("agg_trade_id"), 1))
    apart = pc.not_equal(rows.now("first_trade_id"), pc.add(rows.before("last_trade_id"), 1))
    # Where trades are missing their ids are too, and that is a gap.
    return where(pc.and_(follows, apart))


@_check("funding interval", "warning", _FUTURES)
def _odd_funding(rows: Rows) -> Mask:
    """Funding is due on the hour, by a pace of 1, 2, 4 or 8 hours of the day; a longer wait is a gap."""
    now: npt.NDArray[np.int64] = rows.stamps_us() // _HOUR_US
    before = pc.fill_null(rows.before("timestamp"), 0).to_numpy() // _HOUR_US
    due = [  # The next of the old pace, or the first of a new one.
        (now == (before // pace + 1) * pace) | (before == (now - 1) // pace * pace)
        for pace in _FUNDING_HOURS
    ]
    odd: Mask = (now - before <= max(_FUNDING_HOURS)) & ~np.any(due, axis=0)
    return odd | (rows.stamps_us() % _HOUR_US >= _LATEST_EVENT_US)


# Binance's zips have gone on with 417 payments of 0.00010000 in 139 days after a settlement
# (LITUSDT, 2025-01-31). While traded: at most 27.3 days in four years of BTCUSDT and of ETHUSDT
# (83 payments of 0.0001 each, in 2020), and 3.7 days in the demo exchange.
@_run_check("unchanged funding rate", _FUTURES, 60 * _DAY_US)
def _same_rate(rows: Rows) -> Runs:
    """No funding rate stays the same to the last digit for 60 days."""
    rate, before = rows.now("fundingRate"), rows.before("fundingRate")
    stamps, last = rows.now("timestamp"), rows.before("timestamp")
    hours = pc.subtract(pc.divide(stamps, _HOUR_US), pc.divide(last, _HOUR_US))
    # Over a gap nothing is known of the rate.
    goes_on = pc.and_(pc.equal(rate, before), pc.less_equal(hours, max(_FUNDING_HOURS)))
    return Runs(where(pc.is_valid(rate)), where(goes_on), 0)


# FTTBUSD had flat candles for months after its suspension. In 66,000 candles of BTCUSDT and
# ETHUSDT (1m to 1h, 2017 to 2026) no two flat ones without volume are in a row; the demo has none.
# Trades have no such check: one price for long is usual where two currencies are worth the
# same, and each trade shows that the market is open.
@_run_check("flat candles without volume", _KLINES, 7 * _DAY_US, (*_PRICES, "volume"))
def _no_trade_for_long(rows: Rows) -> Runs:
    """Nowhere candles stay at one price without any volume for 7 days."""
    first, *others = (rows.now(name) for name in _PRICES)
    flat = reduce(pc.and_, (pc.equal(first, other) for other in others))
    step_us = INTERVALS[str(rows.file.series.interval)] * 1000
    # Of a month, the longest and the shortest.
    most_us, row_us = (step_us, step_us) if step_us else (31 * _DAY_US, 28 * _DAY_US)
    apart_us = pc.subtract(rows.now("timestamp"), rows.before("timestamp"))
    goes_on = pc.and_(
        pc.equal(first, rows.before("close")),
        pc.less_equal(apart_us, most_us),
    )
    still = pc.and_(flat, pc.equal(rows.now("volume"), 0))
    return Runs(where(still), where(goes_on), row_us)


ROW_CHECKS: tuple[RowCheck | RunCheck, ...] = (
    _no_numbers,
    _outside,
    _back_in_time,
    _used_twice,
    _off_grid,
    _out_of_range,
    _not_above_zero,
    _below_zero,
    _taker_above_total,
    _not_flat,
    _jumps,
    _ids_apart,
    _odd_funding,
    _same_rate,
    _no_trade_for_long,
)
"""All checks of rows, in the order in which they are reported."""


class RowTally:
    """Counts what the checks find in a file, table by table."""

    def __init__(
        self, file: CacheFile, price_jump_share: float, before: RowTally | None = None
    ) -> None:
        self.rows = 0
        self._file = file
        self._share = price_jump_share
        self.last: Table | None = before.last if before else None
        self.counts: dict[RowCheck | RunCheck, Count] = {
            check: before.counts[check].next_file() if before else check.counted()
            for check in ROW_CHECKS
            if file.dataset.name in check.datasets
        }

    def add(self, table: Table) -> None:
        """Look at the next rows."""
        if not table.num_rows:
            return
        rows = Rows(self._file, table, self.last, self._share)
        for count in self.counts.values():
            check_cancelled()
            count.add(rows)
        self.rows += table.num_rows
        self.last = table.slice(table.num_rows - 1)

    def findings(self) -> list[Finding]:
        """What was found so far, one finding a check."""
        counted = ((check, *count.found()) for check, count in self.counts.items())
        return [
            Finding(self._file.name, check.name, check.severity, rows, example)
            for check, rows, example in counted
            if rows
        ]
