"""What the tests of the demo exchange share: a frozen day, a client that takes any answer."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from ares_notebook.demo import DemoExchange

NOW = datetime(2026, 6, 1, 12, 34, 17, tzinfo=UTC)


@dataclass(frozen=True)
class Reply:
    """An answer as it came over the wire; header names in lower case."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


Ask = Callable[..., Reply]


def ask_of(exchange: DemoExchange, path: str, headers: dict[str, str], **query: object) -> Reply:
    """Send one request over a connection of its own."""
    port = int(exchange.url.rpartition(":")[2])
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    target = quote(path, safe="/?=&:._-") + (f"?{urlencode(query)}" if query else "")
    try:
        line.request("GET", target, headers={"Connection": "close", **headers})
        response = line.getresponse()
        body = response.read()
    finally:
        line.close()
    names = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, body, names)


@pytest.fixture(scope="module")
def shared() -> Iterator[DemoExchange]:
    """An exchange for tests that only read; limits so high that they do not meet them."""
    with DemoExchange(now=NOW, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def ask(shared: DemoExchange) -> Ask:
    """Ask the shared exchange."""

    def ask_shared(path: str, headers: dict[str, str] | None = None, **query: object) -> Reply:
        return ask_of(shared, path, headers or {}, **query)

    return ask_shared


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded data."""
    folder = os.environ.get("ARES_TEST_DATA")
    if not folder:
        pytest.skip("ARES_TEST_DATA is not set: no recorded data")
    return Path(folder)
