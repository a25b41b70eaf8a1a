"""The files of the synthetic archive: which there are, what is in them, and how large they are."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache, partial
from itertools import chain

from ares_notebook.demo.archive import Folder, member_name, parse
from ares_notebook.demo.funding import funding_of
from ares_notebook.demo.generator import TradeGenerator, first_id_of_day, trades_between
from ares_notebook.demo.market import candles_between
from ares_notebook.demo.symbols import (
    DAY,
    HOUR,
    INSTRUMENTS,
    MINUTE,
    Product,
    minute_of,
    moment_of,
    ms_of,
)
from ares_notebook.demo.tables import INTERVALS, open_of

Chunks = Callable[[], Iterable[bytes]]
"""Makes the text of a file, a piece at a time, as often as it is called."""

_ONLY_MONTHLY = ("3d", "1w", "1M")
_FUNDING_FROM_MS = minute_of("2020-01-01") * MINUTE
# The futures' candles begin there, though the oldest symbols are older.
_UM_KLINES_FROM_MS = minute_of("2019-12-31") * MINUTE
# A file has one unit, that of its first day: microseconds since 2025, on spot.
_MICROSECONDS_FROM_MS = minute_of("2025-01-01") * MINUTE
_UM_HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
# Tables of this many rows stay in the processor's cache while they become text.
_CHUNK_TRADES = 65_536


class SyntheticFiles:
    """Archive files of the synthetic market, made when they are asked for."""

    def __init__(self, trades_per_day: int) -> None:
        self._trades_per_day = trades_per_day
        self._folders = {folder.path: folder for folder in _folders()}

    def folders(self) -> Iterable[str]:
        """Paths of the folders that have files in them, sorted."""
        return self._folders

    def keys(self, folder: str, until: datetime) -> Iterator[str]:
        """Keys of a folder's zip files, sorted, up to the period of *until*."""
        first, last = _lifetime(self._folders[folder])
        return self._folders[folder].keys(first, min(last, until))

    def size(self, key: str) -> int:
        """Bytes of a zip file, known before it is made."""
        return _size(key, self._trades_per_day)

    def build(self, key: str) -> bytes | None:
        """The zip file, or None if there is none of that name."""
        parsed = parse(key)
        if parsed is None or parsed[0].path not in self._folders:
            return None
        folder, start, end = parsed
        first, last = _lifetime(folder)
        if end <= first or start > last:
            return None
        source = _generator(folder, self._trades_per_day)
        return pack(
            member_name(key), _chunks(folder, source, ms_of(start), ms_of(end)), self.size(key)
        )

    def checksum(self, key: str) -> None:
        """None: all checksum files are made."""


def _folders() -> list[Folder]:
    """All folders of the synthetic archive, in the order of their paths."""
    found = [Folder("um", "monthly", "fundingRate", symbol) for symbol in INSTRUMENTS["um"]]
    products: tuple[Product, Product] = ("spot", "um")
    for cadence in ("daily", "monthly"):
        found += [Folder("spot", cadence, "aggTrades", symbol) for symbol in INSTRUMENTS["spot"]]
        found += [
            Folder(product, cadence, "klines", symbol, "1mo" if interval == "1M" else interval)
            for product in products
            for symbol in INSTRUMENTS[product]
            for interval in INTERVALS
            if (cadence == "monthly" or interval not in _ONLY_MONTHLY)
            and (product == "spot" or interval != "1s")
        ]
    return sorted(found, key=lambda folder: folder.path)


def _lifetime(folder: Folder) -> tuple[datetime, datetime]:
    """First and last moment of which a folder has rows."""
    instrument = INSTRUMENTS[folder.product][folder.symbol]
    first_ms = instrument.first_ms
    if folder.kind == "fundingRate":
        first_ms = max(int(funding_of(instrument).time_ms[0]), _FUNDING_FROM_MS)
    elif folder.interval:
        if folder.product == "um":
            first_ms = max(first_ms, _UM_KLINES_FROM_MS)
        # A candle lies in the file of the month that it opens in.
        first_ms = open_of(folder.rest_interval, first_ms)
    return moment_of(first_ms), moment_of(instrument.end_ms - 1)


