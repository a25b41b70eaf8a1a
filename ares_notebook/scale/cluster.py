"""Download on a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster
from distributed.client import FutureCancelledError

from ares_notebook.cache.locks import sweep
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.download.run_plans import run_plan, run_plans
from ares_notebook.download.universe import UniversePlan
from ares_notebook.errors import BadArgument, UnfitEnvironment, WorkerLost
from ares_notebook.runtime.loop import run
from ares_notebook.runtime.progress import ProgressListener
from ares_notebook.scale.executor import DaskExecutor, refuse_blind, refuse_strangers
from ares_notebook.scale.watch import Watch, answers_of, programs_of, workers_of
from ares_notebook.scale.worker import Brief, brief_of, close, deliver
from ares_notebook.settings import Settings

__all__ = ["as_there", "deliver_notes", "download", "made_ready", "run_plans_on"]


@asynccontextmanager
async def made_ready(
    plans: Sequence[Plan], brief: Brief
) -> AsyncIterator[tuple[tuple[Plan, ...], Brief]]:
    """
    The plans with the folder in which the client works, and the brief with a sign of that folder.
    """
    if brief.to is not None:
        await asyncio.to_thread(brief.destination.refuse_another, brief.settings.market_name)
        with tempfile.TemporaryDirectory(prefix="ares-") as folder, _marked(brief) as ready:
            own = plans[0].settings.model_copy(update={"cache_dir": Path(folder)})
            yield tuple(replace(plan, settings=own) for plan in plans), ready
        return
    if not any(plan.to_do for plan in plans):
        yield tuple(plans), brief
        return
    store = Store(brief.settings)
    store.prepare()
    try:
        with _marked(brief) as ready:
            yield tuple(plans), ready
    finally:
        # What workers left that were killed.
        await asyncio.to_thread(sweep, store)


@contextmanager
def _marked(brief: Brief) -> Iterator[Brief]:
    """Put a file into a folder that the workers are to share: a worker that sees it has the same."""
    if brief.folder is None:
        yield brief
        return
    mark = brief.folder / f".run-{brief.run}"
    mark.touch()
    try:
        yield replace(brief, mark=str(mark))
    finally:
        mark.unlink(missing_ok=True)


async def as_there(plans: Sequence[Plan], executor: DaskExecutor) -> tuple[Plan, ...]:
    """The plans for what the dataset holds, in place of what the cache holds."""
    await executor.look([step.file for plan in plans for step in plan.steps])
    return tuple([replace(plan, steps=await _steps(plan, executor)) for plan in plans])


async def _steps(plan: Plan, executor: DaskExecutor) -> tuple[Step, ...]:
    steps: list[Step] = []
    for _, group in groupby(plan.steps, lambda step: step.file.series):
        own = list(group)
        entries = await executor.entries([step.file for step in own])
        pairs = zip(entries, own, strict=True)
        steps += [decide(entry, step.until_ms, plan.settings.source) for entry, step in pairs]
    return tuple(steps)


def deliver_notes(brief: Brief, settings: Settings) -> None:
    """Put what the client has learnt itself beside the rest: that there is no perpetual, say."""
    store = Store(settings)
    for file in store.files():
        receipt = store.receipt(file)
        if receipt is not None:
            deliver(brief.destination, file, store, receipt)


_LOGGER = logging.getLogger("DataDownloader")
_CLOSE_SECONDS = 5.0


def download(
    plan: Plan | UniversePlan,
    client: Client | None = None,
    *,
    to: str | None = None,
    decimal: bool = False,
    addresses: int = 1,
    storage_options: Mapping[str, Any] | None = None,
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Carry out *plan* on a Dask cluster, and wait for it.

    Idempotent jobs of a few files each: a worker that dies loses nothing, since its jobs are
    done by others. One that shows no sign of work for ``worker_timeout_seconds``, stopped or
    hung, is restarted, and loses nothing either. Without *to* the workers share the cache folder of the plan, and write the
    bytes that one process would have written. With *to* each job downloads into a cache of
    the worker's own, checks, converts to Parquet as `to_parquet` lays it out, and puts the
    whole object once, its receipt in its metadata; what is there and proven is skipped.
    An interrupt cancels the jobs.

    Parameters
    ----------
    plan : Plan or UniversePlan
        As `plan_downloads` or `plan_universe` makes it. With *to* what the local cache holds does not count.
    client : distributed.Client, optional
        Of any cluster, also one that adapts. Defaults to a `LocalCluster` of a process a core,
        for this call.
    to : str, optional
        Where a dataset is, or is to be, as fsspec writes it: ``s3://bucket/dataset``.
    decimal : bool
        With *to*: numbers as exact decimals; False as 64-bit floats.
    addresses : int
        From how many IP addresses the workers ask: the exchange counts by address. With
        1 (the default) all workers share one limit.
    storage_options : mapping, optional
        What fsspec wants besides to reach *to*: keys, an ``endpoint_url``.
    on_progress : callable, optional
        Takes a `Progress`, as in `download_all_data`.

    Returns
    -------
    DownloadReport
        As that of `download_all_data`, and a line in the run history of the local cache, where there is one.

    Raises
    ------
    BadArgument
        If an argument cannot be meant.
    UnknownSymbol, CacheUnavailable, WrongMarket
        As there; if *to* cannot be reached, or holds the data of another market; if a worker
        does not see the folder that all are to share.
    UnfitEnvironment
        If a worker lacks this package, or has another version of it; if a script without
        ``if __name__ == "__main__":`` would have a cluster started for it.
    WorkerLost
        If the scheduler goes away; what was finished is stored.

    Examples
    --------
    >>> import tempfile
    >>> from distributed import Client, LocalCluster
    >>> from ares_notebook import DemoExchange, plan_downloads, scale
    >>> with (DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder,
    ...       LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
    ...       Client(cluster) as client):
    ...     settings = exchange.settings(cache_dir=folder, progress=False)
    ...     plan = plan_downloads("BTCUSDT", "1d", 1, end="2025-01-01", datasets=["klines"], settings=settings)
    ...     report = scale.download(plan, client)
    >>> bool(report), report.rows_written
    (True, 366)
    """
    _check(plan, client, to, addresses, needs_to=decimal or bool(storage_options))
    plans = (plan,) if isinstance(plan, Plan) else plan.plans
    if isinstance(plan, UniversePlan) and not plans:
        # Nobody was listed then: there is nothing to give out.
        return plan.noted(DownloadReport())
    run_info = RunInfo.of("download", *plans)
    if client is None and to is None and not any(each.to_do for each in plans):
        # A cluster of our own would only be started to be stopped.
        report = run(record_run(run_info, _done(plans, on_progress)))
    else:
        brief = brief_of(plan.settings, to=to, options=dict(storage_options or {}), decimal=decimal)
        with _cluster(client) as line:
            work = _carried_out(plans, brief, line, addresses, on_progress)
            report = run(record_run(run_info, work))
    return report if isinstance(plan, Plan) else plan.noted(report)


