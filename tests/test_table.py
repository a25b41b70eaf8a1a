"""Tables of the cache: frames that a notebook shows in words."""

from __future__ import annotations

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.cache.table import CacheTable, in_words
from ares_notebook.formatting import in_columns

END = "2025-04-01"


async def test_coverage_and_gaps_have_a_face(settings):
    """A notebook shows shares in percent, counts parted, moments to the minute, and states."""
    await ares.download_klines_data("BTCUSDT", "1h", 90 / 365.25, end=END, settings=settings)
    coverage = ares.coverage(end=END, settings=settings)._repr_html_()
    gaps = ares.find_gaps("BTCUSDT", settings=settings)._repr_html_()

    assert "klines_BTCUSDT_1h_2025-01.csv" in coverage
    assert "100.00%" in coverage
    assert "99.73%" in coverage
    assert "confirmed absent upstream" in coverage
    assert "2025-03-14 02:00" in gaps
    assert all(f">{name} (UTC)</th>" in gaps for name in ("start", "end"))
    assert all(f">{name} (UTC)</th>" in coverage for name in ("first", "last"))
    assert "<script" not in coverage + gaps


def test_text_from_outside_is_escaped():
    """Markup in a cell is text."""
    face = CacheTable({"note": ["<img src=x onerror=alert(1)>"]})._repr_html_()

    assert "<img" not in face
    assert "&lt;img" in face


def test_a_long_table_shows_its_ends_and_says_so():
    """Of a thousand rows the first and the last are shown, and how many are not."""
    face = CacheTable({"rows": range(1_000)})._repr_html_()

    assert face.count("<tr>") == 25
    assert "1,000 rows" in face
    assert "976 rows between them are not shown" in face
    assert ">0<" in face
    assert ">999<" in face


def test_what_is_made_of_a_table_is_a_plain_frame():
    """A selection is pandas' own again, so that a sum of shares is not shown in percent."""
    made = CacheTable({"rows": [1, 2], "share": [0.5, 1.0]})

    assert type(made[made["rows"] > 1]) is pd.DataFrame
    assert type(made[["share"]]) is pd.DataFrame


def test_what_is_not_known_is_a_sign():
    """A moment that is none is a dash, a count that nobody knows a question mark."""
    frame = pd.DataFrame({"last": [pd.NaT], "missing": pd.array([None], dtype="Int64")})

    assert in_words(frame, ["last", "missing"]).to_numpy().tolist() == [["-", "?"]]


def test_columns_without_pandas_are_those_of_pandas():
    """The command line shows a table in the same columns, whether pandas is there or not."""
    rows = [["file", "share"], ["a.csv", "100.00%"], ["a_longer.csv", "?"]]

    shown = pd.DataFrame(rows[1:], columns=rows[0]).to_string(index=False)
    assert in_columns(rows) == shown


async def test_after_itables_is_asked_for_a_table_can_be_sorted(settings):
    """With itables' notebook mode a table of the cache is one of its tables, of all rows; before it is ours."""
    itables = pytest.importorskip("itables")
    await ares.download_klines_data("BTCUSDT", "1d", 3, end="2025-03-01", settings=settings)
    table = ares.coverage(settings=settings)
    assert "rows between them are not shown" in table._repr_html_()
    itables.init_notebook_mode()
    try:
        html = table._repr_html_()
    finally:
        itables.init_notebook_mode(all_interactive=False)

    assert "klines_BTCUSDT_1d_2023-10.csv" in html
    assert "dataTable" in html or "itables" in html
    assert "rows between them are not shown" in table._repr_html_()
