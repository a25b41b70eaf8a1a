"""Patches in the gaps they were fetched for."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_notebook.cache.writer import FileWriter, Patch, spliced
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.rows import lines_of, schema_of

CANDLES = parse_file_name("klines_BTCUSDT_1h_2025-01.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")
FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")
COUNT = 24


def rows_of(file):
    """A day's rows, each unlike the others; trades share milliseconds, funding is late."""
    start = file.period.start_ms
    marks = [f"{at}.50" for at in range(COUNT)]
    if file is CANDLES:
        columns = [[(start + at * 3_600_000) * 1000 for at in range(COUNT)], *[marks] * 9]
        columns[7] = list(range(COUNT))
    elif file is TRADES:
        ids = list(range(COUNT))
        stamps = [(start + at // 3) * 1000 for at in ids]
        columns = [stamps, marks, marks, ["True"] * COUNT, ids, ids, ids]
    else:
        columns = [[(start + at * 3_600_000 + at) * 1000 for at in range(COUNT)], marks]
    return pa.table(columns, schema=schema_of(file.dataset))


def patch_of(file, table, folder):
    part = FileWriter(file, Path(folder), compressed=False)
    part.write_all([lines_of(file.dataset, table)])
    return Patch(Gap(0, 1), part)


def runs(indices):
    """Neighbouring indices, put together."""
    found = []
    for at in sorted(indices):
        if found and found[-1][-1] == at - 1:
            found[-1].append(at)
        else:
            found.append([at])
    return found


@pytest.mark.parametrize("file", [CANDLES, TRADES, FUNDING], ids=lambda file: file.dataset.name)
@settings(max_examples=60, deadline=None)
@given(
    lost=st.sets(st.integers(0, COUNT - 1)),
    again=st.sets(st.integers(0, COUNT - 1), max_size=4),
    cuts=st.lists(st.integers(0, COUNT), max_size=5),
)
def test_what_was_cut_out_and_put_back_is_the_original(file, lost, again, cuts):
    """Any gaps, closed by patches that may repeat rows beside them, give the original rows back."""
    table = rows_of(file)
    base = table.filter(pa.array([at not in lost for at in range(COUNT)]))
    edges = [0, *sorted(min(cut, base.num_rows) for cut in cuts), base.num_rows]
    blocks = [base.slice(a, b - a) for a, b in pairwise(edges)]

    with tempfile.TemporaryDirectory() as folder:
        patches = [patch_of(file, table.take(run), folder) for run in reversed(runs(lost | again))]
        joined = pa.concat_tables(spliced(file.dataset, blocks, patches))

    assert joined.to_pylist() == table.to_pylist()


def test_a_patch_without_a_base_is_all_there_is(tmp_path):
    """Where nothing was there, the patch's rows are the file's."""
    table = rows_of(CANDLES)

    joined = pa.concat_tables(spliced(CANDLES.dataset, [], [patch_of(CANDLES, table, tmp_path)]))

    assert joined.to_pylist() == table.to_pylist()


def test_an_off_grid_candle_gives_way_to_those_of_rest(tmp_path):
    """Between two candles of a patch no candle of the base stays."""
    table = rows_of(CANDLES)
    stray = table.slice(5, 1).set_column(
        0, "timestamp", pa.array([table["timestamp"][5].as_py() + 1_694_789_000])
    )
    base = [table.slice(0, 5), stray, table.slice(9)]

    joined = pa.concat_tables(
        spliced(CANDLES.dataset, base, [patch_of(CANDLES, table.slice(5, 4), tmp_path)])
    )

    assert joined.to_pylist() == table.to_pylist()


def test_candles_off_the_grid_give_way_only_where_there_is_another(tmp_path):
    """An off-grid candle is replaced by the one that opens in its place, and kept where none does."""
    grid = CANDLES.period.start_ms
    hour, late = 3_600_000, 1_694_789
    file = CANDLES
    base = hours(file, [grid, grid + hour + late, grid + 2 * hour + late, grid + 3 * hour + late])
    patch = hours(file, [grid + hour, grid + 3 * hour])

    joined = pa.concat_tables(spliced(file.dataset, [base], [patch_of(file, patch, tmp_path)]))

    opens = (joined["timestamp"].to_numpy() // 1000 - grid).tolist()
    assert opens == [0, hour, 2 * hour + late, 3 * hour]


def hours(file, opens_ms):
    """Candles that open at these times."""
    stamps = pa.array([each * 1000 for each in opens_ms])
    return rows_of(file).slice(0, len(opens_ms)).set_column(0, "timestamp", stamps)
