"""Questions that are asked once, whoever needs the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Once"]

_T = TypeVar("_T")


class Once(Generic[_T]):
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
