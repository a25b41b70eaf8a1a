"""The run history: every run leaves a line, whatever became of it, and nothing that is not a line is believed."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

import ares_notebook as ares
from ares_notebook.cache.history import Run, note_run
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.errors import BadArgument, NeverDownloaded, PoorQuality, UnknownSymbol

DAY = 1 / 365.25


def runs(settings) -> list[dict]:
    """The history, a dictionary a run."""
    return ares.load_runs(settings=settings).to_dict("records")


def some_run(what: str = "download") -> Run:
    """A run that did nothing."""
    return Run(at=datetime(2025, 1, 1, tzinfo=UTC), what=what, symbol="BTCUSDT")


async def test_a_download_is_on_record(exchange, settings):
    """When, what, rows, bytes, requests, seconds: the line says what the report says."""
    before = datetime.now(UTC)
    report = await ares.download_klines_data(
        "BTCUSDT", "1h", DAY, end="2025-03-01", settings=settings
    )
    [run] = runs(settings)

    assert before.replace(microsecond=0) <= run["at"] <= datetime.now(UTC)
    assert (run["what"], run["symbol"], run["interval"]) == ("download", "BTCUSDT", "1h")
    assert (run["datasets"], run["ending"], run["error"]) == ("klines", "done", "")
    assert (run["start"], run["end"]) == (
        datetime(2025, 2, 28, tzinfo=UTC),
        datetime(2025, 3, 1, tzinfo=UTC),
    )
    assert (run["files"], run["rows"], run["failures"]) == (1, report.rows_written, 0)
    assert (run["requests"], run["bytes_received"]) == (report.requests, report.bytes_received)
    assert run["requests"] == len(exchange.requests)
    # In milliseconds, and so rounded.
    assert report.seconds - 0.001 <= run["seconds"] < report.seconds + 1


async def test_a_run_without_work_is_on_record(settings):
    """A run that has nothing to do leaves a line too, of no request."""
    for _ in range(2):
        await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=settings)
    first, second = runs(settings)

    assert first["requests"] > 0
    assert (second["ending"], second["files"], second["rows"], second["requests"]) == (
        "done",
        1,
        0,
        0,
    )


async def test_tries_and_limits_are_counted(exchange, settings):
    """Each new try is a retry, each 429 and 418 is told apart."""
    exchange.fail("monthly.*zip$", status=500)
    exchange.fail("exchangeInfo", status=429, retry_after=0, times=2)
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=settings)
    [run] = runs(settings)

    assert (run["retries"], run["rate_limited"], run["ending"]) == (3, 2, "done")


async def test_a_file_that_fails_is_on_record_with_its_reason(exchange, settings):
    """A run of which files failed says how many, and why the first did."""
    exchange.fail("klines|archive|data/spot", status=503, times=None)
    own = settings.replace(max_retries=0)
    await ares.download_all_data(
        "BTCUSDT", "1h", DAY, end="2025-03-01", settings=own, datasets=("klines", "futures")
    )
    [run] = runs(settings)

    assert (run["ending"], run["failures"], run["files"]) == ("failed", 1, 2)
    assert run["error"].startswith("klines_BTCUSDT_1h_2025-02.csv: ")
    assert "503" in run["error"]


async def test_a_run_that_failed_as_a_whole_is_on_record(settings):
    """A symbol that nobody knows leaves a line, and the error comes out all the same."""
    with pytest.raises(UnknownSymbol):
        await ares.download_klines_data(
            "NOSUCHUSDT", "1h", DAY, end="2025-03-01", settings=settings
        )
    [run] = runs(settings)

    assert (run["ending"], run["failures"], run["symbol"]) == ("failed", 1, "NOSUCHUSDT")
    assert "NOSUCHUSDT" in run["error"]
    assert run["requests"] > 0


async def test_a_cache_that_cannot_be_planned_on_is_a_run_that_failed(settings):
    """A repair or an audit of what is not there leaves a line; a wrong argument is no run."""
    settings.cache_dir.joinpath(".ares").mkdir(parents=True)
    for verb in (ares.repair_gaps, ares.audit_cache):
        with pytest.raises(NeverDownloaded):
            await verb("BTCUSDT", settings=settings)
        with pytest.raises(BadArgument):
            await verb("BTC USDT", settings=settings)
    with pytest.raises(BadArgument):
        await ares.download_klines_data("BTCUSDT", "7h", 1, settings=settings)

    assert [(run["what"], run["ending"]) for run in runs(settings)] == [
        ("repair", "failed"),
        ("audit", "failed"),
    ]


async def test_a_bug_is_on_record_too(settings):
    """An error that is none of ours leaves a line with its kind, and not with what it holds."""
    error = KeyError("S3CRET")

    async def work():
        raise error

    settings.cache_dir.joinpath(".ares").mkdir(parents=True)
    with pytest.raises(KeyError):
        await record_run(RunInfo("download", settings), work())
    [run] = runs(settings)

    assert (run["ending"], run["error"]) == ("failed", "KeyError: see the log")


async def test_a_cancelled_run_says_what_it_had_done(exchange, settings):
    """Who cancels gets a line with the rows that were written until then."""
    exchange.fail("2025-02-27.zip$", stall="body", stall_seconds=60, times=None)
    heard = threading.Event()

    def hear(progress):
        if progress.rows:
            heard.set()

    job = ares.start(
        ares.download_agg_trades_data(
            "BTCUSDT", 2 * DAY, end="2025-03-01", settings=settings, on_progress=hear
        )
    )
    assert await asyncio.to_thread(heard.wait, 60)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    [run] = runs(settings)

    assert (run["ending"], run["failures"]) == ("cancelled", 0)
    assert (
        run["rows"]
        == len((settings.cache_dir / "aggtrades_BTCUSDT_2025-02-28.csv").read_text().splitlines())
        - 1
    )


async def test_each_verb_is_on_record(settings):
    """Repair, audit, validation and step1 leave lines beside downloads, each under its name."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=settings)
    await ares.repair_gaps("BTCUSDT", settings=settings)
    await ares.audit_cache("BTCUSDT", settings=settings)
    await ares.assure_quality("BTCUSDT", settings=settings)
    await ares.fetch_missing_data(
        "BTCUSDT",
        1_738_368_000_000,
        1_738_454_400_000,
        {"futures": None, "klines": None},
        logging.getLogger("step1"),
        interval="1h",
        settings=settings,
    )

    assert [(run["what"], run["ending"]) for run in runs(settings)] == [
        ("download", "done"),
        ("repair", "done"),
        ("audit", "done"),
        ("validate", "done"),
        ("fetch_missing_data", "done"),
    ]
    # The k-lines are all there, so nothing of them is asked for.
    assert runs(settings)[-1]["datasets"] == "futures"
    assert runs(settings)[3]["rows"] == 28 * 24


