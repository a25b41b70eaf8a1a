"""The commands: the same functions as in a cell of a notebook."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import ares_notebook as ares
import ares_notebook.cli.options as opt
from ares_notebook.cache.coverage import REASONS
from ares_notebook.cli.output import (
    FAILED,
    print_coverage,
    print_json,
    print_report,
    print_runs,
    print_table,
    run_command,
    stop,
)
from ares_notebook.download.plan import Plan
from ares_notebook.download.repair import plan_repair
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, planned, record_run
from ares_notebook.download.run_plans import run_plan
from ares_notebook.download.universe import UniversePlan, planned_universe, run_universe
from ares_notebook.errors import AresError, BadArgument, PoorQuality
from ares_notebook.formatting import many
from ares_notebook.runtime.progress import somebody_looks
from ares_notebook.runtime.tasks import cancellable
from ares_notebook.settings import Settings

__all__ = ["app", "serve"]

_USAGE = 2
# The demo's end is pinned, so that everybody sees the same numbers.
_DEMO_END = "2025-04-01"
_DEMO_CACHE = "demo_cache"
# Days of trades are large, so the demo takes three of them, not three months.
_DEMO_DAYS = {"klines,futures": 90, "agg_trades": 3}

app = typer.Typer(
    name="ares-notebook",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def serve() -> None:
    """Run the command line; the exit status says how it ended."""
    try:
        app()
    except BadArgument as error:
        stop(f"ERROR: {error}", _USAGE)
    except AresError as error:
        stop(f"ERROR: {error}", FAILED)


@app.callback(invoke_without_command=True)
def about(
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Crypto market history in a local CSV cache that is complete and can prove it."""
    if version:
        typer.echo(f"ares-notebook {ares.__version__}")
        raise typer.Exit


def _settings(**given: Any) -> Settings:
    """Settings from the environment, and what was given on the command line."""
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _log(*, verbose: bool) -> None:
    """Log warnings, or everything, to standard error."""
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("DataDownloader").setLevel(logging.DEBUG if verbose else logging.WARNING)


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _plan(
    symbol: str | None,
    interval: str | None,
    years: float | None,
    end: str | None,
    datasets: str,
    *,
    settings: Settings,
) -> Plan:
    return ares.plan_downloads(
        symbol if symbol is not None else settings.symbol,
        interval if interval is not None else settings.interval,
        years if years is not None else settings.lookback_years,
        end=end,
        settings=settings,
        datasets=_split(datasets),
    )


def _run_plan(what: str, made: Plan) -> Coroutine[Any, Any, DownloadReport]:
    return record_run(RunInfo.of(what, made), run_plan(made))


def _download(
    made: Plan | UniversePlan, work: Coroutine[Any, Any, DownloadReport], *, as_json: bool
) -> None:
    """Print the estimated cost, run the download, and print its report."""
    if somebody_looks(made.settings):
        # Before anything is fetched; trades can be very large.
        typer.echo(f"{made}\n", err=True)
    print_report(run_command(work), as_json=as_json)


