"""Fetch one cache file: its sources one after the other, until nothing is missing."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from msgspec.structs import replace

from ares_notebook.binance.archive import Archive
from ares_notebook.binance.rest import Rest
from ares_notebook.binance.zips import Zip
from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.entry import CacheEntry, Source
from ares_notebook.cache.locks import locked
from ares_notebook.cache.quarantine import quarantine_entry, verified
from ares_notebook.cache.store import Store
from ares_notebook.cache.writer import Patch
from ares_notebook.download.confirm import confirm, confirm_unasked, confirm_unlisted
from ares_notebook.download.decide import Step, decide, source_instead, whole_days
from ares_notebook.download.file_update import FileUpdate
from ares_notebook.download.report import StepReport, why_incomplete
from ares_notebook.errors import (
    AresError,
    BadAnswer,
    DataError,
    NotFound,
    TransportError,
    UnknownSymbol,
)
from ares_notebook.model.facts import NOT_PUBLISHED, Gap, Trouble
from ares_notebook.model.files import Series
from ares_notebook.model.gaps import is_final
from ares_notebook.model.rows import Lines
from ares_notebook.model.time import DAY_MS, Cut, period_of, utc
from ares_notebook.runtime.tasks import in_order, uninterrupted

_LOGGER = logging.getLogger("DataDownloader")
_DAYS_AHEAD = 4
_LONGEST_DELAY_MS = 30 * DAY_MS
_ARCHIVES: dict[Cut, str] = {"month": "monthly archive", "day": "daily archive"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """The sources of rows, open for one run."""

    archive: Archive
    rest: Rest
    # Those that may be asked.
    source: Literal["auto", "archive", "rest"] = "auto"


async def fetch_rows(file_update: FileUpdate, step: Step, exchange: Exchange) -> AresError | None:
    """
    Close the gaps of *file_update*: ask the sources of *step*, one after the other.

    What a source lacks, or fails to answer, is left for the next one; so is a zip that does not fit the disk.
    """
    problem: AresError | None = None
    left_to_ask = [*step.sources]
    while left_to_ask:
        source = left_to_ask.pop(0)
        if not (_wanted_of_rest(file_update, step) if source == "rest" else file_update.unasked()):
            continue
        try:
            await _OVER[source](file_update, step, exchange)
        except (TransportError, DataError) as error:
            # An archive may be late; an API that is not found is at fault.
            if isinstance(error, NotFound) and source != "rest":
                _LOGGER.info("%s: %s; the next source is asked", file_update.file.name, error)
                file_update.is_unpublished = True
                left_to_ask[:0] = source_instead(file_update.file, source)
                continue
            _LOGGER.info("%s: %s failed: %s", file_update.file.name, source, error)
            is_gone = isinstance(error, UnknownSymbol) and await _is_unlisted(file_update, exchange)
            problem = None if is_gone else error
            if source == "rest" and _has_days_to_ask(file_update, step, exchange):
                left_to_ask.append("daily archive")
        except OSError as error:
            # Files of the cache raise a CacheError; this one is of a zip for which the disk has no room.
            _LOGGER.info("%s: %s failed: %s", file_update.file.name, source, error)
            problem = cannot_access(exchange.archive.folder, error)
    left = _wanted_of_rest(file_update, step) if "rest" in step.sources else file_update.unasked()
    return problem if left else None


def _has_days_to_ask(file_update: FileUpdate, step: Step, exchange: Exchange) -> bool:
    """Whether the archive's days are left where REST has failed; they were more requests than its pages."""
    is_open = exchange.source == "auto" and "day" in file_update.file.series.archive_cuts
    return is_open and "daily archive" not in step.sources and bool(file_update.unasked())


async def _is_unlisted(file_update: FileUpdate, exchange: Exchange) -> bool:
    """Whether a symbol that the API refuses is one that was delisted; what that proves is recorded."""
    archive = None if exchange.source == "rest" else exchange.archive
    try:
        return await confirm_unlisted(file_update, archive, exchange.rest)
    except (TransportError, DataError) as error:
        _LOGGER.info("%s: whether it was delisted is not known: %s", file_update.file.name, error)
        return False


def _wanted_of_rest(file_update: FileUpdate, step: Step) -> list[Gap]:
    """What REST is to be asked for: all that no proof explains, but for edges that may wait."""
    gaps = file_update.unexplained()
    if not (step.edges_wait and file_update.is_from_archive and file_update.facts.rows):
        return gaps
    return [gap for gap in gaps if gap.rows is not None]


