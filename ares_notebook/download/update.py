"""All that the cache holds, brought up to now as one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial

from ares_notebook.cache.spans import Scope, by_series, nothing_cached
from ares_notebook.cache.store import Store
from ares_notebook.download.plan import Plan, make_plan, together
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, planned, record_run
from ares_notebook.download.run_plans import run_plans
from ares_notebook.download.universe import UniversePlan
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.model.gaps import AFTER_DELISTING, evidence_of
from ares_notebook.model.markets import Market
from ares_notebook.model.time import Period, next_open_ms, utc
from ares_notebook.model.window import end_of
from ares_notebook.runtime.cancellation import check_cancelled
from ares_notebook.runtime.progress import ProgressListener
from ares_notebook.settings import Settings, settings_given


async def update(
    *,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Bring all that the cache holds up to now, as one run.

    Each series that has a file is downloaded from its first file to *end*, gaps in between
    included, as `download_all_data` does it. One run means: one session, one request budget per
    host, one progress, one report, one entry in the run history. A symbol that fails does not stop
    the others. What is complete is not requested again, nor is a symbol after the exchange has
    confirmed its delisting. `plan_update` shows beforehand what would be requested.

    Parameters
    ----------
    end : datetime, date or str, optional
        As in `download_all_data`. Defaults to now.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to update. Defaults to the environment's.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, trades included.
    on_progress : callable, optional
        As in `download_all_data`.

    Returns
    -------
    DownloadReport
        One entry per cache file, symbol by symbol; true when nothing failed.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing that could be updated.
    BadArgument
        If an argument is invalid, such as an end in the future.
    CacheUnavailable
        If the cache folder cannot be read.
    WrongMarket
        If the cache holds the data of another market.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     for symbol in ("BTCUSDT", "ETHUSDT"):
    ...         report = run(download_klines_data(symbol, "1d", 0.1, end="2025-02-01", settings=settings))
    ...     report = run(update(end="2025-03-01", settings=settings))
    >>> report.complete, report.rows_written
    (True, 56)
    """
    chosen = settings_given(settings)
    return await run_update(await planned_update(end, chosen, datasets), on_progress=on_progress)


def plan_update(
    *,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> UniversePlan:
    """
    Return what `update` would do, symbol by symbol; the dry run of an update.

    Reads the cache only, and writes nothing into it.

    Parameters
    ----------
    end, settings, datasets
        As in `update`.

    Returns
    -------
    UniversePlan
        One plan per symbol, and what they cost together.

    Raises
    ------
    NeverDownloaded, BadArgument, CacheUnavailable, WrongMarket
        As in `update`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-02-01", settings=settings))
    ...     plan = plan_update(end="2025-03-01", settings=settings)
    >>> plan.symbols, [step.file.name for step in plan.to_do]
    (('BTCUSDT',), ['klines_BTCUSDT_1d_2025-02.csv'])
    """
    chosen, scope = settings_given(settings), Scope.of(datasets=datasets)
    store, last = Store(chosen), end_of(end)
    store.refuse_another()
    files = [file for file in store.files() if scope.has(file.series) and file.period.start < last]
    held = [(series, own) for series, own in by_series(files) if _is_held(store, own)]
    if not held:
        raise nothing_cached(store, scope, end=None if end is None else last)
    plans = []
    for symbol in sorted({series.symbol for series, _ in held}):
        of_symbol = [(series, own) for series, own in held if series.symbol == symbol]
        plans.append(_plan_of_symbol(of_symbol, last, store, chosen))
    return UniversePlan(chosen, None, min(plan.start for plan in plans), last, tuple(plans))


def _is_held(store: Store, files: Sequence[CacheFile]) -> bool:
    """Whether a series has a file, or was requested in vain; one that is proven to be empty is not."""
    if any(store.path_of(file) for file in files):
        return True
    return any(entry.recorded_rows or entry.trouble for entry in map(store.entry, files))


def _plan_of_symbol(
    held: Sequence[tuple[Series, Sequence[CacheFile]]],
    last: datetime,
    store: Store,
    settings: Settings,
) -> Plan:
    """The plan of all series of a symbol, each from its first file to *last* or to the delisting."""
    check_cancelled()
    delisted: dict[Market, int] = {}
    for series, files in held:
        # Of several series the one whose rows ended last.
        own_ms, market = min(_delistings(store, files), default=0), series.market
        delisted[market] = max(own_ms, delisted.get(market, 0))
    parts = []
    for series, files in held:
        start, over_ms = files[0].period.start, delisted[series.market]
        if over_ms and series.dataset.has_interval and series.interval is not None:
            # The last candle is closed later than the last trade.
            over_ms = next_open_ms(series.interval, over_ms - 1)
        end = min(last, utc(over_ms)) if over_ms else last
        window, names = Period(start, end), (series.dataset.name,)
        parts.append(
            make_plan(series.symbol, series.interval, window, settings, names, store=store)
        )
    return together(parts)


def _delistings(store: Store, files: Sequence[CacheFile]) -> Iterator[int]:
    """When the rows of a series ended for good, by answers of the exchange that need not be asked again."""
    for entry in map(store.entry, reversed(files)):
        for absence in entry.absences:
            is_delisting = evidence_of(absence.evidence).reason == AFTER_DELISTING
            is_later = absence.start_ms > (entry.facts.last_ms or 0)
            if is_delisting and is_later and absence.is_settled:
                yield absence.start_ms
        if entry.facts.rows:
            return


async def planned_update(
    end: datetime | date | str | None, settings: Settings, datasets: Sequence[str] | None
) -> UniversePlan:
    """The plan of `update`; what keeps it from being made is on record as a run that failed."""
    make = partial(plan_update, end=end, settings=settings, datasets=datasets)
    return await planned(RunInfo.about("update", settings, Scope.of(datasets=datasets)), make)


async def run_update(
    plan: UniversePlan, *, on_progress: ProgressListener | None = None
) -> DownloadReport:
    """Do what *plan* says: one run over all symbols, with one line in the history."""
    run_info = replace(RunInfo.of("update", *plan.plans), symbol="", interval="")
    return await record_run(run_info, run_plans(plan.plans, on_progress=on_progress))
