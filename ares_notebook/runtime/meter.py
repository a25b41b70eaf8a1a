"""What a piece of work has asked and received; every task inherits its starter's meter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["Meter", "count", "metered"]


@dataclass(slots=True)
class Meter:
    """
    A running count, of all that is done inside `metered`; a meter inside another adds to both.
    """

    # So far; tries counted.
    requests: int = 0
    bytes_received: int = 0
    # Tries after a failed one.
    retries: int = 0
    # Answers 429 and 418.
    rate_limited: int = 0
    # Rows that are new in the cache.
    rows: int = 0
    # Called after each change, without arguments.
    on_change: Callable[[], None] | None = None
    _around: Meter | None = field(default=None, init=False, repr=False, compare=False)


_METER: ContextVar[Meter | None] = ContextVar("ares_meter", default=None)


@contextmanager
def metered(meter: Meter) -> Iterator[Meter]:
    """Count on *meter* what is asked inside, tasks started there included."""
    meter._around = _METER.get()  # noqa: SLF001 - same module
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def count(
    *,
    requests: int = 0,
    bytes_received: int = 0,
    retries: int = 0,
    rate_limited: int = 0,
    rows: int = 0,
) -> None:
    """So much more has been asked, received or written; nothing more, but the work goes on: it waits."""
    meter = _METER.get()
    while meter is not None:
        meter.requests += requests
        meter.bytes_received += bytes_received
        meter.retries += retries
        meter.rate_limited += rate_limited
        meter.rows += rows
        if meter.on_change:
            meter.on_change()
        meter = meter._around  # noqa: SLF001 - same module
