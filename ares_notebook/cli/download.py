"""Commands that plan and download."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

import typer

import ares_notebook as ares
from ares_notebook.cli.options import (
    ALL_DATASETS,
    FAILED,
    CacheDir,
    Datasets,
    End,
    Json,
    ListedOn,
    Market,
    OneSymbol,
    OnlyInterval,
    Quote,
    Source,
    Start,
    Verbose,
    Years,
    log,
    settings_of,
    words_of,
)
from ares_notebook.cli.show import run_shown, show_coverage, show_report, told_as_json
from ares_notebook.download.plan import Plan
from ares_notebook.download.repair import plan_repair
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, planned, record_run
from ares_notebook.download.run_plans import run_plan
from ares_notebook.download.universe import UniversePlan, planned_universe, run_universe
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import many
from ares_notebook.runtime.progress import somebody_looks
from ares_notebook.settings import Settings

__all__ = ["demo", "download", "plan", "repair", "symbols", "universe"]

# The demo's end is pinned, so that everybody sees the same numbers.
_DEMO_END = "2025-04-01"
_DEMO_CACHE = "demo_cache"
_DAY_YEARS = 1 / 365.25

Symbol = Annotated[str | None, typer.Argument(help="Such as BTCUSDT.", show_default="BTCUSDT")]
Interval = Annotated[
    str | None, typer.Argument(help="Of the k-lines, 1s to 1M.", show_default="1h")
]


def download(
    symbol: Symbol = None,
    interval: Interval = None,
    *,
    years: Years = None,
    end: End = None,
    datasets: Datasets = ALL_DATASETS,
    source: Source = None,
    cache_dir: CacheDir = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Bring what is missing into the cache, and say what became of it."""
    log(verbose=verbose)
    settings = settings_of(source=source, cache_dir=cache_dir)
    make = partial(
        _plan, symbol, interval, years=years, end=end, datasets=datasets, settings=settings
    )
    run_info = RunInfo(
        "download", settings, symbol or settings.symbol, interval or settings.interval
    )
    _do("download", run_shown(planned(run_info, make)), as_json=json)


def plan(
    symbol: Symbol = None,
    interval: Interval = None,
    *,
    years: Years = None,
    end: End = None,
    datasets: Datasets = ALL_DATASETS,
    source: Source = None,
    cache_dir: CacheDir = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Ask the archive's listing for exact sizes.")
    ] = False,
) -> None:
    """Say what a download would do, file by file, and why; fetches nothing."""
    settings = settings_of(source=source, cache_dir=cache_dir)
    made = _plan(symbol, interval, years=years, end=end, datasets=datasets, settings=settings)
    typer.echo(asyncio.run(made.measure()) if exact else made)


