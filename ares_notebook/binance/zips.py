"""A zip of the archive: inflated in bounded memory, its one member parsed block by block."""

from __future__ import annotations

import logging
import re
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import BinaryIO

from isal import isal_zlib

from ares_notebook.binance.csv_tables import Expected, columns_of, lines_by_cell
from ares_notebook.binance.parse import lines_by_kernel
from ares_notebook.errors import BadAnswer
from ares_notebook.formatting import refused
from ares_notebook.model.files import Series
from ares_notebook.model.rows import MICROSECONDS_FROM, Lines
from ares_notebook.model.time import Period, utc
from ares_notebook.runtime.tasks import made_ahead

_LOGGER = logging.getLogger("DataDownloader")
_HOUR_MS = 3_600_000
_NAME = re.compile(rb'[ "]*[A-Za-z_]')
_COMPRESSED_BLOCK_BYTES = 1 << 18
_TEXT_BLOCK_BYTES = 2 << 20
_LARGE_BYTES = 32 << 20
# glibc returns freed memory beyond twice the largest allocation that was freed before, and then each block
# is of new pages: three times the page faults. This one is larger than all blocks, and never touched.
bytes(6 << 20)
# Deflate reaches 1032 to 1 at most; market data 4 to 10.
_MOST_RATIO = 200
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1
# A directory of one member has some hundred bytes, a comment up to 64 KiB.
_MOST_DIRECTORY_BYTES = 1 << 17


def lines_of(archive: BinaryIO, member: str, origin: str) -> Iterator[bytes]:
    """
    Inflate the only *member* in blocks of whole lines; memory is bounded by the block.

    Text after the last line end is the last block: the member was cut there.
    """
    info = _only_member(archive, member, origin)
    archive.seek(_data_offset(archive, info, origin))
    kept = b""
    inflated = _inflated(archive, info, origin)
    if info.file_size > _LARGE_BYTES:
        # A day of trades alone shall use two cores.
        inflated = made_ahead(inflated)
    for block in inflated:
        end = block.rfind(b"\n") + 1
        if end:
            # Copies the block once, not twice.
            yield b"".join((kept, memoryview(block)[:end]))
            kept = block[end:]
        else:
            kept += block
        if len(kept) > _TEXT_BLOCK_BYTES:
            raise BadAnswer(refused(origin, f"it holds a line of over {len(kept):,} bytes"))
    if kept:
        yield kept


class _BoundedReader:
    """A file of which no read returns more than a directory and its comment can have."""

    def __init__(self, archive: BinaryIO) -> None:
        self._archive = archive
        self.seek, self.tell, self.seekable = archive.seek, archive.tell, archive.seekable

    def read(self, size: int = _MOST_DIRECTORY_BYTES) -> bytes:
        """Read up to *size* bytes; refuse a larger size."""
        if size > _MOST_DIRECTORY_BYTES:
            msg = f"its directory has {size:,} bytes"
            raise zipfile.BadZipFile(msg)
        return self._archive.read(size)


def _only_member(archive: BinaryIO, member: str, origin: str) -> zipfile.ZipInfo:
    try:
        members = zipfile.ZipFile(_BoundedReader(archive)).infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadAnswer(refused(origin, f"this is not a zip ({error})")) from error
    if [info.filename for info in members] != [member]:
        raise BadAnswer(refused(origin, f"it should hold {member} and nothing else"))
    info = members[0]
    is_known = info.compress_type in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
    if not is_known or info.flag_bits & _ENCRYPTED:
        raise BadAnswer(
            refused(origin, "it is encrypted or compressed in another way than deflate")
        )
    if info.file_size > _MOST_RATIO * info.compress_size + 4096:
        size = f"{info.file_size:,} bytes"
        raise BadAnswer(
            refused(origin, f"its directory states a size of {size}, which no market data has")
        )
    return info


def _data_offset(archive: BinaryIO, info: zipfile.ZipInfo, origin: str) -> int:
    """Offset of the member's data, behind its local header of variable length."""
    # The offset in a broken directory may be negative.
    start = max(0, info.header_offset)
    archive.seek(start)
    head = archive.read(_LOCAL_HEADER.size)
    if len(head) != _LOCAL_HEADER.size or head[:4] != b"PK\x03\x04":
        raise BadAnswer(refused(origin, "it has a broken header"))
    _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(head)
    return start + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)


def _inflated(archive: BinaryIO, info: zipfile.ZipInfo, origin: str) -> Iterator[bytes]:
    """Inflate in blocks; the directory's size and CRC are checked at the end."""
    checksum, size = 0, 0
    for block in _raw_blocks(archive, info, origin):
        size += len(block)
        if size > info.file_size:
            break
        checksum = isal_zlib.crc32(block, checksum)
        yield block
    if size != info.file_size or checksum != info.CRC:
        raise BadAnswer(refused(origin, "its size is not the one in its directory"))


