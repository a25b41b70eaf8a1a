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

from ares_notebook.download.plan import Plan
from ares_notebook.download.repair import plan_repair
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.download.run_plans import run_plans
from ares_notebook.errors import AresError, Busy
from ares_notebook.lab.choice import Choice
from ares_notebook.lab.form import Form
from ares_notebook.lab.views import Preview, WorkView, choice_html, choice_text
from ares_notebook.load import load_agg_trades, load_futures, load_klines
from ares_notebook.model.datasets import AGG_TRADES, FUTURES, KLINES
from ares_notebook.quality.report import QualityReport
from ares_notebook.quality.validate import validate_cache
from ares_notebook.runtime.job import Job, start
from ares_notebook.runtime.progress import Progress, heard_by
from ares_notebook.runtime.tasks import cancellable
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

__all__ = ["DownloadPanel"]

# Each rule of it begins with the panel's class.
_CSS = Path(__file__).with_name("panel.css").read_text(encoding="utf-8")
_DOING = {"Download": "Downloading", "Repair gaps": "Repairing", "Validate": "Validating"}
_T = TypeVar("_T")


class DownloadPanel(widgets.VBox):  # type: ignore[misc]  # ipywidgets publishes no types
    """
    Choose symbol, interval and lookback, see the cost, download, and see what the cache holds.

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
    datasets : sequence of {"klines", "agg_trades", "futures"}
        The datasets that are ticked at first; trades are a thousand times larger than the
        others.
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
        datasets: Sequence[str] = (KLINES.name, FUTURES.name),
        client: Client | None = None,
    ) -> None:
        super().__init__()
        self._client = client
        self.report: DownloadReport | None = None
        self.quality: tuple[QualityReport, ...] = ()
        self._lock = threading.Lock()
        self._verb = ""
        self.form = Form(
            settings or Settings(), source, end, datasets, on_cluster=client is not None
        )
        self._preview = Preview(self.form)
        self._parts = (self._preview, self.form)
        self._work = WorkView()
        self.children = [widgets.HTML(f"<style>\n{_CSS}</style>"), *self._rows()]
        self.add_class("ares-panel")
        self._preview.begin()

    def _rows(self) -> list[widgets.Widget]:
        actions: dict[str, Callable[[], object]] = {
            "Download": lambda: self._begin("Download", self._download),
            "Cancel": self.cancel,
            "Repair gaps": lambda: self._begin("Repair gaps", self._repair),
            "Validate": lambda: self._begin("Validate", self._validate),
        }
        self.buttons = {name: self._button(name, action) for name, action in actions.items()}
        self.buttons["Download"].button_style = "primary"
        self.buttons["Cancel"].disabled = True
        buttons = widgets.HBox([*self.buttons.values()])
        buttons.add_class("ares-row")
        preview, work = self._preview, self._work
        return [
            *(self.form.box, preview.hint, preview.estimate, buttons),
            *(work.box, work.alert, work.result),
            *(preview.picture, preview.gaps, preview.code),
        ]

    def _button(self, name: str, action: Callable[[], object]) -> widgets.Button:
        def clicked(_button: object) -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - a border: an error in a callback is shown nowhere else
                self._work.show_problem(name, error)

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
        The chosen window of the first symbol in the cache: k-lines, else trades, else funding.

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
        symbol, start_at = choice.symbols[0], choice.plans()[0].start
        end, settings = choice.end, choice.settings
        if KLINES.name in choice.datasets:
            return load_klines(symbol, choice.interval, start_at, end, settings=settings)
        load = load_agg_trades if AGG_TRADES.name in choice.datasets else load_futures
        return load(symbol, start_at, end, settings=settings)

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
            self._work.begin(_DOING[verb], ", ".join(choice.symbols))
            # Without a progress bar in the output of some cell: the panel has its own.
            quiet = choice.settings.model_copy(update={"progress": False})
            self._job = job = start(work(replace(choice, settings=quiet)))
        job.then(partial(self._ended, verb))
        return job

    async def _download(self, choice: Choice) -> DownloadReport:
        return await self._run("download", choice, choice.plans)

    async def _repair(self, choice: Choice) -> DownloadReport:
        def plans() -> list[Plan]:
            make = partial(plan_repair, settings=choice.settings, datasets=choice.datasets)
            return [make(symbol, choice.interval) for symbol in choice.symbols]

        return await self._run("repair", choice, plans)

    async def _run(
        self, what: str, choice: Choice, make: Callable[[], list[Plan]]
    ) -> DownloadReport:
        plans = await asyncio.to_thread(make)
        if self._client is None:
            work = run_plans(plans, on_progress=self._show_progress)
        else:
            # Only who has a client has installed what this imports.
            from ares_notebook.scale.cluster import run_plans_on  # noqa: PLC0415

            work = run_plans_on(self._client, plans, on_progress=self._show_progress)
        self.report = report = await record_run(RunInfo.of(what, *plans), work)
        await self._preview.show(choice)
        return report

    async def _validate(self, choice: Choice) -> tuple[QualityReport, ...]:
        settings, interval = choice.settings, choice.interval
        reports = []
        with heard_by(self._show_progress):
            for symbol in choice.symbols:
                work = cancellable(
                    validate_cache,
                    symbol,
                    interval,
                    settings=settings,
                    datasets=choice.datasets,
                )
                run_info = RunInfo("validate", settings, symbol, interval)
                reports.append(await record_run(run_info, work))
        self.quality = tuple(reports)
        return self.quality

    def _show_progress(self, progress: Progress) -> None:
        self._work.show_progress(progress, _DOING[self._verb])

    def _ended(self, verb: str, job: Job[Any]) -> None:
        """On the loop's thread, after clean-up; the state is shown last."""
        self._set_busy(is_busy=False)
        self._preview.renew()
        if job.state == "cancelled":
            self._work.show_cancelled(verb)
        elif job.error is not None:
            self._work.show_problem(verb, job.error)
        elif verb == "Validate":
            self._work.show_quality(verb, self.quality)
        elif self.report is not None:
            self._work.show_report(verb, self.report)

    def _set_busy(self, *, is_busy: bool) -> None:
        self._is_busy = is_busy
        for name, button in self.buttons.items():
            button.disabled = is_busy if name != "Cancel" else not is_busy

    # --- how it is shown ---

    def __repr__(self) -> str:
        try:
            return f"<DownloadPanel {choice_text(self.form.choice())}>"
        except AresError as error:
            return f"<DownloadPanel: {error}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live panel, and static HTML for pages where widgets do not run."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        html = self._preview.estimate.value
        try:
            shown = self._preview.picture.value + self._preview.gaps.value
            html = choice_html(self.form.choice(), html, shown)
        except AresError:
            # The estimate says what is wrong with the form.
            pass
        return {**bundle, "text/html": html}
