"""The bulk archive: fetches zips, verifies their checksums, inflates and parses them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import re
import shutil
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
from ares_notebook.binance.listing import FEW_KEYS, first_days, list_page, pages
from ares_notebook.binance.parse import lines_of_csv
from ares_notebook.errors import (
    AresError,
    BadAnswer,
    ChecksumMismatch,
    DataError,
    NotFound,
    TransportError,
)
from ares_notebook.formatting import refused, size_in_words
from ares_notebook.model.files import Series
from ares_notebook.model.rows import MICROSECONDS_FROM, Lines
from ares_notebook.model.time import Cut, Period, as_utc, cut_periods, period_of, to_ms, utc
from ares_notebook.runtime.tasks import Memoized
from ares_notebook.settings import SPARE_BYTES

_COMPRESSED_BLOCK_BYTES = 1 << 19
_TEXT_BLOCK_BYTES = 4 << 20
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
    for block in _inflated(archive, info, origin):
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


_LOGGER = logging.getLogger("DataDownloader")
_HOUR_MS = 3_600_000
_HEADER = re.compile(rb"[A-Za-z_]+(?:,[A-Za-z_]+)+")


@dataclass(slots=True, eq=False)
class Zip:
    """One zip of the archive whose sha256 has been verified."""

    name: str
    url: str
    sha256: str
    # Open while the context of `Archive.fetch` is.
    data: BinaryIO
    series: Series
    # All rows must be in it; None where it is not known.
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
        shift_ms = 0 if self.period is None else self.series.label_shift_ms(self.period.start_ms)
        expected = Expected(
            self.series.interval,
            first=1 + header.count(b"\n"),
            symbol=self.series.symbol,
            label_shift_ms=shift_ms,
        )
        for text in chain([block], blocks):
            whole = self._without_cut_line(text)
            if not whole:
                continue
            if expected.width is None:
                # All rows are as wide as the first.
                width = whole[: whole.find(b"\n")].count(b",") + 1
                expected = replace(expected, width=width)
            if near is None or self._is_near(whole, *near):
                lines = lines_of_csv(self.series.dataset, whole, self.url, expected)
                if len(lines):
                    first_us, last_us = lines.stamps_us.min(), lines.stamps_us.max()
                    self._check_period(int(first_us) // 1000, int(last_us) // 1000)
                yield lines.after(last)
                last = lines if len(lines) else last
            expected = replace(expected, first=expected.first + whole.count(b"\n"))
        if self.is_cut and expected.width is None:
            raise BadAnswer(refused(self.url, "it ends inside its first row"))

    def _is_near(self, block: bytes, start_ms: int, end_ms: int) -> bool:
        """Whether rows of a block may lie in ``[start_ms, end_ms)``: stamps ascend, a few are seconds late."""
        at = [column.name for column in self.series.dataset.published].index("timestamp")
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
    """Split off a header row of names: futures files have one since 2022, spot files never."""
    end = block.find(b"\n") + 1 or len(block)
    is_header = _HEADER.fullmatch(block[:end].rstrip(b"\r\n"))
    return (block[:end], block[end:]) if is_header else (b"", block)


# Small zips (most k-lines) stay in memory.
_IN_MEMORY_BYTES = 4 << 20
_HASH_BLOCK_BYTES = 1 << 20
_NEVER_MS = 1 << 52
# Behind all keys.
_NO_KEY = "~"
_CHECKSUM = re.compile(rb"\s*([0-9a-fA-F]{64})\s+\*?(\S+)\s*")


_MOST_SHARED = 3


@dataclass(slots=True, eq=False)
class _SharedZip:
    """A zip of which several callers read a part, one after the other."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    fetched: Zip | None = None
    # How often it may still be fetched and found unsound.
    tries_left: int = 2
    # Why it is not fetched again in this run.
    failure: AresError | OSError | None = None

    def failed(self, error: AresError | OSError) -> None:
        """Remove it; only one that is not sound is fetched again, while tries are left."""
        self.close()
        self.tries_left -= 1
        if not self.tries_left or not isinstance(error, DataError):
            self.failure = error

    def close(self) -> None:
        """Remove its temporary file."""
        if self.fetched is not None:
            self.fetched.data.close()
            self.fetched = None


