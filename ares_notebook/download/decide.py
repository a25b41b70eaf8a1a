"""
Decide what is to be done with one cache file: pure, from what is there and what is wanted.

The rules, which `STATES` and `TABLE` hold as data:

1. A file is in the first state of `STATES` whose test holds.
2. Its rows count only in the states *stored* and *restorable*. In all others they prove nothing,
   and the file is fetched whole; what is there stays in its place until then.
3. Of what is wanted, what is missing is of one kind: *nothing*; *explained* by proof of the
   exchange; *unconfirmed* where no source that may be asked can prove more; *weaker* where an
   answer is there that is no proof; of a file whose rows count the *tail*, rows *inside*, or only
   its *edges*; of any other *all*.
4. `TABLE` has for each state and each kind the action and the reason.

``docs/states.md`` shows the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import unconfirmed_by
from ares_notebook.model.facts import Facts, Gap
from ares_notebook.model.files import CacheFile
from ares_notebook.model.gaps import evidence_of, unasked, unexplained
from ares_notebook.model.symbols import trade_share
from ares_notebook.model.time import DAY_MS, utc

Action = Literal["skip", "extend", "fetch"]
SourceName = Literal["monthly archive", "daily archive", "rest"]

State = Literal[
    "restorable",
    "stray",
    "damaged",
    "altered",
    "salvaged",
    "unverified",
    "stored",
    "deleted",
    "empty",
    "absent",
]
Missing = Literal["nothing", "explained", "unconfirmed", "weaker", "tail", "inside", "edges", "all"]
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
    # What is to be asked for; of a step in which nothing is done, what no source that is allowed has.
    gaps: tuple[Gap, ...] = ()
    # The ways to it, best first.
    sources: tuple[SourceName, ...] = ()
    # Estimates of what the first source will bring and cost.
    rows: int = 0
    bytes_received: int = 0
    bytes_stored: int = 0
    requests: int = 0
    # Size of the zip of its month, where its day is cut from that: a temporary file that days share.
    spool_bytes: int = 0
    # Whether what the exchange once said is asked for again.
    is_recheck: bool = False
    # Whether the edges of a day of trades are left alone until the days beside it are there: where
    # the ids run on, they are proven without a request.
    edges_wait: bool = False
    # Up to where an altered file is to get back the rows that it lacks, first of all. It counts
    # only if its bytes are then those of its receipt; else it is fetched whole.
    restore_until_ms: int | None = None


def _is_unverified(entry: CacheEntry) -> bool:
    """Whether no receipt tells where its bytes came from; old trades may prove themselves."""
    is_ours = entry.on_disk is None or entry.has_provenance
    return (entry.legacy or not is_ours) and not _proves_itself(entry)


def _proves_itself(entry: CacheEntry) -> bool:
    """Whether it is the original's, of trades: all of its day, by ids that run on."""
    facts, period = entry.facts, entry.file.period
    if not entry.legacy or facts.first_id is None or facts.gaps:
        return False
    if facts.first_ms is None or facts.last_ms is None:
        return False
    return period.start_ms <= facts.first_ms and facts.last_ms < period.end_ms


def _lacks_only_rows(entry: CacheEntry) -> bool:
    """Whether the rows that an altered file lacks may make it again what its receipt tells."""
    if not entry.is_restorable:
        return False
    return bool(replace(entry, is_altered=False).unexplained(_recorded_end_ms(entry)))


# In this order: what is true first names the state.
STATES: dict[State, Callable[[CacheEntry], bool]] = {
    "restorable": _lacks_only_rows,
    "stray": lambda entry: entry.is_stray,
    "damaged": lambda entry: entry.problem is not None,
    "altered": lambda entry: entry.is_altered,
    "salvaged": lambda entry: entry.is_salvaged,
    "unverified": _is_unverified,
    "stored": lambda entry: bool(entry.facts.rows),
    "deleted": lambda entry: bool(entry.recorded_rows),
    "empty": lambda entry: bool(entry.absences),
    "absent": lambda _: True,
}
COUNTED: frozenset[State] = frozenset({"restorable", "stored"})
_REPLACED: frozenset[State] = frozenset({"stray", "damaged", "altered", "salvaged", "unverified"})

