"""Both sources meet: CSV of the archive and JSON of REST become the same rows."""

from __future__ import annotations

import json
import re
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reading import facts_of, table_of

from ares_notebook.binance.csv_tables import rows_of_csv
from ares_notebook.binance.parse import lines_of_csv, lines_of_json
from ares_notebook.binance.zips import Zip
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import AGG_TRADES, FUTURES, KLINES
from ares_notebook.model.files import Series, parse_file_name
from ares_notebook.model.rows import between, keys_of, schema_of, text_of
from ares_notebook.model.time import as_utc, to_ms

SERIES = {
    KLINES: Series.of("klines", "BTCUSDT", "1h"),
    AGG_TRADES: Series.of("agg_trades", "BTCUSDT"),
    FUTURES: Series.of("futures", "BTCUSDT"),
}
MS_2024 = to_ms(as_utc("2024-06-01"))
MS_2025 = to_ms(as_utc("2025-06-01"))


def candle(stamp, close="1.5", closed=None):
    closed = closed or stamp + 3_599_999
    return [stamp, "0.00010000", "2.0", "1", close, "7.10", closed, "8", 9, "3", "4.00", "0"]


def trade(number, stamp, price="1.10", *, maker=True):
    return {
        "a": number,
        "p": price,
        "q": "0.00000001",
        "f": number,
        "l": number + 1,
        "T": stamp,
        "m": maker,
        "M": True,
    }


def event(stamp, rate="-0.00010000"):
    return {"symbol": "BTCUSDT", "fundingTime": stamp, "fundingRate": rate, "markPrice": ""}


def cells(dataset, row):
    """A REST row as the archive's CSV has it."""
    if dataset is KLINES:
        return row
    if dataset is FUTURES:
        return [row["fundingTime"], 8, row["fundingRate"]]
    return [row[key] for key in "apqflTmM"]


def csv_of(dataset, rows):
    return "".join(",".join(map(str, cells(dataset, row))) + "\n" for row in rows).encode()


def from_csv(dataset, rows):
    return rows_of_csv(dataset, csv_of(dataset, rows), "origin.zip")[0]


def from_lines(dataset, rows):
    return table_of(dataset, [lines_of_csv(dataset, csv_of(dataset, rows), "origin.zip")])


def from_json(dataset, rows):
    return table_of(dataset, [lines_of_json(SERIES[dataset], json.dumps(rows).encode(), "origin")])


SOURCES = pytest.mark.parametrize("read", [from_csv, from_lines, from_json])
ROWS = {
    KLINES: [candle(MS_2024), candle(MS_2024 + 3_600_000), candle(MS_2024 + 9_000_123)],
    AGG_TRADES: [
        trade(0, MS_2025 * 1000 + 1),
        trade(1, MS_2025 * 1000 + 1, maker=False),
        trade(5, MS_2025 * 1000 + 2),
    ],
    FUTURES: [event(MS_2024 + 3), event(MS_2024 + 28_800_000, "0.00000000")],
}


@pytest.mark.parametrize("dataset", ROWS, ids=lambda each: each.name)
def test_both_roads_give_equal_tables(dataset):
    """The same rows are the same table, and so the same bytes, whichever way they came."""
    by_archive, by_rest = from_csv(dataset, ROWS[dataset]), from_json(dataset, ROWS[dataset])
    by_lines = from_lines(dataset, ROWS[dataset])

    assert by_archive.equals(by_rest)
    assert by_archive.equals(by_lines)
    assert by_rest.schema == schema_of(dataset)
    assert by_rest.num_rows == len(ROWS[dataset])
    assert text_of(dataset, by_archive).equals(text_of(dataset, by_rest))


@SOURCES
def test_cells_land_in_their_columns(read):
    """Every column of a candle gets its own cell; close time and the ignored one are not kept."""
    [row] = read(KLINES, ROWS[KLINES][:1]).to_pylist()

    assert list(row.values()) == [
        MS_2024 * 1000, "0.00010000", "2.0", "1", "1.5", "7.10", "8", 9, "3", "4.00",
    ]  # fmt: skip


@SOURCES
def test_a_close_time_before_the_open_time_does_no_harm(read):
    """A candle that a halt cut has a close time that means nothing."""
    rows = read(KLINES, [candle(MS_2024, closed=MS_2024 - 5_000_000)])

    assert rows.num_rows == 1


