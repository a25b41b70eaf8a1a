"""A cluster carries out the same plan: the same bytes, into the shared folder or an object store."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster
from moto.server import ThreadedMotoServer
from reading import changed

import ares_notebook as ares
from ares_notebook import DemoExchange, scale
from ares_notebook.binance import breaker
from ares_notebook.errors import (
    BadArgument,
    CacheUnavailable,
    UnfitEnvironment,
    WorkerLost,
    WrongMarket,
)
from ares_notebook.model.datasets import dataset_named
from ares_notebook.model.symbols import pair_of
from ares_notebook.scale.worker import RunSpec, as_own, fetch_files, run_spec_of

DAY = 1 / 365.25
END = "2025-03-02T05:00"
EVERYTHING = ("klines", "agg_trades", "futures")
# Dask keeps the threads of its loop, and warns of what it leaves for the end.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module")
def running():
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6) as exchange:
        yield exchange


@pytest.fixture
def exchange(running):
    running.faults.clear()
    running.requests.clear()
    yield running
    running.faults.clear()


@pytest.fixture(scope="module")
def cluster():
    """Three workers, each a process."""
    with LocalCluster(
        n_workers=3,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
    ) as three:
        yield three


@pytest.fixture(scope="module")
def client(cluster):
    with Client(cluster, set_as_default=False) as one:
        yield one


@pytest.fixture
def settings(exchange, tmp_path):
    return exchange.settings(
        cache_dir=tmp_path / "cache", progress=False, max_retries=1, retry_delay_seconds=0
    )


def plan_of(settings, days=5, datasets=EVERYTHING, end=END):
    return ares.plan_downloads(
        "BTCUSDT", "1h", days * DAY, end=end, datasets=datasets, settings=settings
    )


def contents(settings):
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("*.csv"))}


def left_behind(settings):
    """What a run must not leave in a cache."""
    return [*settings.cache_dir.rglob("*.part"), *settings.cache_dir.rglob(".run-*")]


@pytest.fixture
def truth(exchange, tmp_path):
    """What one process writes."""
    own = exchange.settings(cache_dir=tmp_path / "truth", progress=False)
    report = ares.run(ares.download_all_data("BTCUSDT", "1h", 5 * DAY, end=END, settings=own))
    assert report.complete
    exchange.requests.clear()
    return contents(own)


@pytest.mark.parametrize("dataset", ares.DATASETS)
def test_a_cluster_brings_each_dataset(exchange, settings, client, tmp_path, dataset):
    """Of each dataset workers write what one process writes, and the second run asks nothing."""
    kind = dataset_named(dataset)
    symbol = kind.markets[0].example
    about = {
        "symbol": pair_of(symbol) if kind.rest_symbol_parameter == "pair" else symbol,
        "interval": "1h",
        "start": "2025-02-01",
        "end": "2025-02-03" if kind.cut == "day" else "2025-03-01",
        "datasets": [dataset],
    }
    own = exchange.settings(cache_dir=tmp_path / "own", progress=False)
    ares.run(ares.download_all_data(**about, settings=own))
    report = scale.download(ares.plan_downloads(**about, settings=settings), client)
    again = scale.download(ares.plan_downloads(**about, settings=settings), client)

    assert report.complete, str(report)
    assert contents(settings) == contents(own)
    assert again.requests == 0


def test_a_cluster_writes_the_same_bytes_and_asks_once(exchange, settings, client, truth):
    """Three workers write what one process writes; told with progress and in the history; the second run asks nothing."""
    heard = []
    report = scale.download(plan_of(settings), client, on_progress=heard.append)
    asked = len(exchange.requests)
    again = scale.download(plan_of(settings), client)

    assert report.complete
    assert report.requests == asked
    assert contents(settings) == truth
    assert heard[-1].steps_done == heard[-1].steps_total == len(report.steps)
    assert heard[-1].rows == report.rows_written
    assert {step.action for step in again.steps} == {"skip"}
    assert len(exchange.requests) == asked
    assert left_behind(settings) == []
    runs = ares.load_runs(settings=settings)
    assert runs["ending"].tolist() == ["done", "done"]
    assert runs["requests"].tolist() == [asked, 0]


def test_a_killed_worker_changes_nothing(exchange, settings, client, truth):
    """A worker that dies by SIGKILL in the middle loses nothing: others do its jobs."""
    process_ids = list(client.run(os.getpid).values())
    exchange.fail(r"\.zip$", stall="body", stall_seconds=600, times=1)

    def kill(progress):
        if progress.steps_done >= 2 and process_ids:
            # All of them, so that the one that waits in vain is among them.
            for each in process_ids:
                os.kill(each, signal.SIGKILL)
            process_ids.clear()

    report = scale.download(plan_of(settings), client, on_progress=kill)

    assert process_ids == []
    assert report.complete, str(report)
    assert contents(settings) == truth
    assert left_behind(settings) == []


def test_a_universe_is_one_run(exchange, settings, client):
    """Many symbols are carried out together: one report, one line in the history, and nothing the second time."""
    symbols = ("BTCUSDT", "ETHUSDT", "NOSUCHUSDT", "SOLUSDT")

    def brought():
        plan = ares.plan_universe(
            symbols, "1h", 40 * DAY, end="2025-03-01", datasets=("klines",), settings=settings
        )
        return scale.download(plan, client)

    report, asked = brought(), len(exchange.requests)
    exchange.requests.clear()
    again = brought()

    assert {step.file_name.split("_")[1] for step in report.failed} == {"NOSUCHUSDT"}
    assert "check the spelling" in str(report)
    assert len(contents(settings)) == 2 * 3
    assert {step.action for step in again.steps if step.error is None} == {"skip"}
    # And once whether it is a perpetual, and whether another name may be meant, by lists of all.
    lists = {"/api/v3/exchangeInfo", "/fapi/v1/exchangeInfo", "/data.binance.vision"}
    assert {each.path for each in exchange.requests if "NOSUCH" not in str(each)} <= lists
    assert ares.load_runs(settings=settings)["requests"].tolist() == [asked, len(exchange.requests)]


def test_who_was_not_listed_is_noted(exchange, settings):
    """A universe of which nobody was listed needs no cluster, and its report names who was meant."""
    table = pd.DataFrame({"symbol": ["APTUSDT"], "first": ["2022-10-19"], "last": ["2026-11-01"]})
    plan = ares.plan_universe(
        table, "1h", 1, end="2021-01-01", datasets=("klines",), settings=settings
    )
    report = scale.download(plan)

    assert report
    assert "APTUSDT" in str(report)
    assert exchange.requests == []


def test_without_a_client_there_is_a_cluster_for_the_call(settings):
    """A process a core on this machine, gone afterwards."""
    before = {each.pid for each in multiprocessing.active_children()}

    assert scale.download(plan_of(settings, 1, ("klines",))).complete
    assert {each.pid for each in multiprocessing.active_children()} <= before


def test_a_script_without_its_guard_is_reported(settings, tmp_path):
    """A script that each worker would run anew fails with what to write, and no worker tells a tale of its own."""
    reported = changed(settings)
    script = tmp_path / "script.py"
    script.write_text(
        "import ares_notebook as ares\n"
        "from ares_notebook import scale\n"
        f"settings = ares.Settings(**{reported!r})\n"
        'plan = ares.plan_downloads("BTCUSDT", "1d", 0.1, end="2025-01-01", settings=settings)\n'
        "scale.download(plan)\n"
    )

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)  # noqa: S603 - our own

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "ares_notebook.errors.UnfitEnvironment: no cluster"
    )
    assert 'under `if __name__ == "__main__":`' in done.stderr
    assert "bootstrapping" not in done.stderr
    assert not settings.cache_dir.exists()


def test_where_nothing_is_to_be_done_no_cluster_is_started(settings, monkeypatch):
    """Of a whole cache the report comes without a cluster of its own."""
    assert ares.run(
        ares.download_all_data("BTCUSDT", "1h", 5 * DAY, end=END, settings=settings)
    ).complete
    monkeypatch.setattr("ares_notebook.scale.cluster.LocalCluster", None)

    again = scale.download(plan_of(settings))

    assert {step.action for step in again.steps} == {"skip"}
    assert ares.load_runs(settings=settings)["ending"].tolist() == ["done", "done"]


def test_where_nothing_is_to_be_done_a_plan_that_is_alone_still_raises(settings):
    """A folder that has become another market's is refused without a cluster too, and not only reported."""
    ares.run(ares.download_all_data("BTCUSDT", "1h", 5 * DAY, end=END, settings=settings))
    plan = plan_of(settings)
    origin = settings.cache_dir / ".ares" / "origin.json"
    origin.write_text(origin.read_text().replace("demo", "binance"))

    with pytest.raises(WrongMarket):
        scale.download(plan)


