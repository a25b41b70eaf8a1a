"""The REST API: which parameters each endpoint takes, what it weighs, what it responds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ares_notebook.demo.limits import Account, RateLimiter
from ares_notebook.demo.market import DemoMarket, PageQuery, SymbolInfo
from ares_notebook.demo.metrics import REST_DAYS
from ares_notebook.demo.server import Response, error
from ares_notebook.demo.symbols import DAY, HOUR, PRICE_KINDS, Product
from ares_notebook.demo.tables import INTERVALS, microseconds

_NUMBER = r"^[0-9]{1,20}$"
_SYMBOL = r"^[\w\-._&&[^a-z]]{1,50}$"
_SYMBOLS = r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$'
# _SYMBOL in Python's dialect, which knows no intersections of classes.
_SYMBOL_LETTERS = re.compile(r"[^\W a-z]+(?:[\-._]|[^\W a-z])*")
_SYMBOL_MAX = 50
_NUMBER_NAMES = frozenset({"startTime", "endTime", "limit", "fromId"})
_NUMBER_MAX = 1 << 61
_DAY_US, _HOUR_US = DAY * 1_000, HOUR * 1_000
# Windows of the futures: a page of COIN-M k-lines, aggregate trades by time, how far back USD-M
# finds them by time.
_CM_KLINES_DAYS = 200
_TRADES_HOURS = 1
_UM_TRADES_DAYS = 2
# Of the statistics of a day: candles, and where one has its volume in the quote asset.
_DAY_HOURS = 24
_QUOTE_VOLUME = 7


class Refused(Exception):
    """The request has no response but an error; never leaves this package."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.response = error(code, message)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request to an endpoint, with all that its response depends on."""

    market: DemoMarket
    limiter: RateLimiter
    product: Product
    now_us: int
    in_micros: bool
    # As they were sent.
    parameters: dict[str, str]

    def text(self, name: str, default: str = "") -> str:
        """A parameter, or *default* if it was not sent."""
        return self.parameters.get(name, default)

    def number(self, name: str) -> int | None:
        """A parameter as a number, or None if it was not sent."""
        return int(self.parameters[name]) if name in self.parameters else None

    @property
    def server_time(self) -> int:
        """The time, in the unit that is asked for."""
        return self.now_us if self.in_micros else self.now_us // 1_000

    def symbols(self) -> dict[str, SymbolInfo]:
        """What is known of each symbol."""
        return {one.symbol: one for one in self.market.symbols(self.product, self.now_us)}

    def symbol(self) -> str:
        """The symbol asked for, if there is one of that name."""
        symbol = self.text("symbol")
        if symbol not in self.symbols():
            raise Refused(-1121, "Invalid symbol.")
        return symbol

    def pair(self) -> str:
        """The index asked for, if there is one of that name."""
        pair = self.text("pair")
        if pair not in self.market.price_pairs(self.product, self.now_us):
            raise Refused(-1121, "Invalid symbol.")
        return pair

    def interval(self) -> str:
        """The interval asked for, if there is one of that name; futures have no 1s."""
        interval = self.text("interval")
        if interval not in INTERVALS or (self.product != "spot" and interval == "1s"):
            raise Refused(-1120, "Invalid interval.")
        return interval

    def page(self, default: int, largest: int) -> PageQuery:
        """The rows that are asked for; a limit beyond the largest is cut down in silence."""
        limit = self.number("limit")
        if limit == 0:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        start, end, first = map(self.number, ("startTime", "endTime", "fromId"))
        return PageQuery(
            limit=min(limit or default, largest),
            now_us=self.now_us,
            in_micros=self.in_micros,
            start_us=None if start is None else min(microseconds(start), _NUMBER_MAX),
            # A time in milliseconds lasts to its last microsecond.
            end_us=None if end is None else min(microseconds(end, 999), _NUMBER_MAX),
            from_id=None if first is None else min(first, _NUMBER_MAX),
        )

    def is_backwards(self, page: PageQuery) -> bool:
        """Whether a page ends before it starts: nothing on spot, an error on futures."""
        if page.start_us is None or page.end_us is None or page.start_us <= page.end_us:
            return False
        if self.product != "spot":
            raise Refused(-1023, "Start time is greater than end time.")
        return True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the API."""

    respond: Callable[[ApiCall], Response]
    # Request weight, and which account pays it.
    weight: int | Callable[[ApiCall], int] = 1
    account: Account = "spot"
    # Names of parameters.
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


def prepare(
    endpoint: Endpoint, call: ApiCall, sent: Sequence[tuple[str, str]]
) -> tuple[int, Callable[[], Response]]:
    """Request weight of a call, and what makes its response; with wrong parameters it weighs 1."""
    try:
        _check_parameters(sent, endpoint.required, endpoint.optional)
    except Refused as refused:
        response = refused.response
        return 1, lambda: response
    weight = endpoint.weight if isinstance(endpoint.weight, int) else endpoint.weight(call)
    return weight, partial(_respond, endpoint, call)


def _respond(endpoint: Endpoint, call: ApiCall) -> Response:
    """The response of an endpoint."""
    try:
        return endpoint.respond(call)
    except Refused as refused:
        return refused.response


# --- parameters ---


def _check_parameters(
    sent: Sequence[tuple[str, str]], required: Sequence[str], optional: Sequence[str]
) -> None:
    """Check parameters as strictly as Binance does."""
    values = dict(sent)
    if len(values) < len(sent):
        name = next(n for n in values if sum(n == other for other, _ in sent) > 1)
        raise Refused(-1101, f"Duplicate values for parameter '{name}' detected.")
    for name in required:
        if not values.get(name):
            text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
            raise Refused(-1102, text)
    known = [name for name in (*required, *optional) if name in values]
    for name in known:
        _check_value(name, values[name])
    if len(known) < len(values):
        text = "Not all sent parameters were read; "
        counts = f"read '{len(known)}' parameter(s) but was sent '{len(values)}'."
        raise Refused(-1104, text + counts)


def _check_value(name: str, value: str) -> None:
    """Check the characters of one value."""
    if not value:
        raise Refused(-1105, f"Parameter '{name}' was empty.")
    # Only the digits of ASCII: \d would let others pass.
    if name in _NUMBER_NAMES and not re.fullmatch(r"[0-9]{1,20}", value):
        raise Refused(-1100, _illegal(name, _NUMBER))
    if name in ("symbol", "pair") and not (
        _SYMBOL_LETTERS.fullmatch(value) and len(value) <= _SYMBOL_MAX
    ):
        raise Refused(-1100, _illegal(name, _SYMBOL))


def _symbols_of(text: str) -> list[str]:
    """Read a JSON list of symbols."""
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(-1100, _illegal("symbols", _SYMBOLS))
    return names


def _illegal(name: str, pattern: str) -> str:
    """The message about characters that *pattern* does not allow."""
    return f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'."


# --- endpoints ---


def _ping(_: ApiCall) -> Response:
    """Respond that the API is there."""
    return Response(200, b"{}")


def _time(call: ApiCall) -> Response:
    """Respond the time."""
    return _json({"serverTime": call.server_time})


def _klines(call: ApiCall) -> Response:
    """Respond a page of k-lines."""
    interval = call.interval()
    if call.text("timeZone", "0") not in ("0", "+0", "-0", "+0:00", "0:00", "00:00"):
        # The demo's candles are on the grid of UTC only.
        raise Refused(-1130, "Data sent for parameter 'timeZone' is not valid.")
    symbol = call.symbol()
    page = _klines_page(call)
    if call.is_backwards(page):
        return Response(200, b"[]")
    return Response(200, call.market.klines(call.product, symbol, interval, page))


def _day_tickers(call: ApiCall) -> Response:
    """Respond what changed hands in the last 24 hours, of each symbol that trades."""
    if call.text("type") != "MINI":
        # The demo knows no prices of an order book.
        raise Refused(-1130, "Data sent for parameter 'type' is not valid.")
    page = PageQuery(limit=_DAY_HOURS, now_us=call.now_us)
    found = []
    for symbol, info in call.symbols().items():
        if info.is_trading:
            candles = json.loads(call.market.klines(call.product, symbol, "1h", page))
            volume = sum(float(each[_QUOTE_VOLUME]) for each in candles)
            found.append({"symbol": symbol, "quoteVolume": f"{volume:.8f}"})
    return _json(found)


def _price_klines(kind: str, call: ApiCall) -> Response:
    """Respond a page of k-lines of a computed price."""
    interval = call.interval()
    name = call.pair() if kind == "indexPriceKlines" else call.symbol()
    page = _klines_page(call)
    call.is_backwards(page)
    return Response(200, call.market.price_klines(call.product, kind, name, interval, page))


def _klines_page(call: ApiCall) -> PageQuery:
    """The k-lines that are asked for; COIN-M has the newest ones of a window of 200 days."""
    page = call.page(500, 1_000 if call.product == "spot" else 1_500)
    if call.product != "cm" or page.start_us is None:
        return page
    widest_us = page.start_us + _CM_KLINES_DAYS * _DAY_US
    if page.end_us is not None and page.end_us // 1_000 > widest_us // 1_000:
        raise Refused(-4088, f"Maximum time interval is {_CM_KLINES_DAYS} days.")
    return replace(page, end_us=page.end_us or widest_us, has_newest=True)


def _agg_trades(call: ApiCall) -> Response:
    """Respond a page of aggregate trades."""
    symbol = call.symbol()
    page = call.page(500, 1_000)
    if page.from_id is not None and (page.start_us, page.end_us) != (None, None):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    if call.is_backwards(page):
        return Response(200, b"[]")
    if call.product != "spot":
        _check_trade_times(call, page)
    return Response(200, call.market.agg_trades(call.product, symbol, page))


def _check_trade_times(call: ApiCall, page: PageQuery) -> None:
    """Refuse times that futures do not look for trades by."""
    times = [time_us for time_us in (page.start_us, page.end_us) if time_us is not None]
    if len(times) > 1 and (times[1] - times[0]) // 1_000 > _TRADES_HOURS * HOUR:
        raise Refused(-1127, f"More than {_TRADES_HOURS} hours between startTime and endTime.")
    if call.product == "um" and times and min(times) < call.now_us - _UM_TRADES_DAYS * _DAY_US:
        text = f"Search window is restricted to recent {_UM_TRADES_DAYS} days only"
        raise Refused(-4166, text)


def _funding_rate(call: ApiCall) -> Response:
    """Respond a page of funding events, of one symbol or of all."""
    page = call.page(100, 1_000)
    call.is_backwards(page)
    if call.text("symbol"):
        return Response(200, call.market.funding(call.symbol(), page))
    rows: list[dict[str, Any]] = []
    for symbol in call.symbols():
        rows += json.loads(call.market.funding(symbol, page))
    rows.sort(key=lambda row: row["fundingTime"])
    return _json(rows[-page.limit :] if page.start_us is None else rows[: page.limit])


def _funding_info(call: ApiCall) -> Response:
    """Respond the interval of the symbols that are not funded by default."""
    return _json(
        [
            {
                "symbol": one.symbol,
                "adjustedFundingRateCap": "0.02000000",
                "adjustedFundingRateFloor": "-0.02000000",
                "fundingIntervalHours": one.funding_hours,
                "disclaimer": False,
            }
            for one in call.symbols().values()
            if one.funding_hours is not None
        ]
    )


def _statistics(kind: str, call: ApiCall) -> Response:
    """Respond a page of open interest, ratios or volumes of takers."""
    period_ms = INTERVALS.get(call.text("period"), 0)
    if call.text("period") not in _PERIODS:
        return _invalid_parameter("period")
    symbol, names = _contract_and_names(kind, call)
    page = call.page(30, 500)
    call.is_backwards(page)
    floor_us = call.now_us - REST_DAYS * _DAY_US
    for name, time_us in (("startTime", page.start_us), ("endTime", page.end_us)):
        if time_us is not None and time_us < floor_us:
            return _invalid_parameter(name)
    if not symbol:
        return _json([])
    rows = call.market.statistics(call.product, symbol, kind, period_ms, page)
    return _json([{**names, **row} for row in rows])


def _contract_and_names(kind: str, call: ApiCall) -> tuple[str, dict[str, str]]:
    """The contract that statistics are asked of, empty if there is none, and names for its rows."""
    if call.product == "um":
        symbol = call.symbol()
        return symbol, {} if kind == "takerlongshortRatio" else {"symbol": symbol}
    pair, wanted = call.pair(), call.text("contractType", "ALL")
    # The perpetual stands for all: it has nearly all of the open interest.
    wanted_type = "PERPETUAL" if wanted == "ALL" else wanted
    symbols = (
        one.symbol
        for one in call.symbols().values()
        if one.pair == pair and one.contract_type(call.now_us // 1_000) == wanted_type
    )
    has_type = kind in ("openInterestHist", "takerBuySellVol")
    return next(symbols, ""), {"pair": pair, **({"contractType": wanted} if has_type else {})}


def _invalid_parameter(name: str) -> Response:
    """The response of statistics to a parameter: the message comes before the code."""
    text = f"parameter '{name}' is invalid."
    return replace(_json({"msg": text, "code": -1130}), status=400, weight=1)


def _exchange_info(call: ApiCall) -> Response:
    """Respond which symbols and limits there are."""
    symbols = call.symbols()
    wanted = _symbols_of(call.text("symbols")) if call.text("symbols") else None
    if call.text("symbol"):
        if wanted is not None:
            raise Refused(-1128, "Combination of optional parameters invalid.")
        wanted = [call.text("symbol")]
    if wanted is not None and not all(symbol in symbols for symbol in wanted):
        raise Refused(-1121, "Invalid symbol.")
    shown = [symbols[symbol] for symbol in wanted or symbols]
    if status := call.text("symbolStatus"):
        shown = [one for one in shown if (status == "TRADING") == one.is_trading]
    return _json(
        {
            "timezone": "UTC",
            "serverTime": call.server_time,
            "rateLimits": call.limiter.rate_limits(call.product),
            "exchangeFilters": [],
            "symbols": [one.described(call.now_us // 1_000) for one in shown],
        }
    )


def _json(value: object) -> Response:
    """A response in JSON, written as tightly as Binance does."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(200, text.encode())


