"""The five promises of the design, each put to the test."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import NeverDownloaded

DAY = 1 / 365.25
END = "2025-03-15"
YEARS = 0.02


def contents(folder: Path) -> dict[str, bytes]:
    """The cache files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


def started(settings: Settings, **environment: str) -> subprocess.Popen[str]:
    """A process of its own that downloads everything up to END into the cache of *settings*."""
    reported = {
        f"ARES_{name.upper()}": str(getattr(settings, name))
        for name in (
            "spot_url",
            "spot_fallback_url",
            "futures_url",
            "archive_url",
            "archive_listing_url",
            "cache_dir",
            "market",
            "retry_delay_seconds",
            "source",
        )
    }
    command = [sys.executable, "-m", "ares_notebook", "download", "BTCUSDT", "1h"]
    command += ["--datasets", "klines,agg_trades,futures"]
    return subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--years", str(YEARS), "--end", END],
        env={**os.environ, **reported, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def body_of(url: str) -> bytes:
    """What the demo exchange answers."""
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - loopback
        return answer.read()


async def in_this_process(settings: Settings) -> ares.DownloadReport:
    """The same download, here."""
    return await ares.download_all_data("BTCUSDT", "1h", YEARS, end=END, settings=settings)


@pytest.fixture
async def whole(settings: Settings) -> dict[str, bytes]:
    """What the download leaves when nothing goes wrong."""
    own = settings.replace(cache_dir=settings.cache_dir.with_name("whole"))
    report = await in_this_process(own)
    assert report.complete
    return contents(own.cache_dir)


# --- 1. failure never looks like emptiness ---


async def test_dead_exchange_leaves_nothing_but_a_failed_report(exchange, settings):
    """Where nobody answers every step failed, no file is made, and nothing counts as downloaded."""
    exchange.stop()
    own = settings.replace(max_retries=0)
    report = await in_this_process(own)

    assert report.steps
    assert len(report.steps) == len(report.failed)
    assert not report
    assert contents(own.cache_dir) == {}
    with pytest.raises(NeverDownloaded):
        ares.coverage(settings=own)
    with pytest.raises(NeverDownloaded):
        ares.load_klines("BTCUSDT", "1h", settings=own)


async def test_every_absence_has_a_reason(settings):
    """Of a halt each missing row is accounted for: confirmed, with its evidence and its time."""
    await ares.download_klines_data("BTCUSDT", "15m", 0.04, end="2025-03-16", settings=settings)
    table = ares.coverage("BTCUSDT", "15m", settings=settings, end="2025-03-16").set_index("file")
    row = table.loc["klines_BTCUSDT_15m_2025-03.csv"]
    receipt = json.loads(
        (settings.cache_dir / ".ares/receipts/klines_BTCUSDT_15m_2025-03.csv.json").read_text()
    )

    # The halt of 2025-03-14, 02:00 to 04:30.
    assert (row["rows"], row["expected"], row["confirmed_absent"]) == (1430, 1440, 10)
    [absence] = receipt["absences"]
    assert absence["evidence"] == "rest"
    assert datetime.fromisoformat(absence["at"]).tzinfo is not None


async def test_failure_confirms_no_absence(exchange, settings):
    """A halt about which the exchange could not be asked stays a gap, and is asked about later."""
    exchange.fail("/api/v3/klines", status=500, times=None)
    own = settings.replace(max_retries=0)
    first = await ares.download_klines_data("BTCUSDT", "15m", DAY, end="2025-04-01", settings=own)
    exchange.faults.clear()
    second = await ares.download_klines_data("BTCUSDT", "15m", DAY, end="2025-04-01", settings=own)

    assert (bool(first), first.complete) == (False, False)
    assert second.complete


# --- 2. whole or absent ---


async def test_kill_while_a_file_grows(exchange, settings, whole):
    """A kill while REST brings pages of trades leaves the older file as it was."""
    own = settings.replace(source="rest")
    await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-14T06:00", settings=own)
    before = contents(own.cache_dir)
    process: list[subprocess.Popen[str]] = []

    def kill(body: bytes) -> bytes:
        process[0].kill()
        return body

    exchange.fail("fromId=", skip=3, replace_body=kill)
    process.append(started(own))
    process[0].communicate(timeout=60)
    killed = contents(own.cache_dir)
    report = await in_this_process(own)

    assert process[0].returncode == -signal.SIGKILL
    assert killed.items() <= (whole | before).items()
    assert report.complete
    assert whole == {name: contents(own.cache_dir)[name] for name in whole}


async def test_interrupt_leaves_no_temporary_file(exchange, settings):
    """Ctrl-C ends with status 130, one line, and no temporary file."""
    process: list[subprocess.Popen[str]] = []

    def interrupt(body: bytes) -> bytes:
        process[0].send_signal(signal.SIGINT)
        return body

    exchange.fail(r"\.zip$", skip=2, replace_body=interrupt, delay_seconds=5)
    process.append(started(settings))
    _, complaint = process[0].communicate(timeout=60)

    assert process[0].returncode == 130
    assert list(settings.cache_dir.rglob("*.part")) == []
    assert "Traceback" not in complaint
    assert "run the same command" in complaint


async def test_stale_temporary_files_are_swept(settings):
    """What a killed process left is removed by the next run that has work."""
    settings.cache_dir.mkdir()
    stale = settings.cache_dir / ".klines_BTCUSDT_1h_2024-01.csv.0badcafe.part"
    stale.write_text("half a ro")
    await in_this_process(settings)

    assert not stale.exists()


async def test_cache_folder_holds_only_whole_files(settings, whole):
    """Beside the cache files there is nothing but our own folder."""
    await in_this_process(settings)

    assert set(whole) | {".ares"} == {path.name for path in settings.cache_dir.iterdir()}


# --- 3. only closed things ---


@pytest.mark.parametrize("interval", ["1m", "1h", "1d", "3d", "1w", "1M"])
@pytest.mark.parametrize("end", ["2025-05-01", "2025-04-30T23:59:59", "2025-04-29"])
@pytest.mark.parametrize("source", ["auto", "archive", "rest"])
async def test_no_candle_reaches_beyond_the_end(settings, interval, end, source):
    """Whatever the source, each stored candle is closed at the end, also where the archive has more."""
    own = settings.replace(source=source)
    await ares.download_klines_data("BTCUSDT", interval, 29 * DAY, end=end, settings=own)

    stop = datetime.fromisoformat(end).replace(tzinfo=UTC)
    days = {"1m": DAY / 1440, "1h": 1 / 24, "1d": 1, "3d": 3, "1w": 7, "1M": 31}[interval]
    for text in contents(own.cache_dir).values():
        last = list(csv.DictReader(io.StringIO(text.decode())))[-1]["timestamp"]
        opened = datetime.fromisoformat(last).replace(tzinfo=UTC)
        length = timedelta(
            days=(30 if opened.month in (4, 6) else days) if interval == "1M" else days
        )
        assert opened + length <= stop


@pytest.mark.parametrize("end", ["2025-03-14T16:00", "2025-03-14T15:59:59.999"])
async def test_end_is_exclusive(settings, end):
    """Nothing with a stamp at or after the end is stored: no trade, no funding event."""
    report = await ares.download_all_data("BTCUSDT", "1h", DAY, end=end, settings=settings)

    for name, text in contents(settings.cache_dir).items():
        last = text.decode().splitlines()[-1].partition(",")[0]
        assert last < end.replace("T", " "), name
    assert report.complete


# --- 4. UTC, half-open, exact decimals ---


async def test_numbers_are_the_exchange_s_own_text(exchange, settings):
    """Each number in the file is, digit by digit, what REST wrote."""
    await ares.download_klines_data("ETHBTC", "1d", 0.02, end="2025-02-10", settings=settings)
    query = "symbol=ETHBTC&interval=1d&startTime=1738368000000&limit=9"
    page = json.loads(body_of(f"{exchange.url}/api/v3/klines?{query}"))
    rows = list(
        csv.reader(
            io.StringIO(contents(settings.cache_dir)["klines_ETHBTC_1d_2025-02.csv"].decode())
        )
    )

    kept = [[*row[1:6], row[7], str(row[8]), *row[9:11]] for row in page]
    assert kept == [row[1:] for row in rows[1:]]
    assert [f"2025-02-0{day} 00:00:00" for day in range(1, 10)] == [row[0] for row in rows[1:]]


HEADERS = {
    "klines": "timestamp,open,high,low,close,volume,quote_asset_volume,number_of_trades,"
    "taker_buy_base_asset_volume,taker_buy_quote_asset_volume",
    "aggtrades": "timestamp,price,quantity,is_buyer_maker,agg_trade_id,first_trade_id,last_trade_id",
    "futures": "timestamp,fundingRate",
}
STAMPS = {
    "klines": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "aggtrades": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}",
    "futures": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}",
}


