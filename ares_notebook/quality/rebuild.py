"""Rebuild candles from trades and from small candles, and compare them with stored ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.errors import DataError
from ares_notebook.model.datasets import KLINES, Dataset
from ares_notebook.model.rows import Table, empty_rows
from ares_notebook.model.time import DAY_MS, INTERVALS, opens_between, utc

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


def candles_of_trades(
    tables: Iterable[Table], interval: str, dataset: Dataset = KLINES, contract_usd: int = 0
) -> Table:
    """The candles of *dataset* that these trades make; see `Market.contract_usd`."""
    parts = [_grouped(_as_candles(table, dataset, contract_usd), interval) for table in tables]
    return _gathered(parts, interval, dataset)


def candles_of_candles(tables: Iterable[Table], interval: str, dataset: Dataset = KLINES) -> Table:
    """The large candles of *dataset* that these small ones add up to."""
    return _gathered([_grouped(_exact(table), interval) for table in tables], interval, dataset)


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


def _grouped(candles: Table, interval: str) -> Table:
    """Candles put together into those of *interval*; several of one may come from several tables."""
    slots = pa.array(_slots(candles["timestamp"].to_numpy(), interval))
    candles = _without_idle(candles.set_column(0, "timestamp", slots))
    at = pa.array(np.arange(candles.num_rows))
    groups = candles.append_column("at", at).group_by("timestamp")
    names = candles.column_names
    how = [("high", "max"), ("low", "min"), *((name, "sum") for name in names[5:])]
    made = groups.aggregate([*how, ("at", "min"), ("at", "max")])
    columns = {name: made[f"{name}_{word}"] for name, word in how}
    # PyArrow has no first and last of such wide decimals.
    columns["open"] = candles["open"].take(made["at_min"])
    columns["close"] = candles["close"].take(made["at_max"])
    columns["timestamp"] = made["timestamp"]
    return _same_width(pa.table({name: columns[name] for name in names}))


def _without_idle(candles: Table) -> Table:
    """
    Leave out candles without a trade, where there were trades in the large one.

    They only repeat the last price: a large candle opens with its first trade.
    """
    is_idle = pc.equal(candles["number_of_trades"], 0)
    if not pc.any(is_idle).as_py():
        return candles
    traded = pc.unique(candles["timestamp"].filter(pc.invert(is_idle)))
    return candles.filter(pc.invert(pc.and_(is_idle, pc.is_in(candles["timestamp"], traded))))


def _same_width(candles: Table) -> Table:
    """The same with all decimals of one width, so that they can be joined and compared."""
    fields = [
        pa.field(each.name, _EXACT if pa.types.is_decimal(each.type) else each.type)
        for each in candles.schema
    ]
    return candles.cast(pa.schema(fields))


def _gathered(parts: list[Table], interval: str, dataset: Dataset) -> Table:
    candles = pa.concat_tables(parts) if parts else _exact(empty_rows(dataset))
    return _grouped(candles, interval).sort_by("timestamp")


def _slots(stamps_us: Any, interval: str) -> Any:
    """For each stamp, in microseconds, the open time of its candle."""
    step_us = INTERVALS[interval] * 1000
    if not len(stamps_us) or (step_us and interval not in ("3d", "1w")):
        return stamps_us // (step_us or 1) * (step_us or 1)
    # Weeks, three days and months have grids of their own.
    first_ms, last_ms = int(stamps_us.min()) // 1000, int(stamps_us.max()) // 1000
    around = opens_between(interval, first_ms - _LONGEST_MS, last_ms + 2 * _LONGEST_MS)
    opens = np.asarray(around) * 1000
    return opens[np.searchsorted(opens, stamps_us, side="right") - 1]


_LONGEST_MS = 31 * DAY_MS
