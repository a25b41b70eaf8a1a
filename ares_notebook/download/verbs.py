"""Download what is missing in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import partial

from ares_notebook.download.plan import plan_downloads
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, plan_and_run
from ares_notebook.extras import also_named
from ares_notebook.model.datasets import AGG_TRADES, FUTURES
from ares_notebook.model.window import Lookback
from ares_notebook.runtime.progress import ProgressListener
from ares_notebook.settings import Settings, settings_given


async def download_all_data(
    symbol: str,
    interval: str,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] = ("klines", "agg_trades", "futures"),
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Download what the cache lacks of the datasets of a symbol.

    Only what is missing is requested; a run over a complete cache makes no request.
    Every file is written whole or not at all, and gaps that the exchange confirms
    are recorded. A file that fails does not stop the others: it is in the report.

    Trades are large, some 35 GB a year of BTCUSDT: their size is logged before any of them is
    fetched, and `plan_downloads` shows it beforehand. To leave them out name other datasets.

    Parameters
    ----------
    symbol : str
        As its market writes it: ``"BTCUSDT"``, ``"BTCUSDT_250627"``, ``"BTCUSD_PERP"``; lower case
        is accepted.
    interval : str
        Of candles, ``"1s"`` to ``"1M"``; ignored for other datasets.
    lookback_years : float, str or timedelta, optional
        How far back from *end*: years as a number (whole ones by the calendar, a fraction at
        365.25 days a year), ``"6 months"``, ``"90d"``, or a timedelta. The start is widened
        to that of its file (a month; for trades a day).
    start : datetime, date or str, optional
        Where to begin, in place of a lookback.
    end : datetime, date or str, optional
        Nothing with a time at or after it is stored or asked for; a date, or an ISO text
        without a zone, is UTC. Defaults to now.
    settings : Settings, optional
        Defaults to the environment's.
    datasets : sequence of str
        Names of ``ares_notebook.DATASETS``, which docs/datasets.md describes. Defaults to the three of
        spot: k-lines, trades, and the funding rates of the USD-M perpetual of the same name.
        ``"trades"`` and ``"funding"`` are accepted for ``"agg_trades"`` and ``"futures"``.
    on_progress : callable, optional
        Called with a `Progress`, at most ten times a second.

    Returns
    -------
    DownloadReport
        One entry per cache file; true when nothing failed. A file that failed, or that does not
        fit the disk, is reported there and raises nothing.

    Raises
    ------
    BadArgument
        If an argument is invalid, such as a naive datetime or an end in the future.
    UnknownSymbol
        If neither the exchange nor its archive knows the symbol.
    CacheUnavailable
        If the cache folder cannot be created, read or written.
    WrongMarket
        If the cache holds the data of another market.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     report = run(download_all_data("BTCUSDT", "1h", 0.1, end="2025-01-15",
    ...         settings=exchange.settings(cache_dir=folder), datasets=("klines", "futures")))
    >>> report.complete, [step.file_name for step in report.steps][:2]
    (True, ['klines_BTCUSDT_1h_2024-12.csv', 'klines_BTCUSDT_1h_2025-01.csv'])
    """
    return await _downloaded(
        symbol,
        interval,
        lookback_years,
        start=start,
        end=end,
        settings=settings,
        datasets=datasets,
        on_progress=on_progress,
    )


async def download_klines_data(
    symbol: str,
    interval: str,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Download the spot k-lines of *symbol*, a month per file; as `download_all_data`.

    A candle is stored when it is closed: when its open time plus *interval* is not
    after *end*.

    Parameters
    ----------
    symbol, interval, lookback_years, start, end, settings, on_progress
        As in `download_all_data`.

    Returns
    -------
    DownloadReport

    Raises
    ------
    BadArgument, UnknownSymbol, CacheUnavailable, WrongMarket
        As in `download_all_data`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     report = run(download_klines_data("BTCUSDT", "1d", 1, end="2025-01-01",
    ...                                       settings=exchange.settings(cache_dir=folder)))
    >>> report.rows_written
    366
    """
    return await download_all_data(
        symbol,
        interval,
        lookback_years,
        start=start,
        end=end,
        settings=settings,
        datasets=("klines",),
        on_progress=on_progress,
    )


async def download_agg_trades_data(
    symbol: str,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Download the aggregated spot trades of *symbol*, a day per file; as `download_all_data`.

    A year of BTCUSDT is some 35 GB of CSV: the size is known before anything is
    fetched, and days that do not fit the disk fail in the report, with the numbers.

    Parameters
    ----------
    symbol, lookback_years, start, end, settings, on_progress
        As in `download_all_data`.

    Returns
    -------
    DownloadReport

    Raises
    ------
    BadArgument, UnknownSymbol, CacheUnavailable, WrongMarket
        As in `download_all_data`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     report = run(download_agg_trades_data("BTCUSDT", 1 / 365.25, end="2025-01-16",
    ...                                           settings=exchange.settings(cache_dir=folder)))
    >>> [step.file_name for step in report.steps]
    ['aggtrades_BTCUSDT_2025-01-15.csv']
    """
    return await _downloaded(
        symbol,
        None,
        lookback_years,
        start=start,
        end=end,
        settings=settings,
        datasets=(AGG_TRADES.name,),
        on_progress=on_progress,
    )


async def download_futures_data(
    symbol: str,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Download the funding rates of the USD-M perpetual *symbol*, a month per file.

    As `download_all_data`. A spot symbol without a USD-M perpetual has no funding: a note of the
    report says so, and that is no failure.

    Parameters
    ----------
    symbol, lookback_years, start, end, settings, on_progress
        As in `download_all_data`.

    Returns
    -------
    DownloadReport

    Raises
    ------
    BadArgument, UnknownSymbol, CacheUnavailable, WrongMarket
        As in `download_all_data`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     report = run(download_futures_data("BTCUSDT", 1, end="2025-01-01",
    ...                                        settings=exchange.settings(cache_dir=folder)))
    >>> report.rows_written
    1098
    """
    return await _downloaded(
        symbol,
        None,
        lookback_years,
        start=start,
        end=end,
        settings=settings,
        datasets=(FUTURES.name,),
        on_progress=on_progress,
    )


download_funding_data = also_named("download_funding_data", download_futures_data)


async def _downloaded(
    symbol: str,
    interval: str | None,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None,
    settings: Settings | None,
    datasets: Sequence[str],
    on_progress: ProgressListener | None,
) -> DownloadReport:
    chosen = settings_given(settings)
    make = partial(
        plan_downloads,
        symbol,
        interval,
        lookback_years,
        start=start,
        end=end,
        settings=chosen,
        datasets=datasets,
    )
    return await plan_and_run(
        RunInfo("download", chosen, str(symbol), interval or ""), make, on_progress
    )
