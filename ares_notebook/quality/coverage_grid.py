"""What a cache holds as a grid: a line a series, a column a month or a day; as bytes, text and SVG."""

from __future__ import annotations

import html
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from ares_notebook.cache.coverage import NOT_COUNTED, GapRows, Rows
from ares_notebook.cache.gap_reasons import COMPLETE, EXPLAINED
from ares_notebook.formatting import many
from ares_notebook.model.datasets import dataset_named
from ares_notebook.model.time import DAY_MS, Cut, cut_periods, next_open_ms, period_of, utc

# Paths in a box of 12 by 12.
_BOX = "M0,0H12V12H0Z"


class CellKind(NamedTuple):
    """What a cell of the grid can be, and how it is drawn: told apart by its mark without colour."""

    name: str
    meaning: str
    # A path that is filled, and one that is stroked, each with its colours in a light and a dark theme.
    body: str
    fill: tuple[str, str]
    mark: str
    ink: tuple[str, str]


# In order: what a month of several files shows is the last kind of any of them.
NO_FILE, NO_ROWS, WHOLE, SO_FAR, EXPLAINED_GAP, UNCOUNTED, OPEN_GAP = range(7)
KINDS = (
    CellKind("no file", "nothing was downloaded there", "", ("", ""), "M6,6h.01", ("#8c959f", "#6e7781")),
    CellKind("no rows at the exchange", "proven: such as before the listing",
             _BOX, ("#e6e9ec", "#2a3037"), "M3,6H9", ("#5c6670", "#98a2ad")),
    CellKind("complete", "every row is there", _BOX, ("#0b62a4", "#4a9fe0"), "", ("", "")),
    CellKind("complete so far", "the period goes on, or some of its days were not downloaded",
             "M0,6H12V12H0Z", ("#0b62a4", "#4a9fe0"), "M.75,6V.75H11.25V6", ("#0b62a4", "#4a9fe0")),
    CellKind("gap explained", "rows are missing, and the exchange has none there either",
             _BOX, ("#b9daf3", "#1d4666"), "M0,6L6,0M0,12L12,0M6,12L12,6", ("#0b4f86", "#9fd0f7")),
    CellKind("not counted", "there is a file, and no receipt that tells what is in it; validate it",
             _BOX, ("#efe7fb", "#33284a"), "M3,3h.01M9,3h.01M6,6h.01M3,9h.01M9,9h.01", ("#5a32a3", "#cbb2ff")),
    CellKind("open gap", "rows are missing, and nothing proves that there are none; repair it",
             _BOX, ("#c2410c", "#ff8f52"), "M2.5,2.5L9.5,9.5M2.5,9.5L9.5,2.5", ("#ffffff", "#2b1000")),
)  # fmt: skip
"""What a cell can be; a cell holds an index into this."""

_Names = tuple[str, str, str]


@dataclass(frozen=True, slots=True, eq=False)
class CoverageGrid:
    """What a cache holds: a line a series, a column a month or a day, a byte a cell."""

    cut: Cut
    # Where the columns begin, and where the last one ends.
    bounds_ms: tuple[int, ...]
    # Dataset, symbol and interval of each line.
    series: tuple[_Names, ...]
    # Line by line, each an index into `KINDS`.
    cells: bytes

    @property
    def columns(self) -> int:
        """How many there are."""
        return max(len(self.bounds_ms) - 1, 0)

    def line(self, row: int) -> bytes:
        """The cells of one series."""
        return self.cells[row * self.columns : (row + 1) * self.columns]

    def label(self, column: int) -> str:
        """The month or the day of a column."""
        return f"{utc(self.bounds_ms[column]):{'%Y-%m' if self.cut == 'month' else '%Y-%m-%d'}}"

    def words(self, row: int) -> str:
        """One series as a sentence: its name, its periods, how many are complete, its gaps."""
        line = self.line(row)
        known = [at for at, kind in enumerate(line) if kind != NO_FILE]
        if not known:
            return f"{title_of(self.series[row])}: nothing"
        due = sum(kind not in (NO_FILE, NO_ROWS) for kind in line)
        whole = sum(kind in (WHOLE, SO_FAR) for kind in line)
        parts = [f"{whole:,} of {many(due, self.cut)} complete"]
        parts += [
            f"{KINDS[kind].name} in {count:,}{_where(self, line, kind)}"
            for kind in (OPEN_GAP, UNCOUNTED, EXPLAINED_GAP)
            if (count := line.count(kind))
        ]
        span = f"{self.label(known[0])} to {self.label(known[-1])}"
        return f"{title_of(self.series[row])}, {span}: {', '.join(parts)}"

    @property
    def headline(self) -> str:
        """How many series there are, from when to when, and how many have open gaps."""
        if not self.series:
            return "The cache holds nothing"
        lines = [self.line(row) for row in range(len(self.series))]
        counts = {
            "with an open gap": sum(OPEN_GAP in line for line in lines),
            "not counted": sum(UNCOUNTED in line and OPEN_GAP not in line for line in lines),
        }
        rest = [f"{count:,} {what}" for what, count in counts.items() if count]
        span = f"{self.label(0)} to {self.label(self.columns - 1)}"
        return ", ".join([f"{len(lines):,} series, {span}", *(rest or ["no open gap"])])


