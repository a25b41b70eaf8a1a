"""Hosts that fail throughout, and the proxies on the way to them."""

from __future__ import annotations

import asyncio
import base64
import traceback

import pytest

import ares_notebook as ares
from ares_notebook.binance import breaker, retry
from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.proxies import proxy_of
from ares_notebook.errors import BadArgument, Forbidden, HostResting, ServerFault
from ares_notebook.runtime import progress
from ares_notebook.runtime.progress import Meter, metered


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Let a host rest as soon as it has failed often enough, however short that took."""
    at_once = {
        case: needed._replace(seconds=0.0) if needed.seconds < 10 else needed
        for case, needed in breaker._NEEDED.items()
    }
    monkeypatch.setattr(breaker, "_NEEDED", at_once)


@pytest.fixture
def eager(exchange, tmp_path):
    """Settings that try again at once."""
    return exchange.settings(
        cache_dir=tmp_path / "cache", retry_delay_seconds=0, max_retries=3, progress=False
    )


def ask(exchange: ares.DemoExchange, path: str = "/api/v3/time", counter: str = "spot") -> Ask:
    """A question for one address."""
    return Ask(f"{exchange.url}{path}", description=path, counter=counter, weight=1)


async def tries(transport: Transport, question: Ask, error: type[Exception]) -> int:
    """How many requests it takes until an answer fails for good."""
    with metered(Meter()) as meter, pytest.raises(error):
        await transport.get(question, bytes)
    return meter.requests


async def test_a_host_that_nobody_can_reach_is_asked_twice(exchange, eager):
    """Where no host has answered yet, two tries that find nobody are enough for the run."""
    questions = [ask(exchange), ask(exchange, "/api/v3/klines")]
    exchange.stop()
    async with Transport(eager) as transport:
        first, second = [await tries(transport, each, HostResting) for each in questions]

    assert (first, second) == (2, 0)


async def test_a_connection_that_has_worked_keeps_all_its_tries(exchange, eager):
    """What is cut off in the middle of a run may come back."""
    async with Transport(eager) as transport:
        question = ask(exchange)
        await transport.get(question, bytes)
        exchange.stop()

        # And one more, with which aiohttp itself repeats what a dropped connection has swallowed.
        assert await tries(transport, question, ServerFault) >= 4


async def test_a_host_that_has_never_answered_rests_beside_one_that_has(exchange, eager):
    """Where the API answers and the archive cannot be reached, two tries for the archive are enough."""
    archive = Ask("http://127.0.0.1:1/data/x.zip", description="x.zip")
    async with Transport(eager) as transport:
        await transport.get(ask(exchange), bytes)

        assert await tries(transport, archive, HostResting) == 2
        assert await tries(transport, archive, HostResting) == 0
        await transport.get(ask(exchange), bytes)


async def test_a_firewall_rests_and_its_neighbour_does_not(exchange, eager):
    """After two refusals (403) the API is left alone; the archive at the same address is not."""
    exchange.fail("/api/", times=None, status=403)
    async with Transport(eager) as transport:
        first = await tries(transport, ask(exchange), HostResting)
        second = await tries(transport, ask(exchange, "/api/v3/klines"), HostResting)
        await transport.get(ask(exchange, "/?list-type=2&prefix=data/", counter=""), bytes)

    assert (first, second) == (2, 0)


async def test_a_firewall_that_comes_up_later_leaves_all_tries(exchange, eager):
    """A host that has answered is asked on after refusals (403), which may pass: each request has all its tries."""
    async with Transport(eager) as transport:
        await transport.get(ask(exchange), bytes)
        exchange.fail("/api/", times=None, status=403)
        counts = [
            await tries(transport, ask(exchange, f"/api/v3/{each}"), Forbidden)
            for each in ("time", "klines", "aggTrades", "ticker/24hr")
        ]

    assert counts == [4] * 4


async def test_failures_of_different_kinds_do_not_add_up(exchange, eager):
    """A 403 after a 503 and before a 500 is no firewall: the request has all its tries."""
    for status in (403, 503, 403, 500):
        exchange.fail("/api/", times=1, status=status)
    async with Transport(eager) as transport:
        assert await tries(transport, ask(exchange), ServerFault) == 4
        await transport.get(ask(exchange), bytes)


async def test_a_short_outage_of_a_host_that_has_answered_rests_nothing(exchange, eager):
    """After an answer even four tries at each of five addresses that all fail leave the host asked."""
    async with Transport(eager) as transport:
        await transport.get(ask(exchange), bytes)
        fault = exchange.fail("/api/", times=None, status=503)
        counts = [
            await tries(transport, ask(exchange, f"/api/v3/{each}"), ServerFault)
            for each in ("time", "klines", "aggTrades", "ticker/24hr", "exchangeInfo")
        ]
        exchange.faults.remove(fault)
        await transport.get(ask(exchange), bytes)

    assert counts == [4] * 5


async def test_one_address_that_fails_says_nothing_of_the_others(exchange, eager):
    """A 503 for one address has all its tries; at a third address the host is known to fail."""
    exchange.fail("/api/", times=None, status=503)
    async with Transport(eager) as transport:
        counts = [
            await tries(transport, ask(exchange, f"/api/v3/{each}"), ServerFault)
            for each in ("time", "klines")
        ]
        third = await tries(transport, ask(exchange, "/api/v3/aggTrades"), HostResting)

    assert counts == [4, 4]
    assert third == 1


async def test_a_host_that_answers_again_is_asked_as_ever(exchange, eager, monkeypatch):
    """When its rest is over one try shows that the host is back."""
    monkeypatch.setattr(breaker, "_REST_SECONDS", 0.0)
    fault = exchange.fail("/api/", times=None, status=403)
    async with Transport(eager) as transport:
        await tries(transport, ask(exchange), HostResting)
        exchange.faults.remove(fault)
        await transport.get(ask(exchange), bytes)
        exchange.fail("/api/", times=1, status=503)
        await transport.get(ask(exchange), bytes)


async def test_a_run_without_any_source_ends_soon_and_says_why_once(exchange, eager, caplog):
    """A year of two datasets costs a few requests; the report gives one reason once, the log at its beginning and end."""
    exchange.stop()
    report = await ares.download_all_data(
        "BTCUSDT", "1h", 1, end="2025-03-01", datasets=("klines", "futures"), settings=eager
    )
    _, failed, *notes = str(report).splitlines()

    assert len(report.failed) == len(report.steps) == 24
    assert report.requests < 40
    assert failed.startswith("  failed")
    assert "and 23 more" in failed
    assert "cannot be reached" in failed
    assert not [each for each in notes if "cannot be reached" in each]
    assert sum("cannot be reached" in each for each in caplog.messages) == 2
    assert caplog.messages[-1].startswith("24 of 24 files failed: ")


async def test_a_password_file_is_not_read(exchange, eager, tmp_path, monkeypatch):
    """Whatever ``~/.netrc`` has for the host, no request carries it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with Transport(eager) as transport:
        await transport.get(ask(exchange), bytes)

    assert [name for name in exchange.requests[-1].headers if name.lower() == "authorization"] == []


