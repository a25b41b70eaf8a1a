"""REST of the exchange: which symbols there are, and where their rows begin and end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.pages import Pages, within
from ares_notebook.binance.rate_limit import Limit
from ares_notebook.errors import BadAnswer, UnknownSymbol
from ares_notebook.model.files import Series
from ares_notebook.runtime.tasks import Memoized

__all__ = ["FirstRow", "Info", "Listing", "Rest", "read_info", "read_time"]

_INTERVAL_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}
# The exchange opened in July 2017; a clock that says otherwise is none.
_EARLIEST_MS, _LATEST_MS = 1_498_867_200_000, 4_102_444_800_000
# What says that trading is over, for a while or for good; any other word says nothing of it.
_OVER = ("BREAK", "SETTLING", "DELIVERING", "DELIVERED", "CLOSE", "PRE_SETTLE")
_FOREIGN = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the exchange says of one symbol today."""

    # Whether its status says that trading is over; a halt is not.
    is_over: bool
    # When the contract was listed; spot does not tell.
    onboard_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """An answer of ``exchangeInfo``, as far as we need it."""

    symbols: dict[str, Listing]
    # Request weight, and the seconds in which it may be used.
    limit: Limit | None
    # The exchange's clock.
    server_ms: int | None = None


def read_time(body: bytes) -> int:
    """The exchange's clock, in milliseconds since the epoch."""
    try:
        now_ms = int(json.loads(body)["serverTime"])
    except _FOREIGN as error:
        raise BadAnswer(_unexpected("its time", body)) from error
    if not _is_moment(now_ms):
        raise BadAnswer(_unexpected("its time", body))
    return now_ms


def read_info(body: bytes) -> Info:
    """Symbols and limits of an ``exchangeInfo``."""
    try:
        answer = json.loads(body)
        symbols = {str(each["symbol"]): _listing(each) for each in answer["symbols"]}
        limits = [_limit(rule) for rule in answer["rateLimits"]]
    except _FOREIGN as error:
        raise BadAnswer(_unexpected("its symbols and limits", body)) from error
    server_ms = answer.get("serverTime")
    told_ms = server_ms if isinstance(server_ms, int) and _is_moment(server_ms) else None
    return Info(symbols, next(filter(None, limits), None), told_ms)


def _listing(symbol: dict[str, Any]) -> Listing:
    """A symbol's status and dates, as far as they are such."""
    onboard_ms = symbol.get("onboardDate")
    is_known = isinstance(onboard_ms, int) and _is_moment(onboard_ms)
    return Listing(symbol.get("status") in _OVER, onboard_ms if is_known else None)


def _is_moment(ms: int) -> bool:
    return _EARLIEST_MS <= ms < _LATEST_MS


def _limit(rule: dict[str, Any]) -> tuple[int, float] | None:
    if rule["rateLimitType"] != "REQUEST_WEIGHT":
        return None
    weight = int(rule["limit"])
    seconds = _INTERVAL_SECONDS[rule["interval"]] * int(rule["intervalNum"])
    return (weight, float(seconds)) if weight > 0 and seconds > 0 else None


def _unexpected(what: str, body: bytes) -> str:
    return f"the exchange was asked for {what}, and something else came: {body[:80]!r}"


_INFO_WEIGHT, _TIME_WEIGHT, _FUTURES_INFO_WEIGHT = 20, 1, 1
# All symbols of spot are ten MB, those of futures two.
_MOST_INFO_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class FirstRow:
    """The first row of a history."""

    stamp_ms: int
    # Of a trade its id.
    key: int


