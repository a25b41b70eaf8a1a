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

from ares_notebook.binance.archive import Archive, Zip
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.damage import set_aside, verified
from ares_notebook.cache.entry import Have
from ares_notebook.cache.locks import locked
from ares_notebook.cache.receipts import Source
from ares_notebook.cache.store import Store
from ares_notebook.cache.writer import Patch
from ares_notebook.download.confirm import confirm, confirm_unasked
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.draft import Draft
from ares_notebook.download.report import StepReport, told, why_incomplete
from ares_notebook.errors import AresError, BadAnswer, DataError, NotFound, TransportError
from ares_notebook.model.facts import Hole, Trouble
from ares_notebook.model.gaps import is_final
from ares_notebook.model.lines import Lines
from ares_notebook.model.time import DAY_MS, Cut, utc
from ares_notebook.runtime.tasks import in_order
from ares_notebook.runtime.threads import unbroken

__all__ = ["Roads", "bring", "fill", "remember"]

_LOGGER = logging.getLogger("DataDownloader")
_DAYS_AHEAD = 4
_ROADS: dict[Cut, str] = {"month": "monthly archive", "day": "daily archive"}


@dataclass(frozen=True, slots=True)
class Roads:
    """
    The ways to the exchange, open for one piece of work.

    Parameters
    ----------
    archive : Archive
    rest : Rest
    source : {"auto", "archive", "rest"}
        Those that may be taken.
    """

    archive: Archive
    rest: Rest
    source: Literal["auto", "archive", "rest"] = "auto"


async def fill(draft: Draft, step: Step, roads: Roads) -> AresError | None:
    """
    Close the holes of *draft* over the roads of *step*, one after the other.

    A road that fails or lacks the file leaves what it has not brought to the next
    one down the ladder.

    Returns
    -------
    AresError or None
        Why rows are still missing, if they are and a road failed.
    """
    problem: AresError | None = None
    for road in step.roads:
        if not (_wanted_of_rest(draft, step) if road == "rest" else draft.unasked()):
            continue
        try:
            await _OVER[road](draft, step, roads)
        except (TransportError, DataError) as error:
            # An archive may be late; an API that is not found is at fault.
            if isinstance(error, NotFound) and road != "rest":
                _LOGGER.info("%s: %s; going down the ladder", draft.file.name, error)
                draft.is_unpublished = True
                continue
            _LOGGER.info("%s: %s failed: %s", draft.file.name, road, error)
            problem = error
    left = _wanted_of_rest(draft, step) if "rest" in step.roads else draft.unasked()
    return problem if left else None


def _wanted_of_rest(draft: Draft, step: Step) -> list[Hole]:
    """What REST is to be asked for: all that no proof explains, but for edges that may wait."""
    holes = draft.unexplained()
    if not (step.edges_wait and draft.is_from_archive and draft.facts.rows):
        return holes
    return [hole for hole in holes if hole.rows is not None]


async def _monthly(draft: Draft, step: Step, roads: Roads) -> None:
    del step
    series, start = draft.file.series, draft.file.period.start
    # The listing, asked once a run, spares a request for each month that is not there.
    await roads.archive.size_of(series, "month", start)
    # What is there already stays: a month has been published cut short, too.
    holes = draft.unasked() if draft.facts.rows else [draft.wanted]
    await draft.splice(await _unzipped(draft, roads.archive, "month", start, holes))
    _refuse_cut(draft)
    draft.record(draft.unasked(), "archive")


async def _daily(draft: Draft, step: Step, roads: Roads) -> None:
    """Days one by one; those that are not there or not sound are left for REST."""
    del step
    parts = [part for hole in draft.unasked() for part in _days(hole)]
    calls = (partial(_zipped, draft, roads.archive, part) for part in parts)
    results = [result async for result in in_order(calls, _DAYS_AHEAD)]
    await draft.splice([each for each in results if isinstance(each, Patch)])
    problems = [each for each in results if isinstance(each, AresError)]
    _refuse_cut(draft)
    for part, result in zip(parts, results, strict=True):
        if not isinstance(result, AresError):
            silent = [hole for hole in draft.unasked() if _overlap(hole, part)]
            draft.record([_clipped(hole, part) for hole in silent], "archive")
    if problems:
        # A day that is not sound weighs more than one that is not published.
        raise min(problems, key=lambda each: isinstance(each, NotFound))


def _refuse_cut(draft: Draft) -> None:
    """Take no silence from a zip whose text ends inside a line: what it lacks is asked for elsewhere."""
    if draft.cut_url:
        msg = f"{draft.cut_url} ends inside a line; what is whole of it is stored, run again later"
        raise BadAnswer(msg)


