"""A Dask cluster as executor: jobs of a few steps each, repeated where that may help."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Self

from distributed import Client, Future, KilledWorker

from ares_notebook.binance.rate_limit import Limit
from ares_notebook.cache.entry import CacheEntry, Receipt, with_neighbours
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.estimate import check_disk
from ares_notebook.download.report import StepReport
from ares_notebook.errors import AresError, RateLimited, ServerFault, WorkerLost
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.parquet_manifest import Manifest, StoredFile
from ares_notebook.runtime.progress import count
from ares_notebook.scale.monitor import WorkerMonitor
from ares_notebook.scale.worker import FILES_A_JOB, RunSpec, StepResult, fetch_files, read_receipts

_RECEIPTS_A_JOB = 200
# Listings of the destination at once.
_LISTINGS = 16
# A worker that has died may have died of another file.
_TRANSIENT = (RateLimited, ServerFault, WorkerLost)
# A step, and the future of its result.
_Waiting = tuple[Step, asyncio.Future[StepResult]]

# The exchange's clock, by which sources are stamped, is known to the second and may lag by one.
_CLOCK_LAG = timedelta(seconds=2)


class DaskExecutor:
    """The workers of a Dask cluster, as `Executor`; an async context manager."""

    # All steps are submitted at once, so that an adaptive cluster knows how much there is to do;
    # beyond this number they wait here, since each costs memory of ours and of the scheduler.
    slots = 4096

    def __init__(self, client: Client, spec: RunSpec, store: Store, monitor: WorkerMonitor) -> None:
        # Shared by all plans that run at the same time.
        self._slots = asyncio.Semaphore(self.slots)
        self._client = client
        self._spec = spec
        self._store = store
        self._monitor = monitor
        # What is known of the files at the destination, and why some cannot be known.
        self._entries: dict[CacheFile, CacheEntry] = {}
        self._unreadable: dict[CacheFile, AresError] = {}
        # The manifests, and those of which the destination has another version.
        self._manifests: dict[Series, Manifest] = {}
        self._changed: set[Series] = set()
        self._jobs = 0
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._begin(self._monitor.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def keeps_files(self) -> bool:
        """As `Executor` says; a file at a destination is written once."""
        return self._spec.to is None

    def apply_limits(self, limits: Mapping[str, Limit], resting: Mapping[str, str]) -> None:
        """As `Executor` says; they are sent with each job."""
        limits, resting = {**self._spec.limits, **limits}, {**self._spec.resting, **resting}
        self._spec = replace(self._spec, limits=limits, resting=resting)

    async def fetch_file(self, step: Step) -> StepReport:
        """As `Executor` says; a transient failure is repeated once."""
        if step.file in self._unreadable:
            raise self._unreadable[step.file]
        async with self._slots:
            # In the format of receipts, so that both compare as text.
            began = (datetime.now(UTC) - _CLOCK_LAG).isoformat(timespec="seconds")
            result = await self._result_of_step(step)
        report = result.report
        if result.stored is not None:
            # The whole file was written; only the rows that were not there before are new.
            before = self._entry(step.file).facts.rows
            self.note(step.file, result.stored)
            return replace(report, rows=max(0, self._entry(step.file).facts.rows - before))
        if report.action == "skip" and step.action != "skip" and self._spec.to is None:
            return await asyncio.to_thread(self._report_of_existing, report, step, began)
        return report

    def _report_of_existing(self, report: StepReport, step: Step, began: str) -> StepReport:
        """The report of a file that is there already: maybe written by a worker that died before it answered."""
        self._store.refresh_file(step.file)
        entry = self._store.entry(step.file)
        if not entry.sources or entry.sources[-1].at < began:
            return report
        rows = entry.facts.rows - step.entry.facts.rows
        return replace(report, action=step.action, reason=step.reason, rows=max(0, rows))

    async def _result_of_step(self, step: Step) -> StepResult:
        with suppress(*_TRANSIENT):
            result = await self._in_job(step)
            if not isinstance(result.report.error, _TRANSIENT):
                return result
        # Alone, so that a file that kills its worker fails no other.
        return await self._in_job(step, is_alone=True)

    async def _in_job(self, step: Step, *, is_alone: bool = False) -> StepResult:
        """Have a step done in a job of its own, or with others that are waiting now."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting = step, loop.create_future()
        if is_alone:
            self._begin(self._job([waiting]))
        else:
            if not self._waiting:
                # After all others that are ready to run have added their steps.
                loop.call_soon(self._submit_waiting)
            self._waiting.append(waiting)
        result = await waiting[1]
        count(**result.counts)
        return result

    def _submit_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        # At least two jobs per worker, so that one that is done early has another.
        size = min(FILES_A_JOB, math.ceil(len(waiting) / (2 * max(1, self._monitor.workers))))
        for at in range(0, len(waiting), size):
            self._begin(self._job(waiting[at : at + size]))

    async def _job(self, waiting: Sequence[_Waiting]) -> None:
        """Run one job, and set the result of each of its steps."""
        steps = [step for step, _ in waiting]
        try:
            answers = await self._result(fetch_files, steps, name=steps[0].file.name)
        except BaseException as error:  # noqa: BLE001 - passed on to all futures, a cancel included
            answers = [error] * len(steps)
        for (_, future), answer in zip(waiting, answers, strict=True):
            if future.done():
                # Its caller was cancelled.
                continue
            if isinstance(answer, StepResult):
                future.set_result(answer)
            elif isinstance(answer, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(answer)

    async def entries(self, files: Sequence[CacheFile]) -> list[CacheEntry]:
        """As `Executor` says."""
        if self._spec.to is None:
            self._store.refresh()
            return await asyncio.to_thread(self._store.entries, files)
        if not files or files[0].dataset.key != "id":
            return [self._entry(file) for file in files]
        # With all known files of the series, whose edges prove something of their neighbours.
        known = {file for file in self._entries if file.series == files[0].series}
        every = sorted({*known, *files}, key=lambda file: file.stamp)
        found = {
            entry.file: entry for entry in with_neighbours([self._entry(file) for file in every])
        }
        return [found[file] for file in files]

    def check_room(self, steps: Sequence[Step]) -> None:
        """As `Executor` says; an object store has no limit."""
        if self._spec.to is None:
            check_disk(steps, self._spec.settings)

    async def read_destination(self, files: Sequence[CacheFile]) -> None:
        """
        Know which of *files* are at the destination, and their receipts.

        By a listing and a manifest a series; only what no manifest has is read, many per job. What of
        a series cannot be read fails its files alone.
        """
        by_series: dict[Series, list[CacheFile]] = {}
        for file in files:
            by_series.setdefault(file.series, []).append(file)
        destination, free = self._spec.destination, asyncio.Semaphore(_LISTINGS)
        size_of: dict[CacheFile, int] = {}

        async def known(series: Series) -> list[CacheFile]:
            try:
                async with free:
                    sizes, manifest = await asyncio.to_thread(destination.found, series)
            except AresError as error:
                self._unreadable |= dict.fromkeys(by_series[series], error)
                return []
            self._manifests[series] = manifest
            there = [file for file in by_series[series] if file.name in sizes]
            size_of.update((file, sizes[file.name]) for file in there)
            noted = {
                file: manifest[file.name]
                for file in there
                if file.name in manifest and manifest[file.name].size == sizes[file.name]
            }
            for file, stored in noted.items():
                self._keep(file, stored)
            return [file for file in there if file not in self._entries]

        unknown = list(chain.from_iterable(await asyncio.gather(*map(known, by_series))))
        starts = range(0, len(unknown), _RECEIPTS_A_JOB)
        parts = [unknown[at : at + _RECEIPTS_A_JOB] for at in starts]
        jobs = (
            self._result(read_receipts, part, name=f"look-{at}") for at, part in enumerate(parts)
        )
        for part, texts in zip(parts, await asyncio.gather(*jobs), strict=True):
            for file, text in zip(part, texts, strict=True):
                if isinstance(text, AresError):
                    self._unreadable[file] = text
                elif text is not None:
                    # Its bytes were hashed by no run that has ended.
                    self.note(file, StoredFile(size_of[file], "", 0, text))

    def write_manifests(self) -> list[str]:
        """Write the manifests of what was uploaded; why some could not be written."""
        notes = []
        for series in sorted(self._changed, key=lambda each: each.stem):
            try:
                self._spec.destination.note(series, self._manifests[series])
            except AresError as error:
                notes.append(f"the manifest of {series.stem} could not be written: {error}")
        return notes

    def _entry(self, file: CacheFile) -> CacheEntry:
        return self._entries.get(file) or CacheEntry(file)

    def note(self, file: CacheFile, stored: StoredFile) -> None:
        """Keep a file that was uploaded just now."""
        self._keep(file, stored)
        self._manifests.setdefault(file.series, {})[file.name] = stored
        self._changed.add(file.series)

    def _keep(self, file: CacheFile, stored: StoredFile) -> None:
        """Keep what the receipt of a file at the destination says."""
        receipt = Receipt.from_json(stored.receipt)
        if receipt is not None and receipt.file == file.name:
            self._entries[file] = CacheEntry(
                file,
                f"{self._spec.to}/{file.name}" if receipt.facts.rows else None,
                receipt.facts,
                receipt.sources,
                receipt.absences,
                receipt.final,
                is_remembered=True,
                has_provenance=True,
            )

    async def _result(self, function: Any, *arguments: Any, name: str) -> Any:
        """What a job returned, on whichever worker."""
        self._jobs += 1
        key = f"ares-{self._spec.run}-{self._jobs}-{name}"
        submit = self._client.submit
        future: Future[Any] = submit(function, self._spec, key, *arguments, key=key, pure=False)
        try:
            return await self._monitor.result_of(key, future)
        except KilledWorker as error:
            msg = f"{name}: {error}; run again, with workers of more memory if they ran out of it"
            raise WorkerLost(msg) from error
        finally:
            # A job that nobody waits for is not begun; one that has begun, `close_session` stops.
            future.release()  # type: ignore[no-untyped-call]
