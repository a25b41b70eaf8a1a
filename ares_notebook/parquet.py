"""The cache as a Parquet dataset: typed, partitioned by symbol and month, compared with the CSV."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ares_notebook.cache.disk import (
    PART_SUFFIX,
    cannot_access,
    flush_to_disk,
    put_text,
    remove_part,
    rename,
)
from ares_notebook.cache.entry import CacheEntry, Receipt
from ares_notebook.cache.history import covers, pruned_scopes
from ares_notebook.cache.market_guard import market_of
from ares_notebook.cache.quarantine import verified
from ares_notebook.cache.spans import Scope, nothing_cached
from ares_notebook.cache.store import Store
from ares_notebook.errors import AresError, BadArgument, CorruptFile, WrongMarket
from ares_notebook.formatting import block, in_words_of, line, many, size_in_words
from ares_notebook.model.columns import Kind
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.files import CacheFile, parse_file_name
from ares_notebook.model.rows import Table, empty_rows, null_where_empty
from ares_notebook.parquet_manifest import note_files, object_name
from ares_notebook.runtime.cancellation import check_cancelled
from ares_notebook.runtime.progress import tracked
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

ORIGIN = "_ares_origin.json"
"""The name of the note on what a dataset holds; readers ignore names that begin with ``_``."""
_MOST_LINES = 12
RECEIPT_KEY = b"ares_notebook"
# Binance writes eight digits after the point, and a month of a large market twenty before it;
# other readers know no more than 38 in all.
_EXACT = pa.decimal128(38, 18)
_TYPES: dict[Kind, Any] = {
    "time": pa.timestamp("us", tz="UTC"),
    "integer": pa.int64(),
    "flag": pa.bool_(),
}
# Large enough to be read fast, small enough to be skipped by a query for an hour.
_GROUP_ROWS = 1 << 17


@dataclass(frozen=True, slots=True)
class ParquetItem:
    """The export of one cache file, or a Parquet file that has none."""

    file: str
    # Skipped if the Parquet file was made from the same bytes; stale if the cache has no such file, or
    # pruned if `prune_cache` has deleted it; sound or unproven as `verify_parquet` says.
    action: Literal["skip", "write", "fail", "stale", "pruned", "sound", "unproven"]
    # Of the Parquet file.
    rows: int = 0
    bytes: int = 0
    # Why it failed; an earlier Parquet file of it is kept.
    error: AresError | None = None


@dataclass(frozen=True, slots=True)
class ParquetReport:
    """
    What `to_parquet` has written, or `verify_parquet` has found.

    True if nothing failed.

    Parameters
    ----------
    folder : Path
        The folder of the dataset.
    items : tuple of ParquetItem
        One for each cache file, and for each Parquet file of the selection that has none.

    Examples
    --------
    >>> report = ParquetReport(Path("lake"), (ParquetItem("klines_BTCUSDT_1h_2025-01.csv", "write", 744, 30_000),))
    >>> bool(report), report.rows, print(report)
    lake: 1 file written, 0 there already; 744 rows, 30.0 KB
    (True, 744, None)
    """

    folder: Path
    items: tuple[ParquetItem, ...] = ()

    def __bool__(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[ParquetItem, ...]:
        """The items that could not be written."""
        return tuple(each for each in self.items if each.error is not None)

    @property
    def rows(self) -> int:
        """Number of rows in the Parquet files of all items."""
        return sum(each.rows for each in self.items)

    def to_frame(self) -> pd.DataFrame:
        """
        The items as a table.

        Returns
        -------
        pandas.DataFrame
            Columns ``file, action, rows, bytes, error``.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and not needed to write

        rows = [
            (each.file, each.action, each.rows, each.bytes, str(each.error or ""))
            for each in self.items
        ]
        return pd.DataFrame(rows, columns=["file", "action", "rows", "bytes", "error"])

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._lines()])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        return block(self._headline(), "".join(map(line, self._lines())))

    def _headline(self) -> str:
        counts: Counter[str] = Counter(each.action for each in self.items)
        size = size_in_words(sum(each.bytes for each in self.items))
        names = {"fail": "failed", "stale": "stale", "pruned": "pruned from the cache"}
        names |= {"sound": "sound", "unproven": "unproven"}
        what = [f"{counts[each]:,} {name}" for each, name in names.items() if counts[each]]
        if not counts["sound"] + counts["unproven"]:
            what[:0] = [
                f"{many(counts['write'], 'file')} written",
                f"{counts['skip']} there already",
            ]
        return f"{self.folder}: {', '.join(what)}; {self.rows:,} rows, {size}"

    def _lines(self) -> Iterator[str]:
        lines = [f"  failed {each.file}: {each.error}" for each in self.failed]
        lines += [
            f"  stale  {each.file}: the cache has no such file, so its {each.rows:,} rows "
            f"stay as they are; download its period again, or delete the Parquet file"
            for each in self.items
            if each.action == "stale"
        ]
        pruned = [each for each in self.items if each.action == "pruned"]
        if pruned:
            lines.append(
                f"  pruned {pruned[0].file}{f' and {len(pruned) - 1} more' if pruned[1:] else ''}: "
                f"deleted from the cache by prune_cache; the {sum(each.rows for each in pruned):,} rows stay here"
            )
        yield from lines[:_MOST_LINES]
        if len(lines) > _MOST_LINES:
            yield f"  … and {len(lines) - _MOST_LINES} more; see {in_words_of('report.to_frame()', '--json')}"


