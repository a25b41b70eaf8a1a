"""What the original downloader got wrong, fact by fact; the numbers are those of our list of its bugs."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import BadArgument, NotFound, RateLimited, ServerFault

DAY = 1 / 365.25
HOUR = DAY / 24


def contents(settings: Settings) -> dict[str, bytes]:
    """The cache files by name."""
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("*.csv"))}


def rows_of(settings: Settings, name: str) -> list[dict[str, str]]:
    """The rows of a cache file, as text."""
    return list(csv.DictReader(io.StringIO((settings.cache_dir / name).read_text())))


async def test_01_failure_is_not_an_empty_month(exchange, settings):
    """A month that could not be fetched has no file, and is fetched by the next run."""
    exchange.fail(".", status=503, times=None)
    own = settings.replace(max_retries=1)
    failed = await ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-03-01", settings=own)
    left = contents(own)
    exchange.faults.clear()
    good = await ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-03-01", settings=own)

    assert not failed
    assert left == {}
    assert good.complete
    assert len(rows_of(own, "klines_BTCUSDT_1h_2025-02.csv")) == 28 * 24


async def test_02_half_a_month_is_not_complete(settings):
    """A past month of which half is there is measured, and completed."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.05, end="2025-03-01", settings=settings)
    whole = contents(settings)
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:300]))

    report = await ares.download_klines_data(
        "BTCUSDT", "1h", 0.05, end="2025-03-01", settings=settings
    )

    assert report.complete
    assert whole == contents(settings)


async def test_03_a_file_never_grows_in_place(exchange, settings):
    """While pages come, the folder shows the old file or none, never a part of the new one."""
    own = settings.replace(source="rest")
    seen: list[dict[str, bytes]] = []

    def look(body: bytes) -> bytes:
        seen.append(contents(own))
        return body

    exchange.fail("fromId=", times=None, replace_body=look)
    await ares.download_agg_trades_data("BTCUSDT", HOUR, end="2025-03-10T12:00", settings=own)
    half, pages = contents(own), len(seen)
    await ares.download_agg_trades_data("BTCUSDT", HOUR, end="2025-03-10T23:00", settings=own)

    assert pages > 2
    assert len(seen) - pages > 2
    assert all(each == {} for each in seen[:pages])
    assert all(each == half for each in seen[pages:])


async def test_04_the_open_candle_gets_its_final_form(exchange, settings):
    """The candle that was open at the last run is stored once it is closed, as it then is."""
    exchange.now = datetime(2025, 3, 10, 12, 30, tzinfo=UTC)
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-10T12:30", settings=settings)
    before = rows_of(settings, "klines_BTCUSDT_1h_2025-03.csv")[-1]["timestamp"]
    exchange.now = datetime(2025, 3, 10, 13, 30, tzinfo=UTC)
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-10T13:30", settings=settings)
    anew = settings.replace(cache_dir=settings.cache_dir.with_name("anew"))
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-10T13:30", settings=anew)

    assert before == "2025-03-10 11:00:00"
    assert (
        contents(anew)["klines_BTCUSDT_1h_2025-03.csv"]
        == contents(settings)["klines_BTCUSDT_1h_2025-03.csv"]
    )
    assert rows_of(settings, "klines_BTCUSDT_1h_2025-03.csv")[-1]["timestamp"] == "2025-03-10 12:00:00"  # fmt: skip


