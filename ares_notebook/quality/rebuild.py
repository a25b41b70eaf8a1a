"""Rebuild candles from trades and from small candles, and compare them with stored ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.errors import DataError
from ares_notebook.model.candles import Int64s, opens_of, rows_that_count
from ares_notebook.model.datasets import KLINES, Dataset
from ares_notebook.model.rows import Table, empty_rows
from ares_notebook.model.time import utc

_NUMBER = pa.decimal256(30, 8)
_EXACT = pa.decimal256(60, 16)
_USD = pa.decimal256(3)
# What changes hands, in the quote asset or (COIN-M) in coins, of all trades and of those of takers; the
# columns of candles of all markets have one order.
_TURNOVERS = (6, 9)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How rebuilt rows and stored ones agree."""

    # Rows that there are on either side.
    compared: int = 0
    # Of those, the ones that agree: in every digit, or within the tolerance of their relation.
    equal: int = 0
    # Those that only one side has.
    missing: int = 0
    # In words; empty when all agree.
    first_difference: str = ""

    def plus(self, other: Comparison) -> Comparison:
        """Both together; the first difference is that of the first that has one."""
        return Comparison(
            self.compared + other.compared,
            self.equal + other.equal,
            self.missing + other.missing,
            self.first_difference or other.first_difference,
        )


Slots = Callable[[Table], Int64s]
"""For each candle of a table, in order, the bar that it is part of."""


def candles_of_trades(
    tables: Iterable[Table], interval: str, dataset: Dataset = KLINES, contract_usd: int = 0
) -> Table:
    """The candles of *dataset* that these trades make; see `Market.contract_usd`."""
    return _at_slots(bars_of_trades(tables, by_time(interval), dataset, contract_usd))


def bars_of_trades(
    tables: Iterable[Table], slots: Slots, dataset: Dataset = KLINES, contract_usd: int = 0
) -> Table:
    """The bars that these trades make: columns of *dataset*, stamped by the first trade, and ``slot``."""
    trades = (_as_candles(table, dataset, contract_usd) for table in tables)
    return _gathered([_grouped(each, slots(each)) for each in trades], dataset)


def candles_of_candles(tables: Iterable[Table], interval: str, dataset: Dataset = KLINES) -> Table:
    """The large candles of *dataset* that these small ones add up to."""
    slots, candles = by_time(interval), map(_exact, tables)
    return _at_slots(_gathered([_grouped(each, slots(each)) for each in candles], dataset))


def by_time(interval: str) -> Slots:
    """Bars of an interval: a slot is the open time of a bar, in microseconds."""
    return lambda candles: opens_of(candles["timestamp"].to_numpy(), interval)


def _at_slots(bars: Table) -> Table:
    """Bars of an interval, stamped by their open times."""
    return bars.set_column(0, "timestamp", bars["slot"]).drop_columns("slot")


def compare(rebuilt: Table, stored: Table) -> Comparison:
    """
    Compare rebuilt candles with stored ones of the same dataset, number by number.

    A stored candle without a trade may be missing on the rebuilt side: trades do not show that the
    market was open. Where price times quantity has more than eight digits, each single trade was cut to
    eight or rounded, and quote volumes may differ by as many last digits as there were trades. So may
    the coins of COIN-M, which are contracts divided by a price.
    """
    names = stored.column_names[1:]
    turnovers = [stored.column_names[at] for at in _TURNOVERS]
    there = _same_width(_exact(stored))
    both = there.join(rebuilt, "timestamp", join_type="full outer", right_suffix="_rebuilt")
    both = both.sort_by("timestamp")
    is_idle = pc.and_(pc.is_null(both["open_rebuilt"]), pc.equal(both["number_of_trades"], 0))
    both = both.filter(pc.invert(pc.fill_null(is_idle, fill_value=False)))
    is_missing = pc.or_(pc.is_null(both["open"]), pc.is_null(both["open_rebuilt"]))
    different = {name: _are_different(both[f"{name}_rebuilt"], both[name]) for name in names}
    is_quotient = stored.column_names != list(KLINES.column_names)
    if is_quotient or any(_is_finer(both[f"{name}_rebuilt"]) for name in turnovers):
        for name in turnovers:
            off = pc.abs(pc.subtract(both[f"{name}_rebuilt"], both[name]))
            allowed = pc.multiply(both["number_of_trades"].cast(pa.decimal256(19)), _last_digit())
            different[name] = pc.fill_null(pc.greater(off, allowed), fill_value=False)
    differs = reduce(pc.or_, different.values(), is_missing)
    wrong = np.flatnonzero(differs.to_numpy())
    words = ""
    if len(wrong):
        at = int(wrong[0])
        broken = [name for name in names if different[name][at].as_py()]
        words = _in_words(both.slice(at, 1).to_pylist()[0], broken)
    missing = pc.sum(is_missing).as_py() or 0
    return Comparison(both.num_rows, both.num_rows - len(wrong), missing, words)


def _are_different(one: Any, other: Any) -> Any:
    """Where two columns differ; a null on either side is no difference."""
    return pc.fill_null(pc.not_equal(one, other), fill_value=False)


