"""A table of candles, and how small ones add up to large ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ares_notebook.demo.grid import closes_of, opens_of
from ares_notebook.demo.symbols import Instrument
from ares_notebook.demo.text import Column, decimal, json_array, render, whole

Ints = NDArray[np.int64]

OPENED, OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, COUNT, TAKER, TAKER_QUOTE = range(10)


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles in integers: ms, ticks, steps, products of both, and counts."""

    # A line a column: opened (ms), open, high, low, close (ticks), volume (steps), quote volume
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

    def csv(self, instrument: Instrument, interval: str, *, micros: bool) -> bytes:
        """Write the rows as an archive member has them."""
        cells = self._cells(instrument, interval, micros=micros)
        columns = [cells[0]]
        for cell in cells[1:]:
            columns += [[b","], cell]
        return render([*columns, b",0\n"], len(self))

    def json(self, instrument: Instrument, interval: str, *, micros: bool) -> bytes:
        """Write the rows as a REST answer has them."""
        cells = self._cells(instrument, interval, micros=micros)
        columns: list[Column | bytes] = [b"["]
        for index, cell in enumerate(cells):
            bare = index in (0, 6, 8)
            columns += [cell, b","] if bare else [b'"', cell, b'",']
        return json_array(render([*columns, b'"0"],'], len(self)))

    def _cells(self, instrument: Instrument, interval: str, *, micros: bool) -> list[Column]:
        """The eleven columns of a k-line as text, from open time to taker quote volume."""
        scale = 1_000 if micros else 1
        closed = closes_of(interval, self.opened) * scale - 1
        prices = [decimal(self.rows[line], instrument.tick) for line in (OPEN, HIGH, LOW, CLOSE)]
        return [
            whole(self.opened * scale),
            *prices,
            decimal(self.rows[VOLUME], instrument.step),
            whole(closed),
            decimal(self.rows[QUOTE], instrument.quote_unit),
            whole(self.rows[COUNT]),
            decimal(self.rows[TAKER], instrument.step),
            decimal(self.rows[TAKER_QUOTE], instrument.quote_unit),
        ]


EMPTY = Candles(np.zeros((10, 0), dtype=np.int64))


def joined(parts: Iterable[Candles]) -> Candles:
    """Put tables one after the other."""
    return Candles(np.concatenate([EMPTY.rows, *(part.rows for part in parts)], axis=1))