def _raw_blocks(archive: BinaryIO, info: zipfile.ZipInfo, origin: str) -> Iterator[bytes]:
    pieces = _pieces(archive, info.compress_size)
    if info.compress_type == zipfile.ZIP_STORED:
        yield from pieces
        return
    # isal inflates three times as fast as zlib.
    inflater = isal_zlib.decompressobj(-15)
    data = b""
    while not inflater.eof:
        data = data or next(pieces, b"")
        try:
            # The bound on the output limits what a zip bomb can do.
            block = inflater.decompress(data, _TEXT_BLOCK_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # isal publishes no types
            raise BadAnswer(refused(origin, f"it does not inflate ({error})")) from error
        if not data and not block:
            return
        data = inflater.unconsumed_tail
        yield block


def _pieces(archive: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (piece := archive.read(min(size, _COMPRESSED_BLOCK_BYTES))):
        size -= len(piece)
        yield piece


@dataclass(slots=True, eq=False)
class Zip:
    """One zip of the archive whose sha256 has been verified."""

    name: str
    url: str
    sha256: str
    # Open while the context of `Archive.fetch` is.
    data: BinaryIO
    series: Series
    # All rows must be in it, but for a few with labels; None where it is not known.
    period: Period | None = None
    # Whether the text ends inside a line, known once all lines have been read. The whole lines are
    # valid; those after them must be fetched elsewhere, and their absence here proves nothing.
    is_cut: bool = field(default=False, init=False)

    def lines(self, near: tuple[int, int] | None = None) -> Iterator[Lines]:
        """
        The rows as lines of a cache file, block by block; CPU work, for a thread.

        With *near*, in milliseconds, blocks that lie an hour or more outside of it are not parsed;
        of these only the first and the last row are checked to lie in the period of the zip.
        """
        last = Lines.none()
        member = self.name.removesuffix(".zip") + ".csv"
        blocks = lines_of(self.data, member, self.url)
        header, block = _header_and_rows(next(blocks, b""))
        expected = None
        for text in chain([block], blocks):
            whole = self._without_cut_line(text)
            if not whole:
                continue
            if expected is None:
                expected = self._expected(header, whole)
            read = None
            if near is None or self._is_near(whole, expected, *near):
                read = lines_by_kernel(self.series.dataset, whole, expected)
                lines = read or lines_by_cell(self.series.dataset, whole, self.url, expected)
                if len(lines):
                    first_us, last_us = lines.stamps_us.min(), lines.stamps_us.max()
                    self._check_period(int(first_us) // 1000, int(last_us) // 1000)
                yield lines.after(last)
                last = lines if len(lines) else last
            # Of each line that the kernel took it made a row; to count others takes longer.
            rows = len(read) if read else whole.count(b"\n")
            expected = replace(expected, first=expected.first + rows)
        if self.is_cut and expected is None:
            raise BadAnswer(refused(self.url, "it ends inside its first row"))

    def _expected(self, header: bytes, rows: bytes) -> Expected:
        """What is known of the rows before they are parsed: all are as wide as the first."""
        series = self.series
        return Expected(
            series.interval,
            columns=columns_of(series.dataset, header, rows, self.url),
            first=1 + header.count(b"\n"),
            symbol=series.symbol,
            label_shift_ms=series.label_shift_ms(self.period.start_ms) if self.period else 0,
            period=self.period,
        )

    def _is_near(self, block: bytes, expected: Expected, start_ms: int, end_ms: int) -> bool:
        """Whether rows of a block may lie in ``[start_ms, end_ms)``: stamps ascend, a few are seconds late."""
        at = [column.name for column in expected.columns or ()].index("timestamp")
        edges = (block[: block.find(b"\n")], block[block.rfind(b"\n", 0, -1) + 1 :])
        try:
            first, last = (int(line.split(b",")[at]) for line in edges)
        except (ValueError, IndexError):
            # The parser reports what is wrong.
            return True
        first_ms, last_ms = (
            each // 1000 if each >= MICROSECONDS_FROM else each for each in (first, last)
        )
        self._check_period(first_ms, last_ms)
        return first_ms < end_ms + _HOUR_MS and start_ms - _HOUR_MS <= last_ms

    def _without_cut_line(self, text: bytes) -> bytes:
        """The whole lines: a number that was cut short is still a number."""
        if text and not text.endswith(b"\n") and not self.is_cut:
            self.is_cut = True
            _LOGGER.warning("%s ends inside a line; what it lacks is asked for elsewhere", self.url)
        return text[: text.rfind(b"\n") + 1]

    def _check_period(self, *stamps_ms: int) -> None:
        """Refuse the zip if one of these stamps is not in its period."""
        period = self.period
        for stamp_ms in stamps_ms:
            if period is not None and not period.start_ms <= stamp_ms < period.end_ms:
                fault = f"it holds a row of {utc(stamp_ms):%Y-%m-%d %H:%M:%S}, which is not in its period"
                raise BadAnswer(refused(self.url, fault))


def _header_and_rows(block: bytes) -> tuple[bytes, bytes]:
    """Split off a header: files of futures have one since 2022, spot files never. No row begins with a letter."""
    end = block.find(b"\n") + 1 or len(block)
    return (block[:end], block[end:]) if _NAME.match(block) else (b"", block)
