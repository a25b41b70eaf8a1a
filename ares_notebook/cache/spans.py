"""Select cached files and windows of time, and find the missing parts of a window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Self

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.store import Store
from ares_notebook.errors import BadArgument, CorruptFile, NeverDownloaded
from ares_notebook.formatting import (
    IN_PYTHON,
    PythonCalls,
    call,
    datasets_argument,
    in_words_of,
    named,
)
from ares_notebook.model.datasets import (
    AGG_TRADES,
    FUTURES,
    KLINES,
    Dataset,
    datasets_named,
)
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.symbols import contract_hint, hint, validate_symbol
from ares_notebook.model.time import as_utc, to_ms, utc, validate_interval
from ares_notebook.settings import Settings, settings_given

Moment = datetime | date | str | None
Spans = list[tuple[datetime, datetime]]
_ALMOST_A_MS = timedelta(microseconds=999)


@dataclass(frozen=True, slots=True)
class Scope:
    """The series that a call is about; None means all, but an interval alone means spot k-lines."""

    symbol: str | None
    interval: str | None
    datasets: tuple[Dataset, ...] | None

    @classmethod
    def of(
        cls,
        symbol: str | None = None,
        interval: str | None = None,
        datasets: Sequence[str] | None = None,
    ) -> Self:
        """A scope of checked parts."""
        kinds = None if datasets is None else datasets_named(datasets)
        if kinds is None and interval is not None:
            kinds = (KLINES,)
        grid = None if interval is None else validate_interval(interval)
        return cls(None if symbol is None else validate_symbol(symbol), grid, kinds)

    @classmethod
    def about(cls, series: Series) -> Self:
        """The scope of one series."""
        return cls(series.symbol, series.interval, (series.dataset,))

    def has(self, series: Series) -> bool:
        """Whether a call is about this series; one without an interval belongs to any interval."""
        return (
            self.symbol in (None, series.symbol)
            and (self.datasets is None or series.dataset in self.datasets)
            and (
                self.interval is None
                or not series.dataset.has_interval
                or series.interval == self.interval
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its datasets; none means all."""
        return tuple(each.name for each in self.datasets or ())

    @property
    def arguments(self) -> tuple[tuple[str | None, str | None], tuple[str, ...] | None]:
        """Symbol and interval, and the datasets if they must be named, of the shortest call."""
        if self.interval is not None and self.datasets == (KLINES,):
            return (self.symbol, self.interval), None
        needs_interval = any(each.has_interval for each in self.datasets or (KLINES,))
        interval = self.interval if needs_interval else None
        return (self.symbol, interval), self.names or None

    def __str__(self) -> str:
        parts = (self.symbol, self.interval, " and ".join(self.names))
        return " ".join(filter(None, parts)) or "market data"


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
    return Store(settings_given(settings)).symbols()


def cached_files(
    store: Store, scope: Scope, start: Moment = None, end: Moment = None
) -> list[CacheFile]:
    """The files of a scope that are on disk or have a receipt; raises if there is none."""
    first, last = _window(start, end)
    files = [
        file
        for file in store.files(scope.symbol)
        if scope.has(file.series)
        and file.period.start < last
        and (first is None or first < file.period.end)
    ]
    if not files:
        raise nothing_cached(store, scope)
    return files


def by_series(files: Iterable[CacheFile]) -> Iterable[tuple[Series, list[CacheFile]]]:
    """The series of some files, ordered by name, each with its files."""
    return ((series, list(group)) for series, group in groupby(files, key=attrgetter("series")))


def spans(store: Store, scope: Scope, start: Moment = None, end: Moment = None) -> list[Span]:
    """The window of each cached series, with the files that are missing inside it."""
    first, last = _window(start, end)
    found = []
    for series, files in by_series(cached_files(store, scope)):
        begin = first or files[0].period.start
        stop = last if end is not None else min(last, files[-1].period.end)
        if begin < stop:
            wanted = tuple(files_between(series, begin, stop))
            found.append(Span(series, to_ms(begin), to_ms(stop), wanted))
    if not found:
        raise nothing_cached(store, scope)
    return found


