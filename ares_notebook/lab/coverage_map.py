"""The coverage map: what the cache holds, a line a series, and what is done with a part of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ares_notebook.cache.spans import Scope
from ares_notebook.download.report import DownloadReport
from ares_notebook.errors import AresError, BadArgument, Busy
from ares_notebook.formatting import many
from ares_notebook.lab.chart import CandleChart
from ares_notebook.lab.map_part import Selected, load_part, repair_part, validate_part
from ares_notebook.lab.map_view import MapView
from ares_notebook.lab.widget import Answer
from ares_notebook.model.time import as_utc, to_ms, utc
from ares_notebook.quality.coverage_grid import title_of
from ares_notebook.quality.report import QualityReport
from ares_notebook.runtime.job import Job, start
from ares_notebook.runtime.progress import Progress, heard_by
from ares_notebook.runtime.tasks import cancellable
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")


class CoverageMap(MapView):
    """
    A map of what the cache holds, for notebooks: a line a series, a cell a month or a day.

    Made by `coverage_map`. The pointer on a cell, or the arrow keys, tell its rows, the reasons of
    its gaps, where its rows came from and when; a click, a drag or Enter selects a part of a line.
    What the buttons do with it can be awaited as well. The map reads receipts alone: what no receipt
    tells is *not counted*, never complete.

    Parameters
    ----------
    symbol, interval, by, settings, datasets
        As in `coverage_map`.

    Attributes
    ----------
    frame : pandas.DataFrame or None
        What was loaded last.
    report : DownloadReport or None
        The report of the last repair.
    quality : QualityReport or None
        The report of the last validation.

    Raises
    ------
    BadArgument
        If an argument is invalid.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.2, end="2025-03-01", settings=settings))
    ...     shown = CoverageMap(settings=settings)
    ...     run(shown.refresh())
    ...     shown.select("BTCUSDT", "2025-01-01", "2025-02-01")
    ...     frame = run(shown.load())
    >>> shown
    <CoverageMap 1 series, 2024-12 to 2025-02, no open gap; BTCUSDT klines 1d, 2024-12 to 2025-02: 3 of 3 months complete>
    >>> len(frame), shown.selected.start.date().isoformat()
    (31, '2025-01-01')
    """

    # Of a map whose constructor has raised: ipywidgets closes it all the same.
    _job: Job[Any] | None = None
    _below: CandleChart | None = None

    def __init__(
        self,
        symbol: str | None = None,
        interval: str | None = None,
        *,
        by: Literal["month", "day"] = "month",
        settings: Settings | None = None,
        datasets: Sequence[str] | None = None,
    ) -> None:
        self.frame: pd.DataFrame | None = None
        self.report: DownloadReport | None = None
        self.quality: QualityReport | None = None
        self._verb = ""
        self._lock = threading.Lock()
        self._shows_in_chart: list[Callable[[Selected], object]] = []
        self._when_done: list[Callable[[str, Selected], object]] = []
        self._changes: list[Callable[[], object]] = []
        answers = {"select": self._answer_select, "act": self._answer_act}
        super().__init__(Scope.of(symbol, interval, datasets), by, settings, answers)

    # --- what is selected ---

    def select(
        self,
        symbol: str,
        start: datetime | date | str,
        end: datetime | date | str,
        *,
        dataset: str = "",
        interval: str = "",
    ) -> None:
        """
        Select a window of a series, as a drag over its cells does.

        Parameters
        ----------
        symbol : str
            Such as ``"BTCUSDT"``.
        start, end : datetime, date or str
            The window ``[start, end)``, UTC.
        dataset, interval : str
            Where the map shows several series of the symbol: which.

        Raises
        ------
        BadArgument
            If the map shows no such series, or several, or *start* is not before *end*.
        """
        wanted = (dataset, symbol.upper(), interval)
        found = [
            each
            for each in self._table.series
            if all(want in ("", name) for want, name in zip(wanted, each, strict=True))
        ]
        if len(found) != 1:
            names = ", ".join(map(title_of, found)) or "none"
            msg = f"symbol={symbol!r}: of the series of the map this names {names}; name one, with dataset= and interval="
            raise BadArgument(msg)
        start_ms, end_ms = to_ms(as_utc(start, "start")), to_ms(as_utc(end))
        if start_ms >= end_ms:
            msg = f"start={start!r} is not before end={end!r}"
            raise BadArgument(msg)
        self._select(found[0], start_ms, end_ms)

    def _select(self, series: Sequence[str], start_ms: int, end_ms: int) -> None:
        dataset, symbol, interval = series
        chosen = Selected(dataset, symbol, interval or None, utc(start_ms), utc(end_ms))
        self._selection = {
            "series": list(series),
            "start_ms": start_ms,
            "end_ms": end_ms,
            "words": str(chosen),
        }
        self._tell_change()

    def clear(self) -> None:
        """Select nothing."""
        self._selection = {}
        self._tell_change()

    def on_select(self, call: Callable[[], object]) -> None:
        """
        Let *call* be called after each change of the selection.

        Parameters
        ----------
        call : callable
            Runs on the thread that selects, so it must not wait for anything.
        """
        self._changes.append(call)

    def on_show_in_chart(self, call: Callable[[Selected], object]) -> None:
        """
        Let *call* be called with what is selected by *Show in chart*, in place of a chart below the map.

        Parameters
        ----------
        call : callable
            Runs on the background loop's thread, so it must not wait for anything.
        """
        self._shows_in_chart.append(call)

    def on_done(self, call: Callable[[str, Selected], object]) -> None:
        """
        Let *call* be called with the name of a button and what was selected, when its work is done.

        Parameters
        ----------
        call : callable
            Runs on the background loop's thread, so it must not wait for anything.
        """
        self._when_done.append(call)

    def _tell_change(self) -> None:
        for call in self._changes:
            call()

    def _chosen(self) -> Selected:
        chosen = self.selected
        if chosen is None:
            msg = "nothing is selected in the map; click a cell of it, or call select()"
            raise BadArgument(msg)
        return chosen

    # --- what the buttons do ---

    async def repair(self) -> DownloadReport:
        """
        Close the gaps in what is selected, as the button *Repair this* does, and ask for nothing else.

        Returns
        -------
        DownloadReport
            True when nothing failed.

        Raises
        ------
        BadArgument
            If nothing is selected.
        Busy
            If the map is at work.
        AresError
            What `repair_gaps` raises.
        """
        return await self._begin("Repair this", self._repaired)

    async def load(self) -> pd.DataFrame:
        """
        Load what is selected, as the button *Load this* does; it is `frame` afterwards, too.

        Returns
        -------
        pandas.DataFrame
            As `load_rows`; of an incomplete window there is no warning, ``attrs`` tell it.

        Raises
        ------
        BadArgument, Busy
            As `repair`.
        AresError
            What `load_rows` raises.
        """
        return await self._begin("Load this", self._loaded)

    async def validate(self) -> QualityReport:
        """
        Check what is selected, as the button *Validate this* does.

        Returns
        -------
        QualityReport
            True when there is no error.

        Raises
        ------
        BadArgument, Busy
            As `repair`.
        AresError
            What `validate_cache` raises.
        """
        return await self._begin("Validate this", self._validated)

    async def show_in_chart(self) -> None:
        """
        Show what is selected in a chart, as the button *Show in chart* does.

        It opens below the map, unless `on_show_in_chart` was told who shows it.

        Raises
        ------
        BadArgument, Busy
            As `repair`.
        AresError
            What `chart` raises.
        """
        await self._begin("Show in chart", self._charted)

    async def settled(self) -> None:
        """Wait until nothing is under way: no button's work, and no question of the page."""
        await super().settled()
        job = self._job
        if job is not None:
            over = asyncio.Event()
            loop = asyncio.get_running_loop()
            job.then(lambda _: loop.call_soon_threadsafe(over.set))
            await over.wait()

    def close(self) -> None:
        """Cancel what is under way, free the table, and remove the map from the page."""
        if self._job is not None:
            self._job.cancel()
        if self._below is not None:
            self._below.close()
        self.frame = self._below = None
        super().close()

    def _begin(self, verb: str, work: Callable[[Selected], Coroutine[Any, Any, _T]]) -> Job[_T]:
        """Begin the work of a button; ten clicks are one."""
        with self._lock:
            if self._job is not None and self._job.state == "running":
                if verb == self._verb:
                    return self._job
                msg = f"the map is at work ({self._verb}); wait until it has ended"
                raise Busy(msg)
            chosen = self._chosen()
            self._verb = verb
            self._say(f"{verb}: {chosen} …", busy=verb)
            self._job = job = start(self._worked(verb, work, chosen))
        return job

    async def _worked(
        self, verb: str, work: Callable[[Selected], Coroutine[Any, Any, _T]], chosen: Selected
    ) -> _T:
        try:
            with heard_by(partial(self._show_progress, verb, chosen)):
                result = await work(chosen)
        except asyncio.CancelledError:
            self._say(f"{verb}: cancelled; what is done is kept ({chosen}).")
            raise
        except Exception as error:
            # A border: the error is shown here, and raised for who awaits the work.
            kind = "" if isinstance(error, AresError) else f"{type(error).__name__}: "
            self._say(f"{verb}: failed ({chosen}).", error=f"{kind}{error}")
            raise
        for call in self._when_done:
            call(verb, chosen)
        return result

    def _say(self, words: str, *, error: str = "", busy: str = "", share: float = 0.0) -> None:
        self._status = {"words": words, "error": error, "busy": busy, "share": share}

    def _show_progress(self, verb: str, chosen: Selected, progress: Progress) -> None:
        waiting = f"; {progress.waiting}" if progress.waiting else ""
        self._say(f"{verb}: {chosen}, {progress}{waiting}", busy=verb, share=progress.share)

    async def _repaired(self, chosen: Selected) -> DownloadReport:
        self.report = report = await repair_part(chosen, self.settings)
        await self.refresh()
        headline, _, _ = str(report).partition("\n")
        self._say(f"Repair this: {chosen}: {headline}", error=report.failed_in_words)
        return report

    async def _loaded(self, chosen: Selected) -> pd.DataFrame:
        self.frame = frame = await load_part(chosen, self.settings)
        state = "complete" if frame.attrs["complete"] else "not complete"
        self._say(
            f"Load this: {chosen}: {many(len(frame), 'row')}, {state}; `frame` of the map has them."
        )
        return frame

    async def _validated(self, chosen: Selected) -> QualityReport:
        self.quality = report = await validate_part(chosen, self.settings)
        await self.refresh()
        headline, _, _ = str(report).partition("\n")
        self._say(f"Validate this: {chosen}: {headline}")
        return report

    async def _charted(self, chosen: Selected) -> None:
        if self._shows_in_chart:
            for call in self._shows_in_chart:
                call(chosen)
        else:
            await cancellable(self._open_chart, chosen)
        self._say(f"Show in chart: {chosen}")

    def _open_chart(self, chosen: Selected) -> None:
        """Open a chart of the series below the map, in place of the last one."""
        made = CandleChart(
            *(chosen.symbol, chosen.series.interval),
            dataset=chosen.dataset,
            settings=self.settings,
        )
        made.view = chosen.start, chosen.end
        last, self._below = self._below, made
        self._chart = f"IPY_MODEL_{made.model_id}"
        if last is not None:
            last.close()

    # --- what the page asks ---

    def _answer_select(self, asked: Mapping[str, Any]) -> Answer:
        if asked.get("series") is None:
            self.clear()
        else:
            self._select(*self._part(asked))
        return {}, ()

    def _answer_act(self, asked: Mapping[str, Any]) -> Answer:
        acts: dict[object, Callable[[], object]] = {
            "Repair this": lambda: self._begin("Repair this", self._repaired),
            "Load this": lambda: self._begin("Load this", self._loaded),
            "Validate this": lambda: self._begin("Validate this", self._validated),
            "Show in chart": lambda: self._begin("Show in chart", self._charted),
            "Cancel": self._cancel,
        }
        if (act := acts.get(asked.get("verb"))) is not None:
            act()
        return {}, ()

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()


def coverage_map(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    by: Literal["month", "day"] = "month",
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> CoverageMap:
    """
    Show what the cache holds as a map: a line a series, a cell a month or a day.

    The pointer or the arrow keys tell of a cell its rows, the reasons of its gaps, and where its rows
    came from; what is selected can be repaired, loaded, validated and shown in a chart. Reads
    receipts alone, so that it is quick: a file that would have to be read is *not counted*.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all cached ones.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    by : {"month", "day"}
        What a cell is.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to show. Defaults to the environment's.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    CoverageMap
        The last line of a cell shows it. Of an empty cache it says how to fill it.

    Raises
    ------
    BadArgument
        If an argument is invalid.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.2, end="2025-04-01", settings=settings))
    ...     shown = coverage_map(settings=settings)
    >>> shown
    <CoverageMap 1 series, 2025-01 to 2025-03, no open gap; BTCUSDT klines 1h, 2025-01 to 2025-03: 2 of 3 months complete, gap explained in 1 (2025-03)>
    """
    shown = CoverageMap(symbol, interval, by=by, settings=settings, datasets=datasets)
    start(shown.refresh()).wait()
    return shown
