"""
The trade generator: every trade of an instrument, as a pure function of its place.

A day has a number of trades, which its minutes share; a minute has eight price levels in
order of time, which share its trades; a level has a quantity, which its trades share.
Candles are sums over levels, so that a year of them needs not one trade.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ares_notebook.demo.funding import contract_prices, index_ticks
from ares_notebook.demo.noise import UInts, bits, random_words, seed_of
from ares_notebook.demo.symbols import MINUTE, Instrument, minute_of
from ares_notebook.demo.tables import (
    CLOSE,
    NO_CANDLES,
    NO_TRADES,
    Candles,
    Ints,
    Trades,
    first_raw_id,
    join_trades,
    turnover_of,
)

DAY_MINUTES = 1_440
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000

_LAST_DAY = minute_of("2040-01-01") // DAY_MINUTES
# An open minute has as many trades or more.
_MIN_MINUTE_TRADES = 4
_MIN_DAY_TRADES = _MIN_MINUTE_TRADES * DAY_MINUTES
# Busiest at 14:00 UTC, quietest at 02:00: a triangle, in integers.
_MINUTE_WEIGHTS = 50 + (720 - np.abs((np.arange(DAY_MINUTES) - 840 + 720) % DAY_MINUTES - 720)) // 7

# Trades carry microseconds since then; earlier ones whole milliseconds.
_MICROSECONDS_FROM_US = minute_of("2025-01-01") * MINUTE_US

_LEVEL = np.arange(8, dtype=np.int64)
_FIRST, _EARLY, _LATE, _FINAL = 0, 2, 5, 7
# Each of these levels has a trade in any minute: open, both extremes, close.
_CERTAIN = np.isin(_LEVEL, (_FIRST, _EARLY, _LATE, _FINAL)).astype(np.int64)

# Threads that make days side by side hand Python's lock to each other at each of some thousand
# short array operations: eight threads took twice as long as one (measured).
_MAKING_DAY = Lock()


@dataclass(frozen=True, slots=True)
class TradeGenerator:
    """An instrument and how busy it is."""

    instrument: Instrument
    # Aggregate trades on an ordinary day; fewer than four a minute become that many.
    trades_per_day: int

    @property
    def first_id(self) -> int:
        """Aggregate id of the very first trade."""
        return 0 if self.instrument.product == "spot" else 1

    @property
    def first_day(self) -> int:
        """Day of the epoch of the first trade."""
        return self.instrument.first_minute // DAY_MINUTES

    @property
    def first_ms(self) -> int:
        """When it begins to trade."""
        return self.instrument.first_ms

    def minute_candles(self, day: int) -> Candles:
        """The 1m candles of a whole day of the epoch."""
        return minute_candles(self, day)

    def hour_candles(self, day: int) -> Candles:
        """The 1h candles of a whole day of the epoch."""
        return hour_candles(self, day)

    def running_candle(self, now_us: int) -> Candles:
        """The 1m candle in progress, if there was a trade."""
        trades = self.trades_until(now_us // MINUTE_US * MINUTE_US, now_us)
        return trades.candles("1m", self.instrument)

    def trades_until(self, first_us: int, last_us: int) -> Trades:
        """Trades from one time to another, both inclusive."""
        return trades_between(self, id_at(self, first_us), id_at(self, last_us + 1))


@dataclass(frozen=True, slots=True)
class Levels:
    """The open minutes of a day; arrays of a row a minute, and eight price levels a row."""

    # Minute of the epoch, aggregate id of its first trade, number of its trades.
    minute: Ints
    first_id: Ints
    count: Ints
    # Ticks, number of trades, and steps of each level.
    price: Ints
    trade_counts: Ints
    quantity: Ints
    # 1 where the buyers of a level were the makers, else 0.
    maker: Ints


def _random_words(source: TradeGenerator, stream: str, places: Ints) -> UInts:
    """Random bits of one of the streams of an instrument."""
    seed = seed_of(stream, source.instrument.product, source.instrument.symbol)
    return random_words(seed, places)


# --- how many trades, and when ---


@lru_cache(maxsize=256)
def _first_ids(source: TradeGenerator) -> Ints:
    """Aggregate id of the first trade of each day from that of the listing on."""
    instrument = source.instrument
    days = np.arange(source.first_day, _LAST_DAY, dtype=np.int64)
    totals = _extra_trades(source, days) + _MIN_DAY_TRADES
    # Days on which not all minutes are open.
    partial = {source.first_day, instrument.end_minute // DAY_MINUTES}
    for start, end in (*instrument.halts, *instrument.quiet):
        partial.update(range(start // DAY_MINUTES, (end - 1) // DAY_MINUTES + 1))
    for day in partial:
        if source.first_day <= day < _LAST_DAY:
            totals[day - source.first_day] = _minute_counts(source, day).sum()
    totals[days * DAY_MINUTES >= instrument.end_minute] = 0
    ids: Ints = np.cumsum(np.concatenate([[source.first_id], totals]))
    return ids


def first_id_of_day(source: TradeGenerator, day: int) -> int:
    """Aggregate id of the first trade on or after a day of the epoch."""
    ids = _first_ids(source)
    return int(ids[min(max(day - source.first_day, 0), len(ids) - 1)])


def _extra_trades(source: TradeGenerator, days: Ints) -> Ints:
    """Trades of a full day above the least that its minutes have; independent of prices."""
    extra = max(source.trades_per_day - _MIN_DAY_TRADES, 0)
    return extra * (bits(_random_words(source, "days", days), 8, 16) + 32_768) >> 16


def _listed_minutes(instrument: Instrument, minutes: Ints) -> NDArray[np.bool_]:
    """Tell in which minutes of the epoch an instrument is listed."""
    return (minutes >= instrument.first_minute) & (minutes < instrument.end_minute)


def _open_minutes(instrument: Instrument, minutes: Ints) -> NDArray[np.bool_]:
    """Tell in which minutes of the epoch an instrument trades."""
    is_open = _listed_minutes(instrument, minutes)
    for start, end in (*instrument.halts, *instrument.quiet):
        if start <= minutes[-1] and minutes[0] < end:
            is_open &= (minutes < start) | (minutes >= end)
    return is_open


def _minutes_of(day: int) -> Ints:
    """Minutes of the epoch of a day of the epoch."""
    return np.arange(day * DAY_MINUTES, (day + 1) * DAY_MINUTES, dtype=np.int64)


def _minute_counts(source: TradeGenerator, day: int) -> Ints:
    """Number of trades in each of the 1,440 minutes of a day."""
    minutes = _minutes_of(day)
    weights = _MINUTE_WEIGHTS * (128 + bits(_random_words(source, "minutes", minutes), 16, 8))
    is_open = _open_minutes(source.instrument, minutes)
    # Shares are of the whole day, so that a halt loses its trades and moves none.
    extra = int(_extra_trades(source, np.array([day]))[0])
    upto = extra * np.cumsum(weights * is_open) // int(weights.sum())
    counts: Ints = np.diff(upto, prepend=0) + _MIN_MINUTE_TRADES * is_open
    return counts


def prices(source: TradeGenerator, minutes: Ints) -> Ints:
    """Price in ticks at the start of each of some minutes of the epoch, ascending."""
    instrument = source.instrument
    if instrument.product == "spot":
        return index_ticks(instrument, minutes)
    return np.maximum(contract_prices(instrument, minutes) // instrument.tick, 2)


# --- price levels and candles ---


@lru_cache(maxsize=64)
def _levels(source: TradeGenerator, day: int) -> Levels:
    """All open minutes of a day of the epoch."""
    minutes = _minutes_of(day)
    is_open = _open_minutes(source.instrument, minutes)
    count = _minute_counts(source, day)[is_open]
    path = prices(source, np.append(minutes, minutes[-1] + 1))
    minute = minutes[is_open]
    words = _random_words(source, "levels", minute[:, None] * len(_LEVEL) + _LEVEL)
    trade_counts = _trade_counts(words, count)
    return Levels(
        minute=minute,
        first_id=first_id_of_day(source, day) + np.cumsum(count) - count,
        count=count,
        price=_level_prices(words, path[:-1][is_open], path[1:][is_open]),
        trade_counts=trade_counts,
        quantity=_level_quantities(source, words, trade_counts),
        maker=bits(words, 36, 1),
    )


def _trade_counts(words: UInts, count: Ints) -> Ints:
    """Deal the trades of each minute out to its levels."""
    weights = np.cumsum(bits(words, 0, 8) + 1, axis=1)
    upto = (count[:, None] - _MIN_MINUTE_TRADES) * weights // weights[:, -1:]
    trade_counts: Ints = np.diff(upto, axis=1, prepend=0) + _CERTAIN
    return trade_counts


def _level_prices(words: UInts, start: Ints, end: Ints) -> Ints:
    """Prices of the levels: the first opens, the last closes, two between are the extremes."""
    share = bits(words, 24, 12)
    close = np.maximum(end + share[:, _FINAL] % 3 - 1, 1)
    top, bottom = np.maximum(start, close), np.minimum(start, close)
    # Up to a tick and a twentieth of a percent beyond open and close.
    high = top + (share[:, _EARLY] & 1) + top * share[:, _EARLY] // (4_096 * 2_000)
    low = bottom - (share[:, _LATE] & 1) - bottom * share[:, _LATE] // (4_096 * 2_000)
    low = np.maximum(low, 1)
    price: Ints = low[:, None] + ((high - low)[:, None] * share >> 12)
    rises_first = (share[:, _FIRST] & 1).astype(np.bool_)
    price[:, _FIRST], price[:, _FINAL] = start, close
    price[:, _EARLY] = np.where(rises_first, high, low)
    price[:, _LATE] = np.where(rises_first, low, high)
    return price


def _level_quantities(source: TradeGenerator, words: UInts, trade_counts: Ints) -> Ints:
    """Steps that change hands at each level, one or more a trade."""
    # Twice the mean, since the draw below is even between nothing and all.
    trades = max(source.trades_per_day, _MIN_DAY_TRADES)
    usual = 2 * max(source.instrument.day_volume // trades, 1)
    is_large = bits(words, 40, 5) == 0
    drawn = usual * bits(words, 8, 16) >> 16
    quantity: Ints = trade_counts + trade_counts * drawn * np.where(is_large, 8, 1)
    return quantity


@lru_cache(maxsize=768)
def minute_candles(source: TradeGenerator, day: int) -> Candles:
    """The 1m candles of a whole day of the epoch."""
    traded = _traded_candles(source, day)
    minutes = _minutes_of(day)
    minutes = minutes[_listed_minutes(source.instrument, minutes)]
    if not source.instrument.writes_each_candle or len(traded) == len(minutes):
        return traded
    is_first_traded = len(traded) and traded.opened[0] == minutes[0] * MINUTE
    last_close = 0 if is_first_traded else int(minute_candles(source, day - 1).rows[CLOSE][-1])
    return traded.with_flat_minutes(minutes, last_close)


def _traded_candles(source: TradeGenerator, day: int) -> Candles:
    """The 1m candles of a day of those minutes that have trades."""
    with _MAKING_DAY:
        return _candles_of_levels(source, _levels(source, day))


def _candles_of_levels(source: TradeGenerator, levels: Levels) -> Candles:
    """A candle of each minute that has levels."""
    if not len(levels.minute):
        return NO_CANDLES
    turnover = turnover_of(source.instrument, levels.price, levels.quantity)
    taker = 1 - levels.maker
    # The extremes are levels of their own; the other levels lie between them.
    extremes = levels.price[:, [_FIRST, _EARLY, _LATE, _FINAL]]
    rows = [
        levels.minute * MINUTE,
        levels.price[:, _FIRST],
        extremes.max(axis=1),
        extremes.min(axis=1),
        levels.price[:, _FINAL],
        levels.quantity.sum(axis=1),
        turnover.sum(axis=1),
        first_raw_id(levels.first_id + levels.count) - first_raw_id(levels.first_id),
        (levels.quantity * taker).sum(axis=1),
        (turnover * taker).sum(axis=1),
    ]
    return Candles(np.stack(rows))


@lru_cache(maxsize=16_384)
def hour_candles(source: TradeGenerator, day: int) -> Candles:
    """The 1h candles of a whole day of the epoch."""
    return minute_candles(source, day).fold("1h")


# --- trades ---


def trades_between(source: TradeGenerator, first_id: int, end_id: int) -> Trades:
    """Trades by aggregate id, *first_id* inclusive, *end_id* exclusive."""
    ids = _first_ids(source)
    first_id, end_id = max(first_id, int(ids[0])), min(end_id, int(ids[-1]))
    if first_id >= end_id:
        return NO_TRADES
    low, high = np.searchsorted(ids, [first_id, end_id - 1], side="right") - 1
    parts = []
    for day in range(source.first_day + int(low), source.first_day + int(high) + 1):
        levels = _levels(source, day)
        left = max(int(np.searchsorted(levels.first_id, first_id, side="right")) - 1, 0)
        right = int(np.searchsorted(levels.first_id, end_id, side="left"))
        if left < right:
            parts.append(_trades_of(source, levels, left, right))
    found = join_trades(parts)
    return found.cut(first_id - found.first_id, end_id - found.first_id)


def id_at(source: TradeGenerator, time_us: int) -> int:
    """Aggregate id of the first trade at or after a time (µs since the epoch)."""
    day = time_us // DAY_US
    if day < source.first_day or day >= _LAST_DAY:
        return first_id_of_day(source, day)
    levels = _levels(source, day)
    minute = time_us // MINUTE_US
    row = int(np.searchsorted(levels.minute, minute))
    if row == len(levels.minute):
        return first_id_of_day(source, day + 1)
    if levels.minute[row] != minute:
        return int(levels.first_id[row])
    inside = _trades_of(source, levels, row, row + 1)
    return inside.first_id + int(np.searchsorted(inside.time_us, time_us))


def _trades_of(source: TradeGenerator, levels: Levels, first_row: int, end_row: int) -> Trades:
    """All trades of some minutes of a day."""
    rows = slice(first_row, end_row)
    trade_counts = levels.trade_counts[rows].ravel()
    total = int(trade_counts.sum())
    first_id = int(levels.first_id[first_row])
    ids = np.arange(first_id, first_id + total, dtype=np.int64)
    words = _random_words(source, "trades", ids)
    level = np.repeat(np.arange(len(trade_counts), dtype=np.int64), trade_counts)
    place = np.arange(total, dtype=np.int64) - (np.cumsum(trade_counts) - trade_counts)[level]
    return Trades(
        first_id,
        levels.price[rows].ravel()[level],
        _quantities(words, place, trade_counts[level], levels.quantity[rows].ravel()[level]),
        _times(words, levels, rows, ids),
        levels.maker[rows].ravel()[level],
    )


def _quantities(words: UInts, place: Ints, trade_counts: Ints, quantity: Ints) -> Ints:
    """Cut the quantity of each level into its trades, one step or more each."""
    # The cuts lie near equal distances, jittered by less than half of one, so that they are in
    # order; the first trade begins at nothing and the last one takes what is left.
    spare = quantity - trade_counts
    cut = (spare * (2 * place * 65_536 + bits(words, 0, 16))) // (2 * 65_536 * trade_counts)
    cut[place == 0] = 0
    size = np.empty_like(cut)
    size[:-1] = cut[1:]
    is_last = place == trade_counts - 1
    size[is_last] = spare[is_last]
    return size - cut + 1


def _times(words: UInts, levels: Levels, rows: slice, ids: Ints) -> Ints:
    """
    When each trade happened: in order, in its minute, some of them in one millisecond.

    The first trade of a minute falls in its first second: no second before it needs a candle.
    """
    count = levels.count[rows]
    row = np.repeat(np.arange(len(count), dtype=np.int64), count)
    place = ids - levels.first_id[rows][row]
    index = np.arange(len(ids))
    # Every other group of three is a burst: one order that met three.
    in_group = place % 3
    is_burst = bits(words, 20, 1)[index - in_group] == 0
    in_burst = np.where(is_burst, in_group, 0)
    first_place, first_index = place - in_burst, index - in_burst
    width = MINUTE_US // count[row]
    width[first_place == 0] = np.minimum(width[first_place == 0], 900_000)
    jitter = bits(words, 32, 16)[first_index]
    start = first_place * MINUTE_US // count[row] + (width - 2_000) * jitter // 65_536
    start -= start % 1_000
    burst_us = in_group * 250 + bits(words, 48, 6)[first_index]
    fraction = np.where(is_burst, burst_us, bits(words, 48, 9))
    times = levels.minute[rows][row] * MINUTE_US + start
    exact: Ints = times + fraction * (times >= _MICROSECONDS_FROM_US)
    return exact
