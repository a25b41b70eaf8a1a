"""The panel as its user works it: by mouse, by keyboard, in a hurry."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from ares_notebook import DemoExchange

from .lab import until
from .panel import PANEL, Panel

# From here to the first request the panel only plans.
MOMENT = 10


def zips(exchange: DemoExchange, pattern: str = "") -> list[str]:
    """Names of the archive files that the exchange was asked for, in order."""
    paths = [request.path for request in list(exchange.requests)]
    return [path.rpartition("/")[2] for path in paths if re.search(rf"{pattern}.*\.zip$", path)]


@pytest.fixture
def panel(lab, notebook, here) -> Panel:
    """A panel that is ready, on an empty cache."""
    lab.open(notebook([here, PANEL]))
    lab.run_all()
    panel = Panel(lab)
    panel.expect_state("Ready")
    return panel


@pytest.fixture
def half_way(panel, exchange, settings) -> Panel:
    """A panel whose download cannot go on: the last month's archive hangs in the middle."""
    exchange.fail(r"2025-02\.zip$", times=None, stall="body")
    panel.press("Download")
    until(lambda: zips(exchange, "2025-02"), MOMENT, "the last month was asked for")
    until(lambda: len(list(settings.cache_dir.glob("*.csv"))) > 5, MOMENT, "half of it is there")
    return panel


def test_a_session_from_symbol_to_frame(panel, lab):
    """A symbol is typed, its cost is told, it is downloaded and seen, and the next cell has it."""
    expect(panel.estimate).to_contain_text(re.compile("files.*rows", re.DOTALL))
    panel.field("Symbols").fill("SOLUSDT")
    panel.field("Lookback").fill("3")
    panel.field("Unit").select_option("months")
    before = panel.estimate.inner_text()
    panel.field("Interval").select_option("15m")
    until(lambda: panel.estimate.inner_text() != before, MOMENT, "the estimate has changed")
    expect(panel.code).to_have_value(re.compile('"SOLUSDT".*"15m"', re.DOTALL))
    panel.press("Download")
    panel.expect_state("complete")

    expect(panel.picture).to_be_visible()
    expect(panel.alert).to_have_count(0)
    rows, whole = lab.run_cell("print(len(panel.frame), panel.frame.attrs['complete'])").split()
    # Three months of quarters of an hour, but for the market's halts.
    assert 8_600 < int(rows) <= 8_640
    assert whole == "True"
    assert lab.complaints() == []


def test_the_list_of_symbols_offers_what_the_exchange_trades(panel):
    """Typing is helped by a list of the exchange's own symbols."""
    listed = panel.page.locator("datalist option")
    until(lambda: listed.count() > 1, MOMENT, "symbols are offered")

    offered = listed.evaluate_all("all => all.map(option => option.value)")
    assert {"BTCUSDT", "ETHUSDT", "SOLUSDT"} <= set(offered)


def test_cancel_ends_within_a_second_and_what_is_done_is_kept(half_way, lab, exchange, settings):
    """Cancel ends a download at once and leaves no .part file; the next asks for the rest only."""
    struck = time.monotonic()
    half_way.press("Cancel")
    half_way.expect_state("cancelled", 5)
    took = time.monotonic() - struck
    left = list(settings.cache_dir.rglob("*.part"))
    done = {path.name[-11:-4] for path in settings.cache_dir.glob("*.csv")}
    exchange.faults.clear()
    exchange.requests.clear()
    half_way.press("Download")
    half_way.expect_state("complete")

    assert took < 1
    assert left == []
    assert done
    assert {name[-11:-4] for name in zips(exchange)} & done == set()
    assert zips(exchange, "2025-02") == ["BTCUSDT-1h-2025-02.zip"]
    assert lab.complaints() == []


def test_a_cell_answers_at_once_while_the_panel_downloads(half_way, lab):
    """While the panel's download is under way the kernel is free for another cell."""
    asked = time.monotonic()
    answer = lab.run_cell("print(6 * 7)")
    took = time.monotonic() - asked

    assert answer == "42\n"
    assert took < 1
    half_way.expect_state("files", 1)


# What runs in the background of the kernel; files' locks would hide a second download.
RUNNING = """
import gc
print(sum(isinstance(each, ares.Job) and each.state == "running" for each in gc.get_objects()))
"""


def test_ten_clicks_start_one_download(panel, lab, exchange):
    """Ten clicks in a row begin one download, which asks for each file once."""
    exchange.fail(r"2025-02\.zip$", times=None, stall="body")
    # In one go, since Playwright's own clicks wait for a button that is enabled.
    panel.button("Download").evaluate("b => { for (let i = 0; i < 10; i++) b.click(); }")
    until(lambda: zips(exchange, "2025-02"), MOMENT, "the last month was asked for")
    until(lambda: lab.run_cell(RUNNING) == "1\n", MOMENT, "one thing only is under way")
    asked = zips(exchange)

    assert sorted(set(asked)) == sorted(asked)
    panel.press("Cancel")
    panel.expect_state("cancelled", 5)
    expect(panel.alert).to_have_count(0)


def test_a_wrong_symbol_is_told_in_place(panel, lab):
    """A symbol that the exchange does not know gives an alert that names it, traceback folded."""
    panel.field("Symbols").fill("BTCUSDX")
    panel.press("Download")
    panel.expect_state("failed")

    expect(panel.alert).to_contain_text("BTCUSDX")
    details = panel.alert.locator("details").first
    expect(details).not_to_have_attribute("open", "")
    details.locator("summary").click()
    expect(details).to_contain_text("UnknownSymbol")
    assert lab.complaints() == []


def test_a_symbol_that_cannot_be_one_is_told_while_typing(panel, exchange):
    """A slash in a symbol is told before anything is asked for, and Download does no harm."""
    panel.field("Symbols").fill("BTC/USDT")
    expect(panel.alert.first).to_contain_text("BTC/USDT")
    panel.press("Download")
    panel.expect_state("failed")

    assert zips(exchange) == []


def test_the_keyboard_is_enough(panel, exchange):
    """Tab leads from the first control to Download, Enter starts it, and Cancel is reached too."""
    exchange.fail(r"2025-02\.zip$", times=None, stall="body")
    panel.field("Symbols").focus()
    tab_to(panel, "Download")
    panel.page.keyboard.press("Enter")
    until(lambda: zips(exchange, "2025-02"), MOMENT, "the last month was asked for")
    expect(panel.button("Cancel")).to_be_enabled()
    panel.field("Symbols").focus()
    tab_to(panel, "Cancel")
    panel.page.keyboard.press("Enter")
    panel.expect_state("cancelled", 5)

    assert len(zips(exchange, "2025-02")) == 1


def tab_to(panel: Panel, name: str) -> None:
    """Press Tab until a button has the focus."""
    for _ in range(30):
        panel.page.keyboard.press("Tab")
        if panel.button(name).evaluate("button => button === document.activeElement"):
            return
    pytest.fail(f"30 tabs from the symbol do not lead to {name}")
