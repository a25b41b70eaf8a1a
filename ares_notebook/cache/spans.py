"""Select cached files and windows of time, and find the missing parts of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import attrgetter

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.store import Store
from ares_notebook.errors import BadArgument, CorruptFile, NeverDownloaded
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.symbols import contract_of, hint, validate_symbol
from ares_notebook.model.time import as_utc, to_ms, utc, validate_interval
from ares_notebook.settings import Settings

__all__ = [
    "Moment",
    "Span",
    "Spans",
    "by_series",
    "cached_files",
    "common_spans",
    "download_call",
    "meant",
    "missing_spans",
    "nothing_cached",
    "series_span",
    "spans",
    "symbols_in_cache",
]

Moment = datetime | date | str | None
Spans = list[tuple[datetime, datetime]]
_ALMOST_A_MS = timedelta(microseconds=999)


@dataclass(frozen=True, slots=True)
class Span:
    """A window of one series, and the files that it needs, cached or not."""

    series: Series
    # Half-open.
    start_ms: int
    end_ms: int
    # Oldest first.
    files: tuple[CacheFile, ...]


def symbols_in_cache(*, settings: Settings | None = None) -> list[str]:
    """
    List the symbols of which the cache has files.

    Reads the names in the folder and opens no file.

    Parameters
    ----------
    settings : Settings, optional
        Its ``cache_dir`` is the cache to list. Defaults to the environment's.

    Returns
    -------
    list of str
        Sorted, in upper case; empty if there is no such folder, or no cache file in it.

    Raises
    ------
    CacheUnavailable
        If the cache folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     for symbol in ("ETHUSDT", "BTCUSDT"):
    ...         report = run(download_klines_data(symbol, "1d", 0.1, end="2025-03-01", settings=settings))
    ...     symbols_in_cache(settings=settings)
    ['BTCUSDT', 'ETHUSDT']
    """
    return Store(settings or Settings()).symbols()


def cached_files(
    store: Store, symbol: str | None, interval: str | None, start: Moment = None, end: Moment = None
) -> list[CacheFile]:
    """The selected files that are on disk or have a receipt; raises if there is none."""
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
        raise nothing_cached(store, symbol, interval)
    return files


def by_series(files: Iterable[CacheFile]) -> Iterable[tuple[Series, list[CacheFile]]]:
    """The series of some files, ordered by name, each with its files."""
    return ((series, list(group)) for series, group in groupby(files, key=attrgetter("series")))


def meant(symbol: str | None, interval: str | None) -> Callable[[Series], bool]:
    """
    Whether a series is selected by a *symbol* and an *interval*; None selects all.

    Trades and funding have no interval and are selected by any.
    """
    only = None if symbol is None else validate_symbol(symbol)
    grid = None if interval is None else validate_interval(interval)

    def is_meant(series: Series) -> bool:
        return only in (None, series.symbol) and (grid is None or series.interval in (None, grid))

    return is_meant


def spans(
    store: Store, symbol: str | None, interval: str | None, start: Moment = None, end: Moment = None
) -> list[Span]:
    """The window of each cached series, with the files that are missing inside it."""
    first, last = _window(start, end)
    found = []
    for series, files in by_series(cached_files(store, symbol, interval)):
        begin = first or files[0].period.start
        stop = last if end is not None else min(last, files[-1].period.end)
        if begin < stop:
            wanted = tuple(files_between(series, begin, stop))
            found.append(Span(series, to_ms(begin), to_ms(stop), wanted))
    if not found:
        raise nothing_cached(store, symbol, interval)
    return found


def series_span(store: Store, series: Series, start: Moment = None, end: Moment = None) -> Span:
    """The window of one series, by default from its first file to where its rows end."""
    first, last = _window(start, end)
    files = [file for file in store.files(series.symbol) if file.series == series]
    call = download_call(series, first, None if end is None else last, datetime.now(UTC))
    if not files:
        raise nothing_cached(store, series.symbol, series.interval, call)
    start_ms = to_ms(first or files[0].period.start)
    # Rounded up: `load_klines` cuts the rows to the microsecond.
    end_ms = _rows_end_ms(store.entry(files[-1])) if end is None else to_ms(last + _ALMOST_A_MS)
    if start_ms >= end_ms:
        raise nothing_cached(store, series.symbol, series.interval, call)
    wanted = files_between(series, utc(start_ms), utc(end_ms))
    return Span(series, start_ms, end_ms, tuple(wanted))


def _rows_end_ms(entry: CacheEntry) -> int:
    """Where the rows of a file end; those of a running period end with the last row."""
    if entry.problem is not None:
        raise CorruptFile(entry.problem)
    if entry.final or entry.facts.last_ms is None:
        return entry.file.end_ms
    return entry.asked_end_ms


def _window(start: Moment, end: Moment) -> tuple[datetime | None, datetime]:
    first = None if start is None else as_utc(start, "start")
    last = datetime.now(UTC) if end is None else as_utc(end)
    if first is not None and first >= last:
        msg = f"start={start!r} is not before end={end!r}"
        raise BadArgument(msg)
    return first, last


def nothing_cached(
    store: Store, symbol: str | None, interval: str | None, call: str = ""
) -> NeverDownloaded:
    """The error that says what is missing: the folder, all files, or this selection; *call* fetches it."""
    name = symbol.strip().upper() if symbol else None
    such = f", such as with {call}" if call else ""
    if not store.folder.is_dir():
        msg = f"there is no cache folder {store.folder}; download something first{such}, or name another cache_dir"
    elif not store.files():
        msg = f"{store.folder} holds no cache file; download something first{such}, or name another cache_dir"
    else:
        what = " ".join(filter(None, (name, interval))) or "market data"
        known = store.symbols()
        meant = hint(name, known) if name is not None and name not in known else ""
        msg = f"{store.folder} holds nothing of {what} in that window{meant and f' ({meant})'}"
        if name is None or contract_of(name) is None:
            call = (
                call or f'`await download_all_data("{name or "BTCUSDT"}", "{interval or "1h"}", 1)`'
            )
            msg += f"; download it first, such as with {call}"
    return NeverDownloaded(msg)


def download_call(
    series: Series, start: datetime | None, end: datetime | None, now: datetime
) -> str:
    """
    The narrowest call, as Python, that downloads a window of one series.

    Without a start, or with one in the future, it downloads the latest rows.
    """
    # A year of trades may be 35 GB.
    lookback = '"1d"' if series.dataset.cut == "day" else "1"
    arguments = [
        f'"{series.symbol}"',
        *([f'"{series.interval}"'] if series.interval else []),
        lookback if start is None or start >= now else f'start="{_iso(start)}"',
        # A download refuses an end in the future, and without one ends now.
        *([f'end="{_iso(end)}"'] if end is not None and end < now else []),
    ]
    return f"`await download_{series.dataset.name}_data({', '.join(arguments)})`"


def _iso(moment: datetime) -> str:
    """ISO text without a zone, which means UTC; of a midnight, the date."""
    return moment.replace(tzinfo=None).isoformat().removesuffix("T00:00:00")


def missing_spans(entries: Iterable[CacheEntry], start_ms: int, end_ms: int) -> Spans:
    """Where in ``[start_ms, end_ms)`` rows are missing that are not proven absent."""
    merged: list[tuple[int, int]] = []
    for gap in (gap for entry in entries for gap in entry.unexplained(end_ms)):
        first_ms, last_ms = max(gap.start_ms, start_ms), min(gap.end_ms, end_ms)
        if first_ms >= last_ms:
            continue
        if merged and first_ms <= merged[-1][1]:
            first_ms, before_ms = merged.pop()
            last_ms = max(last_ms, before_ms)
        merged.append((first_ms, last_ms))
    return [(utc(first_ms), utc(last_ms)) for first_ms, last_ms in merged]


def common_spans(one: Spans, other: Spans) -> Spans:
    """What lies in a span of both, each in order of time."""
    both: Spans = []
    at, other_at = 0, 0
    while at < len(one) and other_at < len(other):
        (start, end), (other_start, other_end) = one[at], other[other_at]
        if max(start, other_start) < min(end, other_end):
            both.append((max(start, other_start), min(end, other_end)))
        if end < other_end:
            at += 1
        else:
            other_at += 1
    return both
