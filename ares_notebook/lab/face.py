"""What the panel says in HTML: a problem in words, and its static face where widgets do not run."""

from __future__ import annotations

import traceback

from ares_notebook.errors import AresError, BadArgument
from ares_notebook.lab.choice import Choice
from ares_notebook.market.datasets import dataset_named
from ares_notebook.markup import block, folded, line, table, text

__all__ = ["face_html", "face_text", "hint_html", "problem_html"]


def problem_html(error: BaseException) -> str:
    """An error in words, with its traceback folded away; an alert for screen readers."""
    words = str(error) or type(error).__name__
    if not isinstance(error, AresError):
        # Ours say what to do; of any other at least the kind must be known.
        words = f"{type(error).__name__}: {words}"
    details = ""
    if not isinstance(error, BadArgument):
        # Who is still typing has made no crash.
        trace = "".join(traceback.format_exception(error))
        details = folded("Traceback", f"<pre>{text(trace)}</pre>")
    return f'<div role="alert" class="ares-problem">{line(words)}{details}</div>'


def hint_html(words: str) -> str:
    """A remark that is no error."""
    return f'<div class="ares-hint">{text(words)}</div>' if words else ""


def face_text(choice: Choice) -> str:
    """The choice in a line."""
    end = f", end {choice.end:%Y-%m-%d}" if choice.end else ""
    labels = ", ".join(dataset_named(name).title for name in choice.datasets)
    return f"{', '.join(choice.symbols)} {choice.interval}, {_lookback(choice)}{end}: {labels}"


def _lookback(choice: Choice) -> str:
    return f"{choice.count} {choice.unit.removesuffix('s') if choice.count == 1 else choice.unit}"


def face_html(choice: Choice, estimate: str, standing: str) -> str:
    """
    The panel as a page without scripts shows it: what is chosen, its cost, where things stand.

    Parameters
    ----------
    choice : Choice
    estimate, standing : str
        HTML already.

    Returns
    -------
    str
        HTML; all text is escaped.
    """
    end = f"{choice.end:%Y-%m-%d}" if choice.end else "now"
    rows = [
        ("Symbols", ", ".join(choice.symbols)),
        ("Interval", choice.interval),
        ("Lookback", f"{_lookback(choice)}, up to {end} (UTC, exclusive)"),
        ("Datasets", ", ".join(dataset_named(name).title for name in choice.datasets)),
        ("Cache folder", choice.settings.cache_dir),
    ]
    code = folded("The code that does the same", f"<pre>{text(choice.code())}</pre>")
    note = line("Run the cell to use the panel: this is its static face.")
    return block("Download panel", table(("", ""), rows), estimate, standing, code, note)
