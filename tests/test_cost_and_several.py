"""What plans will cost, and several plans carried out as one."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace

import pytest

import ares_notebook as ares
from ares_notebook.download.estimate import Cost
from ares_notebook.download.run_plans import run_plans
from ares_notebook.errors import BadArgument, UnknownSymbol
from ares_notebook.runtime import progress
from ares_notebook.runtime.progress import heard_by

END = "2025-03-01"


def plan_of(symbol, settings, **changes):
    fields = {"end": END, "settings": settings, "datasets": ("klines", "futures")}
    return ares.plan_downloads(symbol, "1d", 59 / 365.25, **{**fields, **changes})


# --- cost ---


def test_the_archive_costs_no_weight_but_the_question_for_the_symbol(settings):
    """Zips are free of request weight; one question a symbol is not."""
    cost = plan_of("BTCUSDT", settings).cost

    assert (cost.files, cost.files_there, cost.rows) == (4, 0, 236)
    assert cost.requests == 8
    assert cost.weight == 20


def test_rest_costs_its_pages(settings):
    """Over REST each page of candles costs two of weight, and funding none."""
    rest = settings.replace(source="rest")

    cost = plan_of("BTCUSDT", rest).cost

    assert cost.weight == 20 + 2 * 2


def test_more_than_a_minutes_weight_is_waited_for(settings):
    """Two minutes' worth of weight takes a minute longer than the line alone would."""
    rest = settings.replace(source="rest")
    plan = ares.plan_downloads("BTCUSDT", "1s", 2, end=END, settings=rest, datasets=("klines",))
    cost = plan.cost

    assert cost.weight > 60_000
    assert cost.seconds == pytest.approx((cost.weight / 4_800 - 1) * 60 + 0.5)


def test_the_weight_of_trades_of_futures_takes_time(settings):
    """Where REST is the source, the estimated time waits for the budget of the market that is asked."""
    window = {"end": "2025-03-02", "settings": settings.replace(source="rest")}
    spot = ares.plan_downloads("BTCUSDT", None, 2 / 365.25, datasets=["agg_trades"], **window)
    um = ares.plan_downloads("BTCUSDT", None, 2 / 365.25, datasets=["um_agg_trades"], **window)

    # 20 for a page of a budget of 2,400, in place of 4 of 6,000.
    assert um.cost.weight == 20 * um.cost.requests
    assert um.cost.seconds > 10 * spot.cost.seconds


async def test_what_is_there_costs_nothing(settings):
    """After a download the same plan has nothing to do, takes no time, and says so."""
    await ares.download_klines_data("BTCUSDT", "1d", 59 / 365.25, end=END, settings=settings)
    plan = plan_of("BTCUSDT", settings, datasets=("klines",))

    assert plan.cost == Cost(2, 2, 0, 0, 0, 0, 0, 0.0)
    assert str(plan.cost) == "Nothing to do: all 2 files are there."


async def test_the_cost_of_archives_is_near_to_what_comes(settings, exchange):
    """Requests are as foreseen, and so are rows, to a file."""
    plan = plan_of("BTCUSDT", settings)
    report = await ares.download_all_data(
        "BTCUSDT", "1d", 59 / 365.25, end=END, settings=settings, datasets=("klines", "futures")
    )

    assert sum(step.requests for step in report.steps) == plan.cost.requests
    assert report.rows_written == plan.cost.rows
    assert len([each for each in exchange.requests if "/data/" in each.path]) == 8


def test_the_plan_has_a_face_in_html_that_is_escaped(settings, tmp_path):
    """The table of a plan says what its text says; a folder with markup in its name is text."""
    odd = settings.replace(cache_dir=tmp_path / "<b>x")

    face = plan_of("BTCUSDT", odd)._repr_html_()

    assert "&lt;b&gt;x" in face
    assert "<b>" not in face
    assert "klines_BTCUSDT_1d_2025-01 … 2025-02" in face
    assert "monthly archive" in face
    assert "To do: 4 of 4 files" in face