@SOURCES
def test_each_stamp_is_told_by_its_own_size(read):
    """Milliseconds and microseconds may stand in one file, one row each."""
    rows = [candle(MS_2024), candle((MS_2024 + 3_600_000) * 1000)]

    assert keys_of(KLINES, read(KLINES, rows)).tolist() == [
        MS_2024 * 1000,
        (MS_2024 + 3_600_000) * 1000,
    ]


@SOURCES
@pytest.mark.parametrize(
    ("stamp", "kept"),
    [
        (MS_2024 * 1000 + 1_999, MS_2024 * 1000 + 1_000),
        (1_735_689_599_999_999, 1_735_689_599_999_000),
        (1_735_689_600_000_001, 1_735_689_600_000_001),
        (MS_2025 * 1000 + 1_999, MS_2025 * 1000 + 1_999),
        (MS_2024, MS_2024 * 1000),
    ],
)
def test_trades_before_2025_are_floored_to_milliseconds(read, stamp, kept):
    """REST knows the microseconds of old trades and the archive does not; later ones keep theirs."""
    rows = read(AGG_TRADES, [trade(0, stamp)])

    assert rows["timestamp"].to_pylist() == [kept]


@SOURCES
def test_funding_keeps_the_exchanges_jitter(read):
    """The few milliseconds by which a stamp is late are kept; the event is known by its hour."""
    rows = read(FUTURES, [event(MS_2024 + 47)])

    assert rows["timestamp"].to_pylist() == [(MS_2024 + 47) * 1000]
    assert keys_of(FUTURES, rows).tolist() == [MS_2024 // 3_600_000]


@SOURCES
def test_a_row_that_is_there_twice_counts_once(read):
    """Archives of outage days repeat rows; equal ones are one."""
    rows = ROWS[AGG_TRADES]

    doubled = read(AGG_TRADES, [rows[0], rows[0], rows[0], rows[1], rows[2], rows[2]])

    assert doubled.equals(read(AGG_TRADES, rows))


@SOURCES
@pytest.mark.parametrize(
    ("dataset", "rows", "words"),
    [
        (KLINES, [candle(MS_2024), candle(MS_2024, close="1.6")], "two different rows"),
        (AGG_TRADES, [trade(1, MS_2025), trade(1, MS_2025 + 1)], "two different rows"),
        (FUTURES, [event(MS_2024), event(MS_2024 + 5)], "two different rows"),
        (KLINES, [candle(MS_2024 + 3_600_000), candle(MS_2024)], "not in order"),
        (AGG_TRADES, [trade(2, MS_2025), trade(1, MS_2025)], "not in order"),
        (KLINES, [candle(0)], "no moment"),
        (KLINES, [candle(-MS_2024)], "no moment"),
        (KLINES, [candle(1_000_000)], "no moment"),
        (KLINES, [candle(MS_2024 // 1000)], "no moment"),
        (KLINES, [candle(MS_2024 * 1_000_000)], "no moment"),
        (KLINES, [candle(4_102_444_800_000)], "no moment"),
        (KLINES, [candle(2**63 - 1)], "no moment"),
    ],
)
def test_rows_that_contradict_are_refused(read, dataset, rows, words):
    """Two rows of one key, disorder, and stamps that are no moment are refused, with the origin."""
    with pytest.raises(BadAnswer, match=f"origin.*{words}"):
        read(dataset, rows)


@SOURCES
@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "NaN",
        "inf",
        "-inf",
        "=1",
        " 1",
        "1 ",
        "",
        "1e5",
        "+1",
        "0x1",
        "1_0",
        "1.2.3",
        "-",
        "1-2",
        "null",
        "１",
    ],
)
def test_what_is_no_plain_number_is_refused(read, text):
    """Numbers are kept as text, so only plain decimals may become it."""
    with pytest.raises(BadAnswer, match="origin"):
        read(KLINES, [candle(MS_2024, close=text)])
    with pytest.raises(BadAnswer, match="origin"):
        read(FUTURES, [event(MS_2024, rate=text)])


@given(st.lists(st.text("019.-/e ", min_size=1, max_size=4), min_size=1, max_size=4))
@example(["1..", "111"])
@example(["1.", ".1"])
@example(["11.11", "1-1.1"])
def test_cells_are_numbers_one_by_one(texts):
    """Though all letters of a column are looked at at once, no cell lends a point to another."""
    rows = [candle(MS_2024 + at * 3_600_000, close=text) for at, text in enumerate(texts)]
    if all(re.fullmatch(r"(0|[1-9]\d*)(\.\d+)?", text) for text in texts):
        assert from_csv(KLINES, rows)["close"].to_pylist() == texts
    else:
        with pytest.raises(BadAnswer, match="origin"):
            from_csv(KLINES, rows)


@pytest.mark.parametrize("word", ["True", "true", "TRUE"])
def test_flags_of_any_case_are_one(word):
    """Spot writes True, futures true; the cache has one spelling."""
    block = f"1,1.0,1.0,1,1,{MS_2025},{word}\n".encode()

    assert rows_of_csv(AGG_TRADES, block, "origin")[0]["is_buyer_maker"].to_pylist() == ["True"]


@pytest.mark.parametrize("word", ["1", "yes", "", "Tru"])
def test_another_flag_is_refused(word):
    """A flag is true or false, and nothing else."""
    with pytest.raises(BadAnswer, match="origin"):
        rows_of_csv(AGG_TRADES, f"1,1.0,1.0,1,1,{MS_2025},{word}\n".encode(), "origin")


@pytest.mark.parametrize(
    "block",
    [
        b"<!DOCTYPE html><html><body>Not here</body></html>\n",
        b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>\n',
        b"1717200000000,1,2\n",
        b"1717200000000,1,2,1,1.5,7,1,8,9,3,4,0\n1717203600000,1,2\n",
        b"1717200000000,1,2,1,1.5,7,1,8,9,3,4,0\n\x00\x00\x00\x00",
        b"1717200000000,1,2,1,1.5,7,1,8,9.5,3,4,0\n",
        b"1717200000000,1,2,1,1.5,7,1,8,,3,4,0\n",
        b",1,2,1,1.5,7,1,8,9,3,4,0\n",
        b"1717200000000.5,1,2,1,1.5,7,1,8,9,3,4,0\n",
        b"\xff\xfe,1,2,1,1.5,7,1,8,9,3,4,0\n",
        b'1717200000000,"1",2,1,1.5,7,1,8,9,3,4,0\n',
        b"1717200000000,1\xff,2,1,1.5,7,1,8,9,3,4,0\n",
    ],
)
def test_csv_that_is_no_candles_is_refused(block):
    """Pages for browsers, short rows, foreign bytes: nothing of them becomes a row."""
    with pytest.raises(BadAnswer, match="origin"):
        rows_of_csv(KLINES, block, "origin")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"{}",
        b"5",
        b'"text"',
        b'{"code":-1121,"msg":"Invalid symbol."}',
        b"[1,2]",
        b"[[]]",
        b"[[1717200000000]]",
        b'[["1717200000000","1","2","1","1","7",1,"8",9,"3","4","0"]]',
        b'[[1717200000000,1.0,"2","1","1","7",1,"8",9,"3","4","0"]]',
        b'[[1717200000000,null,"2","1","1","7",1,"8",9,"3","4","0"]]',
        b'[[1717200000000,"1","2","1","1","7",1,"8",9.5,"3","4","0"]]',
        b'[[1717200000000,"1","2","1","1","7",1,"8",99999999999999999999,"3","4","0"]]',
        b'[{"a":1}]',
        b"[" * 100_000,
        b"\xff",
        b'[[1717200000000,"1","2","1","1","7",1,"8",9,"3","4","0"]',
    ],
    ids=lambda body: repr(body)[:24],
)
def test_json_that_is_no_candles_is_refused(body):
    """Another dialect of JSON, or none, is refused with the origin."""
    with pytest.raises(BadAnswer, match="origin"):
        lines_of_json(SERIES[KLINES], body, "origin")


