"""
REST: pages of rows, for the tail, the holes and what the archive lacks.

K-lines are paged by open time, trades by ``fromId`` (many share a millisecond, so
paging by time would lose or repeat some), funding by the last stamp plus one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ares_notebook.errors import BadAnswer, RegionBlocked, UnknownSymbol
from ares_notebook.exchange.expected import on_grid
from ares_notebook.exchange.info import read_info, read_time
from ares_notebook.exchange.once import Once
from ares_notebook.exchange.paging import in_order
from ares_notebook.exchange.published import lines_of_json
from ares_notebook.exchange.refusal import Ask
from ares_notebook.exchange.transport import Transport
from ares_notebook.market.facts import Hole
from ares_notebook.market.intervals import opens_between
from ares_notebook.market.lines import Lines
from ares_notebook.market.periods import utc
from ares_notebook.market.series import Series

__all__ = ["Rest"]

_LOGGER = logging.getLogger("DataDownloader")
_T = TypeVar("_T")
_Marks = npt.NDArray[np.bool_]

# Pages under way at once for a file among others; one that is alone may have all places.
_PAGES_AHEAD = 8
_INFO_WEIGHT, _TIME_WEIGHT, _FUTURES_INFO_WEIGHT = 20, 1, 1
# All symbols of spot are ten MB, those of futures two.
_MOST_INFO_BYTES = 32 << 20


class Rest:
    """
    The exchange's API, as far as market history needs it.

    Parameters
    ----------
    transport : Transport
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = self._transport = transport
        self._spot_url = transport.settings.spot_url
        self._firsts: Once[int | None] = Once()
        self._perpetuals: Once[frozenset[str]] = Once()
        self._heard_of: set[Series] = set()
        self._files_paged = 0
        self.notes: list[str] = []

    @property
    def is_informed(self) -> bool:
        """Whether the exchange has told its limits."""
        return "spot" in self._transport.limits

    async def server_time_ms(self) -> int:
        """The exchange's clock, in milliseconds since the epoch."""
        ask = partial(Ask, description="the exchange's time", weight=_TIME_WEIGHT)

        return await self._spot("/api/v3/time", ask, read_time)

    async def knows(self, symbol: str) -> bool:
        """Whether the exchange lists *symbol*; its limits are learnt on the way."""
        # `symbol=` keeps the answer at a few KB instead of ten MB.
        ask = partial(
            Ask,
            description=f"symbol {symbol}",
            params={"symbol": symbol},
            weight=_INFO_WEIGHT,
            most_bytes=_MOST_INFO_BYTES,
        )
        try:
            info = await self._spot("/api/v3/exchangeInfo", ask, read_info)
        except UnknownSymbol:
            return False
        if info.limit is not None:
            self._transport.heed({"spot": info.limit})
        return True

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
        info = await self._spot("/api/v3/exchangeInfo", ask, read_info)
        return tuple(sorted(info.symbols))

    async def has_perpetual(self, symbol: str) -> bool:
        """Whether USD-M futures list *symbol*; their list is asked for once."""
        return symbol in await self._perpetuals.get("symbols", self._ask_perpetuals)

    async def _ask_perpetuals(self) -> frozenset[str]:
        url = self._transport.settings.futures_url + "/fapi/v1/exchangeInfo"
        ask = Ask(
            url,
            "the list of perpetuals",
            weight=_FUTURES_INFO_WEIGHT,
            counter="futures",
            most_bytes=_MOST_INFO_BYTES,
        )
        info = await self._transport.get(ask, read_info)
        if info.limit is not None:
            self._transport.heed({"futures": info.limit})
        return info.symbols

    async def first_ms(self, series: Series) -> int | None:
        """
        The stamp of the first row that the exchange has of *series*, asked for once; None without any.

        Spares the question for each month before a symbol was listed.
        """
        return await self._firsts.get(series, partial(self._ask_first, series))

    async def has_any(self, series: Series) -> bool:
        """Whether the exchange has any row of *series*; asked for only if none has come yet."""
        return series in self._heard_of or await self.first_ms(series) is not None

    def knows_first(self, series: Series) -> bool:
        """Whether `first_ms` has its answer already."""
        return self._firsts.has(series)

    async def _ask_first(self, series: Series) -> int | None:
        # Trades begin with id 0 [binance-public-data#85]; the API wants times above 0.
        oldest = {"fromId": 0} if series.dataset.key == "id" else {"startTime": 1}
        page = await self._page(series, oldest, _within(0), limit=1)
        return int(page.stamps_us[0]) // 1000 if len(page) else None

    def lines(self, series: Series, hole: Hole) -> AsyncIterator[Lines]:
        """
        The rows of *series* that lie in *hole* as lines of a cache file, page by page, ascending.

        Parameters
        ----------
        series : Series
        hole : Hole
            For k-lines its end is that of the last candle wanted; for trades its
            ids, where it has them, are used to find both ends exactly.

        Yields
        ------
        Lines

        Raises
        ------
        TransportError
            If a page does not come.
        BadAnswer
            If a page is not what was asked for.
        """
        match series.dataset.key:
            case "open_time":
                return self._klines(series, hole)
            case "id":
                return self._trades(series, hole)
            case "event_time":
                return self._events(series, hole)

    async def _klines(self, series: Series, hole: Hole) -> AsyncIterator[Lines]:
        calls = (
            partial(
                self._page,
                series,
                {"startTime": start_ms, "endTime": end_ms - 1},
                _within(start_ms, end_ms),
            )
            for start_ms, end_ms in _kline_pages(series, hole)
        )
        async for page in self._paged(calls):
            yield page

    async def _trades(self, series: Series, hole: Hole) -> AsyncIterator[Lines]:
        first, last = await self._id_range(series, hole)
        calls = (
            partial(self._id_page, series, hole, last, start)
            for start in range(first, last + 1, series.dataset.rest_rows)
        )
        async for page in self._paged(calls):
            yield page

    async def _paged(self, calls: Iterable[Callable[[], Awaitable[Lines]]]) -> AsyncIterator[Lines]:
        self._files_paged += 1
        share = self._transport.settings.max_concurrency // self._files_paged
        try:
            async for page in in_order(calls, max(_PAGES_AHEAD, share)):
                yield page
        finally:
            self._files_paged -= 1

    async def _events(self, series: Series, hole: Hole) -> AsyncIterator[Lines]:
        start_ms = hole.start_ms
        while start_ms < hole.end_ms:
            params = {"startTime": start_ms, "endTime": hole.end_ms - 1}
            page = await self._page(series, params, _within(start_ms, hole.end_ms))
            yield page
            if len(page) < series.dataset.rest_rows:
                return
            start_ms = int(page.stamps_us[-1]) // 1000 + 1

    async def _id_range(self, series: Series, hole: Hole) -> tuple[int, int]:
        """First and last trade id of the hole; an empty range when it holds none."""
        window = {"startTime": hole.start_ms, "endTime": hole.end_ms - 1}
        first, last = hole.after_id, hole.before_id
        if first is None:
            inside = _within(hole.start_ms, hole.end_ms)
            page = await self._page(series, window, inside, limit=1)
            if not len(page):
                return 0, -1
            first = int(page.keys[0]) - 1
        if last is None:
            # With an end alone the exchange answers with the newest before it.
            newest = {"endTime": hole.end_ms - 1}
            page = await self._page(series, newest, _within(0, hole.end_ms), limit=1)
            last = int(page.keys[-1]) + 1 if len(page) else 0
        return first + 1, last - 1

    async def _id_page(self, series: Series, hole: Hole, last: int, first: int) -> Lines:
        """Trades of a hole, from id *first* on; what the exchange lacks of them is a hole of its own."""
        end = min(first + series.dataset.rest_rows, last + 1)

        def can_be(page: Lines) -> _Marks:
            # What comes behind the hole's last id is no older than the hole's end.
            is_behind = page.stamps_us >= (hole.end_ms - 1) * 1000
            return (page.keys >= first) & ((page.keys <= last) | is_behind)

        # Up to *last* there are trades: the exchange, or the row behind the hole, has told of one.
        page = await self._page(series, {"fromId": first}, can_be, limit=end - first, least=1)
        # The row before the hole may share its millisecond: there the ids decide.
        start_ms = 0 if hole.after_id is not None else hole.start_ms
        # Where ids are missing the page reaches beyond what was asked.
        return page.only(page.keys < end).between(start_ms, hole.end_ms)

    async def _page(
        self,
        series: Series,
        window: dict[str, int],
        can_be: Callable[[Lines], _Marks],
        limit: int | None = None,
        least: int = 0,
    ) -> Lines:
        """One page of *least* so many rows, all of which *can_be* what was asked for."""
        dataset, url = series.dataset, self.url_of(series)
        ask = _page_of(series, {**window, "limit": limit or dataset.rest_rows})
        read = partial(_checked_page, series, url, can_be, least)
        if dataset.market == "spot":
            page = await self._spot(dataset.rest_path, ask, read)
        else:
            page = await self._transport.get(ask(url=url, counter="funding"), read)
        if len(page):
            self._heard_of.add(series)
        return page

    def url_of(self, series: Series) -> str:
        """The address that is asked for rows of *series*."""
        is_spot = series.dataset.market == "spot"
        host = self._spot_url if is_spot else self._transport.settings.futures_url
        return host + series.dataset.rest_path

    async def _spot(self, path: str, ask: Callable[..., Ask], read: Callable[[bytes], _T]) -> _T:
        """Ask the spot API; where it is closed to this region, the market-data host."""
        asked = self._spot_url
        try:
            return await self._transport.get(ask(url=asked + path, counter="spot"), read)
        except RegionBlocked:
            # Pages that were under way find the other host already chosen.
            fallback = self._transport.settings.spot_fallback_url
            if asked == fallback:
                raise
            self._note(f"{asked} is closed to this region (451); going on over {fallback}")
            self._spot_url = fallback
        return await self._transport.get(ask(url=self._spot_url + path, counter="spot"), read)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
            _LOGGER.warning("%s", note)


