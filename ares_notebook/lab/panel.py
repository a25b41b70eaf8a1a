"""The download panel, and what its buttons do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import ipywidgets as widgets
from msgspec.structs import replace as replaced

from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.errors import (
    AresError,
    Busy,
)
from ares_notebook.lab import layout
from ares_notebook.lab.acts import MAP_ACTS, Acts, with_symbols
from ares_notebook.lab.cache_state import CacheState, repair_plans
from ares_notebook.lab.choice import Choice
from ares_notebook.lab.form import Form
from ares_notebook.lab.look import Look
from ares_notebook.lab.map_part import Selected
from ares_notebook.lab.memory import Act, ActWindow
from ares_notebook.lab.presets import Presets
from ares_notebook.lab.views import Preview, choice_html, choice_text
from ares_notebook.lab.work import carry_out, end_of, quiet_plans, validate_choice
from ares_notebook.lab.work_view import WorkView
from ares_notebook.load import load_rows
from ares_notebook.model.datasets import DEFAULT_DATASETS, datasets_named
from ares_notebook.quality.report import QualityReport
from ares_notebook.runtime.job import Job, start
from ares_notebook.runtime.progress import Progress
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from ares_notebook.lab.chart import CandleChart
    from ares_notebook.lab.coverage_map import CoverageMap

_T = TypeVar("_T")
# Of the tabs Get, Look and Prove.
_LOOK = 1


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
    _keeping: Job[None] | None = None
    _is_busy = False
    _parts: tuple[Presets | Look | Preview | Form, ...] = ()

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
        self._acts = Acts(self.form)
        self._preview = Preview(self.form, self._acts.keep)
        self._presets = Presets(self.form, lambda: self._acts.last)
        self._look = Look(self._follow, self._part_done)
        self._parts = (self._presets, self._look, self._preview, self.form)
        self._is_displayed = False
        self._buttons = self._made_buttons()
        self.buttons = self._buttons.by_name
        self._work = WorkView(self.buttons["Cancel"])
        self.tabs = self._made_tabs()
        self.children = [
            *(layout.PanelScript(), self.tabs, self._work.box),
            *self._code_parts(),
        ]
        self.add_class("ares-panel")
        self._preview.on_shown(self._follow)
        self._preview.begin()

    def _made_buttons(self) -> layout.Buttons:
        actions: dict[str, Callable[[], object]] = {
            "Download": lambda: self._begin("Download", self._download),
            layout.FITTING: lambda: self._begin(layout.FITTING, self._download_fitting),
            "Cancel": self.cancel,
            "Repair gaps": lambda: self._begin("Repair gaps", self._repair),
            "Validate": lambda: self._begin("Validate", self._validate),
        }
        return layout.Buttons(actions, self._show_problem)

    def _made_tabs(self) -> widgets.Tab:
        preview, form, button_row = self._preview, self.form, self._buttons.row
        get = [self._acts.remark, self._presets.box, form.box, preview.hint, preview.estimate]
        pages = {
            "Get": [*get, button_row("Download", layout.FITTING)],
            "Look": [self._look.box],
            "Prove": [button_row("Repair gaps", "Validate"), preview.picture, preview.gaps],
        }
        made = layout.tabs(pages)
        made.observe(self._tab_changed, "selected_index")
        return made

    def _code_parts(self) -> list[widgets.Widget]:
        """The code of the form, and that of all that was done, each folded away."""
        parts = {
            "Code that does the same": self._preview.code,
            "History as code": self._acts.html,
        }
        return [
            layout.row([layout.folding(name, part) for name, part in parts.items()]),
            *parts.values(),
        ]

    def _tab_changed(self, change: dict[str, Any]) -> None:
        if change["new"] == _LOOK and self._preview.choice is not None:
            self._look.show(self._preview.choice)

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

    @property
    def chart(self) -> CandleChart | None:
        """The chart of the tab *Look*; None until it has been opened."""
        return self._look.chart

    @property
    def map(self) -> CoverageMap | None:
        """The map of the tab *Look*; None until it has been opened."""
        return self._look.map

    @property
    def code(self) -> str:
        """Python for a new kernel: all that was done with the panel, a call for each act."""
        return self._acts.code

    async def settled(self) -> None:
        """
        Wait until nothing is under way: no work, no preview, no chart, no request for symbols.

        An error of the work stands in the panel.

        Examples
        --------
        >>> import tempfile
        >>> from ares_notebook import DemoExchange, run
        >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
        ...     panel = DownloadPanel(exchange.settings(cache_dir=folder), end="2025-01-01")
        ...     panel.form.interval.value = "1d"
        ...     run(panel.settled())
        ...     "To fetch: 24 of 24 files" in panel._preview.estimate.value
        True
        """
        seen: set[Job[Any]] = set()
        while fresh := [job for job in self._jobs() if job not in seen]:
            # Who waits here and is cancelled leaves the work alone.
            await asyncio.wait([asyncio.ensure_future(end_of(job)) for job in fresh])
            seen.update(fresh)
        await self._look.settled()

    def _jobs(self) -> list[Job[Any]]:
        own = (self._job, self._keeping, self._presets.job)
        found = (*own, *self._look.jobs, *self._preview.jobs)
        return [job for job in found if job is not None]

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
            self._asked, choice = self.form.state(), self.form.choice()
            self._verb = verb
            self._set_busy(is_busy=True)
            self._work.begin(layout.DOING[verb], choice)
            self._job = job = start(work(choice))
        job.then(partial(self._ended, verb))
        return job

    async def _download(self, choice: Choice) -> DownloadReport:
        act = Act("download", self._asked)
        return await self._run(act, choice, choice.plans)

    async def _download_fitting(self, choice: Choice) -> DownloadReport:
        fitting = self._preview.fitting
        act = Act("download", replaced(self._asked, datasets=fitting))
        return await self._run(act, choice, partial(choice.plans, fitting))

    async def _repair(self, choice: Choice) -> DownloadReport:
        def plans() -> list[Plan]:
            return repair_plans(choice.plans())

        return await self._run(Act("repair", self._asked), choice, plans)

    async def _run(
        self, act: Act, choice: Choice, make: Callable[[], list[Plan]]
    ) -> DownloadReport:
        plans = await quiet_plans(make)
        self.report = report = await carry_out(act.verb, plans, self._client, self._show_progress)
        # Of several symbols those that there was something of.
        await self._note(replaced(act, form=with_symbols(act.form, plans)), choice)
        self._state = await self._preview.show(choice)
        return report

    async def _note(self, act: Act, choice: Choice) -> None:
        """Add what was done to the history, and keep it in the cache folder."""
        self._acts.add(act, self.form.choice_of(act.form, str(choice.settings.cache_dir)))
        await self._acts.keep(choice)

    def _part_done(self, verb: str, part: Selected) -> None:
        """Note what was done with a part of the map; a repair has changed the cache."""
        if verb in MAP_ACTS and (choice := self._preview.choice) is not None:
            act = Act(MAP_ACTS[verb], self.form.state(), ActWindow(*part))
            self._keeping = start(self._note(act, choice))
            self._preview.refresh()

    async def _validate(self, choice: Choice) -> tuple[QualityReport, ...]:
        self.quality = await validate_choice(choice, self._show_progress)
        await self._note(Act("validate", self._asked), choice)
        return self.quality

    def _show_progress(self, progress: Progress) -> None:
        self._work.show_progress(progress, layout.DOING[self._verb])

    def _ended(self, verb: str, job: Job[Any]) -> None:
        """On the loop's thread, after clean-up; the state is shown last."""
        if job.state == "cancelled":
            self._work.show_cancelled(verb)
        elif job.error is not None:
            self._show_problem(verb, job.error)
        elif verb == "Validate":
            self._work.show_quality(verb, self.quality)
        elif self.report is not None and self._state is not None:
            is_at_field = self.form.show_errors(*(step.error for step in self.report.failed))
            self._work.show_report(verb, self.report, self._state, is_at_field=is_at_field)
            if self._is_displayed and self.report and verb != "Repair gaps":
                self._show_prices()
        if job.state != "done":
            self._preview.refresh()
        self._set_busy(is_busy=False)
        self._follow()

    def _show_prices(self) -> None:
        """Show the chart of what came."""
        if self.tabs.selected_index == _LOOK:
            self._tab_changed({"new": _LOOK})
        self.tabs.selected_index = _LOOK

    def _show_problem(self, verb: str, error: BaseException) -> None:
        self._work.show_problem(verb, error, is_at_field=self.form.show_errors(error))

    def _set_busy(self, *, is_busy: bool) -> None:
        self._is_busy = is_busy
        self._enable()

    def _enable(self) -> None:
        self._buttons.enable(self._preview, is_busy=self._is_busy)

    def _follow(self) -> None:
        """Let buttons, result and static view follow the form."""
        self._work.compare(self._preview.choice)
        self._presets.follow()
        self._enable()
        if self._is_displayed:
            layout.show(self._static_view(), self.model_id, update=True)

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
        layout.show(self._static_view(), self.model_id)
        self._is_displayed = True
        live = super()._repr_mimebundle_() or {}
        layout.show({layout.VIEW: live[layout.VIEW]}, None)

    def _display_(self) -> layout.PanelView:
        """What marimo shows, which draws no widgets of ipywidgets, and none made in the background."""
        self._look.is_static = True
        return layout.PanelView(root=f"IPY_MODEL_{self.model_id}")

    def _static_view(self) -> dict[str, str]:
        """What the panel shows as static HTML, and as a line of text."""
        preview, work = self._preview, self._work
        shown = [preview.estimate, work.status, work.alert, work.result]
        html = "".join(each.value for each in shown)
        html += self._look.static_html + preview.static_picture + preview.gaps.value
        try:
            html = choice_html(self.form.choice(), html)
        except AresError:
            html = "".join(each.value for each in self.form.problems.values()) + html
        return {"text/plain": repr(self), "text/html": layout.static_block(html)}
