"""
Disks that do not take what they are given.

Full, closed, somebody else's, without locks, under odd names: what is there stays whole,
what cannot be written is told with its path and the way out, and all else goes on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nobody import as_nobody, reachable_folder

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.cache.disk import cannot_access
from ares_notebook.errors import CacheUnavailable, NotEnoughDisk

DAY = 1 / 365.25
PAGE_BYTES = 4096
CANDLES = [f"klines_BTCUSDT_1h_2025-0{month}.csv" for month in (1, 2, 3)]
FUNDING = [f"futures_BTCUSDT_2025-0{month}.csv" for month in (1, 2, 3)]
NEW = [CANDLES[2], FUNDING[2]]
ADDRESSES = ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url")


@pytest.fixture(scope="module")
def exchange():
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture(autouse=True)
def _without_faults(exchange):
    exchange.requests.clear()
    yield
    exchange.faults.clear()


def settings_of(exchange, folder, **changes):
    return exchange.settings(cache_dir=folder, retry_delay_seconds=0, progress=False, **changes)


async def download(settings, end="2025-03-10", datasets=("klines", "futures")):
    return await ares.download_all_data(
        "BTCUSDT", "1h", 0.15, end=end, datasets=datasets, settings=settings
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*.csv*"))}


def tree(folder):
    """All files of a folder with their bytes, ours under .ares included."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def rows_lost(found, truth):
    """How many lines of the true files are not there."""
    return sum(
        len(set(text.splitlines()) - set(found.get(name, b"").splitlines()))
        for name, text in truth.items()
    )


@pytest.fixture(scope="module")
def truth(exchange, tmp_path_factory):
    """What three months are on a disk that takes them."""
    folder = tmp_path_factory.mktemp("truth")
    assert ares.run(download(settings_of(exchange, folder))).complete
    return contents(folder)


@pytest.fixture(scope="module")
def sound(exchange, tmp_path_factory):
    """A cache of the first two months."""
    folder = tmp_path_factory.mktemp("sound")
    settings = settings_of(exchange, folder)
    assert ares.run(download(settings, end="2025-03-01")).complete
    return folder


