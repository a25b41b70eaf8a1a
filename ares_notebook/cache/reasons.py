"""How a file stands, and why rows are missing: the words, and what they are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ares_notebook.cache.have import Have
from ares_notebook.market.facts import Absence, Hole

__all__ = ["REASONS", "STATES", "reason_of_answer", "state_of", "why_open"]

COMPLETE = "complete"
NOT_DOWNLOADED = "not downloaded"
NOT_PUBLISHED = "not yet published"
BEFORE_LISTING = "before listing"
CONFIRMED = "confirmed absent upstream"
CORRUPT = "corrupt, quarantined"
FAILED = "failed"
QUIET = "quiet"

REASONS = {
    NOT_DOWNLOADED: "nobody has asked the exchange for it yet",
    NOT_PUBLISHED: "it lies in the future, or the archive does not have it yet",
    BEFORE_LISTING: "the symbol did not trade yet, or has no perpetual",
    CONFIRMED: "the exchange was asked and has nothing there; the note says when it answered",
    CORRUPT: "the file was damaged; the note says where it is, and a download replaces it",
    FAILED: "it was asked for and did not come; the note says why",
    QUIET: "hours without a trade over which the ids run on: nothing is missing",
}
"""Every reason that a gap can have, and what it means."""

STATES = (
    COMPLETE,
    CONFIRMED,
    BEFORE_LISTING,
    NOT_DOWNLOADED,
    NOT_PUBLISHED,
    FAILED,
    CORRUPT,
)
"""Every state that a file can have, from the best to the worst."""

# Answers that are reasons of their own; any other sentence tells why there can be none.
_ANSWERS = {"rest": CONFIRMED, "archive": CONFIRMED}


def why_open(have: Have) -> tuple[str, str, str]:
    """
    Why rows are still missing of which the exchange has not been heard.

    Parameters
    ----------
    have : Have

    Returns
    -------
    tuple of str
        The reason, a note, and when it was found.
    """
    if have.problem is not None:
        return CORRUPT, f"{have.problem}; the next download puts it into quarantine", ""
    trouble = have.trouble
    if trouble is None:
        return NOT_DOWNLOADED, "", ""
    reason = trouble.reason if trouble.reason in REASONS else FAILED
    return reason, trouble.words, trouble.at


def reason_of_answer(absence: Absence) -> str:
    """
    What an answer of the exchange means for the rows that it has not.

    Examples
    --------
    >>> reason_of_answer(Absence(0, 1, "rest", "2025-06-01T00:00:00+00:00"))
    'confirmed absent upstream'
    >>> reason_of_answer(Absence(0, 1, "its first candle is of 2020", "2025-06-01T00:00:00+00:00"))
    'before listing'
    """
    return _ANSWERS.get(absence.evidence, BEFORE_LISTING)


def state_of(have: Have, holes: Sequence[Hole], left: Sequence[Hole], now_ms: int) -> str:
    """
    How a file stands, in one of `STATES`.

    What is still open tells first, then what the exchange does not have.

    Parameters
    ----------
    have : Have
    holes, left : sequence of Hole
        Its holes, and those of them of which the exchange has not been heard.
    now_ms : int
        The present; nothing after it can be there.

    Examples
    --------
    >>> from ares_notebook.market.series import parse_file_name
    >>> file = parse_file_name("klines_BTCUSDT_1h_2025-02.csv")
    >>> have = Have(file)
    >>> holes = have.holes(file.period.end_ms)
    >>> state_of(have, holes, have.unheard(holes), now_ms=file.period.end_ms)
    'not downloaded'
    """
    if have.problem is not None or any(hole.start_ms < now_ms for hole in left):
        return why_open(have)[0]
    if left:
        return NOT_PUBLISHED
    if have.facts.rows and not have.missing(holes):
        return COMPLETE
    answers = set(_answers(have, holes))
    return BEFORE_LISTING if answers == {BEFORE_LISTING} else CONFIRMED


def _answers(have: Have, holes: Iterable[Hole]) -> Iterator[str]:
    """What the exchange has said of the rows that are missing for certain."""
    for hole in holes:
        if hole.rows is None and have.facts.rows:
            continue
        heard = [
            each
            for each in have.absences
            if each.start_ms < hole.end_ms and hole.start_ms < each.end_ms
        ]
        # What the API said counts; the archive is heard where it alone was asked.
        by_api = [each for each in heard if each.evidence != "archive"]
        yield from (reason_of_answer(each) for each in by_api or heard)
