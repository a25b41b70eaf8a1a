"""
The archive: zips of whole months and days, each with its checksum, and their listing.

No byte is parsed before its ``.CHECKSUM`` has been found true.
"""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError, XMLParser

from ares_notebook.errors import BadAnswer, ChecksumMismatch, NotFound, TransportError
from ares_notebook.exchange.express import express
from ares_notebook.exchange.inflate import lines_of
from ares_notebook.exchange.once import Once
from ares_notebook.exchange.published import rows_of_csv
from ares_notebook.exchange.refusal import Ask
from ares_notebook.exchange.transport import Transport
from ares_notebook.market.datasets import Dataset
from ares_notebook.market.lines import Lines
from ares_notebook.market.periods import Cut
from ares_notebook.market.rows import Table, empty_rows
from ares_notebook.market.series import Series

__all__ = ["Archive", "Zip"]

_LOGGER = logging.getLogger("DataDownloader")
# Small zips (most k-lines) never touch the disk.
_IN_MEMORY_BYTES = 4 << 20
_HASH_BLOCK_BYTES = 1 << 20
_LISTING_TAG = "ListBucketResult"
_MOST_LISTING_PAGES = 100
_HEADER = re.compile(rb"[A-Za-z_]+(?:,[A-Za-z_]+)+")
_CHECKSUM = re.compile(rb"\s*([0-9a-fA-F]{64})\s+\*?(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Zip:
    """
    One zip of the archive, fetched and found to be what its checksum says.

    Parameters
    ----------
    name : str
    url : str
    sha256 : str
    data : file
        Open while the archive's context is.
    dataset : Dataset
    """

    name: str
    url: str
    sha256: str
    data: BinaryIO
    dataset: Dataset

    def lines(self, columns: Sequence[str] | None = None) -> Iterator[Lines]:
        """
        Its rows as lines of a cache file, block by block; CPU work, for a thread.

        Parameters
        ----------
        columns : sequence of str, optional
            Only these, in the order of the cache's; all by default.

        Raises
        ------
        BadAnswer
            If it does not hold rows of the dataset.
        """
        last: Lines | None = None
        for block in self._blocks():
            lines = express(self.dataset, block, self.url) if columns is None else None
            if lines is None:
                table = rows_of_csv(self.dataset, block, self.url)
                lines = Lines.of(self.dataset, table, columns)
            yield lines if last is None else lines.after(last)
            last = lines if len(lines) else last

    def tables(self) -> Iterator[Table]:
        """The same rows as tables."""
        last = empty_rows(self.dataset)
        for block in self._blocks():
            table = rows_of_csv(self.dataset, block, self.url)
            if last.num_rows and table.slice(0, 1).equals(last):
                # A row that is doubled just where a block ends.
                table = table.slice(1)
            last = table.slice(table.num_rows - 1) if table.num_rows else last
            yield table

    def _blocks(self) -> Iterator[bytes]:
        """Its text in blocks of whole lines, without a header."""
        member = self.name.removesuffix(".zip") + ".csv"
        blocks = lines_of(self.data, member, self.url)
        yield _without_header(next(blocks, b""))
        yield from blocks


class Archive:
    """
    Binance's bulk archive.

    Parameters
    ----------
    transport : Transport
    folder : Path
        Where zips too large for memory wait while they are checked.
    """

    def __init__(self, transport: Transport, folder: Path) -> None:
        self._transport = transport
        self._folder = folder
        self._listings: Once[dict[str, int] | None] = Once()

    async def size_of(self, series: Series, cut: Cut, start: datetime) -> int | None:
        """
        Bytes of the zip that begins at *start*, by the archive's listing; None if it cannot be had.

        Raises
        ------
        NotFound
            If the listing does not have it.
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
        for cut in series.archive_cuts:
            try:
                first_page, _ = await self._list_page(series.archive_folder(cut), "")
            except (TransportError, BadAnswer) as error:
                _LOGGER.info("no listing of %s, so it may exist: %s", series.stem, error)
                return True
            if first_page:
                return True
        return False

    async def checksum(self, series: Series, cut: Cut, start: datetime) -> str:
        """
        What the sha256 of a zip is today, by the file beside it.

        Raises
        ------
        NotFound
            If it is not published.
        TransportError
            If it does not come.
        BadAnswer
            If it is no checksum.
        """
        key = series.archive_key(cut, start)
        name = PurePosixPath(key).name
        ask = Ask(f"{self._url(key)}.CHECKSUM", f"the checksum of {name}")
        return await self._transport.get(ask, partial(_read_checksum, name))

    @asynccontextmanager
    async def fetch(self, series: Series, cut: Cut, start: datetime) -> AsyncIterator[Zip]:
        """
        Fetch a zip and verify it; open while the context is.

        Raises
        ------
        NotFound
            If it is not published.
        ChecksumMismatch
            If it is not what its checksum says, after all tries.
        TransportError
            If it does not come.
        """
        key = series.archive_key(cut, start)
        url, name = self._url(key), PurePosixPath(key).name
        # The sidecar first: where nothing is published that costs 91 bytes.
        wanted = await self.checksum(series, cut, start)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(self._folder)) as spool:
            data = cast("BinaryIO", spool)
            check = partial(_verify, wanted, url)
            await self._transport.download(Ask(url, f"archive {name}"), data, check)
            yield Zip(name, url, wanted, data, series.dataset)

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
            for _ in range(_MOST_LISTING_PAGES):
                page, marker = await self._list_page(prefix, marker)
                sizes |= page
                if not marker:
                    return sizes
        except (TransportError, BadAnswer) as error:
            _LOGGER.info("no listing of %s, so sizes stay estimates: %s", prefix, error)
            return None
        return sizes

    async def _list_page(self, prefix: str, marker: str) -> tuple[dict[str, int], str]:
        url = self._transport.settings.archive_listing_url
        params = {"delimiter": "/", "prefix": prefix} | ({"marker": marker} if marker else {})
        ask = Ask(url, f"the archive's listing of {prefix}", params=params)
        return await self._transport.get(ask, partial(_read_listing, prefix))


def _without_header(block: bytes) -> bytes:
    """Futures files have a header since 2022, spot files never; a row of names tells."""
    first, _, rest = block.partition(b"\n")
    return rest if _HEADER.fullmatch(first.rstrip(b"\r")) else block


def _read_checksum(name: str, body: bytes) -> str:
    match = _CHECKSUM.fullmatch(body)
    if match is None or match[2].decode("utf-8", "replace") != name:
        msg = f"{name}.CHECKSUM holds no checksum of {name}: {body[:120]!r}"
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
            f"not {wanted[:12]}…); nothing of it is stored"
        )
        raise ChecksumMismatch(msg)


def _read_listing(prefix: str, body: bytes) -> tuple[dict[str, int], str]:
    """Sizes by key, and where the next page begins; empty at the end."""
    root = _parsed(body)
    if root is None or root.tag.rpartition("}")[2] != _LISTING_TAG:
        # The browser's page comes with status 200 too; it is no empty listing.
        msg = f"the listing of {prefix} is not one: {body[:80]!r}"
        raise BadAnswer(msg)
    sizes = {
        _text(entry, "Key"): _size(_text(entry, "Size"))
        for entry in root
        if entry.tag.endswith("Contents")
    }
    if _text(root, "IsTruncated") != "true":
        return sizes, ""
    return sizes, _text(root, "NextMarker") or max(sizes, default="")


def _parsed(body: bytes) -> Element | None:
    # A document type is where XML hides bombs; a listing has none.
    if b"<!DOCTYPE" in body[:1024].upper() or b"<!ENTITY" in body.upper():
        return None
    parser = XMLParser()  # noqa: S314 - declarations are refused above
    try:
        parser.feed(body)
        root: Element = parser.close()
    except ParseError:
        return None
    return root


def _text(parent: Element, name: str) -> str:
    for child in parent:
        if child.tag.rpartition("}")[2] == name:
            return child.text or ""
    return ""


def _size(text: str) -> int:
    return int(text) if text.isdecimal() else 0
