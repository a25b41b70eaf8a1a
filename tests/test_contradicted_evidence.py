"""Answers that look like proof, and what contradicts them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from test_evidence import contents, elsewhere, open_gaps, published, receipt_of

import ares_notebook as ares
from ares_notebook.binance.rate_limit import ExchangeClock

DAY = 1 / 365.25
HOUR_MS = 3_600_000


def ms(moment: str) -> int:
    """Milliseconds since the epoch."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)


# The first candle of an API whose history begins late.
FIRST_DAY = json.dumps(
    [[ms("2025-02-10"), *["1.0"] * 5, ms("2025-02-11") - 1, "1.0", 1, "1.0", "1.0", "0"]]
)


def late(
    exchange: ares.DemoExchange, path: str, field: str | int, moment: str, **first: str
) -> None:
    """Let a history of the API begin at a moment: what is asked for from before is answered from there."""
    start = ms(moment)

    def forget(body: bytes) -> bytes:
        rows = json.loads(body)
        if not isinstance(rows, list):
            return body
        kept = [
            row
            for row in rows
            if int(row[field]) // (1000 if int(row[field]) > 1e14 else 1) >= start
        ]
        return json.dumps(kept).encode()

    for pattern, answer in first.items():
        exchange.fail(f"{path}.*{pattern}=[01]&limit=1$", times=None, replace_body=answer.encode())
    exchange.fail(path, times=None, replace_body=forget)


@pytest.mark.parametrize("name", ["klines", "agg_trades", "futures"])
async def test_a_file_that_gets_rows_back_goes_on_to_the_end_that_is_wanted(settings, name):
    """Rows deleted from a running file come back, and what came since comes too, in one run."""
    whole = elsewhere(settings)
    ask = {"datasets": (name,), "settings": settings}
    await ares.download_all_data("BTCUSDT", "1h", DAY, end="2025-03-05T12:00", **ask)
    path = max(settings.cache_dir.glob("*.csv"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[5:]))
    report = await ares.download_all_data("BTCUSDT", "1h", DAY, end="2025-03-06", **ask)
    ask["settings"] = whole
    await ares.download_all_data("BTCUSDT", "1h", DAY, end="2025-03-06", **ask)

    assert report.complete
    made = contents(settings)
    assert {each: made[each] for each in contents(whole)} == contents(whole)


@pytest.mark.parametrize("source", ["rest", "auto"])
async def test_one_answer_with_an_early_date_completes_nothing(exchange, settings, source):
    """What a wrong Date cut off would be missing, not complete; one such answer cuts nothing off."""
    early = {"Date": "Fri, 20 Dec 2024 00:00:00 GMT"}
    exchange.fail("/api/v3/klines", headers=early)
    own = settings.replace(source=source)
    report = await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-03-20", settings=own)

    frame = ares.load_klines("BTCUSDT", "1h", end="2025-03-20", settings=own)
    assert report.complete == (open_gaps(own, end="2025-03-20") == []) == frame.attrs["complete"]
    assert report.complete


async def test_a_clock_that_is_behind_in_all_answers_is_reported(exchange, settings):
    """Where every answer says that the wanted end is not there yet the report is not complete, and says so."""
    exchange.now = datetime.now(UTC) - timedelta(days=3)
    end = (datetime.now(UTC) - timedelta(days=1, hours=3)).isoformat()
    report = await ares.download_klines_data("BTCUSDT", "1h", 5 * DAY, end=end, settings=settings)

    assert not report.complete
    assert any("by the exchange's clock it is" in note for note in report.notes)


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 03 Mar 2025 00:00:00 -0000",
        "Mon, 03 Mar 2025 00:00:00",
        "soon",
        "",
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
async def test_no_date_of_an_answer_ends_a_run(exchange, settings, date):
    """A Date of no zone, of no moment or of none at all is no error."""
    exchange.fail("/api/v3/", times=None, headers={"Date": date})
    report = await ares.download_klines_data(
        "BTCUSDT", "1h", DAY, end="2025-03-02", settings=settings
    )

    assert not report.failed


def test_the_second_earliest_of_the_exchanges_clocks_counts():
    """One claim alone is taken, and of more the one that another bears out."""
    clock, now = ExchangeClock(), int(datetime.now(UTC).timestamp() * 1000)
    clock.hear(now - 60_000)
    alone = clock.now_ms()
    clock.hear(now - 90 * 86_400_000)
    later = clock.now_ms()

    assert 0 <= alone - (now - 60_000) < 30_000
    assert 0 <= later - (now - 60_000) < 30_000


