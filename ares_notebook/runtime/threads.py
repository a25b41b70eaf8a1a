"""Work in threads, which nobody can cancel: how a task that is cancelled comes to its end with them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["cancellable", "check_cancelled", "uninterrupted"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_is_given_up: ContextVar[threading.Event | None] = ContextVar("_is_given_up", default=None)


class _GivenUp(BaseException):
    """Nobody waits for the work any more. No `Exception`: whoever bears errors must not bear this one."""


async def uninterrupted(function: Callable[_P, _T], *args: _P.args, **fields: _P.kwargs) -> _T:
    """
    Call *function* in a thread; a cancel meanwhile is heard when it has ended.

    For what must not be left halfway: who does not wait gives back the lock of a file that is still
    being put in its place.
    """
    return await _ended(partial(function, *args, **fields))


async def cancellable(function: Callable[_P, _T], *args: _P.args, **fields: _P.kwargs) -> _T:
    """
    Call *function* in a thread; a cancel meanwhile ends it where it next calls `check_cancelled`.

    For long work that may be left anywhere. The cancel is heard when it has ended.
    """
    is_given_up, context = threading.Event(), copy_context()
    context.run(_is_given_up.set, is_given_up)
    try:
        return await _ended(partial(context.run, partial(function, *args, **fields)), is_given_up)
    finally:
        is_given_up.set()


def check_cancelled() -> None:
    """
    End the work here if it is done for somebody who has been cancelled.

    Costs nothing to speak of; long work calls it with each file, block or check.
    """
    given_up = _is_given_up.get()
    if given_up is not None and given_up.is_set():
        raise _GivenUp


async def _ended(function: Callable[[], _T], is_given_up: threading.Event | None = None) -> _T:
    """Its result; a cancel sets the event, and is heard when it has ended."""
    # No task, which would be cancelled beside us when a loop ends.
    ending = asyncio.get_running_loop().run_in_executor(None, function)
    try:
        return await asyncio.shield(ending)
    except asyncio.CancelledError:
        if is_given_up is not None:
            is_given_up.set()
        # However often it is cancelled meanwhile.
        while not ending.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([ending])
        # Nobody hears of its error any more; asked for, it is not told as forgotten.
        ending.exception()
        raise
