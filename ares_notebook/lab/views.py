"""What the panel shows of a choice: its cost, coverage, gaps and code; and the same as static HTML."""

from __future__ import annotations

import asyncio
import traceback
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from textwrap import shorten
from typing import TYPE_CHECKING

import ipywidgets as widgets

from ares_notebook.binance.http import Transport
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.table import in_words
from ares_notebook.download.decide import Step
from ares_notebook.download.estimate import Cost, free_bytes, needed_bytes
from ares_notebook.download.plan import Plan
from ares_notebook.errors import AresError
from ares_notebook.formatting import (
    block,
    folded,
    line,
    many,
    size_in_words,
    table,
    text,
    time_in_words,
)
from ares_notebook.lab.cache_state import CacheState, only
from ares_notebook.lab.choice import Choice, has_interval
from ares_notebook.lab.form import Form, problem_html
from ares_notebook.model.datasets import dataset_named
from ares_notebook.model.markets import Market
from ares_notebook.model.window import window_in_words
from ares_notebook.quality.calendar import coverage_svg
from ares_notebook.runtime.job import Job, start
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

# --- the choice, in words ---


def choice_text(choice: Choice) -> str:
    """The choice in a line."""
    end = f", end {choice.end:%Y-%m-%d}" if choice.end else ""
    return f"{choice}, {choice.lookback}{end}: {titles(choice.datasets)}"


def choice_html(choice: Choice, *shown: str) -> str:
    """The panel as static HTML, for pages where widgets do not run."""
    rows = [
        ("Market", choice.market.label),
        ("Symbols", ", ".join(choice.symbols)),
        *([("Interval", choice.interval)] if has_interval(choice.datasets) else []),
        ("Window", window_in_words(*choice.window)),
        ("Datasets", titles(choice.datasets)),
        ("Cache folder", choice.settings.cache_dir),
    ]
    code = folded("Code that does the same", f"<pre>{text(choice.code())}</pre>")
    note = line("Run the cell to use the panel: this is its static view.")
    return block("Download panel", table(("asked for", "value"), rows), *shown, code, note)


def titles(datasets: Sequence[str]) -> str:
    """Datasets as the form names them."""
    return ", ".join(dataset_named(name).title for name in datasets)


def error_html(error: BaseException) -> str:
    """An error as an alert; the traceback, folded, only of an error that is not ours."""
    if isinstance(error, AresError):
        # It says what to do.
        return problem_html(str(error) or type(error).__name__)
    trace = "".join(traceback.format_exception(error))
    details = folded("Traceback", f"<pre>{text(trace)}</pre>")
    return f"{problem_html(f'{type(error).__name__}: {error}')}{details}"


# --- what the choice costs ---

# A smaller one is not told in percent.
_SMALL_SHARE = 0.01
_COST_NAMES = (
    "dataset",
    "files",
    "there already",
    "rows to come",
    "to fetch",
    "on disk",
    "requests",
)


def _cost_html(plans: Sequence[Plan], fitting: Sequence[str]) -> str:
    """The cost as a table with one row per dataset, and their sum; an alert if it does not fit."""
    settings = plans[0].settings
    steps = [step for plan in plans for step in plan.steps]
    by_title = {dataset_named(name).title: own for name, own in _by_dataset(steps).items()}
    if len(by_title) > 1:
        by_title["In all"] = steps
    rows = [(title, *_cost_cells(Cost.of(own, settings))) for title, own in by_title.items()]
    costs = table(_COST_NAMES, rows, numbers=_COST_NAMES[1:])
    whole = Cost.of(steps, settings)
    too_large = [name for name in _by_dataset(steps) if name not in fitting]
    room = _too_large(too_large, steps, settings) if too_large else _room(whole, settings)
    bar = _room_bar(steps, settings)
    return block(_headline(whole, steps, plans[0]), costs, bar, room if too_large else line(room))


def _headline(cost: Cost, steps: Sequence[Step], plan: Plan) -> str:
    if not cost.files_to_do:
        there = "the file is" if cost.files == 1 else f"all {cost.files:,} files are"
        return f"Nothing to fetch: {there} there"
    first = min(step.file.period.start for step in steps)
    widened = f"; whole files, from {first:%Y-%m-%d}" if first < plan.start else ""
    return (
        f"To fetch: {cost.files_to_do:,} of {many(cost.files, 'file')}, about {cost.rows:,} rows, "
        f"in about {time_in_words(cost.seconds)}{widened}"
    )


