"""Export the cache as Parquet, and the report of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ares_notebook.cache.disk import (
    PART_SUFFIX,
    cannot_access,
    file_sha256,
    flush_to_disk,
    put_text,
)
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.market_guard import market_of
from ares_notebook.cache.receipts import Receipt
from ares_notebook.cache.spans import meant, never
from ares_notebook.cache.store import Store
from ares_notebook.errors import AresError, BadArgument, CorruptFile, NeverDownloaded
from ares_notebook.formatting import block, line, many, size_in_words
from ares_notebook.parquet.object import ORIGIN, Origin, object_name, prove, receipt_in, write
from ares_notebook.runtime.progress import tracked
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ParquetItem", "ParquetReport", "to_parquet"]

_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class ParquetItem:
    """What became of one cache file."""

    # Its name.
    file: str
    # Skipped is what is there already, made of just these bytes.
    action: Literal["skip", "write", "fail"]
    # Of the Parquet file.
    rows: int = 0
    bytes: int = 0
    # Why it failed; what was there before is still there.
    error: AresError | None = None


@dataclass(frozen=True, slots=True)
class ParquetReport:
    """
    What `to_parquet` has done.

    True when nothing failed.

    Parameters
    ----------
    folder : Path
        Where the dataset lies.
    items : tuple of ParquetItem
        One a cache file.

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
        """What could not be written."""
        return tuple(each for each in self.items if each.error is not None)

    @property
    def rows(self) -> int:
        """How many rows are there now, of all that was looked at."""
        return sum(each.rows for each in self.items)

    def to_frame(self) -> pd.DataFrame:
        """
        A row a cache file: file, action, rows, bytes, error.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and not needed to write

        return pd.DataFrame(
            {
                "file": each.file,
                "action": each.action,
                "rows": each.rows,
                "bytes": each.bytes,
                "error": str(each.error or ""),
            }
            for each in self.items
        )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._lines()])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        return block(self._headline(), "".join(map(line, self._lines())))

    def _headline(self) -> str:
        counts = Counter(each.action for each in self.items)
        size = size_in_words(sum(each.bytes for each in self.items))
        failed = f", {counts['fail']} failed" if counts["fail"] else ""
        return (
            f"{self.folder}: {many(counts['write'], 'file')} written, {counts['skip']} there "
            f"already{failed}; {self.rows:,} rows, {size}"
        )

    def _lines(self) -> Iterator[str]:
        failed = self.failed
        for each in failed[:_MOST_LINES]:
            yield f"  failed {each.file}: {each.error}"
        if len(failed) > _MOST_LINES:
            yield f"  … and {len(failed) - _MOST_LINES} more; see report.to_frame()"


def to_parquet(
    folder: str | Path,
    symbol: str | None = None,
    interval: str | None = None,
    *,
    decimal: bool = False,
    settings: Settings | None = None,
) -> ParquetReport:
    """
    Write what the cache holds as a Parquet dataset that other tools read at speed.

    A folder a kind (``klines_1h``, ``agg_trades``, ``futures``), in it partitions in the
    manner of Hive, ``symbol=BTCUSDT/month=2025-01``, in these a file a cache file: zstd,
    ascending, with statistics, its receipt in its metadata. Only what is new or has changed
    is written; each file is read back and compared with the cache row by row before it
    takes its place, whole. Gaps of the cache are gaps of the dataset: `coverage` and
    `find_gaps` tell of them.

    Parameters
    ----------
    folder : str or Path
        Where the dataset is, or is to be; not the cache's own folder.
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        Only k-lines of this interval, beside trades and funding, as in `coverage`.
    decimal : bool
        True stores numbers as exact decimals of 38 digits, 18 of them after the point;
        False (the default) as 64-bit floats, half the size and many times as fast. A dataset
        holds one or the other.
    settings : Settings, optional
        Its ``cache_dir`` says of which cache.

    Returns
    -------
    ParquetReport
        True when nothing failed; a file that fails stops no other.

    Raises
    ------
    BadArgument
        If *folder* is the cache's own, or an address; if its dataset holds numbers of the other type.
    NeverDownloaded
        If the cache holds nothing of that.
    WrongMarket
        If the folder holds the data of another market.
    CacheUnavailable
        If the cache cannot be read, or the folder not be written.

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
        msg = f"{folder} is no folder; scale.download(plan, to={str(folder)!r}) brings what a plan names to an address"
        raise BadArgument(msg)
    chosen, target = settings or Settings(), Path(folder).expanduser()
    store = Store(chosen)
    if target.resolve() == store.folder.resolve():
        msg = f"{target} is the cache itself; name another folder for the Parquet files"
        raise BadArgument(msg)
    is_meant = meant(symbol, interval)
    entries = [store.entry(file) for file in store.files() if is_meant(file.series)]
    there = [entry for entry in entries if entry.path is not None]
    if not there:
        raise NeverDownloaded(never(store, symbol, interval))
    market = market_of(store.folder) or chosen.market_name
    _claim(target, Origin(market, decimal=decimal))
    items = [
        _exported(store, entry, target, decimal=decimal)
        for entry in tracked(there, chosen, "Parquet")
    ]
    return ParquetReport(target, tuple(items))