def test_the_panel_has_a_cluster_do_it(exchange, settings, client, truth):
    """A panel with a client downloads and repairs by the cluster, told as by any other, and so does the code that it shows."""
    panel = ares.DownloadPanel(
        settings.replace(interval="1h", lookback_years=5 * DAY),
        end="2025-03-01",
        datasets=EVERYTHING,
        client=client,
    )
    report = ares.run(panel.download())
    name = "klines_BTCUSDT_1h_2025-02.csv"
    (settings.cache_dir / name).unlink()
    repaired = ares.run(panel.repair())
    state = panel._work.status.value
    code = panel.form.choice().code()
    panel.close()
    shutil.rmtree(settings.cache_dir)
    names = {"client": client}
    exec(code, names)  # noqa: S102 - our own code

    assert report.complete
    assert repaired.complete
    assert names["report"].rows_written == report.rows_written > 0
    assert contents(settings)[name] == truth[name]
    assert "complete" in state
    assert report.requests <= len(exchange.requests)


def test_what_failed_in_passing_is_tried_again(exchange, settings, client, truth):
    """A job that failed in all its own tries is given out once more."""
    own = settings.replace(max_retries=0, source="archive")
    fault = exchange.fail(r"aggTrades-2025-02-27.zip$", status=503, times=1)
    report = scale.download(plan_of(own), client)
    name = "aggtrades_BTCUSDT_2025-02-27.csv"

    assert fault.seen
    assert not report.failed
    assert contents(own)[name] == truth[name]