def _cost_cells(cost: Cost) -> tuple[str, ...]:
    return (
        f"{cost.files:,}",
        f"{cost.files_there:,}",
        f"{cost.rows:,}",
        size_in_words(cost.bytes_received),
        size_in_words(cost.bytes_stored),
        f"{cost.requests:,}",
    )


def _room(cost: Cost, settings: Settings) -> str:
    if cost.files_to_do:
        # The bar tells the rest.
        return f"Request weight about {cost.weight:,}." if cost.weight else ""
    return f"{size_in_words(free_bytes(settings))} free in {settings.cache_dir}."


def _room_bar(steps: Sequence[Step], settings: Settings) -> str:
    """How much of the free disk is needed, as a bar; nothing where nothing is needed."""
    needed, free = needed_bytes(steps, settings), free_bytes(settings)
    if not needed:
        return ""
    share = needed / max(free, 1)
    percent = f"{share:.0%}" if share >= _SMALL_SHARE else "less than 1%"
    words = (
        f"{size_in_words(needed)} of {size_in_words(free)} free in {settings.cache_dir} ({percent})"
    )
    kind = " ares-full" if share > 1 else ""
    return (
        f'<div class="ares-room{kind}"><span class="ares-room-bar" aria-hidden="true">'
        f'<span style="width:{min(share, 1):.1%}"></span></span> {text(words)}</div>'
    )


def _size_in_words(steps: Sequence[Step], settings: Settings) -> str:
    cost = Cost.of(steps, settings)
    return f"about {size_in_words(cost.bytes_stored)}" if cost.files_to_do else "all there"


def _too_large(names: Sequence[str], steps: Sequence[Step], settings: Settings) -> str:
    needed = size_in_words(needed_bytes(steps, settings))
    return problem_html(
        f"It does not fit the disk: about {needed} are needed, and {settings.cache_dir} has "
        f"{size_in_words(free_bytes(settings))} free. Choose a shorter lookback or another "
        f"folder, or leave out {titles(names)}."
    )


def _by_dataset(steps: Sequence[Step]) -> dict[str, list[Step]]:
    by_name: dict[str, list[Step]] = {}
    for step in steps:
        by_name.setdefault(step.file.dataset.name, []).append(step)
    return by_name


def _fitting(plans: Sequence[Plan]) -> tuple[str, ...]:
    """The datasets, smallest first, that fit the disk together."""
    settings = plans[0].settings
    by_name = _by_dataset([step for plan in plans for step in plan.steps])
    needed = {name: needed_bytes(steps, settings) for name, steps in by_name.items()}
    free, fitting = free_bytes(settings), []
    for name in sorted(needed, key=needed.__getitem__):
        free -= needed[name]
        if free >= 0 or not needed[name]:
            fitting.append(name)
    return tuple(name for name in by_name if name in fitting)


# --- what the cache holds of the choice ---

_MOST_GAPS = 12
# A failure is told in full beside the work, and by `find_gaps`.
_LONGEST_NOTE = 110
_GAP_NAMES = ["symbol", "dataset", "interval", "start", "end", "missing", "reason", "note"]


def _picture_prefix(words: str) -> str:
    """The beginning of ids that no other picture of a notebook has, the same for the same choice."""
    return f"map{zlib.crc32(words.encode()):08x}"


def _coverage_html(state: CacheState) -> str:
    words = str(state)
    picture = ""
    if not state.is_empty:
        picture = coverage_svg(state.files, state.gaps, prefix=_picture_prefix(words))
    return f'<div class="ares-coverage">{line(words)}{picture}</div>'


def _gaps_html(state: CacheState) -> str:
    """The gaps that can be closed, and folded those that are explained."""
    if state.is_empty:
        return ""
    left, explained = state.left, state.explained
    closed = line("No gap is left to close.")
    parts = [_gap_table(left, state.choice) if len(left) else closed]
    if len(explained):
        summary = f"Explained by the exchange: {many(len(explained), 'gap')}"
        parts.append(folded(summary, _gap_table(explained, state.choice)))
    return f'<div class="ares-gaps">{"".join(parts)}</div>'


