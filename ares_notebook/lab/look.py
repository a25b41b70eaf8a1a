"""What the cache holds, to look at: the prices of a choice as a chart, and all of it as a map."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import ipywidgets as widgets

from ares_notebook.errors import AresError
from ares_notebook.formatting import line
from ares_notebook.lab.chart import CandleChart
from ares_notebook.lab.choice import Choice
from ares_notebook.lab.coverage_map import CoverageMap
from ares_notebook.lab.form import problem_html
from ares_notebook.lab.map_part import Selected
from ares_notebook.lab.views import error_html
from ares_notebook.model.files import Series
from ares_notebook.model.time import Period
from ares_notebook.runtime.job import Job, start
from ares_notebook.settings import Settings

NOTHING_TO_SHOW = "Nothing to show yet: download candles first."


class Look:
    """
    The chart of the panel, which series it shows, and below it the map of the whole cache.

    They are made when they are first asked for, in the background. Requests are numbered: what was
    read for an older one is closed and not shown.
    """

    def __init__(
        self, shown: Callable[[], object], done: Callable[[str, Selected], object]
    ) -> None:
        # *shown* is called after each change of the chart, *done* after each work on a part of the map.
        self._shown, self._done = shown, done
        self._number = 0
        # What is under way, and what was last.
        self.jobs: list[Job[None]] = []
        self.chart: CandleChart | None = None
        self.map: CoverageMap | None = None
        self._choice: Choice | None = None
        self._is_offering = False
        # Whether the host draws no chart that is made in the background: then pictures are shown.
        self.is_static = False
        self.series = widgets.Dropdown(description="Series", options=())
        self.series.add_class("ares-field")
        self.series.layout.display = "none"
        self.series.observe(self._picked, "value")
        self.said = widgets.HTML(line(NOTHING_TO_SHOW))
        self.place, self.map_place = widgets.VBox(), widgets.VBox()
        self.place.add_class("ares-place")
        self.box = widgets.VBox([self.series, self.said, self.place, self.map_place])

    @property
    def static_html(self) -> str:
        """The chart as a picture; empty without one."""
        return "" if self.chart is None else self.chart.static_html()

    def show(self, choice: Choice) -> None:
        """Show the picked series of a choice, or the first that the cache has."""
        self._begin(self._show_choice(self._next(), choice))

    def _show_part(self, part: Selected) -> None:
        """Show a part of the map, and as much on either side."""
        if self.map is not None:
            window = _around(Period(part.start, part.end))
            self._begin(self._show_series(self._next(), self.map.settings, part.series, window))

    async def settled(self) -> None:
        """Wait until chart and map have answered all that their pages asked."""
        for each in (self.chart, self.map):
            if each is not None:
                await each.settled()

    def close(self) -> None:
        """Close chart and map, and show nothing that is being read."""
        self._next()
        if self.map is not None:
            self.map.close()
            self.map = None
        if self.chart is not None:
            self.chart.close()
            self.chart = None

    def _next(self) -> int:
        """The number of a new request, which makes all others old: they end by themselves."""
        self._number += 1
        return self._number

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        job = start(work)
        self.jobs = [*(each for each in self.jobs if each.state == "running"), job]
        job.then(self._ended)

    def _ended(self, job: Job[None]) -> None:
        """Show an error, unless something else was asked for since."""
        if job.error is not None and job is self.jobs[-1]:
            self.said.value = error_html(job.error)

    async def _show_choice(self, number: int, choice: Choice) -> None:
        offered = await asyncio.to_thread(_cached, choice)
        if number != self._number:
            return
        self._choice = choice
        self._offer(offered)
        series = self.series.value
        if series is not None:
            await self._show_series(number, choice.settings, series, choice.window)
        else:
            self._put(None, line(NOTHING_TO_SHOW))
        await self._show_map(number, choice.settings)

    async def _show_map(self, number: int, settings: Settings) -> None:
        """Look into the cache again, into another one with another map."""
        shown = self.map
        if number != self._number or self.is_static:
            return
        if shown is None or shown.settings.cache_dir != settings.cache_dir:
            made = CoverageMap(settings=settings)
            made.on_show_in_chart(self._show_part)
            made.on_done(self._done)
            self.map, self.map_place.children = made, [made]
            if shown is not None:
                shown.close()
            shown = made
        await shown.refresh()

    async def _show_series(
        self, number: int, settings: Settings, series: Series, window: Period
    ) -> None:
        try:
            chart = await asyncio.to_thread(_made, settings, series, window)
        except AresError as error:
            if number == self._number:
                self._put(None, problem_html(str(error)))
            return
        if number != self._number:
            chart.close()
            return
        self._put(chart, "")

    def _put(self, chart: CandleChart | None, words: str) -> None:
        """Show a chart in place of the one before."""
        before, self.chart = self.chart, chart
        self.place.children = [] if chart is None or self.is_static else [chart]
        self.said.value = words or (_picture(chart) if chart is not None and self.is_static else "")
        if before is not None:
            before.close()
        self._shown()

    def _offer(self, offered: Sequence[Series]) -> None:
        kept = self.series.value if self.series.value in offered else next(iter(offered), None)
        self._is_offering = True
        self.series.options = [(_title(each), each) for each in offered]
        self.series.value = kept
        self._is_offering = False
        self.series.layout.display = "" if len(offered) > 1 else "none"

    def _picked(self, change: dict[str, object]) -> None:
        series, choice = change["new"], self._choice
        if isinstance(series, Series) and choice is not None and not self._is_offering:
            number = self._next()
            self._begin(self._show_series(number, choice.settings, series, choice.window))


def _cached(choice: Choice) -> list[Series]:
    """The series of candles of a choice of which the cache has files."""
    steps = (step for plan in choice.plans() for step in plan.steps if step.entry.on_disk)
    found = dict.fromkeys(step.file.series for step in steps)
    return [series for series in found if series.dataset.has_interval]


def _made(settings: Settings, series: Series, window: Period) -> CandleChart:
    """The chart of all that the cache has of a series; its view is the part of it in the window."""
    chart = CandleChart(
        series.symbol, series.interval, dataset=series.dataset.name, settings=settings
    )
    first, last = chart.view
    start, end = max(first, window.start), min(last, window.end)
    if start < end:
        chart.view = start, end
    return chart


def _picture(chart: CandleChart) -> str:
    """The chart as a picture, and how to get it live."""
    series = chart.series
    call = f'ares.chart("{series.symbol}", "{series.interval}", settings=panel.settings)'
    return chart.static_html() + line(f"In a cell of its own it can be zoomed: {call}")


def _around(window: Period) -> Period:
    span = window.end - window.start
    return Period(window.start - span, window.end + span)


def _title(series: Series) -> str:
    return f"{series.symbol} {series.interval} {series.dataset.title}"
