"""The text of a cache file, ours and the original downloader's."""

from __future__ import annotations

import pyarrow as pa
import pytest

from ares_notebook.cache.reader import is_ours, read_rows
from ares_notebook.errors import CorruptFile
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.files import CacheFile, Series, parse_file_name
from ares_notebook.model.rows import header_of, text_of
from ares_notebook.model.symbols import pair_of
from ares_notebook.model.time import as_utc, to_ms

CANDLES = parse_file_name("klines_BTCUSDT_1h_2018-02.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")
FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")
OURS = {
    CANDLES: b"2018-02-09 09:00:00,0.00010000,2,1,1.5,0.00000000,12345678901234567890.12345678,7,3.10,4\n"
    b"2018-02-09 09:28:14.789,0.1,2,1,1.5,0.0,1,0,3,4\n"
    b"2018-02-09 10:00:00,0.1,2,1,1.5,0.0,1,0,3,4\n",
    TRADES: b"2025-01-15 00:00:00.066000,1.10,2,True,0,0,0\n"
    b"2025-01-15 00:00:00.066001,1.10,0.00000001,False,1,1,9\n",
    FUNDING: b"2025-01-01 00:00:00.003,-0.00010000\n2025-01-01 08:00:00.000,0.00000000\n",
}


def read(path, file):
    return pa.concat_tables(read_rows(path, file))


@pytest.fixture
def written(tmp_path):
    """Write the bytes of a cache file, in either form."""

    def write(file, data, suffix=""):
        path = tmp_path / (file.name + suffix)
        if suffix:
            with pa.output_stream(str(path), compression="zstd") as stream:
                stream.write(data)
        else:
            path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("suffix", ["", ".zst"])
@pytest.mark.parametrize("file", OURS, ids=lambda file: file.dataset.name)
def test_our_text_is_read_and_written_to_the_same_bytes(written, file, suffix):
    """What we wrote comes back byte for byte, compressed or not."""
    path = written(file, header_of(file.dataset) + OURS[file], suffix)

    table = read(path, file)

    assert is_ours(path, file.dataset)
    assert text_of(file.dataset, table).to_pybytes() == OURS[file]


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.dataset.name)
def test_a_header_alone_is_a_file_of_no_rows(written, file):
    """Our own header without rows is read as nothing, not as an error."""
    path = written(file, header_of(file.dataset))

    assert sum(table.num_rows for table in read_rows(path, file)) == 0


def test_the_text_is_read_in_blocks(written):
    """A file larger than a block comes as several tables, in order, none of them large."""
    rows = b"".join(
        b"2025-01-15 00:00:00.066000,1.10,2,True,%d,0,0\n" % at for at in range(200_000)
    )
    path = written(TRADES, header_of(TRADES.dataset) + rows)

    tables = list(read_rows(path, TRADES))

    assert len(tables) > 1
    assert pa.concat_tables(tables)["agg_trade_id"].to_pylist() == list(range(200_000))


@pytest.mark.parametrize(
    "line",
    [
        b"2025-01-15 00:00:00.066000,1.10,2,True\n",
        b"2025-01-15 00:00:00.066000,1.10,2,True,1,1,1,1\n",
        b"2025-01-15 00:00:00.066000,1.10,2,True,x,1,1\n",
        b"2025-01-15 00:00:00.066000,1.10,2,True,,1,1\n",
        b",1.10,2,True,1,1,1\n",
        b"yesterday,1.10,2,True,1,1,1\n",
        b"2025-01-15 00:0",
    ],
)
def test_our_file_with_a_bad_line_is_corrupt(written, line):
    """In a file of ours nothing is skipped: a bad line makes it corrupt, and the error names it."""
    path = written(TRADES, header_of(TRADES.dataset) + OURS[TRADES] + line)

    with pytest.raises(CorruptFile, match=path.name):
        read(path, TRADES)


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"", ""),
        (b"\0" * 500, ""),
        (b"<html></html>", ""),
        (b"a,b\n1,2\n", ""),
        (b"\xff\xfe\xfa\n", ""),
        (b"timestamp,open\n2025-01-01,1\n", ""),
    ],
)
def test_what_is_neither_ours_nor_old_is_corrupt(written, data, suffix):
    """Rubbish under our name is a corrupt file, whatever it is."""
    path = written(CANDLES, data, suffix)

    with pytest.raises(CorruptFile, match=path.name):
        read(path, CANDLES)


