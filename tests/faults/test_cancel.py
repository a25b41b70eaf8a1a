"""Cancelled at any moment, a download leaves nothing half-done, and nothing that goes on behind."""

from __future__ import annotations

import asyncio
import errno
import gc
import itertools
import os
import threading
from collections.abc import Coroutine
from contextvars import Context
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.cache.disk import file_sha256
from ares_notebook.cache.locks import held
from ares_notebook.cache.store import Store
from ares_notebook.model.files import parse_file_name
from ares_notebook.quality.checks import RowTally
from ares_notebook.runtime.tasks import cancellable, uninterrupted

DAY = 1 / 365.25
# Dataset: interval, lookback in years, end. Each is one file on disk.
WANTED = {
    "klines": ("12h", 28 * DAY, "2025-03-01"),
    # Two pages of REST: the more there are, the more steps are alike.
    "agg_trades": (None, DAY / 4, "2025-01-15T06:00"),
    "futures": (None, 28 * DAY, "2025-03-01"),
}
FUTURES = parse_file_name("futures_BTCUSDT_2025-02.csv")


class Steps:
    """Counts the steps of all tasks of a loop, and cancels one task at the *last* of them."""

    def __init__(self, last):
        self.last, self.done, self.root = last, 0, None

    def count(self):
        """One more; all that a task does between two waits is one."""
        self.done += 1
        if self.done == self.last:
            self.root.cancel()

    def make_task(self, loop, coroutine, **fields):
        """What the loop makes its tasks with."""
        return asyncio.Task(Counted(coroutine, self), loop=loop, **fields)


class Counted(Coroutine):
    """A coroutine that has its steps counted."""

    def __init__(self, coroutine, steps):
        self.coroutine, self.steps = coroutine, steps

    def send(self, value):
        """Go on."""
        self.steps.count()
        return self.coroutine.send(value)

    def throw(self, *error):
        """Go on with an error, such as a cancel."""
        self.steps.count()
        return self.coroutine.throw(*error)

    def close(self):
        """End."""
        self.coroutine.close()

    def __await__(self):
        return self.coroutine.__await__()


@pytest.fixture(scope="module")
def running():
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6) as exchange:
        yield exchange


@pytest.fixture
def settings(running, tmp_path):
    return running.settings(cache_dir=tmp_path / "cache", retry_delay_seconds=0, progress=False)


def download(settings, dataset):
    interval, years, end = WANTED[dataset]
    return ares.download_all_data(
        "BTCUSDT", interval, years, end=end, datasets=(dataset,), settings=settings
    )


def read_all(settings):
    """Rows of the one file, read where nobody stops it."""
    return Context().run(lambda: next(iter(Store(settings).rows(FUTURES))))


def contents(settings):
    return {path.name: path.read_bytes() for path in settings.cache_dir.glob("*.csv*")}


def everything(settings):
    """All files of the cache, ours included."""
    return {path: path.read_bytes() for path in settings.cache_dir.rglob("*") if path.is_file()}


def others():
    """Threads but those of a pool and of the exchange."""
    names = ("asyncio", "ares-demo")
    return {each for each in threading.enumerate() if not each.name.startswith(names)}


def is_held(lock):
    with held(lock) as is_ours:
        return not is_ours


def cancel_at(step, settings, dataset):
    """Download and cancel at that step; whether it was still under way then."""
    loop, steps = asyncio.new_event_loop(), Steps(step)
    loop.set_task_factory(steps.make_task)
    steps.root = loop.create_task(download(settings, dataset))
    try:
        loop.run_until_complete(asyncio.wait([steps.root]))
        assert asyncio.all_tasks(loop) == set()
        before = everything(settings)
        # Whatever still runs in a thread is waited for here, and has no more to say.
        loop.run_until_complete(loop.shutdown_default_executor())
        assert everything(settings) == before
    finally:
        loop.close()
    return steps.root.cancelled()


