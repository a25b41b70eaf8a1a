"""The rows of the cache as Arrow tables, by SQL and in blocks: the same as the loaders give."""

from __future__ import annotations

import json
import shutil

import duckdb
import pandas as pd
import polars as pl
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import BadArgument, NeverDownloaded
from ares_notebook.load import IncompleteData
from ares_notebook.model.datasets import DATASETS

DAY = 1 / 365.25
END = "2025-03-02"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a cache with a few months of each dataset, of two symbols of candles."""
    folder = tmp_path_factory.mktemp("engines")
    with DemoExchange(trades_per_day=3_000, weight_limit=10**6) as exchange:
        made = exchange.settings(cache_dir=folder / "cache", progress=False)
        for dataset in DATASETS:
            symbol, years = dataset.markets[-1].example, 2 * DAY if dataset.key == "id" else 0.2
            names = [dataset.name]
            for name in (symbol, "ETHUSDT") if dataset.name == "klines" else (symbol,):
                work = ares.download_all_data(
                    name, "1h", years, end=END, datasets=names, settings=made
                )
                ares.run(work)
        yield made


def candles(settings, *window, **options):
    return ares.load_klines("BTCUSDT", "1h", *window, settings=settings, **options)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_a_table_is_the_frame(settings, dataset):
    """An Arrow table has the rows, columns and attrs of the frame, with null where that has NaN."""
    which = (dataset.name, dataset.markets[-1].example, "1h")
    frame = ares.load_rows(*which, settings=settings)
    table = ares.arrow_table(*which, settings=settings)

    assert table.column_names == ["timestamp", *frame.columns]
    pd.testing.assert_frame_equal(table.to_pandas().set_index("timestamp"), frame)
    assert json.loads(table.schema.metadata[b"ares"]) == frame.attrs


def test_a_window_of_a_table_is_that_of_the_frame(settings):
    """Window and columns of a table are those that were asked for, to the microsecond."""
    window = ("2025-01-31T22:30", "2025-02-01T03:00:00.000001")
    table = ares.arrow_table(
        "klines", "BTCUSDT", "1h", *window, columns=["volume", "open"], settings=settings
    )
    frame = candles(settings, *window, columns=["volume", "open"])

    assert len(frame) == 5
    pd.testing.assert_frame_equal(table.to_pandas().set_index("timestamp"), frame)


def test_polars_and_duckdb_take_a_table(settings):
    """Polars and DuckDB compute with a table what pandas does with the frame."""
    hours = ares.arrow_table("klines", "BTCUSDT", "1h", settings=settings)
    mean = candles(settings)["close"].mean()

    assert pl.from_arrow(hours)["close"].mean() == pytest.approx(mean)
    assert duckdb.sql("select avg(close) from hours").fetchall()[0][0] == pytest.approx(mean)


def test_a_table_says_what_it_lacks(settings):
    """A table of a window with a gap warns, one of a window without a row raises."""
    with pytest.warns(IncompleteData):
        table = ares.arrow_table("klines", "BTCUSDT", "1h", end="2025-03-03", settings=settings)

    assert json.loads(table.schema.metadata[b"ares"])["complete"] is False
    with pytest.raises(NeverDownloaded):
        ares.arrow_table("klines", "BTCUSDT", "1h", "2026-01-01", "2026-02-01", settings=settings)


@pytest.mark.parametrize("rows", [700, 3_000, 1_000_000])
def test_blocks_of_trades_are_the_trades(settings, rows):
    """The frames of an iteration have the rows that are asked for, and together those of the loader."""
    blocks = list(ares.iter_agg_trades("BTCUSDT", rows=rows, settings=settings))
    whole = ares.load_agg_trades("BTCUSDT", settings=settings)

    assert {len(block) for block in blocks[:-1]} <= {rows}
    assert 0 < len(blocks[-1]) <= rows
    pd.testing.assert_frame_equal(pd.concat(blocks), whole, check_exact=True)
    assert blocks[0].attrs["complete"]


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, "many"])
def test_blocks_of_no_size_are_refused(settings, rows):
    """A number of rows below one, or none, is refused before anything is read."""
    with pytest.raises(BadArgument, match="rows="):
        ares.iter_agg_trades("BTCUSDT", rows=rows, settings=settings)


def test_a_gap_is_told_before_the_first_block(settings):
    """An iteration over a window with a gap warns at the call."""
    with pytest.warns(IncompleteData):
        ares.iter_agg_trades("BTCUSDT", end="2025-03-04", settings=settings)


@pytest.mark.parametrize("how", ["plain", "off"])
def test_sql_answers_as_pandas_does(settings, how):
    """A query over two symbols gives what pandas computes of their frames."""
    own = settings.replace(arrow_copies=how)
    found = ares.sql(
        "select symbol, count(*) as rows, avg(close) as mean, max(timestamp) as last "
        "from klines_1h group by symbol order by symbol",
        settings=own,
    ).df()

    for row, symbol in zip(found.itertuples(), ["BTCUSDT", "ETHUSDT"], strict=True):
        frame = ares.load_klines(symbol, "1h", settings=settings)
        assert (row.symbol, row.rows, row.last) == (symbol, len(frame), frame.index[-1])
        assert row.mean == pytest.approx(frame["close"].mean())


def test_sql_reads_only_files_that_matter(settings):
    """Files that the conditions on symbol and timestamp exclude are not opened."""
    copies = settings.cache_dir / ".ares/arrow"
    for path in copies.glob("*"):
        path.unlink()
    query = (
        "select count(*) from klines_1h where symbol = 'ETHUSDT' "
        "and timestamp >= '2025-02-01' and timestamp < '2025-02-10'"
    )

    assert ares.sql(query, settings=settings).fetchall() == [(9 * 24,)]
    assert [path.name for path in copies.glob("*")] == ["klines_ETHUSDT_1h_2025-02.csv.arrow"]


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_every_dataset_is_a_table(settings, dataset):
    """Each dataset has a table, which counts the rows of the frame."""
    name = f"{dataset.name}_1h" if dataset.has_interval else dataset.name
    symbol = dataset.markets[-1].example
    frame = ares.load_rows(dataset.name, symbol, "1h", settings=settings)
    query = f"select count(*), min(timestamp) from {name} where symbol = '{symbol}'"  # noqa: S608 - our names
    [(count, first)] = ares.sql(query, settings=settings).fetchall()

    assert (count, first) == (len(frame), frame.index[0])


def test_a_wrong_query_names_the_tables(settings):
    """What DuckDB refuses is refused with its words, and with the tables that there are."""
    with pytest.raises(BadArgument, match=r"(?s)klines_5m.*there are the tables .*klines_1h"):
        ares.sql("select * from klines_5m", settings=settings)


def test_a_candle_without_an_interval_is_told_what_there_is(settings):
    """DuckDB's guess of a table of its own is not repeated."""
    with pytest.raises(BadArgument, match=r"(?s)klines does not exist!.*klines_1h") as told:
        ares.sql("select * from klines", settings=settings)
    assert "Did you mean" not in str(told.value)


