"""The panel, driven by its traits: what a person types, clicks and reads."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from types import SimpleNamespace

import ipywidgets as widgets
import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument, Busy
from ares_notebook.lab.panel import DownloadPanel

END = "2025-03-01"


@pytest.fixture(autouse=True)
def _no_error_in_a_callback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Ipywidgets only logs what a callback raises; here it fails the test."""
    yield
    lost = [record for record in caplog.records if "xception in" in record.getMessage()]
    assert lost == []


@pytest.fixture
def panel(settings) -> Iterator[DownloadPanel]:
    """Two months of daily candles and funding are asked for."""
    chosen = settings.replace(interval="1d", lookback_years=59 / 365.25)
    made = DownloadPanel(chosen, end=END)
    yield made
    made.close()


def shown(
    widget: widgets.Widget, is_so: Callable[[str], bool], seconds: float = 10, of: str = "value"
) -> str:
    """The widget's value, or another trait *of* it, once it is so; no later than after some seconds."""
    seen = threading.Event()

    def look(_change: object = None) -> None:
        if is_so(getattr(widget, of)):
            seen.set()

    widget.observe(look, of)
    look()
    assert seen.wait(seconds), f"never shown; last: {str(getattr(widget, of))[:2000]}"
    widget.unobserve(look, of)
    return str(getattr(widget, of))


def status(panel: DownloadPanel, words: str, seconds: float = 10) -> str:
    """What the panel says, once it says *words*."""
    return shown(panel._work.status, lambda value: words in value, seconds)


def fault(panel: DownloadPanel, field: str, words: str) -> str:
    """What stands at a field, once it has *words*."""
    return shown(panel.form.problems[field], lambda value: words in value)


def is_old(widget: widgets.Widget) -> bool:
    """Whether it is shown in grey, as what belongs to another choice."""
    return "ares-old" in widget._dom_classes


def click(panel: DownloadPanel, name: str) -> None:
    panel.buttons[name].click()


def zips(exchange) -> list[str]:
    """Which archives were asked for."""
    return [each.path for each in list(exchange.requests) if each.path.endswith(".zip")]


