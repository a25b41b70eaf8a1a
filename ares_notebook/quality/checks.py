"""Checks of rows, and how their findings are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.model.datasets import DATASETS, Dataset
from ares_notebook.model.files import CacheFile
from ares_notebook.model.rows import Table, null_where_empty
from ares_notebook.model.time import INTERVALS
from ares_notebook.quality.findings import Finding, Severity, moment_in_words, row_in_words
from ares_notebook.runtime.cancellation import check_cancelled

# Any: PyArrow publishes no types of its own.
Cells = Any
Mask = npt.NDArray[np.bool_]

# The narrow one is twice as fast, and holds whatever the exchange writes.
_DECIMALS = (pa.decimal128(38, 18), pa.decimal256(76, 38))


class Rows:
    """One table of a file, with the row before it."""

    def __init__(
        self, file: CacheFile, table: Table, before: Table | None, price_jump_share: float
    ) -> None:
        self.file = file
        self.table = table
        self.price_jump_share = price_jump_share
        self._rows = table if before is None else pa.concat_tables([before, table])
        self._lead = self._rows.num_rows - table.num_rows
        self._columns: dict[str, Cells] = {}

    def column(self, name: str) -> Cells:
        """A column as decimals or integers; null where there is no number."""
        return self._cells(name)[self._lead :]

    def previous(self, name: str) -> Cells:
        """The column's cell of the row before each; null where there is none."""
        column = self._cells(name)
        if self._lead:
            return column[:-1]
        first = pa.nulls(1, column.type)
        return pa.chunked_array([first, *column[:-1].chunks], column.type)

    def columns(self, *names: str) -> list[Cells]:
        """Those of the named columns that the dataset has."""
        return [self.column(name) for name in names if name in self.table.column_names]

    def stamps_us(self) -> npt.NDArray[np.int64]:
        """The stamps in microseconds."""
        stamps: npt.NDArray[np.int64] = self.table["timestamp"].to_numpy()
        return stamps

    def _cells(self, name: str) -> Cells:
        if name not in self._columns:
            cells, columns = self._rows[name], self.file.dataset.columns
            if cells.type == pa.string():
                column = next(each for each in columns if each.name == name)
                cells = _decimals(null_where_empty(column, cells))
            self._columns[name] = cells
        return self._columns[name]


def _decimals(cells: Cells) -> Cells:
    """Text as exact decimals; null where it is none."""
    for kind in _DECIMALS:
        try:
            return cells.cast(kind)
        except pa.ArrowInvalid:
            continue
    # As bytes, since those of a damaged file may be no text.
    exact = [_decimal(cell) for cell in cells.cast(pa.binary()).to_pylist()]
    return pa.chunked_array([pa.array(exact, _DECIMALS[-1])])


def _decimal(cell: bytes | None) -> Any:
    try:
        text = None if cell is None else cell.decode()
        return pa.scalar(text, pa.string()).cast(_DECIMALS[-1]).as_py()
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None


def any_of(*conditions: Cells) -> Mask:
    """Where at least one condition is true; null is not true."""
    mask: Mask = reduce(pc.or_, (pc.fill_null(each, False) for each in conditions)).to_numpy()
    return mask


@dataclass(frozen=True, slots=True)
class Runs:
    """Which rows belong to a run, as a check of runs finds it in one table."""

    # Whether a row can belong to a run at all.
    within: Mask
    # Whether it belongs to the run of the row before it, if that belongs to one.
    continues: Mask
    # How long a row lasts, in microseconds: the interval of a candle, 0 of an event.
    row_us: int


@dataclass(frozen=True, slots=True)
class Check:
    """A check of rows, each compared with the row before it."""

    name: str
    severity: Severity
    # Whether it reads the rows of a dataset.
    reads: Callable[[Dataset], bool]
    # What holds for sound rows, as a sentence.
    rule: str
    # The columns that an example shows.
    shown: tuple[str, ...]
    # Returns a mask of the rows that break the rule, or runs, of which only the long ones do. A
    # cell that is null (the original downloader stored fewer columns) breaks no rule.
    find: Callable[[Rows], Mask | Runs]
    # The length from which on a run breaks the rule, in microseconds.
    long_us: int = 0

    def example(self, rows: Rows, at: int) -> str:
        """One row in words."""
        return row_in_words(rows.file.dataset, rows.table, at, self.shown)


