"""
From one day of trades to the next: do the ids run on over midnight?

A day's file proves its inside by its ids. That nothing is missing at its edges is
proven by the files on either side; so a day that was published cut short shows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.store import Store
from ares_notebook.model.facts import Neighbours
from ares_notebook.model.files import CacheFile, parse_file_name

__all__ = ["entries_of", "joined"]


def entries_of(store: Store, files: Sequence[CacheFile]) -> list[CacheEntry]:
    """What the cache holds of *files*, each with the trades on either side."""
    entries = [store.entry(file) for file in files]
    if not entries or entries[0].file.dataset.key != "id":
        return entries
    first, last = (_nearest(store, entries[at].file, side) for at, side in ((0, -1), (-1, 1)))
    return joined(entries, first, last)


def joined(
    entries: Sequence[CacheEntry], first: CacheEntry | None = None, last: CacheEntry | None = None
) -> list[CacheEntry]:
    """The same files of trades, each with what lies beside it."""
    row = [each for each in (first, *entries, last) if each is not None]
    begin = 0 if first is None else 1
    before = list(_ids(row, forwards=True))[begin:]
    after = list(_ids(row[::-1], forwards=False))[::-1][begin:]
    # The one beyond the last file is looked at, and not asked for.
    sides = zip(entries, before, after, strict=False)
    return [replace(entry, neighbours=_neighbours(entry, *ids)) for entry, *ids in sides]


# The id beside a file, whether all that lies between is there or known to be empty, and
# whether a receipt tells where the file of that id came from.
_Seen = tuple[int | None, bool, bool]


def _ids(row: Iterable[CacheEntry], *, forwards: bool) -> Iterable[_Seen]:
    """For each file, the id that was met last on the way to it."""
    seen, is_sure, has_provenance = None, True, True
    edge = None
    for entry in row:
        file = entry.file
        start_ms, end_ms = (
            (file.start_ms, file.end_ms) if forwards else (file.end_ms, file.start_ms)
        )
        is_sure = is_sure and edge in (None, start_ms)
        edge = end_ms
        yield seen, is_sure, has_provenance
        own = entry.proven.last_id if forwards else entry.proven.first_id
        if own is not None:
            seen, is_sure, has_provenance = own, True, entry.has_provenance
        else:
            is_sure = is_sure and entry.final


def _neighbours(entry: CacheEntry, before: _Seen, after: _Seen) -> Neighbours:
    """The ids on either side, where they say something of this file."""
    (last_id, sure_before, witnessed_before), (first_id, sure_after, witnessed_after) = (
        before,
        after,
    )
    own_first, own_last = entry.proven.first_id, entry.proven.last_id
    if own_first is None:
        runs_on = last_id is not None and first_id == last_id + 1
        sure_before = sure_after = runs_on or (sure_before and sure_after)
    else:
        # Where the ids run on, nothing can have been between, looked at or not.
        sure_before = sure_before or (last_id is not None and own_first == last_id + 1)
        sure_after = sure_after or (own_last is not None and first_id == own_last + 1)
    if entry.has_provenance:
        # What nobody vouches for proves nothing of what a receipt does.
        sure_before, sure_after = sure_before and witnessed_before, sure_after and witnessed_after
    return Neighbours(last_id if sure_before else None, first_id if sure_after else None)


def _nearest(store: Store, file: CacheFile, side: int) -> CacheEntry | None:
    """The nearest file that is there before (-1) or after (1) *file*, whatever lies between."""
    stamps = store.stamps_of(file.series.stem)
    at = bisect_left(stamps, file.stamp) - 1 if side < 0 else bisect_right(stamps, file.stamp)
    if not 0 <= at < len(stamps):
        return None
    found = parse_file_name(f"{file.series.stem}_{stamps[at]}.csv")
    return store.entry(found) if found else None
