"""The API: what each endpoint asks, what it costs, what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ares_notebook.demo.answers import Answer, error
from ares_notebook.demo.grid import INTERVALS
from ares_notebook.demo.info import Rates, describe
from ares_notebook.demo.market import Market
from ares_notebook.demo.query import Parameters, Refused, read, read_symbols
from ares_notebook.demo.symbols import Road
from ares_notebook.demo.window import Window

Account = Literal["spot", "um", "funding"]
Items = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was understood: what it costs, on which account, and how to answer it."""

    weight: int
    account: Account
    run: Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a request is answered, and in which unit: microseconds, or milliseconds."""

    now_us: int
    micros: bool


Handler = Callable[[Market, Rates, Road, Parameters, Moment], Answer]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the API."""

    # Makes the answer.
    handler: Handler
    # Says what a request costs, given its parameters.
    weight: Callable[[Parameters], int]
    # Names of parameters.
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    # Which budget pays.
    account: Account = "spot"

    @property
    def road(self) -> Road:
        """Spot or futures."""
        return "spot" if self.account == "spot" else "um"


def call(market: Market, rates: Rates, endpoint: Endpoint, items: Items, moment: Moment) -> Call:
    """Understand a request, or answer it with what is wrong with it."""
    try:
        asked = read(items, endpoint.required, endpoint.optional)
    except Refused as refusal:
        answer = refusal.answer
        return Call(1, endpoint.account, lambda: answer)
    run = _answering(endpoint, market, rates, asked, moment)
    return Call(endpoint.weight(asked), endpoint.account, run)


def _answering(
    endpoint: Endpoint, market: Market, rates: Rates, asked: Parameters, moment: Moment
) -> Callable[[], Answer]:
    """Something that makes the answer when it is called."""

    def run() -> Answer:
        try:
            return endpoint.handler(market, rates, endpoint.road, asked, moment)
        except Refused as refusal:
            return refusal.answer

    return run


# --- handlers ---


def _ping(market: Market, rates: Rates, road: Road, asked: Parameters, moment: Moment) -> Answer:
    """Say that we are there."""
    del market, rates, road, asked, moment
    return Answer(200, b"{}")


