"""The work of the panel: plans are carried out, and what the cache holds is validated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.download.run_plans import run_plans
from ares_notebook.lab.cache_state import cached_steps
from ares_notebook.lab.choice import Choice
from ares_notebook.quality.report import QualityReport
from ares_notebook.quality.validate import validate_cache
from ares_notebook.runtime.job import Job
from ares_notebook.runtime.progress import Progress, ProgressListener, heard_by
from ares_notebook.runtime.tasks import cancellable

if TYPE_CHECKING:
    from distributed import Client


async def carry_out(
    verb: str, plans: Sequence[Plan], client: Client | None, on_progress: ProgressListener
) -> DownloadReport:
    """Carry out plans as one run of the history, in this process or on a cluster."""
    if client is None:
        work = run_plans(plans, on_progress=on_progress)
    else:
        # Only who has a client has installed what this imports.
        from ares_notebook.scale.cluster import run_plans_on  # noqa: PLC0415

        work = run_plans_on(client, plans, on_progress=on_progress)
    return await record_run(RunInfo.of(verb, *plans), work)


async def validate_choice(
    choice: Choice, on_progress: ProgressListener
) -> tuple[QualityReport, ...]:
    """Validate what the cache holds of a choice: a report a symbol."""
    plans = await quiet_plans(choice.plans)
    counts = [len(await asyncio.to_thread(cached_steps, plan)) for plan in plans]
    reports = []
    for number, plan in enumerate(plans):
        work = cancellable(
            validate_cache,
            *(plan.symbol, plan.interval),
            start=plan.start,
            end=plan.end,
            settings=plan.settings,
            datasets=choice.datasets,
        )
        before = sum(counts[:number])
        with heard_by(partial(_tell_validated, on_progress, before, sum(counts))):
            reports.append(await record_run(RunInfo.of("validate", plan), work))
    return tuple(reports)


def _tell_validated(
    on_progress: ProgressListener, before: int, total: int, progress: Progress
) -> None:
    """Tell how many files of all symbols are validated; *before*, those of earlier symbols."""
    # Files are read again for fingerprints and comparisons, and not counted twice.
    if progress.dataset == "validate":
        done = before + progress.steps_done
        on_progress(replace(progress, steps_done=done, steps_total=total))


async def quiet_plans(make: Callable[[], list[Plan]]) -> list[Plan]:
    """The plans without a progress bar in the output of some cell: the panel has its own."""
    return [
        replace(plan, settings=plan.settings.replace(progress=False))
        for plan in await asyncio.to_thread(make)
    ]


async def end_of(job: Job[object]) -> None:
    """Wait until a job has ended, however, and all that follows it is done."""
    await asyncio.gather(job, return_exceptions=True)
