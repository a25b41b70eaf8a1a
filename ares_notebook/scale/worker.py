"""What a Dask worker does: its session, its signs of work, one job."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

from distributed import Worker, get_worker
from msgspec import structs

from ares_notebook.binance.archive import Archive
from ares_notebook.binance.http import Transport
from ares_notebook.binance.rate_limit import Limit
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.entry import Receipt
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.fetch import Sources, fetch_file
from ares_notebook.download.report import StepReport
from ares_notebook.errors import AresError, CacheUnavailable
from ares_notebook.model.files import CacheFile
from ares_notebook.parquet import prove, write
from ares_notebook.runtime.loop import run, submit
from ares_notebook.runtime.progress import Meter, metered
from ares_notebook.runtime.tasks import Memoized, uninterrupted
from ares_notebook.scale.object_store import Destination
from ares_notebook.settings import Settings

__all__ = [
    "FILES_A_JOB",
    "Brief",
    "Done",
    "Failure",
    "Sign",
    "alive_topic",
    "brief_of",
    "close",
    "deliver",
    "keep_blocks",
    "look",
    "made_fit",
    "make_frames_safe",
    "sees",
    "share",
    "unseen_by",
    "work",
]

# Of glibc's malloc.h, and what it learns by itself at most on 64 bits.
_M_MMAP_THRESHOLD = -3
_MOST_MAPPED_BYTES = 32 << 20


def alive_topic(run_id: str) -> str:
    """The topic under which workers say that a job goes on: its name, and where it is."""
    return f"ares-{run_id}"


class Sign:
    """Says that a job goes on, once a second at most."""

    def __init__(self, worker: Worker, run_id: str, job: str) -> None:
        self._worker = worker
        self._topic = alive_topic(run_id)
        self._event = {"job": job, "worker": worker.address}
        self._next_at = 0.0

    def give(self) -> None:
        """Say so now, unless it was said a moment ago."""
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + 1.0
            self._worker.log_event(self._topic, self._event)


# Taken twice by one thread where somebody else has wrapped what we have made safe.
_frames_lock = threading.RLock()


def make_frames_safe() -> None:
    """
    Keep Dask's profilers from hanging this process for good, where Python is affected.

    They call `sys._current_frames` again and again. Before Python 3.12 garbage may be collected
    inside it, and with a thread that is born or ends at that moment nothing goes on any more
    (CPython 106883). Here, as in Python's own mend, nothing is collected meanwhile.
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

        safe.is_safe = True  # type: ignore[attr-defined]  # a mark, looked for above
        sys._current_frames = safe  # noqa: SLF001 - as said


def made_fit() -> str:
    """Make this worker fit for our jobs; which version of this package it has."""
    make_frames_safe()
    return metadata.version("ares-notebook")


