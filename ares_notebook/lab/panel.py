"""The download panel, and the actions of its buttons."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
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
from ares_notebook.lab.preview import Preview
from ares_notebook.lab.results import STYLE, ProgressView, ResultView, face_html, face_text
from ares_notebook.load import load_agg_trades, load_futures, load_klines
from ares_notebook.model.datasets import AGG_TRADES, FUTURES, KLINES
from ares_notebook.quality.report import QualityReport
from ares_notebook.quality.validate import validate_cache
from ares_notebook.runtime.job import Job, start
from ares_notebook.runtime.progress import Progress, ProgressListener, heard_by
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

__all__ = ["DownloadPanel", "download_choice", "repair_choice", "validate_choice"]


async def download_choice(
    choice: Choice, hear: ProgressListener, client: Client | None = None
) -> DownloadReport:
    """Bring what is chosen into the cache, by the hands of a cluster where there is a *client* of it."""
    plans = await asyncio.to_thread(_quiet(choice).plans)
    return await record_run(RunInfo.of("download", *plans), _carried_out(plans, hear, client))


def _carried_out(
    plans: Sequence[Plan], hear: ProgressListener, client: Client | None
) -> Coroutine[Any, Any, DownloadReport]:
    if client is None:
        return run_plans(plans, on_progress=hear)
    # Whoever has a client has the extra, and nobody else needs it.
    from ares_notebook.scale.cluster import run_plans_on  # noqa: PLC0415

    return run_plans_on(client, plans, on_progress=hear)


async def repair_choice(
    choice: Choice, hear: ProgressListener, client: Client | None = None
) -> DownloadReport:
    """Close the gaps of what the cache has of the chosen symbols, interval and datasets."""
    settings = _quiet(choice).settings

    def planned() -> list[Plan]:
        return [
            _only(choice.datasets, plan_repair(symbol, choice.interval, settings=settings))
            for symbol in choice.symbols
        ]

    plans = await asyncio.to_thread(planned)
    return await record_run(RunInfo.of("repair", *plans), _carried_out(plans, hear, client))


def _only(datasets: Sequence[str], plan: Plan) -> Plan:
    """Nobody who did not tick them shall get days of trades."""
    return replace(
        plan, steps=tuple(step for step in plan.steps if step.file.dataset.name in datasets)
    )


async def validate_choice(choice: Choice, hear: ProgressListener) -> tuple[QualityReport, ...]:
    """Check what the cache has of the chosen symbols and interval, a report a symbol."""
    settings, interval = _quiet(choice).settings, choice.interval
    reports = []
    for symbol in choice.symbols:
        look = partial(validate_cache, symbol, interval, settings=settings)
        run_info = RunInfo("validate", settings, symbol, interval or "")
        reports.append(await record_run(run_info, _in_thread(look, hear)))
    return tuple(reports)


async def _in_thread(look: Callable[[], QualityReport], hear: ProgressListener) -> QualityReport:
    is_over = threading.Event()

    def hear_or_stop(progress: Progress) -> None:
        if is_over.is_set():
            # A thread cannot be cancelled; it hears of it at the next file.
            raise asyncio.CancelledError
        hear(progress)

    try:
        with heard_by(hear_or_stop):
            return await asyncio.to_thread(look)
    finally:
        is_over.set()


def _quiet(choice: Choice) -> Choice:
    """The panel has bars of its own; another in the output of some cell would be lost."""
    settings = choice.settings.model_copy(update={"progress": False})
    return replace(choice, settings=settings)


_T = TypeVar("_T")


class DownloadPanel(widgets.VBox):  # type: ignore[misc]  # ipywidgets publishes no types
    """
    Pick symbol, interval and lookback, see what it will cost, download, and see what is there.

    As the form changes it says what a download would cost, from the cache alone. The
    work runs in the background, so that the kernel stays free; what the buttons do can
    be awaited as well. A panel of a fresh kernel shows where things stand.

    Parameters
    ----------
    settings : Settings, optional
        What the form shows at first. Defaults to the environment's.
    source : {"binance", "demo"}, optional
        Where from, at first; the demo exchange is the panel's own. Defaults to what
        *settings* say.
    end : date or str, optional
        Nothing at or after its midnight (UTC). Defaults to now.
    datasets : sequence of {"klines", "agg_trades", "futures"}
        What is ticked at first; trades are a thousand times larger than the others.
    client : distributed.Client, optional
        Of a cluster whose workers see the cache folder: downloads and repairs are theirs then.

    Attributes
    ----------
    form : Form
        The controls, such as ``panel.form.interval``; their ``value`` may be set.
    report : DownloadReport or None
        Of the last download or repair.
    quality : tuple of QualityReport
        Of the last validation, one a symbol.

    Raises
    ------
    BadArgument
        If an argument cannot be meant.

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

    # For a panel whose making has failed: ipywidgets closes it all the same.
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
        self._look = Preview(self.form)
        self._parts = (self._look, self.form)
        self._gauge = ProgressView()
        self._outcome = ResultView(self._gauge)
        self.children = [widgets.HTML(STYLE), *self._rows()]
        self.add_class("ares-panel")
        self._look.begin()

    def _rows(self) -> list[widgets.Widget]:
        deeds: dict[str, Callable[[], object]] = {
            "Download": lambda: self._begin("Download", self._download),
            "Cancel": self.cancel,
            "Repair gaps": lambda: self._begin("Repair gaps", self._repair),
            "Validate": lambda: self._begin("Validate", self._validate),
        }
        self.buttons = {name: self._button(name, deed) for name, deed in deeds.items()}
        self.buttons["Download"].button_style = "primary"
        self.buttons["Cancel"].disabled = True
        buttons = widgets.HBox([*self.buttons.values()])
        buttons.add_class("ares-row")
        look = self._look
        return [
            self.form.box,
            look.hint,
            look.estimate,
            buttons,
            self._gauge.box,
            self._outcome.alert,
            self._outcome.result,
            look.picture,
            look.gaps,
            look.code,
        ]

    def _button(self, name: str, deed: Callable[[], object]) -> widgets.Button:
        def clicked(_button: object) -> None:
            try:
                deed()
            except Exception as error:  # noqa: BLE001 - the panel's border: shown, or nobody sees it
                self._outcome.show_problem(name, error)

        button = widgets.Button(description=name)
        button.on_click(clicked)
        return button

    # --- what the next cell asks for ---

    @property
    def last_error(self) -> BaseException | None:
        """What went wrong last, as the panel shows it; None after work that went well."""
        return self._outcome.error

    @property
    def settings(self) -> Settings:
        """
        Settings as the form says.

        Raises
        ------
        BadArgument
            If the form cannot be meant.
        """
        return self.form.choice().settings

    @property
    def frame(self) -> pd.DataFrame:
        """
        The chosen window of the first symbol, from the cache: k-lines, else trades, else funding.

        Raises
        ------
        NeverDownloaded
            If there is nothing of it yet.
        CorruptFile, CacheUnavailable
            If it cannot be read.
        BadArgument
            If the form cannot be meant.
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
        Bring what the form says into the cache; what *Download* does.

        A panel does one thing at a time: while it is downloading, this waits for that.

        Returns
        -------
        DownloadReport
            Of all symbols; true when nothing failed.

        Raises
        ------
        BadArgument
            If the form cannot be meant.
        Busy
            If the panel is repairing or validating.
        AresError
            What `download_all_data` raises.
        """
        return await self._begin("Download", self._download)

    async def repair(self) -> DownloadReport:
        """
        Close the gaps of what is there; what *Repair gaps* does.

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
        Check what the cache holds; what *Validate* does.

        Returns
        -------
        tuple of QualityReport
            One a symbol.

        Raises
        ------
        BadArgument, Busy
            As `download`.
        AresError
            What `validate_cache` raises.
        """
        return await self._begin("Validate", self._validate)

    def cancel(self) -> None:
        """Stop what is under way, and return at once; what is done is kept."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """Stop everything, and take the panel from the screen."""
        self.cancel()
        for part in self._parts:
            part.close()
        super().close()

    # --- the work ---

    def _begin(self, verb: str, work: Callable[[Choice], Coroutine[Any, Any, _T]]) -> Job[_T]:
        """Begin, or join what is under way: ten clicks are one download."""
        with self._lock:
            if self._job is not None and self._is_busy:
                if verb == self._verb:
                    return self._job
                msg = f"the panel is at work ({self._verb}); wait until it has ended, or cancel it"
                raise Busy(msg)
            choice = self.form.choice()
            self._verb = verb
            self._set_busy(is_busy=True)
            self._outcome.begin(_DOING[verb], ", ".join(choice.symbols))
            self._job = job = start(work(choice))
        job.then(partial(self._ended, verb))
        return job

    async def _download(self, choice: Choice) -> DownloadReport:
        self.report = report = await download_choice(choice, self._hear, self._client)
        await self._look.show(choice)
        return report

    async def _repair(self, choice: Choice) -> DownloadReport:
        self.report = report = await repair_choice(choice, self._hear, self._client)
        await self._look.show(choice)
        return report

    async def _validate(self, choice: Choice) -> tuple[QualityReport, ...]:
        self.quality = await validate_choice(choice, self._hear)
        return self.quality

    def _hear(self, progress: Progress) -> None:
        self._gauge.show(progress, _DOING[self._verb])

    def _ended(self, verb: str, job: Job[Any]) -> None:
        """On the loop's thread, when everything is cleaned up; the state is told last."""
        self._set_busy(is_busy=False)
        self._look.renew()
        if job.state == "cancelled":
            self._outcome.show_cancelled(verb)
        elif job.error is not None:
            self._outcome.show_problem(verb, job.error)
        elif verb == "Validate":
            self._outcome.show_quality(verb, self.quality)
        elif self.report is not None:
            self._outcome.show_report(verb, self.report)

    def _set_busy(self, *, is_busy: bool) -> None:
        self._is_busy = is_busy
        for name, button in self.buttons.items():
            button.disabled = is_busy if name != "Cancel" else not is_busy

    # --- faces ---

    def __repr__(self) -> str:
        try:
            return f"<DownloadPanel {face_text(self.form.choice())}>"
        except AresError as error:
            return f"<DownloadPanel: {error}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live panel, and a static face for pages where widgets do not run."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        try:
            choice = self.form.choice()
        except AresError:
            return {**bundle, "text/html": self._look.estimate.value}
        shown = self._look.picture.value + self._look.gaps.value
        return {**bundle, "text/html": face_html(choice, self._look.estimate.value, shown)}


_DOING = {"Download": "Downloading", "Repair gaps": "Repairing", "Validate": "Validating"}
