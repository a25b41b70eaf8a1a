"""The command line. Exit status 0 done, 1 something failed, 2 usage, 130 interrupted, 143 terminated."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path

from ares_notebook.runtime.signals import answered, leave

__all__ = ["main"]


def main() -> None:
    """Run the command line; the exit status says how it ended."""
    if Path("src", "config.py").is_file():
        # In the host project: an installed script does not look for modules in the current
        # folder, and would miss the configuration that `python -m ares_notebook` finds.
        sys.path.insert(0, "")
    if isinstance(sys.stdout, TextIOWrapper):
        # A pipe on Windows, or an old terminal, cannot encode all letters that symbols have.
        sys.stdout.reconfigure(errors="backslashreplace")
    with answered(leave):
        # All that is slow to import is behind this line, so that Ctrl-C is handled before it.
        from ares_notebook.cli.commands import serve

        serve()