@dataclass(frozen=True, slots=True)
class _OpenRun:
    """The run of the last row, which may continue in the next table or file."""

    since_us: int
    # Its rows in this file that are not counted yet, and the first of them in words.
    uncounted: int = 0
    first: str = ""


@dataclass(slots=True)
class _Count:
    """Counts the rows of a file that break the rule of a check."""

    check: Check
    run: _OpenRun | None = None
    rows: int = 0
    # The first of them, in words.
    first: str = ""

    def next_file(self) -> _Count:
        """A count for the next file, into which a run may continue."""
        run = self.run
        return _Count(self.check, run and replace(run, uncounted=0, first=""))

    def add(self, rows: Rows) -> None:
        """Count in the next rows."""
        found = self.check.find(rows)
        if isinstance(found, Runs):
            self._add_runs(rows, found)
        elif found.any():
            self.first = self.first or self.check.example(rows, int(found.argmax()))
            self.rows += int(found.sum())

    def _add_runs(self, rows: Rows, runs: Runs) -> None:
        """Count the runs that are long by now; one is measured from its first row, in any file."""
        stamps = rows.stamps_us()
        follows = np.concatenate(([self.run is not None], runs.within[:-1]))
        begins = runs.within & ~(runs.continues & follows)
        stops = np.append(np.flatnonzero(begins | ~runs.within), len(stamps))
        starts = np.flatnonzero(begins)
        before = self.run if runs.within[0] and not begins[0] else None
        if before:
            starts = np.insert(starts, 0, 0)
        self.run = None
        if not len(starts):
            return
        ends = stops[np.searchsorted(stops, starts, side="right")]
        since_us, sizes = stamps[starts], ends - starts
        if before:
            since_us[0] = before.since_us
            sizes[0] += before.uncounted
        is_long = stamps[ends - 1] + runs.row_us - since_us >= self.check.long_us
        self.rows += int(sizes[is_long].sum())
        if is_long.any() and not self.first:
            self.first = self._first_of(rows, int(starts[is_long.argmax()]), before)
        if ends[-1] == len(stamps):
            first = self._first_of(rows, int(starts[-1]), before)
            uncounted = 0 if is_long[-1] else int(sizes[-1])
            self.run = _OpenRun(int(since_us[-1]), uncounted, first)

    def _first_of(self, rows: Rows, at: int, before: _OpenRun | None) -> str:
        """The first row in this file of the run that begins at *at*, or continues there."""
        if before is None or at:
            return self.check.example(rows, at)
        since = moment_in_words(before.since_us)
        return before.first or f"{self.check.example(rows, 0)}, the same since {since}"


_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
# Binance stamps up to 47 ms late; a minute is another event.
_LATEST_EVENT_US = 60_000_000
_FUNDING_HOURS = (1, 2, 4, 8)


ROW_CHECKS: list[Check] = []
"""All checks of rows, in the order in which they are reported."""


def _check(
    name: str,
    severity: Severity,
    reads: Callable[[Dataset], bool],
    shown: tuple[str, ...] = (),
    long_us: int = 0,
) -> Callable[[_Find], _Find]:
    """Register the function below as a check; its docstring is the rule."""

    def register(find: _Find) -> _Find:
        ROW_CHECKS.append(Check(name, severity, reads, str(find.__doc__), shown, find, long_us))
        return find

    return register


