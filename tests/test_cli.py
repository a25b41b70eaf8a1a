"""The command line as a user meets it: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from ares_notebook import Settings
from ares_notebook.cli import main

NAMES = (
    "spot_url",
    "spot_fallback_url",
    "futures_url",
    "archive_url",
    "archive_listing_url",
    "cache_dir",
    "market",
)


@dataclass(frozen=True)
class Done:
    """How a run of the command line ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def reported(settings: Settings) -> dict[str, str]:
    """The environment that points at the demo exchange."""
    names = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in NAMES}
    return {**names, "ARES_RETRY_DELAY_SECONDS": "0"}


@pytest.fixture
def ares(reported, tmp_path, monkeypatch, capfd):
    """Run the command line in this process, against the demo exchange, in a folder of its own."""
    level = logging.getLogger("DataDownloader").level
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environment: str) -> Done:
        for name, value in {**reported, **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["ares-notebook", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    yield run
    logging.getLogger("DataDownloader").setLevel(level)


@pytest.fixture
def process(reported, tmp_path):
    """Run the command line in a process of its own; its output goes into pipes."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "ares_notebook", *arguments],
            cwd=tmp_path,
            env={**os.environ, **reported, **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )

    return run


SHORT = ("--years", "0.05", "--end", "2025-03-01", "--datasets", "klines,futures")


def test_download_and_again(exchange, settings, process):
    """A download ends with 0, prints its report and no bar; a second one asks nothing."""
    first = process("download", "btcusdt", "1h", *SHORT)
    asked = len(exchange.requests)
    second = process("download", "BTCUSDT", "1h", *SHORT)

    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("complete: 2 files (2 fetched)")
    assert (second.returncode, second.stderr) == (0, "")
    assert "2 skipped" in second.stdout
    assert asked == len(exchange.requests) > 0
    assert (settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv").is_file()


def test_defaults_come_from_the_environment(settings, ares):
    """Without arguments symbol, interval and lookback are those of the settings."""
    own = {"ARES_SYMBOL": "ETHUSDT", "ARES_INTERVAL": "1d", "ARES_LOOKBACK_YEARS": "0.05"}
    done = ares("download", "--end", "2025-03-01", "--datasets", "klines", **own)

    assert done.returncode == 0
    assert (settings.cache_dir / "klines_ETHUSDT_1d_2025-02.csv").is_file()


def test_options_win_over_the_environment(exchange, ares, tmp_path):
    """Source and cache folder of the command line go before those of the environment."""
    done = ares(
        "download",
        "BTCUSDT",
        "1h",
        *SHORT,
        "--source",
        "rest",
        "--cache-dir",
        "mine",
        ARES_SOURCE="archive",
    )

    assert done.returncode == 0
    assert (tmp_path / "mine/klines_BTCUSDT_1h_2025-02.csv").is_file()
    assert not any(each.path.endswith(".zip") for each in exchange.requests)


def test_failure_is_1_and_says_why(exchange, ares):
    """Where a file failed the status is 1, and the report names file and reason."""
    exchange.fail("/klines/", status=500, times=None)
    exchange.fail("/api/v3/klines", status=500, times=None)
    done = ares("download", "BTCUSDT", "1h", *SHORT, ARES_MAX_RETRIES="0")

    assert done.returncode == 1
    assert "1 FAILED" in done.stdout
    assert "klines_BTCUSDT_1h_2025-02.csv" in done.stdout
    assert "Traceback" not in done.stderr


def test_unknown_symbol_is_1(ares):
    """An unknown symbol ends with 1 and one line on stderr."""
    done = ares("download", "NOSUCHUSDT", "1h", *SHORT)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ERROR: NOSUCHUSDT")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("download", "BTC/USDT", "1h"),
        ("download", "BTCUSDT", "7m"),
        ("download", "BTCUSDT", "1h", "--years", "0"),
        ("download", "BTCUSDT", "1h", "--years", "nan"),
        ("download", "BTCUSDT", "1h", "--years", "many"),
        ("download", "BTCUSDT", "1h", "--end", "yesterday"),
        ("download", "BTCUSDT", "1h", "--end", "2100-01-01"),
        ("download", "BTCUSDT", "1h", "--datasets", "candles"),
        ("download", "BTCUSDT", "1h", "--datasets", ""),
        ("download", "BTCUSDT", "1h", "--source", "ftp"),
        ("download", "BTCUSDT", "1h", "2"),
        ("plan", "BTCUSDT", "7m"),
        ("coverage", "BTC/USDT"),
        ("fetch",),
        ("download", "--frobnicate"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(exchange, settings, ares, arguments):
    """What cannot be meant ends with 2, on stderr, before a request or a folder is made."""
    done = ares(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert exchange.requests == []
    assert not settings.cache_dir.exists()


def test_wrong_environment_is_2(ares):
    """A wrong variable of the environment is named."""
    done = ares("download", ARES_MAX_RETRIES="often")

    assert done.returncode == 2
    assert "max_retries" in done.stderr


def test_plan_prints_and_fetches_nothing(exchange, settings, ares):
    """A plan says file by file what a download would do, and touches neither network nor disk."""
    done = ares("plan", "BTCUSDT", "1h", *SHORT)

    assert (done.returncode, done.stderr) == (0, "")
    assert "klines_BTCUSDT_1h_2025-02.csv: not downloaded, by monthly archive" in done.stdout
    assert "To do: 2 of 2 files" in done.stdout
    assert exchange.requests == []
    assert not settings.cache_dir.exists()


def test_exact_plan_asks_the_listing_alone(exchange, ares):
    """With --exact the sizes come from the archive's listing, and still nothing is fetched."""
    done = ares("plan", "BTCUSDT", "1h", *SHORT, "--exact")

    assert done.returncode == 0
    assert {each.path for each in exchange.requests} == {"/data.binance.vision"}


def test_plan_of_a_complete_cache(ares):
    """After a download the plan has nothing to do."""
    ares("download", "BTCUSDT", "1h", *SHORT)
    done = ares("plan", "BTCUSDT", "1h", *SHORT)

    assert "Nothing to do: all 2 files are there." in done.stdout


def test_coverage_prints_a_line_a_file(ares):
    """Coverage shows each file of the cache; of an empty one it says so, with status 1."""
    empty = ares("coverage")
    ares("download", "BTCUSDT", "1h", *SHORT)
    done = ares("coverage", "BTCUSDT", "1h")

    assert empty.returncode == 1
    assert empty.stderr.startswith("ERROR: ")
    assert "there is no cache folder" in empty.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert "klines_BTCUSDT_1h_2025-02.csv" in done.stdout
    assert "100.00%" in done.stdout


def test_demo_works_offline(process, tmp_path):
    """The demo downloads from an exchange of its own into demo_cache; again, it fetches nothing."""
    # A proxy that is not there stands for a machine without a network.
    lonely = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    first, second = (process("demo", **lonely) for _ in range(2))

    assert (first.returncode, first.stderr) == (0, "")
    assert "Its market is made up." in first.stdout
    assert len(list((tmp_path / "demo_cache").glob("*.csv"))) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["demo_cache"]
    assert (second.returncode, second.stdout.count(" 0 requests")) == (0, 2)


def test_help_is_a_page(process):
    """Without arguments the commands are listed."""
    done = process()

    for name in ("download", "plan", "coverage", "demo"):
        assert name in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_verbose_tells_on_stderr(process):
    """With --verbose each request and decision is logged, on stderr; the report stays alone on stdout."""
    done = process("download", "BTCUSDT", "1h", *SHORT, "--verbose")

    assert "DEBUG" in done.stderr
    assert "klines_BTCUSDT_1h_2025-02.csv: fetch, since " in done.stderr
    assert "BTCUSDT-1h-2025-02.zip" in done.stderr
    assert done.stdout.startswith("complete")


def test_file_in_the_way_is_1(settings, ares):
    """A cache folder that is a file ends with 1 and the way out."""
    settings.cache_dir.write_text("a file")
    done = ares("download", "BTCUSDT", "1h", *SHORT)

    assert done.returncode == 1
    assert "cache_dir" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_folder_name_is_refused(ares):
    """`--cache-dir "$UNSET"` is a wrong argument, and never the current folder."""
    done = ares("download", "BTCUSDT", "1h", *SHORT, "--cache-dir", "")

    assert done.returncode == 2
    assert "cache_dir" in done.stderr


def test_symbols_are_listed(ares):
    """A line a symbol with its days, and how far the listing reaches; JSON has the same."""
    done = ares("symbols", "--quote", "BTC", "--listed-on", "2020-01-01")
    reported = ares("symbols", "--market", "futures", "--quote", "人生USDT", "--json")

    assert done.returncode == 0
    assert "ETHBTC 2017-07-14 20" in done.stdout
    assert "1 symbol, by the archive's listing up to 20" in done.stdout
    [row] = json.loads(reported.stdout)
    assert (row["symbol"], row["first"]) == ("币安人生USDT", "2025-10-08")


def test_a_universe_is_downloaded(ares):
    """Those that are named or meant come; a failure of one is exit status 1."""
    wanted = ("--years", "0.05", "--end", "2025-02-01", "--datasets", "klines")
    done = ares("universe", "1d", "--quote", "FDUSD", *wanted)
    failed = ares("universe", "1d", "--symbols", "BTCFDUSD,XYZUSDT", "--json", *wanted)

    assert done.returncode == 0
    assert done.stdout.startswith("complete: 1 file (1 fetched), 31 new rows")
    assert failed.returncode == 1
    assert [step["file"] for step in json.loads(failed.stdout)["steps"]] == [
        "klines_BTCFDUSD_1d_2025-01.csv",
        "klines_XYZUSDT_1d_2025-01.csv",
    ]


def test_a_universe_is_only_planned(ares, tmp_path):
    """A dry run says what would be done for which symbols of which market, and brings nothing."""
    wanted = ("--years", "0.05", "--end", "2025-11-01", "--datasets", "futures", "--dry-run")
    done = ares("universe", "--market", "futures", "--quote", "人生USDT", *wanted)

    assert done.returncode == 0
    assert "币安人生USDT" in done.stdout
    assert "1 file" in done.stdout
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.parametrize("words", [[], ["--symbols", "BTCUSDT", "--quote", "USDT"]])
def test_which_universe_must_be_said(ares, words):
    """Neither names nor a filter, or both, is wrong usage."""
    done = ares("universe", "1d", *words)

    assert done.returncode == 2
    assert "say which symbols: --symbols A,B; or those of a --quote" in done.stderr


def test_a_market_beside_names_is_refused(ares):
    """It would be ignored without a word."""
    done = ares("universe", "1d", "--symbols", "BTCUSDT", "--market", "coin")

    assert done.returncode == 2
    assert "beside --symbols it says nothing" in done.stderr


def test_a_dry_run_can_be_read_by_machines(ares):
    """With --json a dry run prints a row a symbol."""
    wanted = ("--years", "0.05", "--end", "2025-02-01", "--datasets", "klines", "--dry-run")
    done = ares("universe", "1d", "--symbols", "BTCUSDT,ETHUSDT", "--json", *wanted)

    assert [row["symbol"] for row in json.loads(done.stdout)] == ["BTCUSDT", "ETHUSDT"]


def test_trades_and_funding_are_names_of_datasets(ares, settings):
    """The shell takes the aliases of datasets, and answers a slip with the name that is near."""
    window = ("BTCUSDT", "1h", "--years", "0.01", "--end", "2025-02-03")
    done = ares("download", *window, "--datasets", "funding")
    names = sorted(path.name for path in settings.cache_dir.glob("*.csv"))
    proven = ares("fingerprint", "BTCUSDT", "--dataset", "funding")
    slip = ares("download", *window, "--datasets", "fundings")

    assert done.returncode == proven.returncode == 0
    assert names == ["futures_BTCUSDT_2025-01.csv", "futures_BTCUSDT_2025-02.csv"]
    assert slip.returncode == 2
    assert "did you mean futures?" in slip.stderr
