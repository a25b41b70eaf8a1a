"""Carry out a plan: each step fails alone, and the report tells of all."""

from __future__ import annotations

import asyncio
import logging
import time
from importlib import import_module
from typing import TYPE_CHECKING

from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport, skipped
from ares_notebook.runtime.progress import ProgressListener

if TYPE_CHECKING:
    from ares_notebook.binance.rest import Rest
    from ares_notebook.download.executor import Executor

__all__ = ["run_plan"]

_LOGGER = logging.getLogger("DataDownloader")


async def run_plan(
    plan: Plan,
    *,
    on_progress: ProgressListener | None = None,
    store: Store | None = None,
    rest: Rest | None = None,
    executor: Executor | None = None,
) -> DownloadReport:
    """
    Do what *plan* says.

    Where it has nothing to do, no request is made.
    """
    began = time.monotonic()
    store = store or Store(plan.settings)
    if _LOGGER.isEnabledFor(logging.DEBUG):
        _tell(plan)
    forgotten = [step for step in plan.steps if _is_forgotten(step)]
    if plan.to_do or forgotten:
        # Network and NumPy are slow to import: a complete cache needs neither, and in a
        # thread they hold up no other task.
        await asyncio.to_thread(import_module, "ares_notebook.download.runner")
        from ares_notebook.download.runner import run_steps  # noqa: PLC0415 - as said

        return await run_steps(
            plan, forgotten, store, on_progress=on_progress, rest=rest, executor=executor
        )
    # What another market has filled is not complete, however whole it looks.
    await asyncio.to_thread(store.refuse_another)
    return DownloadReport(tuple(map(skipped, plan.steps)), time.monotonic() - began)


def _tell(plan: Plan) -> None:
    for step in plan.steps:
        road = f", by {step.roads[0]}" if step.roads else ""
        _LOGGER.debug("%s: %s, since %s%s", step.file.name, step.action, step.reason, road)


def _is_forgotten(step: Step) -> bool:
    """Whether a file is complete and its receipt lost, or written for other times."""
    entry = step.entry
    return step.action == "skip" and entry.on_disk is not None and not entry.is_remembered
