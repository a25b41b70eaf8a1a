"""Pruning: what is old or does not fit goes, with all that belongs to it, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from nobody import as_nobody, reachable_folder

import ares_notebook as ares
from ares_notebook import DemoExchange, PruneReport, Settings
from ares_notebook.cache.locks import held
from ares_notebook.cache.prune import (
    PruneCandidate,
    _candidates,
    _delete,
    mark_deletions,
)
from ares_notebook.cache.prune_report import PruneItem
from ares_notebook.cache.quarantine import quarantine, quarantine_of
from ares_notebook.cache.spans import Scope
from ares_notebook.cache.store import Store
from ares_notebook.errors import BadArgument, CacheUnavailable, NeverDownloaded
from ares_notebook.model.files import parse_file_name

DAY = 1 / 365.25
END = "2025-04-01"
MONTHS = ("2025-01", "2025-02", "2025-03")
HOURS = [f"klines_BTCUSDT_1h_{each}.csv" for each in MONTHS]
DAYS = [f"klines_ETHUSDT_1d_{each}.csv" for each in MONTHS]
FUNDING = [f"futures_BTCUSDT_{each}.csv" for each in MONTHS]
TRADES = [f"aggtrades_BTCUSDT_2025-03-{day}.csv" for day in (29, 30, 31)]
ALL = sorted([*HOURS, *DAYS, *FUNDING, *TRADES])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DemoExchange, Path]]:
    """An exchange, and a cache of three months of candles and funding, and three days of trades."""
    folder = tmp_path_factory.mktemp("sound")
    with DemoExchange(trades_per_day=2_000) as exchange:
        settings = exchange.settings(cache_dir=folder, progress=False)
        for coroutine in (
            ares.download_klines_data("BTCUSDT", "1h", 0.2, end=END, settings=settings),
            ares.download_klines_data("ETHUSDT", "1d", 0.2, end=END, settings=settings),
            ares.download_futures_data("BTCUSDT", 0.2, end=END, settings=settings),
            ares.download_agg_trades_data("BTCUSDT", 3 * DAY, end=END, settings=settings),
        ):
            assert ares.run(coroutine).complete
        yield exchange, folder


@pytest.fixture
def cache(sound: tuple[DemoExchange, Path], tmp_path: Path) -> Settings:
    """Settings of a copy of it, whose receipts hold."""
    exchange, folder = sound
    shutil.copytree(folder, tmp_path / "cache")
    return exchange.settings(cache_dir=tmp_path / "cache", progress=False)


def ago(moment: str) -> timedelta:
    """How long ago that was."""
    return datetime.now(UTC) - datetime.fromisoformat(moment).replace(tzinfo=UTC)


def names(settings: Settings) -> list[str]:
    """The cache files that are there."""
    return sorted(path.name for path in settings.cache_dir.glob("*.csv*"))


def receipts(settings: Settings) -> list[str]:
    """The files that a receipt tells of."""
    folder = settings.cache_dir / ".ares" / "receipts"
    return sorted(path.name.removesuffix(".json") for path in folder.iterdir())


def tree(settings: Settings) -> dict[str, bytes | None]:
    """Everything in the folder, the content of files with it."""
    return {
        str(path.relative_to(settings.cache_dir)): path.read_bytes() if path.is_file() else None
        for path in settings.cache_dir.rglob("*")
    }


def size(settings: Settings, *files: str) -> int:
    """Bytes of some cache files, or of all."""
    return sum((settings.cache_dir / name).stat().st_size for name in files or names(settings))


def quarantine_entry(settings: Settings, name: str, text: str = "x" * 1000) -> str:
    """Put a file that was damaged into the quarantine, as the store does; its name there."""
    damaged = settings.cache_dir / name
    damaged.write_text(text)
    return quarantine(quarantine_of(settings.cache_dir), damaged, "a test").name


def gone(report: PruneReport) -> list[str]:
    """What went, in the order in which it went."""
    return [each.file for each in report.gone]


# --- what goes ---


NOW = datetime(2025, 6, 1, tzinfo=UTC)


def thing(name: str, count: int = 100, what: str = "file") -> PruneCandidate:
    """A file of that name and size, as it is found in a cache."""
    file = parse_file_name(name)
    return PruneCandidate(file, PruneItem(name, what, count), file.period.end_ms)


def going(found: list[PruneCandidate], **limits: float) -> list[str]:
    """What goes of it, in order."""
    marked = mark_deletions(found, NOW, **limits)
    return [each.item.file for each in marked if each.item.action == "delete"]


@pytest.mark.parametrize(
    ("now", "goes"),
    [
        (datetime(2025, 3, 3, tzinfo=UTC), True),
        (datetime(2025, 3, 2, 23, 59, 59, 999_000, tzinfo=UTC), False),
    ],
)
def test_a_period_goes_in_the_very_moment(now, goes):
    """A file whose period ended just as long ago as is kept goes; a millisecond earlier it stays."""
    [found] = mark_deletions([thing("futures_BTCUSDT_2025-01.csv")], now, keep_days=30)

    assert (found.item.action == "delete") == goes


def test_what_does_not_fit_goes_oldest_first():
    """Files go in order of their ends, whatever they hold, and no more of them than must."""
    row = [
        thing("klines_BTCUSDT_1h_2025-02.csv", 50),
        thing("aggtrades_BTCUSDT_2025-01-15.csv", 700),
        thing("klines_BTCUSDT_1h_2025-01.csv", 60),
        thing("futures_BTCUSDT_2025-01.csv", 60),
        thing("futures_ETHUSDT_2025-01.csv", 40),
        thing("klines_BTCUSDT_1h_2025-03.csv", 90),
    ]

    assert going(row, max_bytes=1000) == []
    assert going(row, max_bytes=999) == ["aggtrades_BTCUSDT_2025-01-15.csv"]
    assert going(row, max_bytes=300) == ["aggtrades_BTCUSDT_2025-01-15.csv"]
    # Of one age the largest, then by name.
    assert going(row, max_bytes=140) == [
        "aggtrades_BTCUSDT_2025-01-15.csv",
        "futures_BTCUSDT_2025-01.csv",
        "klines_BTCUSDT_1h_2025-01.csv",
        "futures_ETHUSDT_2025-01.csv",
    ]
    assert len(going(row, max_bytes=0)) == 6


def test_what_goes_for_its_age_makes_room():
    """What is too old no longer counts against the size."""
    row = [thing("klines_BTCUSDT_1h_2025-01.csv"), thing("klines_BTCUSDT_1h_2025-02.csv")]

    assert going(row, keep_days=100, max_bytes=100) == ["klines_BTCUSDT_1h_2025-01.csv"]


def test_receipts_make_no_room():
    """The receipt of an empty month stays when a file of another series must go."""
    row = [
        thing("klines_SOLUSDT_1h_2025-01.csv", 0, "receipt"),
        thing("klines_BTCUSDT_1h_2025-02.csv"),
        thing("klines_SOLUSDT_1h_2025-03.csv"),
    ]

    assert going(row, max_bytes=100) == ["klines_BTCUSDT_1h_2025-02.csv"]
    assert len(going(row, max_bytes=0)) == 3


def test_old_files_go_with_their_receipts(cache):
    """What ended before the limit is gone with its receipt; the rest stays byte for byte."""
    before = tree(cache)
    report = ares.prune_cache(keep=ago("2025-03-15"), dry_run=False, settings=cache)
    left = [name for name in ALL if "2025-03" in name]

    assert report
    assert sorted(gone(report)) == sorted(set(ALL) - set(left))
    assert names(cache) == receipts(cache) == left
    assert {name: tree(cache)[name] for name in left} == {name: before[name] for name in left}
    assert (report.files, report.bytes_left) == (6, size(cache))


def test_a_number_counts_days(cache):
    """A number of days means the same as so long a time."""
    days = ago("2025-02-15") / timedelta(days=1)

    assert gone(ares.prune_cache(keep=days, settings=cache)) == gone(
        ares.prune_cache(keep=ago("2025-02-15"), settings=cache)
    )


def test_the_rest_fits(cache):
    """What is left fits, and would not with the file that went last."""
    sizes = {name: size(cache, name) for name in ALL}
    wanted = size(cache) // 2
    report = ares.prune_cache(max_bytes=wanted, dry_run=False, settings=cache)

    assert report.bytes_left == size(cache) <= wanted
    assert report.bytes_left + sizes[gone(report)[-1]] > wanted
    assert report.bytes_freed + report.bytes_left == sum(sizes.values())


def test_a_dry_run_touches_nothing(cache):
    """By default it says what would go, in the same words as afterwards, and the folder is as it was."""
    quarantine_entry(cache, TRADES[0])
    before = tree(cache)
    wanted = {"keep": ago("2025-02-15"), "max_bytes": 100_000, "settings": cache}
    would = ares.prune_cache(**wanted)
    untouched = tree(cache) == before
    did = ares.prune_cache(**wanted, dry_run=False)

    assert untouched
    assert would.items == did.items
    assert would.gone
    assert would.to_frame().equals(did.to_frame())
    assert (would.dry_run, did.dry_run) == (True, False)


def test_settings_say_what_is_kept(cache):
    """Without arguments the settings decide, and an argument wins over them."""
    by_age = cache.replace(keep_days=ago("2025-02-15") / timedelta(days=1))
    by_size = cache.replace(max_cache_bytes="100 kB")

    assert sorted(gone(ares.prune_cache(settings=by_age))) == sorted(
        name for name in ALL if "2025-01" in name
    )
    assert ares.prune_cache(settings=by_size).bytes_left <= 100_000
    assert gone(ares.prune_cache(keep=float("inf"), settings=by_age)) == []


def test_a_limit_that_is_named_is_the_only_one(cache):
    """Who names a size does not delete by the settings' age beside it, and the other way round."""
    by_age = cache.replace(keep_days=1.0)
    by_size = cache.replace(max_cache_bytes=0)

    assert gone(ares.prune_cache(max_bytes="1 TB", settings=by_age)) == []
    assert gone(ares.prune_cache(keep=100_000, settings=by_size)) == []


