"""Read cache files, also those that other programs wrote."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.errors import CacheError, CorruptFile
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.files import CacheFile
from ares_notebook.model.measure import Measure
from ares_notebook.model.rows import (
    UNUSUAL_NUMBER,
    Scale,
    Table,
    header_of,
    keys_of,
    plain_pattern_of,
    schema_of,
    stamps_ms,
    text_of,
)
from ares_notebook.model.time import utc
from ares_notebook.runtime.cancellation import check_cancelled

if TYPE_CHECKING:
    import pandas as pd

_LOGGER = logging.getLogger("DataDownloader")
_BLOCK_BYTES = 4 << 20
# In the year 2109: no stamp is later.
_LARGEST_MS = 1 << 42
# As Python prints floats. pandas accepts more: inf, blanks around, a sign before.
_NUMBER = r"-?[0-9]+(?:\.[0-9]*)?(?:e[-+][0-9]{1,3})?"
_INTEGER = r"-?[0-9]{1,18}"


def read_legacy(path: Path, dataset: Dataset) -> Table:
    """Read a file of the original downloader: sorted, each key once, without unreadable lines."""
    frame = _text_frame(path, dataset)
    frame["timestamp"] = _stamps(frame["timestamp"])
    columns = [each for each in dataset.columns if each.name in frame and each.kind != "time"]
    good = frame["timestamp"].notna()
    for column in columns:
        if column.kind == "flag":
            good &= frame[column.name].isin(["True", "False"])
        else:
            pattern = _INTEGER if column.kind == "integer" else _NUMBER
            pattern = f"(?:{pattern})?" if column.may_be_empty else pattern
            good &= frame[column.name].str.fullmatch(pattern)
    frame = frame[good]
    for column in columns:
        if column.kind == "integer":
            frame[column.name] = frame[column.name].astype("int64")
    order = "agg_trade_id" if dataset.key == "id" else "timestamp"
    # The key of a funding event is its hour: it is stamped some milliseconds late.
    key = frame[order].dt.floor("h") if dataset.key == "event_time" else frame[order]
    # Of duplicates the last was written last, so it is the better formed.
    frame = frame[~key.duplicated(keep="last")].sort_values(order, kind="stable")
    return _as_table(frame, dataset)


def _text_frame(path: Path, dataset: Dataset) -> pd.DataFrame:
    """The cells of all lines with as many cells as the header."""
    import pandas as pd  # noqa: PLC0415 - only old files need it: its import is slow

    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise cannot_access(path, error) from error
    # After the last line end is a line cut short, or nothing.
    header, *lines = lines[:-1] or [b""]
    names = header.decode("utf-8", "replace").rstrip("\r").split(",")
    missing = [name for name in dataset.original_names if name not in names]
    if missing or len(set(names)) < len(names):
        reason = f"no column {missing[0]!r}" if missing else "a doubled one"
        msg = f"{path} is neither a cache file of ours nor an old one ({reason}); download its period again"
        raise CorruptFile(msg)
    cells = [line.rstrip(b"\r").split(b",") for line in lines]
    good = [row for row in cells if len(row) == len(names)]
    columns = {
        name: [row[at].decode("utf-8", "replace") for row in good] for at, name in enumerate(names)
    }
    return pd.DataFrame(columns, dtype=str)


def _stamps(text: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Times in UTC; NaT where the text is no time."""
    import pandas as pd  # noqa: PLC0415 - see above

    epoch = pd.to_numeric(text, errors="coerce")
    # pandas 2 does not coerce numbers that overflow: it raises FloatingPointError.
    within = epoch.where(epoch.abs() < _LARGEST_MS)
    from_epoch = pd.to_datetime(within, unit="ms", utc=True, errors="coerce")
    words = text.mask(epoch.notna())
    from_words = pd.to_datetime(words, utc=True, errors="coerce", format="ISO8601")
    return from_words.dt.as_unit("us").where(epoch.isna(), from_epoch.dt.as_unit("us"))


def _as_table(frame: pd.DataFrame, dataset: Dataset) -> Table:
    frame["timestamp"] = frame["timestamp"].dt.as_unit("us").astype("int64")
    schema = schema_of(dataset)
    columns = [
        pa.array(frame[each.name], type=each.type, from_pandas=True)
        if each.name in frame
        else pa.nulls(len(frame), each.type)
        for each in schema
    ]
    return pa.table(columns, schema=schema)


def open_text(path: Path) -> Any:
    """A PyArrow stream of the file's plain text, compressed or not."""
    compression = "zstd" if is_compressed(path) else None
    try:
        return pa.input_stream(str(path), compression=compression)
    except OSError as error:
        raise cannot_access(path, error) from error


def is_compressed(path: Path) -> bool:
    """Whether the file's name says that it is compressed."""
    # The name of a temporary file has another suffix.
    return ".csv.zst" in path.name


def is_ours(path: Path, dataset: Dataset) -> bool:
    """Whether the file begins with our header; files of the original downloader do not."""
    header = header_of(dataset)
    try:
        with open_text(path) as stream:
            return bool(stream.read(len(header)) == header)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise cannot_access(path, error) from error
        # Broken compression raises only here.
        return False


def read_rows(path: Path, file: CacheFile) -> Iterator[Table]:
    """
    Read a cache file block by block, in bounded memory.

    A file of the original downloader, which may be out of order, is read as a whole.
    """
    if not is_ours(path, file.dataset):
        if is_compressed(path):
            # The original downloader compressed nothing.
            raise unreadable(path, "no text of ours in it")
        yield read_legacy(path, file.dataset)
        return
    check_last_line(path)
    try:
        schema = schema_of(file.dataset)
        types = {each.name: each.type for each in schema} | {"timestamp": pa.timestamp("us")}
        options = csv_options(types, file.dataset.column_names, _BLOCK_BYTES)
        with open_text(path) as stream:
            last_key = -1
            for batch in arrow_csv.open_csv(stream, **options):
                check_cancelled()
                table = pa.Table.from_batches([batch]).cast(schema)
                last_key = last_in_order(path, keys_of(file.dataset, table), last_key)
                yield table
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise unreadable(path, error) from error


