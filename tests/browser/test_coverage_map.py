"""The coverage map as its user works it: by mouse and by keyboard, in both themes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from ares_notebook import DemoExchange, download_klines_data, run

from .axe import violations
from .lab import Lab, until

# Where pictures of the states go; none are taken without it. Read now, since no ARES_ variable reaches a test.
PICTURES = os.environ.get("ARES_PICTURES")
PIXEL = "canvas => [...canvas.getContext('2d').getImageData(3, 3, 1, 1).data].slice(0, 3)"
GROUNDS = {"Light": [255, 255, 255], "Dark": [17, 17, 17]}
MAP = "map = ares.coverage_map(settings=settings)\nmap"


class MapOnPage:
    """
    The first map in an output of a notebook.

    Parameters
    ----------
    lab : Lab
    """

    def __init__(self, lab: Lab) -> None:
        self.page = lab.page
        self.root = lab.outputs.locator(".ares-map").first
        self.box = self.root.get_by_role("application")
        self.tip = self.root.locator(".ares-tip")
        self.chosen = self.root.locator(".ares-chosen")
        self.status = self.root.get_by_role("status")
        self.spoken = self.root.locator(".ares-spoken")

    @property
    def shape(self) -> dict[str, float]:
        """Where its cells are, once it is drawn."""
        until(lambda: self.root.get_attribute("data-shape") is not None, 15, "the map is drawn")
        shape: dict[str, float] = json.loads(self.root.get_attribute("data-shape") or "")
        return shape

    def point(self, row: int, column: int) -> dict[str, float]:
        """The middle of a cell, from the corner of the box."""
        shape = self.shape
        return {
            "x": shape["names"] + (column + 0.5) * shape["width"],
            "y": shape["head"] + (row + 0.5) * shape["row"],
        }

    def button(self, name: str) -> Locator:
        """A button by its name."""
        return self.root.get_by_role("button", name=name, exact=True)

    @property
    def ground(self) -> list[int]:
        """The colour that is drawn beside the cells."""
        pixel: list[int] = self.root.locator(".ares-grid canvas").evaluate(PIXEL)
        return pixel

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Draw from one cell to another, with the mouse."""
        corner = self.box.bounding_box()
        for at, (row, column) in enumerate((start, end)):
            point = self.point(row, column)
            self.page.mouse.move(corner["x"] + point["x"], corner["y"] + point["y"], steps=4)
            (self.page.mouse.up if at else self.page.mouse.down)()

    def act(self, name: str, ended: str) -> None:
        """Press a button, and wait until its result says so."""
        self.button(name).click()
        expect(self.status).to_contain_text(re.compile(ended), timeout=30_000)
        expect(self.button("Load this")).to_be_enabled()


def zips(exchange: DemoExchange) -> list[str]:
    """Names of the archive files that the exchange was asked for."""
    paths = [request.path for request in list(exchange.requests)]
    return [path.rpartition("/")[2] for path in paths if path.endswith(".zip")]


def take(lab: Lab, name: str) -> None:
    """A picture of the page, where somebody wants to look at it."""
    if folder := PICTURES:
        lab.screenshot(Path(folder) / f"map_{name}.png")


