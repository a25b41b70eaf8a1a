"""The shape of a frame that somebody else made: where its stamps are, and how it is filled up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ares_notebook.errors import BadArgument
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.rows import time_keys

__all__ = ["Shape"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shape:
    """A frame, ascending and unique by key, with its keys laid open."""

    frame: pd.DataFrame
    dataset: Dataset
    # Where ``timestamp`` is.
    stamps: Literal["column", "index"]
    # Microseconds since the epoch, UTC.
    stamps_us: Int64s
    # Of trades.
    ids: Int64s | None

    @classmethod
    def of(cls, given: pd.DataFrame | None, dataset: Dataset) -> Shape:
        """Read the shape of *given*; of None, that of the loaders."""
        frame = _empty(dataset) if given is None else given
        if not isinstance(frame, pd.DataFrame):
            msg = f"the given {dataset.name} are a {type(given).__name__}; pass a DataFrame or None"
            raise BadArgument(msg)
        if not frame.columns.is_unique:
            twice = ", ".join(map(str, frame.columns[frame.columns.duplicated()].unique()))
            msg = f"the given {dataset.name} have columns of one name: {twice}; which is meant?"
            raise BadArgument(msg)
        place: Literal["column", "index"] = "column" if "timestamp" in frame else "index"
        if place == "index" and not isinstance(frame.index, pd.DatetimeIndex):
            if len(frame):
                msg = f"the given {dataset.name} have neither a 'timestamp' column nor a datetime index"
                raise BadArgument(msg)
            frame = _empty(dataset)
        return cls._sorted(frame, dataset, place)

    @classmethod
    def _sorted(
        cls, frame: pd.DataFrame, dataset: Dataset, place: Literal["column", "index"]
    ) -> Shape:
        stamps = frame["timestamp"] if place == "column" else frame.index.to_series()
        us = _microseconds(stamps, dataset)
        ids = _ids(frame, dataset)
        keys = time_keys(dataset, us) if ids is None else ids
        # The first of rows with one key stays: given rows stand before fetched ones.
        _, first = np.unique(keys, return_index=True)
        return cls(
            frame.iloc[first], dataset, place, us[first], None if ids is None else ids[first]
        )

    @property
    def keys(self) -> Int64s:
        """What each row is known by: the trade's id, else its stamp."""
        return time_keys(self.dataset, self.stamps_us) if self.ids is None else self.ids

    def filled(self, cached: pd.DataFrame) -> Shape:
        """The frame with those rows of *cached* (as the loaders give them) that it lacks."""
        other = Shape.of(cached, self.dataset)
        new = cached.iloc[np.flatnonzero(~np.isin(other.keys, self.keys))]
        if new.empty:
            return self
        if self.frame.empty and not self._is_bare():
            return Shape._sorted(self._shaped(new), self.dataset, self.stamps)
        joined = (
            pd.concat([self.frame, self._shaped(new)]) if len(self.frame) else self._shaped(new)
        )
        shape = Shape._sorted(joined, self.dataset, self.stamps)
        if self.stamps == "index":
            return shape
        return replace(shape, frame=shape.frame.reset_index(drop=True))

    def _is_bare(self) -> bool:
        """Whether the given frame says nothing of the columns it wants."""
        return len(self.frame.columns) == 0

    def _shaped(self, new: pd.DataFrame) -> pd.DataFrame:
        """Loaded rows in the columns, dtypes and stamps of this frame."""
        if self.stamps == "index":
            shaped = new if self._is_bare() else new.reindex(columns=self.frame.columns)
            index = shaped.index
            own = self.frame.index
            if isinstance(own, pd.DatetimeIndex) and len(own):
                index = _as_stamps(index.to_series(), own.to_series()).array
            shaped = shaped.set_axis(pd.DatetimeIndex(index, name=own.name or "timestamp"))
            return self._with_dtypes(shaped)
        flat = new.reset_index()
        flat["timestamp"] = _as_stamps(flat["timestamp"], self.frame["timestamp"])
        return self._with_dtypes(flat.reindex(columns=self.frame.columns))

    def _with_dtypes(self, shaped: pd.DataFrame) -> pd.DataFrame:
        """Numbers in the dtypes given, where every number fits."""
        for name in self.frame.columns if len(self.frame) else ():
            if name != "timestamp" and name in self.dataset.column_names:
                column = _as_numbers(shaped[name], self.frame[name])
                shaped = shaped.assign(**{name: column})
        return shaped


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
        moments = pd.to_datetime(stamps, unit="ms", utc=True)
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


def _ids(frame: pd.DataFrame, dataset: Dataset) -> Int64s | None:
    if dataset.key != "id":
        return None
    if "agg_trade_id" not in frame:
        msg = "the given agg_trades have no 'agg_trade_id' column, without which none is told from another"
        raise BadArgument(msg)
    if frame["agg_trade_id"].isna().any():
        msg = "the given agg_trades have rows without an 'agg_trade_id'"
        raise BadArgument(msg)
    ids: Int64s = frame["agg_trade_id"].to_numpy().astype("int64")
    return ids


def _as_numbers(numbers: pd.Series[Any], like: pd.Series[Any]) -> pd.Series[Any]:
    """Fetched *numbers*, written as *like* are; as they are where that would change one."""
    wanted: Any = like.dtype
    if isinstance(wanted, pd.CategoricalDtype):
        # Of its categories none may be one of these numbers, and would turn them into NaN.
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
    """Aware UTC *stamps*, written as *like* are: naive, another zone, or milliseconds."""
    written: pd.Series[Any] = stamps
    if isinstance(like.dtype, pd.ArrowDtype) and pd.api.types.is_datetime64_any_dtype(like):
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
