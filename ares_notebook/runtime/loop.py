"""Run coroutines from scripts, threads and notebooks, and handle signals meanwhile."""

from __future__ import annotations

import asyncio
import importlib
import inspect
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
from types import CoroutineType, TracebackType
from typing import Any, TypeVar

from ares_notebook.errors import UnfitEnvironment
from ares_notebook.extras import needing
from ares_notebook.runtime.signals import Terminated, terminable

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
    """The package to apply, by the installed versions."""
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
    from importlib import metadata  # noqa: PLC0415 - slow to import

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _parts(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, to compare by."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


_IS_INTERRUPT = "_is_interrupt_of_ares"
_POLL_SECONDS = 0.2


def waited_for(event: threading.Event, seconds: float | None = None) -> bool:
    """
    Wait for *event* in short intervals; False if it is not set after *seconds*.

    In one long wait signals may have no effect: Polars, once imported, makes the system restart an
    interrupted wait (``SA_RESTART``).
    """
    end = math.inf if seconds is None else time.monotonic() + seconds
    while not event.wait(min(_POLL_SECONDS, max(0.0, end - time.monotonic()))):
        if time.monotonic() >= end:
            return False
    return True


def _report_interrupt(error: KeyboardInterrupt, notes: Iterable[str]) -> None:
    """
    Make an uncaught interrupt show *notes* instead of a traceback.

    For SIGTERM they are shown at once, and the program ends as by SIGTERM.
    """
    for note in notes:
        error.add_note(note)
    if isinstance(error, Terminated):
        _say("Terminated", error)
        os.kill(os.getpid(), signal.SIGTERM)
    elif sys.excepthook is sys.__excepthook__:
        # Other hooks, such as a notebook's, show notes themselves.
        sys.excepthook = _show
    vars(error)[_IS_INTERRUPT] = True


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if vars(error).get(_IS_INTERRUPT):
        _say("Interrupted", error)
    else:
        sys.__excepthook__(kind, error, trace)


def _say(what: str, error: BaseException) -> None:
    sys.stderr.write("\n".join([what, *getattr(error, "__notes__", ()), ""]))


_T = TypeVar("_T")
CLEAN_UP_SECONDS = 10.0
"""How long to wait for a cancelled coroutine to clean up."""


class _LoopThread:
    """A daemon thread with an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.tasks: dict[Future[Any], asyncio.Task[Any]] = {}
        self._thread = threading.Thread(target=self._serve, name="ares-loop", daemon=True)
        self._thread.start()
        # The last to be registered is called first: before executors are closed, whose threads are
        # needed to clean up. Public `atexit` functions are called too late.
        import concurrent.futures.thread  # noqa: F401, PLC0415 - registers itself

        threading._register_atexit(self._end)  # type: ignore[attr-defined]  # noqa: SLF001 - as said

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _end(self) -> None:
        """At the end of the program, cancel what is still running and let it clean up."""
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


def explain_unawaited() -> None:
    """Let IPython, where it runs, show of a coroutine that was not awaited how to run it."""
    shell = sys.modules["IPython.core.getipython"].get_ipython()
    if shell is not None:
        printers = shell.display_formatter.formatters["text/plain"]
        printers.for_type(CoroutineType, _print_coroutine)


def _print_coroutine(coroutine: CoroutineType[Any, Any, Any], printer: Any, _cycle: object) -> None:
    printer.text(unawaited_text(coroutine) or repr(coroutine))


def unawaited_text(coroutine: CoroutineType[Any, Any, Any]) -> str | None:
    """What a coroutine of this package that has not begun needs to run; None for any other."""
    frame = coroutine.cr_frame
    if frame is None or inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED:
        return None
    module = str(frame.f_globals.get("__name__"))
    if module.partition(".")[0] != __name__.partition(".")[0]:
        return None
    call = f"{coroutine.__qualname__}(…)"
    return f"{call} was not awaited, so nothing has run yet; write `await {call}` or `ares.run({call})`"


_lock = threading.Lock()
_thread: _LoopThread | None = None


def _running() -> _LoopThread:
    global _thread  # noqa: PLW0603 - one loop a process is the point
    with _lock:
        if _thread is None:
            _thread = _LoopThread()
        return _thread


def _forget() -> None:
    """Reset a forked child, which has no thread but a copy of the lock."""
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

    # An interrupt may arrive before submit() returns, when the work already runs.
    with stopping_too(future, finished, notes):
        submit(checked(coroutine), end, future)
        waited_for(finished)
        return future.result()


@contextmanager
def stopping_too(
    future: Future[Any], finished: threading.Event, notes: Sequence[str]
) -> Iterator[None]:
    """Cancel the work on the loop if an exception, such as an interrupt, ends the wait for it."""
    try:
        with terminable():
            yield
    except BaseException as error:  # re-raised below; an interrupt is no Exception
        try:
            if future.cancel():
                _call_if_unknown(future, finished.set)
                # Bounded, since something else may block the loop.
                waited_for(finished, CLEAN_UP_SECONDS)
        except KeyboardInterrupt:
            # A second interrupt ends the wait here, and the one at the end of the program.
            _running().tasks.clear()
        if isinstance(error, KeyboardInterrupt):
            _report_interrupt(error, notes)
        raise


def notes_of(task: asyncio.Task[Any]) -> list[str]:
    """The notes of a coroutine that was cancelled."""
    try:
        task.exception()
    except asyncio.CancelledError as error:
        return getattr(error, "__notes__", [])
    return []


def checked(coroutine: Coroutine[Any, Any, _T]) -> Coroutine[Any, Any, _T]:
    """Return *coroutine* if it is one; an error on the loop's thread would go unnoticed."""
    if not asyncio.iscoroutine(coroutine):
        msg = f'a coroutine was expected, such as download_klines_data("BTCUSDT", "1h", 1), not {coroutine!r}'
        raise TypeError(msg)
    return coroutine


def _call_if_unknown(future: Future[Any], call: Callable[[], object]) -> None:
    """Call *call* on the loop if the work of *future* has ended or never began."""
    thread = _running()
    thread.loop.call_soon_threadsafe(lambda: future in thread.tasks or call())


def submit(
    coroutine: Coroutine[Any, Any, _T],
    on_end: Callable[[asyncio.Task[_T]], object],
    future: Future[_T],
) -> None:
    """Start *coroutine* on the background loop, and return at once."""
    thread = _running()
    loop = thread.loop

    def begin() -> None:
        task = thread.tasks[future] = loop.create_task(coroutine)
        task.add_done_callback(lambda _: thread.tasks.pop(future, None))
        task.add_done_callback(end)
        # If it is cancelled already, the task ends before its first line.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(task.cancel))

    def end(task: asyncio.Task[_T]) -> None:
        _copy_outcome(task, future)
        on_end(task)

    loop.call_soon_threadsafe(begin)


def is_ours() -> bool:
    """Whether the caller runs on the background loop, and must not wait for it."""
    return threading.current_thread() is _running()._thread  # noqa: SLF001 - same module


def _copy_outcome(task: asyncio.Task[_T], future: Future[_T]) -> None:
    """Copy the outcome of *task* to *future*."""
    if task.cancelled():
        future.cancel()
        return
    error = task.exception()
    # False if it was cancelled just before the coroutine ended.
    if future.set_running_or_notify_cancel():
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())
