"""
SIGKILL at any moment: what is on disk is whole, and the next run goes on where it ended.

The downloads are children of `victim.py`, which is told when to kill them; the demo
exchange lives here, and is asked what it was asked.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from reading import changed

from ares_notebook import DemoExchange, Settings
from ares_notebook.model.datasets import DATASETS, dataset_named
from ares_notebook.model.symbols import pair_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forked")

DAY = 1 / 365.25
KILLS_A_STAGE = 4
DEEDS_AT_LEAST = 10
REPOSITORY = Path(__file__).parents[2]
KILLED = -signal.SIGKILL


def symbol_of(name: str) -> str:
    """A symbol that has the dataset of this name."""
    dataset = dataset_named(name)
    symbol = dataset.markets[0].example
    return pair_of(symbol) if dataset.rest_symbol_parameter == "pair" else symbol


class Wanted(NamedTuple):
    """A download in two stages: what was running at the first end goes on at the second."""

    dataset: str
    source: str
    interval: str | None
    start_years: float
    ends: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.dataset}, {self.source}"

    def stage(self, number: int) -> dict[str, Any]:
        """Arguments of the download."""
        end = datetime.fromisoformat(self.ends[number]).replace(tzinfo=UTC)
        first = datetime.fromisoformat(self.ends[0]).replace(tzinfo=UTC)
        return {
            "symbol": symbol_of(self.dataset),
            "interval": self.interval,
            "lookback_years": self.start_years + (end - first).total_seconds() / 86_400 * DAY,
            "end": self.ends[number],
            "datasets": [self.dataset],
        }


CELLS = (
    Wanted("klines", "archive", "15m", 80 * DAY, ("2025-03-02", "2025-03-04")),
    Wanted("klines", "rest", "15m", 80 * DAY, ("2025-03-02", "2025-03-04T06:00")),
    Wanted("agg_trades", "archive", None, 3 * DAY, ("2025-01-15T12:00", "2025-01-17")),
    Wanted("agg_trades", "rest", None, 2 * DAY, ("2025-01-15T12:00", "2025-01-16T12:00")),
    Wanted("futures", "archive", None, 130 * DAY, ("2025-02-01", "2025-04-01")),
    Wanted("futures", "rest", None, 130 * DAY, ("2025-03-02", "2025-04-04")),
)
# Of the others the source that is not that of their like above.
MONTHS, DAYS = ("2025-03-02", "2025-03-04"), ("2025-01-15T12:00", "2025-01-17")
CELLS += tuple(
    Wanted(each.name, "archive", None, 3 * DAY, DAYS)
    if each.key == "id"
    else Wanted(each.name, "rest", None, 130 * DAY, ("2025-03-02", "2025-04-04"))
    if each.key == "event_time"
    else Wanted(
        each.name,
        "archive" if not each.has_rest or each.writes_each_row else "rest",
        "15m",
        80 * DAY if each.has_rest else 40 * DAY,
        MONTHS,
    )
    for each in DATASETS[3:]
)
# Of these a run is short enough to be killed at each of its deeds.
SMALL = (
    Wanted("klines", "rest", "15m", DAY, ("2025-03-02", "2025-03-03T06:00")),
    Wanted("agg_trades", "archive", None, DAY / 2, ("2025-01-15T12:00", "2025-01-16")),
    Wanted("futures", "archive", None, 34 * DAY, ("2025-02-01", "2025-03-01")),
    Wanted("futures", "rest", None, DAY, ("2025-03-02", "2025-03-04")),
)


@pytest.fixture(scope="module")
def exchange() -> Iterator[DemoExchange]:
    # A line is as slow as real ones are near, so that a download has moments to be killed in.
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6, latency_seconds=0.01) as running:
        yield running


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Victim:
    """The program whose children are killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, settings: Settings, wanted: dict[str, Any], **order: Any) -> None:
        """Begin a download in a child."""
        reported = changed(settings)
        order = {"settings": reported, "wanted": wanted, **order}
        assert self._answer(f"start {json.dumps(order)}") == "started"

    def killed(self) -> int:
        """The exit status of the child, after a kill: it may have come too late."""
        return int(self._answer("kill"))

    def awaited(self) -> int:
        """The exit status of the child, when it ends by itself."""
        return int(self._answer("wait"))

    def _answer(self, order: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, str(Path(__file__).with_name("victim.py"))],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Victim(process)
        finally:
            # With its child, if a test has left one.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


