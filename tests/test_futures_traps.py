"""What the sources of futures do that nobody would expect: each is put right, or told, and never stored as it is."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.binance.http import Ask, refusal
from ares_notebook.binance.parse import lines_of_csv, lines_of_json, read_info
from ares_notebook.errors import BadAnswer, BadArgument, BadRequest
from ares_notebook.load import IncompleteData
from ares_notebook.model.datasets import DATASETS, dataset_named
from ares_notebook.model.files import CacheFile, Series, parse_file_name
from ares_notebook.model.symbols import pair_of
from ares_notebook.model.time import as_utc

NOW = datetime(2026, 10, 1, 12, 34, tzinfo=UTC)
FUTURES = [each for each in DATASETS if each.markets[0].name != "spot"]
HAVE_REST = [each for each in FUTURES if each.has_rest]
UM_TRADES = dataset_named("um_agg_trades")


@pytest.fixture(scope="module")
def market():
    with DemoExchange(now=NOW, trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def settings(market, tmp_path):
    market.faults.clear()
    market.requests.clear()
    market.end_windows()
    yield market.settings(
        cache_dir=tmp_path / "cache", progress=False, max_retries=1, retry_delay_seconds=0
    )
    market.faults.clear()


@pytest.fixture(scope="module")
def futures(recorded):
    folder = recorded.parent / "futures"
    if not folder.is_dir():
        pytest.skip("no recorded futures beside ARES_TEST_DATA")
    return folder


async def download(settings, dataset, symbol, start, end, *, interval="1h", **fields):
    return await ares.download_all_data(
        symbol, interval, start=start, end=end, datasets=[dataset],
        settings=settings.replace(**fields),
    )  # fmt: skip


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def example_of(dataset):
    symbol = dataset.markets[0].example
    return pair_of(symbol) if dataset.rest_symbol_parameter == "pair" else symbol


async def by_source(settings, *about, **fields):
    """The files that archive and REST bring, each by itself."""
    found = []
    for source in ("archive", "rest"):
        folder = settings.cache_dir / source
        report = await download(settings, *about, **fields, source=source, cache_dir=folder)
        assert not report.failed, str(report)
        found.append(contents(folder))
    return found


# --- the text of rows ---


def recorded_lines(futures, dataset, path) -> tuple[list[list[str]], list[str]]:
    """The cells of a recorded file, and the lines of the cache that are made of it."""
    text = (futures / "archive" / path).read_text()
    rows = [line for line in text.splitlines(keepends=True) if line[0].isdigit()]
    lines = lines_of_csv(dataset, "".join(rows).encode(), path)
    return [row.rstrip("\n").split(",") for row in rows], bytes(lines.text).decode().splitlines()


def test_rates_with_an_exponent_are_plain_numbers(futures):
    """A funding rate such as -1.8E-7 is kept as -0.00000018, with the value and the digits of its text."""
    path = "um_fundingRate/BTCUSDT-fundingRate-exponent.csv"
    rows, lines = recorded_lines(futures, dataset_named("futures"), path)

    assert any("E-" in row[2] for row in rows)
    for row, line in zip(rows, lines, strict=True):
        rate = line.split(",")[1]
        assert "E" not in rate
        assert Decimal(rate).as_tuple() == Decimal(row[2]).as_tuple()


def test_a_rate_of_zero_with_an_exponent_is_zero():
    """A funding rate that is written 0E-8 is the 0.00000000 of REST, and a row."""
    lines = lines_of_csv(dataset_named("cm_funding"), b"1785542400000,8,0E-8\n", "here")

    assert bytes(lines.text) == b"2026-08-01 00:00:00.000,0.00000000\n"


async def test_rates_of_archive_and_rest_are_one_text(settings):
    """Rates of COIN-M that the archive writes with exponents and REST does not are the same bytes."""
    archive, rest = await by_source(
        settings, "cm_funding", "BTCUSD_PERP", "2026-01-01", "2026-09-01"
    )

    assert archive == rest
    assert len(archive) == 8


@pytest.mark.parametrize(
    ("dataset", "symbol", "start", "end"),
    [
        ("um_klines", "BTCUSDT", "2022-05-01", "2022-07-01"),
        ("um_klines", "BTCUSDT", "2022-12-01", "2023-01-03"),
        ("um_agg_trades", "BTCUSDT", "2022-12-31", "2023-01-02"),
        ("cm_agg_trades", "BTCUSD_PERP", "2022-12-31", "2023-01-02"),
        ("um_agg_trades", "BTCUSDT", "2026-09-01", "2026-09-02"),
        ("mark_price_klines", "BTCUSDT", "2022-05-01", "2022-07-01"),
    ],
)
async def test_headers_zeros_and_units_are_those_of_no_date(settings, dataset, symbol, start, end):
    """With and without a header, padded and trimmed, before and after 2025, archive and REST are the same bytes."""
    archive, rest = await by_source(settings, dataset, symbol, start, end)

    assert archive == rest
    assert archive


def test_stamps_of_futures_are_milliseconds_in_each_year(futures):
    """The first stamps of recorded files of 2022, 2023 and 2026 are days of the months in their names."""
    paths = [
        ("um_agg_trades", "um_aggTrades/BTCUSDT-aggTrades-2022-04.issue140.csv"),
        ("cm_agg_trades", "cm_aggTrades/BTCUSD_PERP-aggTrades-2023-06-25.csv"),
        ("um_agg_trades", "um_aggTrades/BTCUSDT-aggTrades-2026-09-30.csv"),
        ("um_klines", "um_klines/BTCUSDT-1m-2026-09-30.csv"),
        ("futures", "um_fundingRate/BTCUSDT-fundingRate-2026-08.csv"),
    ]
    for name, path in paths:
        _, lines = recorded_lines(futures, dataset_named(name), path)
        month = re.search(r"\d{4}-\d{2}", path)[0]
        assert {line[:7] for line in lines} == {month}


def test_volume_of_coin_m_is_contracts(futures):
    """The eighth cell of a candle of COIN-M, which the archive calls quote volume, is in the coin."""
    path = next((futures / "rest_cm").glob("dapi-v1-klines__end*"))
    body = path.read_bytes()
    series = Series.of("cm_klines", "BTCUSD_PERP", "1d")
    first = bytes(lines_of_json(series, body, "here").text).decode().splitlines()[0].split(",")
    cells = dict(zip(series.dataset.column_names, first, strict=True))
    row = json.loads(body)[0]

    assert Decimal(cells["volume"]) == Decimal(row[5])
    assert Decimal(cells["base_asset_volume"]) == Decimal(row[7])
    contracts_at = 100 * Decimal(row[5]) / Decimal(row[7])
    assert Decimal(row[3]) < contracts_at < Decimal(row[2])


# --- pages of REST ---


@pytest.mark.parametrize("name", ["rest_um/fapi-v1-fundingRate__symbol=BTCUSDT.json",
                                  "rest_cm/dapi-v1-fundingRate__limit=5_symbol=BTCUSD_PERP.json"])  # fmt: skip
def test_fields_that_are_new_in_funding_change_nothing(futures, name):
    """With markPrice and rateType, and without, a recorded page of funding gives the same lines."""
    dataset, symbol = ("cm_funding", "BTCUSD_PERP") if "cm" in name else ("futures", "BTCUSDT")
    rows = json.loads((futures / name).read_bytes())
    bare = [{key: row[key] for key in ("symbol", "fundingTime", "fundingRate")} for row in rows]
    more = [{**row, "markPrice": "1.0", "rateType": "Regular"} for row in bare]
    texts = [
        bytes(
            lines_of_json(Series.of(dataset, symbol), json.dumps(each).encode(), "here").text
        ) for each in (rows, bare, more)
    ]  # fmt: skip

    assert texts[0].count(b"\n") == len(rows)
    assert texts[0] == texts[1] == texts[2]


def test_a_new_field_in_trades_and_gaps_of_raw_ids(futures):
    """Recorded pages of trades with the field nq are read, and a gap of raw ids is no gap of trades."""
    series = Series.of("um_agg_trades", "BTCUSDT")
    counts = {}
    for path in sorted((futures / "rest_um_trades").glob("*.json")):
        body = path.read_bytes()
        rows = json.loads(body)
        lines = lines_of_json(series, body, path.name)
        counts[path.name] = len(lines)
        assert lines.keys.tolist() == [row["a"] for row in rows]
    cut = json.loads((futures / "rest_um_trades/aggTrades-page-05.cut-hole-f-l.json").read_bytes())

    assert counts["aggTrades-empty.json"] == 0
    assert any("nq" in row for row in cut)
    assert any(b["f"] != a["l"] + 1 for a, b in pairwise(cut))
    assert {b["a"] - a["a"] for a, b in pairwise(cut)} == {1}


@pytest.mark.parametrize("dataset", HAVE_REST, ids=lambda each: each.name)
async def test_a_stamp_that_is_text_is_refused(settings, market, dataset):
    """Where the time of a row is text and no number the page is refused, and nothing of it is stored."""

    def as_text(body: bytes) -> bytes:
        return re.sub(rb"\b(1[5-9]\d{11})\b", rb'"\1"', body)

    symbol = example_of(dataset)
    market.fail(f"{dataset.markets[0].api}{dataset.path_name}", times=None, replace_body=as_text)
    report = await download(
        settings, dataset.name, symbol, "2026-09-01", "2026-09-02", source="rest"
    )

    assert report.failed
    assert not contents(settings.cache_dir)


def test_refusals_of_the_exchange_are_told(futures):
    """Recorded errors of dapi and fapi are refusals that show the exchange's own code and words."""
    for path in sorted((futures / "errors").glob("*.json")):
        body = path.read_bytes()
        error = refusal(Ask("https://here/x", "it"), Answer(400, {}), body)
        assert isinstance(error, BadRequest), path
        assert json.loads(body)["msg"].rstrip(".") in str(error), path


