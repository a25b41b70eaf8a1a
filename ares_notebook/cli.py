"""The command line: the same verbs as in a cell. Exit status 0 done, 1 something failed, 2 usage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ares_notebook import __version__
from ares_notebook.commands import bring, keep, look
from ares_notebook.commands.options import FAILED, stop
from ares_notebook.errors import AresError, BadArgument

__all__ = ["main"]

_USAGE = 2
_VERBS = (
    bring.download,
    bring.plan,
    look.coverage,
    look.gaps,
    bring.repair,
    look.validate,
    look.runs,
    look.audit,
    look.fingerprint,
    look.verify,
    keep.prune,
    bring.demo,
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


def main() -> None:
    """Run the command line; the exit status says how it went."""
    if Path("src", "config.py").is_file():
        # In the host project: an installed script looks for modules beside itself, and would
        # miss the configuration that `python -m ares_notebook` finds.
        sys.path.insert(0, "")
    try:
        app()
    except BadArgument as error:
        stop(f"ERROR: {error}", _USAGE)
    except AresError as error:
        stop(f"ERROR: {error}", FAILED)