# --- a disk that is full ---


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system in memory that holds so many bytes; gone with the test."""
    mounted = []

    def mount(size_bytes):
        folder = tmp_path / "disk"
        folder.mkdir()
        asked = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - as it stands above
        except FileNotFoundError:
            pytest.skip("there is no `mount` here; a limit of a file's size is tried below")
        if done.returncode:
            pytest.skip(f"only root may mount: {done.stderr.strip()}; see the limit below")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607 - as above


def leave_free(folder, pages):
    """Fill a disk until so many pages are left; the file that does it."""
    ballast = folder / "ballast"
    status = os.statvfs(folder)
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, (status.f_bavail - pages) * status.f_frsize)
    return ballast


def with_a_gap(folder):
    """Take a day out of a file of candles, as somebody with an editor would; it wants splicing."""
    path = folder / CANDLES[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b"2025-01-15")))


def with_damage(folder):
    """Cut a file off in the middle of a line; it wants the quarantine."""
    path = folder / CANDLES[1]
    path.write_bytes(path.read_bytes()[:-400])


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 5, 9, 14, 24, 40, 60])
@pytest.mark.parametrize("harm", [with_a_gap, with_damage])
async def test_a_disk_that_is_full(
    exchange, sound, truth, small_disk, *, record_property, harm, pages
):
    """However little fits, each file is the old or the new one, whole; with room the next run ends in the same bytes."""
    disk = small_disk(4 << 20)
    settings = settings_of(exchange, disk / "cache")
    shutil.copytree(sound, settings.cache_dir)
    harm(settings.cache_dir)
    before = contents(settings.cache_dir)
    ballast = leave_free(disk, pages)

    report = await download(settings)

    after = contents(settings.cache_dir)
    aside = [path.read_bytes() for path in settings.cache_dir.glob(".ares/quarantine/*.csv.*")]
    for name, text in before.items():
        assert after.get(name) in (text, truth[name]) or text in aside, name
    for name in NEW:
        assert after.get(name) in (None, truth[name])
    assert list(settings.cache_dir.rglob("*.part")) == []
    for step in report.failed:
        assert isinstance(step.error, NotEnoughDisk)
        assert str(settings.cache_dir) in str(step.error)
        assert step.file_name in str(step.error) or "origin.json" in str(step.error)
        assert "free some" in str(step.error)
    assert report.failed or after == truth
    ballast.unlink()
    again = await download(settings)
    assert again.complete
    lost = rows_lost(contents(settings.cache_dir), truth)
    assert contents(settings.cache_dir) == truth
    record_property("faults tried", 1)
    record_property("rows lost", lost)


@pytest.mark.parametrize("compression", [None, "zstd"])
async def test_what_still_fits_is_written(exchange, small_disk, compression):
    """Where the candles do not fit, the funding rates of the same run are there all the same."""
    disk = small_disk(2 << 20)
    settings = settings_of(exchange, disk / "cache", compression=compression, max_concurrency=1)
    settings.cache_dir.mkdir()
    leave_free(disk, 9)

    report = await download(settings, end="2025-02-01")

    assert [step.dataset for step in report.failed] == ["klines"] * 2
    assert {name.removesuffix(".zst") for name in contents(settings.cache_dir)} == {
        "futures_BTCUSDT_2024-12.csv",
        "futures_BTCUSDT_2025-01.csv",
    }


async def test_trades_that_cannot_fit_are_refused_before_they_are_fetched(exchange, small_disk):
    """A small disk gets its candles and funding, and of the trades the numbers and the way out, without a zip of them."""
    settings = settings_of(exchange, small_disk(4 << 20) / "cache")

    report = await ares.download_all_data("BTCUSDT", "1h", DAY, end="2025-01-16", settings=settings)

    assert [step.dataset for step in report.failed] == ["agg_trades"]
    assert "compression" in str(report.failed[0].error)
    assert len(contents(settings.cache_dir)) == 2
    assert not any("aggTrades" in request.path for request in exchange.requests)


LIMITED = """
import json, resource, sys
import ares_notebook as ares

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
report = ares.run(ares.download_all_data(
    "BTCUSDT", "1h", 1 / 365.25, end="2025-02-01", settings=ares.Settings()))
print(json.dumps({step.file_name: str(step.error or "") for step in report.steps}))
"""


def run_program(program, settings, *arguments, **environment):
    """Run a program with these settings in its environment; how it ended."""
    reported = {f"ARES_{name.upper()}": getattr(settings, name) for name in (*ADDRESSES, "market")}
    own = {"ARES_CACHE_DIR": str(settings.cache_dir), "ARES_RETRY_DELAY_SECONDS": "0"}
    return subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", program, *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **reported,
            **own,
            "ARES_SOURCE": settings.source,
            **environment,
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


@pytest.mark.skipif(os.name != "posix", reason="limits are those of POSIX")
@pytest.mark.parametrize("source", ["archive", "rest"])
async def test_a_file_that_grows_too_large(exchange, tmp_path, record_property, source):
    """In the midst of each dataset a disk that takes no more leaves no file, and the next run brings the same bytes."""
    settings = settings_of(exchange, tmp_path / "cache", source=source)
    free = settings_of(exchange, tmp_path / "free", source=source)

    done = run_program(LIMITED, settings, "1500")

    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    assert len(reported) == 3
    assert all("so large a file is not allowed here" in each for each in reported.values())
    assert all(str(settings.cache_dir) in each for each in reported.values())
    assert contents(settings.cache_dir) == {}
    assert list(settings.cache_dir.glob(".*.part")) == []
    for each in (settings, free):
        report = await ares.download_all_data("BTCUSDT", "1h", DAY, end="2025-02-01", settings=each)
        assert not report.failed
    assert contents(settings.cache_dir) == contents(free.cache_dir)
    record_property("faults tried", len(reported))
    record_property("rows lost", rows_lost(contents(settings.cache_dir), contents(free.cache_dir)))


async def test_a_symbol_without_perpetual_on_a_full_disk(exchange, small_disk):
    """That a symbol has no perpetual cannot be noted on a full disk, which is told, and ends no run."""
    disk = small_disk(2 << 20)
    settings = settings_of(exchange, disk / "cache")
    leave_free(disk, 0)

    report = await ares.download_futures_data("BTCFDUSD", 0.1, end="2025-02-01", settings=settings)

    assert any("asked again next time" in note for note in report.notes)


# --- a folder that is not ours, or only in part ---

# Each verb by its name, and what came of it: the type of an error and its words, or a result.
ASKED = """
import json, logging
from ares_notebook.errors import AresError