_MOST_NAMED = 3


def _where(grid: CoverageGrid, line: bytes, kind: int) -> str:
    """The columns of a kind in brackets, where they are few."""
    found = [grid.label(at) for at, each in enumerate(line) if each == kind]
    return f" ({', '.join(found)})" if len(found) <= _MOST_NAMED else ""


def title_of(series: _Names) -> str:
    """The name of a series, its symbol first."""
    dataset, symbol, interval = series
    return " ".join(filter(None, (symbol, dataset, interval)))


def grid_of(rows: Rows, gaps: GapRows, cut: Cut, now_ms: int) -> CoverageGrid:
    """
    Lay out the rows of a coverage, and the gaps in them, as `known_coverage` returns both.

    A period between the first and the last file of a series that has no file is an open gap. What
    ends after *now_ms* goes on.
    """
    if not rows:
        return CoverageGrid(cut, (), (), b"")
    first, last = min(row["start"] for row in rows), max(row["end"] for row in rows)
    periods = cut_periods(cut, utc(first), utc(last))
    # The last one is whole, too.
    bounds = (*(each.start_ms for each in periods), period_of(cut, periods[-1].start).end_ms)
    own_gaps: dict[tuple[str, ...], list[_SpanOfGap]] = {}
    for dataset, symbol, interval, start_ms, end_ms, _, reason, _ in gaps:
        own_gaps.setdefault((dataset, symbol, interval), []).append((start_ms, end_ms, reason))
    names: list[_Names] = []
    cells = bytearray()
    for series, files in groupby(
        rows, key=lambda row: (row["dataset"], row["symbol"], row["interval"])
    ):
        names.append(series)
        cells += _line(list(files), own_gaps.get(series, ()), cut, bounds, now_ms)
    return CoverageGrid(cut, bounds, tuple(names), bytes(cells))


# From when to when, and the kind; of a gap the reason.
_Span = tuple[int, int, int]
_SpanOfGap = tuple[int, int, str]


def _line(
    files: Sequence[dict[str, Any]],
    gaps: Sequence[_SpanOfGap],
    cut: Cut,
    bounds: Sequence[int],
    now_ms: int,
) -> bytes:
    """The cells of one series."""
    line, days = bytearray(len(bounds) - 1), [0] * (len(bounds) - 1)
    own_cut = dataset_named(files[0]["dataset"]).cut
    if (own_cut, cut) == ("month", "day"):
        spans: Iterable[_Span] = _days_of(files, sorted(gaps), now_ms)
    else:
        spans = ((row["start"], row["end"], _kind_of(row, now_ms)) for row in files)
    for start_ms, end_ms, kind in (*spans, *_between(files)):
        at = bisect_right(bounds, start_ms) - 1
        while at < len(line) and bounds[at] < end_ms:
            line[at] = max(line[at], kind)
            days[at] += 1
            at += 1
    if (own_cut, cut) == ("day", "month"):
        for at, kind in enumerate(line):
            if kind == WHOLE and days[at] < (bounds[at + 1] - bounds[at]) // DAY_MS:
                line[at] = SO_FAR
    return bytes(line)


