"""Scenes in which the cache has always been right, held so that it stays so."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import NotEnoughDisk
from ares_notebook.load import IncompleteData

DAY = 1 / 365.25
LIFE = "币安人生USDT"
EVERYTHING = ("klines", "agg_trades", "futures")


def filled(settings: Settings, end: str = "2025-03-03", **changes: object) -> ares.DownloadReport:
    """Two days of everything, in whole files."""
    reported = {"symbol": "BTCUSDT", "interval": "1h", "lookback_years": 2 * DAY, **changes}
    return ares.run(ares.download_all_data(**reported, end=end, settings=settings))  # type: ignore[arg-type]


def contents(settings: Settings) -> dict[str, bytes]:
    """The cache files with their bytes."""
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("[!.]*.csv"))}


def member(exchange: DemoExchange, path: str) -> list[str]:
    """The lines of a zip that the exchange publishes."""
    import urllib.request  # noqa: PLC0415 - as any other client asks

    with urllib.request.urlopen(f"{exchange.url}/data/{path}") as answer:  # noqa: S310 - loopback
        packed = io.BytesIO(answer.read())
    with zipfile.ZipFile(packed) as archive:
        return archive.read(archive.namelist()[0]).decode().splitlines(keepends=True)


# --- what lies about in a folder ---


def strays(folder: Path) -> list[Path]:
    """Beside each cache file what sync programs, editors and systems leave; beside receipts too."""
    made = []
    for path in list(folder.glob("[!.]*.csv")):
        names = (
            f"{path.stem} (conflicted copy).csv",
            f"{path.stem} (1).csv",
            f"{path.stem} - Copy.csv",
            f".~lock.{path.name}#",
            f"._{path.name}",
            f"{path.name}~",
            f".ipynb_checkpoints/{path.stem}-checkpoint.csv",
        )
        for name in names:
            stray = folder / name
            stray.parent.mkdir(exist_ok=True)
            stray.write_bytes(path.read_bytes().replace(b"1", b"2"))
            made.append(stray)
        receipt = folder / ".ares" / "receipts" / f"{path.name}.json"
        names = (f"{path.stem} (conflicted copy).csv.json", f"._{receipt.name}")
        made += [Path(shutil.copy(receipt, receipt.with_name(name))) for name in names]
    return made


def reset_times(folder: Path) -> None:
    """Give all files and folders one old time, as unpacking and copying do."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (1_600_000_000, 1_600_000_000))


def looked_at(settings: Settings) -> list[object]:
    """What the verbs that look say of a cache."""
    table = ares.coverage(settings=settings)
    return [
        table.drop(columns=["seen"], errors="ignore").to_csv(),
        ares.find_gaps("BTCUSDT", settings=settings).to_csv(),
        ares.load_klines("BTCUSDT", "1h", settings=settings).to_csv(),
        ares.load_agg_trades("BTCUSDT", settings=settings).to_csv(),
        ares.load_futures("BTCUSDT", settings=settings).to_csv(),
        ares.fingerprint("BTCUSDT", "1h", settings=settings).sha256,
        ares.validate_cache(settings=settings).ok,
    ]


@pytest.mark.parametrize("harms", ["strays", "times", "both"])
def test_strays_and_reset_times_cost_no_request(exchange, settings, harms):
    """Copies beside the files, of receipts too, and times set back change no answer, and the next run asks for nothing."""
    assert filled(settings).complete
    before, reported = contents(settings), looked_at(settings)
    made = strays(settings.cache_dir) if harms != "times" else []
    if harms != "strays":
        reset_times(settings.cache_dir)
    kept = {path: path.read_bytes() for path in made}
    exchange.requests.clear()
    again = filled(settings)
    after = contents(settings)

    assert again.complete
    assert exchange.requests == []
    assert looked_at(settings) == reported
    assert {name: after[name] for name in before} == before
    assert {path: path.read_bytes() for path in made} == kept


# --- edges by ids ---


def test_ids_that_are_missing_over_midnight_are_asked_for(exchange, settings, publish_anew):
    """Where one day's zip ends early and the next begins late, all ids between are asked for, and found."""
    assert filled(settings, datasets=("agg_trades",)).complete
    whole = contents(settings)
    shutil.rmtree(settings.cache_dir)
    for day, part in (("2025-03-01", slice(None, -70)), ("2025-03-02", slice(90, None))):
        name = f"BTCUSDT-aggTrades-{day}"
        path = f"spot/daily/aggTrades/BTCUSDT/{name}.zip"
        publish_anew(name, "".join(member(exchange, path)[part]))
    report = filled(settings, datasets=("agg_trades",))

    assert report.complete
    assert contents(settings) == whole
    exchange.requests.clear()
    assert filled(settings, datasets=("agg_trades",)).complete
    assert exchange.requests == []


