"""Carry out plans, one or several: with one session, one progress, and a report of each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.estimate import Cost
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport, StepReport, skipped
from ares_notebook.errors import AresError
from ares_notebook.formatting import many
from ares_notebook.runtime.progress import (
    DatasetProgress,
    Progress,
    ProgressListener,
    ProgressReporter,
    shown,
)
from ares_notebook.runtime.tasks import Memoized

if TYPE_CHECKING:
    from ares_notebook.binance.http import Transport
    from ares_notebook.binance.rest import Rest
    from ares_notebook.download.runner import Executor

_LOGGER = logging.getLogger("DataDownloader")
_COUNTS = (
    *("steps_done", "steps_total", "steps_failed"),
    *("rows", "bytes_received", "bytes_expected"),
)


async def run_plan(
    plan: Plan,
    *,
    on_progress: ProgressListener | None = None,
    executor: Executor | None = None,
) -> DownloadReport:
    """Do what one plan says; an error that stops it as a whole is raised."""
    [result] = await _results([plan], on_progress, executor)
    if isinstance(result, AresError):
        raise result
    _log_failures(result)
    return result


async def run_plans(
    plans: Sequence[Plan],
    *,
    on_progress: ProgressListener | None = None,
    executor: Executor | None = None,
) -> DownloadReport:
    """
    Do what plans of the same settings say; one that fails as a whole does not stop the others.

    As many are under way at once as have, together, twice as many files to fetch as there are
    slots: small ones run side by side, and while the next large one asks what it must know first,
    the one before it still fetches.
    """
    if not plans:
        return DownloadReport()
    began = time.monotonic()
    results = await _results(plans, on_progress, executor)
    reports = [
        _failed(plan, result) if isinstance(result, AresError) else result
        for plan, result in zip(plans, results, strict=True)
    ]
    report = replace(DownloadReport.joined(reports), seconds=time.monotonic() - began)
    _log_failures(report)
    return report


def _log_failures(report: DownloadReport) -> None:
    """Log how many files failed: where nobody prints the report, this is all that is seen of it."""
    if report.failed:
        _LOGGER.error("%s", report.failed_in_words)


def _failed(plan: Plan, error: AresError) -> DownloadReport:
    steps = plan.to_do or plan.steps
    return DownloadReport(
        tuple(StepReport.of(step, missing=len(step.gaps), error=error) for step in steps)
    )


async def _results(
    plans: Sequence[Plan], on_progress: ProgressListener | None, executor: Executor | None
) -> list[DownloadReport | AresError]:
    """What became of each plan: its report, or the error that stopped it as a whole."""
    slots = plans[0].settings.max_concurrency if executor is None else executor.slots
    free = _Slots(2 * slots)
    with shown(plans[0].settings, on_progress) as listener:
        async with AsyncExitStack() as stack:
            session = _Session(plans, stack)
            progress = _ProgressOfAll(plans, listener, session)
            if any(plan.to_do for plan in plans):
                progress.begin()

            async def run(number: int, taken: int) -> DownloadReport | AresError:
                def hear(each: Progress) -> None:
                    progress.hear(number, each)

                try:
                    return await _run(plans[number], session, hear, executor)
                finally:
                    free.give_back(taken)

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = []
                    for number, plan in enumerate(plans):
                        # Not before there is room: 500 plans of 60 files are no 30,000 tasks.
                        taken = max(1, min(len(plan.to_do), slots))
                        await free.take(taken)
                        tasks.append(group.create_task(run(number, taken)))
            except asyncio.CancelledError as stopped:
                stopped.add_note(progress.so_far())
                raise
            finally:
                progress.close()
            progress.end()
    return [task.result() for task in tasks]


async def _run(
    plan: Plan, session: _Session, on_progress: ProgressListener, executor: Executor | None
) -> DownloadReport | AresError:
    """Carry out one plan; where it has nothing to do, no request is made."""
    began = time.monotonic()
    if _LOGGER.isEnabledFor(logging.DEBUG):
        for step in plan.steps:
            source = f", by {step.sources[0]}" if step.sources else ""
            _LOGGER.debug("%s: %s, since %s%s", step.file.name, step.action, step.reason, source)
    unnoted = [step for step in plan.steps if _is_unnoted(step)]
    try:
        if plan.to_do or unnoted:
            rest = await session.rest() if plan.to_do else None
            await _import_runner()
            from ares_notebook.download.runner import run_steps  # noqa: PLC0415 - as said there

            return await run_steps(
                plan,
                unnoted,
                session.store,
                rest,
                on_progress=on_progress,
                executor=executor,
                reported=session.reported,
            )
        # What another market has filled is not complete, however whole it looks.
        await asyncio.to_thread(session.store.refuse_another)
    except AresError as error:
        return error
    except OSError as error:
        # Such as a lock that cannot be taken: it stops this plan, and no other.
        return cannot_access(session.store.folder, error)
    return DownloadReport(tuple(map(skipped, plan.steps)), time.monotonic() - began)


def _is_unnoted(step: Step) -> bool:
    """Whether a file is complete and its receipt lost, or written for other times."""
    entry = step.entry
    return step.action == "skip" and entry.on_disk is not None and not entry.is_remembered


async def _import_runner() -> None:
    """
    Import what carries out steps, in a thread.

    Network and NumPy are slow to import: a complete cache needs neither.
    """
    await asyncio.to_thread(import_module, "ares_notebook.download.runner")


class _Slots:
    """So many slots; a plan starts when there are enough of them for it."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._given_back = asyncio.Event()

    async def take(self, count: int) -> None:
        while self._free < count:
            self._given_back.clear()
            await self._given_back.wait()
        self._free -= count

    def give_back(self, count: int) -> None:
        self._free += count
        self._given_back.set()