class Answer:
    """The head of an answer."""

    def __init__(self, status, headers):
        self.status, self.headers = status, headers


@pytest.mark.parametrize("dataset", HAVE_REST, ids=lambda each: each.name)
@pytest.mark.parametrize(
    "body",
    [b'{"code":400,"msg":"The endpoint has been out of maintenance"}', b"<html></html>", b""],
    ids=["error", "HTML", "empty"],
)
async def test_an_error_under_status_200_is_a_failure(settings, market, dataset, body):
    """An answer with status 200 that is no list of rows fails the file, and is never taken for no rows."""
    symbol = example_of(dataset)
    market.fail(f"{dataset.markets[0].api}{dataset.path_name}", times=None, replace_body=body)
    report = await download(
        settings, dataset.name, symbol, "2026-09-01", "2026-09-02", source="rest"
    )

    assert report.failed
    assert not report.complete
    assert not contents(settings.cache_dir)


# --- files of the archive ---


def publish(market, key, text):
    """Publish other text as a file of the archive, with a checksum that is right."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{key}.csv", text)
    words = f"{hashlib.sha256(packed.getvalue()).hexdigest()}  {key}.zip".encode()
    market.fail(f"{key}.zip.CHECKSUM$", times=None, replace_body=words)
    market.fail(f"{key}.zip$", times=None, replace_body=packed.getvalue())


def published_rows(settings, name) -> list[str]:
    """The lines of a day of trades of USD-M as the archive writes them, of a cache file."""
    lines = (settings.cache_dir / name).read_text().splitlines()[1:]
    rows = []
    for line in lines:
        stamp, price, quantity, flag, key, first, last = line.split(",")
        ms = round(datetime.fromisoformat(f"{stamp}+00:00").timestamp() * 1000)
        rows.append(f"{key},{price},{quantity},{first},{last},{ms},{flag.lower()}\n")
    return rows


def interleaved(rows):
    """Rows of another day between those of this one, as in May 2023 [binance-public-data#339]."""
    other = [row.replace(f",{row.split(',')[5]},", f",{int(row.split(',')[5]) - 3 * 86_400_000},")
             for row in rows[: len(rows) // 2]]  # fmt: skip
    return [each for pair in zip(rows, other, strict=False) for each in pair]


@pytest.mark.parametrize(
    ("spoil", "is_sound"),
    [
        (lambda rows: [row for row in rows for _ in range(2)], True),
        (interleaved, False),
        (lambda rows: rows[:1000] + rows[1500:], True),
        (lambda rows: rows[:1000], True),
    ],
    ids=["each row twice", "two dates interleaved", "ids missing", "cut short"],
)
async def test_days_of_trades_that_were_published_wrong(settings, market, spoil, is_sound):
    """A day of trades with rows twice, of two dates, or without some ends in the true bytes, and never as complete without."""
    day = ("um_agg_trades", "BTCUSDT", "2026-09-01", "2026-09-02")
    await download(settings, *day)
    whole = contents(settings.cache_dir)
    [name] = whole
    publish(market, "BTCUSDT-aggTrades-2026-09-01", "".join(spoil(published_rows(settings, name))))
    alone = settings.cache_dir / "archive"
    report = await download(settings, *day, source="archive", cache_dir=alone)
    both = await download(settings, *day, cache_dir=settings.cache_dir / "auto")

    assert bool(report.failed) is not is_sound
    assert not report.complete
    assert contents(alone) == whole or not report.complete
    assert both.complete, str(both)
    assert contents(settings.cache_dir / "auto") == whole


def test_recorded_rows_of_two_dates_are_refused(futures):
    """The recorded file whose rows go back to an earlier date is refused whole."""
    with pytest.raises(BadAnswer, match="not in order"):
        recorded_lines(futures, UM_TRADES, "um_aggTrades/BTCUSDT-aggTrades-2023-05.issue339.csv")


def test_recorded_days_between_which_one_is_missing_are_not_whole(futures, settings):
    """Of the recorded rows of April 2022, between whose ids a day is missing, that day is an open gap."""
    path = "um_aggTrades/BTCUSDT-aggTrades-2022-04.issue140.csv"
    _, lines = recorded_lines(futures, UM_TRADES, path)
    settings.cache_dir.mkdir()
    header = ",".join(UM_TRADES.column_names) + "\n"
    days = sorted({line[:10] for line in lines})
    for day in days:
        own = [line + "\n" for line in lines if line.startswith(day)]
        (settings.cache_dir / f"umaggtrades_BTCUSDT_{day}.csv").write_text(header + "".join(own))
    with pytest.warns(IncompleteData):
        frame = ares.load_rows("um_agg_trades", "BTCUSDT", settings=settings)
    table = ares.missing(frame, settings=settings)

    assert days == ["2022-04-23", "2022-04-25"]
    assert (table["start"] <= as_utc("2022-04-24")).any()
    assert (table["end"] >= as_utc("2022-04-25")).any()


async def test_a_day_that_a_month_lacks_comes_from_its_own_file(settings, market):
    """Days that the monthly file of April 2022 lacks come from the daily files, without REST."""
    report = await download(
        settings,
        "um_klines",
        "BTCUSDT",
        "2022-04-01",
        "2022-05-01",
        interval="1m",
        source="archive",
    )
    asked = [each.path for each in market.requests if each.path.endswith(".zip")]

    assert report.complete, str(report)
    assert report.rows_written == 30 * 1440
    assert len([path for path in asked if "/monthly/" in path]) == 1
    assert len([path for path in asked if "/daily/" in path]) == 2


@pytest.mark.parametrize(
    ("dataset", "is_explained"), [("mark_price_klines", True), ("index_price_klines", True)]
)
async def test_permanent_gaps_of_prices_are_explained(settings, dataset, is_explained):
    """Minutes of mark and index that no source has are a gap that REST has confirmed, told as such, asked once."""
    window = ("2025-02-20", "2025-02-21")
    report = await download(settings, dataset, "BTCUSDT", *window, interval="1m")
    again = await download(settings, dataset, "BTCUSDT", *window, interval="1m")
    [gap] = ares.find_gaps("BTCUSDT", end=window[1], datasets=[dataset], settings=settings).to_dict(
        "records"
    )
    frame = ares.load_rows(dataset, "BTCUSDT", "1m", *window, settings=settings)

    assert report.complete is is_explained, str(report)
    assert again.requests == 0
    assert (gap["start"], gap["end"]) == (as_utc("2025-02-20T04:10"), as_utc("2025-02-20T04:31"))
    assert (gap["missing"], gap["reason"]) == (21, "confirmed absent upstream")
    assert len(frame) == 1440 - 21


async def test_candles_without_a_trade_are_rows(settings):
    """Minutes of USD-M in which nothing was traded are candles of volume zero, and the day is complete."""
    window = ("2026-05-20", "2026-05-21")
    report = await download(settings, "um_klines", "BTCUSDT", *window, interval="1m")
    frame = ares.load_rows("um_klines", "BTCUSDT", "1m", *window, settings=settings)
    quiet = frame["2026-05-20T11:07":"2026-05-20T11:11"]

    assert report.complete, str(report)
    assert len(frame) == 1440
    assert (quiet["volume"] == 0).all()
    assert (quiet["open"] == quiet["close"]).all()


async def test_equal_names_in_other_folders_are_other_files(settings):
    """Candles, mark, index and premium of one symbol, whose zips have one name, lie side by side as four files."""
    names = ["um_klines", "mark_price_klines", "index_price_klines", "premium_index_klines"]
    window = {"start": "2026-08-01", "end": "2026-09-01", "settings": settings}
    report = await ares.download_all_data("BTCUSDT", "1h", **window, datasets=names)
    together = contents(settings.cache_dir)
    closes = {
        name: ares.load_rows(name, "BTCUSDT", "1h", settings=settings)["close"] for name in names
    }

    assert report.complete, str(report)
    assert len(together) == len(set(together.values())) == 4
    assert {parse_file_name(name).dataset.name for name in together} == set(names)
    for one in names:
        folder = settings.cache_dir / one
        await download(settings, one, "BTCUSDT", "2026-08-01", "2026-09-01", cache_dir=folder)
        [(name, text)] = contents(folder).items()
        assert together[name] == text
    premium = closes["mark_price_klines"] / closes["index_price_klines"] - 1
    assert premium.abs().max() < 0.02
    assert (closes["premium_index_klines"] < 0).any()


@pytest.mark.parametrize(
    ("dataset", "symbol"),
    [
        ("um_agg_trades", "BTCUSDT"),
        ("cm_agg_trades", "BTCUSD_PERP"),
        ("um_klines", "BTCUSDT"),
        ("index_price_klines", "BTCUSD"),
        ("metrics", "BTCUSDT"),
    ],
)
@pytest.mark.parametrize("source", ["auto", "archive"])
async def test_a_listing_that_ends_early_hides_no_file(settings, market, dataset, symbol, source):
    """Files that the archive has behind the end of its listing are fetched, and REST is not asked for their rows."""

    def ends_early(body: bytes) -> bytes:
        late = rb"<Contents><Key>[^<]*-2026-(?:0[7-9]|10)[^<]*</Key>.*?</Contents>"
        return re.sub(late, b"", body, flags=re.DOTALL)

    about = (dataset, symbol, "2026-08-01", "2026-08-04")
    truth = settings.cache_dir / "truth"
    await download(settings, *about, cache_dir=truth)
    market.fail("prefix=data/futures", times=None, replace_body=ends_early)
    market.requests.clear()
    market.end_windows()
    report = await download(settings, *about, source=source)

    assert contents(settings.cache_dir) == contents(truth)
    assert not report.failed
    assert len([each for each in market.requests if "/api/" in each.path]) < 10
    if dataset_named(dataset).key == "id":
        zips = {each.path for each in market.requests if each.path.endswith(".zip")}
        assert len(zips) == 3
        assert all("/daily/" in path for path in zips)


async def test_a_listing_that_ends_early_proves_no_end(settings, market):
    """Of a delivered contract that the API has forgotten, days behind the early end of a listing are no delisting."""

    def ends_early(body: bytes) -> bytes:
        late = rb"<Contents><Key>[^<]*-2025-0[3-9][^<]*</Key>.*?</Contents>"
        return re.sub(late, b"", body, flags=re.DOTALL)

    market.fail("prefix=data/futures", times=None, replace_body=ends_early)
    window = ("2025-02-27", "2025-03-04")
    report = await download(settings, "um_agg_trades", "BTCUSDT_250627", *window)
    table = ares.find_gaps(
        "BTCUSDT_250627", end=window[1], datasets=["um_agg_trades"], settings=settings
    )

    assert len(contents(settings.cache_dir)) == 5
    assert not report.failed
    assert "after delisting" not in set(table["reason"])


# --- contracts ---


async def test_a_forgotten_contract_is_asked_for_once(settings, market):
    """Edges of trades of a delivered contract that nobody can prove stay open, say why, and cost no more requests."""
    about = ("um_agg_trades", "BTCUSDT_250627", "2025-02-01", "2025-02-03")
    report = await download(settings, *about)
    again = await download(settings, *about)
    table = ares.find_gaps("BTCUSDT_250627", datasets=["um_agg_trades"], settings=settings)
    asked = len(market.requests)
    anew = await ares.repair_gaps(
        "BTCUSDT_250627", datasets=["um_agg_trades"], recheck=True, settings=settings
    )

    assert (report.complete, report.failed) == (False, ())
    assert (again.complete, again.requests) == (False, 0)
    assert len(table) == 2
    assert set(table["reason"]) == {"unconfirmed"}
    assert table["note"].str.contains("knows the symbol any more").all()
    assert "knows the symbol any more" in str(again)
    assert anew.requests == len(market.requests) - asked > 0


async def test_the_last_answer_about_a_gap_is_told(settings, market):
    """Where the archive and then REST had no candle, the note is that of REST, and does not advise to ask it."""
    hour_ms = 1_786_255_200_000

    def without_an_hour(body: bytes) -> bytes:
        return json.dumps([row for row in json.loads(body) if row[0] != hour_ms]).encode()

    await download(settings, "um_klines", "BTCUSDT", "2026-08-01", "2026-09-01")
    lines = (settings.cache_dir / "umklines_BTCUSDT_1h_2026-08.csv").read_text().splitlines()[1:]
    rows = []
    for at, line in enumerate(lines):
        _, *cells = line.split(",")
        ms = 1_785_542_400_000 + at * 3_600_000
        rows.append(",".join([str(ms), *cells[:5], str(ms + 3_599_999), *cells[5:], "0"]) + "\n")
    text = "".join(row for row in rows if not row.startswith(str(hour_ms)))
    publish(market, "BTCUSDT-1h-2026-08", text)
    market.fail("daily/klines/BTCUSDT/1h", times=None, status=404)
    market.fail("fapi/v1/klines", times=None, replace_body=without_an_hour)
    own = settings.replace(cache_dir=settings.cache_dir / "own")
    report = await download(own, "um_klines", "BTCUSDT", "2026-08-01", "2026-09-01")
    [gap] = ares.find_gaps("BTCUSDT", datasets=["um_klines"], settings=own).to_dict("records")

    assert not report.complete
    assert gap["missing"] == 1
    assert "also without a trade" in gap["note"]


@pytest.mark.parametrize(
    ("dataset", "symbol"),
    [
        ("cm_funding", "BTCUSD_261225"),
        ("futures", "BTCUSDT_261225"),
        ("cm_funding", "BTCUSD_250627"),
    ],
)
async def test_a_delivery_contract_has_no_funding(settings, market, dataset, symbol):
    """Funding alone of a delivery contract is refused, with the datasets that it has, and nobody is asked."""
    with pytest.raises(BadArgument, match=r"pays no funding.*(um|cm)_klines"):
        await download(settings, dataset, symbol, "2026-08-01", "2026-09-01")

    assert not market.requests


async def test_candles_beside_the_funding_of_a_delivery_contract_come(settings):
    """Of a delivery contract candles are stored although funding was named too."""
    report = await ares.download_all_data(
        "BTCUSD_261225", "1h", start="2026-08-01", end="2026-09-01",
        datasets=["cm_klines", "cm_funding"], settings=settings,
    )  # fmt: skip

    assert report.complete, str(report)
    assert "pays no funding" in str(report)
    assert list(contents(settings.cache_dir)) == ["cmklines_BTCUSD_261225_1h_2026-08.csv"]


@pytest.mark.parametrize(
    ("fields", "is_over"),
    [
        ({"status": "TRADING"}, False),
        ({"status": "TRADING", "contractType": "TRADIFI_PERPETUAL"}, False),
        ({"status": "PENDING_TRADING"}, False),
        ({"status": "SETTLING"}, True),
        ({"contractStatus": "TRADING"}, False),
        ({"contractStatus": "DELIVERING", "contractType": "PERPETUAL DELIVERING"}, True),
        ({}, False),
    ],
)
def test_a_status_says_whether_trading_is_over(fields, is_over):
    """Status of USD-M and contractStatus of COIN-M both tell an end; what is unknown is none."""
    info = {"symbols": [{"symbol": "X", **fields}], "rateLimits": []}

    assert read_info(json.dumps(info).encode()).symbols["X"].is_over is is_over


def test_recorded_contracts_that_are_over(futures):
    """Of the recorded list of COIN-M just the contract that is delivering is over."""
    body = (futures / "rest_cm/dapi-v1-exchangeInfo.json").read_bytes()
    states = {each["symbol"]: each["contractStatus"] for each in json.loads(body)["symbols"]}

    assert "DELIVERING" in states.values()
    for symbol, listing in read_info(body).symbols.items():
        assert listing.is_over is (states[symbol] != "TRADING")


async def test_an_onboard_date_that_moves_takes_no_row(settings, market):
    """Where exchangeInfo says a later onboard date than the first candles, these stay, and the file is complete."""

    def later(body: bytes) -> bytes:
        return re.sub(rb'"onboardDate": ?\d+', b'"onboardDate":1569398400000', body)

    about = ("um_klines", "BTCUSDT", "2019-09-01", "2019-10-01")
    truth = settings.cache_dir / "truth"
    await download(settings, *about, cache_dir=truth)
    market.fail("fapi/v1/exchangeInfo", times=None, replace_body=later)
    await download(settings, *about)
    frame = ares.load_rows("um_klines", "BTCUSDT", "1h", settings=settings)

    assert contents(settings.cache_dir) == contents(truth)
    assert frame.index[0] < pd.Timestamp("2019-09-10", tz="UTC")


@pytest.mark.parametrize(
    "symbol", ["4USDT", "42USDT", "1000000MOGUSDT", "1MBABYDOGEUSDT", "币安人生USDT", "我踏马来了USDT", "龙虾USDT"]
)  # fmt: skip
@pytest.mark.parametrize(
    "dataset", [each for each in FUTURES if each.markets[-1].name == "um"], ids=lambda each: each.name
)  # fmt: skip
def test_symbols_of_digits_and_of_other_letters_are_names(dataset, symbol):
    """A symbol of digits or of Chinese letters is one of USD-M, and its file names lead back to it."""
    series = Series.of(dataset, symbol, "1h")
    file = CacheFile.of(series, as_utc("2026-08-01"))

    assert series.market.name == "um"
    assert parse_file_name(file.name) == file


@pytest.mark.parametrize("dataset", ["um_klines", "futures", "mark_price_klines", "metrics"])
async def test_a_symbol_of_chinese_letters_is_downloaded(settings, dataset):
    """The name is encoded in addresses of archive and REST, and the file has its letters."""
    report = await download(settings, dataset, "币安人生USDT", "2026-08-01", "2026-09-01")

    assert report.complete, str(report)
    [name] = contents(settings.cache_dir)
    assert "币安人生USDT" in name


@pytest.mark.parametrize(
    ("market_name", "expected"),
    [
        ("um", {"BTCUSDT", "BTCUSDT_250627", "BTCUSDT_261225", "1000SHIBUSDT", "MATICUSDT", "币安人生USDT"}),
        ("cm", {"BTCUSD_PERP", "BTCUSD_250627", "BTCUSD_261225"}),
    ],
)  # fmt: skip
async def test_all_contracts_that_ever_were_are_listed(settings, market_name, expected):
    """Delivered contracts and settled perpetuals are listed with their last day, and can be downloaded from the table."""
    table = await ares.list_symbols(market_name, settings=settings)
    last = table.set_index("symbol")["last"]
    rows = table[table["symbol"].isin(expected)]
    report = await ares.download_universe(
        rows, "1d", start="2025-02-01", end="2025-03-01",
        datasets=[f"{market_name}_klines"], settings=settings,
    )  # fmt: skip

    assert expected <= set(table["symbol"])
    assert table.attrs["market"] == market_name
    assert (
        last[[each for each in expected if "250627" in each]] == pd.Timestamp("2025-06-27")
    ).all()
    if market_name == "um":
        assert last["MATICUSDT"] == pd.Timestamp("2024-09-10")
    assert report.complete, str(report)
    traded = {"BTCUSDT", "BTCUSDT_250627", "1000SHIBUSDT", "BTCUSD_PERP", "BTCUSD_250627"}
    assert {name.split("_1d_")[0].split("_", 1)[1] for name in contents(settings.cache_dir)} == (
        traded & expected
    )


# --- faults of each dataset ---


@pytest.mark.parametrize("dataset", FUTURES, ids=lambda each: each.name)
@pytest.mark.parametrize(
    "fault",
    [
        {"replace_body": lambda body: b"0" * 64 + body[64:]},
        {"replace_body": lambda body: body[: len(body) // 2]},
        {"status": 503},
        {"short": True},
    ],
    ids=["wrong checksum", "half a body", "503", "short"],
)
async def test_a_zip_that_does_not_come_whole_is_not_stored(settings, market, dataset, fault):
    """Where the archive alone is asked and each zip or checksum is at fault, the file fails, and the next run makes up for it."""
    about = (
        dataset.name,
        example_of(dataset),
        "2026-08-01",
        "2026-08-02" if dataset.cut == "day" else "2026-09-01",
    )
    is_checksum = "0" * 64 in str(fault.get("replace_body", lambda _: "")(b"x" * 70))
    path = r"\.CHECKSUM$" if is_checksum else r"\.zip$"
    market.fail(path, times=None, **fault)
    report = await download(settings, *about, source="archive")
    stored = contents(settings.cache_dir)
    market.faults.clear()
    again = await download(settings, *about)

    assert report.failed
    assert not stored
    assert again.complete, str(again)


def test_nothing_is_left_of_a_cache_that_was_copied_without_its_times(market, tmp_path):
    """A cache that was copied with other times is complete as it was, for each dataset."""
    settings = market.settings(cache_dir=tmp_path / "a", progress=False)
    for dataset in FUTURES:
        end = "2026-08-02" if dataset.cut == "day" else "2026-09-01"
        ares.run(download(settings, dataset.name, example_of(dataset), "2026-08-01", end))
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy)
    own = settings.replace(cache_dir=tmp_path / "b")
    before, after = ares.coverage(settings=settings), ares.coverage(settings=own)

    assert before["state"].tolist() == after["state"].tolist()
    assert set(before["dataset"]) == {each.name for each in FUTURES}