def test_format_of_the_files(whole):
    """Header, stamps and line ends are as promised; no quotes, no BOM, no carriage return."""
    for name, text in whole.items():
        kind = name.partition("_")[0]
        header, *lines = text.decode("ascii").split("\n")

        assert HEADERS[kind] == header
        assert lines.pop() == ""
        assert all(re.fullmatch(STAMPS[kind], line.partition(",")[0]) for line in lines)
        assert lines == sorted(lines)
        assert not set(text) & set(b'"\r')


async def test_old_trades_are_floored_and_new_ones_are_not(exchange, settings):
    """Trades before 2025 have whole milliseconds on both sources, later ones their microseconds."""

    def finer(body: bytes) -> bytes:
        # The real API knows the microseconds of old trades, the archive does not.
        return re.sub(rb'"T":(17356\d{8})000', rb'"T":\g<1>777', body)

    exchange.fail("/api/v3/aggTrades", times=None, replace_body=finer)
    own = settings.replace(source="rest")
    await ares.download_agg_trades_data("BTCUSDT", 2 * DAY, end="2025-01-02", settings=own)
    old, new = (
        [line.partition(",")[0][-3:] for line in text.decode().splitlines()[1:]]
        for text in contents(own.cache_dir).values()
    )

    assert {"000"} == set(old)
    assert len(set(new)) > 500


