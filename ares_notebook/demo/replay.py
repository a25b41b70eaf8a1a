"""The recorded market: archive files byte for byte, and REST pages of the same rows."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ares_notebook.demo import metrics
from ares_notebook.demo.archive import CHECKSUM, Folder, member_name, pack, parse, period_of
from ares_notebook.demo.market import PageQuery, SymbolInfo
from ares_notebook.demo.symbols import DAY, Product, moment_of, ms_of
from ares_notebook.demo.tables import Ints, microseconds, opens_of

_KEY = re.compile(r"(?:^|/)(data/(?:spot|futures)/.+\.zip(?:\.CHECKSUM)?)$")
_MEMBER = re.compile(r"(?:^|/)klines/(spot|um|cm)/([^/]+)/([^/]+)/([^/]+)\.csv$")
_FUNDING = re.compile(r"(?:^|/)funding/([^/]+)-fundingRate-[^/]*\.csv$")
# A running recording ends with the last day that the archive has, a day or so ago.
_LATEST_END_MS = 2 * DAY
_PRODUCTS: dict[str, Product] = {"spot": "spot", "um": "um", "cm": "cm"}
_DELIVERY = re.compile(r".+_(\d{2})(\d{2})(\d{2})")
_DELIVERY_HOUR = 8
_QUOTES = ("USDT", "FDUSD", "USDC", "BUSD", "BTC", "ETH", "BNB", "USD")

Row = list[bytes]


@dataclass(frozen=True, slots=True)
class RecordedRows:
    """Recorded rows in order."""

    # Id or time of each row, and its time (µs since the epoch).
    keys: Ints
    times_us: Ints
    # The cells of each row, as recorded.
    rows: list[Row]


class Recording:
    """
    Recorded archive files, by their keys in the archive.

    Zip files below ``data/spot`` or ``data/futures`` stand for themselves; the CSV files in
    ``klines/{spot|um|cm}/SYMBOL/INTERVAL`` for the members of monthly zip files; those in ``funding``
    for all the months that they cover.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            msg = f"{folder} is not a folder; pass one with recorded archive files"
            raise FileNotFoundError(msg)
        self._files: dict[str, Path] = {}
        self._members: dict[str, Path] = {}
        self._funding: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            self._index(path, path.as_posix())
        if not (self._files or self._members or self._funding):
            msg = (
                f"{folder} holds no recorded archive files (data/spot/..., klines/..., funding/...)"
            )
            raise FileNotFoundError(msg)
        self.rows = lru_cache(maxsize=64)(self._rows)

    def _index(self, path: Path, name: str) -> None:
        """Note what a path stands for."""
        if found := _KEY.search(name):
            # The last of several: data/archive/data/spot/... is data/spot/...
            key = found[1]
            self._files[key[max(key.rfind("data/spot/"), key.rfind("data/futures/"), 0) :]] = path
        elif found := _MEMBER.search(name):
            folder = Folder(_PRODUCTS[found[1]], "monthly", "klines", found[2], found[3])
            self._members[f"{folder.path}{found[4]}.zip"] = path
        elif found := _FUNDING.search(name):
            self._funding.setdefault(found[1], []).append(path)

    @cached_property
    def _funding_months(self) -> dict[str, bytes]:
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
    def _keys(self) -> dict[str, list[str]]:
        """Keys of all zip files by folder, both sorted."""
        zips = {key for key in self._files if not key.endswith(CHECKSUM)}
        folders: dict[str, list[str]] = {}
        for key in sorted(zips | self._members.keys() | self._funding_months.keys()):
            folders.setdefault(key.rpartition("/")[0] + "/", []).append(key)
        return dict(sorted(folders.items()))

    # --- as the archive's files ---

    def folders(self) -> Sequence[str]:
        """Paths of the folders that have files in them, sorted."""
        return tuple(self._keys)

    def keys(self, folder: str, until: datetime) -> Iterator[str]:
        """Keys of a folder's zip files, sorted, up to the period of *until*."""
        for key in self._keys[folder]:
            period = period_of(key)
            if period is None or period[0] <= until:
                yield key

    def size(self, key: str) -> int:
        """Bytes of a zip file."""
        return len(self.build(key) or b"")

    def build(self, key: str) -> bytes | None:
        """The zip file as recorded, or made around a recorded member."""
        if key in self._files:
            return self._files[key].read_bytes()
        if key not in self._keys.get(key.rpartition("/")[0] + "/", []):
            return None
        return pack(member_name(key), lambda: [self._text(key)])

    def checksum(self, key: str) -> bytes | None:
        """A recorded checksum file, or None where one is to be made."""
        path = self._files.get(key + CHECKSUM)
        return None if path is None else path.read_bytes()

    # --- as rows ---

    @cached_property
    def ends_ms(self) -> dict[Product, dict[str, int]]:
        """Symbols of which there is anything, and when the last file of each ends."""
        found: dict[Product, dict[str, int]] = {"spot": {}, "um": {}, "cm": {}}
        for keys in self._keys.values():
            for folder, _, end in filter(None, map(parse, keys)):
                if folder.kind != "indexPriceKlines":
                    ends = found[folder.product]
                    ends[folder.symbol] = max(ms_of(end), ends.get(folder.symbol, 0))
        return {product: dict(sorted(ends.items())) for product, ends in found.items()}

    def pairs(self, product: Product) -> list[str]:
        """Names of the indices of which there is anything."""
        folders = (parsed[0] for keys in self._keys.values() if (parsed := parse(keys[0])))
        named = {
            one.symbol
            for one in folders
            if one.kind == "indexPriceKlines" and one.product == product
        }
        return sorted(named)

    def _text(self, key: str) -> bytes:
        """The text of a zip file's member."""
        if key in self._files:
            with zipfile.ZipFile(io.BytesIO(self._files[key].read_bytes())) as archive:
                return archive.read(archive.namelist()[0])
        if key in self._members:
            return self._members[key].read_bytes()
        return self._funding_months[key]

    def _rows(self, product: Product, kind: str, symbol: str, interval: str = "") -> RecordedRows:
        """
        All recorded rows of a symbol, in order of their ids or open times, each once.

        Where a monthly and a daily file disagree the daily one holds, as on the real API.
        """
        has_ids, is_metrics = kind == "aggTrades", kind == "metrics"
        found: dict[int, Row] = {}
        for cadence in ("monthly", "daily"):
            spelt = "1mo" if interval == "1M" else interval or None
            folder = Folder(product, cadence, kind, symbol, spelt)
            for key in self._keys.get(folder.path, []):
                for line in self._text(key).splitlines():
                    cells = line.split(b",")
                    # Some files have a header, others have none.
                    if not cells[0][:1].isdigit():
                        continue
                    number = _metrics_us(product, key, cells[0]) if is_metrics else int(cells[0])
                    found[number if has_ids else microseconds(number)] = cells
        keys = sorted(found)
        rows = [found[key] for key in keys]
        times = [microseconds(int(cells[5])) for cells in rows] if has_ids else keys
        return RecordedRows(np.array(keys, np.int64), np.array(times, np.int64), rows)


