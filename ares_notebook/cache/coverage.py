"""Coverage and gaps of the cache, as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import (
    COMPLETE,
    QUIET,
    state_of,
    why_open,
)
from ares_notebook.cache.spans import Scope, Span, by_series, cached_files, nothing_cached, spans
from ares_notebook.cache.store import Store
from ares_notebook.model.facts import NOT_PUBLISHED, Gap, grid_rows
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.model.gaps import Absence, evidence_of, halted, is_final, unexplained
from ares_notebook.model.markets import SPOT
from ares_notebook.model.time import as_utc, to_ms
from ares_notebook.runtime.cancellation import check_cancelled
from ares_notebook.runtime.progress import tracked
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

NOT_COUNTED = "not counted"
"""The state of a file in `known_coverage` that would have to be read."""
_SERIES_NAMES = ["dataset", "symbol", "interval"]
_GAP_NAMES = [*_SERIES_NAMES, "start", "end", "missing", "reason", "note"]


def coverage(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> pd.DataFrame:
    """
    List the files of the cache and what is missing in them, by series and time.

    Asks no network. A file whose receipt matches is not opened. A file without a receipt is
    read once: what was measured is noted in ``.ares/measured.jsonl``, where that can be
    written, and holds while size and time of the file match. Only this table and `find_gaps`
    use these notes; whatever reads the file and finds something else removes its note.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all cached ones.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    start, end : datetime, date or str, optional
        Only files whose period overlaps ``[start, end)``; rows at or after *end* are
        not expected. Defaults to all files, up to now.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    pandas.DataFrame
        One row for each file, with the columns ``dataset, symbol, interval, file, start, end,
        rows, expected, share, first, last, holes, confirmed_absent, source, final, state``.
        ``expected`` is the number of rows that belong in the file: times of a grid, ids of trades, or
        funding events; ``share``, from 0 to 1, is the part of them that is there. ``holes`` is the
        number of gaps that the exchange has not confirmed, ``confirmed_absent`` the number of rows
        that it has confirmed as absent. ``source`` is ``archive``, ``rest``, both, ``legacy`` (a file of
        the original downloader), ``unknown`` (no receipt) or ``none`` (no file). ``final`` is
        whether no more rows will come. ``state`` is ``complete`` or the reason why rows are
        missing, as in `find_gaps`: ``confirmed absent upstream``, ``before listing``, ``after
        delisting``, ``between listings``, ``unconfirmed``, ``not downloaded``, ``not yet
        published``, ``failed`` or ``corrupt, quarantined``. Times are aware UTC.
        ``attrs["gaps"]`` is JSON text with the gaps of these files, for `plot_coverage`.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of the selection.
    BadArgument
        If an argument is invalid.
    CacheUnavailable
        If the cache folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     table = coverage(settings=settings)
    >>> table[["rows", "expected", "final"]].values.tolist()
    [[31, 31, True], [28, 28, True]]
    """
    rows, gaps = coverage_rows(
        symbol, interval, start=start, end=end, settings=settings, datasets=datasets
    )
    from ares_notebook.cache.table import table_of  # noqa: PLC0415 - pandas is slow to import

    table = table_of(list(rows[0]), rows)
    # As text: pandas copies the values of attrs at each selection, and a text costs nothing.
    table.attrs["gaps"] = json.dumps(gaps)
    return table


def coverage_rows(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    """The rows of `coverage`, with times in milliseconds, and the gaps of these files; without pandas."""
    settings = settings_given(settings)
    store, scope = Store(settings), Scope.of(symbol, interval, datasets)
    now = datetime.now(UTC)
    now_ms, until_ms = to_ms(now), to_ms(now if end is None else as_utc(end))
    files = cached_files(store, scope, start, end)
    groups = [group for _, group in by_series(files)]
    entries = [entry for found in _measured(store, groups, settings) for entry in found]
    if not any(_is_known(entry) for entry in entries):
        raise nothing_cached(store, scope)
    return _rows_and_gaps(entries, until_ms, now_ms)


Rows: TypeAlias = "list[dict[str, Any]]"
"""Of a coverage; times are in milliseconds."""
GapRows: TypeAlias = "list[tuple[str, str, str, int, int, int | None, str, str]]"
"""Of the gaps in it: dataset, symbol, interval, start, end, missing, reason, note."""


def known_coverage(
    store: Store,
    scope: Scope,
    window: tuple[datetime | None, datetime | None] = (None, None),
) -> tuple[Rows, GapRows]:
    """
    The rows of `coverage`, and of its gaps, by receipts and notes alone: no file is read.

    A file that would have to be read is `NOT_COUNTED`. Raises `NeverDownloaded` if there is none.
    """
    now_ms = to_ms(datetime.now(UTC))
    rows: Rows = []
    gaps: GapRows = []
    for _, files in by_series(cached_files(store, scope, *window)):
        check_cancelled()
        entries = store.known_entries(files)
        own_rows, own_gaps = _rows_and_gaps(entries, now_ms, now_ms)
        rows += own_rows
        gaps += own_gaps
    if not rows:
        raise nothing_cached(store, scope)
    return rows, gaps


def _rows_and_gaps(
    entries: Sequence[CacheEntry], until_ms: int, now_ms: int
) -> tuple[Rows, GapRows]:
    """The rows of some entries, and of the gaps in them."""
    # A file that was requested and failed has a row too, which says why.
    known = [entry for entry in entries if entry.trouble or _is_known(entry)]
    rows = [_row(entry, until_ms, now_ms) for entry in known]
    gaps = [
        (*_series_names(entry.file.series), *gap.cells)
        for entry, row in zip(known, rows, strict=True)
        if row["state"] not in (COMPLETE, NOT_COUNTED)
        for gap in _entry_gaps(entry, _end_of(entry, until_ms), now_ms)
    ]
    return rows, gaps


def _measured(
    store: Store, groups: Sequence[Sequence[CacheFile]], settings: Settings
) -> Iterator[list[CacheEntry]]:
    """The entries of each group; progress is shown while files without a receipt are read."""
    unmeasured = store.unmeasured(file for group in groups for file in group)
    progress = tracked(unmeasured, settings, "without a receipt") if unmeasured else iter(())
    for group in groups:
        yield store.noted_entries(group, lambda: next(progress, None))
    # Ends the bar.
    next(progress, None)


def _is_known(entry: CacheEntry) -> bool:
    """Whether it has rows, once had rows, or is proven to have none."""
    return bool(entry.on_disk or entry.absences or entry.recorded_rows)


def _row(entry: CacheEntry, until_ms: int, now_ms: int) -> dict[str, Any]:
    """One row of the coverage, with times in milliseconds."""
    file, facts, proven = entry.file, entry.facts, entry.proven
    until_ms = _end_of(entry, until_ms)
    gaps = entry.gaps(until_ms)
    left = entry.unexplained(until_ms)
    missing, good = entry.missing(gaps), proven.rows - proven.off_grid
    expected = len(file.opens(until_ms)) if file.dataset.has_grid else good + missing
    return {
        **dict(zip(_SERIES_NAMES, _series_names(file.series), strict=True)),
        "file": file.name,
        "start": file.start_ms,
        "end": file.end_ms,
        "rows": facts.rows,
        "expected": expected,
        "share": good / expected if expected else float(entry.problem is None),
        "first": facts.first_ms,
        "last": facts.last_ms,
        "holes": len(left),
        "confirmed_absent": missing - entry.missing(left),
        "source": _source(entry),
        "final": not left and (entry.final or _is_final(entry)),
        "state": state_of(entry, gaps, left, now_ms) if entry.is_counted else NOT_COUNTED,
    }


def _series_names(series: Series) -> tuple[str, str, str]:
    """The cells of a series in a table."""
    return series.dataset.name, series.symbol, series.interval or ""


def _end_of(entry: CacheEntry, until_ms: int) -> int:
    """Up to where rows are expected: rows after the end exist all the same, and count too."""
    return max(until_ms, entry.facts.covered_until_ms or 0)


def _is_final(entry: CacheEntry) -> bool:
    """Whether it is final by what is known today, of its neighbours too."""
    file = entry.file
    if entry.on_disk is not None and not entry.has_provenance:
        return False
    return is_final(file, entry.proven, entry.absences, file.grid_end_ms, entry.neighbours)


def _source(entry: CacheEntry) -> str:
    if entry.on_disk is None:
        return "none"
    if entry.legacy:
        return "legacy"
    roads = {source.road.rpartition(" ")[2] for source in entry.sources}
    return "+".join(sorted(roads)) or "unknown"


def find_gaps(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> pd.DataFrame:
    """
    List where rows are missing in the cache, and why, by series and time.

    Reads the disk only; the reasons are the answers that earlier runs recorded.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all cached ones.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    start, end : datetime, date or str, optional
        The window ``[start, end)``. Defaults to what the cache spans, in whole files,
        up to now.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    pandas.DataFrame
        One row for each gap, with the columns ``dataset, symbol, interval, start, end, missing,
        reason, note``. Times are aware UTC, half-open. ``missing`` is the number of rows, NA
        where it is unknown (trades with unknown ids). ``reason`` is one of ``not downloaded``,
        ``not yet published``, ``before listing``, ``after delisting``, ``between listings``,
        ``confirmed absent upstream``, ``unconfirmed`` (the answers do not prove that there are
        no rows), ``corrupt, quarantined``, ``failed``, and ``quiet``: hours without a trade
        between consecutive ids, where nothing is missing.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of the selection.
    BadArgument
        If an argument is invalid.
    CacheUnavailable
        If the cache folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.05, end="2025-04-01", settings=settings))
    ...     table = find_gaps("BTCUSDT", "1h", settings=settings)
    >>> print(table.loc[0, "start"], table.loc[0, "missing"], table.loc[0, "reason"])
    2025-03-14 02:00:00+00:00 2 confirmed absent upstream
    """
    from ares_notebook.cache.table import table_of  # noqa: PLC0415 - pandas is slow to import

    settings = settings_given(settings)
    store, scope = Store(settings), Scope.of(symbol, interval, datasets)
    now_ms = to_ms(datetime.now(UTC))
    found = spans(store, scope, start, end)
    rows = [
        dict(zip(_GAP_NAMES, (*_series_names(span.series), *gap.cells), strict=True))
        for span, entries in zip(
            found, _measured(store, [each.files for each in found], settings), strict=True
        )
        for gap in _merged(_gaps_of(span, entries, now_ms))
    ]
    table = table_of(_GAP_NAMES, rows)
    table["missing"] = table["missing"].astype("Int64")
    return table


class _ExplainedGap(Struct, frozen=True, gc=False):
    """A gap of one series with its reason; *missing* is None where it is unknown."""

    start_ms: int
    end_ms: int
    missing: int | None
    reason: str
    note: str
    at: str = ""

    @property
    def cells(self) -> tuple[int, int, int | None, str, str]:
        """Its cells in a table: start, end, missing, reason, note."""
        note = ", ".join(filter(None, (self.note, self.at)))
        return self.start_ms, self.end_ms, self.missing, self.reason, note


def _gaps_of(span: Span, entries: Iterable[CacheEntry], now_ms: int) -> Iterator[_ExplainedGap]:
    """The gaps of one series, file by file."""
    for entry in entries:
        for gap in _entry_gaps(entry, min(span.end_ms, entry.file.grid_end_ms), now_ms):
            start_ms, end_ms = max(gap.start_ms, span.start_ms), min(gap.end_ms, span.end_ms)
            if start_ms < end_ms:
                yield replace(gap, start_ms=start_ms, end_ms=end_ms)


def _entry_gaps(entry: CacheEntry, until_ms: int, now_ms: int) -> list[_ExplainedGap]:
    """The gaps of one file, in order of time."""
    gaps = entry.gaps(until_ms)
    if not gaps and not entry.facts.quiet:
        return []
    left = entry.unexplained(until_ms)
    found = [*_open(entry, left, now_ms), *_explained(entry, gaps), *_quiet(entry)]
    return sorted(found, key=lambda each: each.start_ms)


def _open(entry: CacheEntry, left: Sequence[Gap], now_ms: int) -> Iterator[_ExplainedGap]:
    """Gaps that no proof explains, and why they are open."""
    for gap in left:
        if now_ms < gap.end_ms:
            start_ms = max(gap.start_ms, now_ms)
            yield _ExplainedGap(start_ms, gap.end_ms, None, NOT_PUBLISHED, "it is in the future")
        if gap.start_ms < now_ms:
            missing = entry.missing_in(gap) if gap.end_ms <= now_ms else None
            end_ms = min(gap.end_ms, now_ms)
            yield _ExplainedGap(gap.start_ms, end_ms, missing, *why_open(entry, gap))


def _explained(entry: CacheEntry, gaps: Sequence[Gap]) -> Iterator[_ExplainedGap]:
    """Gaps in which rows are certainly missing, and are proven not to exist."""
    for gap in () if entry.is_stray else gaps:
        parts: list[Gap] = []
        for absence in (each for each in entry.absences if each.is_proof):
            part = _common(entry, gap, absence)
            # At the edge of a file without a trade nothing is known to be missing.
            if part is None or (part.rows is None and entry.proven.rows):
                continue
            if any(each.start_ms <= part.start_ms and part.end_ms <= each.end_ms for each in parts):
                continue
            parts.append(part)
            evidence = evidence_of(absence.evidence)
            note = evidence.says
            if entry.facts.off_grid:
                note = f"the file has {entry.facts.off_grid} rows off the grid; {note}"
            note = _with_halt(note, entry, part)
            start_ms, end_ms, rows = part.start_ms, part.end_ms, part.rows
            yield _ExplainedGap(start_ms, end_ms, rows, evidence.reason, note, absence.at)


def _common(entry: CacheEntry, gap: Gap, absence: Absence) -> Gap | None:
    """The part of a gap that an answer explains."""
    start_ms, end_ms = max(gap.start_ms, absence.start_ms), min(gap.end_ms, absence.end_ms)
    if start_ms >= end_ms or unexplained(entry.file, [gap], [absence]) == [gap]:
        return None
    # How many rows lie in a part of a gap is known on a grid only.
    is_whole = (start_ms, end_ms) == (gap.start_ms, gap.end_ms)
    rows = entry.missing_in(gap) if is_whole else None
    if entry.file.dataset.has_grid:
        rows = grid_rows(entry.file, start_ms, end_ms)
    return replace(gap, start_ms=start_ms, end_ms=end_ms, rows=rows)


def _quiet(entry: CacheEntry) -> Iterator[_ExplainedGap]:
    for gap in entry.facts.quiet:
        note = _with_halt("the trade ids run on: nothing is missing", entry, gap)
        yield _ExplainedGap(gap.start_ms, gap.end_ms, gap.rows, QUIET, note)


def _with_halt(note: str, entry: CacheEntry, gap: Gap) -> str:
    is_halt = entry.file.series.market is SPOT and halted(gap.start_ms, gap.end_ms)
    return f"exchange halt; {note}" if is_halt else note


def _merged(gaps: Iterable[_ExplainedGap]) -> list[_ExplainedGap]:
    """Adjoining gaps with the same reason and note as one, with the time of the oldest answer."""
    merged: list[_ExplainedGap] = []
    for gap in gaps:
        last = merged[-1] if merged else gap
        is_same = (last.reason, last.note) == (gap.reason, gap.note)
        if not merged or gap.start_ms > last.end_ms or not is_same:
            merged.append(gap)
            continue
        counts = (last.missing, gap.missing)
        missing = None if None in counts else sum(filter(None, counts))
        end_ms, at = max(last.end_ms, gap.end_ms), min(last.at, gap.at)
        merged[-1] = replace(last, end_ms=end_ms, missing=missing, at=at)
    return merged
