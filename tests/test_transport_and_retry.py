"""One polite session: what is tried again, how long is waited, who sees the key."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from io import BytesIO

import pytest

from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.retry import download_with_retry, seconds_before_retry
from ares_notebook.demo import DemoExchange
from ares_notebook.errors import (
    BadAnswer,
    BadRequest,
    ChecksumMismatch,
    NotFound,
    RateLimited,
    RegionBlocked,
    ServerFault,
    UnknownSymbol,
    Unreachable,
)
from ares_notebook.runtime.progress import Meter, metered
from ares_notebook.settings import Settings

CANDLES = "/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=2"


@pytest.fixture
def open_transport(exchange):
    """A transport to the exchange; nothing waits."""

    def opened(**changes):
        return Transport(
            exchange.settings(**{"retry_delay_seconds": 0, "max_retries": 2, **changes})
        )

    return opened


def ask(exchange, path=CANDLES, **fields):
    return Ask(exchange.url + path, "two candles", **fields)


def statuses(exchange):
    return [request.status for request in exchange.requests]


# --- how long to wait: pure ---


@pytest.mark.parametrize("delay", [0.5, 5])
@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
def test_the_wait_doubles_with_jitter(delay, attempt):
    """Each wait is twice the one before, plus up to a quarter by chance."""
    settings = Settings(retry_delay_seconds=delay, max_retries=9)

    waits = [seconds_before_retry(ServerFault("x"), attempt, settings) for _ in range(50)]

    least = min(60, delay * 2 ** (attempt - 1))
    assert all(least <= wait <= least * 1.25 for wait in waits)
    assert len(set(waits)) > 1


@pytest.mark.parametrize("attempt", [6, 50, 100])
def test_the_wait_has_an_end(attempt):
    """No backoff is longer than a minute and a quarter, however many tries there were."""
    settings = Settings(max_retries=100)

    assert seconds_before_retry(ServerFault("x"), attempt, settings) <= 75


@pytest.mark.parametrize("named", [0.0, 1.0, 35.0, 600.0])
def test_the_wait_that_the_exchange_names_is_the_wait(named):
    """Retry-After is obeyed to the letter, without jitter."""
    error = RateLimited("x", retry_after_seconds=named)

    assert seconds_before_retry(error, 1, Settings()) == named


@pytest.mark.parametrize(
    "error",
    [
        NotFound("x"),
        RegionBlocked("x"),
        BadRequest("x"),
        UnknownSymbol("x"),
        RateLimited("x", retry_after_seconds=601),
        ValueError("x"),
        KeyError("x"),
        PermissionError("x"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_what_does_not_pass_is_not_tried_again(error):
    """A 404, a typo, a long ban, a bug or an interrupt is no passing fault."""
    assert seconds_before_retry(error, 1, Settings()) is None


@pytest.mark.parametrize(
    "error",
    [
        ServerFault("x"),
        RateLimited("x"),
        BadAnswer("x"),
        ChecksumMismatch("x"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=repr,
)
def test_tries_are_counted(error):
    """A passing fault is tried again max_retries times and no more."""
    settings = Settings(max_retries=3)

    tried = [seconds_before_retry(error, attempt, settings) is not None for attempt in range(1, 6)]

    assert tried == [True, True, True, False, False]
    assert seconds_before_retry(error, 1, Settings(max_retries=0)) is None


# --- download_with_retry ---


class NetworkError(Exception):
    """As ccxt's: it derives from nothing that all know."""


class RequestTimeout(NetworkError):
    """As ccxt's."""


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (OSError("Network is unreachable"), 3),
        (socket.gaierror("Name or service not known"), 3),
        (NetworkError("x"), 3),
        (RequestTimeout("x"), 3),
        (FileNotFoundError("x"), 1),
        (NotFound("x"), 1),
        (ValueError("x"), 1),
    ],
    ids=repr,
)
async def test_faults_of_other_libraries_are_tried_again(settings, error, tries):
    """What calls itself an error of the network, or is one of the system, is tried again; nothing else is."""
    calls: list[int] = []

    async def fails():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        await download_with_retry(fails, "a call", settings=settings.replace(max_retries=2))

    assert len(calls) == tries


def failing(*errors):
    """A call that raises these, then answers; and how often it was called."""
    calls = []

    async def call():
        calls.append(1)
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]
        return "answer"

    return call, calls


CALM = {"retry_delay_seconds": 0, "max_retries": 2}