def run_code(code: str) -> None:
    """Run code as a cell of a notebook does."""
    compiled = compile(code, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    asyncio.run(eval(compiled, {}))  # noqa: S307 - our own code


def files(settings) -> list[str]:
    """The cache files that are there."""
    return sorted(path.name for path in settings.cache_dir.glob("*.csv"))


# --- before anything is asked for ---


def test_the_cost_is_told_without_being_asked_and_without_the_exchange(panel, exchange):
    """A new panel says what its choice would cost; only the list of symbols is asked for."""
    shown(panel._preview.estimate, lambda value: "To fetch: 4 of 4 files, about 236 rows" in value)

    assert {each.path for each in list(exchange.requests)} <= {"/api/v3/exchangeInfo"}
    assert "Ready" in panel._work.status.value


def test_trades_are_not_ticked_until_they_are_asked_for(panel):
    """K-lines and funding are ticked at first, trades are not."""
    assert {name: tick.value for name, tick in panel.form.ticks.items()} == {
        "klines": True,
        "agg_trades": False,
        "futures": True,
    }


def test_every_control_has_a_visible_label(panel):
    """Each control that takes input has a description, by which readers name it."""
    controls = [panel.form.symbols, panel.form.interval, panel.form.lookback, panel.form.end]
    controls += [panel.form.source, panel.form.address, panel.form.folder]
    controls += [*panel.form.ticks.values(), *panel.buttons.values()]

    assert all(control.description for control in controls)


def test_the_symbol_is_offered_from_the_exchanges_list(panel):
    """The type-ahead has what trades, and after a comma each symbol beside those written."""
    form, listed = panel.form, threading.Event()
    form.symbols.observe(lambda change: change["new"] and listed.set(), "options")
    assert form.symbols.options or listed.wait(10)
    assert "SOLUSDT" in form.symbols.options
    assert "MATICUSDT" not in form.symbols.options

    form.symbols.value = "BTCUSDT, S"

    assert "BTCUSDT, SOLUSDT" in form.symbols.options


# --- the market ---

# The datasets that both markets of futures have.
SHARED = ["mark_price_klines", "index_price_klines", "premium_index_klines", "metrics"]


def choose(panel: DownloadPanel, market: str, symbols: str, datasets: list[str]) -> None:
    """Choose a market, type symbols, and tick these datasets alone."""
    panel.form.market.value = market
    panel.form.symbols.value = symbols
    for name, tick in panel.form.ticks.items():
        tick.value = name in datasets


@pytest.mark.parametrize(
    ("market", "its", "ticked"),
    [
        ("spot", ["klines", "agg_trades", "futures"], ["klines", "futures"]),
        ("um", ["futures", "um_klines", "um_agg_trades", *SHARED], ["futures", "um_klines"]),
        ("cm", ["cm_klines", "cm_agg_trades", "cm_funding", *SHARED], ["cm_klines", "cm_funding"]),
    ],
)
def test_the_datasets_are_those_of_the_market(panel, market, its, ticked):
    """A market shows the checkboxes of its own datasets alone, its candles and its funding ticked."""
    panel.form.market.value = market
    ticks = panel.form.ticks

    assert list(ticks) == its
    assert list(panel.form._ticks_box.children) == list(ticks.values())
    assert [name for name, tick in ticks.items() if tick.value] == ticked


def test_the_symbol_follows_the_market_unless_it_was_named(panel):
    """The example of one market becomes that of the next; a symbol that was typed stays, with its fault."""
    panel.form.market.value = "cm"
    assert panel.form.symbols.value == "BTCUSD_PERP"
    panel.form.market.value = "um"
    assert panel.form.symbols.value == "BTCUSDT"
    panel.form.symbols.value = "ETHUSDT"
    panel.form.market.value = "cm"

    assert panel.form.symbols.value == "ETHUSDT"
    assert "such as &#x27;BTCUSD_PERP&#x27;" in fault(panel, "symbols", "COIN-M")
    assert panel.buttons["Download"].disabled


def test_symbols_are_offered_from_the_list_of_the_market(panel):
    """The type-ahead of a market has its contracts and their pairs, and none of another market."""
    panel.form.market.value = "cm"
    shown(panel.form.symbols, lambda options: "BTCUSD_PERP" in options, of="options")

    assert "BTCUSD" in panel.form.symbols.options
    assert "SOLUSDT" not in panel.form.symbols.options
    assert panel.form.problems["symbols"].value == ""


def test_a_panel_of_futures_downloads_and_shows_them(panel, settings):
    """Candles and funding of COIN-M come by a click, the frame is the candles, and the code does the same."""
    panel.form.market.value = "cm"
    shown(panel._preview.estimate, lambda value: "COIN-M k-lines" in value)
    click(panel, "Download")
    status(panel, "Download: complete (BTCUSD_PERP 1d)")

    assert {name.split("_")[0] for name in files(settings)} == {"cmklines", "cmfunding"}
    assert panel.frame.attrs["dataset"] == "cm_klines"
    assert 'datasets=("cm_klines", "cm_funding")' in panel.form.choice().code()
    assert "COIN-M trades (about " in panel.form.ticks["cm_agg_trades"].description
    assert "BTCUSD_PERP" in panel._static_view()["text/html"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            ("spot", "BTCUSD_PERP", ["klines"]),
            "a COIN-M perpetual; choose the market COIN-M futures",
        ),
        (("spot", "BTCUSDT_250627", ["klines"]), "choose the market USD-M futures"),
        (
            ("spot", "BTC-250328-100000-C", ["klines"]),
            "an option, of which no market here has data",
        ),
        (("um", "BTCUSD_PERP", ["mark_price_klines"]), "choose the market COIN-M futures"),
        (("um", "BTCUSD_250627", ["um_klines"]), "choose the market COIN-M futures"),
        (("um", "BTCUSD", ["index_price_klines"]), "a symbol of COIN-M futures"),
        (("um", "BTCUSDT, BTCUSD_PERP", ["metrics"]), "choose the market COIN-M futures"),
        (
            ("um", "BTCUSDT_250627", ["um_klines", "futures"]),
            "has no funding rates; untick Funding",
        ),
        (("um", "BTCUSDT_250627", ["index_price_klines"]), "write &#x27;BTCUSDT&#x27;"),
        (("cm", "BTCUSDT", ["mark_price_klines"]), "a symbol of USD-M futures"),
        (("cm", "BTCUSDT", ["metrics"]), "such as BTCUSD_PERP"),
        (("cm", "BTCUSD", ["cm_klines"]), "COIN-M k-lines are those of a contract"),
        (
            ("cm", "BTCUSD", ["index_price_klines", "premium_index_klines"]),
            "premium index k-lines are those of a contract",
        ),
        (("cm", "BTCUSD_250627", ["cm_funding"]), "has no COIN-M funding rates"),
        (("cm", "BTCUSD_PERP", ["index_price_klines"]), "write &#x27;BTCUSD&#x27;"),
    ],
)
def test_what_a_market_does_not_have_is_told_at_the_symbol(panel, exchange, asked, words):
    """A symbol of another market, or without one of the ticked datasets, is refused before a request."""
    choose(panel, *asked)

    fault(panel, "symbols", words)
    assert said(panel).count('role="alert"') == 1
    assert all(button.disabled for button in panel.buttons.values())
    assert zips(exchange) == []


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (("um", "BTCUSDT", ["um_klines", *SHARED]), 4 * 59 + 59 * 288),
        (("um", "BTCUSDT, ETHUSDT", ["um_klines", "premium_index_klines"]), 4 * 59),
        (("um", "BTCUSDT_250627", ["um_klines", "mark_price_klines"]), 2 * 59),
        (("cm", "BTCUSD_PERP", ["cm_klines", "mark_price_klines", "metrics"]), 2 * 59 + 59 * 288),
        (("cm", "BTCUSD", ["index_price_klines"]), 59),
    ],
)
def test_what_a_market_has_comes_as_estimated_and_by_the_code(
    panel, exchange, tmp_path, asked, rows
):
    """Each dataset is downloaded, validated and repaired, and the code fills another cache with the same."""
    choose(panel, *asked)
    datasets, settings = asked[2], panel.settings
    shown(panel._preview.estimate, lambda value: f"about {rows:,} rows" in value)
    estimated_bytes = sum(plan.bytes_stored for plan in panel.form.choice().plans())
    report = ares.run(panel.download())
    [*reports] = ares.run(panel.validate())
    there = {name: (settings.cache_dir / name).read_bytes() for name in files(settings)}

    assert (report.complete, report.rows_written) == (True, rows)
    # Metrics of COIN-M have no ratios, and take half the room of those of USD-M.
    assert 0.5 < sum(map(len, there.values())) / estimated_bytes < 1.1
    assert {each.dataset for report in reports for each in report.fingerprints} == set(datasets)
    assert all(report.ok for report in reports)
    assert panel.frame.attrs["dataset"] == datasets[0]

    (settings.cache_dir / next(iter(there))).unlink()
    assert ares.run(panel.repair()).complete
    assert "No gap is left to close" in panel._preview.gaps.value
    exchange.requests.clear()
    assert ares.run(panel.download()).rows_written == 0
    assert zips(exchange) == []

    panel.form.folder.value = str(tmp_path / "other")
    run_code(panel.form.choice().code())
    other = tmp_path / "other"
    assert {path.name: path.read_bytes() for path in other.glob("*.csv")} == there


