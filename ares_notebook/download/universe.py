"""Many symbols as one run: planned, listed and downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.estimate import Cost
from ares_notebook.download.plan import Plan, Wanted, make_plan, together
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, planned, prepared, record_run
from ares_notebook.download.run_plans import run_plans
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import block, in_words_of, line, many, named, size_in_words, table
from ares_notebook.model.datasets import datasets_named
from ares_notebook.model.files import Series
from ares_notebook.model.markets import market_named
from ares_notebook.model.symbols import Listed, Universe, datasets_meant
from ares_notebook.model.time import Period, validate_interval
from ares_notebook.model.window import Lookback, window_in_words, window_of
from ares_notebook.runtime.cancellation import check_cancelled
from ares_notebook.runtime.progress import ProgressListener, counted
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

_MOST_LINES = 10


@dataclass(frozen=True, slots=True)
class UniversePlan:
    """
    What a download of many symbols will do; made without touching the network.

    Printing it is the dry run; iterating gives a `Plan` a symbol.

    Parameters
    ----------
    settings : Settings
    interval : str or None
    start, end : datetime
        The window as asked for, aware UTC, half-open.
    plans : tuple of Plan
        In the order of the symbols as they were given.
    outside : tuple of str
        Symbols that were not listed in the window.

    Examples
    --------
    >>> plan = plan_universe(["BTCUSDT", "ETHUSDT"], "1h", 1, end="2025-01-01", datasets=["klines"])
    >>> len(plan), len(plan.to_do), plan.cost.rows
    (2, 24, 17568)
    """

    settings: Settings
    interval: str | None
    start: datetime
    end: datetime
    plans: tuple[Plan, ...]
    outside: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.plans)

    def __iter__(self) -> Iterator[Plan]:
        return iter(self.plans)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that are requested."""
        return tuple(plan.symbol for plan in self.plans)

    @property
    def to_do(self) -> tuple[Step, ...]:
        """The steps that are not *skip*, of all symbols."""
        return tuple(chain.from_iterable(plan.to_do for plan in self.plans))

    @property
    def cost(self) -> Cost:
        """Files, rows, bytes, requests, weight and time of all together, estimated."""
        return Cost.of(chain.from_iterable(plan.steps for plan in self.plans), self.settings)

    async def measure(self) -> UniversePlan:
        """
        The same plan with the exact sizes of the archive's files, as `Plan.measure` of each symbol.

        A listing that fails leaves the estimate.

        Returns
        -------
        UniversePlan
        """
        return replace(self, plans=tuple([await plan.measure() for plan in self.plans]))

    @property
    def left_out(self) -> str:
        """Which symbols are not requested, in words."""
        return (
            f"not listed between {self.start:%Y-%m-%d} and {self.end:%Y-%m-%d}, so nothing is "
            f"asked for: {named(self.outside)}"
        )

    def noted(self, report: DownloadReport) -> DownloadReport:
        """
        The report with a note of the symbols that were not listed, which is no failure.

        Parameters
        ----------
        report : DownloadReport
            What carrying out the plans reported.

        Returns
        -------
        DownloadReport
            The same, with a note if symbols were left out.
        """
        notes = (self.left_out,) if self.outside else ()
        return replace(report, notes=(*report.notes, *notes))

    def to_frame(self) -> pd.DataFrame:
        """
        A row a symbol: symbol, start, end, files, to_do, rows, requests, bytes_received, bytes_stored.

        Each of ``plan.plans`` has a frame of its own with a row a file.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and not needed to plan

        costs = [(plan, plan.cost) for plan in self.plans]
        return pd.DataFrame(
            {
                "symbol": plan.symbol,
                "start": plan.start,
                "end": plan.end,
                "files": cost.files,
                "to_do": cost.files_to_do,
                "rows": cost.rows,
                "requests": cost.requests,
                "bytes_received": cost.bytes_received,
                "bytes_stored": cost.bytes_stored,
            }
            for plan, cost in costs
        )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [_cells(plan) for plan in self.plans[:_MOST_LINES]]
        widest = max((len(symbol) for symbol, *_ in rows), default=0)
        lines = [
            f"  {symbol:<{widest}}  {days}  {files}{size and f', {size} to fetch'}"
            for symbol, days, files, size in rows
        ]
        return "\n".join([self._headline(), *lines, *self._rest(), str(self.cost)])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        rows = [_cells(plan) for plan in self.plans[:_MOST_LINES]]
        rest = "".join(line(each.strip()) for each in self._rest())
        return block(self._headline(), table(_TOLD, rows), rest, line(self.cost))

    def _headline(self) -> str:
        # An update has series of all intervals; what it brings may be far more than candles.
        steps = chain.from_iterable(plan.steps for plan in self.plans)
        names = sorted({step.file.dataset.name for step in steps}) if not self.interval else []
        of_what = self.interval or (f"({', '.join(names)})" if names else "")
        what = " ".join(filter(None, (many(len(self), "symbol"), of_what)))
        when = window_in_words(self.start, self.end)
        return f"Plan for {what}: {when}; into {self.settings.cache_dir}"

    def _rest(self) -> list[str]:
        more = len(self) - _MOST_LINES
        lines = (
            [f"  … and {more:,} more; see {in_words_of('plan.to_frame()', '--json')}"]
            if more > 0
            else []
        )
        return [*lines, f"  {self.left_out}"] if self.outside else lines


_TOLD = ("symbol", "days", "files", "to fetch")


def _cells(plan: Plan) -> tuple[str, str, str, str]:
    """The cells of the line of one symbol; see `_TOLD`."""
    cost = plan.cost
    days = f"{plan.start:%Y-%m-%d} to {plan.end:%Y-%m-%d}"
    files = many(cost.files, "file")
    if not cost.files_to_do:
        return plan.symbol, days, f"{files}, all there", ""
    size = size_in_words(cost.bytes_received)
    return plan.symbol, days, f"{files}, {cost.files_to_do:,} to do", size


def plan_universe(
    symbols: Sequence[str] | pd.DataFrame,
    interval: str | None,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> UniversePlan:
    """
    Return what a download of many symbols would do; reads the cache only.

    Where a table of `list_symbols` has the days of a symbol, files before it was listed and
    after it was delisted are not requested. That holds for the datasets of the market that
    was listed (``attrs["market"]``): a perpetual may be older than its spot symbol, and trade
    longer. What was traded when the table was made is requested up to *end*.

    Parameters
    ----------
    symbols : sequence of str or pandas.DataFrame
        Names, or a table of `list_symbols`, or some of its rows.
    interval : str or None
        Needed where *datasets* has candles.
    lookback_years, start, end, settings
        As in `download_all_data`.
    datasets : sequence of str, optional
        Of ``ares_notebook.DATASETS``, those of the market of the symbols. Defaults to candles and
        funding of the market of a contract or of a table of `list_symbols`, else of spot. Trades
        come only where they are named: a year of them is some 35 GB a symbol.

    Returns
    -------
    UniversePlan
        One plan per symbol, and what they cost together.

    Raises
    ------
    BadArgument
        If an argument is invalid, or no symbol is given.
    CacheUnavailable
        If the cache folder cannot be read.

    Examples
    --------
    >>> plan = plan_universe(["btcusdt", "ethusdt"], "1d", 0.1, end="2025-03-01", datasets=["klines"])
    >>> print(plan.to_frame()[["symbol", "files", "rows"]].to_string(index=False))
     symbol  files  rows
    BTCUSDT      2    59
    ETHUSDT      2    59
    """
    wanted, chosen = Wanted.of(symbols), settings_given(settings)
    window = window_of(lookback_years, start, end)
    kinds = None if datasets is None else datasets_named(datasets)
    shown = validate_interval(interval) if interval is not None else None
    # One look at the cache for all: of a million files each would be a long one.
    make = partial(make_plan, settings=chosen, store=Store(chosen))
    plans: list[Plan] = []
    for each in wanted.listed:
        check_cancelled()
        meant = kinds or datasets_named(datasets_meant(each.symbol, wanted.market))
        every = (Series.of(kind, each.symbol, shown) for kind in meant)
        parts = [part for series in every if (part := _part(wanted, each, series, window, make))]
        plans += [together(parts)] if parts else []
    asked = {plan.symbol for plan in plans}
    outside = tuple(name for name in wanted.symbols if name not in asked)
    return UniversePlan(chosen, shown, *window, tuple(plans), outside)


def _part(
    wanted: Wanted, listed: Listed, series: Series, window: Period, make: Callable[..., Plan]
) -> Plan | None:
    """The plan of one dataset of one symbol; None where it was not listed in the window."""
    cut = wanted.window(listed, series, window)
    if cut is None:
        return None
    made = make(series.symbol, series.interval, cut, datasets=(series.dataset.name,))
    steps = tuple(step for step in made.steps if wanted.has(listed, step.file))
    return replace(made, steps=steps) if steps else None


async def list_symbols(
    market: str = "spot",
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
    market : {"spot", "um", "cm"}
        Futures that are margined in USD (``"um"``, also ``"futures"``) or in the coin
        (``"cm"``): perpetuals, settled ones included, and delivery contracts. The archive
        of the former begins on 2019-12-31, a few perpetuals are some months older.
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
        If an argument is invalid; if the archive does not reach to *listed_on* yet.

    Examples
    --------
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange:
    ...     table = run(list_symbols(quote="BTC", settings=exchange.settings()))
    >>> print(table[["symbol", "first"]].to_string(index=False))
    symbol      first
    ETHBTC 2017-07-14
    """
    wanted, chosen = Universe(quote, listed_on, market), settings_given(settings)
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
    from ares_notebook.binance.http import Transport  # noqa: PLC0415
    from ares_notebook.binance.listing import days_of, symbols_of  # noqa: PLC0415

    async with Transport(chosen) as transport:
        market = market_named(wanted.market)
        names = [each for each in await symbols_of(transport, market) if wanted.has(each)]
        work = [days_of(transport, market, name) for name in names]
        return sorted([each async for each in counted(work, chosen, "list symbols")])


