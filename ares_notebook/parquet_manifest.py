"""Where the files of a Parquet dataset are, and the manifests of what was written: one a series."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow.parquet as pq

from ares_notebook.cache.disk import put_text
from ares_notebook.cache.entry import Receipt
from ares_notebook.model.files import CacheFile, Series, parse_file_name

MANIFESTS = "_ares_manifest"
"""The folder of the manifests; readers ignore names that begin with ``_``."""
_BLOCK_BYTES = 1 << 20


def object_name(file: CacheFile) -> str:
    """The path of a cache file's Parquet file in a dataset, with Hive partitions."""
    series = file.series
    return (
        f"{series_folder(series)}/month={file.period.start:%Y-%m}/"
        f"{file.name.removesuffix('.csv')}.parquet"
    )


def series_folder(series: Series) -> str:
    """The path of the Parquet files of a series."""
    suffix = f"_{series.interval_word}" if series.interval_word else ""
    return f"{series.dataset.name}{suffix}/symbol={series.symbol}"


def file_of_object(path: str) -> CacheFile | None:
    """The cache file of an object, by its path in a dataset; None for those of other programs."""
    stem = path.rpartition("/")[2].removesuffix(".parquet")
    file = parse_file_name(f"{stem}.csv")
    return file if file is not None and object_name(file) == path else None


class StoredFile(msgspec.Struct, frozen=True):
    """A Parquet file as it was written."""

    size: int
    # Of its bytes; empty where they were written by a run that did not end.
    sha256: str
    rows: int
    # The text of the receipt in its metadata.
    receipt: str


Manifest = dict[str, StoredFile]
"""The files of one series and symbol, by the names of their cache files."""


def manifest_name(series: Series) -> str:
    """The path of the manifest of a series in its dataset."""
    return f"{MANIFESTS}/{series_folder(series)}.json"


def manifest_text(manifest: Mapping[str, StoredFile]) -> str:
    """A manifest as it is stored, a line a file."""
    lines = (
        f'"{name}":{msgspec.json.encode(each).decode()}' for name, each in sorted(manifest.items())
    )
    return "{" + ",\n".join(lines) + "}\n"


def manifest_of(text: bytes) -> Manifest:
    """A manifest from its text; empty if that is damaged, since the files carry their receipts too."""
    try:
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def stored_file(path: Path, receipt: Receipt) -> StoredFile:
    """What the manifest says of a Parquet file that was proven just now."""
    with path.open("rb") as file:
        sha256 = sha256_of(file)
    rows = pq.read_metadata(path).num_rows
    return StoredFile(path.stat().st_size, sha256, rows, receipt.to_json())


def sha256_of(file: BinaryIO) -> str:
    """The sha256 of an open file, block by block."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def note_files(folder: Path, written: Mapping[CacheFile, Receipt]) -> None:
    """Add files of a folder to its manifests."""
    by_series: dict[Series, list[CacheFile]] = {}
    for file in written:
        by_series.setdefault(file.series, []).append(file)
    for series, files in by_series.items():
        path = folder / manifest_name(series)
        manifest = manifest_of(path.read_bytes()) if path.exists() else {}
        manifest |= {
            each.name: stored_file(folder / object_name(each), written[each]) for each in files
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        put_text(path, manifest_text(manifest))
