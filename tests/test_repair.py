"""Holes are closed wherever they are, with requests for just what is missing."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.download.repair import plan_repair
from ares_notebook.download.run_plans import run_plan
from ares_notebook.errors import NeverDownloaded
from ares_notebook.model.time import as_utc, to_ms

DAY = 1 / 365.25
HOUR_MS = 3_600_000


def contents(settings: Settings) -> dict[str, bytes]:
    """The cache files by name."""
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("*.csv"))}


def without(marks: range) -> Callable[[bytes], bytes]:
    """An exchange that does not have the rows of these times, of trades of these ids."""

    def left(body: bytes) -> bytes:
        rows = json.loads(body)
        return json.dumps(
            [row for row in rows if (row[0] if isinstance(row, list) else row["a"]) not in marks]
        ).encode()

    return left


async def filled(settings: Settings, dataset: str, years: float, end: str) -> dict[str, bytes]:
    """A whole cache of one dataset."""
    await ares.download_all_data(
        "BTCUSDT", "1h", years, end=end, settings=settings, datasets=(dataset,)
    )
    return contents(settings)


def asked(exchange: DemoExchange, path: str) -> list[dict[str, str]]:
    """The questions to an endpoint, in order."""
    return [request.query for request in exchange.requests if request.path == path]


def cut(settings: Settings, name: str, rows: Iterable[int]) -> list[str]:
    """Take rows out of a file, counted from its first; their lines."""
    path = settings.cache_dir / name
    header, *lines = path.read_text().splitlines(keepends=True)
    gone = set(rows)
    path.write_text(header + "".join(line for at, line in enumerate(lines) if at not in gone))
    return [line for at, line in enumerate(lines) if at in gone]


WHERE = {"start": range(5), "middle": range(100, 107), "end": range(738, 744)}


@pytest.mark.parametrize("where", WHERE)
async def test_a_gap_in_candles_is_closed_and_nothing_else_asked_for(exchange, settings, where):
    """Candles cut out at the start, middle or end come back byte for byte, in one page of just them."""
    whole = await filled(settings, "klines", 0.05, "2025-02-01")
    cut(settings, "klines_BTCUSDT_1h_2025-01.csv", WHERE[where])
    exchange.requests.clear()
    report = await ares.download_klines_data(
        "BTCUSDT", "1h", 0.05, end="2025-02-01", settings=settings
    )

    rows = WHERE[where]
    start_ms = to_ms(as_utc("2025-01-01"))
    spans = {
        (int(each["startTime"]), int(each["endTime"])) for each in asked(exchange, "/api/v3/klines")
    }
    gap = (start_ms + rows[0] * HOUR_MS, start_ms + (rows[-1] + 1) * HOUR_MS - 1)
    assert spans == {gap}
    assert contents(settings) == whole
    assert report.complete


@pytest.mark.parametrize("rows", [range(40), range(2000, 2011)], ids=["start", "middle"])
async def test_a_gap_in_trades_is_asked_for_by_id(exchange, settings, rows):
    """Trades cut out come back byte for byte, asked for from the id after the last good one."""
    whole = await filled(settings, "agg_trades", DAY, "2025-03-02")
    gone = cut(settings, "aggtrades_BTCUSDT_2025-03-01.csv", rows)
    exchange.requests.clear()
    report = await ares.download_agg_trades_data(
        "BTCUSDT", DAY, end="2025-03-02", settings=settings
    )

    first_id = next(csv.reader(io.StringIO(gone[0])))[4]
    pages = pages_of(exchange)
    assert contents(settings) == whole
    assert report.complete
    assert [(each["fromId"], each["limit"]) for each in pages] == [(first_id, str(len(rows)))]


def pages_of(exchange):
    """The pages of trades that were asked for by id, but for single ones that tell of an edge."""
    asks = asked(exchange, "/api/v3/aggTrades")
    return [each for each in asks if "fromId" in each and each["limit"] != "1"]


async def test_the_last_trades_of_a_day_come_back_because_the_next_day_tells(exchange, settings):
    """Trades cut off the end of a day show by the first id of the next, and just they are asked for."""
    whole = await filled(settings, "agg_trades", 2 * DAY, "2025-03-03")
    path = settings.cache_dir / "aggtrades_BTCUSDT_2025-03-01.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-7]))
    receipt = settings.cache_dir / ".ares" / "receipts" / f"{path.name}.json"
    noted = receipt.read_bytes()
    receipt.unlink()
    gap = ares.find_gaps("BTCUSDT", settings=settings)
    receipt.write_bytes(noted)
    exchange.requests.clear()
    report = await ares.repair_gaps("BTCUSDT", settings=settings, datasets=["agg_trades"])

    pages = pages_of(exchange)
    assert gap["missing"].sum() == 7
    assert contents(settings) == whole
    assert [each["limit"] for each in pages] == ["7"]
    assert report.complete


async def test_an_archive_day_cut_short_is_completed_over_rest(exchange, settings, recorded_cut):
    """A day that the archive published without its end is whole after one run, by the next day's ids."""
    whole = await filled(settings, "agg_trades", 3 * DAY, "2025-03-04")
    shutil.rmtree(settings.cache_dir)
    recorded_cut(exchange, whole)
    after = await filled(settings, "agg_trades", 3 * DAY, "2025-03-04")
    exchange.requests.clear()
    again = await filled(settings, "agg_trades", 3 * DAY, "2025-03-04")

    assert after == whole
    assert again == whole
    assert exchange.requests == []


