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
