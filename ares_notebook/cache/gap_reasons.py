"""The states of a file, and the reasons why rows are missing."""

from __future__ import annotations

from collections.abc import Sequence

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.model.facts import NOT_PUBLISHED, Gap
from ares_notebook.model.gaps import (
    AFTER_DELISTING,
    BEFORE_LISTING,
    BETWEEN_LISTINGS,
    CONFIRMED,
    UNCONFIRMED,
    Absence,
    evidence_of,
    meets,
)

COMPLETE = "complete"
NOT_DOWNLOADED = "not downloaded"
CORRUPT = "corrupt, quarantined"
FAILED = "failed"
QUIET = "quiet"

REASONS = {
    NOT_DOWNLOADED: "it was not requested yet, or the file was deleted",
    NOT_PUBLISHED: "it is in the future, or the archive does not have it yet",
    BEFORE_LISTING: "the symbol did not trade yet, or has no perpetual",
    AFTER_DELISTING: "the symbol does not trade any more",
    BETWEEN_LISTINGS: "the symbol did not trade between two listings of the same name",
    CONFIRMED: "the exchange was asked and has nothing there; the note has the time of its answer",
    UNCONFIRMED: "what was asked has nothing there, and cannot prove that there is nothing; "
    "the note says why, and a download with every source asks those that have such rows",
    CORRUPT: "the file is damaged or altered; the note says how; a download puts it into quarantine and replaces it",
    FAILED: "it was asked for and did not come; the note says why",
    QUIET: "hours without a trade over which the ids run on: nothing is missing",
}
"""Every reason that a gap can have, and what it means."""

_PROVEN = (CONFIRMED, BEFORE_LISTING, AFTER_DELISTING, BETWEEN_LISTINGS)
EXPLAINED = (*_PROVEN, QUIET)
"""The reasons of gaps that are proven; all others are open."""

STATES = (COMPLETE, *_PROVEN, UNCONFIRMED, NOT_DOWNLOADED, NOT_PUBLISHED, FAILED, CORRUPT)
"""Every state that a file can have, from the best to the worst."""


def why_open(entry: CacheEntry, gap: Gap) -> tuple[str, str, str]:
    """The reason of a gap that no proof explains, a note, and the time of the answer."""
    if entry.problem is not None:
        return CORRUPT, f"{entry.problem}; the next download puts it into quarantine", ""
    trouble = entry.trouble
    altered = "its bytes are not those of its receipt" if entry.is_altered else ""
    if trouble is not None:
        reason = trouble.reason if trouble.reason in REASONS else FAILED
        return reason, "; ".join(filter(None, (altered, trouble.words))), trouble.at
    if altered:
        note = f"{altered}; the next download puts it into quarantine, and a true one here"
        return CORRUPT, note, ""
    if entry.on_disk is None and entry.recorded_rows:
        note = f"the file is gone; its receipt counts {entry.recorded_rows:,} rows"
        return NOT_DOWNLOADED, note, ""
    answer = unconfirmed_by(entry, gap)
    if answer is not None:
        return UNCONFIRMED, evidence_of(answer.evidence).says, answer.at
    return NOT_DOWNLOADED, "", ""


def unconfirmed_by(entry: CacheEntry, gap: Gap) -> Absence | None:
    """The last answer about a gap that is no proof; None without one."""
    answers = (each for each in reversed(entry.absences) if not each.is_proof and meets(gap, each))
    return next(answers, None)


def state_of(entry: CacheEntry, gaps: Sequence[Gap], left: Sequence[Gap], now_ms: int) -> str:
    """The state of a file, one of `STATES`: its worst open gap, else the proven reason."""
    past = [gap for gap in left if gap.start_ms < now_ms]
    if entry.is_untrue or past:
        reasons = {why_open(entry, gap)[0] for gap in past or gaps[:1]}
        return max(reasons or {CORRUPT}, key=STATES.index)
    if left:
        return NOT_PUBLISHED
    if entry.facts.rows and not entry.missing(gaps):
        return COMPLETE
    proven = {
        evidence_of(each.evidence).reason
        for gap in gaps
        # Without a count, no row of a file with rows is certainly missing.
        if gap.rows is not None or not entry.facts.rows
        for each in entry.absences
        if each.is_proof and meets(gap, each)
    }
    return proven.pop() if len(proven) == 1 else CONFIRMED
