"""How work in a thread learns that its caller was cancelled. Without asyncio, which is slow to import."""

from __future__ import annotations

import threading
from contextvars import ContextVar

CANCELLED: ContextVar[threading.Event | None] = ContextVar("ares_cancelled", default=None)
"""Set as soon as the caller of the work in this context is cancelled."""


class Cancelled(BaseException):
    """Ends cancelled work in a thread; no `Exception`, so that no handler of errors catches it."""


def check_cancelled() -> None:
    """End the work here if its caller was cancelled; cheap enough for each file, block or check."""
    cancelled = CANCELLED.get()
    if cancelled is not None and cancelled.is_set():
        raise Cancelled