class Rest(Pages):
    """The exchange's API, as far as market history needs it."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self._firsts: Memoized[FirstRow | None] = Memoized()
        self._lasts: Memoized[int | None] = Memoized()
        self._listings: Memoized[dict[str, Listing]] = Memoized()

    @property
    def is_informed(self) -> bool:
        """Whether the exchange has told its limits."""
        return "spot" in self.transport.limits

    async def server_time_ms(self) -> int:
        """The exchange's clock, in milliseconds since the epoch."""
        ask = partial(Ask, description="the exchange's time", weight=_TIME_WEIGHT)

        now_ms = await self.ask_spot("/api/v3/time", ask, read_time)
        self.transport.clock.hear(now_ms)
        return now_ms

    async def knows(self, symbol: str) -> bool:
        """Whether the exchange lists *symbol*; its limits are learnt on the way."""
        return symbol in await self._listings.get(symbol, partial(self._ask_symbol, symbol))

    async def _ask_symbol(self, symbol: str) -> dict[str, Listing]:
        # `symbol=` keeps the answer at a few KB instead of ten MB.
        ask = partial(
            Ask,
            description=f"symbol {symbol}",
            params={"symbol": symbol},
            weight=_INFO_WEIGHT,
            most_bytes=_MOST_INFO_BYTES,
        )
        try:
            info = await self.ask_spot("/api/v3/exchangeInfo", ask, read_info)
        except UnknownSymbol:
            return {}
        self._learn("spot", info)
        if symbol not in info.symbols:
            # What is not known is refused; a list without it is no statement.
            msg = f"the exchange was asked for {symbol}, and told of other symbols; run again later"
            raise BadAnswer(msg)
        return info.symbols

    def _learn(self, counter: str, info: Info) -> None:
        """Keep to the limits that an ``exchangeInfo`` tells, and to its clock."""
        if info.limit is not None:
            self.transport.apply_limits({counter: info.limit})
        if info.server_ms is not None:
            self.transport.clock.hear(info.server_ms)

    async def listing_of(self, series: Series) -> Listing | None:
        """What the exchange says of the symbol of *series* today; None if it does not list it."""
        symbol = series.symbol
        if series.dataset.market == "spot":
            await self.knows(symbol)
            return (await self._listings.get(symbol, partial(self._ask_symbol, symbol))).get(symbol)
        return (await self._perpetuals()).get(symbol)

    async def symbols(self) -> tuple[str, ...]:
        """All spot symbols that trade today, in order of their names."""
        # Without the permissions the answer is a fraction of its ten MB.
        ask = partial(
            Ask,
            description="the list of symbols",
            params={"symbolStatus": "TRADING", "showPermissionSets": "false"},
            weight=_INFO_WEIGHT,
            most_bytes=_MOST_INFO_BYTES,
        )
        info = await self.ask_spot("/api/v3/exchangeInfo", ask, read_info)
        return tuple(sorted(info.symbols))

    async def has_perpetual(self, symbol: str) -> bool:
        """Whether USD-M futures list *symbol*; their list is asked for once."""
        return symbol in await self._perpetuals()

    async def _perpetuals(self) -> dict[str, Listing]:
        return await self._listings.get(None, self._ask_perpetuals)

    async def _ask_perpetuals(self) -> dict[str, Listing]:
        url = self.transport.settings.futures_url + "/fapi/v1/exchangeInfo"
        ask = Ask(
            url,
            "the list of perpetuals",
            weight=_FUTURES_INFO_WEIGHT,
            counter="futures",
            most_bytes=_MOST_INFO_BYTES,
        )
        info = await self.transport.get(ask, read_info)
        self._learn("futures", info)
        if not info.symbols:
            msg = f"{url} lists no contract at all; that is not believed, run again later"
            raise BadAnswer(msg)
        return info.symbols

    async def first_row(self, series: Series) -> FirstRow | None:
        """
        The first row that the API has of *series*, asked for once; None without any.

        Its history may begin later than that of the exchange: what lies before is not
        proven by it, unless the row is a trade of id 0.
        """
        return await self._firsts.get(series, partial(self._ask_first, series))

    def knows_first(self, series: Series) -> bool:
        """Whether `first_row` has its answer already."""
        return self._firsts.has(series)

    async def begins_before(self, series: Series, moment_ms: int) -> bool:
        """
        Whether the API has a row of *series* that is earlier than a moment.

        Its silence about what lies before its own beginning proves nothing. Costs a request
        only where no page of this run has shown such a row.
        """
        if self.reach_ms.get(series, moment_ms) < moment_ms:
            return True
        first = await self.first_row(series)
        return first is not None and first.stamp_ms < moment_ms

    async def ends_before(self, series: Series, moment_ms: int) -> bool:
        """
        Whether the API has rows of *series*, and none from a moment on.

        Costs a request only where no page of this run has shown a later row.
        """
        if self.latest_ms.get(series, -1) >= moment_ms:
            return False
        last_ms = await self._lasts.get(series, partial(self._ask_last, series))
        return last_ms is not None and last_ms < moment_ms

    def knows_last(self, series: Series) -> bool:
        """Whether the newest row has been asked for."""
        return self._lasts.has(series)

    async def _ask_first(self, series: Series) -> FirstRow | None:
        # Trades begin with id 0 [binance-public-data#85]; the API wants times above 0.
        oldest = {"fromId": 0} if series.dataset.key == "id" else {"startTime": 1}
        page = await self.page(series, oldest, within(0), limit=1)
        return FirstRow(int(page.stamps_us[0]) // 1000, int(page.keys[0])) if len(page) else None

    async def _ask_last(self, series: Series) -> int | None:
        page = await self.page(series, {}, within(0), limit=1)
        return int(page.stamps_us[-1]) // 1000 if len(page) else None
