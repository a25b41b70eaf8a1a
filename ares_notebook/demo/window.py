"""Which rows of a list a request asks for: Binance's one rule for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOREVER_US = 1 << 62


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that a request wants; times in µs since the epoch, inclusive."""

    # No more rows than these.
    limit: int
    # With a start, the oldest rows from there; without, the newest up to the end.
    start_us: int | None = None
    end_us: int | None = None
    # Trades from this aggregate id on; comes without times.
    from_id: int | None = None

    @property
    def last_us(self) -> int:
        """The latest moment that is asked for."""
        return FOREVER_US if self.end_us is None else self.end_us

    @property
    def start_ms(self) -> int:
        """Start in milliseconds, rounded up: what opens before it is not asked for."""
        return -(-(self.start_us or 0) // 1_000)

    @property
    def end_ms(self) -> int:
        """End in milliseconds, rounded down."""
        return self.last_us // 1_000

    def rows(self, times_us: NDArray[np.int64], now_us: int) -> slice:
        """Choose from a whole list, given the times of its rows."""
        stop = int(np.searchsorted(times_us, min(self.last_us, now_us), side="right"))
        if self.start_us is None:
            return slice(max(stop - self.limit, 0), stop)
        start = int(np.searchsorted(times_us, self.start_us, side="left"))
        return slice(start, max(min(start + self.limit, stop), start))
