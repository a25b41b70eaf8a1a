"""Files without a receipt: read once, noted by whoever may write, never vouched for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from filelock import FileLock
from nobody import as_nobody, reachable_folder

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.cache import measured
from ares_notebook.errors import CorruptFile
from ares_notebook.runtime.progress import heard_by

AT = 1_700_000_000


@pytest.fixture(scope="module")
def candles():
    """The bytes of two months of candles, as they are stored."""
    with DemoExchange() as exchange, reachable_folder() as folder:
        settings = exchange.settings(cache_dir=folder, progress=False)
        ares.run(
            ares.download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings)
        )
        return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


@pytest.fixture
def place(tmp_path, candles):
    """A folder of candles and nothing else, as from a copy that left `.ares` out."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for name, data in candles.items():
        put(folder / name, data)
    return folder


def put(path: Path, data: bytes, at: int = AT) -> None:
    path.write_bytes(data)
    os.utime(path, (at, at))


def covered(folder):
    return ares.coverage(settings=ares.Settings(cache_dir=folder, progress=False))


def spoil(folder):
    """Other bytes under the same size and time: who reads the files again sees it."""
    for path in folder.glob("*.csv"):
        put(path, b"x" * path.stat().st_size)


def notes(folder):
    return folder / ".ares" / "measured.jsonl"


@pytest.mark.parametrize("is_original", [False, True])
def test_a_file_without_a_receipt_is_read_once(place, is_original):
    """The second coverage, and gaps after it, read no file that the first has measured."""
    if is_original:
        for path in place.glob("*.csv"):
            lines = [line.split(b",")[:6] for line in path.read_bytes().splitlines()]
            put(path, b"".join(b",".join(cells) + b"\n" for cells in lines))
    first = covered(place)
    spoil(place)

    again = covered(place)

    assert again.equals(first)
    assert set(first["source"]) == {"legacy" if is_original else "unknown"}
    assert set(first["state"]) == {"complete"}
    settings = ares.Settings(cache_dir=place)
    assert ares.find_gaps("BTCUSDT", end="2025-03-01", settings=settings).empty


def test_a_file_that_has_changed_is_measured_anew(place):
    """A note holds no longer than size and time of its file."""
    covered(place)
    path = min(place.glob("*.csv"))
    lines = path.read_bytes().splitlines(keepends=True)
    put(path, b"".join(lines[:10]), AT + 1)

    assert covered(place)["rows"].tolist() == [9, 28]


def test_a_file_that_was_just_written_is_not_noted(place, candles):
    """Where a change could keep size and time, since both happen at one tick, nothing is noted."""
    for name, data in candles.items():
        (place / name).write_bytes(data)

    covered(place)

    assert not notes(place).exists()


def test_a_note_vouches_for_nothing(exchange, place):
    """No receipt comes of reading, and the next download replaces what was measured, whole."""
    settings = exchange.settings(cache_dir=place, progress=False)
    covered(place)
    assert not list(place.rglob("receipts/*"))

    report = ares.run(
        ares.download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings)
    )

    assert {each.action for each in report.steps} == {"fetch"}
    assert set(ares.coverage(settings=settings)["source"]) == {"archive"}


def test_whoever_finds_another_writing_writes_nothing(place):
    """A reader does not wait for another one that writes notes, and its answer is whole."""
    (place / ".ares" / "locks").mkdir(parents=True)
    with FileLock(place / ".ares" / "locks" / "measured.jsonl.lock"):
        table = covered(place)

    assert table["rows"].tolist() == [31, 28]
    assert not notes(place).exists()


def test_a_folder_that_can_only_be_read(candles):
    """In a folder of somebody else a reader writes nothing, and its answer is whole."""
    with reachable_folder() as folder:
        for name, data in candles.items():
            put(folder / name, data)
            (folder / name).chmod(0o444)
        said = as_nobody("print(ares.coverage()['rows'].sum())", ARES_CACHE_DIR=str(folder))

        assert said.strip() == "59"
        assert not (folder / ".ares").exists()