def to_parquet(
    folder: str | Path,
    symbol: str | None = None,
    interval: str | None = None,
    *,
    decimal: bool = False,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> ParquetReport:
    """
    Write what the cache holds as a Parquet dataset for other tools.

    The folders are ``klines_1h``, ``agg_trades``, ``futures`` and so on, with Hive partitions
    ``symbol=BTCUSDT/month=2025-01`` that hold one file for each cache file: zstd, ascending,
    with statistics, and with the receipt in the metadata. Only new and changed files are
    written; each is read back and compared with the cache row by row before it is renamed into
    place. A cache file whose bytes are not those of its receipt fails. Gaps of the cache are gaps
    of the dataset: see `coverage` and `find_gaps`. A Parquet file without a cache file stays, and
    the report names it as stale.

    Parameters
    ----------
    folder : str or Path
        The folder of the dataset, created if needed; not the cache folder.
    symbol : str, optional
        Only this symbol. Defaults to all cached ones.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    decimal : bool
        True stores numbers as exact decimals of 38 digits, 18 of them after the point;
        False (the default) as 64-bit floats, half the size and many times as fast. A dataset
        holds one or the other.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to export. Defaults to the environment's.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    ParquetReport
        True if nothing failed; a file that fails does not stop the others.

    Raises
    ------
    BadArgument
        If *folder* is the cache folder or an address, or holds numbers of the other type.
    NeverDownloaded
        If the cache holds nothing of the selection.
    WrongMarket
        If the folder holds the data of another market.
    CacheUnavailable
        If the cache cannot be read, or the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=f"{folder}/cache")
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     report = to_parquet(f"{folder}/destination", settings=settings)
    ...     february = pd.read_parquet(f"{folder}/destination/klines_1d", filters=[("month", "==", "2025-02")])
    >>> bool(report), report.rows, len(february)
    (True, 59, 28)
    """
    if "://" in str(folder):
        msg = f"{folder} is no folder; scale.download(plan, to={str(folder)!r}) downloads a plan to an address"
        raise BadArgument(msg)
    chosen, target = settings_given(settings), Path(folder).expanduser()
    store = Store(chosen)
    if target.resolve() == store.folder.resolve():
        msg = f"{target} is the cache itself; name another folder for the Parquet files"
        raise BadArgument(msg)
    scope = Scope.of(symbol, interval, datasets)
    entries = [store.entry(file) for file in store.files(scope.symbol) if scope.has(file.series)]
    cached = [entry for entry in entries if entry.path is not None]
    if not cached and not any(_stale(target, scope, (), store)):
        raise nothing_cached(store, scope)
    _claim(target, Origin(market_of(store.folder) or chosen.market_name, decimal=decimal))
    items = [
        _export(store, entry, target, decimal=decimal)
        for entry in tracked(cached, chosen, "Parquet")
    ]
    _note_all(target, store, cached, items)
    stale = _stale(target, scope, {each.file for each in items}, store)
    return ParquetReport(target, (*items, *stale))


def _note_all(
    folder: Path, store: Store, cached: Sequence[CacheEntry], items: Sequence[ParquetItem]
) -> None:
    """Add what was written to the manifests, and what is there and in none yet."""
    written = {each.file for each in items if each.action == "write"}
    try:
        receipts = {
            entry.file: store.receipt_of(entry) for entry in cached if entry.file.name in written
        }
        note_files(folder, receipts)
    except OSError as error:
        raise cannot_access(folder, error) from error


@dataclass(frozen=True, slots=True)
class Origin:
    """The market of a dataset, and the type of its numbers."""

    # Demo data must never mix with real data.
    market: str
    # Exact decimals, else 64-bit floats. DuckDB and pandas silently cast one to the other where
    # a dataset holds both.
    decimal: bool

    @property
    def numbers(self) -> str:
        """The type of the numbers, as the note names it."""
        return "decimal" if self.decimal else "float64"

    def to_json(self) -> bytes:
        """The text of the note."""
        return json.dumps({"market": self.market, "numbers": self.numbers}).encode() + b"\n"

    def check(self, destination: str | Path, note: bytes) -> None:
        """Raise if the *note* of the dataset at *destination* names another market or type."""
        try:
            there = json.loads(note)
            market, numbers = there["market"], there.get("numbers")
        except (ValueError, KeyError, TypeError):
            market = numbers = "an unknown market"
        if market != self.market:
            msg = (
                f"{destination} holds the data of {market!r}, and {self.market!r} would be mixed into it; "
                f"choose another destination"
            )
            raise WrongMarket(msg)
        if numbers != self.numbers:
            msg = (
                f"{destination} holds numbers as {numbers}, and {self.numbers} would be mixed into it, which "
                f"readers cast without a word; pass decimal={not self.decimal}, or choose another destination"
            )
            raise BadArgument(msg)


def _claim(folder: Path, origin: Origin) -> None:
    """Write the note of a new dataset, or check that of an existing one."""
    path = folder / ORIGIN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            put_text(path, origin.to_json().decode())
        origin.check(folder, path.read_bytes())
    except OSError as error:
        raise cannot_access(path, error) from error


def _export(store: Store, entry: CacheEntry, folder: Path, *, decimal: bool) -> ParquetItem:
    """Write one file unless it is up to date; an error fails this file alone."""
    file, path = entry.file, folder / object_name(entry.file)
    try:
        is_written = _update(path, store, entry, decimal=decimal)
        rows = pq.read_metadata(path).num_rows
        return ParquetItem(file.name, "write" if is_written else "skip", rows, path.stat().st_size)
    except OSError as error:
        failure: AresError = cannot_access(path, error)
    except pa.ArrowInvalid as error:
        msg = f"{entry.path}: a cell is not what it should be ({error}); download its period again"
        failure = CorruptFile(msg)
    except AresError as error:
        failure = error
    return ParquetItem(file.name, "fail", error=failure)


def _stale(
    folder: Path, scope: Scope, exported: Collection[str], store: Store
) -> Iterator[ParquetItem]:
    """The Parquet files of the selection that have no cache file."""
    pruned = pruned_scopes(store.folder)
    for path in sorted(folder.glob("*/symbol=*/month=*/*.parquet")):
        file = parse_file_name(f"{path.stem}.csv")
        if file is None or file.name in exported or not scope.has(file.series):
            continue
        if path != folder / object_name(file):
            # Another program's.
            continue
        try:
            rows, size = pq.read_metadata(path).num_rows, path.stat().st_size
        except (OSError, pa.ArrowInvalid) as error:
            msg = f"{path} is not readable as Parquet ({error}), and has no cache file; delete it"
            yield ParquetItem(file.name, "fail", error=CorruptFile(msg))
            continue
        is_pruned = any(covers(run, file.series) for run in pruned)
        yield ParquetItem(file.name, "pruned" if is_pruned else "stale", rows, size)


def _update(path: Path, store: Store, entry: CacheEntry, *, decimal: bool) -> bool:
    """Whether the Parquet file had to be written."""
    if entry.is_untrue:
        store.strike_note(entry)
        _refuse_untrue(entry)
    file, receipt = entry.file, store.receipt_of(entry)
    found = receipt_in(path, file, decimal=decimal) if path.exists() else None
    if found is not None and found.sha256 == receipt.sha256:
        return False
    # The Parquet file carries the receipt for good, so the bytes must be those of the receipt.
    _refuse_untrue(verified(store, entry))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may export into one folder; readers ignore dot-files.
    part = path.with_name(f".{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        write(part, file, store.rows(file), receipt, decimal=decimal)
        prove(part, file, store.rows(file), decimal=decimal)
        flush_to_disk(part)
        rename(part, path)
        flush_to_disk(path.parent)
    finally:
        remove_part(part)
    return True


def _refuse_untrue(entry: CacheEntry) -> None:
    if entry.is_altered:
        why = f" ({entry.problem})" if entry.problem else ""
        msg = f"the bytes of {entry.path} are not those of its receipt{why}; download its period again"
        raise CorruptFile(msg)
    if entry.problem is not None:
        raise CorruptFile(entry.problem)


def _schema(dataset: Dataset, *, decimal: bool) -> Any:
    """The types of the columns; numbers are exact decimals, or 64-bit floats."""
    types = {**_TYPES, "number": _EXACT if decimal else pa.float64()}
    return pa.schema([(column.name, types[column.kind]) for column in dataset.columns])


def _typed(dataset: Dataset, rows: Table, *, decimal: bool) -> Table:
    """The rows with types; null where the original downloader stored nothing."""
    schema = _schema(dataset, decimal=decimal)
    columns = []
    for column, field in zip(dataset.columns, schema, strict=True):
        cells = rows[column.name]
        if column.kind == "flag":
            cells = pc.equal(cells, "True")
        columns.append(pc.cast(null_where_empty(column, cells), field.type))
    return pa.table(columns, schema=schema)


def _in_groups(dataset: Dataset, tables: Iterable[Table]) -> Iterator[Table]:
    """The rows in tables of the size of a row group; the last may have fewer."""
    kept = empty_rows(dataset)
    for table in tables:
        kept = pa.concat_tables([kept, table])
        while kept.num_rows >= _GROUP_ROWS:
            yield kept.slice(0, _GROUP_ROWS).combine_chunks()
            kept = kept.slice(_GROUP_ROWS)
    if kept.num_rows:
        yield kept.combine_chunks()


def write(
    path: Path, file: CacheFile, tables: Iterable[Table], receipt: Receipt, *, decimal: bool
) -> None:
    """Write rows of the cache as a Parquet file: zstd, in their order, with statistics."""
    schema = _schema(file.dataset, decimal=decimal).with_metadata({RECEIPT_KEY: receipt.to_json()})
    sorting = [pq.SortingColumn(0)]
    with pq.ParquetWriter(
        path, schema, compression="zstd", sorting_columns=sorting, write_page_checksum=True
    ) as writer:
        for rows in _in_groups(file.dataset, tables):
            check_cancelled()
            writer.write_table(_typed(file.dataset, rows, decimal=decimal), rows.num_rows)


def prove(path: Path, file: CacheFile, tables: Iterable[Table], *, decimal: bool) -> None:
    """Read a Parquet file back; raise if it differs in any row from what it was made from."""
    with pq.ParquetFile(path, page_checksum_verification=True) as written:
        groups = (written.read_row_group(at) for at in range(written.num_row_groups))
        for group, rows in zip_longest(groups, _in_groups(file.dataset, tables)):
            check_cancelled()
            expected = None if rows is None else _typed(file.dataset, rows, decimal=decimal)
            if group is None or expected is None or not group.equals(expected):
                msg = f"{path} does not hold the rows of {file.name} as they are now; run again"
                raise CorruptFile(msg)


def receipt_in(source: Any, file: CacheFile, *, decimal: bool) -> Receipt | None:
    """The receipt in a Parquet file of ours; None in any other, and where the types differ."""
    try:
        schema = pq.read_schema(source)
    except pa.ArrowInvalid:
        return None
    except OSError as error:
        if error.errno is not None:
            raise
        # PyArrow's own: the footer cannot be read.
        return None
    text = (schema.metadata or {}).get(RECEIPT_KEY)
    if text is None or not schema.equals(_schema(file.dataset, decimal=decimal)):
        return None
    receipt = Receipt.from_json(text)
    return receipt if receipt is not None and receipt.file == file.name else None