def test_the_text_of_a_plan_is_what_a_page_without_html_shows(settings):
    """A plan as the last line of a cell is its table in words, not the innards of an object."""
    plan = plan_of("BTCUSDT", settings)

    assert repr(plan) == str(plan)
    assert repr(ares.DownloadReport()) == str(ares.DownloadReport())


async def test_what_trades_take_is_logged_before_they_are_fetched(settings, exchange, caplog):
    """The share of trades in a download of all is in the plan, and in the log before their first byte."""
    asked = []

    class Heard(logging.Handler):
        def emit(self, record):
            if "trades are" in record.getMessage():
                asked.append((record.getMessage(), [each.path for each in exchange.requests]))

    window = {"start": "2025-02-26", "end": "2025-02-28", "settings": settings}
    plan = ares.plan_downloads("BTCUSDT", "1d", **window)
    logger, heard = logging.getLogger("DataDownloader"), Heard()
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(heard)
    try:
        await ares.download_all_data("BTCUSDT", "1d", **window)
    finally:
        logger.removeHandler(heard)

    [(words, paths)] = asked
    assert re.fullmatch(
        r"BTCUSDT: trades are 2 days: [\d.]+ [KM]B to fetch, [\d.]+ [KM]B on disk", words
    )
    assert not any("aggTrades" in path and path.endswith(".zip") for path in paths)
    assert "\nOf that trades are 2 days: " in str(plan)
    assert "Of that trades" not in str(plan_of("BTCUSDT", settings))


def test_trades_of_many_symbols_come_only_where_they_are_named(settings):
    """A universe is k-lines and funding, unless it says more."""
    window = {"start": "2025-02-26", "end": "2025-02-28", "settings": settings}
    plan = ares.plan_universe(["BTCUSDT"], "1d", **window)
    named = ares.plan_universe(["BTCUSDT"], "1d", **window, datasets=["agg_trades"])

    assert {step.file.dataset.name for step in plan.to_do} == {"klines", "futures"}
    assert {step.file.dataset.name for step in named.to_do} == {"agg_trades"}


# --- several ---


async def test_several_plans_are_one_report_and_one_progress(settings):
    """Steps and rows are of all plans together, and none is taken back."""
    heard = []
    plans = [plan_of(symbol, settings) for symbol in ("BTCUSDT", "ETHUSDT")]
    report = await run_plans(plans, on_progress=heard.append)

    assert len(report.steps) == 8
    assert report.rows_written == 472
    assert {each.steps_total for each in heard} == {8}
    assert [each.steps_done for each in heard] == sorted(each.steps_done for each in heard)
    assert heard[-1].steps_done == 8
    assert 0 < heard[-1].seconds <= report.seconds
    assert {part.dataset: part.steps_done for part in heard[-1].parts} == {
        "klines": 4,
        "futures": 4,
    }


async def test_a_plan_that_cannot_be_begun_fails_alone(settings):
    """An unknown symbol is an error of its own files; the next symbol comes."""
    plans = [plan_of(symbol, settings) for symbol in ("XYZUSDT", "ETHUSDT")]
    report = await run_plans(plans)

    assert len(report.failed) == 4
    assert {type(step.error) for step in report.failed} == {UnknownSymbol}
    assert report.rows_written == 236
    assert not report.complete


async def test_parts_tell_of_each_dataset(settings):
    """Progress has a part a dataset, and they add up to the whole."""
    heard = []
    await ares.download_all_data(
        "BTCUSDT", "1d", 59 / 365.25, end=END, settings=settings, datasets=("klines", "futures"),
        on_progress=heard.append,
    )  # fmt: skip
    last = heard[-1]

    assert [part.dataset for part in last.parts] == ["klines", "futures"]
    assert sum(part.rows for part in last.parts) == last.rows == 236
    assert sum(part.bytes_received for part in last.parts) == last.bytes_received
    assert all(part.share == 1.0 for part in last.parts)
    assert replace(last, parts=()).share == 1.0