@pytest.mark.parametrize("at", [".ares/locks", ".ares/measured.jsonl"])
def test_a_note_that_cannot_be_written_fails_no_reader(place, at):
    """What is in the way of the notes costs time and no answer."""
    path = place / at
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if at.endswith("jsonl") else path.write_text("")

    assert covered(place)["rows"].tolist() == [31, 28]
    assert covered(place)["rows"].tolist() == [31, 28]


def test_a_full_disk_fails_no_reader(place):
    """Where no byte of a note fits the answer is whole."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        table = covered(place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert table["rows"].tolist() == [31, 28]
    assert not notes(place).exists() or not notes(place).read_bytes()


@pytest.mark.parametrize("torn", [b'{"format":1,"fi', b"\xff\n", b'{"format":2}\n', b"[" * 9999])
def test_a_note_that_cannot_be_read_is_left_out(place, torn):
    """A line that was cut short or is another version's costs its own file a reading, and no other."""
    first = covered(place)
    before = notes(place).read_bytes()
    notes(place).write_bytes(before.splitlines(keepends=True)[0] + torn)

    assert covered(place).equals(first)
    spoil(place)
    assert covered(place).equals(first)


def test_the_notes_are_bounded(place, monkeypatch):
    """However often files change, the notes are written anew before they are many, without files that are gone."""
    monkeypatch.setattr(measured, "_SPARE_LINES", 2)
    gone = place / "klines_ETHUSDT_1d_2025-01.csv"
    put(gone, min(place.glob("*.csv")).read_bytes())
    covered(place)
    gone.unlink()

    for at in range(10):
        for path in place.glob("*.csv"):
            os.utime(path, (AT + at, AT + at))
        covered(place)

    lines = [json.loads(line) for line in notes(place).read_text().splitlines()]
    assert len(lines) <= 2 + 2
    assert {each["file"] for each in lines} == {path.name for path in place.glob("*.csv")}


def test_progress_is_told_while_files_are_read(place):
    """Whoever looks is told of each file that is read, and of none that is not."""
    heard = []
    with heard_by(heard.append):
        covered(place)
        first = len(heard)
        covered(place)

    assert (heard[first - 1].steps_done, heard[first - 1].steps_total) == (2, 2)
    assert len(heard) == first


@pytest.fixture(scope="module")
def original_trades():
    """The bytes of three days of trades as the original downloader stored them."""
    with DemoExchange() as exchange, reachable_folder() as folder:
        settings = exchange.settings(cache_dir=folder, progress=False)
        ares.run(
            ares.download_agg_trades_data(
                "BTCUSDT", start="2025-01-07", end="2025-01-10", settings=settings
            )
        )
        return {
            path.name: b"".join(
                b",".join(line.split(b",")[:5]) + b"\n" for line in path.read_bytes().splitlines()
            )
            for path in folder.glob("*.csv")
        }


@pytest.fixture
def rotten(tmp_path, original_trades, exchange):
    """Settings of three noted days of trades, of which the middle one was damaged since, unseen."""
    for name, data in original_trades.items():
        put(tmp_path / name, data)
    (tmp_path / ".ares").mkdir()
    (tmp_path / ".ares" / "origin.json").write_text('{"market": "demo"}')
    settings = exchange.settings(cache_dir=tmp_path, progress=False)
    assert set(ares.coverage(settings=settings)["source"]) == {"legacy"}
    middle = sorted(tmp_path.glob("*.csv"))[1]
    put(middle, b"x" * middle.stat().st_size)
    return settings


MIDDLE = {"start": "2025-01-08", "end": "2025-01-09"}


