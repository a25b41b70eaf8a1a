"""A plan under way: its steps side by side, each failing alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ares_notebook.cache.beside import haves_of
from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.lock import sweep
from ares_notebook.cache.store import Store
from ares_notebook.errors import AresError, NotEnoughDisk
from ares_notebook.exchange.archive import Archive
from ares_notebook.exchange.meter import Meter, count, metered
from ares_notebook.exchange.rest import Rest
from ares_notebook.exchange.transport import Transport
from ares_notebook.market.datasets import AGG_TRADES
from ares_notebook.work.bring import bring, remember
from ares_notebook.work.decide import Step, decide
from ares_notebook.work.fill import Roads
from ares_notebook.work.plan import Plan
from ares_notebook.work.progress import Part, Progress, ProgressListener, Teller, shown
from ares_notebook.work.report import DownloadReport, StepReport, skipped, told
from ares_notebook.work.settle import settle
from ares_notebook.work.sizes import check_disk

__all__ = ["work_on"]

_LOGGER = logging.getLogger("DataDownloader")
_MOST_TOLD = 3


async def work_on(
    plan: Plan,
    forgotten: Sequence[Step],
    store: Store,
    *,
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Carry out a plan in which there is something to do.

    Parameters
    ----------
    plan : Plan
    forgotten : sequence of Step
        Files that are complete, and whose receipt is to be written anew.
    store : Store
    on_progress : callable, optional

    Returns
    -------
    DownloadReport
    """
    began = time.monotonic()
    store.prepare()
    sweep(store)
    for step in forgotten:
        await remember(step, store)
    with shown(plan.settings, on_progress) as listener:
        work = _Work(plan, store, Teller(listener), began)
        if plan.to_do:
            try:
                async with Transport(plan.settings) as transport:
                    await work.do(transport)
            finally:
                work.teller.close()
    return work.report()


