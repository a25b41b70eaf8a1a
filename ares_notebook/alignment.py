"""Align candles with other rows as of the moment at which each of them is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ares_notebook.cache.spans import Spans
from ares_notebook.errors import BadArgument
from ares_notebook.frame_attrs import (
    MOST_LISTED,
    dataset_of,
    iso_pairs,
    listed_windows,
    merged_windows,
    trusted_attrs,
)
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.time import INTERVALS, as_utc, utc

_Int64s = npt.NDArray[np.int64]
_MS = 1_000_000
_HOUR = 3_600_000 * _MS
_MONTH = np.timedelta64(1, "M")
# By the name of a dataset, what identifies its rows: trades have an id, funding the time of an event.
_KEYS = {each.name: each.key for each in DATASETS}
# Rows on a regular grid of longer steps are sums or means over time: of BTCUSDT there are ten trades a
# second, and the longest interval of funding is 8 hours.
_LONGEST_EVENT_STEP = {"id": 999 * _MS, "event_time": 8 * _HOUR}
# The exchange stamps half of all funding events some milliseconds late, and trades to the millisecond:
# rows on a grid of longer steps than these were moved to it.
_FINEST_STEP = {"id": _MS, "event_time": _HOUR - 1}
# From this number of rows on, it is no chance that all of them are on such a grid.
_CERTAIN_ROWS = 50
_EVENTS = "events"
_EPOCH = utc(0)


def align(
    klines: pd.DataFrame, *others: pd.DataFrame, tolerance: timedelta | str | None = None
) -> pd.DataFrame:
    """
    Join to each candle the last row of other frames that is known at the candle's close.

    There is no look-ahead. A candle is known at its close, which is its open time (its index) plus its
    interval, and that is also the moment for which values are looked up: the decision moment of its
    row. A funding rate or a trade is known at its own time. A row that is known exactly at the decision
    moment counts, one that is known a millisecond later does not. So a funding rate of 08:00:00.003 is
    first seen in the hourly candle that opens at 08:00, and a 4h candle that opens at 00:00 in the
    hourly candle that opens at 03:00.

    Parameters
    ----------
    klines : pandas.DataFrame
        Its index is kept. Candles as a loader returns them; or other bars, such as made from trades,
        with the start of each bar as the index; or trades, whose decision moments are their own
        times.
    *others : pandas.DataFrame
        Rows of any dataset, or other bars. All indexes are aware and ascending. The length of a bar
        is ``attrs["interval"]`` (such as ``"4h"``), which the index must confirm. Else a bar ends
        where the next label of ``index.freq`` is; without one, its length is the shortest step
        between two rows, of which all other steps must be multiples. Rows that all begin a month
        are bars of whole months, whose steps must all be equal. Trades and funding on a regular
        grid that is too wide for them, such as daily sums, are bars. Of other events each row is
        known at its own time if ``attrs["dataset"]`` is ``"events"``. A bar of a volume or an amount,
        as `candles_from_trades` makes it, is known when the next one begins.
    tolerance : timedelta or str, optional
        The largest age of a value at the decision moment, such as ``"8h"``, counted from when it was
        known; a value of just this age counts, an older one is NaN. Defaults to no limit, so that
        the last value is kept over a gap.

    Returns
    -------
    pandas.DataFrame
        One row for each row of *klines*: its columns, then those of the others. A column whose name is
        taken gets the dataset and interval of its frame as a suffix, such as ``close_klines_4h``, and
        where that is taken too, the symbol: ``close_klines_4h_ETHUSDT``. Cells without a known row
        are NaN; integers are float64 then. A row that is NaN itself, such as a bar without a trade,
        counts as known: drop such rows before.

        ``attrs`` are those of *klines*, but for ``complete``, which is True only if it is for each
        frame and the window of each covers that of *klines*; ``missing``, which also has the windows
        of the others, and the whole window if a frame does not state its own, or rows were removed
        from it after it was loaded; ``missing_count``, for
        which those windows that no ``attrs`` list are counted for each frame; and ``aligned``, which
        lists dataset, symbol and interval of the others.

    Raises
    ------
    BadArgument
        If an index has no time zone, is not ascending or is not a time; if it is not known how long a
        bar of another frame is, or the index contradicts it, as after a resample; if trades or funding
        of another frame may be sums over time; if the tolerance is no length of time; if two frames
        bring a column of the same dataset, interval and symbol.

    Examples
    --------
    >>> hours = pd.date_range("2025-01-01 06:00", periods=4, freq="h", tz="UTC", name="timestamp")
    >>> candles = pd.DataFrame({"close": [1.0, 2.0, 3.0, 4.0]}, index=hours)
    >>> events = pd.DatetimeIndex(["2025-01-01 08:00:00.003"], tz="UTC", name="timestamp")
    >>> align(candles, pd.DataFrame({"fundingRate": [0.0001]}, index=events))["fundingRate"].tolist()
    [nan, nan, 0.0001, 0.0001]
    """
    most = _tolerance_ns(tolerance)
    base = _TimedFrame.of(klines, "the first frame")
    timed = [_TimedFrame.of(frame, f"frame {at}") for at, frame in enumerate(others, 2)]
    decisions = base.decision_moments()
    parts = [klines]
    names = list(klines.columns)
    for at, other in enumerate(timed, 2):
        _refuse_ambiguous(other, f"frame {at}")
        known = other.known
        places = np.searchsorted(known, decisions, side="right") - 1
        if most is not None and len(known):
            places[decisions - known[places] > most] = -1
        # No row has the label -1, so that it becomes a row of NaN.
        taken = other.frame.reset_index(drop=True).reindex(places).set_axis(klines.index)
        own = _free_names(other, names)
        parts.append(taken.set_axis(own, axis=1))
        names += own
    aligned = pd.concat(parts, axis=1)
    aligned.attrs = _attrs_of(base, timed)
    return aligned


def _tolerance_ns(tolerance: timedelta | str | None) -> int | None:
    if tolerance is None:
        return None
    length = _nanoseconds(tolerance) if isinstance(tolerance, str | timedelta) else None
    if length is None or length < 0:
        msg = (
            f'tolerance={tolerance!r} is no length of time; pass a timedelta or a text such as "8h"'
        )
        raise BadArgument(msg)
    return length


def _nanoseconds(length: str | timedelta) -> int | None:
    if isinstance(length, str) and length.endswith(("d", "w")):
        # pandas deprecates small letters for days and weeks, which Binance uses.
        length = length[:-1] + length[-1].upper()
    try:
        found = pd.Timedelta(length)
        return None if pd.isna(found) else int(found.as_unit("ns").value)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _TimedFrame:
    """A frame, and when each of its rows is known."""

    frame: pd.DataFrame
    # Nanoseconds since the epoch, UTC. An event is known at its stamp, a bar at its end.
    stamps: _Int64s
    known: _Int64s
    dataset: str
    # Without its window if rows were removed.
    attrs: Mapping[Any, Any]

    @classmethod
    def of(cls, frame: pd.DataFrame, what: str) -> _TimedFrame:
        """Check a frame, which messages call *what*."""
        stamps = _stamps_of(frame, what)
        dataset = frame.attrs.get("dataset") or dataset_of(frame).name
        if frame.attrs.get("interval") is not None:
            known = stated_ends(frame, stamps, what)
        elif "made_from" in frame.attrs:
            # Bars of unequal length: each is known before the next one begins.
            end = as_utc(frame.attrs["end"])
            known = np.append(stamps[1:], _nanoseconds(end - _EPOCH) or 0)[: len(stamps)]
        elif dataset == _EVENTS or _are_events(frame, stamps, _KEYS.get(dataset, "")):
            known = stamps
        else:
            known = _found_ends(frame, stamps, what)
        return cls(frame, stamps, known, dataset, trusted_attrs(frame))

    @property
    def key(self) -> str:
        """What identifies a row of its dataset; empty for unknown datasets."""
        return _KEYS.get(self.dataset, "")

    @property
    def length(self) -> int:
        """The length of the longest bar in nanoseconds; 0 for events."""
        # Without rows there is only the length that attrs state.
        stated = INTERVALS.get(self.frame.attrs.get("interval") or "") or 0
        return int((self.known - self.stamps).max(initial=stated * _MS))

    def decision_moments(self) -> _Int64s:
        """The moments for which values are looked up; a bar ends where the next one begins."""
        moments = self.known.copy()
        if self.length:
            # A candle that opens off the grid, after a halt, is shorter than its interval.
            moments[:-1] = np.minimum(moments[:-1], self.stamps[1:])
        return moments

    @property
    def interval(self) -> str:
        """The length of a bar as text; empty for events."""
        stated = self.frame.attrs.get("interval")
        if stated is not None or not self.length or "made_from" in self.frame.attrs:
            return stated or ""
        if _begin_months(self.stamps) and _begin_months(self.known):
            return f"{int((_months(self.known) - _months(self.stamps)).max())}M"
        known = {length * _MS: name for name, length in INTERVALS.items() if length}
        return known.get(self.length, f"{self.length / 1e9:g}s")

    @property
    def window(self) -> Spans:
        """The window that was loaded, or where it is not stated, that of the rows."""
        if "start" in self.attrs:
            return [(as_utc(self.attrs["start"]), as_utc(self.attrs["end"]))]
        if not len(self.stamps):
            return []
        return [(_moment(int(self.stamps[0])), _moment(int(self.decision_moments()[-1])))]

    def is_known_until(self, end: datetime) -> bool:
        """Whether no row after its window is due, by its own steps, to be known before *end*."""
        [(_, own_end)] = self.window or [(end, end)]
        if self.key == "event_time" and not self.length and len(self.stamps) > 1:
            # A window without a stated end ends with the last event, and the next is due later.
            hours = self.stamps[-2:] // _HOUR
            due = hours[1] + min(hours[1] - hours[0], _LONGEST_EVENT_STEP[self.key] // _HOUR)
            return end <= max(own_end, _moment(int(due) * _HOUR))
        if self.length:
            # The next month may be longer than those before.
            days = 31 if self.interval == "1M" else 0
            length = max(timedelta(days), timedelta(microseconds=self.length // 1000))
            return end < own_end + length
        return end <= own_end


def _moment(nanoseconds: int) -> datetime:
    return utc(nanoseconds // _MS)


def _stamps_of(frame: pd.DataFrame, what: str) -> _Int64s:
    """The index of a frame in nanoseconds, if it is aware and ascending."""
    if not isinstance(frame, pd.DataFrame):
        msg = f"{what} is a {type(frame).__name__}; pass a DataFrame, of a Series its to_frame()"
        raise BadArgument(msg)
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        msg = f"the index of {what} holds no times; pass a frame whose index is aware UTC"
        raise BadArgument(msg)
    if index.tz is None:
        msg = (
            f'the index of {what} has no time zone; if it is in UTC, pass frame.tz_localize("UTC")'
        )
        raise BadArgument(msg)
    if not index.is_monotonic_increasing:
        msg = f"the index of {what} is not ascending; pass frame.sort_index()"
        raise BadArgument(msg)
    stamps: _Int64s = index.tz_convert("UTC").as_unit("ns").asi8
    return stamps


def _are_events(frame: pd.DataFrame, stamps: _Int64s, key: str) -> bool:
    """Whether rows are trades or funding events, and not sums or means of them over time."""
    longest = _LONGEST_EVENT_STEP.get(key)
    if longest is None or "close" in frame:
        return False
    return len(stamps) < 2 or int(np.gcd.reduce(stamps)) <= longest  # noqa: PLR2004 - one step


def _refuse_ambiguous(other: _TimedFrame, what: str) -> None:
    """Refuse rows that may be known later than it seems; as decision moments they are only early."""
    frame, stamps = other.frame, other.stamps
    labels, interval = _label_ends(frame, stamps), frame.attrs.get("interval")
    if not len(stamps):
        return
    if interval is not None:
        is_shown = (np.diff(stamps) > 0) & (stamps[1:] <= other.known[:-1])
        is_sure = is_shown.any() or _fills_window(other)
        if labels is not None:
            is_sure = np.array_equal(labels, other.known)
        if not is_sure:
            msg = (
                f'attrs["interval"] of {what} is {interval!r}, and its index does not show it, so '
                f'rows may be longer bars; after a resample set frame.attrs["interval"], align '
                f'before you select rows, or set frame.index.freq, such as "4h", if it is right'
            )
            raise BadArgument(msg)
    elif not other.length and other.key in _FINEST_STEP:
        is_on_grid = int(np.gcd.reduce(stamps)) > _FINEST_STEP[other.key]
        if labels is not None or (is_on_grid and len(stamps) >= _CERTAIN_ROWS):
            msg = (
                f"the rows of {what} are on a regular grid, so they may be sums or means over time; "
                f'set frame.attrs["interval"], such as "8h", or frame.attrs["dataset"] = "events" '
                f"if each row is known at its own time"
            )
            raise BadArgument(msg)


def _fills_window(other: _TimedFrame) -> bool:
    """Whether the bars are as many as the window that was loaded holds."""
    attrs = other.frame.attrs
    if "start" not in attrs:
        return False
    window = as_utc(attrs["end"]) - as_utc(attrs["start"])
    return window <= timedelta(microseconds=int((other.known - other.stamps).sum()) // 1000)


def _steps(stamps: _Int64s) -> _Int64s:
    steps = np.diff(stamps)
    return steps[steps > 0]


def _months(stamps: _Int64s) -> _Int64s:
    """The months since the epoch in which the stamps are."""
    months: Any = stamps.view("M8[ns]").astype("M8[M]")
    found: _Int64s = months.view(np.int64)
    return found


def _begin_months(stamps: _Int64s) -> bool:
    """Whether each stamp is the beginning of a month, UTC."""
    return bool((_ends(stamps, 0 * _MONTH) == stamps).all())


def _ends(stamps: _Int64s, length: np.timedelta64) -> _Int64s:
    """When bars of one length end; those of months end where a month begins."""
    if np.datetime_data(length)[0] != "M":
        return stamps + length.astype(np.int64)
    ends: Any = (_months(stamps) + length.astype(np.int64)).view("M8[M]")
    found: _Int64s = ends.astype("M8[ns]").view(np.int64)
    return found


def stated_ends(frame: pd.DataFrame, stamps: _Int64s, what: str) -> _Int64s:
    """The ends of bars of the length that ``attrs`` state, unless the index contradicts it."""
    interval = frame.attrs["interval"]
    length: int | None = INTERVALS.get(interval, 0) * _MS or _nanoseconds(interval)
    if interval != "1M" and (length is None or length <= 0):
        msg = (
            f'attrs["interval"] of {what} is {interval!r}, which is no length of time such as "4h"'
        )
        raise BadArgument(msg)
    ends = _ends(stamps, _MONTH if interval == "1M" else np.timedelta64(length or 0, "ns"))
    found = _contradiction(frame, stamps, ends)
    if interval == "1M" and not found and not _begin_months(stamps):
        found = "not all rows begin a month in UTC"
    if found:
        msg = (
            f'attrs["interval"] of {what} is {interval!r}, and {found}; after a resample set '
            f'frame.attrs["interval"], or align before you select rows'
        )
        raise BadArgument(msg)
    return ends


def _contradiction(frame: pd.DataFrame, stamps: _Int64s, ends: _Int64s) -> str | None:
    """What in an index shows that the bars do not have the length that is stated for them."""
    lengths, steps, labels = ends - stamps, _steps(stamps), _label_ends(frame, stamps)
    if labels is not None and (labels - stamps).max() < lengths.min():
        return f"its index has steps of {pd.Timedelta((labels - stamps).max())}"
    # Two rows on either side of a halt are no contradiction, and neither is one row off the grid.
    if not len(steps) or ((steps if len(steps) > 1 else stamps) % steps.min()).any():
        return None
    step = pd.Timedelta(steps.min())
    if steps.min() > lengths.max():
        return f"no two rows are closer than {step}"
    return f"its index has steps of {step}" if np.median(steps) < lengths.min() else None


def _label_ends(frame: pd.DataFrame, stamps: _Int64s) -> _Int64s | None:
    """Where the next label of ``index.freq`` is, in any time zone; None of an index without one."""
    index: Any = frame.index
    if index.freq is None or index.freq.n <= 0 or index.empty:
        return None
    after = pd.DatetimeIndex([index[-1] + index.freq]).tz_convert("UTC").as_unit("ns").asi8
    return np.concatenate([stamps[1:], after])


def _found_ends(frame: pd.DataFrame, stamps: _Int64s, what: str) -> _Int64s:
    """The ends of bars as the index shows them."""
    ends = _label_ends(frame, stamps)
    if ends is not None or not len(stamps):
        return stamps if ends is None else ends
    length = np.timedelta64(0, "ns")
    if _begin_months(stamps) and len(_steps(stamps)):
        months = np.diff(_months(stamps))
        if months.min() == months.max():
            length = np.timedelta64(months[0], "M")
    else:
        steps = _steps(stamps)
        if len(steps) and not (steps % steps.min()).any():
            length = np.timedelta64(steps.min(), "ns")
    if not length:
        msg = (
            f"the rows of {what} are on no regular grid, so it is not known how long a bar is; set "
            f'frame.attrs["interval"], such as "4h", or frame.attrs["dataset"] = "events" if each '
            f"row is known at its own time"
        )
        raise BadArgument(msg)
    return _ends(stamps, length)


def _free_names(other: _TimedFrame, taken: Sequence[Any]) -> list[Any]:
    """The names of its columns in the aligned frame."""
    suffix = "_".join(filter(None, (other.dataset, other.interval)))
    symbol = other.frame.attrs.get("symbol") or ""
    names: list[Any] = []
    for name in other.frame.columns:
        choices = [name, f"{name}_{suffix}", f"{name}_{suffix}_{symbol}"]
        free = [each for each in choices if each not in (*taken, *names)]
        if not free:
            msg = f"two frames have a column {choices[-1]!r}; rename it in one of them"
            raise BadArgument(msg)
        names.append(free[0])
    return names


def _attrs_of(base: _TimedFrame, others: Sequence[_TimedFrame]) -> dict[Any, Any]:
    """The attrs of the aligned frame, which is complete only if all frames are."""
    frames = [each.attrs for each in (base, *others)]
    windows = [window for attrs in frames for window in listed_windows(attrs)]
    unlisted = sum(attrs.get("missing_count", 0) for attrs in frames)
    unlisted -= sum(len(attrs.get("missing", ())) for attrs in frames)
    for start, end in base.window:
        if any("complete" not in attrs for attrs in frames):
            windows.append((start, end))
        for other in others:
            for other_start, other_end in other.window:
                windows.append((start, min(other_start, end)))
                if not other.is_known_until(end):
                    windows.append((max(other_end, start), end))
    merged = merged_windows(windows)
    attrs = {key: value for key, value in frames[0].items() if key != "fingerprint"}
    attrs["complete"] = not merged and all(each.get("complete") is True for each in frames)
    attrs["missing"] = iso_pairs(merged)
    attrs["missing_count"] = len(merged) + max(0, unlisted)
    attrs["aligned"] = [
        [each.dataset, each.frame.attrs.get("symbol"), each.interval or None] for each in others
    ]
    altered = sorted({name for each in frames for name in each.get("altered", ())})
    return {**attrs, "altered": altered[:MOST_LISTED]} if altered else attrs
