"""Limits of request weight: the counters, and the responses beyond the limit."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ares_notebook.demo.server import Response, error
from ares_notebook.demo.symbols import Product

Account = Literal["spot", "um", "cm", "funding", "statistics"]
Verdict = Literal["ok", "slow_down", "banned"]

_REFUSALS_BEFORE_BAN = 3
_LIMITS: dict[Account, int] = {"spot": 6_000, "um": 2_400, "cm": 2_400}
# Requests of these are counted apart, and show the weight of the others of USD-M.
_POOL_SECONDS = 300
_POOLS: dict[Account, int] = {"funding": 500, "statistics": 1_000}


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
    banned_until_s: float = 0.0
    _window: int = -1
    _refused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def charge(self, weight: int, now_s: float) -> Verdict:
        """Spend *weight*, unless the window has no room for it."""
        with self._lock:
            self._begin_window(now_s)
            if now_s < self.banned_until_s:
                return "banned"
            if self.used + weight <= self.limit:
                self._add(weight)
                return "ok"
            self._refused += 1
            if self._refused <= _REFUSALS_BEFORE_BAN:
                return "slow_down"
            # To the end of the next window: longer than a client that only minds windows waits.
            self.banned_until_s = float((self._window + 2) * self.seconds)
            return "banned"

    def spend(self, weight: int, now_s: float) -> None:
        """Spend *weight* without asking, as another program at the same address would."""
        with self._lock:
            self._begin_window(now_s)
            self._add(weight)

    def end_window(self) -> None:
        """End the window, and a ban, as if their time had passed."""
        with self._lock:
            self.used, self._refused, self.banned_until_s = 0, 0, 0.0

    def wait_s(self, now_s: float) -> float:
        """Seconds until the window ends, or the ban."""
        self._begin_window(now_s)
        return max((self._window + 1) * self.seconds, self.banned_until_s) - now_s

    def _add(self, weight: int) -> None:
        """Add to the weight of the current window."""
        self.used += weight
        self.spent[self._window * self.seconds] = self.used

    def _begin_window(self, now_s: float) -> None:
        """Begin a new window if the old one is over; a thread may come with an earlier time."""
        window = int(now_s // self.seconds)
        if window > self._window:
            self._window, self.used, self._refused = window, 0, 0


class RateLimiter:
    """The weight counters of all accounts."""

    def __init__(self, limit: int | None, window_seconds: int) -> None:
        self.counters: dict[Account, WeightCounter] = {
            **{
                each: WeightCounter(limit or most, window_seconds) for each, most in _LIMITS.items()
            },
            **{pool: WeightCounter(most, _POOL_SECONDS) for pool, most in _POOLS.items()},
        }
        is_minute = window_seconds == 60  # noqa: PLR2004 - seconds of a minute
        self._interval_number = 1 if is_minute else window_seconds
        self._interval = "MINUTE" if is_minute else "SECOND"

    def headers(self, account: Account) -> dict[str, str]:
        """The headers with the weight that is used."""
        used = str(self.counters["um" if account in _POOLS else account].used)
        suffix = f"{self._interval_number}{self._interval[0].lower()}"
        return {"x-mbx-used-weight": used, f"x-mbx-used-weight-{suffix}": used}

    def rate_limits(self, product: Product) -> list[dict[str, Any]]:
        """``rateLimits`` of ``exchangeInfo``."""
        weight = {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": self._interval,
            "intervalNum": self._interval_number,
            "limit": self.counters[product].limit,
        }
        raw = {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5}
        return [weight, {**raw, "limit": 300_000}] if product == "spot" else [weight]

    def charge(self, account: Account, weight: int, now_s: float) -> Response | None:
        """Spend *weight*, or return the response to a request beyond the limit."""
        counter = self.counters[account]
        # A pool counts requests.
        verdict = counter.charge(1 if account in _POOLS else weight, now_s)
        if verdict == "ok":
            return None
        banned_until_ms = int(counter.banned_until_s * 1_000)
        if account == "spot":
            window = f"{self._interval_number} {self._interval}"
            made = (
                banned(banned_until_ms) if verdict == "banned" else too_much(counter.limit, window)
            )
        elif verdict == "banned":
            text = f"Way too many requests; IP banned until {banned_until_ms}. "
            advice = "Please use the websocket for live updates to avoid bans."
            made = error(-1003, text + advice, 418)
        else:
            text = f"Too many requests; current limit is {counter.limit} requests per minute. "
            advice = "Please use the websocket for live updates to avoid polling the API."
            made = error(-1003, text + advice, 429)
        wait_s = max(1, math.ceil(counter.wait_s(now_s)))
        return replace(made, headers={"Retry-After": str(wait_s)}, weight=0)


def too_much(limit: int, window: str) -> Response:
    """The response of spot to a request beyond the limit."""
    text = f"Too much request weight used; current limit is {limit} request weight per {window}. "
    advice = "Please use WebSocket Streams for live updates to avoid polling the API."
    return error(-1003, text + advice, 429)


def banned(until_ms: int) -> Response:
    """The response of spot to a client that went on after that."""
    text = f"Way too much request weight used; IP banned until {until_ms}. "
    advice = "Please use WebSocket Streams for live updates to avoid bans."
    return error(-1003, text + advice, 418)
