"""The coverage map as its user works it: by mouse and by keyboard, in both themes."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Locator, expect

from ares_notebook import DemoExchange, download_klines_data, run

from .axe import violations
from .lab import Lab, until

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

    def act(self, name: str, ended: str) -> None:
        """Press a button, and wait until its result says so."""
        self.button(name).click()
        expect(self.status).to_contain_text(re.compile(ended), timeout=30_000)
        expect(self.button("Load this")).to_be_enabled()


@pytest.fixture
def holed(exchange: DemoExchange, settings) -> None:
    """Half a year of two symbols, of which a month is gone, and a file's receipt."""
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
    exchange.requests.clear()


def test_a_session_from_a_gap_to_its_repair(holed, lab, notebook, here, exchange):
    lab.open(notebook([here, MAP]))
    lab.run_all()
    shown = MapOnPage(lab)
    shown.box.hover(position=shown.point(0, 2))
    expect(shown.tip).to_contain_text("no file")
    lab.page.screenshot(path="/tmp/shots/map_0.png")
    shown.box.click(position=shown.point(0, 2))
    expect(shown.chosen).to_have_text("BTCUSDT klines 1h, 2025-01-01 → 2025-02-01")
    shown.act("Repair this", "Repair this: BTC.*complete")
    lab.page.screenshot(path="/tmp/shots/map_1.png")
    print(violations(shown.root))
    print([r.path for r in exchange.requests])
    shown.act("Load this", "744 rows")
    shown.act("Validate this", "sound")
    assert lab.complaints() == []