def _check(
    plan: object, client: object, to: str | None, addresses: object, *, needs_to: bool
) -> None:
    """Refuse what cannot be meant before a cluster is asked for anything."""
    if not isinstance(plan, Plan | UniversePlan):
        msg = f"plan_downloads or plan_universe makes a plan; {type(plan).__name__} is none"
        raise BadArgument(msg)
    if getattr(client, "asynchronous", False):
        msg = "client=… is an asynchronous one, whose loop would wait for itself; pass Client(cluster)"
        raise BadArgument(msg)
    if not isinstance(addresses, int) or addresses < 1:
        msg = f"addresses={addresses!r} is no number of IP addresses; pass 1 or more"
        raise BadArgument(msg)
    if to is None and needs_to:
        msg = "decimal=… and storage_options=… say how Parquet is put somewhere; say where by to=…"
        raise BadArgument(msg)


async def run_plans_on(
    client: Client, plans: Sequence[Plan], *, on_progress: ProgressListener | None = None
) -> DownloadReport:
    """
    Carry out *plans* on a cluster whose workers share the cache folder; what `download` waits for.
    """
    return await _carried_out(
        plans, brief_of(plans[0].settings), _address_of(client), 1, on_progress
    )


@dataclass(frozen=True, slots=True)
class _SchedulerAddress:
    """Where a scheduler is, and how it is spoken to."""

    address: str
    security: Any


