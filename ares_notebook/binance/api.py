"""The API of each market: its host, its clock, and its exchangeInfo."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.parse import Info, Listing, read_info, read_time
from ares_notebook.errors import (
    BadAnswer,
    HostResting,
    RegionBlocked,
    TransportError,
    UnknownSymbol,
)
from ares_notebook.model.files import Series
from ares_notebook.model.markets import FEW_SYMBOLS, SPOT, Market
from ares_notebook.model.symbols import pair_of
from ares_notebook.runtime.tasks import Memoized

_LOGGER = logging.getLogger("DataDownloader")
_T = TypeVar("_T")

_TIME_WEIGHT = 1
# All symbols of spot are ten MB, those of futures two.
_MOST_INFO_BYTES = 32 << 20


def _info_ask(market: Market, description: str, **params: str) -> Callable[..., Ask]:
    """A request for ``exchangeInfo`` that lacks its URL and counter."""
    return partial(
        Ask,
        description=description,
        params=params,
        weight=market.info_weight,
        most_bytes=_MOST_INFO_BYTES,
    )


class Api:
    """Asks the APIs of all markets, and what they say of themselves."""

    def __init__(self, transport: Transport, symbols: int = 1) -> None:
        self.transport = transport
        # How many symbols will be asked about: of many, some answers are asked for once for all.
        self.symbols_expected = symbols
        # Where the API of a market is asked now.
        self._urls: dict[Market, str] = {}
        self._listings: Memoized[dict[str, Listing]] = Memoized()
        self._symbols: Memoized[tuple[str, ...]] = Memoized()
        self.notes: list[str] = []

    @property
    def now_ms(self) -> int:
        """Now, never later than the exchange's clock."""
        return self.transport.clock.now_ms()

    def is_informed(self, market: Market) -> bool:
        """Whether the exchange has stated the limits of a market."""
        return market.name in self.transport.limits

    async def hear_clock(self) -> None:
        """Ask for the exchange's time, unless an answer has told it; where none comes, ours stays."""
        if not self.transport.clock.is_heard:
            with suppress(TransportError, BadAnswer):
                await self.server_time_ms()

    # --- exchangeInfo ---

    async def server_time_ms(self) -> int:
        """The exchange's clock, in milliseconds since the epoch."""
        ask = partial(Ask, description="the exchange's time", weight=_TIME_WEIGHT)
        now_ms = await self.ask(SPOT, "time", ask, read_time)
        self.transport.clock.hear(now_ms)
        return now_ms

    async def knows(self, market: Market, symbol: str) -> bool:
        """Whether the exchange lists *symbol* there today; applies the limits in the answer."""
        return symbol in await self._listings_of(market, symbol)

    async def listing_of(self, series: Series) -> Listing | None:
        """The listing of the symbol of *series* today, or of the contracts of its pair; None if there is none."""
        listings = await self._listings_of(series.market, series.symbol)
        if series.dataset.rest_symbol_parameter == "symbol":
            return listings.get(series.symbol)
        contracts = [one for name, one in listings.items() if pair_of(name) == series.symbol]
        return Listing.of_all(contracts) if contracts else None

    async def symbols(self, market: Market) -> tuple[str, ...]:
        """All symbols that a market lists today, sorted; asked for once."""
        return await self._symbols.get(market, partial(self._sorted_symbols, market))

    async def _sorted_symbols(self, market: Market) -> tuple[str, ...]:
        if not market.is_info_by_symbol:
            return tuple(sorted(await self._listings_of(market, "")))
        # Without the permission sets the answer is a fraction of its ten MB.
        params = {"symbolStatus": "TRADING", "showPermissionSets": "false"}
        ask = _info_ask(market, "the list of symbols", **params)
        return tuple(sorted((await self.ask(market, "exchangeInfo", ask, read_info)).symbols))

    async def _listings_of(self, market: Market, symbol: str) -> dict[str, Listing]:
        """The symbols of a market by name: all, or at least this one."""
        if market.is_info_by_symbol and self.symbols_expected <= FEW_SYMBOLS:
            return await self._listings.get(
                (market, symbol), partial(self._ask_symbol, market, symbol)
            )
        return await self._listings.get((market, ""), partial(self._ask_symbols, market))

    async def _ask_symbol(self, market: Market, symbol: str) -> dict[str, Listing]:
        # `symbol=` keeps the answer at a few KB instead of ten MB.
        ask = _info_ask(market, f"symbol {symbol}", symbol=symbol)
        try:
            info = await self.ask(market, "exchangeInfo", ask, read_info)
        except UnknownSymbol:
            return {}
        self._apply(market.name, info)
        if symbol not in info.symbols:
            # An unknown symbol is an error; a list without it proves nothing.
            msg = f"the exchange was asked for {symbol}, and answered with other symbols; run again later"
            raise BadAnswer(msg)
        return info.symbols

    async def _ask_symbols(self, market: Market) -> dict[str, Listing]:
        # Spot's list is ten MB with the permission sets, and a fraction without.
        params = {"showPermissionSets": "false"} if market.is_info_by_symbol else {}
        ask = _info_ask(market, f"the list of symbols of {market.label}", **params)
        info = await self.ask(market, "exchangeInfo", ask, read_info)
        self._apply(market.name, info)
        if not info.symbols:
            url = self._url_of(market) + market.api
            msg = f"{url}exchangeInfo lists no symbol at all; that is not believed, run again later"
            raise BadAnswer(msg)
        return info.symbols

    def _apply(self, counter: str, info: Info) -> None:
        """Apply the limits and the clock of an ``exchangeInfo``."""
        if info.limit is not None:
            self.transport.apply_limits({counter: info.limit})
        if info.server_ms is not None:
            self.transport.clock.hear(info.server_ms)

    def url_of(self, series: Series) -> str:
        """The URL of the endpoint for *series*."""
        return self._url_of(series.market) + series.rest_path

    def _url_of(self, market: Market) -> str:
        return self._urls.get(market) or self.transport.settings.api_url(market.url_field)

    async def ask(
        self,
        market: Market,
        name: str,
        ask: Callable[..., Ask],
        read: Callable[[bytes], _T],
        pool: str = "",
    ) -> _T:
        """Ask the API of a market, or the fallback host where that one is closed to this place."""
        url, counter = self._url_of(market), pool or market.name
        try:
            return await self.transport.get(ask(url=url + market.api + name, counter=counter), read)
        except (RegionBlocked, HostResting) as error:
            # Another page may have switched the host already.
            fallback = str(
                getattr(self.transport.settings, market.fallback_field or market.url_field)
            )
            if url == fallback:
                raise
            is_blocked = isinstance(error, RegionBlocked)
            why = (
                "is closed to this region (451)" if is_blocked else "does not answer, or refuses to"
            )
            note = f"{url} {why}; {fallback} is asked instead"
        self._urls[market] = fallback
        answer = await self.transport.get(
            ask(url=fallback + market.api + name, counter=counter), read
        )
        if note not in self.notes:
            self.notes.append(note)
            _LOGGER.warning("%s", note)
        return answer