async def test_a_pruning_is_on_record(settings):
    """A pruning that deletes leaves a line with its files; one that only looks leaves none."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-03-01", settings=settings)
    for dry_run in (True, False):
        ares.prune_cache("btcusdt", max_bytes=0, dry_run=dry_run, settings=settings)
    run = runs(settings)[-1]

    assert (len(runs(settings)), run["what"], run["symbol"]) == (2, "prune", "BTCUSDT")
    assert (run["ending"], run["files"], run["failures"]) == ("done", 3, 0)


async def test_an_audit_that_finds_something_says_so(settings):
    """An audit of a file whose rows are others upstream ends with `differs`, and names the file."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=settings)
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    *rows, last = path.read_text().splitlines()
    path.write_text("\n".join([*rows, last.rpartition(",")[0] + ",1.00000000"]) + "\n")
    own = settings.replace(source="rest")
    report = await ares.audit_cache("BTCUSDT", settings=own)
    run = runs(settings)[-1]

    assert not report
    assert (run["what"], run["ending"], run["failures"]) == ("audit", "differs", 1)
    assert run["error"].startswith("klines_BTCUSDT_1h_2025-02.csv: ")


async def test_poor_quality_is_on_record(settings):
    """A validation below a threshold says which, and how many rows it looked at."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=settings)
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-10]))
    with pytest.raises(PoorQuality):
        await ares.assure_quality("BTCUSDT", settings=settings)
    run = runs(settings)[-1]

    assert (run["what"], run["ending"], run["rows"]) == ("validate", "below threshold", 662)
    assert "min_complete_share" in run["error"]


def test_a_cache_without_runs_says_so(settings):
    """Where nothing was ever run there is no empty table, but an error that says what to do."""
    with pytest.raises(NeverDownloaded, match="a download begins it"):
        ares.load_runs(settings=settings)


def test_a_folder_that_is_no_cache_gets_no_history(tmp_path):
    """A run that could not begin a cache leaves no file in somebody's folder."""
    note_run(tmp_path, some_run())

    assert list(tmp_path.iterdir()) == []