async def test_a_first_trade_of_another_id_than_0_is_no_beginning(exchange, settings, publish_anew):
    """Where zip and API both begin 300 trades late, the id of the first one tells that 300 are missing."""
    name = "SOLUSDT-aggTrades-2020-08-11"
    lines = published(exchange, f"data/spot/daily/aggTrades/SOLUSDT/{name}")
    publish_anew(name, "".join(lines[300:]))
    cells = lines[300].split(",")
    first = {
        "a": int(cells[0]), "p": cells[1], "q": cells[2], "f": int(cells[3]), "l": int(cells[4]),
        "T": int(cells[5]) * 1000, "m": cells[6] == "True", "M": True,
    }  # fmt: skip
    answer = json.dumps([first])
    exchange.fail("aggTrades.*fromId=(0|299)&", times=None, replace_body=answer.encode())
    moment = datetime.fromtimestamp(int(cells[5]) / 1000, UTC).replace(tzinfo=None).isoformat()
    late(exchange, "/api/v3/aggTrades", "T", moment)
    report = await ares.download_agg_trades_data(
        "SOLUSDT", DAY, end="2020-08-12", settings=settings
    )

    assert not report.complete
    assert set(open_gaps(settings, "SOLUSDT")) == {"unconfirmed"}


async def test_payments_between_listing_and_first_row_were_due(exchange, settings):
    """REST that begins two days after the contract was listed proves nothing of these, without the archive."""
    exchange.withhold("fundingRate/LINKUSDT/LINKUSDT-fundingRate-2020-01")
    first = {
        "symbol": "LINKUSDT",
        "fundingTime": ms("2020-01-19T08:00"),
        "fundingRate": "0.00010000",
    }
    late(
        exchange,
        "/fapi/v1/fundingRate",
        "fundingTime",
        "2020-01-19T08:00",
        startTime=json.dumps([first]),
    )
    report = await ares.download_futures_data("LINKUSDT", 0.05, end="2020-02-01", settings=settings)

    assert not report.complete
    assert "before listing" not in set(ares.find_gaps("LINKUSDT", settings=settings)["reason"])


async def test_a_gap_within_an_older_listing_is_not_between_listings(
    exchange, settings, publish_anew
):
    """With rows of the older listing on both sides a gap stays open, however late the API begins."""
    name = "BTCUSDT-1d-2024-12"
    lines = published(exchange, f"data/spot/monthly/klines/BTCUSDT/1d/{name}")
    publish_anew(name, "".join(lines[:10] + lines[15:]))
    exchange.withhold("klines/BTCUSDT/1d/BTCUSDT-1d-2025-01")
    exchange.withhold("daily/klines")
    trade = json.dumps(
        [
            {
                "a": 0,
                "p": "1.0",
                "q": "1.0",
                "f": 0,
                "l": 0,
                "T": ms("2025-02-10") * 1000,
                "m": True,
                "M": True,
            }
        ]
    )
    exchange.fail("aggTrades.*fromId=0&", times=None, replace_body=trade.encode())
    late(exchange, "/api/v3/klines", 0, "2025-02-10", startTime=FIRST_DAY)
    report = await ares.download_klines_data(
        "BTCUSDT", "1d", 0.25, end="2025-02-01", settings=settings
    )
    gaps = ares.find_gaps("BTCUSDT", settings=settings)
    inside = gaps[gaps["start"] < "2024-12-20"]

    assert not report.complete
    assert "between listings" not in set(inside["reason"])


async def test_an_end_of_the_api_is_no_proof_while_the_symbol_trades(exchange, settings):
    """An API whose rows end early, of a symbol that trades, proves nothing of what follows; it heals."""
    exchange.withhold("klines/BTCUSDT/1h/BTCUSDT-1h-2025-03")
    end = ms("2025-03-10")

    def forget(body: bytes) -> bytes:
        return json.dumps([row for row in json.loads(body) if row[0] < end]).encode()

    newest = json.dumps(
        [[end - HOUR_MS, "1.0", "1.0", "1.0", "1.0", "1.0", end - 1, "1.0", 1, "1.0", "1.0", "0"]]
    )
    exchange.fail(
        "klines.symbol=BTCUSDT&interval=1h&limit=1$", times=None, replace_body=newest.encode()
    )
    exchange.fail("/api/v3/klines", times=None, replace_body=forget)
    report = await ares.download_klines_data(
        "BTCUSDT", "1h", 30 * DAY, end="2025-03-20", settings=settings
    )
    reported = set(open_gaps(settings))
    exchange.faults.clear()
    healed = await ares.download_klines_data(
        "BTCUSDT", "1h", 30 * DAY, end="2025-03-20", settings=settings
    )

    assert not report.complete
    assert reported <= {"unconfirmed", "not yet published"}
    assert healed.complete


