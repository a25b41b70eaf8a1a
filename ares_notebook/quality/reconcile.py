"""Reconcile candles of one interval with those of another, and with trades."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.store import Store
from ares_notebook.errors import DataError
from ares_notebook.model.datasets import AGG_TRADES, DATASETS, KLINES
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.markets import SPOT
from ares_notebook.model.rows import Table, between, empty_rows, stamps_ms
from ares_notebook.model.time import DAY_MS, INTERVALS, opens_between, utc
from ares_notebook.runtime.progress import tracked
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = pa.decimal256(30, 8)
_EXACT = pa.decimal256(60, 16)
_SUMS = (
    "volume",
    "quote_asset_volume",
    "number_of_trades",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
)
_QUOTES = ("quote_asset_volume", "taker_buy_quote_asset_volume")
_HOW = [("high", "max"), ("low", "min"), *((name, "sum") for name in _SUMS)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How rebuilt candles and stored ones agree."""

    # Candles that there are on either side.
    compared: int = 0
    # Of those, the ones that agree in every digit.
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


def candles_of_trades(tables: Iterable[Table], interval: str) -> Table:
    """The candles that these trades make."""
    return _gathered([_grouped(_as_candles(table), interval) for table in tables], interval)


def candles_of_candles(tables: Iterable[Table], interval: str) -> Table:
    """The large candles that these small ones add up to."""
    return _gathered([_grouped(_exact(table), interval) for table in tables], interval)


def compare(rebuilt: Table, stored: Table) -> Comparison:
    """
    Compare rebuilt candles with stored ones, number by number.

    A stored candle without a trade may be missing on the rebuilt side: trades do not show that the
    market was open. Where price times quantity has more than eight digits, each single trade was cut to
    eight or rounded, and quote volumes may differ by as many last digits as there were trades.
    """
    names = [column.name for column in KLINES.columns[1:]]
    there = _same_width(_exact(stored))
    both = there.join(rebuilt, "timestamp", join_type="full outer", right_suffix="_rebuilt")
    both = both.sort_by("timestamp")
    is_idle = pc.and_(pc.is_null(both["open_rebuilt"]), pc.equal(both["number_of_trades"], 0))
    both = both.filter(pc.invert(pc.fill_null(is_idle, fill_value=False)))
    is_missing = pc.or_(pc.is_null(both["open"]), pc.is_null(both["open_rebuilt"]))
    different = {name: _are_different(both[f"{name}_rebuilt"], both[name]) for name in names}
    if any(_is_finer(both[f"{name}_rebuilt"]) for name in _QUOTES):
        for name in _QUOTES:
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


def _as_candles(trades: Table) -> Table:
    """Each trade as a candle of its own."""
    price, quantity = (_number(trades, name) for name in ("price", "quantity"))
    quote = pc.multiply(price, quantity).cast(_EXACT)
    taker = pc.equal(trades["is_buyer_maker"], "False")
    singles = pc.add(pc.subtract(trades["last_trade_id"], trades["first_trade_id"]), 1)
    columns = {
        "timestamp": trades["timestamp"],
        **dict.fromkeys(("open", "high", "low", "close"), price),
        "volume": quantity,
        "quote_asset_volume": quote,
        "number_of_trades": singles,
        "taker_buy_base_asset_volume": pc.if_else(taker, quantity, pa.scalar(0).cast(_NUMBER)),
        "taker_buy_quote_asset_volume": pc.if_else(taker, quote, pa.scalar(0).cast(_EXACT)),
    }
    return pa.table(columns)


def _exact(candles: Table) -> Table:
    """K-lines with numbers in place of their text; columns of the same names."""
    columns = {"timestamp": candles["timestamp"]}
    for column in KLINES.columns[1:]:
        is_number = column.kind == "number"
        columns[column.name] = _number(candles, column.name) if is_number else candles[column.name]
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
    made = groups.aggregate([*_HOW, ("at", "min"), ("at", "max")])
    columns = {name: made[f"{name}_{how}"] for name, how in _HOW}
    # PyArrow has no first and last of such wide decimals.
    columns["open"] = candles["open"].take(made["at_min"])
    columns["close"] = candles["close"].take(made["at_max"])
    columns["timestamp"] = made["timestamp"]
    return _same_width(pa.table({name: columns[name] for name in KLINES.column_names}))


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


def _gathered(parts: list[Table], interval: str) -> Table:
    candles = pa.concat_tables(parts) if parts else _exact(empty_rows(KLINES))
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
_COLUMNS = ["symbol", "what", *Comparison.__slots__]
# Candles and trades with the columns of spot: COIN-M counts contracts, and a calculated price has no
# trades and adds up to nothing.
_COMPARED = tuple(
    each for each in DATASETS if each.column_names in (KLINES.column_names, AGG_TRADES.column_names)
)
UPSTREAM = "of USD-M futures from trades"
"""How the comparison ends in which the exchange's own candles and trades differ."""


