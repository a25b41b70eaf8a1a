"""
File systems other than a local one of Linux: network folders, Windows, folders of a group.

The operating system is made to answer as they do; what it answers is real, not our own code.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from pathlib import Path
from stat import S_ISDIR

import pytest
from nobody import as_nobody, reachable_folder

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.cache import disk

CANDLES = [f"klines_BTCUSDT_1h_2025-0{month}.csv" for month in (1, 2, 3)]
ADDRESSES = ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url")


@pytest.fixture(scope="module")
def exchange():
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


def settings_of(exchange, folder, **changes):
    return exchange.settings(cache_dir=folder, retry_delay_seconds=0, progress=False, **changes)


async def download(settings, end="2025-03-10"):
    return await ares.download_klines_data("BTCUSDT", "1h", 0.15, end=end, settings=settings)


@pytest.fixture(scope="module")
def sound(exchange, tmp_path_factory):
    """A cache of two months."""
    folder = tmp_path_factory.mktemp("sound")
    assert ares.run(download(settings_of(exchange, folder), end="2025-03-01")).complete
    return folder


def refusing(monkeypatch, name, error_of, when):
    """Let a function of the operating system raise where *when* says so of its arguments."""
    really = getattr(os, name)
    calls = []

    def call(*args, **fields):
        if when(*args):
            calls.append(args)
            raise error_of(*args)
        return really(*args, **fields)

    monkeypatch.setattr(os, name, call)
    return calls


# --- folders that cannot be flushed ---


def is_folder(descriptor, *_):
    return S_ISDIR(os.fstat(descriptor).st_mode)


@pytest.mark.parametrize(
    "name",
    ["EINVAL", "EBADF", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EIO", "EPERM", "EACCES"],
)
async def test_a_folder_that_cannot_be_flushed(exchange, tmp_path, monkeypatch, caplog, name):
    """Where folders cannot be flushed every file is stored, and one line of the log says what that means."""
    code = getattr(errno, name)
    monkeypatch.setattr(disk, "_unflushed", [])
    refused = refusing(monkeypatch, "fsync", lambda _: OSError(code, os.strerror(code)), is_folder)
    caplog.set_level(logging.INFO, "DataDownloader")

    report = await download(settings_of(exchange, tmp_path))

    assert report.complete
    assert len(refused) > 1
    [said] = [each for each in caplog.messages if "cannot flush a folder" in each]
    assert "a power failure may undo the newest renames" in said
    assert not (await download(settings_of(exchange, tmp_path))).requests


async def test_a_folder_that_cannot_be_opened(exchange, tmp_path, monkeypatch):
    """Where a folder cannot even be opened, as on Windows, every file is stored all the same."""
    refusing(
        monkeypatch,
        "open",
        lambda path, *_: PermissionError(errno.EACCES, "Permission denied", str(path)),
        lambda path, *_: isinstance(path, Path) and path.is_dir(),
    )

    assert (await download(settings_of(exchange, tmp_path))).complete


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EINVAL"])
async def test_a_file_that_cannot_be_flushed(exchange, tmp_path, monkeypatch, name):
    """A file whose bytes do not reach the disk is not stored, whatever may be ignored of a folder."""
    code = getattr(errno, name)
    refusing(
        monkeypatch,
        "fsync",
        lambda _: OSError(code, os.strerror(code)),
        lambda descriptor: not is_folder(descriptor),
    )

    report = await download(settings_of(exchange, tmp_path))

    assert len(report.failed) == 3
    assert list(tmp_path.glob("*.csv")) == []


# --- files that another program has open ---


def denied(code, winerror=None):
    def error_of(path, *_):
        error = OSError(code, os.strerror(code), str(path))
        if winerror:
            error.winerror = winerror
        return error

    return error_of


HELD = {
    "sharing violation": denied(errno.EACCES, 32),
    "access denied": denied(errno.EACCES, 5),
    "not permitted": denied(errno.EPERM),
    "busy": denied(errno.EBUSY),
    "text file busy": denied(errno.ETXTBSY),
}


def first_times(number, wanted=lambda *_: True):
    """True of each path's first calls."""
    seen = {}

    def when(path, *others):
        if not wanted(path, *others):
            return False
        seen[str(path)] = seen.get(str(path), 0) + 1
        return seen[str(path)] <= number

    return when


@pytest.mark.parametrize("how", HELD)
async def test_a_file_that_is_open_for_a_moment(exchange, tmp_path, monkeypatch, how):
    """A rename that is refused twice is tried again, and nothing of the run fails."""
    refused = refusing(monkeypatch, "replace", HELD[how], first_times(2))

    report = await download(settings_of(exchange, tmp_path))

    assert report.complete
    assert len(refused) >= 2 * 2 * len(CANDLES)
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize("how", HELD)
async def test_a_file_that_stays_open(exchange, sound, tmp_path, monkeypatch, how):
    """A file that another program keeps open is named, with what to close; it stays, and the others come."""
    folder = shutil.copytree(sound, tmp_path / "cache")
    (folder / CANDLES[1]).write_text("damaged")
    (folder / CANDLES[0]).unlink()
    held = folder / CANDLES[1]
    refused = refusing(
        monkeypatch, "replace", HELD[how], lambda path, target: held in (Path(path), Path(target))
    )

    report = await download(settings_of(exchange, folder))

    [failed] = report.failed
    assert failed.file_name == CANDLES[1]
    said = str(failed.error)
    assert f"another program has {held} open: close it" in said
    assert "chmod" not in said
    assert len(refused) > 3
    assert held.read_text() == "damaged"
    assert {each.name for each in folder.glob("*.csv")} == set(CANDLES)


