"""The places where something new is added without touching anything else, each with a double."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import ares_notebook as ares
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.market_guard import market_of
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import decide
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import StepReport
from ares_notebook.download.run_plans import run_plan
from ares_notebook.errors import WrongMarket
from ares_notebook.model.datasets import KLINES
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.model.time import as_utc
from ares_notebook.quality import checks

START, END = as_utc("2025-02-01"), as_utc("2025-03-01")


async def test_a_dataset_is_a_value(settings):
    """Candles under another name, from the same archive, are planned, fetched, proven and skipped."""
    mirror = replace(KLINES, name="mirror", file_prefix="mirror")
    file = CacheFile.of(Series.of(mirror, "BTCUSDT", "1h"), START)
    plan = Plan(
        settings, "BTCUSDT", "1h", START, END, (decide(CacheEntry(file), file.grid_end_ms, "auto"),)
    )

    report = await run_plan(plan)
    entry = Store(settings).entry(file)

    assert report.complete
    assert report.rows_written == entry.facts.rows == 28 * 24
    assert entry.final
    assert (settings.cache_dir / "mirror_BTCUSDT_1h_2025-02.csv").exists()
    assert decide(entry, file.grid_end_ms, "auto").action == "skip"


async def test_a_market_is_its_addresses(exchange, settings):
    """Addresses and a name make a market: its data is its own, and no other's gets into its cache."""
    elsewhere = exchange.settings(cache_dir=settings.cache_dir, market="elsewhere")
    window = {"start": START, "end": END}
    first = await ares.download_klines_data("BTCUSDT", "1d", **window, settings=elsewhere)
    again = await ares.download_klines_data("BTCUSDT", "1d", **window, settings=elsewhere)

    assert (first.rows_written, again.actions) == (28, {"skip": 1})
    assert market_of(settings.cache_dir) == "elsewhere"
    with pytest.raises(WrongMarket, match="elsewhere"):
        await ares.download_klines_data("BTCUSDT", "1d", **window, settings=settings)


class Printer:
    """An executor that does no work: it says of each step that it was done."""

    slots = 2
    keeps_files = False

    def __init__(self):
        self.names = []

    def apply_limits(self, limits, resting):
        """Nobody asks the exchange here."""
        self.limits, self.resting = dict(limits), dict(resting)

    def check_room(self, steps):
        """Nothing is stored."""
        self.room_for = len(steps)

    async def entries(self, files):
        """Nothing is there."""
        return [CacheEntry(file) for file in files]

    async def fetch_file(self, step):
        """The step is done."""
        self.names.append(step.file.name)
        return StepReport(step.file.dataset.name, step.file.name, step.action, rows=7)


async def test_an_executor_gets_the_steps(settings):
    """Whoever has the six members of an executor is given each step once, and its reports are the run's."""
    plan = ares.plan_downloads(
        "BTCUSDT", "1d", start="2025-01-01", end=END, settings=settings, datasets=["klines"]
    )
    executor = Printer()

    report = await run_plan(plan, executor=executor)

    assert sorted(executor.names) == [step.file.name for step in plan.steps]
    assert executor.room_for == len(plan.steps)
    assert report.rows_written == 14
    assert not (settings.cache_dir / plan.steps[0].file.name).exists()


async def test_a_check_is_a_row(settings, monkeypatch):
    """A check that is added to the list finds its rows, and stands in the report by its name."""
    await ares.download_klines_data("BTCUSDT", "1d", start=START, end=END, settings=settings)
    every = checks.Check(
        "at midnight", "information", lambda dataset: dataset is KLINES, "No row is here.",
        ("timestamp",), lambda rows: np.ones(rows.table.num_rows, bool), 0,
    )  # fmt: skip
    monkeypatch.setattr(checks, "ROW_CHECKS", [*checks.ROW_CHECKS, every])

    report = ares.validate_cache("BTCUSDT", settings=settings)

    assert [(each.check, each.count) for each in report.findings] == [("at midnight", 28)]