class State(NamedTuple):
    """What an undisturbed run leaves, and how often it asks."""

    files: dict[str, bytes]
    receipts: dict[str, dict[str, Any]]
    requests: int


class Cell:
    """One dataset on one source: its truth, and what its cache holds meanwhile."""

    def __init__(self, wanted: Wanted, exchange: DemoExchange, victim: Victim, place: Path) -> None:
        self.wanted, self.exchange, self.victim, self.place = wanted, exchange, victim, place
        self._caches = 0
        self.unwitnessed: set[str] = set()
        self.settings = self._settings(place / "truth")
        first = self._undisturbed(0)
        self._first = shutil.copytree(place / "truth", place / "first")
        self.truth = (first, self._undisturbed(1))
        self.begin(0)

    def begin(self, stage: int) -> None:
        """Go on with a new cache: an empty one, or one in which the first stage is done."""
        self._caches += 1
        self.unwitnessed.clear()
        place = self.place / str(self._caches)
        if stage:
            shutil.copytree(self._first, place)
        self.settings = self._settings(place)

    def _settings(self, place: Path) -> Settings:
        return self.exchange.settings(
            cache_dir=place, source=self.wanted.source, max_concurrency=2, progress=False
        )

    def start(self, stage: int, **order: Any) -> None:
        """Begin a run."""
        self.exchange.requests.clear()
        self.victim.start(self.settings, self.wanted.stage(stage), **order)

    def complete(self, stage: int) -> None:
        """Let a run through."""
        self.start(stage)
        assert self.victim.awaited() == 0

    def _undisturbed(self, stage: int) -> State:
        self.complete(stage)
        return State(self.files(), self.receipts(), len(self.exchange.requests))

    def files(self) -> dict[str, bytes]:
        """The cache files that are there."""
        return {path.name: path.read_bytes() for path in self.settings.cache_dir.glob("[!.]*.csv")}

    def receipts(self) -> dict[str, dict[str, Any]]:
        """The receipts that are there, by the names of their files."""
        folder = self.settings.cache_dir / ".ares" / "receipts"
        return {path.stem: json.loads(path.read_text()) for path in folder.glob("[!.]*.json")}

    def assert_whole(self) -> None:
        """Each file is one that an undisturbed run has written, and each receipt is of such a file."""
        files = self.files()
        receipts = self.receipts()
        for name, data in files.items():
            assert data in self._versions(name), f"{name} is not whole"
            if receipts.get(name, {}).get("sha256") != sha256(data):
                self.unwitnessed.add(name)
        for name, receipt in receipts.items():
            if receipt["size"] is None:
                continue
            assert name in files, f"a receipt tells of {name}, which is not there"
            versions = {sha256(each) for each in self._versions(name)}
            assert receipt["sha256"] in versions
            if (self.settings.cache_dir / name).stat().st_mtime_ns == receipt["mtime_ns"]:
                assert receipt["sha256"] == sha256(files[name])

    def _versions(self, name: str) -> list[bytes]:
        return [state.files[name] for state in self.truth if name in state.files]

    def finished(self, stage: int) -> set[str]:
        """The files that are there as they shall be, with their receipts."""
        there = self.receipts()
        return {
            name
            for name, data in self.files().items()
            if data == self.truth[stage].files.get(name)
            and name in there
            and there[name]["sha256"] == sha256(data)
        }

    def asked_for(self) -> set[str]:
        """The files of which the exchange was asked for rows."""
        return {self._file_of(each.path, each.query) for each in self.exchange.requests} - {""}

    def _file_of(self, path: str, query: dict[str, str]) -> str:
        """The file that a request is about; none for the clock, the limits, a listing, the first row."""
        if zipped := re.search(r"-(\d{4}-\d{2}(-\d{2})?)\.zip", path):
            return self._name(zipped[1])
        if "fromId" in query:
            return self._of_trade(int(query["fromId"]))
        ms = int(query.get("startTime", query.get("endTime", 0)))
        return self._name(f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}") if ms > 1 else ""

    def _name(self, stamp: str) -> str:
        """The file that holds a day or a month."""
        return next(
            (each for each in self.truth[1].files if stamp in each or stamp[:7] + "." in each), ""
        )

    def _of_trade(self, number: int) -> str:
        firsts = [
            (int(data.splitlines()[1].split(b",")[4]), name)
            for name, data in sorted(self.truth[1].files.items())
        ]
        return firsts[bisect.bisect(firsts, (number, "~")) - 1][1]

    def assert_as_if_nothing_had_been(self, stage: int) -> int:
        """The bytes, and what the receipts tell of them, are those of an undisturbed run; rows that are missing."""
        files, truth = self.files(), self.truth[stage].files
        lost = sum(
            len(set(data.splitlines()) - set(files.get(name, b"").splitlines()))
            for name, data in truth.items()
        )
        assert files == truth
        assert self._reported(self.receipts()) == self._reported(self.truth[stage].receipts)
        if self.exchange.requests:
            # A run that has nothing to do writes nothing, and sweeps nothing.
            assert list(self.settings.cache_dir.rglob("*.part*")) == []
        return lost

    def _reported(self, receipts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """What receipts tell, but for times, and for absences: what a neighbour tells is not asked."""
        reported = {}
        for name, receipt in receipts.items():
            sources = sorted((each["road"], each["url"]) for each in receipt["sources"])
            reported[name] = {
                **receipt,
                "mtime_ns": None,
                "absences": None,
                # Killed between file and receipt, it has lost where its rows came from.
                "sources": None if name in self.unwitnessed else sources,
            }
        return reported


@pytest.fixture
def cell(request, exchange, victim, tmp_path):
    return Cell(request.param, exchange, victim, tmp_path)


def struck(cell: Cell, stage: int, chance: random.Random) -> bool:
    """Kill a run at a moment that nobody has chosen; whether it was still at work."""
    share = 1 - len(cell.finished(stage)) / len(cell.truth[stage].files)
    requests = chance.uniform(0, share * cell.truth[stage].requests)
    cell.start(stage)
    deadline = time.monotonic() + 2
    while len(cell.exchange.requests) < requests and time.monotonic() < deadline:
        time.sleep(0.001)
    # Not just where an answer is on its way: files are written while nothing is asked.
    time.sleep(chance.uniform(0, 0.04))
    return cell.victim.killed() == KILLED


@pytest.mark.parametrize("cell", CELLS, ids=str, indirect=True)
def test_kills_at_random_moments(cell, record_property):
    """Whenever it is killed, files are whole, receipts are true, what was finished is not fetched again, and the end is the same."""
    chance = random.Random(str(cell.wanted))  # noqa: S311 - to be the same at each run
    kills = lost = 0
    for stage in range(2):
        finished: set[str] = set()
        for _ in range(KILLS_A_STAGE):
            kills += struck(cell, stage, chance)
            cell.assert_whole()
            assert not finished & cell.asked_for()
            finished = cell.finished(stage)
        cell.complete(stage)
        assert not finished & cell.asked_for()
        lost += cell.assert_as_if_nothing_had_been(stage)
    assert kills
    record_property("kills survived", kills)
    record_property("rows lost", lost)


@pytest.mark.parametrize("stage", [0, 1], ids=["from nothing", "from an older end"])
@pytest.mark.parametrize("cell", SMALL, ids=str, indirect=True)
def test_a_kill_before_every_deed_on_the_disk(cell, stage, monkeypatch, record_property):
    """Killed before any one of the openings, renamings and removings of a run, it loses nothing, and writes no file in its place."""
    lost = kills = 0
    # Deeds are counted: no moment has to be hit.
    monkeypatch.setattr(cell.exchange, "latency_seconds", 0)
    cell.begin(stage)
    cell.start(stage, strikes_at=0)
    while (status := cell.victim.awaited()) == KILLED:
        kills += 1
        cell.assert_whole()
        finished = cell.finished(stage)
        cell.complete(stage)
        assert not finished & cell.asked_for()
        lost += cell.assert_as_if_nothing_had_been(stage)
        cell.begin(stage)
        cell.start(stage, strikes_at=kills)
    assert status == 0
    assert kills > DEEDS_AT_LEAST
    record_property("kills survived", kills)
    record_property("rows lost", lost)


# --- other verbs ---

CANDLES = {"interval": "1d", "lookback_years": 100 * DAY, "end": "2025-03-02"}
MONTHS = ("2024-12", "2025-01", "2025-02")


def stored(folder: Path) -> dict[str, bytes]:
    """The cache files that are there, compressed ones too."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*.csv*")}


def fresh(path: Path) -> Path:
    """The place, with nothing there."""
    shutil.rmtree(path, ignore_errors=True)
    return path


def with_gaps(folder: Path) -> None:
    """Take rows out of the middle of two months."""
    for month in MONTHS[:2]:
        path = folder / f"klines_BTCUSDT_1d_{month}.csv"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:9] + lines[12:]))


@pytest.fixture
def scene(exchange, victim, publish_anew, tmp_path):
    """What a verb is asked, the cache that it finds, and the changes of its settings."""

    def made(verb: str) -> tuple[dict[str, Any], Path, dict[str, Any]]:
        before = tmp_path / "before"
        if verb == "zstd":
            before.mkdir()
            return {"wanted": {**CANDLES, "datasets": ["klines"]}}, before, {"compression": "zstd"}
        settings = exchange.settings(cache_dir=before, progress=False)
        victim.start(settings, {**CANDLES, "datasets": ["klines"]})
        assert victim.awaited() == 0
        if verb == "repair":
            with_gaps(before)
        elif verb == "audit":
            for month in MONTHS[:2]:
                rows = (before / f"klines_BTCUSDT_1d_{month}.csv").read_text().splitlines()[1:]
                publish_anew(f"BTCUSDT-1d-{month}", "".join(map(anew, rows)))
        wanted = {"max_bytes": 4_000} if verb == "prune" else {}
        return {"verb": verb, "wanted": wanted}, before, {}

    yield made
    exchange.faults.clear()


def anew(row: str) -> str:
    """A row of a cache file as the archive has it, with one trade more."""
    stamp, *cells = row.split(",")
    open_ms = int(datetime.fromisoformat(f"{stamp}+00:00").timestamp() * 1000)
    *prices, quote, count, base, taker = cells
    close_ms = open_ms + 86_400_000 - 1
    return f"{open_ms},{','.join(prices)},{close_ms},{quote},{int(count) + 1},{base},{taker},0\n"


@pytest.mark.parametrize("verb", ["repair", "audit", "prune", "zstd"])
def test_a_kill_before_every_deed_of_other_verbs(
    exchange, victim, scene, tmp_path, *, monkeypatch, verb, record_property
):
    """Killed before any one deed of a repair, an audit, a pruning or a compressed download, each file is whole, and the next run ends as an undisturbed one."""
    monkeypatch.setattr(exchange, "latency_seconds", 0)
    order, before, changes = scene(verb)

    def run(folder: Path, **more: int) -> int:
        settings = exchange.settings(cache_dir=folder, progress=False, **changes)
        victim.start(settings, **order, **more)
        return victim.awaited()

    truth = shutil.copytree(before, tmp_path / "truth")
    assert run(truth) == 0
    assert stored(truth) != stored(before)
    versions = {
        name: {each[name] for each in (stored(before), stored(truth)) if name in each}
        for name in {**stored(before), **stored(truth)}
    }
    status, kills = KILLED, 0
    while status == KILLED:
        work = shutil.copytree(before, fresh(tmp_path / "work"))
        status = run(work, strikes_at=kills)
        assert all(data in versions[name] for name, data in stored(work).items())
        assert run(work) == 0
        assert stored(work) == stored(truth)
        kills += status == KILLED
    assert status == 0
    assert kills > DEEDS_AT_LEAST
    record_property("kills survived", kills)
