"""What of a cache is to go: decided from ages and sizes alone, before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ares_notebook.cache.pruned import PruneItem
from ares_notebook.market.periods import to_ms, utc
from ares_notebook.market.series import CacheFile, Series
from ares_notebook.quantities import size_in_words

__all__ = ["Found", "Limits", "Trace", "decided"]

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Trace:
    """A path as it was seen, by which a change is known."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """
    One thing that is in the cache.

    Parameters
    ----------
    file : CacheFile
        What it is, or of a damaged one, what it was.
    item : PruneItem
        As it stands in a report when it stays.
    old_since_ms : int
        From when its age counts: the end of its period, or when it was put aside.
    paths : tuple of Path
        All that it may consist of, in the order in which it is to be deleted.
    traces : tuple of Trace
        Those that are there, as they were seen.
    """

    file: CacheFile
    item: PruneItem
    old_since_ms: int
    paths: tuple[Path, ...] = ()
    traces: tuple[Trace, ...] = ()

    def going(self, why: str) -> Found:
        """The same, to be deleted."""
        return replace(self, item=replace(self.item, action="delete", reason=why))

    @property
    def goes(self) -> bool:
        """Whether it is to be deleted."""
        return self.item.action == "delete"


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What may stay.

    Parameters
    ----------
    keep_days : float, optional
        What is that old goes; None: nothing for its age.
    max_bytes : int, optional
        What does not fit goes; None: nothing for its size.
    """

    keep_days: float | None = None
    max_bytes: int | None = None


def decided(found: Iterable[Found], now: datetime, limits: Limits) -> list[Found]:
    """
    Say of each thing whether it goes, and why.

    Pure: touches no disk, and knows no hour but *now*.

    Parameters
    ----------
    found : iterable of Found
    now : datetime
        Aware UTC.
    limits : Limits

    Returns
    -------
    list of Found
        In the order in which they go: damaged files, then the oldest.

    Examples
    --------
    >>> from datetime import UTC
    >>> from ares_notebook.market.series import parse_file_name
    >>> file = parse_file_name("futures_BTCUSDT_2025-01.csv")
    >>> found = Found(file, PruneItem(file.name, "file", 900), file.period.end_ms)
    >>> now = datetime(2025, 3, 3, tzinfo=UTC)
    >>> decided([found], now, Limits(keep_days=30))[0].item.reason
    'its period ended on 2025-02-01, and 30 days are kept'
    >>> decided([found], now, Limits(keep_days=30.5))[0].item.action
    'keep'
    """
    row = sorted(found, key=_place)
    if limits.keep_days is not None:
        row = _by_age(row, to_ms(now), limits.keep_days)
    if limits.max_bytes is not None:
        row = _by_size(row, limits.max_bytes)
    return _left_alone(row)


def _place(found: Found) -> tuple[bool, int, int, str]:
    """Damaged files, then the oldest; of one age the largest, since the fewest go then."""
    item = found.item
    return item.what != "quarantined", found.old_since_ms, -item.bytes, item.file


def _by_age(row: Sequence[Found], now_ms: int, keep_days: float) -> list[Found]:
    last_ms = now_ms - keep_days * _DAY_MS
    return [
        each.going(f"{_since(each)}, and {_days(keep_days)} kept")
        if each.old_since_ms <= last_ms
        else each
        for each in row
    ]


def _by_size(row: Sequence[Found], max_bytes: int) -> list[Found]:
    left = sum(each.item.bytes for each in row if not each.goes)
    made = []
    for each in row:
        found = each
        if left > max_bytes and not each.goes and each.item.what != "receipt":
            found = each.going(f"{_rank(each)}, and {size_in_words(max_bytes)} are kept")
            left -= each.item.bytes
        made.append(found)
    return made


def _left_alone(row: Sequence[Found]) -> list[Found]:
    """
    Let receipts of empty periods go with what was before and after them.

    One that stayed would make the series begin with it, and the periods that went
    after it a hole.
    """
    ends: dict[Series, int] = {}
    for each in row:
        if each.goes and each.item.what == "file":
            ends[each.file.series] = max(each.old_since_ms, ends.get(each.file.series, 0))
    return [
        each.going("its series begins after it now")
        if each.item.what == "receipt"
        and not each.goes
        and each.old_since_ms <= ends.get(each.file.series, 0)
        else each
        for each in row
    ]


def _since(found: Found) -> str:
    did = "it was put aside" if found.item.what == "quarantined" else "its period ended"
    return f"{did} on {utc(found.old_since_ms):%Y-%m-%d}"


def _days(count: float) -> str:
    return "1 day is" if count == 1 else f"{count:,g} days are"


def _rank(found: Found) -> str:
    return "it is damaged" if found.item.what == "quarantined" else "it is among the oldest"
