"""The REST API: which parameters each endpoint takes, what it weighs, what it responds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ares_notebook.demo.limits import Account, RateLimiter
from ares_notebook.demo.market import DemoMarket, PageQuery, SymbolInfo
from ares_notebook.demo.server import Response, error
from ares_notebook.demo.symbols import Product
from ares_notebook.demo.tables import INTERVALS, microseconds

_NUMBER = r"^[0-9]{1,20}$"
_SYMBOL = r"^[\w\-._&&[^a-z]]{1,50}$"
_SYMBOLS = r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$'
# _SYMBOL in Python's dialect, which knows no intersections of classes.
_SYMBOL_LETTERS = re.compile(r"[^\W a-z]+(?:[\-._]|[^\W a-z])*")
_SYMBOL_MAX = 50
_NUMBER_NAMES = frozenset({"startTime", "endTime", "limit", "fromId"})
_NUMBER_MAX = 1 << 61


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
        if self.product == "um":
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
    if name == "symbol" and not (_SYMBOL_LETTERS.fullmatch(value) and len(value) <= _SYMBOL_MAX):
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
    interval = call.text("interval")
    if interval not in INTERVALS or (call.product == "um" and interval == "1s"):
        raise Refused(-1120, "Invalid interval.")
    if call.text("timeZone", "0") not in ("0", "+0", "-0", "+0:00", "0:00", "00:00"):
        # The demo's candles are on the grid of UTC only.
        raise Refused(-1130, "Data sent for parameter 'timeZone' is not valid.")
    symbol = call.symbol()
    page = call.page(500, 1_000 if call.product == "spot" else 1_500)
    if call.is_backwards(page):
        return Response(200, b"[]")
    return Response(200, call.market.klines(call.product, symbol, interval, page))


def _agg_trades(call: ApiCall) -> Response:
    """Respond a page of aggregate trades."""
    symbol = call.symbol()
    page = call.page(500, 1_000)
    if page.from_id is not None and (page.start_us, page.end_us) != (None, None):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    if call.is_backwards(page):
        return Response(200, b"[]")
    return Response(200, call.market.agg_trades(call.product, symbol, page))


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
    described = _spot_symbol if call.product == "spot" else _futures_symbol
    return _json(
        {
            "timezone": "UTC",
            "serverTime": call.server_time,
            "rateLimits": call.limiter.rate_limits(call.product),
            "exchangeFilters": [],
            "symbols": [described(one) for one in shown],
        }
    )


def _spot_symbol(one: SymbolInfo) -> dict[str, Any]:
    """A symbol as spot describes it."""
    return {
        "symbol": one.symbol,
        "status": "TRADING" if one.is_trading else "BREAK",
        "baseAsset": one.base,
        "baseAssetPrecision": 8,
        "quoteAsset": one.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": one.is_trading,
        "isMarginTradingAllowed": False,
        "filters": _filters(one),
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _futures_symbol(one: SymbolInfo) -> dict[str, Any]:
    """A symbol as futures describes it."""
    return {
        "symbol": one.symbol,
        "pair": one.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": one.onboard_ms,
        "status": "TRADING" if one.is_trading else "SETTLING",
        "baseAsset": one.base,
        "quoteAsset": one.quote,
        "marginAsset": one.quote,
        "filters": _filters(one),
    }


def _filters(one: SymbolInfo) -> list[dict[str, str]]:
    """The grid that prices and quantities lie on."""
    tick, step = (f"{units // 10**8}.{units % 10**8:08d}" for units in (one.tick, one.step))
    price = {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000"}
    lot = {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000.00000000"}
    return [{**price, "tickSize": tick}, {**lot, "stepSize": step}]


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

ENDPOINTS = {
    "/api/v3/ping": Endpoint(_ping),
    "/api/v3/time": Endpoint(_time),
    "/api/v3/exchangeInfo": Endpoint(_exchange_info, 20, "spot", (), _INFO),
    "/api/v3/klines": _KLINES,
    "/api/v3/uiKlines": _KLINES,
    "/api/v3/aggTrades": Endpoint(_agg_trades, 4, "spot", ("symbol",), (*_PAGE, "fromId")),
    "/fapi/v1/ping": Endpoint(_ping, account="um"),
    "/fapi/v1/time": Endpoint(_time, account="um"),
    "/fapi/v1/exchangeInfo": Endpoint(_exchange_info, account="um"),
    "/fapi/v1/klines": Endpoint(_klines, _futures_klines_weight, "um", _KLINE, _PAGE),
    "/fapi/v1/aggTrades": Endpoint(_agg_trades, 20, "um", ("symbol",), (*_PAGE, "fromId")),
    "/fapi/v1/fundingRate": Endpoint(_funding_rate, 1, "funding", (), ("symbol", *_PAGE)),
    "/fapi/v1/fundingInfo": Endpoint(_funding_info, 1, "funding"),
}
"""All paths of the API, without the prefix of the data-only host."""
