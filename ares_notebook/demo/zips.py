"""Zip files of one member, the same bytes every time, and of a size named beforehand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable

Chunks = Callable[[], Iterable[bytes]]

_LEVELS = (1, 6, 9)
# A stored block of no bytes: what zlib writes to reach a byte border, and legal any number of times.
_EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
_FINAL_BLOCK = b"\x01\x00\x00\xff\xff"

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_MIDNIGHT, _FIRST_OF_1980 = 0, 0x21
_UTF8 = 0x800


def pack(member: str, chunks: Chunks, size: int | None = None) -> bytes:
    """Make a zip file of one deflated member."""
    frame = _frame_size(member)
    for level in _LEVELS:
        body, crc, length = _deflate(chunks(), level)
        spare = 0 if size is None else size - frame - len(body)
        if spare >= 0:
            return _wrap(member, _fill(body, spare), crc, length, b" " * (spare % 5))
    msg = f"{member}: {-spare} bytes more than the {size} that were announced"
    raise ValueError(msg)


def _deflate(chunks: Iterable[bytes], level: int) -> tuple[bytes, int, int]:
    """Compress: the stream without its final block, the checksum, the length of the text."""
    squeezer = zlib.compressobj(level, zlib.DEFLATED, -15)
    parts, crc, length = [], 0, 0
    for chunk in chunks:
        parts.append(squeezer.compress(chunk))
        crc = zlib.crc32(chunk, crc)
        length += len(chunk)
    parts.append(squeezer.flush(zlib.Z_SYNC_FLUSH))
    return b"".join(parts), crc, length


def _fill(body: bytes, spare: int) -> bytes:
    """Finish a stream, *spare* bytes longer than need be (the last four are not its own)."""
    return body + _EMPTY_BLOCK * (spare // 5) + _FINAL_BLOCK


def _frame_size(member: str) -> int:
    """Bytes of a zip file that are not its member's stream."""
    name = len(member.encode())
    return _LOCAL.size + _CENTRAL.size + _END.size + 2 * name + len(_FINAL_BLOCK)


def _wrap(member: str, body: bytes, crc: int, length: int, comment: bytes) -> bytes:
    """Put headers around a deflated stream."""
    name = member.encode()
    fields = (
        20,
        _UTF8,
        8,
        _MIDNIGHT,
        _FIRST_OF_1980,
        crc,
        len(body),
        length,
        len(name),
        0,
    )
    local = _LOCAL.pack(b"PK\x03\x04", *fields) + name
    regular_file = 0o100644 << 16
    central = _CENTRAL.pack(b"PK\x01\x02", 0x314, *fields, 0, 0, 0, regular_file, 0) + name
    sizes = (len(central), len(local) + len(body), len(comment))
    end = _END.pack(b"PK\x05\x06", 0, 0, 1, 1, *sizes)
    return b"".join((local, body, central, end, comment))
