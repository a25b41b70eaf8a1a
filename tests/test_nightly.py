"""
A week of nights: what a cron job runs against an exchange that behaves as Binance does.

Days appear, an archive comes late, a day is replaced, the exchange is down, a file is damaged;
the run history and the messages tell the story.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import ares_notebook as ares
from ares_notebook.cli import main
from ares_notebook.errors import PoorQuality

TRADES = "aggtrades_BTCUSDT_2025-03-{:02}.csv"
ARCHIVE = "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-03-{:02}.zip"
Night = Callable[..., dict[str, int]]


@pytest.fixture
def messages() -> Iterator[list[dict[str, str]]]:
    """What the team is told: each message that comes in over HTTP; the first item says where."""
    got: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Keep it."""
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        got.append({"url": f"json://127.0.0.1:{server.server_port}/hook"})
        yield got
        server.shutdown()


@pytest.fixture
def night(exchange, settings, messages, monkeypatch, capsys) -> Night:
    """Run the job of a night at 06:00 UTC, as cron does: download, audit, validate; exit statuses."""
    for name in ("spot_url", "futures_url", "archive_url", "archive_listing_url", "cache_dir"):
        monkeypatch.setenv(f"ARES_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("ARES_SPOT_FALLBACK_URL", settings.spot_fallback_url)
    monkeypatch.setenv("ARES_MARKET", "demo")
    monkeypatch.setenv("ARES_MAX_RETRIES", "0")
    monkeypatch.setenv("ARES_NOTIFY", messages[0]["url"])

    def status(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ares-notebook", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        capsys.readouterr()
        return int(ended.value.code or 0)

    def run(day: int) -> dict[str, int]:
        exchange.now = datetime(2025, 3, day, 6, tzinfo=UTC)
        end = f"2025-03-{day:02}"
        years = repr((day - 3) / 365.25)
        return {
            "download": status(
                *("download", "BTCUSDT", "1h", "--years", years, "--end", end),
                *("--datasets", "klines,agg_trades,futures"),
            ),
            "audit": status("audit", "BTCUSDT", "--update"),
            "validate": status("validate", "BTCUSDT"),
        }

    return run


def published(exchange, day: int) -> str:
    """What the archive has of a day, as text."""
    with urllib.request.urlopen(exchange.url + ARCHIVE.format(day)) as answer:  # noqa: S310 - loopback
        packed = zipfile.ZipFile(io.BytesIO(answer.read()))
    return packed.read(packed.namelist()[0]).decode()


def asked_for(exchange, day: int) -> list[str]:
    """By which sources the trades of a day were asked for."""
    start_ms = int(datetime(2025, 3, day, tzinfo=UTC).timestamp()) * 1000
    return [
        "archive" if request.path == ARCHIVE.format(day) else "rest"
        for request in exchange.requests
        if request.path == ARCHIVE.format(day)
        or (
            request.path == "/api/v3/aggTrades"
            and start_ms <= int(request.query.get("startTime", -1)) < start_ms + 86_400_000
        )
    ]


def sources(settings) -> dict[str, set[str]]:
    """By which sources each file came."""
    history = ares.download_history("BTCUSDT", settings=settings)
    return {name: set(some["road"]) for name, some in history.groupby("file")}


def test_the_nights_of_a_week(exchange, settings, night, messages, publish_anew):
    """New days are fetched and only they, late and replaced archives are taken over, failures are told."""
    all_well = {"download": 0, "audit": 0, "validate": 0}

    # The first night: two days.
    assert night(5) == all_well
    assert {TRADES.format(3), TRADES.format(4)} <= set(sources(settings))

    # Two days are new; the archive of the second comes late, so that it is had over REST.
    exchange.withhold("aggTrades-2025-03-06")
    exchange.requests.clear()
    assert night(7) == all_well
    assert asked_for(exchange, 3) == asked_for(exchange, 4) == []
    assert sources(settings)[TRADES.format(5)] == {"daily archive"}
    assert sources(settings)[TRADES.format(6)] == {"rest"}

    # The late archive is there, and holds the same; of the day before one quantity was replaced.
    exchange.release("aggTrades-2025-03-06")
    old = published(exchange, 5)
    quantity = old.splitlines()[100].split(",")[2]
    publish_anew("BTCUSDT-aggTrades-2025-03-05", old.replace(f",{quantity},", ",123.45600000,", 1))
    assert night(8) == all_well
    assert "123.45600000" in (settings.cache_dir / TRADES.format(5)).read_text()

    # Nobody is there: what is cached stays as it is.
    outage = exchange.fail(".", status=503, times=None)
    before = (settings.cache_dir / "klines_BTCUSDT_1h_2025-03.csv").read_bytes()
    assert night(9)["download"] == 1
    assert (settings.cache_dir / "klines_BTCUSDT_1h_2025-03.csv").read_bytes() == before

    # The exchange is back, and the night before is made good.
    exchange.faults.remove(outage)
    assert night(9) == all_well

    # A disk has eaten the end of a file: the validation tells, and the next night mends it.
    path = settings.cache_dir / TRADES.format(4)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(PoorQuality, match=TRADES.format(4)):
        ares.run(ares.assure_quality("BTCUSDT"))
    assert night(10) == all_well
    assert path.read_bytes() == whole

    assert story(settings) == [
        *["download done", "audit done", "validate done"] * 3,
        *["download failed", "audit failed", "validate below threshold"],
        *["download done", "audit done", "validate done"],
        "validate below threshold",
        *["download done", "audit done", "validate done"],
    ]
    assert_the_messages_tell_it(messages[1:], settings)


def story(settings) -> list[str]:
    """The run history, a line a run."""
    return [f"{run.what} {run.ending}" for run in ares.load_runs(settings=settings).itertuples()]


def assert_the_messages_tell_it(messages: list[dict[str, str]], settings) -> None:
    """Each run was told of, as it ended, and those that did not end well say what to do."""
    kinds = {"done": "success", "failed": "failure", "threshold": "warning"}
    titles = [each["title"].split(": ") for each in messages]
    reported = [f"{what.split()[0]} {ending.split(' (')[0]}" for _, what, ending in titles]
    assert reported == story(settings)
    assert [each["type"] for each in messages] == [
        kinds[line.split()[-1]] for line in story(settings)
    ]
    failed = next(each for each in messages if each["type"] == "failure")
    assert "503" in failed["message"]
    assert f"ares-notebook runs --cache-dir {settings.cache_dir}" in failed["message"]
