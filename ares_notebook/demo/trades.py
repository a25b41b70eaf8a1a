"""A table of aggregate trades."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ares_notebook.demo.candles import Candles
from ares_notebook.demo.symbols import Instrument
from ares_notebook.demo.text import Column, decimal, flag, json_array, render, whole

Ints = NDArray[np.int64]

# How many raw trades the aggregate trades consist of, over and over.
_PATTERN = (1, 1, 2, 1, 1, 1, 3, 1)
_BEFORE = np.cumsum((0, *_PATTERN[:-1]), dtype=np.int64)


def first_raw_id(ids: Ints) -> Ints:
    """Id of the first raw trade of each aggregate trade; the one before it ends at one less."""
    return ids // len(_PATTERN) * sum(_PATTERN) + _BEFORE.take(ids % len(_PATTERN))


@dataclass(frozen=True, slots=True)
class Trades:
    """Consecutive aggregate trades in integers."""

    # Aggregate id of the first one; the others count on.
    first_id: int
    # In ticks and steps.
    price: Ints
    quantity: Ints
    # Microseconds since the epoch; never decreasing.
    time_us: Ints
    # Whether the buyer was the maker.
    maker: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.price)

    @property
    def ids(self) -> Ints:
        """Aggregate ids."""
        return np.arange(self.first_id, self.first_id + len(self), dtype=np.int64)

    def cut(self, low: int, high: int) -> Trades:
        """The rows from *low* to before *high*."""
        return Trades(
            self.first_id + low,
            self.price[low:high],
            self.quantity[low:high],
            self.time_us[low:high],
            self.maker[low:high],
        )

    def candles(self, interval: str) -> Candles:
        """Candles of these trades alone."""
        quote = self.price * self.quantity
        raw = first_raw_id(self.ids + 1) - first_raw_id(self.ids)
        taker = ~self.maker
        prices = [self.price] * 4
        each = [self.time_us // 1_000, *prices, self.quantity, quote, raw]
        rows = np.stack([*each, self.quantity * taker, quote * taker])
        return Candles(rows).fold(interval)

    def csv(self, instrument: Instrument, *, micros: bool) -> bytes:
        """Write the rows as a spot archive member has them."""
        ids = self.ids
        times = self.time_us if micros else self.time_us // 1_000
        columns: list[Column | bytes] = [
            whole(ids), b",", decimal(self.price, instrument.tick), b",",
            decimal(self.quantity, instrument.step), b",", whole(first_raw_id(ids)), b",",
            whole(first_raw_id(ids + 1) - 1), b",", whole(times), b",",
            flag(self.maker), b",True\n",
        ]  # fmt: skip
        return render(columns, len(self))

    def json(self, instrument: Instrument, *, micros: bool) -> bytes:
        """Write the rows as a spot REST answer has them."""
        ids = self.ids
        times = self.time_us if micros else self.time_us // 1_000
        columns: list[Column | bytes] = [
            b'{"a":', whole(ids), b',"p":"', decimal(self.price, instrument.tick),
            b'","q":"', decimal(self.quantity, instrument.step), b'","f":',
            whole(first_raw_id(ids)), b',"l":', whole(first_raw_id(ids + 1) - 1),
            b',"T":', whole(times), b',"m":', flag(self.maker, capital=False),
            b',"M":true},' if instrument.road == "spot" else b"},",
        ]  # fmt: skip
        return json_array(render(columns, len(self)))


_NOTHING = np.zeros(0, dtype=np.int64)
NO_TRADES = Trades(0, _NOTHING, _NOTHING, _NOTHING, np.zeros(0, dtype=np.bool_))


def joined(parts: Iterable[Trades]) -> Trades:
    """Put consecutive tables together."""
    tables = [part for part in parts if len(part)]
    if not tables:
        return NO_TRADES
    return Trades(
        tables[0].first_id,
        np.concatenate([table.price for table in tables]),
        np.concatenate([table.quantity for table in tables]),
        np.concatenate([table.time_us for table in tables]),
        np.concatenate([table.maker for table in tables]),
    )
