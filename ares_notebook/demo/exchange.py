"""The demo exchange: a local Binance server, with faults on request."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any, Self

from ares_notebook.demo.archive import ArchiveFiles, S3Archive
from ares_notebook.demo.archive_files import SyntheticFiles
from ares_notebook.demo.faults import Fault, first_fault
from ares_notebook.demo.limits import Account, RateLimiter
from ares_notebook.demo.market import DemoMarket, SyntheticMarket
from ares_notebook.demo.replay import Recording, ReplayMarket
from ares_notebook.demo.rest import ENDPOINTS, ApiCall, prepare, product_of
from ares_notebook.demo.server import HTML, Delivery, HttpRequest, Request, Response, Server
from ares_notebook.demo.symbols import moment_of, ms_of
from ares_notebook.settings import Settings

FALLBACK = "/data-api"
LISTING = "/data.binance.vision"

_API_HEADERS = {
    "Server": "nginx",
    "Strict-Transport-Security": "max-age=31536000; includeSubdomains",
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "0",
}
_MOST_TRADES = 10_000_000


class DemoExchange:
    """
    A local Binance: APIs of spot, USD-M and COIN-M futures, archive and its listing, on loopback.

    A context manager. The market is a pure function of symbol and time: any page of any
    request agrees with any other, trades add up exactly to candles, and the prices of spot,
    index, premium and contracts and the funding rates fit together. Or it is a replay of
    recorded files. Weights, limits, error bodies and delays are Binance's own.

    Parameters
    ----------
    replay : path, optional
        A folder of recorded archive files to serve instead of the synthetic market.
    now : datetime, optional
        What time it is on the exchange, aware; the clock then stands still. Defaults to
        the wall clock.
    trades_per_day : int
        Aggregate trades of a symbol on an ordinary day; fewer than 5,760 become that many.
    latency_seconds : float
        Added to the time of every answer.
    weight_limit : int, optional
        Request weight that a window of each API holds. Defaults to that of Binance's "General API
        information": 6,000 a minute of spot, 2,400 of futures.
    window_seconds : int
        Length of a window; it starts at multiples of itself, by the ``Date`` header of the answers.
    archive_memory_bytes : int
        How much of the archive is kept in memory; the least recently requested files are dropped.
    port : int
        0: any that is free.

    Attributes
    ----------
    requests : list of Request
        The requests that it received: ``method``, ``path``, ``query``, ``status``, ``weight``.
    faults : list of Fault
        The faults of the requests to come; see `fail`.

    Raises
    ------
    ValueError
        If *trades_per_day* is out of range or *now* naive.
    FileNotFoundError
        If *replay* is no folder, or has no recorded files.

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
        weight_limit: int | None = None,
        window_seconds: int = 60,
        archive_memory_bytes: int = 256 << 20,
        port: int = 0,
    ) -> None:
        if not 0 < trades_per_day <= _MOST_TRADES:
            msg = f"trades_per_day must be between 1 and {_MOST_TRADES:,}, not {trades_per_day}"
            raise ValueError(msg)
        self._is_replay = replay is not None
        self._now_ms: int | None = None
        self._stopped_at_s = 0.0
        if now is not None:
            self.now = now
        self.latency_seconds = latency_seconds
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        recording = None if replay is None else Recording(Path(replay))
        files: ArchiveFiles = recording or SyntheticFiles(trades_per_day)
        market: DemoMarket = (
            ReplayMarket(recording) if recording else SyntheticMarket(trades_per_day)
        )
        self._archive = S3Archive(
            files, self._published_until, f"{trades_per_day}", archive_memory_bytes
        )
        self._limiter = RateLimiter(weight_limit, window_seconds)
        self._router = Router(market, self._archive, self._limiter, self.market_us, self.ticking_s)
        self._port = port
        self._server: Server | None = None

    # --- start and stop ---

    def start(self) -> Self:
        """
        Begin to serve, in a daemon thread.

        Returns
        -------
        DemoExchange
            Itself.
        """
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

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """
        Where it listens: ``http://127.0.0.1:PORT``.

        Raises
        ------
        RuntimeError
            If it is not running.
        """
        if self._server is None:
            msg = "the demo exchange is not running; use `with DemoExchange() as exchange:`"
            raise RuntimeError(msg)
        return f"http://127.0.0.1:{self._server.port}"

    def settings(self, **changes: Any) -> Settings:
        """
        Settings that point here, with *changes* on top; the cache is ``demo_cache``.

        Parameters
        ----------
        **changes
            Fields of `Settings`.

        Returns
        -------
        Settings

        Raises
        ------
        RuntimeError
            If it is not running.
        BadArgument
            If a change is not a valid value of its field.
        """
        here: dict[str, Any] = {
            "spot_url": self.url,
            "spot_fallback_url": self.url + FALLBACK,
            "futures_url": self.url,
            "coin_futures_url": self.url,
            "archive_url": self.url,
            "archive_listing_url": self.url + LISTING,
            "cache_dir": "demo_cache",
            "market": "replay" if self._is_replay else "demo",
        }
        return Settings(**{**here, **changes})

    # --- what happens ---

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
        self._now_ms, self._stopped_at_s = ms_of(moment), time.time()

    def fail(self, pattern: str, **fields: Any) -> Fault:
        """
        Make requests that match *pattern* go wrong, one of them unless *times* says more.

        Parameters
        ----------
        pattern : str
            Regular expression, looked for in ``path?query`` (decoded).
        **fields
            What goes wrong, such as ``status=503, times=2``, ``retry_after=5``,
            ``reset="body"``, ``short=True``, ``delay_seconds=1``; ``times=None`` is for ever.

        Returns
        -------
        Fault
            As it was put at the end of ``faults``.

        Raises
        ------
        ValueError
            If *pattern* is no regular expression.

        Examples
        --------
        >>> with DemoExchange() as exchange:
        ...     exchange.fail("/api/v3/klines", status=429, retry_after=2).times
        1
        """
        fault = Fault(pattern, **fields)
        self.faults.append(fault)
        return fault

    def withhold(self, pattern: str) -> None:
        """
        Archive files whose keys match are not published: 404, and not in any listing.

        Parameters
        ----------
        pattern : str
            Regular expression, looked for in keys such as
            ``data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip``.
        """
        self._archive.withheld.add(pattern)

    def release(self, pattern: str) -> None:
        """
        Publish what was withheld by the same pattern.

        Parameters
        ----------
        pattern : str
        """
        self._archive.withheld.discard(pattern)

    def spend(self, weight: int) -> None:
        """
        Use request weight of the current spot window up, as another program would.

        Parameters
        ----------
        weight : int
        """
        self._limiter.counters["spot"].spend(weight, self.ticking_s())

    def end_windows(self) -> None:
        """End the windows of all request limits, and bans, as if their time had passed."""
        for counter in self._limiter.counters.values():
            counter.end_window()

    @property
    def spent(self) -> dict[int, int]:
        """Request weight of spot that was spent, by the window's start (s since the epoch)."""
        return dict(self._limiter.counters["spot"].spent)

    def warm(self, pattern: str) -> int:
        """
        Make archive files ahead of time.

        Parameters
        ----------
        pattern : str
            As in `withhold`.

        Returns
        -------
        int
            How many.
        """
        return self._archive.warm(pattern)

    # --- responses ---

    async def _respond(self, request: HttpRequest) -> tuple[Response, Delivery]:
        """Respond to a request, and record it."""
        fault = first_fault(self.faults, request.target)
        fault_status = fault.status if fault else None
        # NumPy and zlib in a thread: the loop stays free, and latency stays what it shall be.
        response = await asyncio.to_thread(self._router.respond, request, fault_status)
        delivery = Delivery()
        if fault is not None:
            response, delivery = fault.alter(response), fault.delivery()
        self.requests.append(
            Request(
                request.method,
                request.path,
                dict(request.parameters),
                response.status if delivery.has_head else 0,
                response.weight,
                request.headers,
            )
        )
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        return response, delivery

    # --- time ---

    def market_us(self) -> int:
        """The time on the exchange, µs since the epoch."""
        return time.time_ns() // 1_000 if self._now_ms is None else self._now_ms * 1_000

    def ticking_s(self) -> float:
        """
        The time in the head of each answer, seconds since the epoch: windows of weight go by it.

        It goes on where that of the market was stopped, so that windows still end.
        """
        if self._now_ms is None:
            return time.time()
        return self._now_ms / 1_000 + time.time() - self._stopped_at_s

    def _published_until(self) -> datetime | None:
        """The time that decides what is published; None: all that was recorded is."""
        return None if self._is_replay and self._now_ms is None else self.now


