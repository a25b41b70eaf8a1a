"""A quality report as one page of HTML, its picture of coverage included."""

from __future__ import annotations

import html
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from ares_notebook.cache.gap_reasons import EXPLAINED, STATES
from ares_notebook.quality.calendar import Block, Cell, calendar_of, states_in
from ares_notebook.quality.findings import STYLES, Finding, Style
from ares_notebook.quality.fingerprint import Fingerprint

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["coverage_svg", "page"]

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
    """Draw a coverage table."""
    blocks = calendar_of(coverage)
    drawing: list[str] = []
    y = 0
    for block in blocks:
        drawing += _svg_head(block, y)
        y += _TOP
        for line in block.lines:
            drawing.append(f'<text x="0" y="{y + 11}">{line.label}</text>')
            drawing += (_cell(cell, y) for cell in line.cells)
            y += _LINE
        y += 10
    states = states_in(blocks)
    drawing += _legend(states, y)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" style="{_SVG_STYLE}" fill="currentColor" '
        f'viewBox="0 0 {_LEFT + _WIDTH + 2} {y + 4 + _LINE * len(states)}" '
        f'role="img" aria-label="What the cache holds, a cell a file">'
        f"<defs>{''.join(map(_pattern, states))}</defs>{''.join(drawing)}</svg>"
    )


def _svg_head(block: Block, y: int) -> Iterator[str]:
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
    fill = f"url(#{_name(state)})" if STYLES[state].hatch else STYLES[state].colour
    return f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_HEIGHT}" fill="{fill}"/>'


def _name(state: str) -> str:
    return f"coverage-{STATES.index(state)}"


def _pattern(state: str) -> str:
    look: Style = STYLES[state]
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


