"""Carry out several plans as one: over one line, with one progress and one report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ares_notebook.cache.locks import sweep
from ares_notebook.cache.store import Store
from ares_notebook.download.estimate import Cost
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport, told
from ares_notebook.download.run_plan import run_plan
from ares_notebook.errors import AresError
from ares_notebook.formatting import many
from ares_notebook.runtime.progress import (
    DatasetProgress,
    Progress,
    ProgressListener,
    ProgressReporter,
    heard_by,
    shown,
)
from ares_notebook.runtime.tasks import Memoized
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    from ares_notebook.binance.rest import Rest
    from ares_notebook.download.executor import Executor

__all__ = ["run_plans"]


async def run_plans(
    plans: Sequence[Plan],
    *,
    on_progress: ProgressListener | None = None,
    executor: Executor | None = None,
) -> DownloadReport:
    """
    Do what *plans* say, in their order; a plan that fails as a whole does not stop the others.

    Plans of the same settings share one session, one budget a host and one look at the cache. As
    many are under way at once as have, together, twice as many files to bring as there are places
    (``max_concurrency``): small ones go side by side, and while the next large one asks what it
    must know first, the one before it still fetches.
    """
    if not plans:
        return DownloadReport()
    began = time.monotonic()
    with shown(plans[0].settings, on_progress) as listener:
        course = _Course(plans, listener)
        # Of one plan among many nobody is told: no bar, no listener of the caller's.
        with heard_by(_unheard):
            try:
                async with AsyncExitStack() as stack:
                    reports = await _SideBySide(plans, course, stack, executor).reports()
            except asyncio.CancelledError as stopped:
                stopped.add_note(course.so_far())
                raise
            finally:
                course.close()
        course.end()
    return replace(DownloadReport.joined(reports), seconds=time.monotonic() - began)


class _SideBySide:
    """Several plans under way, no more of them at once than there are places for."""

    def __init__(
        self,
        plans: Sequence[Plan],
        course: _Course,
        stack: AsyncExitStack,
        executor: Executor | None,
    ) -> None:
        self._plans = plans
        self._course = course
        self._hands = executor
        self._places = _Places(2 * max(map(self._places_of, plans)))
        self._shared = {plan.settings: _Shared(plan.settings, stack) for plan in plans}
        self._reports: list[DownloadReport] = [DownloadReport()] * len(plans)

    async def reports(self) -> list[DownloadReport]:
        """What became of each, in the order of the plans."""
        async with asyncio.TaskGroup() as group:
            for number, plan in enumerate(self._plans):
                # Not before there is room: 500 plans of 60 files are no 30,000 tasks.
                await self._places.take(self._tasks_of(plan))
                group.create_task(self._one(number, plan))
        return self._reports

    async def _one(self, number: int, plan: Plan) -> None:
        shared = self._shared[plan.settings]
        try:
            self._reports[number] = await run_plan(
                replace(plan, settings=shared.quiet),
                on_progress=lambda progress: self._course.hear(number, progress),
                store=shared.store,
                rest=await shared.rest() if plan.to_do else None,
                executor=self._hands,
            )
        except AresError as error:
            self._reports[number] = _failed(plan, error)
        finally:
            self._places.give_back(self._tasks_of(plan))

    def _tasks_of(self, plan: Plan) -> int:
        """How many tasks it will have."""
        return max(1, min(len(plan.to_do), self._places_of(plan)))

    def _places_of(self, plan: Plan) -> int:
        return plan.settings.max_concurrency if self._hands is None else self._hands.places


def _failed(plan: Plan, error: AresError) -> DownloadReport:
    steps = plan.to_do or plan.steps
    return DownloadReport(tuple(told(step, missing=len(step.gaps), error=error) for step in steps))


class _Places:
    """So many places; one who waits is let in when there are enough for him."""

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


class _Shared:
    """What plans of the same settings share: one look at the cache, one line to the exchange."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self.store = Store(settings)
        self.quiet = settings.model_copy(update={"progress": False})
        self._stack = stack
        self._line: Memoized[Rest] = Memoized()

    async def rest(self) -> Rest:
        """The line; made for the first who has anything to do."""
        return await self._line.get("the line", self._opened)

    async def _opened(self) -> Rest:
        # As in `run_plan`: a complete cache needs no network, and is not kept waiting for it.
        await asyncio.to_thread(import_module, "ares_notebook.download.runner")
        from ares_notebook.binance.http import Transport  # noqa: PLC0415 - as said
        from ares_notebook.binance.rest import Rest  # noqa: PLC0415 - as said

        self.store.prepare()
        sweep(self.store)
        return Rest(await self._stack.enter_async_context(Transport(self.quiet)))


def _unheard(progress: Progress) -> None:
    """Whoever hears of all plans together need not hear of each."""


class _Course:
    """How far all plans are, told whenever one of them says how far it is."""

    def __init__(self, plans: Sequence[Plan], listener: ProgressListener | None) -> None:
        self._teller = ProgressReporter(listener)
        self._each = [_expected(plan) for plan in plans]
        self._latest: int | None = None
        self._began = time.monotonic()

    def hear(self, number: int, progress: Progress) -> None:
        self._each[number], self._latest = progress, number
        self._teller.tell(self._sum)

    def end(self) -> None:
        if self._latest is not None:
            self._teller.tell(self._sum, at_once=True)
        self.close()

    def close(self) -> None:
        self._teller.close()

    def so_far(self) -> str:
        """How far it is, for who has stopped it."""
        sums = _sums(self._each, _COUNTS)
        return (
            f"{many(len(self._each), 'symbol')}: {sums['steps_done']:,} of {sums['steps_total']:,} "
            f"files were worked on, and what came is kept; run the same again to go on"
        )

    def _sum(self) -> Progress:
        """All together; what is under way is told by the one that spoke last."""
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


_COUNTS = ("steps_done", "steps_total", "rows", "bytes_received", "bytes_expected")


def _sums(every: Sequence[Progress | DatasetProgress], names: Sequence[str]) -> dict[str, Any]:
    return {name: sum(getattr(each, name) for each in every) for name in names}
