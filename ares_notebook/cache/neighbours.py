"""
From one day of trades to the next: do the ids run on over midnight?

A day's file proves its inside by its ids. That nothing is missing at its edges is
proven by the files on either side; so a day that was published cut short shows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ares_notebook.cache.entry import Have
from ares_notebook.cache.store import Store
from ares_notebook.model.facts import Beside
from ares_notebook.model.files import CacheFile, parse_file_name

__all__ = ["haves_of", "joined"]


def haves_of(store: Store, files: Sequence[CacheFile]) -> list[Have]:
    """
    What the cache holds of *files*, each with the trades on either side.

    Parameters
    ----------
    store : Store
    files : sequence of CacheFile
        Of one series, in order of time; files between them may be left out.

    Returns
    -------
    list of Have
        One a file, in the same order.
    """
    haves = [store.have(file) for file in files]
    if not haves or haves[0].file.dataset.key != "id":
        return haves
    first, last = (_nearest(store, haves[at].file, side) for at, side in ((0, -1), (-1, 1)))
    return joined(haves, first, last)


def joined(
    haves: Sequence[Have], first: Have | None = None, last: Have | None = None
) -> list[Have]:
    """
    The same files of trades, each with what lies beside it.

    Parameters
    ----------
    haves : sequence of Have
        Of one series, in order of time.
    first, last : Have, optional
        The nearest before and after them.
    """
    row = [each for each in (first, *haves, last) if each is not None]
    begin = 0 if first is None else 1
    before = list(_ids(row, forwards=True))[begin:]
    after = list(_ids(row[::-1], forwards=False))[::-1][begin:]
    # The one beyond the last file is looked at, and not asked for.
    sides = zip(haves, before, after, strict=False)
    return [replace(have, beside=_beside(have, *ids)) for have, *ids in sides]


# The id beside a file, whether all that lies between is there or known to be empty, and
# whether a receipt tells where the file of that id came from.
_Seen = tuple[int | None, bool, bool]


def _ids(row: Iterable[Have], *, forwards: bool) -> Iterable[_Seen]:
    """For each file, the id that was met last on the way to it."""
    seen, is_sure, is_witnessed = None, True, True
    edge = None
    for have in row:
        file = have.file
        start_ms, end_ms = (
            (file.start_ms, file.end_ms) if forwards else (file.end_ms, file.start_ms)
        )
        is_sure = is_sure and edge in (None, start_ms)
        edge = end_ms
        yield seen, is_sure, is_witnessed
        own = have.proven.last_id if forwards else have.proven.first_id
        if own is not None:
            seen, is_sure, is_witnessed = own, True, have.is_witnessed
        else:
            is_sure = is_sure and have.final


def _beside(have: Have, before: _Seen, after: _Seen) -> Beside:
    """The ids on either side, where they say something of this file."""
    (last_id, sure_before, witnessed_before), (first_id, sure_after, witnessed_after) = (
        before,
        after,
    )
    own_first, own_last = have.proven.first_id, have.proven.last_id
    if own_first is None:
        runs_on = last_id is not None and first_id == last_id + 1
        sure_before = sure_after = runs_on or (sure_before and sure_after)
    else:
        # Where the ids run on, nothing can have been between, looked at or not.
        sure_before = sure_before or (last_id is not None and own_first == last_id + 1)
        sure_after = sure_after or (own_last is not None and first_id == own_last + 1)
    if have.is_witnessed:
        # What nobody vouches for proves nothing of what a receipt does.
        sure_before, sure_after = sure_before and witnessed_before, sure_after and witnessed_after
    return Beside(last_id if sure_before else None, first_id if sure_after else None)


def _nearest(store: Store, file: CacheFile, side: int) -> Have | None:
    """The nearest file that is there before (-1) or after (1) *file*, whatever lies between."""
    stamps = store.stamps_of(file.series.stem)
    at = bisect_left(stamps, file.stamp) - 1 if side < 0 else bisect_right(stamps, file.stamp)
    if not 0 <= at < len(stamps):
        return None
    found = parse_file_name(f"{file.series.stem}_{stamps[at]}.csv")
    return store.have(found) if found else None
