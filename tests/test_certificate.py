"""The certificate: one page, whole and safe."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import Settings
from ares_notebook.quality.calendar import coverage_svg
from ares_notebook.quality.findings import Finding
from ares_notebook.quality.report import page

DAY = 1 / 365.25
NASTY = '<script>alert("x")</script>&'


class Page(HTMLParser):
    """What tags a page has, and what it asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.asked: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called at the beginning of each element."""
        self.tags.append(tag)
        self.asked += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Called at the end of each element."""
        assert self.open.pop() == tag


@pytest.fixture
async def report(settings: Settings):
    """A validation of candles around a halt and a day of trades."""
    for interval in ("1m", "1h"):
        await ares.download_klines_data(
            "BTCUSDT", interval, 0.1, end="2025-04-01", settings=settings
        )
    await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-15", settings=settings)
    return ares.validate_cache(settings=settings)


async def test_the_page_needs_nothing_else(report, tmp_path):
    """What is saved is one well-formed page without a script, an image or an address that is loaded."""
    path = report.save(tmp_path / "certificate.html")
    text = path.read_text(encoding="utf-8")
    seen = Page(text)

    assert seen.open == []
    assert not {"script", "img", "link", "iframe"} & set(seen.tags)
    assert seen.asked == []
    assert "url(http" not in text
    assert text.startswith("<!DOCTYPE html>")


async def test_the_page_says_it_all(report):
    """Verdict, gaps with reasons, sources with checksums, reconciliation and fingerprints are there."""
    text = page(report)

    assert "No error was found" in text
    assert "confirmed absent upstream" in text
    assert "1m from trades" in text
    assert "1h from 1m" in text
    assert all(each.sha256 in text for each in report.fingerprints)
    assert all(each in text for each in report.sources["sha256"].dropna())
    assert 'ares.fingerprint("BTCUSDT", "1h"' in unescape(text)


async def test_errors_are_the_first_thing_that_it_says(report):
    """With an error the verdict is another, and marked."""
    bad = replace(report, findings=(Finding("f.csv", "schema", "error", 3, "row 1"),))

    assert 'class="verdict bad">Errors were found (1)' in page(bad)
    assert "No error" not in page(bad)


async def test_text_from_outside_is_escaped(report):
    """Whatever a file, an error or an address holds becomes text, never a tag."""
    gaps = report.gaps.assign(note=NASTY, reason=NASTY)
    sources = report.sources.assign(url=NASTY)
    findings = (Finding(NASTY, NASTY, "warning", 1, NASTY),)
    coverage = report.coverage.assign(symbol=NASTY, file=NASTY)
    bad = replace(
        report, gaps=gaps, sources=sources, findings=findings, coverage=coverage, market=NASTY
    )

    assert "<script" not in page(bad)
    assert page(bad).count("&lt;script&gt;") > 5


async def test_the_code_on_the_page_is_true(report, settings):
    """The lines that verify it again run, and their assertions hold."""
    [lines] = re.findall(r"<pre>(.*?)</pre>", page(report), re.DOTALL)
    code = unescape(lines).replace(")\nassert", ", settings=settings)\nassert")

    assert code.count("assert made.sha256") == len(report.fingerprints)
    exec(code, {"settings": settings})  # noqa: S102 - our own page


def table(days: int) -> pd.DataFrame:
    """Coverage of some days of trades."""
    starts = pd.date_range("2023-12-25", periods=days, tz="UTC")
    return pd.DataFrame(
        {
            "dataset": "agg_trades",
            "symbol": "BTCUSDT",
            "interval": "",
            "file": [f"f{at}" for at in range(days)],
            "start": starts,
            "end": starts + pd.Timedelta(days=1),
            "rows": 5,
            "expected": 5,
            "share": 1.0,
            "state": ["failed", *["complete"] * (days - 1)],
        }
    )


def test_a_cell_a_file_and_a_line_a_year():
    """Eighteen hundred days are as many cells, on a line for each of their years."""
    drawn = coverage_svg(table(1800))

    assert drawn.count("<title>") == 1800
    assert re.findall(r'<text x="0" y="\d+">(\d{4})</text>', drawn) == [
        str(year) for year in range(2023, 2029)
    ]
    assert drawn.count("failed</title>") == 1
    assert drawn.count('fill="url(#coverage-8)"') == 2
    assert all(0 <= float(x) <= 810 for x in re.findall(r' x="([\d.]+)"', drawn))


def svg(**columns: object) -> str:
    """A file as an SVG element."""
    return coverage_svg(table(1).assign(**columns))


def test_the_map_is_one_element_that_a_page_can_hold():
    """It is well-formed, named, without a script or a style sheet, and its text has the page's colour."""
    drawn = svg(symbol='"><script>&')
    root = ET.fromstring(drawn)  # noqa: S314 - our own text

    assert root.tag.endswith("svg")
    assert root.attrib["role"] == "img"
    assert root.attrib["fill"] == "currentColor"
    assert not [each for each in root.iter() if each.tag.endswith(("script", "style"))]
    assert "币安人生USDT agg_trades</text>" in svg(symbol="币安人生USDT")


def test_two_maps_of_a_page_share_no_id():
    """Ids begin with the prefix, and each that is used is there."""
    for prefix in ("coverage", "other"):
        drawn = coverage_svg(table(2), prefix=prefix)
        used = set(re.findall(r"url\(#([^)]+)\)", drawn))
        assert used == set(re.findall(r' id="([^"]+)"', drawn))
        assert all(each.startswith(f"{prefix}-") for each in used)


async def test_each_gap_has_a_tooltip_and_its_place(report):
    """The halt of March is a piece of its own in the certificate, that tells from when to when, and why."""
    [words] = set(
        re.findall(r"<rect[^>]*><title>(2025-03-14 02:00[^<]*2 rows[^<]*)</title>", page(report))
    )

    assert words.startswith(
        "2025-03-14 02:00 to 2025-03-14 04:00 UTC, 2 rows, confirmed absent upstream (the API has none"
    )
