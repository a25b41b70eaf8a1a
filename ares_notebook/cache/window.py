"""What a window of one series lacks, file by file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ares_notebook.cache.have import Have
from ares_notebook.market.periods import utc

__all__ = ["Spans", "common_spans", "missing_spans"]

Spans = list[tuple[datetime, datetime]]


def missing_spans(haves: Iterable[Have], start_ms: int, end_ms: int) -> Spans:
    """
    Where in ``[start_ms, end_ms)`` rows are missing that are not proven absent.

    Parameters
    ----------
    haves : iterable of Have
        What is there, for each file of the window, in order.
    start_ms, end_ms : int

    Returns
    -------
    list of (start, end)
        Aware UTC, half-open; neighbours are joined.
    """
    spans: list[tuple[int, int]] = []
    for have in haves:
        for hole in have.unexplained(end_ms):
            span = (max(hole.start_ms, start_ms), min(hole.end_ms, end_ms))
            if span[0] < span[1]:
                spans.append(span)
    return [(utc(start), utc(end)) for start, end in _joined(spans)]


def common_spans(one: Spans, other: Spans) -> Spans:
    """
    What lies in a span of both, each in order of time.

    Examples
    --------
    >>> common_spans([(utc(0), utc(5000))], [(utc(1000), utc(2000)), (utc(4000), utc(9000))]) == [
    ...     (utc(1000), utc(2000)), (utc(4000), utc(5000))]
    True
    """
    both: Spans = []
    rest = iter(other)
    here = next(rest, None)
    for start, end in one:
        while here is not None and here[1] <= start:
            here = next(rest, None)
        while here is not None and here[0] < end:
            both.append((max(start, here[0]), min(end, here[1])))
            if here[1] > end:
                break
            here = next(rest, None)
    return both


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
