"""The files of the synthetic archive: which there are, how large, and what is in them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache, partial
from typing import Protocol

from ares_notebook.demo import history, tape
from ares_notebook.demo.funding import funding_of
from ares_notebook.demo.grid import DAY, INTERVALS, MINUTE, open_of
from ares_notebook.demo.names import Folder, moment_of, ms_of, parse
from ares_notebook.demo.symbols import INSTRUMENTS, Road
from ares_notebook.demo.tape import DAY_MINUTES, Tape
from ares_notebook.demo.text import render, signed, whole
from ares_notebook.demo.zips import Chunks, pack

# Archive files of spot carry microseconds since then.
_MICROSECONDS_FROM_MS = 1_735_689_600_000
_ONLY_MONTHLY = ("3d", "1w", "1M")
_FUNDING_FROM = moment_of(1_577_836_800_000)

_SMALL_FILE_ROWS = 800
_CHUNK_TRADES = 65_536
_SAMPLES = 4
_MARGIN = 1.06
_FRAME = 800


class Shelf(Protocol):
    """Where the archive takes its files from."""

    def folders(self) -> Iterable[str]:
        """Paths of the folders that have files in them, sorted."""

    def keys(self, folder: str, until: datetime) -> Iterator[str]:
        """Keys of a folder's zip files, sorted, up to the period of *until*."""

    def size(self, key: str) -> int:
        """Bytes of a zip file."""

    def build(self, key: str) -> bytes | None:
        """The zip file, or None if there is none of that name."""

    def checksum(self, key: str) -> bytes | None:
        """A recorded checksum file, or None where one is to be made."""


