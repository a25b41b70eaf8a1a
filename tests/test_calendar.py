"""The calendar of a cache, as numbers."""

from __future__ import annotations

import pandas as pd
import pytest

from ares_notebook.quality.calendar import Cell, Line, calendar_of, states_in


def months(first: str, count: int, **columns: object) -> pd.DataFrame:
    """Coverage of some months of candles."""
    starts = pd.date_range(first, periods=count + 1, freq="MS", tz="UTC")
    return table("klines", "1h", starts, **columns)


def days(first: str, count: int, **columns: object) -> pd.DataFrame:
    """Coverage of some days of trades."""
    return table("agg_trades", "", pd.date_range(first, periods=count + 1, tz="UTC"), **columns)


def table(dataset: str, interval: str, starts: pd.DatetimeIndex, **columns: object) -> pd.DataFrame:
    """Coverage of files between these moments."""
    data = {
        "dataset": dataset,
        "symbol": "BTCUSDT",
        "interval": interval,
        "file": [f"f{start:%Y-%m-%d}.csv" for start in starts[:-1]],
        "start": starts[:-1],
        "end": starts[1:],
        "rows": 744,
        "expected": 744,
        "share": 1.0,
        "state": "complete",
    }
    return pd.DataFrame(data | columns)


def cells(blocks) -> list[Cell]:
    """All cells of a calendar."""
    return [cell for block in blocks for line in block.lines for cell in line.cells]


def test_months_are_twelfths_of_a_year():
    """Fourteen months from November are on three lines, each cell at the place of its month."""
    [block] = calendar_of(months("2023-11-01", 14))

    assert block.title == "BTCUSDT klines 1h"
    assert [(line.label, len(line.cells)) for line in block.lines] == [("2023", 2), ("2024", 12)]
    assert [round(cell.x0 * 12, 6) for cell in block.lines[0].cells] == [10, 11]
    assert {round(cell.width * 12, 6) for cell in cells([block])} == {1}
    assert "".join(mark for _, mark in block.marks) == "JFMAMJJASOND"


def test_days_have_a_line_a_month():
    """Days over two months are on two lines of thirty-one places."""
    [block] = calendar_of(days("2024-01-30", 4))

    assert [(line.label, len(line.cells)) for line in block.lines] == [
        ("2024-01", 2),
        ("2024-02", 2),
    ]
    assert [round(cell.x0 * 31, 6) for cell in cells([block])] == [29, 30, 0, 1]
    assert [mark for _, mark in block.marks] == ["1", "5", "10", "15", "20", "25", "30"]


@pytest.mark.parametrize(("end", "lines"), [("2024-12-31", 24), ("2025-01-01", 3)])
def test_many_days_have_a_line_a_year(end, lines):
    """Up to twenty-four months have a line each; with one day more it is a line a year."""
    count = (pd.Timestamp(end) - pd.Timestamp("2023-01-01")).days + 1
    [block] = calendar_of(days("2023-01-01", count))

    assert len(block.lines) == lines
    assert len(cells([block])) == count


def test_days_of_a_year_fill_its_line_and_months_stand_below_one_another():
    """In a leap year and in any other, days touch, fill the line, and March begins at one place."""
    [block] = calendar_of(days("2023-01-01", 3 * 365 + 1))
    for line in block.lines:
        ends = [cell.x0 + cell.width for cell in line.cells]
        assert [cell.x0 for cell in line.cells[1:]] == pytest.approx(ends[:-1])
        assert (line.cells[0].x0, ends[-1]) == pytest.approx((0, 1))
    march = {round(line.cells[59 + (line.label == "2024")].x0, 9) for line in block.lines}

    assert march == {round(60 / 366, 9)}


def test_what_the_table_skips_was_not_downloaded():
    """Months between two files that have no row are cells with nothing in them."""
    [block] = calendar_of(months("2025-01-01", 5).drop(index=[1, 2]))
    found = cells([block])

    assert [cell.state for cell in found] == [
        "complete",
        "not downloaded",
        "not downloaded",
        "complete",
        "complete",
    ]
    assert [cell.share for cell in found] == [1, 0, 0, 1, 1]
    assert found[1].words == "2025-02: not downloaded"


def test_words_of_a_cell():
    """A cell says its file, its rows and how it stands."""
    [cell] = cells(calendar_of(months("2025-01-01", 1, rows=1234, expected=2345, state="failed")))

    assert cell.words == "f2025-01-01.csv: 1,234 rows of 2,345, failed"


def test_a_file_without_rows_has_no_share():
    """Where nothing was expected the share of the table is one, and nothing is drawn as there."""
    frame = months("2025-01-01", 1, rows=0, expected=0, state="before listing")
    [cell] = cells(calendar_of(frame))

    assert cell.share == 0
    assert [piece.state for piece in cell.pieces] == ["before listing"]


def test_each_series_is_a_block():
    """Datasets, symbols and intervals are told apart, in order."""
    other = months("2025-01-01", 1).assign(symbol="ETHUSDT", interval="1d")
    blocks = calendar_of(pd.concat([other, months("2025-01-01", 1), days("2025-01-01", 1)]))

    assert [block.title for block in blocks] == [
        "BTCUSDT agg_trades",
        "BTCUSDT klines 1h",
        "ETHUSDT klines 1d",
    ]


@pytest.mark.parametrize(("share", "there"), [(0.5, 0.5), (0.999, 0.8), (0.001, 0.2)])
def test_a_cell_is_filled_by_its_share(share, there):
    """A cell is filled by the share of its rows, and both parts can always be seen."""
    had, lacks = Cell(0.5, 0.1, share, "failed", "").pieces

    assert (had.state, lacks.state) == ("complete", "failed")
    assert had.width / (had.width + lacks.width) == pytest.approx(there)
    assert had.x0 == 0.5
    assert lacks.x0 == pytest.approx(had.x0 + had.width)
    assert lacks.x0 + lacks.width < 0.6


def test_a_narrow_cell_shows_its_state_alone():
    """A day on a line of a year has the look of its state, however little lacks."""
    [piece] = Cell(0.5, 1 / 366, 0.999, "failed", "").pieces

    assert piece == (0.5, 1 / 366, "failed")


def test_days_that_touch_and_look_alike_are_one_piece():
    """A year of days is drawn as few pieces, and none of a line is lost."""
    states = ["complete"] * 900
    states[100] = "failed"
    [block] = calendar_of(days("2023-01-01", 900, state=states))

    assert [len(line.pieces) for line in block.lines] == [3, 1, 1]
    assert sum(piece.width for piece in block.lines[0].pieces) == pytest.approx(1)


def test_months_stay_apart():
    """Between two months something is left free, so that they can be counted."""
    [block] = calendar_of(months("2025-01-01", 12))

    assert len(block.lines[0].pieces) == 12


def test_states_are_those_that_are_seen():
    """A legend needs the states that occur, in one order, and complete where any row is there."""
    line = Line("2025", (Cell(0, 0.1, 0.5, "failed", ""), Cell(0.1, 0.1, 0, "before listing", "")))
    [block] = calendar_of(months("2025-01-01", 1))

    assert states_in([block]) == ["complete"]
    assert states_in([type(block)("", (), (line,))]) == ["complete", "before listing", "failed"]


def test_an_empty_table_has_no_block():
    """No file, no block."""
    assert calendar_of(months("2025-01-01", 1).iloc[:0]) == ()
