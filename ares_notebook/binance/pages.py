"""
Pages of rows of the API.

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

from ares_notebook.binance.csv_tables import on_grid
from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.parse import lines_of_json
from ares_notebook.errors import BadAnswer, RegionBlocked
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import Series
from ares_notebook.model.lines import Lines
from ares_notebook.model.time import DAY_MS, next_open_ms, opens_between, utc
from ares_notebook.runtime.tasks import in_order

__all__ = ["Pages", "within"]

_LOGGER = logging.getLogger("DataDownloader")
_T = TypeVar("_T")
_Marks = npt.NDArray[np.bool_]

# Pages under way at once for a file among others; one that is alone may have all places.
_PAGES_AHEAD = 8
# Ids ascend, and stamps nearly so: in 2017 some go back by a second.
_DISORDER_US = 600_000_000


class Pages:
    """Rows of the API, page by page, and what they tell of its history."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._spot_url = transport.settings.spot_url
        # The earliest and the latest row that were heard of a series: its history begins no
        # later, and ends no earlier.
        self.reach_ms: dict[Series, int] = {}
        self.latest_ms: dict[Series, int] = {}
        # Edges of days of trades over which the ids run on, as a look has shown.
        self._joined: set[tuple[Series, int | None, int | None]] = set()
        # Pairs of ids between which lie trades that are stamped on another day.
        self._elsewhere: set[tuple[Series, int | None, int | None]] = set()
        self._files_paged = 0
        self.notes: list[str] = []

    @property
    def now_ms(self) -> int:
        """Now, never later than the exchange says."""
        return self.transport.clock.now_ms()

    def is_elsewhere(self, series: Series, gap: Gap) -> bool:
        """Whether what lies between two ids was shown, and is stamped on another day."""
        return (series, gap.after_id, gap.before_id) in self._elsewhere

    def runs_on(self, series: Series, gap: Gap) -> bool:
        """Whether a look has shown that the trade ids run on over a gap at the edge of a day."""
        return (series, gap.after_id, gap.before_id) in self._joined

    def lines(self, series: Series, gap: Gap) -> AsyncIterator[Lines]:
        """
        The rows of *series* that lie in *gap* as lines of a cache file, page by page, ascending.
        """
        match series.dataset.key:
            case "open_time":
                return self._klines(series, gap)
            case "id":
                return self._trades(series, gap)
            case "event_time":
                return self._events(series, gap)

    async def _klines(self, series: Series, gap: Gap) -> AsyncIterator[Lines]:
        calls = (
            partial(
                self.page,
                series,
                {"startTime": start_ms, "endTime": end_ms - 1},
                within(start_ms, end_ms),
            )
            for start_ms, end_ms in _kline_pages(series, gap)
        )
        async for page in self._paged(calls):
            yield self._closed(series, page)

    def _closed(self, series: Series, page: Lines) -> Lines:
        """Without a last candle that the exchange has not closed yet, whatever our own clock says."""
        if not len(page):
            return page
        end_ms = next_open_ms(series.interval or "", int(page.stamps_us[-1]) // 1000)
        return page if end_ms <= self.now_ms else page.only(page.keys < page.keys[-1])

    async def _trades(self, series: Series, gap: Gap) -> AsyncIterator[Lines]:
        first, last = await self._id_range(series, gap)
        calls = (
            partial(self._id_page, series, gap, last, start)
            for start in range(first, last + 1, series.dataset.rest_rows)
        )
        async for page in self._paged(calls):
            yield page

    async def _paged(self, calls: Iterable[Callable[[], Awaitable[Lines]]]) -> AsyncIterator[Lines]:
        self._files_paged += 1
        share = self.transport.settings.max_concurrency // self._files_paged
        try:
            async for page in in_order(calls, max(_PAGES_AHEAD, share)):
                yield page
        finally:
            self._files_paged -= 1

    async def _events(self, series: Series, gap: Gap) -> AsyncIterator[Lines]:
        start_ms = gap.start_ms
        while start_ms < gap.end_ms:
            params = {"startTime": start_ms, "endTime": gap.end_ms - 1}
            page = await self.page(series, params, within(start_ms, gap.end_ms))
            yield page
            if len(page) < series.dataset.rest_rows:
                return
            start_ms = int(page.stamps_us[-1]) // 1000 + 1

    async def _id_range(self, series: Series, gap: Gap) -> tuple[int, int]:
        """First and last trade id of the gap; an empty range when it holds none."""
        first, last = gap.after_id, gap.before_id
        if first is not None and last is not None:
            return first + 1, last - 1
        if last is not None:
            return await self._first_id(series, gap, last), last - 1
        if first is not None:
            return first + 1, await self._last_id(series, gap, first)
        oldest = await self._look(series, gap.start_ms, gap.end_ms)
        if not len(oldest):
            # A trade before shows that the API's history does not begin later.
            await self._newest(series, gap.start_ms)
            return 0, -1
        newest = await self._newest(series, gap.end_ms)
        return int(oldest.keys[0]), int(newest.keys[-1]) if len(newest) else -1

    async def _first_id(self, series: Series, gap: Gap, before_id: int) -> int:
        """The first id of the gap before a trade: where the ids run on from an earlier day, that trade's own."""
        if before_id == 0:
            # There is no trade before the first.
            self._joined.add((series, None, before_id))
            return before_id
        page = await self.page(series, {"fromId": before_id - 1}, within(0), limit=1)
        is_next = bool(len(page)) and int(page.keys[0]) == before_id - 1
        if is_next and int(page.stamps_us[0]) < gap.start_ms * 1000:
            self._joined.add((series, None, before_id))
            return before_id
        if not is_next:
            # The id before is not used, or the history begins here: an earlier trade tells.
            await self._newest(series, gap.start_ms)
        oldest = await self._look(series, gap.start_ms, gap.end_ms)
        return min(before_id, int(oldest.keys[0])) if len(oldest) else before_id

    async def _last_id(self, series: Series, gap: Gap, after_id: int) -> int:
        """The last id of the gap behind a trade: that trade's own where the next one is of a later day."""
        page = await self.page(series, {"fromId": after_id + 1}, within(0), limit=1)
        if not len(page) or int(page.stamps_us[0]) >= gap.end_ms * 1000:
            if len(page) and int(page.keys[0]) == after_id + 1:
                self._joined.add((series, after_id, None))
            return after_id
        newest = await self._newest(series, gap.end_ms)
        return int(newest.keys[-1]) if len(newest) else after_id

    async def _look(self, series: Series, start_ms: int, end_ms: int) -> Lines:
        """The oldest row of a window, if there is any."""
        window = {"startTime": start_ms, "endTime": end_ms - 1}
        return await self.page(series, window, within(start_ms, end_ms), limit=1)

    async def _newest(self, series: Series, end_ms: int) -> Lines:
        """The newest row before a moment, if there is any: what an end alone is answered with."""
        return await self.page(series, {"endTime": end_ms - 1}, within(0, end_ms), limit=1)

    def _hear_of(self, series: Series, stamp_ms: int) -> None:
        self.reach_ms[series] = min(stamp_ms, self.reach_ms.get(series, stamp_ms))

    async def _id_page(self, series: Series, gap: Gap, last: int, first: int) -> Lines:
        """Trades of a gap, from id *first* on; what the exchange lacks of them is a gap of its own."""
        end = min(first + series.dataset.rest_rows, last + 1)

        def can_be(page: Lines) -> _Marks:
            # What comes behind the gap's last id is about as late as the gap's end.
            is_behind = page.stamps_us >= (gap.end_ms - 1) * 1000 - _DISORDER_US
            return (page.keys >= first) & ((page.keys <= last) | is_behind)

        # Up to *last* there are trades: the exchange, or the row behind the gap, has told of one.
        page = await self.page(series, {"fromId": first}, can_be, limit=end - first, least=1)
        # Where ids are missing the page reaches beyond what was asked.
        page = page.only(page.keys < end)
        # Beside a trade that is there the ids alone decide: stamps need not ascend with them. But
        # a trade of another day is in the file of that day.
        start_ms, end_ms = gap.start_ms, gap.end_ms
        if gap.after_id is not None:
            start_ms = start_ms // DAY_MS * DAY_MS
        if gap.before_id is not None:
            end_ms = -(-end_ms // DAY_MS) * DAY_MS
        own = page.between(start_ms, end_ms)
        if len(own) < len(page) and gap.after_id is not None and gap.before_id is not None:
            self._elsewhere.add((series, gap.after_id, gap.before_id))
        return own

    async def page(
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
            page = await self.ask_spot(dataset.rest_path, ask, read)
        else:
            page = await self.transport.get(ask(url=url, counter="funding"), read)
        if len(page):
            self._hear_of(series, int(page.stamps_us.min()) // 1000)
            latest_ms = int(page.stamps_us.max()) // 1000
            self.latest_ms[series] = max(latest_ms, self.latest_ms.get(series, latest_ms))
        return page

    def url_of(self, series: Series) -> str:
        """The address that is asked for rows of *series*."""
        is_spot = series.dataset.market == "spot"
        host = self._spot_url if is_spot else self.transport.settings.futures_url
        return host + series.dataset.rest_path

    async def ask_spot(self, path: str, ask: Callable[..., Ask], read: Callable[[bytes], _T]) -> _T:
        """Ask the spot API; where it is closed to this region, the market-data host."""
        asked = self._spot_url
        try:
            return await self.transport.get(ask(url=asked + path, counter="spot"), read)
        except RegionBlocked:
            # Pages that were under way find the other host already chosen.
            fallback = self.transport.settings.spot_fallback_url
            if asked == fallback:
                raise
            self._note(f"{asked} is closed to this region (451); going on over {fallback}")
            self._spot_url = fallback
        return await self.transport.get(ask(url=self._spot_url + path, counter="spot"), read)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
            _LOGGER.warning("%s", note)


def _kline_pages(series: Series, gap: Gap) -> Iterator[tuple[int, int]]:
    """Windows ``[start, end)`` of at most a page of candles each."""
    opens = opens_between(series.interval or "", gap.start_ms, gap.end_ms)
    size = series.dataset.rest_rows
    for at in range(0, len(opens), size):
        end_ms = opens[at + size] if at + size < len(opens) else gap.end_ms
        yield (gap.start_ms if at == 0 else opens[at]), end_ms


def within(start_ms: int, end_ms: int | None = None) -> Callable[[Lines], _Marks]:
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