def series_span(store: Store, series: Series, start: Moment = None, end: Moment = None) -> Span:
    """The window of one series, by default from its first file to where its rows end."""
    first, last = _window(start, end)
    scope = Scope.about(series)
    if first is not None and end is not None:
        # To the microsecond, as below.
        span_ms = to_ms(first), to_ms(last + _ALMOST_A_MS)
        wanted = files_between(series, first, utc(span_ms[1]))
        if wanted and store.has_any(wanted):
            return Span(series, *span_ms, tuple(wanted))
    files = [file for file in store.files(series.symbol) if file.series == series]
    if not files:
        raise nothing_cached(store, scope, first, last if end is not None else None)
    start_ms = to_ms(first or files[0].period.start)
    # Rounded up: `load_klines` cuts the rows to the microsecond.
    end_ms = (
        rows_end_ms(map(store.entry, reversed(files)))
        if end is None
        else to_ms(last + _ALMOST_A_MS)
    )
    if start_ms >= end_ms:
        raise nothing_cached(store, scope, first, last if end is not None else None)
    wanted = files_between(series, utc(start_ms), utc(end_ms))
    return Span(series, start_ms, end_ms, tuple(wanted))


def window_of_all(
    store: Store, several: Sequence[Series], start: Moment = None, end: Moment = None
) -> tuple[int, int]:
    """One window of several series, by default from the first file of any to where the last rows end."""
    first, last = _window(start, end)
    found: list[Span] = []
    if first is None or end is None:
        with_files = {file.series for each in several for file in store.files(each.symbol)}
        for each in several:
            # Of one whose only file is not published yet there is nothing.
            with suppress(NeverDownloaded):
                if each in with_files:
                    found.append(series_span(store, each))
    starts = [each.start_ms for each in found] if first is None else [to_ms(first)]
    ends = [each.end_ms for each in found] if end is None else [to_ms(last + _ALMOST_A_MS)]
    start_ms, end_ms = min(starts, default=0), max(ends, default=0)
    if start_ms >= end_ms:
        raise nothing_of_all(store, several, first, last if end is not None else None)
    return start_ms, end_ms


def rows_end_ms(latest_first: Iterable[CacheEntry]) -> int:
    """
    Where the rows of a series end, by its files, the latest first: those of a running period with the last row.

    On the first of a month the archive may have nothing of it: then its rows end in the file before.
    """
    end_ms = 0
    for entry in latest_first:
        if entry.problem is not None:
            raise CorruptFile(entry.problem)
        if entry.final:
            return entry.file.end_ms
        if entry.facts.last_ms is not None:
            return entry.asked_end_ms
        if not entry.is_unpublished:
            return entry.file.end_ms
        end_ms = entry.file.start_ms
    return end_ms


def _window(start: Moment, end: Moment) -> tuple[datetime | None, datetime]:
    first = None if start is None else as_utc(start, "start")
    last = datetime.now(UTC) if end is None else as_utc(end)
    if first is not None and first >= last:
        msg = f"start={start!r} is not before end={end!r}"
        raise BadArgument(msg)
    return first, last


def nothing_cached(
    store: Store, scope: Scope, start: datetime | None = None, end: datetime | None = None
) -> NeverDownloaded:
    """The error that says what is missing: the folder, all files, or this scope in a window."""
    another = f"or name another {in_words_of('cache_dir', '--cache-dir')}"
    calls = calls_of(store.settings)
    advice = f"such as with `{download_call(scope, start, end, calls)}`"
    if not store.folder.is_dir():
        msg = f"there is no cache folder {store.folder}; download something first, {advice}, {another}"
    elif not store.files():
        msg = f"{store.folder} holds no cache file; download something first, {advice}, {another}"
    else:
        there = sorted({file.series.stem for file in store.files(scope.symbol)})
        held = f"; of {scope.symbol} it holds {named(there)}" if scope.symbol and there else ""
        symbol, kinds = scope.symbol or "", scope.datasets or ()
        contract = contract_hint(symbol, kinds, calls)
        meant = contract if there else hint(symbol, store.symbols(), kinds, calls)
        msg = (
            f"{store.folder} holds nothing of {scope} in that window{held}{meant and f' ({meant})'}"
        )
        if candles := _other_candles(store, scope):
            msg += f"; candles of {scope.interval} are there of {', '.join(candles)}: {datasets_argument(candles)}"
        elif not meant and not contract:
            msg += f"; download it first, {advice}"
    return NeverDownloaded(msg)


