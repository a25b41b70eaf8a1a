"""What a choice would cost, and what the cache has of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets

from ares_notebook.binance.http import Transport
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.coverage import coverage, find_gaps
from ares_notebook.cache.gap_reasons import EXPLAINED
from ares_notebook.cache.table import in_words
from ares_notebook.download.estimate import Cost
from ares_notebook.download.plan import Plan
from ares_notebook.errors import AresError, BadArgument, NeverDownloaded
from ares_notebook.formatting import block, folded, line, many, size_in_words, table, time_in_words
from ares_notebook.lab.choice import Choice
from ares_notebook.lab.form import Form
from ares_notebook.lab.results import hint_html, problem_html
from ares_notebook.model.datasets import AGG_TRADES, dataset_named
from ares_notebook.plots.coverage import draw_coverage
from ares_notebook.plots.figure import as_svg
from ares_notebook.runtime.job import Job, start
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CacheView",
    "Preview",
    "cache_view_of",
    "cost_of",
    "estimate_html",
    "gaps_html",
    "picture_html",
]

_MOST_ROWS = 12
_GAP_NAMES = ["symbol", "dataset", "interval", "start", "end", "missing", "reason", "note"]


@dataclass(frozen=True, slots=True)
class CacheView:
    """What the cache holds of a choice."""

    # As `coverage` and `find_gaps` return them, of all its symbols; None where there is nothing
    # yet.
    coverage: pd.DataFrame | None
    gaps: pd.DataFrame | None
    # The same in a sentence.
    words: str


def cache_view_of(choice: Choice) -> CacheView:
    """Look into the cache; touches no network."""
    import pandas as pd  # noqa: PLC0415 - the panel shows itself before it looks

    tables, found = [], []
    for symbol in choice.symbols:
        try:
            tables.append(coverage(symbol, choice.interval, settings=choice.settings))
        except NeverDownloaded:
            continue
        found.append(find_gaps(symbol, choice.interval, settings=choice.settings))
    names = ", ".join(choice.symbols)
    if not tables:
        return CacheView(None, None, f"Nothing of {names} is in {choice.settings.cache_dir} yet.")
    whole, gaps = pd.concat(tables, ignore_index=True), pd.concat(found, ignore_index=True)
    return CacheView(whole, gaps, _in_words(names, whole, gaps))


def _in_words(names: str, table: pd.DataFrame, gaps: pd.DataFrame) -> str:
    is_open = ~gaps["reason"].isin(EXPLAINED)
    absent = gaps[~is_open & (gaps["missing"] > 0)]
    held = f"{names}: {len(table):,} files, {int(table['rows'].sum()):,} rows"
    if is_open.any():
        return f"{held}, {many(int(is_open.sum()), 'gap')} to close."
    if absent.empty:
        return f"{held}, complete."
    rows = many(int(absent["missing"].sum()), "row")
    return f"{held}, complete: {rows} missing at the exchange itself ({many(len(absent), 'gap')})."


def picture_html(cache_view: CacheView) -> str:
    """The coverage picture, or the sentence that there is none; suits light and dark."""
    if cache_view.coverage is None:
        return f'<div class="ares-coverage">{line(cache_view.words)}</div>'
    svg = as_svg(draw_coverage(cache_view.coverage), cache_view.words)
    return f'<div class="ares-coverage">{line(cache_view.words)}{svg}</div>'


def gaps_html(cache_view: CacheView) -> str:
    """The gaps as tables: those to be closed, and folded away those that are explained."""
    if cache_view.gaps is None:
        return ""
    is_open = ~cache_view.gaps["reason"].isin(EXPLAINED)
    left, told = cache_view.gaps[is_open], cache_view.gaps[~is_open]
    parts = [_table(left) if len(left) else line("No gap is left to close.")]
    if len(told):
        parts.append(folded(f"Explained by the exchange: {len(told):,}", _table(told)))
    return f'<div class="ares-gaps">{"".join(parts)}</div>'


def _table(gaps: pd.DataFrame) -> str:
    rows = in_words(gaps.head(_MOST_ROWS), _GAP_NAMES).to_numpy().tolist()
    more = len(gaps) - _MOST_ROWS
    symbol = gaps["symbol"].iloc[0]
    hint = f'… and {more:,} more: ares.find_gaps("{symbol}", settings=panel.settings)'
    return table(_GAP_NAMES, rows, numbers=("missing",)) + (line(hint) if more > 0 else "")


_NAMES = ("", "files", "there already", "rows to come", "to fetch", "on disk", "requests")


def cost_of(plans: Sequence[Plan]) -> Cost:
    """The cost of all *plans*, which are of one choice."""
    steps = [step for plan in plans for step in plan.steps]
    return Cost.of(steps, plans[0].settings)


def estimate_html(plans: Sequence[Plan], notes: Sequence[str] = ()) -> str:
    """The cost as a table with a line a dataset, and in all."""
    whole, settings = cost_of(plans), plans[0].settings
    steps = [step for plan in plans for step in plan.steps]
    names = dict.fromkeys(step.file.dataset.name for step in steps)
    parts = [
        (
            dataset_named(name).title,
            Cost.of((s for s in steps if s.file.dataset.name == name), settings),
        )
        for name in names
    ]
    lines = [*parts, ("In all", whole)] if len(parts) > 1 else parts
    rows = [(label, *_numbers(cost)) for label, cost in lines]
    told = table(_NAMES, rows, numbers=_NAMES[1:])
    return block(_headline(whole), told, line(_free_room(whole, settings)), *map(line, notes))


def _headline(cost: Cost) -> str:
    if not cost.files_to_do:
        return f"Nothing to fetch: all {cost.files:,} files are there"
    return (
        f"To fetch: {cost.files_to_do:,} of {cost.files:,} files, about {cost.rows:,} rows, "
        f"in about {time_in_words(cost.seconds)}"
    )


def _numbers(cost: Cost) -> tuple[str, ...]:
    return (
        f"{cost.files:,}",
        f"{cost.files_there:,}",
        f"{cost.rows:,}",
        size_in_words(cost.bytes_received),
        size_in_words(cost.bytes_stored),
        f"{cost.requests:,}",
    )


def _free_room(cost: Cost, settings: Settings) -> str:
    free = f"{size_in_words(_free_bytes(settings.cache_dir))} free in {settings.cache_dir}"
    weight = f"Request weight about {cost.weight:,}; " if cost.weight else ""
    return f"{weight}{free}."


def _free_bytes(folder: Path) -> int:
    """Of the disk on which *folder* is, or will be."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


