"""
Sizes of zip files that nobody has made yet.

A listing has a thousand of them, and S3 knows no estimates: what it announces, an object
must be. So the size is announced by a formula that costs little, rows times the compressed
size of a row in a sample of that year, and the file is made to have it (see `zips`).
"""

from __future__ import annotations

import zlib
from functools import lru_cache

from ares_notebook.demo.grid import DAY, HOUR, INTERVALS, MINUTE, open_of
from ares_notebook.demo.members import kline_texts, trade_texts
from ares_notebook.demo.names import moment_of, ms_of
from ares_notebook.demo.schedule import Tape, first_id_of_day

# What a row may be longer than in the sample, and a file besides its rows.
_MARGIN = 1.06
_FRAME = 320
# Seconds hold more or fewer trades from day to day, and those without one cost next to nothing.
_MARGIN_OF_SECONDS = 1.25
# Rows that a sample has at the most; fewer for a file that has fewer.
_ENOUGH_ROWS = 240


def kline_size(source: Tape, interval: str, first_ms: int, end_ms: int) -> int:
    """Announced size of a file of k-lines."""
    # Halts are not counted: they leave rows out, and the announcement is an upper bound.
    rows = -(-(end_ms - first_ms) // INTERVALS[interval])
    each = _kline_bytes(source, interval, _year_of(first_ms), min(rows, _ENOUGH_ROWS))
    margin = _MARGIN_OF_SECONDS if interval == "1s" else _MARGIN
    return int(rows * each * margin) + _FRAME


def trade_size(source: Tape, first_ms: int, end_ms: int) -> int:
    """Announced size of a file of trades."""
    days = (first_ms // DAY, end_ms // DAY)
    first, end = (first_id_of_day(source, day) for day in days)
    return int((end - first) * _trade_bytes(source, _year_of(first_ms)) * _MARGIN) + _FRAME


def _year_of(time_ms: int) -> int:
    """The calendar year of a time."""
    return moment_of(time_ms).year


def _middle_day(source: Tape, year: int) -> int:
    """A day in the middle of what the market lived of a year."""
    first, end = (ms_of(moment_of(0).replace(year=y)) for y in (year, year + 1))
    listed, gone = source.instrument.first_minute * MINUTE, source.instrument.end_minute * MINUTE
    return (max(first, listed) + min(end, gone)) // 2 // DAY


@lru_cache(maxsize=4_096)
def _kline_bytes(source: Tape, interval: str, year: int, rows: int) -> float:
    """Compressed size of a k-line, in a file of so many rows."""
    day = _middle_day(source, year) * DAY
    length = INTERVALS[interval]
    # Seconds differ by the hour: most are flat at night. Longer ones do not.
    hours = (0, 6, 12, 18) if interval == "1s" else (0,)
    spans = []
    for hour in hours:
        first = open_of(interval, day + hour * HOUR)
        spans.append((first, first + max(rows * length, MINUTE)))
    return _bytes_a_row([b"".join(kline_texts(source, interval, *span)) for span in spans])


@lru_cache(maxsize=1_024)
def _trade_bytes(source: Tape, year: int) -> float:
    """Compressed size of a trade."""
    day = _middle_day(source, year) * DAY
    text = next(trade_texts(source, day, day + DAY))
    return _bytes_a_row([text])


def _bytes_a_row(texts: list[bytes]) -> float:
    """Compressed size of a row of some texts."""
    rows = sum(text.count(b"\n") for text in texts)
    return sum(len(zlib.compress(text, 1)) for text in texts) / max(rows, 1)