@pytest.mark.parametrize("verb", ["download", "repair"])
def test_a_run_believes_no_note(rotten, verb):
    """A day that was damaged after it was noted is fetched by a download and by a repair of it."""
    if verb == "download":
        work = ares.download_agg_trades_data("BTCUSDT", **MIDDLE, settings=rotten)
    else:
        work = ares.repair_gaps("BTCUSDT", datasets=["agg_trades"], **MIDDLE, settings=rotten)
    report = ares.run(work)

    assert report.complete
    assert [step.action for step in report.steps] == ["fetch"]
    assert ares.coverage(settings=rotten)["source"].tolist()[1] == "archive"
    assert len(ares.load_agg_trades("BTCUSDT", "2025-01-08", "2025-01-09", settings=rotten))


def test_plans_find_what_was_damaged_after_it_was_noted(rotten):
    """The plan of a download and that of a repair want the damaged day."""
    asked = {"datasets": ("agg_trades",), **MIDDLE, "settings": rotten}

    assert [each.action for each in ares.plan_downloads("BTCUSDT", None, **asked).steps] == [
        "fetch"
    ]
    assert [each.action for each in ares.plan_repair("BTCUSDT", **asked).steps] == ["fetch"]


@pytest.mark.parametrize("verb", ["load", "validate", "fingerprint", "to_parquet"])
def test_whoever_reads_other_bytes_strikes_the_note(rotten, tmp_path, verb):
    """After a reader of the bytes has found the damage coverage states it, and keeps the other notes."""
    if verb == "load":
        with pytest.raises(CorruptFile):
            ares.load_agg_trades("BTCUSDT", "2025-01-08", "2025-01-09", settings=rotten)
    elif verb == "validate":
        assert not ares.validate_cache(settings=rotten).ok
    elif verb == "fingerprint":
        with pytest.raises(CorruptFile):
            ares.fingerprint("BTCUSDT", dataset="agg_trades", **MIDDLE, settings=rotten)
    else:
        assert not ares.to_parquet(tmp_path / "lake", settings=rotten)

    assert ares.coverage(settings=rotten)["state"].tolist()[1] == "corrupt, quarantined"
    noted = {json.loads(line)["file"] for line in notes(tmp_path).read_text().splitlines()}
    assert noted == {path.name for path in tmp_path.glob("*.csv")} - {
        "aggtrades_BTCUSDT_2025-01-08.csv"
    }


FORGED = [
    ("klines", {"last_ms": 10**18}),
    ("klines", {"first_ms": -(10**18)}),
    ("klines", {"covered_until_ms": 2**62}),
    ("klines", {"first_ms": None}),
    ("klines", {"rows": 10**12}),
    ("klines", {"off_grid": -1}),
    ("klines", {"rows": "NaN"}),
    ("klines", {"gaps": [{"start_ms": 5, "end_ms": 1}]}),
    ("klines", {"quiet": [{"start_ms": -(2**60), "end_ms": 2**60, "rows": -3}]}),
    ("klines", {"pace_ms": 2**62}),
    ("klines", {"last_id": 5}),
    ("aggtrades", {"last_id": 2**70}),
    ("aggtrades", {"first_id": None}),
    ("aggtrades", {"first_id": -(2**40)}),
    ("aggtrades", {"last_ms": 2**62}),
]


@pytest.mark.parametrize(("kind", "forged"), FORGED)
def test_a_note_that_no_rows_of_its_file_could_prove_is_left_out(
    place, original_trades, kind, forged
):
    """A number outside of the file's period, or of another type, changes no answer and raises nothing."""
    for name, data in original_trades.items():
        put(place / name, data)
    settings = ares.Settings(cache_dir=place, progress=False)
    first, gaps = covered(place), ares.find_gaps("BTCUSDT", end="2025-03-01", settings=settings)
    lines = [json.loads(line) for line in notes(place).read_text().splitlines()]
    for line in lines:
        if line["file"].startswith(kind):
            line["facts"] |= forged
    notes(place).write_text(
        "".join(json.dumps(line) + "\n" for line in lines).replace('"NaN"', "NaN")
    )

    assert covered(place).equals(first)
    assert ares.find_gaps("BTCUSDT", end="2025-03-01", settings=settings).equals(gaps)
