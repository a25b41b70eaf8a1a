"""The grid of a coverage map: what each cell is, from receipts alone; its words and its picture."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest

import ares_notebook as ares
from ares_notebook.cache.coverage import known_coverage
from ares_notebook.cache.spans import Scope
from ares_notebook.cache.store import Store
from ares_notebook.model.time import as_utc, to_ms
from ares_notebook.quality.coverage_grid import (
    EXPLAINED_GAP,
    KINDS,
    NO_FILE,
    NO_ROWS,
    OPEN_GAP,
    SO_FAR,
    UNCOUNTED,
    WHOLE,
    CoverageGrid,
    grid_of,
    grid_svg,
)

LATER = to_ms(as_utc("2026-01-01"))


def ms(text: str) -> int:
    """A moment in milliseconds."""
    return to_ms(as_utc(text))


def file(start: str, end: str, state: str = "complete", **more: object) -> dict[str, object]:
    """A row of a coverage."""
    rows = 0 if state == "before listing" else 700
    dataset, interval = ("klines", "1h") if len(start) == 7 else ("agg_trades", "")
    bounds = [ms(each if len(each) > 7 else f"{each}-01") for each in (start, end)]
    return {
        "dataset": dataset,
        "symbol": "BTCUSDT",
        "interval": interval,
        "start": bounds[0],
        "end": bounds[1],
        "rows": rows,
        "state": state,
        "last": bounds[1] - 3_600_000,
        **more,
    }


def gap(start: str, end: str, reason: str) -> tuple:
    """A row of the gaps of 1h candles."""
    return ("klines", "BTCUSDT", "1h", ms(start), ms(end), 1, reason, "")


def test_a_month_is_the_state_of_its_file():
    """Proven months, explained, open and uncounted ones are told apart; a month between files is open."""
    rows = [
        file("2024-01", "2024-02", "before listing"),
        file("2024-02", "2024-03"),
        file("2024-03", "2024-04", "confirmed absent upstream"),
        file("2024-04", "2024-05", "not counted"),
        file("2024-06", "2024-07", "failed"),
        file("2024-07", "2024-08"),
    ]
    grid = grid_of(rows, [], "month", ms("2024-07-10"))

    assert list(grid.cells) == [
        *(NO_ROWS, WHOLE, EXPLAINED_GAP, UNCOUNTED),
        *(OPEN_GAP, OPEN_GAP, SO_FAR),
    ]
    assert grid.words(0) == (
        "BTCUSDT klines 1h, 2024-01 to 2024-07: 2 of 6 months complete, open gap in 2 (2024-05, "
        "2024-06), not counted in 1 (2024-04), gap explained in 1 (2024-03)"
    )
    assert grid.headline == "1 series, 2024-01 to 2024-07, 1 with an open gap"


def test_the_days_of_a_month_are_those_of_its_gaps():
    """Each day is what the gaps on it are; a whole day without rows has none, and days to come no file."""
    absent = "confirmed absent upstream"
    gaps = [
        gap("2024-02-02T10:00", "2024-02-04T05:00", absent),
        gap("2024-02-06", "2024-02-07", "failed"),
    ]
    running = file("2024-03", "2024-04", last=ms("2024-03-02T09:00"))
    grid = grid_of(
        [file("2024-02", "2024-03", "failed"), running], gaps, "day", ms("2024-03-02T10:00")
    )

    assert list(grid.cells[:8]) == [
        *(WHOLE, EXPLAINED_GAP, NO_ROWS, EXPLAINED_GAP),
        *(WHOLE, OPEN_GAP, WHOLE, WHOLE),
    ]
    assert list(grid.cells[28:32]) == [WHOLE, WHOLE, SO_FAR, NO_FILE]


def test_a_month_of_days_is_its_worst_day_and_never_complete_in_part():
    """A month with all of its days is complete, with some of them complete so far, with an open one open."""
    april = [file(f"2024-04-{day:02}", f"2024-04-{day + 1:02}") for day in range(1, 30)]
    april.append(file("2024-04-30", "2024-05-01"))
    may = [file("2024-05-01", "2024-05-02")]

    assert list(grid_of([*april, *may], [], "month", LATER).cells) == [WHOLE, SO_FAR]
    lacking = [*april[:3], *april[4:], *may]
    assert list(grid_of(lacking, [], "month", LATER).cells) == [OPEN_GAP, SO_FAR]
    assert list(grid_of(lacking, [], "day", LATER).cells[:5]) == [
        *(WHOLE, WHOLE, WHOLE),
        *(OPEN_GAP, WHOLE),
    ]


def read(settings: ares.Settings, cut: str = "month") -> CoverageGrid:
    """The grid of a cache, as it is in two thousand and twenty-six."""
    return grid_of(*known_coverage(Store(settings), Scope.of()), cut, LATER)


async def test_no_file_is_read_and_what_would_have_to_be_is_not_counted(settings, monkeypatch):
    """A file without its receipt, or that has changed since, is not counted; nothing is opened or written."""
    await ares.download_klines_data(
        "BTCUSDT", "1d", start="2024-10-01", end="2025-02-01", settings=settings
    )
    await ares.download_agg_trades_data(
        "BTCUSDT", start="2025-01-01", end="2025-01-04", settings=settings
    )
    (settings.cache_dir / ".ares/receipts/klines_BTCUSDT_1d_2024-11.csv.json").unlink()
    (settings.cache_dir / ".ares/receipts/aggtrades_BTCUSDT_2025-01-02.csv.json").unlink()
    changed = settings.cache_dir / "klines_BTCUSDT_1d_2024-12.csv"
    changed.write_text(changed.read_text("utf-8").replace("2024-12-09", "2024-12-08"), "utf-8")
    before = sorted(settings.cache_dir.rglob("*"))
    monkeypatch.setattr("ares_notebook.cache.store._examined", None)

    grid = read(settings)
    days = read(settings, "day")

    assert grid.series == (("agg_trades", "BTCUSDT", ""), ("klines", "BTCUSDT", "1d"))
    assert list(grid.line(1)) == [WHOLE, UNCOUNTED, UNCOUNTED, WHOLE]
    assert days.line(0).count(UNCOUNTED) == 1
    assert days.line(1).count(UNCOUNTED) == 61
    assert sorted(settings.cache_dir.rglob("*")) == before


async def test_what_a_reader_has_measured_counts(settings):
    """A file without a receipt is told as it is once `coverage` has read it."""
    await ares.download_klines_data(
        "BTCUSDT", "1d", start="2024-10-01", end="2024-12-01", settings=settings
    )
    (settings.cache_dir / ".ares/receipts/klines_BTCUSDT_1d_2024-11.csv.json").unlink()
    path = settings.cache_dir / "klines_BTCUSDT_1d_2024-11.csv"
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert UNCOUNTED in read(settings).cells
    ares.coverage(settings=settings)

    assert list(read(settings).cells) == [WHOLE, WHOLE]


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("theme", "ground"), [(0, "#ffffff"), (1, "#111111")])
def test_kinds_are_seen_and_told_apart_without_colour(theme, ground):
    """Each kind has a contrast of three on the page or its mark has on it, and no two the same drawing."""
    for kind in KINDS[NO_ROWS:]:
        fill, ink = kind.fill[theme], kind.ink[theme]
        assert max(contrast(fill, ground), contrast(ink or fill, fill)) >= 3, kind.name
    assert all((a.body, a.mark) != (b.body, b.mark) for a, b in combinations(KINDS, 2))


def test_the_picture_has_every_line_up_to_forty_and_names_as_text():
    """The SVG is sound XML and says which series and days it leaves out; hostile names are text."""
    hostile = "<script>alert(1)</script>"
    rows = [file("2024-02", "2024-03", symbol=f"S{at:03}{hostile}") for at in range(45)]
    svg = grid_svg(grid_of(rows, [], "month", LATER))

    root = ET.fromstring(svg)  # noqa: S314 - our own
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert f"S000{hostile} klines 1h" in texts
    assert "and 5 more series" in texts
    assert "complete" in texts
    assert "the last 150 days of 731" in grid_svg(
        grid_of([file("2023-01", "2025-01")], [], "day", LATER)
    )
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