@pytest.mark.parametrize(
    "cell",
    [
        "1,5",
        "1,5,1",
        "1\n",
        "1\r",
        "\r\n1",
        '"1"',
        " 1",
        "",
        "1e5",
        "nan",
        "-",
        "0x1",
        "1\x00",
        "\u0661",
    ],
    ids=repr,
)
@pytest.mark.parametrize("column", [1, 4, 5])
def test_a_cell_of_json_is_no_more_than_one_of_csv(cell, column):
    """Text with a comma or a line end would be two cells of CSV, and any other is no number."""
    row = candle(MS_2024)
    row[column] = cell

    with pytest.raises(BadAnswer, match="origin"):
        lines_of_json(
            SERIES[KLINES], json.dumps([row, candle(MS_2024 + 3_600_000)]).encode(), "origin"
        )


def test_cells_that_a_row_borrows_from_the_next_are_refused():
    """A comma too many in one row and too few in another are no two good rows."""
    rows = [candle(MS_2024), candle(MS_2024 + 3_600_000)]
    rows[0][5] = "7.10,1.0"
    body = json.dumps(rows).encode().replace(b', "4.00", "0"], [', b', "4.00"], [')

    with pytest.raises(BadAnswer, match="origin"):
        lines_of_json(SERIES[KLINES], body, "origin")