def _kline_pages(series: Series, hole: Hole) -> Iterator[tuple[int, int]]:
    """Windows ``[start, end)`` of at most a page of candles each."""
    opens = opens_between(series.interval or "", hole.start_ms, hole.end_ms)
    size = series.dataset.rest_rows
    for at in range(0, len(opens), size):
        end_ms = opens[at + size] if at + size < len(opens) else hole.end_ms
        yield (hole.start_ms if at == 0 else opens[at]), end_ms


def _within(start_ms: int, end_ms: int | None = None) -> Callable[[Lines], _Marks]:
    """Marks the rows with ``start_ms <= timestamp < end_ms``."""

    def can_be(page: Lines) -> _Marks:
        is_early_enough = end_ms is None or page.stamps_us < end_ms * 1000
        return (page.stamps_us >= start_ms * 1000) & is_early_enough

    return can_be


def _page_of(series: Series, window: dict[str, int]) -> Callable[..., Ask]:
    """What asks for a page of *series*; the address and its budget are still to be named."""
    dataset = series.dataset
    what = f"{dataset.label} of {series.symbol}"
    if window["limit"] == 1:
        what = f"a first or last row of {what}"
    elif "startTime" in window:
        what += f" from {utc(window['startTime']):%Y-%m-%d %H:%M}"
    interval = {} if series.interval is None else {"interval": series.interval}
    micro = {"X-MBX-TIME-UNIT": "MICROSECOND"} if dataset.key == "id" else {}
    return partial(
        Ask,
        description=what,
        params={"symbol": series.symbol, **interval, **window},
        headers=micro,
        weight=dataset.rest_weight,
    )


def _checked_page(
    series: Series, origin: str, can_be: Callable[[Lines], _Marks], least: int, body: bytes
) -> Lines:
    page = lines_of_json(series, body, origin)
    if len(page) < least:
        msg = f"{origin} answered with no row, where it has told of some; nothing is stored, run again later"
        raise BadAnswer(msg)
    if not np.all(can_be(page)):
        msg = f"{origin} answered with rows that were not asked for; nothing is stored, run again later"
        raise BadAnswer(msg)
    if series.interval and not np.all(on_grid(series.interval, page.stamps_us // 1000)):
        # Only old files of the archive have such rows (December 2017, February 2018).
        msg = f"{origin} answered with candles that open off the grid of {series.interval}; nothing is stored, run again later"
        raise BadAnswer(msg)
    return page
