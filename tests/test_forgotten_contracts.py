"""Contracts that the API has forgotten: what then tells whether there was one, when it ended, and what is late."""

from __future__ import annotations

import hashlib
import io
import json
import re
import urllib.request
import zipfile
from datetime import UTC, datetime

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.model.symbols import delivery_ms
from ares_notebook.model.time import as_utc, to_ms

NOW = datetime(2026, 10, 1, 12, 34, tzinfo=UTC)
# Settled on 2024-09-10 at 03:00.
SETTLED = "MATICUSDT"
REFUSAL = b'{"code":-1121,"msg":"Invalid symbol."}'


@pytest.fixture
def market():
    with DemoExchange(now=NOW, trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def settings(market, tmp_path):
    return market.settings(
        cache_dir=tmp_path / "cache", progress=False, max_retries=1, retry_delay_seconds=0
    )


def forget(market, symbol, api="fapi/v1"):
    """Let API and exchangeInfo of a market know nothing of a symbol any more."""

    def without(body: bytes) -> bytes:
        info = json.loads(body)
        info["symbols"] = [each for each in info["symbols"] if each["symbol"] != symbol]
        return json.dumps(info).encode()

    market.fail(
        rf"{api}/(\w*[kK]lines|aggTrades).*{symbol}", times=None, status=400, body=REFUSAL,
        content_type="application/json",
    )  # fmt: skip
    market.fail(f"{api}/exchangeInfo", times=None, replace_body=without)


async def download(settings, datasets, symbol, start, end, *, interval="1h", **fields):
    return await ares.download_all_data(
        symbol, interval, start=start, end=end, datasets=datasets,
        settings=settings.replace(**fields),
    )  # fmt: skip


def rows_by_dataset(report) -> dict[str, int]:
    rows: dict[str, int] = {}
    for step in report.steps:
        rows[step.dataset] = rows.get(step.dataset, 0) + step.rows
    return rows


# --- whether there was one ---


@pytest.mark.parametrize(
    ("datasets", "interval", "missing"),
    [
        (["um_klines", "um_agg_trades", "metrics", "klines"], "1w", "/um/.*/1w/"),
        (["mark_price_klines", "metrics"], "3d", "/um/.*/3d/"),
        (["premium_index_klines", "metrics", "klines"], "1h", "premiumIndexKlines"),
        (["um_klines", "metrics"], "1h", "um/.*/klines"),
    ],
)
async def test_a_folder_that_is_missing_denies_no_contract(
    settings, market, datasets, interval, missing
):
    """Of a contract that is in the archive all rows come, also if one dataset or interval of it has no folder."""
    forget(market, SETTLED)
    market.withhold(missing)
    report = await download(
        settings, datasets, SETTLED, "2024-08-05", "2024-08-12", interval=interval
    )
    rows = rows_by_dataset(report)

    assert not report.failed, str(report)
    assert "no perpetual" not in str(report)
    assert not report.complete
    assert rows["metrics"] == 11 * 288
    assert rows.get("um_agg_trades", 10_000) >= 10_000


async def test_funding_alone_denies_no_contract(settings, market):
    """That the archive has no funding of a forgotten contract proves no missing contract, where it has candles."""
    forget(market, SETTLED)
    market.fail("fapi/v1/fundingRate", times=None, replace_body=b"[]")
    market.withhold(f"fundingRate/{SETTLED}")
    report = await download(settings, ["futures", "klines"], SETTLED, "2024-08-01", "2024-09-01")

    assert "no perpetual" not in str(report)
    assert not report.complete


async def test_one_endpoint_denies_no_contract(settings, market):
    """A contract of which one endpoint has no row is downloaded from those that have, without the archive."""
    forget(market, SETTLED)
    market.faults.clear()
    forget(market, SETTLED, "fapi/v1(?!.*premium)")
    datasets = ["um_klines", "premium_index_klines"]
    report = await download(settings, datasets, SETTLED, "2024-08-01", "2024-09-01", source="rest")

    assert "there are no" not in str(report)
    assert rows_by_dataset(report)["premium_index_klines"] == 31 * 24


async def test_cached_rows_of_any_dataset_contradict(settings, market):
    """Where the cache has rows of one dataset of a contract, no other is called one that never was."""
    await download(settings, ["mark_price_klines"], "BTCUSDT", "2026-08-01", "2026-09-01")
    forget(market, "BTCUSDT")
    market.withhold("data/futures/um/.*BTCUSDT")
    report = await download(
        settings, ["um_klines", "mark_price_klines", "klines"], "BTCUSDT",
        "2026-08-01", "2026-09-02",
    )  # fmt: skip

    assert not report.complete
    assert "there is no perpetual" not in str(report)


async def test_a_spot_symbol_without_weeks_is_known(settings, market):
    """A spot symbol that the API refuses is known by its days and trades in the archive, also if it has no weeks there."""
    market.fail(
        "api/v3/.*BTCUSDT", times=None, status=400, body=REFUSAL, content_type="application/json"
    )
    market.withhold("spot/.*/1w/")
    report = await download(
        settings, ["klines", "agg_trades"], "BTCUSDT", "2024-08-05", "2024-08-12", interval="1w"
    )

    assert rows_by_dataset(report)["agg_trades"] >= 10_000
    assert not report.complete


async def test_candles_of_a_contract_without_funding_make_a_name_right(settings, market):
    """A forgotten contract without a spot symbol of its name is known by its candles, also if it has no funding."""
    forget(market, SETTLED)
    refused = {"status": 400, "body": REFUSAL, "content_type": "application/json"}
    market.fail(f"api/v3/.*{SETTLED}", times=None, **refused)
    market.withhold(f"data/spot/.*{SETTLED}|fundingRate/{SETTLED}")
    report = await download(settings, ["klines", "um_klines"], SETTLED, "2024-08-01", "2024-09-01")

    assert rows_by_dataset(report) == {"um_klines": 31 * 24}


async def test_a_name_that_nobody_has_is_denied_still(settings):
    """Of a spot symbol without a contract of its name no folder is found, and the report says so."""
    report = await download(settings, ["futures", "klines"], "ETHBTC", "2026-08-01", "2026-08-03")

    assert report.complete
    assert "there is no perpetual of this name" in str(report)


# --- when it ended ---


def read(market, key) -> list[str]:
    """The lines of a zip of the archive."""
    url = f"{market.url}/data/futures/{key}.zip"
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the demo's own address
        packed = zipfile.ZipFile(io.BytesIO(answer.read()))
    return packed.read(packed.namelist()[0]).decode().splitlines(keepends=True)


def cut_short(market, key, until):
    """Publish a zip again without its rows from a moment on."""
    column = 5 if "aggTrades" in key else 0
    until_ms = to_ms(as_utc(until))
    lines = read(market, key)
    kept = [
        each for each in lines if not each[0].isdigit() or int(each.split(",")[column]) < until_ms
    ]
    packed, name = io.BytesIO(), key.rpartition("/")[2]
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}.csv", "".join(kept))
    body = packed.getvalue()
    words = f"{hashlib.sha256(body).hexdigest()}  {name}.zip".encode()
    market.fail(f"{key}.zip.CHECKSUM$", times=None, replace_body=words)
    market.fail(f"{key}.zip$", times=None, replace_body=body)
    assert 0 < len(kept) < len(lines)