@pytest.mark.parametrize("key", ["a", "p", "q", "f", "l", "T", "m"])
def test_a_trade_that_lacks_a_key_is_refused(key):
    """A missing cell is not taken for an empty one."""
    row = trade(1, MS_2025)
    del row[key]

    with pytest.raises(BadAnswer, match="origin"):
        lines_of_json(SERIES[AGG_TRADES], json.dumps([row]).encode(), "origin")


def test_funding_of_another_symbol_is_refused():
    """A funding rate says whose it is; one of another symbol is never stored as ours."""
    rows = [event(MS_2024 + 3), {**event(MS_2024 + 28_800_000), "symbol": "ETHUSDT"}]

    with pytest.raises(BadAnswer, match="another symbol than BTCUSDT"):
        lines_of_json(SERIES[FUTURES], json.dumps(rows).encode(), "origin")


def test_an_unknown_key_or_column_does_no_harm():
    """The exchange may add keys and columns at the end; those we know keep their meaning."""
    rows = ROWS[AGG_TRADES]
    more = [{**row, "nq": "1"} for row in rows]
    wider = csv_of(AGG_TRADES, rows).replace(b"\n", b",x\n")

    assert from_json(AGG_TRADES, more).equals(from_json(AGG_TRADES, rows))
    assert rows_of_csv(AGG_TRADES, wider, "origin")[0].equals(from_json(AGG_TRADES, rows))


@pytest.mark.parametrize("dataset", ROWS, ids=lambda each: each.name)
def test_nothing_is_no_rows(dataset):
    """An empty page and an empty block are no rows, and no errors."""
    assert len(lines_of_json(SERIES[dataset], b"[]", "origin")) == 0
    assert len(lines_of_csv(dataset, b"", "origin")) == 0
    assert len(lines_of_csv(dataset, b"\n", "origin")) == 0
    assert rows_of_csv(dataset, b"", "origin")[0].num_rows == 0
    assert rows_of_csv(dataset, b"\n", "origin")[0].num_rows == 0


def test_between_is_half_open():
    """A row at the start belongs in, one at the end does not."""
    rows = from_json(KLINES, [candle(MS_2024), candle(MS_2024 + 3_600_000)])

    assert keys_of(KLINES, between(rows, MS_2024, MS_2024 + 3_600_000)).tolist() == [MS_2024 * 1000]
    assert between(rows, MS_2024, MS_2024 + 3_600_001).num_rows == 2
    assert between(rows.slice(0, 0), 0, 1).num_rows == 0


# --- headers, as a zip's tables are read ---


def tables_of(dataset, text, zipped):
    name = "X-2024-06"
    data, series = BytesIO(zipped(f"{name}.csv", text)), Series(dataset, "X", None)
    archive = Zip(f"{name}.zip", f"http://x/{name}.zip", "", data, series)
    return table_of(dataset, archive.lines())


HEADERS = {
    KLINES: b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n",
    AGG_TRADES: b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n",
    FUTURES: b"calc_time,funding_interval_hours,last_funding_rate\n",
}


@pytest.fixture
def zipped():
    import zipfile  # noqa: PLC0415 - only here

    def pack(member, text):
        sink = BytesIO()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, text)
        return sink.getvalue()

    return pack


@pytest.mark.parametrize("dataset", ROWS, ids=lambda each: each.name)
def test_a_header_is_no_row(dataset, zipped):
    """With and without a header the rows are the same."""
    text = csv_of(dataset, ROWS[dataset])

    bare, headed = (
        tables_of(dataset, text, zipped),
        tables_of(dataset, HEADERS[dataset] + text, zipped),
    )

    assert bare.equals(headed)
    assert bare.num_rows == len(ROWS[dataset])


@pytest.mark.parametrize("end", [b"\n", b""], ids=["line end", "none"])
def test_a_header_alone_is_no_rows(zipped, end):
    """A month without an event is a header, with or without its line end."""
    assert tables_of(FUTURES, HEADERS[FUTURES].strip() + end, zipped).num_rows == 0


