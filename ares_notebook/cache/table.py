"""Tables of the cache: DataFrames with a face for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ares_notebook.formatting import block, line, table

__all__ = ["CacheTable", "in_words", "table_of"]

_MOMENTS = ("start", "end", "first", "last", "at")
_COUNTS = ("rows", "expected", "holes", "confirmed_absent", "missing")
# What tells nobody anything beside the others: the file's name says it, or the state.
_HIDDEN = {"dataset", "symbol", "interval", "start", "end", "final"}
_MOST_ROWS = 24


class CacheTable(pd.DataFrame):
    """
    A DataFrame that a notebook shows in words: moments to the minute, shares in percent.

    Whatever is made of it (a selection, a sum) is a plain DataFrame again.
    """

    def _repr_html_(self) -> str:
        """All text is escaped; of a long table the first and the last rows."""
        names = [str(each) for each in self]
        if "file" in names:
            names = [each for each in names if each not in _HIDDEN]
        half = _MOST_ROWS // 2
        more = len(self) - _MOST_ROWS
        shown = in_words(pd.concat([self.head(half), self.tail(half)]) if more > 0 else self, names)
        words = f"{len(self):,} rows" if len(self) != 1 else "1 row"
        rest = line(f"… {more:,} rows between them are not shown") if more > 0 else ""
        flush = [each for each in names if each in (*_COUNTS, "share")]
        return block(words, table(names, shown.to_numpy().tolist(), numbers=flush), rest)


def table_of(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> CacheTable:
    """
    A table of some rows; moments are given in milliseconds since the epoch, or None.

    Put together by columns, which of 100,000 rows takes a tenth of the time that a dict a row does.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return CacheTable(
        {name: _column(name, cells) for name, cells in zip(names, columns, strict=True)}
    )


def _column(name: str, cells: Sequence[Any]) -> Any:
    if name not in _MOMENTS:
        return list(cells) if cells else pd.Index([], dtype=object)
    moments = np.array(cells, dtype="datetime64[ms]")
    return pd.DatetimeIndex(moments, tz="UTC").as_unit("us")


def in_words(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Columns of a table as text: moments to the minute (UTC), shares in percent, counts parted."""
    return pd.DataFrame({name: [_word(name, each) for each in frame[name]] for name in names})


def _word(name: str, value: Any) -> str:
    # NaT of a period without a row, NA of a count that nobody knows.
    if pd.isna(value):
        return "-" if name in _MOMENTS else "?"
    if name in _MOMENTS:
        return f"{value:%Y-%m-%d %H:%M}"
    if name == "share":
        return f"{value:.2%}"
    return f"{value:,}" if name in _COUNTS else str(value)