def test_a_host_that_rests_is_asked_by_no_worker(exchange, settings, client, monkeypatch):
    """What the listing's refusals (403) show of the archive holds for the workers too: they ask REST alone."""
    at_once = {case: each._replace(seconds=0.0) for case, each in breaker._NEEDED.items()}
    monkeypatch.setattr(breaker, "_NEEDED", at_once)
    exchange.fail("prefix|data/", times=None, status=403)

    report = scale.download(plan_of(settings, days=90, datasets=("klines",)), client)

    assert report.complete, str(report)
    assert not [each for each in exchange.requests if each.path.startswith("/data/")]


def test_what_fails_for_good_fails_alone(exchange, settings, client, truth):
    """A lasting fault is told with file and address, as by one process, and costs no other file."""
    own = settings.replace(source="archive")
    exchange.fail(r"aggTrades-2025-02-27.zip$", status=500, times=None)
    report = scale.download(plan_of(own), client)
    name = "aggtrades_BTCUSDT_2025-02-27.csv"

    assert [step.file_name for step in report.failed] == [name]
    assert exchange.url in str(report.failed[0].error)
    assert "run again" in str(report.failed[0].error)
    assert name not in contents(own)
    assert contents(own).items() <= truth.items()
    assert "aggtrades_BTCUSDT_2025-02-28.csv" in contents(own)


@contextmanager
def interrupted(is_time):
    """What runs inside is struck by Ctrl-C as soon as *is_time* says so."""
    main = threading.get_ident()

    def strike():
        deadline = time.monotonic() + 60
        while not is_time() and time.monotonic() < deadline:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    striker = threading.Thread(target=strike)
    striker.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    striker.join()
    assert is_time()


