"""Where a run puts what it brings: the cache folder that all share, or a dataset at an address."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from ares_notebook.cache.locks import sweep
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.plan import Plan
from ares_notebook.scale.executor import DaskExecutor
from ares_notebook.scale.worker import Brief, deliver
from ares_notebook.settings import Settings

__all__ = ["as_there", "deliver_notes", "made_ready"]


@asynccontextmanager
async def made_ready(
    plans: Sequence[Plan], brief: Brief
) -> AsyncIterator[tuple[tuple[Plan, ...], Brief]]:
    """
    The plans with the folder in which the client works, and the brief with a sign of that folder.
    """
    if brief.to is not None:
        await asyncio.to_thread(brief.destination.refuse_another, brief.settings.market_name)
        with tempfile.TemporaryDirectory(prefix="ares-") as folder, _marked(brief) as ready:
            own = plans[0].settings.model_copy(update={"cache_dir": Path(folder)})
            yield tuple(replace(plan, settings=own) for plan in plans), ready
        return
    if not any(plan.to_do for plan in plans):
        yield tuple(plans), brief
        return
    store = Store(brief.settings)
    store.prepare()
    try:
        with _marked(brief) as ready:
            yield tuple(plans), ready
    finally:
        # What workers left that were killed.
        await asyncio.to_thread(sweep, store)


@contextmanager
def _marked(brief: Brief) -> Iterator[Brief]:
    """Put a file into a folder that the workers are to share: a worker that sees it has the same."""
    if brief.folder is None:
        yield brief
        return
    mark = brief.folder / f".run-{brief.run}"
    mark.touch()
    try:
        yield replace(brief, mark=str(mark))
    finally:
        mark.unlink(missing_ok=True)


async def as_there(plans: Sequence[Plan], executor: DaskExecutor) -> tuple[Plan, ...]:
    """The plans for what the dataset holds, in place of what the cache holds."""
    await executor.look([step.file for plan in plans for step in plan.steps])
    return tuple([replace(plan, steps=await _steps(plan, executor)) for plan in plans])


async def _steps(plan: Plan, executor: DaskExecutor) -> tuple[Step, ...]:
    steps: list[Step] = []
    for _, group in groupby(plan.steps, lambda step: step.file.series):
        own = list(group)
        entries = await executor.entries([step.file for step in own])
        pairs = zip(entries, own, strict=True)
        steps += [decide(entry, step.until_ms, plan.settings.source) for entry, step in pairs]
    return tuple(steps)


def deliver_notes(brief: Brief, settings: Settings) -> None:
    """Put what the client has learnt itself beside the rest: that there is no perpetual, say."""
    store = Store(settings)
    for file in store.files():
        receipt = store.receipt(file)
        if receipt is not None:
            deliver(brief.destination, file, store, receipt)
