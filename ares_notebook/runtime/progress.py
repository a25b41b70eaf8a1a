"""Progress of a run, and counts of its requests, bytes and rows."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ares_notebook.formatting import size_in_words, time_in_words
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    from tqdm.auto import tqdm


@dataclass(slots=True)
class Meter:
    """Counts of what is done inside `metered`; a meter inside another adds to both."""

    # Each try counts.
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
    """Count on *meter* what is done inside, tasks started there included."""
    meter._around = _METER.get()  # noqa: SLF001 - same module
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def count(**more: int) -> None:
    """Add to fields of the current `Meter`; without arguments, report that the work goes on."""
    meter = _METER.get()
    while meter is not None:
        for name, number in more.items():
            setattr(meter, name, getattr(meter, name) + number)
        if meter.on_change:
            meter.on_change()
        meter = meter._around  # noqa: SLF001 - same module


_SECONDS_BETWEEN = 0.1
_SECONDS_UNTIL_REPEATED = 1.0
_BAR_AFTER_SECONDS = 0.5
# A smaller share is no basis for an estimate of the rest.
_LEAST_SHARE = 0.02
_T = TypeVar("_T")


def _share(steps_done: int, steps_total: int, received: int, expected: int) -> float:
    """From 0 to 1: by files, and between two files by bytes."""
    if not steps_total:
        return 1.0
    by_bytes = received / expected if expected else 0.0
    return min(1.0, max(steps_done / steps_total, min(by_bytes, 0.99)))


@dataclass(frozen=True, slots=True)
class DatasetProgress:
    """The progress of one dataset of a download; the fields are those of `Progress`."""

    dataset: str
    steps_done: int
    steps_total: int
    rows: int = 0
    bytes_received: int = 0
    bytes_expected: int = 0
    steps_failed: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1: by files, and between two files by bytes."""
        return _share(self.steps_done, self.steps_total, self.bytes_received, self.bytes_expected)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a download, or of reading through the cache."""

    symbol: str
    # Of the last file.
    dataset: str
    file_name: str
    # Files; those to be skipped are not counted.
    steps_done: int
    steps_total: int
    # So far.
    rows: int
    requests: int
    bytes_received: int
    # Estimated total.
    bytes_expected: int
    # Since the start.
    seconds: float
    # The same by dataset; may be empty.
    parts: tuple[DatasetProgress, ...] = ()
    # What has been waited for longer than a second, such as
    # ``no answer from api.binance.com, try 2 of 4``; empty while answers come.
    waiting: str = ""
    # Files that failed, which are done too.
    steps_failed: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1: by files, and between two files by bytes."""
        return _share(self.steps_done, self.steps_total, self.bytes_received, self.bytes_expected)

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the rate so far; None at the beginning."""
        is_early = self.share < _LEAST_SHARE
        return None if is_early else self.seconds * (1 - self.share) / self.share

    @property
    def bytes_per_second(self) -> float:
        """The rate so far."""
        return self.bytes_received / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        what = " ".join(filter(None, (self.symbol, self.dataset)))
        words = [f"{self.steps_done:,} of {self.steps_total:,} files ({self.share:.0%})"]
        if self.steps_failed:
            words.append(f"{self.steps_failed:,} failed")
        if self.rows:
            words.append(f"{self.rows:,} rows")
        if self.bytes_received:
            words.append(f"{size_in_words(self.bytes_per_second)}/s")
        if self.seconds_left:
            words.append(f"{time_in_words(self.seconds_left)} left")
        words += [self.waiting] if self.waiting else []
        return f"{what}: {', '.join(words)}"


ProgressListener = Callable[[Progress], None]
_HEARD_BY: ContextVar[ProgressListener | None] = ContextVar("ares_heard_by", default=None)


@contextmanager
def heard_by(listener: ProgressListener) -> Iterator[None]:
    """Call *listener* with the progress of whatever is awaited inside."""
    token = _HEARD_BY.set(listener)
    try:
        yield
    finally:
        _HEARD_BY.reset(token)


def _both(one: ProgressListener | None, other: ProgressListener | None) -> ProgressListener | None:
    if one is None or other is None:
        return one or other

    def report(progress: Progress) -> None:
        one(progress)
        other(progress)

    return report


class ProgressReporter:
    """Calls a listener with the progress at most ten times a second, and again if a second passes."""

    def __init__(self, listener: ProgressListener | None) -> None:
        self._listener = listener
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._latest: Callable[[], Progress] | None = None

    def tell(self, progress: Callable[[], Progress], *, at_once: bool = False) -> None:
        """
        Report now if it is time or *at_once*, else later unless something newer comes.

        *progress* is only called when it is reported.
        """
        now = time.monotonic()
        if self._listener is None:
            return
        self._latest = progress
        if now < self._next and not at_once:
            self.close()
            self._tell_in(self._next - now)
            return
        self._next = now + _SECONDS_BETWEEN
        self.close()
        self._listener(progress())
        # Nothing new is news, too: what is waited for, and for how long.
        self._tell_in(_SECONDS_UNTIL_REPEATED)

    def close(self) -> None:
        """Cancel a report that is due later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell_in(self, seconds: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Without a loop there is no timer; the next item reports.
            return
        if self._timer is None:
            self._timer = loop.call_later(seconds, self._tell_latest)

    def _tell_latest(self) -> None:
        self._timer = None
        if self._latest is not None:
            self.tell(self._latest, at_once=True)


def somebody_looks(settings: Settings) -> bool:
    """Whether to show a bar: as the settings say, else in a terminal or an open notebook."""
    if settings.progress is not None:
        return settings.progress
    # A notebook that a program executes has no session name.
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ


@contextmanager
def shown(
    settings: Settings, listener: ProgressListener | None
) -> Iterator[ProgressListener | None]:
    """A listener that calls *listener* and shows a bar, if work takes over half a second."""
    listener = _both(listener, _HEARD_BY.get())
    if not somebody_looks(settings):
        yield listener
        return
    bar = _LateBar()

    def show(progress: Progress) -> None:
        bar.show(progress)
        if listener is not None:
            listener(progress)

    try:
        yield show
    finally:
        bar.close()


class _LateBar:
    """A bar in a terminal or a notebook for work that takes over half a second."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None
        self._began = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Show how far the work is."""
        if self._bar is None:
            seconds = time.monotonic() - self._began
            if seconds < _BAR_AFTER_SECONDS:
                return
            from tqdm.auto import tqdm  # noqa: PLC0415 - slow to import, and only needed for a bar

            # As wide as there is room for: a notebook's bar without a total is 20 pixels wide.
            self._bar = tqdm(total=progress.steps_total, unit="file", dynamic_ncols=True)
            self._bar.start_t -= seconds
        if self._bar.total != progress.steps_total:
            self._bar.reset(progress.steps_total)
        self._bar.set_description_str(progress.symbol, refresh=False)
        words = [f"{progress.rows:,} rows", size_in_words(progress.bytes_received)]
        if progress.steps_failed:
            words.append(f"{progress.steps_failed:,} failed")
        self._bar.set_postfix_str(progress.waiting or ", ".join(words), refresh=False)
        self._bar.update(progress.steps_done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def tracked(items: Sequence[_T], settings: Settings, what: str) -> Iterator[_T]:
    """Iterate over *items* with a bar; a listener of `heard_by` may stop it by raising."""
    listened = _listened(items, what)
    if not somebody_looks(settings):
        yield from listened
        return
    from tqdm.auto import tqdm  # noqa: PLC0415 - as above

    # As wide as there is room for, and only for work that takes so long.
    yield from tqdm(
        listened,
        desc=what,
        total=len(items),
        unit="file",
        delay=_BAR_AFTER_SECONDS,
        dynamic_ncols=True,
    )


def _listened(items: Sequence[_T], what: str) -> Iterator[_T]:
    """Iterate over *items*, and report the progress after each."""
    reporter, began, total = ProgressReporter(_HEARD_BY.get()), time.monotonic(), len(items)
    for done, item in enumerate(items, start=1):
        yield item
        seconds = time.monotonic() - began
        progress = Progress("", what, "", done, total, 0, 0, 0, 0, seconds)
        reporter.tell(lambda progress=progress: progress, at_once=done == total)  # type: ignore[misc] # mypy cannot infer a default


async def counted(
    work: Sequence[Coroutine[Any, Any, _T]], settings: Settings, what: str
) -> AsyncIterator[_T]:
    """The results of concurrent *work* as they come, with a bar as in `tracked`."""
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
        # They must end before what they use is closed; only the first error is raised.
        await asyncio.gather(*tasks, return_exceptions=True)
