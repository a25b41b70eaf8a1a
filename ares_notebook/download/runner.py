"""A plan under way: its steps side by side, each failing alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from msgspec import structs

from ares_notebook.binance.archive import Archive
from ares_notebook.binance.rate_limit import Limit
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.estimate import check_disk, trades_in_words
from ares_notebook.download.fetch import Exchange, fetch_file, remember
from ares_notebook.download.plan import Plan
from ares_notebook.download.preflight import by_their_clock, preflight
from ares_notebook.download.report import DownloadReport, StepReport, skipped
from ares_notebook.errors import AresError, CacheError, NotEnoughDisk
from ares_notebook.model.files import CacheFile
from ares_notebook.runtime.progress import (
    DatasetProgress,
    Meter,
    Progress,
    ProgressListener,
    ProgressReporter,
    count,
    metered,
)
from ares_notebook.settings import Settings

_LOGGER = logging.getLogger("DataDownloader")
_MOST_LOGGED = 3
# Trades of this size are a warning, which is shown where nobody has set up logging.
_LARGE_BYTES = 1e9


class Executor(Protocol):
    """Who carries out the steps of a plan: this process, or a cluster."""

    @property
    def slots(self) -> int:
        """How many steps are worked on at once."""

    @property
    def keeps_files(self) -> bool:
        """Whether files are in the cache folder, so that their receipts can be updated later."""

    def apply_limits(self, limits: Mapping[str, Limit], resting: Mapping[str, str]) -> None:
        """Keep to the limits that the exchange stated, and ask no host that rests, and why it does."""

    async def fetch_file(self, step: Step) -> StepReport:
        """Carry out one step; requests and bytes are counted on the meter of the caller."""

    async def entries(self, files: Sequence[CacheFile]) -> list[CacheEntry]:
        """What there is now of *files*, of one series and in order of time, with the neighbours of each."""

    def check_room(self, steps: Sequence[Step]) -> None:
        """Raise if the disk is too full for *steps*."""


class LocalExecutor:
    """Carries out steps in this process, in the cache itself."""

    def __init__(self, settings: Settings, exchange: Exchange, store: Store) -> None:
        self.slots = settings.max_concurrency
        self.keeps_files = True
        self._settings = settings
        self._exchange = exchange
        self._store = store

    def apply_limits(self, limits: Mapping[str, Limit], resting: Mapping[str, str]) -> None:
        """As `Executor` says; the session of this process has them already."""

    async def fetch_file(self, step: Step) -> StepReport:
        """As `Executor` says."""
        return await fetch_file(step, self._exchange, self._store)

    async def entries(self, files: Sequence[CacheFile]) -> list[CacheEntry]:
        """As `Executor` says."""
        return await asyncio.to_thread(self._store.entries, files)

    def check_room(self, steps: Sequence[Step]) -> None:
        """As `Executor` says."""
        check_disk(steps, self._settings)


async def run_steps(
    plan: Plan,
    unnoted: Sequence[Step],
    store: Store,
    rest: Rest | None,
    *,
    on_progress: ProgressListener,
    executor: Executor | None,
    reported: set[str],
) -> DownloadReport:
    """Carry out a plan in which there is something to do, or to note; log no reason of *reported*."""
    notes = await _note_all(unnoted, store) if unnoted else []
    run = _PlanRun(plan, store, ProgressReporter(on_progress), time.monotonic(), executor, reported)
    run.notes += notes
    if rest is not None:
        try:
            await run.do(rest)
        finally:
            run.close()
    return run.report()


async def _note_all(unnoted: Sequence[Step], store: Store) -> list[str]:
    """Note what had to be looked into; a disk that takes no note makes no file less complete, and is told."""
    store.refuse_another()
    try:
        store.prepare()
        for step in unnoted:
            await remember(step, store)
    except CacheError as error:
        note = f"what was measured is not stored, and is measured again: {error}"
        _LOGGER.warning("%s", note)
        return [note]
    return []


@dataclass(slots=True)
class _PlanRun:
    """One plan under way: what is shared by its steps, and what has become of them."""

    plan: Plan
    store: Store
    reporter: ProgressReporter
    began: float
    others: Executor | None
    # Reasons that have been logged, by this plan or another of the same run.
    reported: set[str]
    overhead: Meter = field(default_factory=Meter)
    notes: list[str] = field(default_factory=list)
    results: dict[str, StepReport] = field(default_factory=dict)
    meters: list[tuple[Step, Meter]] = field(default_factory=list)
    failures: int = 0
    is_cut_short: bool = False

    async def do(self, rest: Rest) -> None:
        """Check what the plan depends on, then carry out the steps concurrently."""
        source = self.plan.settings.source
        with closing(Archive(rest.transport, self.store.folder)) as archive:
            await self._do(Exchange(archive, rest, source))

    async def _do(self, exchange: Exchange) -> None:
        rest, source = exchange.rest, exchange.source
        executor = self.others or LocalExecutor(self.plan.settings, exchange, self.store)
        self._tell_of_weaker_evidence(source)
        with metered(self.overhead):
            self.plan = await preflight(self.plan, exchange, self.store, self._note)
            refused = await self._check_size(exchange, executor)
            executor.apply_limits(rest.transport.limits, rest.transport.breaker.resting)
        # Trades are large and come last. Of all files the newest come first, so that a mistake
        # in the arguments shows at once.
        ready = [step for step in self.plan.to_do if not _waits(step)]
        steps = sorted(ready, key=lambda step: step.file.dataset.key == "id")
        for step in steps:
            if step.file.name in refused:
                self.results[step.file.name] = _failed(step, refused[step.file.name])
        left = iter(
            [
                structs.replace(step, edges_wait=step.file.dataset.key == "id")
                for step in _bounds_first(steps)
                if step.file.name not in refused
            ]
        )
        async with asyncio.TaskGroup() as group:
            for _ in range(min(executor.slots, len(steps))):
                group.create_task(self._steps(left, executor))
        await self._join(executor)
        self.is_cut_short = by_their_clock(self.plan, exchange.rest, self._note).is_cut_short
        self.notes += exchange.rest.notes
        self._tell(None, at_once=True)

    def _tell_of_weaker_evidence(self, source: str) -> None:
        """Say why files are asked for again that an earlier run took for complete, or left open."""
        weak = [
            step
            for step in self.plan.to_do
            if source != "archive"
            and step.file.dataset.has_rest
            and not all(each.is_proof for each in step.entry.absences)
        ]
        if weak:
            more = f" and {len(weak) - 1} others" if len(weak) > 1 else ""
            self.notes.append(
                f"{weak[0].file.name}{more}: gaps on weaker evidence than counts, such as the "
                f"archive's empty answer alone, or an earlier version's; the exchange was asked once more"
            )

    async def _steps(self, left: Iterator[Step], executor: Executor) -> None:
        """One step after the other, of those that are left."""
        for step in left:
            await self._step(step, executor)

    async def _join(self, executor: Executor) -> None:
        """
        Prove the edges between days of trades, now that the days are there.

        Where the ids run on, that is noted; where they do not, and at the first and the last
        edge, the exchange is asked: one after the other, since what is found at one edge may
        prove the other.
        """
        trades = [step for step in self.plan.steps if step.file.dataset.key == "id"]
        if all(step.action == "skip" for step in trades):
            return
        sound = [step for step in trades if not self._has_failed(step)]
        entries = await executor.entries([step.file for step in sound])
        joined, discontinuous = [], []
        for step, entry in zip(sound, entries, strict=True):
            now = decide(entry, step.until_ms, self.plan.settings.source)
            has_news = executor.keeps_files and bool(entry.unrecorded_edges(step.until_ms))
            if now.action != "skip" and (entry.facts.rows or step.action == "skip"):
                # A day without any row was requested in full.
                discontinuous.append(step)
            elif has_news:
                joined.append(now)
            elif step.action != "skip":
                self._tell_again(now)
        left = iter(joined)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(executor.slots, len(joined))):
                group.create_task(self._again(left, executor))
        for step in discontinuous:
            [entry] = await executor.entries([step.file])
            now = decide(entry, step.until_ms, self.plan.settings.source)
            if now.action != "skip" or executor.keeps_files:
                await self._again(iter([now]), executor)
            else:
                self._tell_again(now)

    async def _again(self, left: Iterator[Step], executor: Executor) -> None:
        """One step after the other, of files that have been worked on already."""
        for now in left:
            before = self.results.get(now.file.name)
            await self._step(now, executor)
            self.results[now.file.name] = _both(before, self.results[now.file.name])

    def _tell_again(self, now: Step) -> None:
        """What became of a file, now that its neighbours are there."""
        if (before := self.results.get(now.file.name)) is not None:
            after = skipped(now)
            self.results[now.file.name] = replace(before, missing=after.missing, why=after.why)

    def _has_failed(self, step: Step) -> bool:
        result = self.results.get(step.file.name)
        return result is not None and result.error is not None

    async def _check_size(self, exchange: Exchange, executor: Executor) -> dict[str, NotEnoughDisk]:
        """Know the sizes before anything large is fetched; the trades that do not fit are refused."""
        if self.plan.settings.source != "rest":
            self.plan = await self.plan.measured_by(exchange.archive)
        trades = [step for step in self.plan.to_do if step.file.dataset.key == "id"]
        if trades:
            is_large = sum(step.bytes_stored for step in trades) > _LARGE_BYTES
            level = logging.WARNING if is_large else logging.INFO
            _LOGGER.log(level, "%s: %s", self.plan.symbol, trades_in_words(trades))
        try:
            executor.check_room(self.plan.to_do)
        except NotEnoughDisk as error:
            return {step.file.name: error for step in trades}
        return {}

    async def _step(self, step: Step, executor: Executor) -> None:
        """One file; its failure is recorded, and stops no other."""
        meter = Meter(on_change=lambda: self._tell(step))
        self.meters.append((step, meter))
        with metered(meter):
            try:
                result = await executor.fetch_file(step)
                count(rows=result.rows)
            except AresError as error:
                result = _failed(step, error)
            except OSError as error:
                # Such as a file of the cache that cannot be read.
                result = _failed(step, cannot_access(self.store.folder, error))
        if result.error is not None:
            # A host that is down fails a thousand files; the report names all.
            self.failures += 1
            is_new = self.failures <= _MOST_LOGGED and self._is_new(result.error)
            level = logging.ERROR if is_new else logging.DEBUG
            _LOGGER.log(level, "%s failed: %s", step.file.name, result.error)
        requests, received = meter.requests, meter.bytes_received
        self.results[step.file.name] = replace(result, requests=requests, bytes_received=received)
        self._tell(step)

    def close(self) -> None:
        """Report how far it has come, and nothing more."""
        self._tell(None, at_once=True)
        self.reporter.close()

    def report(self) -> DownloadReport:
        """What became of all steps, in the plan's order."""
        steps = tuple(self.results.get(step.file.name) or skipped(step) for step in self.plan.steps)
        return DownloadReport(
            steps,
            time.monotonic() - self.began,
            tuple(self.notes),
            self.overhead.requests,
            self.overhead.bytes_received,
            self.is_cut_short,
        )

    def _note(self, text: str, cause: AresError | None = None) -> None:
        note = f"{text}: {cause}" if cause else text
        _LOGGER.log(logging.WARNING if self._is_new(cause or text) else logging.DEBUG, "%s", note)
        self.notes.append(note)

    def _is_new(self, reason: object) -> bool:
        """Whether no other plan or file of the run has logged this reason."""
        is_new = str(reason) not in self.reported
        self.reported.add(str(reason))
        return is_new

    def _tell(self, step: Step | None, *, at_once: bool = False) -> None:
        self.reporter.tell(lambda: self._progress(step), at_once=at_once)

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
            steps_failed=sum(part.steps_failed for part in parts),
        )

    def _part(self, dataset: str) -> DatasetProgress:
        steps = [each for each in self.plan.to_do if each.file.dataset.name == dataset]
        results = [each for each in self.results.values() if each.dataset == dataset]
        meters = [meter for step, meter in self.meters if step.file.dataset.name == dataset]
        return DatasetProgress(
            dataset,
            # A day that was whole until its neighbour came is worked on in addition to the plan.
            min(len(results), len(steps)),
            len(steps),
            sum(each.rows for each in results),
            sum(each.bytes_received for each in meters),
            sum(each.bytes_received for each in steps),
            sum(each.error is not None for each in results),
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
    counted = [step.entry.is_counted_before(gap) for gap in step.gaps]
    return bool(counted) and all(counted)


def _failed(step: Step, error: AresError) -> StepReport:
    return StepReport.of(step, missing=len(step.gaps), error=error)


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
