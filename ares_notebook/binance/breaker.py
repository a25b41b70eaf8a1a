"""The circuit breaker of a run: a host that fails again and again is not asked for a while."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ares_notebook.errors import (
    DataError,
    Forbidden,
    HostResting,
    ServerFault,
    TransportError,
    Unreachable,
)
from ares_notebook.runtime.progress import count

__all__ = ["Breaker"]

# So long a host must have failed before it rests: a restart of a proxy takes less.
_PATIENCE_SECONDS = 3.0
# A single address that fails says nothing of the others.
_FEWEST_ADDRESSES, _FEWEST_TRIES = 3, 4
_REST_SECONDS = 60.0


@dataclass(slots=True)
class _Streak:
    """The failures of one host since its last answer."""

    since: float
    tries: int = 0
    addresses: set[str] = field(default_factory=set)
    rests_until: float = 0.0
    why: str = ""


class Breaker:
    """
    Tells of each host whether it may be asked.

    A host rests for a minute when it fails for three seconds: in two tries that did not reach it,
    where no host at all has answered in this run, in two that its firewall refused, or in four tries
    at three addresses. Where one
    rests and none has answered, the next that cannot be reached rests at once. Afterwards one try
    may show that it is back.
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
            # It is an answer, whatever it says.
            self._answered(host)
            raise
        self._answered(host)

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
        now = time.monotonic()
        streak = self._streaks.setdefault(host, _Streak(now))
        streak.tries += 1
        streak.addresses.add(url)
        count()
        if not self._is_enough(host, error, now - streak.since):
            return
        streak.rests_until = now + _REST_SECONDS
        streak.why = streak.why or _why(host, error)
        raise HostResting(streak.why, url) from error

    def _is_enough(self, host: str, error: ServerFault, seconds: float) -> bool:
        streak = self._streaks[host]
        if streak.rests_until:
            return True
        if isinstance(error, Unreachable):
            if host in self._answering:
                # A connection that has worked may come back: each request has all its tries.
                return False
            others = any(each.rests_until for each in self._streaks.values())
            return (others and not self._answering) or (
                streak.tries > 1 and seconds >= _PATIENCE_SECONDS
            )
        if isinstance(error, Forbidden):
            return streak.tries > 1 and seconds >= _PATIENCE_SECONDS
        is_many = streak.tries >= _FEWEST_TRIES and len(streak.addresses) >= _FEWEST_ADDRESSES
        return is_many and seconds >= _PATIENCE_SECONDS


def _why(host: str, error: ServerFault) -> str:
    """The same words for all requests of the host, so that a report has one line of them."""
    name = host.partition(" ")[0]
    cause = " ".join(str(error.__cause__).split())[:200] if error.__cause__ else ""
    if isinstance(error, Unreachable):
        said = f"{name} cannot be reached{cause and f' ({cause})'}"
        remedy = "check the connection, the DNS and the proxy"
    else:
        said = f"{name} refuses what is asked of it (the last time: {error})"
        remedy = "it may pass"
    return f"{said}; it is not asked again for a minute: {remedy}, then run again: what is done is kept"
