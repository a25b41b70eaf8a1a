"""Where rows are missing, and which answer of the exchange explains it; the known halts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from ares_notebook.model.facts import ALONE, Facts, Gap, Neighbours, grid_rows
from ares_notebook.model.files import CacheFile
from ares_notebook.model.time import DAY_MS, as_utc, next_open_ms, to_ms

CONFIRMED = "confirmed absent upstream"
BEFORE_LISTING = "before listing"
AFTER_DELISTING = "after delisting"
BETWEEN_LISTINGS = "between listings"
UNCONFIRMED = "unconfirmed"


class Evidence(Struct, frozen=True):
    """What one kind of answer proves."""

    # The reason for missing rows that it gives.
    reason: str
    # The note of a gap.
    says: str
    # Whether it explains a gap. An answer that is no proof is recorded so that its source is not asked
    # again where no other may be asked.
    is_proof: bool = True
    # Whether it explains rows that are certainly missing; else only an edge where rows may be missing.
    explains_rows: bool = True
    # Whether the archive was excluded: a run that may ask it does so.
    is_alone: bool = False
    # Whether it is final only if given a day after the days of the gap, since a row may be published late.
    ages: bool = True


EVIDENCE = {
    "rest": Evidence(CONFIRMED, "the API has none there, and has rows before"),
    "no candle": Evidence(
        UNCONFIRMED,
        "the API has none there either, although the exchange writes a candle also without a trade",
        is_proof=False,
    ),
    "neighbours": Evidence(
        CONFIRMED,
        "the trade ids run on from the neighbouring day",
        explains_rows=False,
        ages=False,
    ),
    "first trade": Evidence(
        BEFORE_LISTING, "the exchange's first trade of the symbol, by its id, is later"
    ),
    "first trade alone": Evidence(
        BEFORE_LISTING,
        "the exchange's first trade of the symbol, by its id, is later; the archive was not asked",
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
    "onboard date": Evidence(BEFORE_LISTING, "the contract was listed later, by exchangeInfo"),
    "onboard date alone": Evidence(
        BEFORE_LISTING,
        "the contract was listed later, by exchangeInfo; the archive was not asked",
        is_alone=True,
    ),
    "no perpetual": Evidence(
        BEFORE_LISTING,
        "there is no perpetual of this name: exchangeInfo does not list it, and neither the API "
        "nor the archive has rows of it",
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
    "only source": Evidence(
        UNCONFIRMED, "the archive, which is the only source of such rows, has none", is_proof=False
    ),
    "not known": Evidence(
        UNCONFIRMED,
        "the archive has none, and neither the API nor exchangeInfo knows the symbol any more",
        is_proof=False,
    ),
    "early end": Evidence(
        UNCONFIRMED,
        "the API's history ends earlier, although nothing says that trading is over, so that its "
        "silence proves nothing",
        is_proof=False,
    ),
    "late history": Evidence(
        UNCONFIRMED,
        "the API's history begins later, so that its silence proves nothing",
        is_proof=False,
    ),
}
"""Every answer that a receipt can record, by its word there."""

_WEAKER = Evidence(UNCONFIRMED, "recorded on weaker evidence by an earlier version", is_proof=False)


def evidence_of(word: str) -> Evidence:
    """The evidence for a *word* in a receipt; words of earlier versions are no proof."""
    return EVIDENCE.get(word, _WEAKER)


# See `Gap` for `gc=False`.
class Absence(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An answer that ``[start_ms, end_ms)`` has no rows but the stored ones."""

    # Milliseconds since the epoch, UTC.
    start_ms: int
    end_ms: int
    # A word of `EVIDENCE`.
    evidence: str
    # When it was given, ISO, UTC, by the exchange's clock.
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
        """Whether the archive has not been asked about it."""
        return evidence_of(self.evidence).is_alone

    @property
    def is_settled(self) -> bool:
        """
        Whether the answer is final; an early one is asked for again by the next run.

        An answer that is no proof is final in that the same source is not asked again.
        """
        if not evidence_of(self.evidence).ages:
            return True
        try:
            answered = datetime.fromisoformat(self.at)
        except ValueError:
            return False
        # The zip of a day comes after its end.
        day_end_ms = -(-self.end_ms // DAY_MS) * DAY_MS
        return answered.tzinfo is not None and to_ms(answered) >= day_end_ms + DAY_MS


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


_HOUR_MS = 3_600_000


def gaps_in(
    file: CacheFile, facts: Facts, until_ms: int, neighbours: Neighbours = ALONE
) -> list[Gap]:
    """The gaps in the file's period up to *until_ms*."""
    start_ms, end_ms = file.start_ms, _last_end(file, until_ms)
    if facts.covered_from_ms is None or facts.covered_until_ms is None:
        missing = _between(neighbours.last_id_before, neighbours.first_id_after)
        parts = [Gap(start_ms, end_ms, missing)]
    else:
        # A missing trade may share the millisecond of a stored one.
        first_id, last_id = facts.first_id, facts.last_id
        head_end_ms = facts.covered_from_ms + (first_id is not None)
        before = _between(neighbours.last_id_before, first_id)
        after = _between(last_id, neighbours.first_id_after)
        head = Gap(start_ms, head_end_ms, before, before_id=first_id)
        tail = Gap(facts.covered_until_ms, end_ms, after, after_id=last_id)
        parts = [head, *facts.gaps, tail]
    gaps = []
    for part in parts:
        inside = part if part.end_ms <= end_ms else replace(part, end_ms=end_ms)
        if inside.start_ms < inside.end_ms:
            gap = counted(file, facts, inside)
            if gap.rows != 0:
                gaps.append(gap)
    return gaps


def _between(last_id: int | None, next_id: int | None) -> int | None:
    """How many ids lie between two; None where one is unknown, or ids were reused."""
    if last_id is None or next_id is None or next_id <= last_id:
        # Binance has reused an id on the next day (ZILBTC, 2021-02-28/03-01).
        return None
    return next_id - last_id - 1


def _last_end(file: CacheFile, until_ms: int) -> int:
    """The end of the requested rows: for k-lines, of the last closed candle."""
    if file.series.interval is None:
        return min(until_ms, file.end_ms)
    opens = file.opens(until_ms)
    return next_open_ms(file.series.interval, opens[-1]) if opens else file.start_ms


def counted(file: CacheFile, facts: Facts, gap: Gap) -> Gap:
    """The gap, with the number of its rows where that is certain."""
    if file.dataset.key == "open_time":
        return replace(gap, rows=grid_rows(file, gap.start_ms, gap.end_ms))
    if gap.rows is not None or facts.first_ms is None:
        return gap
    # Funding: events that are due by the interval are certainly missing.
    is_tail = gap.start_ms > facts.first_ms
    pace_ms = facts.pace_ms if is_tail else facts.first_pace_ms
    if not pace_ms:
        return gap
    # The event just before the tail is stored, and is due in its hour.
    since_ms = gap.start_ms - _HOUR_MS + 1 if is_tail else gap.start_ms
    due = -(-gap.end_ms // pace_ms) - -(-since_ms // pace_ms)
    return replace(gap, rows=due)


def unexplained(file: CacheFile, gaps: Iterable[Gap], absences: Iterable[Absence]) -> list[Gap]:
    """The parts of the gaps that no proof explains."""
    return _without(file, gaps, [each for each in absences if each.is_proof])


# After which answers that are no proof the sources of a setting have no more to say; of the others
# the API may have the rows by the next run.
_LAST_WORDS = {"archive": ("archive", "only source"), "auto": ("not known",), "rest": ()}


def unasked(
    file: CacheFile,
    gaps: Iterable[Gap],
    absences: Iterable[Absence],
    source: Literal["auto", "archive", "rest"] = "archive",
) -> list[Gap]:
    """Those of the `unexplained` gaps about which *source* has not been asked in vain."""
    last = _LAST_WORDS[source]
    answers = [each for each in absences if each.is_proof or each.evidence in last]
    return _without(file, gaps, answers)


def _without(file: CacheFile, gaps: Iterable[Gap], absences: Sequence[Absence]) -> list[Gap]:
    """What is left of the gaps without the spans of *absences*."""
    left: list[Gap] = []
    for gap in gaps:
        answers = absences
        if gap.rows is not None:
            answers = [each for each in absences if evidence_of(each.evidence).explains_rows]
        left += _left_of(file, gap, answers)
    return left


def joined_edges(file: CacheFile, facts: Facts, until_ms: int, neighbours: Neighbours) -> list[Gap]:
    """The edges of a day of trades at which nothing is missing, since the ids continue."""
    if file.dataset.key != "id" or not facts.rows or neighbours == ALONE:
        return []
    left = {(gap.after_id, gap.before_id) for gap in gaps_in(file, facts, until_ms, neighbours)}
    alone = gaps_in(file, facts, until_ms)
    return [gap for gap in alone if (gap.after_id, gap.before_id) not in left]


def is_final(
    file: CacheFile,
    facts: Facts,
    absences: Iterable[Absence],
    until_ms: int,
    neighbours: Neighbours = ALONE,
) -> bool:
    """Whether the period is over by *until_ms*, and every missing row is explained finally."""
    settled = [each for each in absences if each.is_settled]
    gaps = gaps_in(file, facts, until_ms, neighbours)
    return until_ms >= file.grid_end_ms and not unexplained(file, gaps, settled)


def meets(gap: Gap, absence: Absence) -> bool:
    """Whether an answer concerns a part of a gap."""
    return absence.start_ms < gap.end_ms and gap.start_ms < absence.end_ms


def _left_of(file: CacheFile, gap: Gap, absences: Sequence[Absence]) -> list[Gap]:
    if gap.after_id is not None and gap.before_id is not None:
        after_id, before_id = gap.after_id, gap.before_id
        is_explained = any(
            each.after_id is not None
            and each.before_id is not None
            and each.after_id <= after_id
            and before_id <= each.before_id
            for each in absences
        )
        return [] if is_explained else [gap]
    parts = [gap]
    # An absence between two ids shares its milliseconds with stored rows.
    for absence in (each for each in absences if None in (each.after_id, each.before_id)):
        parts = [piece for part in parts for piece in _minus(part, absence)]
    if file.dataset.key == "open_time":
        parts = [replace(part, rows=grid_rows(file, part.start_ms, part.end_ms)) for part in parts]
    return [part for part in parts if part.rows != 0]


def _minus(gap: Gap, absence: Absence) -> list[Gap]:
    start_ms, end_ms = absence.start_ms, absence.end_ms
    if (gap.after_id, gap.before_id) != (absence.after_id, absence.before_id):
        # Its first and last millisecond are those of trades that may be missing now.
        start_ms += absence.after_id is not None
        end_ms -= absence.before_id is not None
    if end_ms <= gap.start_ms or gap.end_ms <= start_ms:
        return [gap]
    parts = replace(gap, end_ms=start_ms), replace(gap, start_ms=end_ms)
    return [part for part in parts if part.start_ms < part.end_ms]