@contextmanager
def a_cluster_of_programs(tmp_path, modules=""):
    """A scheduler and a worker that are programs of their own: the scheduler's process, and a client."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(modules)
    place = tmp_path / "scheduler.json"
    common = ["--scheduler-file", place, "--host", "127.0.0.1"]
    scheduler = [*common, "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    with ExitStack() as stack:
        programs = []
        for name, arguments in (("scheduler", scheduler), ("worker", [*common, "--no-nanny"])):
            program = subprocess.Popen(  # noqa: S603 - Dask's own programs
                [sys.executable, "-m", f"distributed.cli.dask_{name}", *map(str, arguments)],
                env={**os.environ, "PYTHONPATH": str(hooks) if name == "worker" else ""},
                stderr=subprocess.DEVNULL,
            )
            stack.callback(program.wait)
            stack.callback(program.kill)
            programs.append(program)
        with Client(scheduler_file=str(place), set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
            yield programs[0], client


def test_a_scheduler_that_goes_is_reported(exchange, settings, tmp_path, truth):
    """When the scheduler dies the run ends at once and says so; what was finished stays, and the next run brings the rest."""
    exchange.fail(r"\.zip$", stall="body", stall_seconds=600, times=1)
    with a_cluster_of_programs(tmp_path) as (scheduler, own):

        def kill(progress):
            if progress.steps_done >= 2:
                scheduler.kill()

        with pytest.raises(WorkerLost, match="scheduler is gone"):
            scale.download(plan_of(settings), own, on_progress=kill)
    kept = contents(settings)
    exchange.faults.clear()
    ares.run(ares.download_all_data("BTCUSDT", "1h", 5 * DAY, end=END, settings=settings))

    assert len(kept) >= 2
    assert contents(settings) == truth


STRANGERS = {
    "cannot import it": "import sys\nsys.modules['ares_notebook'] = None\n",
    "has 0.0.9": (
        "from importlib import metadata\n"
        "version = metadata.version\n"
        "metadata.version = lambda name: '0.0.9' if name == 'ares-notebook' else version(name)\n"
    ),
}


@pytest.mark.parametrize("words", STRANGERS)
def test_a_worker_that_is_a_stranger_is_refused(exchange, settings, tmp_path, words):
    """A worker that lacks the package, or has another version, is given no job, and named with what is wrong."""
    with (
        a_cluster_of_programs(tmp_path, STRANGERS[words]) as (_, own),
        pytest.raises(UnfitEnvironment, match=rf"worker tcp://127.* {words}.* install the same"),
    ):
        scale.download(plan_of(settings), own)

    assert exchange.requests == []
    assert not settings.cache_dir.exists()


BLIND = """
import pathlib
is_file = pathlib.Path.is_file
pathlib.Path.is_file = lambda path: not path.name.startswith(".run-") and is_file(path)
"""


@pytest.mark.parametrize("to", [None, "lake"])
def test_a_worker_that_does_not_see_the_folder_is_refused(exchange, settings, tmp_path, to):
    """Where a worker sees another disk nothing is given out, and it is named with the two ways out."""
    where = None if to is None else str(tmp_path / to)
    with (
        a_cluster_of_programs(tmp_path, BLIND) as (_, own),
        pytest.raises(CacheUnavailable, match=r"worker tcp://127.* does not see the folder"),
    ):
        scale.download(plan_of(settings), own, to=where)

    assert exchange.requests == []
    assert contents(settings) == {}
    assert left_behind(settings) == []


def test_a_cancelled_run_leaves_nothing_behind(exchange, settings, client):
    """Who is interrupted cancels the jobs on the workers too; nothing half-done stays, and the next run ends."""
    fault = exchange.fail(r"\.zip$", stall="body", stall_seconds=600, times=None)
    with interrupted(lambda: fault.seen):
        scale.download(plan_of(settings), client)
    exchange.faults.clear()
    deadline = time.monotonic() + 60
    while left_behind(settings):
        assert time.monotonic() < deadline

    assert scale.download(plan_of(settings), client).complete
    assert ares.load_runs(settings=settings)["ending"].tolist() == ["cancelled", "done"]


def test_a_worker_does_several_files_at_once(exchange, settings, client):
    """Three workers of a thread each have more than three files under way while the exchange keeps them waiting."""
    fault = exchange.fail(r"\.zip$", stall="body", stall_seconds=600, times=None)
    # Of each file once: no try is given up in the meantime.
    with interrupted(lambda: fault.seen >= 6):
        scale.download(plan_of(settings, days=12), client)

    stalled = [each.path for each in exchange.requests if each.path.endswith(".zip")]
    assert len(set(stalled)) == len(stalled) >= 6


def test_workers_keep_the_memory_that_they_use_again(settings, client):
    """After a job a large block comes from what the worker has, though Dask's settings would have it mapped anew."""
    assert scale.download(plan_of(settings, days=1), client).complete

    assert set(client.run(maps_anew).values()) == {False}


def maps_anew():
    """Whether glibc maps a block of 4 MiB anew: its count of mapped blocks then grows (mallinfo(3))."""

    class Counts(ctypes.Structure):
        _fields_ = [(f"n{at}", ctypes.c_int) for at in range(10)]

    libc = ctypes.CDLL(None)
    libc.mallinfo.restype, libc.malloc.restype = Counts, ctypes.c_void_p
    before = libc.mallinfo().n3
    block = libc.malloc(4 << 20)
    after = libc.mallinfo().n3
    libc.free(ctypes.c_void_p(block))
    return after > before


def test_workers_stay_under_the_limit_of_an_address(client, tmp_path):
    """All pages come over REST, from three workers at once, without one refusal."""
    with DemoExchange(weight_limit=200, window_seconds=2) as tight:
        own = tight.settings(cache_dir=tmp_path / "tight", progress=False, source="rest")
        plan = ares.plan_downloads(
            "BTCUSDT", "1m", 0.4, end="2025-03-01", datasets=("klines",), settings=own
        )
        report = scale.download(plan, client)
        statuses = {each.status for each in tight.requests}

    assert report.complete
    assert not statuses & {429, 418}
    assert ares.load_runs(settings=own)["rate_limited"].tolist() == [0]


def test_a_worker_with_another_folder_is_reported(settings, client):
    """Who does not see the client's folder writes nothing, and names the two ways out."""
    plan = plan_of(settings)
    elsewhere = RunSpec("a run", plan.settings, mark=str(settings.cache_dir / "not there"))

    with pytest.raises(CacheUnavailable, match=r"does not see .* a folder that all share, or an"):
        client.submit(fetch_files, elsewhere, "a job", plan.to_do[:1]).result()
    assert not settings.cache_dir.exists()


def test_a_worker_with_another_dataset_folder_is_reported(settings, client, tmp_path):
    """A folder given as to=… must be the same for all too, or half of it would lie elsewhere."""
    plan = plan_of(settings)
    destination = tmp_path / "lake"
    elsewhere = RunSpec(
        "a run", plan.settings, mark=str(destination / "not there"), to=str(destination)
    )

    with pytest.raises(
        CacheUnavailable, match=rf"does not see the folder {destination} of the client"
    ):
        client.submit(fetch_files, elsewhere, "a job", plan.to_do[:1]).result()
    assert not destination.exists()


