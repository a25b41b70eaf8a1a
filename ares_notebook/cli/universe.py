"""Verbs for many symbols: symbols, universe."""

from __future__ import annotations

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
    Quote,
    Source,
    Verbose,
    Years,
    log,
    settings_of,
    words_of,
)
from ares_notebook.cli.show import run_shown, show_report, told_as_json
from ares_notebook.download.universe import UniversePlan, planned_universe, run_universe
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import many
from ares_notebook.runtime.progress import somebody_looks

__all__ = ["symbols", "universe"]


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
    _do(made, as_json=json)


def _do(made: UniversePlan, *, as_json: bool) -> None:
    if somebody_looks(made.settings):
        # What it will cost is said before it is spent.
        typer.echo(f"{made}\n", err=True)
    report = run_shown(run_universe(made))
    show_report(report, as_json=as_json)
    if not report:
        raise typer.Exit(FAILED)
