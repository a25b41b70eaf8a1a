"""What a cache holds, as a picture of plain SVG: a line a year, a cell a file."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["coverage_svg"]

_LEFT, _TOP, _LINE, _HEIGHT, _WIDTH = 64, 36, 20, 14, 744
_MONTHS = "JFMAMJJASOND"


@dataclass(frozen=True, slots=True)
class _State:
    """How a file stands: its words, and the class of its cell."""

    name: str
    words: str


# Told apart without colour too: dark, light, striped, empty.
_WHOLE = _State("whole", "complete")
_CONFIRMED = _State("told", "complete but for what the exchange does not have")
_HOLES = _State("holes", "holes, or not asked for yet")
_EMPTY = _State("empty", "no file: the exchange has nothing")
_STATES = (_WHOLE, _CONFIRMED, _HOLES, _EMPTY)

_STYLE = """
.whole{fill:#0b4f7d}.told{fill:#7db8dc}.holes{fill:url(#stripes)}.empty{fill:none;stroke:#999;stroke-width:.5}
text{font:11px system-ui,sans-serif;fill:currentColor}
"""
_STRIPES = (
    '<defs><pattern id="stripes" width="5" height="5" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="5" height="5" fill="#f2b8a0"/>'
    '<rect width="2.5" height="5" fill="#b8400a"/></pattern></defs>'
)


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
    ...            end=at + pd.Timedelta(days=31), rows=744, expected=744, share=1.0, holes=0,
    ...            confirmed_absent=0)
    >>> coverage_svg(pd.DataFrame([row])).count("<title>")
    1
    """
    drawing: list[str] = []
    y = 0
    for (dataset, symbol, interval), files in coverage.groupby(["dataset", "symbol", "interval"]):
        title = " ".join(str(word) for word in (symbol, dataset, interval) if word)
        drawing.append(f'<text x="0" y="{y + 12}" font-weight="600">{html.escape(title)}</text>')
        drawing += _months(y)
        y += _TOP
        for year, of_year in files.groupby(files["start"].dt.year):
            drawing.append(f'<text x="0" y="{y + 11}">{year}</text>')
            drawing += _cells(of_year, y)
            y += _LINE
        y += 10
    drawing += _legend(y)
    height = y + 4 + _LINE * len(_STATES)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 2} {height}" '
        f'role="img" aria-label="What the cache holds, a cell a file"><style>{_STYLE}</style>'
        f"{_STRIPES}{''.join(drawing)}</svg>"
    )


def _months(y: int) -> Iterator[str]:
    for at, letter in enumerate(_MONTHS):
        x = _LEFT + _WIDTH * (at + 0.5) / 12
        yield f'<text x="{x:.1f}" y="{y + 31}" text-anchor="middle" opacity=".7">{letter}</text>'


def _cells(files: pd.DataFrame, y: int) -> Iterator[str]:
    for row in files.to_dict("records"):
        start, days = row["start"], (row["end"] - row["start"]).days
        # A month in twelve equal parts; of a day, one of its 31.
        month = start.month - 1 + (start.day - 1) / 31
        share = 1 if days > 1 else 1 / 31
        x, width = _LEFT + _WIDTH * month / 12, _WIDTH * share / 12 - (1.5 if days > 1 else 0.25)
        state = _state(row["rows"], row["holes"], row["confirmed_absent"])
        words = f"{row['file']}: {row['rows']:,} rows of {row['expected']:,}, {state.words}"
        yield (
            f'<rect class="{state.name}" x="{x:.2f}" y="{y}" width="{width:.2f}" '
            f'height="{_HEIGHT}"><title>{html.escape(words)}</title></rect>'
        )


def _state(rows: int, holes: int, confirmed_absent: int) -> _State:
    if holes:
        return _HOLES
    if not rows:
        return _EMPTY
    return _CONFIRMED if confirmed_absent else _WHOLE


def _legend(y: int) -> Iterable[str]:
    for at, state in enumerate(_STATES):
        top = y + at * _LINE
        yield f'<rect class="{state.name}" x="{_LEFT}" y="{top}" width="24" height="{_HEIGHT}"/>'
        yield f'<text x="{_LEFT + 32}" y="{top + 11}">{state.words}</text>'
