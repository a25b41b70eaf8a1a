"""Which span of time is asked for, and which parts of it are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.store import Store
from ares_notebook.errors import BadArgument, CorruptFile, NeverDownloaded
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.symbols import validate_symbol
from ares_notebook.model.time import as_utc, to_ms, utc, validate_interval

__all__ = [
    "Span",
    "Spans",
    "cached_files",
    "common_spans",
    "meant",
    "missing_spans",
    "never",
    "series_span",
    "spans",
]

Moment = datetime | date | str | None
_ALMOST_A_MS = timedelta(microseconds=999)


@dataclass(frozen=True, slots=True)
class Span:
    """A window of one series, and the files that it needs, there or not."""

    series: Series
    # Half-open.
    start_ms: int
    end_ms: int
    # Oldest first.
    files: tuple[CacheFile, ...]


def cached_files(
    store: Store, symbol: str | None, interval: str | None, start: Moment = None, end: Moment = None
) -> list[CacheFile]:
    """The files that are there, or of which something is known, as far as they are meant."""
    first, last = _window(start, end)
    is_meant = meant(symbol, interval)
    files = [
        file
        for file in store.files(symbol and validate_symbol(symbol))
        if is_meant(file.series)
        and file.period.start < last
        and (first is None or first < file.period.end)
    ]
    if not files:
        raise NeverDownloaded(never(store, symbol, interval))
    return files


def meant(symbol: str | None, interval: str | None) -> Callable[[Series], bool]:
    """
    Whether a series is one of those that a *symbol* and an *interval* mean; None means all.

    Trades and funding have no interval, and belong to any.
    """
    only = None if symbol is None else validate_symbol(symbol)
    grid = None if interval is None else validate_interval(interval)

    def is_meant(series: Series) -> bool:
        return only in (None, series.symbol) and (grid is None or series.interval in (None, grid))

    return is_meant


def spans(
    store: Store, symbol: str | None, interval: str | None, start: Moment = None, end: Moment = None
) -> list[Span]:
    """For each series of the cache its window, with the files that lack between two others."""
    first, last = _window(start, end)
    by_series: dict[Series, list[CacheFile]] = {}
    for file in cached_files(store, symbol, interval):
        by_series.setdefault(file.series, []).append(file)
    found = []
    for series, files in by_series.items():
        begin = first or files[0].period.start
        stop = last if end is not None else min(last, files[-1].period.end)
        if begin < stop:
            wanted = tuple(files_between(series, begin, stop))
            found.append(Span(series, to_ms(begin), to_ms(stop), wanted))
    if not found:
        raise NeverDownloaded(never(store, symbol, interval))
    return found


def series_span(store: Store, series: Series, start: Moment = None, end: Moment = None) -> Span:
    """The window of one series, by default from its first file to where its rows end."""
    first, last = _window(start, end)
    files = [file for file in store.files(series.symbol) if file.series == series]
    if not files:
        raise NeverDownloaded(never(store, series.symbol, series.interval))
    begin = to_ms(first or files[0].period.start)
    # Rounded up: what is finer than a millisecond is cut by whoever reads the rows.
    stop = _rows_end_ms(store.entry(files[-1])) if end is None else to_ms(last + _ALMOST_A_MS)
    if begin >= stop:
        raise NeverDownloaded(never(store, series.symbol, series.interval))
    return Span(series, begin, stop, tuple(files_between(series, utc(begin), utc(stop))))


def _rows_end_ms(entry: CacheEntry) -> int:
    """Where a file ends by itself: a running period has no end yet but its last row's."""
    if entry.problem is not None:
        raise CorruptFile(entry.problem)
    if entry.final or entry.facts.last_ms is None:
        return entry.file.period.end_ms
    return entry.asked_end_ms


def _window(start: Moment, end: Moment) -> tuple[datetime | None, datetime]:
    first = None if start is None else as_utc(start, "start")
    last = datetime.now(UTC) if end is None else as_utc(end)
    if first is not None and first >= last:
        msg = f"start={start!r} is not before end={end!r}"
        raise BadArgument(msg)
    return first, last


def never(store: Store, symbol: str | None, interval: str | None) -> str:
    """Why there is nothing to tell of, for people: no folder, no cache, or not this symbol."""
    if not store.folder.is_dir():
        return f"there is no cache folder {store.folder}; download something first, or name another cache_dir"
    if not store.files():
        return f"{store.folder} holds no cache file; download something first, or name another cache_dir"
    name = symbol.strip().upper() if symbol else None
    what = " ".join(filter(None, (name, interval))) or "market data"
    advice = f'`await download_all_data("{name or "BTCUSDT"}", "{interval or "1h"}", 1)`'
    return f"{store.folder} holds nothing of {what} in that window; download it first, such as with {advice}"


Spans = list[tuple[datetime, datetime]]


def missing_spans(entries: Iterable[CacheEntry], start_ms: int, end_ms: int) -> Spans:
    """Where in ``[start_ms, end_ms)`` rows are missing that are not proven absent."""
    spans: list[tuple[int, int]] = []
    for entry in entries:
        for gap in entry.unexplained(end_ms):
            span = (max(gap.start_ms, start_ms), min(gap.end_ms, end_ms))
            if span[0] < span[1]:
                spans.append(span)
    return [(utc(start), utc(end)) for start, end in _joined(spans)]


def common_spans(one: Spans, other: Spans) -> Spans:
    """What lies in a span of both, each in order of time."""
    both: Spans = []
    rest = iter(other)
    here = next(rest, None)
    for start, end in one:
        while here is not None and here[1] <= start:
            here = next(rest, None)
        while here is not None and here[0] < end:
            both.append((max(start, here[0]), min(end, here[1])))
            if here[1] > end:
                break
            here = next(rest, None)
    return both


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
