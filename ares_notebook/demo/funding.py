"""Funding of the perpetual futures: when, how much, and how often."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ares_notebook.demo.noise import bits, random_words, seed_of
from ares_notebook.demo.symbols import HOUR, MINUTE, Instrument, minute_of
from ares_notebook.demo.tables import Cells, Column, Ints, json_array, render, signed, whole

_END_HOUR = minute_of("2040-01-01") // 60
_DEFAULT_HOURS = 8

# From when on a symbol is funded every so many hours; all changes at 00:00, 08:00 or 16:00.
_CHANGES: dict[str, tuple[tuple[str, int], ...]] = {
    "SOLUSDT": (
        ("2022-11-09T08:00", 1), ("2022-11-11T00:00", 4), ("2023-03-01T00:00", 8),
        ("2025-06-16T08:00", 4), ("2025-09-01T00:00", 8),
    ),
    "币安人生USDT": (("2025-10-08T08:00", 4),),
}  # fmt: skip
_FIRST = {"BTCUSDT": "2019-09-10T08:00"}


@dataclass(frozen=True, slots=True)
class Funding:
    """Funding events of one symbol, in the order of time."""

    # Milliseconds since the epoch; about half of them a little late.
    time_ms: Ints
    # Length of the interval that the payment is for.
    hours: Ints
    # In units of the eighth decimal.
    rate: Ints

    def __len__(self) -> int:
        return len(self.time_ms)

    def cut(self, rows: slice) -> Funding:
        """Some of the events."""
        return Funding(self.time_ms[rows], self.hours[rows], self.rate[rows])

    def csv(self) -> bytes:
        """Write the events as an archive member has them, with its header."""
        columns: list[Column | bytes] = [
            whole(self.time_ms), b",", whole(self.hours), b",", signed(self.rate), b"\n",
        ]  # fmt: skip
        header = b"calc_time,funding_interval_hours,last_funding_rate\n"
        return header + render(columns, len(self))

    def json(self, symbol: str, mark_prices: Cells) -> bytes:
        """Write the events as a REST response has them."""
        columns: list[Column | bytes] = [
            b'{"symbol":"' + symbol.encode() + b'","fundingTime":', whole(self.time_ms),
            b',"fundingRate":"', signed(self.rate), b'","markPrice":"', [mark_prices], b'"},',
        ]  # fmt: skip
        return json_array(columns, len(self))


@lru_cache(maxsize=64)
def funding_of(instrument: Instrument) -> Funding:
    """All events of a symbol, far into the future."""
    hour, step = _schedule(instrument)
    # Late together, as the real ones are: one clock serves all symbols.
    clock = random_words(seed_of("funding", "clock"), hour)
    late_ms = bits(clock, 8, 1) * (1 + bits(clock, 16, 16) * 47 // 65_536)
    words = random_words(seed_of("funding", instrument.symbol), hour)
    # Half of all rates are the interest rate itself, as they are in quiet times.
    is_usual = bits(words, 0, 1) == 0
    rate = np.where(is_usual, 10_000, bits(words, 8, 16) * 80_000 // 65_536 - 30_000)
    return Funding(hour * HOUR + late_ms, step, rate * step // _DEFAULT_HOURS)


def adjusted_hours(instrument: Instrument, now_ms: int) -> int | None:
    """Hours between payments, or None for a symbol that always had the default."""
    if instrument.product == "spot" or instrument.symbol not in _CHANGES:
        return None
    hours = _DEFAULT_HOURS
    for start, step in _CHANGES[instrument.symbol]:
        if minute_of(start) * MINUTE <= now_ms:
            hours = step
    return hours


def _schedule(instrument: Instrument) -> tuple[Ints, Ints]:
    """Hours of the epoch at which funding is due, and the interval that ends there."""
    first = _FIRST.get(instrument.symbol)
    start = minute_of(first) // 60 if first else -(-instrument.first_minute // 480) * 8
    end = min(_END_HOUR, instrument.end_minute // 60)
    changes = [(minute_of(at) // 60, step) for at, step in _CHANGES.get(instrument.symbol, ())]
    periods = [(start, _DEFAULT_HOURS), *(each for each in changes if each[0] < end), (end, 0)]
    hours, steps = [np.array([start])], [np.array([_DEFAULT_HOURS])]
    for (low, step), (high, _) in itertools.pairwise(periods):
        due = np.arange(low + step, high + 1, step, dtype=np.int64)
        hours.append(due)
        steps.append(np.full(len(due), step))
    return np.concatenate(hours), np.concatenate(steps)