def test_broken_compression_is_corrupt(tmp_path):
    """A compressed file that does not inflate, or is cut, is a corrupt file."""
    path = tmp_path / (CANDLES.name + ".zst")
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(header_of(CANDLES.dataset) + OURS[CANDLES] * 5_000)
    whole = path.read_bytes()

    for broken in (b"not zstd at all", whole[: len(whole) // 2], b""):
        path.write_bytes(broken)
        with pytest.raises(CorruptFile, match=path.name):
            read(path, CANDLES)


OLD_CANDLES = "timestamp,open,high,low,close,volume\n"
OLD_TRADES = "timestamp,price,quantity,is_buyer_maker,agg_trade_id\n"
OLD_FUNDING = "timestamp,fundingRate\n"


def old_stamps(written, *texts):
    rows = "".join(f"{text},0.1,2,1,1.5,9\n" for text in texts)
    path = written(CANDLES, (OLD_CANDLES + rows).encode())
    return [stamp / 1000 for stamp in read(path, CANDLES)["timestamp"].to_pylist()]


@pytest.mark.parametrize(
    "texts",
    [
        ("2018-02-01", "2018-02-02"),
        ("2018-02-01 00:00:00", "2018-02-02 00:00:00"),
        ("2018-02-01 00:00:00.000", "2018-02-02 00:00:00.000000"),
        ("2018-02-01 00:00:00+00:00", "2018-02-02T00:00:00Z"),
        ("2018-02-01", "2018-02-02 00:00:00.000"),
        ("1517443200000", "1517529600000"),
        ("1517443200000", "2018-02-02 00:00:00"),
        ("2018-02-02", "2018-02-01"),
        ("2018-02-01", "2018-02-02", "2018-02-01", "2018-02-02"),
        ("2018-02-01", "not a moment", "2018-02-02", ""),
    ],
)
def test_old_stamps_are_read_as_pandas_printed_them(written, texts):
    """Fractions, bare dates, epoch milliseconds, disorder and doubles: the same two moments."""
    assert old_stamps(written, *texts) == [to_ms(as_utc("2018-02-01")), to_ms(as_utc("2018-02-02"))]


def test_an_old_fraction_is_kept(written):
    """A stamp with milliseconds keeps them beside one without."""
    assert old_stamps(written, "2018-02-01 00:00:00", "2018-02-01 00:28:14.789") == [
        to_ms(as_utc("2018-02-01")),
        to_ms(as_utc("2018-02-01")) + 1_694_789,
    ]


def test_of_doubled_old_rows_the_last_is_kept(written):
    """The later row was written later, when the candle was better formed."""
    path = written(CANDLES, f"{OLD_CANDLES}2018-02-01,1,1,1,1,1\n2018-02-01,1,3,1,2,5\n".encode())

    table = read(path, CANDLES)

    assert table["volume"].to_pylist() == ["5"]


def test_old_bad_lines_are_left_out(written):
    """A line with too many cells, too few, or words for numbers is left out; the others stay."""
    lines = "2018-02-01,1,1,1,1,1\n2018-02-02,1,1,1,1,1,1,1\n2018-02-03,1\n2018-02-04,a,1,1,1,1\n2018-02-05,1,1,1,1,1\n"
    path = written(CANDLES, (OLD_CANDLES + lines).encode())

    table = read(path, CANDLES)

    assert [stamp // 1_000 for stamp in table["timestamp"].to_pylist()] == [
        to_ms(as_utc("2018-02-01")),
        to_ms(as_utc("2018-02-05")),
    ]


def test_old_trades_are_known_by_their_ids(written):
    """Two trades of one moment both stay, one that is there twice stays once, ids ascend."""
    lines = (
        "2025-01-15 00:00:01,1.0,2.0,False,8\n2025-01-15 00:00:00.066,1.0,2.0,True,7\n"
        "2025-01-15 00:00:01,1.0,2.0,False,8\n2025-01-15 00:00:01,1.0,2.5,True,9\n"
    )
    path = written(TRADES, (OLD_TRADES + lines).encode())

    table = read(path, TRADES)

    assert table["agg_trade_id"].to_pylist() == [7, 8, 9]
    assert table["is_buyer_maker"].to_pylist() == ["True", "False", "True"]
    assert table["first_trade_id"].null_count == 3


def test_old_numbers_are_not_touched(written):
    """Numbers stay the text that they were, however pandas had printed them."""
    path = written(
        FUNDING, f"{OLD_FUNDING}2025-01-01 00:00:00,1e-05\n2025-01-01 08:00:00,0.0001\n".encode()
    )

    assert read(path, FUNDING)["fundingRate"].to_pylist() == ["1e-05", "0.0001"]


@pytest.mark.parametrize(
    ("file", "header"),
    [(CANDLES, OLD_CANDLES), (TRADES, OLD_TRADES)],
    ids=["klines", "agg_trades"],
)
def test_an_old_header_alone_is_no_rows(written, file, header):
    """The original downloader's empty files are read as empty, and as his."""
    path = written(file, header.encode())

    assert not is_ours(path, file.dataset)
    assert read(path, file).num_rows == 0


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_more_columns_than_the_ancestor_wrote_do_no_harm(written, dataset):
    """An old file with columns of its own, in another order, is read by the names of its columns."""
    symbol = dataset.markets[0].example
    symbol = pair_of(symbol) if dataset.rest_symbol_parameter == "pair" else symbol
    file = CacheFile.of(Series.of(dataset, symbol, "1h"), as_utc("2025-01-01"))
    names = [*reversed(dataset.column_names), "mine"]
    cells = {"timestamp": "2025-01-01 00:00:00", "is_buyer_maker": "True", "mine": "x"}
    row = ",".join(cells.get(name, "5") for name in names)
    path = written(file, f"{','.join(names)}\n{row}\n".encode())

    table = read(path, file)

    assert tuple(table.column_names) == dataset.column_names
    assert table.slice(0, 1).to_pylist()[0]["timestamp"] == to_ms(as_utc("2025-01-01")) * 1000
