"""A part of a coverage map: what is told of it, and what is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ares_notebook.cache.coverage import NOT_COUNTED, GapRows, Rows, known_coverage
from ares_notebook.cache.gap_reasons import COMPLETE
from ares_notebook.cache.spans import Scope
from ares_notebook.cache.store import Store
from ares_notebook.download.repair import repair_gaps
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.errors import NeverDownloaded
from ares_notebook.formatting import many
from ares_notebook.model.files import Series, parse_file_name
from ares_notebook.model.time import Period
from ares_notebook.quality.calendar import SeriesGap, gap_words
from ares_notebook.quality.coverage_grid import title_of
from ares_notebook.quality.report import QualityReport
from ares_notebook.quality.validate import validate_cache
from ares_notebook.runtime.tasks import cancellable
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_MOST_GAPS = 4


class Selected(NamedTuple):
    """A window of a series, aware UTC, half-open."""

    dataset: str
    symbol: str
    # None of a dataset that has none.
    interval: str | None
    start: datetime
    end: datetime

    def __str__(self) -> str:
        title = title_of((self.dataset, self.symbol, self.interval or ""))
        return f"{title}, {_moment(self.start)} → {_moment(self.end)}"

    @property
    def series(self) -> Series:
        """The series itself."""
        return Series.of(self.dataset, self.symbol, self.interval)

    @property
    def scope(self) -> Scope:
        """The scope of its series alone."""
        series = self.series
        interval = series.interval if series.dataset.has_interval else None
        return Scope.of(self.symbol, interval, (self.dataset,))


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def cell_words(settings: Settings, series: Sequence[str], window: Period) -> list[str]:
    """Lines about a cell: what it is, its rows, its gaps and their reasons, its source, and when."""
    dataset, symbol, interval = series
    chosen = Selected(dataset, symbol, interval or None, *window)
    lines = [str(chosen)]
    store = Store(settings)
    try:
        rows, gaps = known_coverage(store, chosen.scope, (window.start, window.end))
    except NeverDownloaded:
        return [*lines, "there is no file of it"]
    lines += _rows_words(rows)
    lines += _gaps_words(gaps, window)
    lines += _source_words(store, rows)
    return lines


def _rows_words(rows: Rows) -> list[str]:
    if uncounted := [row for row in rows if row["state"] == NOT_COUNTED]:
        return [f"{many(len(uncounted), 'file')} not counted: no receipt tells what is in it"]
    have, due = (sum(row[name] for row in rows) for name in ("rows", "expected"))
    files = f"{many(len(rows), 'file')}, " if len(rows) > 1 else ""
    states = {row["state"] for row in rows} - {COMPLETE} or {COMPLETE}
    return [f"{files}{have:,} of {many(due, 'row')}, {', '.join(sorted(states))}"]


def _gaps_words(gaps: GapRows, window: Period) -> list[str]:
    """The gaps in the window, the first of many."""
    found = [
        SeriesGap(max(start_ms, window.start_ms), min(end_ms, window.end_ms), missing, reason, note)
        for *_, start_ms, end_ms, missing, reason, note in gaps
        if start_ms < window.end_ms and window.start_ms < end_ms
    ]
    words = [gap_words([gap]) for gap in found[:_MOST_GAPS]]
    more = len(found) - len(words)
    return [*words, f"and {many(more, 'more gap')}"] if more else words


def _source_words(store: Store, rows: Rows) -> list[str]:
    """Where the rows came from, and when: by the receipts."""
    kinds = sorted({str(row["source"]) for row in rows if row["source"] != "none"})
    if not kinds:
        return []
    files = filter(None, (parse_file_name(row["file"]) for row in rows))
    receipts: list[Any] = [receipt for file in files if (receipt := store.receipt(file))]
    times = sorted(source.at for receipt in receipts for source in receipt.sources if source.at)
    when = f", {times[-1][:16].replace('T', ' ')} UTC" if times else ""
    return [f"from {', '.join(kinds)}{when}"]


async def repair_part(chosen: Selected, settings: Settings) -> DownloadReport:
    """Close the gaps in a window of a series, and ask for nothing else."""
    return await repair_gaps(
        *(chosen.symbol, chosen.scope.interval),
        start=chosen.start,
        end=chosen.end,
        settings=settings,
        datasets=(chosen.dataset,),
    )


def _past(chosen: Selected) -> Period:
    """The window up to now."""
    return Period(chosen.start, min(chosen.end, datetime.now(UTC)))


async def load_part(chosen: Selected, settings: Settings) -> pd.DataFrame:
    """Load a window of a series."""

    def load() -> pd.DataFrame:
        # pandas is slow to import, and the map is shown before.
        from ares_notebook.load import read_frame  # noqa: PLC0415 - as said

        return read_frame(
            *(chosen.dataset, chosen.symbol, chosen.interval),
            _past(chosen),
            columns=None,
            decimal=False,
            settings=settings,
        )

    return await cancellable(load)


async def validate_part(chosen: Selected, settings: Settings) -> QualityReport:
    """Check the files of a series that overlap a window."""
    start, end = _past(chosen)
    work = cancellable(
        validate_cache,
        *(chosen.symbol, chosen.scope.interval),
        start=start,
        end=end,
        settings=settings,
        datasets=(chosen.dataset,),
    )
    return await record_run(RunInfo.about("validate", settings, chosen.scope), work)
