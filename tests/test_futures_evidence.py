"""What proves that rows of futures are not there, and what only looks like proof."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime

import pytest
from test_evidence import only_after, published

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.model.time import as_utc, to_ms

NOW = datetime(2026, 10, 1, 12, 34, tzinfo=UTC)
HOUR_MS = 3_600_000


# A contract that was onboarded on 2026-06-26 at 08:00, when it began to trade.
QUARTER = "BTCUSDT_261225"


@pytest.fixture
def market():
    with DemoExchange(now=NOW, trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def exchange(market):
    """That of the fixtures that all tests share."""
    return market


@pytest.fixture
def settings(market, tmp_path):
    return market.settings(
        cache_dir=tmp_path / "cache", progress=False, max_retries=1, retry_delay_seconds=0
    )


async def download(settings, dataset, symbol, start, end, **fields):
    return await ares.download_all_data(
        symbol, "1h", start=start, end=end, datasets=[dataset],
        settings=settings.replace(**fields),
    )  # fmt: skip


def gaps(settings, dataset, symbol, end) -> list[tuple[str, str, str]]:
    """Start, end and reason of each gap."""
    table = ares.find_gaps(symbol, end=end, datasets=[dataset], settings=settings)
    times = (table[name].map(lambda at: f"{at:%Y-%m-%dT%H:%M}") for name in ("start", "end"))
    return list(zip(*times, table["reason"], strict=True))


def answer(market, path) -> bytes:
    """What the API answers to *path* without a fault."""
    with urllib.request.urlopen(f"{market.url}{path}") as reply:  # noqa: S310 - loopback
        return reply.read()


def ends_at(market, about, moment, *, newest=True) -> None:
    """Let candles of the API end at a moment; without *newest* it has no row where no time is named."""
    end_ms = to_ms(as_utc(moment))

    def early(body: bytes) -> bytes:
        rows = json.loads(body)
        return json.dumps([row for row in rows if row[0] < end_ms]).encode()

    path = about.split("?")[0]
    last = answer(market, f"{about}&interval=1h&startTime={end_ms - HOUR_MS}&endTime={end_ms - 1}")
    market.fail(f"{path}.*startTime", times=None, replace_body=early)
    market.fail(path, times=None, replace_body=last if newest else b"[]")


def without_name(market, name) -> None:
    """Let exchangeInfo of USD-M lack a symbol."""

    def drop(body: bytes) -> bytes:
        info = json.loads(body)
        info["symbols"] = [each for each in info["symbols"] if each["symbol"] != name]
        return json.dumps(info).encode()

    market.fail("/fapi/v1/exchangeInfo", times=None, replace_body=drop)


# --- an end ---


@pytest.mark.parametrize(
    ("dataset", "about"),
    [
        ("index_price_klines", "/dapi/v1/indexPriceKlines?pair=BTCUSD"),
        ("index_price_klines", "/fapi/v1/indexPriceKlines?pair=BTCUSDT"),
        ("mark_price_klines", "/dapi/v1/markPriceKlines?symbol=BTCUSD_PERP"),
        ("um_klines", "/fapi/v1/klines?symbol=BTCUSDT"),
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
async def test_silence_of_what_still_trades_is_no_delisting(
    settings, market, dataset, about, is_listed
):
    """Rows that end three weeks ago, of a contract or pair that is not over, are open, and come later."""
    symbol = about.split("=")[1]
    ends_at(market, about, "2026-09-10")
    zips = rf"{symbol}/1h/.*2026-09"
    market.withhold(zips)
    if not is_listed:
        without_name(market, symbol)
    asked_for = (dataset, symbol, "2026-08-01", "2026-09-25")
    report = await download(settings, *asked_for)
    found = gaps(settings, dataset, symbol, "2026-09-25")
    market.requests.clear()
    await download(settings, *asked_for)
    asked = len(market.requests)
    market.faults.clear()
    market.release(zips)
    healed = await download(settings, *asked_for)

    assert not report.complete
    assert found == [("2026-09-10T00:00", "2026-09-25T00:00", "unconfirmed")]
    assert 0 < asked < 12
    assert healed.complete, str(healed)
    assert gaps(settings, dataset, symbol, "2026-09-25") == []


async def test_the_index_of_a_pair_ends_with_its_last_contract(settings, market):
    """Where exchangeInfo says of all contracts of a pair that they are over, its index is delisted, too."""

    def over(body: bytes) -> bytes:
        return body.replace(b'"contractStatus":"TRADING"', b'"contractStatus":"DELIVERING"')

    ends_at(market, "/dapi/v1/indexPriceKlines?pair=BTCUSD", "2026-09-10")
    market.withhold("BTCUSD/1h/.*2026-09")
    market.fail("/dapi/v1/exchangeInfo", times=None, replace_body=over)
    about = ("index_price_klines", "BTCUSD", "2026-08-01", "2026-09-25")
    report = await download(settings, *about)

    assert report.complete, str(report)
    assert gaps(settings, *about[:2], about[3]) == [
        ("2026-09-10T00:00", "2026-09-25T00:00", "after delisting")
    ]


async def test_a_delivered_contract_leaves_the_list(settings, market):
    """Of a contract whose name tells a day that is past the API's last row is the end, though no list has it."""
    symbol, rows = "BTCUSDT_250627", "/fapi/v1/klines.*symbol=BTCUSDT_250627"
    name = f"data/futures/um/monthly/klines/{symbol}/1h/{symbol}-1h-2025-06"
    lines = [line.strip().split(",") for line in published(market, name)[1:]]
    first, last = (
        json.dumps([[int(each[0]), *each[1:6], int(each[6]), each[7], int(each[8]), *each[9:]]])
        for each in (lines[0], lines[-1])
    )
    market.fail(f"{rows}.*startTime=1&", times=None, status=200, body=first)
    market.fail(f"{rows}.*startTime", times=None, status=200, body="[]")
    market.fail(rows, times=None, status=200, body=last)
    report = await download(settings, "um_klines", symbol, "2025-06-01", "2025-07-01")

    assert report.complete, str(report)
    assert gaps(settings, "um_klines", symbol, "2025-07-01") == [
        ("2025-06-27T08:00", "2025-07-01T00:00", "after delisting")
    ]


