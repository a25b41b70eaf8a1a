"""A member of a zip that ends inside a line: nothing of that line is believed."""

from __future__ import annotations

import urllib.request
import zipfile
from io import BytesIO

import pytest

import ares_notebook as ares
from ares_notebook.binance.zips import Zip, lines_of
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import AGG_TRADES, FUTURES, KLINES, dataset_named
from ares_notebook.model.files import Series

DAY = 1 / 365.25
NAME = "X-2025-01"
MS = 1_735_689_600_000
CANDLES = "".join(
    f"{MS + at * 3_600_000},93576.0,93600.5,93500.25,93555.0{at},175062155.97{at},{MS + at * 3_600_000 + 3_599_999},17.5,3,5.25,8.5,0\n"
    for at in range(5)
)
TRADES = "".join(
    f"{70 + at},93576.00000000,0.00018{at},{90 + at},{90 + at},{MS + at},True,True\n"
    for at in range(5)
)
EVENTS = "calc_time,funding_interval_hours,last_funding_rate\n" + "".join(
    f"{MS + at * 28_800_000},8,0.0001{at}\n" for at in range(5)
)
TEXTS = [(KLINES, CANDLES), (AGG_TRADES, TRADES), (FUTURES, EVENTS)]
BY_DATASET = pytest.mark.parametrize(
    ("dataset", "text"), TEXTS, ids=["klines", "trades", "funding"]
)
KEYS = {
    "klines": "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01",
    "agg_trades": "data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-31",
    "futures": "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01",
}
BY_KEY = pytest.mark.parametrize("name", KEYS)


def zip_of(dataset, text):
    """A zip of a member with just this text."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{NAME}.csv", text)
    return Zip(f"{NAME}.zip", "http://x/a.zip", "", packed, Series(dataset, "BTCUSDT", None))


def read(archive):
    """The lines of a zip as one text."""
    return b"".join(lines.text.tobytes() for lines in archive.lines()).decode()


def published(exchange, name):
    """The text of a file of the demo's archive."""
    with urllib.request.urlopen(f"{exchange.url}/{KEYS[name]}.zip") as answer:  # noqa: S310 - the demo exchange
        body = answer.read()
    with zipfile.ZipFile(BytesIO(body)) as archive:
        return archive.read(archive.namelist()[0]).decode()


async def fetch(settings, name, source="auto"):
    """Bring the last days of January 2025."""
    own = settings.replace(source=source, cache_dir=settings.cache_dir / source)
    years = DAY if name == "agg_trades" else 31 * DAY
    interval = "1h" if dataset_named(name).has_interval else None
    report = await ares.download_all_data(
        "BTCUSDT",
        interval=interval,
        lookback_years=years,
        end="2025-02-01",
        datasets=(name,),
        settings=own,
    )
    return report, {path.name: path.read_text() for path in own.cache_dir.glob("*.csv")}


@BY_DATASET
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_no_cut_line_is_ever_a_row(dataset, text, end):
    """Wherever the last line is cut, the whole lines before it are all that is read, and the zip says so."""
    whole = read(zip_of(dataset, text))
    lines = text.replace("\n", end).splitlines(keepends=True)
    before = "".join(whole.splitlines(keepends=True)[:-1])

    for length in range(1, len(lines[-1])):
        archive = zip_of(dataset, "".join(lines[:-1]) + lines[-1][:length])
        assert read(archive) == before
        assert archive.is_cut
    uncut = zip_of(dataset, "".join(lines))
    assert read(uncut) == whole
    assert not uncut.is_cut


@BY_DATASET
def test_a_row_cut_in_a_file_of_one_is_no_empty_file(dataset, text):
    """Where not one row is whole the file is a bad answer, and not one without rows."""
    head, row = (EVENTS[:51], EVENTS[51:]) if dataset is FUTURES else ("", text)
    row = row.partition("\n")[0]

    for length in (1, 5, len(row) - 1, len(row)):
        with pytest.raises(BadAnswer, match="ends inside its first row"):
            read(zip_of(dataset, head + row[:length]))


@BY_DATASET
def test_no_member_text_and_names_alone_are_no_rows(dataset, text):
    """A member without text, and one of a header alone, have no rows and are not cut."""
    del text
    for alone in ("", EVENTS[:51]):
        archive = zip_of(dataset, alone)
        assert read(archive) == ""
        assert not archive.is_cut


def many_trades(flags=",True"):
    """Six megabytes of trades."""
    return "".join(
        f"{at},93576.00000000,0.00018000,{at},{at},{MS * 1000 + at},True{flags}\n"
        for at in range(1_000_000, 1_090_000)
    ).encode()


def test_a_cut_where_a_block_ends_is_seen():
    """A member that is cut just where, or just behind where, a block of text ends loses only its cut line."""
    text = many_trades()
    first = len(next(lines_of(zip_of(AGG_TRADES, text).data, f"{NAME}.csv", "x")))

    for cut in (first - 1, first + 3, 4 << 20, (4 << 20) + 1):
        archive = zip_of(AGG_TRADES, text[:cut])
        assert read(archive).count("\n") == text[:cut].count(b"\n")
        assert archive.is_cut


def test_a_member_has_one_width():
    """Lines of another width than the first are refused, though a whole block agrees on theirs."""
    text, narrow = many_trades(), many_trades("")
    first = len(next(lines_of(zip_of(AGG_TRADES, text).data, f"{NAME}.csv", "x")))
    at = text[:first].count(b"\n")
    mixed = text[:first] + b"".join(narrow.splitlines(keepends=True)[at:])

    assert read(zip_of(AGG_TRADES, narrow)) == read(zip_of(AGG_TRADES, text))
    with pytest.raises(BadAnswer, match=f"line {at + 1} has 7 columns, not 8"):
        read(zip_of(AGG_TRADES, mixed))


@BY_DATASET
@pytest.mark.parametrize("spoil", [",0", "", "\n"], ids=["wider", "narrower", "blank"])
def test_a_line_of_another_width_is_named(dataset, text, spoil):
    """One line with a cell more or less, or with none, is a bad answer that names the line."""
    lines = text.splitlines()
    changed = {",0": lines[3] + ",0", "": lines[3].rpartition(",")[0], "\n": ""}[spoil]

    with pytest.raises(BadAnswer, match=r"line 4 (has|is)"):
        read(zip_of(dataset, "\n".join([*lines[:3], changed, *lines[4:], ""])))


@BY_KEY
@pytest.mark.parametrize("source", ["auto", "archive"])
async def test_what_a_cut_zip_lacks_is_asked_for(exchange, settings, publish_anew, name, source):
    """Of a zip that was cut no shortened number is stored; what it lacks comes from the next source, if there is one."""
    _, whole = await fetch(settings, name, "rest")
    text = published(exchange, name)

    for gone in (1, 2, 4):
        publish_anew(KEYS[name].rpartition("/")[2], text[:-gone])
        own = settings.replace(cache_dir=settings.cache_dir / f"{gone}")
        report, stored = await fetch(own, name, source)
        exchange.faults.clear()
        for file, there in stored.items():
            assert set(there.splitlines()) <= set(whole[file].splitlines())
        if source == "auto" and name != "agg_trades":
            assert report.complete
            assert stored == whole