async def _zipped(draft: Draft, archive: Archive, hole: Hole) -> Patch | AresError | None:
    """The rows in *hole* of the zip of its day; None without rows."""
    start = utc(hole.start_ms // DAY_MS * DAY_MS)
    try:
        await archive.size_of(draft.file.series, "day", start)
        patches = await _unzipped(draft, archive, "day", start, [hole])
    except (TransportError, DataError) as error:
        return error
    return patches[0] if patches else None


async def _unzipped(
    draft: Draft, archive: Archive, cut: Cut, start: datetime, holes: list[Hole]
) -> list[Patch]:
    """
    The rows of a zip that lie in *holes*.

    One that is not sound is asked for once more, its checksum too: it may just be
    replaced, and zip and checksum come one after the other.
    """
    tries_left = 2
    while True:
        tries_left -= 1
        try:
            async with archive.fetch(draft.file.series, cut, start) as fetched:
                parts = [await draft.poured(_inside(fetched, hole)) for hole in holes]
        except DataError as error:
            if not tries_left:
                raise
            _LOGGER.info("%s: %s; asking for it once more", draft.file.name, error)
        else:
            draft.add_source(_ROADS[cut], fetched.url, fetched.sha256)
            draft.cut_url = fetched.url if fetched.is_cut else draft.cut_url
            patches = zip(holes, parts, strict=True)
            return [Patch(hole, part) for hole, part in patches if part.facts.rows]


async def _over_rest(draft: Draft, step: Step, roads: Roads) -> None:
    """
    Ask for exactly what is missing, until the exchange has nothing more to say.

    That a hole is empty is told by two answers: the archive's and REST's, or two of REST's.
    One page that is short or empty by mistake loses nothing. What the silence proves is
    found out by `confirm`.
    """
    archive = None if roads.source == "rest" else roads.archive
    draft.end_now()
    if draft.is_unpublished and not draft.facts.rows:
        # Likely a time before the listing: then no file of it need ask for itself.
        await roads.rest.first_row(draft.file.series)
    answered = set(await confirm_unasked(draft, archive, roads.rest))
    asked: set[Hole] = set()
    while holes := [hole for hole in _wanted_of_rest(draft, step) if hole not in answered]:
        patches, problem = await _ask_all(draft, roads.rest, holes)
        # What came before a failure is contiguous and sound: it is kept.
        await draft.splice(patches)
        if problem is not None:
            raise problem
        draft.end_now()
        # Holes of which the archive has not been heard need a second answer, but where ids run
        # on. Rows may also have come that fill nothing: candles off the grid, once more.
        unasked = set(draft.unasked())
        left = [hole for hole in _wanted_of_rest(draft, step) if hole in holes]
        silent = [
            each
            for each in left
            if each in asked or each not in unasked or roads.rest.runs_on(draft.file.series, each)
        ]
        await confirm(draft, archive, roads.rest, silent)
        asked |= set(left)
        answered |= set(silent)
        if not draft.facts.rows:
            # The other files before the first row need not ask, then.
            await roads.rest.first_row(draft.file.series)
            answered |= set(await confirm_unasked(draft, archive, roads.rest))


async def _ask_all(
    draft: Draft, rest: Rest, holes: list[Hole]
) -> tuple[list[Patch], AresError | None]:
    """Patches for *holes*, up to the first that could not be filled, and why."""
    patches: list[Patch] = []
    for hole in holes:
        patch, problem = await _ask(draft, rest, hole)
        patches += [patch] if patch else []
        if problem is not None:
            return patches, problem
    return patches, None


async def _ask(draft: Draft, rest: Rest, hole: Hole) -> tuple[Patch | None, AresError | None]:
    part, problem = draft.new_part(), None
    try:
        async for lines in rest.lines(draft.file.series, hole):
            await asyncio.to_thread(part.write_lines, lines)
    except (TransportError, DataError) as error:
        problem = error
    part.close()
    if not part.facts.rows:
        return None, problem
    draft.add_source("rest", draft.file.dataset.rest_path)
    return Patch(hole, part), problem


def _inside(archive: Zip, hole: Hole) -> Iterator[Lines]:
    """The rows of a zip that lie in a hole: between two ids the ids alone decide."""
    for lines in archive.lines():
        if hole.after_id is not None and hole.before_id is not None:
            yield lines.only((lines.keys > hole.after_id) & (lines.keys < hole.before_id))
        else:
            yield lines.between(hole.start_ms, hole.end_ms)


def _days(hole: Hole) -> Iterator[Hole]:
    """The hole, cut at midnights; parts of days that are not over included."""
    start_ms = hole.start_ms
    while start_ms < hole.end_ms:
        end_ms = min(hole.end_ms, (start_ms // DAY_MS + 1) * DAY_MS)
        yield replace(hole, start_ms=start_ms, end_ms=end_ms)
        start_ms = end_ms


def _overlap(hole: Hole, part: Hole) -> bool:
    return hole.start_ms < part.end_ms and part.start_ms < hole.end_ms


def _clipped(hole: Hole, part: Hole) -> Hole:
    if hole.after_id is not None and hole.before_id is not None:
        return hole
    return replace(
        hole, start_ms=max(hole.start_ms, part.start_ms), end_ms=min(hole.end_ms, part.end_ms)
    )


_OVER = {"monthly archive": _monthly, "daily archive": _daily, "rest": _over_rest}


_QUARANTINED = "corrupt, quarantined"


async def bring(step: Step, roads: Roads, store: Store) -> StepReport:
    """
    Carry out one step, and say what became of it.

    A damaged file is put aside first; what is good in it stays until a whole one
    is there. Why rows are still missing afterwards is remembered.

    Parameters
    ----------
    step : Step
    roads : Roads
    store : Store

    Returns
    -------
    StepReport

    Raises
    ------
    CacheError
        If the disk does not take the file; the old one is then still there.
    """
    async with locked(store, step.file):
        have = await _have(step, roads, store)
        if have.problem is not None or have.is_stray:
            await unbroken(set_aside, store, have)
            have = await _have(step, roads, store)
        # Another process may have done it while we waited for the lock.
        result = await _once(have, step, roads, store)
        if have.is_restorable:
            # Now it is what its receipt says, or it is to be fetched whole.
            have = await _have(step, roads, store)
            then = await _once(replace(have, noted_rows=0), step, roads, store)
            if not have.is_altered:
                then = dataclasses.replace(
                    then, action=result.action, reason=result.reason, rows=result.rows + then.rows
                )
            result = then
        if isinstance(result.error, DataError) and _is_in_the_way(have):
            return await _once(replace(have, problem=str(result.error)), step, roads, store)
        return result


def _is_in_the_way(have: Have) -> bool:
    """Whether rows that nobody vouches for may be why others could not be put beside them."""
    return have.path is not None and have.problem is None and not have.is_witnessed


async def _once(have: Have, step: Step, roads: Roads, store: Store) -> StepReport:
    """Decide anew about a file under its lock, and do it."""
    now = decide(have, step.until_ms, roads.source)
    if now.restore_until_ms is not None:
        receipt = store.receipt(step.file)
        # Its rows came from where those came that it is to have again.
        sources = () if receipt is None else receipt.sources
        now = replace(now, until_ms=now.restore_until_ms, have=replace(now.have, sources=sources))
    elif now.action == "skip":
        # Of the plan it dropped what a receipt needs; the days beside it may have proven its edges.
        now = replace(now, have=have)
    else:
        now = replace(now, edges_wait=step.edges_wait)
    with Draft(now, store, lambda: roads.rest.now_ms) as draft:
        problem = None
        if now.action != "skip":
            problem = await fill(draft, now, roads)
        if now.restore_until_ms is not None and not draft.has_bytes(store.receipt(step.file)):
            return told(now, missing=len(now.holes), error=problem)
        rows = draft.new_rows
        await draft.commit()
        missing = len(draft.left())
    why = why_incomplete(draft.outcome, now.until_ms) if missing else ""
    if missing or problem is not None:
        trouble = _trouble(have, problem, is_unpublished=draft.is_unpublished)
        if trouble is not None:
            await unbroken(store.complain, step.file, trouble)
            why = trouble.words
    return told(now, rows=rows, missing=missing, error=problem, why=why)


async def _have(step: Step, roads: Roads, store: Store) -> Have:
    """What is there now; a file that is to be added to is read first, as its rows go into the next."""
    have = _known(step, await asyncio.to_thread(store.have, step.file))
    if decide(have, step.until_ms, roads.source).action == "extend":
        have = _known(step, await asyncio.to_thread(verified, store, have))
    return have


def _known(step: Step, have: Have) -> Have:
    """The same with what was seen of its neighbours, and with no answer that is to be asked for anew."""
    absences = () if step.is_recheck else have.absences
    return replace(have, beside=step.have.beside, absences=absences)


def _trouble(have: Have, problem: AresError | None, *, is_unpublished: bool) -> Trouble | None:
    """Why rows are still missing, as the next look at the cache shall tell it."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    if have.trouble is not None and have.trouble.reason == _QUARANTINED:
        after = f"; no whole file has come since: {problem}" if problem else ""
        return replace(have.trouble, words=f"{have.trouble.words.split('; no whole')[0]}{after}")
    if problem is not None:
        return Trouble("failed", str(problem), at)
    return (
        Trouble("not yet published", "the archive does not have it; run again later", at)
        if is_unpublished
        else None
    )


async def remember(step: Step, store: Store) -> None:
    """
    Write the receipt of a file that had to be looked into, so that the next run need not.

    Raises
    ------
    CacheError
        If it cannot be written.
    """
    async with locked(store, step.file):
        have = await asyncio.to_thread(store.have, step.file)
        if have.path is None or have.problem is not None:
            return
        if have.legacy and not have.is_witnessed:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            have = replace(have, sources=(Source("legacy", step.file.name, at),))
        beside = step.have.beside
        final = is_final(step.file, have.facts, have.absences, step.until_ms, beside)
        await unbroken(store.note, have, final=final)
