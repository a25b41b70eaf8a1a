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
    panel.set("Lookback", "3 months")
    expect(panel.root).to_contain_text("2024-12-01 → 2025-03-01 UTC, end exclusive, 90 days")
    before = panel.estimate.inner_text()
    panel.field("Interval").select_option("15m")
    until(lambda: panel.estimate.inner_text() != before, MOMENT, "the estimate has changed")
    expect(panel.code).to_have_text(re.compile('"SOLUSDT".*"15m"', re.DOTALL))
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


def test_a_wrong_symbol_is_an_error_at_its_field(panel, lab):
    """A symbol that the exchange does not know gives one alert, which names it and has no traceback."""
    panel.field("Symbols").fill("BTCUSDX")
    panel.press("Download")
    panel.expect_state("failed")

    expect(panel.alert).to_have_count(1)
    expect(panel.alert).to_contain_text("BTCUSDX is not known to the exchange")
    expect(panel.root.get_by_text("Traceback")).to_have_count(0)
    assert lab.complaints() == []


def test_a_symbol_that_cannot_be_one_is_told_while_typing(panel, exchange):
    """A slash in a symbol is told before anything is asked for, and Download is off."""
    panel.field("Symbols").fill("BTC/USDT")
    expect(panel.alert).to_contain_text("BTC/USDT")

    expect(panel.button("Download")).to_be_disabled()
    assert zips(exchange) == []


def test_the_keyboard_is_enough(panel, exchange):
    """Tab leads to Download; the focus goes to Cancel while it runs, and back; Escape cancels too."""
    exchange.fail(r"2025-02\.zip$", times=None, stall="body")
    panel.field("Symbols").focus()
    tab_to(panel, "Download")
    panel.page.keyboard.press("Enter")
    until(lambda: zips(exchange, "2025-02"), MOMENT, "the last month was asked for")
    expect(panel.button("Cancel")).to_be_focused()
    panel.page.keyboard.press("Enter")
    panel.expect_state("cancelled", 5)
    expect(panel.button("Download")).to_be_focused()
    panel.page.keyboard.press("Enter")
    expect(panel.button("Cancel")).to_be_focused()
    panel.page.keyboard.press("Escape")
    panel.expect_state("cancelled", 5)
    expect(panel.button("Download")).to_be_focused()


@pytest.mark.parametrize("label", ["Symbols", "Lookback"])
def test_enter_in_a_field_downloads_what_was_typed(panel, settings, label):
    """Enter begins the download of what stands in the field at that moment, and leaves the focus there."""
    field = panel.field(label)
    field.fill("")
    field.press_sequentially({"Symbols": "SOLUSDT", "Lookback": "40 days"}[label])
    panel.page.keyboard.press("Enter")
    panel.expect_state("complete")

    expect(field).to_be_focused()
    names = {path.name for path in settings.cache_dir.glob("*.csv")}
    symbol, months = ("SOLUSDT", 12) if label == "Symbols" else ("BTCUSDT", 2)
    assert len(names) == months
    assert {name.split("_")[1] for name in names} == {symbol}


def test_enter_does_nothing_where_the_form_cannot_be_meant(panel, exchange):
    """With a wrong symbol Enter begins no work."""
    panel.field("Symbols").fill("BTC/USDT")
    panel.page.keyboard.press("Enter")
    expect(panel.alert).to_contain_text("BTC/USDT")
    panel.page.wait_for_timeout(600)

    panel.expect_state("Ready")
    assert zips(exchange) == []


def test_another_market_is_chosen_and_worked(panel, lab):
    """With COIN-M its contract, list and datasets come; a gap's pattern is drawn from the live picture."""
    panel.field("Market").select_option(label="COIN-M futures")
    expect(panel.field("Symbols")).to_have_value("BTCUSD_PERP")
    expect(panel.field("COIN-M k-lines")).to_be_checked()
    expect(panel.field("K-lines")).to_have_count(0)
    listed = panel.page.locator("datalist option[value=BTCUSD]")
    until(lambda: listed.count() == 1, MOMENT, "a pair is offered")

    panel.field("Open interest").check()
    panel.set("Lookback", "2024-03-01")
    panel.set("End", "2024-07-01")
    expect(panel.estimate).to_contain_text("Open interest and ratios")
    panel.press("Download")
    panel.expect_state(r"Download: done; .*2 gaps to close \(BTCUSD_PERP 1h\)", 60)

    expect(panel.gaps).to_contain_text("2024-06-09")
    expect(panel.picture.locator("[fill^=url]").first).to_be_visible()
    assert panel.picture.evaluate(FOREIGN) == []
    panel.field("Symbols").fill("ETHUSDT")
    expect(panel.alert).to_contain_text("such as 'BTCUSD_PERP'")
    expect(panel.button("Download")).to_be_disabled()
    assert lab.complaints() == []


