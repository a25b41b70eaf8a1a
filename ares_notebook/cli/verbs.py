"""The verbs of the command line: the same as in a cell."""

from __future__ import annotations

from typing import Annotated

import typer

from ares_notebook import __version__
from ares_notebook.cli.download import demo, download, plan, repair, symbols, universe
from ares_notebook.cli.inspect import (
    audit,
    coverage,
    fingerprint,
    gaps,
    parquet,
    prune,
    runs,
    validate,
    verify,
)
from ares_notebook.cli.options import FAILED, stop
from ares_notebook.errors import AresError, BadArgument

__all__ = ["serve"]

_USAGE = 2
_VERBS = (
    download,
    plan,
    symbols,
    universe,
    coverage,
    gaps,
    repair,
    validate,
    runs,
    audit,
    fingerprint,
    verify,
    prune,
    parquet,
    demo,
)

app = typer.Typer(
    name="ares-notebook",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _verb in _VERBS:
    app.command()(_verb)


@app.callback(invoke_without_command=True)
def about(
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Crypto market history in a local CSV cache that is complete and can prove it."""
    if version:
        typer.echo(f"ares-notebook {__version__}")
        raise typer.Exit


def serve() -> None:
    """Do what the command line says; the exit status says how it went."""
    try:
        app()
    except BadArgument as error:
        stop(f"ERROR: {error}", _USAGE)
    except AresError as error:
        stop(f"ERROR: {error}", FAILED)