def _kind_of(row: dict[str, Any], now_ms: int) -> int:
    """The kind of a file."""
    if row["state"] == NOT_COUNTED:
        return UNCOUNTED
    if row["state"] == COMPLETE:
        return WHOLE if row["end"] <= now_ms else SO_FAR
    if row["state"] in EXPLAINED:
        return EXPLAINED_GAP if row["rows"] else NO_ROWS
    return OPEN_GAP


def _between(files: Sequence[dict[str, Any]]) -> Iterator[_Span]:
    """What no file is of, between the first and the last one."""
    end_ms = files[0]["start"]
    for row in files:
        if row["start"] > end_ms:
            yield end_ms, row["start"], OPEN_GAP
        end_ms = row["end"]


def _days_of(
    files: Sequence[dict[str, Any]], gaps: Sequence[_SpanOfGap], now_ms: int
) -> Iterator[_Span]:
    """The kinds of the days of months: those of the gaps, and between them of the rows."""
    for row in files:
        own = [gap for gap in gaps if gap[0] < row["end"] and row["start"] < gap[1]]
        kind = _kind_of(row, now_ms)
        if kind not in (WHOLE, SO_FAR) and not own:
            yield row["start"], row["end"], kind
            continue
        at_ms = row["start"]
        for start_ms, end_ms, reason in own:
            if row["rows"] and at_ms < start_ms:
                yield at_ms, start_ms, WHOLE
            yield from _days_of_gap(max(start_ms, row["start"]), min(end_ms, row["end"]), reason)
            at_ms = max(at_ms, end_ms)
        if row["rows"]:
            yield from _days_up_to(at_ms, row, now_ms)


def _days_up_to(at_ms: int, row: dict[str, Any], now_ms: int) -> Iterator[_Span]:
    """The days from *at_ms* to where the rows of a file end; the last one may go on."""
    end_ms = row["end"]
    if end_ms > now_ms:
        last_ms: int = row["last"]
        end_ms = next_open_ms(row["interval"], last_ms) if row["interval"] else last_ms + 1
    over_ms = end_ms - end_ms % DAY_MS
    if at_ms < over_ms:
        yield at_ms, over_ms, WHOLE
    if max(at_ms, over_ms) < end_ms:
        yield max(at_ms, over_ms), end_ms, SO_FAR


def _days_of_gap(start_ms: int, end_ms: int, reason: str) -> Iterator[_Span]:
    """An open gap as a whole; of an explained one the days without rows, and those on either side."""
    if reason not in EXPLAINED:
        yield start_ms, end_ms, OPEN_GAP
        return
    first_ms, last_ms = -(-start_ms // DAY_MS) * DAY_MS, end_ms - end_ms % DAY_MS
    parts = [(start_ms, end_ms, EXPLAINED_GAP)]
    if first_ms < last_ms:
        parts = [
            (start_ms, first_ms, EXPLAINED_GAP),
            (first_ms, last_ms, NO_ROWS),
            (last_ms, end_ms, EXPLAINED_GAP),
        ]
    yield from (part for part in parts if part[0] < part[1])


_LABEL, _TOP, _ROW, _WIDTH, _LEAST = 216, 32, 16, 600, 4
# How many kinds a line of the legend has.
_KEYS = 4
# More series than these have no room in a saved page.
_MOST_LINES = 40
_SVG_STYLE = "font:11px system-ui,sans-serif"


def grid_svg(grid: CoverageGrid, *, prefix: str = "grid") -> str:
    """
    A grid as an SVG element: its first series, with their names, and a legend.

    Text has the colour of the page's. The ids of the element begin with *prefix*; a page that shows
    two of these elements needs two of them.
    """
    rows = range(min(len(grid.series), _MOST_LINES))
    width = max(_WIDTH / max(grid.columns, 1), _LEAST)
    columns = range(max(grid.columns - int(_WIDTH / width), 0), grid.columns)
    parts = [_svg_heads(grid, columns, width)]
    parts += [_svg_line(grid, row, columns, width, prefix) for row in rows]
    bottom = _TOP + len(rows) * _ROW
    if width >= _ROW / 2:
        # Seams in the colour of the page, so that cells can be counted.
        seams = "".join(
            f"M{_LABEL + at * width:.1f},{_TOP}V{bottom}" for at in range(len(columns) + 1)
        )
        parts.append(
            f'<path d="{seams}" stroke="var(--jp-layout-color0,#fff)" stroke-width="1.5"/>'
        )
    more = len(grid.series) - len(rows)
    remarks = [f"and {more:,} more series"] if more else []
    if len(columns) < grid.columns:
        remarks.append(f"the last {many(len(columns), grid.cut)} of {grid.columns:,}")
    for remark in remarks:
        parts.append(f'<text y="{bottom + 11}">{remark}</text>')
        bottom += _ROW
    bottom += _ROW
    shown = sorted(set(grid.cells))
    parts += [_svg_key(at, kind, bottom, prefix) for at, kind in enumerate(shown)]
    patterns = "".join(_pattern(kind, prefix) for kind in shown)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" style="{_SVG_STYLE}" fill="currentColor" '
        f'viewBox="0 0 {_LABEL + _WIDTH + 2} {bottom + 6 + _ROW * -(-len(shown) // _KEYS)}" role="img" '
        f'aria-label="{html.escape(grid.headline)}"><defs>{patterns}</defs>{"".join(parts)}</svg>'
    )