def test_ids_that_lack_over_midnight_are_reported(exchange, settings, publish_anew):
    """With the archive alone, ids that lack on both sides of midnight are one gap, and neither frame nor next run is complete."""
    for day, part in (("2025-03-01", slice(None, -70)), ("2025-03-02", slice(90, None))):
        name = f"BTCUSDT-aggTrades-{day}"
        path = f"spot/daily/aggTrades/BTCUSDT/{name}.zip"
        publish_anew(name, "".join(member(exchange, path)[part]))
    own = settings.replace(source="archive")
    assert not filled(own, datasets=("agg_trades",)).complete
    assert ares.find_gaps("BTCUSDT", settings=own)["missing"].dropna().tolist() == [160]
    assert not filled(own, datasets=("agg_trades",)).complete
    assert not ares.validate_cache(settings=own).ok
    with pytest.warns(IncompleteData, match="lacks 2025-03-01 00:00:00 to"):
        frame = ares.load_agg_trades("BTCUSDT", settings=own)
    assert not frame.attrs["complete"]


# --- zips that are sound and wrong ---


def thrice(lines: list[str]) -> list[str]:
    return [line for line in lines for _ in range(3)]


def three_files(lines: list[str]) -> list[str]:
    return lines * 3


def a_week(lines: list[str]) -> list[str]:
    return lines[: len(lines) * 7 // 31]


def without_a_day(lines: list[str]) -> list[str]:
    part = len(lines) // 31
    return lines[: 9 * part] + lines[10 * part :]


@pytest.mark.parametrize("change", [thrice, three_files, a_week, without_a_day])
@pytest.mark.parametrize("interval", ["1d", "1h"])
def test_a_zip_with_a_true_checksum_may_be_wrong(
    exchange, settings, publish_anew, interval, change
):
    """Rows in threes, 7 days of 31 and a day that lacks, under a right checksum, end in the month as it is."""
    wanted = {"interval": interval, "datasets": ("klines",), "lookback_years": 31 * DAY}
    assert filled(settings, "2025-02-01", **wanted).complete
    whole = contents(settings)
    shutil.rmtree(settings.cache_dir)
    name = f"BTCUSDT-{interval}-2025-01"
    lines = member(exchange, f"spot/monthly/klines/BTCUSDT/{interval}/{name}.zip")
    publish_anew(name, "".join(change(lines)))
    report = filled(settings, "2025-02-01", **wanted)

    assert report.complete
    assert contents(settings) == whole
    assert ares.validate_cache(settings=settings).ok


@pytest.mark.parametrize("interval", ["3d", "1w"])
def test_long_intervals_that_are_not_published_for_months_come_over_rest(
    exchange, settings, interval
):
    """Without a zip of 3d or 1w for months REST brings the same bytes; the archive alone tells what lacks, finally of nothing."""
    wanted = {"interval": interval, "datasets": ("klines",), "lookback_years": 0.5}
    assert filled(settings, **wanted).complete
    whole = contents(settings)
    exchange.withhold(f"klines/BTCUSDT/{interval}/BTCUSDT-{interval}-202[45]")
    for source in ("auto", "archive"):
        shutil.rmtree(settings.cache_dir)
        own = settings.replace(source=source)
        report = filled(own, **wanted)
        assert report.complete == (source == "auto")
        assert contents(own) == (whole if source == "auto" else {})
    exchange.release(f"klines/BTCUSDT/{interval}/BTCUSDT-{interval}-202[45]")

    assert filled(settings, **wanted).complete
    assert contents(settings) == whole


# --- funding of others ---


@pytest.mark.parametrize("times", [1, None])
def test_funding_of_other_symbols_is_never_stored(exchange, settings, times):
    """An answer in which other symbols are mixed is refused: told where it lasts, and followed by the right one where it does not."""
    wanted = {"datasets": ("futures",), "lookback_years": 2 * DAY}
    assert filled(settings, **wanted).complete
    whole = contents(settings)
    shutil.rmtree(settings.cache_dir)
    asked = "symbol=BTCUSDT&startTime=1740787200000&endTime=1740960000000&limit=1000"
    import urllib.request  # noqa: PLC0415 - as any other client asks

    with urllib.request.urlopen(f"{exchange.url}/fapi/v1/fundingRate?{asked}") as answer:  # noqa: S310
        rows = json.load(answer)
    mixed = [each for row in rows for each in (row, {**row, "symbol": "ETHUSDT"})]
    exchange.fail("fundingRate", times=times, replace_body=json.dumps(mixed).encode())
    report = filled(settings, **wanted)

    assert report.complete == (times == 1)
    assert contents(settings) == whole or not contents(settings)
    exchange.faults.clear()
    assert filled(settings, **wanted).complete
    assert contents(settings) == whole


# --- names in other scripts ---


def test_a_symbol_in_chinese_goes_all_the_way(exchange, settings):
    """A symbol in Chinese is planned, downloaded, loaded, covered, repaired and validated like any other."""
    wanted = {"symbol": LIFE, "end": "2026-01-03"}
    assert filled(settings, **wanted).complete
    whole = contents(settings)
    candles = ares.load_klines(LIFE, "1h", settings=settings)
    assert candles.attrs["complete"]
    assert set(ares.coverage(LIFE, settings=settings)["symbol"]) == {LIFE}
    for name in [name for name in whole if name.startswith(("klines", "aggtrades"))]:
        path = settings.cache_dir / name
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:10] + lines[13:]))
    every = ("klines", "agg_trades", "futures")
    report = ares.run(ares.repair_gaps(LIFE, settings=settings, datasets=every))

    assert report.complete
    assert contents(settings) == whole
    # What the last day of the window has not asked for is no gap.
    assert ares.find_gaps(LIFE, end="2026-01-03", settings=settings).empty
    assert ares.validate_cache(LIFE, settings=settings).ok
    pd.testing.assert_frame_equal(ares.load_klines(LIFE, "1h", settings=settings), candles)
    exchange.requests.clear()
    assert filled(settings, **wanted).complete
    assert exchange.requests == []


