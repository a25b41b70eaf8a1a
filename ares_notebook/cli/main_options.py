"""The options of the command line without a verb: its version, and completion in a shell."""

from __future__ import annotations

from pathlib import Path

import click

import ares_notebook as ares

# What completes verbs and options in a shell: the file that it reads, and the line in it.
_COMPLETIONS = {
    "bash": ("~/.bashrc", 'eval "$(_ARES_NOTEBOOK_COMPLETE=bash_source ares-notebook)"'),
    "zsh": ("~/.zshrc", 'eval "$(_ARES_NOTEBOOK_COMPLETE=zsh_source ares-notebook)"'),
    "fish": (
        "~/.config/fish/completions/ares-notebook.fish",
        "_ARES_NOTEBOOK_COMPLETE=fish_source ares-notebook | source",
    ),
}


def _install_completion(context: click.Context, _: click.Parameter, shell: str | None) -> None:
    """Add the line to the file of the shell, unless it is there."""
    if shell is None:
        return
    name, line = _COMPLETIONS[shell]
    path = Path(name).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        if line not in file.read():
            file.write(f"\n{line}\n")
    click.echo(f"{path} has the line `{line}`; it takes effect in new shells.")
    context.exit()


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - as click calls it
    if wanted:
        click.echo(f"ares-notebook {ares.__version__}")
        context.exit()


MAIN_OPTIONS: list[click.Parameter] = [
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version.",
    ),
    click.Option(
        ["--install-completion"],
        type=click.Choice(list(_COMPLETIONS)),
        is_eager=True,
        expose_value=False,
        callback=_install_completion,
        help="Complete verbs and options in this shell.",
    ),
]
"""The options of `ares-notebook` without a verb."""
