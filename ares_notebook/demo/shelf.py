"""The files of the synthetic archive: which there are, how large, and how they are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Protocol

from ares_notebook.demo.funding import funding_of
from ares_notebook.demo.grid import INTERVALS, MINUTE, open_of
from ares_notebook.demo.members import funding_text, kline_texts, trade_texts
from ares_notebook.demo.names import Folder, moment_of, ms_of, parse
from ares_notebook.demo.schedule import Tape
from ares_notebook.demo.sizes import kline_size, trade_size
from ares_notebook.demo.symbols import INSTRUMENTS, Instrument, minute_of
from ares_notebook.demo.zips import Chunks, pack

_ONLY_MONTHLY = ("3d", "1w", "1M")
_FUNDING_FROM_MS = minute_of("2020-01-01") * MINUTE


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
        parsed = parse(key)
        if parsed is None:
            msg = f"{key} is not the key of an archive file"
            raise KeyError(msg)
        folder, start, end = parsed
        span = (ms_of(start), ms_of(end))
        if folder.kind == "klines":
            return kline_size(self._tape(folder), _rest_interval(folder), *span)
        if folder.kind == "aggTrades":
            return trade_size(self._tape(folder), *span)
        return len(pack(_member(key), self._chunks(folder, *span)))

    def build(self, key: str) -> bytes | None:
        """The zip file, or None if there is none of that name."""
        parsed = parse(key)
        if parsed is None or parsed[0].path not in self._folders:
            return None
        folder, start, end = parsed
        first, last = _life(folder)
        if end <= first or start > last:
            return None
        return pack(_member(key), self._chunks(folder, ms_of(start), ms_of(end)), self.size(key))

    def checksum(self, key: str) -> bytes | None:
        """None: all checksum files are made."""
        del key
        return None

    def _tape(self, folder: Folder) -> Tape:
        """The tape that a folder's files are cut from."""
        return Tape(_instrument(folder), self._trades_per_day)

    def _chunks(self, folder: Folder, first_ms: int, end_ms: int) -> Chunks:
        """The text of a file, in pieces."""
        if folder.kind == "fundingRate":
            return lambda: [funding_text(_instrument(folder), first_ms, end_ms)]
        source = self._tape(folder)
        if folder.kind == "aggTrades":
            return partial(trade_texts, source, first_ms, end_ms)
        return partial(kline_texts, source, _rest_interval(folder), first_ms, end_ms)


def _sorted_folders() -> list[Folder]:
    """All folders of the synthetic archive, in the order of their paths."""
    made = [Folder("um", "monthly", "fundingRate", symbol) for symbol in INSTRUMENTS["um"]]
    for symbol in INSTRUMENTS["spot"]:
        for cadence in ("daily", "monthly"):
            made.append(Folder("spot", cadence, "aggTrades", symbol))
            made += [
                Folder("spot", cadence, "klines", symbol, "1mo" if interval == "1M" else interval)
                for interval in INTERVALS
                if cadence == "monthly" or interval not in _ONLY_MONTHLY
            ]
    return sorted(made, key=lambda folder: folder.path)


def _life(folder: Folder) -> tuple[datetime, datetime]:
    """First and last moment of which a folder has rows."""
    instrument = _instrument(folder)
    first_ms = instrument.first_minute * MINUTE
    if folder.kind == "fundingRate":
        first_ms = max(int(funding_of(instrument).time_ms[0]), _FUNDING_FROM_MS)
    elif folder.interval:
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
