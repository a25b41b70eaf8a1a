"""Bring one file from what is there to what is wanted, under its lock."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime

from msgspec.structs import replace

from ares_notebook.cache.damage import set_aside, verified
from ares_notebook.cache.have import Have
from ares_notebook.cache.lock import locked
from ares_notebook.cache.receipts import Source
from ares_notebook.cache.store import Store
from ares_notebook.errors import AresError, DataError
from ares_notebook.market.facts import Trouble
from ares_notebook.market.holes import is_final
from ares_notebook.threads import unbroken
from ares_notebook.work.decide import Step, decide
from ares_notebook.work.draft import Draft
from ares_notebook.work.fill import Roads, fill
from ares_notebook.work.report import StepReport, told, why_incomplete

__all__ = ["bring", "remember"]

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
