"""The verb that keeps the cache small: prune."""

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
from ares_notebook.cli.show import run_shown, show_pruned
from ares_notebook.runtime.threads import cancellable

__all__ = ["prune"]


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
