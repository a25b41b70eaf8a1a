"""The panel as its user works it: by mouse, by keyboard, in a hurry."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from ares_notebook import DemoExchange

from .axe import violations
from .lab import Lab, until
from .panel import PANEL, Panel
from .test_chart import Chart
from .test_coverage_map import MapOnPage

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


def check_looks(panel: Panel, lab: Lab) -> None:
    """Each tab at two widths and in both themes: axe finds nothing, and nothing is wider than the panel."""
    for width, theme in ((1440, "Dark"), (800, "Light")):
        lab.page.set_viewport_size({"width": width, "height": 900})
        lab.use_theme(theme)
        for name in ("Get", "Look", "Prove"):
            panel.tab(name).click()
            assert violations(panel.root) == []
            assert panel.root.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_a_session_from_symbol_to_proof(panel, lab, exchange, settings):  # noqa: PLR0915 - one page for many facts: a page costs seconds
    """Typed, costed, downloaded, seen, zoomed, repaired in part, validated, copied; after a restart all is as it was."""
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    lab.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    expect(panel.estimate).to_contain_text(re.compile("files.*rows", re.DOTALL))
    listed = panel.page.locator("datalist option[value=SOLUSDT]")
    until(lambda: listed.count() == 1, MOMENT, "the exchange's symbols are offered")
    expect(panel.button("My last choice")).to_be_disabled()
    panel.press("BTC and ETH, 1h, 5 years")
    expect(panel.field("Lookback")).to_have_value("5 years")
    expect(panel.field("Symbols")).to_have_value("BTCUSDT, ETHUSDT")
    panel.field("Symbols").fill("SOLUSDT, ETHUSDT")
    panel.set("Lookback", "3 months")
    expect(panel.root).to_contain_text("2024-12-01 → 2025-03-01 UTC, end exclusive, 90 days")
    expect(panel.estimate).to_contain_text(
        re.compile(r"To fetch: 12 of 12 files.*free in", re.DOTALL)
    )
    panel.press("Download")
    panel.expect_state("complete")

    # The chart of what came, below it the map.
    expect(panel.tab("Look")).to_have_attribute("aria-selected", "true")
    chart = Chart(lab, panel.root)
    assert chart.root.get_by_text("SOLUSDT 1h").is_visible()
    before = chart.view()
    chart.press("+")
    assert chart.view() != before
    chart.point(0.5, 0.3)
    expect(chart.legend).to_contain_text("high")
    (settings.cache_dir / "klines_ETHUSDT_1h_2025-01.csv").unlink()
    (settings.cache_dir / "klines_SOLUSDT_1h_2025-01.csv").unlink()
    panel.tab("Prove").click()
    panel.tab("Look").click()
    on_map = MapOnPage(lab)
    expect(on_map.root.locator(".ares-headline")).to_contain_text("2 with an open gap")
    exchange.requests.clear()
    on_map.box.click(position=on_map.point(2, 1))
    expect(on_map.chosen).to_contain_text("ETHUSDT klines 1h")
    on_map.act("Repair this", "complete")
    assert zips(exchange) == ["ETHUSDT-1h-2025-01.zip"]
    on_map.act("Show in chart", "Show in chart")
    expect(panel.root.locator("section.ares-chart")).to_contain_text("ETHUSDT 1h")

    # The other gap is closed by the panel.
    panel.press("Repair gaps")
    panel.expect_state("Repair gaps: complete")
    panel.press("Validate")
    panel.expect_state("Validate: no error found")
    expect(panel.picture).to_be_visible()
    check_looks(panel, lab)
    panel.press("History as code")
    panel.root.get_by_role("button", name="Copy").click()
    expect(panel.button("Copied")).to_be_visible()
    copied = lab.page.evaluate("navigator.clipboard.readText()").strip()
    assert copied == lab.run_cell("print(panel.code)").strip()
    assert [
        copied.count(each) for each in ("download_universe", "repair_gaps", "validate_cache")
    ] == [1, 2, 1]
    rows, whole = lab.run_cell("print(len(panel.frame), panel.frame.attrs['complete'])").split()
    assert 2_150 < int(rows) <= 2_160
    assert whole == "True"
    panel.tab("Get").click()
    panel.set("Lookback", "70 days")
    lab.run_cell("await panel.settled()")

    # As it was, in a new kernel.
    lab.restart()
    lab.run_all()
    panel.expect_state("Ready")
    expect(panel.field("Symbols")).to_have_value("SOLUSDT, ETHUSDT")
    expect(panel.field("Lookback")).to_have_value("70 days")
    assert lab.run_cell("print(panel.code)").strip() == copied
    assert lab.complaints() == []


# What runs in the background of the kernel; files' locks would hide a second download.
RUNNING = """
import gc
print(sum(isinstance(each, ares.Job) and each.state == "running" for each in gc.get_objects()))
"""


def test_a_download_is_one_is_watched_and_ends_at_once(panel, lab, exchange, settings):
    """Ten clicks are one download, cells answer meanwhile, Cancel leaves no .part file, and the next asks for the rest."""
    lab.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    exchange.fail(r"2025-02\.zip$", times=None, stall="body")
    # In one go, since Playwright's own clicks wait for a button that is enabled.
    panel.button("Download").evaluate("b => { for (let i = 0; i < 10; i++) b.click(); }")
    until(lambda: zips(exchange, "2025-02"), MOMENT, "the last month was asked for")
    until(lambda: len(list(settings.cache_dir.glob("*.csv"))) > 5, MOMENT, "half of it is there")
    asked = zips(exchange)
    assert sorted(set(asked)) == sorted(asked)
    until(lambda: lab.run_cell(RUNNING) == "1\n", MOMENT, "one thing only is under way")
    panel.expect_state("files", 1)
    lab.page.set_viewport_size({"width": 800, "height": 900})
    boxes = [bar.bounding_box() for bar in panel.root.locator(".progress").all()]
    assert min(box["width"] for box in boxes if box) >= 180
    assert violations(panel.root) == []
    panel.press("Cancel")
    panel.expect_state("cancelled", 5)
    assert list(settings.cache_dir.rglob("*.part")) == []
    done = {path.name[-11:-4] for path in settings.cache_dir.glob("*.csv")}
    exchange.faults.clear()
    exchange.requests.clear()
    panel.press("Download")
    panel.expect_state("complete")

    assert done
    assert {name[-11:-4] for name in zips(exchange)} & done == set()
    assert zips(exchange, "2025-02") == ["BTCUSDT-1h-2025-02.zip"]
    assert lab.complaints() == []


def test_the_keyboard_is_enough(panel, lab, exchange, settings):
    """Tab leads to Download; the focus goes to Cancel and back; Escape cancels; Enter in a field downloads."""
    panel.field("Symbols").fill("BTC/USDT")
    panel.page.keyboard.press("Enter")
    expect(panel.alert).to_contain_text("BTC/USDT")
    expect(panel.button("Download")).to_be_disabled()
    panel.field("Symbols").fill("SOLUSDT")
    expect(panel.button("Download")).to_be_enabled()
    assert zips(exchange) == []
    hanging = exchange.fail(r"2025-02\.zip$", times=None, stall="body")
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

    exchange.faults.remove(hanging)
    field = panel.field("Lookback")
    field.fill("")
    field.press_sequentially("40 days")
    panel.page.keyboard.press("Enter")
    panel.expect_state("complete")
    # The field is on a tab that is not shown any more.
    expect(panel.tab("Look")).to_be_focused()
    panel.page.keyboard.press("ArrowRight")
    panel.page.keyboard.press("Enter")
    expect(panel.picture).to_be_visible()
    names = {path.name for path in settings.cache_dir.glob("*SOLUSDT*01.csv")}
    assert "klines_SOLUSDT_1h_2025-01.csv" in names
    assert lab.complaints() == []


def test_another_market_and_a_wrong_symbol(panel, lab):
    """COIN-M brings its contract, list and datasets; gaps have patterns; a wrong symbol is an error at its field."""
    lab.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    lab.page.set_viewport_size({"width": 800, "height": 900})
    panel.field("Market").select_option(label="COIN-M futures")
    expect(panel.field("Symbols")).to_have_value("BTCUSD_PERP")
    expect(panel.field("COIN-M k-lines")).to_be_checked()
    expect(panel.field("K-lines")).to_have_count(0)
    listed = panel.page.locator("datalist option[value=BTCUSD]")
    until(lambda: listed.count() == 1, MOMENT, "a pair is offered")
    panel.field("Open interest").check()
    panel.set("Lookback", "2024-05-01")
    panel.set("End", "2024-07-01")
    expect(panel.estimate).to_contain_text("Open interest and ratios")
    assert panel.estimate.evaluate("each => each.scrollWidth <= each.clientWidth")
    panel.press("Download")
    panel.expect_state(r"Download: done; .*2 gaps to close \(BTCUSD_PERP 1h\)", 60)
    labels = panel.root.locator(".ares-bar > :first-child .widget-html-content")
    heights = {round(each.bounding_box()["height"]) for each in labels.all() if each.is_visible()}
    assert len(heights) == 1
    panel.tab("Prove").click()
    expect(panel.gaps).to_contain_text("2024-06-09")
    expect(panel.picture.locator("[fill^=url]").first).to_be_visible()
    assert panel.picture.evaluate(FOREIGN) == []
    cells = panel.gaps.locator("td:not(:last-child)").all()
    assert {each.evaluate("each => getComputedStyle(each).whiteSpace") for each in cells} == {
        "nowrap"
    }

    panel.tab("Get").click()
    panel.field("Market").select_option(label="Spot")
    panel.field("Symbols").fill("BTCUSDX")
    panel.press("Download")
    panel.expect_state("failed")
    expect(panel.alert).to_have_count(1)
    expect(panel.alert).to_contain_text("BTCUSDX is not known to the exchange")
    expect(panel.root.get_by_text("Traceback")).to_have_count(0)
    # Twice as large, as a reader with weak eyes has it.
    lab.page.evaluate("document.body.style.zoom = 2")
    assert violations(panel.root) == []
    assert lab.complaints() == []


# The patterns that the browser takes from elsewhere than this picture.
FOREIGN = """svg => [...svg.querySelectorAll('[fill^=url]')]
    .map(each => each.getAttribute('fill').slice(5, -1))
    .filter(id => !svg.contains(document.getElementById(id)))"""


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
    lab.run_cell("await panel.settled()")
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