# --- routes ---


class Router:
    """Has the archive or the API respond to requests."""

    def __init__(
        self,
        market: DemoMarket,
        archive: S3Archive,
        limiter: RateLimiter,
        market_us: Callable[[], int],
        server_s: Callable[[], float],
    ) -> None:
        self.market = market
        self._archive = archive
        self._limiter = limiter
        # Microseconds since the epoch; may stand still.
        self._market_us = market_us
        # Seconds since the epoch, which never stand still; windows of request weight go by it.
        self._server_s = server_s

    def respond(self, request: HttpRequest, fault_status: int | None) -> Response:
        """Respond to a request; with *fault_status* nothing is made that a fault replaces."""
        if request.path.startswith("/data/"):
            if fault_status is not None:
                return Response(fault_status, b"", headers={"Server": "AmazonS3"})
            return self._archive.get_object(request.path[1:], request.headers.get("range", ""))
        if request.path == LISTING:
            return self._archive.list_objects(dict(request.parameters))
        if request.path == "/":
            return _index_page(request.headers.get("host", ""))
        return self._api_response(request, fault_status)

    def _api_response(self, request: HttpRequest, fault_status: int | None) -> Response:
        """A response of the API, with the weight that is used in its headers."""
        account, weight, respond = self._understand(request)
        refusal = self._limiter.charge(account, weight, self._server_s())
        # Read at once: requests that are answered meanwhile spend too.
        headers = {
            **_API_HEADERS,
            "Date": formatdate(self._server_s(), usegmt=True),
            "x-mbx-uuid": str(uuid.uuid4()),
            **self._limiter.headers(account),
        }
        if refusal is not None:
            return replace(refusal, headers={**headers, **refusal.headers})
        response = respond() if fault_status is None else Response(fault_status, b"")
        return replace(response, headers={**headers, **response.headers}, weight=weight)

    def _understand(self, request: HttpRequest) -> tuple[Account, int, Callable[[], Response]]:
        """Which account pays for a request, what it weighs, and what makes the response."""
        # The data-only host serves spot alone.
        spot_path = request.path.removeprefix(FALLBACK)
        path = spot_path if spot_path.startswith("/api/") else request.path
        sent = dict(request.parameters)
        product = product_of(path, sent)
        endpoint = ENDPOINTS.get((product, path))
        if endpoint is None or request.method not in ("GET", "HEAD"):
            return product, 1, _no_such_path
        # Futures know no microseconds.
        unit = request.headers.get("x-mbx-time-unit", "").lower()
        in_micros = unit == "microsecond" and product == "spot"
        call = ApiCall(self.market, self._limiter, product, self._market_us(), in_micros, sent)
        return endpoint.account, *prepare(endpoint, call, request.parameters)


def _no_such_path() -> Response:
    """The response of the API to a path that it does not have."""
    return Response(404, b"<html><body><h2>404 Not found</h2></body></html>", HTML)


def _index_page(host: str) -> Response:
    """The page for browsers; its script, and some programs, learn from it where the listing is."""
    listing = f"<script>var BUCKET_URL = 'http://{host}{LISTING}';</script>"
    page = f"<!DOCTYPE html><title>Binance Data Collection</title>{listing}"
    return Response(200, page.encode(), HTML)