class ReplayMarket:
    """REST pages of recorded rows; numbers as they were recorded, times in the unit asked for."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def symbols(self, product: Product, now_us: int) -> list[SymbolInfo]:
        """Symbols of which anything was recorded; one whose recording is over trades no more."""
        over_ms = now_us // 1_000 - _LATEST_END_MS
        return [
            _symbol_info(product, symbol, is_trading=end_ms > over_ms)
            for symbol, end_ms in self._recording.ends_ms[product].items()
        ]

    def price_pairs(self, product: Product, now_us: int) -> list[str]:  # noqa: ARG002 - all are known always
        """Names of the indices of which anything was recorded."""
        return self._recording.pairs(product)

    def klines(self, product: Product, symbol: str, interval: str, query: PageQuery) -> bytes:
        """A page of k-lines."""
        return self.price_klines(product, "klines", symbol, interval, query)

    def price_klines(
        self, product: Product, kind: str, name: str, interval: str, query: PageQuery
    ) -> bytes:
        """A page of k-lines of any kind; all are recorded alike."""
        found = self._recording.rows(product, kind, name, interval)
        chosen = query.rows(found.times_us)
        opens_us = found.keys[chosen]
        # The archive has candles off the grid (2018-02), and REST never has.
        is_on_grid = opens_of(interval, opens_us // 1_000) * 1_000 == opens_us
        page = itertools.compress(found.rows[chosen], is_on_grid)
        return _json_array(_kline(cells, in_micros=query.in_micros) for cells in page)

    def agg_trades(self, product: Product, symbol: str, query: PageQuery) -> bytes:
        """A page of aggregate trades."""
        found = self._recording.rows(product, "aggTrades", symbol)
        chosen = query.rows(found.times_us)
        if query.from_id is not None:
            first = int(np.searchsorted(found.keys, query.from_id))
            chosen = slice(first, max(min(first + query.limit, chosen.stop), first))
        best = b',"M":true' if product == "spot" else b""
        return _json_array(
            _trade(cells, best, in_micros=query.in_micros) for cells in found.rows[chosen]
        )

    def funding(self, symbol: str, query: PageQuery) -> bytes:
        """A page of funding events."""
        product: Product = "cm" if symbol in self._recording.ends_ms["cm"] else "um"
        found = self._recording.rows(product, "fundingRate", symbol)
        form = b'{"symbol":"%b","fundingTime":%b,"fundingRate":"%b","markPrice":""}'
        return _json_array(
            form % (symbol.encode(), cells[0], _plain(cells[2]))
            for cells in found.rows[query.rows(found.times_us)]
        )

    def statistics(
        self, product: Product, symbol: str, kind: str, period_ms: int, query: PageQuery
    ) -> list[dict[str, Any]]:
        """A page of open interest or ratios; of takers the recordings lack the volumes."""
        if kind in metrics.TAKER_KINDS:
            return []
        found = self._recording.rows(product, "metrics", symbol)
        is_on_grid = found.times_us % (period_ms * 1_000) == 0
        times_us = found.times_us[is_on_grid]
        chosen = query.rows(times_us)
        page = list(itertools.compress(found.rows, is_on_grid))[chosen]
        rows = zip(page, (times_us[chosen] // 1_000).tolist(), strict=True)
        if kind == "openInterestHist":
            return [
                metrics.open_interest_row(_units(cells[2]), _units(cells[3]), time_ms)
                for cells, time_ms in rows
            ]
        column = _RATIO_COLUMNS[kind]
        return [
            metrics.ratio_row(_units(cells[column]), time_ms)
            for cells, time_ms in rows
            if cells[column].strip(b'"')
        ]


_RATIO_COLUMNS = {
    "topLongShortAccountRatio": 4,
    "topLongShortPositionRatio": 5,
    "globalLongShortAccountRatio": 6,
}


def _symbol_info(product: Product, symbol: str, *, is_trading: bool) -> SymbolInfo:
    """What is known of a symbol by its name."""
    pair, _, _ = symbol.partition("_")
    quote = next((quote for quote in _QUOTES if pair.endswith(quote)), "")
    base = pair.removesuffix(quote)
    if product == "spot":
        return SymbolInfo(symbol, base, quote, is_trading=is_trading)
    delivery = _DELIVERY.fullmatch(symbol)
    year, month, day = map(int, delivery.groups()) if delivery else (0, 0, 0)
    end = datetime(2000 + year, month, day, _DELIVERY_HOUR, tzinfo=UTC) if delivery else None
    return SymbolInfo(
        symbol,
        base,
        quote,
        is_trading=is_trading,
        pair=pair,
        end_ms=ms_of(end) if end else 0,
        is_delivery=delivery is not None,
        contract_usd=(100 if base == "BTC" else 10) if product == "cm" else 0,
    )


def _metrics_us(product: Product, key: str, label: bytes) -> int:
    """The moment that a row of metrics is of, from its label."""
    label_ms = ms_of(datetime.fromisoformat(label.decode()).replace(tzinfo=UTC))
    period = period_of(key)
    day = ms_of(period[0]) // DAY if period else 0
    return metrics.moment_ms(product, day, label_ms) * 1_000


def _units(number: bytes) -> int:
    """A number in units of the eighth decimal."""
    return int(Decimal(number.decode()).scaleb(8))


def _plain(number: bytes) -> bytes:
    """A number without an exponent: REST writes none."""
    return f"{Decimal(number.decode()):f}".encode() if b"E" in number else number


def _kline(cells: Row, *, in_micros: bool) -> bytes:
    """A row of k-lines in JSON."""
    opened, closed = microseconds(int(cells[0])), microseconds(int(cells[6]))
    if in_micros:
        # The last microsecond, where the recording has the last millisecond.
        closed += 999 if closed % 1_000 == 0 else 0
    else:
        opened, closed = opened // 1_000, closed // 1_000
    form = b'[%d,"%b","%b","%b","%b","%b",%d,"%b",%b,"%b","%b","%b"]'
    return form % (opened, *cells[1:6], closed, *cells[7:12])


def _trade(cells: Row, best: bytes, *, in_micros: bool) -> bytes:
    """A row of aggregate trades in JSON."""
    number, price, quantity, first, last, time, maker = cells[:7]
    time_us = microseconds(int(time))
    form = b'{"a":%b,"p":"%b","q":"%b","f":%b,"l":%b,"T":%d,"m":%b%b}'
    time_sent = time_us if in_micros else time_us // 1_000
    return form % (number, price, quantity, first, last, time_sent, maker.lower(), best)


def _json_array(rows: Iterable[bytes]) -> bytes:
    """A JSON array of rows."""
    return b"[" + b",".join(rows) + b"]"
