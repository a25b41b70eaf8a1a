"""The exchange lives on loopback, starts and stops without a trace."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
from conftest import NOW, Ask, ask_of

from ares_notebook.demo import DemoExchange


def test_stopping_leaves_nothing() -> None:
    """After the end there is no thread and nobody at the port."""
    before = set(threading.enumerate())
    with DemoExchange(now=NOW) as exchange:
        port = int(exchange.url.rpartition(":")[2])
        ask_of(exchange, "/data/spot/x.zip", {})
        assert set(threading.enumerate()) > before

    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_it_can_be_started_again() -> None:
    """Start and stop may come twice, and after the end it can begin anew."""
    exchange = DemoExchange(now=NOW)
    for _ in range(2):
        exchange.start()
        exchange.start()
        assert ask_of(exchange, "/api/v3/ping", {}).status == 200
        exchange.stop()
        exchange.stop()


def test_no_address_before_the_start() -> None:
    """Without a server there is no address, and the error says how to get one."""
    with pytest.raises(RuntimeError, match="with DemoExchange"):
        _ = DemoExchange().url


def test_a_naive_now_is_refused() -> None:
    """A time without a zone is refused."""
    with pytest.raises(ValueError, match="aware"):
        DemoExchange(now=datetime(2025, 1, 1))  # noqa: DTZ001 - the point of the test


def test_nothing_but_loopback() -> None:
    """Other addresses of this machine do not reach it."""
    with DemoExchange(now=NOW) as exchange:
        port = int(exchange.url.rpartition(":")[2])
        for other in ("127.0.0.2", "::1"):
            with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
                socket.create_connection((other, port), timeout=1)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_other_names_are_sent_away(ask: Ask, host: str) -> None:
    """A page that reaches us under another name gets 421."""
    assert ask("/api/v3/ping", {"Host": host}).status == 421
    assert ask("/api/v3/ping", {"Host": "localhost:8900"}).status == 200


def test_settings_point_at_it() -> None:
    """The settings lead all sources here, name the market, and take changes."""
    with DemoExchange(now=NOW) as exchange:
        settings = exchange.settings(max_retries=0)

        assert settings.spot_url == settings.futures_url == settings.archive_url == exchange.url
        assert settings.spot_fallback_url == exchange.url + "/data-api"
        assert settings.archive_listing_url == exchange.url + "/data.binance.vision"
        assert (settings.market, settings.max_retries) == ("demo", 0)
        assert str(settings.cache_dir) == "demo_cache"
        assert exchange.settings(cache_dir="x").cache_dir == Path("x")


async def test_latency_is_honest_in_parallel() -> None:
    """A hundred requests at once, each of which computes, take little longer than one."""
    with DemoExchange(now=NOW, latency_seconds=0.5) as exchange:
        url = f"{exchange.url}/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1000"
        async with aiohttp.ClientSession() as session:
            start = time.monotonic()
            replies = await asyncio.gather(*(_status(session, url) for _ in range(50)))
            elapsed = time.monotonic() - start

    assert set(replies) == {200}
    assert 0.5 <= elapsed < 4


def test_who_leaves_early_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """A client that goes before its answer comes leaves nothing in the log."""
    with DemoExchange(now=NOW, latency_seconds=0.2) as exchange:
        address = exchange.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1]))) as line:
            line.sendall(b"GET /api/v3/time HTTP/1.1\r\nHost: localhost\r\n\r\n")
            deadline = time.monotonic() + 10
            while not exchange.requests:
                assert time.monotonic() < deadline
        # Comes later, so that the first has been answered when this is.
        assert ask_of(exchange, "/api/v3/time", {}).status == 200

    assert len(exchange.requests) == 2
    assert [record.message for record in caplog.records] == []


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        await response.read()
        return response.status


def test_connections_are_kept(ask: Ask, shared: DemoExchange) -> None:
    """One connection serves many requests."""
    port = int(shared.url.rpartition(":")[2])
    line = http.client.HTTPConnection("127.0.0.1", port)
    line.connect()
    address = line.sock.getsockname()
    for _ in range(3):
        line.request("GET", "/api/v3/ping")
        assert line.getresponse().read() == b"{}"
        assert line.sock.getsockname() == address
    line.close()
    assert ask("/api/v3/ping").status == 200


def test_parts_of_a_file(ask: Ask) -> None:
    """The archive serves a range of a file, as S3 does."""
    path = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-03.zip"
    whole = ask(path).body

    part = ask(path, {"Range": "bytes=100-199"})
    rest = ask(path, {"Range": f"bytes={len(whole) - 7}-"})

    assert (part.status, part.body) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert rest.body == whole[-7:]
    assert ask(path, {"Range": "bytes=999999999-"}).status == 416


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line(end: signal.Signals) -> None:
    """`python -m` prints one line with the address, serves, and ends in silence."""
    command = [sys.executable, "-m", "ares_notebook.demo", "--port", "0", "--now", "2025-01-01"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.rpartition(":")[2])
        client = http.client.HTTPConnection("127.0.0.1", port)
        client.request("GET", "/api/v3/time")
        assert client.getresponse().read() == b'{"serverTime":1735689600000}'
        client.close()
        process.send_signal(end)
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (0, "", "")