def keep_blocks() -> None:
    """
    Let the C library keep the blocks of files that it is given back, as it does of itself.

    Dask has its workers trim at 64 KiB (``MALLOC_TRIM_THRESHOLD_``), and with that glibc no
    longer learns from which size on a block is to be mapped anew: it stays at 128 KiB, so that
    each of our blocks is fresh pages. Ten million trades then cost 5.1 million page faults
    and ten seconds of the kernel, instead of 0.1 million and one; see mallopt(3).
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MOST_MAPPED_BYTES)


FILES_A_JOB = 4
"""How many files a job has; a worker does them side by side, as some wait for the exchange, others compute."""
_FILES_A_THREAD = 2


@dataclass(frozen=True, slots=True)
class Brief:
    """What every job of a run is told; goes to the workers with each."""

    # Tells runs apart.
    run: str
    settings: Settings
    # A file in the folder that the workers are to share: who sees it has the same folder.
    mark: str | None = None
    # The address of a dataset, in place of the cache folder.
    to: str | None = None
    # Of its file system.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    # Of what type its numbers are.
    decimal: bool = False
    # What the exchange has told the client, so that no worker need ask.
    limits: Mapping[str, Limit] = field(default_factory=dict)

    def sharing(self, programs: int) -> Brief:
        """The same, told how many programs of this run ask from an address, beside others that do."""
        others = self.settings.address_shared_by - 1
        settings = self.settings.model_copy(update={"address_shared_by": programs + others})
        return replace(self, settings=settings)

    @property
    def folder(self) -> Path | None:
        """The folder that the workers are to share, if what they bring goes into one."""
        return self.settings.cache_dir / ".ares" if self.to is None else self.destination.folder

    @property
    def destination(self) -> Destination:
        """The dataset at the address."""
        return Destination(self.to or "", self.options, decimal=self.decimal)


def brief_of(
    settings: Settings,
    *,
    to: str | None = None,
    options: Mapping[str, Any] | None = None,
    decimal: bool = False,
) -> Brief:
    """The brief of a new run."""
    # A worker may have been started elsewhere, and shows no bars. What is secret stays here: market
    # data wants no key, and a worker that cannot read its job writes the whole of it into a log.
    told = {"progress": False, "cache_dir": settings.cache_dir.resolve()}
    own = settings.model_copy(update={**told, "api_key": None, "notify": ()})
    if to is not None and to.strip() and "://" not in to:
        to = str(Path(to).expanduser().resolve())
    return Brief(uuid.uuid4().hex[:12], own, to=to, options=options or {}, decimal=decimal)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one job."""

    report: StepReport
    # What it asked and received.
    meter: Meter
    # The text of the receipt of what is at the address now.
    receipt: str | None = None


Failure = AresError | OSError
"""How one file may fail, as the worker answers it; anything else is a bug, and raised."""


def work(brief: Brief, job: str, steps: Sequence[Step]) -> list[Done | Failure]:
    """
    Carry out some steps on this worker, side by side; the same again changes nothing.

    While it works it says so, under the name *job*, as events of Dask.
    """
    worker = get_worker()
    make_frames_safe()
    sign = Sign(worker, brief.run, job)
    sign.give()
    places = max(FILES_A_JOB, _FILES_A_THREAD * worker.state.nthreads)
    # Dask clears its folder when a worker that was killed is followed by another.
    return run(_worked(brief, steps, _Here(worker.local_directory, places, sign.give)))


def sees(mark: str) -> bool:
    """Whether this worker sees the mark of a run, and so the folder that all are to share."""
    return Path(mark).is_file()


def unseen_by(who: str, brief: Brief) -> str:
    """What is to be said of a worker that does not see the folder of the client."""
    return (
        f"{who} does not see the folder {brief.to or brief.settings.cache_dir} of the client; use a folder "
        f'that all share, or an object store: scale.download(…, to="s3://bucket/dataset")'
    )


def look(brief: Brief, job: str, files: Sequence[CacheFile]) -> list[str | None]:
    """The texts of the receipts of those of *files* that are at the address; None for the others."""
    sign, destination, texts = Sign(get_worker(), brief.run, job), brief.destination, []
    for file in files:
        sign.give()
        found = destination.receipt(file)
        texts.append(None if found is None else found.to_json())
    return texts


def share(run_id: str, shared_by: int) -> None:
    """How many programs now ask from the address of this worker; each job that begins heeds it."""
    _SHARED_BY[run_id] = shared_by


def close(run_id: str) -> None:
    """Stop what this worker still does for a run, and close its line; waits for nothing."""
    _SHARED_BY.pop(run_id, None)
    submit(_closed(run_id), lambda _: None, Future())


# Jobs of one worker share a line, its budgets, and what has been asked once. All of
# this is touched on the one background loop only.
_SESSIONS: Memoized[_WorkerSession] = Memoized()
_RUNS: dict[str, set[asyncio.Task[Any]]] = {}
_SHARED_BY: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class _WorkerSession:
    transport: Transport
    roads: Sources
    store: Store
    places: asyncio.Semaphore