@app.command()
def download(
    symbol: opt.Symbol = None,
    interval: opt.Interval = None,
    *,
    years: opt.Years = None,
    end: opt.End = None,
    datasets: opt.Datasets = opt.ALL_DATASETS,
    source: opt.Source = None,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Bring what is missing into the cache, and say what became of it."""
    _log(verbose=verbose)
    settings = _settings(source=source, cache_dir=cache_dir)
    run_info = RunInfo(
        "download", settings, symbol or settings.symbol, interval or settings.interval
    )
    make = partial(_plan, symbol, interval, years, end, datasets, settings=settings)
    made = run_command(planned(run_info, make))
    _download(made, _run_plan("download", made), as_json=json)


@app.command()
def plan(
    symbol: opt.Symbol = None,
    interval: opt.Interval = None,
    *,
    years: opt.Years = None,
    end: opt.End = None,
    datasets: opt.Datasets = opt.ALL_DATASETS,
    source: opt.Source = None,
    cache_dir: opt.CacheDir = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Ask the archive's listing for exact sizes.")
    ] = False,
) -> None:
    """Say what a download would do, file by file, and why; fetches nothing."""
    settings = _settings(source=source, cache_dir=cache_dir)
    made = _plan(symbol, interval, years, end, datasets, settings=settings)
    typer.echo(asyncio.run(made.measure()) if exact else made)


@app.command()
def symbols(
    *,
    market: opt.Market = "spot",
    quote: opt.Quote = None,
    listed_on: opt.ListedOn = None,
    json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Show every symbol that ever traded, delisted ones too, with its first and last day."""
    _log(verbose=verbose)
    work = ares.list_symbols(market, quote=quote, listed_on=listed_on, settings=_settings())
    table = run_command(work)
    days = table.assign(**{each: table[each].dt.strftime("%Y-%m-%d") for each in ("first", "last")})
    if json:
        print_json(days)
    elif days.empty:
        typer.echo("0 symbols: the archive's listing has none of these")
    else:
        until = table.attrs["until"]
        typer.echo(days.to_string(index=False))
        typer.echo(f"\n{many(len(days), 'symbol')}, by the archive's listing up to {until}")


@app.command()
def universe(
    interval: opt.Interval = None,
    *,
    symbols: Annotated[
        str | None, typer.Option("--symbols", help="Names with commas between: BTCUSDT,ETHUSDT.")
    ] = None,
    market: opt.Market = "spot",
    quote: opt.Quote = None,
    listed_on: opt.ListedOn = None,
    years: opt.Years = None,
    end: opt.End = None,
    datasets: opt.Datasets = opt.ALL_DATASETS,
    source: opt.Source = None,
    cache_dir: opt.CacheDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do and cost.")
    ] = False,
    json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Bring many symbols into the cache: those that are named, or all that were listed."""
    _log(verbose=verbose)
    settings = _settings(source=source, cache_dir=cache_dir)
    if (symbols is None) == (quote is None and listed_on is None):
        msg = "say which symbols: either --symbols A,B or --quote USDT, the latter also with --listed-on"
        raise BadArgument(msg)
    if symbols is not None and market != "spot":
        msg = "--market chooses among all that were listed; beside --symbols it says nothing"
        raise BadArgument(msg)
    work = planned_universe(
        ares.Universe(quote, listed_on, market) if symbols is None else _split(symbols),
        interval if interval is not None else settings.interval,
        years if years is not None else settings.lookback_years,
        end=end,
        settings=settings,
        datasets=_split(datasets),
    )
    made = run_command(work)
    if dry_run:
        print_json(made.to_frame()) if json else typer.echo(made)
        return
    _download(made, run_universe(made), as_json=json)


@app.command()
def coverage(
    symbol: opt.OnlySymbol = None,
    interval: opt.OnlyInterval = None,
    *,
    start: opt.Start = None,
    end: opt.End = None,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
) -> None:
    """Show what the cache holds, a line a file."""
    settings = _settings(cache_dir=cache_dir)
    table = ares.coverage(symbol, interval, start=start, end=end, settings=settings)
    print_json(table) if json else print_coverage(table)


@app.command()
def gaps(
    symbol: opt.OneSymbol,
    interval: opt.OnlyInterval = None,
    *,
    start: opt.Start = None,
    end: opt.End = None,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
) -> None:
    """Show where rows are missing, and why."""
    settings = _settings(cache_dir=cache_dir)
    table = ares.find_gaps(symbol, interval, start=start, end=end, settings=settings)
    if json:
        print_json(table)
    elif table.empty:
        typer.echo(f"Nothing is missing of {symbol.upper()}.")
    else:
        print_table(table, "dataset interval start end missing reason note")
        typer.echo("")
        for reason in table["reason"].unique():
            typer.echo(f"{reason}: {REASONS[reason]}")


@app.command()
def repair(
    symbol: opt.OneSymbol,
    interval: opt.OnlyInterval = None,
    *,
    start: opt.Start = None,
    end: opt.End = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Ask again for what was confirmed absent.")
    ] = False,
    source: opt.Source = None,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Close the gaps inside what is there, and bring nothing else."""
    _log(verbose=verbose)
    settings = _settings(source=source, cache_dir=cache_dir)
    make = partial(
        plan_repair, symbol, interval, start=start, end=end, settings=settings, recheck=recheck
    )
    made = run_command(planned(RunInfo("repair", settings, symbol, interval or ""), make))
    _download(made, _run_plan("repair", made), as_json=json)


@app.command()
def validate(
    symbol: opt.OnlySymbol = None,
    interval: opt.OnlyInterval = None,
    *,
    save: Annotated[
        str | None, typer.Option("--save", help="Write the certificate, an HTML page, here.")
    ] = None,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
) -> None:
    """Check what the cache holds, and count what is wrong; repairs nothing."""
    settings = _settings(cache_dir=cache_dir)
    try:
        report = run_command(ares.assure_quality(symbol, interval, settings=settings))
    except PoorQuality as error:
        report = error.report
    print_json(report.to_frame()) if json else typer.echo(report)
    if save is not None:
        typer.echo(f"The certificate is {report.save(Path(save))}.", err=json)
    for each in report.shortfalls:
        typer.echo(f"below threshold: {each}", err=True)
    if report.shortfalls:
        raise typer.Exit(FAILED)
    if not report:
        typer.echo("The thresholds of the settings allow these errors.", err=True)


@app.command()
def runs(
    *,
    last: Annotated[int, typer.Option("--last", help="So many of the newest.", min=1)] = 20,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
) -> None:
    """Show what was done with the cache, a line a run."""
    table = ares.load_runs(settings=_settings(cache_dir=cache_dir)).tail(last)
    print_json(table) if json else print_runs(table)


@app.command()
def audit(
    symbol: opt.OnlySymbol = None,
    interval: opt.OnlyInterval = None,
    *,
    start: opt.Start = None,
    end: opt.End = None,
    update: Annotated[
        bool, typer.Option("--update", help="Take over what the exchange has replaced.")
    ] = False,
    source: opt.Source = None,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Compare the cache with what the exchange says today."""
    _log(verbose=verbose)
    settings = _settings(source=source, cache_dir=cache_dir)
    work = ares.audit_cache(
        symbol, interval, start=start, end=end, settings=settings, update=update
    )
    print_report(run_command(work), as_json=json)


@app.command()
def fingerprint(
    symbol: opt.OneSymbol,
    interval: opt.OneInterval = None,
    *,
    dataset: Annotated[
        str, typer.Option("--dataset", help="One of klines, agg_trades, futures.")
    ] = "klines",
    start: opt.Start = None,
    end: opt.End = None,
    save: Annotated[str | None, typer.Option("--save", help="Write it to this file.")] = None,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
) -> None:
    """Print one sha256 over the content of a dataset, the same on every machine."""
    settings = _settings(cache_dir=cache_dir)
    made = ares.fingerprint(symbol, interval, start, end, dataset=dataset, settings=settings)
    typer.echo(made.to_json() if json else made)
    if save is not None:
        typer.echo(f"Saved to {made.save(Path(save))}.", err=json)


@app.command()
def verify(
    path: Annotated[str, typer.Argument(help="The file that `fingerprint --save` wrote.")],
    *,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
) -> None:
    """Compare the cache with a saved fingerprint, and say exactly what differs."""
    report = ares.verify_fingerprint(Path(path), settings=_settings(cache_dir=cache_dir))
    print_report(report, as_json=json)


@app.command()
def prune(
    symbol: opt.OnlySymbol = None,
    interval: opt.OnlyInterval = None,
    *,
    keep_days: Annotated[
        float | None,
        typer.Option("--keep-days", help="Delete what ended that long ago.", show_default="all"),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            "--max-bytes", help='Then the oldest, until this is left: "20 GB".', show_default="any"
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete; without it only say what would go.")
    ] = False,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
) -> None:
    """Delete what is old and what does not fit; first only say what would go."""
    limits: dict[str, Any] = {"keep": keep_days, "max_bytes": max_bytes, "dry_run": not yes}
    settings = _settings(cache_dir=cache_dir)
    work = cancellable(ares.prune_cache, symbol, interval, **limits, settings=settings)
    print_report(run_command(work), as_json=json)


@app.command()
def parquet(
    folder: Annotated[str, typer.Argument(help="Where the dataset is, or is to be.")],
    symbol: opt.OnlySymbol = None,
    interval: opt.OnlyInterval = None,
    *,
    decimal: Annotated[
        bool, typer.Option("--decimal", help="Numbers as exact decimals, not as floats.")
    ] = False,
    cache_dir: opt.CacheDir = None,
    json: opt.Json = False,
) -> None:
    """Write what the cache holds as a Parquet dataset; only what is new."""
    settings = _settings(cache_dir=cache_dir)
    # In a thread that a signal stops at the next row group.
    work = cancellable(
        ares.to_parquet, folder, symbol, interval, decimal=decimal, settings=settings
    )
    print_report(run_command(work), as_json=json)


@app.command()
def demo(
    *,
    cache_dir: Annotated[str, typer.Option("--cache-dir", help="The cache folder.")] = _DEMO_CACHE,
) -> None:
    """Try it offline: three months of BTCUSDT from a demo exchange on this machine."""
    with ares.DemoExchange() as exchange:
        typer.echo(f"The demo exchange is at {exchange.url}. Its market is made up.\n")
        settings = exchange.settings(cache_dir=cache_dir)
        plans = []
        for datasets, days in _DEMO_DAYS.items():
            made = _plan("BTCUSDT", "1h", days / 365.25, _DEMO_END, datasets, settings=settings)
            plans.append(asyncio.run(made.measure()))
            typer.echo(f"{plans[-1]}\n")
        reports = [run_command(_run_plan("download", made)) for made in plans]
        for report in reports:
            typer.echo(f"{report}\n")
        print_coverage(ares.coverage("BTCUSDT", "1h", settings=settings))
    typer.echo(f"\nThe files are in {cache_dir}. Run it again: nothing will be fetched.")
    if not all(reports):
        raise typer.Exit(FAILED)