@pytest.mark.parametrize(
    ("dataset", "source", "compression"),
    [*itertools.product(WANTED, ["archive", "rest"], [None]), ("klines", "archive", "zstd")],
)
def test_cancelled_at_any_step(settings, tmp_path, dataset, source, compression):
    """Each file is whole or absent, no temporary file, lock, task or working thread is left, and the next run ends in the same bytes."""
    own = settings.replace(source=source, compression=compression)
    ares.run(download(own, dataset)).raise_for_failures()
    truth, threads = contents(own), others()

    for step in itertools.count(1):
        here = own.replace(cache_dir=tmp_path / f"{step}")
        if not cancel_at(step, here, dataset):
            break
        assert contents(here).items() <= truth.items()
        assert list(here.cache_dir.rglob("*.part")) == []
        assert not any(map(is_held, here.cache_dir.rglob("*.lock")))
        assert others() == threads
        assert not ares.run(download(here, dataset)).failed
        assert contents(here) == truth
    assert step >= 20


async def test_cancelled_while_a_file_is_put_in_its_place(settings, monkeypatch):
    """Who is cancelled while the disk takes a file keeps its lock until the file is there with its receipt."""
    begun, go = asyncio.Event(), threading.Event()
    loop, fsync = asyncio.get_running_loop(), os.fsync

    def slow(descriptor):
        loop.call_soon_threadsafe(begun.set)
        go.wait(60)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    task = asyncio.create_task(download(settings, "futures"))
    await begun.wait()
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    [lock] = settings.cache_dir.rglob("futures*.lock")
    before = (task.done(), is_held(lock))
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert before == (False, True)
    assert not is_held(lock)
    assert len(everything(settings)) > 2
    plan = ares.plan_downloads(
        "BTCUSDT", "1d", 28 * DAY, end="2025-03-01", datasets=("futures",), settings=settings
    )
    assert plan.to_do == ()


@pytest.mark.parametrize("compression", [None, "zstd"])
async def test_a_full_disk_after_a_cancel_is_not_heard(settings, monkeypatch, caplog, compression):
    """What fails while it is waited for after a cancel is told nowhere, and leaves no file."""
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def full(_descriptor):
        loop.call_soon_threadsafe(begun.set)
        go.wait(60)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    own = settings.replace(compression=compression)
    task = asyncio.create_task(download(own, "futures"))
    await begun.wait()
    task.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()

    assert contents(own) == {}
    assert list(own.cache_dir.rglob("*.part")) == []
    assert caplog.records == []


async def test_cancelled_twice_it_still_waits():
    """However often it is cancelled, what is at work in a thread has ended when the cancel is heard."""
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(10)
        ended.set()

    task = asyncio.ensure_future(uninterrupted(work))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.wait([task], timeout=0)
    assert not task.done()
    gate.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


@pytest.mark.parametrize(
    "long_work",
    [
        pytest.param(lambda own: file_sha256(own.cache_dir / FUTURES.name), id="bytes"),
        pytest.param(lambda own: Store(own).entry(FUTURES), id="rows"),
        pytest.param(lambda own: RowTally(FUTURES, 0.2).add(read_all(own)), id="checks"),
        pytest.param(lambda own: ares.prune_cache(keep=1, dry_run=False, settings=own), id="files"),
    ],
)
async def test_long_work_ends_when_nobody_wants_it(settings, long_work):
    """Whatever looks up while it works comes to its end there when it is cancelled, and deletes nothing more."""
    await download(settings, "futures")
    for receipt in settings.cache_dir.rglob("*.csv.json"):
        receipt.unlink()
    before = contents(settings)
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(60)
        long_work(settings)
        ended.set()

    task = asyncio.ensure_future(cancellable(work))
    await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    await asyncio.wait([task], timeout=0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not ended.is_set()
    assert contents(settings) == before


async def test_a_stopped_pruning_is_on_record(settings, monkeypatch):
    """Who stops a pruning finds in the history how many files had gone."""
    await download(settings, "klines")
    await download(settings, "futures")
    unlink, gone = Path.unlink, []

    def stopped(path, **fields):
        if path.suffix == ".csv":
            gone.append(path.name)
        if len(gone) == 2:
            raise KeyboardInterrupt
        unlink(path, **fields)

    monkeypatch.setattr(Path, "unlink", stopped)
    with pytest.raises(KeyboardInterrupt):
        ares.prune_cache(keep=1, dry_run=False, settings=settings)

    reported = ares.load_runs(settings=settings).iloc[-1]
    assert (reported["what"], reported["ending"], reported["files"]) == ("prune", "cancelled", 1)
    assert gone[0] not in contents(settings)
