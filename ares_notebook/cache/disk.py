"""The file system: atomic and durable writes, hashes, and errors with a remedy."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from shlex import quote

from ares_notebook.errors import CacheError, CacheUnavailable, NotEnoughDisk
from ares_notebook.runtime.tasks import check_cancelled

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

_FULL = {
    errno.ENOSPC: "no space left to write",
    errno.EDQUOT: "your quota leaves no space to write",
    errno.EFBIG: "so large a file is not allowed here:",
}
_SMALLER = 'free some, choose a shorter lookback, or store compressed with compression="zstd"'
_NO_LOCKS = (
    "this disk has no locks, as some network folders, and without them two runs could write "
    "one file: use a local folder"
)
_REMEDIES = {
    errno.EROFS: "it can only be read: have it mounted for writing",
    errno.ENAMETOOLONG: "use a folder with a shorter path",
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP), _NO_LOCKS),
}


def cannot_access(path: Path, error: OSError) -> CacheError:
    """Our error for an *error* of the file system, with a remedy."""
    if error.errno in _FULL:
        return NotEnoughDisk(f"{_FULL[error.errno]} {path}; {_SMALLER}")
    if isinstance(error, NotADirectoryError | FileExistsError):
        why = "there is a file where a folder should be; move it away"
    elif isinstance(error, IsADirectoryError):
        return CacheUnavailable(f"{path} is a folder; name a file")
    elif isinstance(error, FileNotFoundError) and not path.parent.exists():
        return CacheUnavailable(f"there is no folder {path.parent}; make it, or name another one")
    elif isinstance(error, FileNotFoundError):
        return CacheUnavailable(f"{path} is not there any more: somebody has deleted it; try again")
    else:
        reason = os.strerror(error.errno) if error.errno else str(error)
        why = f"{reason}; {_remedy(path, error)}"
    msg = f"could not create or access {path}: {why}, or choose another folder with cache_dir"
    return CacheUnavailable(msg)


def _remedy(path: Path, error: OSError) -> str:
    """The remedy for an *error* that the path itself does not explain."""
    if not isinstance(error, PermissionError):
        return _REMEDIES.get(error.errno or 0, "see to that")
    # The part of the path that exists; os.path, since a folder without permission must not raise.
    nearest = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
    with suppress(OSError):
        # Windows has no user ids; every owner is 0 there.
        owner, user = nearest.lstat().st_uid, os.geteuid() if hasattr(os, "geteuid") else 0
        if owner != user:
            return (
                f"{nearest} belongs to another user (uid {owner}): have it given to you (`chown`)"
            )
    folder = nearest if os.path.isdir(nearest) else nearest.parent  # noqa: PTH112 - as said
    return f"make it yours with `chmod -R u+rwX {quote(str(folder))}`"


def put_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    # Two threads or processes may write the same file at once; the later one wins.
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
        # Few are longer than one block.
        while len(block) == _SMALL_BYTES:
            block = os.read(descriptor, _SMALL_BYTES)
            data += block
        return data
    finally:
        os.close(descriptor)


def flush_to_disk(path: Path) -> None:
    """Wait until the disk has stored a file or a folder."""
    if os.name == "nt" and path.is_dir():
        # Windows cannot open folders, and stores renames by itself.
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
            check_cancelled()
            digest.update(block)
    return digest.hexdigest()
