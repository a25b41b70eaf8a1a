"""The recorded market: archive files byte for byte, and REST pages of the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property

import numpy as np

from ares_notebook.demo.grid import open_of
from ares_notebook.demo.market import MarketListing
from ares_notebook.demo.names import ms_of, period_of
from ares_notebook.demo.recording import RecordedSeries, Recording, Row, microseconds
from ares_notebook.demo.symbols import Road
from ares_notebook.demo.window import Window
from ares_notebook.demo.zips import pack

# A running recording ends with the last day that the archive has, a day or so ago.
_LATEST_END_US = 2 * 86_400_000_000
_QUOTES = ("USDT", "FDUSD", "USDC", "BUSD", "BTC", "ETH", "BNB", "USD")


class ReplayShelf:
    """Recorded files of the archive."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def folders(self) -> Iterable[str]:
        """Paths of the folders that have files in them, sorted."""
        return self._recording.keys

    def keys(self, folder: str, until: datetime) -> Iterator[str]:
        """Keys of a folder's zip files, sorted, up to the period of *until*."""
        for key in self._recording.keys[folder]:
            span = period_of(key)
            if span is None or span[0] <= until:
                yield key

    def size(self, key: str) -> int:
        """Bytes of a zip file."""
        body = self.build(key)
        return 0 if body is None else len(body)

    def build(self, key: str) -> bytes | None:
        """The zip file as recorded, or made around a recorded member."""
        if key in self._recording.files:
            return self._recording.files[key].read_bytes()
        if key not in self._recording.keys.get(key.rpartition("/")[0] + "/", []):
            return None
        member = key.rpartition("/")[2].removesuffix(".zip") + ".csv"
        return pack(member, lambda: [self._recording.text(key)])

    def checksum(self, key: str) -> bytes | None:
        """A recorded checksum file, or None where one is to be made."""
        path = self._recording.files.get(f"{key}.CHECKSUM")
        return None if path is None else path.read_bytes()


class ReplayMarket:
    """REST pages of recorded rows; numbers as they were recorded, times in the unit asked for."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def listings(self, road: Road, now_us: int) -> list[MarketListing]:
        """Symbols of which anything was recorded; one whose recording is over trades no more."""
        over_us = now_us - _LATEST_END_US
        return [
            _listing(symbol, is_trading=self._ends_us.get((road, symbol), now_us) > over_us)
            for symbol in self._recording.symbols[road]
        ]

    @cached_property
    def _ends_us(self) -> dict[tuple[Road, str], int]:
        """When the last recorded file of each symbol ends."""
        ends: dict[tuple[Road, str], int] = {}
        for folder, keys in self._recording.keys.items():
            road: Road = "um" if "/futures/" in folder else "spot"
            for symbol in self._recording.symbols[road]:
                spans = (period_of(key) for key in keys if f"/{symbol}/" in folder)
                for _, end in filter(None, spans):
                    end_us = ms_of(end) * 1_000
                    ends[road, symbol] = max(end_us, ends.get((road, symbol), end_us))
        return ends

    def klines(
        self, road: Road, symbol: str, interval: str, window: Window, *, now_us: int, micros: bool
    ) -> bytes:
        """A page of k-lines, as a JSON array."""
        page = self._page(RecordedSeries(road, "klines", symbol, interval), window, now_us)
        # The archive has candles off the grid (2018-02), and REST never has.
        page = [cells for cells in page if _is_on_grid(interval, microseconds(cells[0]))]
        return _array(_kline(cells, micros=micros) for cells in page)

    def agg_trades(
        self, road: Road, symbol: str, window: Window, *, now_us: int, micros: bool
    ) -> bytes:
        """A page of aggregate trades, as a JSON array."""
        table = self._recording.table(RecordedSeries(road, "aggTrades", symbol))
        chosen = window.rows(table.times_us, now_us)
        if window.from_id is not None:
            first = int(np.searchsorted(table.keys, window.from_id))
            chosen = slice(first, max(min(first + window.limit, chosen.stop), first))
        best = b',"M":true' if road == "spot" else b""
        return _array(_trade(cells, best, micros=micros) for cells in table.rows[chosen])

    def funding(self, symbol: str, window: Window, *, now_us: int) -> bytes:
        """A page of funding events, as a JSON array."""
        page = self._page(RecordedSeries("um", "fundingRate", symbol), window, now_us)
        name = symbol.encode()
        return _array(
            b'{"symbol":"%b","fundingTime":%b,"fundingRate":"%b","markPrice":""}'
            % (name, cells[0], cells[2])
            for cells in page
        )

    def _page(self, series: RecordedSeries, window: Window, now_us: int) -> list[Row]:
        """The rows of a series, keyed by time, that a window wants."""
        table = self._recording.table(series)
        return table.rows[window.rows(table.times_us, now_us)]


def _listing(symbol: str, *, is_trading: bool) -> MarketListing:
    """A symbol, parted into base and quote as well as its name tells."""
    quote = next((quote for quote in _QUOTES if symbol.endswith(quote)), "")
    return MarketListing(symbol, symbol.removesuffix(quote), quote, is_trading=is_trading)


def _is_on_grid(interval: str, opened_us: int) -> bool:
    """Whether a candle opens where those of its interval do."""
    return open_of(interval, opened_us // 1_000) * 1_000 == opened_us


def _kline(cells: Row, *, micros: bool) -> bytes:
    """A row of k-lines in JSON."""
    opened, closed = microseconds(cells[0]), microseconds(cells[6])
    if micros:
        # The last microsecond, where the recording has the last millisecond.
        closed += 999 if closed % 1_000 == 0 else 0
    scale = 1 if micros else 1_000
    times = (opened // scale, closed // scale)
    texts = (*cells[1:6], *cells[7:8], cells[8], *cells[9:12])
    form = b'[%d,"%b","%b","%b","%b","%b",%d,"%b",%b,"%b","%b","%b"]'
    return form % (times[0], *texts[:5], times[1], *texts[5:])


def _trade(cells: Row, best: bytes, *, micros: bool) -> bytes:
    """A row of aggregate trades in JSON."""
    number, price, quantity, first, last, time, maker = cells[:7]
    time_us = microseconds(time) // (1 if micros else 1_000)
    form = b'{"a":%b,"p":"%b","q":"%b","f":%b,"l":%b,"T":%d,"m":%b%b}'
    return form % (number, price, quantity, first, last, time_us, maker.lower(), best)


def _array(rows: Iterable[bytes]) -> bytes:
    """A JSON array of rows."""
    return b"[" + b",".join(rows) + b"]"
