"""Progress of a run, and meters of requests and waits."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ares_notebook.formatting import size_in_words, time_in_words
from ares_notebook.settings import Settings


@dataclass(slots=True)
class Meter:
    """
    A running count, of all that is done inside `metered`; a meter inside another adds to both.
    """

    # So far; tries counted.
    requests: int = 0
    bytes_received: int = 0
    # Tries after a failed one.
    retries: int = 0
    # Answers 429 and 418.
    rate_limited: int = 0
    # Rows that are new in the cache.
    rows: int = 0
    # Called after each change, without arguments.
    on_change: Callable[[], None] | None = None
    _around: Meter | None = field(default=None, init=False, repr=False, compare=False)


_METER: ContextVar[Meter | None] = ContextVar("ares_meter", default=None)


@contextmanager
def metered(meter: Meter) -> Iterator[Meter]:
    """Count on *meter* what is asked inside, tasks started there included."""
    meter._around = _METER.get()  # noqa: SLF001 - same module
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def count(
    *,
    requests: int = 0,
    bytes_received: int = 0,
    retries: int = 0,
    rate_limited: int = 0,
    rows: int = 0,
) -> None:
    """So much more has been asked, received or written; nothing more, but the work goes on: it waits."""
    meter = _METER.get()
    while meter is not None:
        meter.requests += requests
        meter.bytes_received += bytes_received
        meter.retries += retries
        meter.rate_limited += rate_limited
        meter.rows += rows
        if meter.on_change:
            meter.on_change()
        meter = meter._around  # noqa: SLF001 - same module


_SECONDS_BETWEEN = 0.1
# From less than this nobody can tell how long the rest will take.
_LEAST_SHARE = 0.02
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DatasetProgress:
    """How far one dataset of a download is; the numbers are those of `Progress`."""

    dataset: str
    steps_done: int
    steps_total: int
    rows: int = 0
    bytes_received: int = 0
    bytes_expected: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1: by files, and between two files by bytes."""
        if not self.steps_total:
            return 1.0
        by_files = self.steps_done / self.steps_total
        by_bytes = self.bytes_received / self.bytes_expected if self.bytes_expected else 0.0
        return min(1.0, max(by_files, min(by_bytes, 0.99)))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download, or a look through the cache, is."""

    symbol: str
    # Of the file that was touched last.
    dataset: str
    file_name: str
    # Files; those to be skipped are not counted.
    steps_done: int
    steps_total: int
    # So far.
    rows: int
    requests: int
    bytes_received: int
    # In all, estimated.
    bytes_expected: int
    # Since the start.
    seconds: float
    # The same, a dataset each; empty where there are none.
    parts: tuple[DatasetProgress, ...] = ()

    @property
    def share(self) -> float:
        """From 0 to 1: by files, and between two files by bytes."""
        whole = DatasetProgress(
            "",
            self.steps_done,
            self.steps_total,
            bytes_received=self.bytes_received,
            bytes_expected=self.bytes_expected,
        )
        return whole.share

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the rate so far; None while too little has come to tell."""
        is_early = self.share < _LEAST_SHARE
        return None if is_early else self.seconds * (1 - self.share) / self.share

    @property
    def bytes_per_second(self) -> float:
        """The rate so far."""
        return self.bytes_received / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        what = " ".join(filter(None, (self.symbol, self.dataset)))
        words = [f"{self.steps_done:,} of {self.steps_total:,} files ({self.share:.0%})"]
        if self.rows:
            words.append(f"{self.rows:,} rows")
        if self.bytes_received:
            words.append(f"{size_in_words(self.bytes_per_second)}/s")
        if self.seconds_left:
            words.append(f"{time_in_words(self.seconds_left)} left")
        return f"{what}: {', '.join(words)}"


ProgressListener = Callable[[Progress], None]
_HEARD_BY: ContextVar[ProgressListener | None] = ContextVar("ares_heard_by", default=None)


@contextmanager
def heard_by(listener: ProgressListener) -> Iterator[None]:
    """Let *listener* hear of the progress of whatever is awaited in this context."""
    token = _HEARD_BY.set(listener)
    try:
        yield
    finally:
        _HEARD_BY.reset(token)