def test_a_download_of_another_market_is_cancelled_and_goes_on(panel, exchange):
    """A download of premium and open interest stops within a second, and the next one completes it."""
    choose(panel, "um", "BTCUSDT", ["premium_index_klines", "metrics"])
    hanging = exchange.fail("metrics-2025-02-1.*zip$", times=None, stall="body")
    click(panel, "Download")
    shown(panel._work.bars["premium_index_klines"].words, lambda value: "2 of 2 files" in value)
    asked = time.monotonic()
    click(panel, "Cancel")
    status(panel, "Download: cancelled (BTCUSDT 1d of USD-M futures)", 5)
    took = time.monotonic() - asked
    exchange.faults.remove(hanging)

    assert took < 1
    assert ares.run(panel.download()).complete


def test_symbols_of_a_market_are_offered_where_that_of_another_was_typed(panel):
    """After a change of the market its list comes, although the symbol that was typed is wrong there."""
    panel.form.symbols.value = "ETHUSDT"
    panel.form.market.value = "cm"
    fault(panel, "symbols", "COIN-M")

    shown(panel.form.symbols, lambda options: "BTCUSD_PERP" in options, of="options")


def test_an_empty_symbol_field_names_a_symbol_of_the_market(panel):
    """Placeholder and sentence name the example of the market, not that of another."""
    panel.form.market.value = "cm"
    panel.form.symbols.value = ""

    fault(panel, "symbols", "name a symbol, such as BTCUSD_PERP")
    assert panel.form.symbols.placeholder == "such as BTCUSD_PERP"


def test_a_contract_that_is_not_listed_may_be_in_the_archive(panel):
    """A delivery contract that has ended is no error: the field says that the archive may have it."""
    choose(panel, "um", "BTCUSDT_250627", ["um_klines"])

    fault(panel, "symbols", "trade there today; the archive may have it")
    assert not panel.buttons["Download"].disabled


def test_the_cost_of_trades_is_that_of_the_market(panel):
    """The size at the checkbox is of the chosen market's trades, and there is none where no trades are."""
    choose(panel, "cm", "BTCUSD_PERP", ["cm_klines"])
    panel.form.lookback.value = "1 year"
    trades = panel.form.ticks["cm_agg_trades"]
    # Of a tenth to two thirds of a million rows a day.
    shown(trades, lambda value: value == "COIN-M trades (about 8.8 GB)", of="description")
    choose(panel, "cm", "BTCUSD", ["index_price_klines"])

    shown(trades, lambda value: value == "COIN-M trades", of="description")
    shown(panel._preview.estimate, lambda value: "about 365 rows" in value)


def test_the_interval_is_off_where_nothing_has_one(panel):
    """With open interest alone, whose rows are of five minutes, no interval can be chosen or is named."""
    choose(panel, "um", "BTCUSDT", ["metrics"])
    assert panel.form.interval.disabled
    ares.run(panel.download())

    whose = "BTCUSDT of USD-M futures"
    assert f"Download: complete ({whose})." in panel._work.status.value
    assert f"{whose}: 2 of 2 files complete, 16,992 rows." in panel._preview.picture.value
    assert repr(panel) == (
        f"<DownloadPanel {whose}, 59 days, end 2025-03-01: Open interest and ratios>"
    )
    assert ">Interval<" not in panel._static_view()["text/html"]
    panel.form.ticks["um_klines"].value = True
    assert not panel.form.interval.disabled
    assert ">Interval<" in panel._static_view()["text/html"]


def test_the_market_is_told_where_the_symbol_does_not_show_it(panel, settings):
    """Spot and USD-M share a symbol, so that state, result and static view name the market."""
    ares.run(panel.download())
    panel.form.market.value = "um"
    folder = settings.cache_dir
    panel.form.ticks["futures"].value = False
    words = f"Nothing of BTCUSDT 1d of USD-M futures is in {folder} yet"
    shown(panel._preview.picture, lambda value: words in value)
    assert f"For BTCUSDT 1d in {folder}; the form has changed." in panel._work.remark.value
    assert ">USD-M futures<" in panel._static_view()["text/html"]
    ares.run(panel.download())

    assert "Download: complete (BTCUSDT 1d of USD-M futures)." in panel._work.status.value


def test_each_gap_of_several_symbols_names_its_symbol(panel):
    """Also where only one of the chosen symbols has a gap."""
    choose(panel, "um", "BTCUSDT", ["um_klines"])
    ares.run(panel.download())
    panel.form.symbols.value = "BTCUSDT, ETHUSDT"

    shown(panel._preview.gaps, lambda value: ">ETHUSDT<" in value and ">BTCUSDT<" not in value)


def test_the_market_is_one_that_has_the_symbol_of_the_settings(settings):
    """Of two markets with the same datasets the first is that of the given symbol."""
    given = settings.replace(symbol="BTCUSD_PERP")
    with contextlib.closing(DownloadPanel(given, datasets=["mark_price_klines"])) as made:
        assert made.form.market.value == "cm"
        assert made.form.symbols.value == "BTCUSD_PERP"
    with contextlib.closing(DownloadPanel(settings, datasets=["mark_price_klines"])) as made:
        assert made.form.market.value == "um"


def test_the_first_market_is_that_of_the_datasets(settings):
    """Datasets of futures that are given choose their market; those of two markets are refused."""
    with contextlib.closing(DownloadPanel(settings, end=END, datasets=["klines"])) as made:
        assert made.form.choice().datasets == ("klines",)
    with contextlib.closing(DownloadPanel(settings, end=END, datasets=["cm_klines"])) as made:
        assert made.form.market.value == "cm"
        assert made.form.symbols.value == "BTCUSD_PERP"
        assert [name for name, tick in made.form.ticks.items() if tick.value] == ["cm_klines"]
    with pytest.raises(BadArgument, match="no one market has all of um_klines, cm_klines"):
        DownloadPanel(settings, datasets=["um_klines", "cm_klines"])


def test_the_cost_follows_the_form(panel):
    """Another interval, another lookback, another symbol: the estimate is another."""
    panel.form.interval.value = "1h"
    shown(panel._preview.estimate, lambda value: "about 1,593 rows" in value)
    panel.form.ticks["futures"].value = False
    shown(panel._preview.estimate, lambda value: "2 of 2 files" in value)
    panel.form.symbols.value = "BTCUSDT, ETHUSDT"
    shown(panel._preview.estimate, lambda value: "4 of 4 files" in value)


