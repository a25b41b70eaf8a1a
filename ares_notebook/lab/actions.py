"""What the panel's buttons do with a choice: download, repair, validate; watched, and cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ares_notebook.download.plan import Plan
from ares_notebook.download.repair import plan_repair
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.download.run_plans import run_plans
from ares_notebook.lab.choice import Choice
from ares_notebook.quality.report import QualityReport
from ares_notebook.quality.validate import validate_cache
from ares_notebook.runtime.progress import Progress, ProgressListener, heard_by

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["download_choice", "repair_choice", "validate_choice"]


async def download_choice(
    choice: Choice, hear: ProgressListener, client: Client | None = None
) -> DownloadReport:
    """Bring what is chosen into the cache, by the hands of a cluster where there is a *client* of it."""
    plans = await asyncio.to_thread(_quiet(choice).plans)
    return await record_run(RunInfo.of("download", *plans), _carried_out(plans, hear, client))


def _carried_out(
    plans: Sequence[Plan], hear: ProgressListener, client: Client | None
) -> Coroutine[Any, Any, DownloadReport]:
    if client is None:
        return run_plans(plans, on_progress=hear)
    # Whoever has a client has the extra, and nobody else needs it.
    from ares_notebook.scale.cluster import run_plans_on  # noqa: PLC0415

    return run_plans_on(client, plans, on_progress=hear)


async def repair_choice(
    choice: Choice, hear: ProgressListener, client: Client | None = None
) -> DownloadReport:
    """Close the gaps of what the cache has of the chosen symbols, interval and datasets."""
    settings = _quiet(choice).settings

    def planned() -> list[Plan]:
        return [
            _only(choice.datasets, plan_repair(symbol, choice.interval, settings=settings))
            for symbol in choice.symbols
        ]

    plans = await asyncio.to_thread(planned)
    return await record_run(RunInfo.of("repair", *plans), _carried_out(plans, hear, client))


def _only(datasets: Sequence[str], plan: Plan) -> Plan:
    """Nobody who did not tick them shall get days of trades."""
    return replace(
        plan, steps=tuple(step for step in plan.steps if step.file.dataset.name in datasets)
    )


async def validate_choice(choice: Choice, hear: ProgressListener) -> tuple[QualityReport, ...]:
    """Check what the cache has of the chosen symbols and interval, a report a symbol."""
    settings, interval = _quiet(choice).settings, choice.interval
    reports = []
    for symbol in choice.symbols:
        look = partial(validate_cache, symbol, interval, settings=settings)
        run_info = RunInfo("validate", settings, symbol, interval or "")
        reports.append(await record_run(run_info, _in_thread(look, hear)))
    return tuple(reports)


async def _in_thread(look: Callable[[], QualityReport], hear: ProgressListener) -> QualityReport:
    is_over = threading.Event()

    def hear_or_stop(progress: Progress) -> None:
        if is_over.is_set():
            # A thread cannot be cancelled; it hears of it at the next file.
            raise asyncio.CancelledError
        hear(progress)

    try:
        with heard_by(hear_or_stop):
            return await asyncio.to_thread(look)
    finally:
        is_over.set()


def _quiet(choice: Choice) -> Choice:
    """The panel has bars of its own; another in the output of some cell would be lost."""
    settings = choice.settings.model_copy(update={"progress": False})
    return replace(choice, settings=settings)