# --- processes that are set up in their own way ---

PROGRAM = """
import os, sys
{before}
import ares_notebook as ares
settings = ares.Settings(cache_dir=sys.argv[1], progress=False, max_retries=0)
def run(folder):
    own = settings.replace(cache_dir=settings.cache_dir / folder)
    report = ares.run(ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-03-01", settings=own))
    rows = len(ares.load_klines("BTCUSDT", "1h", settings=own))
    # In one piece: parent and child write to the same pipe.
    print(f"{{folder}} {{report.complete}} {{rows}}\\n", end="", flush=True)
run("first")
{after}
"""
FORK = """
import signal
child = os.fork()
signal.alarm(60)
run("child" if child == 0 else "parent")
if child == 0:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def said(settings: Settings, before: str = "", after: str = "") -> list[str]:
    """What a program prints that downloads into folders of this cache, with lines of its own."""
    names = ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url")
    reported = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in (*names, "market")}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM.format(before=before, after=after), str(settings.cache_dir)],
        env={**os.environ, **reported},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return sorted(done.stdout.splitlines())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_parent_and_child_download_after_a_fork(settings):
    """After a first run a forked child downloads, and so does its parent."""
    rows = said(settings, after=FORK)

    assert [row.split()[:2] for row in rows] == [[e, "True"] for e in ("child", "first", "parent")]
    assert len({row.split()[2] for row in rows}) == 1


@pytest.mark.parametrize("name", ["nest_asyncio", "nest_asyncio2"])
def test_a_script_may_patch_asyncio_first(settings, name):
    """With nested loops applied before the import a script downloads, inside a running loop too."""
    pytest.importorskip(name)
    inside = "import asyncio\nasync def main():\n    run('inside')\nasyncio.run(main())"
    rows = said(settings, f"import {name}\n{name}.apply()", inside)

    assert [row.split()[:2] for row in rows] == [["first", "True"], ["inside", "True"]]


def test_another_loop_may_be_the_default(settings):
    """Where uvloop has been made the default a script downloads all the same."""
    pytest.importorskip("uvloop")
    rows = said(settings, "import uvloop\nuvloop.install()")

    assert [row.split()[:2] for row in rows] == [["first", "True"]]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_32_open_files_are_enough_or_are_reported(settings):
    """With `ulimit -n 32` a download is complete, or tells what failed; afterwards all is as without the limit."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))"
    rows = said(settings, after=f"{limit}\nrun('scarce')")
    answers = dict(re.match(r"(\w+) (\w+)", row).groups() for row in rows)  # type: ignore[union-attr]

    assert answers["first"] == "True"
    own = settings.replace(cache_dir=settings.cache_dir / "scarce")
    first = settings.replace(cache_dir=settings.cache_dir / "first")
    report = ares.run(
        ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-03-01", settings=own)
    )
    assert report.complete
    assert contents(own) == contents(first)


@pytest.fixture
def few_names(tmp_path):
    """A file system in memory that holds so many files and folders; gone with the test."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(names: int) -> Path:
        options = f"size=50m,nr_inodes={names}"
        asked = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - as above
        except FileNotFoundError:
            pytest.skip("there is no `mount` here")
        if done.returncode:
            pytest.skip(f"only root may mount: {done.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607 - as above


@pytest.mark.parametrize("names", [3, 6, 9, 12, 15, 20])
def test_a_disk_without_inodes_loses_nothing(settings, few_names, names):
    """Where a disk takes no further file each step that failed is told, and with room all is there."""
    wanted = {"datasets": ("klines",), "lookback_years": 0.5}
    assert filled(settings, **wanted).complete
    own = settings.replace(cache_dir=few_names(names) / "cache")
    with suppress(NotEnoughDisk):
        # Raised where not even the folder can be made.
        report = filled(own, **wanted)
        assert report.failed
        assert "no space left to write" in str(report.failed[0].error)
    truth = contents(settings)
    assert all(truth[name] == text for name, text in contents(own).items())
    subprocess.run(["mount", "-o", "remount,nr_inodes=500", own.cache_dir.parent], check=True)  # noqa: S603, S607 - as above
    assert filled(own, **wanted).complete
    assert contents(own) == truth
