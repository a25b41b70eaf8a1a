"""
The tape of one market: every trade there ever was, as a pure function of its place.

From the top down. A day has a number of trades, which its minutes share; a minute has
eight price levels in order of time, which share its trades; a level has a quantity,
which its trades share. Candles are sums over levels, so that a year of them needs not
one trade, and the trades of a level add up to it to the last step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ares_notebook.demo.candles import Candles
from ares_notebook.demo.noise import Floats, Ints, bits, scramble, seed_of, wander
from ares_notebook.demo.schedule import (
    DAY_MINUTES,
    LAST_DAY,
    LEAST_A_MINUTE,
    Tape,
    first_id_of_day,
    first_ids,
    minute_counts,
    open_minutes,
    stream_seed,
)
from ares_notebook.demo.symbols import BITCOIN_PATH, minute_of
from ares_notebook.demo.trades import NO_TRADES, Trades, first_raw_id, joined

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000

# Trades carry microseconds since then; earlier ones whole milliseconds.
_MICROSECONDS_FROM = minute_of("2025-01-01") * MINUTE_US

_LEVELS = 8
_LEVEL = np.arange(_LEVELS, dtype=np.int64)
_FIRST, _EARLY, _LATE, _FINAL = 0, 2, 5, 7
# Each of these levels has a trade in any minute: open, both extremes, close.
_CERTAIN = np.isin(_LEVEL, (_FIRST, _EARLY, _LATE, _FINAL)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Levels:
    """The open minutes of a day; arrays of a row a minute, and eight levels a row."""

    # Minute of the epoch, aggregate id of its first trade, number of its trades.
    minute: Ints
    first_id: Ints
    count: Ints
    # Ticks, number of trades, and steps of each level.
    price: Ints
    shares: Ints
    quantity: Ints
    # Whether the buyers of a level were the makers.
    maker: NDArray[np.bool_]


# --- what they cost ---


def prices(tape: Tape, minutes: Ints) -> Ints:
    """Price in ticks at the start of each of some minutes of the epoch, ascending."""
    instrument = tape.instrument
    tide = np.ones(len(minutes)) if instrument.steady else _tide(minutes)
    # Spot and perpetual have one path: only their trades differ.
    path = wander(seed_of("price", instrument.symbol), minutes)
    ticks = (tide * instrument.dollars) * (path + 1.0)
    return np.maximum(ticks.astype(np.int64), 2)


_TIDE_MINUTES = np.array([minute_of(day) for day, _ in BITCOIN_PATH], dtype=np.int64)
_TIDE_LEVELS = np.array([level / 50_000 for _, level in BITCOIN_PATH])


def _tide(minutes: Ints) -> Floats:
    """The common level of all prices, 1.0 while bitcoin is at 50,000."""
    last = len(_TIDE_MINUTES) - 2
    left = np.clip(np.searchsorted(_TIDE_MINUTES, minutes, side="right") - 1, 0, last)
    spans = _TIDE_MINUTES[left + 1] - _TIDE_MINUTES[left]
    done = np.clip((minutes - _TIDE_MINUTES[left]) / spans, 0.0, 1.0)
    rise = _TIDE_LEVELS[left + 1] - _TIDE_LEVELS[left]
    tide: Floats = _TIDE_LEVELS[left] + rise * done
    return tide


# --- minutes and their levels ---


@lru_cache(maxsize=64)
def levels(tape: Tape, day: int) -> Levels:
    """All open minutes of a day of the epoch."""
    first_minute = day * DAY_MINUTES
    minutes = np.arange(first_minute, first_minute + DAY_MINUTES, dtype=np.int64)
    is_open = open_minutes(tape.instrument, minutes)
    count = minute_counts(tape, day)[is_open]
    path = prices(tape, np.append(minutes, minutes[-1] + 1))
    minute = minutes[is_open]
    noise = scramble(stream_seed(tape, "levels"), minute[:, None] * _LEVELS + _LEVEL)
    shares = _shares(noise, count)
    return Levels(
        minute=minute,
        first_id=first_id_of_day(tape, day) + np.cumsum(count) - count,
        count=count,
        price=_level_prices(noise, path[:-1][is_open], path[1:][is_open]),
        shares=shares,
        quantity=_level_quantities(tape, noise, shares),
        maker=bits(noise, 36, 1).astype(np.bool_),
    )


def _shares(noise: NDArray[np.uint64], count: Ints) -> Ints:
    """Deal the trades of each minute out to its levels."""
    weights = np.cumsum(bits(noise, 0, 8) + 1, axis=1)
    upto = (count[:, None] - LEAST_A_MINUTE) * weights // weights[:, -1:]
    shares: Ints = np.diff(upto, axis=1, prepend=0) + _CERTAIN
    return shares


def _level_prices(noise: NDArray[np.uint64], start: Ints, end: Ints) -> Ints:
    """Prices of the levels: the first opens, the last closes, two between are the extremes."""
    share = bits(noise, 24, 12)
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


def _level_quantities(tape: Tape, noise: NDArray[np.uint64], shares: Ints) -> Ints:
    """Steps that change hands at each level, one or more a trade."""
    # Twice the mean, since the draw below is even between nothing and all.
    usual = 2 * max(tape.instrument.day_volume // max(tape.trades_per_day, 5_760), 1)
    is_whale = bits(noise, 40, 5) == 0
    drawn = usual * bits(noise, 8, 16) >> 16
    quantity: Ints = shares + shares * drawn * np.where(is_whale, 8, 1)
    return quantity


@lru_cache(maxsize=768)
def minute_candles(tape: Tape, day: int) -> Candles:
    """The 1m candles of a whole day of the epoch."""
    made = levels(tape, day)
    quote = made.price * made.quantity
    taker = ~made.maker
    raw = first_raw_id(made.first_id + made.count) - first_raw_id(made.first_id)
    # The extremes are levels of their own; the other levels lie between them.
    extremes = made.price[:, [_FIRST, _EARLY, _LATE, _FINAL]]
    rows = [
        made.minute * 60_000,
        made.price[:, _FIRST],
        extremes.max(axis=1),
        extremes.min(axis=1),
        made.price[:, _FINAL],
        made.quantity.sum(axis=1),
        quote.sum(axis=1),
        raw,
        (made.quantity * taker).sum(axis=1),
        (quote * taker).sum(axis=1),
    ]
    return Candles(np.stack(rows))


@lru_cache(maxsize=16_384)
def hour_candles(tape: Tape, day: int) -> Candles:
    """The 1h candles of a whole day of the epoch."""
    return minute_candles(tape, day).fold("1h")


# --- trades ---


def trades_between(tape: Tape, first_id: int, end_id: int) -> Trades:
    """Trades by aggregate id, *first_id* inclusive, *end_id* exclusive."""
    ids = first_ids(tape)
    first_id, end_id = max(first_id, int(ids[0])), min(end_id, int(ids[-1]))
    if first_id >= end_id:
        return NO_TRADES
    start_day = tape.instrument.first_minute // DAY_MINUTES
    low, high = np.searchsorted(ids, [first_id, end_id - 1], side="right") - 1
    parts = []
    for day in range(start_day + int(low), start_day + int(high) + 1):
        made = levels(tape, day)
        if not len(made.minute):
            continue
        left = max(int(np.searchsorted(made.first_id, first_id, side="right")) - 1, 0)
        right = int(np.searchsorted(made.first_id, end_id, side="left"))
        if left < right:
            parts.append(_trades_of(tape, made, left, right))
    found = joined(parts)
    return found.cut(first_id - found.first_id, end_id - found.first_id)


def id_at(tape: Tape, time_us: int) -> int:
    """Aggregate id of the first trade at or after a time (µs since the epoch)."""
    day = time_us // DAY_US
    if day < tape.instrument.first_minute // DAY_MINUTES or day >= LAST_DAY:
        return first_id_of_day(tape, day)
    made = levels(tape, day)
    minute = time_us // MINUTE_US
    row = int(np.searchsorted(made.minute, minute))
    if row == len(made.minute):
        return first_id_of_day(tape, day + 1)
    if made.minute[row] != minute:
        return int(made.first_id[row])
    inside = _trades_of(tape, made, row, row + 1)
    return inside.first_id + int(np.searchsorted(inside.time_us, time_us))


def _trades_of(tape: Tape, made: Levels, first_row: int, end_row: int) -> Trades:
    """All trades of some minutes of a day."""
    rows = slice(first_row, end_row)
    shares = made.shares[rows].ravel()
    total = int(shares.sum())
    first_id = int(made.first_id[first_row])
    ids = np.arange(first_id, first_id + total, dtype=np.int64)
    noise = scramble(stream_seed(tape, "trades"), ids)
    level = np.repeat(np.arange(len(shares), dtype=np.int64), shares)
    place = np.arange(total, dtype=np.int64) - (np.cumsum(shares) - shares)[level]
    return Trades(
        first_id,
        made.price[rows].ravel()[level],
        _quantities(noise, place, shares[level], made.quantity[rows].ravel()[level]),
        _times(noise, made, rows, ids),
        made.maker[rows].ravel()[level],
    )


def _quantities(noise: NDArray[np.uint64], place: Ints, shares: Ints, quantity: Ints) -> Ints:
    """
    Cut the quantity of each level into its trades, one step or more each.

    The cuts lie near equal distances, jittered by less than half of one, so that they
    are in order; the first trade begins at nothing and the last one takes what is left.
    """
    spare = quantity - shares
    jitter = bits(noise, 0, 16)
    cut = (spare * (2 * place * 65_536 + jitter)) // (2 * 65_536 * shares)
    cut[place == 0] = 0
    size = np.empty_like(cut)
    size[:-1] = cut[1:]
    is_last = place == shares - 1
    size[is_last] = spare[is_last]
    return size - cut + 1


def _times(noise: NDArray[np.uint64], made: Levels, rows: slice, ids: Ints) -> Ints:
    """
    When each trade happened: in order, in its minute, some of them in one millisecond.

    The first trade of a minute falls in its first second, so that the seconds before it
    need no candle, and the minute opens as its first second does.
    """
    count = made.count[rows]
    each = np.repeat(np.arange(len(count), dtype=np.int64), count)
    place = ids - made.first_id[rows][each]
    # Every other group of three is a burst: one order that met three.
    leader = place - place % 3
    is_burst = bits(noise, 20, 1)[np.arange(len(ids)) - place % 3] == 0
    seat = np.where(is_burst, leader, place)
    head = np.arange(len(ids)) - (place - seat)
    width = MINUTE_US // count[each]
    width[seat == 0] = np.minimum(width[seat == 0], 900_000)
    jitter = bits(noise, 32, 16)[head]
    start = seat * MINUTE_US // count[each] + (width - 2_000) * jitter // 65_536
    start -= start % 1_000
    fraction = np.where(is_burst, place % 3 * 250 + bits(noise, 48, 6)[head], bits(noise, 48, 9))
    times = made.minute[rows][each] * MINUTE_US + start
    exact: Ints = times + fraction * (times >= _MICROSECONDS_FROM)
    return exact
