"""Merge rows of the cache into a frame that the caller has made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ares_notebook.errors import BadArgument
from ares_notebook.frame_checks import frame_in_words
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.facts import Facts
from ares_notebook.model.files import CacheFile
from ares_notebook.model.measure import Measure
from ares_notebook.model.rows import time_keys

Int64s = npt.NDArray[np.int64]

# In the year 2109.
_LARGEST_MS = 1 << 42


@dataclass(frozen=True, slots=True)
class KeyedFrame:
    """A frame, ascending and unique by key, with its timestamps and keys as arrays."""

    frame: pd.DataFrame
    dataset: Dataset
    # Microseconds since the epoch, UTC.
    stamps_us: Int64s
    # Of trades the id, else the timestamp.
    keys: Int64s

    @classmethod
    def of(cls, given: pd.DataFrame | None, dataset: Dataset) -> KeyedFrame:
        """Check *given*, and sort it; None is an empty frame as the loaders return it."""
        frame = _empty(dataset) if given is None else given
        if not isinstance(frame, pd.DataFrame):
            msg = f"the given {dataset.name} are a {type(given).__name__}; pass a DataFrame or None"
            raise BadArgument(msg)
        if not frame.columns.is_unique:
            twice = ", ".join(map(str, frame.columns[frame.columns.duplicated()].unique()))
            msg = f"the given {dataset.name} have several columns of one name: {twice}; rename or drop all but one"
            raise BadArgument(msg)
        if len(frame) and not _has_own_column(frame, dataset):
            msg = (
                f"the given {dataset.name} have none of the columns "
                f"{', '.join(dataset.original_names[1:])}: {frame_in_words(frame)}"
            )
            raise BadArgument(msg)
        if "timestamp" not in frame and not isinstance(frame.index, pd.DatetimeIndex):
            if len(frame):
                msg = f"the given {dataset.name} have neither a 'timestamp' column nor a datetime index"
                raise BadArgument(msg)
            frame = _empty(dataset)
        return cls._sorted(frame, dataset)

    @classmethod
    def _sorted(cls, frame: pd.DataFrame, dataset: Dataset) -> KeyedFrame:
        stamps = frame["timestamp"] if "timestamp" in frame else frame.index.to_series()
        stamps_us = _microseconds(stamps, dataset)
        keys = _ids(frame) if dataset.key == "id" else time_keys(dataset, stamps_us)
        # The first of rows with one key is kept: given rows are before fetched ones.
        keys, first = np.unique(keys, return_index=True)
        return cls(frame.iloc[first], dataset, stamps_us[first], keys)

    def facts_in(self, file: CacheFile) -> Facts:
        """What the rows that lie in the period of *file* prove about it."""
        period_us = [file.start_ms * 1000, file.end_ms * 1000]
        start, end = np.searchsorted(self.stamps_us, period_us)
        measure = Measure(file)
        measure.add(self.keys[start:end], self.stamps_us[start:end] // 1000)
        return measure.facts()

    def merged(self, cached: pd.DataFrame) -> KeyedFrame:
        """With those rows of *cached* (as the loaders return them) that it lacks."""
        new = cached[~np.isin(KeyedFrame.of(cached, self.dataset).keys, self.keys)]
        if new.empty:
            return self
        has_column = "timestamp" in self.frame
        rows = self._with_dtypes(self._flat(new) if has_column else self._indexed(new))
        joined = pd.concat([self.frame, rows]) if len(self.frame) else rows
        merged = KeyedFrame._sorted(joined, self.dataset)
        if has_column:
            return replace(merged, frame=merged.frame.reset_index(drop=True))
        return merged

    def _flat(self, new: pd.DataFrame) -> pd.DataFrame:
        """Loaded rows with the columns of this frame, of which one is the timestamp."""
        flat = new.reset_index()
        flat["timestamp"] = _as_stamps(flat["timestamp"], self.frame["timestamp"])
        return flat.reindex(columns=self.frame.columns)

    def _indexed(self, new: pd.DataFrame) -> pd.DataFrame:
        """Loaded rows with the columns of this frame, if it has any, and timestamps as its index."""
        rows = new.reindex(columns=self.frame.columns) if len(self.frame.columns) else new
        own, index = self.frame.index, rows.index
        if len(own):
            index = _as_stamps(index.to_series(), own.to_series()).array
        return rows.set_axis(pd.DatetimeIndex(index, name=own.name or "timestamp"))

    def _with_dtypes(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Numbers in the dtypes of this frame, where that changes none."""
        names = set(self.dataset.column_names) & set(self.frame.columns) - {"timestamp"}
        if not len(self.frame):
            return rows
        return rows.assign(**{name: _as_numbers(rows[name], self.frame[name]) for name in names})