def _futures_klines_weight(call: ApiCall) -> int:
    """Request weight of a page of futures k-lines."""
    limit = call.number("limit") or 500
    steps = ((100, 1), (500, 2), (1_001, 5))
    return next((weight for below, weight in steps if limit < below), 10)


_PAGE = ("startTime", "endTime", "limit")
_KLINE = ("symbol", "interval")
_KLINES = Endpoint(_klines, 2, "spot", _KLINE, (*_PAGE, "timeZone"))
_INFO = ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus")
_PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
_RATIOS = ("topLongShortAccountRatio", "topLongShortPositionRatio", "globalLongShortAccountRatio")


def _futures_endpoints(product: Product, api: str) -> dict[tuple[Product, str], Endpoint]:
    """What USD-M and COIN-M have alike."""
    weight = _futures_klines_weight
    found = {
        "ping": Endpoint(_ping, account=product),
        "time": Endpoint(_time, account=product),
        "exchangeInfo": Endpoint(_exchange_info, account=product),
        "klines": Endpoint(_klines, weight, product, _KLINE, _PAGE),
        "aggTrades": Endpoint(_agg_trades, 20, product, ("symbol",), (*_PAGE, "fromId")),
    }
    for kind in PRICE_KINDS:
        required = ("pair" if kind == "indexPriceKlines" else "symbol", "interval")
        found[kind] = Endpoint(partial(_price_klines, kind), weight, product, required, _PAGE)
    return {(product, api + name): endpoint for name, endpoint in found.items()}


