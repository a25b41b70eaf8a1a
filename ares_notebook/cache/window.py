"""What a window of one series lacks, file by file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ares_notebook.market.facts import Absence, Facts
from ares_notebook.market.holes import find_holes, unexplained
from ares_notebook.market.periods import utc
from ares_notebook.market.series import CacheFile

__all__ = ["missing_spans"]


def missing_spans(
    facts: Mapping[CacheFile, Facts],
    absences: Mapping[CacheFile, Sequence[Absence]],
    start_ms: int,
    end_ms: int,
) -> list[tuple[datetime, datetime]]:
    """
    Where in ``[start_ms, end_ms)`` rows are missing that the exchange has not said it lacks.

    Parameters
    ----------
    facts : mapping of CacheFile to Facts
        What is there, for each file of the window, in order.
    absences : mapping of CacheFile to sequence of Absence
        What the exchange has answered about them.
    start_ms, end_ms : int

    Returns
    -------
    list of (start, end)
        Aware UTC, half-open; neighbours are joined.
    """
    spans: list[tuple[int, int]] = []
    for file, known in facts.items():
        holes = find_holes(file, known, end_ms)
        for hole in unexplained(file, holes, absences.get(file, ()), by_rest=True):
            span = (max(hole.start_ms, start_ms), min(hole.end_ms, end_ms))
            if span[0] < span[1]:
                spans.append(span)
    return [(utc(start), utc(end)) for start, end in _joined(spans)]


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
