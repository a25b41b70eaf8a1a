"""What the cache holds and lacks of a choice: of its symbols, datasets, interval and window alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from ares_notebook.cache.coverage import coverage, find_gaps
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import EXPLAINED, NOT_DOWNLOADED
from ares_notebook.cache.spans import Scope, nothing_cached
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.plan import Plan
from ares_notebook.download.repair import plan_repair
from ares_notebook.errors import NeverDownloaded
from ares_notebook.formatting import many
from ares_notebook.lab.choice import Choice

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class CacheState:
    """The files of a choice as they are in the cache; made from its plans, so that all counts agree."""

    choice: Choice
    steps: tuple[Step, ...]
    # As `coverage` and `find_gaps` return them.
    files: pd.DataFrame
    gaps: pd.DataFrame

    @classmethod
    def of(cls, choice: Choice, plans: Sequence[Plan]) -> Self:
        """Read the cache for *plans*, those of *choice*; sends no request."""
        import pandas as pd  # noqa: PLC0415 - slow to import, and the panel is shown before

        files = [_files(plan) for plan in plans]
        gaps = [gaps for plan in plans for gaps in _gaps(plan)]
        return cls(
            choice,
            tuple(step for plan in plans for step in plan.steps),
            pd.concat(files, ignore_index=True),
            pd.concat(gaps, ignore_index=True) if gaps else pd.DataFrame(),
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it was ever downloaded."""
        return self.files.empty

    @property
    def is_complete(self) -> bool:
        """Whether every row is there, or proven absent."""
        return self._complete == len(self.steps) and self.left.empty

    @property
    def left(self) -> pd.DataFrame:
        """The gaps that no proof explains."""
        return self.gaps if self.gaps.empty else self.gaps[~self.gaps["reason"].isin(EXPLAINED)]

    @property
    def explained(self) -> pd.DataFrame:
        """The gaps that the exchange has explained."""
        return self.gaps if self.gaps.empty else self.gaps[self.gaps["reason"].isin(EXPLAINED)]

    @property
    def counts(self) -> str:
        """How many of its files are complete, and what is left to do."""
        rows = sum(step.entry.facts.rows for step in self.steps)
        words = f"{self._complete:,} of {many(len(self.steps), 'file')} complete, {rows:,} rows"
        if not self.left.empty:
            return f"{words}; {many(len(self.left), 'gap')} to close"
        absent = self.explained
        count = 0 if absent.empty else int(absent["missing"].sum())
        return f"{words}; {many(count, 'row')} missing at the exchange itself" if count else words

    def __str__(self) -> str:
        if self.is_empty:
            return f"Nothing of {self.choice} is in {self.choice.settings.cache_dir} yet."
        return f"{self.choice}: {self.counts}."

    @property
    def _complete(self) -> int:
        return sum(
            step.action == "skip" and not step.entry.unexplained(step.until_ms)
            for step in self.steps
        )


def only(datasets: Sequence[str], plans: Sequence[Plan]) -> list[Plan]:
    """The same plans with the steps of *datasets* alone."""
    return [
        replace(
            plan,
            steps=tuple(step for step in plan.steps if step.file.dataset.name in datasets),
        )
        for plan in plans
    ]


def cached_steps(plan: Plan) -> list[Step]:
    """The steps of the series of which the cache has a file."""
    cached = {file.series for file in Store(plan.settings).files(plan.symbol)}
    return [step for step in plan.steps if step.file.series in cached]


def _repair_plan(plan: Plan) -> Plan:
    """
    What closes the gaps of what is there of *plan*, from the first file of each series to its last.

    Raises `NeverDownloaded` if nothing is there.
    """
    inside = [step for steps in _by_dataset(plan) for step in _from_first_to_last(steps)]
    if not inside:
        scope = Scope.of(plan.symbol, plan.interval, _names(plan))
        raise nothing_cached(Store(plan.settings), scope)
    names = {step.file.name for step in inside}
    made = plan_repair(
        plan.symbol,
        plan.interval,
        start=min(step.file.period.start for step in inside),
        end=min(plan.end, max(step.file.period.end for step in inside)),
        settings=plan.settings,
        datasets=_names(plan),
    )
    return replace(made, steps=tuple(step for step in made.steps if step.file.name in names))


def repair_plans(plans: Sequence[Plan]) -> list[Plan]:
    """
    The repairs of all symbols of which anything is there.

    Raises `NeverDownloaded` if there is nothing of any.
    """
    found, lacking = [], []
    for plan in plans:
        try:
            found.append(_repair_plan(plan))
        except NeverDownloaded as error:
            lacking.append(error)
    if not found:
        raise lacking[0]
    return found


def _names(plan: Plan) -> list[str]:
    return [steps[0].file.dataset.name for steps in _by_dataset(plan)]


def _by_dataset(plan: Plan) -> list[list[Step]]:
    steps: dict[str, list[Step]] = {}
    for step in plan.steps:
        steps.setdefault(step.file.dataset.name, []).append(step)
    return [*steps.values()]


def _from_first_to_last(steps: Sequence[Step]) -> Sequence[Step]:
    """The steps from the first file that was ever downloaded to the last."""
    known = [at for at, step in enumerate(steps) if _is_known(step.entry)]
    return steps[known[0] : known[-1] + 1] if known else ()


def _is_known(entry: CacheEntry) -> bool:
    """Whether it was ever asked for."""
    return bool(entry.on_disk or entry.absences or entry.recorded_rows or entry.trouble)


def _files(plan: Plan) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - as above

    names = {step.file.name for step in plan.steps}
    start = min(step.file.period.start for step in plan.steps)
    try:
        table = coverage(
            *(plan.symbol, plan.interval),
            start=start,
            end=plan.end,
            settings=plan.settings,
            datasets=_names(plan),
        )
    except NeverDownloaded:
        return pd.DataFrame()
    return table[table["file"].isin(names)]


def _gaps(plan: Plan) -> Iterator[pd.DataFrame]:
    """The gaps from the start of the first file of each dataset, which is taken whole, to the end."""
    import pandas as pd  # noqa: PLC0415 - as above

    cached = {step.file.series for step in cached_steps(plan)}
    for steps in _by_dataset(plan):
        series, start = steps[0].file.series, steps[0].file.period.start
        if series in cached:
            yield find_gaps(
                *(plan.symbol, plan.interval),
                start=start,
                end=plan.end,
                settings=plan.settings,
                datasets=[series.dataset.name],
            )
        else:
            row = {
                "dataset": series.dataset.name,
                "symbol": series.symbol,
                "interval": series.interval or "",
                "start": start,
                "end": plan.end,
                "missing": pd.NA,
                "reason": NOT_DOWNLOADED,
                "note": "",
            }
            yield pd.DataFrame([row]).astype({"missing": "Int64"})
