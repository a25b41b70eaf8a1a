"""
REST: pages of rows, for the tail, the holes and what the archive lacks.

K-lines are paged by open time, trades by ``fromId`` (many share a millisecond, so
paging by time would lose or repeat some), funding by the last stamp plus one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.errors import BadAnswer, RegionBlocked, UnknownSymbol
from ares_notebook.exchange.info import read_info, read_time
from ares_notebook.exchange.once import Once
from ares_notebook.exchange.paging import in_order
from ares_notebook.exchange.published import rows_of_json
from ares_notebook.exchange.refusal import Ask
from ares_notebook.exchange.transport import Transport
from ares_notebook.market.datasets import Dataset
from ares_notebook.market.facts import Hole
from ares_notebook.market.intervals import opens_between
from ares_notebook.market.periods import utc
from ares_notebook.market.rows import Table, between, keys_of, stamps_ms
from ares_notebook.market.series import Series

__all__ = ["Rest"]

_LOGGER = logging.getLogger("DataDownloader")
_T = TypeVar("_T")

# Pages under way at once for one file; more only makes the server queue them.
_PAGES_AHEAD = 8
_INFO_WEIGHT, _TIME_WEIGHT, _FUTURES_INFO_WEIGHT = 20, 1, 1


class Rest:
    """
    The exchange's API, as far as market history needs it.

    Parameters
    ----------
    transport : Transport
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._spot_url = transport.settings.spot_url
        self._firsts: Once[int | None] = Once()
        self.notes: list[str] = []

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
        )
        try:
            info = await self._spot("/api/v3/exchangeInfo", ask, read_info)
        except UnknownSymbol:
            return False
        if info.limit is not None:
            self._transport.budget(self._spot_url, "spot").allow(*info.limit)
        return True

    async def symbols(self) -> tuple[str, ...]:
        """All spot symbols that trade today, in order of their names."""
        # Without the permissions the answer is a fraction of its ten MB.
        ask = partial(
            Ask,
            description="the list of symbols",
            params={"symbolStatus": "TRADING", "showPermissionSets": "false"},
            weight=_INFO_WEIGHT,
        )
        info = await self._spot("/api/v3/exchangeInfo", ask, read_info)
        return tuple(sorted(info.symbols))

    async def has_perpetual(self, symbol: str) -> bool:
        """Whether USD-M futures list *symbol*."""
        url = self._transport.settings.futures_url + "/fapi/v1/exchangeInfo"
        ask = Ask(url, f"perpetual {symbol}", weight=_FUTURES_INFO_WEIGHT, counter="futures")
        info = await self._transport.get(ask, read_info)
        if info.limit is not None:
            self._transport.budget(url, "futures").allow(*info.limit)
        return symbol in info.symbols

    async def first_ms(self, series: Series) -> int | None:
        """
        The stamp of the first row that the exchange has of *series*, asked for once; None without any.

        Spares the question for each month before a symbol was listed.
        """
        return await self._firsts.get(series, partial(self._ask_first, series))

    def knows_first(self, series: Series) -> bool:
        """Whether `first_ms` has its answer already."""
        return self._firsts.has(series)

    async def _ask_first(self, series: Series) -> int | None:
        # Trades begin with id 0 [binance-public-data#85]; the API wants times above 0.
        oldest = {"fromId": 0} if series.dataset.key == "id" else {"startTime": 1}
        page = await self._page(series, oldest, 0, None, limit=1)
        return int(stamps_ms(page)[0]) if page.num_rows else None

    def rows(self, series: Series, hole: Hole) -> AsyncIterator[Table]:
        """
        The rows of *series* that lie in *hole*, page by page, ascending.

        Parameters
        ----------
        series : Series
        hole : Hole
            For k-lines its end is that of the last candle wanted; for trades its
            ids, where it has them, are used to find both ends exactly.

        Yields
        ------
        pyarrow.Table

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

    async def _klines(self, series: Series, hole: Hole) -> AsyncIterator[Table]:
        calls = (
            partial(
                self._page,
                series,
                {"startTime": start_ms, "endTime": end_ms - 1},
                start_ms,
                end_ms,
            )
            for start_ms, end_ms in _kline_pages(series, hole)
        )
        async for page in in_order(calls, _PAGES_AHEAD):
            yield page

    async def _trades(self, series: Series, hole: Hole) -> AsyncIterator[Table]:
        first, last = await self._id_range(series, hole)
        size = series.dataset.rest_rows
        calls = (
            partial(self._id_page, series, hole, start, min(start + size, last + 1))
            for start in range(first, last + 1, size)
        )
        async for page in in_order(calls, _PAGES_AHEAD):
            yield page

    async def _events(self, series: Series, hole: Hole) -> AsyncIterator[Table]:
        start_ms = hole.start_ms
        while start_ms < hole.end_ms:
            params = {"startTime": start_ms, "endTime": hole.end_ms - 1}
            page = await self._page(series, params, start_ms, hole.end_ms)
            yield page
            if page.num_rows < series.dataset.rest_rows:
                return
            start_ms = int(stamps_ms(page)[-1]) + 1

    async def _id_range(self, series: Series, hole: Hole) -> tuple[int, int]:
        """First and last trade id of the hole; an empty range when it holds none."""
        window = {"startTime": hole.start_ms, "endTime": hole.end_ms - 1}
        first, last = hole.after_id, hole.before_id
        if first is None:
            page = await self._page(series, window, hole.start_ms, hole.end_ms, limit=1)
            if not page.num_rows:
                return 0, -1
            first = int(keys_of(series.dataset, page)[0]) - 1
        if last is None:
            # With an end alone the exchange answers with the newest before it.
            newest = {"endTime": hole.end_ms - 1}
            page = await self._page(series, newest, 0, hole.end_ms, limit=1)
            last = int(keys_of(series.dataset, page)[-1]) + 1 if page.num_rows else 0
        return first + 1, last - 1

    async def _id_page(self, series: Series, hole: Hole, first: int, end: int) -> Table:
        """Trades with ``first <= id < end``; what the exchange lacks of them is a hole of its own."""
        page = await self._page(series, {"fromId": first}, 0, None, limit=end - first)
        ids = keys_of(series.dataset, page)
        if len(ids) and ids[0] < first:
            msg = f"aggTrades of {series.symbol} from id {first} begin with {ids[0]}; nothing is stored"
            raise BadAnswer(msg)
        # Where ids are missing the page reaches beyond what was asked.
        inside = page.filter(pa.array(ids < end)) if len(ids) and ids[-1] >= end else page
        # The row before the hole may share its millisecond: there the ids decide.
        start_ms = 0 if hole.after_id is not None else hole.start_ms
        return between(inside, start_ms, hole.end_ms)

    async def _page(
        self,
        series: Series,
        window: dict[str, int],
        start_ms: int,
        end_ms: int | None,
        limit: int | None = None,
    ) -> Table:
        """One page, checked to hold only what was asked for."""
        dataset = series.dataset
        params: dict[str, str | int] = {"symbol": series.symbol}
        if series.interval is not None:
            params["interval"] = series.interval
        params |= {**window, "limit": limit or dataset.rest_rows}
        what = f"{dataset.label} of {series.symbol}"
        if limit == 1:
            what = f"a first or last row of {what}"
        elif "startTime" in window:
            what += f" from {utc(window['startTime']):%Y-%m-%d %H:%M}"
        micro = {"X-MBX-TIME-UNIT": "MICROSECOND"} if dataset.key == "id" else {}
        ask = partial(
            Ask,
            description=what,
            params=params,
            headers=micro,
            weight=dataset.rest_weight,
        )
        read = partial(_checked_page, dataset, dataset.rest_path, start_ms, end_ms)
        if dataset.market == "spot":
            return await self._spot(dataset.rest_path, ask, read)
        url = self._transport.settings.futures_url + dataset.rest_path
        return await self._transport.get(ask(url=url, counter="funding"), read)

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


def _checked_page(
    dataset: Dataset, origin: str, start_ms: int, end_ms: int | None, body: bytes
) -> Table:
    page = rows_of_json(dataset, body, origin)
    stamps = page["timestamp"]
    outside = pc.less(stamps, start_ms * 1000)
    if end_ms is not None:
        outside = pc.or_(outside, pc.greater_equal(stamps, end_ms * 1000))
    if pc.any(outside).as_py():
        msg = f"{origin} answered with rows that were not asked for; nothing is stored"
        raise BadAnswer(msg)
    return page