def test_of_trades_the_exact_size_is_asked_for(panel, exchange):
    """Ticked trades are first estimated, then sized by the archive's listing."""
    panel.form.lookback.value = "1d"
    panel.form.ticks["agg_trades"].value = True
    estimate = shown(panel._preview.estimate, lambda value: "1,000," in value)
    exact = shown(panel._preview.estimate, lambda value: value != estimate and "Trades" in value)

    assert "1,000," not in exact
    # The zips of funding are too small for the size to tell the rows.
    assert re.search(r">Funding<.*?>84<", exact)
    assert any("data.binance.vision" in each.path for each in list(exchange.requests))
    assert zips(exchange) == []


@pytest.mark.parametrize(
    ("typed", "words"),
    [("", "name a symbol"), ("BTC/USDT", "did you mean BTCUSDT"), ("<b>x</b>", "&lt;b&gt;x")],
)
def test_a_symbol_that_cannot_be_one_is_an_error_at_its_field(panel, typed, words):
    """What cannot be a symbol gets a sentence, escaped, at its field alone, and no button can be pressed."""
    panel.form.symbols.value = typed

    assert "<b>" not in fault(panel, "symbols", words)
    assert said(panel).count(words) == 1
    assert all(button.disabled for button in panel.buttons.values())

    panel.form.symbols.value = "ETHUSDT"
    shown(panel._preview.estimate, lambda value: "To fetch" in value)


def said(panel: DownloadPanel) -> str:
    """All that the panel says in words."""
    everything = [*panel.form.problems.values(), panel._preview.estimate, panel._preview.hint]
    everything += [panel._work.status, panel._work.alert, panel._work.result]
    return "".join(each.value for each in everything)


def test_a_symbol_that_does_not_trade_gets_a_suggestion(panel):
    """At a symbol that the exchange's list lacks the nearest one is named; the archive may have it still."""
    panel.form.symbols.value = "BTCUSD"

    fault(
        panel,
        "symbols",
        "BTCUSD is not among the symbols that trade there today; did you mean BTCUSDT",
    )
    assert not panel.buttons["Download"].disabled


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("lookback", "", "say how far back"),
        ("lookback", "6m", "write months as"),
        ("lookback", "0", "is no lookback"),
        ("lookback", "2025-03-01", "is not before the end"),
        ("lookback", "2025-13-01", "is not an ISO date"),
        ("end", date(2999, 1, 1), "is in the future"),
        ("folder", " ", "is not a folder"),
        ("symbols", "BTCUSDT, ETH/USDT", "ETH"),
    ],
)
def test_a_wrong_value_is_an_error_at_its_field_alone(panel, field, typed, words):
    """Each field tells what is wrong with it, once, and while it does no work can be begun."""
    getattr(panel.form, field).value = typed

    fault(panel, field, words)
    assert [name for name, problem in panel.form.problems.items() if problem.value] == [field]
    assert all(button.disabled for button in panel.buttons.values())
    assert panel._preview.estimate.value == panel._preview.picture.value == ""


def test_without_a_tick_nothing_can_be_meant(panel):
    """If no dataset is ticked, a sentence at the checkboxes says which there are, and no button works."""
    for tick in panel.form.ticks.values():
        tick.value = False

    fault(panel, "datasets", "tick at least one")
    assert all(button.disabled for button in panel.buttons.values())


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("6 months", "2024-09-01 → 2025-03-01 UTC, end exclusive, 181 days"),
        ("90d", "2024-12-01 → 2025-03-01 UTC, end exclusive, 90 days"),
        ("2", "2023-03-01 → 2025-03-01 UTC, end exclusive, 731 days"),
        ("2024-12-15", "2024-12-15 → 2025-03-01 UTC, end exclusive, 76 days"),
    ],
)
def test_a_lookback_or_a_start_is_shown_as_a_window(panel, typed, words):
    """The lookback field takes a text, years or the start, and the window is shown in full."""
    panel.form.lookback.value = typed

    assert words in panel.form.window.value
    assert panel._preview.choice.plans()[0].start == panel._preview.choice.window.start


def test_whole_files_are_said_to_begin_before_the_window(panel):
    """If the first file begins before the window, the cost says from when on it is taken."""
    panel.form.lookback.value = "2025-01-15"

    shown(panel._preview.estimate, lambda value: "whole files, from 2025-01-01" in value)


def test_the_cost_of_trades_stands_at_their_checkbox(panel):
    """Trades tell their size before they are ticked, and it follows the window."""
    tick = panel.form.ticks["agg_trades"]
    assert not tick.value
    a_month = tick.description
    panel.form.lookback.value = "5 years"

    assert a_month.startswith("Trades (about ")
    assert shown(tick, lambda value: value != a_month, of="description").endswith(" GB)")


@pytest.fixture
def too_large(panel, exchange, monkeypatch) -> DownloadPanel:
    """
    Trades are ticked that do not fit the disk, which has room for two megabytes.

    The archive tells no sizes, so the estimate stays; 256 MiB are always left free.
    """
    disk = SimpleNamespace(free=(256 << 20) + 2_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: disk)
    exchange.fail("data.binance.vision.*prefix", times=None, status=503)
    panel.form.ticks["agg_trades"].value = True
    shown(panel._preview.estimate, lambda value: "It does not fit the disk" in value)
    shown(panel.buttons["Download"], bool, of="disabled")
    return panel


def test_what_does_not_fit_the_disk_is_told_before_a_click(too_large):
    """Too large a choice is an alert, and cannot be downloaded; without what is too large it can."""
    fitting = too_large.buttons["Download what fits"]

    assert 'role="alert"' in too_large._preview.estimate.value
    assert "leave out Trades" in too_large._preview.estimate.value
    assert (fitting.disabled, fitting.layout.display) == (False, "")
    too_large.form.ticks["agg_trades"].value = False
    shown(too_large.buttons["Download"], lambda value: not value, of="disabled")
    shown(too_large._preview.estimate, lambda value: "does not fit" not in value)
    assert fitting.layout.display == "none"