settings = ares.Settings()
logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
both = dict(datasets=("klines", "futures"), settings=settings)

def told(report):
    return {step.file_name: str(step.error or "") for step in report.steps}

verbs = {
    "coverage": lambda: len(ares.coverage(settings=settings)),
    "gaps": lambda: len(ares.find_gaps("BTCUSDT", settings=settings)),
    "load": lambda: len(ares.load_klines("BTCUSDT", "1h", settings=settings)),
    "fingerprint": lambda: ares.fingerprint("BTCUSDT", "1h", settings=settings).sha256,
    "validate": lambda: bool(ares.validate_cache(settings=settings)),
    "would prune": lambda: ares.prune_cache(max_bytes=0, settings=settings).files,
    "again": lambda: told(ares.run(
        ares.download_all_data("BTCUSDT", "1h", 0.05, end="2025-03-01", **both))),
    "more": lambda: told(ares.run(
        ares.download_all_data("BTCUSDT", "1h", 0.15, end="2025-03-10", **both))),
    "repair": lambda: told(ares.run(ares.repair_gaps("BTCUSDT", settings=settings))),
    "prune": lambda: {
        item.file: str(item.error or "")
        for item in ares.prune_cache(max_bytes=0, dry_run=False, settings=settings).items},
}
came = {}
for name in sys.argv[1:]:
    try:
        came[name] = verbs[name]()
    except AresError as error:
        came[name] = f"{type(error).__name__}: {error}"
print(json.dumps(came))
"""
STYLES = ("coverage", "gaps", "load", "fingerprint", "validate", "would prune")
ALL = (*STYLES, "again", "more", "repair")


@pytest.fixture
def by_nobody(exchange, sound):
    """A copy of the cache that belongs to root and is open to all, and verbs that a user without rights tries on it."""
    with reachable_folder() as place:
        folder = shutil.copytree(sound, place / "cache")
        for each in (folder, *folder.rglob("*")):
            each.chmod(0o777 if each.is_dir() else 0o666)

        def ask(*verbs, at=folder):
            settings = settings_of(exchange, at)
            environment = {
                f"ARES_{name.upper()}": str(getattr(settings, name))
                for name in (*ADDRESSES, "market", "cache_dir")
            }
            return json.loads(as_nobody(ASKED, *verbs, ARES_RETRY_DELAY_SECONDS="0", **environment))

        ask.folder = folder
        yield ask


def closed(*paths):
    """Take everybody's right to write from a folder or file; root keeps it, so the test goes on."""
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)


def assert_is_looked_at(came, sound):
    """All that only looks has its whole answer."""
    rows = sum(text.count(b"\n") - 1 for name, text in contents(sound).items() if name in CANDLES)
    assert came["coverage"] == came["would prune"] == 4
    assert (came["gaps"], came["load"], came["validate"]) == (0, rows, True)
    assert len(came["fingerprint"]) == 64


def assert_refused(said, folder):
    """An error of ours, with the folder and the way out."""
    assert said.startswith("CacheUnavailable: could not create or access"), said
    assert str(folder) in said
    assert "Permission denied" in said or "Read-only file system" in said
    assert said.endswith("or choose another folder with cache_dir")


def test_a_folder_that_can_only_be_read(by_nobody, sound, record_property):
    """A closed folder is looked at in full and written to by nobody; only a run that has something to do is an error."""
    closed(*by_nobody.folder.rglob("*"), by_nobody.folder)
    before = tree(by_nobody.folder)

    came = by_nobody(*ALL, "prune")

    assert_is_looked_at(came, sound)
    assert set(came["again"].values()) == set(came["repair"].values()) == {""}
    assert_refused(came["more"], by_nobody.folder)
    assert "belongs to another user (uid 0)" in came["more"]
    assert all("Permission denied" in each for each in came["prune"].values())
    assert tree(by_nobody.folder) == before
    record_property("faults tried", 1)
    record_property("rows lost", rows_lost(contents(by_nobody.folder), contents(sound)))


