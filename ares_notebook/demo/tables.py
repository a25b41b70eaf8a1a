"""Tables of candles and trades: integers by column, sums over intervals, CSV and JSON text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
    months = opens_ms.astype("M8[ms]").astype("M8[M]") + np.timedelta64(candles, "M")
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
_GROUP = 4
# The first so many digits of each group.
_FIRST_DIGITS = {
    width: np.array([b"%04d" % number for number in range(10_000)]).astype(f"S{width}")
    for width in range(1, _GROUP + 1)
}
_TRIMMED_LAST = np.array([(b"%04d" % number).rstrip(b"0") for number in range(10_000)])
_TRIMMED = np.where(_TRIMMED_LAST == b"", b"0", _TRIMMED_LAST)
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
    above, high, low = _groups_around_point(values, unit)
    return [*whole(above), b".", _GROUPS.take(high), _GROUPS.take(low)]


def padded(values: Ints, unit: int) -> Column:
    """Text of non-negative decimals with as many digits after the point as one *unit* has."""
    digits = len(str(ONE // unit)) - 1
    above, high, low = _groups_around_point(values, unit)
    cells: list[Cells] = [*whole(above)]
    if digits:
        cells += [b".", _FIRST_DIGITS[min(digits, _GROUP)].take(high)]
    if digits > _GROUP:
        cells.append(_FIRST_DIGITS[digits - _GROUP].take(low))
    return cells


def trimmed(values: Ints, unit: int) -> Column:
    """Text of non-negative decimals without trailing zeros, but with one digit after the point."""
    above, high, low = _groups_around_point(values, unit)
    ends = np.where(low == 0, _TRIMMED.take(high), _GROUPS.take(high).view("S4"))
    return [*whole(above), b".", ends, _TRIMMED_LAST.take(low)]


def _groups_around_point(values: Ints, unit: int) -> tuple[Ints, Ints, Ints]:
    """What is before the point, and the two groups of four digits after it."""
    # The product values * unit may leave 64 bits (a month of quote volume), its parts do not.
    above = values // (ONE // unit)
    below = (values - above * (ONE // unit)) * unit
    high = below // 10_000
    return above, high, below - high * 10_000


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
    """Candles in integers: ms, ticks, steps, turnover (see `turnover_of`), and counts."""

    # By first index: opened (ms), open, high, low, close (ticks), volume (steps), turnover,
    # number of raw trades, taker volume, taker turnover. Of computed prices: prices in units of
    # the eighth decimal, number of samples, no volume.
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

    def with_flat_minutes(self, minutes: Ints, last_close: int) -> Candles:
        """Candles of all these minutes; one without a trade repeats the last price."""
        opens = minutes * MINUTE
        latest = np.searchsorted(self.opened, opens, side="right") - 1
        rows = self.rows[:, np.maximum(latest, 0)]
        is_flat = rows[OPENED] != opens
        closes = np.where(latest < 0, last_close, rows[CLOSE])
        rows[OPEN : CLOSE + 1, is_flat] = closes[is_flat]
        rows[VOLUME:, is_flat] = 0
        rows[OPENED] = opens
        return Candles(rows)

    def csv(self, instrument: Instrument, interval: str, *, in_micros: bool) -> bytes:
        """Write the rows as an archive member has them."""
        return self._csv(self._cells(instrument, interval, in_micros=in_micros))

    def price_csv(self, interval: str) -> bytes:
        """Write the rows as an archive member of computed prices has them."""
        return self._csv(self._price_cells(interval))

    def _csv(self, all_cells: Sequence[Column]) -> bytes:
        """Write rows of cells with commas between them."""
        first, *cells = all_cells
        columns = [first]
        for cell in cells:
            columns += [[b","], cell]
        return render([*columns, b",0\n"], len(self))

    def json(self, instrument: Instrument, interval: str, *, in_micros: bool) -> bytes:
        """Write the rows as a REST response has them."""
        return self._json(self._cells(instrument, interval, in_micros=in_micros))

    def price_json(self, interval: str) -> bytes:
        """Write the rows as a REST response with computed prices has them."""
        return self._json(self._price_cells(interval))

    def _json(self, cells: Sequence[Column]) -> bytes:
        """Write rows of cells as JSON arrays."""
        columns: list[Column | bytes] = [b"["]
        for index, cell in enumerate(cells):
            is_number = index in (0, 6, 8)
            columns += [cell, b","] if is_number else [b'"', cell, b'",']
        return json_array([*columns, b'"0"],'], len(self))

    def _cells(self, instrument: Instrument, interval: str, *, in_micros: bool) -> list[Column]:
        """The eleven columns of a k-line as text, from open time to taker quote volume."""
        scale = 1_000 if in_micros else 1
        _, *prices, volume, turnover, count, taker, taker_turnover = self.rows
        number = _number_text(instrument)
        return [
            whole(self.opened * scale),
            *(number(price, instrument.tick) for price in prices),
            number(volume, instrument.step),
            whole(next_opens(interval, self.opened) * scale - 1),
            _turnover_text(instrument, turnover),
            whole(count),
            number(taker, instrument.step),
            _turnover_text(instrument, taker_turnover),
        ]

    def _price_cells(self, interval: str) -> list[Column]:
        """The eleven columns of a k-line of computed prices: what it does not have is 0."""
        nothing: Column = [b"0"]
        return [
            whole(self.opened),
            *(signed(price) for price in self.rows[OPEN : CLOSE + 1]),
            nothing,
            whole(next_opens(interval, self.opened) - 1),
            nothing,
            whole(self.rows[COUNT]),
            nothing,
            nothing,
        ]


# Turnover of COIN-M is counted in the twelfth decimal of a coin.
_COIN_UNITS = 10**12


def turnover_of(instrument: Instrument, price: Ints, quantity: Ints) -> Ints:
    """
    What changes hands: ticks x steps of the quote, of COIN-M coins in the twelfth decimal.

    It adds up exactly: that of two trades at one price is that of one trade of both quantities.
    """
    if not instrument.contract_usd:
        return price * quantity
    contract_units = instrument.contract_usd * _COIN_UNITS * ONE // instrument.tick
    return contract_units // price * quantity


def _turnover_text(instrument: Instrument, turnover: Ints) -> Column:
    """Text of a turnover."""
    if instrument.contract_usd:
        return decimal(turnover // (_COIN_UNITS // ONE), 1)
    return _number_text(instrument)(turnover, instrument.quote_unit)


def _number_text(instrument: Instrument) -> Callable[[Ints, int], Column]:
    """How numbers are written: spot has eight decimals, a contract as many as its unit."""
    return decimal if instrument.product == "spot" else padded


NO_CANDLES = Candles(np.zeros((10, 0), dtype=np.int64))


def join_candles(parts: Iterable[Candles]) -> Candles:
    """Put tables one after the other."""
    return Candles(np.concatenate([NO_CANDLES.rows, *(part.rows for part in parts)], axis=1))


class CandleSource(Protocol):
    """What candles are made from: the trades of an instrument, or a computed price."""

    @property
    def instrument(self) -> Instrument:
        """The instrument."""

    @property
    def first_ms(self) -> int:
        """When it begins."""

    def minute_candles(self, day: int) -> Candles:
        """The 1m candles of a whole day of the epoch."""

    def hour_candles(self, day: int) -> Candles:
        """The 1h candles of a whole day of the epoch."""

    def running_candle(self, now_us: int) -> Candles:
        """The 1m candle in progress, if there is one."""


# --- trades ---

# How many raw trades the aggregate trades consist of, over and over.
_RAW_COUNTS = (1, 1, 2, 1, 1, 1, 3, 1)
_RAW_BEFORE = np.cumsum((0, *_RAW_COUNTS[:-1]), dtype=np.int64)
# Of futures the raw ids leave one out so often: a trade of the insurance fund is in no aggregate.
_IDS_BETWEEN_GAPS = 4_096
# Fields of a trade that are newer than the API.
_NQ_SINCE_US = 1_767_225_600_000_000


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

    def candles(self, interval: str, instrument: Instrument | None = None) -> Candles:
        """Candles of these trades alone; without an instrument turnover is price x quantity."""
        price, quantity = self.price, self.quantity
        turnover = turnover_of(instrument, price, quantity) if instrument else price * quantity
        raw_count = first_raw_id(self.ids + 1) - first_raw_id(self.ids)
        taker = 1 - self.maker
        columns = [self.time_us // 1_000, *[price] * 4, quantity, turnover, raw_count]
        rows = np.stack([*columns, quantity * taker, turnover * taker])
        return Candles(rows).fold(interval)

    def csv(self, instrument: Instrument, *, in_micros: bool, is_trimmed: bool = False) -> bytes:
        """Write the rows as an archive member has them."""
        number = trimmed if is_trimmed else _number_text(instrument)
        price = number(self.price, instrument.tick)
        quantity = number(self.quantity, instrument.step)
        first, last = self._raw_ids(instrument)
        is_spot = instrument.product == "spot"
        flags, ending = (_CSV_FLAGS, b",True\n") if is_spot else (_JSON_FLAGS, b"\n")
        columns: list[Column | bytes] = [
            whole(self.ids), b",", price, b",", quantity, b",", first, b",", last, b",",
            self._times(in_micros=in_micros), b",", [flags.take(self.maker)], ending,
        ]  # fmt: skip
        return render(columns, len(self))

    def json(self, instrument: Instrument, *, in_micros: bool, now_us: int = 0) -> bytes:
        """Write the rows as a REST response has them."""
        number = _number_text(instrument)
        price = number(self.price, instrument.tick)
        quantity = number(self.quantity, instrument.step)
        first, last = self._raw_ids(instrument)
        # The quantity without retail price improvement, of which there is none here.
        has_nq = instrument.product == "um" and now_us >= _NQ_SINCE_US
        columns: list[Column | bytes] = [
            b'{"a":', whole(self.ids), b',"p":"', price, b'","q":"', quantity,
            *((b'","nq":"', quantity) if has_nq else ()),
            b'","f":', first, b',"l":', last, b',"T":', self._times(in_micros=in_micros),
            b',"m":', [_JSON_FLAGS.take(self.maker)],
            b',"M":true},' if instrument.product == "spot" else b"},",
        ]  # fmt: skip
        return json_array(columns, len(self))

    def _raw_ids(self, instrument: Instrument) -> tuple[Column, Column]:
        """Text of the ids of the first and the last raw trade."""
        skipped = 0 if instrument.product == "spot" else self.ids // _IDS_BETWEEN_GAPS
        first, last = first_raw_id(self.ids) + skipped, first_raw_id(self.ids + 1) - 1 + skipped
        return whole(first), whole(last)

    def _times(self, *, in_micros: bool) -> Column:
        """Text of the times."""
        return whole(self.time_us if in_micros else self.time_us // 1_000)


NO_TRADES = Trades(0, *[np.zeros(0, dtype=np.int64)] * 4)


def join_trades(parts: Sequence[Trades]) -> Trades:
    """Put consecutive tables together."""
    if not parts:
        return NO_TRADES
    columns = zip(*(part.columns for part in parts), strict=True)
    return Trades(parts[0].first_id, *map(np.concatenate, columns))
