"""The API answers as Binance's does."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import UTC, datetime

import pytest
from conftest import NOW, Ask, ask_of

from ares_notebook.demo import DemoExchange

DAY = 86_400_000
NOW_MS = int(NOW.timestamp() * 1000)
KLINES = {"symbol": "BTCUSDT", "interval": "1h"}


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def member(body: bytes) -> list[list[str]]:
    """Rows of the one member of a zip file."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        [name] = archive.namelist()
        return list(csv.reader(io.StringIO(archive.read(name).decode())))


@pytest.mark.parametrize("prefix", ["", "/data-api"])
def test_ping_and_time(ask: Ask, prefix: str) -> None:
    """Ping answers {}, time the exchange's own time, on the data-only host too."""
    assert ask(f"{prefix}/api/v3/ping").body == b"{}"
    assert ask(f"{prefix}/api/v3/time").json == {"serverTime": NOW_MS}
    assert ask("/fapi/v1/ping").body == b"{}"


def test_exchange_info(ask: Ask) -> None:
    """ExchangeInfo tells limits and symbols, a delisted one with status BREAK."""
    info = ask("/api/v3/exchangeInfo").json
    status = {one["symbol"]: one["status"] for one in info["symbols"]}

    assert {"REQUEST_WEIGHT", "RAW_REQUESTS"} == {r["rateLimitType"] for r in info["rateLimits"]}
    assert (status["BTCUSDT"], status["MATICUSDT"]) == ("TRADING", "BREAK")
    assert "币安人生USDT" in status
    one = ask("/api/v3/exchangeInfo", symbol="币安人生USDT").json
    assert [symbol["symbol"] for symbol in one["symbols"]] == ["币安人生USDT"]
    two = ask("/api/v3/exchangeInfo", symbols='["BTCUSDT","ETHUSDT"]').json
    assert [symbol["symbol"] for symbol in two["symbols"]] == ["BTCUSDT", "ETHUSDT"]


REFUSALS = [
    ({**KLINES, "interval": "1x"}, -1120, "Invalid interval."),
    ({**KLINES, "symbol": "NOPEUSDT"}, -1121, "Invalid symbol."),
    (
        {"interval": "1h"},
        -1102,
        "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
    ),
    (
        {**KLINES, "color": "red", "size": "3"},
        -1104,
        "Not all sent parameters were read; read '2' parameter(s) but was sent '4'.",
    ),
    (
        {**KLINES, "endTime": "yesterday"},
        -1100,
        "Illegal characters found in parameter 'endTime'; legal range is '^[0-9]{1,20}$'.",
    ),
    ({**KLINES, "endTime": "-5"}, -1100, None),
    ({**KLINES, "endTime": "٣"}, -1100, None),
    ({**KLINES, "symbol": "btcusdt"}, -1100, None),
    ({**KLINES, "symbol": "BTC/USDT"}, -1100, None),
    ({**KLINES, "startTime": ""}, -1105, "Parameter 'startTime' was empty."),
]


@pytest.mark.parametrize(("query", "code", "message"), REFUSALS)
def test_errors(ask: Ask, query: dict[str, str], code: int, message: str | None) -> None:
    """A request that is wrong gets status 400, Binance's code and text, and weight headers."""
    reply = ask("/api/v3/klines", **query)

    assert (400, code) == (reply.status, reply.json["code"])
    assert message in (None, reply.json["msg"])
    assert reply.headers["x-mbx-used-weight-1m"].isdecimal()


def test_doubled_parameters(ask: Ask) -> None:
    """A parameter that is sent twice gets -1101."""
    assert ask("/api/v3/klines?symbol=BTCUSDT&symbol=ETHUSDT&interval=1h").json["code"] == -1101


def test_ids_and_times_exclude_each_other(ask: Ask) -> None:
    """FromId with a time gets -1128."""
    assert ask("/api/v3/aggTrades", symbol="BTCUSDT", fromId=1, endTime=5).json["code"] == -1128


@pytest.mark.parametrize("path", ["/api/v1/klines", "/api/v3/depths", "/fapi/v3/klines"])
def test_other_paths(ask: Ask, path: str) -> None:
    """A path that Binance does not have gets 404 and the weight headers."""
    reply = ask(path)

    assert reply.status == 404
    assert "x-mbx-used-weight" in reply.headers


