"""The verbs of the night: what was run, and whether the data is good enough; with an exchange and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHORT = ("BTCUSDT", "1h", "--years", "0.05", "--end", "2025-03-01", "--datasets", "klines")
NAME = "klines_BTCUSDT_1h_2025-02.csv"
NOBODY = {
    f"ARES_{name}_URL": "http://127.0.0.1:9"
    for name in ("SPOT", "SPOT_FALLBACK", "FUTURES", "ARCHIVE", "ARCHIVE_LISTING")
}


@pytest.fixture
def ares(settings, tmp_path):
    """Run the command line in a process of its own, against the demo exchange."""
    names = ("spot_url", "futures_url", "archive_url", "archive_listing_url", "cache_dir", "market")
    reported = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in names}
    patience = {"ARES_MAX_RETRIES": "0", "ARES_RETRY_DELAY_SECONDS": "0"}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "ares_notebook", *arguments],
            cwd=tmp_path,
            env={**os.environ, **reported, **patience, **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def test_runs_are_lines(ares):
    """A run is a line with its counts; why one did not end well stands below."""
    ares("download", *SHORT)
    ares("download", "BTCUSDT", "1h", "--years", "0.3", "--end", "2025-03-01", **NOBODY)
    done = ares("runs")
    lines = done.stdout.splitlines()

    assert done.returncode == 0
    assert lines[0].split()[:4] == ["at", "(UTC)", "what", "symbol"]
    assert [line.split()[5] for line in lines[1:3]] == ["done", "failed"]
    assert lines[1].split()[8] == "672"
    assert "download BTCUSDT: " in lines[4]
    assert "run again" in lines[4]


def test_runs_are_json_for_machines(ares):
    """With --json a run is an object, and --last says how many of the newest."""
    for _ in range(3):
        ares("download", *SHORT)
    done = ares("runs", "--json", "--last", "2")
    runs = json.loads(done.stdout)

    assert [(run["what"], run["ending"], run["rows"]) for run in runs] == [
        ("download", "done", 0)
    ] * 2
    assert runs[0]["start"] == "2025-02-10T17:42:00.000000Z"


def test_no_history_is_1(ares):
    """Where nothing was run the status is 1, and the message says what begins a history."""
    done = ares("runs")

    assert done.returncode == 1
    assert "a download begins it" in done.stderr


def test_thresholds_decide_the_status_of_validate(ares, settings):
    """A gap is status 1 at the defaults, and 0 where the threshold bears it; the report is the same."""
    ares("download", *SHORT)
    path = settings.cache_dir / NAME
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:100] + lines[105:]))
    # With its receipt the whole file would count for altered.
    (settings.cache_dir / ".ares" / "receipts" / f"{NAME}.json").unlink()
    strict = ares("validate", "BTCUSDT")
    mild = ares("validate", "BTCUSDT", ARES_MIN_COMPLETE_SHARE="0.9", ARES_MAX_ERRORS="1")

    assert (strict.returncode, mild.returncode) == (1, 0)
    assert strict.stdout.partition(";")[0] == mild.stdout.partition(";")[0]
    assert "below threshold: klines_BTCUSDT_1h is complete to 99.255 %" in strict.stderr
    assert "The thresholds of the settings allow these errors." in mild.stderr
    assert "holes (1)" in strict.stdout


def test_without_an_exchange_the_cache_is_served_and_the_rest_is_reported(ares):
    """Where nobody answers what is cached is shown, what is missing is told, and the status says which."""
    ares("download", *SHORT)
    again = ares("download", *SHORT, **NOBODY)
    more = ares(
        "download",
        "BTCUSDT",
        "1h",
        "--years",
        "0.2",
        "--end",
        "2025-03-01",
        "--datasets",
        "klines",
        **NOBODY,
    )
    coverage = ares("coverage", "BTCUSDT", **NOBODY)

    assert (again.returncode, more.returncode, coverage.returncode) == (0, 1, 0)
    assert more.stdout.startswith("2 FAILED: 3 files")
    assert "run again" in more.stdout
    assert NAME in coverage.stdout


def test_a_key_shows_nowhere(ares, exchange, tmp_path):
    """With every line of the log shown the API key is in none, in no file, and in no address."""
    done = ares("download", *SHORT, "--verbose", ARES_API_KEY="S3CRET", ARES_SOURCE="rest")
    failed = ares("download", "ETHUSDT", *SHORT[1:], "--verbose", ARES_API_KEY="S3CRET", **NOBODY)
    written = "".join(
        path.read_text(errors="replace") for path in Path(tmp_path).rglob("*") if path.is_file()
    )
    texts = (done.stdout, done.stderr, failed.stdout, failed.stderr, written)

    assert (done.returncode, failed.returncode) == (0, 1)
    assert all("S3CRET" not in text for text in texts)
    assert all("S3CRET" not in f"{each.path}{each.query}" for each in exchange.requests)
    assert any(each.headers.get("x-mbx-apikey") == "S3CRET" for each in exchange.requests)