def _has_own_column(frame: pd.DataFrame, dataset: Dataset) -> bool:
    """Whether a frame has a column of the dataset's rows, or none beside the timestamp."""
    names = {*frame.columns} - {"timestamp"}
    return not names or not names.isdisjoint(dataset.column_names)


def _empty(dataset: Dataset) -> pd.DataFrame:
    dtypes = {"number": "float64", "integer": "int64", "flag": "bool"}
    columns = {
        column.name: pd.Series(dtype=dtypes[column.kind])
        for column in dataset.columns
        if column.kind != "time"
    }
    index = pd.DatetimeIndex([], tz="UTC", name="timestamp").as_unit("us")
    return pd.DataFrame(columns, index=index)


def _microseconds(stamps: pd.Series[Any], dataset: Dataset) -> Int64s:
    moments = stamps
    if pd.api.types.is_numeric_dtype(stamps):
        # The check below refuses what is cut here; pandas 2 cannot even represent such years.
        within = stamps.clip(-_LARGEST_MS, _LARGEST_MS)
        moments = pd.to_datetime(within, unit="ms", utc=True)
    elif not isinstance(stamps.dtype, pd.DatetimeTZDtype):
        # Naive stamps are UTC here, as in the original downloader's frames; text too.
        is_text = not pd.api.types.is_datetime64_dtype(stamps)
        moments = pd.to_datetime(stamps, utc=True, format="ISO8601" if is_text else None)
    if moments.isna().any():
        msg = f"the given {dataset.name} have rows without a timestamp"
        raise BadArgument(msg)
    early, late = pd.Timestamp("2009", tz="UTC"), pd.Timestamp("2100", tz="UTC")
    if len(moments) and not moments.between(early, late).all():
        msg = (
            f"the given {dataset.name} have stamps outside 2009 to 2100; numbers are taken as "
            f"milliseconds since the epoch"
        )
        raise BadArgument(msg)
    us: Int64s = moments.dt.tz_convert("UTC").dt.as_unit("us").astype("int64").to_numpy()
    return us


def _ids(trades: pd.DataFrame) -> Int64s:
    if "agg_trade_id" not in trades:
        msg = "the given agg_trades have no 'agg_trade_id' column, which tells them apart"
        raise BadArgument(msg)
    if trades["agg_trade_id"].isna().any():
        msg = "the given agg_trades have rows without an 'agg_trade_id'"
        raise BadArgument(msg)
    ids: Int64s = trades["agg_trade_id"].to_numpy().astype("int64")
    return ids


def _as_numbers(numbers: pd.Series[Any], like: pd.Series[Any]) -> pd.Series[Any]:
    """Fetched *numbers* in the dtype of *like*; unchanged where that would change one."""
    wanted: Any = like.dtype
    if isinstance(wanted, pd.CategoricalDtype):
        # A number that is none of its categories would become NaN.
        wanted = wanted.categories.dtype
    if pd.api.types.is_integer_dtype(wanted) and not (numbers % 1 == 0).all():
        return numbers
    first = next((each for each in like if not pd.isna(each)), None)
    if pd.api.types.is_object_dtype(wanted) and isinstance(first, str | Decimal):
        kind = type(first)
        return pd.Series([kind(str(each)) for each in numbers], numbers.index, dtype=object)
    written: pd.Series[Any] = numbers.astype(wanted)
    return written


def _as_stamps(stamps: pd.Series[Any], like: pd.Series[Any]) -> pd.Series[Any]:
    """Aware UTC *stamps* in the dtype of *like*: naive, another zone, milliseconds, or text."""
    written: pd.Series[Any] = stamps
    if isinstance(like.dtype, pd.ArrowDtype) and like.dtype.kind == "M":
        zone = like.dtype.pyarrow_dtype.tz
        moments = stamps.dt.tz_convert(zone) if zone else stamps.dt.tz_localize(None)
        written = moments.astype(like.dtype)
    elif pd.api.types.is_numeric_dtype(like):
        written = stamps.dt.as_unit("ms").astype("int64").astype(like.dtype)
    elif isinstance(like.dtype, pd.DatetimeTZDtype):
        written = stamps.dt.tz_convert(like.dtype.tz).astype(like.dtype)
    elif pd.api.types.is_datetime64_dtype(like):
        written = stamps.dt.tz_localize(None).astype(like.dtype)
    elif len(like):
        written = stamps.dt.strftime("%Y-%m-%d %H:%M:%S.%f")
    return written
