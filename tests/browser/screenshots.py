"""
Take pictures of the panel in each of its states, light and dark, wide and narrow.

For looking, and for the README::

    python -m tests.browser.screenshots FOLDER

With ``--readme`` only those of the README and of the notebooks, small; `make pictures` does that.
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
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .lab import Lab
from .panel import Panel
from .server import LabServer

THEMES = ("Light", "Dark")
WIDTHS = (1440, 800)
CELL = """import ares_notebook as ares

panel = ares.DownloadPanel(source="demo", end="2025-03-01")
panel"""
# The demo exchange is the panel's own, in the kernel.
EXCHANGE = "exchange = panel.form._sources._demo()\n"
STALL = EXCHANGE + 'exchange.fail(r"-(1\\d|0[1-4])\\.zip$", times=None, stall="body")'
FAIL = EXCHANGE + 'exchange.fail(r"fundingRate", times=None, status=400, body="{}")'
GO_ON = EXCHANGE + "exchange.faults.clear()"
DAMAGE = "(panel.settings.cache_dir / 'klines_BTCUSDT_1h_2024-09.csv').unlink()"


def idle(_panel: Panel, _lab: Lab) -> None:
    """Nothing was begun; the cost is shown."""


def too_large(panel: Panel, lab: Lab) -> None:
    """Trades of eight years, whose true size nobody tells."""
    lab.run_cell(EXCHANGE + 'exchange.fail("data.binance.vision", times=None, status=503)')
    panel.set("Lookback", "8 years")
    panel.field("Trades").check()
    expect(panel.button("Download what fits")).to_be_visible()
    expect(panel.estimate).to_contain_text("It does not fit")
    lab.page.wait_for_timeout(1_000)


def running(panel: Panel, lab: Lab) -> None:
    """A download is half-way, and stays there."""
    lab.run_cell(GO_ON)
    panel.field("Trades").uncheck()
    panel.set("Lookback", "1 year")
    lab.run_cell(STALL)
    panel.press("Download")
    # Not of the status, which is renewed at every tenth of the way only.
    expect(panel.root).to_contain_text(re.compile(r"[1-9]\d* of \d+ files · "))


def cancelled(panel: Panel, _lab: Lab) -> None:
    """It was cancelled."""
    panel.press("Cancel")
    panel.expect_state("cancelled")


def failed(panel: Panel, lab: Lab) -> None:
    """The k-lines came, the funding did not."""
    lab.run_cell(GO_ON)
    lab.run_cell(FAIL)
    panel.press("Download")
    panel.expect_state("failed")


def done(panel: Panel, lab: Lab) -> None:
    """All of it came."""
    lab.run_cell(GO_ON)
    panel.press("Download")
    panel.expect_state("complete")
    expect(panel.estimate).to_contain_text("Nothing to fetch")


def changed(panel: Panel, _lab: Lab) -> None:
    """The form has changed since, and its code is shown."""
    panel.field("Interval").select_option("4h")
    panel.press("Code that does the same")
    expect(panel.root).to_contain_text("the form has changed")
    expect(panel.estimate).to_contain_text("12 of")


def repaired(panel: Panel, lab: Lab) -> None:
    """A file was deleted, and a repair has brought it back."""
    panel.press("Code that does the same")
    panel.tab("Get").click()
    panel.field("Interval").select_option("1h")
    lab.run_cell(DAMAGE)
    panel.press("Repair gaps")
    panel.expect_state("Repair gaps: complete")


def validated(panel: Panel, _lab: Lab) -> None:
    """All of it was validated."""
    panel.press("Validate")
    panel.expect_state("Validate: ")
    expect(panel.root).to_contain_text("no error found")


def wrong_symbol(panel: Panel, _lab: Lab) -> None:
    """A symbol that nobody knows."""
    panel.field("Symbols").fill("BTCUSD")
    panel.press("Download")
    panel.expect_state("failed")


def wrong_fields(panel: Panel, _lab: Lab) -> None:
    """A symbol, a lookback and a folder that cannot be."""
    panel.field("Symbols").fill("BTC/USDT")
    panel.set("Lookback", "6m")
    panel.set("Cache folder", "panel.ipynb")
    expect(panel.alert.filter(has_text="folder")).to_be_visible()


def coin_market(panel: Panel, _lab: Lab) -> None:
    """A contract of COIN-M with its prices, trades and open interest."""
    panel.field("Market").select_option(label="COIN-M futures")
    panel.field("Symbols").fill("BTCUSD_PERP")
    panel.set("Lookback", "3 days")
    panel.set("Cache folder", "demo_cache")
    for name in ("COIN-M trades", "Mark price", "Premium index", "Open interest"):
        panel.field(name).check()
    expect(panel.estimate).to_contain_text("8 of 8 files")
    panel.press("Download")
    panel.expect_state("Download: complete")
    expect(panel.estimate).to_contain_text("Nothing to fetch")


def usd_market(panel: Panel, _lab: Lab) -> None:
    """Candles, funding, premium and open interest of a perpetual of USD-M; the archive lacks two days."""
    for name in ("Mark price", "COIN-M trades"):
        panel.field(name).uncheck()
    panel.field("Market").select_option(label="USD-M futures")
    panel.set("Lookback", "1 year")
    expect(panel.estimate).to_contain_text("of 48 files")
    panel.press("Download")
    panel.expect_state("Download: done", 60)
    expect(panel.root).to_contain_text("not yet published")


def another_market(panel: Panel, _lab: Lab) -> None:
    """The symbol of one market is typed in another."""
    panel.field("Symbols").fill("BTCUSD_PERP")
    expect(panel.alert).to_contain_text("choose the market COIN-M futures")


# In an order in which each follows from the one before.
STATES: tuple[Callable[[Panel, Lab], None], ...] = (
    *(idle, too_large, running, cancelled, failed, done),
    *(changed, repaired, validated, wrong_symbol, wrong_fields),
    *(coin_market, usd_market, another_market),
)


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
    size = {"width": width, "height": 1600}
    return browser.new_context(viewport=size, device_scale_factor=2).new_page()


def take_states(lab: Lab, folder: Path, width: int) -> None:
    """Go through the states, and take each in both themes."""
    lab.run_all()
    lab.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    panel = Panel(lab)
    panel.expect_state("Ready")
    for state in STATES:
        if state not in (cancelled, repaired, validated):
            panel.tab("Get").click()
        state(panel, lab)
        for theme in THEMES:
            lab.use_theme(theme)
            panel.root.scroll_into_view_if_needed()
            panel.root.screenshot(path=folder / f"{state.__name__}-{theme.lower()}-{width}.png")


def take_for_readme(folder: Path) -> None:
    """The panel with prices and map in both themes, and the top of a certificate."""
    with stage() as (browser, server):
        page = browser.new_context(
            viewport={"width": 1100, "height": 1600}, device_scale_factor=1.5
        ).new_page()
        lab = Lab(page, server.url)
        lab.open(written(server.folder))
        lab.run_all()
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
        panel = Panel(lab)
        panel.expect_state("Ready")
        panel.set("Symbols", "BTCUSDT, ETHUSDT")
        panel.press("Download")
        panel.expect_state("complete")
        lab.run_cell("await panel.settled()")
        lab.run_cell("panel.chart.view = '2024-11-15', '2025-03-01'")
        panel.tab("Look").click()
        chart = panel.root.locator("section.ares-chart")
        expect(chart).to_have_attribute("data-busy", "0")
        for theme in THEMES:
            lab.use_theme(theme)
            panel.root.screenshot(path=folder / f"panel_{theme.lower()}.png")
        lab.run_cell("[quality, _] = await panel.validate(); _ = quality.save('certificate.html')")
        page.goto(f"{server.url}/files/certificate.html")
        page.screenshot(path=folder / "certificate.png", clip=TOP)
    for path in folder.glob("*.png"):
        shrink(path)


# Of a page that is longer.
TOP = {"x": 0, "y": 0, "width": 1100, "height": 760}


def shrink(path: Path) -> None:
    """Write a picture with few colours, which it has anyway."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    if sys.argv[1] == "--readme":
        take_for_readme(Path(sys.argv[2]))
    else:
        take(Path(sys.argv[1]))
