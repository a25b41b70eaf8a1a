"""Carry out a plan: each step fails alone, and the report tells of all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.lock import locked, sweep
from ares_notebook.cache.store import Store
from ares_notebook.errors import (
    AresError,
    DataError,
    NotEnoughDisk,
    TransportError,
    UnknownSymbol,
)
from ares_notebook.exchange.archive import Archive
from ares_notebook.exchange.meter import Meter, metered
from ares_notebook.exchange.rest import Rest
from ares_notebook.exchange.transport import Transport
from ares_notebook.market.datasets import AGG_TRADES, FUTURES
from ares_notebook.market.holes import find_holes, is_final, unexplained
from ares_notebook.market.periods import Period, utc
from ares_notebook.market.series import Series
from ares_notebook.work.decide import Step, decide
from ares_notebook.work.draft import Draft
from ares_notebook.work.fill import Roads, fill
from ares_notebook.work.plan import Plan, make_plan
from ares_notebook.work.progress import Progress, ProgressListener, Teller, shown
from ares_notebook.work.report import DownloadReport, StepReport
from ares_notebook.work.sizes import check_disk

__all__ = ["carry_out"]

_LOGGER = logging.getLogger("DataDownloader")
# An end this near to now may be later than the exchange's own now.
_CLOCK_DOUBT = timedelta(days=1)
_MOST_TOLD = 3
_NO_PERPETUAL = "there is no perpetual of this name"


async def carry_out(plan: Plan, *, on_progress: ProgressListener | None = None) -> DownloadReport:
    """
    Do what *plan* says.

    Where it has nothing to do, no request is made.

    Parameters
    ----------
    plan : Plan
    on_progress : callable, optional

    Returns
    -------
    DownloadReport
    """
    began = time.monotonic()
    store = Store(plan.settings)
    forgotten = [step for step in plan.steps if _is_forgotten(step)]
    if plan.to_do or forgotten:
        store.prepare()
        sweep(store)
    for step in forgotten:
        await _remember(step, store)
    with shown(plan.settings, on_progress) as listener:
        work = _Work(plan, store, Teller(listener), began)
        if plan.to_do:
            async with Transport(plan.settings) as transport:
                await work.do(transport)
    return work.report()


def _is_forgotten(step: Step) -> bool:
    """Whether a file is complete and its receipt lost, or written for other times."""
    have = step.have
    return step.action == "skip" and have.path is not None and not have.is_remembered


async def _remember(step: Step, store: Store) -> None:
    """Write the receipt of a file that had to be looked into, so that the next run need not."""
    async with locked(store, step.file):
        have = await asyncio.to_thread(store.have, step.file)
        if have.path is None or have.problem is not None or have.legacy:
            return
        final = is_final(step.file, have.facts, have.absences, step.until_ms)
        await asyncio.to_thread(store.note, have, final=final)


@dataclass(slots=True)
class _Work:
    """One plan under way: what is shared by its steps, and what has become of them."""

    plan: Plan
    store: Store
    teller: Teller
    began: float
    overhead: Meter = field(default_factory=Meter)
    notes: list[str] = field(default_factory=list)
    results: dict[str, StepReport] = field(default_factory=dict)
    meters: list[Meter] = field(default_factory=list)
    failures: int = 0

    async def do(self, transport: Transport) -> None:
        """Learn what must be known first, then carry out the steps side by side."""
        roads = Roads(Archive(transport, self.store.folder), Rest(transport))
        with metered(self.overhead):
            await self._settle(roads)
            refused = await self._check_size(roads)
        # K-lines and funding go first, trades follow as places become free; of each
        # the newest first, so that a wrong wish shows at once.
        steps = sorted(self.plan.to_do, key=lambda step: step.file.dataset is AGG_TRADES)
        places = asyncio.Semaphore(self.plan.settings.max_concurrency)
        async with asyncio.TaskGroup() as group:
            for step in _bounds_first(steps):
                if step.file.name in refused:
                    self.results[step.file.name] = _failed(step, refused[step.file.name])
                else:
                    group.create_task(self._step(step, roads, places))
        self.notes += roads.rest.notes
        self._tell(None, at_once=True)

    async def _settle(self, roads: Roads) -> None:
        """Ask for clock, symbol and perpetual, where the plan depends on them."""
        if self.plan.settings.source != "archive":
            await self._settle_clock(roads.rest)
        await self._settle_symbol(roads)
        await self._settle_perpetual(roads)

    async def _settle_clock(self, rest: Rest) -> None:
        """Let the exchange say what is closed, where the end is near to our own now."""
        if datetime.now(UTC) - self.plan.end > _CLOCK_DOUBT:
            return
        try:
            now = utc(await rest.server_time_ms())
        except (TransportError, DataError) as error:
            self._note(f"the exchange's clock could not be asked, so ours is trusted: {error}")
            return
        if now < self.plan.end:
            plan = self.plan
            names = tuple(dict.fromkeys(step.file.dataset.name for step in plan.steps))
            window = Period(plan.start, now)
            self.plan = make_plan(plan.symbol, plan.interval, window, plan.settings, names)

    async def _settle_symbol(self, roads: Roads) -> None:
        """
        Make sure that the symbol exists, once, instead of failing at every file.

        A delisted one is unknown to the API and still in the archive.
        """
        spot = [step for step in self.plan.to_do if step.file.dataset.market == "spot"]
        if not spot:
            return
        await self._check_symbol(spot[0].file.series, roads)

    async def _check_symbol(self, series: Series, roads: Roads) -> None:
        source = self.plan.settings.source
        try:
            known = source != "archive" and await roads.rest.knows(self.plan.symbol)
        except (TransportError, DataError) as error:
            self._note(
                f"the exchange could not be asked whether it knows {self.plan.symbol}: {error}"
            )
            return
        if known or (source != "rest" and await roads.archive.has_any(series)):
            return
        msg = (
            f"{self.plan.symbol} is not known to the exchange, and its archive has nothing of it; "
            f"check the spelling, such as BTCUSDT"
        )
        raise UnknownSymbol(msg)

    async def _settle_perpetual(self, roads: Roads) -> None:
        """Without a perpetual of this name there are no funding steps, and that is no failure."""
        steps = [step for step in self.plan.to_do if step.file.dataset is FUTURES]
        if not steps or await self._has_perpetual(steps[0].file.series, roads):
            return
        only_futures = all(step.file.dataset is FUTURES for step in self.plan.steps)
        if only_futures:
            # Nobody has looked yet whether the symbol exists at all.
            await self._check_symbol(Series.of("klines", self.plan.symbol, "1d"), roads)
        self.notes.append(f"{self.plan.symbol}: {_NO_PERPETUAL}, so it has no funding rates")
        # The archive alone cannot know of a perpetual that is listed since this month.
        evidence = "archive" if self.plan.settings.source == "archive" else _NO_PERPETUAL
        for step in steps:
            with Draft(step, self.store) as draft:
                draft.confirm_absent(step.holes, evidence)
                await draft.commit()
        kept = tuple(step for step in self.plan.steps if step.file.dataset is not FUTURES)
        self.plan = replace(self.plan, steps=() if only_futures else kept)

    async def _has_perpetual(self, series: Series, roads: Roads) -> bool:
        source = self.plan.settings.source
        if source != "rest" and await roads.archive.has_any(series):
            return True
        try:
            return source != "archive" and await roads.rest.has_perpetual(series.symbol)
        except (TransportError, DataError) as error:
            self._note(f"the exchange could not be asked for a perpetual {series.symbol}: {error}")
            return True

    async def _check_size(self, roads: Roads) -> dict[str, NotEnoughDisk]:
        """Know the sizes before anything large is fetched; the trades that do not fit are refused."""
        if self.plan.settings.source != "rest":
            self.plan = await self.plan.measured_by(roads.archive)
        try:
            check_disk(self.plan.to_do, self.plan.settings)
        except NotEnoughDisk as error:
            trades = [step for step in self.plan.to_do if step.file.dataset is AGG_TRADES]
            return {step.file.name: error for step in trades}
        return {}

    async def _step(self, step: Step, roads: Roads, places: asyncio.Semaphore) -> None:
        """One file; its failure is noted, and stops nobody else."""
        async with places:
            meter = Meter(on_change=lambda: self._tell(step))
            self.meters.append(meter)
            with metered(meter):
                try:
                    result = await self._carry_out(step, roads)
                except AresError as error:
                    result = _failed(step, error)
                except OSError as error:
                    # A disk that is full while a zip waits to be checked.
                    result = _failed(step, cannot_access(self.store.folder, error))
            if result.error is not None:
                # A host that is down fails a thousand files; the report tells of all.
                self.failures += 1
                level = logging.ERROR if self.failures <= _MOST_TOLD else logging.DEBUG
                _LOGGER.log(level, "%s failed: %s", step.file.name, result.error)
            requests, received = meter.requests, meter.bytes_received
            self.results[step.file.name] = replace(
                result, requests=requests, bytes_received=received
            )
            self._tell(step)

    async def _carry_out(self, step: Step, roads: Roads) -> StepReport:
        async with locked(self.store, step.file):
            # Another process may have done it while we waited for the lock.
            have = await asyncio.to_thread(self.store.have, step.file)
            now = decide(have, step.until_ms, self.plan.settings.source)
            if now.action == "skip":
                return _skipped(now)
            with Draft(now, self.store) as draft:
                problem = await fill(draft, now, roads)
                new_rows = draft.new_rows
                await draft.commit()
                missing = len(draft.holes(by_rest=True))
            return _told(now, rows=new_rows, missing=missing, error=problem)

    def report(self) -> DownloadReport:
        """What became of all steps, in the plan's order."""
        steps = tuple(
            self.results.get(step.file.name) or _skipped(step) for step in self.plan.steps
        )
        return DownloadReport(
            steps,
            time.monotonic() - self.began,
            tuple(self.notes),
            self.overhead.requests,
            self.overhead.bytes_received,
        )

    def _note(self, note: str) -> None:
        _LOGGER.warning("%s", note)
        self.notes.append(note)

    def _tell(self, step: Step | None, *, at_once: bool = False) -> None:
        def progress() -> Progress:
            return Progress(
                symbol=self.plan.symbol,
                dataset=step.file.dataset.name if step else "",
                file_name=step.file.name if step else "",
                steps_done=len(self.results),
                steps_total=len(self.plan.to_do),
                rows=sum(result.rows for result in self.results.values()),
                requests=sum(meter.requests for meter in self.meters),
                bytes_received=sum(meter.bytes_received for meter in self.meters),
                bytes_expected=self.plan.bytes_received,
                seconds=time.monotonic() - self.began,
            )

        self.teller.tell(progress, at_once=at_once)


def _bounds_first(steps: Sequence[Step]) -> Iterable[Step]:
    """The newest and the oldest of each dataset first, then the others, newest first."""
    by_dataset: dict[str, list[Step]] = {}
    for step in steps:
        by_dataset.setdefault(step.file.dataset.name, []).append(step)
    for group in by_dataset.values():
        yield from [group[-1], *group[:1], *reversed(group[1:-1])][: len(group)]


def _told(
    step: Step, *, rows: int = 0, missing: int = 0, error: AresError | None = None
) -> StepReport:
    return StepReport(
        step.file.dataset.name,
        step.file.name,
        step.action,
        step.reason,
        rows=rows,
        missing=missing,
        error=error,
    )


def _failed(step: Step, error: AresError) -> StepReport:
    return _told(step, missing=len(step.holes), error=error)


def _skipped(step: Step) -> StepReport:
    holes = find_holes(step.file, step.have.facts, step.until_ms)
    left = unexplained(step.file, holes, step.have.absences, by_rest=True)
    return _told(step, missing=len(left))
