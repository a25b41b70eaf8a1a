"""
Counts the CORRECT rows in what a contender left: by value, against the market's truth.

A candle is known by its open time and must have the market's open, high, low, close and
volume; a trade by its id, and must have its price and quantity; a payment of funding by its
hour, and must have its rate. A process of its own, so that the benchmark stays small.
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
_HOUR_MS = 3_600_000
_CANDLE = ["open", "high", "low", "close", "volume"]
_NAMED_TRADE = ("aggregate_trade_id", ["price", "qty"])
# What the columns of values are called: here, and in Feather files of freqtrade.
_OURS = {"klines": _CANDLE, "trades": ["price", "quantity"], "funding": ["fundingRate"]}
_THEIRS = {"klines": _CANDLE, "trades": ["price", "amount"], "funding": ["funding_rate"]}


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
        Delivered with other values, or in between, where the market has no row.
    missing : int
        Not delivered.
    doubled : int
        Delivered more often than once.
    beyond : int
        Delivered, but before or after what was asked for; no fault.
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
    within = (keys >= true_keys[0]) & (keys <= true_keys[-1])
    found = np.unique(seat[known])
    correct = np.unique(seat[right])
    return Count(
        expected=len(true_keys),
        correct=len(correct),
        wrong=int((within & ~right).sum()),
        missing=len(true_keys) - len(found),
        doubled=int(known.sum()) - len(found),
        beyond=int((~within).sum()),
    )


# --- what contenders leave ---

# The last line of a file that was cut off is no row.
_HALVES = arrow_csv.ParseOptions(invalid_row_handler=lambda _row: "skip")


def _cache(folder: Path, kind: str) -> Iterator[Rows]:
    """Our cache's files, and those of bare PyArrow."""
    names = _OURS[kind]
    key = "agg_trade_id" if kind == "trades" else "timestamp"
    types = dict.fromkeys(names, pa.float64())
    for path in sorted(folder.glob("*.csv")):
        options = arrow_csv.ConvertOptions(column_types=types, include_columns=[key, *names])
        table = arrow_csv.read_csv(path, convert_options=options)
        yield _keys(table[key]), _values(table, names)


def _raw(folder: Path, kind: str) -> Iterator[Rows]:
    """Rows in the exchange's own order of columns, without header."""
    names = _OURS[kind]
    for path in sorted(folder.rglob("*.csv")):
        with path.open() as file:
            width = file.readline().count(",") + 1
        if width <= len(names):
            # Empty, or not even one row is whole.
            continue
        spare = [f"{at}" for at in range(width - 1 - len(names))]
        read = arrow_csv.ReadOptions(column_names=["key", *names, *spare])
        types = {"key": pa.int64(), **dict.fromkeys(names, pa.float64())}
        convert = arrow_csv.ConvertOptions(column_types=types, include_columns=list(types))
        table = arrow_csv.read_csv(path, read, _HALVES, convert)
        yield _keys(table["key"], is_time=kind == "klines"), _values(table, names)


def _headed(folder: Path, _kind: str) -> Iterator[Rows]:
    """What gapless-crypto-data writes: remarks before the head, moments without a zone."""
    for path in sorted(folder.glob("*.csv")):
        with path.open() as file:
            remarks = sum(line.startswith("#") for line in file)
        read = arrow_csv.ReadOptions(skip_rows=remarks)
        types = dict.fromkeys(_CANDLE, pa.float64())
        convert = arrow_csv.ConvertOptions(column_types=types, include_columns=["date", *_CANDLE])
        table = arrow_csv.read_csv(path, read, _HALVES, convert)
        yield _keys(table["date"]), _values(table, _CANDLE)


def _named(folder: Path, kind: str) -> Iterator[Rows]:
    """What nekojiru-binance writes: CSV with the names of the exchange's documentation."""
    key, names = ("open_time", _CANDLE) if kind == "klines" else _NAMED_TRADE
    types = {key: pa.int64(), **dict.fromkeys(names, pa.float64())}
    convert = arrow_csv.ConvertOptions(column_types=types, include_columns=list(types))
    for path in sorted(folder.rglob("*.csv")):
        table = arrow_csv.read_csv(path, convert_options=convert)
        yield _keys(table[key], is_time=kind == "klines"), _values(table, names)


def _parquet(folder: Path, kind: str) -> Iterator[Rows]:
    """What binance-vision writes."""
    names = _OURS[kind]
    key = "agg_trade_id" if kind == "trades" else "open_time"
    for path in sorted(folder.glob("*.parquet")):
        table = arrow_parquet.read_table(path, columns=[key, *names])
        yield _keys(table[key]), _values(table, names)


def _feather(folder: Path, kind: str) -> Iterator[Rows]:
    """What freqtrade writes, and frames that were read."""
    names = _THEIRS[kind]
    for path in sorted(folder.rglob("*.feather")):
        table = arrow_feather.read_table(path)
        candidates = ("id",) if kind == "trades" else ("date", "timestamp")
        key = next(name for name in candidates if name in table.column_names)
        yield _keys(table[key]), _values(table, names)


READERS: dict[str, Callable[[Path, str], Iterator[Rows]]] = {
    "cache": _cache,
    "raw": _raw,
    "headed": _headed,
    "named": _named,
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
    parts = list(_readable(READERS[task["format"]](Path(task["folder"]), task["kind"])))
    width = truth["values"].shape[1]
    keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in parts)])
    values = np.concatenate([np.empty((0, width), np.int64), *(values for _, values in parts)])
    true_keys = truth["keys"]
    if task["kind"] == "funding":
        # Some keep the milliseconds by which a payment is late, some do not.
        keys, true_keys = keys // _HOUR_MS, true_keys // _HOUR_MS
    print(json.dumps(asdict(count(true_keys, truth["values"], keys, values))))


def _readable(parts: Iterator[Rows]) -> Iterator[Rows]:
    """Rows up to a file that is none of its kind, of which there are none."""
    try:
        yield from parts
    except pa.ArrowInvalid as error:
        print(error, file=sys.stderr)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