_WEAKER = "some of it is unconfirmed; the exchange is asked once more"
_UNCONFIRMED = "unconfirmed: the archive has nothing more, and no other source may be asked"
_NO_ROWS: dict[Missing, tuple[Action, str]] = {
    "nothing": ("skip", "nothing is due yet: no file"),
    "explained": ("skip", "{reasons}: no file"),
    "unconfirmed": ("skip", _UNCONFIRMED),
}
_ROWS: dict[Missing, tuple[Action, str]] = {
    "nothing": ("skip", "complete"),
    "explained": ("skip", "complete but for what the exchange does not have"),
    "unconfirmed": ("skip", _UNCONFIRMED),
    "weaker": ("extend", _WEAKER),
    "tail": ("extend", "goes on from {tail:%Y-%m-%d %H:%M}"),
    "inside": ("extend", "rows missing inside: {rows:,}, gaps: {gaps}"),
    "edges": ("extend", "the exchange has not been heard about its edges"),
}


def _whole(reason: str) -> dict[Missing, tuple[Action, str]]:
    return {**_NO_ROWS, "weaker": ("fetch", reason), "all": ("fetch", reason)}


_STRAY: tuple[Action, str] = ("fetch", "no row can be there; put aside")
_DAMAGED: tuple[Action, str] = ("fetch", "damaged; put aside, and no row is due in its place")
_SHORT: tuple[Missing, ...] = ("weaker", "tail", "inside", "edges")
# A pair that is not here cannot be: where nobody was asked, nothing is explained.
TABLE: dict[State, dict[Missing, tuple[Action, str]]] = {
    "restorable": {kind: _ROWS[kind] for kind in _SHORT},
    "stray": {"nothing": _STRAY, "explained": _STRAY},
    "damaged": {
        **_whole("damaged; put aside and replaced by a whole one"),
        **dict.fromkeys(_NO_ROWS, _DAMAGED),
    },
    "altered": _whole("its bytes are not those of its receipt; replaced by a whole one"),
    "salvaged": _whole("what was good in a damaged file; replaced by a whole one"),
    "unverified": _whole("no receipt tells where it came from; replaced by a whole one"),
    "stored": _ROWS,
    "deleted": _whole("deleted; fetched again"),
    "empty": {**_whole("empty so far, and not looked at to its end"), "weaker": ("fetch", _WEAKER)},
    "absent": {"nothing": _NO_ROWS["nothing"], "all": ("fetch", "not downloaded")},
}


def decide(entry: CacheEntry, until_ms: int, source: Literal["auto", "archive", "rest"]) -> Step:
    """Decide about one file: look its state and what is missing up in `TABLE`."""
    file = entry.file
    if source == "auto" and not file.dataset.has_rest:
        source = "archive"
    entry = _lasting(entry, source)
    until_ms = min(until_ms, file.grid_end_ms)
    restore_until_ms = None
    state = next(state for state, holds in STATES.items() if holds(entry))
    if state == "restorable":
        entry, restore_until_ms = replace(entry, is_altered=False), _recorded_end_ms(entry)
    elif state in _REPLACED and entry.end_ms is not None:
        # What takes its place reaches at least as far.
        until_ms = max(until_ms, min(entry.end_ms, file.grid_end_ms))
    counted = entry if state in COUNTED else replace(entry, facts=Facts())
    gaps = counted.gaps(restore_until_ms or until_ms)
    # What a file lost that the exchange once had is asked for whatever was answered since.
    left = unasked(file, gaps, entry.absences, "rest" if state == "restorable" else source)
    action, reason = TABLE[state][_missing(counted, gaps, left)]
    if left and source == "rest" and not file.dataset.has_rest:
        reason, entry = file.dataset.archive_alone, replace(entry, sources=())
        return Step(file, "skip", reason, until_ms, entry, tuple(left))
    if action == "skip":
        # Where its rows came from is not needed, and a quarter of a large plan's memory.
        return Step(
            file, action, _filled(reason, counted, left), until_ms, replace(entry, sources=())
        )
    step = Step(file, action, _filled(reason, counted, left), until_ms, entry, tuple(left))
    if restore_until_ms is not None:
        step = replace(
            step, until_ms=max(until_ms, restore_until_ms), restore_until_ms=restore_until_ms
        )
    return _estimated(replace(step, sources=_sources(step, source))) if left else step


def _lasting(entry: CacheEntry, source: str) -> CacheEntry:
    """The entry with the answers that need not be asked for again."""
    lasting = tuple(
        each
        for each in entry.absences
        if each.is_settled and not (each.is_alone and source == "auto")
    )
    return entry if len(lasting) == len(entry.absences) else replace(entry, absences=lasting)


