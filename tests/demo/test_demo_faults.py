"""What goes wrong goes wrong as scripted."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time

import pytest
from conftest import NOW, Reply, ask_of

from ares_notebook.demo import DemoExchange, Fault

TRADES = "/api/v3/aggTrades?symbol=BTCUSDT&limit=1000"
ZIP = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-03.zip"


@pytest.fixture
def exchange():
    with DemoExchange(now=NOW) as running:
        yield running


def raw(exchange: DemoExchange, path: str) -> bytes:
    """All bytes of an answer, until the line ends."""
    port = int(exchange.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        parts = []
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("status", [403, 418, 429, 451, 500, 502, 503])
def test_status(exchange: DemoExchange, status: int) -> None:
    """A status comes with the body that Binance has for it, and is written down."""
    exchange.fail("klines", status=status, retry_after=7)

    reply = ask_of(exchange, "/api/v3/klines?symbol=BTCUSDT&interval=1h", {})

    assert reply.status == status
    assert reply.headers["retry-after"] == "7"
    assert "x-mbx-used-weight" in reply.headers
    assert [request.status for request in exchange.requests] == [status]
    if status in (418, 429):
        assert reply.json["code"] == -1003
    if status == 451:
        assert "restricted location" in reply.json["msg"]
    if status == 403:
        assert reply.headers["content-type"] == "text/html"


def test_status_on_the_archive_and_the_listing(exchange: DemoExchange) -> None:
    """The archive and its listing fail too, without the API's headers."""
    exchange.fail("^/data", status=503, times=2)

    for path in (ZIP, "/data.binance.vision?prefix=data/"):
        reply = ask_of(exchange, path, {})
        assert reply.status == 503
        assert "x-mbx-used-weight" not in reply.headers


def test_body_headers_and_type_can_be_said(exchange: DemoExchange) -> None:
    """A script may give the body, its type and more headers."""
    fields = {"body": "{}", "content_type": "text/plain", "headers": {"X-Odd": "yes"}}
    exchange.fail("ping", status=400, **fields)

    reply = ask_of(exchange, "/api/v3/ping", {})

    assert (reply.status, reply.body, reply.headers["x-odd"]) == (400, b"{}", "yes")
    assert reply.headers["content-type"] == "text/plain"


def test_times_and_skip(exchange: DemoExchange) -> None:
    """The first *skip* requests pass, the next *times* suffer, the rest pass."""
    exchange.fail("ping", status=500, skip=1, times=2)

    found = [ask_of(exchange, "/api/v3/ping", {}).status for _ in range(5)]

    assert found == [200, 500, 500, 200, 200]


def test_for_ever(exchange: DemoExchange) -> None:
    """A fault without a number of times never ends; clearing the list ends it."""
    exchange.faults.append(Fault("/api/", status=500, times=None))
    found = [ask_of(exchange, "/api/v3/ping", {}).status for _ in range(4)]
    exchange.faults.clear()

    assert found == [500] * 4
    assert ask_of(exchange, "/api/v3/ping", {}).status == 200


def test_the_pattern_sees_the_query(exchange: DemoExchange) -> None:
    """A fault can be aimed at one symbol."""
    exchange.fail("symbol=ETH", status=500, times=None)

    found = {
        symbol: ask_of(exchange, f"/api/v3/aggTrades?symbol={symbol}", {}).status
        for symbol in ("BTCUSDT", "ETHUSDT")
    }

    assert found == {"BTCUSDT": 200, "ETHUSDT": 500}


def test_the_fallback_host_can_be_told_apart(exchange: DemoExchange) -> None:
    """The API can be blocked where the data-only host answers."""
    exchange.fail("^/api/", status=451, times=None)

    assert ask_of(exchange, "/api/v3/ping", {}).status == 451
    assert ask_of(exchange, "/data-api/api/v3/ping", {}).status == 200