def test_download_what_fits_leaves_out_what_does_not(too_large, settings):
    """The datasets that fit come, and of the others the panel says that they are not there."""
    click(too_large, "Download what fits")
    status(too_large, "Download what fits: done; 4 of 63 files complete, 236 rows; 1 gap to close")

    assert {name.split("_")[0] for name in files(settings)} == {"klines", "futures"}
    assert too_large.report.complete


def test_where_nothing_fits_nothing_can_be_downloaded(panel, monkeypatch):
    """On a full disk both buttons of download are off."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    panel.form.interval.value = "1h"
    shown(panel.buttons["Download"], bool, of="disabled")

    assert panel.buttons["Download what fits"].disabled


# --- the download ---


def test_a_click_downloads_and_shows_what_became_of_it(panel, settings):
    """Afterwards files, report, picture, gaps and state are there, and the buttons are free."""
    click(panel, "Download")
    assert panel.buttons["Download"].disabled
    assert not panel.buttons["Cancel"].disabled
    status(panel, "Download: complete")

    assert len(files(settings)) == 4
    assert panel.report.complete
    assert panel.report.rows_written == 236
    assert "<svg" in shown(panel._preview.picture, lambda value: "<svg" in value)
    panel._job.wait(10)
    assert [name for name, button in panel.buttons.items() if button.disabled] == ["Cancel"]
    shown(panel._preview.estimate, lambda value: "Nothing to fetch: all 4 files are there" in value)
    assert "new rows" in panel._work.result.value


async def test_awaiting_it_is_what_the_button_does(panel, settings):
    """`await panel.download()` returns the report, inside a running loop, the picture drawn."""
    report = await panel.download()

    assert report is panel.report
    assert report.complete
    assert "<svg" in panel._preview.picture.value
    assert "Nothing to fetch" in panel._preview.estimate.value
    assert len(files(settings)) == 4


def test_progress_is_told_for_each_dataset_and_in_all(panel):
    """At the end every bar is full, and each has its numbers in words."""
    ares.run(panel.download())
    lines = {line.label.value: line for line in panel._work.bars.values() if line.bar.value}

    assert set(lines) == {"In all", "K-lines", "Funding"}
    assert all(line.bar.value == line.bar.max for line in lines.values())
    assert "2 of 2 files · 59 rows" in lines["K-lines"].words.value
    assert "4 of 4 files · 236 rows" in lines["In all"].words.value


def test_ten_clicks_are_one_download(panel, exchange):
    """Whoever clicks ten times fetches each archive once."""
    exchange.latency_seconds = 0.05
    for _ in range(10):
        click(panel, "Download")
    status(panel, "Download: complete")

    assert len(zips(exchange)) == len(set(zips(exchange))) == 4


async def test_two_who_wait_wait_for_the_same(panel, exchange):
    """While it downloads, a second call joins the first and gets the same report."""
    first, second = await asyncio.gather(panel.download(), panel.download())

    assert first is second
    assert len(zips(exchange)) == 4


def test_cancel_ends_within_a_second_and_leaves_no_part(panel, exchange, settings):
    """A download that hangs half-way is stopped at once; the next one completes it."""
    hanging = exchange.fail("2025-02.zip$", times=None, stall="body")
    click(panel, "Download")
    shown(panel._work.bars[""].words, lambda value: "2 of 4 files" in value)
    asked = time.monotonic()
    click(panel, "Cancel")
    status(panel, "Download: cancelled", 5)
    took = time.monotonic() - asked

    assert took < 1
    assert list(settings.cache_dir.glob(".*.part")) == []
    exchange.faults.remove(hanging)
    assert ares.run(panel.download()).complete
    assert len(files(settings)) == 4


async def test_who_has_waited_finds_everything_told(panel):
    """When `await` returns state and buttons are those of the end, so the next deed can begin."""
    for _ in range(3):
        await panel.download()
        assert "Download: complete" in panel._work.status.value
        assert not panel.buttons["Download"].disabled
        await panel.validate()
        assert "Validate: no error found" in panel._work.status.value


def test_cancel_before_it_began_frees_the_panel(panel):
    """Cancelled in the same breath, the panel is ready for the next download."""
    click(panel, "Download")
    click(panel, "Cancel")
    status(panel, "cancelled")

    assert ares.run(panel.download()).complete


def test_a_symbol_that_nobody_knows_is_an_error_at_its_field(panel, settings):
    """After the click the symbol's field says what is wrong, once, without a traceback; nothing is on disk."""
    panel.form.symbols.value = "XYZUSDT"
    click(panel, "Download")
    status(panel, "Download: failed")

    assert 'role="alert"' in fault(panel, "symbols", "XYZUSDT is not known to the exchange")
    assert panel._work.alert.value == ""
    assert "Traceback" not in said(panel)
    assert panel.last_error is not None
    assert files(settings) == []

    panel.form.symbols.value = "BTCUSDT"
    assert ares.run(panel.download()).complete
    assert panel._work.alert.value == ""
    assert panel.last_error is None


def test_of_two_symbols_one_wrong_the_other_comes(panel, settings):
    """A symbol that does not exist does not keep the others from being downloaded."""
    panel.form.symbols.value = "XYZUSDT, ETHUSDT"
    report = ares.run(panel.download())

    assert not report
    assert {step.file_name.split("_")[1] for step in report.failed} == {"XYZUSDT"}
    assert len(files(settings)) == 4
    status(panel, "failed")


def test_what_the_exchange_says_is_escaped(panel, exchange):
    """A body with markup in it is text in the panel."""
    exchange.fail("/data/", times=None, status=400, body="{}")
    exchange.fail("/v", times=None, status=400, body='{"code":-1,"msg":"<img src=x>"}')
    click(panel, "Download")
    status(panel, "failed")

    assert "&lt;img src=x&gt;" in panel._work.alert.value + panel._work.result.value
    assert "<img" not in panel._work.alert.value + panel._work.result.value


