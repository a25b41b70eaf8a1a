"""Which failures of files a run logs: the first three of a plan, and none of them twice."""

from __future__ import annotations

import logging

from ares_notebook.binance.http import Transport
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.store import Store
from ares_notebook.download.plan import plan_downloads
from ares_notebook.download.runner import run_steps


async def test_only_what_was_logged_counts_as_logged(exchange, settings, caplog):
    """The reasons that later plans of a run do not log again are those that are in the log."""
    caplog.set_level(logging.ERROR, "DataDownloader")
    exchange.fail("/api/v3/klines", times=None, status=400)
    settings = settings.replace(source="rest")
    plan = plan_downloads(
        "BTCUSDT",
        "1h",
        start="2024-08-01",
        end="2025-02-01",
        settings=settings,
        datasets=("klines",),
    )
    logged = set()
    store = Store(settings)
    store.prepare()

    async with Transport(settings) as transport:
        report = await run_steps(
            plan,
            [],
            store,
            Rest(transport),
            on_progress=None,
            executor=None,
            reported=logged,
        )

    assert len({str(step.error) for step in report.failed}) == 6
    assert len(logged) == 3
    assert all(any(reason in text for text in caplog.messages) for reason in logged)