@pytest.mark.parametrize("rows", [range(3), range(30, 35), range(88, 93)])
async def test_a_gap_in_funding_is_closed(exchange, settings, rows):
    """Funding events cut out come back byte for byte, in few requests and none for the archive."""
    whole = await filled(settings, "futures", 0.05, "2025-02-01")
    cut(settings, "futures_BTCUSDT_2025-01.csv", rows)
    exchange.requests.clear()
    report = await ares.download_futures_data("BTCUSDT", 0.05, end="2025-02-01", settings=settings)

    assert contents(settings) == whole
    assert report.complete
    # The gap, and each edge that no receipt vouches for any more.
    assert len(asked(exchange, "/fapi/v1/fundingRate")) <= 5
    assert not [request for request in exchange.requests if request.path.endswith(".zip")]


async def test_repair_brings_nothing_beyond_the_last_row(settings):
    """Repair closes what is inside, and leaves the end of the cache where it is."""
    await filled(settings, "klines", 0.05, "2025-02-20")
    name = "klines_BTCUSDT_1h_2025-02.csv"
    whole = contents(settings)
    cut(settings, name, range(50, 60))
    report = await ares.repair_gaps("BTCUSDT", settings=settings)

    assert contents(settings) == whole
    assert report.rows_written == 10
    assert report.complete


async def test_a_window_is_repaired_up_to_its_end_where_the_cache_goes_on(settings):
    """Months at the end of the window come back that nothing is known of, if later ones were downloaded."""
    whole = await filled(settings, "klines", 0.4, "2025-04-01")
    for name in ("klines_BTCUSDT_1h_2025-01.csv", "klines_BTCUSDT_1h_2025-02.csv"):
        (settings.cache_dir / name).unlink()
        (settings.cache_dir / ".ares" / "receipts" / f"{name}.json").unlink()
    window = {"start": "2024-12-01", "end": "2025-02-01"}
    report = await ares.repair_gaps("BTCUSDT", "1h", **window, settings=settings)

    assert report.rows_written == 744
    assert whole.keys() - contents(settings).keys() == {"klines_BTCUSDT_1h_2025-02.csv"}
    window = {"start": "2025-03-01", "end": "2025-06-01"}
    report = await ares.repair_gaps("BTCUSDT", "1h", **window, settings=settings)
    assert report.rows_written == 0


async def test_the_end_that_was_cut_off_a_running_month_comes_back(settings):
    """Repair knows by the receipt how far a file went, and goes no further."""
    await filled(settings, "klines", 0.05, "2025-02-20")
    name = "klines_BTCUSDT_1h_2025-02.csv"
    whole = contents(settings)
    path = settings.cache_dir / name
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-6]))
    cut = await ares.repair_gaps("BTCUSDT", settings=settings)
    back = contents(settings)
    path.unlink()
    gone = await ares.repair_gaps("BTCUSDT", settings=settings)

    assert (cut.rows_written, gone.rows_written) == (6, 19 * 24)
    assert back == contents(settings) == whole


async def test_repair_of_a_whole_cache_asks_for_nothing(exchange, settings):
    """Where nothing is missing no request is made."""
    await ares.download_all_data("BTCUSDT", "1h", DAY, end="2025-03-16", settings=settings)
    exchange.requests.clear()
    report = await ares.repair_gaps("BTCUSDT", settings=settings)

    assert report.complete
    assert exchange.requests == []


async def test_what_was_confirmed_is_asked_for_again_only_on_wish(exchange, settings):
    """A confirmed halt is not asked for, but with recheck, and its answer is then the newer one."""
    await filled(settings, "klines", 0.05, "2025-04-01")
    receipt = settings.cache_dir / ".ares/receipts/klines_BTCUSDT_1h_2025-03.csv.json"
    old = receipt.read_text().replace("2026-", "2025-")
    receipt.write_text(old)
    exchange.requests.clear()
    await ares.repair_gaps("BTCUSDT", settings=settings)
    quiet = list(exchange.requests)
    report = await ares.repair_gaps("BTCUSDT", recheck=True, settings=settings)

    starts = {each["startTime"] for each in asked(exchange, "/api/v3/klines")}
    assert quiet == []
    # Of an exchange that has no candle here any other is asked for, to see that it has some.
    assert starts == {str(to_ms(as_utc("2025-03-14T02:00"))), "1"}
    assert report.complete
    assert '"rest"' in receipt.read_text()
    assert receipt.read_text() != old


