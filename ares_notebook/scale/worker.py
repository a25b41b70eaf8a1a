"""What a Dask worker does: heartbeats, its session, one job."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pyarrow as pa
from distributed import Worker, get_worker
from msgspec import structs

from ares_notebook.binance.archive import Archive
from ares_notebook.binance.http import Transport
from ares_notebook.binance.rate_limit import Limit
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.entry import Receipt
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.fetch import Exchange, fetch_file
from ares_notebook.download.report import StepReport
from ares_notebook.errors import AresError, CacheUnavailable, CorruptFile, WorkerFailed
from ares_notebook.model.files import CacheFile
from ares_notebook.parquet import prove, write
from ares_notebook.parquet_manifest import StoredFile, stored_file
from ares_notebook.runtime.loop import run, submit
from ares_notebook.runtime.progress import Meter, metered
from ares_notebook.runtime.tasks import Memoized, uninterrupted
from ares_notebook.scale.object_store import Destination
from ares_notebook.settings import Settings

# Of glibc's malloc.h, and the largest value that it sets by itself on 64 bits.
_M_MMAP_THRESHOLD = -3
_MOST_MAPPED_BYTES = 32 << 20


def heartbeat_topic(run_id: str) -> str:
    """The topic of Dask events under which workers send heartbeats: a job, and its worker."""
    return f"ares-{run_id}"


class _Heartbeat:
    """Sends an event of Dask while a job goes on, once a second at most."""

    def __init__(self, worker: Worker, run_id: str, job: str) -> None:
        self._worker = worker
        self._topic = heartbeat_topic(run_id)
        self._event = {"job": job, "worker": worker.address}
        self._next_at = 0.0

    def send(self) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + 1.0
            self._worker.log_event(self._topic, self._event)


# Taken twice by one thread where another library has wrapped the safe function.
_frames_lock = threading.RLock()


def make_frames_safe() -> None:
    """
    Keep Dask's profilers from deadlocking this process, before Python 3.12.

    They call `sys._current_frames` often. A garbage collection inside it deadlocks with a thread
    that starts or ends at that moment (CPython 106883). As in Python's own fix, none runs here.
    """
    with _frames_lock:
        unsafe = sys._current_frames  # noqa: SLF001 - documented by Python, for such use
        if sys.version_info >= (3, 12) or hasattr(unsafe, "is_safe"):
            return

        def safe() -> dict[int, FrameType]:
            with _frames_lock:
                collects = gc.isenabled()
                gc.disable()
                try:
                    return unsafe()
                finally:
                    if collects:
                        gc.enable()

        safe.is_safe = True  # type: ignore[attr-defined]  # checked above
        sys._current_frames = safe  # noqa: SLF001 - as said


def prepare_worker() -> str:
    """Prepare this worker for jobs; its version of this package."""
    make_frames_safe()
    return metadata.version("ares-notebook")


def keep_blocks() -> None:
    """
    Let the C library reuse the freed blocks of files, as it does outside of Dask.

    Dask sets ``MALLOC_TRIM_THRESHOLD_`` to 64 KiB for its workers, and with that glibc no longer
    raises the size from which a block is mapped anew: it stays at 128 KiB, so that each of our
    blocks is fresh pages. Ten million trades then cost 5.1 million page faults and ten seconds
    of the kernel, instead of 0.1 million and one; see mallopt(3).
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MOST_MAPPED_BYTES)


FILES_A_JOB = 4
"""How many files a job has; a worker does them concurrently: some wait for the exchange, others compute."""
_FILES_A_THREAD = 2
_THREADS_A_CONVERSION = 2


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What every job of a run needs to know; sent to the workers with each."""

    # Identifies the run.
    run: str
    settings: Settings
    # A file in the shared folder: a worker that sees it has the same folder.
    mark: str | None = None
    # The URL of a dataset, in place of the cache folder.
    to: str | None = None
    # Of its file system.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    # Whether its numbers are exact decimals.
    decimal: bool = False
    # The exchange's, known to the client, so that no worker need ask.
    limits: Mapping[str, Limit] = field(default_factory=dict)
    # Hosts that failed in the caller's process, and why.
    resting: Mapping[str, str] = field(default_factory=dict)

    def sharing(self, programs: int) -> RunSpec:
        """The same for so many programs of this run at an address, besides those of the settings."""
        others = self.settings.address_shared_by - 1
        settings = self.settings.replace(address_shared_by=programs + others)
        return replace(self, settings=settings)

    @property
    def folder(self) -> Path | None:
        """The folder that the workers must share, if files are written into one."""
        return self.settings.cache_dir / ".ares" if self.to is None else self.destination.folder

    @property
    def destination(self) -> Destination:
        """The dataset at the URL."""
        return Destination(self.to or "", self.options, decimal=self.decimal)


def run_spec_of(
    settings: Settings,
    *,
    to: str | None = None,
    options: Mapping[str, Any] | None = None,
    decimal: bool = False,
) -> RunSpec:
    """The specification of a new run."""
    # A worker may have another working directory, and shows no bars. Secrets stay here: market
    # data needs no key, and a worker that cannot read its job logs the whole of it.
    changes = {"progress": False, "cache_dir": settings.cache_dir.resolve()}
    own = settings.replace(**changes, api_key=None, notify=())
    if to is not None and to.strip() and "://" not in to:
        to = str(Path(to).expanduser().resolve())
    return RunSpec(uuid.uuid4().hex[:12], own, to=to, options=options or {}, decimal=decimal)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one step."""

    report: StepReport
    # What its meter has counted, but for the rows, which the report has.
    counts: Mapping[str, int]
    # The file that is at the destination now.
    stored: StoredFile | None = None


