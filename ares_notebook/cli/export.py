"""The verb that hands the cache over to other tools: parquet."""

from __future__ import annotations

from typing import Annotated

import typer

import ares_notebook as ares
from ares_notebook.cli.options import (
    FAILED,
    CacheDir,
    Json,
    OnlyInterval,
    OnlySymbol,
    settings_of,
)
from ares_notebook.cli.show import run_shown, told_as_json
from ares_notebook.runtime.threads import cancellable

__all__ = ["parquet"]


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