async def test_an_empty_listing_of_a_name_that_trades_is_not_believed(exchange, settings):
    """An outage in which the archive lists nothing makes no month *before listing*."""
    exchange.withhold("BTCUSDT")
    trade = json.dumps(
        [
            {
                "a": 9,
                "p": "1.0",
                "q": "1.0",
                "f": 9,
                "l": 9,
                "T": ms("2025-06-01") * 1000,
                "m": True,
                "M": True,
            }
        ]
    )
    exchange.fail("aggTrades.*fromId=0&", times=None, replace_body=trade.encode())
    late(exchange, "/api/v3/klines", 0, "2025-02-10", startTime=FIRST_DAY)
    report = await ares.download_klines_data(
        "BTCUSDT", "1d", 0.25, end="2025-03-01", settings=settings
    )

    assert not report.complete
    assert "before listing" not in set(ares.find_gaps("BTCUSDT", settings=settings)["reason"])


async def test_a_beginning_that_the_api_alone_tells_is_held_against_the_archive(exchange, settings):
    """What source="rest" took for the beginning is asked for once more where the archive may be asked."""
    whole, alone = elsewhere(settings), settings.replace(source="rest")
    ask = {"end": "2020-09-01"}
    rest = await ares.download_klines_data("SOLUSDT", "1d", 0.2, **ask, settings=alone)
    exchange.requests.clear()
    await ares.download_klines_data("SOLUSDT", "1d", 0.2, **ask, settings=alone)
    quiet = list(exchange.requests)
    both = await ares.download_klines_data("SOLUSDT", "1d", 0.2, **ask, settings=settings)
    asked = [each for each in exchange.requests if "binance.vision" in each.path]
    await ares.download_klines_data("SOLUSDT", "1d", 0.2, **ask, settings=whole)

    assert rest.complete
    assert quiet == []
    assert both.complete
    assert asked
    assert contents(settings) == contents(whole)


async def test_a_recheck_is_one_though_our_clock_is_ahead(exchange, settings, vouch):
    """What was confirmed is asked for again, also where the exchange's clock ends the plan earlier."""
    exchange.now = datetime.now(UTC) - timedelta(seconds=5)
    await ares.download_klines_data("BTCUSDT", "1h", 10 * DAY, settings=settings)
    path = next(settings.cache_dir.glob("klines*.csv"))
    receipt = json.loads(receipt_of(settings, path.name).read_text())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[8:]))
    vouch(settings, path.name)
    start = receipt["facts"]["covered_from_ms"] + 4 * HOUR_MS
    exchange.fail(f"/api/v3/klines.*startTime={start}", times=2, replace_body=b"[]")
    exchange.withhold("klines")
    await ares.repair_gaps("BTCUSDT", settings=settings)
    reported = set(ares.find_gaps("BTCUSDT", settings=settings)["reason"])
    report = await ares.repair_gaps("BTCUSDT", recheck=True, settings=settings)

    assert "confirmed absent upstream" in reported
    assert report
    frame = ares.load_klines("BTCUSDT", "1h", settings=settings)
    stamps = [int(each.timestamp() * 1000) for each in frame.index]
    assert start in stamps


async def test_a_neighbour_that_nobody_vouches_for_proves_nothing(exchange, settings, publish_anew):
    """A day without a receipt whose ids run on does not prove a day that has one."""
    name = "BTCUSDT-aggTrades-2025-03-02"
    lines = published(exchange, f"data/spot/daily/aggTrades/BTCUSDT/{name}")
    publish_anew(name, "".join(lines[:-400]))
    alone = settings.replace(source="archive")
    await ares.download_agg_trades_data("BTCUSDT", 2 * DAY, end="2025-03-04", settings=alone)
    path = settings.cache_dir / "aggtrades_BTCUSDT_2025-03-03.csv"
    head, *rows = path.read_text().splitlines()
    moved = [row.split(",") for row in rows]
    for cells in moved:
        cells[4] = str(int(cells[4]) - 400)
    path.write_text("\n".join([head, *(",".join(cells) for cells in moved)]) + "\n")
    receipt_of(settings, path.name).unlink()
    report = await ares.download_agg_trades_data(
        "BTCUSDT", DAY, end="2025-03-03", settings=settings
    )

    assert report.rows_written == 400
    assert report.complete
