"""Which answer proves what of a gap, as data; and the known halts, which only add a note."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from ares_notebook.model.time import DAY_MS, as_utc, to_ms

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
    "halted",
]

CONFIRMED = "confirmed absent upstream"
BEFORE_LISTING = "before listing"
AFTER_DELISTING = "after delisting"
BETWEEN_LISTINGS = "between listings"
UNCONFIRMED = "unconfirmed"


class Evidence(Struct, frozen=True):
    """One kind of answer, and what it proves."""

    # Why rows are missing, as this answer tells it.
    reason: str
    # The same as a sentence, for the note of a gap.
    says: str
    # Whether a gap with this answer is explained. An answer that is no proof is recorded too, so
    # that its source is not asked again where no other may be asked.
    is_proof: bool = True
    # Whether it explains rows that are missing for certain; else only an edge at which nobody knows
    # whether any row is missing.
    explains_rows: bool = True
    # Whether the archive was not to be asked: a run that may ask it does so once more.
    is_alone: bool = False
    # Whether the answer counts for good only if it came a day after the moment in question: a row
    # may be published late.
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
    "unlisted": Evidence(
        AFTER_DELISTING,
        "neither the API nor exchangeInfo knows the symbol any more, and the archive has nothing later",
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
    """
    return EVIDENCE.get(word, _WEAKER)


# A value that never changes is part of no circle, and the collector would walk through
# hundreds of thousands of them in vain: hence `gc=False`.
class Absence(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An answer about ``[start_ms, end_ms)``: there is no row but those stored."""

    # Milliseconds since the epoch, UTC.
    start_ms: int
    end_ms: int
    # A word of `EVIDENCE`.
    evidence: str
    # When it was answered, ISO, UTC, by the exchange's clock.
    at: str
    # For trades, the ids of the rows on either side.
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


# From the halt to the first trade after it. Read off every daily 1s file of BTCUSDT
# from 2017-08-17 to 2025-03-27 that has not 86,400 rows
# [terrylica; binance-public-data#312, #365, #368].
_HALTS = (
    ("2017-09-06T16:00:00", "2017-09-06T23:00:00"),
    ("2017-12-04T06:00:20", "2017-12-04T06:49:06"),
    ("2017-12-18T10:00:42", "2017-12-18T10:14:47"),
    ("2017-12-18T12:29:13", "2017-12-18T13:34:10"),
    ("2018-01-04T03:00:14", "2018-01-04T05:06:13"),
    ("2018-02-08T00:28:14", "2018-02-09T10:00:00"),
    ("2018-02-10T06:00:00", "2018-02-10T06:15:00"),
    ("2018-02-11T04:00:00", "2018-02-11T04:35:00"),
    ("2018-06-26T02:00:00", "2018-06-26T12:00:00"),
    ("2018-06-27T13:00:00", "2018-06-27T14:45:00"),
    ("2018-07-04T00:22:25", "2018-07-04T08:00:00"),
    ("2018-10-19T06:00:00", "2018-10-19T09:30:00"),
    ("2018-11-14T02:00:00", "2018-11-14T09:00:00"),
    ("2019-03-12T02:00:00", "2019-03-12T08:00:00"),
    ("2019-05-15T03:00:00", "2019-05-15T13:00:00"),
    ("2019-06-07T21:13:13", "2019-06-07T22:15:00"),
    ("2019-08-15T02:00:00", "2019-08-15T10:00:00"),
    ("2019-11-13T02:00:00", "2019-11-13T04:24:00"),
    ("2019-11-25T02:00:00", "2019-11-25T04:00:00"),
    ("2020-02-09T02:00:00", "2020-02-09T03:00:00"),
    ("2020-02-19T11:35:33", "2020-02-19T17:30:00"),
    ("2020-03-04T09:21:47", "2020-03-04T11:30:00"),
    ("2020-04-25T02:00:00", "2020-04-25T04:30:00"),
    ("2020-06-28T02:00:00", "2020-06-28T05:30:00"),
    ("2020-11-30T06:00:00", "2020-11-30T07:00:00"),
    ("2020-12-21T13:47:21", "2020-12-21T18:00:00"),
    ("2020-12-25T02:00:00", "2020-12-25T03:00:00"),
    ("2021-02-11T03:40:55", "2021-02-11T05:00:00"),
    ("2021-03-06T02:00:00", "2021-03-06T03:30:00"),
    ("2021-04-20T02:00:00", "2021-04-20T04:30:00"),
    ("2021-04-25T04:00:59", "2021-04-25T08:45:00"),
    ("2021-08-13T02:00:00", "2021-08-13T06:30:00"),
    ("2021-09-29T07:00:00", "2021-09-29T09:00:00"),
    ("2023-03-24T12:39:42", "2023-03-24T14:00:00"),
)
_SPANS_MS = tuple((to_ms(as_utc(start)), to_ms(as_utc(end))) for start, end in _HALTS)


def halted(start_ms: int, end_ms: int) -> bool:
    """Whether spot trading was halted at some time in ``[start_ms, end_ms)``."""
    return any(start < end_ms and start_ms < end for start, end in _SPANS_MS)