async def _monthly(file_update: FileUpdate, step: Step, exchange: Exchange) -> None:
    del step
    series = file_update.file.series
    start = period_of("month", file_update.file.period.start).start
    # The listing, asked once a run, spares a request for each month that is not there.
    await exchange.archive.size_of(series, "month", start)
    # What is there already stays: a month has been published cut short, too.
    gaps = file_update.unasked() if file_update.facts.rows else [file_update.wanted]
    await file_update.splice(await _unzipped(file_update, exchange.archive, "month", start, gaps))
    file_update.is_unpublished = False
    _refuse_cut(file_update)
    silent = [
        gap for gap in file_update.unasked() if not await _has_days(exchange.archive, series, gap)
    ]
    await _record_silence(file_update, exchange, silent)


async def _has_days(archive: Archive, series: Series, gap: Gap) -> bool:
    """Whether a file of a whole day in *gap* is published: months have lacked days that are there by themselves."""
    if "day" not in series.archive_cuts:
        return False
    for day in filter(whole_days, _days(gap)):
        try:
            await archive.size_of(series, "day", utc(day.start_ms))
        except NotFound:
            continue
        return True
    return False


async def _daily(file_update: FileUpdate, step: Step, exchange: Exchange) -> None:
    """Days one by one; those that are not there or not sound are left for REST."""
    del step
    parts = [part for gap in file_update.unasked() for part in _days(gap)]
    calls = (partial(_zipped, file_update, exchange.archive, part) for part in parts)
    results = [result async for result in in_order(calls, _DAYS_AHEAD)]
    overdue_ms = exchange.rest.now_ms - _LONGEST_DELAY_MS
    if not file_update.file.dataset.has_rest:
        # No other source has such a day, and one that has not come in a month is not awaited.
        results = [
            None if isinstance(result, NotFound) and part.end_ms < overdue_ms else result
            for part, result in zip(parts, results, strict=True)
        ]
    await file_update.splice([each for each in results if isinstance(each, Patch)])
    problems = [each for each in results if isinstance(each, AresError)]
    _refuse_cut(file_update)
    for part, result in zip(parts, results, strict=True):
        if not isinstance(result, AresError):
            silent = [gap for gap in file_update.unasked() if _overlap(gap, part)]
            parts_of_it = [_clipped(gap, part) for gap in silent]
            await _record_silence(file_update, exchange, parts_of_it)
    if problems:
        # A day that is not sound weighs more than one that is not published.
        raise min(problems, key=lambda each: isinstance(each, NotFound))


async def _record_silence(file_update: FileUpdate, exchange: Exchange, gaps: list[Gap]) -> None:
    """Remember that the archive has no rows in *gaps*."""
    has_rest = file_update.file.dataset.has_rest
    if gaps and not has_rest and exchange.source != "archive":
        # Nothing else of the run may have asked the API, and the answer is dated by its clock.
        await exchange.rest.hear_clock()
    file_update.record(gaps, "archive" if has_rest else "only source")


def _refuse_cut(file_update: FileUpdate) -> None:
    """Take no silence from a zip whose text ends inside a line: what it lacks is asked for elsewhere."""
    if file_update.cut_url:
        msg = f"{file_update.cut_url} ends inside a line; what is whole of it is stored, run again later"
        raise BadAnswer(msg)


