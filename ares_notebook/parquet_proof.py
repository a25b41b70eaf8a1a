"""Compare the files of a Parquet dataset with what was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.entry import Receipt
from ares_notebook.errors import AresError, BadArgument, CorruptFile, NeverDownloaded
from ares_notebook.model.files import CacheFile
from ares_notebook.parquet import ORIGIN, RECEIPT_KEY, ParquetItem, ParquetReport
from ares_notebook.parquet_manifest import (
    MANIFESTS,
    Manifest,
    StoredFile,
    file_of_object,
    manifest_of,
    sha256_of,
)


def proven_item(path: Path, file: CacheFile, stored: StoredFile | None, where: str) -> ParquetItem:
    """Compare a Parquet file with its line in the manifest; without one, check its pages."""
    try:
        with path.open("rb") as source:
            sha256 = sha256_of(source)
        size = path.stat().st_size
        rows = _checked_rows(path, file, stored)
        is_known = stored is not None and bool(stored.sha256)
        if stored is not None and is_known and (size, sha256) != (stored.size, stored.sha256):
            msg = f"its bytes are not those that were written ({size:,} of {stored.size:,} bytes)"
            raise CorruptFile(msg)
    except (pa.ArrowException, OSError, AresError, ValueError) as error:
        msg = f"{where} is damaged ({error}); delete it, and write it again"
        return ParquetItem(file.name, "fail", error=CorruptFile(msg))
    return ParquetItem(file.name, "sound" if is_known else "unproven", rows, size)


def _checked_rows(path: Path, file: CacheFile, stored: StoredFile | None) -> int:
    """The rows of a file whose pages match their checksums and whose receipt is its own."""
    with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
        rows: int = sum(
            parquet.read_row_group(number).num_rows for number in range(parquet.num_row_groups)
        )
        text = (parquet.schema_arrow.metadata or {}).get(RECEIPT_KEY)
    receipt = None if text is None else Receipt.from_json(text)
    if receipt is None or receipt.file != file.name or receipt.facts.rows != rows:
        msg = f"its {rows:,} rows are not those of a receipt of {file.name}"
        raise CorruptFile(msg)
    if stored is not None and stored.receipt != receipt.to_json():
        msg = "its manifest has another receipt"
        raise CorruptFile(msg)
    if stored is not None and stored.sha256 and stored.rows != rows:
        msg = f"its manifest has {stored.rows:,} rows"
        raise CorruptFile(msg)
    return rows


def lacking(manifest: Mapping[str, StoredFile], found: Iterable[str]) -> list[ParquetItem]:
    """The files of a manifest that are not there."""
    there = set(found)
    return [
        ParquetItem(
            name, "fail", error=CorruptFile(f"{name}: the manifest has it, and no file is there")
        )
        for name in manifest
        if name not in there
    ]


def verify_parquet(folder: str | Path) -> ParquetReport:
    """
    Compare each file of a Parquet dataset with what was written.

    Every byte is read: its sha256 is that of the manifest, the checksums of its pages and its
    receipt fit. Nothing is changed. A file that no manifest lists, such as one of an earlier version,
    is *unproven*: its pages were checked, if they have checksums, and its receipt.

    Parameters
    ----------
    folder : str or Path
        The folder of a dataset that `to_parquet` or `scale.download` has written.

    Returns
    -------
    ParquetReport
        True if no file is damaged or lacking.

    Raises
    ------
    NeverDownloaded
        If there is no dataset in that folder.
    BadArgument
        If it is an address; `scale.verify` reads these.
    CacheUnavailable
        If the folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run, to_parquet
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=f"{folder}/cache")
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     written = to_parquet(f"{folder}/lake", settings=settings)
    ...     report = verify_parquet(f"{folder}/lake")
    >>> bool(report), report.rows, [item.action for item in report.items]
    (True, 59, ['sound', 'sound'])
    """
    if "://" in str(folder):
        msg = f"{folder} is no folder; scale.verify({str(folder)!r}) reads an address"
        raise BadArgument(msg)
    target = Path(folder).expanduser()
    try:
        if not (target / ORIGIN).exists():
            msg = f"{target} holds no Parquet dataset of ours: it has no {ORIGIN}"
            raise NeverDownloaded(msg)
        manifest: Manifest = {}
        for path in sorted((target / MANIFESTS).rglob("*.json")):
            manifest |= manifest_of(path.read_bytes())
        paths = sorted(target.glob("*/symbol=*/month=*/*.parquet"))
        files = {path: file_of_object(path.relative_to(target).as_posix()) for path in paths}
        items = [
            proven_item(path, file, manifest.get(file.name), str(path))
            for path, file in files.items()
            if file is not None
        ]
    except OSError as error:
        raise cannot_access(target, error) from error
    return ParquetReport(target, (*items, *lacking(manifest, (each.file for each in items))))
