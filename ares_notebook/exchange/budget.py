"""
Request weight: what a host still lets us ask, read off its own answers.

Binance counts weight per IP and minute. Its header ``X-MBX-USED-WEIGHT-1M`` tells
what *all* programs on this IP have used, so it is believed over our own count
[binance-spot-api-docs, rest-api.md, "Limits"].
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

__all__ = ["Budget"]

_USED_HEADER = re.compile(r"x-mbx-used-weight-\d+[smhd]", re.IGNORECASE)
# A sleeping loop cannot be interrupted; it wakes each second.
_LONGEST_SLEEP_SECONDS = 1.0


@dataclass(slots=True)
class Budget:
    """
    The allowance of one host.

    Belongs to one event loop, like the session that uses it.

    Parameters
    ----------
    limit : int, optional
        Weight per window that the host allows; None for no limit (the archive).
    window_seconds : float
        Windows are counted from the epoch, on the host's clock.
    share : float
        The part of the limit that we allow ourselves. The rest is for what other
        programs on this IP spend between two of our answers.
    is_told : bool
        Whether the host's header speaks of this budget; else we count ourselves.
    """

    limit: int | None
    window_seconds: float = 60.0
    share: float = 0.8
    is_told: bool = True
    _used: int = 0
    _pending: int = 0
    _window: int = 0
    _paused_until: float = 0.0
    # Host's clock minus ours. `Date` is cut to the second, so the largest
    # difference seen is the nearest to the truth, and never beyond it.
    _ahead_seconds: float = field(default=float("-inf"))

    @asynccontextmanager
    async def spending(self, weight: int) -> AsyncIterator[None]:
        """Wait until *weight* may be spent, and hold it until the answer tells the new sum."""
        # No event to wait for: the time of the next window is all there is.
        while (seconds := self.wait_seconds(weight)) > 0:  # noqa: ASYNC110 - see above
            await asyncio.sleep(min(seconds, _LONGEST_SLEEP_SECONDS))
        self._pending += weight
        try:
            yield
        finally:
            self._pending -= weight

    @property
    def paused_seconds(self) -> float:
        """How long the host still wants no request."""
        return max(0.0, self._paused_until - time.monotonic())

    def wait_seconds(self, weight: int) -> float:
        """How long to wait before *weight* may be spent; 0 for now."""
        if self.paused_seconds > 0:
            return self.paused_seconds
        if self.limit is None or weight == 0:
            return 0.0
        now = self._host_seconds()
        if now // self.window_seconds > self._window:
            self._window, self._used = int(now // self.window_seconds), 0
        # One request alone always goes, or a small limit would wait for ever.
        if self._used + self._pending == 0:
            return 0.0
        if self._used + self._pending + weight <= self.limit * self.share:
            return 0.0
        return (self._window + 1) * self.window_seconds - now

    def allow(self, limit: int, window_seconds: float) -> None:
        """Take limit and window from the host's own words."""
        if window_seconds != self.window_seconds:
            # Windows are numbered by their length; what was used is not known anew.
            self._window = int(self._host_seconds() // window_seconds)
        self.limit, self.window_seconds = limit, window_seconds

    def heed(self, headers: Mapping[str, str], weight: int) -> None:
        """Learn from an answer what has been used; without the header, count ourselves."""
        names = (name for name in headers if self.is_told and _USED_HEADER.fullmatch(name))
        told = next((headers[name] for name in names), "")
        window = self._window_of(headers.get("Date", ""))
        if window > self._window:
            self._window, self._used = window, 0
        if not told.isdecimal():
            self._used += weight
        elif window == self._window:
            # Answers overtake each other; the largest sum is the newest.
            self._used = max(self._used, int(told))

    def pause(self, seconds: float) -> None:
        """Let nobody ask this host for *seconds*: it said ``Retry-After``."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _window_of(self, date: str) -> int:
        try:
            host_seconds = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return self._window
        self._ahead_seconds = max(self._ahead_seconds, host_seconds - time.time())
        return int(host_seconds // self.window_seconds)

    def _host_seconds(self) -> float:
        ahead = self._ahead_seconds
        return time.time() + (ahead if ahead > float("-inf") else 0.0)
