"""The files of the synthetic archive: which there are, what is in them, and how large they are."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from itertools import chain, pairwise

from ares_notebook.demo import metrics
from ares_notebook.demo.archive import Chunks, Folder, member_name, pack, parse, period_of
from ares_notebook.demo.funding import PriceSeries, funding_of
from ares_notebook.demo.generator import TradeGenerator, first_id_of_day, trades_between
from ares_notebook.demo.market import candles_between
from ares_notebook.demo.symbols import (
    DAY,
    HOUR,
    INSTRUMENTS,
    MINUTE,
    PAIRS,
    PRICE_KINDS,
    Instrument,
    Product,
    instrument_of,
    minute_of,
    moment_of,
    ms_of,
)
from ares_notebook.demo.tables import INTERVALS, CandleSource, open_of

_ONLY_MONTHLY = ("3d", "1w", "1M")
# Tables of this many rows stay in the processor's cache while they become text.
_CHUNK_TRADES = 65_536


def _start_ms(text: str) -> int:
    """Milliseconds since the epoch of an ISO time, UTC."""
    return minute_of(text) * MINUTE


# A file has one unit, that of its first day: microseconds since 2025, on spot.
_MICROSECONDS_FROM_MS = _start_ms("2025-01-01")

# Where the files of futures begin, though some contracts are older: those of candles and trades,
# of computed prices, and of funding.
_FILES_FROM_MS = {
    ("um", "daily"): _start_ms("2019-12-31"),
    ("um", "monthly"): _start_ms("2020-01-01"),
    ("cm", "daily"): _start_ms("2020-08-11"),
    ("cm", "monthly"): _start_ms("2020-08-11"),
}
_PRICES_FROM_MS = {**_FILES_FROM_MS, ("um", "daily"): _start_ms("2019-12-23T11:58")}
_FUNDING_FROM_MS = {"um": _start_ms("2020-01-01"), "cm": _start_ms("2022-07-01")}

# Files of futures have a header from then on; their trades lose trailing zeros with it.
_HEADERS_FROM_MS = {"monthly": _start_ms("2022-06-01"), "daily": _start_ms("2023-01-01")}
_TRADES_HEADER_FROM_MS = _HEADERS_FROM_MS["daily"]
_KLINES_HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
_TRADES_HEADER = (
    b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
)

# Days missing from monthly files of USD-M candles, of these intervals; daily files have them.
_DAYS_NOT_IN_MONTHS = [_start_ms(day) for day in ("2022-04-17", "2022-04-27", "2022-06-09")]
_INTERVALS_WITHOUT_DAYS = ("1m", "5m")
# Daily files that were never published: first and last day.
_NO_PREMIUMS_OF = "BTCUSDT"
_NO_PREMIUMS_MS = (_start_ms("2021-01-24"), _start_ms("2021-02-21"))


class SyntheticFiles:
    """Archive files of the synthetic market, made when they are asked for."""

    def __init__(self, trades_per_day: int) -> None:
        self._trades_per_day = trades_per_day
        self._folders = _folders()

    def folders(self) -> Sequence[str]:
        """Paths of the folders that have files in them, sorted."""
        return _paths()

    def keys(self, path: str, until: datetime) -> Iterator[str]:
        """Keys of a folder's zip files, sorted, up to the period of *until*."""
        folder = self._folders[path]
        first, last = _lifetime(folder)
        for key in folder.keys(first, min(last, until)):
            if not _has_missing_files(folder) or _is_there(folder, key):
                yield key

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
        if end <= first or start > last or not _is_there(folder, key):
            return None
        chunks = _chunks(folder, self._trades_per_day, max(ms_of(start), ms_of(first)), ms_of(end))
        return pack(member_name(key), chunks, self.size(key))

    def checksum(self, key: str) -> None:
        """None: all checksum files are made."""


@lru_cache(maxsize=1)
def _paths() -> tuple[str, ...]:
    """Paths of all folders of the synthetic archive, sorted."""
    return tuple(_folders())


@lru_cache(maxsize=1)
def _folders() -> Mapping[str, Folder]:
    """All folders of the synthetic archive by their paths, sorted; ten thousand, and made once for all exchanges."""
    found: list[Folder] = []
    for product, instruments in INSTRUMENTS.items():
        perpetuals = [one.symbol for one in instruments.values() if not one.is_delivery]
        if product != "spot":
            found += [Folder(product, "monthly", "fundingRate", each) for each in perpetuals]
            found += [Folder(product, "daily", "metrics", each) for each in perpetuals]
        for cadence in ("daily", "monthly"):
            found += [Folder(product, cadence, "aggTrades", symbol) for symbol in instruments]
            found += _candle_folders(product, cadence)
    return dict(sorted((folder.path, folder) for folder in found))


