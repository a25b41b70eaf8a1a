"""A dataset of Parquet files on an object store, or any other file system of fsspec."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from ares_notebook.cache.disk import PART_SUFFIX, put_text, rename
from ares_notebook.cache.entry import Receipt
from ares_notebook.errors import AresError, BadArgument, CacheUnavailable, NeverDownloaded
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.parquet import ORIGIN, Origin, receipt_in
from ares_notebook.parquet_manifest import (
    MANIFESTS,
    Manifest,
    file_of_object,
    manifest_name,
    manifest_of,
    manifest_text,
    object_name,
    series_folder,
)

_T = TypeVar("_T")


class Destination:
    """A dataset as `to_parquet` lays it out, at a URL of any file system."""

    def __init__(self, url: str, options: Mapping[str, Any], *, decimal: bool) -> None:
        # First, since any other message might contain it.
        if "://" in url and not url.startswith("file:") and ("@" in url or "?" in url):
            msg = "to=… must hold no key; pass keys by storage_options or the environment"
            raise BadArgument(msg)
        self.url = url.rstrip("/")
        self.decimal = decimal
        try:
            self._files, root = url_to_fs(url, **options)
        except (ImportError, ValueError, TypeError) as error:
            msg = f"to={url!r} is no address of an object store or a folder ({error})"
            raise BadArgument(msg) from error
        except Exception as error:
            # As in `_ask`: a store may look for its profile or its region at once.
            raise self._unreachable(error) from error
        self._root = root.rstrip("/")
        if not url.strip() or not self._root:
            msg = f'to={url!r} names no destination; write all of it, such as "s3://bucket/dataset"'
            raise BadArgument(msg)
        if isinstance(self._files, MemoryFileSystem):
            msg = f"to={url!r} is the memory of one process, and each worker has its own; name a folder or a store"
            raise BadArgument(msg)

    @property
    def folder(self) -> Path | None:
        """Its folder, if the file system is a local one, or mounted as one."""
        return Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    def refuse_another(self, market: str) -> None:
        """Raise if the dataset is of another market or type of numbers; note them in a new one."""
        path, origin = f"{self._root}/{ORIGIN}", Origin(market, decimal=self.decimal)

        def known() -> bytes:
            if not self._files.exists(path):
                # An object store has no folders, and a bucket must not be made by mistake.
                if isinstance(self._files, LocalFileSystem):
                    self._files.makedirs(self._root, exist_ok=True)
                self._files.pipe_file(path, origin.to_json())
            return bytes(self._files.cat_file(path))

        origin.check(self.url, self._ask(known))

    def receipt(self, file: CacheFile) -> Receipt | None:
        """The receipt in a file there; None where there is no file, or one of other types."""

        def read() -> Receipt | None:
            try:
                with self._files.open(f"{self._root}/{object_name(file)}", "rb") as source:
                    return receipt_in(source, file, decimal=self.decimal)
            except FileNotFoundError:
                return None

        return self._ask(read)

    def found(self, series: Series) -> tuple[dict[str, int], Manifest]:
        """The sizes of the files of a series by their names, by one listing; and its manifest."""
        folder = f"{self._root}/{series_folder(series)}"

        def find() -> tuple[dict[str, int], Manifest]:
            # Another process may have written there.
            self._files.invalidate_cache()
            listed = self._files.find(folder, detail=True)
            sizes = {
                file.name: int(about["size"])
                for path, about in listed.items()
                if (file := self.file_of(path)) is not None
            }
            return sizes, self._manifest(manifest_name(series)) if sizes else {}

        return self._ask(find)

    def _manifest(self, name: str) -> Manifest:
        try:
            return manifest_of(bytes(self._files.cat_file(f"{self._root}/{name}")))
        except FileNotFoundError:
            return {}

    def file_of(self, path: str) -> CacheFile | None:
        """The cache file of an object of the dataset; None for those of other programs."""
        return file_of_object(path.removeprefix(f"{self._root}/"))

    def note(self, series: Series, manifest: Manifest) -> None:
        """Write the manifest of a series."""
        path = f"{self._root}/{manifest_name(series)}"

        def write() -> None:
            text = manifest_text(manifest)
            if isinstance(self._files, LocalFileSystem):
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                put_text(Path(path), text)
            else:
                self._files.pipe_file(path, text.encode())

        self._ask(write)

    def everything(self) -> tuple[list[str], Manifest]:
        """The paths of all files of the dataset, and all of its manifests together."""

        def find() -> tuple[list[str], Manifest]:
            self._files.invalidate_cache()
            if not self._files.exists(f"{self._root}/{ORIGIN}"):
                msg = f"{self.url} holds no Parquet dataset of ours: it has no {ORIGIN}"
                raise NeverDownloaded(msg)
            paths = sorted(self._files.find(self._root))
            manifest: Manifest = {}
            for path in paths:
                if path.startswith(f"{self._root}/{MANIFESTS}/"):
                    manifest |= self._manifest(path.removeprefix(f"{self._root}/"))
            return [path for path in paths if self.file_of(path) is not None], manifest

        return self._ask(find)

    def get(self, path: str, target: Path) -> None:
        """Copy a file of the dataset to this machine."""
        self._ask(lambda: self._files.get_file(path, str(target)))

    def put(self, path: Path, file: CacheFile) -> None:
        """Write a Parquet file there, whole or not at all."""
        target = f"{self._root}/{object_name(file)}"

        def put() -> None:
            if not isinstance(self._files, LocalFileSystem):
                # An object appears when its upload is complete.
                self._files.put_file(str(path), target)
                return
            folder, _, name = target.rpartition("/")
            self._files.makedirs(folder, exist_ok=True)
            part = f"{folder}/.{name}.{os.getpid()}{PART_SUFFIX}"
            self._files.put_file(str(path), part)
            rename(Path(part), Path(target))

        self._ask(put)

    def _ask(self, ask: Callable[[], _T]) -> _T:
        try:
            return ask()
        except AresError:
            raise
        except Exception as error:
            # Each kind of store has its own errors, and botocore's are no OSErrors.
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> CacheUnavailable:
        # With the text alone, since errors of stores need not survive the way from a worker.
        return CacheUnavailable(
            f"{self.url} cannot be reached or written ({type(error).__name__}: {error}); check "
            f"address, keys and rights; what is there is whole, run again"
        )
