"""What a cache holds, laid out as a calendar: a block a series, a cell a file; and its SVG."""

from __future__ import annotations

import html
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ares_notebook.cache import gap_reasons
from ares_notebook.cache.gap_reasons import COMPLETE, NOT_DOWNLOADED, STATES
from ares_notebook.model.datasets import dataset_named
from ares_notebook.model.time import Cut, cut_periods

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "STYLES",
    "Block",
    "Cell",
    "Line",
    "Piece",
    "Style",
    "calendar_of",
    "coverage_svg",
    "states_in",
]

Hatch = Literal["", "/", "\\", "x", "-", "."]


@dataclass(frozen=True, slots=True)
class Style:
    r"""How something is drawn."""

    # Of the background, ``#rrggbb``.
    colour: str
    hatch: Hatch = ""
    # The colour of the hatch.
    ink: str = "#7a7a7a"


STYLES = {
    COMPLETE: Style("#0b62a4"),
    gap_reasons.CONFIRMED: Style("#56b0e4"),
    gap_reasons.BEFORE_LISTING: Style("#dcdcdc"),
    gap_reasons.AFTER_DELISTING: Style("#b9b9b9", "\\", "#5c5c5c"),
    gap_reasons.BETWEEN_LISTINGS: Style("#cbcbcb", "-", "#6b6b6b"),
    gap_reasons.UNCONFIRMED: Style("#e4d4fb", ".", "#4a2a6b"),
    NOT_DOWNLOADED: Style("#f5e663", "/", "#8a6d00"),
    gap_reasons.NOT_PUBLISHED: Style("#d58ab4", ".", "#5e1f45"),
    gap_reasons.FAILED: Style("#d95f02", "x", "#ffe3cc"),
    gap_reasons.CORRUPT: Style("#4a2040", "\\", "#f3d9ee"),
    gap_reasons.QUIET: Style("#2aa884", "-", "#d9f5ec"),
}
"""The style of each state of a file and each reason of a gap."""

# Days get a line a month, as long as that is no more than this many.
_MOST_MONTH_LINES = 24
# At least this share of a cell shows that rows are missing, or that some are there.
_LEAST_SHOWN = 0.2
# A cell as narrow as a day of a year has no room for two colours.
_NARROW = 1 / 100
# The free share of a wider cell, so that cells can be counted.
_SEAM = 0.08
_TOUCHING = 1e-9
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH_STARTS = tuple(accumulate(_MONTH_LENGTHS, initial=0))
_LETTERS = "JFMAMJJASOND"


