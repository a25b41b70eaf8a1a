"""The demo exchange: a Binance that lives on this machine and can be told to misbehave."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from ares_notebook.demo.answers import HTML, Answer, banned, error, no_such_path, too_much
from ares_notebook.demo.archive import Archive
from ares_notebook.demo.faults import PLAIN, Delivery, Fault, first_that_strikes
from ares_notebook.demo.limits import Budget, Verdict
from ares_notebook.demo.market import Market, SyntheticMarket
from ares_notebook.demo.names import moment_of, ms_of
from ares_notebook.demo.replay import Recording, ReplayMarket, ReplayShelf
from ares_notebook.demo.rest import ENDPOINTS, Account, Call, Moment, Rates, call
from ares_notebook.demo.server import Server
from ares_notebook.demo.shelf import Shelf, SyntheticShelf
from ares_notebook.settings import Settings

_FALLBACK = "/data-api"
_LISTING = "/data.binance.vision"
_FUTURES_LIMIT = 2_400
_FUNDING_LIMIT, _FUNDING_SECONDS = 500, 300
_MOST_TRADES = 10_000_000
_FAR_FUTURE_MS = 4_102_444_800_000


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request that the demo exchange got.

    Parameters
    ----------
    method, path : str
        As sent; the path decoded.
    query : dict of str to str
        Parameters.
    status : int
        What it was answered with; 0 if the line was cut before a status was sent.
    weight : int
        Request weight that it cost.
    headers : dict of str to str
        Headers of the request, names in lower case.
    """

    method: str
    path: str
    query: dict[str, str]
    status: int
    weight: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)


