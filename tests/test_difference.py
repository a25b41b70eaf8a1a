"""The row diff of two histories."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.model.datasets import FUTURES, KLINES
from ares_notebook.model.rows import schema_of
from ares_notebook.quality.row_difference import RowDifference, row_differences

HOUR_US = 3_600_000_000
MOST = 1000


def rates(cells: dict[int, str]) -> pa.Table:
    """Funding rates by their hour."""
    hours = sorted(cells)
    columns = [[hour * HOUR_US for hour in hours], [cells[hour] for hour in hours]]
    return pa.table(columns, schema=schema_of(FUTURES))


def blocks(table: pa.Table, size: int) -> list[pa.Table]:
    """The table in pieces."""
    return [table.slice(at, size) for at in range(0, table.num_rows, size)]


def test_a_changed_cell_names_both_sides():
    """A cell that is not the same is told with its row, its column and both texts."""
    cached, upstream = rates({1: "0.0001", 2: "0.0002"}), rates({1: "0.0001", 2: "0.0003"})

    assert row_differences(FUTURES, [cached], [upstream], MOST) == (
        1,
        [RowDifference("1970-01-01 02:00:00.000", "changed", "fundingRate", "0.0002", "0.0003")],
    )


def test_text_is_compared_as_text():
    """A digit more is a difference, though the number is the same, unless values are compared."""
    sides = [rates({1: "1.10", 2: "0"})], [rates({1: "1.1", 2: "1E-8"})]
    count, found = row_differences(FUTURES, *sides, MOST)
    by_value, changed = row_differences(FUTURES, *sides, MOST, by_value=True)

    assert (count, [each.row[11:13] for each in found]) == (2, ["01", "02"])
    assert (by_value, [each.row[11:13] for each in changed]) == (1, ["02"])


def test_all_are_counted_and_the_first_are_named():
    """However many rows differ, the count has all of them, and so many are named as are wanted."""
    cached = rates(dict.fromkeys(range(50), "1"))
    upstream = rates(dict.fromkeys(range(25, 75), "2"))
    count, found = row_differences(FUTURES, blocks(cached, 7), blocks(upstream, 11), 30)

    assert count == 75
    assert [each.kind for each in found] == ["only in the cache"] * 25 + ["changed"] * 5


def test_a_later_stamp_of_one_event_is_a_changed_stamp():
    """A funding event is known by its hour: another millisecond is a change of it, not another event."""
    late = pa.table([[HOUR_US + 3_000], ["0.1"]], schema=schema_of(FUTURES))
    _, [found] = row_differences(FUTURES, [rates({1: "0.1"})], [late], MOST)

    assert (found.kind, found.column) == ("changed", "timestamp")
    assert found.upstream == "1970-01-01 01:00:00.003"


def test_null_cells_are_not_compared():
    """A column that an old file does not have differs from nothing."""
    full = pa.table([[0], *[["1"]] * 6, [5], *[["1"]] * 2], schema=schema_of(KLINES))
    old = full.set_column(7, "number_of_trades", pa.nulls(1, pa.int64()))

    assert row_differences(KLINES, [old], [full], MOST) == (0, [])


HISTORY = st.dictionaries(st.integers(0, 40), st.sampled_from(["1", "2"]))


@given(HISTORY, HISTORY, st.integers(1, 7), st.integers(1, 7))
def test_it_tells_just_what_a_comparison_of_dictionaries_does(ours, theirs, one, other):
    """Of any two histories, cut anyhow into blocks: each difference once, in order, and no other."""
    _, found = row_differences(
        FUTURES, blocks(rates(ours), one), blocks(rates(theirs), other), MOST
    )

    def kind(hour: int) -> str:
        if hour not in theirs:
            return "only in the cache"
        return "changed" if hour in ours else "only upstream"

    hours = [hour for hour in sorted({*ours, *theirs}) if ours.get(hour) != theirs.get(hour)]
    stamps = [f"1970-01-{1 + hour // 24:02d} {hour % 24:02d}:00:00.000" for hour in hours]
    assert [(each.row, each.kind) for each in found] == [
        (stamp, kind(hour)) for stamp, hour in zip(stamps, hours, strict=True)
    ]
