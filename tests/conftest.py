"""What the tests share: a fresh demo exchange, settings that point at it, the recorded data."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import hypothesis
import pytest
from msgspec.structs import replace

from ares_notebook import DemoExchange, Settings
from ares_notebook.cache.entry import Source
from ares_notebook.cache.reader import examined
from ares_notebook.cache.store import Store
from ares_notebook.model.files import parse_file_name

# How long a first import or a busy machine takes is no property of the code.
hypothesis.settings.register_profile("facts", deadline=None)
hypothesis.settings.load_profile("facts")


COUNTED = (
    "faults tried",
    "kills survived",
    "processes in crowds",
    "random faults survived",
    "inputs fuzzed",
    "rows lost",
    "steps walked",
)


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as cores: much of a test is waiting, for a browser or a new process."""
    return (os.cpu_count() or 1) * 3 // 2


# The files that take longest, which begin first: at the end no worker is left alone with one of them.
LONGEST = (
    "tests/test_scale.py",
    "tests/faults/test_kills.py",
    "tests/browser/test_panel.py",
    "tests/test_scale_hangs.py",
    "tests/faults/test_fuzz.py",
    "tests/faults/test_faults.py",
    "tests/test_readme.py",
    "tests/test_site.py",
    "tests/faults/test_disk.py",
    "tests/faults/test_long_run.py",
    "tests/walk/test_walk.py",
    "tests/faults/test_crowds.py",
    "tests/faults/test_clocks_and_places.py",
    "tests/test_cli_runs.py",
    "tests/faults/test_signals.py",
    "tests/test_nightly.py",
    "tests/test_kernel.py",
    "tests/browser/test_notebooks_in_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest before all others; the tests of a file keep their order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what the fault tests have tried; they record it as properties."""
    noted = [
        (name, value)
        for ending in ("passed", "failed")
        for report in terminalreporter.stats.get(ending, [])
        for name, value in report.user_properties
    ]
    sums = {
        name: sum(value for each, value in noted if each == name)
        for name in COUNTED
        if any(each == name for each, _ in noted)
    }
    if sums:
        reported = ", ".join(f"{name}: {number:,}" for name, number in sums.items())
        headline = "rows were lost" if sums.get("rows lost") else "nothing lost"
        terminalreporter.write_line(f"{headline}: {reported}")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ARES_ variable of the machine reaches a test but one, and no level that a command has set."""
    logging.getLogger("DataDownloader").setLevel(logging.NOTSET)
    for name in os.environ:
        if name.startswith("ARES_") and name not in ("ARES_TEST_DATA", "ARES_KERNEL"):
            monkeypatch.delenv(name)


@pytest.fixture
def exchange() -> Iterator[DemoExchange]:
    """A demo exchange that nobody has asked anything yet."""
    # Few trades, since each test makes its own days of them.
    with DemoExchange(trades_per_day=6_000) as running:
        yield running


@pytest.fixture
def settings(exchange: DemoExchange, tmp_path: Path) -> Settings:
    """Settings that point at the demo exchange and an empty cache, and never wait."""
    return exchange.settings(cache_dir=tmp_path / "cache", retry_delay_seconds=0, progress=False)


@pytest.fixture
def vouch() -> Callable[[Settings, str], None]:
    """Write a receipt for a cache file as it is now, as if it had come so from the exchange."""

    def write_receipt(settings: Settings, name: str) -> None:
        store, file = Store(settings), parse_file_name(name)
        assert file is not None
        source = Source("rest", file.series.rest_path, "2025-01-01T00:00:00+00:00")
        entry = examined(file, settings.cache_dir / name)
        store.update_receipt(replace(entry, sources=(source,)), final=False)

    return write_receipt


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of what Binance served, for those who have it."""
    folder = os.environ.get("ARES_TEST_DATA")
    if not folder:
        pytest.skip("ARES_TEST_DATA is not set: no recorded data")
    return Path(folder)


@pytest.fixture
def publish_anew(exchange: DemoExchange) -> Callable[[str, str], None]:
    """Publish a file of the archive anew, with a checksum that is right."""

    def publish(key: str, text: str) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"{key}.csv", text)
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        words = f"{digest}  {key}.zip".encode()
        exchange.fail(f"{key}.zip.CHECKSUM$", times=None, replace_body=words)
        exchange.fail(f"{key}.zip$", times=None, replace_body=packed.getvalue())

    return publish


@pytest.fixture
def recorded_cut() -> Callable[[DemoExchange, Mapping[str, bytes]], None]:
    """Make the demo's archive of 2025-03-02 end 50 trades early, checksum and all; of a whole cache of it."""

    def spoil(exchange: DemoExchange, whole: Mapping[str, bytes]) -> None:
        name = "BTCUSDT-aggTrades-2025-03-02"
        rows = list(csv.DictReader(io.StringIO(whole["aggtrades_BTCUSDT_2025-03-02.csv"].decode())))
        lines = [
            f"{row['agg_trade_id']},{row['price']},{row['quantity']},{row['first_trade_id']},"
            f"{row['last_trade_id']},"
            f"{int(datetime.fromisoformat(row['timestamp'] + '+00:00').timestamp() * 1e6 + 0.5)},"
            f"{row['is_buyer_maker']},True\n"
            for row in rows[:-50]
        ]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}.csv", "".join(lines))
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        exchange.fail(
            f"{name}.zip.CHECKSUM$", times=None, replace_body=f"{digest}  {name}.zip".encode()
        )
        exchange.fail(f"{name}.zip$", times=None, replace_body=packed.getvalue())

    return spoil
