"""The calendar of a cache, as numbers."""

from __future__ import annotations

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.quality.calendar import Block, Cell, Line, Piece, calendar_of, states_in


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
    assert found[1].words == "2025-02: not downloaded"


def test_words_of_a_cell():
    """A cell says its file, its rows and how it stands."""
    [cell] = cells(calendar_of(months("2025-01-01", 1, rows=1234, expected=2345, state="failed")))

    assert cell.words == "f2025-01-01.csv: 1,234 rows of 2,345, failed"


def test_each_series_is_a_block():
    """Datasets, symbols and intervals are told apart, in order."""
    other = months("2025-01-01", 1).assign(symbol="ETHUSDT", interval="1d")
    blocks = calendar_of(pd.concat([other, months("2025-01-01", 1), days("2025-01-01", 1)]))

    assert [block.title for block in blocks] == [
        "BTCUSDT agg_trades",
        "BTCUSDT klines 1h",
        "ETHUSDT klines 1d",
    ]


JANUARY_HOURS = 31 * 24


def gaps(*rows: tuple[int, int, str], dataset: str = "klines") -> pd.DataFrame:
    """Gaps from one hour of January 2025 to another, with a reason."""
    begin = pd.Timestamp("2025-01-01", tz="UTC")
    return pd.DataFrame(
        [
            {
                "dataset": dataset,
                "symbol": "BTCUSDT",
                "interval": "1h" if dataset == "klines" else "",
                "start": begin + pd.Timedelta(hours=first),
                "end": begin + pd.Timedelta(hours=end),
                "missing": end - first,
                "reason": reason,
                "note": "",
            }
            for first, end, reason in rows
        ]
    )


def january(*rows: tuple[int, int, str], least: float = 0.0) -> list[tuple[float, float, str]]:
    """The pieces of January 2025 with these gaps: from one hour to another, and the state."""
    table = months("2025-01-01", 1, rows=700, state="not downloaded")
    [cell] = cells(calendar_of(table, gaps(*rows), least=least * cell_width() / JANUARY_HOURS))
    hour = cell_width() / JANUARY_HOURS
    return [
        (round(piece.x0 / hour, 3), round(piece.x1 / hour, 3), piece.state) for piece in cell.pieces
    ]


def cell_width() -> float:
    """The width of what is drawn of a whole month."""
    [cell] = cells(calendar_of(months("2025-01-01", 1)))
    return cell.pieces[0].width


@pytest.mark.parametrize("first", [0, 300, 740])
def test_a_gap_lies_at_its_place_in_time(first):
    """Four hours at the beginning, in the middle or at the end of a month are drawn there, and not wider."""
    around = [(0, first, "complete"), (first + 4, JANUARY_HOURS, "complete")]
    drawn = january((first, first + 4, "failed"))

    assert (first, first + 4, "failed") in drawn
    assert [each for each in drawn if each[2] == "complete"] == [
        each for each in around if each[0] < each[1]
    ]


@pytest.mark.parametrize(
    ("first", "place"), [(0, (0, 20)), (300, (290.5, 310.5)), (743, (724, 744))]
)
def test_a_short_gap_is_widened_around_its_middle_inside_its_cell(first, place):
    """An hour is drawn as wide as the least width, and at an edge of the month within the month."""
    assert (*place, "failed") in january((first, first + 1, "failed"), least=20)


def test_gaps_that_meet_are_one_piece_with_all_their_rows():
    """Of a gap an hour for a day and a half, widened until they meet, one piece tells all."""
    rows = [(at, at + 1, "failed") for at in range(100, 136, 2)]
    table = months("2025-01-01", 1, rows=700, state="failed")
    [cell] = cells(calendar_of(table, gaps(*rows), least=0.01))
    [piece] = [each for each in cell.pieces if each.state == "failed"]

    assert piece.words == "18 gaps, 2025-01-05 04:00 to 2025-01-06 15:00 UTC, 18 rows, failed"


def test_an_open_gap_is_in_front_of_a_confirmed_absence():
    """Where two gaps meet after they were widened, the one that can be closed is seen."""
    confirmed = "confirmed absent upstream"
    both = [(100, 101, confirmed), (102, 103, "failed"), (104, 105, confirmed)]

    assert [each for each in january(*both, least=20) if each[2] != "complete"] == [
        (90.5, 92.5, confirmed),
        (92.5, 112.5, "failed"),
        (112.5, 114.5, confirmed),
    ]


def test_a_gap_over_months_is_in_each_of_them():
    """A gap from November to February is drawn in three months of the four, each as far as it reaches."""
    table = months("2024-11-01", 4, rows=5, state="failed")
    found = cells(calendar_of(table, gaps((-31 * 24, 36, "failed"))))

    assert [[piece.state for piece in cell.pieces] for cell in found] == [
        ["failed"],
        ["failed"],
        ["failed", "complete"],
        ["failed"],
    ]
    assert found[1].pieces[0].words == found[2].pieces[0].words


def test_quiet_hours_are_no_gap():
    """Hours without a trade over which the ids run on are drawn as there."""
    table = days("2025-01-01", 1)
    [cell] = cells(calendar_of(table, gaps((2, 5, "quiet"), dataset="agg_trades")))

    assert [piece.state for piece in cell.pieces] == ["complete"]


@pytest.mark.parametrize("known", [None, gaps((0, 1, "failed")).iloc[:0]])
def test_a_file_whose_gaps_are_not_known_has_the_style_of_its_state(known):
    """A file that lacks something, nobody knows where, is nowhere drawn as complete."""
    table = months("2025-01-01", 1, share=0.999, state="failed")
    [cell] = cells(calendar_of(table, known))

    assert [piece.state for piece in cell.pieces] == ["failed"]


def test_nothing_is_drawn_where_no_row_is_due_yet():
    """Of a running month the part up to its last candle is drawn, and no more."""
    last = pd.Timestamp("2025-01-10T05:00", tz="UTC")
    table = months("2025-01-01", 1, rows=222, final=False, last=last)
    [cell] = cells(calendar_of(table))

    assert [piece.state for piece in cell.pieces] == ["complete"]
    assert cell.pieces[0].width / cell_width() == pytest.approx(222 / JANUARY_HOURS)


async def test_the_table_of_a_cache_carries_its_gaps(settings):
    """A halt of two hours is drawn in the middle of its month, also of a selection of the table."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-04-01", settings=settings)
    table = ares.coverage(settings=settings)
    march = table[table["start"] == "2025-03-01"]
    [cell] = cells(calendar_of(march))
    before, halt, after = cell.pieces

    assert (before.state, halt.state, after.state) == (
        "complete", "confirmed absent upstream", "complete"
    )  # fmt: skip
    assert (halt.x0 - cell.x0) / cell_width() == pytest.approx((13 * 24 + 2) / JANUARY_HOURS)
    assert halt.width / cell_width() == pytest.approx(2 / JANUARY_HOURS)
    assert halt.words.startswith(
        "2025-03-14 02:00 to 2025-03-14 04:00 UTC, 2 rows, confirmed absent upstream ("
    )


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
    pieces = (Piece(0, 0.1, "failed"), Piece(0.1, 0.1, "complete"))
    line = Line("2025", (Cell(0, 0.2, "failed", "", pieces),))
    [block] = calendar_of(months("2025-01-01", 1))

    assert states_in([block]) == ["complete"]
    assert states_in([Block("", (), (line,))]) == ["complete", "failed"]


def test_an_empty_table_has_no_block():
    """No file, no block."""
    assert calendar_of(months("2025-01-01", 1).iloc[:0]) == ()