def test_a_folder_that_is_none_is_an_error_at_its_field(panel, tmp_path):
    """If no folder can be made its field says so before a click, and the form is still alive."""
    (tmp_path / "file").write_text("")
    panel.form.folder.value = str(tmp_path / "file" / "cache")

    fault(panel, "folder", "could not create or access")
    assert panel.buttons["Download"].disabled
    panel.form.folder.value = str(tmp_path / "cache")
    assert ares.run(panel.download()).complete


def test_without_network_sentences_say_so(settings):
    """An exchange out of reach costs the list of symbols and the download, not the panel."""
    gone = settings.replace(max_retries=0, interval="1d")
    for name in ("spot_url", "futures_url", "archive_url", "archive_listing_url"):
        gone = gone.replace(**{name: "http://127.0.0.1:9"})
    panel = DownloadPanel(gone, end=END, datasets=("klines",))
    shown(panel._preview.hint, lambda value: "could not be had, so type yours" in value)
    click(panel, "Download")
    status(panel, "failed", 30)

    assert "127.0.0.1:9" in panel._work.alert.value
    assert "To fetch" in panel._preview.estimate.value
    assert not panel.buttons["Download"].disabled
    panel.close()


# --- one truth ---


def test_a_dataset_that_failed_is_red_at_its_true_share(panel, exchange):
    """K-lines that came are green and full; funding of which half failed is red at a half."""
    exchange.fail(
        "fundingRate.*2025-01|fundingRate.*17356|fundingRate.*17383", times=None, status=400
    )
    ares.run(panel.download())
    bars = {name: (bar.bar.bar_style, bar.bar.value) for name, bar in panel._work.bars.items()}

    assert bars["klines"] == ("success", 1_000)
    assert bars["futures"] == ("danger", 500)
    assert bars[""] == ("danger", 750)
    assert "1 of 2 files · 1 failed" in panel._work.bars["futures"].words.value
    assert "100%" not in panel._work.bars[""].words.value
    assert "3 of 4 files complete, 143 rows; 1 gap to close" in panel._preview.picture.value
    assert "To fetch: 1 of 4 files" in panel._preview.estimate.value


def test_a_download_that_failed_as_a_whole_has_no_share(panel):
    """If nothing came every bar stands at zero, in red."""
    panel.form.symbols.value = "XYZUSDT"
    ares.run(panel.download())

    assert {bar.bar.value for bar in panel._work.bars.values()} == {0}
    assert "0% · 0 of 4 files · 4 failed" in panel._work.bars[""].words.value


@pytest.fixture
def crowded(panel, settings, exchange) -> DownloadPanel:
    """The panel's files are there, and others: of another interval, of trades, of earlier months."""
    others = {"end": END, "settings": settings}
    ares.run(ares.download_klines_data("BTCUSDT", "4h", 0.1, **others))
    ares.run(ares.download_agg_trades_data("BTCUSDT", "2d", **others))
    earlier = {"end": "2024-12-01", "settings": settings, "datasets": ("klines", "futures")}
    ares.run(ares.download_all_data("BTCUSDT", "1d", "2 months", **earlier))
    ares.run(panel.download())
    exchange.requests.clear()
    return panel


def test_cost_coverage_report_and_validation_count_the_same_files(crowded, settings):
    """Whatever else the cache holds, all of them speak of the four files of the form."""
    [quality] = ares.run(crowded.validate())

    assert len(files(settings)) > 8
    assert "Nothing to fetch: all 4 files are there" in crowded._preview.estimate.value
    assert "4 of 4 files complete, 236 rows." in crowded._preview.picture.value
    assert "4h" not in crowded._preview.picture.value
    assert len(crowded.report.steps) == 4
    assert (quality.files, quality.rows) == (4, 236)
    assert {each.dataset for each in quality.fingerprints} == {"klines", "futures"}
    assert sum(each.rows for each in quality.fingerprints) == 236


def test_gaps_elsewhere_are_none_of_the_forms(crowded, settings, exchange):
    """A file of another interval, month or dataset that is gone is no gap here, and not repaired."""
    gone = [
        "klines_BTCUSDT_4h_2025-02.csv",
        "klines_BTCUSDT_1d_2024-10.csv",
        "aggtrades_BTCUSDT_2025-02-27.csv",
    ]
    for name in gone:
        (settings.cache_dir / name).unlink()
    report = ares.run(crowded.repair())

    assert "No gap is left to close" in crowded._preview.gaps.value
    assert "Repair gaps: complete" in crowded._work.status.value
    assert len(report.steps) == 4
    assert zips(exchange) == []
    assert not set(gone) & set(files(settings))


def test_complete_is_never_said_of_a_window_that_lacks_a_file(panel, settings):
    """A repair that closed its gap says what the window still lacks, in the words of the coverage."""
    ares.run(panel.download())
    (settings.cache_dir / "futures_BTCUSDT_2025-01.csv").unlink()
    panel.form.lookback.value = "2024-12-01"
    ares.run(panel.repair())

    words = "4 of 6 files complete, 236 rows; 2 gaps to close"
    assert f"Repair gaps: done; {words} (BTCUSDT 1d)" in panel._work.status.value
    assert words in panel._preview.picture.value
    assert "To fetch: 2 of 6 files" in panel._preview.estimate.value
    assert panel._preview.gaps.value.count("2024-12-01 00:00") == 2


def test_a_validation_counts_the_files_of_all_symbols_once(panel):
    """The count of validated files only grows, from none to those of all symbols."""
    panel.form.symbols.value = "BTCUSDT, ETHUSDT"
    ares.run(panel.download())
    words: list[str] = []
    panel._work.bars[""].words.observe(lambda change: words.append(change["new"]), "value")
    reports = ares.run(panel.validate())

    assert [report.files for report in reports] == [4, 4]
    assert "100% · 8 of 8 files" in words
    assert all("of 8 files" in each for each in words)


