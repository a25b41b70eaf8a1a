"""A file without a receipt that has our header: ours to the byte, or not ours."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial

import pyarrow as pa
import pytest

import ares_notebook as ares
from ares_notebook.cache.reader import examined
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.rows import header_of

DAY = 1 / 365.25
CANDLES = parse_file_name("klines_BTCUSDT_1h_2018-02.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")
FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")
OURS = {
    CANDLES: b"2018-02-09 09:00:00,1.00010000,2,1,1.5,0.00000000,1.2,7,3.10,4\n"
    b"2018-02-09 09:28:14.789,1.1,2,1,1.5,0.0,1,0,3,4\n"
    b"2018-02-09 10:00:00,1.1,2,1,1.5,0.0,1,0,3,4\n",
    TRADES: b"2025-01-15 00:00:00.066000,1.10,2,True,5,-1,-1\n"
    b"2025-01-15 00:00:00.066001,1.10,0.00000001,False,6,1,9\n",
    FUNDING: b"2025-01-01 00:00:00.003,-0.00010000\n2025-01-01 08:00:00.000,0.00000000\n",
}
BY_FILE = pytest.mark.parametrize("file", OURS, ids=lambda file: file.dataset.name)
BY_FORM = pytest.mark.parametrize("suffix", ["", ".zst"], ids=["plain", "zstd"])
# Each makes other bytes of the same rows, or of rows that are none.
SPOILT = {
    "a blank line": lambda head, rows: head + rows.replace(b"\n", b"\n\n", 1),
    "a blank line first": lambda head, rows: head + b"\n" + rows,
    "a blank line last": lambda head, rows: head + rows + b"\n",
    "line ends of Windows": lambda head, rows: (head + rows).replace(b"\n", b"\r\n"),
    "line ends of Windows in rows": lambda head, rows: head + rows.replace(b"\n", b"\r\n"),
    "one line end of Windows": lambda head, rows: head + rows.replace(b"\n", b"\r\n", 1),
    "trailing blanks": lambda head, rows: head + rows.replace(b"\n", b" \n", 1),
    "no last line end": lambda head, rows: head + rows[:-1],
    "the header twice": lambda head, rows: head + head + rows,
    "the header in the middle": lambda head, rows: head + rows.replace(b"\n", b"\n" + head, 1),
    "a byte order mark": lambda head, rows: b"\xef\xbb\xbf" + head + rows,
    "other digits of a stamp": lambda head, rows: head + rows.replace(b",", b"0,", 1)
    if b"." in rows.partition(b",")[0]
    else head + rows.replace(b",", b".000,", 1),
    "no digits of a stamp": lambda head, rows: head + rows[:19] + rows[rows.index(b",") :]
    if b"." in rows.partition(b",")[0]
    else head + rows.replace(b":00,", b",", 1),
    "a stamp with a T": lambda head, rows: head + rows.replace(b" ", b"T", 1),
    "a leading zero": lambda head, rows: head + rows.replace(b",", b",0", 1),
    "a plus": lambda head, rows: head + rows.replace(b",", b",+", 1),
    "a point alone": lambda head, rows: head + rows.replace(b".", b"_", 9).replace(b"\n", b".\n", 1).replace(b"_", b"."),
    "an exponent": lambda head, rows: head + rows.replace(b"\n", b"E-7\n", 1),
    "quotes": lambda head, rows: head + rows.replace(b",", b',"', 1).replace(b"\n", b'"\n', 1),
    "a byte of zero": lambda head, rows: head + rows + b"\0",
}  # fmt: skip
OF_ONE = {
    "small flags": (TRADES, b"True", b"true"),
    "a number for a flag": (TRADES, b"True", b"1"),
    "a leading zero of an id": (TRADES, b"True,5", b"True,05"),
    "an id below zero": (TRADES, b"True,5", b"True,-5"),
    "another id below zero": (TRADES, b"-1,-1", b"-2,-1"),
    "a blank beside a count": (CANDLES, b",7,", b", 7,"),
    "a count below zero": (CANDLES, b",7,", b",-7,"),
    "a price below zero": (CANDLES, b",1.00010000", b",-1.00010000"),
    "a rate of zero below zero": (FUNDING, b",0.00000000", b",-0.00000000"),
}


@pytest.fixture
def look(tmp_path):
    """Look into a file of these bytes, in either form."""

    def look_into(file, data, suffix=""):
        path = tmp_path / f"{file.name}{suffix}"
        if suffix:
            with pa.output_stream(str(path), compression="zstd") as stream:
                stream.write(data)
        else:
            path.write_bytes(data)
        return examined(file, path)

    return look_into


@BY_FORM
@BY_FILE
def test_what_we_write_needs_no_receipt(look, file, suffix):
    """A file just as we write it is ours without a receipt, off-grid stamps and sentinel ids included."""
    entry = look(file, header_of(file.dataset) + OURS[file], suffix)

    assert entry.problem is None
    assert entry.facts.rows == OURS[file].count(b"\n")
    assert not entry.legacy
    assert look(file, header_of(file.dataset), suffix).problem is None


@pytest.mark.parametrize("how", SPOILT)
@BY_FORM
@BY_FILE
def test_what_we_would_not_write_is_not_ours(look, file, suffix, how):
    """Whatever another hand has made of the text, be the rows the same, is a problem and not a file of ours."""
    entry = look(file, SPOILT[how](header_of(file.dataset), OURS[file]), suffix)

    assert entry.problem is not None
    assert "download its period again" in entry.problem


@pytest.mark.parametrize("how", OF_ONE)
@BY_FORM
def test_cells_that_we_would_not_write_are_not_ours(look, suffix, how):
    """Flags, ids, counts and numbers that the exchange does not write are a problem."""
    file, old, new = OF_ONE[how]
    data = header_of(file.dataset) + OURS[file]
    assert old in data

    assert look(file, data.replace(old, new, 1), suffix).problem is not None


def test_a_large_file_is_compared_to_its_end(look):
    """In a file of several blocks a blank line anywhere shows."""
    rows = b"".join(
        b"2025-01-15 00:%02d:%02d.%06d,1.10,0.00000001,False,%d,1,9\n" % (at // 60000 % 60, at // 1000 % 60, at % 1000, at)
        for at in range(150_000)
    )  # fmt: skip
    data = header_of(TRADES.dataset) + rows
    middle = data.index(b"\n", 5 << 20) + 1

    assert look(TRADES, data).problem is None
    for at in (len(header_of(TRADES.dataset)), middle, len(data)):
        assert look(TRADES, data[:at] + b"\n" + data[at:]).problem is not None


def test_an_old_file_is_read_as_it_is(look):
    """A file with the columns that the original downloader wrote is not held to our text."""
    old = b"timestamp,open,high,low,close,volume\n2018-02-01,1.,2,1,007.5,1e-05\n\n"

    entry = look(CANDLES, old)

    assert entry.problem is None
    assert entry.legacy


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize(
    ("name", "interval", "days"), [("klines", "1h", 31), ("agg_trades", None, 1), ("futures", None, 31)]
)  # fmt: skip
async def test_such_a_file_is_replaced_whole(settings, compression, name, interval, days):
    """A blank line in a file without a receipt is gone after the next run, and the file is as if fetched at once."""
    own = settings.replace(compression=compression)

    async def fetch():
        return await ares.download_all_data(
            "BTCUSDT",
            interval=interval,
            lookback_years=days * DAY,
            end="2025-02-01",
            datasets=(name,),
            settings=own,
        )

    await fetch()
    [path] = [each for each in own.cache_dir.iterdir() if each.is_file() and "2025-01" in each.name]
    whole = path.read_bytes()
    with pa.input_stream(str(path), compression=compression) as stream:
        text = bytes(stream.read())
    at = text.index(b"\n", len(text) // 2) + 1
    with pa.output_stream(str(path), compression=compression) as stream:
        stream.write(text[:at] + b"\n" + text[at:])
    shutil.rmtree(own.cache_dir / ".ares" / "receipts")

    report = await fetch()

    assert report.complete
    assert path.read_bytes() == whole


def _altered(text: str) -> str:
    """The text of a file, with another number of its kind in the middle: a candle's open, a price, a rate."""
    lines = text.splitlines()
    cells = lines[len(lines) // 2].split(",")
    cells[1] = "0.01230000" if len(cells) == 2 else cells[1][:-1] + str(9 - int(cells[1][-1]))
    lines[len(lines) // 2] = ",".join(cells)
    return "\n".join(lines) + "\n"


def _as_pandas_printed(text: str, columns: int) -> str:
    """The text as the original downloader wrote it: its columns, stamps with a fraction where one has one."""
    rows = [line.split(",")[:columns] for line in text.splitlines()]
    return "\n".join(",".join(row) for row in rows) + "\n"


@pytest.mark.parametrize(
    "kind",
    [
        ("futures", None, 31, 2),
        ("klines", "1h", 31, 10),
        ("klines", "1h", 31, 6),
        ("agg_trades", None, 1, 7),
    ],
)
@pytest.mark.parametrize("forget", ["receipts", ".ares", "sources"])
async def test_an_altered_value_that_no_receipt_tells_of_is_replaced(settings, kind, forget):
    """A file with one other value, and no word of where it came from, is not sound, and is replaced by what the exchange has."""
    name, interval, days, columns = kind
    # What an old file without any sign of ours is taken for.
    own = settings.replace(market="binance")
    fetch = partial(
        ares.download_all_data,
        "BTCUSDT",
        interval=interval,
        lookback_years=days * DAY,
        end="2025-02-01",
        datasets=(name,),
        settings=own,
    )
    await fetch()
    [path] = [each for each in own.cache_dir.glob("*.csv") if "2025-01" in each.name]
    whole = path.read_bytes()
    path.write_text(_as_pandas_printed(_altered(whole.decode()), columns))
    receipts = own.cache_dir / ".ares" / "receipts"
    if forget == "sources":
        # As earlier versions noted what they had measured of a file from nowhere.
        receipt = receipts / f"{path.name}.json"
        reported = json.loads(receipt.read_text())
        data = path.read_bytes()
        reported |= {"sources": [], "size": len(data), "mtime_ns": path.stat().st_mtime_ns}
        receipt.write_text(json.dumps(reported | {"sha256": hashlib.sha256(data).hexdigest()}))
    else:
        shutil.rmtree(receipts if forget == "receipts" else receipts.parent)

    coverage = ares.coverage(settings=own).set_index("file")
    before = ares.validate_cache(settings=own)
    report = await fetch()
    after = ares.validate_cache(settings=own)

    assert not coverage.loc[path.name, "final"]
    assert {each.check for each in before.findings} & {"receipt", "legacy format"}
    assert not str(before).startswith("sound")
    assert report.complete
    assert path.read_bytes() == whole
    assert str(after).startswith("sound")


async def test_old_trades_that_are_kept_are_not_called_sound(settings):
    """An old day whose ids run on stays, as the guide says, and validation says that nothing proves its prices."""
    own = settings.replace(market="binance")
    fetch = partial(ares.download_agg_trades_data, "BTCUSDT", DAY, end="2025-01-16", settings=own)
    await fetch()
    path = own.cache_dir / TRADES.name
    old = _as_pandas_printed(_altered(path.read_text()), 5)
    path.write_text(old)
    shutil.rmtree(own.cache_dir / ".ares")

    report = await fetch()

    assert report.complete
    assert path.read_text() == old
    assert str(ares.validate_cache(settings=own)).startswith("no error, but 1 file unverified")