async def test_a_call_is_made_anew_until_it_answers():
    """After passing faults the answer comes, from a call of its own."""
    call, calls = failing(ServerFault("one"), ConnectionResetError("two"))

    assert await download_with_retry(call, "the thing", settings=Settings(**CALM)) == "answer"
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("errors", "tries"),
    [
        ([ServerFault("first"), ServerFault("second"), ServerFault("last")], 3),
        ([ValueError("last"), ServerFault("never")], 1),
        ([ServerFault("first"), NotFound("last")], 2),
    ],
)
async def test_the_last_error_itself_comes_out(errors, tries):
    """No failure becomes None, and none is wrapped."""
    call, calls = failing(*errors)

    with pytest.raises(type(errors[tries - 1]), match="last") as caught:
        await download_with_retry(call, "the thing", settings=Settings(**CALM))

    assert caught.value is errors[tries - 1]
    assert len(calls) == tries


async def test_a_call_that_takes_too_long_says_after_how_long():
    """A call without an answer times out, with a message that names it, the time and the way out."""
    settings = Settings(request_timeout_seconds=0.01, retry_delay_seconds=0, max_retries=1)

    with pytest.raises(
        ServerFault, match=r"the thing timed out after 0\.01 seconds.*request_timeout"
    ):
        await download_with_retry(asyncio.Event().wait, "the thing", settings=settings)


async def test_all_tries_together_have_an_end():
    """Tries and waits take operation_timeout_seconds in all, and the message says so."""
    settings = Settings(retry_delay_seconds=60, max_retries=9, operation_timeout_seconds=0.05)

    error = ServerFault("down")

    async def call():
        raise error

    with pytest.raises(
        ServerFault, match=r"the thing timed out after 0\.05 seconds.*operation_timeout_seconds"
    ):
        await download_with_retry(call, "the thing", settings=settings)


async def test_an_answer_that_trickles_has_an_end(exchange, open_transport):
    """A server that sends a byte now and then does not hold a request for ever."""
    exchange.fail("klines", times=None, stall="body", stall_seconds=30)

    async with open_transport(
        request_timeout_seconds=60, operation_timeout_seconds=0.3, max_retries=5
    ) as transport:
        with pytest.raises(Unreachable, match=r"two candles timed out after 0\.3 seconds"):
            await transport.get(ask(exchange), bytes)


async def test_a_cancelled_call_is_not_tried_again():
    """Who cancels the work is heard at once."""
    started, calls = asyncio.Event(), []

    async def call():
        calls.append(1)
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(download_with_retry(call, "x", settings=Settings(**CALM)))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(calls) == 1


async def test_a_new_try_is_told_in_the_log(caplog):
    """The log says what failed, why, and which try comes."""
    call, _ = failing(ServerFault("no line"))

    with caplog.at_level(logging.INFO, "DataDownloader"):
        await download_with_retry(call, "the thing", settings=Settings(**CALM))

    assert "the thing failed (no line); try 2 of 3" in caplog.text


# --- over the line ---


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "retry_after": 0},
        {"status": 418, "retry_after": 0},
        {"status": 429},
        {"status": 403},
        {"status": 408},
        {"status": 500},
        {"status": 502},
        {"status": 503},
        {"status": 504},
        {"status": 500, "body": '{"code":-1001,"msg":"Internal error"}'},
        {"reset": "head"},
        {"reset": "body"},
        {"short": True},
        {"stall": "head", "stall_seconds": 1.0},
        {"stall": "body", "stall_seconds": 1.0},
        {"replace_body": b"<html>not what was asked for</html>"},
        {"replace_body": b""},
    ],
    ids=str,
)
async def test_every_passing_fault_is_survived(exchange, open_transport, fault):
    """After one fault of any kind the answer is the same as without."""

    def read(body):
        if not body.startswith(b"[["):
            msg = "no candles"
            raise BadAnswer(msg)
        return body

    exchange.fail("klines", **fault)

    # Short only where it is to be met: a busy machine may be slow without a fault.
    patience = {"request_timeout_seconds": 0.3} if "stall" in fault else {}
    async with open_transport(**patience) as transport:
        answer = await transport.get(ask(exchange), read)

    assert len(exchange.requests) == 2
    assert answer.startswith(b"[[")