async def test_05_trades_of_one_millisecond_are_not_lost(tmp_path):
    """Trades that share a millisecond across the border of two pages are all there."""
    with DemoExchange(trades_per_day=5_000_000) as exchange:
        settings = exchange.settings(cache_dir=tmp_path, source="rest", progress=False)
        # Before 2025, where the file has milliseconds.
        await ares.download_agg_trades_data(
            "BTCUSDT", HOUR / 60, end="2024-06-10T00:15", settings=settings
        )
    rows = rows_of(settings, "aggtrades_BTCUSDT_2024-06-10.csv")
    ids = [int(row["agg_trade_id"]) for row in rows]
    borders = [(rows[at - 1], rows[at]) for at in range(1000, len(rows), 1000)]

    assert any(last["timestamp"] == first["timestamp"] for last, first in borders)
    assert list(range(ids[0], ids[0] + len(ids))) == ids


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_06_borders_do_not_move_with_the_laptop(monkeypatch, zone):
    """Months and days begin at UTC midnight wherever the machine is, and naive datetimes are UTC."""
    since, until = datetime(2025, 1, 31), datetime(2025, 4, 2)  # noqa: DTZ001 - naive is the point
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        months = ares.get_monthly_periods(0.5, end="2025-04-02")
        days = ares.get_daily_periods(20 * DAY, end="2025-04-02")
        with pytest.warns(UserWarning, match="no time zone and is taken as UTC") as told:
            naive = ares.get_monthly_periods(0.5, since, end=until)
        with pytest.warns(UserWarning, match="taken as UTC"):
            naive_days = ares.get_daily_periods(0.5, since, end=until)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()

    assert all(start.isoformat().endswith("-01T00:00:00+00:00") for start, _ in months)
    # The nights of the change to summer time included.
    assert {86_400.0} == {(end - start).total_seconds() for start, end in days}
    # One warning a call, at the caller's line.
    assert [Path(each.filename).name for each in told] == ["test_original.py"]
    assert naive == months[-4:]
    assert naive_days[0].start == datetime(2025, 1, 31, tzinfo=UTC)
    assert naive_days[-1].end == datetime(2025, 4, 2, tzinfo=UTC)


async def test_07_a_typo_is_no_interval(settings):
    """An unknown interval is refused with those that are known; 1M is a calendar month."""
    with pytest.raises(BadArgument, match=r"1m, 3m.*1w, 1M"):
        await ares.download_klines_data("BTCUSDT", "1min", 1, settings=settings)
    await ares.download_klines_data("BTCUSDT", "1M", 0.25, end="2025-04-01", settings=settings)

    assert ["klines_BTCUSDT_1mo_2024-12.csv", *(f"klines_BTCUSDT_1mo_2025-0{n}.csv" for n in (1, 2, 3))] == list(contents(settings))  # fmt: skip


async def test_08_all_datasets_end_together(settings):
    """K-lines, trades and funding reach the same moment."""
    end = "2025-03-10T12:00"
    await ares.download_all_data("BTCUSDT", "1h", HOUR, end=end, settings=settings)
    plan = ares.plan_downloads("BTCUSDT", "1h", HOUR, end=end, settings=settings)

    assert len({step.until_ms for step in plan.steps}) == 1
    assert (
        rows_of(settings, "klines_BTCUSDT_1h_2025-03.csv")[-1]["timestamp"] == "2025-03-10 11:00:00"
    )
    assert (
        rows_of(settings, "aggtrades_BTCUSDT_2025-03-10.csv")[-1]["timestamp"] > "2025-03-10 11:5"
    )
    assert rows_of(settings, "futures_BTCUSDT_2025-03.csv")[-1]["timestamp"] > "2025-03-10 08:00"


