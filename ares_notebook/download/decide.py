"""Decide what is to be done with one file: pure, from what is there and what is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import unconfirmed_by
from ares_notebook.model.facts import Facts, Gap
from ares_notebook.model.files import CacheFile
from ares_notebook.model.gaps import evidence_of, unasked, unexplained
from ares_notebook.model.time import DAY_MS, utc

__all__ = ["Action", "Road", "Step", "decide", "whole_days"]

Action = Literal["skip", "extend", "fetch"]
Road = Literal["monthly archive", "daily archive", "rest"]

_WEAKER = "some of it is unconfirmed; the exchange is asked once more"
# A zip and its checksum.
_REQUESTS_PER_ZIP = 2
# Extending a day of trades over REST beyond this many pages costs more than its zip.
_MOST_PAGES_TO_EXTEND = 20


class Step(Struct, frozen=True, gc=False):
    """What is to be done with one cache file."""

    file: CacheFile
    # Nothing; close the gaps of what is there; bring the whole.
    action: Action
    # A phrase for people.
    reason: str
    # The end (exclusive) of what is wanted of it.
    until_ms: int
    # What is there; without its sources where nothing is to be done.
    entry: CacheEntry
    # What is to be asked for.
    gaps: tuple[Gap, ...] = ()
    # The ways to it, best first.
    roads: tuple[Road, ...] = ()
    # Estimates of what the first road will bring and cost.
    rows: int = 0
    bytes_received: int = 0
    bytes_stored: int = 0
    requests: int = 0
    # Whether what the exchange once said is asked for again.
    is_recheck: bool = False
    # Whether the edges of a day of trades are left alone until the days beside it are there: where
    # the ids run on, they are proven without a request.
    edges_wait: bool = False
    # Up to where an altered file is to get back the rows that it lacks, first of all. It counts
    # only if its bytes are then those of its receipt; else it is fetched whole.
    restore_until_ms: int | None = None


def decide(entry: CacheEntry, until_ms: int, source: Literal["auto", "archive", "rest"]) -> Step:
    """Decide about one file: pure, from what is there and what is wanted."""
    file = entry.file
    lasting = tuple(
        each
        for each in entry.absences
        if each.is_settled and not (each.is_alone and source == "auto")
    )
    if len(lasting) < len(entry.absences):
        entry = replace(entry, absences=lasting)
    until_ms = min(until_ms, file.grid_end_ms)
    if entry.is_restorable and (step := _restoring(entry, until_ms, source)) is not None:
        return step
    anew = _why_anew(entry)
    if anew and entry.end_ms is not None:
        # What takes its place reaches at least as far.
        until_ms = max(until_ms, min(entry.end_ms, file.grid_end_ms))
    there = replace(entry, facts=Facts()) if anew else entry
    gaps = there.gaps(until_ms)
    open_gaps = unasked if source == "archive" else unexplained
    left = open_gaps(file, gaps, entry.absences)
    if entry.is_stray:
        return Step(file, "fetch", "no row can be there; put aside", until_ms, entry)
    if not left:
        # Of what stays as it is nobody asks here where it came from: a quarter of a large plan's memory.
        return Step(file, "skip", _why_skip(entry, gaps), until_ms, replace(entry, sources=()))
    reason = anew or (_why_extend(entry, left) if there.facts.rows else _why_fetch(entry))
    action: Action = "extend" if there.facts.rows else "fetch"
    step = Step(file, action, reason, until_ms, entry, tuple(left))
    step = replace(step, roads=_roads(step, source))
    return _estimated(step)


def _restoring(
    entry: CacheEntry, until_ms: int, source: Literal["auto", "archive", "rest"]
) -> Step | None:
    """Bring back just what an altered file lacks, up to where its rows ended; None if it lacks nothing."""
    ended_ms = min(entry.noted_end_ms or 0, entry.file.grid_end_ms)
    there = replace(entry, is_altered=False)
    left = there.unexplained(ended_ms)
    step = Step(entry.file, "extend", _why_extend(there, left), ended_ms, there, tuple(left))
    step = replace(
        step,
        roads=_roads(step, source),
        until_ms=max(until_ms, ended_ms),
        restore_until_ms=ended_ms,
    )
    return _estimated(step) if left and step.roads else None


def _why_skip(entry: CacheEntry, gaps: Sequence[Gap]) -> str:
    if unexplained(entry.file, gaps, entry.absences):
        return "unconfirmed: the archive has nothing more, and no other source may be asked"
    if not entry.facts.rows:
        reasons = {evidence_of(each.evidence).reason for each in entry.absences if each.is_proof}
        return f"{' and '.join(sorted(reasons)) or 'nothing is due yet'}: no file"
    certain = sum(gap.rows or 0 for gap in gaps)
    if certain:
        return "complete but for what the exchange does not have"
    return "complete"


def _why_anew(entry: CacheEntry) -> str | None:
    """Why what is there does not count, if it does not."""
    if entry.problem is not None:
        return "damaged; put aside and replaced by a whole one"
    if entry.is_altered:
        return "its bytes are not those of its receipt; replaced by a whole one"
    if entry.is_salvaged:
        return "what was good in a damaged file; replaced by a whole one"
    is_unverified = entry.legacy or (entry.on_disk is not None and not entry.has_provenance)
    if is_unverified and not _is_kept(entry):
        return "no receipt tells where it came from; replaced by a whole one"
    return None


def _is_kept(entry: CacheEntry) -> bool:
    """Whether an old file of trades counts itself, and is worth its size: ids that run on, all of its day."""
    if not entry.legacy:
        return False
    facts, period = entry.facts, entry.file.period
    if facts.first_id is None or facts.gaps or facts.first_ms is None or facts.last_ms is None:
        return False
    return period.start_ms <= facts.first_ms and facts.last_ms < period.end_ms


def _why_fetch(entry: CacheEntry) -> str:
    if entry.noted_rows:
        return "deleted; fetched again"
    if any(not each.is_proof for each in entry.absences):
        return _WEAKER
    return "empty so far, and not looked at to its end" if entry.absences else "not downloaded"


def _why_extend(entry: CacheEntry, left: Sequence[Gap]) -> str:
    tail = entry.facts.covered_until_ms
    if any(unconfirmed_by(entry, gap) for gap in left):
        return _WEAKER
    if len(left) == 1 and left[0].start_ms == tail:
        return f"goes on from {utc(tail):%Y-%m-%d %H:%M}"
    inside = [gap for gap in left if gap.rows]
    if not inside:
        return "the exchange has not been heard about its edges"
    missing = sum(gap.rows or 0 for gap in inside)
    return f"rows missing inside: {missing:,}, gaps: {len(inside)}"


def _roads(step: Step, source: str) -> tuple[Road, ...]:
    """The ways to a step's rows, best first."""
    cuts = step.file.series.archive_cuts
    over = step.until_ms >= step.file.period.end_ms
    roads: list[Road] = []
    # Gaps, and months of which not all is wanted, come over REST or by days; where neither can be, by the month.
    is_only = source == "archive" and "day" not in cuts and (over or bool(step.gaps))
    months = is_only or (step.action == "fetch" and over)
    if months and step.file.dataset.cut == "month" and "month" in cuts:
        roads.append("monthly archive")
    if "day" in cuts and (roads or source == "archive" or _days_are_cheaper(step, over=over)):
        roads.append("daily archive")
    roads.append("rest")
    if source == "rest":
        return ("rest",)
    return tuple(road for road in roads if source == "auto" or road != "rest")


