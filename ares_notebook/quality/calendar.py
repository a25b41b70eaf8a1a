"""What a cache holds, laid out as a calendar: a block a series, a cell a file; computed, not drawn."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from ares_notebook.cache.gap_reasons import COMPLETE, NOT_DOWNLOADED, STATES
from ares_notebook.model.datasets import dataset_named
from ares_notebook.model.time import Cut, Period, cut_periods

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Block", "Cell", "Line", "Piece", "calendar_of", "states_in"]

# Days get a line a month, as long as that is no more than this many.
_MOST_MONTH_LINES = 24
# So much of a cell shows that rows are missing, however few, or there, however few.
_LEAST_SHOWN = 0.2
# A cell as narrow as a day of a year has no room for two colours.
_NARROW = 1 / 100
# Between two wider ones something is left free, that they can be counted.
_SEAM = 0.08
_TOUCHING = 1e-9
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH_STARTS = tuple(accumulate(_MONTH_LENGTHS, initial=0))
_LETTERS = "JFMAMJJASOND"


class Piece(NamedTuple):
    """A stretch of a line, from 0 to 1, in the look of one state."""

    x0: float
    width: float
    state: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One file, or a period between two that has none."""

    # Where it lies on its line, which is from 0 to 1.
    x0: float
    width: float
    # What part of its rows is there.
    share: float
    # How it stands, one of `STATES`.
    state: str
    # The same for a reader: its name, rows, state.
    words: str

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """
        What is drawn of it: what is there at the left, and at the right what is not.

        Of a cell that lacks something at least a fifth says so; a cell as narrow as a day of a year
        shows its state alone.
        """
        if self.state == COMPLETE or not self.share or self.width < _NARROW:
            return (Piece(self.x0, self._drawn, self.state),)
        there = self._drawn * min(max(self.share, _LEAST_SHOWN), 1 - _LEAST_SHOWN)
        return (
            Piece(self.x0, there, COMPLETE),
            Piece(self.x0 + there, self._drawn - there, self.state),
        )

    @property
    def _drawn(self) -> float:
        return self.width * (1 if self.width < _NARROW else 1 - _SEAM)


@dataclass(frozen=True, slots=True)
class Line:
    """A year of months or days, or a month of days, from left to right."""

    label: str
    cells: tuple[Cell, ...]

    @property
    def pieces(self) -> list[Piece]:
        """
        What is drawn of it; neighbours that touch and look alike are one.

        Eighteen hundred days are then a few dozen shapes, without seams between them.
        """
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
    # What stands above its lines, and where.
    marks: tuple[tuple[float, str], ...]
    # Oldest first.
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class _Grid:
    """How periods lie on lines: months in a year, days in a year, or days in a month."""

    cut: Cut
    by_year: bool

    def label(self, start: datetime) -> str:
        return f"{start:%Y}" if self.by_year else f"{start:%Y-%m}"

    def place(self, start: datetime) -> tuple[float, float]:
        if self.cut == "month":
            return (start.month - 1) / 12, 1 / 12
        if self.by_year:
            # February is as wide in every year, so that months stand below one another.
            days = monthrange(start.year, start.month)[1]
            width = _MONTH_LENGTHS[start.month - 1] / days
            return (_MONTH_STARTS[start.month - 1] + (start.day - 1) * width) / 366, width / 366
        return (start.day - 1) / 31, 1 / 31

    @property
    def marks(self) -> tuple[tuple[float, str], ...]:
        if self.cut == "month":
            return tuple(((at + 0.5) / 12, letter) for at, letter in enumerate(_LETTERS))
        if self.by_year:
            halves = (length / 2 for length in _MONTH_LENGTHS)
            middles = (begin + half for begin, half in zip(_MONTH_STARTS, halves, strict=False))
            return tuple((at / 366, letter) for at, letter in zip(middles, _LETTERS, strict=True))
        return tuple(((day - 0.5) / 31, str(day)) for day in (1, *range(5, 31, 5)))


def calendar_of(coverage: pd.DataFrame) -> tuple[Block, ...]:
    """
    Lay a coverage table out as a calendar.

    Months get a line a year; days a line a month, and a line a year where there would be too many.
    What lies between the first and the last file of a series and is not in the table was not
    downloaded.
    """
    return tuple(
        _block(str(dataset), str(symbol), str(interval), files.to_dict("records"))
        for (dataset, symbol, interval), files in coverage.groupby(
            ["dataset", "symbol", "interval"], dropna=False
        )
    )


def states_in(blocks: Sequence[Block]) -> list[str]:
    """The states that a picture of *blocks* shows, in the order of `STATES`."""
    lines = [line for block in blocks for line in block.lines]
    shown = {piece.state for line in lines for piece in line.pieces}
    return [state for state in STATES if state in shown]


def _block(dataset: str, symbol: str, interval: str, files: list[dict[Any, Any]]) -> Block:
    cut = dataset_named(dataset).cut
    by_start = {row["start"].to_pydatetime(): row for row in files}
    first, last = min(by_start), max(by_start)
    months = 12 * (last.year - first.year) + last.month - first.month + 1
    grid = _Grid(cut, by_year=cut == "month" or months > _MOST_MONTH_LINES)
    end = by_start[last]["end"].to_pydatetime()
    lines = groupby(cut_periods(cut, first, end), key=lambda period: grid.label(period.start))
    return Block(
        " ".join(filter(None, (symbol, dataset, interval))),
        grid.marks,
        tuple(Line(label, tuple(_cells(periods, by_start, grid))) for label, periods in lines),
    )


def _cells(
    periods: Iterator[Period], by_start: dict[datetime, dict[Any, Any]], grid: _Grid
) -> Iterator[Cell]:
    for period in periods:
        x0, width = grid.place(period.start)
        row = by_start.get(period.start)
        if row is None:
            stamp = f"{period.start:%Y-%m}" if grid.cut == "month" else f"{period.start:%Y-%m-%d}"
            yield Cell(x0, width, 0.0, NOT_DOWNLOADED, f"{stamp}: {NOT_DOWNLOADED}")
            continue
        words = f"{row['file']}: {row['rows']:,} rows of {row['expected']:,}, {row['state']}"
        # Where nothing is expected and nothing is there, the share of the table is one.
        share = min(float(row["share"]), 1.0) if row["rows"] else 0.0
        yield Cell(x0, width, share, row["state"], words)
