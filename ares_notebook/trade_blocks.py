"""Trades of frames, block by block: their rows as exact numbers, what they lack, and bars that they fill."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.errors import BadArgument
from ares_notebook.frame_attrs import listed_windows, lists_all, rows_inside
from ares_notebook.frame_checks import check_frame
from ares_notebook.model.candles import Cells, Flags, Int64s
from ares_notebook.model.datasets import AGG_TRADES, Dataset, dataset_named
from ares_notebook.model.files import Series
from ares_notebook.model.relations import RELATIONS
from ares_notebook.model.rows import Table
from ares_notebook.model.time import as_utc, to_us, utc_of_us
from ares_notebook.quality.rebuild import bars_of_trades

_IDS = ("agg_trade_id", "first_trade_id", "last_trade_id")
_NUMBERS = ("price", "quantity")
# As many digits as a price times a quantity has.
_PLACES = 16
_DIGITS = 60
_EXACT = pa.decimal256(_DIGITS, _PLACES)
_Windows = list[tuple[int, int]]


class TradeBlocks:
    """Trades in blocks: read once, in order."""

    def __init__(self, first: pd.DataFrame, others: Iterator[pd.DataFrame]) -> None:
        self._blocks = chain([first], others)
        self.attrs = first.attrs
        self.dataset = _dataset_of(first)
        relations = (each for each in RELATIONS if each.rule == "trades")
        # The candles that these trades make up.
        self.candles: Dataset = next(
            each.dataset for each in relations if self.dataset in each.sources
        )
        symbol = str(first.attrs.get("symbol") or "")
        market = Series.of(self.dataset.name, symbol).market if symbol else None
        self.contract_usd = market.contract_usd(symbol) if market else 0
        self._is_exact = False
        # The windows without trades that attrs list.
        self.listed_us = [(to_us(start), to_us(end)) for start, end in listed_windows(first.attrs)]
        # Of what was read: microseconds of the first trade and the last, its id, pairs of neighbours
        # between which ids are missing, and where in the last block such a pair ends.
        self._first_us: int | None = None
        self._last_us = 0
        self._last_id: int | None = None
        self._id_gaps: _Windows = []
        self.breaks: list[int] = []
        # The pairs of which attrs say that no trade is missing between them.
        self._absent: _Windows = []
        # Whether rows were removed after loading, or added; of an iterator known in the end.
        self._is_cut = False

    @classmethod
    def of(cls, trades: pd.DataFrame | Iterable[pd.DataFrame]) -> TradeBlocks:
        """The blocks of a frame, or of several."""
        blocks: Iterator[Any] = iter([trades])
        if isinstance(trades, Iterable) and not isinstance(trades, pd.DataFrame):
            blocks = iter(trades)
        first = next(blocks, None)
        if first is None:
            msg = "there is no block of trades; pass a frame as load_agg_trades() returns it"
            raise BadArgument(msg)
        _check(first)
        made = cls(first, blocks)
        if isinstance(trades, pd.DataFrame | Sequence):
            given = [trades] if isinstance(trades, pd.DataFrame) else trades
            # No id that is missing is proven absent then, so this must be known before the first bar.
            made._is_cut = made._differs(map(made._counts, given))
        return made

    def tables(self) -> Iterator[Table]:
        """Each block as a table of exact numbers, in the order of ids."""
        counts = []
        for block in self._blocks:
            counts.append(self._counts(block))
            if block.attrs != self.attrs:
                windows = listed_windows(block.attrs)
                self.listed_us += [(to_us(start), to_us(end)) for start, end in windows]
            if len(block):
                yield self._table_of(block)
        self._is_cut |= self._differs(counts)

    def _counts(self, block: pd.DataFrame) -> tuple[int, int]:
        """How many rows of a block are in the window that attrs state, and how many there are."""
        _check(block)
        if "rows" not in self.attrs or not len(block):
            return 0, 0
        return int(np.count_nonzero(rows_inside(block, self.attrs))), len(block)

    def _differs(self, counts: Iterable[tuple[int, int]]) -> bool:
        """Whether these rows are others than attrs state; a trade outside of the window is another."""
        inside, rows = (sum(each) for each in zip((0, 0), *counts, strict=True))
        return "rows" in self.attrs and {inside, rows} != {self.attrs["rows"]}

    def _table_of(self, block: pd.DataFrame) -> Table:
        ids = block["agg_trade_id"].to_numpy(np.int64)
        if (ids[1:] < ids[:-1]).any():
            # In 2017 some stamps go back by a second, and frames are in the order of stamps.
            order = np.argsort(ids, kind="stable")
            block, ids = block.iloc[order], ids[order]
        stamps: Int64s = block.index.tz_convert("UTC").as_unit("us").asi8  # type: ignore[attr-defined]
        self._follow(ids, stamps)
        self._is_exact |= block["price"].dtype == np.object_
        columns: dict[str, Any] = {"timestamp": pa.array(stamps)}
        columns |= {name: _exact(block[name]) for name in _NUMBERS}
        is_maker = pa.array(block["is_buyer_maker"].to_numpy(bool))
        columns["is_buyer_maker"] = pc.if_else(is_maker, "True", "False")
        for name in _IDS:
            # The original downloader stored no ids of single trades.
            columns[name] = pa.array(block[name], from_pandas=True).cast(pa.int64())
        return pa.table(columns)

    def _follow(self, ids: Int64s, stamps: Int64s) -> None:
        """Note where ids are missing, in a block and before it."""
        if (ids[1:] == ids[:-1]).any() or (self._last_id is not None and ids[0] <= self._last_id):
            msg = (
                f"the trades are not in the order of their ids, or one is there twice (near agg_trade_id "
                f"{ids[0]}); pass each trade once, blocks in order"
            )
            raise BadArgument(msg)
        before = (
            [ids[0] - 1, stamps[0]] if self._last_id is None else [self._last_id, self._last_us]
        )
        all_ids, all_stamps = np.append(before[0], ids), np.append(before[1], stamps)
        places = np.flatnonzero(np.diff(all_ids) > 1)
        pairs = zip(all_stamps[places].tolist(), all_stamps[places + 1].tolist(), strict=True)
        # Where two trades go back in time, the gap is between the earlier and the later moment.
        gaps = [(min(pair), max(pair)) for pair in pairs]
        is_missing = list(map(self._is_missing, gaps))
        for gap, missing in zip(gaps, is_missing, strict=True):
            (self._id_gaps if missing else self._absent).append(gap)
        self.breaks = [int(at) for at, lost in zip(places, is_missing, strict=True) if lost]
        if self._first_us is None:
            self._first_us = int(stamps[0])
        self._last_id, self._last_us = int(ids[-1]), int(stamps[-1])

    def _is_missing(self, gap: tuple[int, int]) -> bool:
        """Whether trades are missing between two neighbours, and not proven absent."""
        if self._is_cut or not lists_all(self.attrs):
            return True
        return any(start <= gap[1] and gap[0] <= end for start, end in self.listed_us)

    def window_us(self) -> tuple[int, int]:
        """The half-open window of all trades that were read."""
        if "start" in self.attrs and not self._is_cut:
            return to_us(as_utc(self.attrs["start"])), to_us(as_utc(self.attrs["end"]))
        return self._first_us or 0, self._last_us

    def missing_us(self) -> _Windows:
        """The windows that the trades lack."""
        # The missing trades may have the time of their neighbours.
        gaps = self._id_gaps + self._absent * self._is_cut
        windows = self.listed_us + [(start, end + 1) for start, end in gaps]
        if "missing" in self.attrs and not lists_all(self.attrs):
            # Of more than a hundred windows the last ones are not listed, and ids show no end.
            windows.append((self._last_us, self.window_us()[1]))
        return windows

    def refuse_cut(self) -> None:
        """Raise `BadArgument` if bars were filled over ids of which nothing is proven."""
        if self._is_cut and self._absent:
            start, end = map(utc_of_us, self._absent[0])
            msg = (
                f"the blocks have other rows than their attrs state ({self.attrs['rows']:,}), so it is "
                f"not known whether trades are missing from {start} to {end}; pass a list of the blocks, "
                f"or blocks without attrs: each.attrs.clear()"
            )
            raise BadArgument(msg)

    def cells_of(self, bars: Table) -> dict[str, Cells]:
        """The columns of bars as the cells of a frame."""
        names = [each.name for each in self.candles.columns if each.kind != "time"]
        return {name: self._cells(bars[name]) for name in names}

    def _cells(self, column: Any) -> Cells:
        if not pa.types.is_decimal(column.type):
            cells: Cells = column.to_numpy()
            return cells
        if not self._is_exact:
            # By their text, since that gives the nearest float.
            numbers: Cells = column.cast(pa.string()).cast(pa.float64()).to_numpy()
            return numbers
        short = pc.round(column, 8)
        is_short = pc.all(pc.equal(short, column)).as_py() is not False
        exact = column.cast(pa.decimal256(60, 8)) if is_short else column
        return np.array(exact.to_pylist(), np.object_)


def _dataset_of(frame: pd.DataFrame) -> Dataset:
    stated = frame.attrs.get("dataset")
    return AGG_TRADES if stated is None else dataset_named(stated)


def _check(block: pd.DataFrame) -> None:
    check_frame(block, "load_agg_trades", ("is_buyer_maker", *_IDS))
    if _dataset_of(block).key != "id":
        # Its columns are those of trades, and its attrs state otherwise.
        msg = f'attrs["dataset"] of the frame is {block.attrs["dataset"]!r}, which holds no trades'
        raise BadArgument(msg)


def _exact(column: pd.Series[Any]) -> Any:
    """Numbers as decimals; a float is the shortest decimal that it is read from."""
    if column.dtype == np.object_:
        text = pa.array([f"{each:f}" for each in column])
    else:
        text = pa.array(column.to_numpy(np.float64)).cast(pa.string())
    try:
        return text.cast(pa.decimal256(30, 8))
    except pa.ArrowInvalid as error:
        msg = (
            f"the trades have a {column.name} that is no number of at most eight digits after the "
            f"point ({error}); pass numbers as load_agg_trades() returns them"
        )
        raise BadArgument(msg) from error


def amount_of(least: object, what: str) -> int:
    """The amount that a bar must have, in units of the last digit of an exact number."""
    try:
        # Python does not write out integers of thousands of digits.
        amount = Decimal(least if isinstance(least, int) else str(least))
    except InvalidOperation:
        amount = Decimal(0)
    if isinstance(least, bool) or not amount.is_finite() or amount <= 0:
        msg = f"{what}={least!r} is no amount; pass a number above zero, such as {what}=100"
        raise BadArgument(msg)
    if amount.adjusted() >= _DIGITS - _PLACES:
        # No sum is so large, and a power of ten may be too large for the memory.
        return int(10**_DIGITS)
    # What is smaller than the last digit of a sum, a sum reaches with its next digit.
    return 1 if amount.adjusted() < -_PLACES else ceil(Fraction(amount) * 10**_PLACES)


class FilledBars:
    """Bars that end with the trade that fills them."""

    def __init__(self, blocks: TradeBlocks, least: int, *, is_money: bool) -> None:
        self._blocks = blocks
        self._least = least
        self._is_money = is_money
        # The bar that is being filled: its number, what it has, and when its first trade was.
        self._number = 0
        self._filled = 0
        self._start_us: int | None = None
        # Numbers of bars over missing trades, and their windows.
        self._lost: dict[int, tuple[int, int]] = {}
        self._last_us = 0
        # When the last whole bar ended: just after its last trade.
        self.end_us = 0

    def bars(self) -> tuple[Int64s, dict[str, Cells], Flags, list[tuple[int, int]]]:
        """Stamps of all bars, the columns of whole ones, which bars are not, and their windows."""
        blocks = self._blocks
        made = bars_of_trades(blocks.tables(), self._slots, blocks.candles, blocks.contract_usd)
        blocks.refuse_cut()
        numbers = made["slot"].to_numpy()
        is_whole = (numbers < self._number) & ~np.isin(numbers, [*self._lost])
        whole = made.filter(pa.array(is_whole))
        stamps = np.zeros(self._number, np.int64)
        stamps[numbers[is_whole]] = whole["timestamp"].to_numpy()
        is_lost = np.zeros(self._number, bool)
        for number, (start, _) in self._lost.items():
            stamps[number], is_lost[number] = start, True
        return stamps, blocks.cells_of(whole), is_lost, list(self._lost.values())

    def _slots(self, trades: Table) -> Int64s:
        """The number of the bar of each trade of a block."""
        stamps = trades["timestamp"].to_numpy()
        totals = list(accumulate(self._amounts(trades), initial=0))
        numbers = np.empty(len(stamps), np.int64)
        edges = [0, *self._blocks.breaks, len(stamps)]
        for at, (start, end) in enumerate(pairwise(edges)):
            if at:
                self._lose(int(stamps[start]))
            self._fill(start, end, totals, stamps, numbers)
        return numbers

    def _fill(
        self, start: int, end: int, totals: list[int], stamps: Int64s, numbers: Int64s
    ) -> None:
        """Number the trades of a block from *start* to *end*, between which no id is missing."""
        while start < end:
            if self._start_us is None:
                self._start_us = int(stamps[start])
            # The trade whose total reaches what the bar still lacks.
            needed = totals[start] + self._least - self._filled
            stop = bisect_left(totals, needed, lo=start + 1, hi=end + 1)
            numbers[start : min(stop, end)] = self._number
            if stop > end:
                self._filled += totals[end] - totals[start]
                self._last_us = int(stamps[end - 1])
                return
            self._last_us = int(stamps[stop - 1])
            self.end_us = self._last_us + 1
            self._begin_next()
            start = stop

    def _lose(self, end_us: int) -> None:
        """End the bar before missing trades, which end at *end_us*: what it has is not known."""
        start_us = self._last_us if self._start_us is None else self._start_us
        self._lost[self._number] = (start_us, end_us)
        self.end_us = end_us
        self._begin_next()

    def _begin_next(self) -> None:
        self._number += 1
        self._filled, self._start_us = 0, None

    def _amounts(self, trades: Table) -> list[int]:
        """The volume or the money of each trade, in units of the last digit of an exact number."""
        volume, turnover = (trades[trades.column_names[at]] for at in (5, 6))
        if not self._is_money:
            return _integers(volume)
        usd = self._blocks.contract_usd
        return [each * usd for each in _integers(volume)] if usd else _integers(turnover)


def _integers(numbers: Any) -> list[int]:
    """Positive decimals in units of their last digit."""
    cells = numbers.cast(_EXACT).combine_chunks()
    # Four words of 64 bits each, the lowest first; the upper two are of larger numbers than any here.
    words = np.frombuffer(cells.buffers()[1], np.uint64).reshape(-1, 4)
    low, high = words[cells.offset : cells.offset + len(cells), :2].T.astype(np.object_)
    integers: list[int] = (high * 2**64 + low).tolist()
    return integers
