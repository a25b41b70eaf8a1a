"""What is known of rows before they are read, and the close times that must agree with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ares_notebook.errors import BadAnswer
from ares_notebook.model.intervals import GRID_ORIGIN_MS, INTERVALS
from ares_notebook.model.timestamps import MICROSECONDS_FROM

__all__ = ["ANY", "Expected", "on_grid"]

_Int64s = npt.NDArray[np.int64]

# A candle of September 2017 closes a millisecond late.
_LATEST_CLOSE_MS = 1
# That of months is longer than all others.
_LENGTHS_MS = frozenset(INTERVALS.values()) - {0}


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of the rows of a block before they are read."""

    # Of candles; None where nobody knows it, or the rows are none.
    interval: str | None = None
    # How many columns each row has; None where the first row tells.
    width: int | None = None
    # The number of the first row, for errors.
    first: int = 1
    # What such a number counts: lines of a file, or rows of a page.
    unit: str = "line"

    def place(self, at: int) -> str:
        """The row *at* of the block, counted from 0, in words."""
        return f"{self.unit} {self.first + at}"

    def check_closes(self, opens_us: _Int64s, closes: _Int64s, origin: str) -> None:
        """
        Refuse candles of another interval than the one that was asked for.

        A halt cuts single candles short (in old files the close time may even lie before the open
        time), so most of them must be as long as the interval. A candle that is alone must not be
        longer, nor just as long as those of another interval.
        """
        if self.interval is None or not len(opens_us):
            return
        lengths = _lengths_ms(opens_us, closes)
        wanted = _wanted_ms(self.interval, opens_us // 1000)
        fits = lengths == wanted
        if len(lengths) > 1:
            is_sound = 2 * int(np.count_nonzero(fits)) >= len(lengths)
        else:
            is_longer = lengths[0] > wanted[0] + _LATEST_CLOSE_MS
            is_sound = bool(fits[0]) or not (is_longer or lengths[0] in _LENGTHS_MS)
        if not is_sound:
            at = int(np.argmin(fits))
            msg = (
                f"{origin} has candles that were not asked for: that in {self.place(at)} is "
                f"{lengths[at] / 1000:,.3f} seconds long, not {self.interval}; nothing is stored, run again later"
            )
            raise BadAnswer(msg)


ANY = Expected()
"""Nothing is known beforehand."""


def on_grid(interval: str, opens_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Mark those of the open times that are on Binance's grid."""
    if interval == "1M":
        months = opens_ms.astype("datetime64[ms]").astype("datetime64[M]")
        since_open: npt.NDArray[np.int64] = opens_ms - months.astype("datetime64[ms]").astype(int)
    else:
        since_open = (opens_ms - GRID_ORIGIN_MS.get(interval, 0)) % INTERVALS[interval]
    return np.equal(since_open, 0)


def _lengths_ms(opens_us: _Int64s, closes: _Int64s) -> _Int64s:
    """How long each candle is, from its open time to the end of its last unit of time."""
    ends_us = np.where(closes >= MICROSECONDS_FROM, closes + 1, (closes + 1) * 1000)
    # A close time in microseconds may be written to the millisecond.
    lengths: _Int64s = -((opens_us - ends_us) // 1000)
    return lengths


def _wanted_ms(interval: str, opens_ms: _Int64s) -> _Int64s:
    """How long each candle is to be; months differ."""
    if interval != "1M":
        return np.full(len(opens_ms), INTERVALS[interval], np.int64)
    months = opens_ms.astype("datetime64[ms]").astype("datetime64[M]")
    ends: _Int64s = (months + 1).astype("datetime64[ms]").astype(np.int64)
    return ends - opens_ms
