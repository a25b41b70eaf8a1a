"""Run coroutines from anywhere: one background event loop, started when first needed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["CLEAN_UP_SECONDS", "checked", "is_ours", "run", "submit"]

_T = TypeVar("_T")
CLEAN_UP_SECONDS = 10.0
"""How long to wait for a cancelled coroutine to tidy up."""


class _LoopThread:
    """A daemon thread with an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="ares-loop", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


_lock = threading.Lock()
_thread: _LoopThread | None = None


def _running() -> _LoopThread:
    global _thread  # noqa: PLW0603 - one loop a process is the point
    with _lock:
        if _thread is None:
            _thread = _LoopThread()
        return _thread


def _forget() -> None:
    """A forked child has the lock's state and not the thread; it starts its own."""
    global _lock, _thread
    _lock, _thread = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """
    Run *coroutine* to its end and return its result, from anywhere.

    Works in a script, in a plain cell, in a widget's callback and where an event
    loop is already running, since the coroutine runs on a background loop of ours.
    The caller waits. An interrupt (Ctrl-C, the kernel's stop button) cancels the
    coroutine and waits until it has cleaned up.

    Parameters
    ----------
    coroutine : coroutine

    Returns
    -------
    object
        What the coroutine returned.

    Raises
    ------
    Exception
        What the coroutine raised.
    TypeError
        If *coroutine* is none, such as a function that nobody has called.
    RuntimeError
        If it is called by what it is running itself, which would wait for itself.

    Examples
    --------
    >>> async def answer():
    ...     return 42
    >>> run(answer())
    42
    """
    if is_ours():
        checked(coroutine).close()
        msg = "run() was called by a coroutine that run() is running, which would wait for itself; use await there"
        raise RuntimeError(msg)
    finished = threading.Event()
    future = submit(checked(coroutine), finished.set)
    try:
        return future.result()
    except BaseException:  # re-raised below; broad, since an interrupt is no Exception
        # Also KeyboardInterrupt, which strikes the waiting thread, not the loop's:
        # without this an interrupted cell would leave the work running unseen.
        if future.cancel():
            # Bounded, since something else may keep the loop from going on.
            finished.wait(CLEAN_UP_SECONDS)
        raise


def checked(coroutine: Coroutine[Any, Any, _T]) -> Coroutine[Any, Any, _T]:
    """
    Return *coroutine* if it is one: on the loop's thread nobody would hear that it is not.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not asyncio.iscoroutine(coroutine):
        msg = f'a coroutine was expected, such as download_all_data("BTCUSDT", "1h", 1), not {coroutine!r}'
        raise TypeError(msg)
    return coroutine


def submit(coroutine: Coroutine[Any, Any, _T], on_end: Callable[[], object]) -> Future[_T]:
    """
    Begin *coroutine* on the background loop, and return at once.

    Parameters
    ----------
    coroutine : coroutine
    on_end : callable
        Called on the loop's thread when the coroutine has ended and cleaned up after
        itself, which is later than its future is cancelled; also if it never began.

    Returns
    -------
    concurrent.futures.Future
        Cancelling it cancels the coroutine.
    """
    loop, future = _running().loop, Future[_T]()

    def begin() -> None:
        task = loop.create_task(coroutine)
        task.add_done_callback(end)
        # Also where it was cancelled meanwhile: the task then ends before its first line.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(task.cancel))

    def end(task: asyncio.Task[_T]) -> None:
        _hand_over(task, future)
        on_end()

    loop.call_soon_threadsafe(begin)
    return future


def is_ours() -> bool:
    """Whether the caller is on the background loop itself, and must not wait for it."""
    return threading.current_thread() is _running()._thread  # noqa: SLF001 - same module


def _hand_over(task: asyncio.Task[_T], future: Future[_T]) -> None:
    """What became of *task*, as its future tells it; who cancelled the future knows already."""
    if task.cancelled():
        future.cancel()
        return
    error = task.exception()
    # False if it was cancelled a moment ago, though the coroutine came to its end.
    if future.set_running_or_notify_cancel():
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())