def _statistics_endpoints() -> dict[tuple[Product, str], Endpoint]:
    """Open interest and the like, by symbol on USD-M and by pair on COIN-M."""
    by_symbol, by_pair = ("symbol", "period"), ("pair", "period")
    found: dict[tuple[Product, str], Endpoint] = {}
    for kind in (*_RATIOS, "openInterestHist", "takerlongshortRatio"):
        respond = partial(_statistics, kind)
        found["um", kind] = Endpoint(respond, 0, "statistics", by_symbol, _PAGE)
    for kind in _RATIOS:
        found["cm", kind] = Endpoint(partial(_statistics, kind), 1, "cm", by_pair, _PAGE)
    for kind in ("openInterestHist", "takerBuySellVol"):
        required = (*by_pair, "contractType")
        found["cm", kind] = Endpoint(partial(_statistics, kind), 1, "cm", required, _PAGE)
    return {(product, _STATISTICS + kind): each for (product, kind), each in found.items()}


_STATISTICS = "/futures/data/"

ENDPOINTS: dict[tuple[Product, str], Endpoint] = {
    ("spot", "/api/v3/ping"): Endpoint(_ping),
    ("spot", "/api/v3/time"): Endpoint(_time),
    ("spot", "/api/v3/exchangeInfo"): Endpoint(_exchange_info, 20, "spot", (), _INFO),
    ("spot", "/api/v3/ticker/24hr"): Endpoint(_day_tickers, 80, "spot", ("type",)),
    ("spot", "/api/v3/klines"): _KLINES,
    ("spot", "/api/v3/uiKlines"): _KLINES,
    ("spot", "/api/v3/aggTrades"): Endpoint(
        _agg_trades, 4, "spot", ("symbol",), (*_PAGE, "fromId")
    ),
    **_futures_endpoints("um", "/fapi/v1/"),
    **_futures_endpoints("cm", "/dapi/v1/"),
    ("um", "/fapi/v1/fundingRate"): Endpoint(_funding_rate, 1, "funding", (), ("symbol", *_PAGE)),
    ("um", "/fapi/v1/fundingInfo"): Endpoint(_funding_info, 1, "funding"),
    ("cm", "/dapi/v1/fundingRate"): Endpoint(_funding_rate, 1, "cm", ("symbol",), _PAGE),
    **_statistics_endpoints(),
}
"""All paths of the API, without the prefix of the data-only host, by product."""


def product_of(path: str, parameters: Container[str]) -> Product:
    """The product of a path; statistics, which two hosts have, are by symbol or by pair."""
    if path.startswith("/dapi"):
        return "cm"
    if path.startswith(_STATISTICS):
        return "cm" if "pair" in parameters else "um"
    return "um" if path.startswith("/fapi") else "spot"
