"""Watch over the workers of a run: one that shows no sign of work for too long is restarted."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection
from typing import Any

from distributed import Client, Future

from ares_notebook.errors import WorkerLost
from ares_notebook.scale.worker import Brief, alive_topic, share
from ares_notebook.settings import Settings

__all__ = ["Watch", "answers_of", "answers_of_all", "programs_of", "workers_of"]

_LOGGER = logging.getLogger("DataDownloader")
_MARGIN_SECONDS = 5.0
_MOST_PAUSE_SECONDS = 2.0
_RESTART_SECONDS = 10.0


class Watch:
    """
    What is heard of the workers of a run.

    A worker is late if a job that it has begun says nothing for ``worker_timeout_seconds``, or if
    it has jobs of ours and the scheduler hears nothing of it for as long. Dask then restarts it, as
    it does by itself after five minutes: what held locks is gone, and others do its jobs.
    """

    def __init__(self, client: Client, brief: Brief, addresses: int, workers: int) -> None:
        self._client = client
        self._brief = brief
        self._addresses = addresses
        self.workers = workers
        self._seconds = bound_seconds(brief.settings)
        # Job: on which worker it is, and when it last gave a sign.
        self._heard: dict[str, tuple[str, float]] = {}
        self._lost: dict[str, asyncio.Future[None]] = {}
        self._was_late: set[str] = set()
        # Worker: the last sign that the scheduler has of it, and when that was new to us.
        self._seen: dict[str, tuple[float, float]] = {}

    async def keep(self) -> None:
        """Watch until it is cancelled."""
        topic = alive_topic(self._brief.run)
        self._client.subscribe_topic(topic, self._hear)  # type: ignore[no-untyped-call]
        try:
            while True:
                await asyncio.sleep(min(_MOST_PAUSE_SECONDS, self._seconds / 4))
                try:
                    await self._look()
                except OSError as error:
                    # A scheduler that is gone ends all jobs; that is told there.
                    _LOGGER.debug("the scheduler was not heard: %s", error)
                except Exception as error:  # noqa: BLE001 - it is told, and the watch goes on
                    _LOGGER.warning("the workers could not be looked at: %r", error)
        finally:
            if self._client.status == "running":
                self._client.unsubscribe_topic(topic)  # type: ignore[no-untyped-call]

    async def result_of(self, job: str, future: Future[Any]) -> Any:
        """What a job returned."""
        lost = self._lost[job] = asyncio.get_running_loop().create_future()
        ended = asyncio.create_task(_result(future))
        try:
            await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                lost.result()
            return await ended
        finally:
            ended.cancel()
            self._lost.pop(job)
            self._heard.pop(job, None)

    def _hear(self, event: tuple[float, dict[str, str]]) -> None:
        _, told = event
        # A worker that was given up and woke again may still be at a job that others have done.
        if told["job"] in self._lost:
            self._heard[told["job"]] = told["worker"], time.monotonic()

    async def _look(self) -> None:
        workers = await workers_of(self._client)
        now = time.monotonic()
        self.workers = len(workers)
        if workers.keys() != self._seen.keys():
            # A worker that was restarted knows nothing of it either.
            await self._share()
        before = self._seen
        self._seen = {
            worker: before[worker] if before.get(worker, (0.0,))[0] == sign else (sign, now)
            for worker, sign in workers.items()
        }
        late_jobs = [job for job, (_, at) in self._heard.items() if now - at > self._seconds]
        late = {self._heard[job][0] for job in late_jobs} | await self._silent(now)
        for job in late_jobs:
            self._note_late(job)
        self._heard = {job: told for job, told in self._heard.items() if told[0] not in late}
        if late:
            await _restart(self._client, late, self._seconds)

    def _note_late(self, job: str) -> None:
        lost = self._lost.get(job)
        if job in self._was_late and lost is not None and not lost.done():
            msg = (
                f"two workers have shown no sign of work for {self._seconds:g} seconds, one after the "
                f"other, over the same files; look at the disk that they write to, and run again"
            )
            lost.set_exception(WorkerLost(msg))
        self._was_late.add(job)

    async def _silent(self, now: float) -> set[str]:
        """The workers that have jobs of ours, and of which the scheduler has not heard for long."""
        silent = {each for each, (_, at) in self._seen.items() if now - at > self._seconds}
        if not silent:
            return silent
        own = f"ares-{self._brief.run}-"
        processing: dict[str, list[str]] = await self._client.processing()  # type: ignore[no-untyped-call]
        return {
            each for each in silent if any(key.startswith(own) for key in processing.get(each, ()))
        }

    async def _share(self) -> None:
        """Tell all workers by how many programs the rate is now divided."""
        programs = programs_of(self.workers, self._addresses)
        shared_by = self._brief.sharing(programs).settings.address_shared_by
        # Who does not answer is left to be found late: nothing here may wait for him.
        await answers_of(self._client, _MOST_PAUSE_SECONDS, share, self._brief.run, shared_by)


async def _result(future: Future[Any]) -> Any:
    return await future


def bound_seconds(settings: Settings) -> float:
    """How long a worker may show no sign of work."""
    # An exchange that does not answer is given up by the worker before the worker is.
    patience = settings.request_timeout_seconds + _MARGIN_SECONDS
    return max(settings.worker_timeout_seconds, patience)


async def answers_of(
    client: Client, seconds: float, function: Callable[..., Any], *arguments: Any
) -> dict[str, Any]:
    """What *function* returns on each worker, or raises there; without those that give no answer in time."""
    workers = await workers_of(client)
    # Asked one by one, since all together answer when the last of them does.
    asked = [
        asyncio.ensure_future(client.run(function, *arguments, workers=[worker], on_error="return"))
        for worker in workers
    ]
    if asked:
        await asyncio.wait(asked, timeout=seconds)
    answers: dict[str, Any] = {}
    for answer in asked:
        if not answer.done():
            answer.cancel()
        elif answer.exception() is None:
            answers |= answer.result()
    return answers


async def answers_of_all(
    client: Client, settings: Settings, function: Callable[..., Any], *arguments: Any
) -> dict[str, Any]:
    """The same, within the bound of *settings*; a worker that gives no answer is restarted."""
    seconds = bound_seconds(settings)
    before = await workers_of(client)
    answers = await answers_of(client, seconds, function, *arguments)
    silent = before.keys() & (await workers_of(client)).keys() - answers.keys()
    if silent:
        await _restart(client, silent, seconds)
    return answers


async def _restart(client: Client, late: Collection[str], seconds: float) -> None:
    for worker in sorted(late):
        _LOGGER.warning(
            "the worker %s has shown no sign of work for %.0f seconds; it is restarted, and its "
            "files are given to others",
            worker,
            seconds,
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
    """The workers of a cluster, each with when the scheduler has last heard of it, by its own clock."""
    # Not `scheduler_info`, which tells such a client what it heard when it connected.
    found: dict[str, Any] = await client.scheduler.identity(n_workers=-1)  # type: ignore[union-attr]
    return {worker: each["last_seen"] for worker, each in found["workers"].items()}
