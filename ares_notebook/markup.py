"""HTML for people: tables and words in the colours of the notebook's theme, all text escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["block", "folded", "line", "table", "text"]

_CELL = (
    "padding:2px 10px 2px 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid var(--jp-border-color2, #ccc)"
)
# A moment or a word is not broken; a note is.
_SHORT = 26
_BLOCK = "color:var(--jp-ui-font-color1, inherit);font-size:var(--jp-ui-font-size1, 13px)"


def text(value: object) -> str:
    """
    Anything as text that is safe inside HTML.

    Examples
    --------
    >>> text("<b>")
    '&lt;b&gt;'
    """
    return html.escape(str(value))


def line(value: object, style: str = "") -> str:
    """A line of text, escaped."""
    return f'<div style="{style}">{text(value)}</div>' if style else f"<div>{text(value)}</div>"


def block(headline: object, *parts: str) -> str:
    """
    A headline, escaped, and under it *parts*, which are HTML already.

    Examples
    --------
    >>> block("a < b", line("c")).count("&lt;")
    1
    """
    return f'<div style="{_BLOCK}"><strong>{text(headline)}</strong>{"".join(parts)}</div>'


def table(
    names: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()
) -> str:
    """
    A table; every cell is escaped.

    Parameters
    ----------
    names : sequence of str
        Of the columns.
    rows : iterable of sequence
    numbers : sequence of str
        The columns that are set flush right.

    Examples
    --------
    >>> table(["file"], [["<x>"]]).count("&lt;x&gt;")
    1
    """
    aligned = [f"{_CELL};text-align:right" if name in numbers else _CELL for name in names]
    head = "".join(
        f'<th scope="col" style="{style}">{text(name)}</th>'
        for name, style in zip(names, aligned, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{text(cell)}</td>'
            for cell, style in zip(row, aligned, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        '<table style="border-collapse:collapse;margin:4px 0;font-size:inherit">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _tied(cell: object) -> str:
    return ";white-space:nowrap" if len(str(cell)) <= _SHORT else ""


def folded(summary: object, body: str, *, is_open: bool = False) -> str:
    """*body* (HTML) under a line (escaped) that opens and closes it; no script is needed."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{text(summary)}</summary>{body}</details>"