def _candle_folders(product: Product, cadence: str) -> Iterator[Folder]:
    """All folders of k-lines of a product, those of computed prices among them."""
    kinds = ("klines",) if product == "spot" else ("klines", *PRICE_KINDS)
    for kind in kinds:
        names = PAIRS[product] if kind == "indexPriceKlines" else INSTRUMENTS[product]
        for name, instrument in names.items():
            for interval in INTERVALS:
                if _has_folder(instrument, cadence, interval):
                    spelt = "1mo" if interval == "1M" else interval
                    yield Folder(product, cadence, kind, name, spelt)


def _has_folder(instrument: Instrument, cadence: str, interval: str) -> bool:
    """Whether there are files of an interval; short-lived contracts have no long ones."""
    if interval in _ONLY_MONTHLY:
        return cadence == "monthly" and not instrument.is_delivery
    return instrument.product == "spot" or interval != "1s"


@lru_cache(maxsize=1 << 13)
def _lifetime(folder: Folder) -> tuple[datetime, datetime]:
    """First and last moment of which a folder has rows."""
    source = _source(folder, 1)
    product, instrument, first_ms = folder.product, source.instrument, source.first_ms
    if folder.kind == "fundingRate":
        first_ms = max(int(funding_of(instrument).time_ms[0]), _FUNDING_FROM_MS[product])
    elif folder.kind == "metrics":
        first_ms = max(first_ms, metrics.FIRST_DAY * DAY)
    elif product != "spot":
        starts = _PRICES_FROM_MS if folder.kind in PRICE_KINDS else _FILES_FROM_MS
        first_ms = max(first_ms, starts[product, folder.cadence])
    if folder.interval:
        # A candle lies in the file of the month that it opens in.
        first_ms = open_of(folder.rest_interval, first_ms)
    return moment_of(first_ms), moment_of(instrument.end_ms - 1)


def _source(folder: Folder, trades_per_day: int) -> TradeGenerator | PriceSeries:
    """What a folder's files are made from."""
    if folder.kind in PRICE_KINDS:
        return PriceSeries(folder.product, folder.kind, folder.symbol)
    instrument = instrument_of(folder.product, folder.kind, folder.symbol)
    return TradeGenerator(instrument, trades_per_day)


def _has_missing_files(folder: Folder) -> bool:
    """Whether some of a folder's files were never published."""
    has_gap = folder.kind == "premiumIndexKlines" and folder.symbol == _NO_PREMIUMS_OF
    return folder.kind == "metrics" or (has_gap and folder.cadence == "daily")