@pytest.mark.parametrize(
    ("field", "value"),
    [("symbols", "ETHUSDT"), ("interval", "4h"), ("lookback", "3 months"), ("folder", "elsewhere")],
)
def test_a_result_of_another_form_is_grey_and_says_whose_it_is(panel, settings, field, value):
    """After a change of the form the result stands in grey with its choice, until the form is back."""
    ares.run(panel.download())
    control = getattr(panel.form, field)
    before, control.value = control.value, value

    remark = f"For BTCUSDT 1d in {settings.cache_dir}; the form has changed."
    assert remark in panel._work.remark.value
    assert is_old(panel._work.box)
    control.value = before
    assert panel._work.remark.value == ""
    assert not is_old(panel._work.box)


def test_coverage_of_another_form_is_grey_until_the_new_one_is_shown(panel):
    """Between a change and its answer the old cost and coverage are not taken for the new ones."""
    ares.run(panel.download())
    panel.form.symbols.value = "ETHUSDT"
    was_old = [is_old(each) for each in (panel._preview.estimate, panel._preview.picture)]
    shown(panel._preview.picture, lambda value: "Nothing of ETHUSDT 1d is in" in value)

    assert was_old == [True, True]
    shown(panel._preview.picture, lambda value: "ares-old" not in value, of="_dom_classes")
    assert panel._preview.gaps.value == ""


def test_work_for_another_form_does_not_change_what_the_form_shows(panel, exchange):
    """A download that ends after the form has changed leaves cost and coverage those of the form."""
    hanging = exchange.fail("2025-02.zip$", times=None, stall="body")
    click(panel, "Download")
    shown(panel._work.bars[""].words, lambda value: "2 of 4 files" in value)
    panel.form.symbols.value = "ETHUSDT"
    shown(panel._preview.picture, lambda value: "Nothing of ETHUSDT" in value)
    assert hanging.seen
    click(panel, "Cancel")
    status(panel, "Download: cancelled (BTCUSDT 1d)")

    assert "Nothing of ETHUSDT 1d" in panel._preview.picture.value
    assert "For BTCUSDT 1d" in panel._work.remark.value


def test_it_says_at_once_what_it_waits_for(panel, exchange):
    """Until the exchange has answered the panel says that it waits, and no longer."""
    hanging = exchange.fail("/", times=None, stall="head")
    click(panel, "Download")
    assert "Waiting for the first answer" in panel._work.waiting.value
    exchange.faults.remove(hanging)
    click(panel, "Cancel")
    status(panel, "cancelled")

    assert panel._work.waiting.value == ""


# --- repair, validate ---


def test_repair_closes_a_gap_and_nothing_else(panel, settings):
    """A file that was deleted comes back; the table of gaps told of it before."""
    ares.run(panel.download())
    before = files(settings)
    (settings.cache_dir / "klines_BTCUSDT_1d_2025-01.csv").unlink()
    panel.form.lookback.value = "60 days"
    shown(panel._preview.gaps, lambda value: "not downloaded" in value)

    click(panel, "Repair gaps")
    # The day before the first file was never downloaded.
    status(panel, "Repair gaps: done; 4 of 6 files complete, 236 rows; 2 gaps to close")

    assert files(settings) == before
    assert "2024-12-01 00:00" in panel._preview.gaps.value
    panel.form.lookback.value = "59 days"
    shown(panel._preview.gaps, lambda value: "No gap is left to close" in value)


def test_repair_of_two_symbols_repairs_the_one_that_is_there(panel, settings):
    """A symbol that was never downloaded does not keep another from being repaired."""
    ares.run(panel.download())
    lost = settings.cache_dir / "klines_BTCUSDT_1d_2025-01.csv"
    lost.unlink()
    panel.form.symbols.value = "BTCUSDT, ETHUSDT"

    assert ares.run(panel.repair()).complete
    assert lost.exists()
    assert not any("ETHUSDT" in name for name in files(settings))


def test_repair_leaves_alone_what_is_not_ticked(panel, settings, exchange):
    """A day of trades that is gone is not fetched for who has ticked candles only."""
    trades = {"end": END, "settings": settings}
    ares.run(ares.download_agg_trades_data("BTCUSDT", 2 / 365.25, **trades))
    ares.run(panel.download())
    (settings.cache_dir / "aggtrades_BTCUSDT_2025-02-27.csv").unlink()
    exchange.requests.clear()

    assert ares.run(panel.repair()).rows_written == 0
    assert zips(exchange) == []
    assert "aggtrades_BTCUSDT_2025-02-27.csv" not in files(settings)


def test_what_is_told_names_its_symbol(panel):
    """The state says of which symbol it speaks, since the form may have moved on."""
    ares.run(panel.download())
    panel.form.symbols.value = "ETHUSDT"

    assert "Download: complete (BTCUSDT 1d)" in panel._work.status.value


def test_validate_shows_what_it_found(panel, settings):
    """A digit that was changed by hand is an error in the panel."""
    ares.run(panel.download())
    [good] = ares.run(panel.validate())
    assert good.ok
    path = settings.cache_dir / "klines_BTCUSDT_1d_2025-02.csv"
    path.write_text(path.read_text().replace(".1", ".7", 1))

    click(panel, "Validate")
    status(panel, "errors found")

    assert not panel.quality[0].ok
    assert "klines_BTCUSDT_1d_2025-02.csv" in panel._work.result.value


def test_before_a_download_there_is_nothing_to_repair(panel):
    """Repair of an empty cache is a sentence that says what to do."""
    click(panel, "Repair gaps")
    status(panel, "failed")

    assert "download something first" in panel._work.alert.value


def test_the_panel_does_one_thing_at_a_time(panel, exchange):
    """While it downloads, validating is refused with a sentence, and the download goes on."""
    exchange.latency_seconds = 0.1
    click(panel, "Download")
    with pytest.raises(Busy, match="at work"):
        ares.run(panel.validate())

    status(panel, "Download: complete", 20)


