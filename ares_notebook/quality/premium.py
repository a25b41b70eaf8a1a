"""Compare the premium index with mark and index price, and funding rates with the premium index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ares_notebook.errors import DataError
from ares_notebook.model.relations import FUNDING_HOURS, funding_rate
from ares_notebook.model.rows import Table, stamps_ms
from ares_notebook.model.time import INTERVALS, utc
from ares_notebook.quality.rebuild import Comparison

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_MINUTE_MS, _HOUR_MS = INTERVALS["1m"], INTERVALS["1h"]
_PRICES = ("open", "close")
# The premium is sampled every five seconds [Binance FAQ 360033525031].
_SAMPLES_PER_MINUTE = 12


@dataclass(frozen=True, slots=True)
class _Columns:
    """Rows as numbers: open times or times of payment in milliseconds, and columns by name."""

    stamps: _Ints
    numbers: dict[str, _Floats]

    @classmethod
    def of(cls, tables: Iterable[Table], names: Sequence[str]) -> _Columns:
        """The rows of some tables."""
        parts = [(stamps_ms(table), [_floats(table, name) for name in names]) for table in tables]
        stamps = [np.zeros(0, np.int64), *(part[0] for part in parts)]
        numbers = {
            name: np.concatenate([np.zeros(0), *(part[1][at] for part in parts)])
            for at, name in enumerate(names)
        }
        return cls(np.concatenate(stamps), numbers)

    def at(self, stamps: _Ints) -> dict[str, _Floats]:
        """The numbers of the rows with these stamps, all of which there are."""
        places = np.searchsorted(self.stamps, stamps)
        return {name: numbers[places] for name, numbers in self.numbers.items()}


def with_numbers(tables: Iterable[Table], file_name: str) -> Iterator[Table]:
    """Rows of the file of this name, with numbers in place of the text of all columns but the first."""
    for table in tables:
        columns = {"timestamp": table["timestamp"]}
        for name in table.column_names[1:]:
            try:
                columns[name] = table[name].cast(pa.float64())
            except pa.ArrowInvalid as error:
                msg = f"{name} of {file_name} is no number ({error}); download its period again"
                raise DataError(msg) from error
        yield pa.table(columns)


def _floats(table: Table, name: str) -> _Floats:
    numbers: _Floats = table[name].to_numpy()
    return numbers


def compare_premium(
    premium: Iterable[Table],
    mark: Iterable[Table],
    index: Iterable[Table],
    tolerance: float,
) -> Comparison:
    """
    Compare premium candles with mark price over index price, less one, at open and close.

    All three are tables `with_numbers`.
    High and low of the three are of different moments. A candle that one of the three lacks is not
    compared, since mark and index price have permanent gaps.
    """
    sides = [_Columns.of(tables, _PRICES) for tables in (premium, mark, index)]
    common = reduce(np.intersect1d, [side.stamps for side in sides])
    stored, marks, indices = (side.at(common) for side in sides)
    differs = np.zeros(len(common), np.bool_)
    words = ""
    rebuilt = {}
    for name in _PRICES:
        with np.errstate(divide="ignore", invalid="ignore"):
            rebuilt[name] = marks[name] / indices[name] - 1
            # What is not a number agrees with nothing.
            differs |= ~(np.abs(rebuilt[name] - stored[name]) <= tolerance)
    if differs.any():
        at = int(np.flatnonzero(differs)[0])
        off = [abs(rebuilt[name][at] - stored[name][at]) for name in _PRICES]
        name = _PRICES[int(off[1] > off[0])]
        words = _in_words(int(common[at]), name, rebuilt[name][at], stored[name][at])
    return Comparison(len(common), int((~differs).sum()), 0, words)


def compare_funding(
    payments: Iterable[Table], premium: Iterable[Table], tolerance: float
) -> Comparison:
    """
    Compare funding rates with those of the average premium of the hours before, from 1m candles.

    Both are tables `with_numbers`.
    A payment is for the hours since the one before. It is not compared where that one or a minute of
    the premium is missing, nor where no public rule gives its rate.
    """
    total = Comparison()
    average = _Averages(premium)
    before_ms = None
    for table in payments:
        for stamp_ms, rate in zip(stamps_ms(table), _floats(table, "fundingRate"), strict=True):
            paid_ms = int(stamp_ms) // _HOUR_MS * _HOUR_MS
            hours = 0 if before_ms is None else (paid_ms - before_ms) // _HOUR_MS
            before_ms = paid_ms
            total = total.plus(_compare_payment(paid_ms, hours, float(rate), average, tolerance))
    return total


def _compare_payment(
    paid_ms: int, hours: int, rate: float, average: _Averages, tolerance: float
) -> Comparison:
    mean = average.until(paid_ms, hours) if hours in FUNDING_HOURS else None
    expected = None if mean is None else funding_rate(mean, hours, paid_ms)
    if expected is None:
        return Comparison()
    if abs(expected - rate) <= tolerance:
        return Comparison(1, 1)
    return Comparison(1, 0, 0, _in_words(paid_ms, "fundingRate", expected, rate))


class _Averages:
    """Average premium of the hours before one moment after another; holds no more rows than it needs."""

    def __init__(self, candles: Iterable[Table]) -> None:
        self._rest: Iterator[Table] = iter(candles)
        self._stamps: _Ints = np.zeros(0, np.int64)
        self._values: _Floats = np.zeros(0)

    def until(self, end_ms: int, hours: int) -> float | None:
        """The average of *hours* that end at *end_ms*, later samples weighing more; None if a minute is missing."""
        self._read(end_ms)
        start_ms = end_ms - hours * _HOUR_MS
        first, last = np.searchsorted(self._stamps, [start_ms, end_ms])
        minutes = hours * _HOUR_MS // _MINUTE_MS
        if last - first != minutes:
            return None
        # The samples of a minute weigh 1, 2 … of all samples of the hours.
        weights = np.arange(minutes) * _SAMPLES_PER_MINUTE + (_SAMPLES_PER_MINUTE + 1) / 2
        return float(np.average(self._values[first:last], weights=weights))

    def _read(self, end_ms: int) -> None:
        """Read on to *end_ms*, and forget what no later average needs."""
        while not len(self._stamps) or self._stamps[-1] < end_ms - _MINUTE_MS:
            table = next(self._rest, None)
            if table is None:
                return
            # The mean of the four prices stands for the samples of a minute.
            prices = [_floats(table, name) for name in ("open", "high", "low", "close")]
            keep = self._stamps >= end_ms - max(FUNDING_HOURS) * _HOUR_MS
            self._stamps = np.concatenate([self._stamps[keep], stamps_ms(table)])
            self._values = np.concatenate([self._values[keep], np.mean(prices, axis=0)])


def _in_words(stamp_ms: int, name: str, rebuilt: Any, stored: Any) -> str:
    return f"{utc(stamp_ms):%Y-%m-%d %H:%M:%S} {name}: {rebuilt:.8f} rebuilt, {stored:.8f} stored"
