"""Download on a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

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
from ares_notebook.errors import AresError, BadArgument, UnfitEnvironment, WorkerLost
from ares_notebook.parquet import ParquetReport
from ares_notebook.parquet_proof import lacking, proven_item
from ares_notebook.runtime.loop import run
from ares_notebook.runtime.progress import ProgressListener
from ares_notebook.scale.executor import DaskExecutor
from ares_notebook.scale.monitor import (
    WorkerMonitor,
    answers_of,
    programs_of,
    refuse_other_folders,
    refuse_other_versions,
    workers_of,
)
from ares_notebook.scale.object_store import Destination
from ares_notebook.scale.worker import RunSpec, close_session, run_spec_of, upload

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
    Carry out *plan* on a Dask cluster, and wait until it has ended.

    Jobs of a few files each are idempotent: those of a worker that dies are repeated by others.
    A worker that sends no heartbeat for ``worker_timeout_seconds``, stopped or hung, is restarted.
    Without *to* the workers share the cache folder of the plan, and write the bytes that one
    process would have written. With *to* each job downloads into a cache of the worker's own,
    checks, converts to Parquet as `to_parquet` lays it out, and uploads the whole object once,
    its receipt in its metadata; what is there and proven is skipped, by a listing and a manifest of
    each series. `verify` compares what is there with the manifests. A worker of two threads then takes
    up to 500 MB, and 100 MB more for each further thread. An interrupt cancels the jobs.

    Parameters
    ----------
    plan : Plan or UniversePlan
        As `plan_downloads` or `plan_universe` makes it. With *to* what the local cache holds is
        ignored.
    client : distributed.Client, optional
        Of any cluster, also an adaptive one. Defaults to a `LocalCluster` with one process per
        core, for this call.
    to : str, optional
        The URL of a new or existing dataset, as fsspec writes it: ``s3://bucket/dataset``.
    decimal : bool
        With *to*: numbers as exact decimals; False as 64-bit floats.
    addresses : int
        The number of IP addresses that the workers ask from: the exchange counts by address.
        With 1 (the default) all workers share one limit.
    storage_options : mapping, optional
        Options of fsspec for *to*: keys, an ``endpoint_url``.
    on_progress : callable, optional
        Takes a `Progress`, as in `download_all_data`.

    Returns
    -------
    DownloadReport
        As that of `download_all_data`, and a line in the run history of the local cache, where there is one.

    Raises
    ------
    BadArgument
        If an argument has a wrong value.
    UnknownSymbol, CacheUnavailable, WrongMarket
        As `download_all_data`; if *to* cannot be reached, or holds the data of another market; if a worker
        does not see the folder that all are to share.
    UnfitEnvironment
        If a worker lacks this package, or has another version of it; if a script that starts
        a cluster lacks ``if __name__ == "__main__":``.
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
        # No symbol was listed in the window.
        return plan.noted(DownloadReport())
    run_info = RunInfo.of("download", *plans)
    if client is None and to is None and not any(each.to_do for each in plans):
        # A cluster of our own would be started for nothing.
        report = run(record_run(run_info, _run(plans, on_progress)))
    else:
        options = dict(storage_options or {})
        spec = run_spec_of(plan.settings, to=to, options=options, decimal=decimal)
        with _cluster(client) as connection:
            work = _run_on(connection, plans, spec, addresses, on_progress)
            report = run(record_run(run_info, work))
    return report if isinstance(plan, Plan) else plan.noted(report)


def _check(
    plan: object, client: object, to: str | None, addresses: object, *, needs_to: bool
) -> None:
    """Refuse wrong arguments before a cluster is asked for anything."""
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
        msg = "decimal=… and storage_options=… are for Parquet at a destination; add to=…"
        raise BadArgument(msg)


async def run_plans_on(
    client: Client, plans: Sequence[Plan], *, on_progress: ProgressListener | None = None
) -> DownloadReport:
    """Carry out *plans* on a cluster whose workers share the cache folder, as `download` does."""
    spec = run_spec_of(plans[0].settings)
    return await _run_on(_connection_of(client), plans, spec, 1, on_progress)


class _Connection(NamedTuple):
    """The address of a scheduler, and the security of the connection to it."""

    address: str
    security: Any


def _connection_of(client: Client) -> _Connection:
    # None before a client has connected, and after it was closed.
    scheduler = getattr(client, "scheduler", None)
    if scheduler is None or not hasattr(scheduler, "address"):
        msg = (
            f"client={client!r} is no client of a running cluster; pass distributed.Client(…) of one, "
            f"or leave it out for a cluster of this machine"
        )
        raise BadArgument(msg)
    return _Connection(str(scheduler.address), client.security)


@contextmanager
def _cluster(client: Client | None) -> Iterator[_Connection]:
    if client is not None:
        yield _connection_of(client)
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker that imports the script which starts it: without this, it would start workers too.
        raise SystemExit(1)
    try:
        # On loopback only.
        own = LocalCluster(threads_per_worker=1, dashboard_address="127.0.0.1:0")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        msg = (
            f"no cluster of this machine could be started ({error}); a script has to do its work "
            f'under `if __name__ == "__main__":`, since each worker imports it'
        )
        raise UnfitEnvironment(msg) from error
    with own as cluster:
        yield _Connection(cluster.scheduler_address, cluster.security)


async def _run_on(
    connection: _Connection,
    plans: Sequence[Plan],
    spec: RunSpec,
    addresses: int,
    on_progress: ProgressListener | None,
) -> DownloadReport:
    async with await _client(connection) as client:
        await refuse_other_versions(client, spec.settings)
        workers = await workers_of(client)
        if not workers:
            _LOGGER.warning(
                "the cluster has no worker; waiting until it has one that has this package"
            )
        shared = spec.sharing(programs_of(len(workers), addresses))
        async with _prepared(plans, shared) as (own, ready), _closing(client, ready):
            await refuse_other_folders(client, ready)
            monitor = WorkerMonitor(client, ready, addresses, len(workers))
            store = Store(own[0].settings)
            async with DaskExecutor(client, ready, store, monitor) as executor:
                wanted = own if spec.to is None else await _plans_for_destination(own, executor)
                report = await _run(wanted, on_progress, executor)
            if spec.to is not None:
                notes = await asyncio.to_thread(_upload_own, ready, store, executor)
                report = replace(report, notes=(*report.notes, *notes))
            return report


async def _run(
    plans: Sequence[Plan],
    on_progress: ProgressListener | None,
    executor: DaskExecutor | None = None,
) -> DownloadReport:
    # An error that stops a single plan is raised; of several, it is in the report.
    if len(plans) == 1:
        return await run_plan(plans[0], on_progress=on_progress, executor=executor)
    return await run_plans(plans, on_progress=on_progress, executor=executor)


async def _client(connection: _Connection) -> Client:
    """A client of our own, on the loop that the work runs on."""
    address, security = connection
    try:
        client: Client = await Client(  # type: ignore[no-untyped-call]
            address, security=security, asynchronous=True, set_as_default=False
        )
    except OSError as error:
        msg = f"the scheduler {address} does not answer ({error}); start a cluster, and pass a client of it"
        raise WorkerLost(msg) from error
    return client


@asynccontextmanager
async def _prepared(
    plans: Sequence[Plan], spec: RunSpec
) -> AsyncIterator[tuple[Sequence[Plan], RunSpec]]:
    """The plans with the folder in which the client works; in the shared folder a mark of the run."""
    async with AsyncExitStack() as stack:
        if spec.to is not None:
            await asyncio.to_thread(spec.destination.refuse_another, spec.settings.market_name)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ares-"))
            own = plans[0].settings.replace(cache_dir=Path(folder))
            plans = [replace(plan, settings=own) for plan in plans]
        elif any(plan.to_do for plan in plans):
            store = Store(spec.settings)
            store.prepare()
            # Of what killed workers have left.
            stack.push_async_callback(asyncio.to_thread, sweep, store)
        else:
            yield plans, spec
            return
        if spec.folder is not None:
            mark = spec.folder / f".run-{spec.run}"
            mark.touch()
            stack.callback(mark.unlink, missing_ok=True)
            spec = replace(spec, mark=str(mark))
        yield plans, spec


@asynccontextmanager
async def _closing(client: Client, spec: RunSpec) -> AsyncIterator[None]:
    """However a run ends, have the workers cancel what they still do for it."""
    try:
        yield
    except (FutureCancelledError, ExceptionGroup) as error:
        # A client that has lost its scheduler cancels our jobs, and nothing else does.
        if isinstance(error, ExceptionGroup) and error.subgroup(FutureCancelledError) is None:
            raise
        msg = (
            "the cluster's scheduler is gone, or was restarted; what was finished is stored: "
            "make a new client, and run again"
        )
        raise WorkerLost(msg) from error
    finally:
        # Without a connection this would wait for half a minute.
        if client.status == "running":
            await answers_of(client, _CLOSE_SECONDS, close_session, spec.run)


async def _plans_for_destination(plans: Sequence[Plan], executor: DaskExecutor) -> list[Plan]:
    """The plans for what the destination holds, in place of what the cache holds."""
    await executor.read_destination([step.file for plan in plans for step in plan.steps])
    decided = []
    for plan in plans:
        steps: list[Step] = []
        for _, group in groupby(plan.steps, lambda step: step.file.series):
            own = list(group)
            entries = await executor.entries([step.file for step in own])
            pairs = zip(entries, own, strict=True)
            steps += [decide(entry, step.until_ms, plan.settings.source) for entry, step in pairs]
        decided.append(replace(plan, steps=tuple(steps)))
    return decided


def _upload_own(spec: RunSpec, store: Store, executor: DaskExecutor) -> list[str]:
    """
    Upload the files that the client itself has written, such as those of a symbol without a perpetual.

    Then the manifests; what could not be written, and why.
    """
    notes = []
    for file in store.files():
        receipt = store.receipt(file)
        if receipt is None:
            continue
        try:
            executor.note(file, upload(spec.destination, file, store, receipt))
        except AresError as error:
            notes.append(f"{file.name} could not be noted, and is asked for again: {error}")
    return [*notes, *executor.write_manifests()]


def verify(url: str, *, storage_options: Mapping[str, Any] | None = None) -> ParquetReport:
    """
    Compare each file of a Parquet dataset at any address with what was written.

    As `verify_parquet` does in a folder; every file is copied to this machine, one after the other.

    Parameters
    ----------
    url : str
        As `download` takes it: ``s3://bucket/dataset``.
    storage_options : mapping, optional
        Options of fsspec: keys, an ``endpoint_url``.

    Returns
    -------
    ParquetReport
        True if no file is damaged or lacking.

    Raises
    ------
    NeverDownloaded
        If there is no dataset at that address.
    BadArgument
        If it is no address.
    CacheUnavailable
        If it cannot be reached.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run, to_parquet
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=f"{folder}/cache")
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     written = to_parquet(f"{folder}/lake", settings=settings)
    ...     report = verify(f"{folder}/lake")
    >>> bool(report), report.rows
    (True, 59)
    """
    destination = Destination(url, dict(storage_options or {}), decimal=False)
    paths, manifest = destination.everything()
    items = []
    with tempfile.TemporaryDirectory(prefix="ares-") as folder:
        copy = Path(folder) / "copy.parquet"
        for path in paths:
            file = destination.file_of(path)
            if file is not None:
                destination.get(path, copy)
                items.append(proven_item(copy, file, manifest.get(file.name), path))
    return ParquetReport(Path(url), (*items, *lacking(manifest, (each.file for each in items))))
