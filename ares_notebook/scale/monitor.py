"""Monitor the workers of a run: one that sends no heartbeat for too long is restarted."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection
from typing import Any

from distributed import Client, Future

from ares_notebook.errors import CacheUnavailable, UnfitEnvironment, WorkerLost
from ares_notebook.scale.worker import (
    RunSpec,
    heartbeat_topic,
    not_shared_with,
    prepare_worker,
    sees,
    set_shared_by,
)
from ares_notebook.settings import Settings

_LOGGER = logging.getLogger("DataDownloader")
_MARGIN_SECONDS = 5.0
_MOST_PAUSE_SECONDS = 2.0
_RESTART_SECONDS = 10.0
# As a worker's answer names them; the type of the exception is lost on the way.
_NOT_IMPORTED = ("ModuleNotFoundError", "ImportError", "AttributeError")


class WorkerMonitor:
    """
    The heartbeats of the workers of a run.

    A worker is late if for ``worker_timeout_seconds`` a job that it has begun sends no heartbeat,
    or the scheduler hears nothing of it though it has jobs of ours; also if for twice as long none
    of its jobs sends one, though all are ours. Dask then restarts it, as it does by itself after
    five minutes: its locks are released, and others do its jobs.
    """

    def __init__(self, client: Client, spec: RunSpec, addresses: int, workers: int) -> None:
        self._client = client
        self._spec = spec
        self._addresses = addresses
        self.workers = workers
        self._timeout_seconds = _timeout_seconds(spec.settings)
        # Job: its worker, and when its last heartbeat came.
        self._heartbeats: dict[str, tuple[str, float]] = {}
        self._lost: dict[str, asyncio.Future[None]] = {}
        # Job: the workers that were late with it.
        self._was_late: dict[str, set[str]] = {}
        # Worker: when it last sent a heartbeat, or had jobs of others or none.
        self._at_work: dict[str, float] = {}
        # Worker: the scheduler's timestamp of its last message, and when that was new to us.
        self._last_seen: dict[str, tuple[float, float]] = {}

    async def run(self) -> None:
        """Monitor until cancelled."""
        topic = heartbeat_topic(self._spec.run)
        self._client.subscribe_topic(topic, self._receive)  # type: ignore[no-untyped-call]
        try:
            while True:
                await asyncio.sleep(min(_MOST_PAUSE_SECONDS, self._timeout_seconds / 4))
                try:
                    # A scheduler that does not answer must not end the monitoring.
                    async with asyncio.timeout(self._timeout_seconds + 2 * _RESTART_SECONDS):
                        await self._check()
                except OSError as error:
                    # A scheduler that is gone ends all jobs, which report it.
                    _LOGGER.debug("the scheduler did not answer: %s", error)
                except Exception as error:  # noqa: BLE001 - logged, and monitoring goes on
                    _LOGGER.warning("the workers could not be checked: %r", error)
        finally:
            if self._client.status == "running":
                self._client.unsubscribe_topic(topic)  # type: ignore[no-untyped-call]

    async def result_of(self, job: str, future: Future[Any]) -> Any:
        """The result of a job; raises `WorkerLost` where two workers were late with it."""
        lost = self._lost[job] = asyncio.get_running_loop().create_future()
        result = asyncio.ensure_future(future)
        try:
            await asyncio.wait({result, lost}, return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                lost.result()
            return await result
        finally:
            result.cancel()
            self._lost.pop(job)
            self._heartbeats.pop(job, None)

    def _receive(self, event: tuple[float, dict[str, str]]) -> None:
        _, heartbeat = event
        worker, now = heartbeat["worker"], time.monotonic()
        self._at_work[worker] = now
        # A worker that was restarted or woke late may still do a job that others have done.
        if heartbeat["job"] in self._lost:
            self._heartbeats[heartbeat["job"]] = worker, now

    async def _check(self) -> None:
        workers = await workers_of(self._client)
        now = time.monotonic()
        self.workers = len(workers)
        if workers.keys() != self._last_seen.keys():
            # A worker that was restarted does not know the share either.
            await self._send_share()
        before = self._last_seen
        self._last_seen = {
            worker: before[worker] if before.get(worker, (0.0,))[0] == at else (at, now)
            for worker, at in workers.items()
        }
        oldest = now - self._timeout_seconds
        # Of a worker that is still there a heartbeat is kept: its restart may have failed.
        self._heartbeats = {
            job: (worker, at)
            for job, (worker, at) in self._heartbeats.items()
            if worker in workers or at >= oldest
        }
        late_jobs = [(job, worker) for job, (worker, at) in self._heartbeats.items() if at < oldest]
        late = {worker for _, worker in late_jobs} | await self._late_workers(now, oldest)
        for job, worker in late_jobs:
            self._note_late(job, worker)
        if late:
            await _restart(self._client, late, self._timeout_seconds)

    def _note_late(self, job: str, worker: str) -> None:
        workers = self._was_late.setdefault(job, set())
        workers.add(worker)
        lost = self._lost.get(job)
        if len(workers) > 1 and lost is not None and not lost.done():
            msg = (
                f"two workers have shown no sign of work for {self._timeout_seconds:g} seconds, one "
                f"after the other, over the same files; look at the disk that they write to, and run "
                f"again"
            )
            lost.set_exception(WorkerLost(msg))

    async def _late_workers(self, now: float, oldest: float) -> set[str]:
        """
        The workers with jobs of ours that since *oldest* have sent nothing to the scheduler, or not one heartbeat.

        The second finds what hangs in a job that the scheduler has forgotten, with ours behind it.
        A first job may have to import much, so that this takes twice the time.
        """
        processing: dict[str, list[str]] = await self._client.processing()  # type: ignore[no-untyped-call]
        own = f"ares-{self._spec.run}-"
        is_own = {
            worker: [key.startswith(own) for key in processing.get(worker, ())]
            for worker in self._last_seen
        }
        self._at_work = {
            worker: self._at_work.get(worker, now) if jobs and all(jobs) else now
            for worker, jobs in is_own.items()
        }
        return {
            worker
            for worker, jobs in is_own.items()
            if any(jobs)
            and (
                self._last_seen[worker][1] < oldest
                or self._at_work[worker] < oldest - self._timeout_seconds
            )
        }

    async def _send_share(self) -> None:
        """Send the number of programs that share the rate limit to all workers."""
        programs = programs_of(self.workers, self._addresses)
        shared_by = self._spec.sharing(programs).settings.address_shared_by
        # A worker that does not answer is found late; this does not wait for it.
        await answers_of(
            self._client, _MOST_PAUSE_SECONDS, set_shared_by, self._spec.run, shared_by
        )


async def refuse_other_versions(client: Client, settings: Settings) -> None:
    """Raise where a worker lacks this package or has another version: its log would show what it was sent."""
    own = prepare_worker()
    for worker, there in (await _answers_of_all(client, settings, prepare_worker)).items():
        lacks = isinstance(there, Exception) and any(each in str(there) for each in _NOT_IMPORTED)
        if not lacks and (isinstance(there, Exception) or there == own):
            continue
        what = f"cannot import it ({there})" if lacks else f"has {there}"
        msg = (
            f"this is ares-notebook {own}, and the worker {worker} {what}; install the same version "
            f"on all workers"
        )
        raise UnfitEnvironment(msg)


async def refuse_other_folders(client: Client, spec: RunSpec) -> None:
    """Raise where a worker does not see the shared folder: it would fail fast, and be given most jobs."""
    if spec.mark is None:
        return
    for worker, is_seen in (await _answers_of_all(client, spec.settings, sees, spec.mark)).items():
        if is_seen is False:
            msg = not_shared_with(f"the worker {worker}", spec)
            raise CacheUnavailable(msg)


def _timeout_seconds(settings: Settings) -> float:
    """How long a worker may send no heartbeat; longer than it may wait for the exchange."""
    waiting_seconds = settings.request_timeout_seconds + _MARGIN_SECONDS
    return max(settings.worker_timeout_seconds, waiting_seconds)


async def answers_of(
    client: Client, wait_seconds: float, function: Callable[..., Any], *arguments: Any
) -> dict[str, Any]:
    """What *function* returns or raises on each worker that answers in time."""
    workers = await workers_of(client)
    # Asked one by one, since all together answer when the last of them does.
    asked = [
        asyncio.ensure_future(client.run(function, *arguments, workers=[worker], on_error="return"))
        for worker in workers
    ]
    if asked:
        await asyncio.wait(asked, timeout=wait_seconds)
    answers: dict[str, Any] = {}
    for answer in asked:
        if not answer.done():
            answer.cancel()
        elif answer.exception() is None:
            answers |= answer.result()
    return answers


async def _answers_of_all(
    client: Client, settings: Settings, function: Callable[..., Any], *arguments: Any
) -> dict[str, Any]:
    """As `answers_of`; a worker that does not answer within the timeout is restarted."""
    seconds = _timeout_seconds(settings)
    before = await workers_of(client)
    answers = await answers_of(client, seconds, function, *arguments)
    silent = before.keys() & (await workers_of(client)).keys() - answers.keys()
    if silent:
        await _restart(client, silent, seconds)
    return answers


async def _restart(client: Client, late: Collection[str], late_seconds: float) -> None:
    for worker in sorted(late):
        _LOGGER.warning(
            "the worker %s has shown no sign of work for %.0f seconds; it is restarted, and its "
            "files are given to others",
            worker,
            late_seconds,
        )
    await client.scheduler.restart_workers(  # type: ignore[union-attr]
        workers=sorted(late),
        timeout=_RESTART_SECONDS,
        wait_for_workers=False,
        on_error="return",
        stimulus_id="ares-late",
    )


def programs_of(workers: int, addresses: int) -> int:
    """How many programs of a run ask from one address: its share of the workers, and of the client."""
    return math.ceil((workers + 1) / addresses)


async def workers_of(client: Client) -> dict[str, float]:
    """The workers of a cluster, each with the scheduler's timestamp of its last message."""
    # Not `scheduler_info`, which such a client does not renew after it has connected.
    found: dict[str, Any] = await client.scheduler.identity(n_workers=-1)  # type: ignore[union-attr]
    return {worker: each["last_seen"] for worker, each in found["workers"].items()}