class Archive:
    """Binance's bulk archive."""

    def __init__(self, transport: Transport, folder: Path) -> None:
        self._transport = transport
        # Where temporary files are.
        self.folder = folder
        self._listings: Memoized[dict[str, int] | None] = Memoized()
        self._firsts: Memoized[int] = Memoized()
        # For each folder the last key that is known to be listed, the first one known to have no listed
        # one behind it, whether that zip is published, and if so, the same key once more.
        self._listed_until: dict[str, str] = {}
        self._unlisted_from: dict[str, str] = {}
        self._is_ahead: Memoized[bool] = Memoized()
        self._published_from: dict[str, str] = {}
        # Zips of months from which days are cut, the latest used last; one of them is fetched at a time.
        self._shared: dict[str, _SharedZip] = {}
        self._fetching = asyncio.Lock()

    async def size_of(self, series: Series, cut: Cut, start: datetime) -> int | None:
        """Bytes of the zip that begins at *start*; None where no listing tells."""
        key = series.archive_key(cut, start)
        listing = await self._listing(self._prefix(series, cut, start))
        if listing is None:
            return None
        if key not in listing:
            if series.market.has_late_listing and await self._is_behind(series, cut, start):
                return None
            msg = f"{self._url(key)} is not published"
            raise NotFound(msg, self._url(key))
        return listing[key]

    async def _is_behind(self, series: Series, cut: Cut, start: datetime) -> bool:
        """
        Whether the listing may end before the zip that begins at *start* was published.

        That of metrics once ended two years early, and that of trades one and a half. The first zip
        behind its end is asked for, and stands for all later ones.
        """
        key, folder = series.archive_key(cut, start), series.archive_folder(cut)
        if key < self._listed_until.get(folder, ""):
            return False
        if key < self._unlisted_from.get(folder, _NO_KEY):
            try:
                page = await list_page(self._transport, folder, key, most=1)
            except (TransportError, BadAnswer):
                return True
            if page.sizes:
                self._listed_until[folder] = max(page.sizes)
                return False
            self._unlisted_from[folder] = key
        is_ahead = await self._is_ahead.get(folder, partial(self._has, series, cut, start))
        if is_ahead:
            self._published_from.setdefault(folder, self._unlisted_from[folder])
        return is_ahead

    async def _has(self, series: Series, cut: Cut, start: datetime) -> bool:
        """Whether a zip is published, by its checksum."""
        try:
            await self.checksum(series, cut, start)
        except NotFound:
            return False
        return True

    async def holds(self, series: Series) -> bool | None:
        """Whether the archive holds anything of *series*; None when its listing fails."""
        for cut in series.archive_cuts:
            try:
                # One key is enough: a page of a thousand is 300 KB.
                page = await list_page(self._transport, series.archive_folder(cut), most=1)
            except (TransportError, BadAnswer) as error:
                _LOGGER.info("no listing of %s, so it may exist: %s", series.stem, error)
                return None
            if page.sizes:
                return True
        return False

    async def first_ms(self, series: Series) -> int:
        """When the first file of *series* in the archive begins; asked for once."""
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
        """
        Whether a file that may hold rows of ``[start_ms, end_ms)`` is listed, or may be published.

        The latter is so behind the end of a listing that has turned out to be behind the files.
        """
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
                msg = f"the listing of {prefix} failed; run again later"
                raise BadAnswer(msg)
            if not keys.isdisjoint(listing):
                return True
        return any(
            key.startswith(folder) and key >= first
            for key in keys
            for folder, first in self._published_from.items()
        )

    async def checksum(self, series: Series, cut: Cut, start: datetime) -> str:
        """The sha256 that the zip's ``.CHECKSUM`` file names today."""
        key = series.archive_key(cut, start)
        name = PurePosixPath(key).name
        ask = Ask(f"{self._url(key)}.CHECKSUM", f"the checksum of {name}")
        return await self._transport.get(ask, partial(_read_checksum, ask.url, name))

    @asynccontextmanager
    async def fetch(self, series: Series, cut: Cut, start: datetime) -> AsyncIterator[Zip]:
        """Fetch a zip and verify its checksum; it is open while the context is."""
        fetched = await self._fetched(series, cut, start)
        with fetched.data:
            yield fetched

    @asynccontextmanager
    async def fetch_shared(self, series: Series, cut: Cut, start: datetime) -> AsyncIterator[Zip]:
        """
        Fetch a zip of which each caller reads a part, and keep it for the next callers.

        Callers read one after the other. At most three zips are in the folder at once, and fewer where
        the disk has no room for so many; the others are removed, the longest unused first, and all
        of them by `close`. A failure is raised to all later callers without a request; only a zip that is
        not sound is fetched a second time, once.

        Raises `OSError` if the disk has no room for it.
        """
        key = series.archive_key(cut, start)
        shared = self._shared.pop(key) if key in self._shared else _SharedZip()
        self._shared[key] = shared
        async with shared.lock:
            if shared.failure is not None:
                raise shared.failure.with_traceback(None)
            try:
                if shared.fetched is None:
                    async with self._fetching:
                        listing = await self._listing(self._prefix(series, cut, start))
                        await self._make_room(shared, (listing or {}).get(key))
                        shared.fetched = await self._fetched(series, cut, start, SPARE_BYTES)
                # Each caller sets `is_cut` for itself.
                yield replace(shared.fetched)
            except (DataError, TransportError, OSError) as error:
                shared.failed(error)
                raise

    def has_given_up(self, series: Series, cut: Cut, start: datetime) -> bool:
        """Whether a shared zip is not fetched again."""
        shared = self._shared.get(series.archive_key(cut, start))
        return shared is not None and shared.failure is not None

    async def _make_room(self, wanted: _SharedZip, size_bytes: int | None) -> None:
        """Remove shared zips, unused ones first, until *wanted* may be fetched; without a size all."""
        kept = [each for each in self._shared.values() if each.fetched and each is not wanted]
        for each in sorted(kept, key=lambda each: each.lock.locked()):
            if size_bytes is not None and len(kept) < _MOST_SHARED and self._has_room(size_bytes):
                break
            # A caller that reads it waits for no other zip, so there is no deadlock.
            async with each.lock:
                each.close()
            kept.remove(each)
        self._check_room(size_bytes or 0)

    def _has_room(self, size_bytes: int, spare_bytes: int = SPARE_BYTES) -> bool:
        """Whether the folder's disk has room for a temporary file of this size."""
        free_bytes = shutil.disk_usage(self.folder).free
        return size_bytes <= max(_IN_MEMORY_BYTES, free_bytes - spare_bytes)

    def _check_room(self, size_bytes: int, spare_bytes: int = SPARE_BYTES) -> None:
        if not self._has_room(size_bytes, spare_bytes):
            msg = f"a zip of {size_in_words(size_bytes)} does not fit the free space of"
            raise OSError(errno.ENOSPC, msg, str(self.folder))

    def close(self) -> None:
        """Remove the temporary files of shared zips."""
        for shared in self._shared.values():
            shared.close()

    async def _fetched(
        self, series: Series, cut: Cut, start: datetime, spare_bytes: int = 0
    ) -> Zip:
        """A verified zip in an open temporary file without a name, which a cancel removes too."""
        key = series.archive_key(cut, start)
        url, name = self._url(key), PurePosixPath(key).name
        # The checksum first: where nothing is published that costs 91 bytes.
        wanted = await self.checksum(series, cut, start)
        spool = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(self.folder))  # noqa: SIM115 - the caller closes it
        data = cast("BinaryIO", spool)
        try:
            check = partial(_verify, wanted, url)
            fits = partial(self._check_room, spare_bytes=spare_bytes)
            await self._transport.download(Ask(url, f"archive {name}"), data, check, fits=fits)
        except BaseException:
            # A cancel too: only a zip that is returned has a caller who closes it.
            data.close()
            raise
        return Zip(name, url, wanted, data, series, period_of(cut, start))

    def _url(self, key: str) -> str:
        return f"{self._transport.settings.archive_url}/{quote(key)}"

    def _prefix(self, series: Series, cut: Cut, start: datetime) -> str:
        """Prefix of a listing: all months of a series, or the days of one month."""
        if cut == "month":
            return series.archive_folder(cut)
        return series.archive_key(cut, start).removesuffix(f"{start:-%d}.zip")

    async def _listing(self, prefix: str) -> dict[str, int] | None:
        """Sizes by key, asked for once; None when it fails, which does not mean empty."""
        return await self._listings.get(prefix, partial(self._list_all, prefix))

    async def _list_all(self, prefix: str) -> dict[str, int] | None:
        sizes: dict[str, int] = {}
        try:
            async for page in pages(self._transport, prefix):
                sizes |= page.sizes
        except (TransportError, BadAnswer) as error:
            # Part of a listing would make a file look unpublished.
            _LOGGER.info("no listing of %s, so sizes stay estimates: %s", prefix, error)
            return None
        return sizes


def _read_checksum(url: str, name: str, body: bytes) -> str:
    match = _CHECKSUM.fullmatch(body)
    if match is None or match[2].decode("utf-8", "replace") != name:
        raise BadAnswer(refused(url, f"it holds no checksum of {name}: {body[:120]!r}"))
    return match[1].decode().lower()


def _verify(wanted: str, url: str, data: BinaryIO) -> None:
    digest = hashlib.sha256()
    data.seek(0)
    while block := data.read(_HASH_BLOCK_BYTES):
        digest.update(block)
    if digest.hexdigest() != wanted:
        found = f"sha256 {digest.hexdigest()[:12]}…, not {wanted[:12]}…"
        raise ChecksumMismatch(
            refused(url, f"its sha256 is not the one in its .CHECKSUM ({found})")
        )
