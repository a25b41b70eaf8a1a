"""What the panel shows: cost, coverage and gaps of a choice; progress, report and errors of work."""

from __future__ import annotations

import asyncio
import shutil
import traceback
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import ipywidgets as widgets

from ares_notebook.binance.http import Transport
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.coverage import coverage, find_gaps
from ares_notebook.cache.gap_reasons import EXPLAINED
from ares_notebook.cache.table import in_words
from ares_notebook.download.decide import Step
from ares_notebook.download.estimate import Cost
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.errors import AresError, BadArgument, NeverDownloaded
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
from ares_notebook.lab.choice import Choice
from ares_notebook.lab.form import Form
from ares_notebook.model.datasets import AGG_TRADES, DATASETS, dataset_named
from ares_notebook.quality.calendar import coverage_svg
from ares_notebook.quality.report import QualityReport
from ares_notebook.runtime.job import Job, start
from ares_notebook.runtime.progress import DatasetProgress, Progress
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Preview", "WorkView", "choice_html", "choice_text"]

# --- the choice, in words ---


def choice_text(choice: Choice) -> str:
    """The choice in a line."""
    end = f", end {choice.end:%Y-%m-%d}" if choice.end else ""
    symbols = ", ".join(choice.symbols)
    return f"{symbols} {choice.interval}, {_lookback(choice)}{end}: {_titles(choice)}"


def choice_html(choice: Choice, estimate: str, coverage_and_gaps: str) -> str:
    """The panel as static HTML, for pages where widgets do not run."""
    end = f"{choice.end:%Y-%m-%d}" if choice.end else "now"
    rows = [
        ("Symbols", ", ".join(choice.symbols)),
        ("Interval", choice.interval),
        ("Lookback", f"{_lookback(choice)}, up to {end} (UTC, exclusive)"),
        ("Datasets", _titles(choice)),
        ("Cache folder", choice.settings.cache_dir),
    ]
    code = folded("The code that does the same", f"<pre>{text(choice.code())}</pre>")
    note = line("Run the cell to use the panel: this is its static view.")
    return block("Download panel", table(("", ""), rows), estimate, coverage_and_gaps, code, note)


def _lookback(choice: Choice) -> str:
    return f"{choice.count} {choice.unit.removesuffix('s') if choice.count == 1 else choice.unit}"


def _titles(choice: Choice) -> str:
    return ", ".join(dataset_named(name).title for name in choice.datasets)


def _problem_html(error: BaseException) -> str:
    """An error as an alert for screen readers, its traceback folded."""
    words = str(error) or type(error).__name__
    if not isinstance(error, AresError):
        # The messages of ours say what to do; of others at least the type must be known.
        words = f"{type(error).__name__}: {words}"
    details = ""
    if not isinstance(error, BadArgument):
        # A wrong argument is no crash: the user may still be typing.
        trace = "".join(traceback.format_exception(error))
        details = folded("Traceback", f"<pre>{text(trace)}</pre>")
    return f'<div role="alert" class="ares-problem">{line(words)}{details}</div>'


# --- what the choice costs ---

_COST_NAMES = ("", "files", "there already", "rows to come", "to fetch", "on disk", "requests")


def _estimate_html(plans: Sequence[Plan], notes: Sequence[str] = ()) -> str:
    """The cost as a table with one row per dataset, and their sum."""
    settings = plans[0].settings
    steps = [step for plan in plans for step in plan.steps]
    by_title: dict[str, list[Step]] = {}
    for step in steps:
        by_title.setdefault(step.file.dataset.title, []).append(step)
    if len(by_title) > 1:
        by_title["In all"] = steps
    rows = [(title, *_cost_cells(Cost.of(own, settings))) for title, own in by_title.items()]
    costs = table(_COST_NAMES, rows, numbers=_COST_NAMES[1:])
    whole = Cost.of(steps, settings)
    return block(_headline(whole), costs, line(_disk_words(whole, settings)), *map(line, notes))


