"""Whether each host answers, through the proxy and directly, and what its clock says."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ares_notebook.binance.proxies import proxy_of
from ares_notebook.errors import BadArgument
from ares_notebook.model.hosts import masked
from ares_notebook.model.markets import MARKETS
from ares_notebook.settings import Settings

# A small file of the archive that has always been there; a mirror may lack it.
_OLD_CHECKSUM = "/data/spot/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2020-01.zip.CHECKSUM"
_REFUSED = {
    403: "403: its firewall refuses",
    407: "407: the proxy wants a user and a password",
    451: "451: closed to this region",
}
_NOT_FOUND, _OK = 404, 200
_SERVER_FAULT = 500
_MOST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What came of one request to a host."""

    # The field of the settings that holds its URL, and the URL.
    field: str
    url: str
    # The proxy that was asked through, without secrets; empty where it was asked directly.
    proxy: str
    # Why it cannot be used; empty where it can.
    problem: str = ""
    # From the request to the whole answer.
    seconds: float = 0.0
    # By how much the clock of this machine is ahead of the host's; None where the host told no time.
    ahead_seconds: float | None = None


async def ask_hosts(settings: Settings, most_seconds: float) -> tuple[HostAnswer, ...]:
    """Ask every host of the settings at once, each for *most_seconds* at most; never raises for an answer."""
    requests = []
    for field, path in _paths().items():
        url = str(getattr(settings, field))
        try:
            proxy = proxy_of(url)
        except BadArgument as error:
            requests.append(_unasked(HostAnswer(field, url, "the proxy", str(error))))
            proxy = None
        else:
            if proxy is not None:
                requests.append(_ask(field, url, path, proxy, most_seconds))
        requests.append(_ask(field, url, path, None, most_seconds))
    return tuple(await asyncio.gather(*requests))


def _paths() -> dict[str, str]:
    """What is asked of each URL of the settings."""
    apis = {
        name: f"{market.api}time"
        for market in MARKETS
        for name in (market.url_field, market.fallback_field)
        if name
    }
    listing = "?prefix=data%2F&max-keys=1"
    return {**apis, "archive_url": _OLD_CHECKSUM, "archive_listing_url": listing}


async def _unasked(answer: HostAnswer) -> HostAnswer:
    return answer


async def _ask(
    field: str, url: str, path: str, proxy: str | None, most_seconds: float
) -> HostAnswer:
    answer = HostAnswer(field, url, masked(proxy) if proxy else "")
    began = time.monotonic()
    try:
        async with (
            asyncio.timeout(most_seconds),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_DaemonResolver()),
                headers={"User-Agent": "ares_notebook"},
            ) as session,
            session.get(url + path, proxy=proxy, allow_redirects=False) as response,
        ):
            body = await response.content.read(_MOST_BYTES)
    except TimeoutError:
        return replace(answer, problem=f"no answer within {most_seconds:g} seconds")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The text of the error may hold the proxy's password.
        said = str(error).replace(proxy, masked(proxy)) if proxy else str(error)
        return replace(answer, problem=masked_words(said) or type(error).__name__)
    took = time.monotonic() - began
    problem, server_seconds = judged(response.status, body, is_api=path.endswith("/time"))
    # The host read its clock about half way.
    ahead = None if server_seconds is None else time.time() - took / 2 - server_seconds
    return replace(answer, problem=problem, seconds=took, ahead_seconds=ahead)


def masked_words(text: str) -> str:
    """A message without what may be secret in URLs that it quotes."""
    return re.sub(r"\w+://\S+", lambda found: masked(found[0]), text)


def judged(status: int, body: bytes, *, is_api: bool) -> tuple[str, float | None]:
    """What is wrong with an answer, empty if nothing is, and the time in seconds that an API told."""
    if status in _REFUSED:
        return _REFUSED[status], None
    if status >= _SERVER_FAULT:
        return f"{status}: a fault of the host", None
    if is_api:
        try:
            return "", float(json.loads(body)["serverTime"]) / 1000
        except (ValueError, KeyError, TypeError, RecursionError):
            return f"{status}: not the answer of an exchange's API", None
    is_listing = b"<ListBucketResult" in body
    is_checksum = bool(re.match(rb"[0-9a-f]{64}\s", body))
    if status == _NOT_FOUND or (status == _OK and (is_listing or is_checksum)):
        return "", None
    # A page for browsers: of a firewall, or of a hotel that wants a login.
    return f"{status}: not the answer of an archive", None


class _DaemonResolver(AbstractResolver):
    """The resolver of the system in threads that nothing waits for: a dead one blocks for a minute."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()

        def settle(outcome: list[Any] | OSError) -> None:
            if found.done():
                return
            if isinstance(outcome, OSError):
                found.set_exception(outcome)
            else:
                found.set_result(outcome)

        def look() -> None:
            outcome: list[Any] | OSError
            try:
                outcome = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            except OSError as error:
                outcome = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, outcome)

        threading.Thread(target=look, daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in await found
        ]

    async def close(self) -> None:
        """Nothing is held."""