@pytest.mark.parametrize("addresses", [0, -1, 1.5, "2"])
def test_what_is_no_number_of_addresses_is_refused(settings, addresses):
    """Before a cluster is asked for anything."""
    with pytest.raises(BadArgument, match="addresses="):
        scale.download(plan_of(settings), None, addresses=addresses)


@pytest.mark.parametrize("wrong", [[], "BTCUSDT", None])
def test_what_is_no_plan_is_refused(wrong):
    """Before a cluster is started."""
    with pytest.raises(BadArgument, match=r"plan_downloads or plan_universe makes a plan; \w+ is"):
        scale.download(wrong)


@pytest.mark.parametrize("given", [{"decimal": True}, {"storage_options": {"key": "secret"}}])
def test_how_without_where_is_refused(settings, given):
    """Who says how Parquet is stored, and not where, does not get a CSV cache without a word."""
    with pytest.raises(BadArgument, match=r"are for Parquet at a destination") as raised:
        scale.download(plan_of(settings), **given)

    assert "secret" not in str(raised.value)


def test_a_client_that_is_closed_is_refused(settings, cluster):
    """So is what is no client at all."""
    with Client(cluster, set_as_default=False) as closed:
        pass
    for wrong in (closed, "tcp://127.0.0.1:8786"):
        with pytest.raises(BadArgument, match="is no client of a running cluster"):
            scale.download(plan_of(settings), wrong)


def test_an_asynchronous_client_is_refused(settings):
    """Whose loop would wait for itself, for ever."""

    class Asynchronous:
        asynchronous = True

    with pytest.raises(BadArgument, match=r"pass Client\(cluster\)"):
        scale.download(plan_of(settings), Asynchronous())


def test_what_is_secret_stays_with_the_client(settings):
    """No job carries the API key, nor the addresses that are told of runs."""
    reported = settings.replace(api_key="HIDDEN", notify=("slack://HIDDEN/b/c",))

    assert b"HIDDEN" in pickle.dumps(reported)
    assert b"HIDDEN" not in pickle.dumps(run_spec_of(reported))


def test_other_programs_of_an_address_still_count(settings):
    """Who says that six others ask from here has the workers of a run share with them."""
    spec = run_spec_of(settings.replace(address_shared_by=7))

    assert spec.sharing(3).settings.address_shared_by == 9


def test_jobs_under_way_are_bounded(exchange, settings, client):
    """However many plans go side by side, a worker has four files at once, since each takes memory."""
    fault = exchange.fail(r"aggTrades.*\.zip$", stall="body", stall_seconds=600, times=None)
    plan = ares.plan_universe(
        ("BTCUSDT", "ETHUSDT", "SOLUSDT"), "1h", 10 * DAY, end=END, settings=settings,
        datasets=("klines", "agg_trades", "futures"),
    )  # fmt: skip
    # Of three workers; thirty files could be asked for.
    with interrupted(lambda: fault.seen >= 6):
        scale.download(plan, client)

    assert len(plan.to_do) > 30
    assert fault.seen <= 12


def test_what_came_while_its_job_was_under_way_is_new(exchange, settings):
    """A worker that dies before it can tell what it has brought takes no row from the report."""
    fault = exchange.fail(r"2025-02\.zip$", stall="body", stall_seconds=600, times=1)
    plan = plan_of(settings, datasets=("klines",))
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as one,
        Client(one, set_as_default=False) as client,
    ):
        [process_id] = client.run(os.getpid).values()

        def overtake():
            deadline = time.monotonic() + 60
            while not fault.seen and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(process_id, signal.SIGKILL)
            # Long before another worker has started.
            ares.run(
                ares.download_klines_data("BTCUSDT", "1h", 5 * DAY, end=END, settings=settings)
            )

        other = threading.Thread(target=overtake)
        other.start()
        report = scale.download(plan, client)
        other.join()

    assert report.complete
    assert {step.action for step in report.steps} == {"fetch"}
    assert report.rows_written == sum(map(len, load_months(settings)))


def load_months(settings):
    return [path.read_text().splitlines()[1:] for path in settings.cache_dir.glob("*.csv")]


# --- an object store ---


@pytest.fixture(scope="module")
def server():
    """An S3 on loopback."""
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    answer = s3._server.app

    def counted(environ, start_response):
        asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        return answer(environ, start_response)

    s3._server.app = counted
    yield {"endpoint_url": f"http://{host}:{port}", "key": "a key", "secret": "a secret"}
    s3.stop()


asked: list[tuple[str, str]] = []
"""What the S3 was asked."""


@pytest.fixture
def bucket(server):
    """A new one, and how it is read."""
    files = fsspec.filesystem("s3", **server)
    name = f"lake-{time.monotonic_ns()}"
    files.mkdir(name)
    return files, name