@pytest.mark.parametrize(
    ("ask", "meant_are"),
    [
        (("ethusdt",), DAYS),
        (("BTCUSDT", "1h"), HOURS),
        ((None, "1d"), DAYS),
    ],
)
def test_only_what_is_meant_goes(cache, ask, meant_are):
    """Symbol and interval mean what they mean in `coverage`, and nothing else is counted."""
    aside = quarantine_entry(cache, "klines_ETHUSDT_1d_2024-12.csv")
    report = ares.prune_cache(*ask, max_bytes=0, dry_run=False, settings=cache)
    is_meant = ask != ("BTCUSDT", "1h")

    assert names(cache) == sorted(set(ALL) - set(meant_are))
    assert report.bytes_left == 0
    assert (f".ares/quarantine/{aside}" in gone(report)) == is_meant
    assert (quarantine_of(cache.cache_dir) / aside).exists() != is_meant


# --- what it leaves ---


def test_the_rest_is_sound(cache):
    """After a pruning validation, coverage and gaps tell of what is left, and of nothing that went."""
    assert ares.prune_cache(keep=ago("2025-03-30T12:00"), dry_run=False, settings=cache)
    quality = ares.validate_cache(settings=cache)
    left = [name for name in ALL if name[-11:] in ("2025-03.csv", "5-03-30.csv", "5-03-31.csv")]

    assert quality.ok
    assert [each for each in quality.findings if each.severity == "warning"] == []
    assert ares.coverage(settings=cache)["file"].tolist() == left
    gaps = ares.find_gaps("BTCUSDT", settings=cache)
    assert set(gaps["reason"]) == {"confirmed absent upstream"}
    assert gaps["start"].min() >= datetime(2025, 3, 1, tzinfo=UTC)


