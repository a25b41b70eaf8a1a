"""What a cache holds, as a picture of plain SVG: the coverage calendar of the certificate."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ares_notebook.cache.reasons import STATES
from ares_notebook.proof.calendar import Block, Cell, calendar_of, states_in
from ares_notebook.proof.looks import LOOKS, Look

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["coverage_svg"]

_LEFT, _TOP, _LINE, _HEIGHT, _WIDTH = 64, 36, 20, 14, 744
_STYLE = "font:11px system-ui,sans-serif"
# Each hatch as the path of a tile of six by six.
_HATCHES = {
    "/": "M-1,1L1,-1M0,6L6,0M5,7L7,5",
    "\\": "M-1,5L1,7M0,0L6,6M5,-1L7,1",
    "x": "M0,0L6,6M0,6L6,0",
    "-": "M0,3L6,3",
    ".": "M2,3L4,3",
}


def coverage_svg(coverage: pd.DataFrame) -> str:
    """
    Draw a coverage table.

    Parameters
    ----------
    coverage : pandas.DataFrame
        As `ares_notebook.coverage` returns it; not empty.

    Returns
    -------
    str
        An ``svg`` element that needs nothing else. Each cell says on pointing which
        file it is; all text is escaped.

    Examples
    --------
    >>> import pandas as pd
    >>> at = pd.Timestamp("2025-01-01", tz="UTC")
    >>> row = dict(dataset="klines", symbol="BTCUSDT", interval="1h", file="f.csv", start=at,
    ...            end=at + pd.Timedelta(days=31), rows=744, expected=744, share=1.0, state="complete")
    >>> coverage_svg(pd.DataFrame([row])).count("<title>")
    1
    """
    blocks = calendar_of(coverage)
    drawing: list[str] = []
    y = 0
    for block in blocks:
        drawing += _head(block, y)
        y += _TOP
        for line in block.lines:
            drawing.append(f'<text x="0" y="{y + 11}">{line.label}</text>')
            drawing += (_cell(cell, y) for cell in line.cells)
            y += _LINE
        y += 10
    states = states_in(blocks)
    drawing += _legend(states, y)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" style="{_STYLE}" fill="currentColor" '
        f'viewBox="0 0 {_LEFT + _WIDTH + 2} {y + 4 + _LINE * len(states)}" '
        f'role="img" aria-label="What the cache holds, a cell a file">'
        f"<defs>{''.join(map(_pattern, states))}</defs>{''.join(drawing)}</svg>"
    )


def _head(block: Block, y: int) -> Iterator[str]:
    yield f'<text x="0" y="{y + 12}" font-weight="600">{html.escape(block.title)}</text>'
    for at, mark in block.marks:
        x = _LEFT + _WIDTH * at
        yield f'<text x="{x:.1f}" y="{y + 31}" text-anchor="middle" opacity=".7">{mark}</text>'


def _cell(cell: Cell, y: int) -> str:
    words = f"<title>{html.escape(cell.words)}</title>"
    shapes = (
        _rect(_LEFT + _WIDTH * piece.x0, y, _WIDTH * piece.width, piece.state)
        for piece in cell.pieces
    )
    return f"<g>{words}{''.join(shapes)}</g>"


def _rect(x: float, y: int, width: float, state: str) -> str:
    # The page may hold another picture, so a name on it says whose it is.
    fill = f"url(#{_name(state)})" if LOOKS[state].hatch else LOOKS[state].colour
    return f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_HEIGHT}" fill="{fill}"/>'


def _name(state: str) -> str:
    return f"coverage-{STATES.index(state)}"


def _pattern(state: str) -> str:
    look: Look = LOOKS[state]
    if not look.hatch:
        return ""
    return (
        f'<pattern id="{_name(state)}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6" fill="{look.colour}"/>'
        f'<path d="{_HATCHES[look.hatch]}" stroke="{look.ink}" stroke-width="1.5"/></pattern>'
    )


def _legend(states: Iterable[str], y: int) -> Iterator[str]:
    for at, state in enumerate(states):
        top = y + at * _LINE
        yield _rect(_LEFT, top, 24, state)
        yield f'<text x="{_LEFT + 32}" y="{top + 11}">{state}</text>'