def _recorded_end_ms(entry: CacheEntry) -> int:
    """Where the rows ended that the receipt knew."""
    return min(entry.recorded_end_ms or 0, entry.file.grid_end_ms)


def _missing(counted: CacheEntry, gaps: Sequence[Gap], left: Sequence[Gap]) -> Missing:
    """Of what kind the gaps are that are *left* of all *gaps*."""
    has_rows = bool(counted.facts.rows)
    if not left:
        if unexplained(counted.file, gaps, counted.absences):
            return "unconfirmed"
        is_explained = any(gap.rows for gap in gaps) if has_rows else bool(gaps)
        return "explained" if is_explained else "nothing"
    if not has_rows:
        return "weaker" if any(not each.is_proof for each in counted.absences) else "all"
    if any(unconfirmed_by(counted, gap) for gap in left):
        return "weaker"
    if len(left) == 1 and left[0].start_ms == counted.facts.covered_until_ms:
        return "tail"
    return "inside" if any(gap.rows for gap in left) else "edges"


def _filled(reason: str, counted: CacheEntry, left: Sequence[Gap]) -> str:
    """The reason with its numbers, where it has any."""
    if "{" not in reason:
        return reason
    proofs = {evidence_of(each.evidence).reason for each in counted.absences if each.is_proof}
    inside = [gap.rows for gap in left if gap.rows]
    tail = utc(counted.facts.covered_until_ms or 0)
    return reason.format(
        reasons=" and ".join(sorted(proofs)), tail=tail, rows=sum(inside), gaps=len(inside)
    )


def _sources(step: Step, allowed: str) -> tuple[SourceName, ...]:
    """The sources of a step's rows that are allowed by the setting, best first."""
    if allowed == "rest":
        return ("rest",)
    cuts = step.file.series.archive_cuts
    over = step.until_ms >= step.file.period.end_ms
    sources: list[SourceName] = []
    # Gaps, and months of which not all is wanted, come over REST or by days; where neither can be, by the month.
    is_only = allowed == "archive" and "day" not in cuts and (over or bool(step.gaps))
    months = is_only or (step.action == "fetch" and over)
    if months and step.file.dataset.cut == "month" and "month" in cuts:
        sources.append("monthly archive")
    if "day" in cuts and (sources or allowed == "archive" or _days_are_cheaper(step, over=over)):
        sources.append("daily archive")
    sources.append("rest")
    return tuple(each for each in sources if allowed == "auto" or each != "rest")


def source_instead(file: CacheFile, source: SourceName) -> tuple[SourceName, ...]:
    """What is asked next where *source* has not published *file*: for a day, the zip of its month."""
    has_spare = source == "daily archive" and file.dataset.archive_spare_cut == "month"
    return ("monthly archive",) if has_spare else ()


def _days_are_cheaper(step: Step, *, over: bool) -> bool:
    """Whether zips of days bring what is missing in fewer requests than REST."""
    pages = sum(
        math.ceil(_rows_in(step.file, gap) / step.file.dataset.rest_rows) for gap in step.gaps
    )
    if step.file.dataset.cut == "day":
        # A day that came from a zip has all that the zip has.
        known = any(source.road.endswith("archive") for source in step.entry.sources)
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
    share = trade_share(file.series.symbol) if file.dataset.key == "id" else 1.0
    return math.ceil((gap.end_ms - gap.start_ms) / DAY_MS * file.dataset.rows_per_day * share)


def _estimated(step: Step) -> Step:
    dataset = step.file.dataset
    rows = sum(_rows_in(step.file, gap) for gap in step.gaps)
    received = round(rows * dataset.stored_row_bytes)
    if step.sources[:1] in ((), ("rest",)):
        requests = sum(
            max(1, math.ceil(_rows_in(step.file, gap) / dataset.rest_rows)) for gap in step.gaps
        )
    else:
        days = sum(whole_days(gap) for gap in step.gaps)
        zips = 1 if step.sources[0] == "monthly archive" else max(1, days)
        requests, received = _REQUESTS_PER_ZIP * zips, round(rows * dataset.zipped_row_bytes)
    stored = round(rows * dataset.stored_row_bytes)
    return replace(step, rows=rows, bytes_received=received, bytes_stored=stored, requests=requests)
