"""Pages asked for ahead of their turn, and handed out in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

__all__ = ["in_order"]

_T = TypeVar("_T")


async def in_order(calls: Iterable[Callable[[], Awaitable[_T]]], ahead: int) -> AsyncIterator[_T]:
    """
    Run *calls* with up to *ahead* under way, and yield their results in order.

    Memory is bounded by *ahead*, not by the number of calls. When the reader stops
    or a call fails, those under way are cancelled and waited for.

    Examples
    --------
    >>> async def squares():
    ...     async def square(n):
    ...         return n * n
    ...     return [n async for n in in_order([lambda n=n: square(n) for n in range(4)], 2)]
    >>> import asyncio; asyncio.run(squares())
    [0, 1, 4, 9]
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
