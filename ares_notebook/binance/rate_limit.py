"""The rate limit and the clock of a host, taken from its answers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ares_notebook.model.time import to_ms
from ares_notebook.runtime.progress import count

# The exchange opened in July 2017; an earlier time is an error.
EARLIEST_MS = 1_498_867_200_000


class ExchangeClock:
    """
    The current time, never later than the exchange says.

    By a fast clock of this machine a candle that is still open would be taken for closed.
    """

    def __init__(self) -> None:
        # The exchange's time minus the monotonic clock: the two smallest differences.
        self._ahead_ms: list[float] = []

    @property
    def is_heard(self) -> bool:
        """Whether an answer has told the exchange's time."""
        return bool(self._ahead_ms)

    def hear(self, exchange_ms: float) -> None:
        """Learn from an answer; the second earliest counts, so one wrong answer has no effect."""
        if exchange_ms >= EARLIEST_MS:
            self._ahead_ms = sorted([*self._ahead_ms, exchange_ms - _steady_ms()])[:2]

    def hear_headers(self, headers: Mapping[str, str]) -> None:
        """Learn from the ``Date`` of an answer, which has a resolution of a second."""
        moment = date_of(headers)
        if moment is not None:
            self.hear(to_ms(moment))

    def now_ms(self) -> int:
        """Now, in milliseconds since the epoch; by this machine's clock before the first answer."""
        ours_ms = time.time() * 1000
        if not self._ahead_ms:
            return int(ours_ms)
        return int(min(ours_ms, _steady_ms() + self._ahead_ms[-1]))


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The ``Date`` of an answer; None where it has none."""
    try:
        moment = parsedate_to_datetime(headers.get("Date", ""))
        # Without a zone it is UTC [RFC 5322, 3.3].
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _steady_ms() -> float:
    return time.monotonic() * 1000


Limit = tuple[int, float]
"""A request weight, and the seconds in which it may be spent."""

# A weight of more digits is invalid; Python refuses to parse thousands of them.
_WEIGHT = re.compile(r"[0-9]{1,9}")
_USED_HEADER = re.compile(r"x-mbx-used-weight-\d+[smhd]", re.IGNORECASE)
# A kernel's stop button takes effect only when the loop wakes.
_LONGEST_SLEEP_SECONDS = 1.0
# The share of the limit that may be pending: what other programs have spent shows only in the next
# answer. At 0.8 of the limit, four programs that begin a window at once do not exceed it.
_PENDING_SHARE = 0.05
_PENDING_PROGRAMS = 4


@dataclass(slots=True)
class Budget:
    """The request weight that may be spent at one host, by one event loop."""

    # Weight per window; None for no limit (the archive).
    limit: int | None
    # Windows are counted from the epoch, on the host's clock.
    window_seconds: float = 60.0
    # The part of the limit that is used; the rest is for what other programs at this IP address spend
    # between two answers.
    share: float = 0.8
    # Whether the host's header shows what is used; else only own requests are counted.
    is_reported: bool = True
    # The number of programs at this IP address. They divide a budget that no header shows, and more
    # than four also divide the weight that may be pending.
    shared_by: int = 1
    _used: int = 0
    _pending: int = 0
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _window: int = 0
    _paused_until: float = 0.0
    # The host's clock minus the monotonic clock. `Date` is rounded down to the second, so the largest
    # difference is the most accurate.
    _ahead_seconds: float = field(default=float("-inf"))

    @asynccontextmanager
    async def spending(self, weight: int) -> AsyncIterator[None]:
        """Wait until *weight* may be spent; it is pending while the context is open."""
        while (seconds := self.wait_seconds(weight)) > 0:
            self._settled.clear()
            # Shows that the work goes on.
            count()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, _LONGEST_SLEEP_SECONDS)):
                    await self._settled.wait()
        self._pending += weight
        try:
            yield
        finally:
            self._pending -= weight
            self._settled.set()

    @property
    def paused_seconds(self) -> float:
        """How long no request may be sent, after a ``Retry-After`` or during a ban."""
        return max(0.0, self._paused_until - time.monotonic())

    def wait_seconds(self, weight: int) -> float:
        """How long to wait before *weight* may be spent, unless an answer comes earlier."""
        if self.paused_seconds > 0:
            return self.paused_seconds
        if self.limit is None or weight == 0:
            return 0.0
        now = self.host_seconds
        if now // self.window_seconds > self._window:
            self._window, self._used = int(now // self.window_seconds), 0
        # A single request is always allowed, or a small limit would block for ever.
        if self._used + self._pending == 0:
            return 0.0
        own = self.share if self.is_reported else self.share / self.shared_by
        is_within = self._used + self._pending + weight <= self.limit * own
        pending = _PENDING_SHARE * min(1.0, _PENDING_PROGRAMS / self.shared_by)
        may_be_pending = not self._pending or self._pending + weight <= self.limit * pending
        if is_within and may_be_pending:
            return 0.0
        return (self._window + 1) * self.window_seconds - now

    def allow(self, limit: int, window_seconds: float) -> None:
        """Apply the limit and the window that the host has stated."""
        if window_seconds != self.window_seconds:
            # The number of a window depends on its length; the used weight stays.
            self._window = int(self.host_seconds // window_seconds)
        self.limit, self.window_seconds = limit, window_seconds

    def learn(self, headers: Mapping[str, str], weight: int) -> None:
        """Learn from an answer what has been used; without the header, add *weight*."""
        names = (name for name in headers if self.is_reported and _USED_HEADER.fullmatch(name))
        used = next((headers[name] for name in names), "")
        # Before the first answer windows are those of this machine's clock, which may be fast.
        is_first = self._ahead_seconds == float("-inf")
        window = self._window_of(headers)
        if window > self._window or (is_first and window < self._window):
            self._window, self._used = window, 0
        if not _WEIGHT.fullmatch(used):
            self._used += weight
        elif window == self._window:
            # Answers may arrive out of order; the largest sum is the newest.
            self._used = max(self._used, int(used))

    def pause(self, seconds: float) -> None:
        """Send no request for *seconds*."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _window_of(self, headers: Mapping[str, str]) -> int:
        moment = date_of(headers)
        if moment is None:
            return self._window
        host_seconds = moment.timestamp()
        self._ahead_seconds = max(self._ahead_seconds, host_seconds - time.monotonic())
        return int(host_seconds // self.window_seconds)

    @property
    def host_seconds(self) -> float:
        """The time by the host's clock, in seconds since the epoch; before its first answer by ours."""
        ahead = self._ahead_seconds
        return time.monotonic() + ahead if ahead > float("-inf") else time.time()