class SyntheticShelf:
    """
    Archive files of the synthetic market, made when they are asked for.

    Parameters
    ----------
    trades_per_day : int
        Aggregate trades of a symbol on an ordinary day.
    """

    def __init__(self, trades_per_day: int) -> None:
        self._trades_per_day = trades_per_day
        self._folders = {folder.path: folder for folder in sorted_folders()}

    def folders(self) -> Iterable[str]:
        """Paths of the folders that have files in them, sorted."""
        return self._folders

    def keys(self, folder: str, until: datetime) -> Iterator[str]:
        """Keys of a folder's zip files, sorted, up to the period of *until*."""
        home = self._folders[folder]
        first, last = self._life(home)
        return home.keys(first, min(last, until))

    def size(self, key: str) -> int:
        """
        Bytes of a zip file, small ones measured, large ones announced.

        The announcement is rows times the compressed size of a row in a sample of that
        month, and a margin; `build` fills the file up to it. Three years of days can so be
        listed without making a thousand files.
        """
        folder, start, end = self._parsed(key)
        rows = self._rows(folder, start, end)
        if rows <= _SMALL_FILE_ROWS:
            return len(pack(_member(key), self._chunks(folder, start, end)))
        month = ms_of(start.replace(day=1))
        each = _bytes_a_row(
            self._tape(folder), folder.kind, _rest_interval(folder), month
        )
        return int(rows * each * _MARGIN) + _FRAME

    def build(self, key: str) -> bytes | None:
        """The zip file, or None if there is none of that name."""
        parsed = parse(key)
        if parsed is None or parsed[0].path not in self._folders:
            return None
        folder, start, end = parsed
        first, last = self._life(folder)
        if end <= first or start > last:
            return None
        return pack(_member(key), self._chunks(folder, start, end), self.size(key))

    def checksum(self, key: str) -> bytes | None:
        """None: all checksum files are made."""
        del key

    def _parsed(self, key: str) -> tuple[Folder, datetime, datetime]:
        """Folder and period of a key that is known to be good."""
        parsed = parse(key)
        if parsed is None:
            msg = f"{key} is not the key of an archive file"
            raise KeyError(msg)
        return parsed

    def _tape(self, folder: Folder) -> Tape:
        """The tape that a folder's files are cut from."""
        return Tape(INSTRUMENTS[folder.road][folder.symbol], self._trades_per_day)

    def _life(self, folder: Folder) -> tuple[datetime, datetime]:
        """First and last moment of which a folder has rows."""
        instrument = INSTRUMENTS[folder.road][folder.symbol]
        first_ms = instrument.first_minute * MINUTE
        if folder.kind == "fundingRate":
            first_ms = max(int(funding_of(instrument).time_ms[0]), ms_of(_FUNDING_FROM))
        elif folder.interval:
            # A candle lies in the file of the month that it opens in.
            first_ms = open_of(_rest_interval(folder), first_ms)
        return moment_of(first_ms), moment_of(instrument.end_minute * MINUTE - 1)

    def _rows(self, folder: Folder, start: datetime, end: datetime) -> int:
        """How many rows a file has, or would have without halts."""
        first_ms, end_ms = ms_of(start), ms_of(end)
        if folder.kind == "aggTrades":
            source = self._tape(folder)
            days = (first_ms // DAY, end_ms // DAY)
            low, high = (tape.first_id_of_day(source, day) for day in days)
            return high - low
        if folder.kind == "fundingRate":
            return 0
        return (end_ms - first_ms) // INTERVALS[_rest_interval(folder)]

    def _chunks(self, folder: Folder, start: datetime, end: datetime) -> Chunks:
        """The text of a file, in pieces."""
        span = (ms_of(start), ms_of(end))
        if folder.kind == "fundingRate":
            return lambda: [funding_text(folder.symbol, *span)]
        source = self._tape(folder)
        if folder.kind == "aggTrades":
            return partial(_trade_texts, source, *span)
        return partial(_kline_texts, source, _rest_interval(folder), *span)


def sorted_folders() -> list[Folder]:
    """All folders of the synthetic archive, in the order of their paths."""
    made = [
        Folder("um", "monthly", "fundingRate", symbol) for symbol in INSTRUMENTS["um"]
    ]
    road: Road = "spot"
    for symbol in INSTRUMENTS[road]:
        for cadence in ("daily", "monthly"):
            made.append(Folder(road, cadence, "aggTrades", symbol))
            made += [
                Folder(
                    road,
                    cadence,
                    "klines",
                    symbol,
                    "1mo" if interval == "1M" else interval,
                )
                for interval in INTERVALS
                if cadence == "monthly" or interval not in _ONLY_MONTHLY
            ]
    return sorted(made, key=lambda folder: folder.path)


def funding_text(symbol: str, first_ms: int, end_ms: int) -> bytes:
    """Text of a funding file: header, and the events of a period."""
    events = funding_of(INSTRUMENTS["um"][symbol])
    low, high = events.time_ms.searchsorted([first_ms, end_ms])
    page = events.cut(slice(low, high))
    columns = [
        whole(page.time_ms),
        b",",
        whole(page.hours),
        b",",
        signed(page.rate),
        b"\n",
    ]
    return b"calc_time,funding_interval_hours,last_funding_rate\n" + render(
        columns, len(page)
    )


def _kline_texts(
    source: Tape, interval: str, first_ms: int, end_ms: int
) -> Iterator[bytes]:
    """Text of a k-line file, 1s candles a day at a time."""
    step = DAY if interval == "1s" else end_ms - first_ms
    for low in range(first_ms, end_ms, step):
        page = history.candles(source, interval, low, low + step - 1)
        # A file has one unit, that of its first day.
        yield page.csv(
            source.instrument, interval, micros=first_ms >= _MICROSECONDS_FROM_MS
        )


def _trade_texts(source: Tape, first_ms: int, end_ms: int) -> Iterator[bytes]:
    """Text of a file of trades, a chunk at a time."""
    for day in range(first_ms // DAY, end_ms // DAY):
        low, high = (
            tape.first_id_of_day(source, day),
            tape.first_id_of_day(source, day + 1),
        )
        trades = tape.trades_between(source, low, high)
        for row in range(0, len(trades), _CHUNK_TRADES):
            page = trades.cut(row, row + _CHUNK_TRADES)
            yield page.csv(source.instrument, micros=first_ms >= _MICROSECONDS_FROM_MS)


@lru_cache(maxsize=4_096)
def _bytes_a_row(source: Tape, kind: str, interval: str, month_ms: int) -> float:
    """Compressed size of a row, by a sample from the middle of a month's life."""
    instrument = source.instrument
    alive = (
        max(month_ms, instrument.first_minute * MINUTE + DAY),
        min(month_ms + 28 * DAY, instrument.end_minute * MINUTE - DAY),
    )
    day = sum(alive) // 2 // DAY
    micros = month_ms >= _MICROSECONDS_FROM_MS
    texts = (
        _sampled_trades(source, day, micros=micros)
        if kind == "aggTrades"
        else _sampled_klines(source, interval, day, micros=micros)
    )
    rows = sum(text.count(b"\n") for text in texts)
    return sum(len(zlib.compress(text, 1)) for text in texts) / max(rows, 1)


def _sampled_trades(source: Tape, day: int, *, micros: bool) -> list[bytes]:
    """Some thousands of the trades of a day."""
    low, high = tape.first_id_of_day(source, day), tape.first_id_of_day(source, day + 1)
    starts = [
        low + (high - low) * (2 * n + 1) // (2 * _SAMPLES) for n in range(_SAMPLES)
    ]
    pages = [
        tape.trades_between(source, start, min(start + 700, high)) for start in starts
    ]
    return [page.csv(source.instrument, micros=micros) for page in pages]


def _sampled_klines(
    source: Tape, interval: str, day: int, *, micros: bool
) -> list[bytes]:
    """Some hundreds of k-lines of the days from one on."""
    length = INTERVALS[interval]
    if interval == "1s":
        spans = [(day * DAY + hour * 3_600_000, 600_000) for hour in (1, 7, 13, 19)]
    else:
        spans = [(day * DAY, max(DAY, _SMALL_FILE_ROWS * length))]
    pages = [
        history.candles(source, interval, low, low + span - 1) for low, span in spans
    ]
    return [page.csv(source.instrument, interval, micros=micros) for page in pages]


def _rest_interval(folder: Folder) -> str:
    """A folder's interval, as REST spells it."""
    return "1M" if folder.interval == "1mo" else folder.interval or ""


def _member(key: str) -> str:
    """Name of the one member of a zip file."""
    return key.rpartition("/")[2].removesuffix(".zip") + ".csv"