def _is_finer(cells: Any) -> bool:
    """Whether a market's products have digits behind the eighth; one sum in ten has none by chance."""
    return bool(pc.any(pc.not_equal(cells, pc.round(cells, 8))).as_py())


def _last_digit() -> Any:
    return pa.scalar("0.00000001").cast(pa.decimal256(9, 8))


def _in_words(row: dict[str, Any], broken: list[str]) -> str:
    at = f"{utc(row['timestamp'] // 1000):%Y-%m-%d %H:%M:%S}"
    if row["open"] is None:
        return f"{at} is not stored"
    if row["open_rebuilt"] is None:
        return f"{at} is stored, and nothing makes it up"
    stored, rebuilt = row[broken[0]], row[f"{broken[0]}_rebuilt"]
    return f"{at} {broken[0]}: {_plain(rebuilt)} rebuilt, {_plain(stored)} stored"


def _plain(number: Decimal | int) -> str:
    """A number as text without trailing zeros."""
    text = f"{number:f}" if isinstance(number, Decimal) else str(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _as_candles(trades: Table, dataset: Dataset, contract_usd: int) -> Table:
    """Each trade as a candle of its own."""
    price, quantity = (_number(trades, name) for name in ("price", "quantity"))
    turnover = _turnover(price, quantity, contract_usd).cast(_EXACT, safe=False)
    taker = pc.equal(trades["is_buyer_maker"], "False")
    columns = (
        trades["timestamp"],
        *(price for _ in range(4)),
        quantity,
        turnover,
        pc.add(pc.subtract(trades["last_trade_id"], trades["first_trade_id"]), 1),
        pc.if_else(taker, quantity, pa.scalar(0).cast(_NUMBER)),
        pc.if_else(taker, turnover, pa.scalar(0).cast(_EXACT)),
    )
    return pa.table(dict(zip(dataset.column_names, columns, strict=True)))


def _turnover(price: Any, quantity: Any, contract_usd: int) -> Any:
    """Quote asset of a quantity of the base asset; coins of contracts, to 16 digits."""
    if not contract_usd:
        return pc.multiply(price, quantity)
    try:
        return pc.divide(pc.multiply(quantity, pa.scalar(Decimal(contract_usd), _USD)), price)
    except pa.ArrowInvalid as error:
        msg = f"contracts cannot be divided by a price ({error}); download their period again"
        raise DataError(msg) from error


def _exact(candles: Table) -> Table:
    """Candles with numbers in place of their text; columns of the same names."""
    columns = {
        name: _number(candles, name) if column.kind == "number" else candles[name]
        for name, column in zip(candles.column_names, KLINES.columns, strict=True)
    }
    return pa.table(columns)


def _number(table: Table, name: str) -> Any:
    try:
        return table[name].cast(_NUMBER)
    except pa.ArrowInvalid as error:
        msg = f"{name} cannot be added up exactly ({error}); download its period again"
        raise DataError(msg) from error


def _grouped(candles: Table, slots: Int64s) -> Table:
    """Candles put together into bars; several of one slot may come from several tables."""
    is_idle = pc.equal(candles["number_of_trades"], 0).fill_null(fill_value=False).to_numpy()
    if is_idle.any():
        order = np.argsort(slots, kind="stable")
        order = order[rows_that_count(slots[order], is_idle[order])]
        candles, slots = candles.take(pa.array(order)), slots[order]
    at = pa.array(np.arange(candles.num_rows))
    names = candles.column_names
    groups = candles.append_column("slot", pa.array(slots)).append_column("at", at)
    # The sum of what is not known of one row is not known.
    whole = pc.ScalarAggregateOptions(skip_nulls=False)
    how = [("high", "max"), ("low", "min"), ("at", "min"), ("at", "max")]
    sums = [(name, "sum", whole) for name in names[5:]]
    made = groups.group_by("slot").aggregate([*how, *sums])
    columns = {name: made[f"{name}_{word}"] for name, word, *_ in (*how[:2], *sums)}
    # PyArrow has no first and last of such wide decimals.
    columns["close"] = candles["close"].take(made["at_max"])
    for name in ("timestamp", "open"):
        columns[name] = candles[name].take(made["at_min"])
    bars = pa.table({name: columns[name] for name in names} | {"slot": made["slot"]})
    return _same_width(bars)


def _same_width(candles: Table) -> Table:
    """The same with all decimals of one width, so that they can be joined and compared."""
    fields = [
        pa.field(each.name, _EXACT if pa.types.is_decimal(each.type) else each.type)
        for each in candles.schema
    ]
    return candles.cast(pa.schema(fields))


def _gathered(parts: list[Table], dataset: Dataset) -> Table:
    """The bars of several tables in one, in the order of their slots."""
    if not parts:
        empty = _exact(empty_rows(dataset))
        parts = [_grouped(empty, np.empty(0, np.int64))]
    bars = pa.concat_tables(parts)
    slots = bars["slot"].to_numpy()
    return _grouped(bars.drop_columns("slot"), slots).sort_by("slot")
