"""The exchange's stamps: milliseconds or microseconds, each told by its own size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ares_notebook.errors import BadAnswer
from ares_notebook.market.datasets import MICROSECONDS_SINCE_MS, Dataset

__all__ = ["MICROSECONDS_FROM", "microseconds_of"]

MICROSECONDS_FROM = 100_000_000_000_000
"""Stamps from here on are microseconds: as milliseconds it is the year 5138."""

# What a stamp may be at all: 2009 to 2100, in microseconds.
_EARLIEST_US, _LATEST_US = 1_230_768_000_000_000, 4_102_444_800_000_000


def microseconds_of(
    dataset: Dataset, stamps: npt.NDArray[np.int64], origin: str
) -> npt.NDArray[np.int64]:
    """
    Stamps in microseconds since the epoch, as fine as the cache keeps them.

    Spot archives write microseconds from 2025-01-01 on, milliseconds before; REST
    writes what it was asked for.

    Parameters
    ----------
    dataset : Dataset
    stamps : array of int64
    origin : str
        File or URL, for the error.

    Raises
    ------
    BadAnswer
        If one is no moment that can be.

    Examples
    --------
    >>> from ares_notebook.market.datasets import KLINES
    >>> microseconds_of(KLINES, np.array([1735689600000, 1735689600000001]), "here").tolist()
    [1735689600000000, 1735689600000000]
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