async def test_09_nothing_is_filled(settings):
    """A halt stays a halt: no row is made up for it, in the file or in the frame."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-15", settings=settings)
    frame = ares.load_klines("BTCUSDT", "1h", "2025-03-14", "2025-03-15", settings=settings)

    # The exchange stood still from 02:00 to 04:30.
    assert frame.index.hour[:4].tolist() == [0, 1, 4, 5]
    assert len(frame) == 22
    assert not frame.isna().any().any()


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (ServerFault("503"), 4),
        (RateLimited("429", retry_after_seconds=0), 4),
        (ConnectionResetError(), 4),
        (NotFound("404"), 1),
        (BadArgument("a typo"), 1),
        (KeyError("a bug"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_10_only_what_passes_is_tried_again(error, tries):
    """A passing fault is tried max_retries times more, anything else once; the last error comes out."""
    calls = []

    async def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        await ares.download_with_retry(
            call, "a call", settings=Settings(max_retries=3, retry_delay_seconds=0)
        )

    assert tries == len(calls)


async def test_10_retry_after_is_obeyed(exchange, settings):
    """A wait that the exchange names goes before our own, which would here be an hour."""
    own = settings.replace(retry_delay_seconds=3600)
    exchange.fail("/api/v3/klines", status=429, retry_after=0, times=2)

    report = await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-10", settings=own)

    assert report.complete


async def test_11_each_page_has_its_own_arguments(exchange, settings):
    """Pages that are asked for side by side ask each for another stretch, and for all of the whole."""
    own = settings.replace(source="rest")
    await ares.download_klines_data("BTCUSDT", "5m", 2 * DAY, end="2025-02-20", settings=own)

    pages = [each.query for each in exchange.requests if each.path == "/api/v3/klines"]
    spans = sorted((int(page["startTime"]), int(page["endTime"])) for page in pages)
    assert len(spans) > 5
    assert all(last + 1 == start for (_, last), (start, _) in itertools.pairwise(spans))
    assert spans[0][0] == 1738368000000
    assert spans[-1][1] == 1740009599999


async def test_12_no_silent_stand_in(exchange, settings):
    """Without an exchange there is an error at every file: the demo is only there when asked for."""
    own = settings.replace(max_retries=0)
    exchange.stop()
    report = await ares.download_all_data("BTCUSDT", "1h", DAY, end="2025-03-10", settings=own)

    assert len(report.steps) == len(report.failed)
    assert contents(own) == {}
    assert Settings().spot_url == "https://api.binance.com"


@pytest.mark.parametrize(
    "cell", ['"1e5"', '"NaN"', '""', '"12,5"', "null", '"abc"', "[]", '"Infinity"']
)
async def test_13_bad_rows_do_not_vanish(exchange, settings, cell):
    """A row with a cell that is no number fails its step, with the reason, and nothing is stored."""
    own = settings.replace(source="rest", max_retries=0)

    def spoiled(body: bytes) -> bytes:
        first, rest = body.decode().split("],[", 1)
        return f"{','.join([*first.split(',')[:4], cell, *first.split(',')[5:]])}],[{rest}".encode()

    exchange.fail("/api/v3/klines", times=None, replace_body=spoiled)
    report = await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-10", settings=own)

    assert contents(own) == {}
    assert "nothing is stored" in str(report.failed[0].error)


async def test_14_one_logger_and_no_print(exchange, settings, capfd, caplog):
    """What is said goes once, as plain text, through one logger; nothing is printed."""
    caplog.set_level(logging.DEBUG)
    exchange.fail(r"\.zip$", status=500, times=3)
    await ares.download_all_data("BTCUSDT", "1h", 2 * DAY, end="2025-03-10", settings=settings)

    ours = [
        record for record in caplog.records if not record.name.startswith(("asyncio", "aiohttp"))
    ]
    retries = [each.getMessage() for each in ours if "; try " in each.getMessage()]
    assert tuple(capfd.readouterr()) == ("", "")
    assert {"DataDownloader"} == {record.name for record in ours if record.name != "filelock"}
    assert len(retries) == len(set(retries)) == 3
    assert all(record.getMessage().isascii() for record in ours)


async def test_15_one_pipeline_for_all(settings):
    """The functions for one dataset and the one for all of them write the same files."""
    other = settings.replace(cache_dir=settings.cache_dir.with_name("other"))
    await ares.download_all_data("BTCUSDT", "1h", 2 * DAY, end="2025-03-10", settings=settings)
    await asyncio.gather(
        ares.download_klines_data("BTCUSDT", "1h", 2 * DAY, end="2025-03-10", settings=other),
        ares.download_agg_trades_data("BTCUSDT", 2 * DAY, end="2025-03-10", settings=other),
        ares.download_futures_data("BTCUSDT", 2 * DAY, end="2025-03-10", settings=other),
    )
    modules = {path.stem for path in Path(ares.__file__).parent.rglob("*.py")}

    assert contents(settings) == contents(other)
    assert not any(
        name.endswith(("_clean", "_optimized", "_new", "_old", "_v2")) for name in modules
    )