def _claim(folder: Path, origin: Origin) -> None:
    """Note what the dataset holds, with the first of it."""
    path = folder / ORIGIN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            put_text(path, origin.to_json().decode())
        origin.check(folder, path.read_bytes())
    except OSError as error:
        raise cannot_access(path, error) from error


def _exported(store: Store, entry: CacheEntry, folder: Path, *, decimal: bool) -> ParquetItem:
    """Write one file, if it is not there already; what goes wrong is told of it alone."""
    file, path = entry.file, folder / object_name(entry.file)
    try:
        return _written(store, entry, path, decimal=decimal)
    except OSError as error:
        return ParquetItem(file.name, "fail", error=cannot_access(path, error))
    except pa.ArrowInvalid as error:
        msg = f"{entry.path}: a cell is not what it should be ({error}); download its period again"
        return ParquetItem(file.name, "fail", error=CorruptFile(msg))
    except AresError as error:
        return ParquetItem(file.name, "fail", error=error)


def _written(store: Store, entry: CacheEntry, path: Path, *, decimal: bool) -> ParquetItem:
    if entry.problem is not None:
        raise CorruptFile(entry.problem)
    if entry.is_altered:
        msg = f"the bytes of {entry.path} are not those of its receipt; download its period again"
        raise CorruptFile(msg)
    receipt = _receipt_of(entry, store)
    is_there = _is_there(path, entry, receipt, decimal=decimal)
    if not is_there:
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, store, entry, receipt, decimal=decimal)
    rows = pq.read_metadata(path).num_rows
    return ParquetItem(entry.file.name, "skip" if is_there else "write", rows, path.stat().st_size)


def _receipt_of(entry: CacheEntry, store: Store) -> Receipt:
    """What is known of the file, its sha256 in any case."""
    receipt = store.receipt(entry.file)
    if receipt is not None and entry.is_remembered:
        return receipt
    path = Path(entry.on_disk or "")
    status = path.stat()
    return Receipt(
        entry.file.name,
        status.st_size,
        status.st_mtime_ns,
        file_sha256(path),
        entry.facts,
        entry.sources,
        entry.absences,
        entry.final,
        entry.trouble,
    )


def _is_there(path: Path, entry: CacheEntry, receipt: Receipt, *, decimal: bool) -> bool:
    """Whether a Parquet file was made of just these bytes."""
    if not path.exists():
        return False
    found = receipt_in(path, entry.file, decimal=decimal)
    return found is not None and found.sha256 == receipt.sha256


def _put(path: Path, store: Store, entry: CacheEntry, receipt: Receipt, *, decimal: bool) -> None:
    """Write a Parquet file beside its place, prove it, and put it there."""
    # Two processes may export into one folder; whoever reads it overlooks dot-files.
    part = path.with_name(f".{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        write(part, entry.file, store.rows(entry.file), receipt, decimal=decimal)
        prove(part, entry.file, store.rows(entry.file), decimal=decimal)
        flush_to_disk(part)
        part.replace(path)
        flush_to_disk(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()
