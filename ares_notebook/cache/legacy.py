"""
Files of the ancestor: read as they are, never trusted because they exist.

They have fewer columns, stamps as pandas printed them (with or without fraction,
a bare date where all were midnights, now and then epoch milliseconds), sometimes
out of order, doubled, with bad lines.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ares_notebook.errors import CorruptFile
from ares_notebook.market.datasets import Dataset
from ares_notebook.market.rows import Table, schema_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ends_with_line", "legacy_columns", "read_legacy"]

# What the ancestor always wrote; a file that lacks one of these is not its work.
_REQUIRED = {
    "klines": ("timestamp", "open", "high", "low", "close", "volume"),
    "agg_trades": ("timestamp", "price", "quantity", "is_buyer_maker", "agg_trade_id"),
    "futures": ("timestamp", "fundingRate"),
}


def legacy_columns(dataset: Dataset) -> tuple[str, ...]:
    """The columns that the ancestor wrote."""
    return _REQUIRED[dataset.name]


def read_legacy(path: Path, dataset: Dataset) -> Table:
    """
    Read an old cache file as a whole: sorted, each key once, unreadable lines left out.

    Returns
    -------
    pyarrow.Table
        Rows of *dataset*; columns that the ancestor did not store are null.

    Raises
    ------
    CorruptFile
        If it lacks the columns that the ancestor wrote.
    """
    frame = _text_frame(path, dataset)
    frame["timestamp"] = _stamps(frame["timestamp"])
    columns = [each for each in dataset.columns if each.name in frame and each.kind != "time"]
    import pandas as pd  # noqa: PLC0415 - only old files need it: its import is slow

    good = frame["timestamp"].notna()
    for column in columns:
        if column.kind == "flag":
            good &= frame[column.name].isin(["True", "False"])
        else:
            good &= pd.to_numeric(frame[column.name], errors="coerce").notna()
    frame = frame[good]
    for column in columns:
        if column.kind == "integer":
            frame[column.name] = pd.to_numeric(frame[column.name]).astype("int64")
    key = "agg_trade_id" if dataset.key == "id" else "timestamp"
    # The last of doubled rows was written last, so it is the better formed.
    frame = frame.drop_duplicates(key, keep="last").sort_values(key, kind="stable")
    return _as_table(frame, dataset)


def ends_with_line(path: Path) -> bool:
    """Whether the file's last line is whole."""
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _text_frame(path: Path, dataset: Dataset) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - see above

    try:
        frame = pd.read_csv(
            path, dtype=str, on_bad_lines="skip", index_col=False, encoding_errors="replace"
        )
    except (ValueError, UnicodeDecodeError, OSError) as error:
        # pandas' parser errors are ValueErrors; an empty file is one too.
        raise CorruptFile(_unknown(path, str(error).splitlines()[0])) from error
    missing = [name for name in _REQUIRED[dataset.name] if name not in frame]
    if missing:
        raise CorruptFile(_unknown(path, f"no column {missing[0]!r}"))
    # A number cut short is still a number.
    return frame if ends_with_line(path) else frame.iloc[:-1]


def _stamps(text: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Moments in UTC; NaT where the text is none."""
    import pandas as pd  # noqa: PLC0415 - see above

    epoch = pd.to_numeric(text, errors="coerce")
    from_epoch = pd.to_datetime(epoch, unit="ms", utc=True, errors="coerce")
    words = text.mask(epoch.notna())
    from_words = pd.to_datetime(words, utc=True, errors="coerce", format="ISO8601")
    return from_words.fillna(from_epoch)


def _as_table(frame: pd.DataFrame, dataset: Dataset) -> Table:
    schema = schema_of(dataset)
    columns = []
    for each in schema:
        if each.name == "timestamp":
            values = frame["timestamp"].dt.as_unit("us").astype("int64")
        elif each.name in frame:
            values = frame[each.name]
        else:
            columns.append(pa.nulls(len(frame), each.type))
            continue
        columns.append(pa.array(values, type=each.type, from_pandas=True))
    return pa.table(columns, schema=schema)


def _unknown(path: Path, reason: str) -> str:
    return f"{path} is neither a cache file of ours nor an old one ({reason}); download its period again"
