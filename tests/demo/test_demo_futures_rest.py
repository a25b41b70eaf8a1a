"""The APIs of USD-M and COIN-M answer as Binance's do."""

from __future__ import annotations

import csv
import io
import itertools
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from conftest import Ask, Reply, ask_of

from ares_notebook.demo import DemoExchange

NOW = datetime(2026, 10, 1, 12, 34, 17, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
HOUR, DAY = 3_600_000, 86_400_000
UM = {"symbol": "BTCUSDT", "interval": "1h"}
CM = {"symbol": "BTCUSD_PERP", "interval": "1h"}
APIS = {"um": "fapi", "cm": "dapi"}
HELD = "/futures/data/openInterestHist"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def futures() -> Iterator[DemoExchange]:
    with DemoExchange(now=NOW, window_seconds=1_000_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def ask(futures: DemoExchange) -> Ask:
    def ask_futures(path: str, **query: object) -> Reply:
        return ask_of(futures, path, {}, **query)

    return ask_futures


def archived(ask: Ask, key: str) -> list[list[str]]:
    """Rows of a file of futures, without its header."""
    body = ask(f"/data/futures/{key}.zip").body
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        rows = list(csv.reader(io.StringIO(archive.read(archive.namelist()[0]).decode())))
    return rows[0 if rows[0][0].isdigit() else 1 :]


@pytest.mark.parametrize(
    ("product", "kind", "name"),
    [
        ("um", "klines", "BTCUSDT"),
        ("um", "klines", "BTCUSDT_250627"),
        ("um", "markPriceKlines", "SOLUSDT"),
        ("um", "indexPriceKlines", "1000SHIBUSDT"),
        ("um", "premiumIndexKlines", "BTCUSDT"),
        ("cm", "klines", "BTCUSD_PERP"),
        ("cm", "markPriceKlines", "BTCUSD_250627"),
        ("cm", "indexPriceKlines", "ETHUSD"),
        ("cm", "premiumIndexKlines", "ETHUSD_PERP"),
    ],
)
def test_klines_of_both_sources_agree(
    futures: DemoExchange, ask: Ask, product: str, kind: str, name: str
) -> None:
    """Archive and REST have the same k-lines of each kind, digit by digit, across gaps and quiet minutes."""
    field = "pair" if kind == "indexPriceKlines" else "symbol"
    for date in ("2025-03-03", "2025-02-20"):
        rows = archived(ask, f"{product}/daily/{kind}/{name}/1m/{name}-1m-{date}")
        query = {
            field: name,
            "interval": "1m",
            "startTime": ms(date),
            "endTime": ms(date) + DAY - 1,
        }
        # A delivered contract is gone from REST.
        futures.now = datetime(2025, 4, 1, tzinfo=UTC) if name.endswith("27") else NOW
        page = ask(f"/{APIS[product]}/v1/{kind}", **query, limit=1_500).json
        futures.now = NOW
        has_gap = date == "2025-02-20" and kind in ("markPriceKlines", "indexPriceKlines")
        assert len(rows) == 1_440 - 21 * has_gap
        assert [[str(cell) for cell in row] for row in page] == rows


def test_rest_begins_before_the_archive(ask: Ask) -> None:
    """REST has the first hours of BTCUSD_PERP, the file of that month begins a day later."""
    rows = archived(ask, "cm/monthly/klines/BTCUSD_PERP/1h/BTCUSD_PERP-1h-2020-08")
    query = {**CM, "startTime": ms("2020-08-01"), "endTime": ms("2020-08-12"), "limit": 1_500}
    page = ask("/dapi/v1/klines", **query).json

    assert int(rows[0][0]) == ms("2020-08-11")
    assert page[0][0] == ms("2020-08-10T07:00")


@pytest.mark.parametrize(
    ("api", "product", "symbol"), [("fapi", "um", "ETHUSDT"), ("dapi", "cm", "ETHUSD_PERP")]
)
def test_trades_of_both_sources_agree(ask: Ask, api: str, product: str, symbol: str) -> None:
    """Archive and REST have the same trades: numbers alike, REST padded, ids and times equal."""
    rows = archived(ask, f"{product}/daily/aggTrades/{symbol}/{symbol}-aggTrades-2024-05-06")
    page = ask(f"/{api}/v1/aggTrades", symbol=symbol, fromId=rows[100][0], limit=1_000).json

    for row, sent in zip(rows[100:1_100], page, strict=True):
        assert [float(row[1]), float(row[2])] == [float(sent["p"]), float(sent["q"])]
        found = [str(sent[name]) for name in ("a", "f", "l", "T", "m")]
        assert [row[at] for at in (0, 3, 4, 5, 6)] == [*found[:4], found[4].lower()]
        assert sent.get("nq", sent["q"]) == sent["q"]
    assert list(page[0]) == (
        ["a", "p", "q", "nq", "f", "l", "T", "m"]
        if api == "fapi"
        else ["a", "p", "q", "f", "l", "T", "m"]
    )
    assert len({len(sent["q"].partition(".")[2]) for sent in page}) == 1


def test_coin_margined_funding_of_both_sources_agrees(ask: Ask) -> None:
    """Funding of BTCUSD_PERP is alike in both sources; REST wants a symbol and writes no exponent."""
    rows = archived(ask, "cm/monthly/fundingRate/BTCUSD_PERP/BTCUSD_PERP-fundingRate-2024-05")
    query = {"startTime": rows[0][0], "endTime": rows[-1][0], "limit": 1_000}
    page = ask("/dapi/v1/fundingRate", symbol="BTCUSD_PERP", **query).json
    whole = ask("/dapi/v1/fundingRate", symbol="BTCUSD_PERP", startTime=0, limit=1_000).json

    assert [(int(row[0]), float(row[2])) for row in rows] == [
        (row["fundingTime"], float(row["fundingRate"])) for row in page
    ]
    assert all("E" not in row["fundingRate"] for row in whole)
    assert ms("2020-08-10T08:00") == whole[0]["fundingTime"] // 1_000 * 1_000
    assert ask("/dapi/v1/fundingRate", symbol="BTCUSD_261225").body == b"[]"
    assert ask("/dapi/v1/fundingRate").json["code"] == -1102


@pytest.mark.parametrize(
    "kind", ["klines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines"]
)
def test_coin_margined_windows_hold_200_days_and_the_newest_rows(ask: Ask, kind: str) -> None:
    """On COIN-M a longer window is -4088; of one with too many rows the newest come, in order."""
    query = {"pair" if kind == "indexPriceKlines" else "symbol": "BTCUSD_PERP", "interval": "1h"}
    if "pair" in query:
        query["pair"] = "BTCUSD"
    path, start = f"/dapi/v1/{kind}", ms("2025-01-01")
    exact = ask(path, **query, startTime=start, endTime=start + 200 * DAY)
    beyond = ask(path, **query, startTime=start, endTime=start + 200 * DAY + 1)
    alone = ask(path, **query, startTime=start).json
    short = ask(path, **query, startTime=start, endTime=start + 5 * HOUR, limit=3).json

    assert (beyond.status, beyond.body) == (
        400, b'{"code":-4088,"msg":"Maximum time interval is 200 days."}',
    )  # fmt: skip
    assert exact.json == alone
    assert (len(alone), alone[-1][0]) == (500, start + 200 * DAY)
    assert [row[0] for row in short] == [start + 3 * HOUR, start + 4 * HOUR, start + 5 * HOUR]


@pytest.mark.parametrize("kind", ["klines", "premiumIndexKlines"])
def test_usd_margined_windows_hold_the_oldest_rows(ask: Ask, kind: str) -> None:
    """On USD-M a window may be of any length, and the oldest rows of it come."""
    start = ms("2021-01-01")
    page = ask(f"/fapi/v1/{kind}", **UM, startTime=start, endTime=NOW_MS, limit=3).json

    assert [row[0] for row in page] == [start, start + HOUR, start + 2 * HOUR]


def test_pages_have_at_most_1500_klines(ask: Ask) -> None:
    """A page of futures has 500 k-lines by default and 1,500 at the most, the newest without times."""
    for path, query in (("/fapi/v1/markPriceKlines", UM), ("/dapi/v1/klines", CM)):
        assert len(ask(path, **query).json) == 500
        page = ask(path, **query, limit=2_000).json
        assert len(page) == 1_500
        assert page[-1][0] == NOW_MS - NOW_MS % HOUR


def test_the_candle_in_progress_grows(ask: Ask, futures: DemoExchange) -> None:
    """The last mark price candle has a sample a second that is over, and no later price."""
    [row] = ask("/fapi/v1/markPriceKlines", symbol="BTCUSDT", interval="1m", limit=1).json
    futures.now = datetime(2026, 10, 1, 12, 36, tzinfo=UTC)
    [whole] = ask(
        "/fapi/v1/markPriceKlines", symbol="BTCUSDT", interval="1m", startTime=row[0], limit=1
    ).json
    futures.now = NOW

    assert (row[0], row[8]) == (NOW_MS - 17_000, 18)
    assert row[1] == row[2] == row[3] == row[4] == whole[1]
    assert whole[8] == 60


def test_gaps_in_prices_are_empty_at_rest(ask: Ask) -> None:
    """Minutes missing from mark price and index are [] at REST, and no error."""
    window = {"startTime": ms("2024-08-12T06:03"), "endTime": ms("2024-08-12T06:20")}
    um = {"interval": "1m", **window}

    assert ask("/fapi/v1/markPriceKlines", symbol="BTCUSDT", **um).body == b"[]"
    assert ask("/dapi/v1/indexPriceKlines", pair="BTCUSD", **um).body == b"[]"
    assert len(ask("/fapi/v1/premiumIndexKlines", symbol="BTCUSDT", **um).json) == 18
    assert len(ask("/fapi/v1/klines", symbol="BTCUSDT", **um).json) == 18


def test_trades_by_time_end_after_48_hours(ask: Ask) -> None:
    """USD-M finds trades by time for 48 hours only, by id always; COIN-M finds all of them."""
    path, symbol = "/fapi/v1/aggTrades", {"symbol": "BTCUSDT"}
    edge = NOW_MS - 48 * HOUR
    late = ask(path, **symbol, startTime=edge - 1)

    assert (late.status, late.body) == (
        400, b'{"code":-4166,"msg":"Search window is restricted to recent 2 days only"}',
    )  # fmt: skip
    assert ask(path, **symbol, endTime=edge - 1).json["code"] == -4166
    near = ask(path, **symbol, startTime=edge, endTime=edge + HOUR, limit=5).json
    assert len(near) == 5
    assert ask(path, **symbol, fromId=near[0]["a"], limit=5).json == near
    assert ask(path, **symbol, fromId=1, limit=1).json[0]["T"] // DAY == ms("2019-09-08") // DAY
    old = ask("/dapi/v1/aggTrades", symbol="BTCUSD_PERP", startTime=ms("2023-01-01"), limit=1).json
    assert ms("2023-01-01") <= old[0]["T"] < ms("2023-01-01T00:01")


def test_trades_by_time_come_for_an_hour(ask: Ask) -> None:
    """A window of trades longer than an hour is an error on futures."""
    start = NOW_MS - 3 * HOUR
    for path, symbol in (("/fapi/v1/aggTrades", "BTCUSDT"), ("/dapi/v1/aggTrades", "BTCUSD_PERP")):
        reply = ask(path, symbol=symbol, startTime=start, endTime=start + HOUR + 1)
        assert (reply.status, reply.json["code"]) == (400, -1127)
        assert len(ask(path, symbol=symbol, startTime=start, endTime=start + HOUR).json) == 500


def test_exchange_info_of_usd_margined_contracts(ask: Ask, futures: DemoExchange) -> None:
    """ExchangeInfo has perpetuals, quarters with their delivery, and SETTLING ones; delivered ones are gone."""
    info = {one["symbol"]: one for one in ask("/fapi/v1/exchangeInfo").json["symbols"]}
    futures.now = datetime(2025, 1, 5, tzinfo=UTC)
    earlier = {one["symbol"]: one for one in ask("/fapi/v1/exchangeInfo").json["symbols"]}
    futures.now = NOW

    perpetual, settled, quarter = (
        info[name] for name in ("BTCUSDT", "MATICUSDT", "BTCUSDT_261225")
    )
    assert (perpetual["contractType"], perpetual["status"]) == ("PERPETUAL", "TRADING")
    assert (perpetual["onboardDate"], perpetual["deliveryDate"]) == (
        ms("2019-09-08T18:00"), 4_133_404_800_000,
    )  # fmt: skip
    assert (settled["status"], settled["deliveryDate"]) == ("SETTLING", ms("2024-09-10T03:00"))
    assert (quarter["contractType"], quarter["pair"]) == ("CURRENT_QUARTER", "BTCUSDT")
    assert quarter["deliveryDate"] == ms("2026-12-25T08:00")
    assert "BTCUSDT_250627" not in info
    assert earlier["BTCUSDT_250627"]["contractType"] == "NEXT_QUARTER"
    assert ask("/fapi/v1/klines", symbol="BTCUSDT_250627", interval="1h").json["code"] == -1121


def test_exchange_info_of_coin_margined_contracts(ask: Ask) -> None:
    """ExchangeInfo of COIN-M has contractStatus, contractSize and the pair instead of status."""
    info = {one["symbol"]: one for one in ask("/dapi/v1/exchangeInfo").json["symbols"]}

    assert sorted(info) == ["BTCUSD_261225", "BTCUSD_PERP", "ETHUSD_PERP"]
    one = info["BTCUSD_PERP"]
    assert "status" not in one
    assert (one["contractStatus"], one["contractSize"], one["pair"]) == ("TRADING", 100, "BTCUSD")
    assert info["ETHUSD_PERP"]["contractSize"] == 10
    assert (one["quoteAsset"], one["marginAsset"]) == ("USD", "BTC")
    assert ask("/dapi/v1/time").json == {"serverTime": NOW_MS}


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/dapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1h"}, -1121),
        ("/fapi/v1/klines", CM, -1121),
        ("/fapi/v1/indexPriceKlines", {"symbol": "BTCUSDT", "interval": "1h"}, -1102),
        ("/dapi/v1/indexPriceKlines", {"pair": "BTCUSD_PERP", "interval": "1h"}, -1121),
        ("/fapi/v1/markPriceKlines", {**UM, "interval": "1s"}, -1120),
        ("/dapi/v1/klines", {**CM, "startTime": 5, "endTime": 4}, -1023),
        ("/fapi/v1/markPriceKlines", {**UM, "startTime": 5, "endTime": 4}, -1023),
        (HELD, {"symbol": "NOPEUSDT", "period": "5m"}, -1121),
        (HELD, {"symbol": "BTCUSDT"}, -1102),
        (HELD, {"symbol": "BTCUSDT", "period": "3d"}, -1130),
        (HELD, {"pair": "BTCUSD", "period": "5m"}, -1102),
    ],
)
def test_what_is_refused(ask: Ask, path: str, query: dict[str, object], code: int) -> None:
    """A wrong symbol, pair, interval or period is refused with Binance's code."""
    reply = ask(path, **query)

    assert (reply.status, reply.json["code"]) == (400, code)


