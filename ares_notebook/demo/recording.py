"""A folder of recorded files: what is in it, read only when it is asked for."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ares_notebook.demo.names import Folder, moment_of, parse
from ares_notebook.demo.symbols import Road

_KEY = re.compile(r"(?:^|/)(data/(?:spot|futures)/.+\.zip(?:\.CHECKSUM)?)$")
_MEMBER = re.compile(r"(?:^|/)klines/(spot|um)/([^/]+)/([^/]+)/([^/]+)\.csv$")
_FUNDING = re.compile(r"(?:^|/)funding/([^/]+)-fundingRate-[^/]*\.csv$")
_CHECKSUM = ".CHECKSUM"
# A time as large as this is in microseconds.
_MICROSECONDS_FROM = 100_000_000_000_000

Row = list[bytes]


@dataclass(frozen=True, slots=True)
class RecordedSeries:
    """Names the rows that belong together: road, kind, symbol, and interval of k-lines."""

    road: Road
    kind: str
    symbol: str
    interval: str = ""

    @property
    def has_ids(self) -> bool:
        """Whether rows are known by an id; else by their time."""
        return self.kind == "aggTrades"


@dataclass(frozen=True, slots=True)
class Table:
    """Recorded rows in order."""

    # Id or time of each row, and its time (µs since the epoch).
    keys: NDArray[np.int64]
    times_us: NDArray[np.int64]
    # The cells of each row, as recorded.
    rows: list[Row]


class Recording:
    """
    Recorded archive files, by their keys in the archive.

    Zip files below ``data/spot`` or ``data/futures`` stand for themselves; the CSV files in
    ``klines/{spot|um}/SYMBOL/INTERVAL`` for the members of monthly zip files; those in ``funding``
    for all the months that they cover.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            msg = f"{folder} is not a folder; pass one with recorded archive files"
            raise FileNotFoundError(msg)
        self.files: dict[str, Path] = {}
        self.members: dict[str, Path] = {}
        self._funding: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            self._index(path, path.as_posix())
        if not (self.files or self.members or self._funding):
            msg = (
                f"{folder} holds no recorded archive files (data/spot/..., klines/..., funding/...)"
            )
            raise FileNotFoundError(msg)
        self.table = lru_cache(maxsize=64)(self._table)

    def _index(self, path: Path, name: str) -> None:
        """Note what a path stands for."""
        if found := _KEY.search(name):
            # The last of several: data/archive/data/spot/... is data/spot/...
            key = found[1]
            self.files[key[max(key.rfind("data/spot/"), key.rfind("data/futures/"), 0) :]] = path
        elif found := _MEMBER.search(name):
            road: Road = "spot" if found[1] == "spot" else "um"
            folder = Folder(road, "monthly", "klines", found[2], found[3])
            self.members[f"{folder.path}{found[4]}.zip"] = path
        elif found := _FUNDING.search(name):
            self._funding.setdefault(found[1], []).append(path)

    @cached_property
    def funding_months(self) -> dict[str, bytes]:
        """Members of monthly funding files, by key, cut from the longer recordings."""
        months: dict[str, bytes] = {}
        for symbol, paths in self._funding.items():
            folder = Folder("um", "monthly", "fundingRate", symbol)
            for path in paths:
                header, *lines = path.read_bytes().splitlines(keepends=True)
                for line in lines:
                    key = folder.key(moment_of(int(line.partition(b",")[0])))
                    months[key] = months.get(key, header) + line
        return months

    @cached_property
    def keys(self) -> dict[str, list[str]]:
        """Keys of all zip files by folder, both sorted."""
        zips = {key for key in self.files if not key.endswith(_CHECKSUM)}
        folders: dict[str, list[str]] = {}
        for key in sorted(zips | self.members.keys() | self.funding_months.keys()):
            folders.setdefault(key.rpartition("/")[0] + "/", []).append(key)
        return dict(sorted(folders.items()))

    @cached_property
    def symbols(self) -> dict[Road, list[str]]:
        """Symbols of which there is anything, by road."""
        found: dict[Road, set[str]] = {"spot": set(), "um": set()}
        for keys in self.keys.values():
            for named in filter(None, map(parse, keys)):
                found[named[0].road].add(named[0].symbol)
        return {road: sorted(symbols) for road, symbols in found.items()}

    def text(self, key: str) -> bytes:
        """The text of a zip file's member."""
        if key in self.files:
            with zipfile.ZipFile(io.BytesIO(self.files[key].read_bytes())) as archive:
                return archive.read(archive.namelist()[0])
        return self.members[key].read_bytes() if key in self.members else self.funding_months[key]

    def _table(self, series: RecordedSeries) -> Table:
        """
        All recorded rows of a series, in order of their ids or open times, each once.

        Where a monthly and a daily file disagree the daily one holds, as on the real API.
        """
        found: dict[int, Row] = {}
        for key in self._keys_of(series):
            for line in self.text(key).splitlines():
                cells = line.split(b",")
                # Some files have a header, others have none.
                if cells[0].isdigit():
                    found[_key_of(series, cells)] = cells
        keys = sorted(found)
        rows = [found[key] for key in keys]
        times = [microseconds(cells[5]) for cells in rows] if series.has_ids else keys
        return Table(np.array(keys, np.int64), np.array(times, np.int64), rows)

    def _keys_of(self, series: RecordedSeries) -> Iterator[str]:
        """Keys of the files of a series, monthly ones first."""
        for cadence in ("monthly", "daily"):
            interval = "1mo" if series.interval == "1M" else series.interval or None
            folder = Folder(series.road, cadence, series.kind, series.symbol, interval)
            yield from self.keys.get(folder.path, [])


def microseconds(cell: bytes) -> int:
    """A recorded time, in ms or µs, in µs."""
    value = int(cell)
    return value if value >= _MICROSECONDS_FROM else value * 1_000


def _key_of(series: RecordedSeries, cells: Row) -> int:
    """What a row is known by."""
    return int(cells[0]) if series.has_ids else microseconds(cells[0])
