"""Carry out several plans as one: one after the other, with one progress and one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ares_notebook.errors import AresError
from ares_notebook.work.carry_out import carry_out
from ares_notebook.work.cost import Cost
from ares_notebook.work.plan import Plan
from ares_notebook.work.progress import Part, Progress, ProgressListener
from ares_notebook.work.report import DownloadReport, told

__all__ = ["carry_out_all"]


async def carry_out_all(
    plans: Sequence[Plan], *, on_progress: ProgressListener | None = None
) -> DownloadReport:
    """
    Do what *plans* say, one after the other; a plan that fails as a whole does not stop the others.

    Parameters
    ----------
    plans : sequence of Plan
    on_progress : callable, optional
        Told of all plans together.

    Returns
    -------
    DownloadReport
        Of all plans. Where one could not be begun (an unknown symbol, a folder that
        cannot be written) its steps have failed with that error.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, plan_downloads, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     plans = [plan_downloads(symbol, "1d", 1, end="2025-01-01", settings=settings, datasets=["klines"])
    ...              for symbol in ("BTCUSDT", "ETHUSDT")]
    ...     run(carry_out_all(plans)).rows_written
    732
    """
    course = _Course(plans, on_progress)
    reports = []
    for plan in plans:
        try:
            reports.append(await carry_out(plan, on_progress=course.hear))
        except AresError as error:
            reports.append(_failed(plan, error))
        course.end()
    return DownloadReport.joined(reports)


def _failed(plan: Plan, error: AresError) -> DownloadReport:
    steps = plan.to_do or plan.steps
    return DownloadReport(tuple(told(step, missing=len(step.holes), error=error) for step in steps))


class _Course:
    """How far all plans are, told whenever one of them says how far it is."""

    def __init__(self, plans: Sequence[Plan], listener: ProgressListener | None) -> None:
        self._listener = listener
        self._waiting = [_expected(plan) for plan in plans]
        self._now = self._waiting[0]
        self._done: list[Progress] = []

    def hear(self, progress: Progress) -> None:
        self._now = progress
        if self._listener is not None:
            self._listener(_sum([*self._done, progress, *self._waiting[len(self._done) + 1 :]]))

    def end(self) -> None:
        self._done.append(self._now)
        if len(self._done) < len(self._waiting):
            self._now = self._waiting[len(self._done)]


def _expected(plan: Plan) -> Progress:
    """The progress of a plan that has not begun."""
    names = dict.fromkeys(step.file.dataset.name for step in plan.to_do)
    by_name = {
        name: [step for step in plan.to_do if step.file.dataset.name == name] for name in names
    }
    parts = tuple(
        Part(name, 0, len(steps), bytes_expected=Cost.of(steps, plan.settings).bytes_received)
        for name, steps in by_name.items()
    )
    total = len(plan.to_do)
    return Progress(plan.symbol, "", "", 0, total, 0, 0, 0, plan.bytes_received, 0.0, parts)


def _sum(every: Sequence[Progress]) -> Progress:
    """All together; what is under way is told by the last that has begun."""
    begun = [each for each in every if each.seconds] or every[:1]
    names = dict.fromkeys(part.dataset for each in every for part in each.parts)
    parts = {
        name: [part for each in every for part in each.parts if part.dataset == name]
        for name in names
    }
    return replace(
        begun[-1],
        **_sums(every, (*_COUNTS, "requests", "seconds")),
        parts=tuple(Part(name, **_sums(of_name, _COUNTS)) for name, of_name in parts.items()),
    )


_COUNTS = ("steps_done", "steps_total", "rows", "bytes_received", "bytes_expected")


def _sums(every: Sequence[Progress | Part], names: Sequence[str]) -> dict[str, Any]:
    return {name: sum(getattr(each, name) for each in every) for name in names}