def test_statistics_end_after_30_days(ask: Ask) -> None:
    """Open interest and ratios of more than 30 days ago are refused, message before code."""
    query = {"symbol": "BTCUSDT", "period": "5m"}
    edge = NOW_MS - 30 * DAY
    for kind in ("openInterestHist", "takerlongshortRatio", "globalLongShortAccountRatio"):
        path = f"/futures/data/{kind}"
        late = ask(path, **query, startTime=edge - 1)
        assert late.status == 400
        assert late.body == b"""{"msg":"parameter 'startTime' is invalid.","code":-1130}"""
        first = ask(path, **query, startTime=edge, limit=1).json[0]["timestamp"]
        assert first == -(-edge // 300_000) * 300_000


def test_statistics_have_the_fields_of_their_kind(ask: Ask) -> None:
    """Each kind has 30 rows by default, 500 at the most, and the fields that Binance has."""
    fields = {
        "openInterestHist": {"symbol", "sumOpenInterest", "sumOpenInterestValue"},
        "topLongShortAccountRatio": {"symbol", "longShortRatio", "longAccount", "shortAccount"},
        "topLongShortPositionRatio": {"symbol", "longShortRatio", "longAccount", "shortAccount"},
        "globalLongShortAccountRatio": {"symbol", "longShortRatio", "longAccount", "shortAccount"},
        "takerlongshortRatio": {"buySellRatio", "buyVol", "sellVol"},
    }
    for kind, names in fields.items():
        page = ask(f"/futures/data/{kind}", symbol="BTCUSDT", period="15m").json
        times = [row["timestamp"] for row in page]
        assert set(page[0]) == names | {"timestamp"}
        assert times == list(range(times[0], times[0] + 30 * 900_000, 900_000))
        assert (
            len(ask(f"/futures/data/{kind}", symbol="BTCUSDT", period="5m", limit=900).json) == 500
        )
    held = ask(HELD, symbol="BTCUSDT", period="1h", limit=500).json
    walk = [float(row["sumOpenInterest"]) for row in held]
    assert min(walk) > 0
    assert max(abs(b / a - 1) for a, b in itertools.pairwise(walk)) < 0.05


def test_taker_volumes_are_those_of_the_klines(ask: Ask) -> None:
    """Bought and sold volumes of takers of an hour are those of its k-line."""
    page = ask("/futures/data/takerlongshortRatio", symbol="BTCUSDT", period="1h", limit=3).json
    rows = ask("/fapi/v1/klines", **UM, startTime=page[0]["timestamp"], limit=3).json

    for taker, row in zip(page, rows, strict=True):
        assert taker["timestamp"] == row[0]
        assert float(taker["buyVol"]) == pytest.approx(float(row[9]))
        assert float(taker["sellVol"]) == pytest.approx(float(row[5]) - float(row[9]))


def test_statistics_of_coin_margined_contracts_are_by_pair(ask: Ask) -> None:
    """COIN-M has open interest and taker volumes by pair and contract type, ratios by pair."""
    pair = {"pair": "BTCUSD", "period": "5m", "limit": 1}
    [held] = ask(HELD, **pair, contractType="PERPETUAL").json
    [quarter] = ask(HELD, **pair, contractType="CURRENT_QUARTER").json
    [taker] = ask("/futures/data/takerBuySellVol", **pair, contractType="ALL").json
    [ratio] = ask("/futures/data/globalLongShortAccountRatio", **pair).json

    assert (held["pair"], held["contractType"]) == ("BTCUSD", "PERPETUAL")
    assert 0 < float(quarter["sumOpenInterest"]) < float(held["sumOpenInterest"])
    assert ask(HELD, **pair, contractType="NEXT_QUARTER").json == []
    assert int(taker["takerBuyVol"]) > 0
    assert float(ratio["longAccount"]) + float(ratio["shortAccount"]) == pytest.approx(1)


def test_each_host_has_a_weight_of_its_own(ask: Ask, futures: DemoExchange) -> None:
    """Weight of spot, USD-M and COIN-M are three counters; statistics of USD-M weigh nothing."""

    def used(path: str, **query: object) -> int:
        return int(ask(path, **query).headers["x-mbx-used-weight"])

    spot, um, cm = (used(f"/{api}/ping") for api in ("api/v3", "fapi/v1", "dapi/v1"))
    assert used("/dapi/v1/klines", **CM, limit=1_500) == cm + 10
    assert used("/dapi/v1/markPriceKlines", **CM, limit=99) == cm + 11
    assert used("/fapi/v1/indexPriceKlines", pair="BTCUSDT", interval="1h") == um + 5
    assert used("/fapi/v1/aggTrades", symbol="BTCUSDT") == um + 25
    assert used(HELD, symbol="BTCUSDT", period="5m") == um + 25
    assert used(HELD, pair="BTCUSD", contractType="ALL", period="5m") == cm + 12
    assert used("/api/v3/ping") == spot + 1
    assert futures.requests[-2].weight == 1


def test_statistics_are_a_pool_of_1000_requests() -> None:
    """The 1,001st request for statistics in five minutes is refused; k-lines go on."""
    with DemoExchange(now=NOW) as exchange:
        statistics = exchange._limiter.counters["statistics"]
        statistics.spend(1_000, exchange.ticking_s())
        refused = ask_of(exchange, HELD, {}, symbol="BTCUSDT", period="5m")
        klines = ask_of(exchange, "/fapi/v1/klines", {}, **UM, limit=1)

    assert (refused.status, klines.status) == (429, 200)


def test_faults_meet_the_new_paths() -> None:
    """A fault on a path of COIN-M or of statistics changes its answer, once."""
    with DemoExchange(now=NOW) as exchange:
        exchange.fail(r"/dapi/v1/markPriceKlines\?", status=429, retry_after=2)
        exchange.fail("openInterestHist", replace_body=b"[]")
        replies = [ask_of(exchange, "/dapi/v1/markPriceKlines", {}, **CM) for _ in range(2)]
        held = [ask_of(exchange, HELD, {}, symbol="BTCUSDT", period="5m") for _ in range(2)]

    assert [reply.status for reply in replies] == [429, 200]
    assert replies[0].headers["retry-after"] == "2"
    assert [len(reply.json) for reply in held] == [0, 30]