class Piece(NamedTuple):
    """A part of a line, from 0 to 1, in the style of one state."""

    x0: float
    width: float
    state: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One file, or a period between two files that has none."""

    # Its left end and width on its line, which is from 0 to 1.
    x0: float
    width: float
    # The share of its rows that is there.
    share: float
    # One of `STATES`.
    state: str
    # Its name, rows and state as text.
    words: str

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What is drawn of it: the share that is there at the left, the rest at the right."""
        is_narrow = self.width < _NARROW
        width = self.width if is_narrow else self.width * (1 - _SEAM)
        if self.state == COMPLETE or not self.share or is_narrow:
            return (Piece(self.x0, width, self.state),)
        there = width * min(max(self.share, _LEAST_SHOWN), 1 - _LEAST_SHOWN)
        return (
            Piece(self.x0, there, COMPLETE),
            Piece(self.x0 + there, width - there, self.state),
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A year of months or days, or a month of days, from left to right."""

    label: str
    cells: tuple[Cell, ...]

    @property
    def pieces(self) -> list[Piece]:
        """The pieces of its cells; those that touch and have one state are joined."""
        found: list[Piece] = []
        for piece in (piece for cell in self.cells for piece in cell.pieces):
            last = found[-1] if found else None
            if last and last.state == piece.state and piece.x0 - last.x0 - last.width < _TOUCHING:
                found[-1] = last._replace(width=piece.x0 + piece.width - last.x0)
            else:
                found.append(piece)
        return found


@dataclass(frozen=True, slots=True)
class Block:
    """One series."""

    title: str
    # The labels above its lines, each with its position from 0 to 1.
    marks: tuple[tuple[float, str], ...]
    # Oldest first.
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class _Grid:
    """How periods are put on lines: months in a year, days in a year, or days in a month."""

    cut: Cut
    by_year: bool

    def position(self, start: datetime) -> tuple[float, float]:
        """Where the period that begins at *start* lies on its line, and its width."""
        if self.cut == "month":
            return (start.month - 1) / 12, 1 / 12
        if self.by_year:
            # February is as wide in every year, so that equal months are below one another.
            days = monthrange(start.year, start.month)[1]
            width = _MONTH_LENGTHS[start.month - 1] / days
            return (_MONTH_STARTS[start.month - 1] + (start.day - 1) * width) / 366, width / 366
        return (start.day - 1) / 31, 1 / 31

    @property
    def marks(self) -> tuple[tuple[float, str], ...]:
        """The labels above the lines."""
        if self.cut == "month":
            return tuple(((at + 0.5) / 12, letter) for at, letter in enumerate(_LETTERS))
        if self.by_year:
            months = zip(_MONTH_STARTS, _MONTH_LENGTHS, _LETTERS, strict=False)
            return tuple(((begin + days / 2) / 366, letter) for begin, days, letter in months)
        return tuple(((day - 0.5) / 31, str(day)) for day in (1, *range(5, 31, 5)))


def calendar_of(coverage: pd.DataFrame) -> tuple[Block, ...]:
    """
    Lay a coverage table out as a calendar.

    A period between the first and the last file of a series that is not in the table was not
    downloaded.
    """
    series = coverage.groupby(["dataset", "symbol", "interval"], dropna=False)
    return tuple(_block(files.to_dict("records")) for _, files in series)


def states_in(blocks: Sequence[Block]) -> list[str]:
    """The states that *blocks* show, in the order of `STATES`."""
    lines = [line for block in blocks for line in block.lines]
    shown = {piece.state for line in lines for piece in line.pieces}
    return [state for state in STATES if state in shown]


def _block(files: list[dict[Any, Any]]) -> Block:
    title = " ".join(filter(None, (files[0][name] for name in ("symbol", "dataset", "interval"))))
    cut = dataset_named(files[0]["dataset"]).cut
    by_start = {row["start"].to_pydatetime(): row for row in files}
    first, last = min(by_start), max(by_start)
    months = 12 * (last.year - first.year) + last.month - first.month + 1
    grid = _Grid(cut, by_year=cut == "month" or months > _MOST_MONTH_LINES)
    label = "%Y" if grid.by_year else "%Y-%m"
    periods = cut_periods(cut, first, by_start[last]["end"].to_pydatetime())
    return Block(
        title,
        grid.marks,
        tuple(
            Line(name, tuple(_cell(each.start, by_start.get(each.start), grid) for each in line))
            for name, line in groupby(periods, key=lambda period: period.start.strftime(label))
        ),
    )


def _cell(start: datetime, row: dict[Any, Any] | None, grid: _Grid) -> Cell:
    x0, width = grid.position(start)
    if row is None:
        stamp = f"{start:%Y-%m}" if grid.cut == "month" else f"{start:%Y-%m-%d}"
        return Cell(x0, width, 0.0, NOT_DOWNLOADED, f"{stamp}: {NOT_DOWNLOADED}")
    words = f"{row['file']}: {row['rows']:,} rows of {row['expected']:,}, {row['state']}"
    # Where nothing is expected and nothing is there, the share of the table is one.
    share = min(float(row["share"]), 1.0) if row["rows"] else 0.0
    return Cell(x0, width, share, row["state"], words)


_LEFT, _TOP, _LINE, _HEIGHT, _WIDTH = 64, 36, 20, 14, 744
_SVG_STYLE = "font:11px system-ui,sans-serif"
# Each hatch as the path of a tile of six by six.
_HATCHES = {
    "/": "M-1,1L1,-1M0,6L6,0M5,7L7,5",
    "\\": "M-1,5L1,7M0,0L6,6M5,-1L7,1",
    "x": "M0,0L6,6M0,6L6,0",
    "-": "M0,3L6,3",
    ".": "M2,3L4,3",
}


def coverage_svg(coverage: pd.DataFrame) -> str:
    """A coverage table as an SVG element, drawn without matplotlib, which is an extra."""
    blocks = calendar_of(coverage)
    parts: list[str] = []
    y = 0
    for block in blocks:
        parts += _svg_head(block, y)
        y += _TOP
        for line in block.lines:
            parts.append(f'<text x="0" y="{y + 11}">{line.label}</text>')
            parts += (_svg_cell(cell, y) for cell in line.cells)
            y += _LINE
        y += 10
    states = states_in(blocks)
    for at, state in enumerate(states):
        top = y + at * _LINE
        parts.append(_rect(_LEFT, top, 24, state))
        parts.append(f'<text x="{_LEFT + 32}" y="{top + 11}">{state}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" style="{_SVG_STYLE}" fill="currentColor" '
        f'viewBox="0 0 {_LEFT + _WIDTH + 2} {y + 4 + _LINE * len(states)}" '
        f'role="img" aria-label="What the cache holds, a cell a file">'
        f"<defs>{''.join(map(_pattern, states))}</defs>{''.join(parts)}</svg>"
    )


def _svg_head(block: Block, y: int) -> Iterator[str]:
    yield f'<text x="0" y="{y + 12}" font-weight="600">{html.escape(block.title)}</text>'
    for at, mark in block.marks:
        x = _LEFT + _WIDTH * at
        yield f'<text x="{x:.1f}" y="{y + 31}" text-anchor="middle" opacity=".7">{mark}</text>'


def _svg_cell(cell: Cell, y: int) -> str:
    boxes = (
        _rect(_LEFT + _WIDTH * piece.x0, y, _WIDTH * piece.width, piece.state)
        for piece in cell.pieces
    )
    return f"<g><title>{html.escape(cell.words)}</title>{''.join(boxes)}</g>"


def _rect(x: float, y: int, width: float, state: str) -> str:
    fill = f"url(#{_pattern_name(state)})" if STYLES[state].hatch else STYLES[state].colour
    return f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_HEIGHT}" fill="{fill}"/>'


def _pattern_name(state: str) -> str:
    # Names are of the whole page, which may hold other SVG elements.
    return f"coverage-{STATES.index(state)}"


def _pattern(state: str) -> str:
    style: Style = STYLES[state]
    if not style.hatch:
        return ""
    return (
        f'<pattern id="{_pattern_name(state)}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6" fill="{style.colour}"/>'
        f'<path d="{_HATCHES[style.hatch]}" stroke="{style.ink}" stroke-width="1.5"/></pattern>'
    )