async def test_what_went_comes_back_when_it_is_asked_for(sound, cache):
    """A download whose lookback is shorter asks for nothing; a longer one brings the same bytes again."""
    exchange, _ = sound
    before = {name: (cache.cache_dir / name).read_bytes() for name in HOURS}
    ares.prune_cache(keep=ago("2025-03-15"), dry_run=False, settings=cache)
    exchange.requests.clear()
    short = await ares.download_klines_data("BTCUSDT", "1h", 20 * DAY, end=END, settings=cache)
    asked = list(exchange.requests)
    long = await ares.download_klines_data("BTCUSDT", "1h", 0.2, end=END, settings=cache)

    assert short.complete
    assert asked == []
    assert long.actions == {"fetch": 2, "skip": 1}
    assert {name: (cache.cache_dir / name).read_bytes() for name in HOURS} == before


async def test_trades_that_went_come_back(cache):
    """Days of trades come again with the same bytes, and join those that stayed."""
    before = {name: (cache.cache_dir / name).read_bytes() for name in TRADES}
    ares.prune_cache(keep=ago("2025-03-30T12:00"), dry_run=False, settings=cache)
    report = await ares.download_agg_trades_data("BTCUSDT", 3 * DAY, end=END, settings=cache)

    assert report.complete
    assert {name: (cache.cache_dir / name).read_bytes() for name in TRADES} == before
    assert ares.validate_cache(settings=cache).ok


