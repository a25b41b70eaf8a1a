"""Work in the background: watched, waited for, stopped."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

import ares_notebook as ares
from ares_notebook.runtime.job import start

MINE = ValueError("mine <b>")


class Gate:
    """A door in the loop's thread that the test opens."""

    def __init__(self) -> None:
        self.entered, self.left = threading.Event(), threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        """Let it go on."""
        self._open.set()

    async def passed(self) -> str:
        """Wait at the door."""
        self.entered.set()
        try:
            await asyncio.to_thread(self._open.wait)
        finally:
            self.left.set()
        return "through"


@pytest.fixture
def gate():
    """A door that is opened at the end, so that no thread is left behind."""
    made = Gate()
    yield made
    made.open()


def test_it_returns_at_once_and_runs_on(gate):
    """While the coroutine waits the caller goes on, and sees that it is running."""
    job = start(gate.passed())
    assert gate.entered.wait(10)

    assert (job.state, job.result, job.error) == ("running", None, None)
    gate.open()
    assert job.wait(10) == "through"
    assert (job.state, job.result) == ("done", "through")


def test_an_error_is_kept_and_raised_by_wait():
    """What the coroutine raised is its error, and comes out of wait."""

    async def fail():
        raise MINE

    job = start(fail())
    with pytest.raises(ValueError, match="mine"):
        job.wait(10)

    assert job.state == "failed"
    assert job.error is MINE
    assert "mine" in repr(job)
    assert "<b>" not in job._repr_html_()


def test_a_wait_that_is_too_short_leaves_it_running(gate):
    """A timeout says so, and the job goes on."""
    job = start(gate.passed())
    with pytest.raises(TimeoutError, match="still running after 0"):
        job.wait(0)

    assert job.state == "running"


def test_a_cancelled_job_cleans_up(gate):
    """Cancelling ends the coroutine, its clean-up included, before the state says so."""
    job = start(gate.passed())
    assert gate.entered.wait(10)
    job.cancel()
    with pytest.raises(CancelledError, match="what it had done is kept"):
        job.wait(10)

    assert job.state == "cancelled"
    assert gate.left.is_set()


def test_progress_is_heard_without_being_asked_for(settings):
    """A download that is started tells the job how far it is, and its own listener as well."""
    heard = []
    job = start(
        ares.download_klines_data(
            "BTCUSDT", "1h", 0.1, end="2025-03-01", settings=settings, on_progress=heard.append
        )
    )
    report = job.wait(60)

    assert report.complete
    assert job.progress.steps_done == job.progress.steps_total == 2
    assert heard[-1] == job.progress


def test_two_jobs_hear_their_own_progress(settings):
    """Of two downloads at once each job tells its own."""
    other = settings.replace(cache_dir=settings.cache_dir.with_name("other"))
    jobs = [
        start(ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-03-01", settings=settings)),
        start(ares.download_klines_data("ETHUSDT", "1d", 0.2, end="2025-03-01", settings=other)),
    ]
    for job in jobs:
        job.wait(60)

    assert [job.progress.symbol for job in jobs] == ["BTCUSDT", "ETHUSDT"]
    assert [job.progress.steps_total for job in jobs] == [2, 3]


def test_a_job_cannot_be_waited_for_on_its_own_loop():
    """Waiting inside the background loop would stop it, and is refused."""

    async def wait():
        return start(asyncio.sleep(0)).wait()

    with pytest.raises(RuntimeError, match="use await"):
        ares.run(wait())


def test_a_cancelled_download_leaves_no_partial_file(exchange, settings):
    """A download that is cancelled half-way ends at once, and no temporary file is left."""
    exchange.fail("2025-02.zip$", times=None, stall="body")
    job = start(
        ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-03-01", settings=settings)
    )
    while not any("2025-02.zip" in request.path for request in list(exchange.requests)):
        assert job.state == "running"
    job.cancel()
    with pytest.raises(CancelledError):
        job.wait(5)

    assert list(settings.cache_dir.glob(".*.part")) == []


async def test_a_job_can_be_awaited(gate):
    """In a coroutine `await job` is the result, and whoever else waits gets the same."""
    job = start(gate.passed())
    gate.open()

    assert await job == "through"
    assert await job == "through"


async def test_who_is_cancelled_while_he_waits_cancels_the_job(gate):
    """A cell that is interrupted in `await job` stops the job, and finds it cleaned up."""
    job = start(gate.passed())
    waiting = asyncio.ensure_future(job._awaited())
    await asyncio.to_thread(gate.entered.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert job.state == "cancelled"
    assert gate.left.is_set()


def test_a_job_that_is_cancelled_before_it_began_ends():
    """Where the loop had no time for the first line, the job is cancelled all the same."""

    async def never():
        pytest.fail("it began")

    busy, free = threading.Event(), threading.Event()

    async def block():
        busy.set()
        free.wait(10)

    blocking = start(block())
    assert busy.wait(10)
    job = start(never())
    job.cancel()
    free.set()
    with pytest.raises(CancelledError):
        job.wait(10)

    assert job.state == "cancelled"
    blocking.wait(10)


def test_then_is_told_once_when_all_is_over(gate):
    """What was registered is called with the ended job, also if it had ended before."""
    reported, seen = [], threading.Event()
    job = start(gate.passed())
    job.then(lambda each: (reported.append(each.state), seen.set()))
    gate.open()
    assert seen.wait(10)
    job.then(lambda each: reported.append(each.result))

    assert reported == ["done", "through"]