def _gap_table(gaps: pd.DataFrame, choice: Choice) -> str:
    # The symbol stands above the picture, unless there are several.
    names = _GAP_NAMES if len(choice.symbols) > 1 else _GAP_NAMES[1:]
    shown = in_words(gaps.head(_MOST_GAPS), names)
    rows = [
        [*cells, shorten(note, _LONGEST_NOTE, placeholder=" …")]
        for *cells, note in shown.to_numpy().tolist()
    ]
    more = len(gaps) - _MOST_GAPS
    symbol = gaps["symbol"].iloc[0]
    hint = f'… and {more:,} more: ares.find_gaps("{symbol}", settings=panel.settings)'
    return table([*map(str, shown)], rows, numbers=("missing",)) + (line(hint) if more > 0 else "")


# --- the code ---


def code_html(code: str) -> str:
    """Code with a button that copies it."""
    # What it does is in panel.js.
    button = '<button type="button" class="jupyter-button ares-copy">Copy</button>'
    return f"{button}<pre>{text(code)}</pre>"


# Between the last change of the form and the answer to it.
_PAUSE_SECONDS = 0.25
# What only makes typing easier, or an estimate better, is not worth a long wait.
_IMPATIENT = {"max_retries": 0, "request_timeout_seconds": 10.0, "progress": False}