@pytest.fixture
async def young(settings) -> tuple[Settings, list[str], list[str]]:
    """A cache of a coin before and after its listing: receipts of empty months, then files."""
    end = "2020-11-01"
    await ares.download_klines_data("SOLUSDT", "1h", 0.5, end=end, settings=settings)
    there = names(settings)
    empty = [name for name in receipts(settings) if name not in there]
    assert len(there) >= 2
    assert len(empty) >= 2
    return settings, empty, there


async def test_receipts_of_empty_months_age(young):
    """A month without a row is forgotten when it is old, and frees nothing."""
    settings, empty, there = young
    last = parse_file_name(empty[0]).period.end + timedelta(hours=1)
    report = ares.prune_cache(keep=datetime.now(UTC) - last, dry_run=False, settings=settings)

    assert gone(report) == empty[:1]
    assert receipts(settings) == [*empty[1:], *there]
    assert (report.files, report.bytes_freed) == (0, 0)
    assert "deleted 1 receipt of periods without a file, 0 B" in str(report)


async def test_receipts_of_empty_months_go_with_what_came_after_them(young):
    """Where the size takes a file, no empty month is left before it that would make it a gap."""
    settings, empty, there = young
    wanted = size(settings, *there[1:])
    untouched = ares.prune_cache(max_bytes=size(settings), settings=settings)
    report = ares.prune_cache(max_bytes=wanted, dry_run=False, settings=settings)

    assert gone(untouched) == []
    assert sorted(gone(report)) == [*empty, there[0]]
    assert receipts(settings) == names(settings) == there[1:]
    assert not ares.find_gaps("SOLUSDT", settings=settings)["reason"].isin(["not downloaded"]).any()


def test_both_forms_of_a_file_go(cache):
    """An old compressed form beside the plain one goes with it, and is counted."""
    other = cache.cache_dir / f"{HOURS[0]}.zst"
    other.write_bytes(b"x" * 500)
    both = size(cache, HOURS[0]) + 500
    report = ares.prune_cache(keep=ago("2025-02-15"), dry_run=False, settings=cache)

    assert not other.exists()
    assert {each.file: each.bytes for each in report.gone}[HOURS[0]] == both