def test_a_copy_of_other_times_that_can_only_be_read(by_nobody, sound):
    """A copied cache, whose receipts are of other times, is complete in a closed folder too."""
    for path in by_nobody.folder.glob("*.csv"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    closed(*by_nobody.folder.rglob("*"), by_nobody.folder)

    came = by_nobody(*STYLES, "again")

    assert_is_looked_at(came, sound)
    assert set(came["again"].values()) == {""}


def test_a_disk_that_can_only_be_read(exchange, sound, tmp_path):
    """Of a disk that is mounted for reading the error says so, even to root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount; a closed folder is tried above")
    subprocess.run(["mount", "--bind", str(sound), str(folder)], check=True)  # noqa: S603, S607 - as it stands here
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)  # noqa: S603, S607 - as above
        settings = settings_of(exchange, folder)
        assert len(ares.load_klines("BTCUSDT", "1h", settings=settings)) == 1416
        with pytest.raises(CacheUnavailable) as caught:
            ares.run(download(settings))
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607 - as above

    assert_refused(f"CacheUnavailable: {caught.value}", folder)
    assert "have it mounted for writing" in str(caught.value)


def test_a_folder_that_cannot_be_looked_into(by_nobody):
    """Without any right every verb says so in our words, and none takes it for an empty cache."""
    by_nobody.folder.chmod(0o000)

    came = by_nobody(*ALL, "prune")

    for said in came.values():
        assert_refused(said, by_nobody.folder)


@pytest.mark.parametrize("name", ["receipts", "locks"])
def test_a_folder_of_ours_that_is_closed(by_nobody, sound, truth, name):
    """Where receipts or locks cannot be written each new file is told of with that path, and what is there stays."""
    closed(by_nobody.folder / ".ares" / name)

    came = by_nobody(*STYLES, "more")

    assert_is_looked_at(came, sound)
    assert {file for file, why in came["more"].items() if why} == set(NEW)
    for file in NEW:
        assert f"{by_nobody.folder}/.ares/{name}/{file}" in came["more"][file]
    for file, text in contents(by_nobody.folder).items():
        assert text == truth[file]


def test_the_history_and_the_quarantine_are_closed(by_nobody, truth):
    """A history that cannot be written costs nothing; a damaged file that cannot be put aside stays, and the others come."""
    with_damage(by_nobody.folder)
    damaged = (by_nobody.folder / CANDLES[1]).read_bytes()
    (by_nobody.folder / ".ares" / "quarantine").mkdir()
    closed(by_nobody.folder / ".ares" / "quarantine", by_nobody.folder / ".ares" / "runs.jsonl")

    [came] = by_nobody("more").values()

    assert [file for file, why in came.items() if why] == [CANDLES[1]]
    assert str(by_nobody.folder / CANDLES[1]) in came[CANDLES[1]]
    assert contents(by_nobody.folder) == {**truth, CANDLES[1]: damaged}


def test_a_file_of_somebody_else(by_nobody, truth):
    """In a folder where each may change but his own, a file of another stays whole and is told of; the others come."""
    with_a_gap(by_nobody.folder)
    others = (by_nobody.folder / CANDLES[0]).read_bytes()
    by_nobody.folder.chmod(0o1777)
    left = by_nobody.folder / f".{CANDLES[2]}.0123abcd.part"
    left.write_text("of a run of root's that was killed")

    [came] = by_nobody("more").values()

    assert [file for file, why in came.items() if why] == [CANDLES[0]]
    assert f"{by_nobody.folder / CANDLES[0]}: Operation not permitted" in came[CANDLES[0]]
    assert "belongs to another user (uid 0)" in came[CANDLES[0]]
    assert contents(by_nobody.folder) == {**truth, CANDLES[0]: others}
    assert list(by_nobody.folder.glob(".*.part")) == [left]


def test_a_note_of_the_market_that_cannot_be_read(by_nobody):
    """Where nobody can tell whose data it is, nothing is added to it, and the note's path is said."""
    (by_nobody.folder / ".ares" / "origin.json").chmod(0o000)
    before = contents(by_nobody.folder)

    came = by_nobody("load", "fingerprint", "validate", "again", "more")

    assert came.pop("load") == 1416
    for said in came.values():
        assert_refused(said, by_nobody.folder)
        assert "origin.json" in said
    assert contents(by_nobody.folder) == before


# --- places under odd names ---


@pytest.mark.parametrize(
    "name", ["with spaces", "Über größe", "数据 缓存", 'it\'s; $HOME `x` & "y" *', "v1.0", "-rf"]
)
async def test_a_path_with_odd_letters(exchange, truth, tmp_path, monkeypatch, name):
    """A folder of any name holds the same files, and all that looks finds them."""
    monkeypatch.chdir(tmp_path)
    settings = settings_of(exchange, name)

    report = await download(settings)

    assert report.complete
    assert contents(tmp_path / name) == truth
    assert ares.validate_cache(settings=settings).ok
    assert ares.find_gaps("BTCUSDT", end="2025-03-10", settings=settings).empty
    assert ares.prune_cache(max_bytes=0, dry_run=False, settings=settings)
    assert contents(tmp_path / name) == {}


def test_the_remedy_can_be_pasted(tmp_path):
    """The command that a message names works on a folder whose name a shell would take apart."""
    folder = tmp_path / "a folder; $(touch x)"
    folder.mkdir(mode=0o500)

    said = str(cannot_access(folder, PermissionError(errno.EACCES, "no")))
    subprocess.run(said.split("`")[1], shell=True, check=True, cwd=tmp_path)  # noqa: S602 - that is what is tried

    assert folder.stat().st_mode & 0o700 == 0o700
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["y" * 200] * 25)], ids=["name", "path"])
@pytest.mark.parametrize(
    "verb", [download, lambda settings: ares.repair_gaps("BTCUSDT", settings=settings)]
)
async def test_a_path_that_is_too_long(exchange, tmp_path, name, verb):
    """A name or path longer than the disk knows is told with the way out, by verbs that write and by those that look."""
    settings = settings_of(exchange, tmp_path / name)

    with pytest.raises(CacheUnavailable, match="File name too long; use a folder with a shorter"):
        await verb(settings)
    with pytest.raises(CacheUnavailable, match="shorter path"):
        ares.load_klines("BTCUSDT", "1h", settings=settings)


