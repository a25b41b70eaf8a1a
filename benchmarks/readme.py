"""The figures of README and site, from the kept ones: ``python -m benchmarks.readme`` writes them."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.figures import OURS, Figures
from benchmarks.results import table

__all__ = ["PAGES", "current", "main"]

_HERE = Path(__file__).parent
PAGES = (_HERE.parent / "README.md", _HERE.parent / "docs" / "performance.md")
"""The pages that have figures between two marks."""
_MARKS = "<!-- figures: python -m benchmarks.readme -->\n", "<!-- end of figures -->"
_FLOOR = "the floor"
# What is told, its case, the figure of it, and who is measured.
_TOLD = (
    ("five years of one-minute candles: checked, proven, on disk", "klines", "seconds", OURS),
    ("ten days of a million trades each", "trades", "seconds", OURS),
    ("{count:,} files that are all there, once more: no request", "again", "work_seconds", OURS),
    ("five years of one-minute candles as a frame, with all imports", "load", "seconds", OURS),
    ("the same by pandas' `read_csv`", "load", "seconds", "pandas"),
)


def _shown(figures: Figures) -> str:
    """Seconds and peak memory of what a reader of the README wants to know."""
    rows = []
    for what, case, figure, who in _TOLD:
        seconds = figures.middle(case, who, figure)
        peak = figures.middle(case, who, "peak_bytes")
        if seconds is None or peak is None:
            msg = f"results.json has no {figure} of {who} in {case}: `make bench` measures it"
            raise LookupError(msg)
        ratio = figures.ratio(case, who, _FLOOR)
        of_floor = "" if ratio is None else f"{ratio:.1f} ×"
        told = what.format(count=figures.at(case)["count"])
        day = figures.cases[case]["measured"].partition(" ")[0]
        rows.append([told, f"{seconds:.2g} s", of_floor, f"{peak / 2**20:.0f} MiB", day])
    heads = ["on two cores", "time", "of fetching, inflating, writing alone", "memory", "measured"]
    return table(heads, rows)


def _with_figures(text: str, shown: str) -> str:
    """The text with these figures between its two marks."""
    before, begin, rest = text.partition(_MARKS[0])
    _, end, after = rest.partition(_MARKS[1])
    if not begin or not end:
        msg = f"figures are written between two marks, which are not there: {_MARKS}"
        raise LookupError(msg)
    return f"{before}{begin}\n{shown}\n\n{end}{after}"


def current(page: Path) -> str:
    """The text of a page with the figures that are kept now."""
    kept = json.loads((_HERE / "results.json").read_text(encoding="utf-8"))
    return _with_figures(page.read_text(encoding="utf-8"), _shown(Figures(kept["cases"])))


def main() -> None:
    """Write the figures into the pages."""
    for page in PAGES:
        page.write_text(current(page), encoding="utf-8")


if __name__ == "__main__":
    main()
