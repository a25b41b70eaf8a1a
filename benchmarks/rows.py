"""
Counts the CORRECT rows in what a contender left: by value, against the market's truth.

A candle is known by its open time and must have the market's open, high, low, close and
volume; a trade by its id, and must have its price and quantity. A process of its own, so
that the benchmark stays small.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.feather as arrow_feather
import pyarrow.parquet as arrow_parquet

__all__ = ["READERS", "Count", "count"]

Ints = npt.NDArray[np.int64]
Rows = tuple[Ints, Ints]

_ONE = 100_000_000
_MICROSECONDS_FROM = 100_000_000_000_000
_CANDLE = ["open", "high", "low", "close", "volume"]


@dataclass(frozen=True, slots=True)
class Count:
    """
    How many rows are what.

    Parameters
    ----------
    expected : int
        Rows that the market has.
    correct : int
        Of these, delivered with the right values; doubled ones count once.
    wrong : int
        Delivered with other values.
    missing : int
        Not delivered.
    doubled : int
        Delivered more often than once.
    beyond : int
        Delivered, but not asked for; no fault.
    """

    expected: int
    correct: int
    wrong: int
    missing: int
    doubled: int
    beyond: int


def count(true_keys: Ints, true_values: Ints, keys: Ints, values: Ints) -> Count:
    """
    Hold delivered rows against the true ones.

    Parameters
    ----------
    true_keys : array of int64
        Ascending, each once.
    true_values : array of int64
        A row each.
    keys, values : array of int64
        As delivered, in any order.
    """
    seat = np.minimum(np.searchsorted(true_keys, keys), len(true_keys) - 1)
    known = true_keys[seat] == keys
    right = known & (values == true_values[seat]).all(axis=1)
    found = np.unique(seat[known])
    correct = np.unique(seat[right])
    return Count(
        expected=len(true_keys),
        correct=len(correct),
        wrong=int((known & ~right).sum()),
        missing=len(true_keys) - len(found),
        doubled=int(known.sum()) - len(found),
        beyond=int((~known).sum()),
    )


# --- what contenders leave ---


def _cache(folder: Path, kind: str) -> Iterator[Rows]:
    """Our cache's files, and those of bare PyArrow."""
    names = ["price", "quantity"] if kind == "trades" else _CANDLE
    key = "agg_trade_id" if kind == "trades" else "timestamp"
    types = dict.fromkeys(names, pa.float64())
    for path in sorted(folder.glob("*.csv")):
        options = arrow_csv.ConvertOptions(column_types=types, include_columns=[key, *names])
        table = arrow_csv.read_csv(path, convert_options=options)
        yield _keys(table[key]), _values(table, names)


def _raw(folder: Path, kind: str) -> Iterator[Rows]:
    """Rows in the exchange's own order of columns, without header."""
    names = ["price", "quantity"] if kind == "trades" else _CANDLE
    for path in sorted(folder.rglob("*.csv")):
        with path.open() as file:
            width = file.readline().count(",") + 1
        spare = [f"{at}" for at in range(width - 1 - len(names))]
        read = arrow_csv.ReadOptions(column_names=["key", *names, *spare])
        types = {"key": pa.int64(), **dict.fromkeys(names, pa.float64())}
        convert = arrow_csv.ConvertOptions(column_types=types, include_columns=list(types))
        table = arrow_csv.read_csv(path, read, convert_options=convert)
        yield _keys(table["key"], is_time=kind == "klines"), _values(table, names)


def _parquet(folder: Path, kind: str) -> Iterator[Rows]:
    """What binance-vision writes."""
    names = ["price", "quantity"] if kind == "trades" else _CANDLE
    key = "agg_trade_id" if kind == "trades" else "open_time"
    for path in sorted(folder.glob("*.parquet")):
        table = arrow_parquet.read_table(path, columns=[key, *names])
        yield _keys(table[key]), _values(table, names)


def _feather(folder: Path, kind: str) -> Iterator[Rows]:
    """What freqtrade writes, and frames that were read."""
    names = ["price", "amount"] if kind == "trades" else _CANDLE
    for path in sorted(folder.rglob("*.feather")):
        table = arrow_feather.read_table(path)
        candidates = ("id",) if kind == "trades" else ("date", "timestamp")
        key = next(name for name in candidates if name in table.column_names)
        yield _keys(table[key]), _values(table, names)


READERS: dict[str, Callable[[Path, str], Iterator[Rows]]] = {
    "cache": _cache,
    "raw": _raw,
    "parquet": _parquet,
    "feather": _feather,
}
"""How each format is read: folder and kind in, keys and values out, file by file."""


def _keys(column: Any, *, is_time: bool = False) -> Ints:
    """Ids, or moments in milliseconds."""
    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64()))
    keys: Ints = np.asarray(pc.cast(column, pa.int64()))
    return keys // 1000 if is_time and len(keys) and keys[0] >= _MICROSECONDS_FROM else keys


def _values(table: Any, names: list[str]) -> Ints:
    """Decimals as whole numbers of units of the eighth decimal: floats are exact to that here."""
    columns = [np.rint(np.asarray(table[name].cast(pa.float64())) * _ONE) for name in names]
    return np.stack(columns, axis=1).astype(np.int64)


def _main(task: dict[str, Any]) -> None:
    """Count, and tell."""
    truth = np.load(task["truth"])
    parts = list(READERS[task["format"]](Path(task["folder"]), task["kind"]))
    width = truth["values"].shape[1]
    keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in parts)])
    values = np.concatenate([np.empty((0, width), np.int64), *(values for _, values in parts)])
    print(json.dumps(asdict(count(truth["keys"], truth["values"], keys, values))))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
