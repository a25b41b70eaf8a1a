"""A cluster's run never hangs: workers that are stopped, hung or late to come cost a bound, and lose nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest
from distributed import Client, LocalCluster

import ares_notebook as ares
from ares_notebook import DemoExchange, scale
from ares_notebook.download.universe import run_universe

END = "2025-03-02T05:00"
# Dask keeps the threads of its loop, and warns of what it leaves for the end.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
posix = pytest.mark.skipif(os.name != "posix", reason="stopping is a signal of POSIX")


@pytest.fixture(scope="module")
def exchange():
    with DemoExchange(weight_limit=10**7) as one:
        yield one


@pytest.fixture
def settings(exchange, tmp_path):
    return exchange.settings(
        cache_dir=tmp_path / "cache",
        progress=False,
        retry_delay_seconds=0,
        request_timeout_seconds=1,
        worker_timeout_seconds=6,
    )


@contextmanager
def cluster_of(workers, **fields):
    """So many workers, each a process, and a client."""
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", **fields
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield cluster, client


def plan_of(settings, years=2, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT")):
    return ares.plan_universe(
        symbols, "1h", years, end=END, datasets=("klines", "futures"), settings=settings
    )


def contents(settings):
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("*.csv"))}


@pytest.fixture
def truth(exchange, tmp_path):
    """What one process writes."""
    own = exchange.settings(cache_dir=tmp_path / "truth", progress=False)
    assert ares.run(run_universe(plan_of(own))).complete
    return contents(own)


@contextmanager
def rescued(*process_ids):
    """Wake what is stopped when nothing else has, so that a failure ends; yields the wakings."""
    woken = []

    def wake():
        for each in process_ids:
            woken.append(each)
            os.kill(each, signal.SIGCONT)

    timer = threading.Timer(120, wake)
    timer.start()
    yield woken
    timer.cancel()


@posix
def test_a_stopped_worker_costs_its_bound(settings, truth):
    """A worker that is stopped in the middle of its files, for ever, is replaced, and no byte differs."""
    with cluster_of(3) as (_, client):
        stopped, *_ = client.run(os.getpid).values()
        to_stop = [stopped]

        def stop(progress):
            if progress.steps_done >= 5 and to_stop:
                os.kill(to_stop.pop(), signal.SIGSTOP)

        with rescued(stopped) as woken:
            report = scale.download(plan_of(settings), client, on_progress=stop)

        assert report.complete, str(report)
        assert contents(settings) == truth
        assert woken == []
        client.wait_for_workers(3, timeout=60)
        assert stopped not in client.run(os.getpid).values()


@posix
def test_a_worker_that_is_stopped_before_the_run_costs_its_bound(settings, truth):
    """One that answers nothing from the beginning on is replaced too, before anything is given out."""
    with cluster_of(2) as (_, client):
        stopped, *_ = client.run(os.getpid).values()
        os.kill(stopped, signal.SIGSTOP)
        with rescued(stopped) as woken:
            report = scale.download(plan_of(settings), client)

    assert report.complete, str(report)
    assert contents(settings) == truth
    assert woken == []


@posix
def test_workers_stopped_woken_and_killed_at_random(settings, truth):
    """Whatever befalls workers while they work, the bytes are those of one process, and nothing is left lying about."""
    chance = random.Random(26)  # noqa: S311 - no secret
    with cluster_of(4) as (_, client):
        strikes, is_over = [], threading.Event()

        def strike():
            while not is_over.wait(chance.uniform(0.2, 0.6)) and len(strikes) < 12:
                alive = list(client.run(os.getpid, on_error="ignore").values())
                if not alive:
                    continue
                process_id = chance.choice(alive)
                number = chance.choice([signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL])
                # Another strike may have ended it a moment ago.
                with suppress(ProcessLookupError):
                    os.kill(process_id, number)
                    strikes.append(number)
                threading.Timer(chance.uniform(0.1, 9), wake, [process_id]).start()

        def wake(process_id):
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGCONT)

        striker = threading.Thread(target=strike)
        striker.start()
        reports = [scale.download(plan_of(settings), client)]
        is_over.set()
        striker.join()
        reports.append(scale.download(plan_of(settings), client))

    assert reports[1].complete, str(reports[1])
    assert contents(settings) == truth
    assert [*settings.cache_dir.rglob("*.part")] == []
    assert {signal.SIGSTOP, signal.SIGKILL} <= set(strikes)


@posix
def test_a_worker_that_hangs_in_forgotten_work_is_restarted(settings, truth, tmp_path, caplog):
    """A worker whose thread is held by what the scheduler has forgotten is restarted, and its jobs are done."""
    pipe, begun = tmp_path / "pipe", tmp_path / "begun"
    os.mkfifo(pipe)
    os.mkfifo(begun)
    with cluster_of(1) as (_, client):
        held = client.submit(hang_on, begun, pipe, pure=False)
        assert begun.read_bytes() == b"begun"
        held.release()
        report = scale.download(plan_of(settings), client)

    assert report.complete, str(report)
    assert contents(settings) == truth
    assert caplog.text.count("it is restarted") == 1


def hang_on(begun, pipe):
    """Write into one pipe, and wait for another, into which nobody writes."""
    begun.write_bytes(b"begun")
    pipe.read_bytes()


# Four times a worker is waited for, for six seconds, and killed after four.
@pytest.mark.timeout(300)
@posix
def test_a_file_that_hangs_every_worker_fails_alone(settings, caplog):
    """What no worker can open costs two of them for its job and two for itself; all other files come."""
    plan = plan_of(settings, symbols=("BTCUSDT",))
    step = next(each for each in plan.to_do if each.file.dataset.name == "klines")
    receipts = settings.cache_dir / ".ares" / "receipts"
    receipts.mkdir(parents=True)
    # Nobody ever writes into it, so that to open it is to wait for ever.
    os.mkfifo(receipts / f"{step.file.name}.json")
    with cluster_of(3) as (_, client):
        report = scale.download(plan, client)

    assert [each.file_name for each in report.steps if each.error is not None] == [step.file.name]
    assert "two workers have shown no sign of work" in str(report)
    assert caplog.text.count("has shown no sign of work for 6 seconds; it is restarted") == 4
    assert len(contents(settings)) == len(plan.to_do) - 1


@posix
def test_a_worker_without_a_nanny_is_replaced_by_others(settings, truth, tmp_path):
    """One that nobody can end keeps its locks: its files fail with a sentence, and come when it is gone."""
    with programs(tmp_path, workers=2) as (workers, client):

        def stop(progress):
            if progress.steps_done >= 5:
                workers[0].send_signal(signal.SIGSTOP)

        with rescued(workers[0].pid) as woken:
            first = scale.download(plan_of(settings), client, on_progress=stop)
        workers[0].kill()
        workers[0].wait()
        again = scale.download(plan_of(settings), client)

    assert woken == []
    failed = [str(step.error) for step in first.steps if step.error is not None]
    assert all("another process has been at work on" in each for each in failed)
    assert len(failed) <= 4
    assert again.complete
    assert contents(settings) == truth


@contextmanager
def programs(tmp_path, workers):
    """A scheduler and workers without nannies, that are programs of their own."""
    place = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(place), "--host", "127.0.0.1"]
    scheduler = [*common, "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    worker = [*common, "--no-nanny", "--nthreads", "1"]
    commands = [("scheduler", scheduler), *[("worker", worker)] * workers]
    with ExitStack() as stack:
        started = []
        for name, arguments in commands:
            program = subprocess.Popen(  # noqa: S603 - Dask's own programs
                [sys.executable, "-m", f"distributed.cli.dask_{name}", *arguments],
                stderr=subprocess.DEVNULL,
            )
            stack.callback(program.wait)
            stack.callback(program.kill)
            started.append(program)
        with Client(scheduler_file=str(place), set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
            yield started[1:], client


def test_a_cluster_that_adapts_grows(settings):
    """All files are given out at once, so that a cluster without a worker comes to have as many as it may."""
    sizes = set()
    with cluster_of(0) as (cluster, client):
        cluster.adapt(minimum=0, maximum=3, interval="100ms")
        report = scale.download(
            plan_of(settings, years=5),
            client,
            on_progress=lambda _: sizes.add(len(cluster.scheduler.workers)),
        )

    assert report.complete
    # At once: on a busy machine it lets workers go that wait, and starts others.
    assert max(sizes) == 3


def test_workers_that_come_later_divide_the_rate_anew(tmp_path):
    """A cluster that grows during a run stays under the limit of its address, without one refusal."""
    with DemoExchange(weight_limit=200, window_seconds=2) as tight, cluster_of(1) as (cluster, own):
        settings = tight.settings(cache_dir=tmp_path, progress=False, source="rest")
        plan = ares.plan_downloads(
            "BTCUSDT", "1m", 0.4, end="2025-03-01", datasets=("klines",), settings=settings
        )
        report = scale.download(plan, own, on_progress=lambda _: cluster.scale(4))
        statuses = {each.status for each in tight.requests}

    assert report.complete
    assert not statuses & {429, 418}


@pytest.mark.timeout(400)
def test_three_thousand_files(settings, exchange):
    """Five years of months of many series go through two workers in one run, and nothing is asked twice."""
    exchange.requests.clear()
    patient = settings.replace(worker_timeout_seconds=60, request_timeout_seconds=30)
    symbols = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "LTCUSDT", "ADAUSDT")
    intervals = ("30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")
    each = [
        ares.plan_universe(
            symbols, interval, 5, end="2026-11-01", datasets=("klines",), settings=patient
        )
        for interval in intervals
    ]
    plans = [
        plan for of_symbol in zip(*(made.plans for made in each), strict=True) for plan in of_symbol
    ]
    funding = ares.plan_universe(
        symbols, "1d", 5, end="2026-11-01", datasets=("futures",), settings=patient
    )
    whole = replace(funding, plans=(*plans, *funding.plans))
    with cluster_of(2) as (_, client):
        report = scale.download(whole, client)

    assert len(whole.to_do) > 3_000
    assert report.complete
    assert report.requests == len(exchange.requests)


FRAMES = """
import gc, sys
from ares_notebook.scale.worker import make_frames_safe

inside, collected, unsafe = [], [], sys._current_frames

def watched():
    inside.append(True)
    frames = unsafe()
    inside.clear()
    return frames

def looks():
    collected.clear()
    # Each object that is made has some collected.
    gc.set_threshold(1, 1, 1)
    kept = [sys._current_frames() for _ in range(100)]
    gc.set_threshold(700, 10, 10)
    return len(collected)

gc.callbacks.append(lambda *_: collected.extend(inside))
sys._current_frames = watched
before = looks()
make_frames_safe()
safe = sys._current_frames
make_frames_safe()
print(before > 0, looks(), gc.isenabled(), sys._current_frames is safe)
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later Pythons collect nothing there")
def test_nothing_is_collected_while_frames_are_looked_at():
    """Garbage is not collected inside sys._current_frames(), where before 3.12 it may hang all threads."""
    done = subprocess.run(  # noqa: S603 - this Python
        [sys.executable, "-c", FRAMES], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == ["True", "0", "True", "True"]
