"""
Take pictures of the panel: idle, running, done and in error, light and dark, wide and narrow.

For looking, and for the README::

    python -m tests.browser.screenshots FOLDER
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .lab import Lab
from .panel import Panel
from .server import LabServer

THEMES = ("Light", "Dark")
WIDTHS = (1280, 800)
CELL = """import ares_notebook as ares

panel = ares.DownloadPanel(source="demo", end="2025-03-01")
panel"""
# The demo exchange is the panel's own, in the kernel.
STALL = 'panel.form._sources._demo().fail(r"-(1\\d|0[1-4])\\.zip$", times=None, stall="body")'
GO_ON = "panel.form._sources._demo().faults.clear()"


def idle(_panel: Panel, _lab: Lab) -> None:
    """Nothing was begun."""


def running(panel: Panel, lab: Lab) -> None:
    """A download is half-way, and stays there."""
    lab.run_cell(STALL)
    panel.press("Download")
    # Not of the status, which is renewed at every tenth of the way only.
    expect(panel.root).to_contain_text(re.compile(r"[1-9]\d* of \d+ files · "))


def done(panel: Panel, lab: Lab) -> None:
    """All of it came."""
    panel.press("Cancel")
    panel.expect_state("cancelled")
    lab.run_cell(GO_ON)
    panel.press("Download")
    panel.expect_state("complete")
    expect(panel.estimate).to_contain_text("Nothing to fetch")


def error(panel: Panel, _lab: Lab) -> None:
    """A symbol that is none."""
    panel.field("Symbols").fill("NOSUCHUSDT")
    panel.press("Download")
    panel.expect_state("failed")


# In an order in which each follows from the one before.
STATES: tuple[Callable[[Panel, Lab], None], ...] = (idle, running, done, error)


def take(folder: Path) -> None:
    """All pictures, into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    with stage() as (browser, server):
        for width in WIDTHS:
            lab = Lab(page_of(browser, width), server.url)
            lab.open(written(server.folder))
            take_states(lab, folder, width)
            server.end_kernels()
            shutil.rmtree(server.folder / "demo_cache")


@contextmanager
def stage() -> Iterator[tuple[Browser, LabServer]]:
    """A browser, and JupyterLab on an empty folder."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as scratch,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser,
    ):
        notebooks = Path(scratch) / "notebooks"
        notebooks.mkdir()
        with LabServer(notebooks, Path(scratch) / "home") as server:
            yield browser, server


def written(folder: Path) -> str:
    """A notebook with the panel; its name."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, folder / "panel.ipynb")
    return "panel.ipynb"


def page_of(browser: Browser, width: int) -> Page:
    """A page so wide, twice as sharp as on an old screen."""
    size = {"width": width, "height": 1400}
    return browser.new_context(viewport=size, device_scale_factor=2).new_page()


def take_states(lab: Lab, folder: Path, width: int) -> None:
    """Go through the states, and take each in both themes."""
    lab.run_all()
    lab.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    panel = Panel(lab)
    panel.expect_state("Ready")
    for state in STATES:
        state(panel, lab)
        for theme in THEMES:
            lab.use_theme(theme)
            panel.root.scroll_into_view_if_needed()
            panel.root.screenshot(path=folder / f"{state.__name__}-{theme.lower()}-{width}.png")


if __name__ == "__main__":
    take(Path(sys.argv[1]))
