"""
Rows over the exchange's REST API: pages of them, and the beginning and end of a history.

Candles are paged by open time, trades by ``fromId`` (many share a millisecond, so paging by time
would lose or repeat some), funding by the last timestamp plus one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ares_notebook.binance.all_symbols import AllSymbols
from ares_notebook.binance.api import Api
from ares_notebook.binance.csv_tables import on_grid
from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.parse import lines_of_json
from ares_notebook.errors import BadAnswer, NotFound
from ares_notebook.formatting import refused
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import Series
from ares_notebook.model.markets import FEW_SYMBOLS
from ares_notebook.model.rows import Lines
from ares_notebook.model.time import DAY_MS, INTERVALS, next_open_ms, opens_between, utc
from ares_notebook.runtime.tasks import Memoized, in_order

_Mask = npt.NDArray[np.bool_]

# Pages of one file in flight among others; a file that is alone may use all slots.
_PAGES_AHEAD = 8
# Trade ids ascend, and timestamps nearly so: in 2017 some go back by a second.
_DISORDER_US = 600_000_000
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class FirstRow:
    """The first row of a history."""

    stamp_ms: int
    # The id of a trade.
    key: int


class Rest(Api):
    """A client of the exchange's REST API: rows, and where a history begins and ends."""

    def __init__(self, transport: Transport, symbols: int = 1) -> None:
        super().__init__(transport, symbols)
        self._of_all: dict[Dataset, AllSymbols] = {}
        self._firsts: Memoized[FirstRow | None] = Memoized()
        self._lasts: Memoized[int | None] = Memoized()
        self._paces: Memoized[int | None] = Memoized()
        self._moments: Memoized[tuple[Lines, Lines]] = Memoized()
        # The earliest and the latest timestamp received of each series: its history begins no
        # later, and ends no earlier.
        self._earliest_ms: dict[Series, int] = {}
        self._latest_ms: dict[Series, int] = {}
        # Gaps, by the ids on either side: at the edge of a day where the ids continue in the next
        # one, and those whose trades are stamped on another day.
        self._continued: set[tuple[Series, int | None, int | None]] = set()
        self._elsewhere: set[tuple[Series, int | None, int | None]] = set()
        self._files_paged = 0

    # --- the beginning and the end of a history ---

    async def first_row(self, series: Series) -> FirstRow | None:
        """
        The first row that the API has of *series*, asked for once; None without any.

        The API's history may begin later than the exchange's: unless the row is a trade of id 0,
        it proves nothing about the time before.
        """
        return await self._firsts.get(series, partial(self._ask_first, series))

    def knows_first(self, series: Series) -> bool:
        """Whether `first_row` needs no request."""
        return self._firsts.has(series)

    def knows_last(self, series: Series) -> bool:
        """Whether the newest row has been asked for."""
        return self._lasts.has(series)

    def has_served(self, series: Series) -> bool:
        """Whether the API has had rows of *series* in this run."""
        return series in self._latest_ms

    async def begins_before(self, series: Series, moment_ms: int) -> bool:
        """Whether the API has a row of *series* that is earlier than a moment."""
        if self._earliest_ms.get(series, moment_ms) < moment_ms:
            return True
        first = await self.first_row(series)
        return first is not None and first.stamp_ms < moment_ms

    async def ends_before(self, series: Series, moment_ms: int) -> bool:
        """Whether the API shows its last row of *series*, and that is before a moment."""
        if self._latest_ms.get(series, -1) >= moment_ms:
            return False
        last_ms = await self._lasts.get(series, partial(self._ask_last, series))
        return last_ms is not None and last_ms < moment_ms

    async def reaches(self, series: Series, moment_ms: int) -> bool:
        """Whether the API has a row of *series* from a moment on; one that shows no last row does not."""
        if self._latest_ms.get(series, -1) < moment_ms:
            await self._lasts.get(series, partial(self._ask_last, series))
        return self._latest_ms.get(series, -1) >= moment_ms

    async def first_pace_ms(self, series: Series) -> int | None:
        """The interval of the first payments of *series*, asked for once; None without two equal ones."""
        return await self._paces.get(series, partial(self._ask_pace, series))

    async def _ask_pace(self, series: Series) -> int | None:
        page = await self.page(series, {"startTime": 1}, within(0), limit=3)
        hours = np.unique(np.diff(page.stamps_us // _HOUR_US))
        return int(hours[0]) * _HOUR_US // 1000 if len(page) > 2 and len(hours) == 1 else None  # noqa: PLR2004

    async def _ask_first(self, series: Series) -> FirstRow | None:
        # Trades begin with id 0 [binance-public-data#85]; the API requires times above 0.
        if series.interval and series.market.most_window_ms:
            return await self._search_first(series)
        oldest = {"fromId": 0} if series.dataset.key == "id" else {"startTime": 1}
        page = await self.page(series, oldest, within(0), limit=1)
        return FirstRow(int(page.stamps_us[0]) // 1000, int(page.keys[0])) if len(page) else None

    async def _search_first(self, series: Series) -> FirstRow | None:
        """The first candle, where a page reaches over a window only: window by window, then day by day."""
        size_ms, start_ms = series.market.most_window_ms, series.market.began_ms
        is_short = 0 < INTERVALS[series.interval or ""] < DAY_MS
        days = Series(series.dataset, series.symbol, "1d") if is_short else series
        page = Lines.none()
        while not len(page) and start_ms < self.now_ms:
            page = await self._window(days, start_ms, start_ms + size_ms)
            start_ms += size_ms
        if is_short and len(page):
            first_ms = int(page.stamps_us[0]) // 1000
            page = await self._window(series, first_ms, first_ms + DAY_MS)
        return FirstRow(int(page.stamps_us[0]) // 1000, int(page.keys[0])) if len(page) else None

    async def _window(self, series: Series, start_ms: int, end_ms: int) -> Lines:
        """All candles of a window that fits on the largest page."""
        window = {"startTime": start_ms, "endTime": end_ms - 1}
        most = series.dataset.rest_weights[-1][0]
        return await self.page(series, window, within(start_ms, end_ms), limit=most)

    async def _ask_last(self, series: Series) -> int | None:
        page = await self.page(series, {}, within(0), limit=1)
        return int(page.stamps_us[-1]) // 1000 if len(page) else None

    def is_elsewhere(self, series: Series, gap: Gap) -> bool:
        """Whether trades between the ids of *gap* were received, stamped on another day."""
        return (series, gap.after_id, gap.before_id) in self._elsewhere

    def runs_on(self, series: Series, gap: Gap) -> bool:
        """Whether a request has shown that the trade ids continue over a gap at the edge of a day."""
        return (series, gap.after_id, gap.before_id) in self._continued

    # --- rows ---

    def lines(self, series: Series, gap: Gap) -> AsyncIterator[Lines]:
        """The rows in *gap* as lines of a cache file, page by page, ascending."""
        if not series.dataset.has_rest:
            raise NotFound(series.dataset.archive_alone)
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
        """The page without a last candle that is still open by the exchange's clock."""
        if not len(page):
            return page
        end_ms = next_open_ms(series.interval or "", int(page.stamps_us[-1]) // 1000)
        return page if end_ms <= self.now_ms else page.only(page.keys < page.keys[-1])

    async def _events(self, series: Series, gap: Gap) -> AsyncIterator[Lines]:
        if (newest := await self._newest_of_all(series, gap.start_ms)) is not None:
            yield newest.between(gap.start_ms, gap.end_ms)
            return
        start_ms = gap.start_ms
        while start_ms < gap.end_ms:
            params = {"startTime": start_ms, "endTime": gap.end_ms - 1}
            page = await self.page(series, params, within(start_ms, gap.end_ms))
            yield page
            if len(page) < series.dataset.rest_rows:
                return
            start_ms = int(page.stamps_us[-1]) // 1000 + 1

    async def _newest_of_all(self, series: Series, start_ms: int) -> Lines | None:
        """The rows of *series* up to now on pages of all symbols; None if it must be asked for alone."""
        if not series.dataset.rest_pool or self.symbols_expected <= FEW_SYMBOLS:
            return None
        pages = self._of_all.setdefault(series.dataset, AllSymbols(self))
        body = await pages.newest(series, start_ms)
        if body is None:
            return None
        rows = lines_of_json(series, body, self.url_of(series))
        self._note_times(series, rows)
        # Nothing is behind the last of them, so that it need not be asked for.
        self._lasts.put(series, int(rows.stamps_us[-1]) // 1000)
        return rows

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

    async def _id_range(self, series: Series, gap: Gap) -> tuple[int, int]:
        """First and last trade id of the gap; an empty range if it holds none."""
        first, last = gap.after_id, gap.before_id
        if first is not None and last is not None:
            return first + 1, last - 1
        if last is not None:
            return await self._first_id(series, gap, last), last - 1
        if first is not None:
            return first + 1, await self._last_id(series, gap, first)
        oldest = await self._oldest(series, gap)
        if not len(oldest):
            # An earlier trade shows that the API's history does not begin later.
            await self._newest(series, gap.start_ms)
            return 0, -1
        newest = await self._newest(series, gap.end_ms)
        return int(oldest.keys[0]), int(newest.keys[-1]) if len(newest) else -1

    async def _first_id(self, series: Series, gap: Gap, before_id: int) -> int:
        """The first id in the gap; *before_id* if the ids continue from an earlier day."""
        if before_id == 0:
            # No trade precedes the first.
            self._continued.add((series, None, before_id))
            return before_id
        page = await self.page(series, {"fromId": before_id - 1}, within(0), limit=1)
        is_next = bool(len(page)) and int(page.keys[0]) == before_id - 1
        if is_next and int(page.stamps_us[0]) < gap.start_ms * 1000:
            self._continued.add((series, None, before_id))
            return before_id
        if not is_next:
            # The previous id is unused, or the history begins here: an earlier trade decides.
            await self._newest(series, gap.start_ms)
        oldest = await self._oldest(series, gap)
        return min(before_id, int(oldest.keys[0])) if len(oldest) else before_id

    async def _last_id(self, series: Series, gap: Gap, after_id: int) -> int:
        """The last id in the gap; *after_id* if the next trade is of a later day."""
        page = await self.page(series, {"fromId": after_id + 1}, within(0), limit=1)
        if not len(page) or int(page.stamps_us[0]) >= gap.end_ms * 1000:
            if len(page) and int(page.keys[0]) == after_id + 1:
                self._continued.add((series, after_id, None))
            return after_id
        newest = await self._newest(series, gap.end_ms)
        return int(newest.keys[-1]) if len(newest) else after_id

    async def _oldest(self, series: Series, gap: Gap) -> Lines:
        """The oldest row of a gap, if any."""
        if not series.market.has_trades_by_time:
            _, found = await self._around(series, gap.start_ms)
            return found.between(gap.start_ms, gap.end_ms)
        window = {"startTime": gap.start_ms, "endTime": gap.end_ms - 1}
        return await self.page(series, window, within(gap.start_ms, gap.end_ms), limit=1)

    async def _newest(self, series: Series, end_ms: int) -> Lines:
        """The newest row before a moment, if any."""
        if not series.market.has_trades_by_time:
            return (await self._around(series, end_ms))[0]
        return await self.page(series, {"endTime": end_ms - 1}, within(0, end_ms), limit=1)

    async def _around(self, series: Series, moment_ms: int) -> tuple[Lines, Lines]:
        """The last trade before a moment and the first from it on, found by halving the ids."""
        return await self._moments.get(
            (series, moment_ms), partial(self._search_around, series, moment_ms)
        )

    async def _search_around(self, series: Series, moment_ms: int) -> tuple[Lines, Lines]:
        oldest = await self.page(series, {"fromId": 0}, within(0), limit=1)
        if not len(oldest) or int(oldest.stamps_us[0]) >= moment_ms * 1000:
            return Lines.none(), oldest
        newest = await self.page(series, {}, within(0), limit=1, least=1)
        if int(newest.stamps_us[-1]) < moment_ms * 1000:
            return newest, Lines.none()
        before, after = oldest, newest
        low, high = int(oldest.keys[0]), int(newest.keys[-1])
        while high - low > 1:
            middle = (low + high) // 2
            # Of an id that is not used the next one comes.
            page = await self.page(series, {"fromId": middle}, within(0), limit=1, least=1)
            if int(page.stamps_us[0]) < moment_ms * 1000:
                before, low = page, int(page.keys[0])
            else:
                after, high = page, middle
        return before, after

    async def _id_page(self, series: Series, gap: Gap, last: int, first: int) -> Lines:
        """A page of trades of a gap, from id *first* on; ids that the exchange lacks are skipped."""
        end = min(first + series.dataset.rest_rows, last + 1)

        def is_requested(page: Lines) -> _Mask:
            # A trade behind the last id is about as late as the end of the gap.
            is_behind = page.stamps_us >= (gap.end_ms - 1) * 1000 - _DISORDER_US
            return (page.keys >= first) & ((page.keys <= last) | is_behind)

        # Up to *last* there are trades: an answer, or the row behind the gap, has shown one.
        page = await self.page(series, {"fromId": first}, is_requested, limit=end - first, least=1)
        # Where ids are missing the page reaches beyond the requested ones.
        page = page.only(page.keys < end)
        # Next to a known trade the ids alone decide, since timestamps need not ascend with them.
        # But a trade of another day belongs in the file of that day.
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
        is_requested: Callable[[Lines], _Mask],
        limit: int | None = None,
        least: int = 0,
    ) -> Lines:
        """One page of *least* so many rows, all of which must be requested ones."""
        dataset, url = series.dataset, self.url_of(series)
        ask = _page_of(series, {**window, "limit": limit or dataset.rest_rows})
        read = partial(_checked_page, series, url, is_requested, least)
        page = await self.ask(series.market, dataset.path_name, ask, read, dataset.rest_pool)
        self._note_times(series, page)
        return page

    def _note_times(self, series: Series, page: Lines) -> None:
        if len(page):
            first_ms = int(page.stamps_us.min()) // 1000
            last_ms = int(page.stamps_us.max()) // 1000
            self._earliest_ms[series] = min(first_ms, self._earliest_ms.get(series, first_ms))
            self._latest_ms[series] = max(last_ms, self._latest_ms.get(series, last_ms))


def _kline_pages(series: Series, gap: Gap) -> Iterator[tuple[int, int]]:
    """Windows ``[start_ms, end_ms)`` of at most a page of candles each."""
    opens = opens_between(series.interval or "", gap.start_ms, gap.end_ms)
    size = series.dataset.rest_rows
    if series.market.most_window_ms:
        # Nor may a page be longer than the longest window.
        step_ms = INTERVALS[series.interval or ""] or 31 * DAY_MS
        size = max(1, min(size, series.market.most_window_ms // step_ms))
    for at in range(0, len(opens), size):
        end_ms = opens[at + size] if at + size < len(opens) else gap.end_ms
        yield (gap.start_ms if at == 0 else opens[at]), end_ms


def within(start_ms: int, end_ms: int | None = None) -> Callable[[Lines], _Mask]:
    """A function that marks the rows with ``start_ms <= timestamp < end_ms``."""

    def is_within(page: Lines) -> _Mask:
        is_early_enough = end_ms is None or page.stamps_us < end_ms * 1000
        return (page.stamps_us >= start_ms * 1000) & is_early_enough

    return is_within


def _page_of(series: Series, window: dict[str, int]) -> Callable[..., Ask]:
    """A request for a page of *series* that lacks its URL and counter."""
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
        params={dataset.rest_symbol_parameter: series.symbol, **interval, **window},
        headers=micro,
        weight=dataset.rest_weight(window["limit"]),
    )


def _checked_page(
    series: Series, url: str, is_requested: Callable[[Lines], _Mask], least: int, body: bytes
) -> Lines:
    page = lines_of_json(series, body, url)
    fault = ""
    if len(page) < least:
        fault = "it answered with no row, where an earlier answer had some"
    elif not np.all(is_requested(page)):
        fault = "it answered with rows that were not asked for"
    # Only old files of the archive have candles off the grid (December 2017, February 2018).
    elif series.interval and not np.all(on_grid(series.interval, page.stamps_us // 1000)):
        fault = f"it answered with candles that open off the grid of {series.interval}"
    if fault:
        raise BadAnswer(refused(url, fault))
    return page
