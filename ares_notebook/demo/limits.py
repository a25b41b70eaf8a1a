"""How much an address may ask for, and what happens to one that asks for more."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["ok", "slow_down", "banned"]

_PATIENCE = 3
"""Requests after the first refusal that turn it into a ban."""


@dataclass(slots=True)
class WeightCounter:
    """Request weight of one address, in windows that start at multiples of their length."""

    # Weight that a window holds.
    limit: int
    # Length of a window.
    seconds: int
    used: int = 0
    # Weight of every window there was, by its start in seconds since the epoch.
    spent: dict[int, int] = field(default_factory=dict)
    _window: int = -1
    _refused: int = 0
    _banned_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def charge(self, weight: int, now_s: float) -> Verdict:
        """Spend *weight*, unless the window has no room for it."""
        with self._lock:
            return self._charge(weight, now_s)

    def _charge(self, weight: int, now_s: float) -> Verdict:
        """The same, undisturbed by other threads."""
        self._turn_to(now_s)
        if now_s < self._banned_until:
            return "banned"
        if self.used + weight <= self.limit:
            self._add(weight)
            return "ok"
        self._refused += 1
        if self._refused <= _PATIENCE:
            return "slow_down"
        # To the end of the next window: longer than a client that only minds windows waits.
        self._banned_until = float((self._window + 2) * self.seconds)
        return "banned"

    def spend(self, weight: int, now_s: float) -> None:
        """Use weight up without asking, as another program at the same address would."""
        with self._lock:
            self._turn_to(now_s)
            self._add(weight)

    def wait_s(self, now_s: float) -> float:
        """Seconds until the window ends, or the ban."""
        self._turn_to(now_s)
        return max((self._window + 1) * self.seconds, self._banned_until) - now_s

    def banned_until_ms(self) -> int:
        """End of the ban, ms since the epoch."""
        return int(self._banned_until * 1_000)

    def _add(self, weight: int) -> None:
        """Spend weight of the current window."""
        self.used += weight
        self.spent[self._window * self.seconds] = self.used

    def _turn_to(self, now_s: float) -> None:
        """Begin a new window if the old one is over; a thread that read the time earlier is late."""
        window = int(now_s // self.seconds)
        if window > self._window:
            self._window, self.used, self._refused = window, 0, 0