class Preview:
    """Cost, coverage, gaps and code of the form's choice; a change cancels the work for the one before."""

    def __init__(self, form: Form, keep: Callable[[Choice], Awaitable[None]]) -> None:
        # *keep* is called with each new choice that can be meant.
        self._form, self._keep = form, keep
        self._renewal: Job[None] | None = None
        self._listing: Job[None] | None = None
        self._listed: tuple[str, str] | None = None
        self._calls: list[Callable[[], object]] = []
        # None while a field has a wrong value.
        self.choice: Choice | None = None
        # The datasets of the choice that fit the disk, as far as that is known.
        self.fitting: tuple[str, ...] = ()
        self.hint, self.estimate = widgets.HTML(), widgets.HTML()
        self.estimate.add_class("ares-estimate")
        self.picture, self.gaps, self.code = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.code.add_class("ares-code")

    @property
    def static_picture(self) -> str:
        """
        The picture for the static view, with other ids.

        A browser draws no pattern whose id a hidden element has too, and the static view is hidden.
        """
        picture = str(self.picture.value)
        return picture.replace('id="map', 'id="static').replace("url(#map", "url(#static")

    @property
    def is_too_large(self) -> bool:
        """Whether a dataset of the choice does not fit the disk."""
        return self.choice is not None and len(self.fitting) < len(self.choice.datasets)

    @property
    def jobs(self) -> list[Job[None]]:
        """What runs, or ran last, in the background."""
        return [job for job in (self._renewal, self._listing) if job is not None]

    def on_shown(self, call: Callable[[], object]) -> None:
        """Call *call*, without arguments, whenever the choice or what is shown of it has changed."""
        self._calls.append(call)

    def begin(self) -> None:
        """Show everything at once, then follow the form."""
        self._check()
        if self.choice is not None:
            try:
                plans = self.choice.plans(self.choice.with_trades)
                self._show_cost(self.choice, plans)
                self._show_state(CacheState.of(self.choice, only(self.choice.datasets, plans)))
            except AresError as error:
                self.estimate.value = error_html(error)
        self._list_symbols()
        self._form.on_change(self.renew)
        self._tell()

    def renew(self) -> None:
        """Show the choice of the form as it is now, in the background."""
        if self._renewal is not None:
            self._renewal.cancel()
        try:
            self._check()
        except Exception as error:  # noqa: BLE001 - a border: an error in a callback is shown nowhere else
            self.estimate.value = error_html(error)
            return
        if self.choice is not None:
            # Until it is shown, what stands there belongs to another choice.
            self._mark(is_old=True)
        self._renewal = start(self._renew(self.choice))
        self._renewal.then(self._renewed)
        self._tell()

    def refresh(self) -> None:
        """Show the same choice again, in the background: work has changed the cache."""
        if self.choice is not None:
            self._renewal = start(self._again(self.choice))
            self._renewal.then(self._renewed)

    def close(self) -> None:
        """Cancel what runs in the background."""
        for job in self.jobs:
            job.cancel()

    async def show(self, choice: Choice) -> CacheState:
        """
        Read in a thread what the cache holds and lacks of *choice*.

        It is shown unless the form has changed since.
        """
        plans = await asyncio.to_thread(choice.plans, choice.with_trades)
        state = await asyncio.to_thread(CacheState.of, choice, only(choice.datasets, plans))
        if choice == self.choice:
            self._show_cost(choice, plans)
            self._tell()
            await asyncio.to_thread(self._show_state, state)
            self._tell()
        return state

    def _check(self) -> None:
        """Take the choice of the form, its code shown; without one nothing is shown."""
        self.choice = self._form.check()
        if self.choice is None:
            for shown in (self.estimate, self.picture, self.gaps, self.code):
                shown.value = ""
            return
        # Until it is planned, it may all fit.
        self.fitting = self.choice.datasets
        self.code.value = code_html(self.choice.code())

    async def _again(self, choice: Choice) -> None:
        await self.show(choice)

    async def _renew(self, choice: Choice | None) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        self._list_symbols()
        if choice is None:
            return
        await self._keep(choice)
        await self.show(choice)
        if choice.trades.name in choice.datasets:
            # Their estimate may be wrong by a factor of a thousand, so the archive is asked.
            plans = await asyncio.to_thread(choice.plans)
            hurried = [
                replace(plan, settings=plan.settings.replace(**_IMPATIENT)) for plan in plans
            ]
            self._show_cost(choice, [await plan.measure() for plan in hurried])
            self._tell()

    def _renewed(self, job: Job[None]) -> None:
        """Show an error, unless the choice has changed since."""
        if job.error is not None and job is self._renewal:
            self.picture.value = self.gaps.value = ""
            self.estimate.value = error_html(job.error)
            self._mark(is_old=False)

    def _show_cost(self, choice: Choice, plans: Sequence[Plan]) -> None:
        """Show the cost of the choice, and at their checkbox that of the trades."""
        own = only(choice.datasets, plans)
        self.fitting = _fitting(own)
        self.estimate.value = _cost_html(own, self.fitting)
        steps = [step for plan in plans for step in plan.steps]
        trades = _by_dataset(steps).get(choice.trades.name)
        self._form.show_cost(
            choice.trades, _size_in_words(trades, choice.settings) if trades else ""
        )

    def _show_state(self, state: CacheState) -> None:
        self.picture.value, self.gaps.value = _coverage_html(state), _gaps_html(state)
        self._mark(is_old=False)

    def _mark(self, *, is_old: bool) -> None:
        for shown in (self.estimate, self.picture, self.gaps):
            (shown.add_class if is_old else shown.remove_class)("ares-old")

    def _tell(self) -> None:
        for call in self._calls:
            call()

    def _list_symbols(self) -> None:
        """Ask the exchange which symbols the market has today, once per source and market."""
        market = self._form.chosen_market
        try:
            settings = self._form.settings
        except AresError:
            # Shown at its field.
            return
        url = str(getattr(settings, market.url_field))
        if (market.name, url) == self._listed:
            return
        self._listed = (market.name, url)
        if self._listing is not None:
            self._listing.cancel()
        self._form.offer(market, ())
        self._listing = start(self._offer_symbols(market, settings))

    async def _offer_symbols(self, market: Market, settings: Settings) -> None:
        self.hint.value = ""
        try:
            async with Transport(settings.replace(**_IMPATIENT)) as transport:
                self._form.offer(market, await Rest(transport).symbols(market))
            if self.choice is not None:
                self._form.remark_unlisted(self.choice.symbols)
        except AresError as error:
            # Asked again at the next change: the exchange may answer then.
            self._listed = None
            words = f"The list of symbols could not be had, so type yours: {error}"
            self.hint.value = f'<div class="ares-hint">{text(words)}</div>'
