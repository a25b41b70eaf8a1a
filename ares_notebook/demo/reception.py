"""What becomes of a request: which part of the exchange answers, and what it costs."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Protocol

from ares_notebook.demo.answers import HTML, Answer, banned, error, no_such_path, too_much
from ares_notebook.demo.archive import ArchiveServer
from ares_notebook.demo.info import Rates
from ares_notebook.demo.limits import Verdict, WeightCounter
from ares_notebook.demo.market import Market
from ares_notebook.demo.rest import ENDPOINTS, Account, Call, Moment, call

FALLBACK = "/data-api"
LISTING = "/data.binance.vision"

_FUNDING_LIMIT, _FUNDING_SECONDS = 500, 300
_API_HEADERS = {
    "Server": "nginx",
    "Strict-Transport-Security": "max-age=31536000; includeSubdomains",
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "0",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, without the wire."""

    # As sent; the path decoded.
    method: str
    path: str
    # Parameters, doubled ones twice.
    items: Sequence[tuple[str, str]]
    # Names in lower case.
    headers: dict[str, str]


class Clocks(Protocol):
    """The two times that there are: that of the market, and that of heads and limits."""

    def market_us(self) -> int:
        """The time on the exchange, µs since the epoch; may stand still."""

    def ticking_s(self) -> float:
        """Seconds since the epoch, which never stand still; windows of request weight go by it."""


class Reception:
    """Takes requests, and has the archive or the market answer them."""

    def __init__(
        self, market: Market, archive: ArchiveServer, rates: Rates, clocks: Clocks
    ) -> None:
        self._market = market
        self._archive = archive
        self._rates = rates
        self._clocks = clocks
        self._budgets: dict[Account, WeightCounter] = {
            "spot": WeightCounter(rates.spot, rates.seconds),
            "um": WeightCounter(rates.um, rates.seconds),
            "funding": WeightCounter(_FUNDING_LIMIT, _FUNDING_SECONDS),
        }

    def spend(self, weight: int) -> None:
        """Use up weight of spot's current window."""
        self._budgets["spot"].spend(weight, self._clocks.ticking_s())

    def spent(self) -> dict[int, int]:
        """Weight of spot that each window saw, by its start (s since the epoch)."""
        return dict(self._budgets["spot"].spent)

    def answer(self, ask: Asked, known_status: int | None = None) -> Answer:
        """Answer a request."""
        if ask.path.startswith("/data/"):
            if known_status is not None:
                return Answer(known_status, b"", headers={"Server": "AmazonS3"})
            return self._archive.part(ask.path[1:], ask.headers.get("range", ""))
        if ask.path == LISTING:
            return self._archive.listing(dict(ask.items))
        if ask.path == "/":
            # The bucket's face for browsers, whatever is asked of it.
            return _face(ask.headers.get("host", ""))
        return self._api_answer(ask, known_status)

    def _api_answer(self, ask: Asked, known_status: int | None) -> Answer:
        """An answer of the API, with what is used of the budget in its head."""
        asked = self._understood(ask)
        budget = self._budgets[asked.account]
        now_s = self._clocks.ticking_s()
        verdict = budget.charge(asked.weight, now_s)
        # Read at once: requests that are answered meanwhile spend too.
        headers = self._head(asked.account)
        if verdict != "ok":
            refusal = self._refusal(asked.account, verdict)
            wait_s = max(1, math.ceil(budget.wait_s(now_s)))
            return replace(refusal, headers={**headers, "Retry-After": str(wait_s)}, weight=0)
        answer = asked.run() if known_status is None else Answer(known_status, b"")
        return replace(answer, headers={**headers, **answer.headers}, weight=asked.weight)

    def _understood(self, ask: Asked) -> Call:
        """What a request asks for, and what it costs."""
        # The data-only host serves spot alone.
        path = ask.path.removeprefix(FALLBACK) if "/fapi/" not in ask.path else ask.path
        endpoint = ENDPOINTS.get(path)
        if endpoint is None or ask.method not in ("GET", "HEAD"):
            return Call(1, "um" if path.startswith("/fapi") else "spot", no_such_path)
        # Futures know no microseconds.
        wants_micros = ask.headers.get("x-mbx-time-unit", "").lower() == "microsecond"
        moment = Moment(self._clocks.market_us(), wants_micros and endpoint.road == "spot")
        return call(self._market, self._rates, endpoint, ask.items, moment)

    def _head(self, account: Account) -> dict[str, str]:
        """The headers that all answers of the API have."""
        # Requests for funding are counted apart, and show the weight of all others.
        used = str(self._budgets["um" if account == "funding" else account].used)
        return {
            **_API_HEADERS,
            "Date": formatdate(self._clocks.ticking_s(), usegmt=True),
            "x-mbx-uuid": str(uuid.uuid4()),
            "x-mbx-used-weight": used,
            self._rates.header: used,
        }

    def _refusal(self, account: Account, verdict: Verdict) -> Answer:
        """The answer to one who asks too often, in the words of spot or of futures."""
        budget = self._budgets[account]
        until = budget.banned_until_ms()
        if account == "spot":
            if verdict == "banned":
                return banned(until)
            return too_much(budget.limit, self._rates.window)
        if verdict == "banned":
            text = f"Way too many requests; IP banned until {until}. "
            return error(
                -1003, text + "Please use the websocket for live updates to avoid bans.", 418
            )
        text = f"Too many requests; current limit is {budget.limit} requests per minute. "
        advice = "Please use the websocket for live updates to avoid polling the API."
        return error(-1003, text + advice, 429)


def _face(host: str) -> Answer:
    """The page for browsers; its script, and some programs, learn from it where the listing is."""
    listing = f"<script>var BUCKET_URL = 'http://{host}{LISTING}';</script>"
    page = f"<!DOCTYPE html><title>Binance Data Collection</title>{listing}"
    return Answer(200, page.encode(), HTML)
