"""Check that a frame that a caller passes is of the kind that is needed."""

from __future__ import annotations

from collections.abc import Collection
from inspect import iscoroutine

import pandas as pd

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import named
from ares_notebook.model.datasets import AGG_TRADES, DATASETS, FUTURES, KLINES

# What each function returns, and the columns by which that is recognised.
_KINDS = {
    "load_klines": (KLINES.label, ("open", "high", "low", "close")),
    "load_agg_trades": (AGG_TRADES.label, ("price", "quantity")),
    "load_funding": (FUTURES.label, ("fundingRate",)),
    # Rows of any dataset, which no columns tell.
    "load_rows": ("rows", ()),
    "find_gaps": ("gaps", ("dataset", "symbol", "interval", "start", "end", "reason")),
    "download_history": ("downloads", ("at", "file", "start", "end")),
    "load_runs": ("runs", ("at", "what", "ending", "seconds")),
    # Others have these columns and more, so it is the last.
    "coverage": ("cache coverage", ("dataset", "symbol", "interval")),
}
_LOADERS = ("load_klines", "load_agg_trades", "load_funding", "load_rows")


def check_frame(frame: object, maker: str, columns: Collection[str] = ()) -> None:
    """
    Raise `BadArgument` unless *frame* is a frame as *maker* returns it.

    Needed are the columns by which the kind is recognised, for rows also *columns*, and for those
    that a loader returns an index of aware timestamps.
    """
    words, own = _KINDS[maker]
    needed = f"a frame of {words} is needed, as {maker}() returns it"
    if not isinstance(frame, pd.DataFrame):
        given = "a coroutine that was not awaited" if iscoroutine(frame) else type(frame).__name__
        msg = f"{needed}, not {given}"
        raise BadArgument(msg)
    missing = [each for each in (*own, *columns) if each not in frame.columns]
    if missing and (len(frame) or _maker_of(frame) != maker):
        lacks = f"the columns {', '.join(missing)}" if missing[1:] else f"the column {missing[0]}"
        msg = f"{needed}; this frame lacks {lacks}: {frame_in_words(frame)}"
        raise BadArgument(msg)
    if maker in _LOADERS and len(frame):
        _check_index(frame, needed)


def _check_index(frame: pd.DataFrame, needed: str) -> None:
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        remedy = 'frame.set_index("timestamp")' if "timestamp" in frame else "keep its own index"
        msg = f"{needed}; the index of this frame holds {index.dtype}, and no timestamps: {remedy}"
        raise BadArgument(msg)
    if index.tz is None:
        msg = f'{needed}; the timestamps of this frame have no time zone: frame.tz_localize("UTC")'
        raise BadArgument(msg)


def _maker_of(frame: pd.DataFrame) -> str | None:
    """The function that returns such a frame; None if there is none."""
    kinds = ((maker, columns) for maker, (_, columns) in _KINDS.items())
    return next((maker for maker, own in kinds if own and set(own) <= set(frame.columns)), None)


def frame_in_words(frame: pd.DataFrame) -> str:
    """What a frame seems to be, by its columns."""
    maker = _maker_of(frame)
    told = next((each for each in DATASETS if each.name == frame.attrs.get("dataset")), KLINES)
    if maker in _LOADERS and told not in (KLINES, AGG_TRADES, FUTURES):
        return f'it seems to hold {told.label}, as load_rows("{told.name}", …) returns them'
    if maker is not None:
        return f"it seems to hold {_KINDS[maker][0]}, as {maker}() returns them"
    if not len(frame.columns):
        return "it has no column" if len(frame) else "it has no column and no row"
    return f"it has the columns {named([str(each) for each in frame.columns])}"