def _generator(folder: Folder, trades_per_day: int) -> TradeGenerator:
    """The trade generator that a folder's files are made from."""
    return TradeGenerator(INSTRUMENTS[folder.product][folder.symbol], trades_per_day)


# --- text ---


def _chunks(folder: Folder, source: TradeGenerator, first_ms: int, end_ms: int) -> Chunks:
    """The text of a file."""
    if folder.kind == "fundingRate":
        events = funding_of(source.instrument)
        low, high = events.time_ms.searchsorted([first_ms, end_ms])
        return lambda: [events.cut(slice(low, high)).csv()]
    if folder.kind == "aggTrades":
        return partial(_trade_texts, source, first_ms, end_ms)
    texts = partial(_kline_texts, source, folder.rest_interval, first_ms, end_ms)
    return texts if folder.product == "spot" else lambda: chain([_UM_HEADER], texts())


def _kline_texts(
    source: TradeGenerator, interval: str, first_ms: int, end_ms: int
) -> Iterator[bytes]:
    """Text of a k-line file, 1s candles a day at a time."""
    step = DAY if interval == "1s" else end_ms - first_ms
    in_micros = source.instrument.product == "spot" and first_ms >= _MICROSECONDS_FROM_MS
    for low in range(first_ms, end_ms, step):
        page = candles_between(source, interval, low, min(low + step, end_ms) - 1)
        yield page.csv(source.instrument, interval, in_micros=in_micros)