def _table(found: Sequence[Listed], market: str, until: date | None) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - slow to import

    table = pd.DataFrame(found, columns=["symbol", "first", "last"])
    table = table.astype({"symbol": "str", "first": "datetime64[s]", "last": "datetime64[s]"})
    # As text, so that whatever writes a table can write them.
    table.attrs.update({"market": market, "until": str(until or "")})
    return table


async def download_universe(
    symbols: Sequence[str] | pd.DataFrame | Universe,
    interval: str | None,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Download many symbols, as `download_all_data` does one.

    It is one run: one session, one request budget per host, one progress, one report, one
    entry in the run history. A symbol that fails does not stop the others;
    what is done is kept, so that the same call goes on where it was stopped.

    Parameters
    ----------
    symbols : sequence of str, pandas.DataFrame or Universe
        Names; a table of `list_symbols`, or some of its rows, whose days bound what is
        asked for; or which symbols are meant, to be listed first.
    interval, lookback_years, start, end, settings
        As in `download_all_data`.
    datasets : sequence of str, optional
        As in `plan_universe`: trades come only where they are named.
    on_progress : callable, optional
        As in `download_all_data`.

    Returns
    -------
    DownloadReport
        One entry a cache file, symbol by symbol; a note names the symbols that were not
        listed in the window.

    Raises
    ------
    BadArgument
        If an argument is invalid, or no symbol is given.
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
        symbols,
        interval,
        lookback_years,
        start=start,
        end=end,
        settings=settings,
        datasets=datasets,
    )
    return await run_universe(made, on_progress=on_progress)


