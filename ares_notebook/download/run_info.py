"""What is recorded and notified of a run."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from ares_notebook.cache.history import Ending, Run, RunOutcome, note_run
from ares_notebook.cache.spans import Scope
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_plans import run_plan
from ares_notebook.errors import AresError, BadArgument
from ares_notebook.formatting import named, shell_call
from ares_notebook.runtime.notify import notify
from ares_notebook.runtime.progress import Meter, ProgressListener, metered
from ares_notebook.runtime.tasks import cancellable, uninterrupted
from ares_notebook.settings import Event, Settings

# Who has cancelled a run knows that he has.
_EVENTS: dict[Ending, Event] = {
    "done": "finished",
    "incomplete": "finished",
    "failed": "failed",
    "below threshold": "below threshold",
    "differs": "below threshold",
}
_RUN_AGAIN = "What is done is kept: run it again, and only the rest is asked for."
# Of each ending the purpose of a command, and its verb.
_REMEDIES: dict[Ending, tuple[str, str]] = {
    "incomplete": ("Where rows are missing, and why", "gaps"),
    "failed": (f"{_RUN_AGAIN}\nWhat has happened before", "runs"),
    "below threshold": ("To close gaps", "repair"),
    "differs": ("To take over what was replaced", "audit"),
}


class Notification(NamedTuple):
    """What `ares_notebook.runtime.notify.notify` is given before the settings."""

    event: Event
    title: str
    body: str


def notification_of(run: Run, words: str, folder: Path) -> Notification | None:
    """Tell of a run: what it was, how it ended, where, and what to do about it."""
    event = _EVENTS.get(run.ending)
    if event is None:
        return None
    what = " ".join(filter(None, [run.what, "of", run.symbol or "all", run.interval]))
    counts = f" ({run.failures} of {run.files} files)" if event == "failed" and run.files else ""
    place = folder.absolute()
    # The report comes last: a service that takes only so much cuts off the end.
    lines = [*filter(None, [run.error]), f"Cache: {place} on {socket.gethostname()}"]
    if run.ending in _REMEDIES:
        purpose, verb = _REMEDIES[run.ending]
        lines.append(f"{purpose}: {_command(verb, run, place)}")
    body = "\n\n".join([*lines, *([words] if words != run.error else [])])
    return Notification(event, f"ares-notebook: {what}: {run.ending}{counts}", body)


def _command(verb: str, run: Run, folder: Path) -> str:
    """The narrowest shell command of *verb* for what the run was about."""
    if verb == "runs":
        return shell_call(verb, cache_dir=folder)
    # Of a run over several symbols the first.
    symbol = run.symbol.split(",")[0] or (None if verb == "audit" else "SYMBOL")
    interval = run.interval if run.interval and "," not in run.interval else None
    datasets = run.datasets.split(",") if run.datasets else None
    arguments, names = Scope.of(symbol, interval, datasets).arguments
    is_update = True if verb == "audit" else None
    return shell_call(verb, *arguments, datasets=names, update=is_update, cache_dir=folder)


class _WithOutcome(Protocol):
    """The notification of a run: its text, and its sums."""

    @property
    def outcome(self) -> RunOutcome: ...


_R = TypeVar("_R", bound=_WithOutcome)
_P = TypeVar("_P")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run is about."""

    # The verb.
    what: str
    settings: Settings
    # Several with commas between, of many symbols the first; empty for all that is there.
    symbol: str = ""
    interval: str = ""
    datasets: str = ""
    # The window, half-open.
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def about(cls, what: str, settings: Settings, scope: Scope) -> Self:
        """What a run is about that looks at what is in the cache."""
        names = ",".join(scope.names)
        return cls(what, settings, scope.symbol or "", scope.interval or "", names)

    @classmethod
    def of(cls, what: str, *plans: Plan) -> Self:
        """What a run of some plans, at least one, is about."""
        names = (step.file.dataset.name for plan in plans for step in plan.steps)
        return cls(
            what,
            plans[0].settings,
            # Of a universe some: a line of the history is read by people.
            named(list(dict.fromkeys(plan.symbol for plan in plans)), ","),
            ",".join(dict.fromkeys(plan.interval or "" for plan in plans)),
            ",".join(dict.fromkeys(names)),
            min(plan.start for plan in plans),
            max(plan.end for plan in plans),
        )