async def test_rows_that_come_late_are_found_by_a_recheck(exchange, settings):
    """What was once confirmed absent and is there now comes in with recheck."""
    whole = await filled(settings, "klines", 0.05, "2025-02-01")
    name = "klines_BTCUSDT_1h_2025-01.csv"
    shutil.rmtree(settings.cache_dir)
    exchange.withhold("klines")
    late = range(to_ms(as_utc("2025-01-15")), to_ms(as_utc("2025-01-20")))
    fault = exchange.fail("/api/v3/klines", times=None, replace_body=without(late))
    await filled(settings, "klines", 0.05, "2025-02-01")
    exchange.faults.remove(fault)
    kept = await filled(settings, "klines", 0.05, "2025-02-01")
    await ares.repair_gaps("BTCUSDT", recheck=True, settings=settings)

    assert len(whole[name].splitlines()) - len(kept[name].splitlines()) == 5 * 24
    assert contents(settings) == whole


async def test_repair_of_what_was_never_downloaded_is_refused(settings):
    """Repair says that there is nothing to repair, rather than that all is well."""
    with pytest.raises(NeverDownloaded, match="there is no cache folder"):
        await ares.repair_gaps("BTCUSDT", settings=settings)


async def test_a_repair_plan_touches_no_network(exchange, settings):
    """What a repair would do can be known without a request."""
    await filled(settings, "klines", 0.2, "2025-03-01")
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv").unlink()
    exchange.requests.clear()
    plan = plan_repair("BTCUSDT", settings=settings)

    assert [step.file.stamp for step in plan.to_do] == ["2025-01"]
    assert exchange.requests == []


async def test_a_torn_seam_is_confirmed_once(exchange, settings, vouch):
    """Ids that the exchange too does not have are confirmed, and not asked for by the next run."""
    await filled(settings, "agg_trades", 2 * DAY, "2025-03-03")
    path = settings.cache_dir / "aggtrades_BTCUSDT_2025-03-01.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-7]))
    last_id = int(next(csv.DictReader([lines[0].decode(), lines[-1].decode()]))["agg_trade_id"])
    # Nobody knows any more how the day ended.
    vouch(settings, path.name)
    cut_off = without(range(last_id - 6, last_id + 1))
    fault = exchange.fail("/api/v3/aggTrades", times=None, replace_body=cut_off)
    trades = {"settings": settings, "datasets": ["agg_trades"]}
    first = await ares.repair_gaps("BTCUSDT", **trades)
    exchange.requests.clear()
    second = await ares.repair_gaps("BTCUSDT", **trades)
    table = ares.find_gaps("BTCUSDT", settings=settings)

    assert fault.seen
    assert first.complete
    assert second.complete
    assert exchange.requests == []
    assert table[table["missing"] > 0]["reason"].tolist() == ["confirmed absent upstream"]
    assert table["missing"].sum() == 7
    assert json.loads(
        (settings.cache_dir / ".ares/receipts/aggtrades_BTCUSDT_2025-03-01.csv.json").read_text()
    )["absences"]


@pytest.mark.parametrize("verb", ["repair", "audit"])
def test_a_dry_run_writes_nothing(exchange, tmp_path, verb):
    """A plan that finds altered and unknown files wants them, and leaves every byte of the cache as it was."""
    settings = exchange.settings(cache_dir=tmp_path, progress=False)
    ares.run(ares.download_klines_data("BTCUSDT", "1d", 0.2, end="2025-03-01", settings=settings))
    path = tmp_path / "klines_BTCUSDT_1d_2025-01.csv"
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-4] + (b"111\n" if data[-4:] != b"111\n" else b"222\n"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    unknown = tmp_path / "klines_BTCUSDT_1d_2025-02.csv"
    (tmp_path / f".ares/receipts/{unknown.name}.json").unlink()
    os.utime(unknown, (1_700_000_000, 1_700_000_000))
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}

    if verb == "audit":
        ares.plan_audit("BTCUSDT", "1d", settings=settings)
    else:
        plan = plan_repair("BTCUSDT", "1d", settings=settings)
        assert {path.name, unknown.name} <= {step.file.name for step in plan.to_do}

    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before
    if verb == "repair":
        assert ares.run(run_plan(plan)).complete
        assert path.read_bytes() == data
