"""Rows of a window: what the cache lacks of it is downloaded, then it is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from ares_notebook.cache.store import Store
from ares_notebook.download.plan import make_plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, planned, record_run
from ares_notebook.download.run_plans import run_plan
from ares_notebook.download.universe import planned_universe, run_universe
from ares_notebook.errors import BadArgument, NeverDownloaded
from ares_notebook.model.files import Series
from ares_notebook.model.time import Period
from ares_notebook.model.window import window_of
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

    from ares_notebook.load import Symbols


async def klines(
    symbol: Symbols,
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
    symbol : str, sequence of str or pandas.DataFrame
        One symbol; several, or a table of `list_symbols`, give one wide frame as in `load_klines`.
    interval : str
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
        If the download failed, and the cache holds no row of the window; of several symbols, no row
        of one of them.
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
    return await _got(
        "klines", symbol, interval, start, end, columns=columns, decimal=decimal, settings=settings
    )


async def rows(
    dataset: str,
    symbol: Symbols,
    interval: str | None = None,
    start: datetime | date | str | None = None,
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
    symbol : str, sequence of str or pandas.DataFrame
        As its market writes it: ``BTCUSDT``, ``BTCUSDT_250627``, ``BTCUSD_PERP``; several as in
        `klines`, but not of trades.
    interval : str, optional
        Of candles; ignored for other datasets.
    start : datetime, date or str
        As in `klines`. It must be given: nothing is fetched of which nobody said from when on.
    end, columns, decimal, settings
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
    ...     frame = run(rows("funding", "BTCUSDT", start="2025-02-01", end="2025-03-01", settings=settings))
    >>> len(frame), frame.attrs["complete"]
    (84, True)
    """
    return await _got(
        dataset, symbol, interval, start, end, columns=columns, decimal=decimal, settings=settings
    )


async def _got(
    dataset: str,
    symbol: Symbols,
    interval: str | None,
    *window: datetime | date | str | None,
    columns: Sequence[str] | None,
    decimal: bool,
    settings: Settings | None,
) -> pd.DataFrame:
    if window[0] is None:
        msg = 'start= is missing; say from when on, such as start="2025-01-01"'
        raise BadArgument(msg)
    # pandas is imported here, in a thread, and wrong arguments are refused before any request.
    load, several, names = await asyncio.to_thread(_checked, dataset, symbol, interval, columns)
    chosen, asked = settings_given(settings), window_of(None, *window)
    if isinstance(symbol, str):
        report = await _complete(several[0], asked, chosen)
    else:
        report = await _complete_all(several[0], symbol, asked, chosen)
    # Without an end the rows end where those of the exchange do, unless some of these did not come.
    came = report.complete
    if not several[0].dataset.has_rest:
        # The archive publishes what it alone has on the day after.
        came = bool(report) and not report.is_cut_short
    is_open = window[1] is None and came
    span = asked.start, None if is_open else asked.end
    options = {"columns": names, "decimal": decimal, "settings": chosen}
    try:
        frame: pd.DataFrame = await asyncio.to_thread(
            load.read_frame, dataset, symbol, interval, span, **options
        )
    except NeverDownloaded:
        # Why it did not come says more than that it is not there.
        report.raise_for_failures()
        raise
    load.warn_incomplete(frame.attrs, chosen, stacklevel=3)
    return frame


def _checked(
    dataset: str, symbol: Symbols, interval: str | None, columns: Sequence[str] | None
) -> tuple[ModuleType, list[Series], Sequence[str] | str]:
    """The module that loads, and the series and columns to load; raises for a wrong argument."""
    from ares_notebook import load  # noqa: PLC0415 - slow to import

    return load, *load.checked_arguments(dataset, symbol, interval, columns)


async def _complete(series: Series, window: Period, settings: Settings) -> DownloadReport:
    """Download what the cache lacks of a window; no run is recorded where there is nothing to do."""
    names = (series.dataset.name,)
    make = partial(make_plan, series.symbol, series.interval, window, settings, names)
    run_info = RunInfo("download", settings, series.symbol, series.interval or "", *names)
    plan = await planned(run_info, make)
    if plan.to_do:
        return await record_run(RunInfo.of("download", plan), run_plan(plan))
    return await _nothing_to_do(settings)


async def _complete_all(
    any_of_them: Series, symbols: Sequence[str] | pd.DataFrame, window: Period, settings: Settings
) -> DownloadReport:
    """As `_complete` for several symbols, as one run."""
    plan = await planned_universe(
        symbols,
        any_of_them.interval if any_of_them.dataset.has_interval else None,
        start=window.start,
        end=window.end,
        settings=settings,
        datasets=(any_of_them.dataset.name,),
    )
    return await (run_universe(plan) if plan.to_do else _nothing_to_do(settings))


async def _nothing_to_do(settings: Settings) -> DownloadReport:
    # What another market has filled is not complete, however whole it looks.
    await asyncio.to_thread(Store(settings).refuse_another)
    return DownloadReport()
