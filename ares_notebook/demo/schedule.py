"""How many trades a market has, and when: the ids of its tape, before there is a price."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ares_notebook.demo.noise import Ints, bits, scramble, seed_of
from ares_notebook.demo.symbols import Instrument, minute_of

DAY_MINUTES = 1_440
LAST_DAY = minute_of("2040-01-01") // DAY_MINUTES
LEAST_A_MINUTE = 4
"""An open minute has as many trades or more."""

# Busiest at 14:00 UTC, quietest at 02:00: a triangle, in integers.
_RHYTHM = 50 + (720 - np.abs((np.arange(DAY_MINUTES) - 840 + 720) % DAY_MINUTES - 720)) // 7


@dataclass(frozen=True, slots=True)
class Tape:
    """A market and how busy it is."""

    # The market.
    instrument: Instrument
    # Aggregate trades on an ordinary day. An open minute has four or more, so that there is no day
    # of fewer than 5,760.
    trades_per_day: int

    @property
    def first_id(self) -> int:
        """Aggregate id of the very first trade."""
        return 0 if self.instrument.road == "spot" else 1


@lru_cache(maxsize=256)
def first_ids(tape: Tape) -> Ints:
    """Aggregate id of the first trade of each day from that of the listing on."""
    first_day = tape.instrument.first_minute // DAY_MINUTES
    days = np.arange(first_day, LAST_DAY, dtype=np.int64)
    totals = _extra_trades(tape, days) + LEAST_A_MINUTE * DAY_MINUTES
    for day in _broken_days(tape.instrument):
        if first_day <= day < LAST_DAY:
            totals[day - first_day] = minute_counts(tape, day).sum()
    totals[days * DAY_MINUTES >= tape.instrument.end_minute] = 0
    ids: Ints = np.cumsum(np.concatenate([[tape.first_id], totals]))
    return ids


def first_id_of_day(tape: Tape, day: int) -> int:
    """Aggregate id of the first trade on or after a day of the epoch."""
    ids = first_ids(tape)
    index = day - tape.instrument.first_minute // DAY_MINUTES
    return int(ids[min(max(index, 0), len(ids) - 1)])


def _broken_days(instrument: Instrument) -> set[int]:
    """Days of the epoch on which not all minutes are open."""
    edges = {
        instrument.first_minute // DAY_MINUTES,
        instrument.end_minute // DAY_MINUTES,
    }
    for start, end in instrument.halts:
        edges.update(range(start // DAY_MINUTES, (end - 1) // DAY_MINUTES + 1))
    return edges


def _extra_trades(tape: Tape, days: Ints) -> Ints:
    """Trades of a full day above the least that its minutes have; independent of prices."""
    beyond = max(tape.trades_per_day - LEAST_A_MINUTE * DAY_MINUTES, 0)
    mood = bits(scramble(stream_seed(tape, "days"), days), 8, 16)
    return beyond * (mood + 32_768) >> 16


def open_minutes(instrument: Instrument, minutes: Ints) -> NDArray[np.bool_]:
    """Tell in which minutes of the epoch the market is open."""
    is_open = (minutes >= instrument.first_minute) & (minutes < instrument.end_minute)
    for start, end in instrument.halts:
        if start <= minutes[-1] and minutes[0] < end:
            is_open &= (minutes < start) | (minutes >= end)
    return is_open


def minute_counts(tape: Tape, day: int) -> Ints:
    """Number of trades in each of the 1,440 minutes of a day."""
    minutes = np.arange(day * DAY_MINUTES, (day + 1) * DAY_MINUTES, dtype=np.int64)
    weights = _RHYTHM * (128 + bits(scramble(stream_seed(tape, "minutes"), minutes), 16, 8))
    is_open = open_minutes(tape.instrument, minutes)
    # Shares are of the whole day, so that a halt loses its trades and moves none.
    extra = int(_extra_trades(tape, minutes[:1] // DAY_MINUTES)[0])
    upto = extra * np.cumsum(weights * is_open) // int(weights.sum())
    counts: Ints = np.diff(upto, prepend=0) + LEAST_A_MINUTE * is_open
    return counts


@lru_cache(maxsize=1_024)
def stream_seed(tape: Tape, stream: str) -> int:
    """Seed of one of the market's streams of numbers."""
    return seed_of(stream, tape.instrument.road, tape.instrument.symbol)
