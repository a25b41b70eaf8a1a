"""What people are told of a run: an event, a line, and a body that says what to do."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from typing import NamedTuple

from ares_notebook.cache.run_log import Ending, Run
from ares_notebook.settings import Event

__all__ = ["Notification", "notification_of"]

# Who has cancelled a run knows that he has.
_EVENTS: dict[Ending, Event] = {
    "done": "finished",
    "incomplete": "finished",
    "failed": "failed",
    "below threshold": "below threshold",
    "differs": "below threshold",
}
_REMEDIES: dict[Ending, str] = {
    "incomplete": "Where rows are missing, and why: ares-notebook gaps {symbol} --cache-dir {folder}",
    "failed": "What is done is kept: run it again, and only the rest is asked for.\n"
    "What has happened before: ares-notebook runs --cache-dir {folder}",
    "below threshold": "To close gaps: ares-notebook repair {symbol} --cache-dir {folder}",
    "differs": "To take over what was replaced: ares-notebook audit --update --cache-dir {folder}",
}


class Notification(NamedTuple):
    """What `ares_notebook.runtime.notify.notify` is given before the settings."""

    event: Event
    title: str
    body: str


def notification_of(run: Run, words: str, folder: Path) -> Notification | None:
    """Tell of a run: what it was, how it ended, where, and what to do about it."""
    event = _EVENTS.get(run.ending)
    if event is None:
        return None
    what = " ".join(filter(None, [run.what, "of", run.symbol or "all", run.interval]))
    counts = f" ({run.failures} of {run.files} files)" if event == "failed" and run.files else ""
    place = folder.absolute()
    # The report comes last: a service that takes only so much cuts off the end.
    lines = [*filter(None, [run.error]), f"Cache: {place} on {socket.gethostname()}"]
    if run.ending in _REMEDIES:
        symbol = run.symbol.split(",")[0] or "SYMBOL"
        remedy = _REMEDIES[run.ending]
        lines.append(remedy.format(symbol=shlex.quote(symbol), folder=shlex.quote(str(place))))
    body = "\n\n".join([*lines, *([words] if words != run.error else [])])
    return Notification(event, f"ares-notebook: {what}: {run.ending}{counts}", body)