BINANCE = "https://api.binance.com/api/v3/time"


@pytest.fixture
def no_proxies(monkeypatch):
    """An environment without proxies."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.mark.parametrize(
    ("name", "value", "proxy"),
    [
        ("HTTPS_PROXY", "http://127.0.0.1:7890", "http://127.0.0.1:7890"),
        ("https_proxy", "127.0.0.1:7890", "http://127.0.0.1:7890"),
        ("ALL_PROXY", "http://proxy.example:3128", "http://proxy.example:3128"),
        ("HTTP_PROXY", "http://proxy.example:3128", None),
    ],
)
@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_is_the_one_that_the_environment_names(monkeypatch, name, value, proxy):
    """HTTPS addresses go through HTTPS_PROXY or ALL_PROXY, with or without a scheme."""
    monkeypatch.setenv(name, value)

    assert proxy_of(BINANCE) == proxy
    assert proxy_of("http://127.0.0.1:8000/") is None


@pytest.mark.usefixtures("no_proxies")
def test_what_the_environment_exempts_goes_straight(monkeypatch):
    """NO_PROXY is heeded."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:7890")
    monkeypatch.setenv("NO_PROXY", "binance.com")

    assert proxy_of(BINANCE) is None


@pytest.mark.parametrize(
    "value",
    ["http://127.0.0.1:99999", "http://:7890", "ftp://proxy:21", "socks5://127.0.0.1:1080"],
)
@pytest.mark.usefixtures("no_proxies")
async def test_a_proxy_that_cannot_be_used_is_named(monkeypatch, value):
    """One sentence tells the variable, its value and what to write, before anything is asked."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(BadArgument, match="HTTPS_PROXY"):
        async with Transport(ares.Settings()):
            pass


@pytest.mark.parametrize(
    "value",
    [
        "socks5://me:secret@127.0.0.1:1080",
        "ftp://me:secret@127.0.0.1",
        "http://me:secret",
        "http://me:80/secret@127.0.0.1:1080",
        "me:secret@127.0.0.1:0",
        "http://me:secret@ho\u2100st:1",
    ],
)
@pytest.mark.usefixtures("no_proxies")
def test_a_proxys_password_is_not_told(monkeypatch, value):
    """The message of a proxy that cannot be used hides who goes through it."""
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(BadArgument, match="ALL_PROXY") as error:
        proxy_of(BINANCE)

    assert "secret" not in str(error.value)


async def test_what_is_waited_for_is_shown_meanwhile(exchange, eager, monkeypatch):
    """While a host is silent the progress says which one, and at which try of how many it is."""
    monkeypatch.setattr(retry, "_SECONDS_UNTIL_SHOWN", 0.05)
    monkeypatch.setattr(progress, "_SECONDS_UNTIL_REPEATED", 0.05)
    exchange.fail("/api/v3/exchangeInfo", times=1, stall="head")
    shown: list[str] = []
    own = eager.replace(request_timeout_seconds=0.3, retry_delay_seconds=0.2)
    await ares.download_klines_data(
        "BTCUSDT",
        "1d",
        1,
        end="2025-03-01",
        settings=own,
        on_progress=lambda each: shown.append(each.waiting),
    )
    [host] = {name for name in shown if name.startswith("waiting for")}

    assert host == "waiting for 127.0.0.1:" + exchange.url.rpartition(":")[2]
    assert f"no answer from {host.removeprefix('waiting for ')}, try 2 of 4" in shown
    assert shown[-1] == ""


@pytest.mark.parametrize("url", ["http://mirror.example", "https://mirror.example"])
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", b"nonsense", b""]
)
@pytest.mark.usefixtures("no_proxies")
async def test_the_password_of_a_proxy_that_refuses_is_not_told(
    tmp_path, monkeypatch, caplog, url, answer
):
    """Whatever a proxy answers, its user and password are in no error, log or history."""

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    caplog.set_level("DEBUG")
    urls = ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url")
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv(
            f"{url.split(':')[0].upper()}_PROXY", f"http://me:secret@127.0.0.1:{port}"
        )
        report = await ares.download_klines_data(
            "BTCUSDT",
            "1d",
            0.1,
            end="2025-03-01",
            settings=ares.Settings(
                **dict.fromkeys(urls, url),
                cache_dir=tmp_path,
                retry_delay_seconds=0,
                progress=False,
            ),
        )

    assert report.failed
    told = [str(report), report._repr_html_(), *(str(each.error) for each in report.failed)]
    told += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    told += [record.getMessage() for record in caplog.records]
    told += ["".join(traceback.format_exception(each.error)) for each in report.failed]
    assert not [each for each in told if "secret" in each]


@pytest.mark.usefixtures("no_proxies")
async def test_a_proxy_gets_its_login(tmp_path, monkeypatch):
    """User and password of a proxy's URL, percent-encoded or not, are sent to the proxy."""
    heads = []

    async def refuse(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:se%3Acret@127.0.0.1:{port}")
        async with Transport(ares.Settings(max_retries=0, cache_dir=tmp_path)) as transport:
            with pytest.raises(ServerFault):
                await transport.get(Ask(BINANCE, "the time"), bytes)

    login = base64.b64encode(b"me:se:cret").decode()
    assert f"Proxy-Authorization: Basic {login}\r\n".encode() in heads[0]
