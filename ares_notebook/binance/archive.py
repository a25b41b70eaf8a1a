"""The bulk archive: zips and their checksums, fetched, inflated and read."""

from __future__ import annotations

import hashlib
import logging
import re
import struct
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import quote

from isal import isal_zlib

from ares_notebook.binance.csv_tables import Expected
from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.listing import FEW_KEYS, MOST_PAGES, first_days, list_page
from ares_notebook.binance.parse import lines_of_csv
from ares_notebook.errors import BadAnswer, ChecksumMismatch, NotFound, TransportError
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.files import Series
from ares_notebook.model.lines import Lines
from ares_notebook.model.time import (
    Cut,
    Period,
    as_utc,
    cut_periods,
    period_of,
    to_ms,
    utc,
)
from ares_notebook.runtime.tasks import Memoized

__all__ = ["Archive", "Zip", "lines_of"]

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


_LOGGER = logging.getLogger("DataDownloader")
_HEADER = re.compile(rb"[A-Za-z_]+(?:,[A-Za-z_]+)+")


@dataclass(slots=True, eq=False)
class Zip:
    """One zip of the archive, fetched and found to be what its checksum says."""

    name: str
    url: str
    sha256: str
    # Open while the archive's context is.
    data: BinaryIO
    dataset: Dataset
    # Of candles.
    interval: str | None = None
    # Of which all rows must be; None where nobody knows it.
    period: Period | None = None
    # Whether its text ends inside a line, known once its lines have been read. Those that are whole
    # are sound; what follows them is to be asked for elsewhere, and that it is not in here says
    # nothing.
    is_cut: bool = field(default=False, init=False)
    _header: bytes = field(default=b"", init=False)

    def lines(self) -> Iterator[Lines]:
        """Its rows as lines of a cache file, block by block; CPU work, for a thread."""
        last = Lines.none()
        expected = Expected(self.interval)
        for block in self._blocks():
            if expected.width is None:
                # The first row tells how wide all are.
                width = block[: block.find(b"\n")].count(b",") + 1
                first = expected.first + self._header.count(b"\n")
                expected = replace(expected, width=width, first=first)
            lines = lines_of_csv(self.dataset, block, self.url, expected)
            self._check_period(lines)
            yield lines.after(last)
            last = lines if len(lines) else last
            expected = replace(expected, first=expected.first + block.count(b"\n"))
        if self.is_cut and expected.width is None:
            msg = f"{self.url} ends inside its first row; nothing is stored, run again later"
            raise BadAnswer(msg)

    def _blocks(self) -> Iterator[bytes]:
        """Its text in blocks of whole lines, without a header."""
        member = self.name.removesuffix(".zip") + ".csv"
        texts = lines_of(self.data, member, self.url)
        self._header, first = _header_and_rows(next(texts, b""))
        for text in chain([first], texts):
            whole = text if text.endswith(b"\n") else self._without_cut_line(text)
            if whole:
                yield whole

    def _without_cut_line(self, text: bytes) -> bytes:
        """The whole lines: a number that was cut short is still a number."""
        if text and not self.is_cut:
            self.is_cut = True
            _LOGGER.warning("%s ends inside a line; what it lacks is asked for elsewhere", self.url)
        return text[: text.rfind(b"\n") + 1]

    def _check_period(self, lines: Lines) -> None:
        if self.period is None:
            return
        inside = self.period.start_ms * 1000, self.period.end_ms * 1000
        outside = (lines.stamps_us < inside[0]) | (lines.stamps_us >= inside[1])
        if outside.any():
            stamp = utc(int(lines.stamps_us[outside][0]) // 1000)
            msg = (
                f"{self.url} holds a row of {stamp:%Y-%m-%d %H:%M:%S}, which is not in its period; "
                f"nothing is stored, run again later"
            )
            raise BadAnswer(msg)


def _header_and_rows(block: bytes) -> tuple[bytes, bytes]:
    """Futures files have a header since 2022, spot files never; a row of names tells."""
    end = block.find(b"\n") + 1 or len(block)
    is_header = _HEADER.fullmatch(block[:end].rstrip(b"\r\n"))
    return (block[:end], block[end:]) if is_header else (b"", block)


# Small zips (most k-lines) never touch the disk.
_IN_MEMORY_BYTES = 4 << 20
_HASH_BLOCK_BYTES = 1 << 20
_NEVER_MS = 1 << 52
_CHECKSUM = re.compile(rb"\s*([0-9a-fA-F]{64})\s+\*?(\S+)\s*")


class Archive:
    """Binance's bulk archive."""

    def __init__(self, transport: Transport, folder: Path) -> None:
        self._transport = transport
        self._folder = folder
        self._listings: Memoized[dict[str, int] | None] = Memoized()
        self._firsts: Memoized[int] = Memoized()

    async def size_of(self, series: Series, cut: Cut, start: datetime) -> int | None:
        """
        Bytes of the zip that begins at *start*, by the archive's listing; None if it cannot be had.
        """
        key = series.archive_key(cut, start)
        listing = await self._listing(self._prefix(series, cut, start))
        if listing is None:
            return None
        if key not in listing:
            msg = f"{self._url(key)} is not published"
            raise NotFound(msg, self._url(key))
        return listing[key]

    async def has_any(self, series: Series) -> bool:
        """Whether the archive holds anything of *series*; True when its listing fails."""
        return await self._holds(series) is not False

    async def holds(self, series: Series) -> bool:
        """The same, but not when its listing fails: whether it is certain."""
        return await self._holds(series) is True

    async def _holds(self, series: Series) -> bool | None:
        for cut in series.archive_cuts:
            try:
                # The first will do: a page of a thousand is 300 KB.
                page = await list_page(self._transport, series.archive_folder(cut), most=1)
            except (TransportError, BadAnswer) as error:
                _LOGGER.info("no listing of %s, so it may exist: %s", series.stem, error)
                return None
            if page.sizes:
                return True
        return False

    async def first_ms(self, series: Series) -> int:
        """When the first file of *series* in the archive begins, by its listing, asked for once."""
        return await self._firsts.get(series, partial(self._ask_first, series))

    async def _ask_first(self, series: Series) -> int:
        found = [_NEVER_MS]
        for cut in series.archive_cuts:
            folder = series.archive_folder(cut)
            stem = PurePosixPath(series.archive_key(cut, utc(0))).name.removesuffix(
                "1970-01-01.zip" if cut == "day" else "1970-01.zip"
            )
            days = await first_days(self._transport, folder, stem, most=FEW_KEYS)
            found += [to_ms(as_utc(day)) for day in days[:1]]
        return min(found)

    async def lists_any(self, series: Series, start_ms: int, end_ms: int) -> bool:
        """Whether a file is listed that may hold rows of ``[start_ms, end_ms)``."""
        start = utc(start_ms)
        keys = {
            series.archive_key(cut, period.start)
            for cut in series.archive_cuts
            for period in cut_periods(cut, start, utc(end_ms))
        }
        prefixes = {self._prefix(series, cut, start) for cut in series.archive_cuts}
        for prefix in prefixes:
            listing = await self._listing(prefix)
            if listing is None:
                msg = f"the listing of {prefix} cannot be had; run again later"
                raise BadAnswer(msg)
            if not keys.isdisjoint(listing):
                return True
        return False

    async def checksum(self, series: Series, cut: Cut, start: datetime) -> str:
        """What the sha256 of a zip is today, by the file beside it."""
        key = series.archive_key(cut, start)
        name = PurePosixPath(key).name
        ask = Ask(f"{self._url(key)}.CHECKSUM", f"the checksum of {name}")
        return await self._transport.get(ask, partial(_read_checksum, ask.url, name))

    @asynccontextmanager
    async def fetch(self, series: Series, cut: Cut, start: datetime) -> AsyncIterator[Zip]:
        """Fetch a zip and verify it; open while the context is."""
        key = series.archive_key(cut, start)
        url, name = self._url(key), PurePosixPath(key).name
        # The sidecar first: where nothing is published that costs 91 bytes.
        wanted = await self.checksum(series, cut, start)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(self._folder)) as spool:
            data = cast("BinaryIO", spool)
            check = partial(_verify, wanted, url)
            await self._transport.download(Ask(url, f"archive {name}"), data, check)
            period = period_of(cut, start)
            yield Zip(name, url, wanted, data, series.dataset, series.interval, period)

    def _url(self, key: str) -> str:
        return f"{self._transport.settings.archive_url}/{quote(key)}"

    def _prefix(self, series: Series, cut: Cut, start: datetime) -> str:
        """What to list: all months of a series, or the days of one month."""
        if cut == "month":
            return series.archive_folder(cut)
        return series.archive_key(cut, start).removesuffix(f"{start:-%d}.zip")

    async def _listing(self, prefix: str) -> dict[str, int] | None:
        """Sizes by key, asked for once; None when it fails, which is not the same as empty."""
        return await self._listings.get(prefix, partial(self._list_all, prefix))

    async def _list_all(self, prefix: str) -> dict[str, int] | None:
        sizes: dict[str, int] = {}
        marker = ""
        try:
            for _ in range(MOST_PAGES):
                page = await list_page(self._transport, prefix, marker)
                sizes |= page.sizes
                marker = page.next_marker
                if not marker:
                    return sizes
        except (TransportError, BadAnswer) as error:
            _LOGGER.info("no listing of %s, so sizes stay estimates: %s", prefix, error)
            return None
        # Half a listing is none: what it lacks may be there.
        _LOGGER.info("the listing of %s has no end, so sizes stay estimates", prefix)
        return None


def _read_checksum(url: str, name: str, body: bytes) -> str:
    match = _CHECKSUM.fullmatch(body)
    if match is None or match[2].decode("utf-8", "replace") != name:
        msg = (
            f"{url} holds no checksum of {name}: {body[:120]!r}; nothing is stored, run again later"
        )
        raise BadAnswer(msg)
    return match[1].decode().lower()


def _verify(wanted: str, url: str, data: BinaryIO) -> None:
    digest = hashlib.sha256()
    data.seek(0)
    while block := data.read(_HASH_BLOCK_BYTES):
        digest.update(block)
    if digest.hexdigest() != wanted:
        msg = (
            f"{url} is not what its .CHECKSUM says (sha256 {digest.hexdigest()[:12]}…, "
            f"not {wanted[:12]}…); nothing of it is stored, run again later"
        )
        raise ChecksumMismatch(msg)