@pytest.mark.parametrize("at", ["", ".ares", ".ares/receipts", ".ares/locks"])
async def test_a_file_where_a_folder_should_be(exchange, tmp_path, at):
    """A file in the place of the cache, or of a folder of ours in it, stays as it is and is told with the way out."""
    settings = settings_of(exchange, tmp_path / "cache")
    path = settings.cache_dir / at
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")

    with pytest.raises(CacheUnavailable, match=r"there is a file where a folder .*cache_dir"):
        await download(settings)

    assert path.read_text() == "mine"


async def test_a_folder_where_a_file_should_be(exchange, tmp_path):
    """A folder under the name of a cache file is told with its path, and nothing is done beside it."""
    settings = settings_of(exchange, tmp_path / "cache")
    (settings.cache_dir / CANDLES[1] / "x").mkdir(parents=True)

    with pytest.raises(CacheUnavailable, match=f"{CANDLES[1]}.* is a directory; see to that"):
        await download(settings)

    assert (settings.cache_dir / CANDLES[1] / "x").is_dir()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="the bad disk is one of Linux")
async def test_a_disk_that_does_not_give_a_file(exchange, sound, tmp_path):
    """An error of the disk is told as such: it is no damage of the file, which stays where it is."""
    settings = settings_of(exchange, shutil.copytree(sound, tmp_path / "cache"))
    path = next(settings.cache_dir.glob("klines*.csv"))
    path.unlink()
    # Its first bytes are nobody's: whoever reads them gets an input/output error.
    path.symlink_to("/proc/self/mem")

    with pytest.raises(CacheUnavailable, match=rf"{path.name}: Input/output error"):
        ares.validate_cache(settings=settings)
    with pytest.raises(CacheUnavailable, match=rf"{path.name}: Input/output error"):
        await download(settings)

    assert path.is_symlink()
    assert not (settings.cache_dir / ".ares" / "quarantine").exists()


# --- a network folder without locks ---

