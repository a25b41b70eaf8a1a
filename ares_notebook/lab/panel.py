"""The download panel, and what its buttons do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import ipywidgets as widgets
from IPython.display import display

from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.download.run_plans import run_plans
from ares_notebook.errors import (
    AresError,
    Busy,
    CacheUnavailable,
    UnknownSymbol,
    WrongMarket,
)
from ares_notebook.formatting import text
from ares_notebook.lab.cache_state import CacheState, cached_steps, repair_plans
from ares_notebook.lab.choice import Choice
from ares_notebook.lab.form import Form
from ares_notebook.lab.views import Preview, choice_html, choice_text
from ares_notebook.lab.work_view import WorkView
from ares_notebook.load import load_rows
from ares_notebook.model.datasets import DEFAULT_DATASETS, datasets_named
from ares_notebook.quality.report import QualityReport
from ares_notebook.quality.validate import validate_cache
from ares_notebook.runtime.job import Job, start
from ares_notebook.runtime.progress import Progress, heard_by
from ares_notebook.runtime.tasks import cancellable
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

# Each rule of it begins with the panel's class.
_CSS = Path(__file__).with_name("panel.css").read_text(encoding="utf-8")
# The keyboard, and where the focus goes; run when the style is loaded, since the browser runs no
# script in the text of a widget.
_JS = Path(__file__).with_name("panel.js").read_text(encoding="utf-8")
# In the saved page: instead of the message that a widget is lost.
_STATIC_CSS = (
    ".jp-OutputArea-child:has(.ares-static)+.jp-OutputArea-child:not(:has(.ares-panel))"
    "{display:none}"
)
_VIEW = "application/vnd.jupyter.widget-view+json"
_FITTING = "Download what fits"
_DOING = {
    **dict.fromkeys(("Download", _FITTING), "Downloading"),
    "Repair gaps": "Repairing",
    "Validate": "Validating",
}
# The field that can mend an error.
_FIELD_OF = ((UnknownSymbol, "symbols"), ((CacheUnavailable, WrongMarket), "folder"))
_T = TypeVar("_T")


class DownloadPanel(widgets.VBox):  # type: ignore[misc]  # ipywidgets publishes no types
    """
    Choose market, symbol, interval and lookback, see the cost, download, and see what the cache holds.

    At each change of the form the panel shows what a download would cost, from the cache
    alone. The work runs in the background, so that the kernel stays free; what the buttons
    do can be awaited as well.

    Parameters
    ----------
    settings : Settings, optional
        The first values of the form. Defaults to those of the environment.
    source : {"binance", "demo"}, optional
        The first source; the demo exchange is started by the panel. Defaults to that of
        *settings*.
    end : date or str, optional
        The first end: nothing at or after its midnight (UTC). Defaults to now.
    datasets : sequence of str
        The datasets that are ticked at first, of ``ares_notebook.DATASETS`` and of one market,
        which is the first one of the form. Trades are a thousand times larger than the others.
    client : distributed.Client, optional
        A client of a cluster whose workers see the cache folder, and that then downloads and
        repairs.

    Attributes
    ----------
    form : Form
        The controls, such as ``panel.form.interval``; their ``value`` may be set.
    report : DownloadReport or None
        The report of the last download or repair.
    quality : tuple of QualityReport
        The reports of the last validation, one per symbol.

    Raises
    ------
    BadArgument
        If an argument has a wrong value.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder, interval="1d")
    ...     panel = DownloadPanel(settings, end="2025-01-01", datasets=("klines",))
    ...     report = run(panel.download())
    ...     len(panel.frame)
    366
    """

    # Of a panel whose constructor has raised: ipywidgets closes it all the same.
    _job: Job[Any] | None = None
    _is_busy = False
    _parts: tuple[Preview | Form, ...] = ()

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        source: Literal["binance", "demo"] | None = None,
        end: date | str | None = None,
        datasets: Sequence[str] = DEFAULT_DATASETS,
        client: Client | None = None,
    ) -> None:
        super().__init__()
        self._client = client
        self.report: DownloadReport | None = None
        self.quality: tuple[QualityReport, ...] = ()
        self._lock = threading.Lock()
        self._verb = ""
        # After the last download or repair.
        self._state: CacheState | None = None
        self.form = Form(
            settings_given(settings), source, end, datasets, on_cluster=client is not None
        )
        self._preview = Preview(self.form)
        self._parts = (self._preview, self.form)
        self._work = WorkView()
        self._is_displayed = False
        head = widgets.HTML(f'<style onload="{text(_JS)}">\n{_CSS}</style>')
        self.children = [head, *self._rows()]
        self.add_class("ares-panel")
        self._preview.on_shown(self._follow)
        self._preview.begin()

    def _rows(self) -> list[widgets.Widget]:
        actions: dict[str, Callable[[], object]] = {
            "Download": lambda: self._begin("Download", self._download),
            _FITTING: lambda: self._begin(_FITTING, self._download_fitting),
            "Cancel": self.cancel,
            "Repair gaps": lambda: self._begin("Repair gaps", self._repair),
            "Validate": lambda: self._begin("Validate", self._validate),
        }
        self.buttons = {name: self._button(name, action) for name, action in actions.items()}
        self.buttons["Download"].button_style = "primary"
        for name in ("Download", "Cancel"):
            self.buttons[name].add_class(f"ares-{name.lower()}")
        buttons = widgets.HBox([*self.buttons.values()])
        buttons.add_class("ares-row")
        preview = self._preview
        return [
            *(self.form.box, preview.hint, preview.estimate),
            *(buttons, self._work.box, preview.box),
        ]

    def _button(self, name: str, action: Callable[[], object]) -> widgets.Button:
        def clicked(_button: object) -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - a border: an error in a callback is shown nowhere else
                self._show_problem(name, error)

        button = widgets.Button(description=name)
        button.on_click(clicked)
        return button

    # --- for the next cell ---

    @property
    def last_error(self) -> BaseException | None:
        """The error that the panel shows; None after work that succeeded."""
        return self._work.error

    @property
    def settings(self) -> Settings:
        """
        The settings of the form.

        Raises
        ------
        BadArgument
            If the form holds a wrong value.
        """
        return self.form.choice().settings

    @property
    def frame(self) -> pd.DataFrame:
        """
        The chosen window of the first symbol in the cache: candles, else trades, else the first dataset.

        Raises
        ------
        NeverDownloaded
            If there is nothing of it yet.
        CorruptFile, CacheUnavailable
            If it cannot be read.
        BadArgument
            If the form holds a wrong value.
        """
        choice = self.form.choice()
        ticked = datasets_named(choice.datasets)
        dataset = min(ticked, key=lambda each: (not each.has_interval, each.key != "id"))
        window, settings = (choice.plans()[0].start, choice.end), choice.settings
        return load_rows(
            dataset.name, choice.symbols[0], choice.interval, *window, settings=settings
        )

    # --- what the buttons do ---

    async def download(self) -> DownloadReport:
        """
        Download what the form asks for, as the button *Download* does.

        While the panel is downloading already, this waits for that download.

        Returns
        -------
        DownloadReport
            The report of all symbols; true when nothing failed.

        Raises
        ------
        BadArgument
            If the form holds a wrong value.
        Busy
            If the panel is repairing or validating.
        AresError
            What `download_all_data` raises.
        """
        return await self._begin("Download", self._download)

    async def repair(self) -> DownloadReport:
        """
        Close the gaps of what the cache holds, as the button *Repair gaps* does.

        Returns
        -------
        DownloadReport
            As `download`.

        Raises
        ------
        BadArgument, Busy
            As `download`.
        AresError
            What `repair_gaps` raises.
        """
        return await self._begin("Repair gaps", self._repair)

    async def validate(self) -> tuple[QualityReport, ...]:
        """
        Check what the cache holds, as the button *Validate* does.

        Returns
        -------
        tuple of QualityReport
            One report per symbol.

        Raises
        ------
        BadArgument, Busy
            As `download`.
        AresError
            What `validate_cache` raises.
        """
        return await self._begin("Validate", self._validate)

    def cancel(self) -> None:
        """Cancel the running work, and return at once; what is done is kept."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """Cancel all work, and remove the panel from the page."""
        self.cancel()
        for part in self._parts:
            part.close()
        super().close()

    # --- the work ---

    def _begin(self, verb: str, work: Callable[[Choice], Coroutine[Any, Any, _T]]) -> Job[_T]:
        """Begin *work*; where it is under way already, return its job: ten clicks are one download."""
        with self._lock:
            if self._job is not None and self._is_busy:
                if verb == self._verb:
                    return self._job
                msg = f"the panel is at work ({self._verb}); wait until it has ended, or cancel it"
                raise Busy(msg)
            choice = self.form.choice()
            self._verb = verb
            self._set_busy(is_busy=True)
            self._work.begin(_DOING[verb], choice)
            self._job = job = start(work(choice))
        job.then(partial(self._ended, verb))
        return job

    async def _download(self, choice: Choice) -> DownloadReport:
        return await self._run("download", choice, choice.plans)

    async def _download_fitting(self, choice: Choice) -> DownloadReport:
        fitting = self._preview.fitting
        return await self._run("download", choice, partial(choice.plans, fitting))

    async def _repair(self, choice: Choice) -> DownloadReport:
        def plans() -> list[Plan]:
            return repair_plans(choice.plans())

        return await self._run("repair", choice, plans)

    async def _run(
        self, what: str, choice: Choice, make: Callable[[], list[Plan]]
    ) -> DownloadReport:
        plans = [_quiet(plan) for plan in await asyncio.to_thread(make)]
        if self._client is None:
            work = run_plans(plans, on_progress=self._show_progress)
        else:
            # Only who has a client has installed what this imports.
            from ares_notebook.scale.cluster import run_plans_on  # noqa: PLC0415

            work = run_plans_on(self._client, plans, on_progress=self._show_progress)
        self.report = report = await record_run(RunInfo.of(what, *plans), work)
        self._state = await self._preview.show(choice)
        return report

    async def _validate(self, choice: Choice) -> tuple[QualityReport, ...]:
        plans = [_quiet(plan) for plan in await asyncio.to_thread(choice.plans)]
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
            with heard_by(partial(self._show_validated, sum(counts[:number]), sum(counts))):
                reports.append(await record_run(RunInfo.of("validate", plan), work))
        self.quality = tuple(reports)
        return self.quality

    def _show_progress(self, progress: Progress) -> None:
        self._work.show_progress(progress, _DOING[self._verb])

    def _show_validated(self, before: int, total: int, progress: Progress) -> None:
        """Show how many files of all symbols are validated; *before*, those of earlier symbols."""
        # Files are read again for fingerprints and comparisons, and not counted twice.
        if progress.dataset == "validate":
            done = before + progress.steps_done
            self._show_progress(replace(progress, steps_done=done, steps_total=total))

    def _ended(self, verb: str, job: Job[Any]) -> None:
        """On the loop's thread, after clean-up; the state is shown last."""
        if job.state == "cancelled":
            self._work.show_cancelled(verb)
        elif job.error is not None:
            self._show_problem(verb, job.error)
        elif verb == "Validate":
            self._work.show_quality(verb, self.quality)
        elif self.report is not None and self._state is not None:
            is_at_field = self._show_at_field(*(step.error for step in self.report.failed))
            self._work.show_report(verb, self.report, self._state, is_at_field=is_at_field)
        if job.state != "done":
            self._preview.refresh()
        self._set_busy(is_busy=False)
        self._follow()

    def _show_problem(self, verb: str, error: BaseException) -> None:
        self._work.show_problem(verb, error, is_at_field=self._show_at_field(error))

    def _show_at_field(self, *errors: BaseException | None) -> bool:
        """Show errors at the field that can mend all of them; whether there is one."""
        for kinds, name in _FIELD_OF:
            if errors and all(isinstance(error, kinds) for error in errors):
                self.form.show_fault(name, ". ".join(dict.fromkeys(map(str, errors))))
                return True
        return False

    def _set_busy(self, *, is_busy: bool) -> None:
        self._is_busy = is_busy
        self._enable()

    def _enable(self) -> None:
        """Turn on the buttons that can be meant now, then turn off the others."""
        is_idle = not self._is_busy and self._preview.choice is not None
        is_too_large = self._preview.is_too_large
        enabled = {
            "Download": is_idle and not is_too_large,
            _FITTING: is_idle and bool(self._preview.fitting),
            "Cancel": self._is_busy,
            "Repair gaps": is_idle,
            "Validate": is_idle,
        }
        self.buttons[_FITTING].layout.display = "" if is_too_large else "none"
        # In this order, so that the focus can go from one to the other.
        for name in sorted(enabled, key=enabled.__getitem__, reverse=True):
            self.buttons[name].disabled = not enabled[name]

    def _follow(self) -> None:
        """Let buttons, result and static view follow the form."""
        self._work.compare(self._preview.choice)
        self._enable()
        if self._is_displayed:
            _display(self._static_view(), self.model_id, update=True)

    # --- how it is shown ---

    def __repr__(self) -> str:
        try:
            return f"<DownloadPanel {choice_text(self.form.choice())}>"
        except AresError as error:
            return f"<DownloadPanel: {error}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live panel, and static HTML for pages where widgets do not run."""
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **self._static_view()}

    def _ipython_display_(self) -> None:
        """
        Display the static view, and after it the live panel.

        They are two outputs, since JupyterLab shows no other view of one whose widget is lost.
        """
        _display(self._static_view(), self.model_id)
        self._is_displayed = True
        live = super()._repr_mimebundle_() or {}
        _display({_VIEW: live[_VIEW]}, None)

    def _static_view(self) -> dict[str, str]:
        """What the panel shows as static HTML, and as a line of text."""
        preview, work = self._preview, self._work
        shown = [preview.estimate, work.status, work.alert, work.result]
        html = "".join(each.value for each in shown)
        html += preview.static_picture + preview.gaps.value
        try:
            html = choice_html(self.form.choice(), html)
        except AresError:
            html = "".join(each.value for each in self.form.problems.values()) + html
        static = f'<div class="ares-static"><style>{_STATIC_CSS}</style>'
        return {"text/plain": repr(self), "text/html": f"{static}{html}</div>"}


def _display(view: dict[str, str], display_id: str | None, *, update: bool = False) -> None:
    """Display *view* in the cell that runs, or where the display of this id is."""
    display(view, raw=True, display_id=display_id, update=update)  # type: ignore[no-untyped-call]  # IPython publishes no types


def _quiet(plan: Plan) -> Plan:
    """The plan without a progress bar in the output of some cell: the panel has its own."""
    return replace(plan, settings=plan.settings.replace(progress=False))