def gaps_of(settings, dataset, symbol, start, end, *, interval="1h") -> list[tuple[str, str, str]]:
    table = ares.find_gaps(
        symbol, interval, start=start, end=end, datasets=[dataset], settings=settings
    )
    return [
        (f"{each.start:%m-%d %H:%M}", f"{each.end:%m-%d %H:%M}", each.reason)
        for each in table.itertuples()
    ]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("BTCUSDT_250627", "2025-06-27T08:00"),
        ("BTCUSD_200925", "2020-09-25T08:00"),
        ("BTCUSDT", None),
        ("BTCUSD_PERP", None),
        ("BTCUSDT_251399", None),
    ],
)
def test_the_name_of_a_delivery_contract_tells_its_end(name, ends):
    """A delivery contract ends at 08:00 UTC of the date in its name, and no other name tells an end."""
    assert delivery_ms(name) == (to_ms(as_utc(ends)) if ends else None)


@pytest.mark.parametrize(
    ("dataset", "symbol", "folder"),
    [
        ("um_klines", "BTCUSDT_250627", "um/{}/klines"),
        ("cm_klines", "BTCUSD_250627", "cm/{}/klines"),
        ("mark_price_klines", "BTCUSD_250627", "cm/{}/markPriceKlines"),
    ],
)
async def test_a_contract_ends_at_its_delivery(settings, market, dataset, symbol, folder):
    """Candles that are missing before the delivery of a forgotten contract are not after its end, and are asked for once."""
    key = f"{folder.format('monthly')}/{symbol}/1h/{symbol}-1h-2025-06"
    cut_short(market, key, "2025-06-20")
    market.withhold(f"{folder.format('daily')}/{symbol}/1h/.*2025-06-2")
    about = ([dataset], symbol, "2025-06-01", "2025-07-01")
    report = await download(settings, *about)
    again = await download(settings, *about)

    assert (report.rows_written, report.complete, report.failed) == (19 * 24, False, ())
    assert (again.requests, again.complete) == (0, False)
    assert gaps_of(settings, dataset, *about[1:]) == [
        ("06-20 00:00", "06-27 08:00", "unconfirmed"),
        ("06-27 08:00", "07-01 00:00", "after delisting"),
    ]