def _time(market: Market, rates: Rates, road: Road, asked: Parameters, moment: Moment) -> Answer:
    """Tell the time."""
    del market, rates, road, asked
    return _json({"serverTime": moment.now_us // (1 if moment.micros else 1_000)})


def _klines(market: Market, rates: Rates, road: Road, asked: Parameters, moment: Moment) -> Answer:
    """Answer with a page of k-lines."""
    del rates
    interval = asked.text("interval")
    if interval not in INTERVALS or (road == "um" and interval == "1s"):
        raise Refused(error(-1120, "Invalid interval."))
    if asked.text("timeZone", "0") not in ("0", "+0", "-0", "+0:00", "0:00", "00:00"):
        # The demo's candles are on the grid of UTC only.
        raise Refused(error(-1130, "Data sent for parameter 'timeZone' is not valid."))
    symbol = _known(market, road, asked, moment)
    window = asked.window(500, 1_000 if road == "spot" else 1_500)
    if _is_backwards(window, road):
        return Answer(200, b"[]")
    page = market.klines(road, symbol, interval, window, now_us=moment.now_us, micros=moment.micros)
    return Answer(200, page)


def _trades(market: Market, rates: Rates, road: Road, asked: Parameters, moment: Moment) -> Answer:
    """Answer with a page of aggregate trades."""
    del rates
    symbol = _known(market, road, asked, moment)
    window = asked.window(500, 1_000)
    has_times = window.start_us is not None or window.end_us is not None
    if window.from_id is not None and has_times:
        raise Refused(error(-1128, "Combination of optional parameters invalid."))
    if _is_backwards(window, road):
        return Answer(200, b"[]")
    page = market.agg_trades(road, symbol, window, now_us=moment.now_us, micros=moment.micros)
    return Answer(200, page)


def _funding(market: Market, rates: Rates, road: Road, asked: Parameters, moment: Moment) -> Answer:
    """Answer with a page of funding events, of one symbol or of all."""
    del rates
    window = asked.window(100, 1_000)
    _is_backwards(window, road)
    if asked.text("symbol"):
        symbol = _known(market, road, asked, moment)
        return Answer(200, market.funding(symbol, window, now_us=moment.now_us))
    rows: list[dict[str, Any]] = []
    for listing in market.listings(road, moment.now_us):
        rows += json.loads(market.funding(listing.symbol, window, now_us=moment.now_us))
    rows.sort(key=lambda row: row["fundingTime"])
    newest = window.start_us is None
    return _json(rows[-window.limit :] if newest else rows[: window.limit])


def _funding_info(
    market: Market, rates: Rates, road: Road, asked: Parameters, moment: Moment
) -> Answer:
    """Tell the interval of the symbols that are not funded by default."""
    del rates, asked
    return _json(
        [
            {
                "symbol": listing.symbol,
                "adjustedFundingRateCap": "0.02000000",
                "adjustedFundingRateFloor": "-0.02000000",
                "fundingIntervalHours": listing.funding_hours,
                "disclaimer": False,
            }
            for listing in market.listings(road, moment.now_us)
            if listing.funding_hours is not None
        ]
    )


def _info(market: Market, rates: Rates, road: Road, asked: Parameters, moment: Moment) -> Answer:
    """Tell which symbols and limits there are."""
    listings = {one.symbol: one for one in market.listings(road, moment.now_us)}
    wanted = read_symbols(asked.text("symbols")) if asked.text("symbols") else None
    if asked.text("symbol"):
        if wanted is not None:
            raise Refused(error(-1128, "Combination of optional parameters invalid."))
        wanted = [asked.text("symbol")]
    if wanted is not None and not all(symbol in listings for symbol in wanted):
        raise Refused(error(-1121, "Invalid symbol."))
    shown = [listings[symbol] for symbol in wanted or listings]
    status = asked.text("symbolStatus")
    if status:
        shown = [one for one in shown if (status == "TRADING") == one.is_trading]
    return _json(
        {
            "timezone": "UTC",
            "serverTime": moment.now_us // (1 if moment.micros else 1_000),
            "rateLimits": rates.lines(road),
            "exchangeFilters": [],
            "symbols": [describe(one, road) for one in shown],
        }
    )


# --- pieces ---


def _known(market: Market, road: Road, asked: Parameters, moment: Moment) -> str:
    """The symbol asked for, if there is one of that name."""
    symbol = asked.text("symbol")
    if all(symbol != one.symbol for one in market.listings(road, moment.now_us)):
        raise Refused(error(-1121, "Invalid symbol."))
    return symbol


def _is_backwards(window: Window, road: Road) -> bool:
    """Whether the window ends before it starts: nothing on spot, an error on futures."""
    if window.start_us is None or window.start_us <= window.last_us:
        return False
    if road == "um":
        raise Refused(error(-1023, "Start time is greater than end time."))
    return True


def _json(value: object) -> Answer:
    """An answer in JSON, written as tightly as Binance does."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Answer(200, text.encode())


def _costs(weight: int) -> Callable[[Parameters], int]:
    """A cost that is always the same."""
    return lambda _: weight


def _by_limit(asked: Parameters) -> int:
    """The cost of a page of futures k-lines."""
    limit = asked.number("limit") or 500
    for below, weight in ((100, 1), (500, 2), (1_001, 5)):
        if limit < below:
            return weight
    return 10


_TIMES = ("startTime", "endTime", "limit")
_KLINES = Endpoint(_klines, _costs(2), ("symbol", "interval"), (*_TIMES, "timeZone"))
_INFO = ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus")

ENDPOINTS = {
    "/api/v3/ping": Endpoint(_ping, _costs(1)),
    "/api/v3/time": Endpoint(_time, _costs(1)),
    "/api/v3/exchangeInfo": Endpoint(_info, _costs(20), (), _INFO),
    "/api/v3/klines": _KLINES,
    "/api/v3/uiKlines": _KLINES,
    "/api/v3/aggTrades": Endpoint(_trades, _costs(4), ("symbol",), (*_TIMES, "fromId")),
    "/fapi/v1/ping": Endpoint(_ping, _costs(1), account="um"),
    "/fapi/v1/time": Endpoint(_time, _costs(1), account="um"),
    "/fapi/v1/exchangeInfo": Endpoint(_info, _costs(1), account="um"),
    "/fapi/v1/klines": Endpoint(_klines, _by_limit, ("symbol", "interval"), _TIMES, "um"),
    "/fapi/v1/aggTrades": Endpoint(_trades, _costs(20), ("symbol",), (*_TIMES, "fromId"), "um"),
    "/fapi/v1/fundingRate": Endpoint(_funding, _costs(1), (), ("symbol", *_TIMES), "funding"),
    "/fapi/v1/fundingInfo": Endpoint(_funding_info, _costs(1), account="funding"),
}
"""All paths of the API, without the prefix of the data-only host."""