class _Session:
    """What all plans share: one listing of the cache, one session with the exchange."""

    def __init__(self, plans: Sequence[Plan], stack: AsyncExitStack) -> None:
        self._settings = plans[0].settings
        self.store = Store(self._settings)
        self.reported: set[str] = set()
        self._symbols = len({plan.symbol for plan in plans if plan.to_do})
        self._stack = stack
        self._rest: Memoized[Rest] = Memoized()
        self._transport: Transport | None = None

    @property
    def waiting(self) -> str:
        """What has been waited for longer than a second."""
        return "" if self._transport is None else self._transport.waiting

    async def rest(self) -> Rest:
        """The session, opened for the first plan that has anything to do."""
        return await self._rest.get("the session", self._open)

    async def _open(self) -> Rest:
        await _import_runner()
        from ares_notebook.binance.http import Transport  # noqa: PLC0415 - as said there
        from ares_notebook.binance.rest import Rest  # noqa: PLC0415 - as said there
        from ares_notebook.cache.locks import sweep  # noqa: PLC0415 - as said there

        self.store.prepare()
        sweep(self.store)
        self._transport = await self._stack.enter_async_context(Transport(self._settings))
        return Rest(self._transport, self._symbols)


class _ProgressOfAll:
    """How far all plans are, reported whenever one of them reports."""

    def __init__(
        self, plans: Sequence[Plan], listener: ProgressListener | None, session: _Session
    ) -> None:
        self._reporter = ProgressReporter(listener)
        self._session = session
        self._each = [_expected(plan) for plan in plans]
        self._latest: int | None = None
        self._began = time.monotonic()

    def begin(self) -> None:
        self._reporter.tell(self._sum)

    def hear(self, number: int, progress: Progress) -> None:
        self._each[number], self._latest = progress, number
        self._reporter.tell(self._sum)

    def end(self) -> None:
        if self._latest is not None:
            self._reporter.tell(self._sum, at_once=True)
        self.close()

    def close(self) -> None:
        self._reporter.close()

    def so_far(self) -> str:
        """How far it is, for whoever has stopped it."""
        sums = _sums(self._each, _COUNTS)
        every = self._each
        what = every[0].symbol if len(every) == 1 else many(len(every), "symbol")
        return (
            f"{what}: {sums['steps_done']:,} of {sums['steps_total']:,} files were worked on, and "
            f"what came is kept; run the same again to go on"
        )

    def _sum(self) -> Progress:
        """All together; the file is that of the plan that reported last."""
        every = self._each
        names = dict.fromkeys(part.dataset for each in every for part in each.parts)
        parts = {
            name: [part for each in every for part in each.parts if part.dataset == name]
            for name in names
        }
        return replace(
            every[self._latest or 0],
            **_sums(every, (*_COUNTS, "requests")),
            seconds=time.monotonic() - self._began,
            waiting=self._session.waiting,
            parts=tuple(
                DatasetProgress(name, **_sums(of_name, _COUNTS)) for name, of_name in parts.items()
            ),
        )


def _expected(plan: Plan) -> Progress:
    """The progress of a plan that has not begun."""
    names = dict.fromkeys(step.file.dataset.name for step in plan.to_do)
    by_name = {
        name: [step for step in plan.to_do if step.file.dataset.name == name] for name in names
    }
    parts = tuple(
        DatasetProgress(
            name, 0, len(steps), bytes_expected=Cost.of(steps, plan.settings).bytes_received
        )
        for name, steps in by_name.items()
    )
    total = len(plan.to_do)
    return Progress(plan.symbol, "", "", 0, total, 0, 0, 0, plan.bytes_received, 0.0, parts)


def _sums(every: Sequence[Progress | DatasetProgress], names: Sequence[str]) -> dict[str, Any]:
    return {name: sum(getattr(each, name) for each in every) for name in names}
