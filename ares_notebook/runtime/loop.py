"""Run coroutines from scripts, threads and notebooks; what signals mean to them."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from ares_notebook.errors import UnfitEnvironment
from ares_notebook.extras import needing

_REMEDY = 'pip install "ares-notebook[lab]"'
_GOOD_NEST = (1, 7, 4)
_NEW_KERNEL = (7,)


def allow_nested_loops() -> str:
    """
    Let other libraries call ``run_until_complete`` on the loop that runs the notebook.

    Nothing in this package needs it: `run` and `start` have a loop of their own, and
    ``await`` works in any cell. Some libraries that cannot be changed call
    ``asyncio.run`` or ``loop.run_until_complete`` and fail in a cell; this patches
    asyncio for the whole kernel, which is why it is not done unasked. Under ipykernel 7
    the original ``nest_asyncio`` makes cells that wait in the queue vanish, so that only
    its successor is taken there.

    Returns
    -------
    str
        What was applied, such as ``nest-asyncio2 1.7.4``.

    Raises
    ------
    UnfitEnvironment
        If neither is installed in a version that works here, or if the original was
        applied before.
    MissingExtra
        If its files are gone, though it is listed as installed.

    Examples
    --------
    >>> allow_nested_loops()  # doctest: +SKIP
    'nest-asyncio2 1.7.4'
    """
    name = _choice(
        ipykernel=_installed("ipykernel"),
        successor=_installed("nest-asyncio2"),
        original=_installed("nest-asyncio"),
        original_is_on=hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2"),
    )
    # By name, since neither publishes types, and neither may be imported unasked.
    with needing("allow_nested_loops"):
        importlib.import_module(name.replace("-", "_")).apply()
    return f"{name} {_installed(name)}"


def _choice(
    *, ipykernel: str | None, successor: str | None, original: str | None, original_is_on: bool
) -> str:
    """Which of the two works with what is installed."""
    is_new = ipykernel is not None and _parts(ipykernel) >= _NEW_KERNEL
    if original_is_on and is_new:
        msg = (
            f"nest_asyncio is applied already, and loses cells under ipykernel {ipykernel}; "
            "restart the kernel, and call allow_nested_loops() in its place"
        )
        raise UnfitEnvironment(msg)
    if successor is not None and _parts(successor) >= _GOOD_NEST and not original_is_on:
        return "nest-asyncio2"
    if original is not None and not is_new:
        return "nest-asyncio"
    there = f"nest-asyncio2 {successor}" if successor else "no nest-asyncio2"
    msg = f"there is {there}, and loops cannot be nested with ipykernel {ipykernel}: {_REMEDY}"
    raise UnfitEnvironment(msg)


def _installed(name: str) -> str | None:
    """Version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _parts(version: str) -> tuple[int, ...]:
    """The numbers at the start of a version, to compare by."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


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
