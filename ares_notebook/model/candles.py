"""Put candles together: which rows make up a bar, and what follows from them for each column."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from ares_notebook.model.time import GRID_ORIGIN_MS, interval_ms

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Cells = npt.NDArray[Any]

_PRICES = ("open", "high", "low", "close")


def opens_of(stamps_us: Int64s, interval: str) -> Int64s:
    """For each stamp, in microseconds, the open time of the bar that holds it."""
    if interval == "1M":
        months: Any = stamps_us.view("M8[us]").astype("M8[M]")
        opens: Int64s = months.astype("M8[us]").view(np.int64)
        return opens
    step, origin = interval_ms(interval) * 1000, GRID_ORIGIN_MS.get(interval, 0) * 1000
    return (stamps_us - origin) // step * step + origin


def first_rows(slots: Int64s) -> Int64s:
    """Where in ascending *slots* each one begins."""
    if not len(slots):
        return np.empty(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(slots[1:] != slots[:-1]) + 1])


def rows_that_count(slots: Int64s, is_idle: Flags) -> Flags:
    """
    Which candles make up the bars of ascending *slots*.

    A candle without a trade only repeats the last price, and a bar opens with its first trade: an
    idle candle counts only in a bar that has no other.
    """
    starts = first_rows(slots)
    has_trade = np.logical_or.reduceat(~is_idle, starts) if len(slots) else is_idle
    sizes = np.diff(starts, append=len(slots))
    return np.asarray(~(is_idle & np.repeat(has_trade, sizes)))


def idle_rows(columns: Mapping[str, Cells]) -> Flags | None:
    """Which candles have no trade; None where no column shows it."""
    volume, count = columns.get("volume"), columns.get("number_of_trades")
    if count is None:
        return None if volume is None else np.asarray(volume == 0)
    # The original downloader stored no counts.
    is_unknown = count != count  # noqa: PLR0124 - NaN differs from itself
    by_volume = is_unknown if volume is None else is_unknown & (volume == 0)
    return np.asarray((count == 0) | by_volume)


def put_together(columns: Mapping[str, Cells], slots: Int64s) -> dict[str, Cells]:
    """The columns of bars, each made up of the candles of one of the ascending *slots*."""
    is_idle = idle_rows(columns)
    if is_idle is not None and is_idle.any():
        counts = rows_that_count(slots, is_idle)
        slots = slots[counts]
        columns = {name: cells[counts] for name, cells in columns.items()}
    starts = first_rows(slots)
    return {name: _made_of(name, cells, starts) for name, cells in columns.items()}


def _made_of(name: str, cells: Cells, starts: Int64s) -> Cells:
    """A column of bars; those with an empty cell have NaN."""
    if not len(starts):
        return cells[:0]
    if name in ("open", "close"):
        at = starts if name == "open" else np.append(starts[1:], len(cells)) - 1
        return np.asarray(cells[at])
    if cells.dtype.kind == "i":
        return _without_empty(name, cells, starts)
    empty = np.asarray(cells != cells, dtype=bool)  # noqa: PLR0124 - NaN differs from itself
    is_exact = cells.dtype == np.object_
    if empty.any():
        cells = cells.copy()
        cells[empty] = Decimal(0) if is_exact else 0.0
    made = _without_empty(name, cells, starts)
    if empty.any():
        made[np.logical_or.reduceat(empty, starts)] = Decimal("NaN") if is_exact else np.nan
    return made


def _without_empty(name: str, cells: Cells, starts: Int64s) -> Cells:
    if name in _PRICES:
        largest: Cells = (np.maximum if name == "high" else np.minimum).reduceat(cells, starts)
        return largest
    if cells.dtype.kind == "i":
        count: Cells = np.add.reduceat(cells, starts)
        return count
    if cells.dtype == np.object_:
        with localcontext(prec=_DIGITS):
            total: Cells = np.add.reduceat(cells, starts)
            return total
    return exact_sums(cells, starts)


# More than a sum of the numbers of an exchange has.
_DIGITS = 80
# Up to here an integer and its neighbours are different floats, also divided by a power of ten.
_SURE = 2.0**52
# Up to here sums are int64.
_MOST = 2.0**62
# The most digits after the point that the exchange writes.
_MOST_PLACES = 8
_SAMPLE = 1000


def exact_sums(cells: npt.NDArray[np.float64], starts: Int64s) -> npt.NDArray[np.float64]:
    """
    The sums of the runs that begin at *starts*: each is the float nearest to the sum of the decimals.

    A float stands for the shortest decimal that it is read from. The sum of such decimals is computed
    in integers; sums of floats would differ from it in their last digits.
    """
    places = next(
        (each for each in range(_MOST_PLACES) if _as_integers(cells[:_SAMPLE], each)[1].all()),
        _MOST_PLACES,
    )
    whole, is_sure = _as_integers(cells, places)
    while not is_sure.all() and places < _MOST_PLACES:
        places += 1
        whole, is_sure = _as_integers(cells, places)
    made = _sums_of_integers(np.where(is_sure, whole, 0.0), starts, places)
    if not is_sure.all():
        ends = np.append(starts[1:], len(cells))
        with localcontext(prec=_DIGITS):
            for at in np.flatnonzero(~np.logical_and.reduceat(is_sure, starts)).tolist():
                run = cells[starts[at] : ends[at]].tolist()
                made[at] = float(sum(map(Decimal, map(repr, run))))
    return made


def _sums_of_integers(
    whole: npt.NDArray[np.float64], starts: Int64s, places: int
) -> npt.NDArray[np.float64]:
    """The sums of integers, divided by ten to the power of *places*."""
    cells: Cells = whole.astype(np.int64)
    largest = float(np.abs(whole).max()) * int(np.diff(starts, append=len(whole)).max())
    totals = np.add.reduceat(cells if largest < _MOST else cells.astype(np.object_), starts)
    if largest < _SURE:
        return np.asarray(totals / 10.0**places)
    # Python divides integers of any size to the nearest float.
    quotients: npt.NDArray[np.float64] = (totals.astype(np.object_) / 10**places).astype(np.float64)
    return quotients


def _as_integers(
    cells: npt.NDArray[np.float64], places: int
) -> tuple[npt.NDArray[np.float64], Flags]:
    """The cells times ten to the power of *places*, and for which of them this is exact."""
    scale = 10.0**places
    whole = np.rint(cells * scale)
    return whole, (whole / scale == cells) & (np.abs(whole) < _SURE)
