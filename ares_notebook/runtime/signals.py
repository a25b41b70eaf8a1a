"""The signals that end a program: SIGINT, as by Ctrl-C, and SIGTERM, as by schedulers and shutdowns."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

__all__ = ["STOPPED", "answered", "leave", "status_of", "terminable", "told", "waited_for"]

STOPPED = "Stopped. What is done is kept; run the same command to go on."
_IS_TOLD = "_is_told_by_ares"
_LOOK_UP_SECONDS = 0.2


@contextmanager
def answered(answer: Callable[[int], object]) -> Iterator[None]:
    """
    Call *answer* with the number of a signal that strikes inside, in place of what it did before.
    """
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each, handler in before.items():
        # A shell has the programs that it starts in the background ignore its Ctrl-C.
        if handler is not signal.SIG_IGN:
            signal.signal(each, lambda number, _: answer(number))
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def leave(number: int) -> None:
    """
    End the program here and now, with a way to go on.

    Nothing is unwound: an exception that is raised in the middle of an import is taken for an error
    of the module's, and one raised in a callback is shown and forgotten.
    """
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(status_of(number))


def status_of(number: int) -> int:
    """The exit status by which a shell tells that a signal ended a program."""
    return 128 + number


class _Terminated(KeyboardInterrupt):
    """SIGTERM has struck."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM interrupt what is inside, where it would end the program at once."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        # Somebody else listens to it.
        yield
        return

    def interrupt(*_: object) -> NoReturn:
        raise _Terminated

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def waited_for(event: threading.Event, seconds: float | None = None) -> bool:
    """
    Wait for *event*, and hear signals meanwhile; False if it has not come after *seconds*.

    Python hears a signal when a wait for a lock is broken off by it, and there are packages
    with which none is: Polars, once imported, has the system go on waiting (``SA_RESTART``).
    So a long wait is many short ones.
    """
    end = math.inf if seconds is None else time.monotonic() + seconds
    while not event.wait(min(_LOOK_UP_SECONDS, max(0.0, end - time.monotonic()))):
        if time.monotonic() >= end:
            return False
    return True


def told(error: KeyboardInterrupt, notes: Iterable[str]) -> None:
    """
    Have an interrupt say what was done, where nobody catches it, and not in which line it struck.

    Of SIGTERM this is said here and now, and the program ends as by SIGTERM.
    """
    for note in notes:
        error.add_note(note)
    if isinstance(error, _Terminated):
        _say("Terminated", error)
        os.kill(os.getpid(), signal.SIGTERM)
    elif sys.excepthook is sys.__excepthook__:
        # Elsewhere, as in a notebook, somebody shows errors in his own way, notes included.
        sys.excepthook = _show
    vars(error)[_IS_TOLD] = True


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if vars(error).get(_IS_TOLD):
        _say("Interrupted", error)
    else:
        sys.__excepthook__(kind, error, trace)


def _say(what: str, error: BaseException) -> None:
    sys.stderr.write("\n".join([what, *getattr(error, "__notes__", ()), ""]))