@pytest.mark.parametrize("about", [
    "/fapi/v1/markPriceKlines?symbol=BTCUSDT", "/dapi/v1/indexPriceKlines?pair=BTCUSD",
    "/fapi/v1/premiumIndexKlines?symbol=BTCUSDT",
])  # fmt: skip
async def test_an_api_without_a_last_row_confirms_no_end(settings, market, about):
    """Where the API has old rows and no last one, its silence after them is no absence, and is asked again."""
    symbol, folder = about.split("=")[1], about.split("/")[3].split("?")[0]
    dataset = {"m": "mark_price_klines", "i": "index_price_klines", "p": "premium_index_klines"}[
        folder[0]
    ]
    zips = f"{folder}/{symbol}/1h/.*2026-09"
    ends_at(market, about, "2026-09-10", newest=False)
    market.withhold(zips)
    window = (dataset, symbol, "2026-08-01", "2026-09-25")
    report = await download(settings, *window)
    found = gaps(settings, dataset, symbol, "2026-09-25")
    market.faults.clear()
    market.release(zips)
    healed = await download(settings, *window)

    assert not report.complete
    assert found == [("2026-09-10T00:00", "2026-09-25T00:00", "unconfirmed")]
    assert healed.complete, str(healed)


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("about", [
    "/fapi/v1/markPriceKlines?symbol=BTCUSDT", "/dapi/v1/markPriceKlines?symbol=BTCUSD_PERP",
])  # fmt: skip
async def test_prices_of_the_last_hours_that_have_not_come_are_open(
    settings, market, about, newest
):
    """Mark prices that the API lacks since this morning are missing, and come once it has them."""
    symbol = about.split("=")[1]
    ends_at(market, about, "2026-10-01T03:00", newest=newest)
    window = ("mark_price_klines", symbol, "2026-09-30", "2026-10-01T12:00")
    report = await download(settings, *window)
    found = gaps(settings, *window[:2], window[3])
    market.faults.clear()
    healed = await download(settings, *window)

    assert not report.complete
    assert found == [("2026-10-01T03:00", "2026-10-01T12:00", "unconfirmed")]
    assert healed.complete, str(healed)