# The patterns that the browser takes from elsewhere than this picture.
FOREIGN = """svg => [...svg.querySelectorAll('[fill^=url]')]
    .map(each => each.getAttribute('fill').slice(5, -1))
    .filter(id => !svg.contains(document.getElementById(id)))"""


def test_the_code_can_be_copied(panel, lab):
    """The code is folded away until it is wanted, and Copy puts it into the clipboard."""
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    expect(panel.code).to_be_hidden()
    panel.press("Code that does the same")
    panel.press("Copy")

    expect(panel.button("Copied")).to_be_visible()
    copied = lab.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == panel.code.inner_text().strip()
    assert 'ares.download_all_data("BTCUSDT"' in copied.replace("\n    ", "")


def test_bars_are_wide_and_dates_do_not_wrap(half_way, lab):
    """At 800 pixels a bar takes at least 180 of them, and no date, file name or number is broken."""
    lab.page.set_viewport_size({"width": 800, "height": 900})
    boxes = [bar.bounding_box() for bar in half_way.root.locator(".progress").all()]
    widths = [box["width"] for box in boxes if box]
    cells = half_way.root.locator("td").all()

    assert widths
    assert min(widths) >= 180
    assert {cell.evaluate("each => getComputedStyle(each).whiteSpace") for cell in cells} == {
        "nowrap"
    }


def test_long_titles_fit_a_small_page(panel, lab):
    """At 800 pixels no column of the cost is cut off, and the title at a bar stays on one line."""
    lab.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    lab.page.set_viewport_size({"width": 800, "height": 900})
    panel.field("Market").select_option(label="USD-M futures")
    panel.field("Open interest").check()
    panel.field("Premium index").check()
    panel.set("Lookback", "2 months")
    expect(panel.estimate).to_contain_text("6 of 6 files")
    panel.press("Download")
    panel.expect_state("complete")

    assert panel.estimate.evaluate("each => each.scrollWidth <= each.clientWidth")
    labels = panel.root.locator(".ares-bar > :first-child .widget-html-content")
    heights = {round(each.bounding_box()["height"]) for each in labels.all() if each.is_visible()}
    assert len(heights) == 1


BAR = (
    'ares.run(ares.download_klines_data("BTCUSDT", "1h", 1, end="2025-03-01",'
    " settings=settings.replace(progress=True)))"
)


def test_the_bar_of_a_verb_is_wide_and_names_the_symbol(lab, notebook, here, exchange):
    """The bar of a download in a cell fills the output, under the symbol and nothing else."""
    exchange.latency_seconds = 0.3
    lab.open(notebook([here, BAR]))
    lab.run_all()
    bar = lab.outputs.locator(".widget-hprogress").first

    assert bar.bounding_box()["width"] > 300
    label = lab.outputs.locator(".widget-hbox .widget-html").first.inner_text()
    assert re.sub(r"\s", " ", label).strip() == "BTCUSDT: 100%"


def test_a_reopened_notebook_shows_the_panel_as_it_was(panel, lab, server):
    """Without a kernel the saved notebook shows report and coverage, and no message of a lost widget."""
    static = lab.outputs.locator(".ares-static")
    expect(static).to_be_hidden()
    panel.press("Download")
    panel.expect_state("complete")
    expect(panel.estimate).to_contain_text("Nothing to fetch")
    # The static view is a message of its own, which comes after those of the widgets.
    expect(static).to_contain_text("Download: complete")
    lab.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    name = lab.page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    lab.page.wait_for_function(
        "() => !window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=10_000
    )
    server.end_kernels()
    lab.open(name)

    expect(static).to_be_visible()
    expect(static).to_contain_text("Download: complete (BTCUSDT 1h).")
    expect(static).to_contain_text("12 of 12 files complete")
    expect(lab.outputs.get_by_text("model not found")).to_be_hidden()


def tab_to(panel: Panel, name: str) -> None:
    """Press Tab until a button has the focus."""
    for _ in range(30):
        panel.page.keyboard.press("Tab")
        if panel.button(name).evaluate("button => button === document.activeElement"):
            return
    pytest.fail(f"30 tabs from the symbol do not lead to {name}")