def _headline(cost: Cost) -> str:
    if not cost.files_to_do:
        return f"Nothing to fetch: all {cost.files:,} files are there"
    return (
        f"To fetch: {cost.files_to_do:,} of {cost.files:,} files, about {cost.rows:,} rows, "
        f"in about {time_in_words(cost.seconds)}"
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


def _disk_words(cost: Cost, settings: Settings) -> str:
    folder = settings.cache_dir.absolute()
    # The folder itself may be made only by the download.
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = size_in_words(shutil.disk_usage(existing).free)
    weight = f"Request weight about {cost.weight:,}; " if cost.weight else ""
    return f"{weight}{free} free in {settings.cache_dir}."


# --- what the cache holds of the choice ---

_MOST_GAPS = 12
_GAP_NAMES = ["symbol", "dataset", "interval", "start", "end", "missing", "reason", "note"]


def _cache_html(choice: Choice) -> tuple[str, str]:
    """The coverage as a sentence and a picture, and the gaps as tables; sends no request."""
    import pandas as pd  # noqa: PLC0415 - slow to import, and the panel is shown before

    own, files, found = choice.settings, [], []
    for symbol in choice.symbols:
        try:
            files.append(coverage(symbol, choice.interval, settings=own, datasets=choice.datasets))
        except NeverDownloaded:
            continue
        found.append(find_gaps(symbol, choice.interval, settings=own, datasets=choice.datasets))
    names = ", ".join(choice.symbols)
    if not files:
        return _coverage_html(f"Nothing of {names} is in {own.cache_dir} yet."), ""
    whole, gaps = pd.concat(files, ignore_index=True), pd.concat(found, ignore_index=True)
    is_explained = gaps["reason"].isin(EXPLAINED)
    left, explained = gaps[~is_explained], gaps[is_explained]
    rows, state = int(whole["rows"].sum()), _state_words(left, explained)
    words = f"{names}: {len(whole):,} files, {rows:,} rows, {state}"
    picture = coverage_svg(whole, gaps, prefix=_picture_prefix(words))
    return _coverage_html(words, picture), _gaps_html(left, explained)


def _picture_prefix(words: str) -> str:
    """The beginning of ids that no other picture of a notebook has, the same for the same choice."""
    return f"map{zlib.crc32(words.encode()):08x}"


def _coverage_html(words: str, picture: str = "") -> str:
    return f'<div class="ares-coverage">{line(words)}{picture}</div>'


def _state_words(left: pd.DataFrame, explained: pd.DataFrame) -> str:
    absent = explained[explained["missing"] > 0]
    if len(left):
        return f"{many(len(left), 'gap')} to close."
    if absent.empty:
        return "complete."
    rows = many(int(absent["missing"].sum()), "row")
    return f"complete: {rows} missing at the exchange itself ({many(len(absent), 'gap')})."


def _gaps_html(left: pd.DataFrame, explained: pd.DataFrame) -> str:
    """The gaps that can be closed, and folded those that are explained."""
    parts = [_gap_table(left) if len(left) else line("No gap is left to close.")]
    if len(explained):
        summary = f"Explained by the exchange: {len(explained):,}"
        parts.append(folded(summary, _gap_table(explained)))
    return f'<div class="ares-gaps">{"".join(parts)}</div>'


def _gap_table(gaps: pd.DataFrame) -> str:
    rows = in_words(gaps.head(_MOST_GAPS), _GAP_NAMES).to_numpy().tolist()
    more = len(gaps) - _MOST_GAPS
    symbol = gaps["symbol"].iloc[0]
    hint = f'… and {more:,} more: ares.find_gaps("{symbol}", settings=panel.settings)'
    return table(_GAP_NAMES, rows, numbers=("missing",)) + (line(hint) if more > 0 else "")


# Between the last change of the form and the answer to it.
_PAUSE_SECONDS = 0.25
# What only makes typing easier, or an estimate better, is not worth a long wait.
_IMPATIENT = {"max_retries": 0, "request_timeout_seconds": 10.0, "progress": False}


class Preview:
    """Cost, coverage, gaps and code of the form's choice; a change cancels the work for the one before."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._renewal: Job[None] | None = None
        self._listing: Job[None] | None = None
        self._listed_url = ""
        self.hint, self.estimate = widgets.HTML(), widgets.HTML()
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
                self.picture.value, self.gaps.value = _cache_html(choice)
            except AresError as error:
                self.estimate.value = _problem_html(error)
            self._list_symbols(choice.settings)
        self._form.on_change(self.renew)

    def renew(self) -> None:
        """Show the choice of the form as it is now, in the background."""
        if self._renewal is not None:
            self._renewal.cancel()
        try:
            choice = self._choice()
        except Exception as error:  # noqa: BLE001 - a border: an error in a callback is shown nowhere else
            self.estimate.value = _problem_html(error)
            return
        if choice is not None:
            self._renewal = start(self._renew(choice))
            self._renewal.then(self._renewed)

    def close(self) -> None:
        """Cancel what runs in the background."""
        for job in filter(None, (self._renewal, self._listing)):
            job.cancel()

    async def show(self, choice: Choice) -> list[Plan]:
        """Show what the cache lacks and holds of *choice*, read in a thread; its plans."""
        plans = await asyncio.to_thread(choice.plans)
        self._show_cost(plans)
        self.picture.value, self.gaps.value = await asyncio.to_thread(_cache_html, choice)
        return plans

    def _choice(self) -> Choice | None:
        """The choice of the form, its code shown; None where it cannot be meant, the error shown."""
        try:
            choice = self._form.choice()
            code = choice.code()
        except BadArgument as error:
            self.estimate.value = _problem_html(error)
            self.code.value = ""
            return None
        self.code.value = code
        self.code.rows = code.count("\n") + 1
        return choice

    async def _renew(self, choice: Choice) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        self._list_symbols(choice.settings)
        plans = await self.show(choice)
        if AGG_TRADES.name in choice.datasets:
            # Their estimate may be wrong by a factor of a thousand, so the archive is asked.
            hurried = [
                replace(plan, settings=plan.settings.model_copy(update=_IMPATIENT))
                for plan in plans
            ]
            self._show_cost([await plan.measure() for plan in hurried])

    def _renewed(self, job: Job[None]) -> None:
        """Show an error, unless the choice has changed since."""
        if job.error is not None and job is self._renewal:
            self.estimate.value = _problem_html(job.error)

    def _show_cost(self, plans: Sequence[Plan]) -> None:
        unknown = self._form.unknown([plan.symbol for plan in plans])
        notes = [f"{each} is not among the symbols that trade there today." for each in unknown]
        self.estimate.value = _estimate_html(plans, notes)

    def _list_symbols(self, settings: Settings) -> None:
        """Ask the exchange which symbols it trades, once per source."""
        if settings.spot_url == self._listed_url:
            return
        self._listed_url = settings.spot_url
        if self._listing is not None:
            self._listing.cancel()
        self._form.offer(())
        self._listing = start(self._offer_symbols(settings))

    async def _offer_symbols(self, settings: Settings) -> None:
        self.hint.value = ""
        try:
            async with Transport(settings.model_copy(update=_IMPATIENT)) as transport:
                self._form.offer(await Rest(transport).symbols())
        except AresError as error:
            # Asked again at the next change: the exchange may answer then.
            self._listed_url = ""
            words = f"The list of symbols could not be had, so type yours: {error}"
            self.hint.value = f'<div class="ares-hint">{text(words)}</div>'


# --- the work ---

_FULL = 1_000
_TENTHS = 10


class WorkView:
    """
    Progress, report and errors of the panel's work, for eyes and for screen readers.

    A screen reader cannot read the bars of ipywidgets: each has its numbers in words, and the
    state as a whole is a live region, renewed at every tenth only, since all of it is read aloud.
    """

    def __init__(self) -> None:
        self.status = widgets.HTML()
        self.bars = {name: _Bar() for name in ("", *(dataset.name for dataset in DATASETS))}
        self.box = widgets.VBox([self.status, *(bar.box for bar in self.bars.values())])
        self.alert, self.result = widgets.HTML(), widgets.HTML()
        self.result.add_class("ares-result")
        self.error: BaseException | None = None
        self._symbols = ""
        self._shown_tenths = -1
        self._say("Ready")

    def begin(self, doing: str, symbols: str) -> None:
        """Remove the last report and error, and empty the bars; the work is on *symbols*."""
        self.error, self.alert.value, self.result.value = None, "", ""
        self._symbols = symbols
        self._say(f"{doing} {symbols} …")
        for bar in self.bars.values():
            bar.clear()

    def show_progress(self, progress: Progress, doing: str) -> None:
        """Show how much is done."""
        tenths = int(progress.share * _TENTHS)
        if tenths != self._shown_tenths:
            # Without the number of files done, which is renewed more often below.
            self.status.value = _live(f"{doing} {progress.steps_total:,} files: {tenths * 10}%")
            self._shown_tenths = tenths
        self.bars[""].show("In all", progress)
        for part in progress.parts if len(progress.parts) > 1 else ():
            self.bars[part.dataset].show(dataset_named(part.dataset).title, part)

    def show_cancelled(self, verb: str) -> None:
        """Show that the work was cancelled."""
        self._say(f"{verb}: cancelled ({self._symbols}); what is done is kept.", "warning")

    def show_problem(self, verb: str, error: BaseException) -> None:
        """Show why the work failed, or could not begin."""
        self.error = error
        self.alert.value = _problem_html(error)
        of_symbols = f" ({self._symbols})" if self._symbols else ""
        self._say(f"{verb}: failed{of_symbols}.", "danger")

    def show_report(self, verb: str, report: DownloadReport) -> None:
        """Show the report of a download or a repair; failed files are a problem."""
        headline, _, _ = str(report).partition("\n")
        self.result.value = folded(f"Report: {headline}", report._repr_html_())
        try:
            report.raise_for_failures()
        except AresError as error:
            self.show_problem(verb, error)
            return
        if report.complete:
            self._say(f"{verb}: complete ({self._symbols}).", "success")
        else:
            self._say(f"{verb}: done, with gaps left ({self._symbols}).", "warning")

    def show_quality(self, verb: str, reports: Sequence[QualityReport]) -> None:
        """Show the reports of a validation."""
        errors = sum(len(report.errors) for report in reports)
        words = f"errors found: {errors:,}" if errors else "no error found"
        self.result.value = "".join(report._repr_html_() for report in reports)
        self._say(f"{verb}: {words} ({self._symbols}).", "danger" if errors else "success")

    def _say(self, words: str, style: str = "") -> None:
        self._shown_tenths = -1
        self.status.value = _live(words)
        for bar in self.bars.values():
            bar.bar.bar_style = style


def _live(words: str) -> str:
    return f'<div role="status" aria-live="polite">{text(words)}</div>'


class _Bar:
    """A label, a bar, and the same in words."""

    def __init__(self) -> None:
        self.label, self.words = widgets.HTML(), widgets.HTML()
        self.bar = widgets.IntProgress(max=_FULL)
        self.box = widgets.HBox([self.label, self.bar, self.words])
        self.box.add_class("ares-bar")
        self.clear()

    def clear(self) -> None:
        self.bar.value = 0
        self.box.layout.display = "none"

    def show(self, label: str, part: Progress | DatasetProgress) -> None:
        self.label.value = text(label)
        self.bar.value = round(part.share * _FULL)
        self.words.value = text(_progress_words(part))
        self.box.layout.display = ""


def _progress_words(part: Progress | DatasetProgress) -> str:
    words = [f"{part.share:.0%}", f"{part.steps_done:,} of {part.steps_total:,} files"]
    if part.rows:
        words.append(f"{part.rows:,} rows")
    if isinstance(part, Progress):
        if part.bytes_received:
            words.append(f"{size_in_words(part.bytes_per_second)}/s")
        if part.seconds_left:
            words.append(f"{time_in_words(part.seconds_left)} left")
    return " · ".join(words)
