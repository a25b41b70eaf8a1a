"""A zip of the archive, opened with distrust: one member, the right name, bounded, checked."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from isal import isal_zlib

from ares_notebook.errors import BadAnswer

__all__ = ["lines_of"]

_COMPRESSED_BLOCK_BYTES = 1 << 19
_TEXT_BLOCK_BYTES = 4 << 20
# The most that deflate can do is 1032 to 1; market text does 4 to 10.
_MOST_RATIO = 200
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1
# A comment may have 64 KiB.
_MOST_DIRECTORY_BYTES = 1 << 17


def lines_of(archive: BinaryIO, member: str, origin: str) -> Iterator[bytes]:
    """
    The text of the one *member*, in blocks of whole lines.

    What stands behind the last line end comes as a last block, which has none: the member was cut
    there. Memory is bounded by the block, not by the file. isal inflates three times as fast as
    zlib.
    """
    info = _only_member(archive, member, origin)
    archive.seek(_data_offset(archive, info, origin))
    kept = b""
    for block in _inflated(archive, info, origin):
        end = block.rfind(b"\n") + 1
        if end:
            # One copy of the block, not two.
            yield b"".join((kept, memoryview(block)[:end]))
            kept = block[end:]
        else:
            kept += block
        if len(kept) > _TEXT_BLOCK_BYTES:
            msg = f"{origin} holds a line of over {len(kept):,} bytes; nothing is stored, run again later"
            raise BadAnswer(msg)
    if kept:
        yield kept


class _Sparing:
    """A file of which nobody reads much at once: a directory of one member has some hundred bytes."""

    def __init__(self, archive: BinaryIO) -> None:
        self._archive = archive
        self.seek, self.tell, self.seekable = archive.seek, archive.tell, archive.seekable

    def read(self, size: int = _MOST_DIRECTORY_BYTES) -> bytes:
        """Read, but not more than a directory and a comment can have."""
        if size > _MOST_DIRECTORY_BYTES:
            msg = f"its directory has {size:,} bytes"
            raise zipfile.BadZipFile(msg)
        return self._archive.read(size)


def _only_member(archive: BinaryIO, member: str, origin: str) -> zipfile.ZipInfo:
    try:
        members = zipfile.ZipFile(_Sparing(archive)).infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        msg = f"{origin} is not a zip ({error}); nothing is stored, run again later"
        raise BadAnswer(msg) from error
    if [info.filename for info in members] != [member]:
        msg = f"{origin} should hold {member} and nothing else; nothing is stored, run again later"
        raise BadAnswer(msg)
    info = members[0]
    sound = info.compress_type in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
    if not sound or info.flag_bits & _ENCRYPTED:
        msg = f"{origin} is encrypted or compressed in another way than deflate; nothing is stored, run again later"
        raise BadAnswer(msg)
    if info.file_size > _MOST_RATIO * info.compress_size + 4096:
        msg = f"{origin} says it inflates to {info.file_size:,} bytes, which no market data does; nothing is stored, run again later"
        raise BadAnswer(msg)
    return info


def _data_offset(archive: BinaryIO, info: zipfile.ZipInfo, origin: str) -> int:
    """Where the member's bytes begin: its local header has lengths of its own."""
    # A broken directory may point anywhere, before the beginning too.
    start = max(0, info.header_offset)
    archive.seek(start)
    head = archive.read(_LOCAL_HEADER.size)
    if len(head) != _LOCAL_HEADER.size or head[:4] != b"PK\x03\x04":
        msg = f"{origin} has a broken header; nothing is stored, run again later"
        raise BadAnswer(msg)
    _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(head)
    return start + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)


def _inflated(archive: BinaryIO, info: zipfile.ZipInfo, origin: str) -> Iterator[bytes]:
    """Blocks of text, checked against the directory's size and CRC at the end."""
    checksum, size = 0, 0
    for block in _raw_blocks(archive, info, origin):
        size += len(block)
        if size > info.file_size:
            break
        checksum = isal_zlib.crc32(block, checksum)
        yield block
    if size != info.file_size or checksum != info.CRC:
        msg = f"{origin} does not inflate to what its directory says; nothing is stored, run again later"
        raise BadAnswer(msg)


def _raw_blocks(archive: BinaryIO, info: zipfile.ZipInfo, origin: str) -> Iterator[bytes]:
    if info.compress_type == zipfile.ZIP_STORED:
        yield from _pieces(archive, info.compress_size)
        return
    inflater = isal_zlib.decompressobj(-15)
    pieces = _pieces(archive, info.compress_size)
    data = b""
    while not inflater.eof:
        data = data or next(pieces, b"")
        try:
            # The bound on the output is what keeps a bomb small.
            block = inflater.decompress(data, _TEXT_BLOCK_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # isal publishes no types
            msg = f"{origin} does not inflate ({error}); nothing is stored, run again later"
            raise BadAnswer(msg) from error
        if not data and not block:
            return
        data = inflater.unconsumed_tail
        yield block


def _pieces(archive: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left and (piece := archive.read(min(left, _COMPRESSED_BLOCK_BYTES))):
        left -= len(piece)
        yield piece