def reconcile(store: Store, files: Sequence[CacheFile], settings: Settings) -> pd.DataFrame:
    """
    Rebuild spot candles from trades, and large ones from small ones, and compare to the last digit.

    Trades make up the finest interval that is stored (up to a day); each other interval is added up
    from the finest that divides it. Only what is complete on both sides is compared, of spot and of
    USD-M, each within its market. A difference is a fault of one side, but between candles and
    trades of USD-M: the exchange's own differ in about a tenth of the minutes. COIN-M, mark price,
    index and premium are not compared.
    """
    import pandas as pd  # noqa: PLC0415 - the rest does without it

    by_series: dict[Series, list[CacheFile]] = {}
    for file in sorted(files, key=lambda each: each.name):
        if file.dataset not in _COMPARED:
            continue
        by_series.setdefault(file.series, []).append(file)
    whole = {
        series: {entry.file: entry for entry in store.entries(group) if _is_whole(entry)}
        for series, group in by_series.items()
    }
    rows = []
    for series in whole:
        base = _base_of(series, whole) if series.interval else None
        if base is None:
            continue
        of = "" if series.market is SPOT else f" of {series.market.label}"
        what = f"{series.interval}{of} from {base.interval or 'trades'}"
        files_of = list(whole[series if base.interval else base])
        total = Comparison()
        for file in tracked(files_of, settings, f"{series.symbol} {what}"):
            total = total.plus(_compare_file(store, whole, series, base, file))
        if total.compared:
            rows.append({"symbol": series.symbol, "what": what, **asdict(total)})
    return pd.DataFrame(rows, columns=_COLUMNS)


def _is_whole(entry: CacheEntry) -> bool:
    """Whether a file has all its rows up to where it ends, in our own columns."""
    if entry.path is None or entry.problem is not None or entry.legacy:
        return False
    # What was altered is compared too: it is where the two may differ.
    entry = replace(entry, is_altered=False)
    end_ms = _end_ms(entry)
    if entry.file.dataset.key == "id" and any(gap.rows for gap in entry.gaps(end_ms)):
        # Confirmed or not, those trades are in the candles and not in the file.
        return False
    return not entry.unexplained(end_ms)


def _end_ms(entry: CacheEntry) -> int:
    return entry.file.period.end_ms if entry.final else entry.facts.covered_until_ms or 0


def _base_of(series: Series, there: Iterable[Series]) -> Series | None:
    """What the candles of *series* are rebuilt from: the finest that divides them, else trades."""
    own = [each for each in there if each.symbol == series.symbol and each.market is series.market]
    grids = [each for each in own if each.interval is not None]
    finest = min(grids, key=lambda each: _length_ms(each.interval))
    if series == finest:
        trades = [each for each in own if each.dataset.key == "id"]
        return trades[0] if trades and _length_ms(series.interval) <= DAY_MS else None
    smaller = [each for each in grids if _divides(each.interval, series.interval)]
    return min(smaller, key=lambda each: _length_ms(each.interval), default=None)


def _length_ms(interval: str | None) -> int:
    return INTERVALS[interval or "1M"] or 31 * DAY_MS


def _divides(small: str | None, large: str | None) -> bool:
    small_ms, large_ms = _length_ms(small), _length_ms(large)
    # Beyond a day the grids do not contain each other, but all contain days.
    return small_ms < large_ms and small_ms <= DAY_MS and (large == "1M" or not large_ms % small_ms)


_Whole = dict[Series, dict[CacheFile, CacheEntry]]


def _compare_file(
    store: Store, whole: _Whole, series: Series, base: Series, file: CacheFile
) -> Comparison:
    """Compare over one file: a day of trades, or a file of the larger candles."""
    start_ms, end_ms = file.period.start_ms, file.grid_end_ms
    if base.interval is not None:
        start_ms = file.opens(end_ms)[0]
    sides = []
    for each in (base, series):
        wanted = files_between(each, utc(start_ms), utc(end_ms))
        sides.append([whole[each][file] for file in wanted if file in whole[each]])
        if len(sides[-1]) < len(wanted):
            return Comparison()
    # Of a running month only what both sides have.
    end_ms = min(end_ms, *(max(_end_ms(entries[-1]), start_ms) for entries in sides))
    small, stored = (_rows(store, entries, start_ms, end_ms) for entries in sides)
    interval = series.interval or ""
    make = candles_of_candles if base.interval else candles_of_trades
    opens = pa.array(np.asarray(opens_between(interval, start_ms, end_ms), np.int64) * 1000)
    try:
        candles = pa.concat_tables([empty_rows(series.dataset), *stored])
        return compare(*(_opening(each, opens) for each in (make(small, interval), candles)))
    except DataError as error:
        # What cannot be compared is not equal either.
        return Comparison(1, 0, 0, f"{file.name}: {error}")


def _rows(
    store: Store, entries: Iterable[CacheEntry], start_ms: int, end_ms: int
) -> Iterator[Table]:
    for entry in entries:
        for table in store.rows(entry.file):
            if table.num_rows and stamps_ms(table)[0] >= end_ms:
                break
            rows = between(table, start_ms, end_ms)
            if rows.num_rows:
                yield rows


def _opening(candles: Table, opens: pa.Array) -> Table:
    """The candles that open at these times; one that is cut by an end is not compared."""
    return candles.filter(pc.is_in(candles["timestamp"], value_set=opens))