_Find = Callable[[Rows], Mask] | Callable[[Rows], Runs]
_PRICES = ("open", "high", "low", "close")
_VOLUMES = tuple(
    dict.fromkeys(
        column.name
        for dataset in DATASETS
        if "open" in dataset.column_names
        for column in dataset.columns[len(_PRICES) + 1 :]
    )
)
# What takers bought, and of what it is a part.
_TAKER_AND_TOTAL = (
    ("taker_buy_volume", "volume"),
    ("taker_buy_base_asset_volume", "base_asset_volume"),
    ("taker_buy_base_asset_volume", "volume"),
    ("taker_buy_quote_asset_volume", "quote_asset_volume"),
)


def _any(_: Dataset) -> bool:
    return True


def _candles(dataset: Dataset) -> bool:
    return "open" in dataset.column_names


def _grid(dataset: Dataset) -> bool:
    return dataset.has_grid


def _measured(dataset: Dataset) -> bool:
    return "sum_open_interest" in dataset.column_names


def _volumes(dataset: Dataset) -> bool:
    return "volume" in dataset.column_names


def _calculated(dataset: Dataset) -> bool:
    return _candles(dataset) and not _volumes(dataset)


def _trades(dataset: Dataset) -> bool:
    return dataset.key == "id"


def _traded(dataset: Dataset) -> bool:
    return _trades(dataset) or _volumes(dataset)


def _funding(dataset: Dataset) -> bool:
    return dataset.key == "event_time"


def _priced(dataset: Dataset) -> bool:
    return dataset.price_names is not None


@_check("schema", "error", _any)
def _no_numbers(rows: Rows) -> Mask:
    """Every number is one, and every flag is True or False."""
    conditions = []
    for column in rows.file.dataset.columns:
        text = rows.table[column.name]
        if column.kind == "number":
            text = null_where_empty(column, text)
            conditions.append(pc.and_(pc.is_valid(text), pc.is_null(rows.column(column.name))))
        elif column.kind == "flag":
            conditions.append(pc.invert(pc.is_in(text, pa.array(["True", "False"]))))
    return any_of(*conditions)


@_check("stamps inside the period", "error", _any)
def _outside(rows: Rows) -> Mask:
    """Every timestamp is in the period of the file's name."""
    period, stamps = rows.file.period, rows.column("timestamp")
    before = pc.less(stamps, period.start_ms * 1000)
    return any_of(before, pc.greater_equal(stamps, period.end_ms * 1000))


# Held by all 105,280 recorded trades; but it is ids, not stamps, that are in order.
@_check("stamps in order", "warning", _trades, ("agg_trade_id",))
def _back_in_time(rows: Rows) -> Mask:
    """No trade is stamped before the one that it follows."""
    return any_of(pc.less(rows.column("timestamp"), rows.previous("timestamp")))


# In a file that is an error of reading; over midnight it has happened (ZILBTC, 2021-02-28).
@_check("order and uniqueness", "warning", _trades, ("agg_trade_id",))
def _used_twice(rows: Rows) -> Mask:
    """No id of a trade is used again on the next day."""
    return any_of(pc.less_equal(rows.column("agg_trade_id"), rows.previous("agg_trade_id")))


# 43 hours of February 2018 opened at 28:14.789.
@_check("grid", "warning", _grid)
def _off_grid(rows: Rows) -> Mask:
    """Every row starts at a time of the grid of its interval."""
    grid, stamps = rows.file.opens(rows.file.grid_end_ms), rows.stamps_us()
    if isinstance(grid, range):
        off: Mask = (stamps - grid.start * 1000) % (grid.step * 1000) != 0
        return off
    return ~np.isin(stamps, np.array(grid, np.int64) * 1000)


@_check("low ≤ open, close ≤ high", "error", _candles, _PRICES)
def _out_of_range(rows: Rows) -> Mask:
    """Open and close lie between low and high."""
    low, high, *inner = (rows.column(name) for name in ("low", "high", "open", "close"))
    below = [pc.less(price, low) for price in inner]
    return any_of(*below, *(pc.greater(price, high) for price in inner))