class DemoExchange:
    """
    A local Binance: spot and futures API, archive and its listing, on loopback.

    A context manager. The market is a pure function of symbol and time, so that any page
    of any request agrees with any other, and trades add up exactly to candles; or it is a
    replay of recorded files. Weights, limits, error bodies and delays are Binance's own.

    Parameters
    ----------
    replay : path, optional
        A folder of recorded archive files to serve instead of the synthetic market.
    now : datetime, optional
        What time it is on the exchange, aware; the clock then stands still. Defaults to
        the wall clock.
    trades_per_day : int
        Aggregate trades of a symbol on an ordinary day, 5,760 at the least.
    latency_seconds : float
        Every answer comes so much later.
    weight_limit : int
        Request weight of spot that a window holds.
    window_seconds : int
        Length of a window; it starts at multiples of itself, by the wall clock.
    port : int
        0: any that is free.

    Examples
    --------
    >>> with DemoExchange() as exchange:
    ...     exchange.settings(max_retries=0).market
    'demo'
    """

    def __init__(
        self,
        replay: str | Path | None = None,
        *,
        now: datetime | None = None,
        trades_per_day: int = 20_000,
        latency_seconds: float = 0.0,
        weight_limit: int = 6_000,
        window_seconds: int = 60,
        port: int = 0,
    ) -> None:
        if not 0 < trades_per_day <= _MOST_TRADES:
            msg = f"trades_per_day must be between 1 and {_MOST_TRADES:,}, not {trades_per_day}"
            raise ValueError(msg)
        self._is_replay = replay is not None
        self._now_ms: int | None = None
        if now is not None:
            self.now = now
        self.latency_seconds = latency_seconds
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._market, shelf = _sources(replay, trades_per_day)
        self._archive = Archive(shelf, self._published_until, f"{trades_per_day}")
        self._rates = Rates(weight_limit, _FUTURES_LIMIT, window_seconds)
        self._budgets: dict[Account, Budget] = {
            "spot": Budget(weight_limit, window_seconds),
            "um": Budget(_FUTURES_LIMIT, window_seconds),
            "funding": Budget(_FUNDING_LIMIT, _FUNDING_SECONDS),
        }
        self._port = port
        self._server: Server | None = None

    # --- life ---

    def start(self) -> Self:
        """Begin to serve, in a daemon thread."""
        if self._server is None:
            self._server = Server(self._respond, self._port)
            self._server.start()
        return self

    def stop(self) -> None:
        """Stop, and leave neither thread nor socket behind."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens: ``http://127.0.0.1:PORT``."""
        if self._server is None:
            msg = "the demo exchange is not running; use `with DemoExchange() as exchange:`"
            raise RuntimeError(msg)
        return f"http://127.0.0.1:{self._server.port}"

    def settings(self, **changes: Any) -> Settings:
        """Settings that point here, with *changes* on top; the cache is ``demo_cache``."""
        here: dict[str, Any] = {
            "spot_url": self.url,
            "spot_fallback_url": self.url + _FALLBACK,
            "futures_url": self.url,
            "archive_url": self.url,
            "archive_listing_url": self.url + _LISTING,
            "cache_dir": "demo_cache",
            "market": "replay" if self._is_replay else "demo",
        }
        return Settings(**{**here, **changes})

    # --- script ---

    @property
    def now(self) -> datetime:
        """What time it is on the exchange; set it to stop the clock there, or to move it."""
        if self._now_ms is not None:
            return moment_of(self._now_ms)
        return datetime.now(UTC)

    @now.setter
    def now(self, moment: datetime) -> None:
        if moment.tzinfo is None:
            msg = f"now must be aware, such as datetime(2025, 1, 1, tzinfo=UTC), not {moment!r}"
            raise ValueError(msg)
        self._now_ms = ms_of(moment)

    def fail(self, pattern: str, **fields: Any) -> Fault:
        """Make requests that match *pattern* go wrong: appends a `Fault` of these fields."""
        fault = Fault(pattern, **fields)
        self.faults.append(fault)
        return fault

    def withhold(self, pattern: str) -> None:
        """Archive files whose keys match are not published: 404, and not in any listing."""
        self._archive.withheld.add(pattern)

    def release(self, pattern: str) -> None:
        """Publish what was withheld by the same pattern."""
        self._archive.withheld.discard(pattern)

    def spend(self, weight: int) -> None:
        """Use request weight of the current spot window up, as another program would."""
        self._budgets["spot"].spend(weight, time.time())

    def warm(self, pattern: str) -> int:
        """Make archive files ahead of time, so that serving them costs nothing; says how many."""
        return self._archive.warm(pattern)

    # --- answers ---

    async def _respond(self, request: web.Request) -> tuple[Answer, Delivery]:
        """Answer a request, and write it down."""
        target = request.path + (f"?{request.rel_url.query_string}" if request.query_string else "")
        fault = first_that_strikes(self.faults, target)
        delivery = fault.delivery() if fault else PLAIN
        answer = await self._true_answer(request, known_status=fault.status if fault else None)
        if fault is not None:
            answer = fault.spoil(answer)
        self._note(request, answer, delivery)
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        return answer, delivery

    async def _true_answer(self, request: web.Request, known_status: int | None) -> Answer:
        """The answer that an honest exchange gives; only its head, where a fault has its own."""
        path = request.path
        if path.startswith("/data/"):
            if known_status is not None:
                return Answer(known_status, b"", headers={"Server": "AmazonS3"})
            return await asyncio.to_thread(self._archive.answer, path[1:])
        if path == _LISTING:
            return await asyncio.to_thread(self._archive.listing, dict(request.query))
        if path == "/":
            # The bucket's face for browsers, whatever is asked of it.
            return Answer(200, b"<!DOCTYPE html><title>Binance Data Collection</title>", HTML)
        return await self._api_answer(request, known_status)

    async def _api_answer(self, request: web.Request, known_status: int | None) -> Answer:
        """An answer of the API, with what is left of the budget in its head."""
        path = request.path.removeprefix(_FALLBACK)
        endpoint = ENDPOINTS.get(path)
        account: Account = "um" if path.startswith("/fapi") else "spot"
        asked = Call(1, account, no_such_path)
        if endpoint is not None and request.method == "GET":
            moment = Moment(self._now_us(), _wants_micros(request) and endpoint.road == "spot")
            asked = call(self._market, self._rates, endpoint, list(request.query.items()), moment)
        budget = self._budgets[asked.account]
        now_s = time.time()
        verdict = budget.charge(asked.weight, now_s)
        if verdict != "ok":
            answer = _refusal(asked.account, budget, verdict).having(
                Retry_After=str(max(1, -int(-budget.wait_s(now_s) // 1)))
            )
            return self._with_head(answer, asked.account, 0)
        if known_status is not None:
            return self._with_head(Answer(known_status, b""), asked.account, asked.weight)
        answer = await asyncio.to_thread(asked.run)
        return self._with_head(answer, asked.account, asked.weight)

    def _with_head(self, answer: Answer, account: Account, weight: int) -> Answer:
        """The answer with the headers that all answers of the API have."""
        headers = dict(_API_HEADERS)
        headers["x-mbx-uuid"] = str(uuid.uuid4())
        road: Account = "um" if account == "funding" else account
        used = str(self._budgets[road].used)
        seconds = self._rates.seconds
        headers["x-mbx-used-weight"] = used
        headers[f"x-mbx-used-weight-{'1m' if seconds == 60 else f'{seconds}s'}"] = used
        return Answer(
            answer.status, answer.body, answer.content_type, {**headers, **answer.headers}, weight
        )

    def _note(self, request: web.Request, answer: Answer, delivery: Delivery) -> None:
        """Write a request down."""
        self.requests.append(
            Request(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                status=answer.status if delivery.has_head else 0,
                weight=answer.weight,
                headers={name.lower(): value for name, value in request.headers.items()},
            )
        )

    # --- time ---

    def _now_us(self) -> int:
        """The time on the exchange, µs since the epoch."""
        return time.time_ns() // 1_000 if self._now_ms is None else self._now_ms * 1_000

    def _published_until(self) -> datetime | None:
        """The time that decides what is published; None: all that was recorded is."""
        return None if self._is_replay and self._now_ms is None else self.now


_API_HEADERS: Mapping[str, str] = {
    "Server": "nginx",
    "Strict-Transport-Security": "max-age=31536000; includeSubdomains",
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "0",
}


def _sources(replay: str | Path | None, trades_per_day: int) -> tuple[Market, Shelf]:
    """Where REST and archive take their data from."""
    if replay is None:
        return SyntheticMarket(trades_per_day), SyntheticShelf(trades_per_day)
    recording = Recording(Path(replay))
    return ReplayMarket(recording), ReplayShelf(recording)


def _wants_micros(request: web.Request) -> bool:
    """Whether the times of the answer shall be in microseconds."""
    return request.headers.get("X-MBX-TIME-UNIT", "").lower() == "microsecond"


def _refusal(account: Account, budget: Budget, verdict: Verdict) -> Answer:
    """The answer to one who asks too often."""
    until = budget.banned_until_ms()
    if account == "spot":
        window = "1 MINUTE" if budget.seconds == 60 else f"{budget.seconds} SECOND"
        return banned(until) if verdict == "banned" else too_much(budget.limit, window)
    text = (
        f"Way too many requests; IP banned until {until}. "
        "Please use the websocket for live updates to avoid bans."
        if verdict == "banned"
        else f"Too many requests; current limit is {budget.limit} requests per minute. "
        "Please use the websocket for live updates to avoid polling the API."
    )
    return error(-1003, text, 418 if verdict == "banned" else 429)
