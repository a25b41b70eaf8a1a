"""Tasks: questions that are asked once, and calls whose results come in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

__all__ = ["Memoized", "in_order"]

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