@pytest.mark.parametrize(
    "fault",
    [{"reset": "head"}, {"reset": "body"}, {"short": True}, {"status": 503}],
    ids=str,
)
async def test_a_download_begins_anew_at_each_try(exchange, open_transport, fault):
    """What came of a failed try is not in the file."""
    key = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-03.zip"
    whole, torn = BytesIO(), BytesIO()

    async with open_transport() as transport:
        await transport.download(ask(exchange, key), whole, lambda _: None, fits=lambda _: None)
        exchange.fail(r"\.zip$", **fault)
        await transport.download(ask(exchange, key), torn, lambda _: None, fits=lambda _: None)

    assert torn.getvalue() == whole.getvalue()
    assert len(whole.getvalue()) > 1_000


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, BadRequest),
        (302, BadRequest),
        (404, NotFound),
        (451, RegionBlocked),
    ],
)
async def test_permanent_errors_are_never_tried_again(exchange, open_transport, status, kind):
    """One request, one error of the right kind, with the address in it."""
    exchange.fail(
        "klines", times=None, status=status, headers={"Location": exchange.url + "/api/v3/ping"}
    )

    async with open_transport() as transport:
        with pytest.raises(kind, match=f"two candles.*{status}") as caught:
            await transport.get(ask(exchange), bytes)

    assert statuses(exchange) == [status]
    assert caught.value.url == exchange.url + CANDLES


async def test_an_unknown_symbol_is_told_with_the_exchanges_words(exchange, open_transport):
    """Binance's own code makes it an unknown symbol, and its words are repeated."""
    async with open_transport() as transport:
        with pytest.raises(UnknownSymbol, match=r"-1121.*Invalid symbol\..*spelling"):
            await transport.get(ask(exchange, CANDLES.replace("BTCUSDT", "NOSUCH")), bytes)


async def test_a_server_fault_is_told_by_its_status_first(exchange, open_transport):
    """A 5xx with an API error in its body is the server's fault all the same."""
    exchange.fail("klines", times=None, status=500, body='{"code":-1121,"msg":"x"}')

    async with open_transport(max_retries=0) as transport:
        with pytest.raises(ServerFault):
            await transport.get(ask(exchange), bytes)


async def test_a_retry_after_is_waited_for(exchange, open_transport):
    """The next try comes after the seconds that the exchange named, not before."""
    exchange.fail("klines", status=429, retry_after=1)
    began = time.monotonic()

    async with open_transport() as transport:
        await transport.get(ask(exchange), bytes)

    assert time.monotonic() - began >= 1
    assert statuses(exchange) == [429, 200]


async def test_a_retry_after_pauses_the_host(exchange, open_transport):
    """Who else asks the same host waits too."""
    exchange.fail("klines", times=None, status=429, retry_after=30)

    async with open_transport(max_retries=0) as transport:
        with pytest.raises(RateLimited) as caught:
            await transport.get(ask(exchange, counter="spot"), bytes)
        wait = transport.budget(exchange.url, "spot").wait_seconds(1)

    assert caught.value.retry_after_seconds == 30
    assert 29 < wait <= 30


async def test_a_long_ban_is_told_and_never_sat_out(exchange, open_transport):
    """Banned for hours: every request fails at once, the second as well as the first."""
    exchange.fail("klines", times=None, status=418, retry_after=7_200)

    async with open_transport() as transport, asyncio.timeout(3):
        for _ in range(2):
            with pytest.raises(RateLimited, match=r"7,?200 seconds"):
                await transport.get(ask(exchange, counter="spot"), bytes)


def ban(until_s, status=418, **fields):
    """A refusal that names the end of a ban only in its text."""
    words = f"Way too much request weight used; IP banned until {int(until_s * 1000)}. Please use"
    body = json.dumps({"code": -1003, "msg": f"{words} WebSocket Streams to avoid bans."})
    return {"status": status, "body": body, **fields}


@pytest.mark.parametrize("status", [418, 429])
async def test_a_short_ban_without_retry_after_is_waited_for(exchange, open_transport, status):
    """No request is sent before the end of a ban that only the text of the answer names."""
    until_s = time.time() + 1.2
    exchange.fail("klines", **ban(until_s, status))

    async with open_transport() as transport:
        await transport.get(ask(exchange, counter="spot"), bytes)

    assert time.time() >= until_s
    assert statuses(exchange) == [status, 200]


async def test_a_long_ban_without_retry_after_is_an_error_at_once(exchange, open_transport):
    """A ban of over ten minutes fails at once with its end in UTC, and nothing is asked of the host in it."""
    until_s = time.time() + 3600
    exchange.fail("klines", times=None, **ban(until_s))
    told = f"{datetime.fromtimestamp(until_s, UTC):%Y-%m-%d %H:%M:%S} UTC"

    async with open_transport() as transport, asyncio.timeout(3):
        with pytest.raises(RateLimited, match=f"IP banned until {told}") as first:
            await transport.get(ask(exchange, counter="spot"), bytes)
        for counter in ("spot", "futures"):
            with pytest.raises(RateLimited, match=r"another 3,[56]\d\d seconds, until 20.* UTC"):
                await transport.get(ask(exchange, counter=counter), bytes)

    assert str(int(until_s * 1000)) not in str(first.value)
    assert 3590 < first.value.retry_after_seconds <= 3601
    assert statuses(exchange) == [418]


