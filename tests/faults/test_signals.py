"""SIGINT, as by Ctrl-C, and SIGTERM: a clean stop, with what was done and how to go on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from reading import changed

from ares_notebook import DemoExchange, load_runs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")

REPOSITORY = Path(__file__).parents[2]
SIGNALS = pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name
)
STOPPED = "Stopped. What is done is kept; run the same command to go on."
COMMAND = [
    "-m",
    "ares_notebook",
    "download",
    "BTCUSDT",
    "15m",
    "--years",
    "0.4",
    "--end",
    "2025-03-01",
    "--datasets",
    "klines",
]
SCRIPT = """
import ares_notebook as ares
ares.run(ares.download_klines_data("BTCUSDT", "15m", 0.4, end="2025-03-01"))
"""
JOB = """
import ares_notebook as ares
job = ares.start(ares.download_klines_data("BTCUSDT", "15m", 0.4, end="2025-03-01"))
{waiting}
"""
STUBBORN = """
import asyncio, sys, time
import ares_notebook as ares

async def work():
    await asyncio.sleep(0.2)  # until it is waited for
    print("begun", file=sys.stderr, flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("cleaning up", file=sys.stderr, flush=True)
        time.sleep(60)  # noqa: ASYNC251 - the loop is to be stuck

ares.run(work())
"""
CHANCE = random.Random(7)  # noqa: S311 - to be the same at each run


@pytest.fixture
def exchange() -> Iterator[DemoExchange]:
    with DemoExchange(latency_seconds=0.02, weight_limit=10**6) as running:
        yield running


@contextmanager
def running(settings, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python of its own at work with these settings; killed if it does not end by itself."""
    reported = changed(settings)
    with subprocess.Popen(  # noqa: S603 - our own programs
        [sys.executable, *arguments],
        env={
            **os.environ,
            **{f"ARES_{name.upper()}": str(value) for name, value in reported.items()},
            "PYTHONPATH": str(REPOSITORY),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until_asked(exchange: DemoExchange, process: subprocess.Popen[str], requests: int) -> None:
    """Wait until it has asked so often."""
    deadline = time.monotonic() + 60
    while len(exchange.requests) < requests:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)


NOTHING_YET = (
    "BTCUSDT: 0 of 5 files were worked on, and what came is kept; run the same again to go on"
)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """The exit status, and the lines on standard error; it may take as long as a busy machine does."""
    _, said = process.communicate(timeout=30)
    return process.returncode, said.splitlines()


def assert_clean(settings) -> None:
    assert list(settings.cache_dir.rglob("*.part*")) == []
    assert load_runs(settings=settings)["ending"].tolist() == ["cancelled"]


@SIGNALS
@pytest.mark.parametrize("lines", sorted(CHANCE.sample(range(1, 700), 3)))
def test_a_command_that_is_stopped_while_it_imports(settings, number, lines):
    """Whichever module is being imported: a sentence and the status of the signal, and no traceback."""
    with running(settings, "-X", "importtime", *COMMAND) as process:
        for line in process.stderr:
            if line.endswith("| ares_notebook.cli\n"):
                break
        for _ in range(lines):
            process.stderr.readline()
        process.send_signal(number)
        status, said = ended(process)

    assert status == 128 + number
    # Python's own lines may be cut by ours, which is not buffered with them.
    first, *more = [each for each in said if not each.startswith("import time:")]
    assert first == STOPPED
    # What carries out the plan is imported when the plan is known.
    assert more in ([], [NOTHING_YET])
    assert list(settings.cache_dir.rglob("*.part*")) == []


@SIGNALS
@pytest.mark.parametrize("requests", sorted(CHANCE.sample(range(1, 12), 2)))
def test_a_command_that_is_stopped_at_work(exchange, settings, number, requests):
    """However far it is: files done of how many, how to go on, a line in the history, no temporary file."""
    with running(settings, *COMMAND) as process:
        until_asked(exchange, process, requests)
        process.send_signal(number)
        status, said = ended(process)

    assert status == 128 + number
    assert said[0] == STOPPED
    assert said[1].endswith(
        " of 5 files were worked on, and what came is kept; run the same again to go on"
    )
    assert len(said) == 2
    assert_clean(settings)


@SIGNALS
@pytest.mark.parametrize("requests", sorted(CHANCE.sample(range(1, 12), 2)))
def test_a_script_that_is_stopped_at_work(exchange, settings, tmp_path, number, requests):
    """A script ends by the signal itself, and says the same in place of a traceback."""
    program = tmp_path / "program.py"
    program.write_text(SCRIPT)
    with running(settings, str(program)) as process:
        until_asked(exchange, process, requests)
        process.send_signal(number)
        status, said = ended(process)

    assert status == -number
    assert said[0] == {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}[number]
    assert said[1].startswith("BTCUSDT: ")
    assert said[1].endswith(
        " of 5 files were worked on, and what came is kept; run the same again to go on"
    )
    assert len(said) == 2
    assert_clean(settings)


@SIGNALS
@pytest.mark.parametrize("is_script", [True, False], ids=["script", "command"])
def test_nobody_waits_for_an_answer_that_does_not_come(
    exchange, settings, tmp_path, number, is_script
):
    """A run that waits for the exchange stops at once, and counts the files that are done."""
    exchange.fail("2025-02.zip$", stall="body", stall_seconds=600, times=None)
    program = tmp_path / "program.py"
    program.write_text(SCRIPT)
    receipts = settings.cache_dir / ".ares" / "receipts"
    with running(settings, *([str(program)] if is_script else COMMAND)) as process:
        deadline = time.monotonic() + 60
        while len(list(receipts.glob("klines*.json"))) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        status, said = ended(process)

    assert status == (-number if is_script else 128 + number)
    assert said[1].startswith("BTCUSDT: 4 of 5 files")
    assert_clean(settings)


@SIGNALS
def test_a_script_that_waits_for_a_job(exchange, settings, tmp_path, number):
    """Who is stopped while he waits for a job stops the job, and hears the same as of `run`."""
    program = tmp_path / "program.py"
    program.write_text(JOB.format(waiting="job.wait()"))
    with running(settings, str(program)) as process:
        until_asked(exchange, process, 6)
        process.send_signal(number)
        status, said = ended(process)

    assert status == -number
    assert said[0] == {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}[number]
    assert said[1].endswith(
        " of 5 files were worked on, and what came is kept; run the same again to go on"
    )
    assert len(said) == 2
    assert_clean(settings)


def test_a_script_that_ends_before_its_job(exchange, settings, tmp_path):
    """A job that nobody waits for is stopped with the program: it cleans up, and that is told."""
    exchange.fail("2025-02.zip$", stall="body", stall_seconds=600, times=None)
    program = tmp_path / "program.py"
    # Ends in the middle of the download, at the latest when nothing else is left of it.
    program.write_text(
        JOB.format(waiting="while not (job.progress and job.progress.requests):\n    pass")
    )
    with running(settings, str(program)) as process:
        status, said = ended(process)

    assert status == 0
    assert said == [
        "Stopped, since the program ends; wait() waits for a job. What is done is kept."
    ]
    assert_clean(settings)


@pytest.mark.parametrize("waiting", ["ares.run(work)", "ares.start(work).wait()"])
def test_a_package_that_has_waits_go_on(exchange, settings, tmp_path, waiting):
    """With Polars imported, after which a signal breaks off no wait, a stop is heard all the same."""
    exchange.fail("2025-02.zip$", stall="body", stall_seconds=600, times=None)
    program = tmp_path / "program.py"
    work = 'ares.download_klines_data("BTCUSDT", "15m", 0.4, end="2025-03-01")'
    program.write_text(f"import polars\nimport ares_notebook as ares\nwork = {work}\n{waiting}\n")
    with running(settings, str(program)) as process:
        until_asked(exchange, process, 6)
        process.send_signal(signal.SIGINT)
        _, said = ended(process)

    assert said[0] == "Interrupted"
    assert_clean(settings)


def test_who_asks_twice_does_not_wait(settings, tmp_path):
    """A second Ctrl-C ends a script whose work does not end, with one word and no traceback."""
    program = tmp_path / "program.py"
    program.write_text(STUBBORN)
    with running(settings, str(program)) as process:
        assert process.stderr.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "cleaning up\n"
        process.send_signal(signal.SIGINT)
        status, said = ended(process)

    assert (status, said) == (-signal.SIGINT, ["Interrupted"])