@pytest.mark.parametrize("name", ["trades", "TRADES", "Agg_Trades", "funding"])
def test_tables_have_the_names_of_datasets(settings, name):
    """The field's words for datasets are tables too, in any case, as in SQL."""
    [(rows,)] = ares.sql(f"select count(*) from {name}", settings=settings).fetchall()  # noqa: S608 - our names
    assert rows > 0


def test_all_tables_are_listed(settings):
    """``show tables`` lists every table."""
    names = {name for (name,) in ares.sql("show tables", settings=settings).fetchall()}
    assert {"klines_1h", "trades", "agg_trades", "futures", "um_klines_1h"} <= names


@pytest.mark.parametrize("query", ["", " ", "-- nothing"])
def test_a_query_without_an_answer_is_refused(settings, query):
    """What returns no rows is no query."""
    with pytest.raises(BadArgument, match="no answer"):
        ares.sql(query, settings=settings)


def test_blocks_of_trades_of_any_market(settings):
    """Trades of contracts come in blocks too, and other datasets are refused."""
    blocks = ares.iter_agg_trades("BTCUSDT", dataset="um_agg_trades", settings=settings, rows=997)
    whole = ares.load_rows("um_agg_trades", "BTCUSDT", settings=settings)

    pd.testing.assert_frame_equal(pd.concat(list(blocks)), whole)
    with pytest.raises(BadArgument, match="holds no trades; those that do are agg_trades"):
        ares.iter_agg_trades("BTCUSDT", dataset="klines", settings=settings)


@pytest.mark.parametrize("damage", ["altered", "deleted"])
def test_sql_gives_no_row_of_a_file_that_is_not_sound(settings, tmp_path, caplog, damage):
    """A query over a file that was altered, or deleted after the query was made, fails when it is fetched."""
    own = settings.replace(cache_dir=shutil.copytree(settings.cache_dir, tmp_path / "own"))
    path = own.cache_dir / "klines_BTCUSDT_1h_2025-01.csv"
    text = path.read_bytes()
    if damage == "altered":
        path.write_bytes(text.replace(b"2025-01-05 03:00:00", b"2025-01-05 03:30:00"))
    answer = ares.sql("select count(*) from klines_1h where symbol = 'BTCUSDT'", settings=own)
    if damage == "deleted":
        path.unlink()

    with pytest.raises(duckdb.Error, match="klines_BTCUSDT_1h_2025-01"):
        answer.fetchall()
    cause = "its bytes are not those of its receipt" if damage == "altered" else "was deleted after"
    assert cause in caplog.text
    path.write_bytes(text)
    [(rows,)] = ares.sql(
        "select count(*) from klines_1h where symbol = 'BTCUSDT'", settings=own
    ).fetchall()
    assert rows == len(candles(own))


def test_sql_of_an_empty_cache_raises(settings, tmp_path):
    """A cache without a file has nothing to ask."""
    empty = settings.replace(cache_dir=tmp_path)
    with pytest.raises(NeverDownloaded):
        ares.sql("select 1", settings=empty)
