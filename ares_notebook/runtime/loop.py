"""Run coroutines from anywhere: one background event loop, started when first needed."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ares_notebook.runtime.signals import terminable, told, waited_for

__all__ = [
    "CLEAN_UP_SECONDS",
    "checked",
    "is_ours",
    "notes_of",
    "run",
    "stopping_too",
    "submit",
]

_T = TypeVar("_T")
CLEAN_UP_SECONDS = 10.0
"""How long to wait for a cancelled coroutine to tidy up."""


class _LoopThread:
    """A daemon thread with an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.tasks: dict[Future[Any], asyncio.Task[Any]] = {}
        self._thread = threading.Thread(target=self._serve, name="ares-loop", daemon=True)
        self._thread.start()
        # What is registered last is called first: before executors, in whose threads there
        # is cleaning up to do, are closed. `atexit`, which is public, comes after that.
        import concurrent.futures.thread  # noqa: F401, PLC0415 - registers itself

        threading._register_atexit(self._end)  # type: ignore[attr-defined]  # noqa: SLF001 - as said

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _end(self) -> None:
        """The program ends: what is still running is stopped, and cleans up."""
        # A forked child has no such thread.
        if not self.tasks or not self._thread.is_alive():
            return
        stopping = asyncio.run_coroutine_threadsafe(_stopped([*self.tasks.values()]), self.loop)
        with suppress(TimeoutError):
            stopping.result(CLEAN_UP_SECONDS)
        sys.stderr.write(
            "Stopped, since the program ends; wait() waits for a job. What is done is kept.\n"
        )


async def _stopped(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel *tasks*, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


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
    coroutine and waits until it has cleaned up; a `KeyboardInterrupt` then comes out, with
    a note of what a download had done. SIGTERM, where nobody else listens to it, does the
    same, and then ends the program, as it would have done at once.

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
    future, finished, notes = Future[_T](), threading.Event(), list[str]()

    def end(task: asyncio.Task[_T]) -> None:
        notes.extend(notes_of(task))
        finished.set()

    # Begun inside: an interrupt may strike before submit() returns, when the work already runs.
    with stopping_too(future, finished, notes):
        submit(checked(coroutine), end, future)
        waited_for(finished)
        return future.result()


@contextmanager
def stopping_too(
    future: Future[Any], finished: threading.Event, notes: Sequence[str]
) -> Iterator[None]:
    """Have what strikes the waiting thread, as an interrupt does, stop the work on the loop too."""
    try:
        with terminable():
            yield
    except BaseException as error:  # re-raised below; broad, since an interrupt is no Exception
        # Without this an interrupted cell would leave the work running unseen.
        try:
            if future.cancel():
                _call_if_unknown(future, finished.set)
                # Not for ever, since something else may keep the loop from going on.
                waited_for(finished, CLEAN_UP_SECONDS)
        except KeyboardInterrupt:
            # Who asks twice does not wait, neither here nor at the end of the program.
            _running().tasks.clear()
        if isinstance(error, KeyboardInterrupt):
            told(error, notes)
        raise


def notes_of(task: asyncio.Task[Any]) -> list[str]:
    """What a coroutine that was cancelled has left to say."""
    try:
        task.exception()
    except asyncio.CancelledError as error:
        return getattr(error, "__notes__", [])
    return []


def checked(coroutine: Coroutine[Any, Any, _T]) -> Coroutine[Any, Any, _T]:
    """Return *coroutine* if it is one: on the loop's thread nobody would hear that it is not."""
    if not asyncio.iscoroutine(coroutine):
        msg = f'a coroutine was expected, such as download_all_data("BTCUSDT", "1h", 1), not {coroutine!r}'
        raise TypeError(msg)
    return coroutine


def _call_if_unknown(future: Future[Any], call: Callable[[], object]) -> None:
    """Call *call* on the loop if the work of *future* has ended, or never came there."""
    thread = _running()
    thread.loop.call_soon_threadsafe(lambda: future in thread.tasks or call())


def submit(
    coroutine: Coroutine[Any, Any, _T],
    on_end: Callable[[asyncio.Task[_T]], object],
    future: Future[_T],
) -> None:
    """Begin *coroutine* on the background loop, and return at once."""
    thread = _running()
    loop = thread.loop

    def begin() -> None:
        task = thread.tasks[future] = loop.create_task(coroutine)
        task.add_done_callback(lambda _: thread.tasks.pop(future, None))
        task.add_done_callback(end)
        # Also where it was cancelled meanwhile: the task then ends before its first line.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(task.cancel))

    def end(task: asyncio.Task[_T]) -> None:
        _hand_over(task, future)
        on_end(task)

    loop.call_soon_threadsafe(begin)


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
