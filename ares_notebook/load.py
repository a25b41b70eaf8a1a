"""Load cached data as DataFrames that state whether they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import pandas as pd

from ares_notebook.bars import check_divides, resample_klines
from ares_notebook.cache.cells import chosen
from ares_notebook.cache.spans import Moment
from ares_notebook.cached_window import (
    CachedWindow,
    IncompleteData,  # noqa: F401 - users filter it by this name
    warn_incomplete,
)
from ares_notebook.download.plan import Wanted
from ares_notebook.errors import BadArgument
from ares_notebook.extras import also_named
from ares_notebook.model.datasets import Dataset, dataset_named
from ares_notebook.model.files import Series
from ares_notebook.model.time import interval_of_bars
from ares_notebook.settings import Settings
from ares_notebook.wide import several_series, wide_frame

Symbols: TypeAlias = str | Sequence[str] | pd.DataFrame
"""One symbol; several; or the table of several that `list_symbols` returns."""


def load_klines(
    symbol: Symbols,
    interval: str,
    start: Moment = None,
    end: Moment = None,
    *,
    columns: Sequence[str] | None = None,
    decimal: bool = False,
    from_interval: str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    Load spot k-lines from the cache.

    Reads the disk only: the files of the window in parallel, of a large file only the part
    that holds the window.

    Parameters
    ----------
    symbol : str, sequence of str or pandas.DataFrame
        One symbol as in `download_klines_data`; or several, or a table of `list_symbols`, which
        give one wide frame.
    interval : str
        As in `download_klines_data`.
    start, end : datetime, date or str, optional
        Half-open window of open times, UTC. Defaults to what the cache spans; of several symbols
        that is what it spans of any of them.
    columns : sequence of str, optional
        Only these, in this order; others are not parsed. Defaults to all. Of several symbols also
        one name as text, such as ``"close"``.
    decimal : bool, default False
        Numbers as `decimal.Decimal` with exactly the digits of the exchange, in object
        columns, instead of float64: sums, differences, products and comparisons are exact,
        ``0.1 + 0.2`` is 0.3. pandas computes means and other statistics in floats: use
        ``astype(float)`` there. A cell takes about 110 bytes and a microsecond, so select
        columns or a window.
    from_interval : str, optional
        The interval of the candles in the cache that those of *interval* are made of, as
        `resample_klines` does it: bars that begin before the window or end after it are left out.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.

    Returns
    -------
    pandas.DataFrame
        Index ``timestamp`` (open time, UTC-aware, ascending, unique); columns ``open,
        high, low, close, volume, quote_asset_volume, number_of_trades,
        taker_buy_base_asset_volume, taker_buy_quote_asset_volume``, float64 except
        the count (int64) by default; prices in the quote asset,
        ``volume`` in the base asset, as Binance's "Kline/Candlestick data" defines them.
        Cells that the original downloader did not store are NaN.

        ``attrs`` are plain JSON of bounded size, so that `DataFrame.to_parquet` stores them:
        ``dataset, symbol, interval`` (None where there is none), ``market`` (which filled the
        cache), ``start, end`` (the window, ISO, UTC, half-open); ``rows`` is how many rows were
        loaded, which tells whether some were removed later; ``complete`` is whether every row of
        the window was there or proven absent; ``missing`` lists the first hundred ``[start,
        end]`` without the others, ISO, UTC, half-open, and ``missing_count`` is how many there are:
        `missing` gives them all. Two more are there only where they apply: ``altered`` names the
        files (of many, a hundred) whose bytes do not match their receipts; their rows count as
        missing. ``fingerprint`` is the sha256 of `fingerprint` as the receipt has it, where the
        rows are those of one whole uncompressed file; the bytes are not read again for it.

        Of several symbols, the same rows side by side: the index has each time at which any of them
        has a row. The columns are the symbols if *columns* is one name as text, else they have two
        levels, ``field`` and ``symbol``. A cell without a row is NaN, and a column of counts with
        such a cell is float64. ``attrs`` are ``dataset, interval, market, start, end, rows``, ``complete``
        (whether all symbols are), and ``symbols``: for each of them its ``complete`` and ``missing_count``
        in this window, and of the first hundred windows of all symbols its ``missing``. A table of
        `list_symbols` with the days of a symbol bounds the window of the
        symbol as it bounds a download of it; its own ``start`` or ``end`` is then there, too.
        ``column`` is the name that was given as text.

    Warns
    -----
    IncompleteData
        Once, if rows are missing.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of the window; an empty frame is never returned for that. Of
        several symbols if it holds nothing of one of them; the message names all of these.
    CorruptFile
        If a file of the window is damaged.
    CacheUnavailable
        If the cache folder cannot be read, or a file changes while it is read.
    BadArgument
        If an argument is invalid.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     frame = load_klines("BTCUSDT", "1d", start="2025-02-01", settings=settings)
    ...     ends = load_klines("BTCUSDT", "1d", columns=["close", "open"], settings=settings)
    >>> len(frame), frame.attrs["complete"], frame.attrs["missing_count"]
    (28, True, 0)
    >>> list(ends.columns)
    ['close', 'open']
    """
    return _load(
        "klines",
        symbol,
        interval,
        (start, end),
        columns=columns,
        decimal=decimal,
        settings=settings,
        from_interval=from_interval,
    )