@pytest.mark.parametrize("until", ["2025-06-25T04:01", "2025-06-25T23:30"])
async def test_trades_end_at_the_delivery(settings, market, until):
    """Days of trades that are missing or cut short before the delivery of a forgotten contract stay open."""
    symbol, start, end = "BTCUSDT_250627", "2025-06-24", "2025-06-29"
    market.withhold(r"monthly/aggTrades|aggTrades.*2025-06-2[67]")
    cut_short(market, f"um/daily/aggTrades/{symbol}/{symbol}-aggTrades-2025-06-25", until)
    report = await download(settings, ["um_agg_trades"], symbol, start, end)
    again = await download(settings, ["um_agg_trades"], symbol, start, end)
    gaps = gaps_of(settings, "um_agg_trades", symbol, start, end)

    assert not report.complete
    assert (again.requests, again.complete) == (0, False)
    assert "not yet published" not in str(again)
    assert gaps[-2][0].startswith(f"{as_utc(until):%m-%d %H}:")
    assert [each[1:] for each in gaps[-2:]] == [
        ("06-27 08:00", "unconfirmed"), ("06-29 00:00", "after delisting"),
    ]  # fmt: skip


async def test_a_last_day_that_is_cut_short_stays_open(settings, market):
    """A last trade half an hour before the delivery is not taken for the last of all; that of the whole day is."""
    symbol, start, end = "BTCUSDT_250627", "2025-06-26", "2025-06-28"
    await download(settings, ["um_agg_trades"], symbol, start, end)
    whole = gaps_of(settings, "um_agg_trades", symbol, "2025-06-27", end)
    market.withhold("monthly/aggTrades")
    cut_short(
        market, f"um/daily/aggTrades/{symbol}/{symbol}-aggTrades-2025-06-27", "2025-06-27T07:30"
    )
    folder = settings.replace(cache_dir=settings.cache_dir / "cut")
    report = await download(folder, ["um_agg_trades"], symbol, start, end)
    gaps = gaps_of(folder, "um_agg_trades", symbol, "2025-06-27", end)

    assert whole == []
    assert not report.complete
    assert [each[1:] for each in gaps] == [("06-27 08:00", "unconfirmed")]