def test_a_cache_of_the_ancestor_is_pruned(cache):
    """Files without any receipt go by their names."""
    shutil.rmtree(cache.cache_dir / ".ares")
    report = ares.prune_cache(keep=ago("2025-03-15"), dry_run=False, settings=cache)

    assert report
    assert names(cache) == [name for name in ALL if "2025-03" in name]
    assert list(cache.cache_dir.glob(".*.part")) == []


def test_what_is_not_ours_stays(cache):
    """Other files, folders under our names, and what else lies in the quarantine are left alone."""
    others = [
        cache.cache_dir / "notes.csv",
        cache.cache_dir / "klines_BTCUSDT_1h_2019-01 (copy).csv",
        quarantine_of(cache.cache_dir) / "notes.txt",
        quarantine_of(cache.cache_dir) / f"{HOURS[0]}.by-hand",
        quarantine_of(cache.cache_dir) / "notes.csv.20240101T000000000000",
        cache.cache_dir / "klines_BTCUSDT_1h_2019-02.csv" / "inside",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    report = ares.prune_cache(max_bytes=0, dry_run=False, settings=cache)

    assert all(path.exists() for path in others)
    assert report
    assert sorted(gone(report)) == ALL


# --- the quarantine ---


def test_damaged_files_go_first(cache):
    """Under a size what is damaged goes before any good file, its note with it, and is counted."""
    aside = quarantine_entry(cache, "klines_BTCUSDT_1h_2025-09.csv")
    note = quarantine_of(cache.cache_dir) / f"{aside}.json"
    bytes_of_both = 1000 + note.stat().st_size
    fits = size(cache) + bytes_of_both
    nothing = ares.prune_cache(max_bytes=fits, settings=cache)
    report = ares.prune_cache(max_bytes=fits - 1, dry_run=False, settings=cache)

    assert gone(nothing) == []
    assert gone(report) == [f".ares/quarantine/{aside}"]
    assert report.bytes_freed == bytes_of_both
    assert report.files == 1
    assert list(quarantine_of(cache.cache_dir).iterdir()) == []
    assert names(cache) == ALL


def test_damaged_files_age_from_when_they_were_put_aside(cache):
    """What was put aside just now stays, however old it is; what was put aside long ago goes."""
    aside = quarantine_of(cache.cache_dir) / quarantine_entry(cache, HOURS[0])
    os.utime(aside, (1, 1))
    old = aside.with_name(f"{HOURS[1]}.20240101T000000000000")
    old.write_text("x")
    report = ares.prune_cache(keep=30, dry_run=False, settings=cache)

    assert aside.exists()
    assert not old.exists()
    assert "quarantined on 2024-01-01" in str(report)


# --- what must not go ---


def test_what_somebody_is_at_work_on_stays(cache):
    """A file whose lock is held stays with its receipt, and the report says so; the others go."""
    store = Store(cache)
    with held(store.lock_path(parse_file_name(HOURS[0]))) as is_ours:
        report = ares.prune_cache("BTCUSDT", max_bytes=0, dry_run=False, settings=cache)
    later = ares.prune_cache("BTCUSDT", max_bytes=0, dry_run=False, settings=cache)

    assert is_ours
    assert report
    assert [(each.file, each.reason) for each in report.stayed] == [
        (HOURS[0], "another process is at work on it")
    ]
    assert f"{HOURS[0]}  {later.items[0].bytes / 1000:.1f} KB  kept: another process" in str(report)
    assert HOURS[0] in gone(later)
    assert not [name for name in receipts(cache) if "BTCUSDT" in name]


def rewrite(path: Path) -> None:
    """The same bytes, written a moment later."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


HOURLY = Scope.of("BTCUSDT", "1h")
CHANGES = {
    "rewritten": lambda folder: rewrite(folder / HOURS[0]),
    "longer": lambda folder: (folder / HOURS[0]).write_text("x"),
    "noted": lambda folder: rewrite(folder / ".ares" / "receipts" / f"{HOURS[0]}.json"),
    "another form": lambda folder: (folder / f"{HOURS[0]}.zst").write_bytes(b"x"),
    "forgotten": lambda folder: (folder / ".ares" / "receipts" / f"{HOURS[0]}.json").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_has_changed_since_it_was_looked_at_stays(cache, change):
    """A younger download's file is not deleted on the word of an older look."""
    store = Store(cache)
    [found] = [each for each in _candidates(store, HOURLY) if each.item.file == HOURS[0]]
    change(cache.cache_dir)
    before = tree(cache)
    [goes] = mark_deletions([found], NOW, max_bytes=0)
    item = _delete(store, goes)

    assert (item.action, item.reason) == ("keep", "it has been changed since it was looked at")
    assert {name: text for name, text in tree(cache).items() if "lock" not in name} == {
        name: text for name, text in before.items() if "lock" not in name
    }


def test_what_went_meanwhile_is_gone(cache):
    """What another pruning was quicker to delete is told of as gone, and as no failure."""
    store = Store(cache)
    [found] = [each for each in _candidates(store, HOURLY) if each.item.file == HOURS[0]]
    [goes] = mark_deletions([found], NOW, max_bytes=0)
    first, second = _delete(store, goes), _delete(store, goes)

    assert first == second == goes.item
    assert HOURS[0] not in names(cache)


def test_a_kill_in_the_middle_leaves_nothing_wrong(cache, monkeypatch):
    """Where the process dies between receipt and file, the file is there and the cache is sound."""

    def dies(path: Path, *_: object, **__: object) -> None:
        raise KeyboardInterrupt(path.name)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", dies)
        with pytest.raises(KeyboardInterrupt, match=f"^{HOURS[0]}$"):
            ares.prune_cache(max_bytes=0, dry_run=False, settings=cache)

    assert names(cache) == ALL
    assert HOURS[0] not in receipts(cache)
    assert ares.validate_cache(settings=cache).ok


# --- what cannot be deleted ---

OLD = f"{HOURS[0]}.20240101T000000000000"
_PRUNE = """
report = ares.prune_cache(keep=1, dry_run=False, settings=ares.Settings(cache_dir=sys.argv[1]))
print(bool(report))
print(report.to_frame().to_json(orient="records"))
"""


@pytest.fixture
def by_nobody(cache):
    """Prune a copy of the cache as a user without rights on some folders of it."""
    with reachable_folder() as folder:
        copy = shutil.copytree(cache.cache_dir, folder / "cache")
        quarantine_of(copy).mkdir()
        (quarantine_of(copy) / OLD).write_text("x")

        def prune(*closed: str) -> tuple[Path, bool, list[dict[str, object]]]:
            for each in (copy, *copy.rglob("*")):
                each.chmod(0o777 if each.is_dir() else 0o666)
            for each in closed:
                (copy / each).chmod(0o555)
            truth, items = as_nobody(_PRUNE, copy).splitlines()
            return copy, truth == "True", json.loads(items)

        yield prune


def test_a_file_that_cannot_be_deleted_keeps_its_receipt(by_nobody):
    """In a folder that is not ours every file is told of with its error, and nothing is lost."""
    folder, is_true, items = by_nobody(".", ".ares/quarantine")

    assert not is_true
    assert {each["action"] for each in items} == {"keep"}
    assert all(f"{each['file']}: Permission denied" in each["error"] for each in items)
    assert sorted(path.name for path in folder.glob("*.csv")) == ALL
    left = sorted(path.name for path in (folder / ".ares" / "receipts").iterdir())
    assert left == [f"{name}.json" for name in ALL]


def test_what_cannot_be_deleted_stops_nothing_else(by_nobody):
    """Where only the quarantine is closed, all cache files go, and the report is false."""
    folder, is_true, items = by_nobody(".ares/quarantine")
    kept = {each["file"] for each in items if each["action"] == "keep"}

    assert not is_true
    assert kept == {f".ares/quarantine/{OLD}"}
    assert (folder / ".ares" / "quarantine" / OLD).exists()
    assert list(folder.glob("*.csv")) == []


def test_the_lock_that_cannot_be_made_is_reported(cache):
    """Where no lock can be had nothing is deleted, and the error is in the report."""
    locks = cache.cache_dir / ".ares" / "locks"
    shutil.rmtree(locks)
    locks.write_text("a file")
    report = ares.prune_cache(max_bytes=0, dry_run=False, settings=cache)

    assert not report
    assert names(cache) == receipts(cache) == ALL
    assert len(report.failed) == len(ALL)
    assert all(isinstance(each.error, CacheUnavailable) for each in report.failed)
    assert str(report).startswith("12 FAILED: nothing deleted; 12 files")


# --- what is refused ---


def test_nothing_there_is_said_in_words(cache, tmp_path):
    """A folder that is not there, and a symbol that was never downloaded, are errors; nothing is made."""
    nowhere = cache.replace(cache_dir=tmp_path / "nowhere")

    with pytest.raises(NeverDownloaded, match="there is no cache folder"):
        ares.prune_cache(keep=1, settings=nowhere)
    with pytest.raises(NeverDownloaded, match="holds nothing of SOLUSDT"):
        ares.prune_cache("solusdt", keep=1, settings=cache)
    assert not nowhere.cache_dir.exists()


def test_a_file_in_place_of_the_folder_is_reported(cache):
    """A cache folder that cannot be read is no empty one."""
    wrong = cache.replace(cache_dir=cache.cache_dir / HOURS[0])

    with pytest.raises(CacheUnavailable, match="a file where a folder should be"):
        ares.prune_cache(keep=1, settings=wrong)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "keep=30"),
        ({"keep": 0}, "keep=0"),
        ({"keep": -1.5}, "keep=-1.5"),
        ({"keep": float("nan")}, "keep=nan"),
        ({"keep": True}, "keep=True"),
        ({"keep": "30"}, "keep='30'"),
        ({"keep": timedelta(0)}, r"keep=datetime.timedelta\(0\)"),
        ({"max_bytes": -1}, "max_bytes=-1"),
        ({"max_bytes": 0.5}, "max_bytes=0.5"),
        ({"max_bytes": True}, "max_bytes=True"),
        ({"max_bytes": "1,5 GB"}, "max_bytes='1,5 GB'"),
        ({"keep": 1, "dry_run": None}, "dry_run=None"),
        ({"keep": 1, "symbol": "BTC/USDT"}, "did you mean BTCUSDT"),
        ({"keep": 1, "interval": "7m"}, "7m"),
    ],
)
def test_what_cannot_be_meant_is_named(cache, wanted, words):
    """A wrong value deletes nothing, and the message names the argument."""
    with pytest.raises(BadArgument, match=words):
        ares.prune_cache(**{"dry_run": False, **wanted}, settings=cache)

    assert names(cache) == ALL