def load_agg_trades(
    symbol: str,
    start: Moment = None,
    end: Moment = None,
    *,
    columns: Sequence[str] | None = None,
    decimal: bool = False,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    Load aggregated spot trades from the cache.

    A day of BTCUSDT has about a million rows, 60 MB in memory: select a window.

    Parameters
    ----------
    symbol : str
        As in `download_agg_trades_data`.
    start, end : datetime, date or str, optional
        Half-open window, UTC. Defaults to what the cache spans.
    columns, decimal
        As in `load_klines`.
    settings : Settings, optional
        As in `load_klines`.

    Returns
    -------
    pandas.DataFrame
        Index ``timestamp`` (UTC-aware, ascending, not unique), trades with the same
        timestamp ordered by ``agg_trade_id``; columns ``price, quantity`` (float64), ``is_buyer_maker``
        (bool), ``agg_trade_id, first_trade_id, last_trade_id`` (int64). Timestamps have
        microseconds from 2025-01-01 on and milliseconds before, as in Binance's spot
        archive. ``attrs`` as in `load_klines`.

    Warns
    -----
    IncompleteData
        As `load_klines`.

    Raises
    ------
    NeverDownloaded, CorruptFile, CacheUnavailable, BadArgument
        As `load_klines`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_agg_trades_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_agg_trades_data("BTCUSDT", 1 / 365.25, end="2025-03-02", settings=settings))
    ...     frame = load_agg_trades("BTCUSDT", settings=settings)
    >>> bool((frame["agg_trade_id"].diff().dropna() == 1).all())
    True
    """
    return _load(
        "agg_trades",
        symbol,
        None,
        (start, end),
        columns=columns,
        decimal=decimal,
        settings=settings,
    )


def load_futures(
    symbol: Symbols,
    start: Moment = None,
    end: Moment = None,
    *,
    columns: Sequence[str] | None = None,
    decimal: bool = False,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    Load funding rates of a USD-M perpetual from the cache.

    Parameters
    ----------
    symbol : str, sequence of str or pandas.DataFrame
        The perpetual, such as ``BTCUSDT``; several as in `load_rows`.
    start, end : datetime, date or str, optional
        Half-open window, UTC. Defaults to what the cache spans.
    columns, decimal
        As in `load_klines`.
    settings : Settings, optional
        As in `load_klines`.

    Returns
    -------
    pandas.DataFrame
        Index ``timestamp`` (UTC-aware, with the jitter of the exchange: up to 47 ms
        after the hour in Binance's archive ``fundingRate`` of BTCUSDT); column
        ``fundingRate`` (float64, a share of the position: 0.0001 is 0.01 %). ``attrs``
        as in `load_klines`.

    Warns
    -----
    IncompleteData
        As `load_klines`.

    Raises
    ------
    NeverDownloaded, CorruptFile, CacheUnavailable, BadArgument
        As `load_klines`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_futures_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_futures_data("BTCUSDT", 0.1, end="2025-03-01", settings=settings))
    ...     day = "2025-02-01", "2025-02-02"
    ...     frame = load_futures("BTCUSDT", *day, settings=settings)
    ...     exact = load_futures("BTCUSDT", *day, decimal=True, settings=settings)
    >>> len(frame), list(frame.columns), frame.attrs["missing"]
    (3, ['fundingRate'], [])

    The sum of floats is nearly the rate of that day, the sum of decimals exactly:

    >>> float(frame["fundingRate"].sum()), exact["fundingRate"].sum()
    (0.00023353000000000002, Decimal('0.00023353'))
    """
    return _load(
        "futures", symbol, None, (start, end), columns=columns, decimal=decimal, settings=settings
    )


load_funding = also_named("load_funding", load_futures)