@pytest.mark.parametrize("interval", ["1h", "1d"])
@pytest.mark.parametrize("dataset", ["um_klines", "mark_price_klines"])
async def test_a_whole_contract_is_complete(settings, dataset, interval):
    """Candles of a delivery contract up to its delivery are complete, in each interval."""
    about = ([dataset], "BTCUSDT_250627", "2025-05-01", "2025-08-01")
    report = await download(settings, *about, interval=interval)

    assert report.complete, str(report)


def forget_after(market, path, moment, row):
    """Let an endpoint have no row from a moment on: *row* is the newest that it has."""

    def before(body: bytes) -> bytes:
        return json.dumps([each for each in json.loads(body) if each[0] < moment]).encode()

    market.fail(f"{path}(?!.*Time)", times=None, replace_body=json.dumps([row]).encode())
    market.fail(path, times=None, replace_body=before)


async def test_a_settled_contract_ends_on_its_date(settings, market):
    """Where API and archive end before the deliveryDate of a settled contract, what is between is open, and asked again."""
    until = "2024-09-05"
    line = read(market, f"um/daily/klines/{SETTLED}/1h/{SETTLED}-1h-2024-09-04")[-1].split(",")
    forget_after(
        market,
        "/fapi/v1/klines",
        to_ms(as_utc(until)),
        [int(line[0]), *line[1:6], int(line[6]), line[7], int(line[8]), *line[9:]],
    )
    cut_short(market, f"um/monthly/klines/{SETTLED}/1h/{SETTLED}-1h-2024-09", until)
    market.withhold(f"daily/klines/{SETTLED}/1h/.*2024-09-(0[5-9]|1)")
    about = (SETTLED, "2024-09-01", "2024-10-01")
    report = await download(settings, ["um_klines"], *about)
    market.faults.clear()
    market.release(f"daily/klines/{SETTLED}/1h/.*2024-09-(0[5-9]|1)")
    gaps = gaps_of(settings, "um_klines", *about)
    again = await download(settings, ["um_klines"], *about)

    assert not report.complete
    assert gaps == [
        ("09-05 00:00", "09-10 03:00", "unconfirmed"),
        ("09-10 03:00", "10-01 00:00", "after delisting"),
    ]
    assert (again.complete, again.rows_written) == (True, 5 * 24 + 3)


@pytest.mark.parametrize("dataset", ["um_klines", "um_agg_trades", "futures", "mark_price_klines"])
async def test_a_settled_contract_is_complete_at_its_date(settings, dataset):
    """All datasets of a settled contract are complete where the exchange has all rows up to its deliveryDate."""
    report = await download(settings, [dataset], SETTLED, "2024-09-09", "2024-09-13")

    assert report.complete, str(report)


# --- what is not there any more ---


@pytest.mark.parametrize("interval", ["1h", "1w"])
async def test_months_before_a_forgotten_listing_are_asked_for_once(settings, interval):
    """Months before the first file of a forgotten contract are unconfirmed, and no later run asks for them."""
    about = (["um_klines"], "BTCUSDT_250627", "2024-10-01", "2025-02-01")
    report = await download(settings, *about, interval=interval)
    again = await download(settings, *about, interval=interval)
    reasons = {each[2] for each in gaps_of(settings, "um_klines", *about[1:], interval=interval)}

    assert not report.failed
    assert (again.requests, again.complete) == (0, False)
    assert reasons == {"unconfirmed"}
    assert "run again later" not in str(report)


async def test_an_interval_that_is_not_published_is_asked_for_once(settings, market):
    """Weeks of a forgotten contract that has no folder of them are unconfirmed, and no later run asks for them."""
    market.withhold("/um/.*/1w/")
    about = (["um_klines"], "BTCUSDT_250627", "2025-03-03", "2025-03-10")
    report = await download(settings, *about, interval="1w")
    again = await download(settings, *about, interval="1w")

    assert not report.failed
    assert (again.requests, again.complete) == (0, False)


