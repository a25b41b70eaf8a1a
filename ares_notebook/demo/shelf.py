"""The files of the synthetic archive: which there are, how large, and how they are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache, partial
from itertools import chain
from typing import Protocol

from ares_notebook.demo.funding import funding_of
from ares_notebook.demo.grid import INTERVALS, MINUTE, open_of
from ares_notebook.demo.members import funding_text, kline_texts, trade_texts
from ares_notebook.demo.names import Folder, moment_of, ms_of, parse
from ares_notebook.demo.schedule import Tape
from ares_notebook.demo.sizes import kline_size, trade_size
from ares_notebook.demo.symbols import INSTRUMENTS, Instrument, Road, minute_of
from ares_notebook.demo.zips import Chunks, pack

_ONLY_MONTHLY = ("3d", "1w", "1M")
_FUNDING_FROM_MS = minute_of("2020-01-01") * MINUTE
# The perpetuals' candles begin there, though the oldest of them is older.
_UM_KLINES_FROM_MS = minute_of("2019-12-31") * MINUTE
_UM_HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)


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
    """Archive files of the synthetic market, made when they are asked for."""

    def __init__(self, trades_per_day: int) -> None:
        self._trades_per_day = trades_per_day
        self._folders = {folder.path: folder for folder in _sorted_folders()}

    def folders(self) -> Iterable[str]:
        """Paths of the folders that have files in them, sorted."""
        return self._folders

    def keys(self, folder: str, until: datetime) -> Iterator[str]:
        """Keys of a folder's zip files, sorted, up to the period of *until*."""
        home = self._folders[folder]
        first, last = _life(home)
        return home.keys(first, min(last, until))

    def size(self, key: str) -> int:
        """Bytes of a zip file: announced (see `sizes`), but for the small ones of funding."""
        return _size(key, self._trades_per_day)

    def build(self, key: str) -> bytes | None:
        """The zip file, or None if there is none of that name."""
        parsed = parse(key)
        if parsed is None or parsed[0].path not in self._folders:
            return None
        folder, start, end = parsed
        first, last = _life(folder)
        if end <= first or start > last:
            return None
        source = _tape(folder, self._trades_per_day)
        chunks = _chunks(folder, source, ms_of(start), ms_of(end))
        return pack(_member(key), chunks, self.size(key))

    def checksum(self, key: str) -> bytes | None:
        """None: all checksum files are made."""
        del key
        return None


# A listing of years has thousands, and is asked for again and again.
@lru_cache(maxsize=1 << 14)
def _size(key: str, trades_per_day: int) -> int:
    """Bytes of a zip file."""
    parsed = parse(key)
    if parsed is None:
        msg = f"{key} is not the key of an archive file"
        raise KeyError(msg)
    folder, start, end = parsed
    source, span = _tape(folder, trades_per_day), (ms_of(start), ms_of(end))
    if folder.kind == "klines":
        return kline_size(source, _rest_interval(folder), *span)
    if folder.kind == "aggTrades":
        return trade_size(source, *span)
    return len(pack(_member(key), _chunks(folder, source, *span)))


def _tape(folder: Folder, trades_per_day: int) -> Tape:
    """The tape that a folder's files are cut from."""
    return Tape(_instrument(folder), trades_per_day)


def _chunks(folder: Folder, source: Tape, first_ms: int, end_ms: int) -> Chunks:
    """The text of a file, in pieces."""
    if folder.kind == "fundingRate":
        return lambda: [funding_text(_instrument(folder), first_ms, end_ms)]
    if folder.kind == "aggTrades":
        return partial(trade_texts, source, first_ms, end_ms)
    texts = partial(kline_texts, source, _rest_interval(folder), first_ms, end_ms)
    return texts if folder.road == "spot" else lambda: chain([_UM_HEADER], texts())


def _sorted_folders() -> list[Folder]:
    """All folders of the synthetic archive, in the order of their paths."""
    made = [Folder("um", "monthly", "fundingRate", symbol) for symbol in INSTRUMENTS["um"]]
    for cadence in ("daily", "monthly"):
        for symbol in INSTRUMENTS["spot"]:
            made.append(Folder("spot", cadence, "aggTrades", symbol))
            made += _kline_folders("spot", cadence, symbol)
        for symbol in INSTRUMENTS["um"]:
            made += _kline_folders("um", cadence, symbol)
    return sorted(made, key=lambda folder: folder.path)


def _kline_folders(road: Road, cadence: str, symbol: str) -> list[Folder]:
    """The folders of a symbol's k-lines; seconds there are on spot alone."""
    return [
        Folder(road, cadence, "klines", symbol, "1mo" if interval == "1M" else interval)
        for interval in INTERVALS
        if (cadence == "monthly" or interval not in _ONLY_MONTHLY)
        and (road == "spot" or interval != "1s")
    ]


def _life(folder: Folder) -> tuple[datetime, datetime]:
    """First and last moment of which a folder has rows."""
    instrument = _instrument(folder)
    first_ms = instrument.first_minute * MINUTE
    if folder.kind == "fundingRate":
        first_ms = max(int(funding_of(instrument).time_ms[0]), _FUNDING_FROM_MS)
    elif folder.interval:
        if folder.road == "um":
            first_ms = max(first_ms, _UM_KLINES_FROM_MS)
        # A candle lies in the file of the month that it opens in.
        first_ms = open_of(_rest_interval(folder), first_ms)
    return moment_of(first_ms), moment_of(instrument.end_minute * MINUTE - 1)


def _instrument(folder: Folder) -> Instrument:
    """The market that a folder is of."""
    return INSTRUMENTS[folder.road][folder.symbol]


def _rest_interval(folder: Folder) -> str:
    """A folder's interval, as REST spells it."""
    return "1M" if folder.interval == "1mo" else folder.interval or ""


def _member(key: str) -> str:
    """Name of the one member of a zip file."""
    return key.rpartition("/")[2].removesuffix(".zip") + ".csv"
