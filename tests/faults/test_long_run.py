"""Long runs: five years of three datasets in bad weather, and nothing that grows or stays behind."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from reading import changed
from weather import SHARE, bad_weather

from ares_notebook import DemoExchange

START, END = datetime(2021, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
FILES = 1826 + 60 + 60
NEVER = 10**9
# What an allocator and 2,000 lines of a report may take: 8 KB a file.
MARGIN_BYTES = 8 << 20
# The last files are read again, for the first time in a run: PyArrow comes with its pools, and
# takes 86 MB, after one year as after five.
LAST_FILES, READING_BYTES = 46, 112 << 20
# More than sixteen lines, their files and a pool of threads cannot hold.
MOST_OPEN_FILES, MOST_THREADS = 80, 40


def put(folder, key, lines):
    """A zip of the archive."""
    path = folder / f"{key}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.csv", "\n".join(lines) + "\n")


def candle(opened_ms, factor):
    """An hour."""
    times = (opened_ms * factor, (opened_ms + 3_599_999) * factor)
    return f"{times[0]},1.0,1.0,1.0,1.0,{opened_ms // 3_600_000}.0,{times[1]},7.0,7,7.0,7.0,0"


def trade(number, time_ms, factor):
    """A trade."""
    return f"{number},3.{number}0,0.{number},{number},{number},{time_ms * factor},True,True"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Five years of the archive, with few trades a day."""
    folder, day, number = tmp_path_factory.mktemp("recording"), START, 0
    months = {}
    while day < END:
        start_ms, factor = int(day.timestamp()) * 1000, 1000 if day.year >= 2025 else 1
        rows = [trade(number + at, start_ms + at * 20_000_000, factor) for at in range(4)]
        number += len(rows)
        key = f"data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-{day:%Y-%m-%d}"
        put(folder, key, rows)
        candles, events = months.setdefault(f"{day:%Y-%m}", ([], []))
        candles += [candle(start_ms + hour * 3_600_000, factor) for hour in range(24)]
        events += [f"{start_ms + at * 28_800_000},8,0.000{number}" for at in range(3)]
        day += timedelta(days=1)
    funding = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate"
    for month, (candles, events) in months.items():
        put(folder, f"data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-{month}", candles)
        put(folder, f"{funding}-{month}", events)
    return folder


@pytest.fixture
def exchange(recording):
    with DemoExchange(recording, now=END + timedelta(days=40), weight_limit=10**6) as running:
        yield running


def long_run(exchange, folder, years=5, cancel_at=NEVER, **changes):
    """A download in a process of its own, and what it told of itself."""
    settings = exchange.settings(
        cache_dir=folder,
        progress=False,
        retry_delay_seconds=0,
        request_timeout_seconds=1.5,
        **changes,
    )
    wish = {
        "settings": {name: str(value) for name, value in changed(settings).items()},
        "years": years,
        "end": END.isoformat(),
        "cancel_at": cancel_at,
    }
    program = str(Path(__file__).with_name("long_run.py"))
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, program],
        input=json.dumps(wish),
        capture_output=True,
        text=True,
        check=True,
        timeout=400,
    )
    return json.loads(done.stdout)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def assert_nothing_left(reported):
    """Tasks and threads are gone, and what was opened is closed."""
    assert reported["tasks_left"] == 0
    assert reported["after"]["threads"] == reported["before"]["threads"]
    assert reported["after"]["open_files"] == reported["before"]["open_files"]


@pytest.mark.timeout(900)
def test_five_years_in_bad_weather(exchange, tmp_path, record_property):
    """With faults at a twentieth of all requests five years of three datasets end in the bytes of calm weather, in one run, and nothing grows on the way."""
    calm = long_run(exchange, tmp_path / "calm")
    exchange.requests.clear()
    exchange.faults[:] = bad_weather(seed=7)
    reported = long_run(exchange, tmp_path / "bad")

    assert (calm["complete"], reported["complete"], reported["failed"]) == (True, True, 0)
    truth, found = contents(tmp_path / "calm"), contents(tmp_path / "bad")
    assert len(truth) == FILES
    assert found == truth
    struck = sum(fault.seen for fault in exchange.faults)
    assert struck > SHARE * len(exchange.requests) / 2
    assert all(fault.seen for fault in exchange.faults)
    assert_nothing_left(reported)
    first, second, last = (
        most(reported["samples"], from_files, to_files)
        for from_files, to_files in pairwise((0, FILES / 2, FILES - LAST_FILES, FILES + 1))
    )
    assert second["memory_bytes"] <= first["memory_bytes"] + MARGIN_BYTES
    assert last["memory_bytes"] <= first["memory_bytes"] + READING_BYTES
    for part in (second, last):
        assert part["open_files"] <= MOST_OPEN_FILES
        assert part["threads"] <= MOST_THREADS
    record_property("random faults survived", struck)
    record_property(
        "rows lost", sum(map(rows_of, truth.values())) - sum(map(rows_of, found.values()))
    )


def most(samples, from_files, to_files):
    """The most that was held while so many files were done."""
    held = [each for each in samples if from_files <= each["files"] < to_files]
    return {key: max(each[key] for each in held) for key in held[0]}


def rows_of(text):
    return text.count(b"\n") - 1


@pytest.mark.timeout(300)
def test_cancelled_in_the_middle(exchange, tmp_path):
    """A long run in bad weather that is cancelled leaves whole files, and neither task nor thread nor open file."""
    exchange.faults[:] = bad_weather(seed=8)

    reported = long_run(exchange, tmp_path / "cache", years=1, cancel_at=150)

    assert reported["ending"] == "CancelledError"
    assert_nothing_left(reported)
    left = contents(tmp_path / "cache")
    assert 150 <= len(left) < 365
    assert {rows_of(text) for name, text in left.items() if name.startswith("aggtrades")} == {4}
    assert list((tmp_path / "cache").rglob("*.part")) == []


@pytest.mark.timeout(300)
def test_failed_in_the_middle(exchange, tmp_path):
    """When the exchange falls silent for ever the other files fail, and neither task nor thread nor open file is left."""
    exchange.fail(".", skip=300, times=None, reset="head")

    # What is silent for ever is so at each try.
    reported = long_run(exchange, tmp_path / "cache", years=1, max_retries=1)

    assert reported["ending"] == "DownloadReport"
    assert reported["failed"] > 100
    assert_nothing_left(reported)
    left = contents(tmp_path / "cache")
    assert len(left) > 100
    assert {rows_of(text) for name, text in left.items() if name.startswith("aggtrades")} == {4}
    assert list((tmp_path / "cache").rglob("*.part")) == []