@pytest.mark.parametrize("after_s", [-3600, -1, 30 * 86_400, 10**9])
async def test_a_ban_with_an_absurd_end_is_a_refusal_as_any(exchange, open_transport, after_s):
    """An end that is past, or later than any ban's, says nothing: the request is tried again as after any refusal."""
    exchange.fail("klines", **ban(time.time() + after_s))

    async with open_transport() as transport, asyncio.timeout(3):
        await transport.get(ask(exchange, counter="spot"), bytes)

    assert statuses(exchange) == [418, 200]


@pytest.mark.parametrize("ahead_s", [-7_200, 86_400])
async def test_a_ban_ends_by_the_clock_of_the_host(exchange, open_transport, ahead_s):
    """How long a ban takes is counted by the host's clock, whatever this machine's shows."""
    host_s = time.time() + ahead_s
    date = {"Date": format_datetime(datetime.fromtimestamp(host_s, UTC), usegmt=True)}
    exchange.fail("klines", times=None, **ban(host_s + 3600, headers=date))

    async with open_transport() as transport, asyncio.timeout(3):
        with pytest.raises(RateLimited) as caught:
            await transport.get(ask(exchange, counter="spot"), bytes)

    assert 3590 < caught.value.retry_after_seconds <= 3602


async def test_a_silent_host_is_told_after_how_long(exchange, open_transport):
    """The message says what timed out, after how many seconds, and what to do."""
    exchange.fail("klines", times=None, stall="head", stall_seconds=2.0)

    async with open_transport(request_timeout_seconds=0.2, max_retries=0) as transport:
        with pytest.raises(
            ServerFault, match=r"two candles timed out after 0\.2 seconds.*request_timeout_seconds"
        ):
            await transport.get(ask(exchange), bytes)


async def test_a_slow_answer_is_no_silent_one(exchange, open_transport):
    """The timeout bounds the silence, not the whole: what takes longer and keeps coming arrives."""
    exchange.fail("klines", stall="body", stall_seconds=0.3, delay_seconds=0.3)

    async with open_transport(request_timeout_seconds=0.5, max_retries=0) as transport:
        answer = await transport.get(ask(exchange), bytes)

    assert answer.startswith(b"[[")


async def test_nobody_at_home(exchange):
    """A host that does not listen is a server's fault, with the address and the way out."""
    dead = ask(exchange)
    exchange.stop()

    async with Transport(Settings(retry_delay_seconds=0, max_retries=1, market="x")) as transport:
        with pytest.raises(ServerFault, match="check the connection") as caught:
            await transport.get(dead, bytes)

    assert caught.value.url == dead.url


async def test_a_host_out_of_reach_is_asked_but_once(exchange, open_transport):
    """After all tries failed the next request gets one try, until the host answers again."""
    silence = {"times": None, "stall": "head", "stall_seconds": 1.0}
    first = exchange.fail("klines", **silence)

    async with open_transport(request_timeout_seconds=0.1) as transport:
        for _ in range(3):
            with pytest.raises(ServerFault):
                await transport.get(ask(exchange), bytes)
        exchange.faults.clear()
        await transport.get(ask(exchange), bytes)
        again = exchange.fail("klines", **silence)
        with pytest.raises(ServerFault):
            await transport.get(ask(exchange), bytes)

    assert first.seen == 3 + 1 + 1
    assert again.seen == 3


async def test_an_answer_without_end_is_refused(exchange, open_transport):
    """Memory is bounded whatever a host sends."""
    exchange.fail("klines", times=None, replace_body=b"x" * (33 << 20))

    async with open_transport(max_retries=0) as transport:
        with pytest.raises(BadAnswer, match="over"):
            await transport.get(ask(exchange), bytes)


async def test_no_more_are_under_way_than_allowed(exchange, open_transport):
    """At most max_concurrency requests run at once."""
    exchange.latency_seconds = 0.05
    began = time.monotonic()

    async with open_transport(max_concurrency=2) as transport:
        await asyncio.gather(*(transport.get(ask(exchange), bytes) for _ in range(6)))

    assert time.monotonic() - began >= 0.15
    assert statuses(exchange) == [200] * 6


