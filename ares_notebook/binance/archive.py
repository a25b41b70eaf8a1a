"""The bulk archive: which zips there are, and their verified bytes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import quote

from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.listing import FEW_KEYS, first_days, list_page, pages
from ares_notebook.binance.zips import Zip
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
from ares_notebook.model.markets import Market
from ares_notebook.model.time import Cut, Period, as_utc, cut_periods, period_of, to_ms, utc
from ares_notebook.runtime.tasks import Memoized
from ares_notebook.settings import SPARE_BYTES

_LOGGER = logging.getLogger("DataDownloader")
# Small zips (most k-lines) stay in memory; there may be one for each request.
_IN_MEMORY_BYTES = 1 << 20
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
        # The symbols of which there is something.
        self._held: set[tuple[Market, str]] = set()
        # For each folder a listed key behind which nothing was asked for, and the first key that is
        # known to have no listed one behind it.
        self._listed_until: dict[str, str] = {}
        self._unlisted_from: dict[str, str] = {}
        # Folders with zips behind the end of their listing; of others, from when on none was found.
        self._ahead: set[str] = set()
        self._silent_from: dict[str, datetime] = {}
        self._probing: dict[str, asyncio.Lock] = {}
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

        That of metrics once ended two years early, and that of trades one and a half. Days may be missing
        behind its end: one zip that is there shows that the whole listing is behind.
        """
        key, folder = series.archive_key(cut, start), series.archive_folder(cut)
        if key < self._listed_until.get(folder, ""):
            return False
        try:
            if await self._next_listed(folder, key) != _NO_KEY:
                return False
        except (TransportError, BadAnswer):
            return True
        async with self._probing.setdefault(folder, asyncio.Lock()):
            until = self._silent_from.get(folder, utc(self._transport.clock.now_ms()))
            if folder not in self._ahead and start < until:
                if await self._any_published(series, cut, start, until):
                    self._ahead.add(folder)
                else:
                    self._silent_from[folder] = start
        return folder in self._ahead

    async def _next_listed(self, folder: str, key: str) -> str:
        """The first listed key behind *key*; `_NO_KEY` without one."""
        if key >= self._unlisted_from.get(folder, _NO_KEY):
            return _NO_KEY
        page = await list_page(self._transport, folder, key, most=1)
        found = min(page.sizes, default=_NO_KEY)
        if page.sizes:
            self._listed_until[folder] = found
        else:
            self._unlisted_from[folder] = key
        return found

    async def _any_published(
        self, series: Series, cut: Cut, start: datetime, until: datetime
    ) -> bool:
        """Whether a zip of ``[start, until)`` is published: the first, or one at doubling distances from it."""
        periods, at = cut_periods(cut, start, until), 0
        while at < len(periods):
            if await self._has(series, cut, periods[at].start):
                return True
            at = max(1, 2 * at)
        return False

    async def _has(self, series: Series, cut: Cut, start: datetime) -> bool:
        """Whether a zip is published, by its checksum."""
        try:
            await self.checksum(series, cut, start)
        except NotFound:
            return False
        return True

    async def holds(self, *asked: Series) -> bool | None:
        """
        Whether the archive has the symbol of *asked* in one of these datasets, of any interval.

        One folder may be missing of a symbol that has others: some have no candles above a day. A symbol
        that was found is remembered. None when a listing fails, and no other one has it.
        """
        folders = {
            each.symbol_folder(cut): None for each in asked for cut in each.dataset.archive_cuts
        }
        symbols = {(series.market, series.symbol) for series in asked}
        found: bool | None = bool(symbols & self._held)
        for folder in () if found else folders:
            try:
                # One key is enough: a page of a thousand is 300 KB.
                page = await list_page(self._transport, folder, most=1)
            except (TransportError, BadAnswer) as error:
                _LOGGER.info("no listing of %s, so it may exist: %s", folder, error)
                found = None
                continue
            if page.sizes or page.folders:
                self._held |= symbols
                return True
        return found

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
        for cut in series.archive_cuts:
            periods = cut_periods(cut, utc(start_ms), utc(end_ms))
            if periods and await self._lists(series, cut, periods):
                return True
        return False

    async def _lists(self, series: Series, cut: Cut, periods: list[Period]) -> bool:
        start, folder = periods[0].start, series.archive_folder(cut)
        prefix = self._prefix(series, cut, start)
        listing = await self._listing(prefix)
        if listing is None:
            msg = f"the listing of {prefix} failed; run again later"
            raise BadAnswer(msg)
        keys = [series.archive_key(cut, each.start) for each in periods]
        if not listing.keys().isdisjoint(keys):
            return True
        # The listing of days is that of one month.
        if prefix != self._prefix(series, cut, periods[-1].start):
            next_key = await self._next_listed(folder, keys[0])
            if next_key <= keys[-1]:
                return True
        return series.market.has_late_listing and await self._is_behind(series, cut, start)

    async def has_any(self, series: Series, start_ms: int, end_ms: int) -> bool:
        """
        Whether a file that may hold rows of ``[start_ms, end_ms)`` is published.

        Where the listing does not tell, each file is asked for by its checksum.
        """
        spare = series.dataset.archive_spare_cut
        for cut in (*series.archive_cuts, *((spare,) if spare else ())):
            for period in cut_periods(cut, utc(start_ms), utc(end_ms)):
                try:
                    size_bytes = await self.size_of(series, cut, period.start)
                except NotFound:
                    continue
                if size_bytes is not None or await self._has(series, cut, period.start):
                    return True
        return False

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
        except (
            BaseException
        ):  # a cancel too: only a zip that is returned has a caller who closes it
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