# --- the report ---


def report_of(count: int, **changes: object) -> PruneReport:
    """A report of so many files that go, and one that stays."""
    items = [PruneItem(f"<{at}>.csv", "file", 1_000, "delete", "it is old") for at in range(count)]
    return PruneReport((*items, PruneItem("new.csv", "file", 500)), **changes)


HINT = "Pass dry_run=False to do it."


@pytest.mark.parametrize(
    ("report", "headline"),
    [
        (
            report_of(2),
            f"would delete 2 files, 2.0 KB; 1 file, 500 B stays. {HINT}",
        ),
        (report_of(1, dry_run=False), "deleted 1 file, 1.0 KB; 1 file, 500 B stays."),
        (report_of(0), "nothing to delete; 1 file, 500 B stays."),
        (
            PruneReport(report_of(1).gone, dry_run=False),
            "deleted 1 file, 1.0 KB; 0 files, 0 B stay.",
        ),
    ],
)
def test_the_headline_says_what_went_and_what_stays(report, headline):
    """The first line counts files and bytes, and only a dry run that found something asks to be done."""
    assert str(report).splitlines()[0] == headline
    assert repr(report) == str(report)


def test_a_long_report_is_shortened():
    """Of many files the first are told of, and how many more there are; the table has them all."""
    report = report_of(40)

    assert str(report).splitlines()[-1] == "  … and 28 more; see report.to_frame()"
    assert len(str(report).splitlines()) == 14
    assert "… and 28 more" in report._repr_html_()
    assert len(report.to_frame()) == 41


