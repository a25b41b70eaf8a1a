"""What a piece of work has asked and received; every task inherits its starter's meter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Meter", "count_bytes", "count_request", "metered"]


@dataclass(slots=True)
class Meter:
    """
    A running count.

    Parameters
    ----------
    requests, bytes_received : int
        So far.
    on_change : callable, optional
        Called after each change, without arguments.
    """

    requests: int = 0
    bytes_received: int = 0
    on_change: Callable[[], None] | None = None


_METER: ContextVar[Meter | None] = ContextVar("ares_meter", default=None)


@contextmanager
def metered(meter: Meter) -> Iterator[Meter]:
    """Count on *meter* what is asked inside, tasks started there included."""
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def count_request() -> None:
    """One more request has been sent."""
    meter = _METER.get()
    if meter is not None:
        meter.requests += 1
        if meter.on_change:
            meter.on_change()


def count_bytes(received: int) -> None:
    """More bytes have come in."""
    meter = _METER.get()
    if meter is not None:
        meter.bytes_received += received
        if meter.on_change:
            meter.on_change()
