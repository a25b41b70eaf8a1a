"""The file system: atomic and durable writes, hashes, and errors with a remedy."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from stat import S_ISVTX
from tempfile import TemporaryFile

from ares_notebook.errors import CacheError, CacheUnavailable, NotEnoughDisk
from ares_notebook.runtime.cancellation import check_cancelled

_LOGGER = logging.getLogger("DataDownloader")
_HASH_BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 13
TICK_NS = 2_000_000_000
"""The tick of the coarsest file system clock (FAT): a change within it may not be visible."""
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
# What a file server answers where another of its clients has the file open.
_OPEN_ELSEWHERE = (errno.EBUSY, errno.ETXTBSY)
# The same on Windows: a sharing violation, a locked part of the file.
_WINDOWS_OPEN_ELSEWHERE = (32, 33)
# Between the tries of a rename; a little over a second in all.
_WAITS_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
# What file systems answer that cannot flush a folder: SMB, FUSE, shared folders of virtual machines.
_NO_FOLDER_FLUSH = {
    errno.EINVAL,
    errno.EBADF,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.ENOTTY,
    errno.EIO,
    errno.EISDIR,
    errno.EROFS,
    errno.EPERM,
    errno.EACCES,
}
_unflushed: list[Path] = []


def cannot_access(path: Path, error: OSError) -> CacheError:
    """Our error for an *error* of the file system, with a remedy."""
    if error.errno in _FULL:
        return NotEnoughDisk(f"{_FULL[error.errno]} {path}; {_SMALLER}")
    if _is_open_elsewhere(error):
        return _open_elsewhere(path)
    if path.suffix == PART_SUFFIX:
        # Each temporary file has another name, and its folder is what refuses them all.
        path = path.parent
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


def _is_open_elsewhere(error: OSError) -> bool:
    """Whether the system itself says that another program has the file open."""
    code = getattr(error, "winerror", None)
    return error.errno in _OPEN_ELSEWHERE or code in _WINDOWS_OPEN_ELSEWHERE


def _open_elsewhere(path: Path) -> CacheUnavailable:
    msg = (
        f"another program has {path} open: close it (Excel, a sync client, a virus scanner), "
        f"then run again"
    )
    return CacheUnavailable(msg)


def _remedy(path: Path, error: OSError) -> str:
    """The remedy for an *error* that the path itself does not explain."""
    if not isinstance(error, PermissionError):
        return _REMEDIES.get(error.errno or 0, "see to that")
    # The call that failed may have been about a lock, a temporary file or a folder of ours.
    named = [Path(each) for each in (error.filename, error.filename2) if isinstance(each, str)]
    refused = _refused(named or [path])
    is_folder, shown = os.path.isdir(refused), quote(str(refused))  # noqa: PTH112 - as there
    with suppress(OSError):
        # Windows has no user ids; every owner is 0 there.
        owner, user = refused.lstat().st_uid, os.geteuid() if hasattr(os, "geteuid") else 0
        if owner != user:
            rights = "g+w" if os.access(refused, os.R_OK) else "g+rw"
            return (
                f"{refused} belongs to another user (uid {owner}): have it shared with your group "
                f"(`chmod {'-R ' if is_folder else ''}{rights} {shown}`, and `umask 002` before "
                f"more is written), or given to you (`chown`)"
            )
    folder = refused if is_folder else refused.parent
    return f"make it yours with `chmod -R u+rwX {quote(str(folder))}`"


def _refused(paths: Sequence[Path]) -> Path:
    """Which file or folder on *paths* the user has no right to read or to change."""
    found = next(filter(None, map(_closed, paths)), None)
    if found is not None:
        return found
    # os.path, since a folder without permission must not raise.
    last = paths[-1]
    return next((each for each in (last, *last.parents) if os.path.lexists(each)), last)


def _closed(path: Path) -> Path | None:
    """The part of *path* whose rights forbid this user something; None where none does."""
    there = [each for each in (path, *path.parents) if os.path.lexists(each)]
    unreachable = [each for each in there[1:] if not os.access(each, os.X_OK)]
    if unreachable or not there:
        return unreachable[-1] if unreachable else None
    nearest, folder = there[0], there[0].parent
    if nearest != path:
        return None if os.access(nearest, os.W_OK) else nearest
    if os.access(nearest, os.R_OK) and not os.access(folder, os.W_OK):
        return folder
    return None if os.access(nearest, os.R_OK | os.W_OK) and _may_replace(nearest) else nearest


def _may_replace(path: Path) -> bool:
    """Whether the rights of the user allow to rename or delete *path*."""
    folder = path.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    if os.name == "nt":
        # A file that is marked read-only.
        return os.access(path, os.W_OK) or not path.exists()
    with suppress(OSError):
        # In a sticky folder, such as /tmp, each user may change only what is his.
        mode, owners = folder.stat().st_mode, {folder.stat().st_uid, path.lstat().st_uid}
        return not mode & S_ISVTX or os.geteuid() in {0, *owners}
    return True


def check_writable(folder: Path) -> None:
    """Raise where no file can be made in a folder."""
    try:
        # It has no name, so that a killed process cannot leave it.
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise cannot_access(folder, error) from error


def rename(path: Path, target: Path) -> None:
    """Rename *path* to *target*, which is replaced; a `CacheError` where that fails."""
    # Of the two the target is what others have open: its path is known.
    _patiently(lambda: path.replace(target), target if target.exists() else path)


def delete(path: Path) -> None:
    """Delete a file, if it is there; a `CacheError` where that fails."""
    _patiently(lambda: path.unlink(missing_ok=True), path)


def _patiently(change: Callable[[], object], path: Path) -> None:
    """Rename or delete, and again for about a second while another program has *path* open."""
    for wait_seconds in (*_WAITS_SECONDS, None):
        try:
            change()
        except OSError as error:
            is_denied = isinstance(error, PermissionError) and _may_replace(path)
            if not is_denied and not _is_open_elsewhere(error):
                raise cannot_access(path, error) from error
            if wait_seconds is None:
                raise _open_elsewhere(path) from error
            time.sleep(wait_seconds)
        else:
            return


def remove_part(part: Path) -> None:
    """Delete a temporary file; one that cannot be deleted only takes space until a later run."""
    try:
        part.unlink(missing_ok=True)
    except OSError as error:
        _LOGGER.warning("a temporary file stays: %s", cannot_access(part, error))


def put_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    # Two threads or processes may write the same file at once; the later one wins.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    part = path.with_name(f".{path.name}.{writer}{PART_SUFFIX}")
    try:
        part.write_text(text, encoding="utf-8")
        rename(part, path)
    finally:
        remove_part(part)


def add_lines(path: Path, text: str) -> None:
    """Add whole lines to a file with one write, so that several processes may do so at once."""
    with path.open("ab+", buffering=0) as stream:
        if stream.tell() and stream.seek(-1, os.SEEK_END) >= 0 and stream.read(1) != b"\n":
            # The last line was cut short by a power failure and must not spoil this one.
            text = "\n" + text
        data = text.encode()
        if stream.write(data) < len(data):
            # A full disk takes a part of it and raises nothing.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


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
    """Wait until the disk has stored a file or a folder; some cannot be asked about folders."""
    is_folder = path.is_dir()
    if os.name == "nt" and is_folder:
        # Windows cannot open folders, and stores renames by itself.
        return
    try:
        flush(path)
    except OSError as error:
        if not is_folder or error.errno not in _NO_FOLDER_FLUSH:
            raise
        if not _unflushed:
            _unflushed.append(path)
            _LOGGER.info(
                "the file system of %s cannot flush a folder (%s), so a power failure may undo "
                "the newest renames; the next run then fetches those files again",
                path,
                error,
            )


def flush(path: Path) -> None:
    """Wait until the disk has stored a file or a folder; an OSError where it cannot be asked."""
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
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