# --- what the listing does not tell ---


def end_listing(market, until):
    """Let the listing of the archive of futures end on a day, and hide no file."""

    def ends_early(body: bytes) -> bytes:
        def kept(entry: re.Match[str]) -> str:
            found = re.search(r"-(\d{4}-\d{2}(?:-\d{2})?)\.zip", entry[0])
            return "" if found and found[1] > until[: len(found[1])] else entry[0]

        return re.sub("<Contents>.*?</Contents>", kept, body.decode(), flags=re.DOTALL).encode()

    market.fail("prefix=data/futures", times=None, replace_body=ends_early)


@pytest.mark.parametrize(
    ("dataset", "rows"),
    [("um_klines", 17 * 24), ("mark_price_klines", 17 * 24), ("um_agg_trades", 40_000)],
)
async def test_a_day_that_is_missing_behind_a_listing_ends_no_contract(
    settings, market, dataset, rows
):
    """Of a forgotten contract the days behind a listing that ended early come, also if the first of them are missing."""
    forget(market, SETTLED)
    end_listing(market, "2024-03-03")
    # Of trades the days before come from the request's start alone.
    market.withhold(r"2024-06-1[12]\.zip|monthly/.*2024-06\.zip")
    about = ([dataset], SETTLED, "2024-06-11", "2024-06-20")
    report = await download(settings, *about)
    # Of days that are not there the API is asked once more by the next run.
    await download(settings, *about)
    again = await download(settings, *about)
    gaps = gaps_of(settings, dataset, *about[1:])

    assert not report.failed
    assert report.rows_written >= rows
    assert (again.requests, again.complete) == (0, False)
    assert ("06-11 00:00", "06-13 00:00", "unconfirmed") in [
        (each[0], f"{each[1][:5]} 00:00", each[2]) for each in gaps
    ]
    assert "after delisting" not in {each[2] for each in gaps}


async def test_a_quarter_that_is_missing_hides_no_later_day(settings, market):
    """Of open interest the days behind 97 missing ones come, although the listing ended before them, and are asked for once."""
    end_listing(market, "2024-03-03")
    market.withhold(r"cm/daily/metrics/.*(2024-03-(0[4-9]|[12]\d|3[01])|2024-0[45]|2024-06-0[1-8])")
    about = (["metrics"], "BTCUSD_PERP", "2024-03-01", "2024-07-01")
    report = await download(settings, *about)
    requests = [each.path for each in market.requests if each.path.endswith("CHECKSUM")]
    again = await download(settings, *about)

    # Another day of June is missing for all.
    assert report.rows_written == 23 * 288
    # Each day of the four months, and a few in doubling distances.
    assert len(requests) < 122 + 15
    assert again.requests == 0


async def test_files_of_later_months_contradict_an_end(settings, market):
    """Where the archive lists no more days of a month and some of a later one, a forgotten contract has not ended."""
    forget(market, SETTLED)
    market.withhold(r"monthly/aggTrades|aggTrades/.*2024-0(7-2[5-9]|7-3|8)")
    report = await download(settings, ["um_agg_trades"], SETTLED, "2024-07-23", "2024-07-28")

    assert not report.complete
    assert "after delisting" not in {
        each[2] for each in gaps_of(settings, "um_agg_trades", SETTLED, "2024-07-23", "2024-07-28")
    }


async def test_the_end_of_a_listing_is_looked_behind_once(settings, market):
    """Months after the end of a forgotten contract are after delisting, and cost a few requests each, none of them twice."""
    forget(market, SETTLED)
    about = (["um_klines"], SETTLED, "2024-09-01", "2026-01-01")
    report = await download(settings, *about)
    probes = [each.path for each in market.requests if "CHECKSUM" in each.path]

    assert report.complete, str(report)
    assert len(probes) == len(set(probes)) < 8 * 16
    assert {each[2] for each in gaps_of(settings, "um_klines", *about[1:])} == {"after delisting"}