def names_in(files, name):
    files.invalidate_cache()
    return {each.rpartition("/")[2] for each in files.find(name) if each.endswith(".parquet")}


def rows_in(files, name, file):
    [path] = [each for each in files.find(name) if f"/{file}." in each]
    with files.open(path) as source:
        return pq.ParquetFile(source).read()


def test_objects_hold_what_the_cache_would(settings, client, server, bucket, tmp_path):
    """Each file is one object, the same as `to_parquet` writes of a cache; the second run asks the exchange nothing."""
    files, name = bucket
    report = scale.download(
        plan_of(settings), client, to=f"s3://{name}/data", storage_options=server
    )
    again = scale.download(
        plan_of(settings), client, to=f"s3://{name}/data", storage_options=server
    )
    ares.run(ares.download_all_data("BTCUSDT", "1h", 5 * DAY, end=END, settings=settings))
    ares.to_parquet(tmp_path / "lake", settings=settings)

    assert report.complete
    assert {step.action for step in again.steps} == {"skip"}
    assert again.requests == 0
    for path in (tmp_path / "lake").rglob("*.parquet"):
        there = rows_in(files, name, path.stem)
        assert there.equals(pq.ParquetFile(path).read())
        reported = json.loads(there.schema.metadata[b"ares_notebook"])
        assert reported["facts"]["rows"] == there.num_rows
        assert reported["sources"]


def test_what_is_not_whole_is_not_put(exchange, settings, client, server, bucket):
    """A file that fails leaves no object, and is the only one that the next run brings."""
    files, name = bucket
    own = settings.replace(source="archive")
    exchange.fail(r"aggTrades-2025-02-27.zip$", status=500, times=None)
    plan = plan_of(own, datasets=("agg_trades",), end="2025-03-01")
    first = scale.download(plan, client, to=f"s3://{name}", storage_options=server)
    before = names_in(files, name)
    exchange.faults.clear()
    second = scale.download(plan, client, to=f"s3://{name}", storage_options=server)

    missing = "aggtrades_BTCUSDT_2025-02-27"
    assert [step.file_name for step in first.failed] == [f"{missing}.csv"]
    assert f"{missing}.parquet" not in before
    assert len(before) == 4
    assert {step.file_name: step.action for step in second.steps if step.action != "skip"} == {
        f"{missing}.csv": "fetch"
    }
    assert names_in(files, name) == {*before, f"{missing}.parquet"}


def test_a_day_published_short_is_completed_at_its_address(
    exchange, settings, client, bucket, recorded_cut
):
    """Days are joined by their ids at an address too: what the archive lacks is asked for, and put."""
    files, name = bucket
    days = {"end": "2025-03-04", "datasets": ("agg_trades",)}
    one = exchange.settings(cache_dir=settings.cache_dir.with_name("one"), progress=False)
    ares.run(ares.download_all_data("BTCUSDT", None, 3 * DAY, **days, settings=one))
    recorded_cut(exchange, contents(one))
    plan = plan_of(settings, 3, **days)
    report = scale.download(plan, client, to=f"s3://{name}", storage_options=files.storage_options)
    again = scale.download(plan, client, to=f"s3://{name}", storage_options=files.storage_options)

    rows = len(contents(one)["aggtrades_BTCUSDT_2025-03-02.csv"].splitlines()) - 1
    assert report.complete
    assert rows_in(files, name, "aggtrades_BTCUSDT_2025-03-02").num_rows == rows
    assert report.rows_written == sum(len(each.splitlines()) - 1 for each in contents(one).values())
    assert {step.action for step in again.steps} == {"skip"}


def test_an_open_month_grows(settings, client, server, bucket):
    """What has been put before its period was over is brought anew, and holds more."""
    files, name = bucket
    rows = []
    for end in ("2025-03-02", "2025-03-02T05:00"):
        plan = plan_of(settings, 1, ("klines",), end)
        assert scale.download(
            plan, client, to=f"s3://{name}", storage_options=server, decimal=True
        ).complete
        files.invalidate_cache()
        rows.append(rows_in(files, name, "klines_BTCUSDT_1h_2025-03").num_rows)

    assert rows == [24, 29]


def test_a_symbol_without_perpetual_is_asked_about_once(exchange, settings, client, server, bucket):
    """That there is nothing is on record at the address too: an object without rows, and no question the second time."""
    files, name = bucket
    symbol = "BTCFDUSD"
    for _ in range(2):
        exchange.requests.clear()
        plan = ares.plan_downloads(
            symbol, "1h", 5 * DAY, end=END, datasets=("futures",), settings=settings
        )
        report = scale.download(plan, client, to=f"s3://{name}", storage_options=server)
        assert not report.failed

    assert exchange.requests == []
    assert rows_in(files, name, f"futures_{symbol}_2025-02").num_rows == 0


