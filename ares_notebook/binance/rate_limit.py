"""The rate limit of a host, and the time on its clock, read off its own answers."""

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

# The exchange opened in July 2017; a clock that says otherwise is none.
EARLIEST_MS = 1_498_867_200_000


class ExchangeClock:
    """
    What time it is, never later than the exchange says.

    A clock of this machine that is fast would take a candle that is still open for closed. Each
    answer of the API carries a time, so that to know better costs no request.
    """

    def __init__(self) -> None:
        # The exchange's time minus that of a clock which nobody can set: the two earliest claims.
        self._ahead_ms: list[float] = []

    def hear(self, exchange_ms: float) -> None:
        """
        Learn from an answer; of several that disagree the second earliest counts.

        So one answer that is wrong, such as of a cache between, stops nothing.
        """
        if exchange_ms >= EARLIEST_MS:
            self._ahead_ms = sorted([*self._ahead_ms, exchange_ms - _steady_ms()])[:2]

    def hear_headers(self, headers: Mapping[str, str]) -> None:
        """The same from the ``Date`` of an answer, which is cut to the second."""
        moment = date_of(headers)
        if moment is not None:
            self.hear(to_ms(moment))

    def now_ms(self) -> int:
        """Now, in milliseconds since the epoch; by the clock of this machine until one has been heard."""
        ours_ms = time.time() * 1000
        if not self._ahead_ms:
            return int(ours_ms)
        return int(min(ours_ms, _steady_ms() + self._ahead_ms[-1]))


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """
    When an answer was made, as its ``Date`` tells, to the second; None where it tells nothing.
    """
    try:
        moment = parsedate_to_datetime(headers.get("Date", ""))
        # One of no zone is UTC [RFC 5322, 3.3].
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _steady_ms() -> float:
    return time.monotonic() * 1000


Limit = tuple[int, float]
"""A weight, and in how many seconds it may be spent."""

# More digits than any limit has are no weight; Python refuses to read thousands of them.
_WEIGHT = re.compile(r"[0-9]{1,9}")
_USED_HEADER = re.compile(r"x-mbx-used-weight-\d+[smhd]", re.IGNORECASE)
# A sleeping loop cannot be interrupted; it wakes each second.
_LONGEST_SLEEP_SECONDS = 1.0
# What others have spent is told by the next answer only. All that a program has sent
# since may go beyond its share, and so may what the other programs have: at 0.8 of
# the limit, four that begin a window at once do not exceed it.
_UNHEARD_SHARE = 0.05
_UNHEARD_PROGRAMS = 4


@dataclass(slots=True)
class Budget:
    """
    The allowance of one host.

    Belongs to one event loop, like the session that uses it.
    """

    # Weight per window that the host allows; None for no limit (the archive).
    limit: int | None
    # Windows are counted from the epoch, on the host's clock.
    window_seconds: float = 60.0
    # The part of the limit that we allow ourselves. The rest is for what other programs on this IP
    # spend between two of our answers; not more than a twentieth of the limit, or one request, is
    # asked before the host has told of it.
    share: float = 0.8
    # Whether the host's header speaks of this budget; else we count ourselves.
    is_told: bool = True
    # How many programs ask from this address, this one included. What no answer tells is divided by
    # them: a budget of which the header does not speak, and what more than four may ask unheard.
    shared_by: int = 1
    _used: int = 0
    _pending: int = 0
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _window: int = 0
    _paused_until: float = 0.0
    # Host's clock minus one of ours that nobody can set. `Date` is cut to the second, so the largest
    # difference seen is the nearest to the truth, and never beyond it.
    _ahead_seconds: float = field(default=float("-inf"))

    @asynccontextmanager
    async def spending(self, weight: int) -> AsyncIterator[None]:
        """Wait until *weight* may be spent, and hold it until the answer tells the new sum."""
        while (seconds := self.wait_seconds(weight)) > 0:
            self._settled.clear()
            # To wait for the host is to be at work.
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
        """How long the host still wants no request."""
        return max(0.0, self._paused_until - time.monotonic())

    def wait_seconds(self, weight: int) -> float:
        """How long to wait before *weight* may be spent, if nothing is heard before; 0 for now."""
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
        own = self.share if self.is_told else self.share / self.shared_by
        is_within = self._used + self._pending + weight <= self.limit * own
        unheard = _UNHEARD_SHARE * min(1.0, _UNHEARD_PROGRAMS / self.shared_by)
        # With nothing under way there is nothing to be heard first.
        is_heard = not self._pending or self._pending + weight <= self.limit * unheard
        if is_within and is_heard:
            return 0.0
        return (self._window + 1) * self.window_seconds - now

    def allow(self, limit: int, window_seconds: float) -> None:
        """Take limit and window from the host's own words."""
        if window_seconds != self.window_seconds:
            # Windows are numbered by their length; what was used is not known anew.
            self._window = int(self._host_seconds() // window_seconds)
        self.limit, self.window_seconds = limit, window_seconds

    def learn(self, headers: Mapping[str, str], weight: int) -> None:
        """Learn from an answer what has been used; without the header, count ourselves."""
        names = (name for name in headers if self.is_told and _USED_HEADER.fullmatch(name))
        told = next((headers[name] for name in names), "")
        # Until a first answer the windows are those of our clock, which may be ahead.
        is_first = self._ahead_seconds == float("-inf")
        window = self._window_of(headers)
        if window > self._window or (is_first and window < self._window):
            self._window, self._used = window, 0
        if not _WEIGHT.fullmatch(told):
            self._used += weight
        elif window == self._window:
            # Answers overtake each other; the largest sum is the newest.
            self._used = max(self._used, int(told))

    def pause(self, seconds: float) -> None:
        """Let nobody ask this host for *seconds*: it said ``Retry-After``."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _window_of(self, headers: Mapping[str, str]) -> int:
        moment = date_of(headers)
        if moment is None:
            return self._window
        host_seconds = moment.timestamp()
        self._ahead_seconds = max(self._ahead_seconds, host_seconds - time.monotonic())
        return int(host_seconds // self.window_seconds)

    def _host_seconds(self) -> float:
        ahead = self._ahead_seconds
        return time.monotonic() + ahead if ahead > float("-inf") else time.time()