async def test_a_payment_that_has_not_come_is_open(settings, market):
    """A payment that is due by the hours between the earlier ones, and that the API lacks, is missing."""
    market.withhold("fundingRate/BTCUSDT/.*2026-10")
    market.now = datetime(2026, 10, 3, 12, 34, tzinfo=UTC)
    end_ms = to_ms(as_utc("2026-10-03T07:00"))

    def early(body: bytes) -> bytes:
        return json.dumps([row for row in json.loads(body) if row["fundingTime"] < end_ms]).encode()

    market.fail("/fapi/v1/fundingRate", times=None, replace_body=early)
    report = await download(settings, "futures", "BTCUSDT", "2026-10-01", "2026-10-03T12:00")
    market.faults.clear()
    healed = await download(settings, "futures", "BTCUSDT", "2026-10-01", "2026-10-03T12:00")

    assert not report.complete
    assert healed.complete, str(healed)


@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_trades_without_a_last_one_fail_the_file_alone(settings, market, source):
    """An API that has old trades by id, and none where no id is named, is told as such, and the run goes on."""
    zips = "aggTrades/MATICUSDT/.*2024-09-0[89]|monthly/aggTrades/MATICUSDT/.*2024-09"
    market.withhold(zips)
    market.fail(r"/fapi/v1/aggTrades\?(?!.*fromId)", times=None, replace_body=b"[]")
    window = ("um_agg_trades", "MATICUSDT", "2024-09-08", "2024-09-12")
    report = await download(settings, *window, source=source)
    market.faults.clear()
    market.release(zips)
    healed = await download(settings, *window, source=source)

    assert report.failed
    assert all(
        "no row, where an earlier answer had some" in str(step.error) for step in report.failed
    )
    assert healed.complete, str(healed)


# --- a beginning ---


def begins_at(market, dataset, moment) -> None:
    """Let candles of the quarter begin late in both sources, at an hour of its first month."""
    kind = "klines" if dataset == "um_klines" else "markPriceKlines"
    start_ms, path = to_ms(as_utc(moment)), f"/fapi/v1/{kind}"
    market.withhold(f"um/.*/{kind}/{QUARTER}/.*2026-0[67]")
    window = f"{path}?symbol={QUARTER}&interval=1h&startTime={start_ms}&limit=1"
    first = answer(market, window)
    market.fail(f"{path}.*startTime=1&", times=None, replace_body=first)
    market.fail(path, times=None, replace_body=only_after(moment, 0))


def onboarded_at(market, moment) -> None:
    """Let exchangeInfo tell another moment for the quarter."""
    date_ms = to_ms(as_utc(moment))

    def changed(body: bytes) -> bytes:
        info = json.loads(body)
        [one] = [each for each in info["symbols"] if each["symbol"] == QUARTER]
        one["onboardDate"] = date_ms
        return json.dumps(info).encode()

    market.fail("/fapi/v1/exchangeInfo", times=None, replace_body=changed)


@pytest.mark.parametrize("dataset", ["um_klines", "mark_price_klines"])
@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_candles_are_due_from_the_onboard_date_on(settings, market, dataset, source):
    """Candles that both sources lack after a contract was onboarded are open; those before it are explained."""
    about = (dataset, QUARTER, "2026-06-01", "2026-07-01")
    begins_at(market, dataset, "2026-06-29")
    report = await download(settings, *about, source=source)

    assert not report.complete
    found = gaps(settings, dataset, QUARTER, "2026-07-01")
    assert [each[:2] for each in found] == [
        ("2026-06-01T00:00", "2026-06-26T08:00"),
        ("2026-06-26T08:00", "2026-06-29T00:00"),
    ]
    assert found[0][2] == "before listing"
    assert found[1][2] in ("unconfirmed", "not yet published")


@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_a_first_trade_of_a_high_id_is_no_beginning_of_futures(settings, market, source):
    """Days after the onboard date are open where the first trade that the API has is not of id 0 or 1."""
    whole = settings.cache_dir / "whole"
    days = ("um_agg_trades", QUARTER, "2026-06-25", "2026-06-30")
    await download(settings, *days, cache_dir=whole)
    line = (whole / f"umaggtrades_{QUARTER}_2026-06-29.csv").read_text().splitlines()[1]
    first_id = line.split(",")[4]
    about = f"/fapi/v1/aggTrades?symbol={QUARTER}&fromId={first_id}&limit=1"
    first = answer(market, about)
    market.withhold(f"aggTrades/{QUARTER}/.*2026-06(-2[5-8]|.zip)")
    market.fail(r"/fapi/v1/aggTrades.*fromId=0&", times=None, replace_body=first)
    report = await download(settings, *days, source=source)
    found = gaps(settings, "um_agg_trades", QUARTER, "2026-06-30")

    assert int(first_id) > 10_000
    assert not report.complete
    assert [each[:2] for each in found if each[2] in ("unconfirmed", "not yet published")] == [
        ("2026-06-26T08:00", "2026-06-29T00:00")
    ]
    assert ("2026-06-25T00:00", "2026-06-26T08:00", "before listing") in found


