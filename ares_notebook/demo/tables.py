"""Tables of candles and trades: integers by column, sums over intervals, CSV and JSON text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ares_notebook.demo.symbols import DAY, HOUR, MINUTE, SECOND, Instrument

Ints = NDArray[np.int64]
Cells = NDArray[np.uint32] | NDArray[np.bytes_] | bytes
Column = Sequence[Cells]
"""Cells that stand side by side in each row."""

# --- the grid of open times ---

INTERVALS = {
    "1s": SECOND, "1m": MINUTE, "3m": 3 * MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE,
    "30m": 30 * MINUTE, "1h": HOUR, "2h": 2 * HOUR, "4h": 4 * HOUR, "6h": 6 * HOUR,
    "8h": 8 * HOUR, "12h": 12 * HOUR, "1d": DAY, "3d": 3 * DAY, "1w": 7 * DAY, "1M": 31 * DAY,
}  # fmt: skip
"""Length of a candle in ms; of the longest one where they differ."""

# Weeks start on Monday 1970-01-05, three-day candles on 1970-01-02.
_GRID_ORIGIN_MS = {"1w": 4 * DAY, "3d": DAY}

# A time as large as this is in microseconds.
_MICROSECONDS_FROM = 100_000_000_000_000


def microseconds(value: int, rest_us: int = 0) -> int:
    """A time in ms or µs, in µs; *rest_us* is added to one in ms."""
    return value if value >= _MICROSECONDS_FROM else value * 1_000 + rest_us


def opens_of(interval: str, times_ms: Ints) -> Ints:
    """Open time of the candle that each time belongs to."""
    if interval == "1M":
        months = times_ms.astype("M8[ms]").astype("M8[M]")
        return months.astype("M8[ms]").astype(np.int64)
    origin_ms = _GRID_ORIGIN_MS.get(interval, 0)
    return times_ms - (times_ms - origin_ms) % INTERVALS[interval]


def open_of(interval: str, time_ms: int) -> int:
    """Open time of the candle that *time_ms* belongs to."""
    return int(opens_of(interval, np.array([time_ms], dtype=np.int64))[0])


def next_opens(interval: str, opens_ms: Ints, candles: int = 1) -> Ints:
    """Open times so many candles after (or, if negative, before) each."""
    if interval != "1M":
        return opens_ms + candles * INTERVALS[interval]
    months = opens_ms.astype("M8[ms]").astype("M8[M]") + candles
    return months.astype("M8[ms]").astype(np.int64)


def advance(interval: str, open_ms: int, candles: int) -> int:
    """Open time so many candles after (or, if negative, before) *open_ms*."""
    return int(next_opens(interval, np.array([open_ms], dtype=np.int64), candles)[0])


def first_open_from(interval: str, time_ms: int) -> int:
    """Earliest open time at or after *time_ms*."""
    floor = open_of(interval, time_ms)
    return floor if floor == time_ms else advance(interval, floor, 1)


# --- numbers as text ---

ONE = 100_000_000
"""One, in the units of the eighth decimal that Binance counts in."""


def _groups_of_four() -> NDArray[np.uint32]:
    """
    Table of all four-digit groups: padded, leading, and leading as the last group.

    A leading group has NUL in the place of its leading zeros: `render` drops every NUL.
    """
    padded = [b"%04d" % number for number in range(10_000)]
    leading = [b"\0\0\0\0"] + [(b"%d" % n).rjust(4, b"\0") for n in range(1, 10_000)]
    last = [b"\0\0\0" + b"0", *leading[1:]]
    return np.array(padded + leading + last, dtype="S4").view("<u4")


_GROUPS = _groups_of_four()
_LEADING, _LAST = 10_000, 20_000
_CSV_FLAGS = np.array([b"False", b"True"])
_JSON_FLAGS = np.array([b"false", b"true"])


def whole(values: Ints) -> Column:
    """Text of non-negative integers, without leading zeros."""
    groups: list[Cells] = []
    rest, offset = values, _LAST
    largest = int(values.max(initial=0))
    while True:
        largest //= 10_000
        if not largest:
            groups.append(_GROUPS.take(rest + offset))
            return groups[::-1]
        higher = rest // 10_000
        group = rest - higher * 10_000
        groups.append(_GROUPS.take(group + offset * (higher == 0)))
        rest, offset = higher, _LEADING


def decimal(values: Ints, unit: int) -> Column:
    """Text of non-negative decimals, always with eight digits after the point."""
    # The product values * unit may leave 64 bits (a month of quote volume), its parts do not.
    above = values // (ONE // unit)
    below = (values - above * (ONE // unit)) * unit
    high = below // 10_000
    return [*whole(above), b".", _GROUPS.take(high), _GROUPS.take(below - high * 10_000)]


def signed(values: Ints) -> Column:
    """Text of decimals in units of the eighth decimal, with a minus where it is due."""
    sign = np.array([b"", b"-"]).take((values < 0).astype(np.int64))
    return [sign, *decimal(np.abs(values), 1)]


def render(columns: Sequence[Column | bytes], rows: int) -> bytes:
    """Write rows of text."""
    parts = [p for column in columns for p in ([column] if isinstance(column, bytes) else column)]
    kinds = [f"S{len(p)}" if isinstance(p, bytes) else p.dtype.str for p in parts]
    table = np.zeros(rows, dtype=[(f"p{i}", kind) for i, kind in enumerate(kinds)])
    for i, part in enumerate(parts):
        table[f"p{i}"] = part
    return table.tobytes().translate(None, b"\0")


def json_array(columns: Sequence[Column | bytes], rows: int) -> bytes:
    """Write rows of text, each of which ends in a comma, as a JSON array."""
    return b"[" + render(columns, rows)[:-1] + b"]"


# --- candles ---

OPENED, OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, COUNT, TAKER, TAKER_QUOTE = range(10)


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles in integers: ms, ticks, steps, products of both, and counts."""

    # By first index: opened (ms), open, high, low, close (ticks), volume (steps), quote volume
    # (ticks x steps), number of raw trades, taker volume, taker quote volume.
    rows: Ints

    def __len__(self) -> int:
        return len(self.opened)

    @property
    def opened(self) -> Ints:
        """Open times, ms since the epoch."""
        opened: Ints = self.rows[OPENED]
        return opened

    def between(self, first_ms: int, end_ms: int) -> Candles:
        """The candles that opened at or after *first_ms* and before *end_ms*."""
        low, high = np.searchsorted(self.opened, [first_ms, end_ms])
        return Candles(self.rows[:, low:high])

    def fold(self, interval: str) -> Candles:
        """Add up to the candles of a longer interval."""
        if not len(self):
            return self
        opens = opens_of(interval, self.opened)
        starts = np.flatnonzero(np.diff(opens, prepend=opens[0] - 1))
        ends = np.append(starts[1:], len(opens)) - 1
        folded = np.add.reduceat(self.rows, starts, axis=1)
        folded[OPENED] = opens[starts]
        folded[OPEN] = self.rows[OPEN][starts]
        folded[HIGH] = np.maximum.reduceat(self.rows[HIGH], starts)
        folded[LOW] = np.minimum.reduceat(self.rows[LOW], starts)
        folded[CLOSE] = self.rows[CLOSE][ends]
        return Candles(folded)

    def with_flat_seconds(self, now_ms: int) -> Candles:
        """These 1s candles, and in the minutes that they are in, all seconds without a trade."""
        minutes = np.unique(self.opened // MINUTE) * MINUTE
        seconds = (minutes[:, None] + np.arange(0, MINUTE, SECOND)).ravel()
        seconds = seconds[seconds <= now_ms]
        # A minute's first trade falls in its first second: there is always one before.
        latest = np.searchsorted(self.opened, seconds, side="right") - 1
        rows = self.rows[:, latest]
        is_flat = rows[OPENED] != seconds
        for column in (OPEN, HIGH, LOW):
            rows[column, is_flat] = rows[CLOSE, is_flat]
        rows[VOLUME:, is_flat] = 0
        rows[OPENED] = seconds
        return Candles(rows)

    def csv(self, instrument: Instrument, interval: str, *, in_micros: bool) -> bytes:
        """Write the rows as an archive member has them."""
        first, *cells = self._cells(instrument, interval, in_micros=in_micros)
        columns = [first]
        for cell in cells:
            columns += [[b","], cell]
        return render([*columns, b",0\n"], len(self))

    def json(self, instrument: Instrument, interval: str, *, in_micros: bool) -> bytes:
        """Write the rows as a REST response has them."""
        columns: list[Column | bytes] = [b"["]
        for index, cell in enumerate(self._cells(instrument, interval, in_micros=in_micros)):
            is_number = index in (0, 6, 8)
            columns += [cell, b","] if is_number else [b'"', cell, b'",']
        return json_array([*columns, b'"0"],'], len(self))

    def _cells(self, instrument: Instrument, interval: str, *, in_micros: bool) -> list[Column]:
        """The eleven columns of a k-line as text, from open time to taker quote volume."""
        scale = 1_000 if in_micros else 1
        _, *prices, volume, quote, count, taker, taker_quote = self.rows
        return [
            whole(self.opened * scale),
            *(decimal(price, instrument.tick) for price in prices),
            decimal(volume, instrument.step),
            whole(next_opens(interval, self.opened) * scale - 1),
            decimal(quote, instrument.quote_unit),
            whole(count),
            decimal(taker, instrument.step),
            decimal(taker_quote, instrument.quote_unit),
        ]


NO_CANDLES = Candles(np.zeros((10, 0), dtype=np.int64))


def join_candles(parts: Iterable[Candles]) -> Candles:
    """Put tables one after the other."""
    return Candles(np.concatenate([NO_CANDLES.rows, *(part.rows for part in parts)], axis=1))


# --- trades ---

# How many raw trades the aggregate trades consist of, over and over.
_RAW_COUNTS = (1, 1, 2, 1, 1, 1, 3, 1)
_RAW_BEFORE = np.cumsum((0, *_RAW_COUNTS[:-1]), dtype=np.int64)


def first_raw_id(ids: Ints) -> Ints:
    """Id of the first raw trade of each aggregate trade; the one before it ends at one less."""
    return ids // len(_RAW_COUNTS) * sum(_RAW_COUNTS) + _RAW_BEFORE.take(ids % len(_RAW_COUNTS))


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
    # 1 if the buyer was the maker, else 0.
    maker: Ints

    def __len__(self) -> int:
        return len(self.price)

    @property
    def ids(self) -> Ints:
        """Aggregate ids."""
        return np.arange(self.first_id, self.first_id + len(self), dtype=np.int64)

    @property
    def columns(self) -> tuple[Ints, ...]:
        """All that is an array."""
        return self.price, self.quantity, self.time_us, self.maker

    def cut(self, low: int, high: int) -> Trades:
        """The rows from *low* to before *high*."""
        return Trades(self.first_id + low, *(column[low:high] for column in self.columns))

    def candles(self, interval: str) -> Candles:
        """Candles of these trades alone."""
        quote = self.price * self.quantity
        raw_count = first_raw_id(self.ids + 1) - first_raw_id(self.ids)
        taker = 1 - self.maker
        prices = [self.price] * 4
        columns = [self.time_us // 1_000, *prices, self.quantity, quote, raw_count]
        rows = np.stack([*columns, self.quantity * taker, quote * taker])
        return Candles(rows).fold(interval)

    def csv(self, instrument: Instrument, *, in_micros: bool) -> bytes:
        """Write the rows as a spot archive member has them."""
        number, price, quantity, first, last, time = self._cells(instrument, in_micros=in_micros)
        columns: list[Column | bytes] = [
            number, b",", price, b",", quantity, b",", first, b",", last, b",", time, b",",
            [_CSV_FLAGS.take(self.maker)], b",True\n",
        ]  # fmt: skip
        return render(columns, len(self))

    def json(self, instrument: Instrument, *, in_micros: bool) -> bytes:
        """Write the rows as a REST response has them."""
        number, price, quantity, first, last, time = self._cells(instrument, in_micros=in_micros)
        columns: list[Column | bytes] = [
            b'{"a":', number, b',"p":"', price, b'","q":"', quantity, b'","f":', first,
            b',"l":', last, b',"T":', time, b',"m":', [_JSON_FLAGS.take(self.maker)],
            b',"M":true},' if instrument.product == "spot" else b"},",
        ]  # fmt: skip
        return json_array(columns, len(self))

    def _cells(self, instrument: Instrument, *, in_micros: bool) -> list[Column]:
        """Text of id, price, quantity, first and last raw id, and time."""
        return [
            whole(self.ids),
            decimal(self.price, instrument.tick),
            decimal(self.quantity, instrument.step),
            whole(first_raw_id(self.ids)),
            whole(first_raw_id(self.ids + 1) - 1),
            whole(self.time_us if in_micros else self.time_us // 1_000),
        ]


NO_TRADES = Trades(0, *[np.zeros(0, dtype=np.int64)] * 4)


def join_trades(parts: Sequence[Trades]) -> Trades:
    """Put consecutive tables together."""
    if not parts:
        return NO_TRADES
    columns = zip(*(part.columns for part in parts), strict=True)
    return Trades(parts[0].first_id, *map(np.concatenate, columns))