@pytest.mark.parametrize(
    "environment",
    [
        {"TZ": "America/New_York", "LC_ALL": "de_DE.UTF-8"},
        {"TZ": "Asia/Kolkata", "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"},
    ],
    ids=lambda environment: "-".join(environment.values()),
)
def test_place_of_the_machine_does_not_matter(settings, whole, environment):
    """Another time zone or locale writes the same bytes."""
    process = started(settings, **environment)
    output, complaint = process.communicate(timeout=60)

    assert (process.returncode, complaint) == (0, "")
    assert output.startswith("complete")
    assert whole == contents(settings.cache_dir)


# --- 5. the same rows give the same bytes ---


async def test_many_runs_are_one(settings, whole):
    """Ten runs with ten ends leave the files of one."""
    for hours in range(36, -1, -4):
        end = datetime(2025, 3, 15, tzinfo=UTC) - timedelta(hours=hours, minutes=7 if hours else 0)
        await ares.download_all_data("BTCUSDT", "1h", YEARS, end=end, settings=settings)

    made = contents(settings.cache_dir)
    assert whole == {name: made[name] for name in whole}


@pytest.mark.parametrize("source", ["auto", "rest"])
def test_processes_share_a_cache(exchange, settings, whole, source):
    """Two processes on one cache at once leave the bytes of one, and fetch each archive once."""
    exchange.latency_seconds = 0.02
    exchange.requests.clear()
    own = settings.replace(source=source)
    processes = [started(own) for _ in range(2)]
    outputs = [process.communicate(timeout=100) for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert all(output.startswith("complete") for output, _ in outputs)
    assert whole == contents(own.cache_dir)
    archives = [each.path for each in exchange.requests if each.path.endswith(".zip")]
    pages = [str(each.query) for each in exchange.requests if "fromId" in each.query]
    assert sorted(set(archives)) == sorted(archives)
    assert sorted(set(pages)) == sorted(pages)
    assert archives or pages


async def test_receipt_says_where_rows_came_from(settings, whole):
    """Each receipt names source and address of its rows, and the digests of archive and file."""
    await in_this_process(settings)
    sources = set()
    for name in whole:
        receipt = json.loads((settings.cache_dir / f".ares/receipts/{name}.json").read_text())
        sources |= {source["road"] for source in receipt["sources"]}
        for source in receipt["sources"]:
            assert source["url"]
            assert (source["road"] == "rest") == (source["sha256"] is None)

        assert receipt["sha256"]
        assert receipt["file"] == name
    assert {"daily archive", "rest"} <= sources


def test_demo_never_mixes_with_binance():
    """The demo exchange's settings name another market and another folder than the default."""
    with DemoExchange() as exchange:
        made = exchange.settings()

    assert (made.market_name, str(made.cache_dir)) == ("demo", "demo_cache")
    assert (Settings().market_name, str(Settings().cache_dir)) == ("binance", "data_cache")
