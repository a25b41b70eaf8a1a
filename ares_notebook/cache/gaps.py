"""Gaps: a row a hole, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ares_notebook.cache.entry import Have
from ares_notebook.cache.gap_reasons import NOT_PUBLISHED, QUIET, REASONS, why_open
from ares_notebook.cache.neighbours import haves_of
from ares_notebook.cache.spans import Span, spans
from ares_notebook.cache.store import Store
from ares_notebook.model.evidence import Absence, evidence_of, halted
from ares_notebook.model.facts import Hole, grid_rows
from ares_notebook.model.gaps import unexplained
from ares_notebook.model.time import to_ms
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["REASONS", "find_gaps"]


class _Gap(Struct, frozen=True, gc=False):
    """A hole of one series with its reason; *missing* is None where nobody can count."""

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
    Where the cache has no rows, and why: a row a hole, in order of time a series.

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
    return CacheTable(table_of(_COLUMNS, rows).astype({"missing": "Int64"}))


_COLUMNS = ["dataset", "symbol", "interval", "start", "end", "missing", "reason", "note"]


def _gaps_of(span: Span, store: Store, now_ms: int) -> Iterator[_Gap]:
    """The gaps of one series, file by file."""
    for have in haves_of(store, span.files):
        until_ms = min(span.end_ms, have.file.grid_end_ms)
        holes = have.holes(until_ms)
        if not holes and not have.facts.quiet:
            continue
        left = have.unexplained(until_ms)
        gaps = [*_open(have, left, now_ms), *_explained(have, holes), *_quiet(have)]
        for gap in sorted(gaps, key=lambda each: each.start_ms):
            start_ms, end_ms = max(gap.start_ms, span.start_ms), min(gap.end_ms, span.end_ms)
            if start_ms < end_ms:
                yield replace(gap, start_ms=start_ms, end_ms=end_ms)


def _open(have: Have, left: Sequence[Hole], now_ms: int) -> Iterator[_Gap]:
    """Holes that no proof explains, and why they are still there."""
    for hole in left:
        if hole.start_ms < now_ms < hole.end_ms or now_ms <= hole.start_ms:
            future = replace(hole, start_ms=max(hole.start_ms, now_ms), rows=None)
            yield _gap(future, NOT_PUBLISHED, "it lies in the future")
        if hole.start_ms < now_ms:
            rows = hole.rows if hole.end_ms <= now_ms else None
            rows = 0 if rows and have.is_told_before(hole) else rows
            past = replace(hole, end_ms=min(hole.end_ms, now_ms), rows=rows)
            yield _gap(past, *why_open(have, hole))


def _explained(have: Have, holes: Sequence[Hole]) -> Iterator[_Gap]:
    """Holes in which rows are missing for certain, and it is proven that there are none."""
    for hole in () if have.is_stray else holes:
        if hole.rows is None and have.proven.rows:
            # At a quiet edge nothing is known to be missing.
            continue
        told: list[Hole] = []
        for absence in (each for each in have.absences if each.is_proof):
            part = _common(have, hole, absence)
            if part is None or (part.rows is None and have.proven.rows):
                continue
            if not any(_lies_in(part, each) for each in told):
                told.append(part)
                yield _answered(have, part, absence)


def _lies_in(part: Hole, other: Hole) -> bool:
    return other.start_ms <= part.start_ms and part.end_ms <= other.end_ms


def _common(have: Have, hole: Hole, absence: Absence) -> Hole | None:
    """What of a hole an answer explains."""
    start_ms, end_ms = max(hole.start_ms, absence.start_ms), min(hole.end_ms, absence.end_ms)
    left = unexplained(have.file, [hole], [absence])
    if start_ms >= end_ms or left == [hole]:
        return None
    # Of a part of a hole without a grid nobody knows how much of it lies there.
    whole = start_ms == hole.start_ms and end_ms == hole.end_ms
    rows = hole.rows if whole else None
    rows = 0 if rows and have.is_told_before(hole) else rows
    if have.file.dataset.has_interval:
        rows = grid_rows(have.file, start_ms, end_ms)
    return replace(hole, start_ms=start_ms, end_ms=end_ms, rows=rows)


def _answered(have: Have, part: Hole, absence: Absence) -> _Gap:
    evidence = evidence_of(absence.evidence)
    note = evidence.says
    if have.facts.off_grid:
        note = f"the file has {have.facts.off_grid} candles off the grid; {note}"
    if have.file.dataset.market == "spot" and halted(part.start_ms, part.end_ms):
        note = f"exchange halt; {note}"
    return _gap(part, evidence.reason, note, absence.at)


def _quiet(have: Have) -> Iterator[_Gap]:
    for hole in have.facts.quiet:
        note = "the trade ids run on: nothing is missing"
        if halted(hole.start_ms, hole.end_ms):
            note = f"exchange halt; {note}"
        yield _gap(hole, QUIET, note)


def _gap(hole: Hole, reason: str, note: str, at: str = "") -> _Gap:
    return _Gap(hole.start_ms, hole.end_ms, hole.rows, reason, note, at)


def _joined(gaps: Iterable[_Gap]) -> Iterator[_Gap]:
    """Neighbours with one reason and one note, as one gap; the oldest answer tells its time."""
    last: _Gap | None = None
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


def _are_one(last: _Gap, gap: _Gap) -> bool:
    return gap.start_ms <= last.end_ms and (last.reason, last.note) == (gap.reason, gap.note)
