"""What a coverage map shows: its table, its cells, and its static view."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import traitlets

from ares_notebook.cache.coverage import known_coverage
from ares_notebook.cache.spans import Scope
from ares_notebook.cache.store import Store
from ares_notebook.errors import AresError, BadArgument
from ares_notebook.formatting import block, line
from ares_notebook.lab.map_part import Selected, cell_words
from ares_notebook.lab.widget import Answer, Answering, AskedWidget, css, esm, page
from ares_notebook.model.time import Period, to_ms, utc
from ares_notebook.quality.coverage_grid import KINDS, CoverageGrid, grid_of, grid_svg, title_of
from ares_notebook.runtime.tasks import cancellable
from ares_notebook.settings import Settings, settings_given

By = Literal["month", "day"]
# What a screen reader is told of a map with more series than it would wait for.
_MOST_SPOKEN = 20


class MapView(AskedWidget):
    """What a coverage map shows, and what the page asks about it."""

    _esm = esm("map.js")
    _css = css("map.css")
    _label = "coverage map"
    _page = traitlets.Unicode(page("map.html"), read_only=True).tag(sync=True)
    _kinds = traitlets.List([each._asdict() for each in KINDS]).tag(sync=True)
    # What the page draws: the grid without its cells, and these.
    _grid = traitlets.Dict().tag(sync=True)
    _cells = traitlets.Bytes().tag(sync=True)
    # A series as its three names, and a window; empty where nothing is selected.
    _selection = traitlets.Dict().tag(sync=True)
    # What a button does, or did.
    _status = traitlets.Dict({"words": "", "error": "", "busy": "", "share": 0.0}).tag(sync=True)
    # The reference of a chart below the map; empty without one.
    _chart = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        scope: Scope,
        by: By,
        settings: Settings | None,
        answers: Mapping[str, Answering],
    ) -> None:
        _check_by(by)
        given = settings_given(settings)
        # The map shows its own progress: no bar in the output of some cell.
        self.settings = given.replace(progress=False)
        self._scope = scope
        self._by: By = by
        self._table = CoverageGrid(by, (), (), b"")
        self._trouble = ""
        self._looks = 0
        super().__init__({"cell": self._answer_cell, "by": self._answer_by, **answers})

    async def refresh(self) -> None:
        """Look into the cache again, by its receipts; what is selected stays selected."""
        self._looks += 1
        number, trouble = self._looks, ""
        try:
            table = await cancellable(self._looked)
        except AresError as error:
            # It is what there is to show: an empty cache is no failure of the map.
            table, trouble = CoverageGrid(self._by, (), (), b""), str(error)
        if number != self._looks or self._is_closed:
            # Somebody has begun to look after this, and will see more.
            return
        self._table, self._trouble = table, trouble
        with self.hold_sync():
            self._cells = table.cells
            self._grid = {
                "by": table.cut,
                "bounds": list(table.bounds_ms),
                "series": [list(each) for each in table.series],
                "titles": [title_of(each) for each in table.series],
                "headline": self._trouble or table.headline,
            }
            self._selection = self._kept_selection()
        self._renew_static_view()

    def _looked(self) -> CoverageGrid:
        found = known_coverage(Store(self.settings), self._scope)
        return grid_of(*found, self._by, to_ms(datetime.now(UTC)))

    def _kept_selection(self) -> dict[str, Any]:
        """The selection, unless its series is not there any more."""
        chosen = self._selection
        return chosen if chosen and tuple(chosen["series"]) in self._table.series else {}

    @property
    def by(self) -> By:
        """What a cell is, a month or a day."""
        return self._by

    async def show_by(self, by: By) -> None:
        """
        Show months or days.

        Parameters
        ----------
        by : {"month", "day"}
            What a cell is.
        """
        _check_by(by)
        self._by = by
        await self.refresh()

    @property
    def selected(self) -> Selected | None:
        """
        The selected part of a series: dataset, symbol, interval, and its window, aware UTC, half-open.

        None where nothing is selected.
        """
        chosen = self._selection
        if not chosen:
            return None
        dataset, symbol, interval = chosen["series"]
        return Selected(
            dataset, symbol, interval or None, utc(chosen["start_ms"]), utc(chosen["end_ms"])
        )

    # --- what the page asks ---

    def _answer_cell(self, asked: Mapping[str, Any]) -> Answer:
        """The lines about a cell, by the names of its series and the bounds of its column."""
        series, start_ms, end_ms = self._part(asked)
        window = Period(utc(start_ms), utc(end_ms))
        return {"lines": cell_words(self.settings, series, window)}, ()

    def _part(self, asked: Mapping[str, Any]) -> tuple[tuple[str, str, str], int, int]:
        """A series of the map and a window, as a page names them; raises for any other."""
        names, start_ms, end_ms = asked.get("series"), asked.get("start"), asked.get("end")
        if isinstance(names, list) and isinstance(start_ms, int) and isinstance(end_ms, int):
            series = next((each for each in self._table.series if [*each] == names), None)
            bounds = self._table.bounds_ms
            if series and start_ms in bounds and end_ms in bounds and start_ms < end_ms:
                return series, start_ms, end_ms
        msg = "the map has changed since; choose again"
        raise BadArgument(msg)

    async def _answer_by(self, asked: Mapping[str, Any]) -> Answer:
        await self.show_by("day" if asked.get("by") == "day" else "month")
        return {}, ()

    def close(self) -> None:
        """Free the table, and remove the map from the page."""
        self._table = CoverageGrid("month", (), (), b"")
        super().close()

    # --- how it is shown ---

    def __repr__(self) -> str:
        if self._trouble:
            return f"<CoverageMap: {self._trouble}>"
        rows = range(min(len(self._table.series), _MOST_SPOKEN))
        words = [self._table.headline, *(self._table.words(row) for row in rows)]
        if more := len(self._table.series) - len(rows):
            words.append(f"and {more:,} more series")
        return f"<CoverageMap {'; '.join(words)}>"

    def static_html(self) -> str:
        """What pages show on which widgets do not run."""
        if not self._table.series:
            return line(self._trouble or self._table.headline)
        return block(self._table.headline, grid_svg(self._table, prefix=f"map-{self.model_id[:8]}"))


def _check_by(by: str) -> None:
    if by not in ("month", "day"):
        msg = f'by={by!r} is neither "month" nor "day"'
        raise BadArgument(msg)
