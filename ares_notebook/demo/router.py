"""The router: which part of the exchange responds to a request, and what it costs."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate

from ares_notebook.demo.archive import S3Archive
from ares_notebook.demo.limits import Account, RateLimiter
from ares_notebook.demo.market import DemoMarket
from ares_notebook.demo.rest import ENDPOINTS, ApiCall, prepare
from ares_notebook.demo.server import HTML, HttpRequest, Response
from ares_notebook.demo.symbols import Product

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
        path = request.path if "/fapi/" in request.path else request.path.removeprefix(FALLBACK)
        product: Product = "um" if path.startswith("/fapi") else "spot"
        endpoint = ENDPOINTS.get(path)
        if endpoint is None or request.method not in ("GET", "HEAD"):
            return product, 1, _no_such_path
        # Futures know no microseconds.
        unit = request.headers.get("x-mbx-time-unit", "").lower()
        in_micros = unit == "microsecond" and product == "spot"
        sent = request.parameters
        call = ApiCall(
            self.market, self._limiter, product, self._market_us(), in_micros, dict(sent)
        )
        return endpoint.account, *prepare(endpoint, call, sent)


def _no_such_path() -> Response:
    """The response of the API to a path that it does not have."""
    return Response(404, b"<html><body><h2>404 Not found</h2></body></html>", HTML)


def _index_page(host: str) -> Response:
    """The page for browsers; its script, and some programs, learn from it where the listing is."""
    listing = f"<script>var BUCKET_URL = 'http://{host}{LISTING}';</script>"
    page = f"<!DOCTYPE html><title>Binance Data Collection</title>{listing}"
    return Response(200, page.encode(), HTML)