def _both(one: ProgressListener | None, other: ProgressListener | None) -> ProgressListener | None:
    if one is None or other is None:
        return one or other

    def tell(progress: Progress) -> None:
        one(progress)
        other(progress)

    return tell


class ProgressReporter:
    """Tells a listener how far it is, at most ten times a second."""

    def __init__(self, listener: ProgressListener | None) -> None:
        self._listener = listener
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._latest: Callable[[], Progress] | None = None

    def tell(self, progress: Callable[[], Progress], *, at_once: bool = False) -> None:
        """
        Tell, if it is time or *at_once*; `progress` is only called then.

        What comes too soon is told when it is time, if nothing newer comes: else a
        download that hangs would be seen as it was a moment before.
        """
        now = time.monotonic()
        if self._listener is None:
            return
        self._latest = progress
        if now < self._next and not at_once:
            self._tell_in(self._next - now)
            return
        self._next = now + _SECONDS_BETWEEN
        self.close()
        self._listener(progress())

    def close(self) -> None:
        """Tell nothing more of what came too soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell_in(self, seconds: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Without a loop nobody can be waited for, and the next item tells.
            return
        if self._timer is None:
            self._timer = loop.call_later(seconds, self._tell_latest)

    def _tell_latest(self) -> None:
        self._timer = None
        if self._latest is not None:
            self.tell(self._latest, at_once=True)


def somebody_looks(settings: Settings) -> bool:
    """
    Whether to show a bar: as the settings say, else in a terminal or an open notebook.

    A notebook that is executed by a program has no session; a bar would only fill
    its file.
    """
    if settings.progress is not None:
        return settings.progress
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ


@contextmanager
def shown(
    settings: Settings, listener: ProgressListener | None
) -> Iterator[ProgressListener | None]:
    """
    A listener that shows a bar beside calling *listener*, while the context is open.

    The bar appears after half a second, so that quick work stays silent.
    """
    listener = _both(listener, _HEARD_BY.get())
    if not somebody_looks(settings):
        yield listener
        return
    from tqdm.auto import tqdm  # noqa: PLC0415 - only those who look pay for it

    with tqdm(total=0, unit="file", delay=0.5) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.steps_total
            bar.set_description(f"{progress.symbol} {progress.dataset}", refresh=False)
            received = progress.bytes_received / 1e6
            bar.set_postfix_str(f"{progress.rows:,} rows, {received:,.1f} MB", refresh=False)
            # update() alone keeps the delay; a refresh would show at once.
            bar.update(progress.steps_done - bar.n)
            if listener is not None:
                listener(progress)

        yield show


def tracked(items: Sequence[_T], settings: Settings, what: str) -> Iterator[_T]:
    """
    The *items* one by one, with a bar of rate and time left for whoever looks.

    Who listens by `heard_by` is told as well, and may stop it by raising.
    """
    listened = _listened(items, what)
    if not somebody_looks(settings):
        yield from listened
        return
    from tqdm.auto import tqdm  # noqa: PLC0415 - as above

    yield from tqdm(listened, desc=what, total=len(items), unit="file", delay=0.5)


def _listened(items: Sequence[_T], what: str) -> Iterator[_T]:
    """The *items*, and after each a word to the listener."""
    reporter, began, total = ProgressReporter(_HEARD_BY.get()), time.monotonic(), len(items)
    for done, item in enumerate(items, start=1):
        yield item
        seconds = time.monotonic() - began
        progress = Progress("", what, "", done, total, 0, 0, 0, 0, seconds)
        reporter.tell(lambda progress=progress: progress, at_once=done == total)  # type: ignore[misc] # mypy cannot infer a default


async def counted(
    work: Sequence[Coroutine[Any, Any, _T]], settings: Settings, what: str
) -> AsyncIterator[_T]:
    """
    The results of all *work*, done side by side, as they come, with a bar as `tracked` shows it.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    done: asyncio.Queue[asyncio.Future[_T]] = asyncio.Queue()
    for task in tasks:
        task.add_done_callback(done.put_nowait)
    try:
        for _ in tracked(tasks, settings, what):
            yield (await done.get()).result()
    finally:
        for task in tasks:
            task.cancel()
        # What they still hold must not be closed under them; the first error was told.
        await asyncio.gather(*tasks, return_exceptions=True)