@pytest.mark.parametrize(
    ("dataset", "is_explained"),
    [("um_klines", True), ("um_agg_trades", True), ("mark_price_klines", False)],
)
@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_nobody_traded_before_the_trade_of_id_1(
    settings, market, dataset, source, *, is_explained
):
    """Hours between the onboard date and the first trade are explained by its id, but no calculated price is."""
    onboarded_at(market, "2026-06-26T03:00")
    end = "2026-06-27" if dataset == "um_agg_trades" else "2026-07-01"
    report = await download(settings, dataset, QUARTER, "2026-06-26", end, source=source)

    assert report.complete is is_explained
    open_gaps = [
        each[:2] for each in gaps(settings, dataset, QUARTER, end) if each[2] == "unconfirmed"
    ]
    assert open_gaps == ([] if is_explained else [("2026-06-26T03:00", "2026-06-26T08:00")])


@pytest.mark.parametrize("hours", [1, 4])
@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_the_first_payment_is_due_by_the_contracts_own_hours(
    settings, market, publish_anew, hours, source
):
    """Of a contract that pays each hour or four the lost first payment is open; where it is there all is explained."""
    symbol, onboard = "SUIUSDT", to_ms(as_utc("2023-05-04T08:00"))
    times = range(onboard + hours * HOUR_MS, to_ms(as_utc("2023-06-01")), hours * HOUR_MS)
    complete = []
    for number, kept in enumerate((times, times[1:])):
        market.faults.clear()
        rows = [f"{at},{hours},0.00010000\n" for at in kept]
        publish_anew(f"{symbol}-fundingRate-2023-05", "".join(rows))
        page = [{"symbol": symbol, "fundingTime": at, "fundingRate": "0.00010000"} for at in kept]
        market.fail("/fapi/v1/fundingRate.*startTime=1&limit=1$", times=None,
                    replace_body=json.dumps(page[:1]).encode())  # fmt: skip
        market.fail("/fapi/v1/fundingRate.*startTime=1&limit=3$", times=None,
                    replace_body=json.dumps(page[:3]).encode())  # fmt: skip
        market.fail(
            "/fapi/v1/fundingRate.*startTime=1682899200000&endTime=1685577599999",
            times=None,
            replace_body=json.dumps(page).encode(),
        )
        market.fail("/fapi/v1/fundingRate.*startTime", times=None, replace_body=b"[]")
        folder = settings.cache_dir / str(number)
        own = {"cache_dir": folder, "source": source}
        report = await download(settings, "futures", symbol, "2023-05-01", "2023-06-01", **own)
        complete.append(report.complete)

    assert complete == [True, False]


# --- how evidence ages ---


@pytest.mark.parametrize("lost", [("02", "05"), ("13", "24")], ids=["inside", "to the end"])
@pytest.mark.parametrize("mended", ["2026-10-01T20:00", "2026-10-05T12:00"])
async def test_a_zip_of_yesterday_that_was_short_is_fetched_once_more(
    settings, market, publish_anew, lost, mended
):
    """Rows that yesterday's file lacked come once it has them; where it never has, asking ends."""
    name = "BTCUSDT-metrics-2026-09-30"
    lines = published(market, f"data/futures/um/daily/metrics/BTCUSDT/{name}")
    kept = [line for line in lines if not lost[0] <= line[11:13] < lost[1]]
    publish_anew(name, "".join(kept))
    about = ("metrics", "BTCUSDT", "2026-09-30", "2026-10-01")
    short = await download(settings, *about)
    market.now = datetime.fromisoformat(mended).replace(tzinfo=UTC)
    market.requests.clear()
    again = await download(settings, *about)
    asked = len(market.requests)
    market.faults.clear()
    healed = await download(settings, *about)
    market.requests.clear()
    settled = await download(settings, *about)

    assert not short.complete
    assert not again.complete
    assert 0 < asked < 10
    assert len(market.requests) == 0
    # An answer of days later is final.
    is_early = mended < "2026-10-02"
    assert (healed.complete, settled.complete) == (is_early, is_early)
    assert "the only source" in str(again)
