"""SIGINT and SIGTERM: answered while work goes on. Without asyncio, which is slow to import."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPED = "Stopped. What is done is kept; run the same command to go on."


@contextmanager
def answered(answer: Callable[[int], object]) -> Iterator[None]:
    """Call *answer* with the number of a SIGINT or SIGTERM inside, instead of its handler."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each, handler in before.items():
        # A shell makes background programs ignore Ctrl-C.
        if handler is not signal.SIG_IGN:
            signal.signal(each, lambda number, _: answer(number))
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def leave(number: int) -> None:
    """
    End the program at once, with a message.

    No exception is raised: during an import it would look like an error of the module, and in a
    callback it would be ignored.
    """
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(status_of(number))


def status_of(number: int) -> int:
    """The exit status of a program that a signal has ended."""
    return 128 + number


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived."""


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM raise an interrupt inside, unless it has a handler already."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
