"""Tables of the cache: DataFrames that a notebook shows as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ares_notebook.formatting import (
    COUNTS,
    TIMES,
    block,
    cell_in_words,
    head_in_words,
    line,
    many,
    table,
)

# The file's name or its state says the same.
_REDUNDANT = {"dataset", "symbol", "interval", "start", "end", "final"}
_MOST_ROWS = 24


class CacheTable(pd.DataFrame):
    """
    A DataFrame that a notebook shows as text: times to the minute, shares in percent.

    After ``itables.init_notebook_mode()`` it can be sorted and searched, as any other there. A
    selection or a sum of it is a plain DataFrame again.
    """

    def _repr_html_(self) -> str:
        """All text is escaped; of a long table the first and the last rows."""
        names = [str(each) for each in self]
        if "file" in names:
            names = [each for each in names if each not in _REDUNDANT]
        # In its notebook mode itables replaces this one.
        shows_any = vars(pd.DataFrame)["_repr_html_"]
        if shows_any.__module__.partition(".")[0] == "itables":
            # Its user has asked for tables that can be sorted and searched: with all rows. Times
            # are words, which sort alike; counts are not.
            times = in_words(self, [each for each in names if each in TIMES])
            counts = pd.DataFrame(self)[[each for each in names if each not in TIMES]]
            return str(shows_any(pd.concat([counts, times], axis="columns")))
        half = _MOST_ROWS // 2
        more = len(self) - _MOST_ROWS
        shown = in_words(pd.concat([self.head(half), self.tail(half)]) if more > 0 else self, names)
        rest = line(f"… {more:,} rows between them are not shown") if more > 0 else ""
        numbers = [each for each in names if each in (*COUNTS, "share")]
        cells = table([*map(str, shown)], shown.to_numpy().tolist(), numbers=numbers)
        return block(many(len(self), "row"), cells, rest)


def table_of(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> CacheTable:
    """A table of some rows, whose times are milliseconds since the epoch, or None."""
    # By columns, which for 100,000 rows takes a tenth of the time that pandas takes for dicts.
    return CacheTable({name: _column(name, [row[name] for row in rows]) for name in names})


def _column(name: str, cells: Sequence[Any]) -> Any:
    if name not in TIMES:
        return cells or pd.Index([], dtype=object)
    times = np.array(cells, dtype="datetime64[ms]")
    return pd.DatetimeIndex(times, tz="UTC").as_unit("us")


def in_words(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Columns of a table as text: times to the minute, whose heads say UTC, shares in percent."""
    return pd.DataFrame(
        {
            # NaT of a period without a row, NA of an unknown count.
            head_in_words(name): [
                cell_in_words(name, None if pd.isna(each) else each) for each in frame[name]
            ]
            for name in names
        }
    )