# Only a network folder refuses locks, and a test cannot mount one; so the one call of the
# system fails as it does there.
WITHOUT_LOCKS = """
import errno, fcntl, json, os, sys, warnings

def flock(descriptor, operation):
    number = getattr(errno, sys.argv[1])
    raise OSError(number, os.strerror(number))

fcntl.flock = flock
import ares_notebook as ares

# That locks of another kind are used is said as a warning.
warnings.simplefilter("ignore")
settings = ares.Settings()
report = ares.run(ares.download_all_data(
    "BTCUSDT", "1h", 0.15, end="2025-03-10", settings=settings, datasets=("klines", "futures")))
pruned = ares.prune_cache(keep=1e5, settings=settings)
print(json.dumps({
    "download": {step.file_name: str(step.error or "") for step in report.steps},
    "load": len(ares.load_klines("BTCUSDT", "1h", end="2025-03-01", settings=settings)),
}))
"""


@pytest.mark.skipif(os.name != "posix", reason="the locks are those of POSIX")
@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP"])
def test_a_folder_without_locks(exchange, sound, tmp_path, name):
    """Where no lock can be had nothing is written, each file says why and what to do, and what is there can be read."""
    settings = settings_of(exchange, tmp_path / "cache")
    shutil.copytree(sound, settings.cache_dir)

    done = run_program(WITHOUT_LOCKS, settings, name)

    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout)
    assert {file for file, why in came["download"].items() if why} == set(NEW)
    for file in NEW:
        assert "this disk has no locks" in came["download"][file]
        assert "use a local folder" in came["download"][file]
    assert came["load"] == 1416
    assert contents(settings.cache_dir) == contents(sound)


@pytest.mark.skipif(os.name != "posix", reason="the locks are those of POSIX")
def test_a_folder_that_knows_no_locks_at_all(exchange, sound, truth, tmp_path):
    """Where the system has no such call, locks are files, and the same bytes come."""
    settings = settings_of(exchange, tmp_path / "cache")
    shutil.copytree(sound, settings.cache_dir)

    done = run_program(WITHOUT_LOCKS, settings, "ENOSYS")

    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["download"].values()) == {""}
    assert contents(settings.cache_dir) == truth


UPDATED = """
report = asyncio.run(ares.update(end="2025-04-01", settings=ares.Settings(progress=False)))
print(len({str(each.error) for each in report.failed}), len(report.failed), report, sep="\\n")
"""


@pytest.mark.parametrize("closed_part", ["all", ".ares"])
def test_one_cause_is_one_line(exchange, closed_part):
    """An update of several symbols in a folder that can only be read fails for one reason, which names the folder."""
    with reachable_folder() as place:
        settings = settings_of(exchange, place / "cache")
        for symbol in ("BTCUSDT", "ETHUSDT", "BNBUSDT"):
            ares.run(
                ares.download_klines_data(
                    symbol, "1d", start="2025-02-01", end="2025-03-01", settings=settings
                )
            )
        for each in (settings.cache_dir, *settings.cache_dir.rglob("*")):
            each.chmod(0o777 if each.is_dir() else 0o666)
        refused = settings.cache_dir / closed_part
        if closed_part == "all":
            closed(*settings.cache_dir.rglob("*"), settings.cache_dir)
            refused = settings.cache_dir / ".ares"
        closed(refused)
        names = (*ADDRESSES, "market", "cache_dir")
        environment = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in names}

        reasons, failed, *report = as_nobody(
            UPDATED, ARES_RETRY_DELAY_SECONDS="0", **environment
        ).splitlines()

    assert (reasons, failed) == ("1", "3")
    assert f"could not create or access {refused}: Permission denied; " in report[1]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.EROFS, "it can only be read"), (errno.EIO, "another folder")]
)
def test_a_temporary_file_is_no_part_of_a_reason(tmp_path, code, words):
    """Two temporary files that fail for one reason give one and the same error, about their folder."""
    parts = [tmp_path / f".klines_{number}.csv.{number}a2f.part" for number in (1, 2)]
    said = {str(cannot_access(part, OSError(code, "no", str(part)))) for part in parts}

    assert len(said) == 1
    assert f"{tmp_path}: " in min(said)
    assert words in min(said)
