"""Is the cache still what the exchange says today? Checksums first, rows where they changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from itertools import islice
from pathlib import PurePosixPath

from msgspec import structs

from ares_notebook.binance.archive import Archive
from ares_notebook.binance.http import Transport
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.entry import CacheEntry, Source
from ares_notebook.cache.locks import locked
from ares_notebook.cache.quarantine import quarantine_entry, verified
from ares_notebook.cache.reader import read_rows
from ares_notebook.cache.spans import cached_files
from ares_notebook.cache.store import Store
from ares_notebook.cache.writer import FileWriter
from ares_notebook.download.decide import decide
from ares_notebook.download.fetch import Sources, fetch_rows
from ares_notebook.download.file_update import FileUpdate
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.errors import AresError, BadAnswer, CorruptFile, NotFound
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import CacheFile
from ares_notebook.model.rows import Table, between
from ares_notebook.model.time import DAY_MS, Cut, to_ms
from ares_notebook.quality.audit_report import (
    AuditReport,
    FileAudit,
    RowDifference,
    row_differences,
)
from ares_notebook.runtime.progress import Meter, counted, metered
from ares_notebook.runtime.tasks import uninterrupted
from ares_notebook.settings import Settings

__all__ = ["audit_cache"]

_MOST_DIFFERENCES = 1000
Moment = datetime | date | str | None


async def audit_cache(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: Moment = None,
    end: Moment = None,
    settings: Settings | None = None,
    update: bool = False,
) -> AuditReport:
    """
    Compare what is cached with what the exchange says today.

    Of a file that was made from archives only their checksums are asked for; where
    one has changed the bytes are fetched and compared row by row. The bytes of the file
    itself are held against its receipt first. What came from both archive and REST is
    made anew and compared as a whole. Other files are
    compared with the archive if there is one now, else with REST. With
    ``source="rest"`` in the settings every file is compared with REST: so the rows
    show in which archive and REST disagree.

    Parameters
    ----------
    symbol, interval : str, optional
        Only these. Defaults to all that is cached.
    start, end : datetime, date or str, optional
        Only files whose period overlaps ``[start, end)``.
    settings : Settings, optional
    update : bool
        Replace files that differ by what the exchange has now. The new one is made
        whole and verified first; one that would lose rows does not replace.

    Returns
    -------
    AuditReport
        True when nothing differs and nothing failed.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of that.
    BadArgument
        If an argument cannot be meant.
    CacheUnavailable
        If the cache folder cannot be read or, with *update*, written.
    WrongMarket
        If another market filled the cache.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     audited = run(audit_cache(settings=settings))
    >>> audited.to_frame()["verdict"].tolist(), audited.requests
    (['unchanged', 'unchanged'], 2)
    """
    chosen = settings or Settings()
    store = Store(chosen)
    find = partial(cached_files, store, symbol, interval, start, end)
    run_info = RunInfo("audit", chosen, str(symbol or "").upper(), interval or "")
    return await record_run(run_info, _audited(store, find, chosen, update=update))


async def _audited(
    store: Store, find: Callable[[], list[CacheFile]], chosen: Settings, *, update: bool
) -> AuditReport:
    meter, began = Meter(), time.monotonic()
    files = await asyncio.to_thread(find)
    entries = [entry for file in files for entry in store.entries([file]) if entry.path is not None]
    # Another market's rows would differ in all, and must not replace any.
    await asyncio.to_thread(store.prepare if update else store.refuse_another)
    with metered(meter):
        async with Transport(chosen) as transport:
            roads = Sources(Archive(transport, store.folder), Rest(transport), chosen.source)
            audit = _Audit(store, roads, asyncio.Semaphore(chosen.max_concurrency), update=update)
            work = [audit.of(entry) for entry in entries]
            found = [each async for each in counted(work, chosen, "audit")]
    seconds = time.monotonic() - began
    done = tuple(sorted(found, key=lambda each: each.file))
    return AuditReport(done, meter.requests, meter.bytes_received, seconds)


@dataclass(slots=True)
class _Upstream:
    """Rows of the exchange, for the stretch that they cover."""

    road: str
    start_ms: int
    end_ms: int
    part: FileWriter


class _Audit:
    """Looks at one file after the other; a failure concerns that file alone."""

    def __init__(
        self, store: Store, roads: Sources, places: asyncio.Semaphore, *, update: bool
    ) -> None:
        self._store = store
        self._roads = roads
        self._places = places
        self._update = update

    async def of(self, entry: CacheEntry) -> FileAudit:
        """The verdict on one file."""
        name = entry.file.name
        async with self._places:
            try:
                # The file itself first: a receipt tells of other bytes than may be here.
                entry = await asyncio.to_thread(verified, self._store, entry)
                found = await self._compared(entry)
                return await self._replaced(entry, found) if self._is_to_go(found) else found
            except NotFound as error:
                return FileAudit(name, "nothing to compare with", note=str(error))
            except CorruptFile as error:
                return FileAudit(name, "cannot be read", note=str(error))
            except AresError as error:
                return FileAudit(name, "failed", note=str(error))

    def _is_to_go(self, found: FileAudit) -> bool:
        return self._update and found.verdict in ("differs", "cannot be read")

    async def _compared(self, entry: CacheEntry) -> FileAudit:
        file = entry.file
        if entry.problem is not None:
            return FileAudit(file.name, "cannot be read", note=entry.problem)
        if entry.is_altered:
            found = await self._with_what_there_is(entry)
            return replace(found, verdict="differs", note="its bytes are not those of its receipt")
        if self._roads.source == "rest":
            return await self._over(entry, [self._rest(entry)])
        zips = [each for each in entry.sources if each.road.endswith("archive")]
        if zips:
            return await self._against_zips(entry, zips)
        return await self._with_what_there_is(entry)

    async def _against_zips(self, entry: CacheEntry, zips: Sequence[Source]) -> FileAudit:
        """A file of which these archives were taken."""
        if len(zips) < len(entry.sources):
            # A checksum confirms nothing of the rows that came from elsewhere.
            return await self._over(entry, [self._rebuilt(entry)])
        changed = [each for each in zips if not await self._still_holds(entry.file, each)]
        if not changed:
            return FileAudit(entry.file.name, "unchanged", zips[0].road)
        return await self._over(entry, [self._zip(entry, each) for each in changed])

    async def _with_what_there_is(self, entry: CacheEntry) -> FileAudit:
        """A file that no archive was taken for: the archive of today, else REST."""
        file = entry.file
        cut = file.dataset.cut
        source = Source("monthly archive" if cut == "month" else "daily archive", "", "")
        try:
            if cut not in file.series.archive_cuts:
                return await self._over(entry, [self._rest(entry)])
            return await self._over(entry, [self._zip(entry, source)])
        except NotFound:
            if self._roads.source == "archive":
                raise
            return await self._over(entry, [self._rest(entry)])

    async def _still_holds(self, file: CacheFile, source: Source) -> bool:
        start = _start_of(file, source)
        cut: Cut = "month" if source.road == "monthly archive" else "day"
        return source.sha256 == await self._roads.archive.checksum(file.series, cut, start)

    @asynccontextmanager
    async def _zip(self, entry: CacheEntry, source: Source) -> AsyncIterator[_Upstream]:
        file = entry.file
        start = _start_of(file, source)
        cut: Cut = "month" if source.road == "monthly archive" else "day"
        async with self._roads.archive.fetch(file.series, cut, start) as fetched:
            first_ms, end_ms = file.period.start_ms, _end_ms(entry)
            if cut == "day":
                first_ms = to_ms(start)
                end_ms = min(end_ms, first_ms + DAY_MS)
            with self._store.writer(file) as part:
                await asyncio.to_thread(part.write_all, fetched.lines())
                yield _Upstream(source.road, first_ms, end_ms, part)

    @asynccontextmanager
    async def _rest(self, entry: CacheEntry) -> AsyncIterator[_Upstream]:
        file = entry.file
        whole = Gap(file.period.start_ms, _end_ms(entry))
        with self._store.writer(file) as part:
            async for lines in self._roads.rest.lines(file.series, whole):
                await asyncio.to_thread(part.write_lines, lines)
            part.close()
            yield _Upstream("rest", whole.start_ms, whole.end_ms, part)

    @asynccontextmanager
    async def _rebuilt(self, entry: CacheEntry) -> AsyncIterator[_Upstream]:
        """All of a file of archive and REST, as a download would make it today."""
        file = entry.file
        step = decide(CacheEntry(file, absences=entry.absences), _end_ms(entry), self._roads.source)
        with FileUpdate(step, self._store, self._now_ms) as file_update:
            problem = await fetch_rows(file_update, step, self._roads)
            if problem is not None or file_update.part is None:
                msg = f"nothing of {file.name} came from the exchange"
                raise problem or BadAnswer(msg)
            yield _Upstream("archive and rest", file.start_ms, _end_ms(entry), file_update.part)

    async def _over(
        self, entry: CacheEntry, roads: Sequence[AbstractAsyncContextManager[_Upstream]]
    ) -> FileAudit:
        """Compare with one source after the other, and put the findings together."""
        count, road = 0, ""
        differences: list[RowDifference] = []
        for opening in roads:
            async with opening as upstream:
                road = upstream.road
                number, first = await asyncio.to_thread(_differ, self._store, entry, upstream)
                count += number
                differences += first
        verdict = FileAudit(entry.file.name, "same rows", road)
        if count:
            shown = tuple(differences[:_MOST_DIFFERENCES])
            verdict = replace(verdict, verdict="differs", count=count, differences=shown)
        return verdict

    async def _replaced(self, entry: CacheEntry, found: FileAudit) -> FileAudit:
        """Take over what the exchange has now, made whole and verified first."""
        file = entry.file
        async with locked(self._store, file):
            entry = await asyncio.to_thread(self._store.entry, file)
            is_untrue = entry.is_untrue
            end_ms = _end_ms(entry)
            if entry.problem is not None:
                await uninterrupted(quarantine_entry, self._store, entry)
                entry = await asyncio.to_thread(self._store.entry, file)
            step = decide(CacheEntry(file, absences=entry.absences), end_ms, self._roads.source)
            with FileUpdate(
                structs.replace(step, entry=entry), self._store, self._now_ms
            ) as file_update:
                problem = await fetch_rows(file_update, step, self._roads)
                is_loss = not is_untrue and file_update.facts.rows < entry.facts.rows
                if problem is not None or is_loss:
                    why = str(problem) if problem else "the exchange has fewer rows now"
                    return replace(found, verdict="not replaced", note=why)
                await file_update.commit()
        return replace(found, verdict="replaced")

    def _now_ms(self) -> int:
        return self._roads.rest.now_ms


def _differ(
    store: Store, entry: CacheEntry, upstream: _Upstream
) -> tuple[int, list[RowDifference]]:
    """How much differs, and the first of it; CPU work, for a thread."""

    def inside(tables: Iterator[Table]) -> Iterator[Table]:
        return (between(table, upstream.start_ms, upstream.end_ms) for table in tables)

    found = row_differences(
        entry.file.dataset,
        inside(store.rows(entry.file)),
        inside(read_rows(upstream.part.path, entry.file)),
    )
    first = list(islice(found, _MOST_DIFFERENCES))
    return len(first) + sum(1 for _ in found), first


def _end_ms(entry: CacheEntry) -> int:
    """How far the file is to be compared: a running one up to its last row."""
    if entry.final:
        return entry.file.grid_end_ms
    return min(entry.end_ms or entry.file.grid_end_ms, entry.file.grid_end_ms)


def _start_of(file: CacheFile, source: Source) -> datetime:
    """When the zip of a source begins: a day's, as its name says, else the file's period."""
    if source.road != "daily archive" or not source.url:
        return file.period.start
    stamp = PurePosixPath(source.url).name.removesuffix(".zip")[-10:]
    return datetime.fromisoformat(f"{stamp}T00:00+00:00")
