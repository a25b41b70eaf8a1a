"""The harness itself: a notebook runs in a browser, and its kernel stays free."""

from __future__ import annotations

import time

from .lab import until

DOWNLOAD = 'ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-03-01", settings=settings)'


def test_a_cell_answers_while_a_job_runs(lab, notebook, here, exchange, settings):
    """While a download hangs half-way another cell answers at once; cancelled, it leaves no .part."""
    exchange.fail("2025-02.zip$", times=None, stall="body")
    lab.open(notebook([here, f"job = ares.start({DOWNLOAD})\njob"]))
    lab.run_all()
    until(lambda: any("2025-02.zip" in each.path for each in list(exchange.requests)), 10, "half")

    asked = time.monotonic()
    answer = lab.run_cell("print(job.state)")
    took = time.monotonic() - asked
    lab.run_cell(
        "from concurrent.futures import CancelledError\n"
        "job.cancel()\ntry:\n    job.wait(5)\nexcept CancelledError: pass"
    )

    assert answer == "running\n"
    assert took < 1
    assert lab.run_cell("job") == "<Job cancelled>"
    assert lab.complaints() == []
    assert list(settings.cache_dir.glob(".*.part")) == []


def test_complaints_are_seen(lab, notebook):
    """What a cell writes to stderr or raises is what complaints() tells, and nothing else."""
    lab.open(notebook(["print('fine')", "import sys\nprint('oh', file=sys.stderr)"]))
    lab.run_all()

    assert [cell["count"] for cell in lab.code_cells()] == [1, 2]
    assert lab.complaints() == ["oh\n"]
    assert lab.run_cell("1 / 0") == "ZeroDivisionError: division by zero"
    assert lab.complaints()[1:] == ["ZeroDivisionError: division by zero"]
    assert lab.outputs.filter(has_text="fine").count() == 1
