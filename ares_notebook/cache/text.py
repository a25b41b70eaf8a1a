"""The text of a cache file, read back into rows: our own format, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.legacy import ends_with_line, read_legacy
from ares_notebook.errors import CacheError, CorruptFile
from ares_notebook.market.datasets import Dataset
from ares_notebook.market.rows import Table, header_of, keys_of, schema_of
from ares_notebook.market.series import CacheFile
from ares_notebook.threads import look_up

__all__ = [
    "check_last_line",
    "is_compressed",
    "is_ours",
    "last_in_order",
    "open_text",
    "read_rows",
    "unreadable",
]

_BLOCK_BYTES = 4 << 20
_COLUMN_TYPES = {
    "time": pa.timestamp("us"),
    "number": pa.string(),
    "integer": pa.int64(),
    "flag": pa.string(),
}


def open_text(path: Path) -> Any:
    """A PyArrow stream of the file's plain text, compressed or not."""
    compression = "zstd" if is_compressed(path) else None
    try:
        return pa.input_stream(str(path), compression=compression)
    except OSError as error:
        raise cannot_access(path, error) from error


def is_compressed(path: Path) -> bool:
    """Whether the file's name says that it is compressed."""
    # The name of a part ends in its own way.
    return ".csv.zst" in path.name


def is_ours(path: Path, dataset: Dataset) -> bool:
    """Whether the file begins with the header that we write; the ancestor's do not."""
    header = header_of(dataset)
    try:
        with open_text(path) as stream:
            return bool(stream.read(len(header)) == header)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise cannot_access(path, error) from error
        # Broken compression shows only when it is read.
        return False


def read_rows(path: Path, file: CacheFile) -> Iterator[Table]:
    """
    Read a cache file block by block: ours as it is, an old one as the ancestor meant it.

    Memory stays bounded for our own files, whatever their size; an old one, which
    may be out of order, is read as a whole.

    Yields
    ------
    pyarrow.Table
        Rows of the file's dataset, ascending.

    Raises
    ------
    CorruptFile
        If the text is not what the name says.
    CacheError
        If the disk does not give it.
    """
    if not is_ours(path, file.dataset):
        if is_compressed(path):
            # The ancestor compressed nothing.
            raise unreadable(path, ValueError("no text of ours in it"))
        yield read_legacy(path, file.dataset)
        return
    check_last_line(path)
    try:
        with open_text(path) as stream:
            last_key = -1
            for batch in _reader(stream, file.dataset):
                look_up()
                table = _as_rows(file.dataset, pa.Table.from_batches([batch]))
                last_key = last_in_order(path, keys_of(file.dataset, table), last_key)
                yield table
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise unreadable(path, error) from error


def last_in_order(path: Path, keys: npt.NDArray[np.int64], before: int) -> int:
    """The last of *keys*, which must ascend from *before* on."""
    if not len(keys):
        return before
    if keys[0] <= before or not bool(np.all(np.diff(keys) > 0)):
        raise unreadable(path, ValueError("its rows are doubled or out of order"))
    return int(keys[-1])


def check_last_line(path: Path) -> None:
    """Refuse a file that ends inside a line: a number cut short is still a number."""
    # Compression notices by itself.
    if not is_compressed(path) and not ends_with_line(path):
        raise unreadable(path, ValueError("it ends inside a line"))


def _reader(stream: Any, dataset: Dataset) -> Any:
    return arrow_csv.open_csv(
        stream,
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
        parse_options=arrow_csv.ParseOptions(quote_char=False),
        convert_options=arrow_csv.ConvertOptions(
            column_types={each.name: _COLUMN_TYPES[each.kind] for each in dataset.columns},
            include_columns=list(dataset.column_names),
            strings_can_be_null=False,
            null_values=[],
        ),
    )


def _as_rows(dataset: Dataset, table: Table) -> Table:
    stamps = pc.cast(table["timestamp"], pa.int64())
    return table.set_column(0, "timestamp", stamps).cast(schema_of(dataset))


def unreadable(path: Path, error: Exception) -> CorruptFile | CacheError:
    """Our error for an *error* of reading: the text's, or the disk's, which says nothing of the text."""
    if isinstance(error, OSError) and error.errno:
        return cannot_access(path, error)
    reason = str(error).splitlines()[0]
    return CorruptFile(f"{path} is not a whole cache file ({reason}); download its period again")
