"""The verbs for many symbols: list all that ever traded, and bring them into the cache."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING

from ares_notebook.errors import BadArgument
from ares_notebook.market.universe import Listed, Market, Universe
from ares_notebook.quantities import named
from ares_notebook.settings import Settings
from ares_notebook.work.on_record import Errand, on_record, planned, prepared
from ares_notebook.work.progress import ProgressListener, counted
from ares_notebook.work.report import DownloadReport
from ares_notebook.work.several import carry_out_all
from ares_notebook.work.universe import UniversePlan, plan_universe
from ares_notebook.work.wanted import Wanted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["carry_out_universe", "download_universe", "list_symbols", "planned_universe"]


async def list_symbols(
    market: Market = "spot",
    *,
    quote: str | None = None,
    listed_on: date | datetime | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    Every symbol that ever traded, delisted ones included, with its first and last day.

    By the listing of the archive's daily candles, which needs no API: two requests a
    symbol that is traded today, four one that is not. A symbol that went and came back
    has one row, from its first day to its last.

    Parameters
    ----------
    market : {"spot", "futures"}
        Futures are those margined in USD. Their archive begins on 2019-12-31, a few
        perpetuals are some months older.
    quote : str, optional
        Only those whose name ends so, such as ``"USDT"``; the others are not asked for.
    listed_on : date, datetime or str, optional
        Only those that had been listed by that day, UTC, and not yet delisted.
    settings : Settings, optional

    Returns
    -------
    pandas.DataFrame
        A row a symbol, in order: ``symbol``, ``first`` and ``last``, days in UTC as
        datetime64 without a zone, both included; what is traded still has the last day
        that is published. ``attrs`` has the ``market``, and as ``until`` the last day of
        all that were asked for.

    Raises
    ------
    TransportError, BadAnswer
        If any part of the listing does not come, or is none: half a universe is none.
    BadArgument
        If an argument cannot be meant; if the archive does not reach to *listed_on* yet.

    Examples
    --------
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange:
    ...     table = run(list_symbols(quote="BTC", settings=exchange.settings()))
    >>> print(table[["symbol", "first"]].to_string(index=False))
    symbol      first
    ETHBTC 2017-07-14
    """
    wanted, chosen = Universe(quote, listed_on, market), settings or Settings()
    found = await _listed(wanted, chosen)
    until = max((each.last for each in found if each.last), default=None)
    if wanted.day is not None and until is not None and wanted.day > until:
        msg = (
            f"listed_on={listed_on!r}: the archive reaches to {until}, so nobody knows yet who is "
            f"listed then; take that day or an earlier one"
        )
        raise BadArgument(msg)
    return _table([each for each in found if wanted.traded(each)], market, until)


async def _listed(wanted: Universe, chosen: Settings) -> list[Listed]:
    """What the archive's listing says of all symbols that are quoted so."""
    # Slow to import, and who only plans needs none of it.
    from ares_notebook.exchange.listed import days_of, symbols_of  # noqa: PLC0415
    from ares_notebook.exchange.transport import Transport  # noqa: PLC0415

    async with Transport(chosen) as transport:
        names = [each for each in await symbols_of(transport, wanted.market) if wanted.has(each)]
        work = [days_of(transport, wanted.market, name) for name in names]
        return sorted([each async for each in counted(work, chosen, "list symbols")])


def _table(found: Sequence[Listed], market: Market, until: date | None) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - slow to import

    table = pd.DataFrame(found, columns=["symbol", "first", "last"])
    table = table.astype({"symbol": "str", "first": "datetime64[s]", "last": "datetime64[s]"})
    # As text, so that whatever writes a table can write them.
    table.attrs.update({"market": market, "until": str(until or "")})
    return table


async def download_universe(
    symbols: Sequence[str] | pd.DataFrame | Universe,
    interval: str | None,
    lookback_years: float,
    *,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] = ("klines", "agg_trades", "futures"),
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Bring many symbols into the cache, as `download_all_data` does one.

    One plan over all, and one line: one session, one budget a host, one progress, one
    report, one entry in the run history. A symbol that fails does not stop the others;
    what is done is kept, so that the same call goes on where it was stopped.

    Parameters
    ----------
    symbols : sequence of str, pandas.DataFrame or Universe
        Names; a table of `list_symbols`, or some of its rows, whose days bound what is
        asked for; or which symbols are meant, to be listed first.
    interval, lookback_years, end, settings, datasets, on_progress
        As in `download_all_data`.

    Returns
    -------
    DownloadReport
        One entry a cache file, symbol by symbol; a note names the symbols that were not
        listed in the window.

    Raises
    ------
    BadArgument
        If an argument cannot be meant, or no symbol is.
    TransportError, BadAnswer
        If the symbols of a `Universe` cannot be listed.
    CacheUnavailable
        If the cache folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, Universe, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     report = run(download_universe(Universe("BTC", "2024-01-01"), "1d", 0.1, end="2025-01-01",
    ...         settings=exchange.settings(cache_dir=folder), datasets=["klines"]))
    >>> report.complete, [step.file_name for step in report.steps]
    (True, ['klines_ETHBTC_1d_2024-11.csv', 'klines_ETHBTC_1d_2024-12.csv'])
    """
    made = await planned_universe(
        symbols, interval, lookback_years, end=end, settings=settings, datasets=datasets
    )
    return await carry_out_universe(made, on_progress=on_progress)


async def planned_universe(
    symbols: Sequence[str] | pd.DataFrame | Universe,
    interval: str | None,
    lookback_years: float,
    *,
    end: datetime | date | str | None,
    settings: Settings | None,
    datasets: Sequence[str],
) -> UniversePlan:
    """The plan of `download_universe`; what keeps it from being made is on record as a run that failed."""
    chosen = settings or Settings()
    if isinstance(symbols, Universe):
        symbols = await prepared(Errand("download", chosen, str(symbols)), _found(symbols, chosen))
    make = partial(
        plan_universe,
        symbols,
        interval,
        lookback_years,
        end=end,
        settings=chosen,
        datasets=datasets,
    )
    names = named(Wanted.of(symbols).symbols, ",")
    return await planned(Errand("download", chosen, names, interval or ""), make)


async def _found(universe: Universe, chosen: Settings) -> pd.DataFrame:
    quote, day, market = universe.quote, universe.listed_on, universe.market
    return await list_symbols(market, quote=quote, listed_on=day, settings=chosen)


async def carry_out_universe(
    plan: UniversePlan, *, on_progress: ProgressListener | None = None
) -> DownloadReport:
    """
    Do what *plan* says: one run, with one line in the history.

    Parameters
    ----------
    plan : UniversePlan
    on_progress : callable, optional

    Returns
    -------
    DownloadReport
    """
    errand = (
        Errand.of("download", *plan.plans)
        if plan.plans
        else Errand("download", plan.settings, named(plan.outside, ","), plan.interval or "")
    )
    return await on_record(errand, _carried_out(plan, on_progress))


async def _carried_out(plan: UniversePlan, on_progress: ProgressListener | None) -> DownloadReport:
    return plan.noted(await carry_out_all(plan.plans, on_progress=on_progress))
