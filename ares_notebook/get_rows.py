"""Rows of a window: what the cache lacks of it is downloaded, then it is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING

from ares_notebook.cache.store import Store
from ares_notebook.download.plan import make_plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, planned, record_run
from ares_notebook.download.run_plans import run_plan
from ares_notebook.errors import NeverDownloaded
from ares_notebook.model.files import Series
from ares_notebook.model.time import Period
from ares_notebook.model.window import window_of
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from ares_notebook.cached_window import CachedWindow


async def klines(
    symbol: str,
    interval: str,
    start: datetime | date | str,
    end: datetime | date | str | None = None,
    *,
    columns: Sequence[str] | None = None,
    decimal: bool = False,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    Get spot k-lines of a window: download what the cache lacks of it, then load it.

    Where all is there, no request is made. `rows` does the same for any dataset.

    Parameters
    ----------
    symbol, interval : str
        As in `download_klines_data`.
    start : datetime, date or str
        Where the window of open times begins; a date, or an ISO text without a zone, is UTC.
    end : datetime, date or str, optional
        Where it ends, exclusive. Defaults to the last closed candle.
    columns, decimal
        As in `load_klines`.
    settings : Settings, optional
        Defaults to the environment's.

    Returns
    -------
    pandas.DataFrame
        As `load_klines` returns it.

    Warns
    -----
    IncompleteData
        Once, if rows are still missing, such as without a network; the log says why.

    Raises
    ------
    IncompleteDownload
        If the download failed, and the cache holds no row of the window.
    BadArgument, UnknownSymbol, CacheUnavailable, WrongMarket
        As `download_klines_data`.
    NeverDownloaded, CorruptFile
        As `load_klines`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     frame = run(klines("BTCUSDT", "1d", "2025-01-01", "2025-03-01", settings=settings))
    >>> len(frame), frame.attrs["complete"]
    (59, True)
    """
    series = Series.of("klines", symbol, interval)
    return await _got(series, start, end, columns, settings, decimal=decimal)


async def rows(
    dataset: str,
    symbol: str,
    interval: str | None,
    start: datetime | date | str,
    end: datetime | date | str | None = None,
    *,
    columns: Sequence[str] | None = None,
    decimal: bool = False,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    Get rows of any dataset: download what the cache lacks of a window, then load it.

    As `klines` does for ``"klines"``. Trades are large, some 35 GB a year of BTCUSDT:
    `plan_downloads` shows beforehand what would be downloaded.

    Parameters
    ----------
    dataset : str
        One of ``ares_notebook.DATASETS``.
    symbol : str
        As its market writes it: ``BTCUSDT``, ``BTCUSDT_250627``, ``BTCUSD_PERP``.
    interval : str or None
        Of candles; ignored for other datasets.
    start, end, columns, decimal, settings
        As in `klines`.

    Returns
    -------
    pandas.DataFrame
        As `load_rows` returns it.

    Warns
    -----
    IncompleteData
        As `klines`.

    Raises
    ------
    IncompleteDownload, BadArgument, UnknownSymbol, CacheUnavailable, WrongMarket, NeverDownloaded, CorruptFile
        As `klines`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     frame = run(rows("funding", "BTCUSDT", None, "2025-02-01", "2025-03-01", settings=settings))
    >>> len(frame), frame.attrs["complete"]
    (84, True)
    """
    series = Series.of(dataset, symbol, interval)
    return await _got(series, start, end, columns, settings, decimal=decimal)


async def _got(
    series: Series,
    start: datetime | date | str,
    end: datetime | date | str | None,
    columns: Sequence[str] | None,
    settings: Settings | None,
    *,
    decimal: bool,
) -> pd.DataFrame:
    # pandas is imported here, in a thread, and raises for an invalid name before any request.
    names = await asyncio.to_thread(_chosen, series, columns)
    chosen, asked = settings or Settings(), window_of(None, start, end)
    report = await _complete(series, asked, chosen)
    # Without an end the rows end where those of the exchange do, unless these did not come.
    is_open = end is None and report and not report.is_cut_short
    until = None if is_open else asked.end
    try:
        window, frame = await asyncio.to_thread(
            _read, series, asked.start, until, names, chosen, decimal=decimal
        )
        window.check(frame.attrs, len(frame), stacklevel=3)
    except NeverDownloaded:
        # Why it did not come says more than that it is not there.
        report.raise_for_failures()
        raise
    return frame


def _chosen(series: Series, columns: Sequence[str] | None) -> list[str]:
    """The names of the columns to read."""
    from ares_notebook.cache.cells import chosen  # noqa: PLC0415 - slow to import

    return [column.name for column in chosen(series.dataset, columns)]


async def _complete(series: Series, window: Period, settings: Settings) -> DownloadReport:
    """Download what the cache lacks of a window; no run is recorded where there is nothing to do."""
    names = (series.dataset.name,)
    make = partial(make_plan, series.symbol, series.interval, window, settings, names)
    run_info = RunInfo("download", settings, series.symbol, series.interval or "", *names)
    plan = await planned(run_info, make)
    if plan.to_do:
        return await record_run(RunInfo.of("download", plan), run_plan(plan))
    # What another market has filled is not complete, however whole it looks.
    await asyncio.to_thread(Store(settings).refuse_another)
    return DownloadReport()


def _read(
    series: Series,
    start: datetime,
    end: datetime | None,
    names: Sequence[str],
    settings: Settings,
    *,
    decimal: bool,
) -> tuple[CachedWindow, pd.DataFrame]:
    """The window with its frame."""
    from ares_notebook.cached_window import CachedWindow  # noqa: PLC0415 - slow to import

    window = CachedWindow.asked(settings, series, start, end)
    return window, window.frame(names, decimal=decimal)
