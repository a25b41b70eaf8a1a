"""Jobs: coroutines in the background that can be watched and cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, Literal, TypeVar

from ares_notebook.formatting import text
from ares_notebook.runtime.loop import (
    CLEAN_UP_SECONDS,
    checked,
    is_ours,
    notes_of,
    stopping_too,
    submit,
    waited_for,
)
from ares_notebook.runtime.progress import Progress, heard_by

_T = TypeVar("_T")
_WAKE_SECONDS = 0.2
State = Literal["running", "done", "failed", "cancelled"]


class Job(Generic[_T]):
    """
    A coroutine on its way; made by `start`.

    Every attribute may be read at any time, from any thread; nothing but `wait` waits.
    In a coroutine, or in a notebook's cell, ``await job`` waits too, for the same result
    and errors; who is cancelled while he waits so cancels the job.

    Parameters
    ----------
    coroutine : coroutine
        What is to be done; it begins at once.

    Raises
    ------
    TypeError
        If *coroutine* is none.

    Examples
    --------
    >>> async def answer():
    ...     return 42
    >>> job = start(answer())
    >>> job.wait(10), job
    (42, <Job done>)
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._notified = threading.Event()
        self._notes: list[str] = []
        self._calls: list[Callable[[Job[_T]], object]] = []
        self._future = Future[_T]()
        submit(self._run(checked(coroutine)), self._end, self._future)

    async def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        with heard_by(self._set_progress):
            return await coroutine

    def _end(self, task: asyncio.Task[_T]) -> None:
        self._notes.extend(notes_of(task))
        with self._lock:
            self._finished.set()
            calls = self._calls[:]
        try:
            for call in calls:
                call(self)
        finally:
            self._notified.set()

    def _set_progress(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def progress(self) -> Progress | None:
        """The latest progress; None at the beginning."""
        return self._progress

    @property
    def state(self) -> State:
        """Running, done, failed or cancelled; cancelled when it has cleaned up."""
        if not self._finished.is_set():
            return "running"
        if self._future.cancelled():
            return "cancelled"
        return "failed" if self.error is not None else "done"

    @property
    def result(self) -> _T | None:
        """What the coroutine returned; None unless it is done."""
        return self._future.result() if self.state == "done" else None

    @property
    def error(self) -> BaseException | None:
        """What the coroutine raised; None unless it failed."""
        if not self._future.done() or self._future.cancelled():
            return None
        return self._future.exception()

    def cancel(self) -> None:
        """Stop it, and return at once; what is done is kept, temporary files are removed."""
        self._future.cancel()

    def then(self, call: Callable[[Job[_T]], object]) -> None:
        """
        Let *call* be called with the job when it has ended; at once if it has.

        Who waits for the job goes on after that.

        Parameters
        ----------
        call : callable
            Runs on the background loop's thread, so it must not wait for anything.
        """
        with self._lock:
            is_over = self._finished.is_set()
            if not is_over:
                self._calls.append(call)
        if is_over:
            call(self)

    def wait(self, timeout: float | None = None) -> _T:
        """
        Wait until it ends, and return its result.

        An interrupt (Ctrl-C, the kernel's stop button) or SIGTERM cancels it, as with `run`.

        Parameters
        ----------
        timeout : float, optional
            Seconds; without it as long as it takes.

        Returns
        -------
        object
            What the coroutine returned.

        Raises
        ------
        TimeoutError
            If it is still running then; it goes on.
        RuntimeError
            If it is called on the background loop itself, which would wait for itself.
        concurrent.futures.CancelledError
            If it was cancelled.
        Exception
            What the coroutine raised.
        """
        if is_ours():
            msg = "wait() would stop the loop that the job runs on; use await there"
            raise RuntimeError(msg)
        with stopping_too(self._future, self._notified, self._notes):
            is_over = waited_for(self._notified, timeout)
        if not is_over:
            msg = f"the job is still running after {timeout:g} seconds; wait again, or cancel() it"
            raise TimeoutError(msg)
        if self._future.cancelled():
            msg = "the job was cancelled; what it had done is kept"
            raise CancelledError(msg)
        return self._future.result()

    def __await__(self) -> Generator[Any, None, _T]:
        return self._awaited().__await__()

    async def _awaited(self) -> _T:
        future = asyncio.wrap_future(self._future)
        try:
            while not future.done():
                # A kernel's stop button takes effect only when its loop wakes.
                await asyncio.wait({future}, timeout=_WAKE_SECONDS)
            return await future
        finally:
            # If the wait was cancelled or interrupted, so is the job; after its end this does nothing.
            self.cancel()
            # Until it has cleaned up and called its callbacks.
            await asyncio.to_thread(self._notified.wait, CLEAN_UP_SECONDS)

    def __repr__(self) -> str:
        share = (
            f", {self._progress.share:.0%}" if self._progress and self.state == "running" else ""
        )
        why = f": {self.error}" if self.state == "failed" else ""
        # A download ends, and says in its report which files failed.
        if failures := getattr(self.result, "failed_in_words", ""):
            why = f": {failures}"
        return f"<Job {self.state}{share}{why}>"

    def _repr_html_(self) -> str:
        """The same for a notebook; text from outside is escaped."""
        return f"<code>{text(repr(self))}</code>"


def start(coroutine: Coroutine[Any, Any, _T]) -> Job[_T]:
    """
    Begin *coroutine* in the background, and return at once.

    The kernel stays free for other cells; the job tells how far it is and can be
    stopped.

    Parameters
    ----------
    coroutine : coroutine
        Such as ``download_klines_data("BTCUSDT", "1h", 1)``.

    Returns
    -------
    Job
        What goes wrong later is its ``error``, and raised by ``wait``.

    Raises
    ------
    TypeError
        If *coroutine* is none, such as a function that nobody has called.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     job = start(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     report = job.wait(60)
    >>> job.state, report.rows_written, job.progress.share
    ('done', 59, 1.0)
    """
    return Job(coroutine)
