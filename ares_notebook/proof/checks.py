"""
Checks of rows, as data: what each promises, and which rows do not keep it.

All compare the exchange's own digits, exactly. What is an error and what only a
warning was decided on files that Binance served: candles off the grid, prices that
jump and trade ids that are used twice are facts of life.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.market.datasets import KLINES
from ares_notebook.market.rows import Table
from ares_notebook.market.series import CacheFile
from ares_notebook.proof.finding import Finding, Severity, row_in_words
from ares_notebook.threads import look_up

__all__ = ["ROW_CHECKS", "RowCheck", "RowTally", "Rows"]

# Any: PyArrow publishes no types of its own.
Cells = Any
Mask = npt.NDArray[np.bool_]

_HOUR_US = 3_600_000_000
_LATEST_EVENT_US = 60_000_000  # Binance stamps up to 47 ms late; a minute is another event.
_FUNDING_HOURS = (1, 2, 4, 8)
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


@dataclass(frozen=True, slots=True)
class RowCheck:
    """
    One check of rows.

    Parameters
    ----------
    name : str
    severity : {"error", "warning", "information"}
    datasets : tuple of str
        Names of the datasets whose rows it looks at.
    promise : str
        What it finds broken, as a sentence.
    offending : callable
        Takes `Rows` and returns a mask: which of them break the promise. A cell that
        is null (the ancestor stored fewer columns) breaks none.
    shown : tuple of str
        The columns that an example tells.
    """

    name: str
    severity: Severity
    datasets: tuple[str, ...]
    promise: str
    offending: Callable[[Rows], Mask]
    shown: tuple[str, ...] = ()


def _where(*conditions: Cells) -> Mask:
    """Where at least one condition is true; null is not true."""
    mask: Mask = reduce(pc.or_, (pc.fill_null(each, False) for each in conditions)).to_numpy()
    return mask


def _check(
    name: str, severity: Severity, datasets: tuple[str, ...], shown: tuple[str, ...] = ()
) -> Callable[[Callable[[Rows], Mask]], RowCheck]:
    """Make a check of the function below; its docstring is the promise."""
    return lambda find: RowCheck(name, severity, datasets, str(find.__doc__), find, shown)


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
    return _where(*conditions)


@_check("stamps inside the period", "error", (*_SPOT, *_FUTURES))
def _outside(rows: Rows) -> Mask:
    """Every stamp lies in the period that the file's name says."""
    period, stamps = rows.file.period, rows.now("timestamp")
    before = pc.less(stamps, period.start_ms * 1000)
    return _where(before, pc.greater_equal(stamps, period.end_ms * 1000))


# Held by all 105,280 recorded trades; but it is ids, not stamps, that are in order.
@_check("stamps in order", "warning", _TRADES, ("agg_trade_id",))
def _back_in_time(rows: Rows) -> Mask:
    """No trade is stamped before the one that it follows."""
    return _where(pc.less(rows.now("timestamp"), rows.before("timestamp")))


# In a file that is an error of reading; over midnight it has happened (ZILBTC, 2021-02-28).
@_check("order and uniqueness", "warning", _TRADES, ("agg_trade_id",))
def _used_twice(rows: Rows) -> Mask:
    """No id of a trade is used again on the next day."""
    return _where(pc.less_equal(rows.now("agg_trade_id"), rows.before("agg_trade_id")))


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
    return _where(*below, *(pc.greater(price, high) for price in inner))


# Archives of trades have held rows of price 0 and quantity 0.
@_check("prices above zero", "warning", _SPOT, (*_PRICES, "price", "quantity", "agg_trade_id"))
def _not_above_zero(rows: Rows) -> Mask:
    """Prices are above zero, and so is the quantity of a trade."""
    return _where(*(pc.less_equal(each, 0) for each in rows.all_of(*_PRICES, "price", "quantity")))


@_check("non-negative volumes", "error", _SPOT, (*_VOLUMES, "quantity", "agg_trade_id"))
def _below_zero(rows: Rows) -> Mask:
    """Volumes, counts and quantities are not negative."""
    return _where(*(pc.less(each, 0) for each in rows.all_of(*_VOLUMES, "quantity")))


@_check("taker ≤ total", "error", _KLINES, _VOLUMES)
def _taker_above_total(rows: Rows) -> Mask:
    """Takers bought at most what was traded, in both assets."""
    return _where(
        pc.greater(rows.now("taker_buy_base_asset_volume"), rows.now("volume")),
        pc.greater(rows.now("taker_buy_quote_asset_volume"), rows.now("quote_asset_volume")),
    )