async def _zipped(file_update: FileUpdate, archive: Archive, gap: Gap) -> Patch | AresError | None:
    """The rows in *gap* of the zip of its day; None without rows."""
    start = utc(gap.start_ms // DAY_MS * DAY_MS)
    try:
        await archive.size_of(file_update.file.series, "day", start)
        patches = await _unzipped(file_update, archive, "day", start, [gap])
    except (TransportError, DataError) as error:
        return error
    return patches[0] if patches else None


async def _unzipped(
    file_update: FileUpdate, archive: Archive, cut: Cut, start: datetime, gaps: list[Gap]
) -> list[Patch]:
    """
    The rows of a zip that lie in *gaps*.

    One that is not sound is asked for once more, its checksum too: it may just be
    replaced, and zip and checksum come one after the other.
    """
    tries_left = 2
    # The zip of a month is kept for the other days of it.
    is_shared = cut == "month" and file_update.file.dataset.cut == "day"
    fetch = archive.fetch_shared if is_shared else archive.fetch
    while True:
        tries_left -= 1
        try:
            async with fetch(file_update.file.series, cut, start) as fetched:
                parts = [
                    await file_update.write(_inside(fetched, gap, is_shared=is_shared))
                    for gap in gaps
                ]
        except DataError as error:
            is_last = is_shared and archive.has_given_up(file_update.file.series, cut, start)
            if is_last or not tries_left:
                raise
            _LOGGER.info("%s: %s; asking for it once more", file_update.file.name, error)
        else:
            file_update.add_source(_ARCHIVES[cut], fetched.url, fetched.sha256)
            file_update.cut_url = fetched.url if fetched.is_cut else file_update.cut_url
            patches = zip(gaps, parts, strict=True)
            return [Patch(gap, part) for gap, part in patches if part.facts.rows]


async def _over_rest(file_update: FileUpdate, step: Step, exchange: Exchange) -> None:
    """
    Ask for exactly what is missing, until the exchange has nothing more to say.

    That a gap is empty is told by two answers: the archive's and REST's, or two of REST's.
    One page that is short or empty by mistake loses nothing. What the silence proves is
    found out by `confirm`.
    """
    archive = None if exchange.source == "rest" else exchange.archive
    file_update.end_now()
    if file_update.is_unpublished and not file_update.facts.rows:
        # Likely a time before the listing: then no file of it need ask for itself.
        await exchange.rest.first_row(file_update.file.series)
    answered = set(await confirm_unasked(file_update, archive, exchange.rest))
    asked: set[Gap] = set()
    while gaps := [gap for gap in _wanted_of_rest(file_update, step) if gap not in answered]:
        patches, problem = await _ask_all(file_update, exchange.rest, gaps)
        # What came before a failure is contiguous and sound: it is kept.
        await file_update.splice(patches)
        if problem is not None:
            raise problem
        file_update.end_now()
        # Gaps of which the archive has not been heard need a second answer, but where ids run
        # on. Rows may also have come that fill nothing: candles off the grid, once more.
        unasked = set(file_update.unasked())
        left = [gap for gap in _wanted_of_rest(file_update, step) if gap in gaps]
        silent = [
            each
            for each in left
            if each in asked
            or each not in unasked
            or exchange.rest.runs_on(file_update.file.series, each)
        ]
        await confirm(file_update, archive, exchange.rest, silent)
        asked |= set(left)
        answered |= set(silent)
        if not file_update.facts.rows:
            # The other files before the first row need not ask, then.
            await exchange.rest.first_row(file_update.file.series)
            answered |= set(await confirm_unasked(file_update, archive, exchange.rest))


async def _ask_all(
    file_update: FileUpdate, rest: Rest, gaps: list[Gap]
) -> tuple[list[Patch], AresError | None]:
    """Patches for *gaps*, up to the first that could not be filled, and why."""
    patches: list[Patch] = []
    for gap in gaps:
        patch, problem = await _ask(file_update, rest, gap)
        patches += [patch] if patch else []
        if problem is not None:
            return patches, problem
    return patches, None


async def _ask(
    file_update: FileUpdate, rest: Rest, gap: Gap
) -> tuple[Patch | None, AresError | None]:
    part, problem = file_update.new_writer(), None
    try:
        async for lines in rest.lines(file_update.file.series, gap):
            await asyncio.to_thread(part.write_lines, lines)
    except (TransportError, DataError) as error:
        problem = error
    part.close()
    if not part.facts.rows:
        return None, problem
    file_update.add_source("rest", file_update.file.series.rest_path)
    return Patch(gap, part), problem


def _inside(archive: Zip, gap: Gap, *, is_shared: bool) -> Iterator[Lines]:
    """The rows of a zip that lie in a gap: between two ids the ids alone decide."""
    for lines in archive.lines((gap.start_ms, gap.end_ms) if is_shared else None):
        if gap.after_id is not None and gap.before_id is not None:
            yield lines.only((lines.keys > gap.after_id) & (lines.keys < gap.before_id))
        else:
            yield lines.between(gap.start_ms, gap.end_ms)


def _days(gap: Gap) -> Iterator[Gap]:
    """The gap, cut at midnights; parts of days that are not over included."""
    start_ms = gap.start_ms
    while start_ms < gap.end_ms:
        end_ms = min(gap.end_ms, (start_ms // DAY_MS + 1) * DAY_MS)
        yield replace(gap, start_ms=start_ms, end_ms=end_ms)
        start_ms = end_ms


def _overlap(gap: Gap, part: Gap) -> bool:
    return gap.start_ms < part.end_ms and part.start_ms < gap.end_ms


def _clipped(gap: Gap, part: Gap) -> Gap:
    if gap.after_id is not None and gap.before_id is not None:
        return gap
    return replace(
        gap, start_ms=max(gap.start_ms, part.start_ms), end_ms=min(gap.end_ms, part.end_ms)
    )


_OVER = {"monthly archive": _monthly, "daily archive": _daily, "rest": _over_rest}


_QUARANTINED = "corrupt, quarantined"


async def fetch_file(step: Step, exchange: Exchange, store: Store) -> StepReport:
    """
    Carry out one step, and say what became of it.

    A damaged file is put aside first; what is good in it stays until a whole one is there. Why rows
    are still missing afterwards is remembered.
    """
    async with locked(store, step.file):
        entry = await _have(step, exchange, store)
        if entry.problem is not None or entry.is_stray:
            await uninterrupted(quarantine_entry, store, entry)
            entry = await _have(step, exchange, store)
        # Another process may have done it while we waited for the lock.
        result = await _once(entry, step, exchange, store)
        if entry.is_restorable:
            # Now it is what its receipt says, or it is to be fetched whole.
            entry = await _have(step, exchange, store)
            then = await _once(replace(entry, recorded_rows=0), step, exchange, store)
            if not entry.is_altered:
                then = dataclasses.replace(
                    then, action=result.action, reason=result.reason, rows=result.rows + then.rows
                )
            result = then
        if isinstance(result.error, DataError) and _is_in_the_way(entry):
            return await _once(replace(entry, problem=str(result.error)), step, exchange, store)
        return result


def _is_in_the_way(entry: CacheEntry) -> bool:
    """Whether rows that nobody vouches for may be why others could not be put beside them."""
    return entry.path is not None and entry.problem is None and not entry.has_provenance


async def _once(entry: CacheEntry, step: Step, exchange: Exchange, store: Store) -> StepReport:
    """Decide anew about a file under its lock, and do it."""
    now = decide(entry, step.until_ms, exchange.source)
    if now.restore_until_ms is not None:
        receipt = store.receipt(step.file)
        # Its rows came from where those came that it is to have again.
        sources = () if receipt is None else receipt.sources
        now = replace(now, until_ms=now.restore_until_ms, entry=replace(now.entry, sources=sources))
    elif now.action == "skip":
        # Of the plan it dropped what a receipt needs; the days beside it may have proven its edges.
        now = replace(now, entry=entry)
    else:
        now = replace(now, edges_wait=step.edges_wait)
    with FileUpdate(now, store, lambda: exchange.rest.now_ms) as file_update:
        problem = None
        if now.action != "skip":
            problem = await fetch_rows(file_update, now, exchange)
        if now.restore_until_ms is not None and not file_update.has_bytes(store.receipt(step.file)):
            return StepReport.of(now, missing=len(now.gaps), error=problem)
        rows = file_update.new_rows
        await file_update.commit()
        missing = len(file_update.left())
    why = why_incomplete(file_update.outcome, now.until_ms) if missing else ""
    if missing or problem is not None:
        # Of what nobody is asked for again nothing is awaited.
        is_awaited = file_update.is_unpublished and bool(file_update.unasked(exchange.source))
        trouble = _trouble(entry, problem, is_unpublished=is_awaited)
        if trouble is not None:
            await uninterrupted(store.record_failure, step.file, trouble)
            why = trouble.words
    return StepReport.of(now, rows=rows, missing=missing, error=problem, why=why)


async def _have(step: Step, exchange: Exchange, store: Store) -> CacheEntry:
    """
    What is there now, after its bytes were read where that matters.

    They are if rows are to be added to them, or if the plan found them altered. A file without
    a matching receipt has just been read.
    """
    entry = _known(step, await asyncio.to_thread(store.entry, step.file))
    is_extended = decide(entry, step.until_ms, exchange.source).action == "extend"
    if is_extended or step.entry.is_altered or not entry.is_remembered:
        entry = _known(step, await asyncio.to_thread(verified, store, entry))
    return entry


def _known(step: Step, entry: CacheEntry) -> CacheEntry:
    """The same with what was seen of its neighbours, and with no answer that is to be asked for anew."""
    absences = () if step.is_recheck else entry.absences
    return replace(entry, neighbours=step.entry.neighbours, absences=absences)


def _trouble(
    entry: CacheEntry, problem: AresError | None, *, is_unpublished: bool
) -> Trouble | None:
    """Why rows are still missing, as the next look at the cache shall tell it."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    if entry.trouble is not None and entry.trouble.reason == _QUARANTINED:
        after = f"; no whole file has come since: {problem}" if problem else ""
        return replace(entry.trouble, words=f"{entry.trouble.words.split('; no whole')[0]}{after}")
    if problem is not None:
        return Trouble("failed", str(problem), at)
    return (
        Trouble(NOT_PUBLISHED, "the archive does not have it; run again later", at)
        if is_unpublished
        else None
    )


async def remember(step: Step, store: Store) -> None:
    """Write the receipt of a file that had to be looked into, so that the next run need not."""
    async with locked(store, step.file):
        entry = await asyncio.to_thread(lambda: verified(store, store.entry(step.file)))
        if entry.path is None or entry.problem is not None:
            return
        if entry.legacy and not entry.has_provenance:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            entry = replace(entry, sources=(Source("legacy", step.file.name, at),))
        neighbours = step.entry.neighbours
        final = is_final(step.file, entry.facts, entry.absences, step.until_ms, neighbours)
        await uninterrupted(store.update_receipt, entry, final=final)
