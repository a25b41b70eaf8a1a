"""
Evidence: what an answer of the exchange proves about rows that are not there.

The table `EVIDENCE` is the whole model; ``docs/evidence.md`` explains it. Nothing else in
the package turns an answer into a reason, and nothing else decides whether an answer is
proof.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from ares_notebook.market.periods import DAY_MS, to_ms

__all__ = [
    "AFTER_DELISTING",
    "BEFORE_LISTING",
    "BETWEEN_LISTINGS",
    "CONFIRMED",
    "EVIDENCE",
    "UNCONFIRMED",
    "Absence",
    "Evidence",
    "evidence_of",
]

CONFIRMED = "confirmed absent upstream"
BEFORE_LISTING = "before listing"
AFTER_DELISTING = "after delisting"
BETWEEN_LISTINGS = "between listings"
UNCONFIRMED = "unconfirmed"


class Evidence(Struct, frozen=True):
    """
    One kind of answer, and what it proves.

    Parameters
    ----------
    reason : str
        Why rows are missing, as this answer tells it.
    says : str
        The same as a sentence, for the note of a gap.
    is_proof : bool
        Whether a gap with this answer is explained. An answer that is no proof is recorded
        too, so that its source is not asked again where no other may be asked.
    explains_rows : bool
        Whether it explains rows that are missing for certain; else only an edge at which
        nobody knows whether any row is missing.
    is_alone : bool
        Whether the archive was not to be asked: a run that may ask it does so once more.
    ages : bool
        Whether the answer counts for good only if it came a day after the moment in
        question: a row may be published late.
    """

    reason: str
    says: str
    is_proof: bool = True
    explains_rows: bool = True
    is_alone: bool = False
    ages: bool = True


EVIDENCE = {
    "rest": Evidence(CONFIRMED, "the API has none there, and has rows before"),
    "neighbours": Evidence(
        CONFIRMED,
        "the trade ids run on from the neighbouring day",
        explains_rows=False,
        ages=False,
    ),
    "first trade": Evidence(
        BEFORE_LISTING, "the exchange's first trade of the symbol (id 0) is later"
    ),
    "first trade alone": Evidence(
        BEFORE_LISTING,
        "the exchange's first trade of the symbol (id 0) is later; the archive was not asked",
        is_alone=True,
    ),
    "other day": Evidence(
        CONFIRMED,
        "the trade of this id is stamped on another day, and belongs to the file of that day",
        ages=False,
    ),
    "first rows": Evidence(
        BEFORE_LISTING, "the API's first row and the archive's first file are later"
    ),
    "onboard date": Evidence(BEFORE_LISTING, "the contract was listed later, says exchangeInfo"),
    "onboard date alone": Evidence(
        BEFORE_LISTING,
        "the contract was listed later, says exchangeInfo; the archive was not asked",
        is_alone=True,
    ),
    "no perpetual": Evidence(
        BEFORE_LISTING,
        "there is no perpetual of this name: exchangeInfo does not list it, and neither the API "
        "nor the archive has its funding",
    ),
    "last row": Evidence(
        AFTER_DELISTING, "the API's last row is earlier, and the symbol does not trade any more"
    ),
    "between listings": Evidence(
        BETWEEN_LISTINGS,
        "an earlier listing of the name ended before, and the listing of today began later",
    ),
    "archive": Evidence(
        UNCONFIRMED,
        'the archive has none, and it alone was asked; source="auto" asks the API, too',
        is_proof=False,
    ),
    "early end": Evidence(
        UNCONFIRMED,
        "the API's history ends earlier, although the symbol trades, so that its silence proves "
        "nothing",
        is_proof=False,
    ),
    "late history": Evidence(
        UNCONFIRMED,
        "the API's history begins later, so that its silence proves nothing",
        is_proof=False,
    ),
}
"""Every answer that a receipt can record, by the word under which it does."""

_WEAKER = Evidence(UNCONFIRMED, "recorded on weaker evidence by an earlier version", is_proof=False)


def evidence_of(word: str) -> Evidence:
    """
    What is known of an answer by its *word* in a receipt.

    Words of earlier versions, such as *before listing* by the API alone, are no proof.

    Examples
    --------
    >>> evidence_of("first trade").reason
    'before listing'
    >>> evidence_of("before listing").is_proof
    False
    """
    return EVIDENCE.get(word, _WEAKER)


# A value that never changes is part of no circle, and the collector would walk through
# hundreds of thousands of them in vain: hence `gc=False`.
class Absence(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """
    An answer about ``[start_ms, end_ms)``: there is no row but those stored.

    Parameters
    ----------
    start_ms, end_ms : int
        Milliseconds since the epoch, UTC.
    evidence : str
        A word of `EVIDENCE`.
    at : str
        When it was answered, ISO, UTC, by the exchange's clock.
    after_id, before_id : int, optional
        For trades, the ids of the rows on either side.
    """

    start_ms: int
    end_ms: int
    evidence: str
    at: str
    after_id: int | None = None
    before_id: int | None = None

    @property
    def is_proof(self) -> bool:
        """Whether it explains a gap."""
        return evidence_of(self.evidence).is_proof

    @property
    def is_alone(self) -> bool:
        """Whether the archive is still to be heard about it."""
        return evidence_of(self.evidence).is_alone

    @property
    def is_settled(self) -> bool:
        """
        Whether the answer came late enough to be the last word.

        What was said within a day of the moment in question holds for the run that heard
        it, and is asked once more by the next. What is no proof never settles anything,
        and needs not be asked of the same source again.
        """
        kind = evidence_of(self.evidence)
        if not kind.ages or not kind.is_proof:
            return True
        try:
            answered = datetime.fromisoformat(self.at)
        except ValueError:
            return False
        return answered.tzinfo is not None and to_ms(answered) >= self.end_ms + DAY_MS