# A longer table is folded; on paper it is open.
_MOST_OPEN = 40
_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
.verdict{padding:.6rem .9rem;border-left:5px solid #0b4f7d;background:#0b4f7d14}
.verdict.bad{border-color:#b8400a;background:#b8400a1a}
table{border-collapse:collapse;font-size:13px;width:100%}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #8885}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.w{overflow-wrap:anywhere;min-width:9rem}.t{white-space:nowrap}
.wide{overflow-x:auto}
code,pre{font:12px/1.5 ui-monospace,monospace}pre{padding:.7rem;background:#8882;overflow-x:auto}
svg{width:100%;height:auto}
@media print{body{margin:0;max-width:none}details>*{display:block}}
"""


class _Quality(Protocol):
    """What the page tells of: a `QualityReport`."""

    @property
    def findings(self) -> Sequence[Finding]: ...
    @property
    def files(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def coverage(self) -> pd.DataFrame: ...
    @property
    def gaps(self) -> pd.DataFrame: ...
    @property
    def sources(self) -> pd.DataFrame: ...
    @property
    def reconciliation(self) -> pd.DataFrame: ...
    @property
    def fingerprints(self) -> Sequence[Fingerprint]: ...
    @property
    def market(self) -> str: ...
    @property
    def made_at(self) -> datetime: ...
    def __bool__(self) -> bool: ...


def page(report: _Quality) -> str:
    """
    The page of one validation.

    Self-contained: styles and picture are in it, no script, nothing is loaded. All text from
    outside is escaped.
    """
    # Built with the library that made it, and readable when that is gone.
    parts = [
        _head(report),
        _section("What it is", _series(report.fingerprints)),
        _section("Coverage", coverage_svg(report.coverage)),
        _section("Holes, and why", _gaps(report.gaps)),
        _section("Validation", _findings(report.findings)),
        _section("Reconciliation", _reconciled(report.reconciliation)),
        _section("Where the bytes came from", _sources(report.sources)),
        _section("To verify it again", _again(report.fingerprints)),
    ]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Market data certificate</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _head(report: _Quality) -> str:
    errors = sum(each.severity == "error" for each in report.findings)
    count = int((~report.gaps["reason"].isin(EXPLAINED)).sum())
    verdict = "No error was found" if report else f"Errors were found ({errors})"
    gaps = (
        f"gaps that the exchange has not explained: {count}"
        if count
        else "every gap is explained by the exchange"
    )
    return (
        f"<h1>Market data certificate</h1><p>{_text(report.market)}, made "
        f"{report.made_at:%Y-%m-%d %H:%M} UTC with ares_notebook {version('ares-notebook')}, "
        f"Python {platform.python_version()}</p>"
        f'<p class="verdict{"" if report else " bad"}">{verdict} in {report.rows:,} rows of '
        f"{report.files:,} files; {gaps}.</p>"
    )


def _series(fingerprints: Sequence[Fingerprint]) -> str:
    rows = [
        (
            f"{each.symbol} {each.dataset} {each.interval}".strip(),
            f"{each.start[:16].replace('T', ' ')} to {each.end[:16].replace('T', ' ')}",
            f"{each.rows:,}",
            "complete" if each.complete else "INCOMPLETE",
            each.sha256,
        )
        for each in fingerprints
    ]
    return _table(("data", "window, UTC", "rows", "", "fingerprint (sha256)"), rows, "ttntw")


def _gaps(gaps: pd.DataFrame) -> str:
    rows = [
        (
            " ".join(filter(None, (each["symbol"], each["dataset"], each["interval"]))),
            f"{each['start']:%Y-%m-%d %H:%M}",
            f"{each['end']:%Y-%m-%d %H:%M}",
            "?" if each["missing"] is None else f"{each['missing']:,}",
            each["reason"],
            each["note"],
        )
        for each in _records(gaps)
    ]
    return _table(("data", "start", "end", "missing", "reason", "note"), rows, "tttnt-")


def _findings(findings: Sequence[Finding]) -> str:
    rows = [
        (each.severity, each.file, each.check, f"{each.count:,}", each.example) for each in findings
    ]
    return _table(("severity", "file", "check", "count", "first example"), rows, "tttn-")


def _reconciled(table: pd.DataFrame) -> str:
    numbers = ("compared", "equal", "missing")
    rows = [
        (
            each["symbol"],
            each["what"],
            *(f"{each[name]:,}" for name in numbers),
            each["first_difference"],
        )
        for each in _records(table)
    ]
    names = ("symbol", "candles", "compared", "equal", "on one side only", "first difference")
    return _table(names, rows, "ttnnn-")


def _sources(sources: pd.DataFrame) -> str:
    rows = [
        (
            *(each[name] or "" for name in ("file", "road", "url", "sha256")),
            f"{each['at']:%Y-%m-%d %H:%M:%S}" if each["at"] else "",
        )
        for each in _records(sources)
    ]
    return _table(("file", "road", "address", "sha256 of the archive", "when, UTC"), rows, "ttwwt")


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """The rows, with None where there is nothing."""
    plain = table.astype(object)
    return plain.where(table.notna(), None).to_dict("records")


def _again(fingerprints: Iterable[Fingerprint]) -> str:
    lines = ["import ares_notebook as ares", ""]
    for each in fingerprints:
        interval = f'"{each.interval}"' if each.interval else "None"
        dataset = "" if each.dataset == "klines" else f', dataset="{each.dataset}"'
        lines.append(
            f'made = ares.fingerprint("{each.symbol}", {interval}, "{each.start}", "{each.end}"{dataset})'
        )
        lines.append(f'assert made.sha256 == "{each.sha256}"')
    return f"<pre>{_text(chr(10).join(lines))}</pre>"


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>{body}"


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]], kinds: str) -> str:
    """A table; *kinds* has a letter a column: (n)umber, (t)ied together, (w)rapped anywhere, or -."""
    if not rows:
        return "<p>None.</p>"
    head = "".join(
        f'<th scope="col" class="{kind}">{_text(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, kinds)}</tr>" for row in rows)
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    if len(rows) <= _MOST_OPEN:
        return table
    return f"<details><summary>{len(rows):,} lines</summary>{table}</details>"


def _cells(row: Sequence[Any], kinds: str) -> str:
    cells = zip(row, kinds, strict=True)
    return "".join(f'<td class="{kind}">{_text(cell)}</td>' for cell, kind in cells)


def _text(value: object) -> str:
    return html.escape(str(value))