def test_a_file_that_is_open_for_a_moment_is_pruned(exchange, sound, tmp_path, monkeypatch):
    """A deletion that is refused twice is tried again."""
    folder = shutil.copytree(sound, tmp_path / "cache")
    refusing(monkeypatch, "unlink", HELD["sharing violation"], first_times(2))

    ares.prune_cache(max_bytes=0, dry_run=False, settings=settings_of(exchange, folder))

    assert list(folder.glob("*.csv")) == []


def test_a_file_that_stays_open_is_not_half_pruned(exchange, sound, tmp_path, monkeypatch):
    """A file that cannot be deleted stays with its receipt, and the reason names the way out."""
    folder = shutil.copytree(sound, tmp_path / "cache")
    held = folder / CANDLES[0]
    refusing(monkeypatch, "unlink", HELD["sharing violation"], lambda path, *_: Path(path) == held)

    report = ares.prune_cache(max_bytes=0, dry_run=False, settings=settings_of(exchange, folder))

    [kept] = [each for each in report.items if each.error is not None]
    assert f"another program has {held} open" in str(kept.error)
    assert held.exists()
    assert (folder / ".ares" / "receipts" / f"{CANDLES[0]}.json").exists()


async def test_a_temporary_file_that_stays_open(exchange, sound, tmp_path, monkeypatch):
    """A temporary file that a virus scanner keeps open fails nothing, and a later run removes it."""
    folder = shutil.copytree(sound, tmp_path / "cache")
    path = folder / CANDLES[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(each for each in lines if not each.startswith(b"2025-01-15")))
    with monkeypatch.context() as patch:
        refusing(
            patch,
            "unlink",
            HELD["sharing violation"],
            lambda path, *_: str(path).endswith(".part") and Path(path).exists(),
        )
        report = await download(settings_of(exchange, folder))

    assert report.complete
    assert list(folder.glob(".*.part"))
    (folder / CANDLES[1]).unlink()
    assert (await download(settings_of(exchange, folder))).complete
    assert not list(folder.glob(".*.part"))


# --- a folder of a group, whose members write with umask 022 ---

GROUP = 65534
ASKED = """
import json, logging
said = []
class Kept(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("DataDownloader").addHandler(Kept())
os.umask(0o022)
try:
    report = ares.run(ares.download_klines_data(
        "BTCUSDT", "1h", 0.15, end="2025-03-10", settings=ares.Settings(progress=False)))
    came = [str(each.error) for each in report.failed]
except AresError as error:
    came = [str(error)]
print(json.dumps([came, said]))
"""


@pytest.fixture
def shared(exchange, sound):
    """A cache of root's in a folder of a group, open to it, that a member of the group goes on with."""
    with reachable_folder() as place:
        folder = shutil.copytree(sound, place / "cache")
        for each in (folder, *folder.rglob("*")):
            os.chown(each, 0, GROUP)
            each.chmod(0o2775 if each.is_dir() else 0o664)

        def ask():
            settings = settings_of(exchange, folder)
            names = (*ADDRESSES, "market", "cache_dir")
            environment = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in names}
            return json.loads(as_nobody(ASKED, ARES_RETRY_DELAY_SECONDS="0", **environment))

        ask.folder = folder
        yield ask


def test_a_shared_cache(shared):
    """A member of the group replaces, adds and locks what another member made with umask 002."""
    (shared.folder / CANDLES[0]).write_text("damaged")
    (shared.folder / CANDLES[1]).chmod(0o644)
    (shared.folder / ".ares" / "receipts" / f"{CANDLES[1]}.json").chmod(0o644)

    came, said = shared()

    assert came == []
    assert not [each for each in said if "Permission denied" in each]


IN_THE_WAY = {
    "own folder": ".ares",
    "receipts": ".ares/receipts",
    "locks": ".ares/locks",
    "quarantine": ".ares/quarantine",
    "lock": f".ares/locks/{CANDLES[2]}.lock",
    "history": ".ares/runs.jsonl",
    "market": ".ares/origin.json",
    "candles": CANDLES[1],
}
UNREADABLE = ("market", "candles")


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_is_in_the_way_in_a_shared_cache(shared, what):
    """The file or folder that another member closed is named with its remedy, and the folders around it are not blamed."""
    path = shared.folder / IN_THE_WAY[what]
    if what in ("quarantine", "candles"):
        (shared.folder / CANDLES[1]).write_text("damaged")
    if what == "quarantine":
        path.mkdir()
    path.touch()
    os.chown(path, 0, GROUP)
    path.chmod(0o2755 if path.is_dir() else 0o600 if what in UNREADABLE else 0o644)

    came, said = shared()

    told = [each for each in (*came, *said) if "Permission denied" in each]
    assert told
    assert bool(came) == (what != "history")
    rights = (
        f"chmod {'-R ' if path.is_dir() else ''}g+{'rw' if what in UNREADABLE else 'w'} {path}`"
    )
    for each in told:
        assert f"{path} belongs to another user (uid 0): have it shared with your group" in each
        assert rights in each
        assert "umask 002" in each
