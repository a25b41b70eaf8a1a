"""What a cache holds, laid out as a calendar: a block a series, a cell a file; and its SVG."""

from __future__ import annotations

import html
import json
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ares_notebook.cache import gap_reasons
from ares_notebook.cache.gap_reasons import COMPLETE, NOT_DOWNLOADED, STATES
from ares_notebook.formatting import many
from ares_notebook.model.datasets import dataset_named
from ares_notebook.model.facts import NOT_PUBLISHED
from ares_notebook.model.gaps import (
    AFTER_DELISTING,
    BEFORE_LISTING,
    BETWEEN_LISTINGS,
    CONFIRMED,
    UNCONFIRMED,
)
from ares_notebook.model.time import Cut, Period, cut_periods, next_open_ms, to_ms, utc

if TYPE_CHECKING:
    import pandas as pd

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
    CONFIRMED: Style("#56b0e4"),
    BEFORE_LISTING: Style("#dcdcdc"),
    AFTER_DELISTING: Style("#b9b9b9", "\\", "#5c5c5c"),
    BETWEEN_LISTINGS: Style("#cbcbcb", "-", "#6b6b6b"),
    UNCONFIRMED: Style("#e4d4fb", ".", "#4a2a6b"),
    NOT_DOWNLOADED: Style("#f5e663", "/", "#8a6d00"),
    NOT_PUBLISHED: Style("#d58ab4", ".", "#5e1f45"),
    gap_reasons.FAILED: Style("#d95f02", "x", "#ffe3cc"),
    gap_reasons.CORRUPT: Style("#4a2040", "\\", "#f3d9ee"),
    gap_reasons.QUIET: Style("#2aa884", "-", "#d9f5ec"),
}
"""The style of each state of a file and each reason of a gap."""

# Days get a line a month, as long as that is no more than this many.
_MOST_MONTH_LINES = 24
# A cell as narrow as a day of a year has no room for a seam.
_NARROW = 1 / 100
# The free share of a wider cell, so that cells can be counted.
_SEAM = 0.04
_TOUCHING = 1e-9
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH_STARTS = tuple(accumulate(_MONTH_LENGTHS, initial=0))
_LETTERS = "JFMAMJJASOND"
_MINUTE_MS = 60_000


class Piece(NamedTuple):
    """A part of a line, from 0 to 1, in the style of one state."""

    x0: float
    width: float
    state: str
    # What it is, from when to when, and why; empty where the words of its cell say it all.
    words: str = ""

    @property
    def x1(self) -> float:
        """Its right end."""
        return self.x0 + self.width


@dataclass(frozen=True, slots=True)
class Cell:
    """One file, or a period between two files that has none."""

    # Its left end and width on its line, which is from 0 to 1.
    x0: float
    width: float
    # One of `STATES`.
    state: str
    # Its name, rows and state as text.
    words: str
    # What is drawn of it, from left to right; nothing where no row is due yet.
    pieces: tuple[Piece, ...]


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
            if last and last.state == piece.state and piece.x0 - last.x1 < _TOUCHING:
                found[-1] = last._replace(width=piece.x1 - last.x0)
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


class SeriesGap(NamedTuple):
    """A gap of one series; *missing* is None where it is unknown."""

    start_ms: int
    end_ms: int
    missing: int | None
    reason: str
    note: str


_Gaps = dict[tuple[str, ...], list[SeriesGap]]
_SERIES = ["dataset", "symbol", "interval"]


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


def calendar_of(
    coverage: pd.DataFrame, gaps: pd.DataFrame | None = None, *, least: float = 0.0
) -> tuple[Block, ...]:
    """
    Lay a coverage table out as a calendar, each gap at its place in time.

    The gaps are those of `find_gaps`, by default those that the coverage table carries. A gap
    narrower than *least*, a share of a line, is widened to it. A file whose gaps are not known
    has the style of its state all over. A period between the first and the last file of a series
    that is not in the table was not downloaded.
    """
    known = _gaps_by_series(coverage, gaps)
    series = coverage.groupby(_SERIES, dropna=False)
    return tuple(_block(files.to_dict("records"), known, least) for _, files in series)


