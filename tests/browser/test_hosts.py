"""The panel in other hosts: Notebook 7, Voilà and marimo, each with a kernel and a page of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from .axe import violations
from .lab import until
from .server import free_port

CELL = """
settings = settings.replace(interval="1d")
panel = ares.DownloadPanel(settings, end="2025-03-01", datasets=("klines",))
panel"""
# A chart, or the picture of one.
CHART = "section.ares-chart, svg[role=img][aria-label^='BTCUSDT 1d,']"
MARIMO = """import marimo
app = marimo.App()

@app.cell
def _():
{cell}
    return
"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that is as wide as a small screen."""
    context = browser.new_context(viewport={"width": 1000, "height": 1100})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def work(page: Page, tab: str) -> None:
    """Type, download and look at the prices, by names and roles that all hosts share; axe finds nothing."""
    panel = page.locator(".ares-panel").first
    expect(panel.get_by_text("Ready", exact=True)).to_be_visible(timeout=90_000)
    panel.get_by_label("Lookback").fill("60 days")
    panel.get_by_label("Lookback").blur()
    expect(panel.locator(".ares-estimate")).to_contain_text("To fetch: 3 of 3 files")
    assert violations(panel) == []
    panel.get_by_role("button", name="Download", exact=True).click()
    expect(panel.get_by_text("Download: complete (BTCUSDT 1d).")).to_be_visible()
    if tab:
        panel.get_by_text(tab, exact=True).click()
    expect(panel.locator(CHART).first).to_be_visible()
    assert violations(panel) == []


@pytest.mark.parametrize("path", ["notebooks/{}", "voila/render/{}"], ids=["notebook", "voila"])
def test_hosts_of_jupyter(server, notebook, here, page, path):
    """In Notebook 7 and in Voilà the panel downloads, and shows the chart of what came."""
    name = notebook([here + CELL])
    page.goto(f"{server.url}/{path.format(name)}")
    if path.startswith("notebooks"):
        page.locator(".jp-CodeCell .jp-Editor").first.click()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
    work(page, "")
    server.end_kernels()


@pytest.fixture
def marimo(tmp_path, here) -> Iterator[str]:
    """The address of a program of marimo that shows the panel."""
    cell = "".join(f"    {line}\n" for line in (here + CELL).splitlines())
    (tmp_path / "program.py").write_text(MARIMO.format(cell=cell), encoding="utf-8")
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "marimo", "run", "program.py", "--headless", "--no-token"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARES_")}
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path,
            env={**kept, "HOME": str(tmp_path)},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: is_there(url, process), 60, "marimo answers")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def is_there(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether a server answers."""
    assert process.poll() is None, "marimo has ended"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310 - loopback
        return True
    return False


def test_marimo_draws_the_panel(marimo, page, settings):
    """In marimo our own script draws the form, it downloads, and the prices are a picture."""
    page.goto(marimo)
    work(page, "Look")

    assert len([*settings.cache_dir.glob("klines_BTCUSDT_1d_*.csv")]) == 3
    expect(page.get_by_text('ares.chart("BTCUSDT", "1d"')).to_be_visible()