def test_a_failure_stands_first_and_makes_it_false():
    """What could not be deleted is told of before what went, with its error, and the report is false."""
    stuck = PruneItem("stuck.csv", "file", 7).kept("it is old", CacheUnavailable("not yours"))
    report = PruneReport((*report_of(20).items, stuck), dry_run=False)

    assert not report
    assert str(report).splitlines()[0].startswith("1 FAILED: deleted 20 files")
    assert str(report).splitlines()[1] == "  stuck.csv  7 B  kept: not yours"
    assert report.to_frame()["error"].tolist()[-1] == "not yours"


def test_the_face_in_a_notebook_is_escaped():
    """Names of files reach a notebook as text."""
    made = report_of(1)._repr_html_()

    assert "&lt;0&gt;.csv" in made
    assert "<0>" not in made


def test_the_table_has_its_columns_when_it_is_empty():
    """A report of nothing is a table with the same columns."""
    columns = ["file", "what", "bytes", "action", "reason", "error"]

    assert list(PruneReport().to_frame()) == list(report_of(1).to_frame()) == columns


async def test_arrow_copies_go_first_and_count(settings):
    """Copies count as size, are deleted before any file, and are named as such; with them gone nothing is lost."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-04-01", settings=settings)
    whole = ares.load_klines("BTCUSDT", "1h", settings=settings)
    files = sorted(settings.cache_dir.glob("*.csv"))
    copies = sorted(settings.cache_dir.glob(".ares/arrow/*"))
    csv_bytes = sum(path.stat().st_size for path in files)
    copy_bytes = sum(path.stat().st_size for path in copies)

    report = ares.prune_cache(max_bytes=csv_bytes, dry_run=False, settings=settings)

    assert len(copies) == len(files) == 3
    assert (report.bytes_freed, report.bytes_left) == (copy_bytes, csv_bytes)
    assert "deleted 3 Arrow copies" in str(report)
    assert list(settings.cache_dir.glob(".ares/arrow/*")) == []
    pd.testing.assert_frame_equal(ares.load_klines("BTCUSDT", "1h", settings=settings), whole)


async def test_an_old_file_takes_its_copy_along(settings):
    """By age a file goes together with its copy."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-04-01", settings=settings)
    ares.load_klines("BTCUSDT", "1h", settings=settings)
    ares.prune_cache(keep=1, dry_run=False, settings=settings)

    assert list(settings.cache_dir.glob("*.csv")) == []
    assert list(settings.cache_dir.glob(".ares/arrow/*")) == []


def test_data_is_listed_before_what_is_made_of_it():
    """The list begins with files and quarantined ones; copies and receipts, which go first, stand behind them."""
    names = [
        *((f".ares/arrow/{number}.arrow", "copy") for number in range(20)),
        (".ares/receipts/empty.csv.json", "receipt"),
        (".ares/quarantine/bad.csv", "quarantined"),
        ("old.csv", "file"),
    ]
    report = PruneReport(
        tuple(PruneItem(name, what, 1, "delete", "it is old") for name, what in names), dry_run=True
    )

    lines = str(report).splitlines()

    assert [line.split()[0] for line in lines[1:4]] == [
        ".ares/quarantine/bad.csv",
        "old.csv",
        ".ares/arrow/0.arrow",
    ]
    assert report._repr_html_().index("old.csv") < report._repr_html_().index(".ares/arrow/0.arrow")
    assert report.to_frame()["what"].iloc[0] == "copy"
