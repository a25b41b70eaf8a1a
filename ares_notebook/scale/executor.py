"""The hands of a cluster: jobs of a few steps each, tried again where that may help."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from distributed import Client, Future, KilledWorker

from ares_notebook.binance.rate_limit import Limit
from ares_notebook.cache.entry import CacheEntry, Receipt, with_neighbours
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.estimate import check_disk
from ares_notebook.download.report import StepReport
from ares_notebook.errors import (
    CacheUnavailable,
    RateLimited,
    ServerFault,
    UnfitEnvironment,
    WorkerLost,
)
from ares_notebook.model.files import CacheFile, parse_file_name
from ares_notebook.runtime.progress import count
from ares_notebook.scale.watch import Watch, answers_of_all
from ares_notebook.scale.worker import (
    FILES_A_JOB,
    Brief,
    Done,
    look,
    made_fit,
    sees,
    unseen_by,
    work,
)
from ares_notebook.settings import Settings

__all__ = ["DaskExecutor", "refuse_blind", "refuse_strangers"]

_FILES_A_LOOK = 200
# A worker that has died may have died of another file.
_PASSING = (RateLimited, ServerFault, WorkerLost)
# As a worker's answer names them; what kind of exception it was gets lost on the way.
_NOT_IMPORTED = ("ModuleNotFoundError", "ImportError", "AttributeError")


class DaskExecutor:
    """
    The workers of a Dask cluster, as `Executor`; an async context manager.

    Files that are asked for at the same time go to the workers as jobs of a few files each.
    """

    # All are given out at once, so that a cluster that adapts sees how much there is to do;
    # more than these wait with us, since each costs memory of ours and of the scheduler.
    places = 4096

    def __init__(self, client: Client, brief: Brief, store: Store, watch: Watch) -> None:
        # Plans that go side by side have as many together.
        self._free = asyncio.Semaphore(self.places)
        self._client = client
        self._brief = brief
        self._store = store
        self._receipts: dict[str, Receipt] = {}
        self._files: set[CacheFile] = set()
        self._jobs = 0
        self._waiting: list[_Wish] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch = watch

    async def __aenter__(self) -> Self:
        self._begin(self._watch.keep())
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
        """As `Executor` says; at an address a file is put whole, and not touched again."""
        return self._brief.to is None

    def apply_limits(self, limits: Mapping[str, Limit]) -> None:
        """As `Executor` says: the workers are told with each job."""
        self._brief = replace(self._brief, limits={**self._brief.limits, **limits})

    async def fetch_file(self, step: Step) -> StepReport:
        """As `Executor` says; a job that failed in passing is tried once more, elsewhere or later."""
        async with self._free:
            # As sources tell their time, so that the texts compare, whatever a receipt holds.
            began = datetime.now(UTC).isoformat(timespec="seconds")
            report, receipt = await self._tried(step)
        if receipt is not None:
            # What is put anew is put whole; new are the rows that were not there before.
            before = self._have(step.file).facts.rows
            self._note(receipt)
            return replace(report, rows=max(0, self._have(step.file).facts.rows - before))
        if report.action == "skip" and step.action != "skip" and self._brief.to is None:
            return await asyncio.to_thread(self._counted, report, step, began)
        return report

    def _counted(self, report: StepReport, step: Step, began: str) -> StepReport:
        """The report of a file that is there already: maybe by a worker that died before it could tell."""
        self._store.refresh_file(step.file)
        entry = self._store.entry(step.file)
        if not entry.sources or entry.sources[-1].at < began:
            return report
        rows = entry.facts.rows - step.entry.facts.rows
        return replace(report, action=step.action, reason=step.reason, rows=max(0, rows))

    async def _tried(self, step: Step) -> tuple[StepReport, str | None]:
        """The report of a step, and the receipt of what it put at the address."""
        try:
            done = await self._in_a_job(step)
            if not isinstance(done.report.error, _PASSING):
                return done.report, done.receipt
        except _PASSING:
            pass
        # Alone, so that no other file suffers from what a worker may die of.
        done = await self._in_a_job(step, is_alone=True)
        return done.report, done.receipt

    async def _in_a_job(self, step: Step, *, is_alone: bool = False) -> Done:
        """Have a step done, together with others that are asked for now, or alone."""
        wish = _Wish(step, asyncio.get_running_loop().create_future())
        if is_alone:
            self._begin(self._job([wish]))
        else:
            if not self._waiting:
                # When all who ask in this turn of the loop have asked.
                asyncio.get_running_loop().call_soon(self._give_out)
            self._waiting.append(wish)
        done = await wish.done
        meter = done.meter
        count(
            requests=meter.requests,
            bytes_received=meter.bytes_received,
            retries=meter.retries,
            rate_limited=meter.rate_limited,
        )
        return done

    def _give_out(self) -> None:
        wishes, self._waiting = self._waiting, []
        # Few files are for all workers too, and for who is done first there shall be another job.
        size = min(FILES_A_JOB, math.ceil(len(wishes) / (2 * max(1, self._watch.workers))))
        for at in range(0, len(wishes), size):
            self._begin(self._job(wishes[at : at + size]))

    async def _job(self, wishes: Sequence[_Wish]) -> None:
        """One job; tells each who waits for a file of it."""
        steps = [wish.step for wish in wishes]
        name = steps[0].file.name
        try:
            answers = await self._result(work, steps, name=name)
        except BaseException as error:  # noqa: BLE001 - handed on to all who wait, a cancel included
            answers = [error] * len(steps)
        for wish, answer in zip(wishes, answers, strict=True):
            if wish.done.done():
                # Who waited for it was cancelled.
                continue
            if isinstance(answer, Done):
                wish.done.set_result(answer)
            elif isinstance(answer, asyncio.CancelledError):
                wish.done.cancel()
            else:
                wish.done.set_exception(answer)

    async def entries(self, files: Sequence[CacheFile]) -> list[CacheEntry]:
        """As `Executor` says."""
        if self._brief.to is None:
            self._store.refresh()
            return await asyncio.to_thread(self._store.entries, files)
        if not files or files[0].dataset.key != "id":
            return [self._have(file) for file in files]
        # What lies beside them counts too, whether it is asked for or not.
        series = {file for file in self._files if file.series == files[0].series}
        row = sorted({*series, *files}, key=lambda file: file.stamp)
        found = {entry.file: entry for entry in with_neighbours([self._have(file) for file in row])}
        return [found[file] for file in files]

    def check_room(self, steps: Sequence[Step]) -> None:
        """As `Executor` says; an object store has room."""
        if self._brief.to is None:
            check_disk(steps, self._brief.settings)

    async def look(self, files: Sequence[CacheFile]) -> None:
        """Learn what is at the address of *files*, many a job."""
        stacks = [files[at : at + _FILES_A_LOOK] for at in range(0, len(files), _FILES_A_LOOK)]
        for texts in await asyncio.gather(
            *(self._result(look, stack, name=f"look-{at}") for at, stack in enumerate(stacks))
        ):
            for text in filter(None, texts):
                self._note(text)

    def _note(self, text: str) -> None:
        receipt = Receipt.from_json(text)
        file = parse_file_name(receipt.file) if receipt is not None else None
        if receipt is not None and file is not None:
            self._receipts[receipt.file] = receipt
            self._files.add(file)

    def _have(self, file: CacheFile) -> CacheEntry:
        receipt = self._receipts.get(file.name)
        if receipt is None:
            return CacheEntry(file)
        return CacheEntry(
            file,
            f"{self._brief.to}/{file.name}" if receipt.facts.rows else None,
            receipt.facts,
            receipt.sources,
            receipt.absences,
            receipt.final,
            is_remembered=True,
            has_provenance=True,
        )

    async def _result(self, function: Any, *what: Any, name: str) -> Any:
        """What a job returned, wherever it ran."""
        self._jobs += 1
        key = f"ares-{self._brief.run}-{self._jobs}-{name}"
        submit = self._client.submit
        future: Future[Any] = submit(function, self._brief, key, *what, key=key, pure=False)
        try:
            return await self._watch.result_of(key, future)
        except KilledWorker as error:
            msg = f"{name}: {error}; run again, with workers of more memory if they ran out of it"
            raise WorkerLost(msg) from error
        finally:
            # What nobody wants any more is not begun; what has begun, `close` stops.
            future.release()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Wish:
    """A step that somebody waits for."""

    step: Step
    done: asyncio.Future[Done]


async def refuse_strangers(client: Client, settings: Settings) -> None:
    """
    Refuse a cluster in which a worker could not do our jobs, before it is given one.

    A worker that cannot read a job stops, and its log shows what it was sent.
    """
    own = made_fit()
    for worker, there in (await answers_of_all(client, settings, made_fit)).items():
        lacks = isinstance(there, Exception) and any(each in str(there) for each in _NOT_IMPORTED)
        if not lacks and (isinstance(there, Exception) or there == own):
            continue
        what = f"cannot import it ({there})" if lacks else f"has {there}"
        msg = (
            f"this is ares-notebook {own}, and the worker {worker} {what}; install the same version "
            f"on all workers"
        )
        raise UnfitEnvironment(msg)


async def refuse_blind(client: Client, brief: Brief) -> None:
    """
    Refuse a cluster in which a worker does not see the folder that all are to share.

    It would fail faster than others work, and so be given most of the jobs.
    """
    if brief.mark is None:
        return
    for worker, is_seen in (await answers_of_all(client, brief.settings, sees, brief.mark)).items():
        if is_seen is False:
            msg = unseen_by(f"the worker {worker}", brief)
            raise CacheUnavailable(msg)
