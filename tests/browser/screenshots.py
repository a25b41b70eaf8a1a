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

from ares_notebook import DemoExchange

from .lab import Lab
from .panel import Panel
from .server import LabServer

THEMES = ("Light", "Dark")
WIDTHS = (1280, 800)
CELLS = (
    "import ares_notebook as ares\n\nsettings = ares.Settings(**{told!r})",
    'panel = ares.DownloadPanel(settings, end="2025-03-01")\npanel',
)


def idle(_panel: Panel, _exchange: DemoExchange) -> None:
    """Nothing was begun."""


def running(panel: Panel, exchange: DemoExchange) -> None:
    """A download is half-way, and stays there."""
    exchange.fail(r"-(1\d|0[1-4])\.zip$", times=None, stall="body")
    panel.press("Download")
    # Not of the status, which is renewed at every tenth of the way only.
    expect(panel.root).to_contain_text(re.compile(r"[1-9]\d* of \d+ files · "))


def done(panel: Panel, exchange: DemoExchange) -> None:
    """All of it came."""
    panel.press("Cancel")
    panel.expect_state("cancelled")
    exchange.faults.clear()
    panel.press("Download")
    panel.expect_state("complete")


def error(panel: Panel, _exchange: DemoExchange) -> None:
    """A symbol that is none."""
    panel.field("Symbols").fill("NOSUCHUSDT")
    panel.press("Download")
    panel.expect_state("failed")


# In an order in which each follows from the one before.
STATES: tuple[Callable[[Panel, DemoExchange], None], ...] = (idle, running, done, error)


def take(folder: Path) -> None:
    """All pictures, into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    with stage() as (browser, server), DemoExchange() as exchange:
        for width in WIDTHS:
            exchange.faults.clear()
            lab = Lab(page_of(browser, width), server.url)
            lab.open(written(server.folder, exchange, width))
            take_states(lab, exchange, folder, width)
            server.end_kernels()


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


def written(folder: Path, exchange: DemoExchange, width: int) -> str:
    """A notebook with the panel on an empty cache; its name."""
    settings = exchange.settings(cache_dir=f"demo_cache_{width}")
    told = {name: str(value) for name, value in settings.model_dump(exclude_defaults=True).items()}
    cells = [nbformat.v4.new_code_cell(each.format(told=told)) for each in CELLS]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, folder / f"panel_{width}.ipynb")
    return f"panel_{width}.ipynb"


def page_of(browser: Browser, width: int) -> Page:
    """A page so wide, twice as sharp as on an old screen."""
    size = {"width": width, "height": 1400}
    return browser.new_context(viewport=size, device_scale_factor=2).new_page()


def take_states(lab: Lab, exchange: DemoExchange, folder: Path, width: int) -> None:
    """Go through the states, and take each in both themes."""
    lab.run_all()
    lab.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    panel = Panel(lab)
    panel.expect_state("Ready")
    for state in STATES:
        state(panel, exchange)
        for theme in THEMES:
            lab.use_theme(theme)
            panel.root.scroll_into_view_if_needed()
            panel.root.screenshot(path=folder / f"{state.__name__}-{theme.lower()}-{width}.png")


if __name__ == "__main__":
    take(Path(sys.argv[1]))
