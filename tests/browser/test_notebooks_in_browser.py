"""The committed notebooks in a browser: all cells run, nobody complains, the panel can be worked."""

from __future__ import annotations

import time

from playwright.sync_api import expect

from .lab import until
from .panel import Panel


def test_a_notebook_runs_from_top_to_bottom(lab):
    """All cells run in order, and none writes to stderr or raises; of the others nbval makes sure."""
    lab.open("05_research.ipynb")
    lab.run_all()
    counts = [cell["count"] for cell in lab.code_cells()]

    assert counts == list(range(1, len(counts) + 1))
    assert lab.complaints() == []


# The panel's demo exchange is its own; a test must find it, to make it hang.
FIND = "exchange = panel.form._sources._demo()\n"
HANG = r"_ = exchange.fail(r'SOLUSDT.*\d\.zip$', skip=1, times=None, stall='body')"


def test_the_panels_notebook_can_be_worked(lab):
    """Symbol by typing, cost, download, a cell meanwhile, cancel, again, picture, a wrong symbol."""
    lab.open("04_panel.ipynb")
    lab.run_all()
    lab.run_cell(FIND + HANG)
    panel = Panel(lab)
    panel.tab("Get").click()
    before = panel.estimate.inner_text()
    panel.field("Symbols").fill("SOLUSDT")
    until(lambda: panel.estimate.inner_text() != before, 10, "the estimate has changed")

    panel.press("Download")
    panel.expect_state(r"files.*\d%", 10)
    asked = time.monotonic()
    assert lab.run_cell("print(6 * 7)") == "42\n"
    assert time.monotonic() - asked < 1
    # The cell did not wait for the download, which hangs and is still at it.
    panel.expect_state(r"files.*\d%", 1)
    panel.press("Cancel")
    panel.expect_state("cancelled", 1)
    assert lab.run_cell("sorted(panel.settings.cache_dir.rglob('*.part'))") == "[]"

    lab.run_cell("exchange.faults.clear()")
    panel.press("Download")
    panel.expect_state("complete")
    panel.tab("Prove").click()
    expect(panel.picture).to_be_visible()
    expect(panel.root.locator(".ares-coverage")).to_contain_text("SOLUSDT")

    panel.tab("Get").click()
    panel.field("Symbols").fill("NOSUCHUSDT")
    panel.press("Download")
    panel.expect_state("failed")
    expect(panel.alert.filter(has_text="NOSUCHUSDT")).to_be_visible()
    assert lab.complaints() == []
