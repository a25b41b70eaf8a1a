"""Coverage and gaps of the cache, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import NOT_PUBLISHED, QUIET, REASONS, state_of, why_open
from ares_notebook.cache.neighbours import entries_of
from ares_notebook.cache.spans import Span, cached_files, never, spans
from ares_notebook.cache.store import Store
from ares_notebook.errors import NeverDownloaded
from ares_notebook.model.facts import Gap, grid_rows
from ares_notebook.model.files import CacheFile
from ares_notebook.model.gaps import Absence, evidence_of, halted, is_final, unexplained
from ares_notebook.model.time import as_utc, to_ms
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["REASONS", "coverage", "find_gaps"]


def coverage(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    What the cache holds: a row a file, oldest first a series.

    Reads the disk only; a file whose receipt holds is not opened.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        Only k-lines of this interval, beside trades and funding.
    start, end : datetime, date or str, optional
        Only files whose period overlaps ``[start, end)``; nothing at or after *end*
        is expected of them. By default whole files, up to now.
    settings : Settings, optional

    Returns
    -------
    pandas.DataFrame
        Columns ``dataset, symbol, interval, file, start, end, rows, expected, share,
        first, last, gaps, confirmed_absent, source, final, state``. ``expected`` counts the
        grid of k-lines, the ids of trades and the events of funding; ``holes`` are
        those that the exchange has not confirmed, ``confirmed_absent`` the rows of
        those that it has; ``source`` is ``archive``, ``rest``, both, ``legacy`` (a
        file of the original downloader), ``unknown`` (no receipt) or ``none`` (no file: the
        exchange has nothing, or it did not come). ``state`` says in a word how the file stands:
        ``complete``, or why rows are missing: ``confirmed absent upstream`` (all is
        there but for what the exchange itself does not have), ``before listing``, ``after
        delisting``, ``between listings``, ``unconfirmed``, ``not downloaded``, ``not yet
        published``, ``failed`` or ``corrupt, quarantined``, as in `find_gaps`. ``share`` runs from 0 to 1, ``final`` says
        that nothing more is to come. Times are aware UTC.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of that.
    BadArgument
        If an argument cannot be meant.
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
    from ares_notebook.cache.table import table_of  # noqa: PLC0415 - pandas is slow to import

    store = Store(settings or Settings())
    now = datetime.now(UTC)
    now_ms, until_ms = to_ms(now), to_ms(now if end is None else as_utc(end))
    files = cached_files(store, symbol, interval, start, end)
    known = [entry for group in _by_series(files) for entry in entries_of(store, group)]
    # A file that once had rows and lost them counts: it is to be seen that it is gone.
    if not any(entry.on_disk or entry.absences or entry.noted_rows for entry in known):
        raise NeverDownloaded(never(store, symbol, interval))
    # A file that was asked for and did not come has a row too, which says why.
    rows = [
        _row(entry, until_ms, now_ms)
        for entry in known
        if entry.on_disk or entry.absences or entry.noted_rows or entry.trouble
    ]
    return table_of(_COVERAGE_COLUMNS, rows)


def _by_series(files: Iterable[CacheFile]) -> Iterator[list[CacheFile]]:
    """The files of each series, which are neighbours in a listing."""
    return (list(group) for _, group in groupby(files, key=attrgetter("series")))


_COVERAGE_COLUMNS = [
    "dataset",
    "symbol",
    "interval",
    "file",
    "start",
    "end",
    "rows",
    "expected",
    "share",
    "first",
    "last",
    "holes",
    "confirmed_absent",
    "source",
    "final",
    "state",
]


def _row(entry: CacheEntry, until_ms: int, now_ms: int) -> tuple[Any, ...]:
    """The cells of one file, in the order of `_COVERAGE_COLUMNS`; moments in milliseconds."""
    file, facts = entry.file, entry.facts
    # Rows beyond the end are there all the same, and then expected too.
    until_ms = max(until_ms, facts.covered_until_ms or 0)
    gaps = entry.gaps(until_ms)
    left = entry.unexplained(until_ms)
    proven = entry.proven
    missing, good = entry.missing(gaps), proven.rows - proven.off_grid
    expected = len(file.opens(until_ms)) if file.dataset.has_interval else good + missing
    return (
        file.dataset.name,
        file.series.symbol,
        file.series.interval or "",
        file.name,
        file.start_ms,
        file.end_ms,
        facts.rows,
        expected,
        good / expected if expected else float(entry.problem is None),
        facts.first_ms,
        facts.last_ms,
        len(left),
        missing - entry.missing(left),
        _source(entry),
        not left and (entry.final or _is_final(entry)),
        state_of(entry, gaps, left, now_ms),
    )


def _is_final(entry: CacheEntry) -> bool:
    """Whether it is final by what is known today: of its neighbours, too."""
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


class _ExplainedGap(Struct, frozen=True, gc=False):
    """A gap of one series with its reason; *missing* is None where nobody can count."""

    start_ms: int
    end_ms: int
    missing: int | None
    reason: str
    note: str = ""
    at: str = ""


def find_gaps(
    symbol: str,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    Where the cache has no rows, and why: a row a gap, in order of time a series.

    Reads the disk only; the reasons are what earlier runs have heard.

    Parameters
    ----------
    symbol : str
    interval : str, optional
        Only k-lines of this interval, beside trades and funding.
    start, end : datetime, date or str, optional
        The window ``[start, end)``. By default what the cache spans, in whole files,
        up to now.
    settings : Settings, optional

    Returns
    -------
    pandas.DataFrame
        Columns ``dataset, symbol, interval, start, end, missing, reason, note``.
        Times are aware UTC, half-open. ``missing`` is the number of rows (nullable:
        of trades that nobody has seen the ids of it is not known). ``reason`` is one
        of ``not downloaded``, ``not yet published``, ``before listing``, ``after
        delisting``, ``between listings``, ``confirmed absent upstream``, ``unconfirmed``
        (what was asked cannot prove that there is nothing), ``corrupt, quarantined``,
        ``failed``, and ``quiet``: hours without a trade over which the ids run on, where
        nothing is missing.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of that.
    BadArgument
        If an argument cannot be meant.
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
    from ares_notebook.cache.table import CacheTable, table_of  # noqa: PLC0415 - pandas is slow to import

    store = Store(settings or Settings())
    now_ms = to_ms(datetime.now(UTC))
    rows = [
        (
            span.series.dataset.name,
            span.series.symbol,
            span.series.interval or "",
            gap.start_ms,
            gap.end_ms,
            gap.missing,
            gap.reason,
            ", ".join(filter(None, (gap.note, gap.at))),
        )
        for span in spans(store, symbol, interval, start, end)
        for gap in _joined(_gaps_of(span, store, now_ms))
    ]
    return CacheTable(table_of(_GAP_COLUMNS, rows).astype({"missing": "Int64"}))


_GAP_COLUMNS = ["dataset", "symbol", "interval", "start", "end", "missing", "reason", "note"]


def _gaps_of(span: Span, store: Store, now_ms: int) -> Iterator[_ExplainedGap]:
    """The gaps of one series, file by file."""
    for entry in entries_of(store, span.files):
        until_ms = min(span.end_ms, entry.file.grid_end_ms)
        gaps = entry.gaps(until_ms)
        if not gaps and not entry.facts.quiet:
            continue
        left = entry.unexplained(until_ms)
        found = [*_open(entry, left, now_ms), *_explained(entry, gaps), *_quiet(entry)]
        for gap in sorted(found, key=lambda each: each.start_ms):
            start_ms, end_ms = max(gap.start_ms, span.start_ms), min(gap.end_ms, span.end_ms)
            if start_ms < end_ms:
                yield replace(gap, start_ms=start_ms, end_ms=end_ms)


def _open(entry: CacheEntry, left: Sequence[Gap], now_ms: int) -> Iterator[_ExplainedGap]:
    """Holes that no proof explains, and why they are still there."""
    for gap in left:
        if gap.start_ms < now_ms < gap.end_ms or now_ms <= gap.start_ms:
            future = replace(gap, start_ms=max(gap.start_ms, now_ms), rows=None)
            yield _gap(future, NOT_PUBLISHED, "it lies in the future")
        if gap.start_ms < now_ms:
            rows = gap.rows if gap.end_ms <= now_ms else None
            rows = 0 if rows and entry.is_told_before(gap) else rows
            past = replace(gap, end_ms=min(gap.end_ms, now_ms), rows=rows)
            yield _gap(past, *why_open(entry, gap))


def _explained(entry: CacheEntry, gaps: Sequence[Gap]) -> Iterator[_ExplainedGap]:
    """Holes in which rows are missing for certain, and it is proven that there are none."""
    for gap in () if entry.is_stray else gaps:
        if gap.rows is None and entry.proven.rows:
            # At a quiet edge nothing is known to be missing.
            continue
        told: list[Gap] = []
        for absence in (each for each in entry.absences if each.is_proof):
            part = _common(entry, gap, absence)
            if part is None or (part.rows is None and entry.proven.rows):
                continue
            if not any(_lies_in(part, each) for each in told):
                told.append(part)
                yield _answered(entry, part, absence)


def _lies_in(part: Gap, other: Gap) -> bool:
    return other.start_ms <= part.start_ms and part.end_ms <= other.end_ms


def _common(entry: CacheEntry, gap: Gap, absence: Absence) -> Gap | None:
    """What of a gap an answer explains."""
    start_ms, end_ms = max(gap.start_ms, absence.start_ms), min(gap.end_ms, absence.end_ms)
    left = unexplained(entry.file, [gap], [absence])
    if start_ms >= end_ms or left == [gap]:
        return None
    # Of a part of a gap without a grid nobody knows how much of it lies there.
    whole = start_ms == gap.start_ms and end_ms == gap.end_ms
    rows = gap.rows if whole else None
    rows = 0 if rows and entry.is_told_before(gap) else rows
    if entry.file.dataset.has_interval:
        rows = grid_rows(entry.file, start_ms, end_ms)
    return replace(gap, start_ms=start_ms, end_ms=end_ms, rows=rows)


def _answered(entry: CacheEntry, part: Gap, absence: Absence) -> _ExplainedGap:
    evidence = evidence_of(absence.evidence)
    note = evidence.says
    if entry.facts.off_grid:
        note = f"the file has {entry.facts.off_grid} candles off the grid; {note}"
    if entry.file.dataset.market == "spot" and halted(part.start_ms, part.end_ms):
        note = f"exchange halt; {note}"
    return _gap(part, evidence.reason, note, absence.at)


def _quiet(entry: CacheEntry) -> Iterator[_ExplainedGap]:
    for gap in entry.facts.quiet:
        note = "the trade ids run on: nothing is missing"
        if halted(gap.start_ms, gap.end_ms):
            note = f"exchange halt; {note}"
        yield _gap(gap, QUIET, note)


def _gap(gap: Gap, reason: str, note: str, at: str = "") -> _ExplainedGap:
    return _ExplainedGap(gap.start_ms, gap.end_ms, gap.rows, reason, note, at)


def _joined(gaps: Iterable[_ExplainedGap]) -> Iterator[_ExplainedGap]:
    """Neighbours with one reason and one note, as one gap; the oldest answer tells its time."""
    last: _ExplainedGap | None = None
    for gap in gaps:
        if last is not None and _are_one(last, gap):
            counts = (last.missing, gap.missing)
            missing = None if None in counts else sum(filter(None, counts))
            end_ms, at = max(last.end_ms, gap.end_ms), min(last.at, gap.at)
            last = replace(last, end_ms=end_ms, missing=missing, at=at)
            continue
        if last is not None:
            yield last
        last = gap
    if last is not None:
        yield last


def _are_one(last: _ExplainedGap, gap: _ExplainedGap) -> bool:
    return gap.start_ms <= last.end_ms and (last.reason, last.note) == (gap.reason, gap.note)