def states_in(blocks: Sequence[Block]) -> list[str]:
    """The states that *blocks* show, in the order of `STATES`."""
    lines = [line for block in blocks for line in block.lines]
    shown = {piece.state for line in lines for cell in line.cells for piece in cell.pieces}
    return [state for state in STATES if state in shown]


def _gaps_by_series(coverage: pd.DataFrame, gaps: pd.DataFrame | None) -> _Gaps:
    """The gaps in which rows are missing, by series, in order of time."""
    rows: Iterable[Sequence[Any]] = json.loads(coverage.attrs.get("gaps", "[]"))
    if gaps is not None:
        names = [*_SERIES, "start", "end", "missing", "reason", "note"]
        plain = gaps[names].astype({"missing": object})
        plain["start"], plain["end"] = gaps["start"].map(to_ms), gaps["end"].map(to_ms)
        rows = plain.where(plain.notna(), None).itertuples(index=False)
    found: _Gaps = {}
    for *series, start_ms, end_ms, missing, reason, note in rows:
        if reason in STATES:
            gap = SeriesGap(start_ms, end_ms, missing, reason, note)
            found.setdefault(tuple(series), []).append(gap)
    return {series: sorted(each) for series, each in found.items()}


def _block(files: list[dict[Any, Any]], gaps: _Gaps, least: float) -> Block:
    dataset, symbol, interval = (files[0][name] for name in _SERIES)
    cut = dataset_named(dataset).cut
    by_start = {row["start"].to_pydatetime(): row for row in files}
    first, last = min(by_start), max(by_start)
    months = 12 * (last.year - first.year) + last.month - first.month + 1
    grid = _Grid(cut, by_year=cut == "month" or months > _MOST_MONTH_LINES)
    label = "%Y" if grid.by_year else "%Y-%m"
    periods = list(cut_periods(cut, first, by_start[last]["end"].to_pydatetime()))
    inside = _by_period(gaps.get((dataset, symbol, interval), ()), periods)
    cells = [
        (period.start, _cell(period, by_start.get(period.start), own, grid, least))
        for period, own in zip(periods, inside, strict=True)
    ]
    lines = groupby(cells, key=lambda pair: pair[0].strftime(label))
    title = " ".join(filter(None, (symbol, dataset, interval)))
    return Block(
        title,
        grid.marks,
        tuple(Line(name, tuple(cell for _, cell in pairs)) for name, pairs in lines),
    )


def _by_period(gaps: Iterable[SeriesGap], periods: Sequence[Period]) -> list[list[SeriesGap]]:
    """For each period the gaps that lie in it, in whole or in part."""
    found: list[list[SeriesGap]] = [[] for _ in periods]
    starts_ms = [period.start_ms for period in periods]
    for gap in gaps:
        at = max(bisect_right(starts_ms, gap.start_ms) - 1, 0)
        while at < len(periods) and starts_ms[at] < gap.end_ms:
            if gap.start_ms < periods[at].end_ms:
                found[at].append(gap)
            at += 1
    return found