async def planned_universe(
    symbols: Sequence[str] | pd.DataFrame | Universe,
    interval: str | None,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None,
    settings: Settings | None,
    datasets: Sequence[str] | None,
) -> UniversePlan:
    """The plan of `download_universe`; what keeps it from being made is on record as a run that failed."""
    chosen = settings_given(settings)
    if isinstance(symbols, Universe):
        symbols = await prepared(RunInfo("download", chosen, str(symbols)), _found(symbols, chosen))
    make = partial(
        plan_universe,
        symbols,
        interval,
        lookback_years,
        start=start,
        end=end,
        settings=chosen,
        datasets=datasets,
    )
    names = named(Wanted.of(symbols).symbols, ",")
    return await planned(RunInfo("download", chosen, names, interval or ""), make)


async def _found(universe: Universe, chosen: Settings) -> pd.DataFrame:
    quote, day, market = universe.quote, universe.listed_on, universe.market
    return await list_symbols(market, quote=quote, listed_on=day, settings=chosen)


async def run_universe(
    plan: UniversePlan, *, on_progress: ProgressListener | None = None
) -> DownloadReport:
    """Do what *plan* says: one run, with one line in the history."""
    run_info = (
        RunInfo.of("download", *plan.plans)
        if plan.plans
        else RunInfo("download", plan.settings, named(plan.outside, ","), plan.interval or "")
    )
    return await record_run(run_info, _carried_out(plan, on_progress))


async def _carried_out(plan: UniversePlan, on_progress: ProgressListener | None) -> DownloadReport:
    return plan.noted(await run_plans(plan.plans, on_progress=on_progress))
