"""Where rows of a frame are missing, and how a plot shows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from ares_notebook.cache.gap_reasons import NOT_DOWNLOADED
from ares_notebook.frame_attrs import is_cut, missing
from ares_notebook.model.gaps import CONFIRMED, UNCONFIRMED
from ares_notebook.plots.figure import days_of, draw_boxes, least_share, widened
from ares_notebook.plots.units import dataset_of
from ares_notebook.quality.calendar import STYLES

Span = tuple[pd.Timestamp, pd.Timestamp]
# The height of the tick of a gap, as a share of the axes of a plot.
GAP_TICK = 0.05
# Ticks of gaps are in front of a pane of this order.
PANE_ORDER = 3
# The months of the calendar differ by less, a row that is not there makes it two.
_LARGER = 1.5
# Binance pays funding every 8, 4 or 1 hours, and changes that: only a longer wait is a gap.
LONGEST_WAIT = pd.Timedelta(hours=8)
_MISSING = "missing"
_STYLES = (STYLES[NOT_DOWNLOADED], STYLES[CONFIRMED], STYLES[UNCONFIRMED])


def _words_of(frame: pd.DataFrame) -> tuple[str, str, str]:
    """What a legend calls the gaps of a frame, in the order of `_STYLES`."""
    what = "candle" if "close" in frame else "value"
    return _MISSING, f"no {what} (confirmed absent)", f"no {what} (missing or absent)"


def gaps_of(
    frame: pd.DataFrame, around: Span | None = None, *, given: pd.DataFrame | None = None
) -> pd.DataFrame:
    """
    Where *frame* has no row; also where it does not reach *around*, a window of other rows.

    *given* is the frame that a caller passed, if empty rows were removed from it.
    """
    windows = _listed_gaps(frame)
    _, absent, unknown = _words_of(frame)
    rows = [(start, end, _MISSING) for start, end in windows]
    # Without attrs, or after rows were removed, nothing is known of why a row is not there, and where
    # the exchange writes each row, no absence is ever confirmed.
    is_known = "missing" in frame.attrs and not is_cut(frame if given is None else given)
    is_known &= not dataset_of(frame.attrs).writes_each_row
    what = absent if is_known else unknown
    for start, end in _larger_steps(frame):
        rows += [(*left, what) for left in _without(start, end, windows)]
    for start, end in _beyond(frame, around) if around else ():
        rows += [(*left, unknown) for left in _without(start, end, windows)]
    table = pd.DataFrame(rows, columns=["start", "end", "what"])
    stamps = dict.fromkeys(("start", "end"), "datetime64[us, UTC]")
    return table.astype(stamps).sort_values("start", ignore_index=True)


def draw_gaps(
    ax: Axes, frame: pd.DataFrame, gaps: pd.DataFrame, bottom: float = 0.0, height: float = GAP_TICK
) -> list[tuple[str, object]]:
    """Draw a tick for each of the *gaps* of a frame; what they are in a legend."""
    low, high = ax.get_xlim()
    gaps = gaps[(days_of(gaps["end"]) > low) & (days_of(gaps["start"]) < high)]
    least = (high - low) * least_share(ax)
    entries: list[tuple[str, object]] = []
    for what, style in zip(_words_of(frame), _STYLES, strict=True):
        some = gaps[gaps["what"] == what]
        if len(some):
            x0 = days_of(some["start"])
            x0, width = widened(x0, days_of(some["end"]) - x0, least)
            ticks = draw_boxes(ax, (x0, bottom, width, height), style)
            ticks.set(transform=ax.get_xaxis_transform(), zorder=PANE_ORDER + 1)
            entries.append((what, style))
    return entries


def _listed_gaps(frame: pd.DataFrame) -> list[Span]:
    """The windows that *frame* lacks by its ``attrs``."""
    if "missing" not in frame.attrs:
        return []
    windows = missing(frame)
    return list(zip(windows["start"], windows["end"], strict=True))


def times_of(frame: pd.DataFrame) -> pd.DatetimeIndex:
    """The index of a frame of rows."""
    return pd.DatetimeIndex(frame.index)


def usual_step(frame: pd.DataFrame) -> pd.Timedelta:
    """The time from a row to the next, where none is missing."""
    if "fundingRate" in frame:
        return LONGEST_WAIT
    steps = np.sort(_steps(frame))
    return pd.Timedelta(steps[len(steps) // 2]) if len(steps) else pd.Timedelta(hours=1)


def span_of(frame: pd.DataFrame) -> Span:
    """From the first row to the end of the last."""
    return times_of(frame)[0], times_of(frame)[-1] + usual_step(frame)


def whole_span_of(frame: pd.DataFrame) -> Span:
    """From the first row, or the gap that ends there, to the end of the last."""
    first, last = span_of(frame)
    windows = _listed_gaps(frame)
    # Part of a frame lists the gaps of the whole one.
    first = min([first, *(start for start, end in windows if start < first <= end)])
    last = max([last, *(end for start, end in windows if start <= last < end)])
    return first, last


def resampled(frame: pd.DataFrame, how: dict[str, str], most: int) -> pd.DataFrame:
    """The rows of *frame* in no more than about *most*, each column put together in its way."""
    step = usual_step(frame)
    start, end = span_of(frame)
    grid = step * max(1, int(np.ceil((end - start) / step / most)))
    return frame[list(how)].resample(grid, origin="start").agg(how)


def _steps(frame: pd.DataFrame) -> npt.NDArray[np.timedelta64]:
    # Without the zone, which would make an object of each of two million moments.
    return np.diff(times_of(frame).tz_convert(None).to_numpy())


def _larger_steps(frame: pd.DataFrame) -> list[Span]:
    """From where the next row would be to where it is."""
    usual = usual_step(frame)
    stamps = times_of(frame)
    wide = np.flatnonzero(_steps(frame) > (usual * _LARGER).to_timedelta64())
    return [(stamps[at] + usual, stamps[at + 1]) for at in wide.tolist()]


def _beyond(frame: pd.DataFrame, around: Span) -> list[Span]:
    """What of *around* is before the rows of *frame* and after them, if a row could be there."""
    start, end = around
    if frame.empty:
        return [around]
    first, last = span_of(frame)
    return [
        each for each in ((start, first), (last, end)) if each[1] - each[0] >= usual_step(frame)
    ]


def _without(start: pd.Timestamp, end: pd.Timestamp, others: Sequence[Span]) -> list[Span]:
    """What of ``[start, end)`` none of *others* holds; they are in order."""
    left = []
    for other_start, other_end in others:
        if other_end <= start or end <= other_start:
            continue
        if start < other_start:
            left.append((start, other_start))
        start = max(start, other_end)
    return [*left, (start, end)] if start < end else left