def load_rows(
    dataset: str,
    symbol: Symbols,
    interval: str | None = None,
    start: Moment = None,
    end: Moment = None,
    *,
    columns: Sequence[str] | None = None,
    decimal: bool = False,
    from_interval: str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    Load rows of any dataset from the cache.

    `load_klines`, `load_agg_trades` and `load_funding` do the same for ``"klines"``, ``"agg_trades"`` and
    ``"futures"``. docs/datasets.md describes all datasets, their columns and units.

    Parameters
    ----------
    dataset : str
        One of ``ares_notebook.DATASETS``.
    symbol : str, sequence of str or pandas.DataFrame
        As its market writes it: ``BTCUSDT``, ``BTCUSDT_250627``, ``BTCUSD_PERP``; several as in
        `load_klines`, but not of trades, which have no times in common.
    interval : str, optional
        Of candles; ignored for other datasets.
    start, end : datetime, date or str, optional
        Half-open window of timestamps, UTC. Defaults to what the cache spans.
    columns : sequence of str, optional
        Only these, in this order; others are not parsed. Defaults to all.
    decimal : bool, default False
        Numbers as `decimal.Decimal` instead of float64.
    from_interval : str, optional
        Of candles as in `load_klines`.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.

    Returns
    -------
    pandas.DataFrame
        Index ``timestamp`` (UTC-aware, ascending): the start of the interval of a row on a grid, the
        time of a trade or of a payment. ``attrs`` as in `load_klines`. Cells that the exchange
        left empty are NaN. Of several symbols as in `load_klines`; payments, whose times differ
        by milliseconds, are then at their full hour.

    Warns
    -----
    IncompleteData
        Once, if rows are missing.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of the window.
    CorruptFile
        If a file of the window is damaged.
    CacheUnavailable
        If the cache folder cannot be read, or a file changes while it is read.
    BadArgument
        If an argument is invalid, or the symbol is not written as those of the dataset are.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     frame = load_rows("klines", "BTCUSDT", "1d", start="2025-02-01", settings=settings)
    >>> len(frame)
    28
    """
    return _load(
        dataset,
        symbol,
        interval,
        (start, end),
        columns=columns,
        decimal=decimal,
        settings=settings,
        from_interval=from_interval,
    )


def _load(
    dataset: str,
    symbol: Symbols,
    interval: str | None,
    window: tuple[Moment, Moment],
    *,
    columns: Sequence[str] | None,
    decimal: bool,
    settings: Settings | None,
    from_interval: str | None = None,
) -> pd.DataFrame:
    chosen_names, read = columns, interval
    if from_interval is not None:
        kind, read = dataset_named(dataset), from_interval
        if interval is None or not kind.has_interval:
            msg = f"from_interval={from_interval!r} is for candles with an interval"
            raise BadArgument(msg)
        check_divides(from_interval, interval_of_bars(interval))
        _, chosen_names = checked_arguments(dataset, symbol, from_interval, columns)
        columns = _with_count(kind, chosen_names)
    frame = read_frame(
        dataset, symbol, read, window, columns=columns, decimal=decimal, settings=settings
    )
    warn_incomplete(frame.attrs, settings, stacklevel=3)
    if from_interval is None or interval is None:
        return frame
    bars = resample_klines(frame, interval, settings=settings)
    made: Any = bars[chosen_names]
    if isinstance(chosen_names, str):
        made.attrs["column"] = chosen_names
    return cast("pd.DataFrame", made)


def _with_count(kind: Dataset, names: Sequence[str] | str) -> list[str]:
    """The columns to read for bars of these: the count tells candles without a trade."""
    wanted = [names] if isinstance(names, str) else [*names]
    count = "number_of_trades"
    return wanted if count in wanted or count not in kind.column_names else [*wanted, count]


def read_frame(
    dataset: str,
    symbol: Symbols,
    interval: str | None,
    window: tuple[Moment, Moment],
    *,
    columns: Sequence[str] | None,
    decimal: bool,
    settings: Settings | None,
) -> pd.DataFrame:
    """As `load_rows`, but never warns."""
    if not isinstance(symbol, str):
        return wide_frame(
            dataset, symbol, interval, window, columns=columns, decimal=decimal, settings=settings
        )
    [series], names = checked_arguments(dataset, symbol, interval, columns)
    cached = CachedWindow.asked(settings, series, *window)
    frame = cached.frame(names, decimal=decimal)
    cached.refuse_nothing(frame.attrs, len(frame))
    return frame


def checked_arguments(
    dataset: str, symbol: Symbols, interval: str | None, columns: Sequence[str] | str | None
) -> tuple[list[Series], Sequence[str] | str]:
    """The series and the columns to load; raises `BadArgument` before any file is read."""
    if isinstance(symbol, str):
        several, names = [Series.of(dataset, symbol, interval)], columns
    else:
        several = several_series(dataset, Wanted.of(symbol), interval)
        names = [columns] if isinstance(columns, str) else columns
    # Once: an iterator can be read one time.
    found = [column.name for column in chosen(several[0].dataset, names)]
    is_one = names is not columns and isinstance(columns, str)
    return several, found[0] if is_one else found
