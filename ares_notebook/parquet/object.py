"""One cache file as one Parquet file: where it lies, what it says of itself, and the proof."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ares_notebook.cache.receipts import Receipt
from ares_notebook.errors import CorruptFile
from ares_notebook.market.intervals import interval_text
from ares_notebook.market.rows import Table
from ares_notebook.market.series import CacheFile
from ares_notebook.parquet.typed import in_groups, typed, typed_schema
from ares_notebook.threads import look_up

__all__ = ["object_name", "prove", "receipt_in", "write"]

_RECEIPT = b"ares_notebook"


def object_name(file: CacheFile) -> str:
    """
    Where the rows of a cache file lie in a dataset: a folder a kind, partitions in the manner of Hive.

    Examples
    --------
    >>> from ares_notebook.market.series import parse_file_name
    >>> object_name(parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv"))
    'agg_trades/symbol=BTCUSDT/month=2025-01/aggtrades_BTCUSDT_2025-01-15.parquet'
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
    """
    Write rows of the cache as a Parquet file: zstd, in their order, with statistics.

    Parameters
    ----------
    path : Path
        A temporary one: who is stopped leaves half of it.
    file : CacheFile
    tables : iterable of pyarrow.Table
        As `Store.rows` reads them; memory is bounded by a row group.
    receipt : Receipt
        Of the file whose rows they are; it stands in the metadata.
    decimal : bool
        Whether numbers are exact decimals; else 64-bit floats.
    """
    dataset = file.dataset
    schema = typed_schema(dataset, decimal=decimal).with_metadata({_RECEIPT: receipt.to_json()})
    sorting = [pq.SortingColumn(0)]
    with pq.ParquetWriter(path, schema, compression="zstd", sorting_columns=sorting) as writer:
        for rows in in_groups(dataset, tables):
            look_up()
            writer.write_table(typed(dataset, rows, decimal=decimal), rows.num_rows)


def prove(path: Path, file: CacheFile, tables: Iterable[Table], *, decimal: bool) -> None:
    """
    Read a Parquet file back, and compare it row by row with what it was made of.

    Raises
    ------
    CorruptFile
        If they are not the same.
    """
    with pq.ParquetFile(path) as written:
        groups = (written.read_row_group(at) for at in range(written.num_row_groups))
        for group, rows in zip_longest(groups, in_groups(file.dataset, tables)):
            look_up()
            if (
                group is None
                or rows is None
                or not group.equals(typed(file.dataset, rows, decimal=decimal))
            ):
                msg = f"{path} does not hold the rows of {file.name} as they are now; run again"
                raise CorruptFile(msg)


def receipt_in(source: Any, file: CacheFile, *, decimal: bool) -> Receipt | None:
    """
    The receipt that stands in a Parquet file of ours; None in any other, and where the types differ.

    Parameters
    ----------
    source : Path or file
        Only its end is read.
    file : CacheFile
        Whose rows it should hold.
    decimal : bool
        Of what type its numbers should be.
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
