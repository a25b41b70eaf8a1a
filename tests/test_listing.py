"""What lies in a cache folder: looked at once, and again as soon as anything may have changed."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.cache import names
from ares_notebook.cache.locks import locked
from ares_notebook.cache.names import CacheListing, list_cache
from ares_notebook.cache.store import Store
from ares_notebook.model.facts import Trouble
from ares_notebook.model.files import parse_file_name
from ares_notebook.settings import Settings

NAMES = st.sets(st.sampled_from([f"{kind}_{at}" for kind in ("a", "a_b", "b") for at in range(4)]))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of one file, and a clock by which nothing has happened to it for an hour."""
    receipts = tmp_path / ".ares" / "receipts"
    receipts.mkdir(parents=True)
    (tmp_path / "a.csv").touch()
    monkeypatch.setattr(names, "_known", {})
    monkeypatch.setattr(time, "time_ns", lambda now=time.time_ns: now() + 3600 * 10**9)
    return tmp_path


@pytest.fixture
def looks(monkeypatch):
    """The folders that were listed, one after the other."""
    seen = []
    look = os.listdir

    def listdir(folder):
        seen.append(folder)
        return look(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    return seen


def look(folder) -> CacheListing:
    """What lies there."""
    return list_cache(folder, folder / ".ares" / "receipts")


def test_a_folder_that_does_not_change_is_listed_once(folder, looks):
    """The second look at a folder that is as it was lists nothing, and finds the same."""
    first = look(folder)
    seen = len(looks)

    assert look(folder) == first
    assert (seen, len(looks)) == (2, 2)


def test_what_comes_and_goes_is_seen(folder):
    """A file and a receipt that come, and a file that goes, show at the next look."""
    found = [look(folder).names]
    (folder / "b.csv.zst").touch()
    found.append(look(folder).names)
    (folder / ".ares" / "receipts" / "c.csv.json").touch()
    found.append(look(folder).names)
    (folder / "a.csv").unlink()
    found.append(look(folder).names)

    assert found == [
        ["a.csv"],
        ["a.csv", "b.csv"],
        ["a.csv", "b.csv", "c.csv"],
        ["b.csv", "c.csv"],
    ]


def test_a_time_that_is_set_back_hides_nothing(folder):
    """A file that came shows, though somebody has given the folder its old time again."""
    before = folder.stat()
    look(folder)
    (folder / "b.csv").touch()
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert "b.csv" in look(folder).on_disk


def test_a_folder_that_has_just_changed_is_listed_again(folder, looks, monkeypatch):
    """What changed within the last tick of a coarse clock may change again unseen: it is not trusted."""
    changed_ns = max(folder.stat().st_ctime_ns, (folder / ".ares" / "receipts").stat().st_ctime_ns)
    monkeypatch.setattr(time, "time_ns", lambda: changed_ns + 10**9)
    look(folder)
    look(folder)

    assert len(looks) == 4


def test_one_cache_is_remembered(folder, tmp_path_factory):
    """Who goes through many caches keeps the names of the last alone in memory."""
    look(folder)
    other = tmp_path_factory.mktemp("other")
    (other / ".ares" / "receipts").mkdir(parents=True)
    look(other)

    assert [where for where, _ in names._known] == [other]


def test_what_a_store_notes_is_its_own(folder):
    """What one store takes note of does not show in another that has looked before."""
    settings = Settings(cache_dir=folder)
    one, other = Store(settings), Store(settings)
    before = (one.files(), other.files())
    one.record_failure(parse_file_name("futures_BTCUSDT_2025-01.csv"), Trouble("failed", "", ""))

    assert before == ([], [])
    assert (len(one.files()), len(other.files()), len(Store(settings).files())) == (1, 0, 1)


async def test_who_holds_the_lock_knows_how_the_file_lies(folder):
    """What another process has put, packed, noted or taken away meanwhile is seen under the lock, though nobody had to wait for it."""
    (folder / ".ares" / "locks").mkdir()
    there, receipts = folder, folder / ".ares" / "receipts"
    store = Store(Settings(cache_dir=folder))
    came, went, packed = (
        parse_file_name(f"futures_BTCUSDT_2025-0{month}.csv") for month in (1, 2, 3)
    )
    (there / went.name).touch()
    before = [file.name for file in store.files()]
    (there / came.name).touch()
    (receipts / f"{came.name}.json").touch()
    (there / went.name).unlink()
    (there / f"{packed.name}.zst").touch()
    for file in (came, went, packed):
        async with locked(store, file):
            pass

    assert before == [went.name]
    assert store.files() == [came, packed]
    assert store.path_of(packed) == there / f"{packed.name}.zst"
    assert store._listing().receipts == {came.name}


@given(NAMES, NAMES, st.lists(st.tuples(st.sampled_from(["put", "drop", "note"]), NAMES)))
def test_names_are_those_that_are_there_or_noted(there, noted, changes):
    """Whatever comes and goes, the names are all of both, in order, and found by their beginning."""
    found = CacheListing(dict(zip(there, there, strict=True)), set(noted), sorted(there | noted))
    for what, these in changes:
        for name in these:
            if what == "note":
                found.add_receipt(name)
                noted = noted | {name}
            else:
                found.set_file(name, name if what == "put" else None)
                there = there | {name} if what == "put" else there - {name}

    assert found.names == sorted(there | noted)
    assert (set(found.on_disk), found.receipts) == (there, noted)
    for prefix in ("a_", "a_b_", "c", ""):
        assert found.beginning(prefix) == [each for each in found.names if each.startswith(prefix)]