def _address_of(client: Client) -> _SchedulerAddress:
    # None before a client has connected, and after it was closed.
    scheduler = getattr(client, "scheduler", None)
    if scheduler is None or not hasattr(scheduler, "address"):
        msg = (
            f"client={client!r} is no client of a running cluster; pass distributed.Client(…) of one, "
            f"or leave it out for a cluster of this machine"
        )
        raise BadArgument(msg)
    return _SchedulerAddress(str(scheduler.address), client.security)


@contextmanager
def _cluster(client: Client | None) -> Iterator[_SchedulerAddress]:
    if client is not None:
        yield _address_of(client)
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker that imports the script which starts it: without this, it would start workers too.
        raise SystemExit(1)
    try:
        # Only this machine shall reach it.
        own = LocalCluster(threads_per_worker=1, dashboard_address="127.0.0.1:0")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        msg = (
            f"no cluster of this machine could be started ({error}); a script has to do its work "
            f'under `if __name__ == "__main__":`, since each worker imports it'
        )
        raise UnfitEnvironment(msg) from error
    with own as cluster:
        yield _SchedulerAddress(cluster.scheduler_address, cluster.security)


async def _carried_out(
    plans: Sequence[Plan],
    brief: Brief,
    line: _SchedulerAddress,
    addresses: int,
    on_progress: ProgressListener | None,
) -> DownloadReport:
    async with await _client(line) as client:
        await refuse_strangers(client, brief.settings)
        workers = await workers_of(client)
        if not workers:
            _LOGGER.warning(
                "the cluster has no worker; waiting until it has one that has this package"
            )
        told = brief.sharing(programs_of(len(workers), addresses))
        async with made_ready(plans, told) as (own, ready), _called_off(client, ready):
            await refuse_blind(client, ready)
            watch = Watch(client, ready, addresses, len(workers))
            async with DaskExecutor(client, ready, Store(own[0].settings), watch) as executor:
                wanted = await as_there(own, executor) if ready.to is not None else own
                report = await _done(wanted, on_progress, executor)
            if ready.to is not None:
                await asyncio.to_thread(deliver_notes, ready, own[0].settings)
            return report


async def _done(
    plans: Sequence[Plan],
    on_progress: ProgressListener | None,
    executor: DaskExecutor | None = None,
) -> DownloadReport:
    # What stops a plan that is alone is raised; among others it is in the report.
    if len(plans) == 1:
        return await run_plan(plans[0], on_progress=on_progress, executor=executor)
    return await run_plans(plans, on_progress=on_progress, executor=executor)


async def _client(line: _SchedulerAddress) -> Client:
    """A client of our own, for the loop that the work runs on."""
    try:
        client: Client = await Client(  # type: ignore[no-untyped-call]
            line.address, security=line.security, asynchronous=True, set_as_default=False
        )
    except OSError as error:
        msg = f"the scheduler {line.address} does not answer ({error}); start a cluster, and pass a client of it"
        raise WorkerLost(msg) from error
    return client


@asynccontextmanager
async def _called_off(client: Client, brief: Brief) -> AsyncIterator[None]:
    """Whatever ends a run, have the workers end what they still do for it."""
    try:
        yield
    except (FutureCancelledError, ExceptionGroup) as error:
        # Nobody else cancels jobs of ours: a client that has lost its scheduler gives them up.
        if isinstance(error, ExceptionGroup) and error.subgroup(FutureCancelledError) is None:
            raise
        msg = (
            "the cluster's scheduler is gone, or was restarted; what was finished is stored: "
            "make a new client, and run again"
        )
        raise WorkerLost(msg) from error
    finally:
        # Who is not connected would wait for half a minute.
        if client.status == "running":
            await answers_of(client, _CLOSE_SECONDS, close, brief.run)
