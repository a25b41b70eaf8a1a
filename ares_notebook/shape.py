"""The shape of a frame that somebody else made: where its stamps are, and how it is filled up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ares_notebook.errors import BadArgument
from ares_notebook.market.datasets import Dataset
from ares_notebook.market.rows import time_keys

__all__ = ["Shape"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shape:
    """
    A frame, ascending and unique by key, with its keys laid open.

    Parameters
    ----------
    frame : pandas.DataFrame
    dataset : Dataset
    stamps : {"column", "index"}
        Where ``timestamp`` is.
    stamps_us : array of int64
        Microseconds since the epoch, UTC.
    ids : array of int64 or None
        Of trades.
    """

    frame: pd.DataFrame
    dataset: Dataset
    stamps: Literal["column", "index"]
    stamps_us: Int64s
    ids: Int64s | None

    @classmethod
    def of(cls, given: pd.DataFrame | None, dataset: Dataset) -> Shape:
        """
        Read the shape of *given*; of None, that of the loaders.

        Raises
        ------
        BadArgument
            If it has no stamps, or trades without ids.
        """
        frame = _empty(dataset) if given is None else given
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
            wanted = self.frame[name].dtype
            if (
                name != "timestamp"
                and name in self.dataset.column_names
                and wanted != shaped[name].dtype
            ):
                shaped = shaped.assign(**{name: shaped[name].astype(wanted)})
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
        # Naive stamps are UTC here, as in the ancestor's frames; text too.
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
    ids: Int64s = frame["agg_trade_id"].to_numpy().astype("int64")
    return ids


def _as_stamps(stamps: pd.Series[Any], like: pd.Series[Any]) -> pd.Series[Any]:
    """Aware UTC *stamps*, written as *like* are: naive, another zone, or milliseconds."""
    written: pd.Series[Any] = stamps
    if pd.api.types.is_numeric_dtype(like):
        written = stamps.dt.as_unit("ms").astype("int64").astype(like.dtype)
    elif isinstance(like.dtype, pd.DatetimeTZDtype):
        written = stamps.dt.tz_convert(like.dtype.tz).astype(like.dtype)
    elif pd.api.types.is_datetime64_dtype(like):
        written = stamps.dt.tz_localize(None).astype(like.dtype)
    elif len(like):
        written = stamps.dt.strftime("%Y-%m-%d %H:%M:%S.%f")
    return written