async def test_one_plan_that_waits_keeps_no_other_waiting(settings, exchange):
    """Where the first plan hangs, a small one after it is done; who stops all hears how far they are."""
    exchange.fail("BTCUSDT-1d", times=None, delay_seconds=60)
    plans = [plan_of(symbol, settings) for symbol in ("BTCUSDT", "ETHUSDT")]

    def stop_when_done(progress):
        if progress.rows >= 236 + 177:
            task.cancel()

    task = asyncio.ensure_future(run_plans(plans, on_progress=stop_when_done))
    with pytest.raises(asyncio.CancelledError) as stopped:
        await task

    assert stopped.value.__notes__ == [
        "2 symbols: 6 of 8 files were worked on, and what came is kept; run the same again to go on"
    ]


async def test_the_report_is_in_the_order_of_the_plans(settings, exchange):
    """Whoever is done first, steps stand as they were planned."""
    exchange.fail("BTCUSDT", times=None, delay_seconds=0.05)
    report = await run_plans([plan_of(each, settings) for each in ("BTCUSDT", "ETHUSDT")])

    assert [step.file_name.split("_")[1] for step in report.steps] == [
        *["BTCUSDT"] * 4, *["ETHUSDT"] * 4
    ]  # fmt: skip


async def test_plans_of_many_files_wait_for_slots(settings, monkeypatch):
    """Where each of three plans fills all places, two are under way at once and not the third."""
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN", 0.0)
    few = settings.replace(max_concurrency=2)
    names = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    plans = [plan_of(symbol, few, datasets=("klines",)) for symbol in names]
    under_way = []

    def count(_):
        under_way.append(sum("_results.<locals>.run" in repr(task) for task in asyncio.all_tasks()))

    report = await run_plans(plans, on_progress=count)

    assert report.complete
    assert max(under_way) == 2


async def test_plans_share_what_the_exchange_says_of_itself(settings, exchange):
    """Where the API has told its limits it is asked for no other symbol, and for perpetuals once."""
    plans = [plan_of(symbol, settings) for symbol in ("BTCFDUSD", "ETHBTC", "ETHUSDT")]
    one_by_one = settings.replace(max_concurrency=1)
    plans = [replace(plan, settings=one_by_one) for plan in plans]

    report = await run_plans(plans)

    asked = [each.path for each in exchange.requests]
    assert report.complete
    assert asked.count("/api/v3/exchangeInfo") < len(plans)
    assert asked.count("/fapi/v1/exchangeInfo") == 1


async def test_what_a_killed_run_left_is_swept_once_for_all(settings):
    """A temporary file that nobody holds is gone when several plans are done."""
    settings.cache_dir.mkdir()
    stale = settings.cache_dir / ".klines_XRPUSDT_1d_2025-01.csv.1.part"
    stale.write_text("half")
    await run_plans([plan_of("BTCUSDT", settings, datasets=("klines",))])

    assert not stale.exists()


async def test_a_line_that_cannot_be_had_is_an_error_of_each_plan(settings):
    """A key that would be sent in the open fails every plan, and raises nothing."""
    open_line = settings.replace(api_key="secret", spot_url="http://api.example.org")
    report = await run_plans([plan_of(symbol, open_line) for symbol in ("BTCUSDT", "ETHUSDT")])

    assert len(report.failed) == len(report.steps) == 8
    assert {type(step.error) for step in report.failed} == {BadArgument}


async def test_who_hears_of_all_hears_of_no_single_plan(settings):
    """A job's progress is of all plans together, never of one among them."""
    heard = []
    plans = [plan_of(symbol, settings) for symbol in ("BTCUSDT", "ETHUSDT")]
    with heard_by(heard.append):
        await run_plans(plans)

    assert {each.steps_total for each in heard} == {8}


async def test_no_plans_are_an_empty_report():
    """Of nothing nothing becomes."""
    assert (await run_plans([])).steps == ()