@pytest.mark.parametrize("first", [b"171720000000x", b"", b"\x00", b"1717200000000.0"])
def test_a_broken_first_row_is_not_taken_for_a_header(zipped, first):
    """A first line whose other cells are numbers is a row, and a broken one is refused, not dropped."""
    text = csv_of(KLINES, ROWS[KLINES])
    broken = first + text[13:]

    with pytest.raises(BadAnswer):
        tables_of(KLINES, broken, zipped)


def test_a_page_for_browsers_is_no_header(zipped):
    """HTML in a zip is refused, not dropped with its first line."""
    with pytest.raises(BadAnswer):
        tables_of(FUTURES, b"<html>\n", zipped)


# --- what Binance served ---


def recorded_zip(recorded, key, dataset):
    path = recorded / "archive" / key
    with path.open("rb") as data:
        series = Series(dataset, "BTCUSDT", None)
        return table_of(dataset, Zip(path.name, path.name, "", data, series).lines())


@pytest.mark.parametrize(
    ("key", "dataset", "name", "rows"),
    [
        (
            "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2026-05-08.zip",
            KLINES,
            "klines_BTCUSDT_1h_2026-05.csv",
            24,
        ),
        (
            "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-04.zip",
            FUTURES,
            "futures_BTCUSDT_2026-04.csv",
            90,
        ),
        (
            "data/futures/cm/daily/aggTrades/BTCUSD_PERP/BTCUSD_PERP-aggTrades-2026-05-08.zip",
            AGG_TRADES,
            "aggtrades_BTCUSD_PERP_2026-05-08.csv",
            105_280,
        ),
    ],
)
def test_real_zips_are_read_without_a_gap(recorded, key, dataset, name, rows):
    """Files that Binance published have the rows that are known of them, and no gap between."""
    table = recorded_zip(recorded, key, dataset)

    facts = facts_of(parse_file_name(name), table)
    assert (table.num_rows, facts.gaps, facts.off_grid) == (rows, (), 0)


def test_real_funding_is_late_by_milliseconds(recorded):
    """49 of 90 stamps of April 2026 are 1 to 13 ms late, and stay so."""
    key = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-04.zip"

    late = recorded_zip(recorded, key, FUTURES)["timestamp"].to_numpy() // 1000 % 3_600_000

    assert np.count_nonzero(late) == 49
    assert late.max() == 13


def test_real_candles_off_the_grid_are_kept(recorded):
    """43 candles of February 2018 opened off the grid; none is lost, none counts as on it."""
    text = (recorded / "klines/spot/BTCUSDT/1h/BTCUSDT-1h-2018-02.csv").read_bytes()

    table, _ = rows_of_csv(KLINES, text, "2018-02")

    facts = facts_of(parse_file_name("klines_BTCUSDT_1h_2018-02.csv"), table)
    assert table.num_rows == text.count(b"\n")
    assert facts.off_grid == 43


def test_every_real_month_of_candles_is_read(recorded):
    """55 months of 1h files lose not a line and not a digit."""
    paths = sorted((recorded / "klines/spot/BTCUSDT/1h").glob("*.csv"))

    for path in paths:
        text = path.read_bytes()
        table, _ = rows_of_csv(KLINES, text, path.name)
        assert table.num_rows == len(text.splitlines())
        assert table["volume"].to_pylist() == [
            line.split(b",")[5].decode() for line in text.splitlines()
        ]
    assert len(paths) == 55


def test_real_json_is_read(recorded):
    """A recorded day of REST candles is a whole day; a recorded empty page is no rows."""
    day = lines_of_json(
        SERIES[KLINES], (recorded / "rest/BTCUSDT-1h-2024-01-15.klines.json").read_bytes(), "rest"
    )
    empty = lines_of_json(
        SERIES[AGG_TRADES], (recorded / "rest/spot-aggTrades-empty-first.json").read_bytes(), "rest"
    )

    assert len(day) == 24
    assert np.all(np.diff(day.keys) == 3_600_000_000)
    assert len(empty) == 0


def test_a_real_404_is_no_rows(recorded):
    """The archive's own 404 bodies are refused as rows."""
    for path in (recorded / "not_found").glob("*.xml"):
        with pytest.raises(BadAnswer):
            rows_of_csv(KLINES, path.read_bytes(), path.name)
