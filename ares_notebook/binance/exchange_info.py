"""What the exchange says of itself: its clock, its symbols, its limits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ares_notebook.binance.rate_limit import Limit
from ares_notebook.errors import BadAnswer

__all__ = ["Info", "Listing", "read_info", "read_time"]

_INTERVAL_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}
# The exchange opened in July 2017; a clock that says otherwise is none.
_EARLIEST_MS, _LATEST_MS = 1_498_867_200_000, 4_102_444_800_000
# What says that trading is over, for a while or for good; any other word says nothing of it.
_OVER = ("BREAK", "SETTLING", "DELIVERING", "DELIVERED", "CLOSE", "PRE_SETTLE")
_FOREIGN = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the exchange says of one symbol today."""

    # Whether its status says that trading is over; a halt is not.
    is_over: bool
    # When the contract was listed; spot does not tell.
    onboard_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """An answer of ``exchangeInfo``, as far as we need it."""

    symbols: dict[str, Listing]
    # Request weight, and the seconds in which it may be used.
    limit: Limit | None
    # The exchange's clock.
    server_ms: int | None = None


def read_time(body: bytes) -> int:
    """The exchange's clock, in milliseconds since the epoch."""
    try:
        now_ms = int(json.loads(body)["serverTime"])
    except _FOREIGN as error:
        raise BadAnswer(_unexpected("its time", body)) from error
    if not _is_moment(now_ms):
        raise BadAnswer(_unexpected("its time", body))
    return now_ms


def read_info(body: bytes) -> Info:
    """Symbols and limits of an ``exchangeInfo``."""
    try:
        answer = json.loads(body)
        symbols = {str(each["symbol"]): _listing(each) for each in answer["symbols"]}
        limits = [_limit(rule) for rule in answer["rateLimits"]]
    except _FOREIGN as error:
        raise BadAnswer(_unexpected("its symbols and limits", body)) from error
    server_ms = answer.get("serverTime")
    told_ms = server_ms if isinstance(server_ms, int) and _is_moment(server_ms) else None
    return Info(symbols, next(filter(None, limits), None), told_ms)


def _listing(symbol: dict[str, Any]) -> Listing:
    """A symbol's status and dates, as far as they are such."""
    onboard_ms = symbol.get("onboardDate")
    is_known = isinstance(onboard_ms, int) and _is_moment(onboard_ms)
    return Listing(symbol.get("status") in _OVER, onboard_ms if is_known else None)


def _is_moment(ms: int) -> bool:
    return _EARLIEST_MS <= ms < _LATEST_MS


def _limit(rule: dict[str, Any]) -> tuple[int, float] | None:
    if rule["rateLimitType"] != "REQUEST_WEIGHT":
        return None
    weight = int(rule["limit"])
    seconds = _INTERVAL_SECONDS[rule["interval"]] * int(rule["intervalNum"])
    return (weight, float(seconds)) if weight > 0 and seconds > 0 else None


def _unexpected(what: str, body: bytes) -> str:
    return f"the exchange was asked for {what}, and something else came: {body[:80]!r}"
