"""Run coroutines from anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ares_notebook.runtime.job import start
from ares_notebook.runtime.loop import CLEAN_UP_SECONDS, run

posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")


async def answer(value=42):
    await asyncio.sleep(0)
    return value


def test_it_runs_from_a_script():
    """Without a loop the coroutine's result comes back."""
    assert run(answer()) == 42


async def test_it_runs_inside_a_running_loop():
    """Where a loop is running, as in a notebook's cell, it works the same."""
    assert run(answer()) == 42


def test_it_runs_from_threads():
    """Many threads may run at once, and each gets its own result."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda at: run(answer(at)), range(40)))

    assert results == list(range(40))


def test_all_run_on_one_loop_in_a_daemon_thread():
    """There is one background loop, and it keeps no process alive."""

    async def where():
        return asyncio.get_running_loop(), threading.current_thread()

    (loop, thread), (other, _) = run(where()), run(where())

    assert loop is other
    assert thread.daemon
    assert thread is not threading.current_thread()


def test_the_exception_itself_comes_out():
    """What the coroutine raised is what the caller catches."""
    error = ValueError("mine")

    async def fail():
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        run(fail())

    assert caught.value is error


def test_a_coroutine_that_cancels_itself_is_heard():
    """A cancelled coroutine does not look like a result."""

    async def give_up():
        raise asyncio.CancelledError

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - of two kinds, by where it comes from
        run(give_up())

    assert "Cancelled" in type(caught.value).__name__


def test_calling_it_inside_itself_is_refused():
    """A coroutine that runs another through run() would wait for itself, and is told so."""

    async def nested():
        return run(answer())

    with pytest.raises(RuntimeError, match="use await there"):
        run(nested())


def said(program):
    """What a program of its own prints; it may not take long."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout.split(), done.stderr


@posix
def test_an_interrupt_cancels_and_waits_until_all_is_cleaned_up():
    """Ctrl-C strikes the caller; the coroutine is cancelled and has cleaned up when run() returns."""
    out, _ = said(
        """
import asyncio, os, signal, threading
from ares_notebook.runtime.loop import run
async def work():
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.05)
        print("cleaned", flush=True)
async def answer():
    return 42
main = threading.main_thread().ident
threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT]).start()
try:
    run(work())
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(run(answer()))
"""
    )

    assert out == ["cleaned", "interrupted", "42"]


def interrupted_at(line: int) -> bool:
    """Run a coroutine that never ends, with an interrupt at a line of run(); False once run() waits."""
    before, lines, is_waiting = sys.gettrace(), itertools.count(1), []
    names = {"run", "stopping_too", "terminable", "submit", "waited_for"}

    def trace(frame, event, _):
        # Not in _running(): no signal is heard where a lock is given back, but a trace is.
        if frame.f_code.co_name not in names:
            return None
        if event == "line" and next(lines) == line:
            is_waiting.append(frame.f_code.co_name == "waited_for")
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(asyncio.Event().wait())
    finally:
        sys.settrace(before)
    return is_waiting == [False]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_interrupt_at_any_line_of_run_leaves_nothing_running():
    """Also one that strikes when the work has begun and run() does not wait for it yet."""

    async def others():
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    run(answer())
    began = time.monotonic()
    for struck in itertools.count(1):
        is_early = interrupted_at(struck)
        assert run(others()) == []
        if not is_early:
            break
    assert struck > 10
    assert time.monotonic() - began < CLEAN_UP_SECONDS


@posix
def test_an_interrupt_before_the_coroutine_has_begun_does_not_hang():
    """Where the loop was busy the coroutine never began; the interrupt comes out all the same."""
    out, _ = said(
        """
import asyncio, os, signal, threading
from ares_notebook.runtime.loop import run
free, busy = threading.Event(), threading.Event()
async def blocks():
    busy.set()
    free.wait(10)
async def never():
    await asyncio.Event().wait()
threading.Thread(target=run, args=[blocks()], daemon=True).start()
busy.wait(10)
def strike():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    threading.Timer(0.2, free.set).start()
    threading.Timer(5, os._exit, [9]).start()
threading.Timer(0.3, strike).start()
try:
    run(never())
except KeyboardInterrupt:
    print("interrupted", flush=True)
os._exit(0)
"""
    )

    assert out == ["interrupted"]


@posix
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_a_loop_of_its_own():
    """After a fork the child does not wait for a thread that only its parent has."""
    out, _ = said(
        """
import os, signal
from ares_notebook.runtime.loop import run
async def answer():
    return 42
print(run(answer()), flush=True)
child = os.fork()
if child == 0:
    signal.alarm(5)
    print(run(answer()), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(run(answer()), flush=True)
"""
    )

    assert out == ["42", "42", "42"]


def test_a_program_ends_though_its_loop_runs():
    """The background loop does not keep a script from ending."""
    out, err = said(
        "from ares_notebook.runtime.loop import run\nasync def a(): return 1\nprint(run(a()))\n"
    )

    assert (out, err) == (["1"], "")


async def test_a_failed_coroutine_does_not_stop_the_loop():
    """After an error the next coroutine runs as if nothing had been."""

    async def fail():
        return {}["x"]

    with contextlib.suppress(KeyError):
        run(fail())

    assert run(answer()) == 42


@pytest.mark.parametrize("give", [run, start], ids=["run", "start"])
def test_what_is_no_coroutine_is_refused(give):
    """A function that nobody has called is refused at once, and not waited for in vain."""
    with pytest.raises(TypeError, match="a coroutine was expected, such as"):
        give(answer)
