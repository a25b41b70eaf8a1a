"""What plans will cost, and several plans carried out as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

import ares_notebook as ares
from ares_notebook.errors import UnknownSymbol
from ares_notebook.work.cost import Cost
from ares_notebook.work.several import carry_out_all

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
    rest = settings.model_copy(update={"source": "rest"})

    cost = plan_of("BTCUSDT", rest).cost

    assert cost.weight == 20 + 2 * 2


def test_more_than_a_minutes_weight_is_waited_for(settings):
    """Two minutes' worth of weight takes a minute longer than the line alone would."""
    rest = settings.model_copy(update={"source": "rest"})
    plan = ares.plan_downloads("BTCUSDT", "1s", 2, end=END, settings=rest, datasets=("klines",))
    cost = plan.cost

    assert cost.weight > 60_000
    assert cost.seconds == pytest.approx((cost.weight / 4_800 - 1) * 60 + 0.5)


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
    odd = settings.model_copy(update={"cache_dir": tmp_path / "<b>x"})

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


# --- several ---


async def test_several_plans_are_one_report_and_one_progress(settings):
    """Steps and rows are of all plans together, and none is taken back."""
    heard = []
    plans = [plan_of(symbol, settings) for symbol in ("BTCUSDT", "ETHUSDT")]
    report = await carry_out_all(plans, on_progress=heard.append)

    assert len(report.steps) == 8
    assert report.rows_written == 472
    assert {each.steps_total for each in heard} == {8}
    assert [each.steps_done for each in heard] == sorted(each.steps_done for each in heard)
    assert heard[-1].steps_done == 8
    assert {part.dataset: part.steps_done for part in heard[-1].parts} == {
        "klines": 4,
        "futures": 4,
    }


async def test_a_plan_that_cannot_be_begun_fails_alone(settings):
    """An unknown symbol is an error of its own files; the next symbol comes."""
    plans = [plan_of(symbol, settings) for symbol in ("XYZUSDT", "ETHUSDT")]
    report = await carry_out_all(plans)

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