def test_markets_do_not_mix_at_an_address(exchange, settings, client, server, bucket):
    """A dataset of one market takes no data of another."""
    files, name = bucket
    files.pipe_file(f"{name}/_ares_origin.json", b'{"market": "binance"}')
    with pytest.raises(WrongMarket, match="holds the data of 'binance'"):
        scale.download(plan_of(settings), client, to=f"s3://{name}", storage_options=server)

    assert names_in(files, name) == set()
    assert exchange.requests == []


def test_numbers_of_two_types_do_not_mix_at_an_address(exchange, settings, client, server, bucket):
    """A dataset of floats takes no decimals, and nobody is asked for any."""
    files, name = bucket
    to = {"to": f"s3://{name}", "storage_options": server}
    assert scale.download(plan_of(settings, 1, ("klines",)), client, **to).complete
    exchange.requests.clear()
    with pytest.raises(BadArgument, match="holds numbers as float64"):
        scale.download(plan_of(settings), client, **to, decimal=True)

    assert {each.split("_")[0] for each in names_in(files, name)} == {"klines"}
    assert exchange.requests == []


@pytest.mark.parametrize(
    "to",
    [
        "s3://key:secret@bucket",
        "s3://key:sec/secret@bucket",
        "simplecache::s3://key:secret@bucket",
        "s3://bucket?key=secret",
        "nowhere://x",
        "s3://",
        "",
        " ",
        "/",
        "memory://x",
    ],
)
def test_what_is_no_address_is_refused(settings, client, to):
    """Before anything is asked; a key in it is not repeated."""
    with pytest.raises(BadArgument) as raised:
        scale.download(plan_of(settings), client, to=to)

    assert "secret" not in str(raised.value)


def test_a_store_that_cannot_be_reached_is_reported(exchange, settings, client, server):
    """A bucket that is not there is an error with the address, and without the key."""
    with pytest.raises(CacheUnavailable, match="s3://nobody cannot be reached") as raised:
        scale.download(plan_of(settings), client, to="s3://nobody", storage_options=server)

    assert "a secret" not in str(raised.value)
    assert exchange.requests == []


def test_a_folder_is_an_address_too(settings, client, tmp_path):
    """What fsspec reaches on this machine takes the same dataset."""
    plan = plan_of(settings, datasets=("klines",))
    assert scale.download(plan, client, to=str(tmp_path / "lake")).complete
    ares.run(ares.download_klines_data("BTCUSDT", "1h", 5 * DAY, end=END, settings=settings))

    report = ares.to_parquet(tmp_path / "lake", settings=settings)
    there = {
        path.relative_to(tmp_path / "lake").parts[0] for path in (tmp_path / "lake").rglob("*")
    }
    assert report
    assert there == {"_ares_origin.json", "_ares_manifest", "klines_1h"}
    assert {each.action for each in scale.verify(str(tmp_path / "lake")).items} == {"sound"}
    assert list((tmp_path / "lake").rglob("*.part")) == []


def test_a_killed_worker_leaves_no_rows_on_its_disk(exchange, settings, tmp_path):
    """What a worker that is killed had begun is in Dask's own folder, which is cleared for the next."""
    exchange.fail(r"\.zip$", stall="body", stall_seconds=600, times=1)
    scratch, process_ids = tmp_path / "scratch", []

    def kill(progress):
        if progress.steps_done >= 2 and process_ids:
            left.extend(scratch.rglob("ares-*"))
            os.kill(process_ids.pop(), signal.SIGKILL)

    left = []
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            local_directory=scratch,
        ) as one,
        Client(one, set_as_default=False) as client,
    ):
        process_ids += client.run(os.getpid).values()
        plan = plan_of(settings)
        report = scale.download(plan, client, to=str(tmp_path / "lake"), on_progress=kill)

    assert report.complete, str(report)
    assert left
    assert list(scratch.rglob("ares-*")) == []


def test_a_folder_is_the_clients(settings, client, tmp_path, monkeypatch):
    """A relative one is taken from where the client stands, not from where a worker does."""
    monkeypatch.chdir(tmp_path)
    plan = plan_of(settings, datasets=("klines",))

    assert scale.download(plan, client, to="lake").complete
    assert list(tmp_path.glob("lake/klines_1h/symbol=BTCUSDT/*/*.parquet"))


