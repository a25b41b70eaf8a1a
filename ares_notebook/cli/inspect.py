"""Commands on the cache: look, check, prune, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ares_notebook as ares
from ares_notebook.cache.coverage import REASONS
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
    show_pruned,
    show_runs,
    show_table,
    told_as_json,
)
from ares_notebook.errors import PoorQuality
from ares_notebook.runtime.tasks import cancellable

__all__ = [
    "audit",
    "coverage",
    "fingerprint",
    "gaps",
    "parquet",
    "prune",
    "runs",
    "validate",
    "verify",
]


def parquet(
    folder: Annotated[str, typer.Argument(help="Where the dataset is, or is to be.")],
    symbol: OnlySymbol = None,
    interval: OnlyInterval = None,
    *,
    decimal: Annotated[
        bool, typer.Option("--decimal", help="Numbers as exact decimals, not as floats.")
    ] = False,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Write what the cache holds as a Parquet dataset; only what is new."""
    settings = settings_of(cache_dir=cache_dir)
    # In a thread that a signal stops at the next row group.
    work = cancellable(
        ares.to_parquet, folder, symbol, interval, decimal=decimal, settings=settings
    )
    report = run_shown(work)
    told_as_json(report.to_frame()) if json else typer.echo(report)
    if not report:
        raise typer.Exit(FAILED)


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


def prune(
    symbol: OnlySymbol = None,
    interval: OnlyInterval = None,
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
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Delete what is old and what does not fit; first only say what would go."""
    work = cancellable(
        ares.prune_cache,
        symbol,
        interval,
        keep=keep_days,
        max_bytes=max_bytes,
        dry_run=not yes,
        settings=settings_of(cache_dir=cache_dir),
    )
    report = run_shown(work)
    show_pruned(report, as_json=json)
    if not report:
        raise typer.Exit(FAILED)