def test_no_times_gives_the_newest(ask: Ask) -> None:
    """Without times the newest rows come, 500 of them, the candle in progress last."""
    rows = ask("/api/v3/klines", **KLINES).json

    assert len(rows) == 500
    assert rows[-1][0] <= NOW_MS < rows[-1][6]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_the_candle_in_progress_is_what_traded_so_far(ask: Ask) -> None:
    """The last candle is the sum of the trades that one can see, and of no other."""
    [candle] = ask("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1).json
    trades = ask("/api/v3/aggTrades", symbol="BTCUSDT", startTime=candle[0]).json

    assert trades[-1]["T"] <= NOW_MS
    assert candle[8] == sum(trade["l"] - trade["f"] + 1 for trade in trades)
    assert candle[1] == trades[0]["p"]
    assert candle[4] == trades[-1]["p"]


@pytest.mark.parametrize("interval", ["1s", "1m", "1h", "3d", "1w", "1M"])
def test_the_window_is_inclusive_on_open_times(ask: Ask, interval: str) -> None:
    """Start <= open time <= end: a millisecond after an open, or before it, leaves it out."""
    query = {"symbol": "BTCUSDT", "interval": interval}
    rows = ask("/api/v3/klines", **query, startTime=ms("2025-01-01"), limit=5).json
    opens = [row[0] for row in rows]

    def between(start: int, end: int) -> list[int]:
        page = ask("/api/v3/klines", **query, startTime=start, endTime=end).json
        return [row[0] for row in page]

    assert opens == between(opens[0], opens[-1])
    assert opens[1:-1] == between(opens[0] + 1, opens[-1] - 1)
    newest = ask("/api/v3/klines", **query, endTime=opens[-1], limit=3).json
    assert rows[-3:] == newest


def test_limits_are_cut_down_in_silence(ask: Ask) -> None:
    """More than 1,000 rows of spot, or 1,500 of futures, are not given."""
    assert len(ask("/api/v3/klines", **KLINES, limit=5000).json) == 1000
    assert len(ask("/fapi/v1/klines", **KLINES, limit=5000).json) == 1500


def test_the_first_candle_ever(ask: Ask) -> None:
    """From time 0 on, the first candle is that of the listing."""
    [first] = ask("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=0, limit=1).json

    assert ms("2017-08-17T04:00") == first[0]


def test_nothing_is_an_empty_list(ask: Ask) -> None:
    """Before the listing, within a halt, in the future, backwards: [] and status 200."""
    windows = [
        (0, ms("2017-08-01")),
        (ms("2025-04-22T08:00"), ms("2025-04-22T08:30")),
        (NOW_MS + DAY, NOW_MS + 2 * DAY),
        (ms("2025-01-02"), ms("2025-01-01")),
        (1_700_000_000, 1_700_003_600),
    ]
    for start, end in windows:
        reply = ask("/api/v3/klines", **KLINES, startTime=start, endTime=end)
        trades = ask("/api/v3/aggTrades", symbol="BTCUSDT", startTime=start, endTime=end)
        assert (reply.status, reply.body) == (200, b"[]")
        assert (trades.status, trades.body) == (200, b"[]")


def test_backwards_is_an_error_on_futures(ask: Ask) -> None:
    """On futures a start after the end gets -1023."""
    for path in ("/fapi/v1/klines", "/fapi/v1/fundingRate"):
        query = KLINES if path.endswith("klines") else {"symbol": "BTCUSDT"}
        reply = ask(path, **query, startTime=5, endTime=4)
        assert reply.json == {"code": -1023, "msg": "Start time is greater than end time."}


def test_pages_run_over_halts(ask: Ask) -> None:
    """A full page that meets a halt goes on after it, in both directions."""
    start, end = ms("2018-02-07"), ms("2018-02-11")
    forward = ask(
        "/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=ms("2018-02-08"), limit=100
    ).json
    backward = ask("/api/v3/klines", **KLINES, endTime=end, limit=90).json
    whole = ask("/api/v3/klines", **KLINES, startTime=start - 3 * DAY, endTime=end).json

    assert len(forward) == 100
    assert ms("2018-02-09T10:00") == forward[28][0]
    assert whole[-90:] == backward


def test_symbols_that_are_gone_end(ask: Ask) -> None:
    """A delisted symbol still answers, with what was until its last minute."""
    rows = ask("/api/v3/klines", symbol="MATICUSDT", interval="1m", limit=2).json

    assert ms("2024-09-10T02:59") == rows[-1][0]


def test_trades_by_id_and_by_time(ask: Ask) -> None:
    """By id, by start, by end, and the newest: all sources meet in the same trades."""
    symbol = {"symbol": "BTCUSDT"}
    start = ms("2025-10-10T21:10")
    page = ask("/api/v3/aggTrades", **symbol, startTime=start, limit=1000).json

    assert page == ask("/api/v3/aggTrades", **symbol, fromId=page[0]["a"], limit=1000).json
    until = [trade for trade in page if trade["T"] <= page[500]["T"]]
    newest = ask("/api/v3/aggTrades", **symbol, endTime=page[500]["T"], limit=9).json
    assert until[-9:] == newest
    both = ask(
        "/api/v3/aggTrades", **symbol, startTime=start, endTime=page[500]["T"], limit=1000
    ).json
    assert until == both
    assert [row["a"] for row in page] == list(range(page[0]["a"], page[0]["a"] + 1000))
    assert ask("/api/v3/aggTrades", **symbol, fromId=0, limit=1).json[0]["a"] == 0
    assert {"a", "p", "q", "f", "l", "T", "m", "M"} == page[0].keys()


def test_microseconds_on_request(ask: Ask) -> None:
    """With the header, times are in µs; parameters may be in either unit."""
    unit = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    start = ms("2026-01-05T10:00")
    slow = ask("/api/v3/aggTrades", symbol="BTCUSDT", startTime=start).json
    fine = ask("/api/v3/aggTrades", unit, symbol="BTCUSDT", startTime=start * 1000).json
    candle = ask("/api/v3/klines", unit, **KLINES, startTime=start, limit=1).json[0]

    assert [row["T"] for row in slow] == [row["T"] // 1000 for row in fine]
    assert any(row["T"] % 1000 for row in fine)
    assert (start * 1000, (start + 3_600_000) * 1000 - 1) == (candle[0], candle[6])
    assert ask("/api/v3/time", unit).json["serverTime"] == NOW_MS * 1000


@pytest.mark.parametrize(
    ("symbol", "interval", "month"),
    [
        ("BTCUSDT", "1h", "2024-12"),
        ("BTCUSDT", "1h", "2025-01"),
        ("币安人生USDT", "15m", "2025-10"),
        ("ETHUSDT", "1d", "2017-08"),
        ("ETHBTC", "1w", "2018-02"),
    ],
)
def test_klines_of_both_roads_agree(ask: Ask, symbol: str, interval: str, month: str) -> None:
    """Archive and REST have the same k-lines, digit by digit."""
    folder = f"/data/spot/monthly/klines/{symbol}/{interval}/"
    rows = member(ask(f"{folder}{symbol}-{interval}-{month}.zip").body)
    scale = 1000 if month >= "2025" else 1
    first, last = int(rows[0][0]) // scale, int(rows[-1][0]) // scale

    pages: list[list[object]] = []
    while not pages or pages[-1][0] != last:
        start = int(str(pages[-1][0])) + 1 if pages else first
        query = {"startTime": start, "endTime": last, "limit": 1000}
        pages += ask("/api/v3/klines", symbol=symbol, interval=interval, **query).json

    assert len(rows) == len(pages)
    for ours, theirs in zip(rows, pages, strict=True):
        assert ours[1:6] + ours[7:] == [str(cell) for cell in theirs[1:6] + theirs[7:]]
        assert [int(ours[0]) // scale, int(ours[6]) // scale] == [theirs[0], theirs[6]]
        assert (int(ours[6]) + 1) % (1000 * scale) == 0


@pytest.mark.parametrize("date", ["2024-12-31", "2025-01-01"])
def test_trades_of_both_roads_agree(ask: Ask, date: str) -> None:
    """Archive and REST have the same trades, digit by digit, in ms and in µs."""
    key = f"/data/spot/daily/aggTrades/ETHUSDT/ETHUSDT-aggTrades-{date}.zip"
    rows = member(ask(key).body)
    unit = {"X-MBX-TIME-UNIT": "microsecond"} if date >= "2025" else {}

    for start in (0, 5_000, len(rows) - 1000):
        query = {"fromId": rows[start][0], "limit": 1000}
        page = ask("/api/v3/aggTrades", unit, symbol="ETHUSDT", **query).json
        assert rows[start : start + 1000] == [
            [str(row[name]) for name in ("a", "p", "q", "f", "l", "T", "m", "M")] for row in page
        ]
    [after] = ask("/api/v3/aggTrades", symbol="ETHUSDT", fromId=int(rows[-1][0]) + 1, limit=1).json
    assert after["T"] >= ms(date) + DAY


def test_funding_of_both_roads_agrees(ask: Ask) -> None:
    """Archive and REST have the same funding, through changes of the interval."""
    for symbol, month in (("BTCUSDT", "2021-05"), ("SOLUSDT", "2022-11"), ("SOLUSDT", "2025-06")):
        key = f"/data/futures/um/monthly/fundingRate/{symbol}/{symbol}-fundingRate-{month}.zip"
        header, *rows = member(ask(key).body)
        query = {"startTime": rows[0][0], "endTime": rows[-1][0], "limit": 1000}
        page = ask("/fapi/v1/fundingRate", symbol=symbol, **query).json

        assert header == ["calc_time", "funding_interval_hours", "last_funding_rate"]
        assert [(int(row[0]), row[2]) for row in rows] == [
            (row["fundingTime"], row["fundingRate"]) for row in page
        ]
        late = [int(row[0]) % 3_600_000 for row in rows]
        assert max(late) < 48
        assert 0.2 < sum(map(bool, late)) / len(late) < 0.8
        hours = [int(row[1]) for row in rows]
        steps = [
            b // 3_600_000 - a // 3_600_000
            for a, b in zip(
                [int(row[0]) for row in rows], [int(row[0]) for row in rows[1:]], strict=False
            )
        ]
        assert hours[1:] == steps
        assert {8} == set(hours) if symbol == "BTCUSDT" else len(set(hours)) > 1


def test_funding_begins_where_it_began(ask: Ask) -> None:
    """BTCUSDT was first funded on 2019-09-10; without times the newest 100 events come."""
    [first] = ask("/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=0, limit=1).json
    newest = ask("/fapi/v1/fundingRate", symbol="BTCUSDT").json

    assert ms("2019-09-10T08:00") == first["fundingTime"] // 1000 * 1000
    assert first["markPrice"] == ""
    assert float(newest[-1]["markPrice"]) > 0
    assert len(newest) == 100
    assert NOW_MS - 8 * 3_600_000 <= newest[-1]["fundingTime"] <= NOW_MS
    adjusted = [row["symbol"] for row in ask("/fapi/v1/fundingInfo").json]
    assert "SOLUSDT" in adjusted
    assert "BTCUSDT" not in adjusted


def test_symbols_without_a_perpetual_are_unknown_to_futures(ask: Ask) -> None:
    """A spot symbol without a perpetual gets -1121 from futures."""
    assert ask("/fapi/v1/fundingRate", symbol="BTCFDUSD").json["code"] == -1121


@pytest.mark.parametrize(
    ("limit", "weight"), [(99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10)]
)
def test_futures_pages_cost_by_size(
    shared: DemoExchange, ask: Ask, limit: int, weight: int
) -> None:
    """A page of futures k-lines costs 1, 2, 5 or 10."""
    ask("/fapi/v1/klines", **KLINES, limit=limit)

    assert weight == shared.requests[-1].weight


def test_the_clock_moves() -> None:
    """Setting `now` moves the frozen clock, and with it what can be seen."""
    with DemoExchange(now=NOW) as exchange:
        exchange.now = datetime(2020, 1, 1, tzinfo=UTC)

        newest = ask_of(exchange, "/api/v3/klines", {}, **KLINES, limit=1).json

    assert [ms("2020-01-01")] == [row[0] for row in newest] or ms("2019-12-31T23:00") == newest[0][
        0
    ]
