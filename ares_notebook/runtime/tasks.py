"""Threads for work of the CPU, questions that are asked once, results in order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Generic, ParamSpec, TypeVar

_T = TypeVar("_T")


class Memoized(Generic[_T]):
    """
    Answers by key; the first who needs one asks, the others wait for it.

    A lock a key, not a task: if the one who asks is cancelled, the next asks, and
    nothing is left running behind.
    """

    def __init__(self) -> None:
        self._locks: dict[Hashable, asyncio.Lock] = {}
        self._answers: dict[Hashable, _T] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[_T]]) -> _T:
        """The answer for *key*, from ``ask()`` if nobody has it yet."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._answers:
                self._answers[key] = await ask()
            return self._answers[key]

    def pop(self, key: Hashable) -> _T | None:
        """Forget the answer for *key*, and return it; None if there was none."""
        self._locks.pop(key, None)
        return self._answers.pop(key, None)

    def has(self, key: Hashable) -> bool:
        """Whether the answer for *key* is there."""
        return key in self._answers


async def in_order(calls: Iterable[Callable[[], Awaitable[_T]]], ahead: int) -> AsyncIterator[_T]:
    """
    Run *calls* with up to *ahead* under way, and yield their results in order.

    Memory is bounded by *ahead*, not by the number of calls. When the reader stops or a call fails,
    those under way are cancelled and waited for.
    """
    waiting: deque[asyncio.Future[_T]] = deque()
    source = iter(calls)
    try:
        while True:
            while len(waiting) < ahead and (call := next(source, None)) is not None:
                waiting.append(asyncio.ensure_future(call()))
            if not waiting:
                return
            result = await waiting[0]
            waiting.popleft()
            yield result
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


_P = ParamSpec("_P")
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