async def test_who_waits_for_weight_keeps_no_place_from_the_archive(exchange, open_transport):
    """A paused API does not stop the archive, though but one request may be under way."""
    async with open_transport(max_concurrency=1) as transport:
        transport.budget(exchange.url, "spot").pause(30)
        waiting = asyncio.create_task(transport.get(ask(exchange, weight=2, counter="spot"), bytes))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            answer = await transport.get(ask(exchange, "/api/v3/ping"), bytes)
        waiting.cancel()

    assert answer == b"{}"


async def test_what_was_asked_and_received_is_counted(exchange, open_transport):
    """A meter counts tries and bytes of the tasks inside it, the one around it counts them too."""
    exchange.fail("klines", status=500)
    inside, around, neighbours = Meter(), Meter(), Meter()

    async with open_transport() as transport:
        with metered(around):
            with metered(inside):
                answer = await asyncio.create_task(transport.get(ask(exchange), bytes))
            with metered(neighbours):
                pass

    for meter in (inside, around):
        assert (meter.requests, meter.retries, meter.bytes_received) == (2, 1, len(answer))
    assert neighbours == Meter()


async def test_what_is_repeated_unasked_is_counted(exchange, open_transport):
    """A request that aiohttp repeats by itself, since the line is cut, counts as the two that the exchange sees."""
    meter = Meter()

    async with open_transport(max_retries=0) as transport:
        with metered(meter):
            exchange.fail("klines", reset="head")
            await transport.get(ask(exchange), bytes)

    assert len(exchange.requests) == 2
    assert (meter.requests, meter.retries) == (2, 0)


@pytest.mark.parametrize(
    ("fault", "spent"), [({"reset": "head", "times": 2}, 2), ({"stall": "head"}, 1)], ids=str
)
async def test_what_is_not_answered_may_have_been_counted(exchange, open_transport, fault, spent):
    """A request that arrived and was not answered is spent, where no header tells; one that reached nobody is not."""
    asked = ask(exchange, weight=1, counter="funding")
    exchange.fail("klines", **fault)

    async with open_transport(max_retries=0, request_timeout_seconds=0.2) as transport:
        budget = transport.budget(exchange.url, "funding")
        with pytest.raises(ServerFault):
            await transport.get(asked, bytes)
        after_silence = budget._used
        exchange.stop()
        with pytest.raises(ServerFault):
            await transport.get(asked, bytes)

    assert (after_silence, budget._used) == (spent, spent)


# --- the key ---


@pytest.fixture
def elsewhere():
    with DemoExchange(trades_per_day=6_000) as running:
        yield running


async def test_the_key_goes_to_the_api_and_nowhere_else(exchange, elsewhere):
    """The header with the key is on requests to API hosts, and not on those to the archive."""
    settings = exchange.settings(
        api_key="S3CRET",
        archive_url=elsewhere.url,
        archive_listing_url=elsewhere.url,
        max_retries=0,
    )

    async with Transport(settings) as transport:
        await transport.get(ask(exchange, "/api/v3/ping"), bytes)
        await transport.get(ask(elsewhere, "/"), bytes)

    assert exchange.requests[0].headers["x-mbx-apikey"] == "S3CRET"
    assert all("S3CRET" not in str(request.headers) for request in elsewhere.requests)
    assert len(elsewhere.requests) == 1


async def test_the_key_follows_no_redirect(exchange, elsewhere):
    """An answer that sends us elsewhere is refused, not followed."""
    exchange.fail("ping", status=302, headers={"Location": elsewhere.url + "/api/v3/ping"})

    async with Transport(exchange.settings(api_key="S3CRET")) as transport:
        with pytest.raises(BadRequest):
            await transport.get(ask(exchange, "/api/v3/ping"), bytes)

    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "fault", [{"status": 400}, {"status": 503}, {"status": 429}, {"reset": "head"}], ids=str
)
async def test_the_key_is_in_no_error_and_no_log(exchange, caplog, fault):
    """Neither errors nor the log, however chatty, repeat the key."""
    exchange.fail("ping", times=None, **fault)
    settings = exchange.settings(api_key="S3CRET", retry_delay_seconds=0, max_retries=1)

    with caplog.at_level(logging.DEBUG):
        async with Transport(settings) as transport:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
                await transport.get(ask(exchange, "/api/v3/ping"), bytes)

    assert exchange.requests[0].headers["x-mbx-apikey"] == "S3CRET"
    assert "S3CRET" not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text} {settings!r}"


async def test_without_a_key_there_is_no_header(exchange, open_transport):
    """Market data needs no key, and none is sent."""
    async with open_transport() as transport:
        await transport.get(ask(exchange), bytes)

    assert "x-mbx-apikey" not in exchange.requests[0].headers