# Held by all four recorded candles without a trade: too few to condemn others.
@_check("zero volume is flat", "warning", _KLINES, (*_PRICES, "volume"))
def _not_flat(rows: Rows) -> Mask:
    """A candle without a trade stays at the close before it."""
    first, *others = (rows.now(name) for name in _PRICES)
    apart = [pc.not_equal(first, other) for other in (*others, rows.before("close"))]
    return _where(pc.equal(rows.now("volume"), 0)) & _where(*apart)


@_check("price jumps", "warning", _SPOT, ("open", "price", "agg_trade_id"))
def _jumps(rows: Rows) -> Mask:
    """A price is as near to the one before (a candle's open to the close) as price_jump_share says."""
    names = ("open", "close") if rows.file.dataset.has_interval else ("price", "price")
    # A threshold is no digit: floats do, and never overflow.
    price = rows.now(names[0]).cast(pa.float64())
    last = rows.before(names[1]).cast(pa.float64())
    step = pc.abs(pc.subtract(price, last))
    return _where(pc.greater(step, pc.multiply(last, rows.price_jump_share)))


# Futures leave out insurance and liquidation trades.
@_check("trade ids run on", "information", _TRADES, ("first_trade_id", "agg_trade_id"))
def _ids_apart(rows: Rows) -> Mask:
    """The first trade of a row is the one after the last trade of the row before."""
    follows = pc.equal(rows.now("agg_trade_id"), pc.add(rows.before("agg_trade_id"), 1))
    apart = pc.not_equal(rows.now("first_trade_id"), pc.add(rows.before("last_trade_id"), 1))
    # Where trades are missing their ids are too, and that is a hole.
    return _where(pc.and_(follows, apart))


@_check("funding interval", "warning", _FUTURES)
def _odd_funding(rows: Rows) -> Mask:
    """Funding is due on the hour, by a pace of 1, 2, 4 or 8 hours of the day; a longer wait is a hole."""
    now: npt.NDArray[np.int64] = rows.stamps_us() // _HOUR_US
    before = pc.fill_null(rows.before("timestamp"), 0).to_numpy() // _HOUR_US
    due = [  # The next of the old pace, or the first of a new one.
        (now == (before // pace + 1) * pace) | (before == (now - 1) // pace * pace)
        for pace in _FUNDING_HOURS
    ]
    odd: Mask = (now - before <= max(_FUNDING_HOURS)) & ~np.any(due, axis=0)
    return odd | (rows.stamps_us() % _HOUR_US >= _LATEST_EVENT_US)


ROW_CHECKS: tuple[RowCheck, ...] = (
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
)
"""All checks of rows, in the order in which they are reported."""


class RowTally:
    """
    Counts what the checks find in a file, table by table; keeps one row between tables.

    Parameters
    ----------
    file : CacheFile
    price_jump_share : float
    before : pyarrow.Table, optional
        The last row of the file before, where that is next to this one.

    Attributes
    ----------
    rows : int
        How many were looked at.
    last : pyarrow.Table or None
        The last row so far.

    Examples
    --------
    >>> from ares_notebook.market.series import parse_file_name
    >>> RowTally(parse_file_name("klines_BTCUSDT_1h_2025-01.csv"), 0.2).findings()
    []
    """

    def __init__(
        self, file: CacheFile, price_jump_share: float, before: Table | None = None
    ) -> None:
        self.rows = 0
        self.last = before
        self._file = file
        self._share = price_jump_share
        self._checks = [each for each in ROW_CHECKS if file.dataset.name in each.datasets]
        self._found: dict[RowCheck, tuple[int, str]] = {}

    def add(self, table: Table) -> None:
        """Look at the next rows."""
        if not table.num_rows:
            return
        rows = Rows(self._file, table, self.last, self._share)
        for check in self._checks:
            look_up()
            broken = np.flatnonzero(check.offending(rows))
            if len(broken):
                count, first = self._found.get(check, (0, ""))
                line = int(broken[0])
                example = first or row_in_words(self._file.dataset, table, line, check.shown)
                self._found[check] = (count + len(broken), example)
        self.rows += table.num_rows
        self.last = table.slice(table.num_rows - 1)

    def findings(self) -> list[Finding]:
        """What was found so far, one finding a check."""
        return [
            Finding(self._file.name, check.name, check.severity, *self._found[check])
            for check in self._checks
            if check in self._found
        ]