def _days_are_cheaper(step: Step, *, over: bool) -> bool:
    """Whether zips of days bring what is missing in fewer requests than REST."""
    pages = sum(
        math.ceil(_rows_in(step.file, gap) / step.file.dataset.rest_rows) for gap in step.gaps
    )
    if step.file.dataset.cut == "day":
        # A day that came from its zip has all that the zip has.
        known = any(source.road == "daily archive" for source in step.entry.sources)
        return over and not known and (step.action == "fetch" or pages > _MOST_PAGES_TO_EXTEND)
    days = sum(whole_days(gap) for gap in step.gaps)
    return days > 0 and pages > _REQUESTS_PER_ZIP * days


def whole_days(gap: Gap) -> int:
    """How many whole UTC days lie in the gap."""
    return max(0, gap.end_ms // DAY_MS - -(-gap.start_ms // DAY_MS))


def _rows_in(file: CacheFile, gap: Gap) -> int:
    """How many rows a gap will bring: counted where a grid or ids tell, else estimated."""
    if gap.rows is not None:
        return gap.rows
    return math.ceil((gap.end_ms - gap.start_ms) / DAY_MS * file.dataset.rows_per_day)


def _estimated(step: Step) -> Step:
    dataset = step.file.dataset
    rows = sum(_rows_in(step.file, gap) for gap in step.gaps)
    requests = sum(
        max(1, math.ceil(_rows_in(step.file, gap) / dataset.rest_rows)) for gap in step.gaps
    )
    received = round(rows * dataset.stored_row_bytes)
    if step.roads and step.roads[0] != "rest":
        days = sum(whole_days(gap) for gap in step.gaps)
        zips = 1 if step.roads[0] == "monthly archive" else max(1, days)
        requests, received = _REQUESTS_PER_ZIP * zips, round(rows * dataset.zipped_row_bytes)
    stored = round(rows * dataset.stored_row_bytes)
    return replace(step, rows=rows, bytes_received=received, bytes_stored=stored, requests=requests)