_COUNTED = ("requests", "bytes_received", "retries", "rate_limited")


def as_own(error: Exception, what: str) -> AresError:
    """An error of ours for whatever a library has raised on a worker: not each of them can be pickled."""
    if isinstance(error, AresError):
        return error
    return WorkerFailed(
        f"{what}: the worker met {type(error).__name__}: {error}; run again, or report it"
    )


def fetch_files(spec: RunSpec, job: str, steps: Sequence[Step]) -> list[StepResult | AresError]:
    """Carry out some steps on this worker, concurrently; repeating it changes nothing."""
    worker = get_worker()
    make_frames_safe()
    heartbeat = _Heartbeat(worker, spec.run, job)
    heartbeat.send()
    # Dask clears this folder when it replaces a worker that was killed.
    return run(_Job(spec, heartbeat, worker.local_directory).run(steps, worker.state.nthreads))


def read_receipts(
    spec: RunSpec, job: str, files: Sequence[CacheFile]
) -> list[str | AresError | None]:
    """The texts of the receipts of *files* at the destination, None without one; or why it cannot be read."""
    heartbeat, destination = _Heartbeat(get_worker(), spec.run, job), spec.destination
    texts: list[str | AresError | None] = []
    for file in files:
        heartbeat.send()
        try:
            receipt = destination.receipt(file)
            texts.append(None if receipt is None else receipt.to_json())
        except Exception as error:  # noqa: BLE001 - it is the answer for this file
            texts.append(as_own(error, file.name))
    return texts


def sees(mark: str) -> bool:
    """Whether this worker sees the mark of a run, and so the shared folder."""
    return Path(mark).is_file()


def not_shared_with(who: str, spec: RunSpec) -> str:
    """The message about a worker that does not see the shared folder."""
    return (
        f"{who} does not see the folder {spec.to or spec.settings.cache_dir} of the client; use a folder "
        f'that all share, or an object store: scale.download(…, to="s3://bucket/dataset")'
    )


# By the id of a run, for all jobs of this process. Sessions and tasks are used on the background
# loop only.
_SESSIONS: Memoized[_WorkerSession] = Memoized()
_TASKS: dict[str, set[asyncio.Task[Any]]] = {}
_SHARED_BY: dict[str, int] = {}


def set_shared_by(run_id: str, shared_by: int) -> None:
    """Set how many programs now ask from the address of this worker, for each job that begins."""
    _SHARED_BY[run_id] = shared_by


def close_session(run_id: str) -> None:
    """Cancel what this worker still does for a run, and close its session; does not wait."""
    _SHARED_BY.pop(run_id, None)
    submit(_close(run_id), lambda _: None, Future())


async def _close(run_id: str) -> None:
    tasks = _TASKS.pop(run_id, set())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    session = _SESSIONS.pop(run_id)
    if session is not None:
        session.exchange.archive.close()
        await session.transport.__aexit__(None, None, None)