# --- for the next cell ---


def test_the_code_does_the_same(panel, settings, tmp_path):
    """Run in a cell, the code of the panel fills another cache with the same bytes."""
    ares.run(panel.download())
    panel.form.folder.value = str(tmp_path / "other")
    run_code(panel._preview.choice.code())

    for name in files(settings):
        one, other = settings.cache_dir / name, tmp_path / "other" / name
        assert one.read_bytes() == other.read_bytes()


def test_the_code_of_several_symbols_is_one_call(panel, tmp_path):
    """For two symbols the code calls one verb, and brings both."""
    panel.form.symbols.value = "BTCUSDT, ETHUSDT"
    panel.form.folder.value = str(tmp_path / "other")
    code = panel._preview.choice.code()
    assert code.count("await") == 1
    assert "for " not in code

    run_code(code)

    assert len(list((tmp_path / "other").glob("*.csv"))) == 8


def test_the_next_cell_has_frame_and_settings(panel, settings):
    """After a download the frame is the chosen window, and the settings are those of the form."""
    ares.run(panel.download())

    assert len(panel.frame) == 59
    assert panel.frame.attrs["complete"]
    assert panel.settings.cache_dir == settings.cache_dir
    panel.form.ticks["klines"].value = False
    assert list(panel.frame.columns) == ["fundingRate"]


def test_a_new_panel_shows_where_things_stand(panel, exchange):
    """After a restart the picture and the state come from the cache alone."""
    ares.run(panel.download())
    exchange.requests.clear()

    again = DownloadPanel(panel.settings, end=END)

    assert "<svg" in again._preview.picture.value
    assert "BTCUSDT 1d: 4 of 4 files complete, 236 rows." in again._preview.picture.value
    assert {each.path for each in list(exchange.requests)} <= {"/api/v3/exchangeInfo"}
    again.close()


def test_the_static_html_tells_the_same(panel):
    """Where widgets do not run, HTML and a line of text tell choice, cost and what is there."""
    ares.run(panel.download())
    bundle = panel._repr_mimebundle_()

    assert bundle["text/plain"] == (
        "<DownloadPanel BTCUSDT 1d, 59 days, end 2025-03-01: K-lines, Funding>"
    )
    assert "<svg" in bundle["text/html"]
    assert "ares.download_all_data(" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_live_and_static_picture_share_no_id(panel, exchange):
    """The pattern of a gap has another id in the hidden static view, or a browser would draw neither."""
    exchange.fail("metrics-2025-02-1.*zip$", times=None, status=404)
    choose(panel, "um", "BTCUSDT", ["metrics"])
    ares.run(panel.download())
    pictures = (panel._preview.picture.value, panel._static_view()["text/html"])
    live, static = (set(re.findall(r' id="([^"]+)"', each)) for each in pictures)

    assert live
    assert len(static) == len(live)
    assert not live & static
    for ids, picture in zip((live, static), pictures, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", picture)) == ids


def test_a_form_that_cannot_be_meant_is_still_shown(panel):
    """A half-typed form is shown as it is, and says what is wrong with it."""
    panel.form.symbols.value = "BTC/USDT"

    assert "did you mean BTCUSDT" in repr(panel)
    assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_()


# --- the sources ---


def test_the_demo_is_started_when_it_is_chosen_and_stopped_with_the_panel(tmp_path):
    """The panel's own demo exchange serves a download, and is gone when the panel is closed."""
    panel = DownloadPanel(source="demo", end=END, datasets=("klines",))
    panel.form.interval.value = "1d"
    assert panel.form.folder.value == "demo_cache"
    panel.form.folder.value = str(tmp_path)
    url = panel.settings.spot_url

    assert ares.run(panel.download()).complete
    assert "exchange = ares.DemoExchange().start()" in panel._preview.code.value
    panel.close()
    with pytest.raises(ares.errors.TransportError):
        ares.run(asked(url))


async def asked(url: str) -> object:
    """One question to an exchange."""
    from ares_notebook.binance.http import Transport  # noqa: PLC0415
    from ares_notebook.binance.rest import Rest  # noqa: PLC0415
    from ares_notebook.model.markets import SPOT  # noqa: PLC0415

    async with Transport(ares.Settings(spot_url=url, market="demo", max_retries=0)) as transport:
        return await Rest(transport).symbols(SPOT)


def test_another_address_serves_as_well(exchange, tmp_path):
    """An address that is typed is where the download comes from; no key goes there."""
    panel = DownloadPanel(
        ares.Settings(api_key="k" * 20, interval="1d", progress=False, cache_dir=tmp_path / "a"),
        source="demo",
        end=END,
        datasets=("klines",),
    )
    panel.form.source.value = "Another address"
    assert panel.form.address_box.layout.display != "none"
    panel.form.address.value = exchange.url
    panel.form.folder.value = str(tmp_path / "b")

    assert ares.run(panel.download()).complete
    assert panel.settings.api_key is None
    assert not any("x-mbx-apikey" in each.headers for each in exchange.requests)
    assert "kkk" not in panel._preview.code.value
    panel.close()


def test_an_address_that_is_none_is_reported(panel):
    """Before an address is typed a sentence says how one looks."""
    panel.form.source.value = "Another address"

    fault(panel, "address", "http://127.0.0.1:8900")
    assert panel.buttons["Download"].disabled


def test_a_folder_that_is_named_with_a_source_is_taken(tmp_path):
    """The demo's own folder is only the default."""
    panel = DownloadPanel(ares.Settings(cache_dir=tmp_path), source="demo")

    assert panel.settings.cache_dir == tmp_path
    assert panel.settings.market == "demo"
    panel.close()


def test_a_source_that_is_none_is_refused():
    """A source of another name is an error that names those there are."""
    with pytest.raises(ares.errors.BadArgument, match='none of "binance", "demo"'):
        DownloadPanel(source="coinbase")