def _other_candles(store: Store, scope: Scope) -> list[str]:
    """The datasets of which the cache has candles of the symbol and interval of *scope*."""
    if scope.symbol is None or scope.interval is None:
        return []
    every = (file.series for file in store.files(scope.symbol))
    own = (each for each in every if each.dataset.has_interval and each.interval == scope.interval)
    return sorted({each.dataset.name for each in own} - set(scope.names))


def nothing_of_all(
    store: Store,
    lacking: Sequence[Series],
    start: datetime | None = None,
    end: datetime | None = None,
) -> NeverDownloaded:
    """The error that names the series of a dataset of which nothing is there, and the call for all."""
    scope, symbols = Scope.about(lacking[0]), tuple(each.symbol for each in lacking)
    if len(symbols) == 1:
        return nothing_cached(store, scope, start, end)
    of = " ".join(filter(None, (lacking[0].dataset.name, scope.interval)))
    msg = (
        f"{store.folder} holds nothing of {of} of {named(symbols)} in that window; download it "
        f"first, such as with `{universe_call(lacking, start, end, calls_of(store.settings))}`"
    )
    return NeverDownloaded(msg)


_FUNCTIONS: dict[tuple[Dataset, ...], str] = {
    (KLINES,): "await download_klines_data",
    (AGG_TRADES,): "await download_agg_trades_data",
    (FUTURES,): "await download_funding_data",
}


def calls_of(settings: Settings) -> PythonCalls:
    """How calls in Python are written, so that they work on the cache of these settings."""
    own = settings._calls  # noqa: SLF001 - no setting, so no public attribute
    if own.owner != IN_PYTHON.owner:
        return own
    try:
        usual = Settings()
    except BadArgument:
        return PythonCalls(with_settings=True)
    caches = [(each.cache_dir.absolute(), each.market_name) for each in (settings, usual)]
    return PythonCalls(with_settings=caches[0] != caches[1])


def download_call(
    scope: Scope,
    start: datetime | None = None,
    end: datetime | None = None,
    calls: PythonCalls = IN_PYTHON,
) -> str:
    """
    The narrowest call that downloads something of a scope.

    Without a start, or with one in the future, it downloads the latest rows: a year, of trades a
    day.
    """
    kinds = scope.datasets or (KLINES,)
    names = tuple(each.name for each in kinds)
    # A year of trades may be 35 GB.
    is_all_trades = all(each.cut == "day" for each in kinds)
    symbol, lookback = scope.symbol or "BTCUSDT", "1d" if is_all_trades else 1
    function = _FUNCTIONS.get(kinds, "await download_all_data")
    needs_interval = kinds not in _FUNCTIONS or kinds == (KLINES,)
    interval = scope.interval or "1h" if needs_interval else None
    window = _past(start, end)
    years = lookback if window["start"] is None else None
    only = None if kinds in _FUNCTIONS else names
    return call(
        calls(function, symbol, interval, years, **window, datasets=only),
        "download",
        *(symbol, interval),
        years=years,
        **window,
        datasets=names,
    )


def universe_call(
    several: Sequence[Series],
    start: datetime | None = None,
    end: datetime | None = None,
    calls: PythonCalls = IN_PYTHON,
) -> str:
    """The narrowest call that downloads series of one dataset and interval."""
    if len(several) == 1:
        return download_call(Scope.about(several[0]), start, end, calls)
    symbols, window = tuple(each.symbol for each in several), _past(start, end)
    interval, names = several[0].interval, (several[0].dataset.name,)
    years = 1 if window["start"] is None else None
    return call(
        calls(
            "await download_universe", symbols, interval or "1h", years, **window, datasets=names
        ),
        "universe",
        interval,
        symbols=symbols,
        years=years,
        **window,
        datasets=names,
    )


def _past(start: datetime | None, end: datetime | None) -> dict[str, str | None]:
    """The bounds of a download: it refuses an end in the future, and without one ends now."""
    now = datetime.now(UTC)
    return {
        "start": _iso(start) if start is not None and start < now else None,
        "end": _iso(end) if end is not None and end < now else None,
    }


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
