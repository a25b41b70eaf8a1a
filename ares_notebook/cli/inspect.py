"""Verbs that look: coverage, gaps, validate, audit, fingerprint, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ares_notebook as ares
from ares_notebook.cache.gaps import REASONS
from ares_notebook.cli.options import (
    FAILED,
    CacheDir,
    End,
    Json,
    OneInterval,
    OneSymbol,
    OnlyInterval,
    OnlySymbol,
    Source,
    Start,
    Verbose,
    log,
    settings_of,
)
from ares_notebook.cli.show import (
    run_shown,
    show_coverage,
    show_runs,
    show_table,
    told_as_json,
)
from ares_notebook.errors import PoorQuality

__all__ = ["audit", "coverage", "fingerprint", "gaps", "runs", "validate", "verify"]

_GAPS = ["dataset", "interval", "start", "end", "missing", "reason", "note"]


def coverage(
    symbol: OnlySymbol = None,
    interval: OnlyInterval = None,
    *,
    start: Start = None,
    end: End = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Show what the cache holds, a line a file."""
    settings = settings_of(cache_dir=cache_dir)
    table = ares.coverage(symbol, interval, start=start, end=end, settings=settings)
    told_as_json(table) if json else show_coverage(table)


def gaps(
    symbol: OneSymbol,
    interval: OnlyInterval = None,
    *,
    start: Start = None,
    end: End = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Show where rows are missing, and why."""
    settings = settings_of(cache_dir=cache_dir)
    table = ares.find_gaps(symbol, interval, start=start, end=end, settings=settings)
    if json:
        told_as_json(table)
    elif table.empty:
        typer.echo(f"Nothing is missing of {symbol.upper()}.")
    else:
        show_table(table, _GAPS)
        typer.echo("")
        for reason in dict.fromkeys(table["reason"]):
            typer.echo(f"{reason}: {REASONS[reason]}")


def runs(
    *,
    last: Annotated[int, typer.Option("--last", help="So many of the newest.", min=1)] = 20,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Show what was done with the cache, a line a run."""
    table = ares.load_runs(settings=settings_of(cache_dir=cache_dir)).tail(last)
    told_as_json(table) if json else show_runs(table)


def validate(
    symbol: OnlySymbol = None,
    interval: OnlyInterval = None,
    *,
    save: Annotated[
        str | None, typer.Option("--save", help="Write the certificate, an HTML page, here.")
    ] = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Check what the cache holds, and count what is wrong; repairs nothing."""
    settings = settings_of(cache_dir=cache_dir)
    try:
        report = run_shown(ares.assure_quality(symbol, interval, settings=settings))
    except PoorQuality as error:
        report = error.report
    told_as_json(report.to_frame()) if json else typer.echo(report)
    if save is not None:
        typer.echo(f"The certificate is {report.save(Path(save))}.", err=json)
    for each in report.shortfalls:
        typer.echo(f"below threshold: {each}", err=True)
    if report.shortfalls:
        raise typer.Exit(FAILED)
    if not report:
        typer.echo("The thresholds of the settings bear these errors.", err=True)


def audit(
    symbol: OnlySymbol = None,
    interval: OnlyInterval = None,
    *,
    start: Start = None,
    end: End = None,
    update: Annotated[
        bool, typer.Option("--update", help="Take over what the exchange has replaced.")
    ] = False,
    source: Source = None,
    cache_dir: CacheDir = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Compare the cache with what the exchange says today."""
    log(verbose=verbose)
    settings = settings_of(source=source, cache_dir=cache_dir)
    report = run_shown(
        ares.audit_cache(symbol, interval, start=start, end=end, settings=settings, update=update)
    )
    told_as_json(report.to_frame()) if json else typer.echo(report)
    if not report:
        raise typer.Exit(FAILED)


def fingerprint(
    symbol: OneSymbol,
    interval: OneInterval = None,
    *,
    dataset: Annotated[
        str, typer.Option("--dataset", help="One of klines, agg_trades, futures.")
    ] = "klines",
    start: Start = None,
    end: End = None,
    save: Annotated[str | None, typer.Option("--save", help="Write it to this file.")] = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Print one sha256 over the content of a dataset, the same on every machine."""
    settings = settings_of(cache_dir=cache_dir)
    made = ares.fingerprint(symbol, interval, start, end, dataset=dataset, settings=settings)
    typer.echo(made.to_json() if json else made)
    if save is not None:
        typer.echo(f"Saved to {made.save(Path(save))}.", err=json)


def verify(
    path: Annotated[str, typer.Argument(help="The file that `fingerprint --save` wrote.")],
    *,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Compare the cache with a saved fingerprint, and say exactly what differs."""
    found = ares.verify_fingerprint(Path(path), settings=settings_of(cache_dir=cache_dir))
    told_as_json(found.to_frame()) if json else typer.echo(found)
    if not found:
        raise typer.Exit(FAILED)