def test_a_line_cut_short_costs_no_other(settings, caplog):
    """A line that lost power in its middle is left out and told of; the next stands on its own."""
    path = settings.cache_dir / ".ares" / "runs.jsonl"
    path.parent.mkdir(parents=True)
    note_run(settings.cache_dir, some_run("first"))
    path.write_bytes(path.read_bytes()[:-9])
    note_run(settings.cache_dir, some_run("second"))

    assert [run["what"] for run in runs(settings)] == ["second"]
    assert "line 1 is no run" in caplog.text


@pytest.mark.parametrize("text", ["5", "[]", "[" * 100_000, "\0\xff", "null"])
def test_what_is_no_run_is_left_out(settings, text, caplog):
    """Lines that somebody else has written cost a warning, and nothing else."""
    (settings.cache_dir / ".ares").mkdir(parents=True)
    path = settings.cache_dir / ".ares" / "runs.jsonl"
    path.write_bytes(text.encode("latin-1") + b"\n\n")
    note_run(settings.cache_dir, some_run())

    assert [run["what"] for run in runs(settings)] == ["download"]
    assert caplog.text.count("is no run") == 1


def test_cells_that_are_no_numbers_are_missing(settings):
    """A line that somebody has edited is a row in which what is no number or moment is missing."""
    (settings.cache_dir / ".ares").mkdir(parents=True)
    line = json.dumps({"at": "yesterday", "rows": "many", "seconds": None, "what": "download"})
    (settings.cache_dir / ".ares" / "runs.jsonl").write_text(line)
    table = ares.load_runs(settings=settings)

    assert table[["at", "rows", "seconds"]].isna().all(axis=None)
    assert table["what"].tolist() == ["download"]


def test_many_processes_write_whole_lines(settings):
    """Lines of several processes that write at once stand each on its own."""
    (settings.cache_dir / ".ares").mkdir(parents=True)
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import test_runs\n"
        "for _ in range(200): test_runs.note_run(Path(sys.argv[2]), test_runs.some_run('x' * 2000))"
    )
    here = __file__.rpartition("/")[0]
    workers = [
        subprocess.Popen([sys.executable, "-c", program, here, str(settings.cache_dir)])  # noqa: S603
        for _ in range(3)
    ]

    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert [run["what"] for run in runs(settings)] == ["x" * 2000] * 600


async def test_a_history_that_cannot_be_written_is_told_and_no_failure(settings, caplog):
    """A run whose line cannot be written is done all the same."""
    (settings.cache_dir / ".ares" / "runs.jsonl").mkdir(parents=True)
    report = await ares.download_klines_data(
        "BTCUSDT", "1h", DAY, end="2025-03-01", settings=settings
    )

    assert report.complete
    assert "the run is not in the history" in caplog.text


async def test_no_line_holds_a_key(settings):
    """The API key and the notifiers' addresses stand in no line of the history."""
    own = settings.replace(api_key="S3CRET", notify_on=[])
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=own)

    assert "S3CRET" not in (settings.cache_dir / ".ares" / "runs.jsonl").read_text()
