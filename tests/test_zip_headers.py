"""Headers of the archive's zips: their names say what the columns are, in whatever order."""

from __future__ import annotations

import hashlib
import io
import urllib.request
import zipfile
from datetime import UTC, datetime

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.binance.zips import Zip
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.files import Series
from ares_notebook.model.time import period_of

NOW = datetime(2026, 10, 1, 12, 34, tzinfo=UTC)
START = datetime(2026, 8, 1, tzinfo=UTC)
SYMBOLS = {"klines": "BTCUSDT", "cm_klines": "BTCUSD_PERP", "cm_agg_trades": "BTCUSD_PERP"}
SYMBOLS["cm_funding"] = "BTCUSD_PERP"
BY_DATASET = pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)


@pytest.fixture(scope="module")
def exchange():
    with DemoExchange(now=NOW, trades_per_day=600, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def settings(exchange, tmp_path):
    exchange.faults.clear()
    yield exchange.settings(cache_dir=tmp_path / "cache", progress=False, retry_delay_seconds=0)
    exchange.faults.clear()


def series_of(dataset):
    return Series.of(dataset, SYMBOLS.get(dataset.name, "BTCUSDT"), "1h")


def cells_of(exchange, series):
    """The cells of a file of the demo's archive, its header first; that of spot is added."""
    key = series.archive_key(series.archive_cuts[0], START)
    with urllib.request.urlopen(f"{exchange.url}/{key}") as answer:  # noqa: S310 - the demo exchange
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    rows = [line.split(",") for line in archive.read(archive.namelist()[0]).decode().splitlines()]
    names = series.dataset.archive_names[: len(rows[0])]
    return rows if rows[0] == list(names) else [list(names), *rows]


def text_of(rows):
    return "".join(",".join(row) + "\n" for row in rows)


def read(series, rows):
    """The lines of the cache for a zip with these rows."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("X.csv", text_of(rows))
    period = period_of(series.archive_cuts[0], START)
    one = Zip("X.zip", "here", "", packed, series, period)
    return b"".join(bytes(lines.text) for lines in one.lines())


@BY_DATASET
def test_columns_may_stand_in_any_order(exchange, dataset):
    """Columns that stand in another order, with a header that says so, are the same rows."""
    series = series_of(dataset)
    header, *rows = cells_of(exchange, series)
    wanted = read(series, rows)

    assert wanted.count(b"\n") > 20
    for order in (slice(None), slice(None, None, -1)):
        assert read(series, [row[order] for row in (header, *rows)]) == wanted
    for at in range(1, len(header) - 1):
        swapped = [[*row[:at], row[at + 1], row[at], *row[at + 2 :]] for row in (header, *rows)]
        assert read(series, swapped) == wanted


@BY_DATASET
@pytest.mark.parametrize("cell", ["7", "9.5", "word", ""])
def test_a_column_of_another_name_is_not_kept(exchange, dataset, cell):
    """A column that is added at any place under a name of its own changes no row."""
    series = series_of(dataset)
    header, *rows = cells_of(exchange, series)
    wanted = read(series, rows)

    for at in range(1, len(header) + 1):
        added = [[*row[:at], cell, *row[at:]] for row in rows]
        named = [*header[:at], "New column 2", *header[at:]]
        assert read(series, [named, *added]) == wanted


@BY_DATASET
def test_a_header_that_lacks_a_column_is_refused(exchange, dataset):
    """Rows below a header that lacks a column, names it otherwise or twice, or has another width are refused."""
    series = series_of(dataset)
    header, *rows = cells_of(exchange, series)
    known = dict(zip(dataset.archive_names, dataset.published, strict=False))

    for at, name in enumerate(header):
        if known[name].kind == "ignored":
            continue
        lacking = [[*row[:at], *row[at + 1 :]] for row in (header, *rows)]
        other = [[*header[:at], "weight", *header[at + 1 :]], *rows]
        for cells in (lacking, other):
            with pytest.raises(BadAnswer, match=f"does not name {name};"):
                read(series, cells)
    with pytest.raises(BadAnswer, match=f"names '{header[0]}' twice"):
        read(series, [[*row, row[0]] for row in (header, *rows)])
    with pytest.raises(BadAnswer, match="its first row has"):
        read(series, [[*header, "new"], *rows])


@pytest.mark.parametrize(
    "header",
    [
        "id,price,qty,quote_qty,time,is_buyer_maker",
        "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
        "timestamp,percentage,depth,notional",
        "calc_time,funding_interval_hours,last_funding_rate,a,b,c,d,e,f,g,h,i",
    ],
)
@pytest.mark.parametrize("name", ["klines", "um_klines", "agg_trades", "metrics"])
def test_a_header_of_another_kind_is_refused(exchange, name, header):
    """Rows below the header of another kind are refused, although they would be rows without it."""
    series = series_of(next(each for each in DATASETS if each.name == name))
    _, *rows = cells_of(exchange, series)

    with pytest.raises(BadAnswer, match=f"no header of {name};"):
        read(series, [header.split(","), *rows])


@pytest.mark.parametrize("name", ["klines", "um_klines", "mark_price_klines"])
async def test_what_cannot_be_mapped_is_asked_for_elsewhere(exchange, settings, name):
    """A month whose header lacks a column comes from the next source, with the same rows."""
    series = series_of(next(each for each in DATASETS if each.name == name))
    header, *rows = cells_of(exchange, series)
    stored = {}
    for folder in ("whole", "odd"):
        own = settings.replace(cache_dir=settings.cache_dir / folder)
        report = await ares.download_all_data(
            "BTCUSDT", "1h", start="2026-08-01", end="2026-09-01", datasets=[name], settings=own
        )
        assert report.complete, str(report)
        [path] = own.cache_dir.glob("*.csv")
        stored[folder] = path.read_bytes()
        key = series.archive_key("month", START)
        publish(exchange, key, [["open_time", "price", *header[2:]], *rows])

    assert stored["odd"] == stored["whole"]


def publish(exchange, key, rows):
    """Publish other rows under a key of the archive, with a checksum that is right."""
    name = key.rpartition("/")[2].removesuffix(".zip")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}.csv", text_of(rows))
    words = f"{hashlib.sha256(packed.getvalue()).hexdigest()}  {name}.zip".encode()
    exchange.fail(f"{key}.CHECKSUM$", times=None, replace_body=words)
    exchange.fail(f"{key}$", times=None, replace_body=packed.getvalue())