@dataclass(frozen=True, slots=True)
class _WorkerSession:
    """What the jobs of a run share on a worker: connections, budgets, and answers."""

    transport: Transport
    exchange: Exchange
    store: Store
    slots: asyncio.Semaphore
    converting: asyncio.Semaphore

    @classmethod
    async def open(cls, spec: RunSpec, threads: int) -> Self:
        if spec.folder is not None and not await asyncio.to_thread(sees, spec.mark or ""):
            msg = not_shared_with("this worker", spec)
            raise CacheUnavailable(msg)
        keep_blocks()
        timeout = {"operation_timeout_seconds": 2 * spec.settings.worker_timeout_seconds}
        # A lock that is held for longer than a worker may go without a heartbeat belongs to another program.
        store = Store(spec.settings.replace(**timeout))
        transport = await Transport(spec.settings).__aenter__()
        spool = Path(tempfile.gettempdir()) if spec.to else spec.settings.cache_dir
        exchange = Exchange(Archive(transport, spool), Rest(transport), spec.settings.source)
        slots = asyncio.Semaphore(max(FILES_A_JOB, _FILES_A_THREAD * threads))
        # Each conversion holds row groups of a file in memory, of which a thread has only so much.
        converting = asyncio.Semaphore(max(1, threads // _THREADS_A_CONVERSION))
        return cls(transport, exchange, store, slots, converting)


@dataclass(frozen=True, slots=True)
class _Job:
    """A job on this worker, whose own folder is *scratch*."""

    spec: RunSpec
    heartbeat: _Heartbeat
    scratch: str

    async def run(self, steps: Sequence[Step], threads: int) -> list[StepResult | AresError]:
        run_id = self.spec.run
        task = asyncio.current_task()
        if task is not None:
            _TASKS.setdefault(run_id, set()).add(task)
            task.add_done_callback(_TASKS[run_id].discard)
        session = await _SESSIONS.get(run_id, partial(_WorkerSession.open, self.spec, threads))
        session.transport.apply_limits(self.spec.limits)
        session.transport.breaker.rest(self.spec.resting)
        if (shared_by := _SHARED_BY.get(run_id)) is not None:
            session.transport.share(shared_by)
        return await asyncio.gather(*(self._step(step, session) for step in steps))

    async def _step(self, step: Step, session: _WorkerSession) -> StepResult | AresError:
        meter = Meter(on_change=self.heartbeat.send)
        try:
            async with session.slots:
                with metered(meter):
                    report, stored = await self._fetch(step, session)
            counts = {name: getattr(meter, name) for name in _COUNTED}
            return StepResult(report, counts, stored)
        except OSError as error:
            return cannot_access(session.store.folder, error)
        except Exception as error:  # noqa: BLE001 - it is the answer for this file, and stops no other
            return as_own(error, step.file.name)
        finally:
            self.heartbeat.send()

    async def _fetch(
        self, step: Step, session: _WorkerSession
    ) -> tuple[StepReport, StoredFile | None]:
        if self.spec.to is None:
            return await fetch_file(step, session.exchange, session.store), None
        with tempfile.TemporaryDirectory(prefix="ares-", dir=self.scratch) as folder:
            changes = {"cache_dir": Path(folder), "arrow_copies": "off"}
            own = self.spec.settings.replace(**changes)
            return await self._upload(step, session, Store(own))

    async def _upload(
        self, step: Step, session: _WorkerSession, store: Store
    ) -> tuple[StepReport, StoredFile | None]:
        """Fetch one file into *store*, and upload it as Parquet if it is whole."""
        exchange = session.exchange
        store.prepare()
        # Its neighbours are not here, so its edges are confirmed without them.
        report = await fetch_file(structs.replace(step, edges_wait=False), exchange, store)
        if report.error is not None or not _is_whole(report, step, exchange, store):
            # Its rows are not in the dataset.
            return replace(report, rows=0), None
        receipt = store.receipt(step.file)
        if receipt is None:
            return report, None
        async with session.converting:
            stored = await uninterrupted(upload, self.spec.destination, step.file, store, receipt)
        return report, stored


def _is_whole(report: StepReport, step: Step, exchange: Exchange, store: Store) -> bool:
    """Whether nothing is missing that could be had; the archive alone proves no edge of a day of trades."""
    if not report.missing or exchange.source != "archive":
        return not report.missing
    entry = store.entry(step.file)
    return bool(entry.facts.rows) and all(
        gap.rows is None for gap in entry.unexplained(step.until_ms)
    )


def upload(destination: Destination, file: CacheFile, store: Store, receipt: Receipt) -> StoredFile:
    """Convert a cache file to Parquet, prove it, and upload it; also without rows, with the reason in its receipt."""
    path = store.folder / f"{file.name}.parquet"
    try:
        write(path, file, store.rows(file), receipt, decimal=destination.decimal)
        prove(path, file, store.rows(file), decimal=destination.decimal)
        stored = stored_file(path, receipt)
        destination.put(path, file)
    except pa.ArrowException as error:
        msg = f"{file.name}: a cell is not what it should be ({error}); run again"
        raise CorruptFile(msg) from error
    finally:
        path.unlink(missing_ok=True)
    return stored