async def _open(brief: Brief, places: int) -> _WorkerSession:
    if brief.folder is not None and not await asyncio.to_thread(sees, brief.mark or ""):
        msg = unseen_by("this worker", brief)
        raise CacheUnavailable(msg)
    keep_blocks()
    patience = {"operation_timeout_seconds": 2 * brief.settings.worker_timeout_seconds}
    # Who holds a lock for longer than a worker may be silent is hung, and none of ours.
    store = Store(brief.settings.model_copy(update=patience))
    transport = await Transport(brief.settings).__aenter__()
    spool = Path(tempfile.gettempdir()) if brief.to else brief.settings.cache_dir
    roads = Sources(Archive(transport, spool), Rest(transport), brief.settings.source)
    return _WorkerSession(transport, roads, store, asyncio.Semaphore(places))


async def _closed(run_id: str) -> None:
    tasks = _RUNS.pop(run_id, set())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    session = _SESSIONS.pop(run_id)
    if session is not None:
        await session.transport.__aexit__(None, None, None)


@dataclass(frozen=True, slots=True)
class _Here:
    """What a job knows of its worker: its own folder, how many files at once, how to say that it goes on."""

    scratch: str
    places: int
    go_on: Callable[[], None]


async def _worked(brief: Brief, steps: Sequence[Step], here: _Here) -> list[Done | Failure]:
    task = asyncio.current_task()
    if task is not None:
        _RUNS.setdefault(brief.run, set()).add(task)
        task.add_done_callback(_RUNS[brief.run].discard)
    session = await _SESSIONS.get(brief.run, partial(_open, brief, here.places))
    session.transport.apply_limits(brief.limits)
    if (shared_by := _SHARED_BY.get(brief.run)) is not None:
        session.transport.share(shared_by)
    return await asyncio.gather(*(_one(brief, step, session, here) for step in steps))


async def _one(brief: Brief, step: Step, session: _WorkerSession, here: _Here) -> Done | Failure:
    meter = Meter(on_change=here.go_on)
    try:
        async with session.places:
            with metered(meter):
                return await _brought(brief, step, session, meter, here.scratch)
    except (AresError, OSError) as error:
        return error
    finally:
        # What it calls stays on this worker.
        meter.on_change = None
        here.go_on()


async def _brought(
    brief: Brief, step: Step, session: _WorkerSession, meter: Meter, scratch: str
) -> Done:
    if brief.to is None:
        report = await fetch_file(step, session.roads, session.store)
        return Done(report, meter)
    with tempfile.TemporaryDirectory(prefix="ares-", dir=scratch) as folder:
        own = brief.settings.model_copy(update={"cache_dir": Path(folder)})
        return await _delivered(brief, step, session.roads, Store(own), meter)


async def _delivered(brief: Brief, step: Step, roads: Sources, store: Store, meter: Meter) -> Done:
    """Bring one file into a cache of the worker's own, and put it there as Parquet if it is whole."""
    store.prepare()
    # Its neighbours are not here: its edges are proven for themselves.
    report = await fetch_file(structs.replace(step, edges_wait=False), roads, store)
    if report.error is not None or not _is_whole(report, step, roads, store):
        # What is not whole is not put beside what is; its rows are not in the dataset.
        return Done(replace(report, rows=0), meter)
    receipt = store.receipt(step.file)
    if receipt is not None:
        await uninterrupted(deliver, brief.destination, step.file, store, receipt)
    return Done(report, meter, None if receipt is None else receipt.to_json())


def _is_whole(report: StepReport, step: Step, roads: Sources, store: Store) -> bool:
    """Whether nothing lacks that could be had; the archive alone proves no edge of a day of trades."""
    if not report.missing or roads.source != "archive":
        return not report.missing
    entry = store.entry(step.file)
    return bool(entry.facts.rows) and all(
        gap.rows is None for gap in entry.unexplained(step.until_ms)
    )


def deliver(destination: Destination, file: CacheFile, store: Store, receipt: Receipt) -> None:
    """
    Make a Parquet file of a cache file, prove it, and put it into *destination*.

    A period without rows becomes a file without rows: its receipt says why.
    """
    part = store.folder / f"{file.name}.parquet"
    try:
        write(part, file, store.rows(file), receipt, decimal=destination.decimal)
        prove(part, file, store.rows(file), decimal=destination.decimal)
        destination.put(part, file)
    finally:
        part.unlink(missing_ok=True)
