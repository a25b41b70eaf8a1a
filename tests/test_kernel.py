"""What only a real kernel shows: queued cells, interrupts, loops inside its own loop."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager
from reading import changed

import ares_notebook as ares

posix = pytest.mark.skipif(os.name != "posix", reason="interrupts are signals")
nested = pytest.mark.parametrize(
    "call",
    [
        "asyncio.run(asyncio.sleep(0.05, {at}))",
        "loop.run_until_complete(asyncio.sleep(0.05, {at}))",
    ],
    ids=["asyncio.run", "run_until_complete"],
)


@dataclass
class Answer:
    """What became of a cell."""

    text: str = ""
    errors: str = ""
    is_done: bool = field(default=False)


class Kernel:
    """A kernel and the line to it."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self._client = client
        self._answers: dict[str, Answer] = {}

    def send(self, code: str) -> Answer:
        """Put a cell into the kernel's queue; its answer fills while one listens."""
        answer = self._answers[self._client.execute(code)] = Answer()
        return answer

    def click(self, model_id: str) -> None:
        """Press a button of ipywidgets, as a page does."""
        content = {"comm_id": model_id, "data": {"method": "custom", "content": {"event": "click"}}}
        client = self._client
        client.shell_channel.send(client.session.msg("comm_msg", content))

    def run(self, *cells: str, seconds: float = 30) -> list[Answer]:
        """Put cells into the queue, all at once as *Run All* does, and wait for the last."""
        answers = [self.send(code) for code in cells]
        self.listen(lambda: all(answer.is_done for answer in answers), seconds)
        return answers

    def listen(self, until, seconds: float) -> None:
        """Take in what the kernel says until something holds, or the time is up."""
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            try:
                self._take(self._client.get_iopub_msg(timeout=0.05))
            except Empty:
                continue

    def _take(self, message: dict) -> None:
        answer = self._answers.get(message["parent_header"].get("msg_id"))
        content = message["content"]
        if answer is None:
            return
        if message["msg_type"] == "stream":
            name = "text" if content["name"] == "stdout" else "errors"
            setattr(answer, name, getattr(answer, name) + content["text"])
        elif message["msg_type"] == "error":
            answer.errors += f"{content['ename']}: {content['evalue']}"
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            answer.is_done = True


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """A kernel of this Python that knows no configuration but its own."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    # By sockets in files: a port that was free may be another's when the kernel comes to take it.
    by_files = {"transport": "ipc", "ip": "kernel"} if os.name == "posix" else {}
    manager = KernelManager(kernel_name="python3", **by_files)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        made = Kernel(manager, client)
        first = made.run("import asyncio, sys\nimport ares_notebook as ares\nprint(sys.executable)")
        assert first == [Answer(f"{sys.executable}\n", is_done=True)]
        yield made
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def here(exchange: ares.DemoExchange, tmp_path: Path) -> str:
    """A line of code that makes settings for the test's exchange."""
    reported = changed(exchange.settings(cache_dir=tmp_path / "cache"))
    return f"settings = ares.Settings(**{reported!r})"


def said(answers: list[Answer]) -> list[Answer]:
    """What is wanted of cells that print their number: all done, in order, no errors."""
    return [Answer(f"{at}\n", is_done=True) for at in range(len(answers))]


DOWNLOAD = 'ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-03-01", settings=settings)'


def test_run_works_in_a_plain_cell(kernel):
    """A cell gets a coroutine's result without await, and the queue behind it goes on."""
    answers = kernel.run(
        *(f"print(ares.run(asyncio.sleep(0.05, {at})))" for at in range(5)),
    )

    assert answers == said(answers)


@posix
@pytest.mark.parametrize("waiting", ["ares.run(never())", "await ares.start(never())"])
def test_an_interrupted_cell_cancels_its_coroutine(kernel, waiting):
    """The stop button ends the cell and its coroutine at once; the next cell sees it cancelled."""
    kernel.run(
        """
import time
seen = []
async def never():
    global over
    try:
        print("begun", flush=True)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise
    finally:
        over = time.time()
"""
    )
    stopped = kernel.send(waiting)
    # What a coroutine prints on the background loop reaches the cell that waits for it.
    kernel.listen(lambda: "begun" in stopped.text, 10)
    struck = time.time()
    kernel.manager.interrupt_kernel()
    kernel.listen(lambda: stopped.is_done, 10)
    # By the kernel's clock, since drawing the traceback takes IPython its time.
    after, over = kernel.run("print(seen)", "print(over)")

    assert stopped.errors.startswith(("KeyboardInterrupt", "CancelledError"))
    assert after.text == "['cancelled']\n"
    assert float(over.text) - struck < 1.5


@nested
def test_nested_loops_lose_no_cell(kernel, call):
    """After allow_nested_loops() cells that nest a loop run, and so do all that wait in the queue."""
    (reported,) = kernel.run(
        "from ares_notebook.lab import allow_nested_loops\n"
        "loop = asyncio.get_running_loop()\n"
        "print(allow_nested_loops())"
    )
    answers = kernel.run(*(f"print({call.format(at=at)})" for at in range(5)), seconds=10)

    assert reported.text.startswith("nest-asyncio2 1.")
    assert answers == said(answers)


def test_nested_loops_may_be_allowed_twice(kernel):
    """A cell that allows nested loops can be run again, and await still works after it."""
    allow = "from ares_notebook.lab import allow_nested_loops as allow\nallow();"
    answers = kernel.run(
        allow, allow, "print(asyncio.run(asyncio.sleep(0, await asyncio.sleep(0, 7))))"
    )

    assert [(each.text, each.errors) for each in answers] == [("", ""), ("", ""), ("7\n", "")]


@pytest.mark.parametrize("name", ["nest_asyncio", "nest_asyncio2"])
def test_ours_works_after_the_users_own_patch(kernel, here, name):
    """After a user has patched asyncio, run, start, await and downloads work, and no cell is lost."""
    kernel.run(f"import {name}\n{name}.apply()", here)
    answers = kernel.run(
        "print(ares.run(asyncio.sleep(0.05, 0)))",
        "print(ares.start(asyncio.sleep(0.05, 1)).wait(10))",
        f"report = ares.run({DOWNLOAD})\nprint(2 if report.complete else report)",
        f"report = await {DOWNLOAD}\nprint(3 if report.complete else report)",
        f"report = ares.start({DOWNLOAD}).wait(20)\nprint(4 if not report.requests else report)",
    )

    assert answers == said(answers)


@pytest.mark.parametrize("name", [None, "nest_asyncio", "nest_asyncio2"])
def test_the_panel_downloads_whatever_was_patched(kernel, here, name):
    """A click on Download and panel.download() both bring the data, after any patch of asyncio."""
    patch = f"import {name}\n{name}.apply()" if name else ""
    reported = 'settings, end="2025-03-01", datasets=("klines",)'
    (made,) = kernel.run(
        f"{patch}\n{here}\npanel = ares.DownloadPanel({reported})\n"
        'print(panel.buttons["Download"].model_id)'
    )
    kernel.click(made.text.strip())
    deadline, seen = time.monotonic() + 20, Answer()
    while seen.text != "True\n":
        assert time.monotonic() < deadline, seen
        (seen,) = kernel.run(
            'print(panel.report is not None and not panel.buttons["Download"].disabled)'
        )
    answers = kernel.run(
        "print(0 if panel.report.complete else panel.report)",
        "report = await panel.download()\nprint(1 if not report.requests else report)",
        "report = ares.run(panel.download())\nprint(2 if not report.requests else report)",
    )

    assert made.errors == ""
    assert answers == said(answers)