def _svg_line(
    grid: CoverageGrid, row: int, columns: Sequence[int], width: float, prefix: str
) -> str:
    """One series; cells of one kind that touch are one rectangle, so that years stay small."""
    y, line = _TOP + row * _ROW, grid.line(row)
    name = html.escape(title_of(grid.series[row]))
    boxes, x = [], float(_LABEL)
    for kind, run in groupby(columns, key=line.__getitem__):
        wide = len([*run]) * width
        boxes.append(_svg_box(x, y, wide, kind, prefix))
        x += wide
    words = html.escape(grid.words(row))
    return f'<g><title>{words}</title><text y="{y + 10}">{name}</text>{"".join(boxes)}</g>'


def _svg_key(at: int, kind: int, y: int, prefix: str) -> str:
    """What the drawing of a kind means."""
    x, top = _LABEL + _WIDTH // _KEYS * (at % _KEYS), y + _ROW * (at // _KEYS)
    name = f'<text x="{x + 18}" y="{top + 10}">{KINDS[kind].name}</text>'
    return _svg_box(x, top, 12, kind, prefix) + name


def _svg_box(x: float, y: int, width: float, kind: int, prefix: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="12" fill="url(#{prefix}-{kind})"/>'
    )


def _svg_heads(grid: CoverageGrid, columns: Sequence[int], width: float) -> str:
    """The labels above the columns: where a year begins, or of a short time each sixth column."""
    labels = [(at, grid.label(at)) for at in columns]
    named = [(at, label[:4]) for at, label in labels if label[4:] in ("-01", "-01-01")]
    if len(named) < len(labels) * width / 300:
        named = labels[:: max(1, int(80 / width))]
    return "".join(
        f'<text x="{_LABEL + (at - columns[0]) * width:.1f}" y="22" opacity=".75">{label}</text>'
        for at, label in named
    )


def _pattern(kind: int, prefix: str) -> str:
    """The tile of a kind, in the colours of the light theme."""
    look = KINDS[kind]
    body = f'<path d="{look.body}" fill="{look.fill[0]}"/>' if look.body else ""
    mark = ""
    if look.mark:
        style = 'fill="none" stroke-width="1.5" stroke-linecap="round"'
        mark = f'<path d="{look.mark}" stroke="{look.ink[0]}" {style}/>'
    return (
        # A tile a line, so that it is cut nowhere.
        f'<pattern id="{prefix}-{kind}" y="{_TOP}" width="12" height="{_ROW}" patternUnits="userSpaceOnUse">'
        f"{body}{mark}</pattern>"
    )
