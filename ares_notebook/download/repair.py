"""Close the gaps inside what the cache holds, and download nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from operator import attrgetter

from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.quarantine import compared, verified
from ares_notebook.cache.spans import Scope, Span, spans
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, plan_and_run
from ares_notebook.formatting import IN_PYTHON, PythonCalls, call
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.files import Series
from ares_notebook.model.symbols import validate_symbol
from ares_notebook.model.time import utc
from ares_notebook.runtime.progress import ProgressListener
from ares_notebook.settings import Settings, settings_given


async def repair_gaps(
    symbol: str,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    recheck: bool = False,
    on_progress: ProgressListener | None = None,
    datasets: Sequence[str] | None = None,
) -> DownloadReport:
    """
    Close the gaps in what the cache holds of *symbol*; download nothing beyond its last rows.

    Only the missing spans are requested. Damaged files are put into quarantine and replaced.
    Rows that the exchange has confirmed as absent are not requested again. `plan_repair` shows
    beforehand what would be requested.

    Parameters
    ----------
    symbol : str
        Such as ``"BTCUSDT"``.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it are repaired.
    start, end : datetime, date or str, optional
        Only files that overlap ``[start, end)``, UTC. Defaults to the span of each series,
        from its first row to its last.
    settings : Settings, optional
        Defaults to the environment's.
    recheck : bool
        Request again what the exchange has confirmed as absent.
    on_progress : callable, optional
        As in `download_all_data`.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to ``klines`` if *interval* is given, else
        to all that are cached but trades, which are repaired only where they are named.

    Returns
    -------
    DownloadReport
        One entry per file of the window; true when nothing failed.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of the selection.
    BadArgument, UnknownSymbol, CacheUnavailable, WrongMarket
        As `download_all_data`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.2, end="2025-03-01", settings=settings))
    ...     (settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv").unlink()
    ...     report = run(repair_gaps("BTCUSDT", settings=settings))
    >>> report.rows_written
    744
    """
    chosen = settings_given(settings)
    make = partial(
        _plan,
        verified,
        symbol,
        interval,
        start=start,
        end=end,
        settings=chosen,
        recheck=recheck,
        datasets=datasets,
    )
    scope = _scope(symbol, interval, datasets)
    return await plan_and_run(RunInfo.about("repair", chosen, scope), make, on_progress)


def plan_repair(
    symbol: str,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    recheck: bool = False,
    datasets: Sequence[str] | None = None,
) -> Plan:
    """
    Return what `repair_gaps` would do, file by file; the dry run of a repair.

    Reads the cache only, and writes nothing into it. The bytes of each file are compared with
    its receipt.

    Parameters
    ----------
    symbol, interval, start, end, settings, recheck, datasets
        As in `repair_gaps`.

    Returns
    -------
    Plan
        As `plan_downloads` returns it; ``plan.to_do`` are the files with something to repair.

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
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.2, end="2025-03-01", settings=settings))
    ...     (settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv").unlink()
    ...     plan = plan_repair("BTCUSDT", "1h", settings=settings)
    >>> [step.file.name for step in plan.to_do], plan.rows
    (['klines_BTCUSDT_1h_2025-01.csv'], 744)
    """
    return _plan(
        compared,
        symbol,
        interval,
        start=start,
        end=end,
        settings=settings_given(settings),
        recheck=recheck,
        datasets=datasets,
    )


# Compares the bytes of a file with its receipt.
_Compare = Callable[[Store, CacheEntry], CacheEntry]


def _plan(
    compare: _Compare,
    symbol: str,
    interval: str | None,
    *,
    start: datetime | date | str | None,
    end: datetime | date | str | None,
    settings: Settings,
    recheck: bool,
    datasets: Sequence[str] | None,
) -> Plan:
    store, scope = Store(settings), _scope(symbol, interval, datasets)
    found = spans(store, scope, start, end)
    entries = [[compare(store, each) for each in store.entries(span.files)] for span in found]
    steps = [
        step
        for span, known in zip(found, entries, strict=True)
        for step in _steps(span, known, store, settings, recheck=recheck)
    ]
    first = utc(min(span.start_ms for span in found))
    last = utc(max(span.end_ms for span in found))
    return Plan(settings, validate_symbol(symbol), scope.interval, first, last, tuple(steps))


def _scope(symbol: str, interval: str | None, datasets: Sequence[str] | None) -> Scope:
    if datasets is None and interval is None:
        # Trades are large, and come only where they are named.
        datasets = [each.name for each in DATASETS if each.key != "id"]
    return Scope.of(validate_symbol(symbol), interval, datasets)


def repair_call(series: Iterable[Series], calls: PythonCalls = IN_PYTHON) -> str:
    """The narrowest call that repairs some series, at least one; of several symbols the first."""
    every = sorted(series, key=attrgetter("symbol"))
    own = [each for each in every if each.symbol == every[0].symbol]
    intervals = {each.interval for each in own if each.dataset.has_interval}
    names = tuple(dict.fromkeys(each.dataset.name for each in own))
    only = intervals.pop() if len(intervals) == 1 else None
    arguments, needed = Scope.of(own[0].symbol, only, names).arguments
    repair = calls("await repair_gaps", *arguments, datasets=needed)
    return call(repair, "repair", *arguments, datasets=needed)


def _steps(
    span: Span, entries: Sequence[CacheEntry], store: Store, settings: Settings, *, recheck: bool
) -> Iterator[Step]:
    end_ms = span.end_ms if _goes_on(span, store) else min(span.end_ms, _end_ms(entries, store))
    for entry in entries:
        if entry.file.period.start_ms < end_ms:
            asked = replace(entry, absences=()) if recheck else entry
            step = decide(asked, end_ms, settings.source)
            yield replace(step, is_recheck=recheck)


def _goes_on(span: Span, store: Store) -> bool:
    """Whether the series was downloaded beyond the window, so that all of the window is due."""
    files = store.files(span.series.symbol)
    return any(file.series == span.series and file.start_ms >= span.end_ms for file in files)


def _end_ms(entries: Sequence[CacheEntry], store: Store) -> int:
    """Where the rows of a series end, or ended when its last receipt with rows was written."""
    for entry in reversed(entries):
        receipt = store.receipt(entry.file)
        if entry.final or (receipt is not None and receipt.final):
            return entry.file.grid_end_ms
        if entry.end_ms is not None:
            # What was requested after the last row, and is not proven, is a gap too.
            return max(entry.end_ms, *(each.end_ms for each in entry.absences), 0)
        if entry.problem is not None and receipt is None:
            # No receipt says where its rows ended, and the readable ones may end earlier.
            return entry.file.grid_end_ms
    return entries[0].file.start_ms