@pytest.fixture
def map_on_page(lab, notebook, here, settings) -> MapOnPage:
    """A map of half a year of two symbols, of which a month is gone, and a file's receipt."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        run(
            download_klines_data(
                symbol, "1h", start="2024-11-01", end="2025-05-01", settings=settings
            )
        )
    receipts = settings.cache_dir / ".ares" / "receipts"
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv").unlink()
    (receipts / "klines_BTCUSDT_1h_2025-01.csv.json").unlink()
    (receipts / "klines_ETHUSDT_1h_2025-02.csv.json").unlink()
    lab.open(notebook([here, MAP]))
    lab.run_all()
    return MapOnPage(lab)


def test_a_session_from_a_gap_to_its_repair(map_on_page, lab, exchange):
    """A gap is found by hover, selected, repaired alone, loaded, validated and seen in a chart; axe finds nothing."""
    shown = map_on_page
    expect(shown.root.locator(".ares-headline")).to_have_text(
        "2 series, 2024-11 to 2025-04, 1 with an open gap, 1 not counted"
    )
    expect(shown.root.locator(".ares-legend li")).to_have_text(
        ["complete", "gap explained", "not counted", "open gap"]
    )
    shown.box.hover(position=shown.point(1, 4))
    expect(shown.tip).to_contain_text("742 of 744 rows, confirmed absent upstream")
    expect(shown.tip).to_contain_text("2025-03-14 02:00 to 2025-03-14 04:00 UTC, 2 rows")
    expect(shown.tip).to_contain_text("from archive")
    take(lab, "hover")
    shown.box.hover(position=shown.point(0, 2))
    expect(shown.tip).to_contain_text("there is no file of it")
    shown.box.click(position=shown.point(0, 2))
    expect(shown.chosen).to_have_text("BTCUSDT klines 1h, 2025-01-01 → 2025-02-01")
    assert lab.run_cell("print(map.selected.start, map.selected.end)") == (
        "2025-01-01 00:00:00+00:00 2025-02-01 00:00:00+00:00\n"
    )
    exchange.requests.clear()
    shown.act("Repair this", "Repair this: BTC.*complete: 1 file")
    assert zips(exchange) == ["BTCUSDT-1h-2025-01.zip"]
    expect(shown.root.locator(".ares-headline")).to_have_text(
        "2 series, 2024-11 to 2025-04, 1 not counted"
    )
    shown.act("Load this", "744 rows, complete")
    assert lab.run_cell("print(len(map.frame))") == "744\n"
    shown.act("Validate this", "Validate this: BTC")
    assert violations(shown.root) == []
    shown.act("Show in chart", "Show in chart: BTC")
    expect(shown.root.locator(".ares-chart canvas").first).to_be_visible()
    expect(shown.button("Show in chart")).to_be_focused()
    take(lab, "chart")
    assert lab.complaints() == []


def test_the_keyboard_the_themes_and_a_small_page(map_on_page, lab):
    """Arrows move and are read aloud, Shift and Enter select, Escape clears; filter, order, days; both themes."""
    shown = map_on_page
    shown.box.focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        shown.page.keyboard.press(key)
    expect(shown.spoken).to_contain_text("BTCUSDT klines 1h, 2025-01-01 → 2025-02-01")
    shown.page.keyboard.press("ArrowDown")
    shown.page.keyboard.press("Shift+ArrowRight")
    shown.page.keyboard.press("Enter")
    expect(shown.chosen).to_have_text("ETHUSDT klines 1h, 2025-01-01 → 2025-03-01")
    expect(shown.box).to_be_focused()
    for theme in ("Dark", "Light"):
        lab.use_theme(theme)
        expect(shown.root).to_have_attribute("data-theme", theme.lower())
        until(lambda ground=GROUNDS[theme]: shown.ground == ground, 15, "the map is drawn anew")
        assert violations(shown.root) == []
        take(lab, theme.lower())
    shown.page.keyboard.press("Escape")
    expect(shown.chosen).to_have_text("Nothing is selected")
    expect(shown.button("Repair this")).to_be_disabled()
    shown.drag((0, 1), (0, 3))
    expect(shown.chosen).to_have_text("BTCUSDT klines 1h, 2024-12-01 → 2025-03-01")

    shown.root.get_by_label("Order").select_option("most gaps first")
    shown.root.get_by_role("searchbox", name="Series").fill("eth <b>")
    until(lambda: shown.shape["rows"] == 0, 15, "no series has these words")
    shown.root.get_by_role("searchbox", name="Series").fill("eth 1h")
    until(lambda: shown.shape["rows"] == 1, 15, "one series is left")
    shown.root.get_by_label("Cells").select_option("days")
    until(lambda: shown.shape["columns"] == 181, 15, "a cell is a day")
    lab.page.set_viewport_size({"width": 800, "height": 900})
    expect(shown.box).to_be_visible()
    take(lab, "days_800")
    box = shown.root.bounding_box()
    assert all(
        each.bounding_box()["x"] + each.bounding_box()["width"] <= box["x"] + box["width"]
        for each in shown.root.get_by_role("button").all()
        if each.is_visible()
    )
    assert lab.complaints() == []
