"""What the tests share: a fresh demo exchange, settings that point at it, the recorded data."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from ares_notebook import DemoExchange, Settings

# How long a first import or a busy machine takes is no property of the code.
hypothesis.settings.register_profile("facts", deadline=None)
hypothesis.settings.load_profile("facts")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ARES_ variable of the machine reaches a test, but the one that is meant for it."""
    for name in os.environ:
        if name.startswith("ARES_") and name != "ARES_TEST_DATA":
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