# Who types is not answered at every letter.
_PAUSE_SECONDS = 0.25
# A list that makes typing easier is not worth the patience of a download.
_HURRY = {"max_retries": 0, "request_timeout_seconds": 10.0, "progress": False}


class Preview:
    """
    Keeps four views in step with the form: cost, coverage, gaps, and the code.

    A change makes what is under way stop, so that an old choice never overwrites the answer to a
    newer one.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._looking: Job[None] | None = None
        self._listing: Job[None] | None = None
        self._listed = ""
        self.hint = widgets.HTML()
        self.estimate = widgets.HTML()
        self.estimate.add_class("ares-estimate")
        self.picture, self.gaps = widgets.HTML(), widgets.HTML()
        self.code = widgets.Textarea(description="Code that does the same")
        self.code.add_class("ares-code")

    def begin(self) -> None:
        """Show everything at once, then follow the form."""
        choice = self._choice()
        if choice is not None:
            try:
                self._show_cost(choice.plans())
                self._show(*_drawn(choice))
            except AresError as error:
                self.estimate.value = problem_html(error)
            self._list_symbols(choice.settings)
        self._form.on_change(self.renew)

    def renew(self) -> None:
        """Look again, in the background; whatever was being looked at is left."""
        if self._looking is not None:
            self._looking.cancel()
        try:
            choice = self._choice()
        except Exception as error:  # noqa: BLE001 - a border: a callback's error is seen nowhere else
            self.estimate.value = problem_html(error)
            return
        if choice is not None:
            self._looking = start(self._look(choice))
            self._looking.then(self._looked)

    def close(self) -> None:
        """Stop looking."""
        for job in filter(None, (self._looking, self._listing)):
            job.cancel()

    async def show(self, choice: Choice) -> list[Plan]:
        """Say what is left to do and draw what is there, read in a thread; the plans."""
        plans = await asyncio.to_thread(choice.plans)
        self._show_cost(plans)
        self._show(*await asyncio.to_thread(_drawn, choice))
        return list(plans)

    def _show(self, picture: str, gaps: str) -> None:
        self.picture.value, self.gaps.value = picture, gaps

    def _choice(self) -> Choice | None:
        """What the form says, with its code; None, and words in its place, where it cannot be meant."""
        try:
            choice = self._form.choice()
            code = choice.code()
        except BadArgument as error:
            self.estimate.value = problem_html(error)
            self.code.value = ""
            return None
        self.code.value = code
        self.code.rows = code.count("\n") + 1
        return choice

    async def _look(self, choice: Choice) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        self._list_symbols(choice.settings)
        plans = await self.show(choice)
        if AGG_TRADES.name in choice.datasets:
            # Only of trades the estimate may be far off: coins differ by a thousand times.
            self._show_cost([await _hurried(plan).measure() for plan in plans])

    def _looked(self, job: Job[None]) -> None:
        """An error is shown, unless somebody looks at something newer by now."""
        if job.error is not None and job is self._looking:
            self.estimate.value = problem_html(job.error)

    def _show_cost(self, plans: Sequence[Plan]) -> None:
        unknown = self._form.unknown([plan.symbol for plan in plans])
        notes = [f"{each} is not among the symbols that trade there today." for each in unknown]
        self.estimate.value = estimate_html(plans, notes)

    def _list_symbols(self, settings: Settings) -> None:
        """Let the exchange say what it trades, once a source."""
        if settings.spot_url == self._listed:
            return
        self._listed = settings.spot_url
        if self._listing is not None:
            self._listing.cancel()
        self._form.offer(())
        self._listing = start(self._list(settings))

    async def _list(self, settings: Settings) -> None:
        self.hint.value = ""
        try:
            async with Transport(settings.model_copy(update=_HURRY)) as transport:
                self._form.offer(await Rest(transport).symbols())
        except AresError as error:
            # Asked again at the next change: the exchange may be there by then.
            self._listed = ""
            words = f"The list of symbols could not be had, so type yours: {error}"
            self.hint.value = hint_html(words)


def _hurried(plan: Plan) -> Plan:
    return replace(plan, settings=plan.settings.model_copy(update=_HURRY))


def _drawn(choice: Choice) -> tuple[str, str]:
    cache_view = cache_view_of(choice)
    return picture_html(cache_view), gaps_html(cache_view)