# Archives of trades have held rows of price 0 and quantity 0.
@_check("prices above zero", "warning", _priced, (*_PRICES, "price", "quantity", "agg_trade_id"))
def _not_above_zero(rows: Rows) -> Mask:
    """Prices are above zero, and so is the quantity of a trade."""
    return any_of(*(pc.less_equal(each, 0) for each in rows.columns(*_PRICES, "price", "quantity")))


@_check("non-negative volumes", "error", _traded, (*_VOLUMES, "quantity", "agg_trade_id"))
def _below_zero(rows: Rows) -> Mask:
    """Volumes, counts and quantities are not negative."""
    return any_of(*(pc.less(each, 0) for each in rows.columns(*_VOLUMES, "quantity")))


@_check("taker ≤ total", "error", _volumes, _VOLUMES)
def _taker_above_total(rows: Rows) -> Mask:
    """Takers bought at most what was traded, in both assets."""
    names = rows.file.dataset.column_names
    pairs = [pair for pair in _TAKER_AND_TOTAL if set(pair) <= set(names)]
    # In a dataset with both, the coin's volume is a total of its own.
    of = dict(reversed(pairs))
    return any_of(*(pc.greater(rows.column(part), rows.column(of[part])) for part in of))


# Held by all four recorded candles without a trade: too few to condemn others.
@_check("zero volume is flat", "warning", _volumes, (*_PRICES, "volume"))
def _not_flat(rows: Rows) -> Mask:
    """A candle without a trade stays at the close before it."""
    first, *others = (rows.column(name) for name in _PRICES)
    moved = [pc.not_equal(first, other) for other in (*others, rows.previous("close"))]
    return any_of(pc.equal(rows.column("volume"), 0)) & any_of(*moved)


@_check("price jumps", "warning", _priced, ("open", "price", "agg_trade_id"))
def _jumps(rows: Rows) -> Mask:
    """A price is as near to the one before (a candle's open to the close) as price_jump_share says."""
    names = rows.file.dataset.price_names
    if names is None:
        return np.zeros(rows.table.num_rows, np.bool_)
    # A threshold is no digit: floats do, and never overflow.
    price = rows.column(names[0]).cast(pa.float64())
    last = rows.previous(names[1]).cast(pa.float64())
    step = pc.abs(pc.subtract(price, last))
    return any_of(pc.greater(step, pc.multiply(last, rows.price_jump_share)))


# The exchange writes it where it has measured nothing (BTCUSDT, 2022-03-07); the cache leaves that out.
@_check("open interest above zero", "error", _measured, ("sum_open_interest",))
def _without_open_interest(rows: Rows) -> Mask:
    """Open interest is above zero."""
    return any_of(pc.less_equal(rows.column("sum_open_interest"), 0))


# Futures leave out insurance and liquidation trades.
@_check("trade ids run on", "information", _trades, ("first_trade_id", "agg_trade_id"))
def _ids_not_consecutive(rows: Rows) -> Mask:
    """The first trade of a row is the one after the last trade of the row before."""
    follows = pc.equal(rows.column("agg_trade_id"), pc.add(rows.previous("agg_trade_id"), 1))
    is_jump = pc.not_equal(rows.column("first_trade_id"), pc.add(rows.previous("last_trade_id"), 1))
    # Where trades are missing their ids are too, and that is a gap.
    return any_of(pc.and_(follows, is_jump))


