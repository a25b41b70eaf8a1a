"""One Parquet file: its name, its types, its origin, and the proof that it holds what the cache does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ares_notebook.cache.receipts import Receipt
from ares_notebook.errors import BadArgument, CorruptFile, WrongMarket
from ares_notebook.model.datasets import Dataset, Kind
from ares_notebook.model.files import CacheFile
from ares_notebook.model.rows import Table, empty_rows
from ares_notebook.model.time import interval_text
from ares_notebook.runtime.tasks import check_cancelled

__all__ = [
    "ORIGIN",
    "Origin",
    "in_groups",
    "object_name",
    "prove",
    "receipt_in",
    "typed",
    "typed_schema",
    "write",
]

ORIGIN = "_ares_origin.json"
"""The name of the note. Readers overlook what begins so."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose data a dataset holds, and of what type its numbers are."""

    # Made-up data must never mix with real.
    market: str
    # Exact decimals; else 64-bit floats. DuckDB and pandas cast one to the other without a word
    # where both lie in a dataset.
    decimal: bool

    @property
    def numbers(self) -> str:
        """The type of the numbers, as it stands in the note."""
        return "decimal" if self.decimal else "float64"

    def to_json(self) -> bytes:
        """The text of the note."""
        return json.dumps({"market": self.market, "numbers": self.numbers}).encode() + b"\n"

    def check(self, place: str | Path, note: bytes) -> None:
        """Hold this against the note of the dataset at *place*."""
        try:
            there = json.loads(note)
            market, numbers = there["market"], there.get("numbers")
        except (ValueError, KeyError, TypeError):
            market = numbers = "nobody knows whom"
        if market != self.market:
            msg = (
                f"{place} holds the data of {market!r}, and {self.market!r} would be mixed into it; "
                f"choose another place"
            )
            raise WrongMarket(msg)
        if numbers != self.numbers:
            msg = (
                f"{place} holds numbers as {numbers}, and {self.numbers} would be mixed into it, which "
                f"readers cast without a word; pass decimal={not self.decimal}, or choose another place"
            )
            raise BadArgument(msg)


# Any: PyArrow publishes no types of its own.
Schema = Any
# Binance writes eight digits after the point, and a month of a large market twenty before it;
# other readers know no more than 38 in all.
_EXACT = pa.decimal128(38, 18)
_FLOAT = pa.float64()
_TYPES: dict[Kind, Any] = {
    "time": pa.timestamp("us", tz="UTC"),
    "integer": pa.int64(),
    "flag": pa.bool_(),
}
# Large enough to be read fast, small enough to be skipped by a query for an hour.
_GROUP_ROWS = 1 << 17


def typed_schema(dataset: Dataset, *, decimal: bool) -> Schema:
    """The types of the columns of *dataset*; numbers are exact decimals, or 64-bit floats."""
    types = {**_TYPES, "number": _EXACT if decimal else _FLOAT}
    return pa.schema([(column.name, types[column.kind]) for column in dataset.columns])


def typed(dataset: Dataset, rows: Table, *, decimal: bool) -> Table:
    """The same rows with types; null where the original downloader stored nothing."""
    schema = typed_schema(dataset, decimal=decimal)
    columns = []
    for column, field in zip(dataset.columns, schema, strict=True):
        cells = rows[column.name]
        if column.kind == "flag":
            cells = pc.equal(cells, "True")
        columns.append(pc.cast(cells, field.type))
    return pa.table(columns, schema=schema)


def in_groups(dataset: Dataset, tables: Iterable[Table]) -> Iterator[Table]:
    """The same rows in tables of as many as a row group holds; the last may have fewer."""
    kept = empty_rows(dataset)
    for table in tables:
        kept = pa.concat_tables([kept, table])
        while kept.num_rows >= _GROUP_ROWS:
            yield kept.slice(0, _GROUP_ROWS).combine_chunks()
            kept = kept.slice(_GROUP_ROWS)
    if kept.num_rows:
        yield kept.combine_chunks()


_RECEIPT = b"ares_notebook"


def object_name(file: CacheFile) -> str:
    """
    Where the rows of a cache file lie in a dataset: a folder a kind, partitions in the manner of
    Hive.
    """
    series = file.series
    kind = "_".join(
        [series.dataset.name, *([interval_text(series.interval)] if series.interval else [])]
    )
    month = f"{file.period.start:%Y-%m}"
    return f"{kind}/symbol={series.symbol}/month={month}/{file.name.removesuffix('.csv')}.parquet"


def write(
    path: Path, file: CacheFile, tables: Iterable[Table], receipt: Receipt, *, decimal: bool
) -> None:
    """Write rows of the cache as a Parquet file: zstd, in their order, with statistics."""
    dataset = file.dataset
    schema = typed_schema(dataset, decimal=decimal).with_metadata({_RECEIPT: receipt.to_json()})
    sorting = [pq.SortingColumn(0)]
    with pq.ParquetWriter(path, schema, compression="zstd", sorting_columns=sorting) as writer:
        for rows in in_groups(dataset, tables):
            check_cancelled()
            writer.write_table(typed(dataset, rows, decimal=decimal), rows.num_rows)


def prove(path: Path, file: CacheFile, tables: Iterable[Table], *, decimal: bool) -> None:
    """Read a Parquet file back, and compare it row by row with what it was made of."""
    with pq.ParquetFile(path) as written:
        groups = (written.read_row_group(at) for at in range(written.num_row_groups))
        for group, rows in zip_longest(groups, in_groups(file.dataset, tables)):
            check_cancelled()
            if (
                group is None
                or rows is None
                or not group.equals(typed(file.dataset, rows, decimal=decimal))
            ):
                msg = f"{path} does not hold the rows of {file.name} as they are now; run again"
                raise CorruptFile(msg)


def receipt_in(source: Any, file: CacheFile, *, decimal: bool) -> Receipt | None:
    """
    The receipt that stands in a Parquet file of ours; None in any other, and where the types
    differ.
    """
    try:
        schema = pq.read_schema(source)
    except pa.ArrowInvalid:
        return None
    text = (schema.metadata or {}).get(_RECEIPT)
    if text is None or not schema.equals(typed_schema(file.dataset, decimal=decimal)):
        return None
    receipt = Receipt.from_json(text)
    return receipt if receipt is not None and receipt.file == file.name else None