def last_in_order(path: Path, keys: npt.NDArray[np.int64], before: int) -> int:
    """The last of *keys*, which must ascend from *before* on."""
    if not len(keys):
        return before
    if keys[0] <= before or not bool(np.all(np.diff(keys) > 0)):
        raise unreadable(path, "its rows are doubled or out of order")
    return int(keys[-1])


def check_last_line(path: Path) -> None:
    """Refuse a file that ends inside a line: a number cut short is still a number."""
    if is_compressed(path):
        # Decompression detects that.
        return
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b"\n":
            raise unreadable(path, "it ends inside a line")


def csv_options(
    types: dict[str, Any],
    names: Iterable[str],
    block_bytes: int,
    *,
    check_utf8: bool = True,
    null_values: Sequence[str] = (),
) -> dict[str, Any]:
    """The options with which PyArrow reads the columns *names* of our files."""
    return {
        "read_options": arrow_csv.ReadOptions(block_size=block_bytes, use_threads=False),
        "parse_options": arrow_csv.ParseOptions(quote_char=False),
        "convert_options": arrow_csv.ConvertOptions(
            column_types=types,
            include_columns=list(names),
            null_values=list(null_values),
            true_values=["True"],
            false_values=["False"],
            check_utf8=check_utf8,
        ),
    }


def unreadable(path: Path, error: Exception | str) -> CorruptFile | CacheError:
    """Our error for a file that cannot be read: the disk's fault, or that of its text."""
    if isinstance(error, OSError) and error.errno:
        return cannot_access(path, error)
    reason = str(error).splitlines()[0]
    return CorruptFile(f"{path} is not a whole cache file ({reason}); download its period again")


def examined(file: CacheFile, path: Path) -> CacheEntry:
    """The entry of a file without a matching receipt, from its bytes alone."""
    measure, scale = Measure(file), Scale(file.dataset)
    try:
        legacy = not is_ours(path, file.dataset)
        if legacy:
            _check_line_ends(path, file)
        for table in read_rows(path, file) if legacy else _as_we_write(path, file):
            _check_scale(path, table, scale)
            measure.add(keys_of(file.dataset, table), stamps_ms(table))
    except CorruptFile as error:
        _LOGGER.info("%s", error)
        return CacheEntry(file, str(path), problem=str(error))
    facts = measure.facts()
    ends_ms = [each for each in (facts.first_ms, facts.last_ms) if each is not None]
    if not legacy and not all(file.start_ms <= each < file.end_ms for each in ends_ms):
        return CacheEntry(file, str(path), problem=f"{path} holds rows of another period")
    return CacheEntry(file, str(path), facts, legacy=legacy)


def _as_we_write(path: Path, file: CacheFile) -> Iterator[Table]:
    """
    The rows of a file with our header; raises if its text is not what we would write for them.

    Another program may have written the same rows in other bytes (a blank line, other digits of a
    stamp), and a receipt is of bytes.
    """
    with open_text(path) as stream:
        stream.read(len(header_of(file.dataset)))
        for table in read_rows(path, file):
            _check_cells(path, file, table)
            text = text_of(file.dataset, table) if table.num_rows else b""
            try:
                found = stream.read(len(text))
            except OSError as error:
                raise unreadable(path, error) from error
            if memoryview(found) != memoryview(text):
                raise unreadable(path, "its text is not as we write these rows")
            yield table
        if stream.read(1):
            raise unreadable(path, "there is more in it than its rows")


def _check_cells(path: Path, file: CacheFile, table: Table) -> None:
    """Refuse cells that the exchange does not write."""
    for column in file.dataset.columns:
        cells = table[column.name]
        if column.kind == "flag":
            is_valid = pc.is_in(cells, pa.array(["True", "False"]))
        elif column.kind == "number":
            is_number = pc.match_substring_regex(cells, f"^(?:{plain_pattern_of(column)})$")
            is_valid = pc.and_not(is_number, pc.match_substring_regex(cells, UNUSUAL_NUMBER))
        elif column.kind == "integer":
            is_valid = pc.greater_equal(cells, -1 if column.signed else 0)
        else:
            continue
        if pc.all(is_valid).as_py() is False:
            stamp = utc(int(stamps_ms(table)[pc.index(is_valid, value=False).as_py()]))
            reason = f"the {column.name} of {stamp:%Y-%m-%d %H:%M:%S} is none as we write them"
            raise unreadable(path, reason)


def _check_line_ends(path: Path, file: CacheFile) -> None:
    """Refuse a file of ours that an editor has saved with other line ends."""
    header = header_of(file.dataset)
    with path.open("rb") as stream:
        if stream.read(len(header) + 1) == header[:-1] + b"\r\n":
            msg = f"{path} is ours but for its line ends; download its period again"
            raise CorruptFile(msg)


def _check_scale(path: Path, table: Table, scale: Scale) -> None:
    try:
        at = scale.breaks_at(table)
    except pa.ArrowInvalid as error:
        msg = f"{path} holds numbers that are none ({error}); download its period again"
        raise CorruptFile(msg) from error
    if at is not None:
        stamp = utc(int(stamps_ms(table)[at]))
        msg = f"{path} holds a price of another scale at {stamp:%Y-%m-%d %H:%M:%S}, as of another symbol"
        raise CorruptFile(msg)