@_check("funding interval", "warning", _funding)
def _odd_funding(rows: Rows) -> Mask:
    """Funding is due on the hour, by a pace of 1, 2, 4 or 8 hours of the day; a longer wait is a gap."""
    now: npt.NDArray[np.int64] = rows.stamps_us() // _HOUR_US
    before = pc.fill_null(rows.previous("timestamp"), 0).to_numpy() // _HOUR_US
    due = [  # The next of the old pace, or the first of a new one.
        (now == (before // pace + 1) * pace) | (before == (now - 1) // pace * pace)
        for pace in _FUNDING_HOURS
    ]
    odd: Mask = (now - before <= max(_FUNDING_HOURS)) & ~np.any(due, axis=0)
    return odd | (rows.stamps_us() % _HOUR_US >= _LATEST_EVENT_US)


# Binance's zips have gone on with 417 payments of 0.00010000 in 139 days after a settlement
# (LITUSDT, 2025-01-31). While traded: at most 27.3 days in four years of BTCUSDT and of ETHUSDT
# (83 payments of 0.0001 each, in 2020), and 3.7 days in the demo exchange.
@_check("unchanged funding rate", "warning", _funding, (), 60 * _DAY_US)
def _same_rate(rows: Rows) -> Runs:
    """No funding rate stays the same to the last digit for 60 days."""
    rate, before = rows.column("fundingRate"), rows.previous("fundingRate")
    stamps, last = rows.column("timestamp"), rows.previous("timestamp")
    hours = pc.subtract(pc.divide(stamps, _HOUR_US), pc.divide(last, _HOUR_US))
    # Over a gap nothing is known of the rate.
    goes_on = pc.and_(pc.equal(rate, before), pc.less_equal(hours, max(_FUNDING_HOURS)))
    return Runs(any_of(pc.is_valid(rate)), any_of(goes_on), 0)


# FTTBUSD had flat candles for months after its suspension. In 66,000 candles of BTCUSDT and
# ETHUSDT (1m to 1h, 2017 to 2026) no two flat ones without volume are in a row; the demo has none.
# Trades have no such check: one price for long is usual where two currencies are worth the
# same, and each trade shows that the market is open.
@_check("flat candles without volume", "warning", _volumes, (*_PRICES, "volume"), 7 * _DAY_US)
def _no_trade_for_long(rows: Rows) -> Runs:
    """Nowhere candles stay at one price without any volume for 7 days."""
    return _flat_runs(rows, any_of(pc.equal(rows.column("volume"), 0)))


# A premium of zeros is within what premium and prices of the exchange differ by, so no comparison finds it.
@_check("unchanged prices", "warning", _calculated, _PRICES, _DAY_US)
def _same_price(rows: Rows) -> Runs:
    """No price that is calculated, nor the premium, stays the same to the last digit for a day."""
    return _flat_runs(rows, np.ones(rows.table.num_rows, np.bool_))


def _flat_runs(rows: Rows, within: Mask) -> Runs:
    """The candles *within* that are flat, in runs at one price."""
    first, *others = (rows.column(name) for name in _PRICES)
    flat = reduce(pc.and_, (pc.equal(first, other) for other in others))
    step_us = INTERVALS[str(rows.file.series.interval)] * 1000
    # Of a month, the longest and the shortest.
    most_us, row_us = (step_us, step_us) if step_us else (31 * _DAY_US, 28 * _DAY_US)
    apart_us = pc.subtract(rows.column("timestamp"), rows.previous("timestamp"))
    goes_on = pc.and_(
        pc.equal(first, rows.previous("close")),
        pc.less_equal(apart_us, most_us),
    )
    return Runs(within & any_of(flat), any_of(goes_on), row_us)


class RowTally:
    """Counts what the checks find in a file, table by table."""

    def __init__(
        self, file: CacheFile, price_jump_share: float, before: RowTally | None = None
    ) -> None:
        self.rows = 0
        self._file = file
        self._share = price_jump_share
        self.last: Table | None = before.last if before else None
        checks = [each for each in ROW_CHECKS if each.reads(file.dataset)]
        self.counts: list[_Count] = (
            [each.next_file() for each in before.counts] if before else [*map(_Count, checks)]
        )

    def add(self, table: Table) -> None:
        """Check the next rows."""
        if not table.num_rows:
            return
        rows = Rows(self._file, table, self.last, self._share)
        for count in self.counts:
            check_cancelled()
            count.add(rows)
        self.rows += table.num_rows
        self.last = table.slice(table.num_rows - 1)

    def findings(self) -> list[Finding]:
        """What was found so far, one finding a check."""
        return [
            Finding(self._file.name, each.check.name, each.check.severity, each.rows, each.first)
            for each in self.counts
            if each.rows
        ]