def test_a_second_run_lists_and_reads_no_object(exchange, settings, client, server, bucket):
    """What is at the address is known by a listing and a manifest a series, however many objects there are; without manifests, by the objects."""
    files, name = bucket
    to = {"to": f"s3://{name}", "storage_options": server}
    plan = ares.plan_universe(
        ["BTCUSDT", "ETHUSDT"],
        "1h",
        start="2024-03-01",
        end="2025-03-01",
        datasets=["klines"],
        settings=settings,
    )
    assert scale.download(plan, client, **to).complete
    exchange.requests.clear()
    asked.clear()
    again = scale.download(plan, client, **to)
    requests = [*asked]
    files.rm(f"{name}/_ares_manifest", recursive=True)
    without = scale.download(plan, client, **to)
    sound = scale.verify(to["to"], storage_options=server)

    assert {step.action for step in (*again.steps, *without.steps)} == {"skip"}
    assert exchange.requests == []
    assert not [path for _, path in requests if path.endswith(".parquet")]
    # For each of two series, and once for the note of the market.
    assert len(requests) <= 2 * 3 + 4
    # No run has hashed them, but they are known by one manifest again.
    assert sound
    assert [item.action for item in sound.items] == ["unproven"] * 24
    asked.clear()
    assert scale.download(plan, client, **to).complete
    assert not [path for _, path in asked if path.endswith(".parquet")]


def test_flipped_bits_of_objects_are_found(settings, client, server, bucket):
    """`scale.verify` names the object of which a bit differs, and no other one."""
    files, name = bucket
    to = {"to": f"s3://{name}/data", "storage_options": server}
    assert scale.download(plan_of(settings, datasets=("klines",)), client, **to).complete
    before = scale.verify(to["to"], storage_options=server)
    files.invalidate_cache()
    path = next(each for each in files.find(name) if each.endswith("2025-02.parquet"))
    whole = bytearray(files.cat_file(path))
    whole[len(whole) // 3] ^= 16
    files.pipe_file(path, bytes(whole))
    after = scale.verify(to["to"], storage_options=server)

    assert {each.action for each in before.items} == {"sound"}
    assert [each.file for each in after.failed] == ["klines_BTCUSDT_1h_2025-02.csv"]
    assert path in str(after)


def test_one_symbols_fault_stops_no_other(settings, client, tmp_path):
    """What a store refuses for one symbol fails its files alone, as an error of ours; a manifest that cannot be written is a line of the report."""
    lake = tmp_path / "lake"
    (lake / "klines_1h").mkdir(parents=True)
    (lake / "klines_1h" / "symbol=ETHUSDT").write_text("no folder")
    (lake / "_ares_manifest").write_text("no folder")
    plan = ares.plan_universe(
        ["BTCUSDT", "ETHUSDT"],
        "1h",
        start="2025-01-01",
        end="2025-03-01",
        datasets=["klines"],
        settings=settings,
    )
    report = scale.download(plan, client, to=str(lake))

    assert {step.file_name.split("_")[1] for step in report.failed} == {"ETHUSDT"}
    assert len(report.failed) == 2
    assert all(isinstance(step.error, CacheUnavailable) for step in report.failed)
    assert [str(pickle.loads(pickle.dumps(step.error))) for step in report.failed] == [  # noqa: S301 - our own
        str(step.error) for step in report.failed
    ]
    assert len(list(lake.rglob("klines_BTCUSDT*.parquet"))) == 2
    assert [note for note in report.notes if "the manifest of klines_BTCUSDT_1h could not" in note]


def test_what_cannot_be_known_of_one_symbol_fails_it_alone(settings, client, tmp_path):
    """Where the store refuses what it has of one symbol, its files fail with that reason, and the others are looked up and fetched."""
    lake = tmp_path / "lake"

    def run(start):
        plan = ares.plan_universe(
            ["BTCUSDT", "ETHUSDT"],
            "1d",
            start=start,
            end="2025-03-01",
            datasets=["klines"],
            settings=settings,
        )
        return scale.download(plan, client, to=str(lake))

    assert run("2025-02-01").complete
    manifest = lake / "_ares_manifest" / "klines_1d" / "symbol=ETHUSDT.json"
    manifest.unlink()
    manifest.mkdir()
    report = run("2025-01-01")

    assert [step.file_name for step in report.failed] == [
        "klines_ETHUSDT_1d_2025-01.csv",
        "klines_ETHUSDT_1d_2025-02.csv",
    ]
    assert all("IsADirectoryError" in str(step.error) for step in report.failed)
    assert [step.action for step in report.steps if "BTC" in step.file_name] == ["fetch", "skip"]


def test_whatever_a_library_raises_on_a_worker_is_ours():
    """An error that no tree of ours has, and that cannot be pickled, comes as one that can."""

    class Foreign(Exception):
        def __init__(self, one, other):
            super().__init__(f"{one} and {other}")
            self.lock = threading.Lock()

    own = as_own(Foreign("this", "that"), "klines_BTCUSDT_1h_2025-02.csv")
    known = as_own(own, "again")

    assert known is own
    there = pickle.loads(pickle.dumps(own))  # noqa: S301 - our own
    assert "2025-02.csv: the worker met Foreign: this and that" in str(there)
