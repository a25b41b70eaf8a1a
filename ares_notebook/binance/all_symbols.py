"""
Rows of all symbols at once, where the API has such pages: one request stands for hundreds.

Of funding rates 230 symbols would else draw each night on a pool of 400 requests in five minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from functools import partial

import msgspec

from ares_notebook.binance.api import Api
from ares_notebook.binance.http import Ask
from ares_notebook.errors import BadAnswer, DataError, TransportError
from ares_notebook.formatting import refused
from ares_notebook.model.files import Series
from ares_notebook.model.time import DAY_MS, utc

_LOGGER = logging.getLogger("DataDownloader")
# A page of one symbol reaches over months, one of all over hours.
_MOST_DAYS = 2
_HOUR_MS = 3_600_000
# The longest wait between two payments: a symbol that trades has one in it.
_LONGEST_WAIT_MS = 8 * _HOUR_MS


class _Event(msgspec.Struct):
    """What tells the rows of a page apart."""

    symbol: str
    stamp_ms: int = msgspec.field(name="fundingTime")


class AllSymbols:
    """The newest rows of all symbols of a dataset, by symbol; asked for as far back as is needed."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = asyncio.Lock()
        self._is_of_use = True
        # What has been asked for, half-open.
        self._from_ms = self._until_ms = 0
        self._rows: dict[str, dict[int, bytes]] = defaultdict(dict)

    async def newest(self, series: Series, start_ms: int) -> bytes | None:
        """
        The rows of a symbol from shortly before *start_ms* to now, as a page of JSON.

        None where that is too long ago, and where the pages do not have the symbol: then it must be
        asked for alone.
        """
        async with self._lock:
            await self._api.hear_clock()
            now_ms = self._api.now_ms
            if start_ms < now_ms - _MOST_DAYS * DAY_MS:
                return None
            if self._is_of_use:
                await self._reach(
                    series, start_ms // _HOUR_MS * _HOUR_MS - _LONGEST_WAIT_MS, now_ms
                )
        rows = self._rows.get(series.symbol, {})
        if not self._is_of_use or not rows:
            return None
        return b"[" + b",".join(rows[stamp] for stamp in sorted(rows)) + b"]"

    async def _reach(self, series: Series, from_ms: int, now_ms: int) -> None:
        """Ask for what is not known yet, on either side."""
        try:
            if not self._until_ms:
                self._from_ms = self._until_ms = from_ms
            if from_ms < self._from_ms:
                await self._ask(series, from_ms, self._from_ms)
                self._from_ms = from_ms
            # What is paid within this hour comes in its first seconds.
            if now_ms // _HOUR_MS > self._until_ms // _HOUR_MS:
                await self._ask(series, self._until_ms, now_ms)
                self._until_ms = now_ms
        except (TransportError, DataError) as error:
            _LOGGER.info("no pages of all symbols, so each is asked for alone: %s", error)
            self._is_of_use = False

    async def _ask(self, series: Series, start_ms: int, end_ms: int) -> None:
        most = series.dataset.rest_rows
        while start_ms < end_ms:
            page = await self._page(series, start_ms, end_ms)
            for event, row in page:
                self._rows[event.symbol][event.stamp_ms] = row
            if len(page) < most:
                return
            # The next page begins with the last moment of this one, of which it may have only a part.
            last_ms = page[-1][0].stamp_ms
            if last_ms == start_ms:
                msg = f"more than {most} rows of one moment, {utc(start_ms):%Y-%m-%d %H:%M}"
                raise BadAnswer(msg)
            start_ms = last_ms

    async def _page(self, series: Series, start_ms: int, end_ms: int) -> list[tuple[_Event, bytes]]:
        dataset = series.dataset
        ask = partial(
            Ask,
            description=f"{dataset.label} of all symbols from {utc(start_ms):%Y-%m-%d %H:%M}",
            params={"startTime": start_ms, "endTime": end_ms - 1, "limit": dataset.rest_rows},
            weight=dataset.rest_weight(dataset.rest_rows),
        )
        read = partial(_events_of, self._api.url_of(series), start_ms, end_ms)
        return await self._api.ask(series.market, dataset.path_name, ask, read, dataset.rest_pool)


def _events_of(url: str, start_ms: int, end_ms: int, body: bytes) -> list[tuple[_Event, bytes]]:
    try:
        rows = [bytes(row) for row in msgspec.json.decode(body, type=list[msgspec.Raw])]
        page = [(msgspec.json.decode(row, type=_Event), row) for row in rows]
    except msgspec.MsgspecError as error:
        fault = f"the answer is not in the exchange's format ({error})"
        raise BadAnswer(refused(url, fault)) from error
    stamps = [event.stamp_ms for event, _ in page]
    if stamps != sorted(stamps) or any(not start_ms <= stamp < end_ms for stamp in stamps):
        raise BadAnswer(refused(url, "it answered with rows out of order, or not asked for"))
    return page
