"""
Files of the original downloader: read as they are, never trusted because they exist.

They have fewer columns, stamps as pandas printed them (with or without fraction,
a bare date where all were midnights, now and then epoch milliseconds), sometimes
out of order, doubled, with bad lines.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ares_notebook.cache.disk import cannot_access
from ares_notebook.errors import CorruptFile
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.rows import Table, schema_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ends_with_line", "read_legacy"]

# As Python prints floats. What pandas takes for a number is more: inf, blanks around, a sign before.
_NUMBER = r"-?[0-9]+(?:\.[0-9]*)?(?:e[-+][0-9]{1,3})?"
_INTEGER = r"-?[0-9]{1,18}"


def read_legacy(path: Path, dataset: Dataset) -> Table:
    """Read an old cache file as a whole: sorted, each key once, unreadable lines left out."""
    frame = _text_frame(path, dataset)
    frame["timestamp"] = _stamps(frame["timestamp"])
    columns = [each for each in dataset.columns if each.name in frame and each.kind != "time"]
    good = frame["timestamp"].notna()
    for column in columns:
        if column.kind == "flag":
            good &= frame[column.name].isin(["True", "False"])
        else:
            shape = _INTEGER if column.kind == "integer" else _NUMBER
            good &= frame[column.name].str.fullmatch(shape)
    frame = frame[good]
    for column in columns:
        if column.kind == "integer":
            frame[column.name] = frame[column.name].astype("int64")
    order = "agg_trade_id" if dataset.key == "id" else "timestamp"
    # A funding event is known by its hour: it is stamped some milliseconds late.
    key = frame[order].dt.floor("h") if dataset.key == "event_time" else frame[order]
    # The last of doubled rows was written last, so it is the better formed.
    frame = frame[~key.duplicated(keep="last")].sort_values(order, kind="stable")
    return _as_table(frame, dataset)


def ends_with_line(path: Path) -> bool:
    """Whether the file's last line is whole."""
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _text_frame(path: Path, dataset: Dataset) -> pd.DataFrame:
    """The cells of all lines that have as many of them as the header."""
    import pandas as pd  # noqa: PLC0415 - only old files need it: its import is slow

    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise cannot_access(path, error) from error
    # What follows the last line end is a line cut short, or nothing.
    header, *lines = lines[:-1] or [b""]
    names = header.decode("utf-8", "replace").rstrip("\r").split(",")
    missing = [name for name in dataset.original_names if name not in names]
    if missing or len(set(names)) < len(names):
        raise CorruptFile(
            _unknown(path, f"no column {missing[0]!r}" if missing else "a doubled one")
        )
    cells = [line.rstrip(b"\r").split(b",") for line in lines]
    good = [row for row in cells if len(row) == len(names)]
    columns = {
        name: [row[at].decode("utf-8", "replace") for row in good] for at, name in enumerate(names)
    }
    return pd.DataFrame(columns, dtype=str)


def _stamps(text: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Moments in UTC; NaT where the text is none."""
    import pandas as pd  # noqa: PLC0415 - see above

    epoch = pd.to_numeric(text, errors="coerce")
    from_epoch = pd.to_datetime(epoch, unit="ms", utc=True, errors="coerce")
    words = text.mask(epoch.notna())
    from_words = pd.to_datetime(words, utc=True, errors="coerce", format="ISO8601")
    return from_words.dt.as_unit("us").where(epoch.isna(), from_epoch.dt.as_unit("us"))


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
