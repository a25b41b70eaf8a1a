"""Timestamps as integers and as text: milliseconds, microseconds, and the cells of the cache."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import MICROSECONDS_SINCE_MS, Dataset

__all__ = ["MICROSECONDS_FROM", "SECOND_US", "microseconds_of", "stamp_cells"]

MICROSECONDS_FROM = 100_000_000_000_000
"""Stamps from here on are microseconds: as milliseconds it is the year 5138."""

# What a stamp may be at all: 2009 to 2100, in microseconds.
_EARLIEST_US, _LATEST_US = 1_230_768_000_000_000, 4_102_444_800_000_000


def microseconds_of(
    dataset: Dataset, stamps: npt.NDArray[np.int64], origin: str
) -> npt.NDArray[np.int64]:
    """
    Stamps in microseconds since the epoch, as fine as the cache keeps them.

    Spot archives write microseconds from 2025-01-01 on, milliseconds before; REST writes what it
    was asked for.
    """
    us = np.where(stamps >= MICROSECONDS_FROM, stamps, stamps * 1000)
    if len(us) and (us.min() < _EARLIEST_US or us.max() >= _LATEST_US):
        msg = f"{origin}: a stamp is no moment between 2009 and 2100; nothing is stored, run again later"
        raise BadAnswer(msg)
    whole: npt.NDArray[np.int64] = us // 1000 * 1000
    if dataset.stamp_digits != 6:  # noqa: PLR2004 - microseconds
        return whole
    # REST knows the microseconds of older trades too, the archive does not: both
    # roads must give the same bytes.
    return np.where(us < MICROSECONDS_SINCE_MS * 1000, whole, us)


_DAY_US = 86_400_000_000
SECOND_US = 1_000_000
_DAY_BYTES, _CLOCK_BYTES = 11, 8
# The fraction is written three digits at a time.
_GROUP = 1_000


def stamp_cells(stamps_us: npt.NDArray[np.int64], digits: int) -> npt.NDArray[np.void]:
    """Stamps as ``2025-01-15 00:00:00`` with a number of digits after the second."""
    groups = digits // 3
    cells = np.empty(len(stamps_us), _layout(groups))
    # Not divmod: division by a constant is an order faster.
    days = stamps_us // _DAY_US
    in_day_us = stamps_us - days * _DAY_US
    cells["day"] = _day_text(days)
    seconds = in_day_us // SECOND_US
    cells["clock"] = _clocks()[seconds]
    if groups:
        cells["point"] = b"."
        fraction = (in_day_us - seconds * SECOND_US).astype(np.int32)
        milliseconds = fraction // _GROUP
        cells["ms"] = _three_digits()[milliseconds]
    if groups > 1:
        cells["us"] = _three_digits()[fraction - milliseconds * _GROUP]
    return cells


@cache
def _layout(groups: int) -> np.dtype[np.void]:
    fields = [("day", f"S{_DAY_BYTES}"), ("clock", f"S{_CLOCK_BYTES}")]
    fraction = [("point", "S1"), ("ms", "S3"), ("us", "S3")]
    return np.dtype(fields + fraction[: groups + 1 if groups else 0])


def _day_text(days: npt.NDArray[np.int64]) -> npt.NDArray[np.bytes_]:
    """Dates with a blank behind them; the date of a run of equal days is written once."""
    starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
    dates = np.datetime_as_string(days[starts].astype("datetime64[D]"))
    texts = np.array([f"{date} " for date in dates], f"S{_DAY_BYTES}")
    return np.repeat(texts, np.diff(starts, append=len(days)))


@cache
def _clocks() -> npt.NDArray[np.bytes_]:
    """All times of a day, by the second."""
    two_digits = np.array([f"{number:02d}" for number in range(60)], "S2")
    fields = ("hour", "S2"), ("colon", "S1"), ("minute", "S2"), ("another", "S1"), ("second", "S2")
    clocks = np.empty((24, 60, 60), list(fields))
    clocks["hour"] = two_digits[:24, None, None]
    clocks["minute"] = two_digits[:, None]
    clocks["second"] = two_digits
    clocks["colon"] = clocks["another"] = b":"
    return clocks.reshape(-1).view(f"S{_CLOCK_BYTES}")


@cache
def _three_digits() -> npt.NDArray[np.bytes_]:
    return np.array([f"{number:03d}" for number in range(_GROUP)], "S3")