def repair(
    symbol: OneSymbol,
    interval: OnlyInterval = None,
    *,
    start: Start = None,
    end: End = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Ask again for what was confirmed absent.")
    ] = False,
    source: Source = None,
    cache_dir: CacheDir = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Close the gaps inside what is there, and bring nothing else."""
    log(verbose=verbose)
    settings = settings_of(source=source, cache_dir=cache_dir)
    make = partial(
        plan_repair, symbol, interval, start=start, end=end, settings=settings, recheck=recheck
    )
    run_info = RunInfo("repair", settings, symbol, interval or "")
    _do("repair", run_shown(planned(run_info, make)), as_json=json)


def demo(
    *,
    cache_dir: Annotated[str, typer.Option("--cache-dir", help="The cache folder.")] = _DEMO_CACHE,
) -> None:
    """Try it offline: three months of BTCUSDT from a demo exchange on this machine."""
    with ares.DemoExchange() as exchange:
        typer.echo(f"The demo exchange is at {exchange.url}. Its market is made up.\n")
        settings = exchange.settings(cache_dir=cache_dir)
        # Days of trades are large, so the demo takes three of them, not three months.
        parts = [(90 * _DAY_YEARS, ("klines", "futures")), (3 * _DAY_YEARS, ("agg_trades",))]
        plans = [
            ares.plan_downloads(
                "BTCUSDT", "1h", years, end=_DEMO_END, settings=settings, datasets=names
            )
            for years, names in parts
        ]
        plans = [asyncio.run(made.measure()) for made in plans]
        for made in plans:
            typer.echo(f"{made}\n")
        reports = [_carried_out("download", made) for made in plans]
        for report in reports:
            typer.echo(f"{report}\n")
        show_coverage(ares.coverage("BTCUSDT", "1h", settings=settings))
    typer.echo(f"\nThe files are in {cache_dir}. Run it again: nothing will be fetched.")
    if not all(reports):
        raise typer.Exit(FAILED)


def _plan(
    symbol: str | None,
    interval: str | None,
    *,
    years: float | None,
    end: str | None,
    datasets: str,
    settings: Settings,
) -> Plan:
    return ares.plan_downloads(
        symbol if symbol is not None else settings.symbol,
        interval if interval is not None else settings.interval,
        years if years is not None else settings.lookback_years,
        end=end,
        settings=settings,
        datasets=words_of(datasets),
    )


def _carried_out(what: str, made: Plan) -> DownloadReport:
    return run_shown(record_run(RunInfo.of(what, made), run_plan(made)))


def _do(what: str, made: Plan, *, as_json: bool) -> None:
    if somebody_looks(made.settings):
        # What it will cost is said before it is spent; trades can be very large.
        typer.echo(f"{made}\n", err=True)
    report = _carried_out(what, made)
    show_report(report, as_json=as_json)
    if not report:
        raise typer.Exit(FAILED)


def symbols(
    *,
    market: Market = "spot",
    quote: Quote = None,
    listed_on: ListedOn = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show every symbol that ever traded, delisted ones too, with its first and last day."""
    log(verbose=verbose)
    work = ares.list_symbols(market, quote=quote, listed_on=listed_on, settings=settings_of())  # type: ignore[arg-type] # it says itself what a market is
    table = run_shown(work)
    days = table.assign(**{each: table[each].dt.strftime("%Y-%m-%d") for each in ("first", "last")})
    if json:
        told_as_json(days)
        return
    if days.empty:
        typer.echo("0 symbols: the archive's listing has none of these")
        return
    typer.echo(days.to_string(index=False))
    typer.echo(
        f"\n{many(len(days), 'symbol')}, by the archive's listing up to {table.attrs['until']}"
    )


def universe(
    interval: Annotated[
        str | None, typer.Argument(help="Of the k-lines, 1s to 1M.", show_default="1h")
    ] = None,
    *,
    symbols: Annotated[
        str | None, typer.Option("--symbols", help="Names with commas between: BTCUSDT,ETHUSDT.")
    ] = None,
    market: Market = "spot",
    quote: Quote = None,
    listed_on: ListedOn = None,
    years: Years = None,
    end: End = None,
    datasets: Datasets = ALL_DATASETS,
    source: Source = None,
    cache_dir: CacheDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do and cost.")
    ] = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Bring many symbols into the cache: those that are named, or all that were listed."""
    log(verbose=verbose)
    settings = settings_of(source=source, cache_dir=cache_dir)
    if (symbols is None) == (quote is None and listed_on is None):
        msg = "say which symbols: either --symbols A,B or --quote USDT, the latter also with --listed-on"
        raise BadArgument(msg)
    if symbols is not None and market != "spot":
        msg = "--market chooses among all that were listed; beside --symbols it says nothing"
        raise BadArgument(msg)
    work = planned_universe(
        ares.Universe(quote, listed_on, market) if symbols is None else words_of(symbols),  # type: ignore[arg-type] # as above
        interval if interval is not None else settings.interval,
        years if years is not None else settings.lookback_years,
        end=end,
        settings=settings,
        datasets=words_of(datasets),
    )
    made = run_shown(work)
    if dry_run:
        told_as_json(made.to_frame()) if json else typer.echo(made)
        return
    _do_universe(made, as_json=json)


def _do_universe(made: UniversePlan, *, as_json: bool) -> None:
    if somebody_looks(made.settings):
        # What it will cost is said before it is spent.
        typer.echo(f"{made}\n", err=True)
    report = run_shown(run_universe(made))
    show_report(report, as_json=as_json)
    if not report:
        raise typer.Exit(FAILED)