async def record_run(run_info: RunInfo, work: Coroutine[Any, Any, _R]) -> _R:
    """
    Await *work*, note in the run history what became of it, and notify whom the settings name.

    A history that cannot be written and a notifier that fails are logged, and change nothing.
    """
    run = _started(run_info)
    report = await _awaited(run, work)
    await run.end(report.outcome, str(report))
    return report


async def plan_and_run(
    run_info: RunInfo, make: Callable[[], Plan], on_progress: ProgressListener | None = None
) -> DownloadReport:
    """Make a plan in a thread and carry it out, as one run."""
    plan = await planned(run_info, make)
    work = run_plan(plan, on_progress=on_progress)
    return await record_run(RunInfo.of(run_info.what, plan), work)


async def planned(run_info: RunInfo, make: Callable[[], _P]) -> _P:
    """
    Make a plan in a thread; where the cache does not let it be made, that is a run that failed.
    """
    return await prepared(run_info, cancellable(make))


async def prepared(run_info: RunInfo, work: Coroutine[Any, Any, _P]) -> _P:
    """Await what must be known before a run begins; where it fails, that is a run that failed."""
    return await _awaited(_started(run_info), work)


async def _awaited(run: _Started, work: Coroutine[Any, Any, _P]) -> _P:
    async with _on_record_if_it_fails(run):
        with metered(run.meter):
            return await work


def _started(run_info: RunInfo) -> _Started:
    return _Started(run_info, datetime.now(UTC), time.monotonic(), Meter())


@asynccontextmanager
async def _on_record_if_it_fails(run: _Started) -> AsyncIterator[None]:
    try:
        yield
    except BadArgument:
        # A wrong call is no run.
        raise
    except AresError as error:
        await run.end(RunOutcome("failed", failures=1, error=str(error)), str(error))
        raise
    except (asyncio.CancelledError, KeyboardInterrupt):
        # Who was cancelled must not wait again, so it is written here and now: a line.
        run.note(RunOutcome("cancelled"))
        raise
    except Exception as error:
        # A bug of ours is on record too; what it holds is for the log alone.
        words = f"{type(error).__name__}: see the log"
        await run.end(RunOutcome("failed", failures=1, error=words), words)
        raise


@dataclass(frozen=True, slots=True)
class _Started:
    """A run under way."""

    run_info: RunInfo
    at: datetime
    began: float
    meter: Meter

    async def end(self, outcome: RunOutcome, words: str) -> None:
        """Record it, and send the notification."""
        run = await uninterrupted(self.note, outcome)
        settings = self.run_info.settings
        notification = notification_of(run, words, settings.cache_dir)
        if notification is not None:
            await notify(*notification, settings)

    def note(self, outcome: RunOutcome) -> Run:
        """The line of the history, written."""
        run_info, meter = self.run_info, self.meter
        run = Run(
            at=self.at,
            what=run_info.what,
            symbol=run_info.symbol,
            interval=run_info.interval,
            datasets=run_info.datasets,
            start=run_info.start,
            end=run_info.end,
            ending=outcome.ending,
            files=outcome.files,
            rows=meter.rows if outcome.rows is None else outcome.rows,
            bytes_received=meter.bytes_received,
            requests=meter.requests,
            retries=meter.retries,
            rate_limited=meter.rate_limited,
            seconds=round(time.monotonic() - self.began, 3),
            failures=outcome.failures,
            error=outcome.error,
        )
        note_run(run_info.settings.cache_dir, run)
        return run