def _cell(
    period: Period, row: dict[Any, Any] | None, gaps: Sequence[SeriesGap], grid: _Grid, least: float
) -> Cell:
    x0, width = grid.position(period.start)
    shown = width if width < _NARROW else width * (1 - _SEAM)
    if row is None:
        stamp = f"{period.start:%Y-%m}" if grid.cut == "month" else f"{period.start:%Y-%m-%d}"
        words = f"{stamp}: {NOT_DOWNLOADED}"
        return Cell(x0, width, NOT_DOWNLOADED, words, (Piece(x0, shown, NOT_DOWNLOADED),))
    words = f"{row['file']}: {row['rows']:,} rows of {row['expected']:,}, {row['state']}"
    if row["state"] != COMPLETE and not gaps:
        return Cell(x0, width, row["state"], words, (Piece(x0, shown, row["state"]),))
    scale = _Scale(period, x0, shown, least)
    pieces = _gap_pieces(gaps, scale)
    if row["rows"]:
        pieces = _with_rows(pieces, x0, scale.at(_rows_end_ms(row, period)))
    return Cell(x0, width, row["state"], words, tuple(pieces))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where the moments of a period lie on its line."""

    period: Period
    x0: float
    width: float
    # The least width of a gap.
    least: float

    def at(self, moment_ms: int) -> float:
        """The position of a moment; one outside the period is at its end."""
        start_ms, end_ms = self.period.start_ms, self.period.end_ms
        inside_ms = min(max(moment_ms, start_ms), end_ms)
        return self.x0 + self.width * (inside_ms - start_ms) / (end_ms - start_ms)

    def widened(self, gap: SeriesGap) -> tuple[float, float]:
        """Left and right end of a gap, no narrower than the least, and inside the cell."""
        left, right = self.at(gap.start_ms), self.at(gap.end_ms)
        least = min(self.least, self.width)
        if right - left >= least:
            return left, right
        middle = min(max((left + right) / 2, self.x0 + least / 2), self.x0 + self.width - least / 2)
        return middle - least / 2, middle + least / 2


def _gap_pieces(gaps: Iterable[SeriesGap], scale: _Scale) -> list[Piece]:
    """
    The pieces of some gaps in order of time.

    Gaps of one reason that meet, after they were widened, are one piece; of two reasons the worse
    one is in front.
    """
    found: list[tuple[float, float, list[SeriesGap]]] = []
    for gap in gaps:
        left, right = scale.widened(gap)
        last_left, last_right, same = found[-1] if found else (left, left, [gap])
        if not found or last_right <= left + _TOUCHING:
            found.append((left, right, [gap]))
        elif same[0].reason == gap.reason:
            same.append(gap)
            found[-1] = (last_left, max(right, last_right), same)
        elif STATES.index(gap.reason) > STATES.index(same[0].reason):
            found[-1] = (last_left, max(left, last_left), same)
            found.append((left, right, [gap]))
        elif right > last_right:
            found.append((last_right, right, [gap]))
    return [
        Piece(left, right - left, same[0].reason, gap_words(same))
        for left, right, same in found
        if right - left > _TOUCHING
    ]


def gap_words(gaps: Sequence[SeriesGap]) -> str:
    """From when to when rows are missing, how many, and why."""
    first, last = gaps[0], gaps[-1]
    counts = [gap.missing for gap in gaps]
    rows = "an unknown number of rows" if None in counts else many(sum(filter(None, counts)), "row")
    count = f"{len(gaps):,} gaps, " if len(gaps) > 1 else ""
    note = f" ({first.note})" if first.note and len(gaps) == 1 else ""
    return (
        f"{count}{_moment(first.start_ms)} to {_moment(last.end_ms)} UTC, {rows}, "
        f"{first.reason}{note}"
    )


def _moment(moment_ms: int) -> str:
    """A moment to the minute, or to the millisecond where it is none."""
    form = "%Y-%m-%d %H:%M:%S.%f" if moment_ms % _MINUTE_MS else "%Y-%m-%d %H:%M"
    return f"{utc(moment_ms):{form}}".removesuffix("000")


def _with_rows(gaps: Sequence[Piece], x0: float, end: float) -> list[Piece]:
    """The gaps of a cell, and between them, from *x0* to *end*, the rows that are there."""
    pieces: list[Piece] = []
    for gap in (*gaps, Piece(end, 0.0, COMPLETE)):
        if gap.x0 - x0 > _TOUCHING:
            pieces.append(Piece(x0, gap.x0 - x0, COMPLETE))
        if gap.width:
            pieces.append(gap)
        x0 = max(x0, gap.x1)
    return pieces


def _rows_end_ms(row: dict[Any, Any], period: Period) -> int:
    """Where the rows of a file end: of a running file with the last one, not with its period."""
    if row.get("final", True):
        return period.end_ms
    last_ms = to_ms(row["last"].to_pydatetime())
    # The last candle of a month may close after it.
    return next_open_ms(row["interval"], last_ms) if row["interval"] else last_ms


_LEFT, _TOP, _LINE, _HEIGHT, _WIDTH = 64, 36, 20, 14, 744
# Wide enough to be seen, also where the page shows the picture smaller than it is.
_LEAST_WIDTH = 2
_SVG_STYLE = "font:11px system-ui,sans-serif"
# Each hatch as the path of a tile of six by six.
_HATCHES = {
    "/": "M-1,1L1,-1M0,6L6,0M5,7L7,5",
    "\\": "M-1,5L1,7M0,0L6,6M5,-1L7,1",
    "x": "M0,0L6,6M0,6L6,0",
    "-": "M0,3L6,3",
    ".": "M2,3L4,3",
}


def coverage_svg(
    coverage: pd.DataFrame, gaps: pd.DataFrame | None = None, *, prefix: str = "coverage"
) -> str:
    """
    A coverage table as an SVG element, drawn without matplotlib, which is an extra.

    The gaps are those of `calendar_of`. Each cell and each gap has a tooltip. Text has the colour
    of the page's. The ids of the element begin with *prefix*; a page that shows two of these
    elements needs two of them.
    """
    blocks = calendar_of(coverage, gaps, least=_LEAST_WIDTH / _WIDTH)
    parts: list[str] = []
    y = 0
    for block in blocks:
        parts += _svg_head(block, y)
        y += _TOP
        for line in block.lines:
            parts.append(f'<text x="0" y="{y + 11}">{line.label}</text>')
            parts += (_svg_cell(cell, y, prefix) for cell in line.cells)
            y += _LINE
        y += 10
    states = states_in(blocks)
    for at, state in enumerate(states):
        top = y + at * _LINE
        parts.append(_rect(_LEFT, top, 24, _fill(state, prefix)))
        parts.append(f'<text x="{_LEFT + 32}" y="{top + 11}">{state}</text>')
    patterns = "".join(_pattern(state, prefix) for state in states)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" style="{_SVG_STYLE}" fill="currentColor" '
        f'viewBox="0 0 {_LEFT + _WIDTH + 2} {y + 4 + _LINE * len(states)}" '
        f'role="img" aria-label="What the cache holds, a cell a file">'
        f"<defs>{patterns}</defs>{''.join(parts)}</svg>"
    )


def _svg_head(block: Block, y: int) -> Iterator[str]:
    yield f'<text x="0" y="{y + 12}" font-weight="600">{html.escape(block.title)}</text>'
    for at, mark in block.marks:
        x = _LEFT + _WIDTH * at
        yield f'<text x="{x:.1f}" y="{y + 31}" text-anchor="middle" opacity=".7">{mark}</text>'


def _svg_cell(cell: Cell, y: int, prefix: str) -> str:
    boxes = (
        _rect(
            _LEFT + _WIDTH * each.x0,
            y,
            _WIDTH * each.width,
            _fill(each.state, prefix),
            each.words,
        )
        for each in cell.pieces
    )
    return f"<g>{_title(cell.words)}{''.join(boxes)}</g>"


def _rect(x: float, y: int, width: float, fill: str, words: str = "") -> str:
    box = f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_HEIGHT}" fill="{fill}"'
    return f"{box}>{_title(words)}</rect>" if words else f"{box}/>"


def _fill(state: str, prefix: str) -> str:
    style = STYLES[state]
    return f"url(#{_pattern_name(state, prefix)})" if style.hatch else style.colour


def _title(words: str) -> str:
    """What a browser shows where the pointer is."""
    return f"<title>{html.escape(words)}</title>"


def _pattern_name(state: str, prefix: str) -> str:
    return f"{prefix}-{STATES.index(state)}"


def _pattern(state: str, prefix: str) -> str:
    style: Style = STYLES[state]
    if not style.hatch:
        return ""
    return (
        f'<pattern id="{_pattern_name(state, prefix)}" width="6" height="6" '
        f'patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="{style.colour}"/>'
        f'<path d="{_HATCHES[style.hatch]}" stroke="{style.ink}" stroke-width="1.5"/></pattern>'
    )