def _is_there(folder: Folder, key: str) -> bool:
    """Whether a file was ever published."""
    period = period_of(key)
    if not _has_missing_files(folder) or period is None:
        return True
    day_ms = ms_of(period[0])
    if folder.kind == "metrics":
        instrument = INSTRUMENTS[folder.product][folder.symbol]
        return metrics.has_file(instrument, day_ms // DAY)
    return not _NO_PREMIUMS_MS[0] <= day_ms <= _NO_PREMIUMS_MS[1]


# --- text ---


def _chunks(folder: Folder, trades_per_day: int, first_ms: int, end_ms: int) -> Chunks:
    """The text of a file."""
    source = _source(folder, trades_per_day)
    if folder.kind == "fundingRate":
        events = funding_of(source.instrument)
        low, high = events.time_ms.searchsorted([first_ms, end_ms])
        return lambda: [events.cut(slice(low, high)).csv(source.instrument)]
    if folder.kind == "metrics":
        return lambda: [metrics.metrics_csv(source, first_ms // DAY)]
    if isinstance(source, TradeGenerator) and folder.kind == "aggTrades":
        texts = partial(_trade_texts, source, first_ms, end_ms)
        header, header_from_ms = _TRADES_HEADER, _TRADES_HEADER_FROM_MS
    else:
        texts = partial(_parts_of_months, folder, source, first_ms, end_ms)
        header, header_from_ms = _KLINES_HEADER, _HEADERS_FROM_MS[folder.cadence]
    has_header = folder.product != "spot" and first_ms >= header_from_ms
    return (lambda: chain([header], texts())) if has_header else texts


def _parts_of_months(
    folder: Folder, source: CandleSource, first_ms: int, end_ms: int
) -> Iterator[bytes]:
    """Text of a k-line file, without the days that are missing from it."""
    interval, borders = folder.rest_interval, [first_ms]
    has_missing_days = folder.cadence == "monthly" and (folder.product, folder.kind) == (
        "um",
        "klines",
    )
    if has_missing_days and interval in _INTERVALS_WITHOUT_DAYS:
        for day_ms in _DAYS_NOT_IN_MONTHS:
            if first_ms < day_ms < end_ms:
                borders += [day_ms, day_ms + DAY]
    for low, high in list(pairwise([*borders, end_ms]))[::2]:
        yield from _kline_texts(source, interval, low, high)


def _kline_texts(
    source: CandleSource, interval: str, first_ms: int, end_ms: int
) -> Iterator[bytes]:
    """Text of k-lines, 1s candles a day at a time."""
    step = DAY if interval == "1s" else end_ms - first_ms
    instrument = source.instrument
    in_micros = instrument.product == "spot" and first_ms >= _MICROSECONDS_FROM_MS
    for low in range(first_ms, end_ms, step):
        page = candles_between(source, interval, low, min(low + step, end_ms) - 1)
        if isinstance(source, PriceSeries):
            yield page.price_csv(interval)
        else:
            yield page.csv(instrument, interval, in_micros=in_micros)


def _trade_texts(source: TradeGenerator, first_ms: int, end_ms: int) -> Iterator[bytes]:
    """Text of a file of trades; the period is one of whole days."""
    is_spot = source.instrument.product == "spot"
    in_micros = is_spot and first_ms >= _MICROSECONDS_FROM_MS
    is_trimmed = not is_spot and first_ms >= _TRADES_HEADER_FROM_MS
    for day in range(first_ms // DAY, end_ms // DAY):
        ids = (first_id_of_day(source, day), first_id_of_day(source, day + 1))
        trades = trades_between(source, *ids)
        for row in range(0, len(trades), _CHUNK_TRADES):
            page = trades.cut(row, row + _CHUNK_TRADES)
            yield page.csv(source.instrument, in_micros=in_micros, is_trimmed=is_trimmed)


# --- sizes ---
# A listing has a thousand of them, and what it announces an object must be. So the size is a
# formula that costs little, rows times the compressed size of a row in a sample of that year,
# and the file is padded to it.

# What a row may be longer than in the sample, and the headers of a file.
_MARGIN = 1.06
_HEADER_BYTES = 320
# Seconds hold more or fewer trades from day to day, and those without one cost next to nothing.
_SECONDS_MARGIN = 1.25
# Files of metrics differ by the order of their rows.
_METRICS_MARGIN = 1.3
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
    source = _source(folder, trades_per_day)
    first_ms, end_ms = ms_of(start), ms_of(end)
    if folder.kind == "fundingRate":
        return len(pack(member_name(key), _chunks(folder, trades_per_day, first_ms, end_ms)))
    if folder.kind == "metrics":
        return int(_metrics_bytes(source, start.year) * _METRICS_MARGIN) + _HEADER_BYTES
    interval = folder.rest_interval
    if isinstance(source, TradeGenerator) and folder.kind == "aggTrades":
        rows = first_id_of_day(source, end_ms // DAY) - first_id_of_day(source, first_ms // DAY)
    else:
        # Halts are not counted: they leave rows out, and the announcement is an upper bound.
        rows = -(-(end_ms - first_ms) // INTERVALS[interval])
    row_bytes = _row_bytes(source, interval, start.year, min(rows, _SAMPLE_ROWS))
    margin = _SECONDS_MARGIN if interval == "1s" else _MARGIN
    return int(rows * row_bytes * margin) + _HEADER_BYTES


@lru_cache(maxsize=4_096)
def _row_bytes(source: TradeGenerator | PriceSeries, interval: str, year: int, rows: int) -> float:
    """Compressed size of a k-line, in a file of so many rows, or without an interval of a trade."""
    day = _sample_day_ms(source, year)
    if interval or isinstance(source, PriceSeries):
        length = max(rows * INTERVALS[interval], MINUTE)
        # Seconds differ by the hour: most are flat at night. Longer ones do not.
        hours = (0, 6, 12, 18) if interval == "1s" else (0,)
        opens = [open_of(interval, day + hour * HOUR) for hour in hours]
        texts = [b"".join(_kline_texts(source, interval, at, at + length)) for at in opens]
    else:
        texts = [next(_trade_texts(source, day, day + DAY))]
    sample_rows = sum(text.count(b"\n") for text in texts)
    return sum(len(zlib.compress(text, 1)) for text in texts) / max(sample_rows, 1)


@lru_cache(maxsize=256)
def _metrics_bytes(source: CandleSource, year: int) -> int:
    """Compressed size of a day of metrics."""
    day_ms = _sample_day_ms(source, year)
    return len(zlib.compress(metrics.metrics_csv(source, day_ms // DAY), 1))


def _sample_day_ms(source: CandleSource, year: int) -> int:
    """A day in the middle of that part of a year of which there are data."""
    first, end = (ms_of(moment_of(0).replace(year=each)) for each in (year, year + 1))
    return (max(first, source.first_ms) + min(end, source.instrument.end_ms)) // 2 // DAY * DAY