def test_reset_before_the_head(exchange: DemoExchange) -> None:
    """The line is reset before a byte is sent; the request is written down with status 0."""
    exchange.fail("aggTrades", reset="head")

    with pytest.raises(ConnectionResetError):
        raw(exchange, TRADES)
    assert [request.status for request in exchange.requests] == [0]
    assert ask_of(exchange, TRADES, {}).status == 200


def test_reset_in_the_body(exchange: DemoExchange) -> None:
    """The line is reset in the middle of a body whose whole length was declared."""
    exchange.fail("aggTrades", reset="body")

    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask_of(exchange, TRADES, {})
    assert [request.status for request in exchange.requests] == [200]


def test_short_body(exchange: DemoExchange) -> None:
    """The whole length is declared, half of it is sent, and the line ends in good order."""
    exchange.fail("1h", short=True)

    head, _, body = raw(exchange, ZIP).partition(b"\r\n\r\n")
    whole = ask_of(exchange, ZIP, {}).body

    assert f"Content-Length: {len(whole)}".encode() in head
    assert body == whole[: len(whole) // 2]


@pytest.mark.parametrize("where", ["head", "body"])
def test_stall(exchange: DemoExchange, where: str) -> None:
    """The answer falls silent for a while and then goes on, whole."""
    whole = ask_of(exchange, TRADES, {}).body
    exchange.fail("aggTrades", stall=where, stall_seconds=0.3)
    start = time.monotonic()

    reply = ask_of(exchange, TRADES, {})

    assert reply.body == whole
    assert 0.3 <= time.monotonic() - start < 5


def test_a_stalled_answer_does_not_hold_up_the_end(exchange: DemoExchange) -> None:
    """An exchange that is silent for an hour stops at once all the same."""
    exchange.fail("aggTrades", stall="body")
    port = int(exchange.url.rpartition(":")[2])
    line = http.client.HTTPConnection("127.0.0.1", port)
    line.request("GET", TRADES)
    response = line.getresponse()
    response.read(10)
    start = time.monotonic()

    exchange.stop()

    response.close()
    line.close()
    assert time.monotonic() - start < 3


def test_delay(exchange: DemoExchange) -> None:
    """A delayed answer is the true one, later."""
    exchange.fail("ping", delay_seconds=0.2)
    start = time.monotonic()

    assert ask_of(exchange, "/api/v3/ping", {}).body == b"{}"
    assert time.monotonic() - start >= 0.2


def test_another_body(exchange: DemoExchange) -> None:
    """Bytes or a function of the true bytes take the body's place, with status 200."""
    whole = ask_of(exchange, ZIP, {}).body
    exchange.fail("1h", replace_body=lambda body: body[:99] + bytes([body[99] ^ 1]) + body[100:])
    exchange.fail("ping", replace_body=b"<html>")
    exchange.fail("aggTrades", replace_body=lambda body: body[:-20])

    flipped, page = ask_of(exchange, ZIP, {}), ask_of(exchange, "/api/v3/ping", {})

    assert flipped.status == page.status == 200
    assert (len(flipped.body), page.body) == (len(whole), b"<html>")
    assert sum(a != b for a, b in zip(flipped.body, whole, strict=True)) == 1
    checksum = ask_of(exchange, f"{ZIP}.CHECKSUM", {}).body.decode()
    assert not checksum.startswith(hashlib.sha256(flipped.body).hexdigest())
    with pytest.raises(json.JSONDecodeError):
        _ = ask_of(exchange, TRADES, {}).json


def test_requests_are_written_down(exchange: DemoExchange) -> None:
    """Each request is there with method, path, parameters and status; the list can be cleared."""
    reply: Reply = ask_of(exchange, TRADES, {"X-Mine": "1"})
    [request] = exchange.requests

    assert reply.status == request.status == 200
    assert (request.method, request.path) == ("GET", "/api/v3/aggTrades")
    assert request.query == {"symbol": "BTCUSDT", "limit": "1000"}
    assert request.headers["x-mine"] == "1"
    exchange.requests.clear()
    assert exchange.requests == []