@dataclass(slots=True)
class _Work:
    """One plan under way: what is shared by its steps, and what has become of them."""

    plan: Plan
    store: Store
    teller: Teller
    began: float
    overhead: Meter = field(default_factory=Meter)
    notes: list[str] = field(default_factory=list)
    results: dict[str, StepReport] = field(default_factory=dict)
    meters: list[tuple[Step, Meter]] = field(default_factory=list)
    failures: int = 0

    async def do(self, transport: Transport) -> None:
        """Learn what must be known first, then carry out the steps side by side."""
        source = self.plan.settings.source
        roads = Roads(Archive(transport, self.store.folder), Rest(transport), source)
        with metered(self.overhead):
            self.plan = await settle(self.plan, roads, self.store, self._note)
            refused = await self._check_size(roads)
        # K-lines and funding go first, trades follow as places become free; of each
        # the newest first, so that a wrong wish shows at once.
        ready = [step for step in self.plan.to_do if not _waits(step)]
        steps = sorted(ready, key=lambda step: step.file.dataset is AGG_TRADES)
        places = asyncio.Semaphore(self.plan.settings.max_concurrency)
        async with asyncio.TaskGroup() as group:
            for step in _bounds_first(steps):
                if step.file.name in refused:
                    self.results[step.file.name] = _failed(step, refused[step.file.name])
                else:
                    group.create_task(self._step(step, roads, places))
        await self._join(roads)
        self.notes += roads.rest.notes
        self._tell(None, at_once=True)

    async def _join(self, roads: Roads) -> None:
        """
        Mend the seams between days of trades: where the ids do not run on, rows are missing.

        One after the other, since what is found at one edge may prove the other.
        """
        place = asyncio.Semaphore(1)
        for step in await asyncio.to_thread(self._torn):
            [have] = await asyncio.to_thread(haves_of, self.store, [step.file])
            now = decide(have, step.until_ms, self.plan.settings.source)
            before = self.results.get(step.file.name)
            if now.action == "skip":
                self.results[step.file.name] = before or skipped(now)
                continue
            await self._step(now, roads, place)
            self.results[step.file.name] = _both(before, self.results[step.file.name])

    def _torn(self) -> list[Step]:
        """Days of trades that looked whole until their neighbours were there."""
        trades = [step for step in self.plan.steps if step.file.dataset is AGG_TRADES]
        if all(step.action == "skip" for step in trades):
            return []
        sound = [step for step in trades if not self._is_open(step)]
        haves = haves_of(self.store, [step.file for step in sound])
        pairs = zip(sound, haves, strict=True)
        return [
            step
            for step, have in pairs
            if have.unexplained(step.until_ms) or (step.action != "skip" and _waits(step))
        ]

    def _is_open(self, step: Step) -> bool:
        result = self.results.get(step.file.name)
        return result is not None and (result.error is not None or result.missing > 0)

    async def _check_size(self, roads: Roads) -> dict[str, NotEnoughDisk]:
        """Know the sizes before anything large is fetched; the trades that do not fit are refused."""
        if self.plan.settings.source != "rest":
            self.plan = await self.plan.measured_by(roads.archive)
        try:
            check_disk(self.plan.to_do, self.plan.settings)
        except NotEnoughDisk as error:
            trades = [step for step in self.plan.to_do if step.file.dataset is AGG_TRADES]
            return {step.file.name: error for step in trades}
        return {}

    async def _step(self, step: Step, roads: Roads, places: asyncio.Semaphore) -> None:
        """One file; its failure is noted, and stops nobody else."""
        async with places:
            meter = Meter(on_change=lambda: self._tell(step))
            self.meters.append((step, meter))
            with metered(meter):
                try:
                    result = await bring(step, roads, self.store)
                    count(rows=result.rows)
                except AresError as error:
                    result = _failed(step, error)
                except OSError as error:
                    # A disk that is full while a zip waits to be checked.
                    result = _failed(step, cannot_access(self.store.folder, error))
            if result.error is not None:
                # A host that is down fails a thousand files; the report tells of all.
                self.failures += 1
                level = logging.ERROR if self.failures <= _MOST_TOLD else logging.DEBUG
                _LOGGER.log(level, "%s failed: %s", step.file.name, result.error)
            requests, received = meter.requests, meter.bytes_received
            self.results[step.file.name] = replace(
                result, requests=requests, bytes_received=received
            )
            self._tell(step)

    def report(self) -> DownloadReport:
        """What became of all steps, in the plan's order."""
        steps = tuple(self.results.get(step.file.name) or skipped(step) for step in self.plan.steps)
        return DownloadReport(
            steps,
            time.monotonic() - self.began,
            tuple(self.notes),
            self.overhead.requests,
            self.overhead.bytes_received,
        )

    def _note(self, note: str) -> None:
        _LOGGER.warning("%s", note)
        self.notes.append(note)

    def _tell(self, step: Step | None, *, at_once: bool = False) -> None:
        self.teller.tell(lambda: self._progress(step), at_once=at_once)

    def _progress(self, step: Step | None) -> Progress:
        names = dict.fromkeys(each.file.dataset.name for each in self.plan.to_do)
        parts = tuple(self._part(name) for name in names)
        return Progress(
            symbol=self.plan.symbol,
            dataset=step.file.dataset.name if step else "",
            file_name=step.file.name if step else "",
            steps_done=sum(part.steps_done for part in parts),
            steps_total=len(self.plan.to_do),
            rows=sum(part.rows for part in parts),
            requests=sum(meter.requests for _, meter in self.meters),
            bytes_received=sum(part.bytes_received for part in parts),
            bytes_expected=self.plan.bytes_received,
            seconds=time.monotonic() - self.began,
            parts=parts,
        )

    def _part(self, dataset: str) -> Part:
        steps = [each for each in self.plan.to_do if each.file.dataset.name == dataset]
        results = [each for each in self.results.values() if each.dataset == dataset]
        meters = [meter for step, meter in self.meters if step.file.dataset.name == dataset]
        return Part(
            dataset,
            # A day that was whole until its neighbour came is worked on beside the plan.
            min(len(results), len(steps)),
            len(steps),
            sum(each.rows for each in results),
            sum(each.bytes_received for each in meters),
            sum(each.bytes_received for each in steps),
        )


def _bounds_first(steps: Sequence[Step]) -> Iterable[Step]:
    """The newest and the oldest of each dataset first, then the others, newest first."""
    by_dataset: dict[str, list[Step]] = {}
    for step in steps:
        by_dataset.setdefault(step.file.dataset.name, []).append(step)
    for group in by_dataset.values():
        yield from [group[-1], *group[:1], *reversed(group[1:-1])][: len(group)]


def _waits(step: Step) -> bool:
    """Whether a day lacks only what may turn out to belong to the day before."""
    return all(step.have.is_told_before(hole) for hole in step.holes) and step.doubt is None


def _failed(step: Step, error: AresError) -> StepReport:
    return told(step, missing=len(step.holes), error=error)


def _both(first: StepReport | None, second: StepReport) -> StepReport:
    """What became of a file that was worked on twice."""
    if first is None:
        return second
    return replace(
        second,
        action=first.action,
        reason=first.reason,
        rows=first.rows + second.rows,
        requests=first.requests + second.requests,
        bytes_received=first.bytes_received + second.bytes_received,
    )
