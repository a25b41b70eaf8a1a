"""The HTTP session: requests, rate limits, retries, and the errors for what went wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from ares_notebook.binance.breaker import Breaker
from ares_notebook.binance.proxies import proxy_of
from ares_notebook.binance.rate_limit import Budget, ExchangeClock, Limit
from ares_notebook.binance.retry import LONGEST_BAN_SECONDS, Wait, retried
from ares_notebook.errors import (
    AresError,
    BadAnswer,
    BadArgument,
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    RegionBlocked,
    ServerFault,
    UnknownSymbol,
    Unreachable,
)
from ares_notebook.model.hosts import is_loopback
from ares_notebook.model.markets import MARKETS
from ares_notebook.model.time import DAY_MS, utc
from ares_notebook.runtime.progress import count
from ares_notebook.settings import Settings

_LOGGER = logging.getLogger("DataDownloader")
_T = TypeVar("_T")

# "Invalid symbol.", and "Invalid symbol status.", of one that is listed and closed.
_UNKNOWN_SYMBOL_CODES = {-1121, -1122}
_RESTRICTED = re.compile(rb"restricted location|block(ed)? access from your country", re.IGNORECASE)
# The standard allows a date, too, which Binance never sends.
_SECONDS = re.compile(r"[0-9]{1,9}")
_BANNED_UNTIL = re.compile(r"(?<=banned until )[0-9]{13}(?![0-9])")
# A ban lasts three days at most [rest-api.md, "IP Limits"]; a later end is an error.
_LONGEST_BAN_MS = 7 * DAY_MS
# The last second of the year 9999.
_LAST_MS = 253_402_300_799_000


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    url: str
    # For the log and messages.
    description: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    # The request weight that it costs.
    weight: int = 0
    # Which budget of the host it draws on: "spot", "futures", "funding"; none for the archive.
    counter: str = ""
    # A larger answer is refused; a page of a thousand rows has a tenth of that.
    most_bytes: int = 4 << 20


def refusal(
    ask: Ask, answer: aiohttp.ClientResponse, body: bytes, host_ms: float | None = None
) -> AresError:
    """
    The error for a status other than 200, by the status first, the body second.

    *host_ms* is the time by the clock of the host; by default that of this machine.
    """
    status, what = answer.status, f"{ask.description}: {answer.status} from {ask.url}"
    code, said = _said(body)
    if status in (429, 418):
        now_ms = time.time() * 1000 if host_ms is None else host_ms
        seconds = _seconds_to_wait(answer.headers.get("Retry-After", ""), said, now_ms)
        wait = "for a while" if seconds is None else f"for {seconds:,.0f} seconds"
        said = _BANNED_UNTIL.sub(lambda found: _time_text(int(found[0])), said)
        msg = f"{what}: asked too often{said}; the exchange wants no request {wait}, then run again"
        return RateLimited(msg, ask.url, seconds)
    if status == 404:  # noqa: PLR2004 - not found
        why = (
            "there is no such address; check the settings" if ask.counter else "it is not published"
        )
        return NotFound(f"{what}: {why}", ask.url)
    # 451, or the same refusal by CloudFront with another status.
    if status == 451 or _RESTRICTED.search(body):  # noqa: PLR2004 - blocked for legal reasons
        msg = (
            f"{what}: the API is closed to this region. Still open are the archive "
            f'(source="archive") and, for spot, https://data-api.binance.vision'
        )
        return RegionBlocked(msg, ask.url)
    if status >= 500 or status in (403, 408):  # noqa: PLR2004 - the server's own faults
        kind = Forbidden if status == 403 else ServerFault  # noqa: PLR2004 - as above
        return kind(f"{what}{said}; it may pass: run again later, what is done is kept", ask.url)
    if code in _UNKNOWN_SYMBOL_CODES:
        msg = f"{what}{said}; check the spelling, such as BTCUSDT: {dict(ask.params)}"
        return UnknownSymbol(msg, ask.url)
    return BadRequest(
        f"{what}{said} for {dict(ask.params)}; asking again will not help, check what was asked for",
        ask.url,
    )


def _seconds_to_wait(named: str, said: str, now_ms: float) -> float | None:
    """How long no request may be sent: by ``Retry-After``, or else until the end of the ban that is *said*."""
    if _SECONDS.fullmatch(named):
        return float(named)
    found = _BANNED_UNTIL.search(said)
    left_ms = int(found[0]) - now_ms if found else 0.0
    return left_ms / 1000 if 0 < left_ms <= _LONGEST_BAN_MS else None


def _time_text(moment_ms: float) -> str:
    return f"{utc(int(min(moment_ms, _LAST_MS))):%Y-%m-%d %H:%M:%S} UTC"


def _said(body: bytes) -> tuple[int | None, str]:
    """The exchange's error code and message, if the body is its JSON."""
    try:
        answer = json.loads(body)
        code, words = int(answer["code"]), str(answer["msg"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None, ""
    # Control characters from outside must not reach a terminal.
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in words[:200])
    return code, f' (code {code}: "{shown}")'


# Limits until the exchange states its own (exchangeInfo) [rest-api.md, "Limits"].
_LIMITS: Mapping[str, Limit] = {market.name: market.limit for market in MARKETS}
_FIRST_DELAY_SECONDS = 1.0
_CHUNK_BYTES = 1 << 18
# The largest archive, a day of trades, has 0.2 GB.
_MOST_ARCHIVE_BYTES = 4 << 30


class Transport:
    """
    The HTTP session of one run: an async context manager.

    At most ``max_concurrency`` requests are in flight. An address that failed in all tries of a
    request gets one try for each further request until it answers, and so does a host that could
    not be reached; a host that fails throughout is not asked for a while, see `Breaker`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits: dict[str, Limit] = {}
        """Limits that the exchange has stated, by the name of the market."""
        self.clock = ExchangeClock()
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._failing: set[str] = set()
        self.breaker = Breaker()
        self._slots = asyncio.Semaphore(settings.max_concurrency)
        self._waits: dict[int, Wait] = {}
        fields = {each for market in MARKETS for each in (market.url_field, market.fallback_field)}
        apis = [str(getattr(settings, each)) for each in sorted(fields) if each]
        self._api_hosts = {_host(url) for url in apis}
        for url in apis if settings.api_key else ():
            if not (url.startswith("https:") or _is_loopback(url)):
                msg = f"api_key=… would be sent to {url} for all to read; write https, or leave it out"
                raise BadArgument(msg)

    async def __aenter__(self) -> Self:
        seconds = self.settings.request_timeout_seconds
        # No total timeout: a large archive over a slow connection is no fault.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        apis = (str(getattr(self.settings, market.url_field)) for market in MARKETS)
        for url in (*apis, self.settings.archive_url):
            # What cannot be a proxy is refused before anything is asked.
            proxy_of(url)
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            # The resolver of the system: another one that is installed fails on some event loops.
            connector=aiohttp.TCPConnector(
                limit=self.settings.max_concurrency, resolver=aiohttp.ThreadedResolver()
            ),
            headers={"User-Agent": "ares_notebook"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @property
    def waiting(self) -> str:
        """What a request has been waiting for longer than a second; empty while answers come."""
        return next(filter(None, (wait.text for wait in self._waits.values())), "")

    def budget(self, url: str, counter: str = "") -> Budget:
        """The budget that *url* draws on, created at its first use."""
        key = (_host(url), counter)
        if key not in self._budgets:
            self._budgets[key] = self._new_budget(counter)
            self._budgets[key].pause(max(each.paused_seconds for each in self._alike(*key)))
        return self._budgets[key]

    def _alike(self, host: str, counter: str) -> list[Budget]:
        """The budgets of a host that pause together: all of its API, or the one of its archive."""
        return [
            budget
            for (other, theirs), budget in self._budgets.items()
            if other == host and bool(theirs) == bool(counter)
        ]

    def apply_limits(self, limits: Mapping[str, Limit]) -> None:
        """Apply limits that the exchange has stated, here or to another process."""
        self.limits.update(limits)
        for (_, counter), budget in self._budgets.items():
            if counter in limits:
                budget.allow(*limits[counter])

    def share(self, programs: int) -> None:
        """Divide the budgets among so many *programs* at this address, this one included."""
        self.settings = self.settings.replace(address_shared_by=programs)
        for budget in self._budgets.values():
            budget.shared_by = programs

    async def get(self, ask: Ask, read: Callable[[bytes], _T]) -> _T:
        """Send a request and *read* the answer in a thread; a `BadAnswer` is tried again too."""

        async def once(wait: Wait) -> _T:
            async with self._answer(ask, wait) as answer:
                chunks = _chunks(answer, ask, ask.most_bytes, wait)
                body = b"".join([chunk async for chunk in chunks])
            return await asyncio.to_thread(read, body)

        return await self._get(once, ask)

    async def download(
        self,
        ask: Ask,
        sink: BinaryIO,
        check: Callable[[BinaryIO], _T],
        *,
        fits: Callable[[int], None],
    ) -> _T:
        """Stream an answer that *fits* by its stated bytes into *sink* anew, and *check* it in a thread."""

        async def once(wait: Wait) -> _T:
            sink.seek(0)
            sink.truncate()
            async with self._answer(ask, wait) as answer:
                fits(answer.content_length or 0)
                async for chunk in _chunks(answer, ask, _MOST_ARCHIVE_BYTES, wait):
                    sink.write(chunk)
            return await asyncio.to_thread(check, sink)

        return await self._get(once, ask)

    async def _get(self, once: Callable[[Wait], Awaitable[_T]], ask: Ask) -> _T:
        # At one host the archive may answer where a firewall closes the API.
        host = f"{_host(ask.url)}{_prefix(ask.url)}{ask.counter and ' '}{ask.counter}"
        settings = self.settings
        if self.breaker.is_suspect(host) or not self._failing.isdisjoint({host, ask.url}):
            settings = settings.replace(max_retries=0)
        elif not self.breaker.has_answers:
            # Whether anybody is there shows soon.
            delay_seconds = min(settings.retry_delay_seconds, _FIRST_DELAY_SECONDS)
            settings = settings.replace(retry_delay_seconds=delay_seconds)

        wait = Wait(_host(ask.url), settings.max_retries + 1)

        async def tried() -> _T:
            async with self.breaker.watching(host, ask.url):
                try:
                    return await once(wait)
                except AresError as error:
                    wait.failed(error)
                    raise

        self._waits[id(wait)] = wait
        try:
            answer = await retried(tried, ask.description, settings)
        except ServerFault as error:
            # A missing answer is a fault of the host, a 500 only of this address.
            self._failing.add(host if isinstance(error, Unreachable) else ask.url)
            raise
        finally:
            del self._waits[id(wait)]
        self._failing -= {host, ask.url}
        return answer

    @asynccontextmanager
    async def _answer(self, ask: Ask, wait: Wait) -> AsyncIterator[aiohttp.ClientResponse]:
        """One try: an answer of status 200, or an error of ours."""
        budget = self.budget(ask.url, ask.counter)
        _check_ban(budget, ask)
        wait.seconds_until_allowed(budget.wait_seconds(ask.weight))
        headers = {**ask.headers, **self._key_header(ask.url)}
        with _as_transport_errors(ask, self.settings.request_timeout_seconds):
            async with (
                # The weight first: a request that waits for the next minute must not take a slot
                # from those to the archive.
                budget.spending(ask.weight),
                self._slots,
                self._sent(ask, headers, budget, wait) as answer,
            ):
                budget.learn(answer.headers, ask.weight)
                if ask.counter:
                    # The archive's answers may come from a cache, with an old date.
                    self.clock.hear_headers(answer.headers)
                _LOGGER.debug(
                    "%s: %d from %s %s", ask.description, answer.status, ask.url, dict(ask.params)
                )
                if answer.status != 200:  # noqa: PLR2004 - OK
                    await self._raise_refusal(ask, answer, budget)
                yield answer

    def _sent(
        self, ask: Ask, headers: dict[str, str], budget: Budget, wait: Wait
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The request, counted whether or not an answer comes."""

        async def each_time(
            request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            # aiohttp repeats a request by itself, once, if the connection drops before the answer.
            wait.progressed()
            count(requests=1)
            try:
                return await send(request)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                raise
            except (aiohttp.ClientError, TimeoutError):
                # The host may have received and counted it.
                budget.learn({}, ask.weight)
                raise

        # A redirect would send the API key elsewhere.
        return self._session.get(
            ask.url,
            params=ask.params,
            headers=headers,
            proxy=proxy_of(ask.url),
            allow_redirects=False,
            middlewares=(each_time,),
        )

    async def _raise_refusal(
        self, ask: Ask, answer: aiohttp.ClientResponse, budget: Budget
    ) -> NoReturn:
        """Raise the error for a status other than 200; a named wait pauses the host."""
        body = await answer.content.read(4096)
        error = refusal(ask, answer, body, budget.host_seconds * 1000)
        if isinstance(error, RateLimited):
            count(rate_limited=1)
            for each in self._alike(_host(ask.url), ask.counter):
                each.pause(error.retry_after_seconds or 0.0)
        raise error

    def _key_header(self, url: str) -> dict[str, str]:
        """The header with the API key, for hosts of the API only."""
        key = self.settings.api_key
        if key is None or not key.get_secret_value() or _host(url) not in self._api_hosts:
            return {}
        return {"X-MBX-APIKEY": key.get_secret_value()}

    def _new_budget(self, counter: str) -> Budget:
        share, others = self.settings.weight_share, self.settings.address_shared_by
        if counter == "funding":
            # 500 requests in 5 minutes, shared by the funding endpoints
            # [USD-M docs, Get Funding Rate History].
            return Budget(500, 300.0, share, is_reported=False, shared_by=others)
        if counter in _LIMITS:
            limit, window_seconds = self.limits.get(counter, _LIMITS[counter])
            return Budget(limit, window_seconds, share, shared_by=others)
        return Budget(None)


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _prefix(url: str) -> str:
    """What a URL has between its host and the path of the API."""
    before, api, _ = urlsplit(url).path.partition("/api/")
    return before if api else ""


def _is_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


async def _chunks(
    answer: aiohttp.ClientResponse, ask: Ask, most: int, wait: Wait
) -> AsyncIterator[bytes]:
    """The body in chunks, up to *most* bytes, so that an endless answer fills neither memory nor disk."""
    size = 0
    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
        wait.progressed()
        count(bytes_received=len(chunk))
        size += len(chunk)
        if size > most:
            msg = f"{ask.description}: {ask.url} answered with over {most:,} bytes; nothing is stored, run again later"
            raise BadAnswer(msg)
        yield chunk


def _check_ban(budget: Budget, ask: Ask) -> None:
    """Raise at once during a ban that is too long to wait for."""
    seconds = budget.paused_seconds
    if seconds > LONGEST_BAN_SECONDS:
        until = _time_text((budget.host_seconds + seconds) * 1000)
        msg = (
            f"{ask.description}: {_host(ask.url)} has banned this IP address for another "
            f"{seconds:,.0f} seconds, until {until}; run again after that"
        )
        raise RateLimited(msg, ask.url, seconds)


def _without_secrets(error: aiohttp.ClientError) -> None:
    """Remove the request's headers with the API key, and the login of a proxy's URL, from an error."""
    if isinstance(error, aiohttp.ClientResponseError):
        asked = error.request_info
        nothing: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
        url, real_url = asked.url.with_user(None), asked.real_url.with_user(None)
        error.request_info = aiohttp.RequestInfo(url, asked.method, nothing, real_url)
        error.args = (error.request_info, *error.args[1:])


@contextmanager
def _as_transport_errors(ask: Ask, seconds: float) -> Iterator[None]:
    """Convert aiohttp's errors into ours."""
    try:
        yield
    except TimeoutError as error:
        msg = (
            f"{ask.description} timed out after {seconds:g} seconds without a byte from {ask.url}; "
            f"check the connection, or raise request_timeout_seconds"
        )
        raise Unreachable(msg, ask.url) from error
    except aiohttp.ClientConnectorCertificateError as error:
        msg = (
            f"{ask.description}: {ask.url} could not prove its identity "
            f"({error.certificate_error}), so nothing is asked of it; where this "
            f"machine has no root certificates install them (ca-certificates), and where a proxy of "
            f"your own network stands between let SSL_CERT_FILE name its authority's file"
        )
        raise Unreachable(msg, ask.url) from error
    except aiohttp.ClientError as error:
        _without_secrets(error)
        # Its text may quote what the server sent, at any length.
        said = " ".join(str(error).split())[:300] or type(error).__name__
        msg = (
            f"{ask.description}: no whole answer from {ask.url} ({said}); "
            f"check the connection, then run again: what is done is kept"
        )
        raise Unreachable(msg, ask.url) from error
