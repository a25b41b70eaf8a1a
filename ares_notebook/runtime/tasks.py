"""Threads for CPU work, memoized requests, and results in order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Generic, ParamSpec, TypeVar

from ares_notebook.runtime.cancellation import CANCELLED

_T = TypeVar("_T")


class Memoized(Generic[_T]):
    """
    Results of asynchronous calls by key; concurrent callers wait for the first.

    It holds a lock by key, not a task: if the first caller is cancelled, the next one calls.
    """

    def __init__(self) -> None:
        self._locks: dict[Hashable, asyncio.Lock] = {}
        self._answers: dict[Hashable, _T] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[_T]]) -> _T:
        """The result for *key*, from ``ask()`` the first time."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._answers:
                self._answers[key] = await ask()
            return self._answers[key]

    def put(self, key: Hashable, answer: _T) -> None:
        """Keep a result that came otherwise."""
        self._answers[key] = answer

    def pop(self, key: Hashable) -> _T | None:
        """Remove and return the result for *key*; None without one."""
        self._locks.pop(key, None)
        return self._answers.pop(key, None)

    def has(self, key: Hashable) -> bool:
        """Whether there is a result for *key*."""
        return key in self._answers


async def in_order(calls: Iterable[Callable[[], Awaitable[_T]]], ahead: int) -> AsyncIterator[_T]:
    """
    Run up to *ahead* of *calls* concurrently, and yield their results in order.

    When the reader stops or a call fails, the running ones are cancelled and awaited.
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


def made_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same items, of which a thread makes the next one while one is worked on."""
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


_P = ParamSpec("_P")


async def uninterrupted(function: Callable[_P, _T], *args: _P.args, **fields: _P.kwargs) -> _T:
    """Call *function* in a thread; a cancel takes effect after its end, so no work is half done."""
    return await _completed(partial(function, *args, **fields))


async def cancellable(function: Callable[_P, _T], *args: _P.args, **fields: _P.kwargs) -> _T:
    """Call *function* in a thread; a cancel ends it at its next `check_cancelled`."""
    cancelled, context = threading.Event(), copy_context()
    context.run(CANCELLED.set, cancelled)
    try:
        return await _completed(partial(context.run, partial(function, *args, **fields)), cancelled)
    finally:
        cancelled.set()


async def _completed(function: Callable[[], _T], cancelled: threading.Event | None = None) -> _T:
    """The result of *function* in a thread; a cancel sets the event and is raised at its end."""
    # No task, which would be cancelled too when the loop is closed.
    ending = asyncio.get_running_loop().run_in_executor(None, function)
    try:
        return await asyncio.shield(ending)
    except asyncio.CancelledError:
        if cancelled is not None:
            cancelled.set()
        # Even if it is cancelled repeatedly.
        while not ending.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([ending])
        # Retrieved, so that asyncio does not log it.
        ending.exception()
        raise
