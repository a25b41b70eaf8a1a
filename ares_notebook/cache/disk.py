"""The file system: small files written whole, bytes made to stay, errors put in words."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

from ares_notebook.errors import CacheError, CacheUnavailable, NotEnoughDisk

__all__ = [
    "PART_SUFFIX",
    "cannot_access",
    "file_sha256",
    "flush_to_disk",
    "put_text",
    "read_small",
]

_HASH_BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 13
PART_SUFFIX = ".part"
"""How the names of temporary files end."""


def cannot_access(path: Path, error: OSError) -> CacheError:
    """Our error for an *error* of the file system, with the way out."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        msg = (
            f"no space left to write {path}; free some, choose a shorter lookback, "
            f'or store compressed with compression="zstd"'
        )
        return NotEnoughDisk(msg)
    if isinstance(error, NotADirectoryError | FileExistsError):
        msg = (
            f"could not create or access {path}: there is a file where a folder should be; "
            f"move it away, or choose another folder with cache_dir"
        )
        return CacheUnavailable(msg)
    if isinstance(error, IsADirectoryError):
        return CacheUnavailable(f"{path} is a folder; name a file")
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        return CacheUnavailable(f"there is no folder {path.parent}; make it, or name another place")
    if isinstance(error, FileNotFoundError):
        return CacheUnavailable(f"{path} is not there any more: somebody has deleted it; try again")
    folder = path.parent if path.suffix else path
    why = os.strerror(error.errno) if error.errno else str(error)
    msg = (
        f"could not create or access {path}: {why}; make it yours with "
        f"`chmod -R u+rwX {folder}`, or choose another folder with cache_dir"
    )
    return CacheUnavailable(msg)


def put_text(path: Path, text: str) -> None:
    """Write a small file of ours whole or not at all."""
    # Two threads, as two processes, may write the same file at once; the later one wins.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    part = path.with_name(f".{path.name}.{writer}{PART_SUFFIX}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_small(path: str) -> bytes:
    """The bytes of a small file; a third of the time that `Path.read_bytes` takes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = block = os.read(descriptor, _SMALL_BYTES)
        # Few are so long that one look is not enough.
        while len(block) == _SMALL_BYTES:
            block = os.read(descriptor, _SMALL_BYTES)
            data += block
        return data
    finally:
        os.close(descriptor)


def flush_to_disk(path: Path) -> None:
    """Wait until the disk has what was written to a file or a folder."""
    if os.name == "nt" and path.is_dir():
        # Windows opens no folders, and writes renames through by itself.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
