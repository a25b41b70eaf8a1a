"""The circuit breaker of a run: a host that fails again and again is not asked for a while."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

from ares_notebook.errors import (
    DataError,
    Forbidden,
    HostResting,
    ServerFault,
    TransportError,
    Unreachable,
)
from ares_notebook.model.hosts import is_loopback
from ares_notebook.runtime.progress import count

_REST_SECONDS = 60.0
_WITHOUT_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class _Needed(NamedTuple):
    """Failures alike, without an answer between them, after which a host rests."""

    tries: int
    # A single one may fail alone, but for a firewall or a line that is down.
    addresses: int
    seconds: float


# By what happens, and whether the host has answered in this run: then it may soon be back.
_NEEDED = {
    ("no connection", False): _Needed(2, 1, 3.0),
    ("no connection", True): _Needed(2, 1, 30.0),
    ("forbidden", False): _Needed(2, 1, 3.0),
    ("forbidden", True): _Needed(4, 3, 30.0),
    ("fault", False): _Needed(4, 3, 3.0),
    ("fault", True): _Needed(4, 3, 30.0),
}


@dataclass(slots=True)
class _Streak:
    """The failures of one host since its last answer, as long as they are alike."""

    kind: str
    since: float
    tries: int = 0
    addresses: set[str] = field(default_factory=set)
    rests_until: float = 0.0
    why: str = ""


class Breaker:
    """
    Stops requests to a host that fails again and again.

    A host rests for a minute when nothing but failures of one kind came from it, as many and for as
    long as `_NEEDED` says. Where one host rests and none has answered, the next without a connection
    rests at once. After the minute one try may show that the host is back.
    """

    def __init__(self) -> None:
        self._streaks: dict[str, _Streak] = {}
        self._answering: set[str] = set()

    @asynccontextmanager
    async def watching(self, host: str, url: str) -> AsyncIterator[None]:
        """One try inside; raises before it if the host rests, and after it if it does from now on."""
        streak = self._streaks.get(host)
        if streak is not None and time.monotonic() < streak.rests_until:
            raise HostResting(streak.why, url)
        try:
            yield
        except ServerFault as error:
            self._failed(host, url, error)
            raise
        except (TransportError, DataError):
            # It is an answer.
            self._answered(host)
            raise
        self._answered(host)

    @property
    def has_answers(self) -> bool:
        """Whether any host has answered."""
        return bool(self._answering)

    @property
    def resting(self) -> dict[str, str]:
        """The hosts that rest now, and why."""
        now = time.monotonic()
        return {host: each.why for host, each in self._streaks.items() if now < each.rests_until}

    def rest(self, hosts: Mapping[str, str]) -> None:
        """Let *hosts* rest that another process found to fail, unless they answered here."""
        now = time.monotonic()
        for host, why in hosts.items():
            if host not in self._answering and host not in self._streaks:
                rests_until = now + _REST_SECONDS
                self._streaks[host] = _Streak("fault", now, rests_until=rests_until, why=why)

    def is_suspect(self, host: str) -> bool:
        """Whether it has rested, and has not answered since: it gets one try a request."""
        streak = self._streaks.get(host)
        return streak is not None and bool(streak.rests_until)

    def _answered(self, host: str) -> None:
        """Forget the failures of a host."""
        self._answering.add(host)
        self._streaks.pop(host, None)

    def _failed(self, host: str, url: str, error: ServerFault) -> None:
        """Count a failed try; raise if the host rests from now on."""
        now, kind = time.monotonic(), _kind(error)
        streak = self._streaks.get(host)
        if streak is None or (streak.kind != kind and not streak.rests_until):
            streak = self._streaks[host] = _Streak(kind, now)
        streak.tries += 1
        streak.addresses.add(url)
        count()
        if not self._is_enough(host, streak, now):
            return
        streak.rests_until = now + _REST_SECONDS
        streak.why = streak.why or self._why(host, error)
        raise HostResting(streak.why, url) from error

    def _is_enough(self, host: str, streak: _Streak, now: float) -> bool:
        if streak.rests_until:
            return True
        if streak.kind == "no connection" and not self._answering:
            # With the words for the first such host, so that all requests fail for one reason.
            streak.why = next(filter(None, (each.why for each in self._streaks.values())), "")
            if streak.why:
                return True
        needed = _NEEDED[streak.kind, host in self._answering]
        reached = _Needed(streak.tries, len(streak.addresses), now - streak.since)
        return all(has >= wants for has, wants in zip(reached, needed, strict=True))

    def _why(self, host: str, error: ServerFault) -> str:
        """The same words for all requests of the host, so that a report has one line of them."""
        name = host.partition(" ")[0]
        cause = " ".join(str(error.__cause__).split())[:200] if error.__cause__ else ""
        if isinstance(error, Unreachable):
            others = "" if self._answering else ", and no other host has answered"
            said = f"{name} cannot be reached{cause and f' ({cause})'}{others}"
            remedy = "check the connection, the DNS and the proxy"
            if is_loopback(name.rpartition(":")[0] or name):
                remedy = (
                    "start the server there; a demo exchange answers inside its `with` block only"
                )
        else:
            said = f"{name} refuses what is asked of it (the last time: {error})"
            remedy = "it may pass"
        return f"{said}; this run does not ask it again for a minute: {remedy}, then run again: what is done is kept"


def _kind(error: ServerFault) -> str:
    if isinstance(error, Forbidden):
        return "forbidden"
    return "no connection" if isinstance(error.__cause__, _WITHOUT_CONNECTION) else "fault"