def _trade_texts(source: TradeGenerator, first_ms: int, end_ms: int) -> Iterator[bytes]:
    """Text of a file of trades; the period is one of whole days."""
    in_micros = first_ms >= _MICROSECONDS_FROM_MS
    for day in range(first_ms // DAY, end_ms // DAY):
        ids = (first_id_of_day(source, day), first_id_of_day(source, day + 1))
        trades = trades_between(source, *ids)
        for row in range(0, len(trades), _CHUNK_TRADES):
            page = trades.cut(row, row + _CHUNK_TRADES)
            yield page.csv(source.instrument, in_micros=in_micros)


# --- sizes ---
# A listing has a thousand of them, and what it announces an object must be. So the size is a
# formula that costs little, rows times the compressed size of a row in a sample of that year,
# and the file is padded to it.

# What a row may be longer than in the sample, and the headers of a file.
_MARGIN = 1.06
_HEADER_BYTES = 320
# Seconds hold more or fewer trades from day to day, and those without one cost next to nothing.
_SECONDS_MARGIN = 1.25
# Rows that a sample has at the most; fewer for a file that has fewer.
_SAMPLE_ROWS = 240


# A listing of years has thousands, and is asked for again and again.
@lru_cache(maxsize=1 << 14)
def _size(key: str, trades_per_day: int) -> int:
    """Bytes of a zip file: announced by the formula, or those of the small ones of funding."""
    parsed = parse(key)
    if parsed is None:
        msg = f"{key} is not the key of an archive file"
        raise KeyError(msg)
    folder, start, end = parsed
    source = _generator(folder, trades_per_day)
    first_ms, end_ms = ms_of(start), ms_of(end)
    if folder.kind == "fundingRate":
        return len(pack(member_name(key), _chunks(folder, source, first_ms, end_ms)))
    interval = folder.rest_interval
    if folder.kind == "aggTrades":
        rows = first_id_of_day(source, end_ms // DAY) - first_id_of_day(source, first_ms // DAY)
    else:
        # Halts are not counted: they leave rows out, and the announcement is an upper bound.
        rows = -(-(end_ms - first_ms) // INTERVALS[interval])
    row_bytes = _row_bytes(source, interval, start.year, min(rows, _SAMPLE_ROWS))
    margin = _SECONDS_MARGIN if interval == "1s" else _MARGIN
    return int(rows * row_bytes * margin) + _HEADER_BYTES


@lru_cache(maxsize=4_096)
def _row_bytes(source: TradeGenerator, interval: str, year: int, rows: int) -> float:
    """Compressed size of a k-line, in a file of so many rows, or without an interval of a trade."""
    # A day in the middle of that part of the year in which there were trades.
    first, end = (ms_of(moment_of(0).replace(year=each)) for each in (year, year + 1))
    instrument = source.instrument
    day = (max(first, instrument.first_ms) + min(end, instrument.end_ms)) // 2 // DAY * DAY
    if interval:
        length = max(rows * INTERVALS[interval], MINUTE)
        # Seconds differ by the hour: most are flat at night. Longer ones do not.
        hours = (0, 6, 12, 18) if interval == "1s" else (0,)
        opens = [open_of(interval, day + hour * HOUR) for hour in hours]
        texts = [b"".join(_kline_texts(source, interval, at, at + length)) for at in opens]
    else:
        texts = [next(_trade_texts(source, day, day + DAY))]
    sample_rows = sum(text.count(b"\n") for text in texts)
    return sum(len(zlib.compress(text, 1)) for text in texts) / max(sample_rows, 1)


# --- zip files ---

_COMPRESSION_LEVELS = (1, 6, 9)
# A stored block of no bytes: what zlib writes to reach a byte border, and legal any number of times.
_EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
_FINAL_BLOCK = b"\x01\x00\x00\xff\xff"

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_MIDNIGHT, _FIRST_OF_1980 = 0, 0x21
_UTF8 = 0x800
_REGULAR_FILE = 0o100644 << 16


def pack(member: str, chunks: Chunks, size: int | None = None) -> bytes:
    """Make a zip file of one deflated member: the same bytes every time, padded to *size*."""
    headers = _LOCAL.size + _CENTRAL.size + _END.size + 2 * len(member.encode()) + len(_FINAL_BLOCK)
    for level in _COMPRESSION_LEVELS:
        body, crc, length = _deflate(chunks(), level)
        spare = 0 if size is None else size - headers - len(body)
        if spare >= 0:
            blocks, comment = divmod(spare, len(_EMPTY_BLOCK))
            body += _EMPTY_BLOCK * blocks + _FINAL_BLOCK
            return _wrap(member, body, crc, length, b" " * comment)
    msg = f"{member}: {-spare} bytes more than the {size} that were announced"
    raise ValueError(msg)


def _deflate(chunks: Iterable[bytes], level: int) -> tuple[bytes, int, int]:
    """Compress: the stream without its final block, the checksum, the length of the text."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    parts, crc, length = [], 0, 0
    for chunk in chunks:
        parts.append(compressor.compress(chunk))
        crc = zlib.crc32(chunk, crc)
        length += len(chunk)
    parts.append(compressor.flush(zlib.Z_SYNC_FLUSH))
    return b"".join(parts), crc, length


def _wrap(member: str, body: bytes, crc: int, length: int, comment: bytes) -> bytes:
    """Put headers around a deflated stream."""
    name = member.encode()
    sizes = (crc, len(body), length, len(name), 0)
    fields = (20, _UTF8, zlib.DEFLATED, _MIDNIGHT, _FIRST_OF_1980, *sizes)
    local = _LOCAL.pack(b"PK\x03\x04", *fields) + name
    central = _CENTRAL.pack(b"PK\x01\x02", 0x314, *fields, 0, 0, 0, _REGULAR_FILE, 0) + name
    ends = (len(central), len(local) + len(body), len(comment))
    return b"".join((local, body, central, _END.pack(b"PK\x05\x06", 0, 0, 1, 1, *ends), comment))
