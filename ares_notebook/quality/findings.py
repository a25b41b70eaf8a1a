"""Findings of a validation, and how they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ares_notebook.cache.gap_reasons import (
    AFTER_DELISTING,
    BEFORE_LISTING,
    BETWEEN_LISTINGS,
    COMPLETE,
    CONFIRMED,
    CORRUPT,
    FAILED,
    NOT_DOWNLOADED,
    NOT_PUBLISHED,
    QUIET,
    UNCONFIRMED,
)
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.rows import Table
from ares_notebook.model.time import utc

__all__ = [
    "SEVERITIES",
    "STYLES",
    "Finding",
    "Severity",
    "Style",
    "moment_in_words",
    "row_in_words",
]

Severity = Literal["error", "warning", "information"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "information")
"""From the worst down: the data is wrong, is unusual, is worth knowing about."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has to say of one file."""

    # The cache file; where several are compared, what they are of.
    file: str
    # The check's name.
    check: str
    # An error is data that is wrong, missing or damaged; a warning is data that is unusual, but
    # such as the exchange has served; information is worth knowing.
    severity: Severity
    # How many rows, or gaps, it concerns; 1 for a file as a whole.
    count: int
    # The first of them, in words.
    example: str

    def __str__(self) -> str:
        return f"{self.severity} {self.file}: {self.check} ({self.count:,}): {self.example}"


def row_in_words(dataset: Dataset, table: Table, at: int, shown: Sequence[str]) -> str:
    """One row as an example: its stamp, and the cells that matter."""
    [row] = table.slice(at, 1).to_pylist()
    digits = "milliseconds" if dataset.stamp_digits == 3 else "auto"  # noqa: PLR2004 - see Dataset
    stamp = moment_in_words(row["timestamp"], digits)
    names = shown or [column.name for column in dataset.columns if column.kind != "time"]
    return " ".join(
        [stamp, *(f"{name}={row[name]}" for name in names if row.get(name) is not None)]
    )


def moment_in_words(stamp_us: int, digits: str = "auto") -> str:
    """A stamp as findings write it, in UTC."""
    moment = utc(0) + timedelta(microseconds=stamp_us)
    return moment.replace(tzinfo=None).isoformat(" ", timespec=digits)


Hatch = Literal["", "/", "\\", "x", "-", "."]


@dataclass(frozen=True, slots=True)
class Style:
    r"""How something is drawn."""

    # Of its ground, ``#rrggbb``.
    colour: str
    hatch: Hatch = ""
    # Of the hatch.
    ink: str = "#7a7a7a"


STYLES = {
    COMPLETE: Style("#0b62a4"),
    CONFIRMED: Style("#56b0e4"),
    BEFORE_LISTING: Style("#dcdcdc"),
    AFTER_DELISTING: Style("#b9b9b9", "\\", "#5c5c5c"),
    BETWEEN_LISTINGS: Style("#cbcbcb", "-", "#6b6b6b"),
    UNCONFIRMED: Style("#e4d4fb", ".", "#4a2a6b"),
    NOT_DOWNLOADED: Style("#f5e663", "/", "#8a6d00"),
    NOT_PUBLISHED: Style("#d58ab4", ".", "#5e1f45"),
    FAILED: Style("#d95f02", "x", "#ffe3cc"),
    CORRUPT: Style("#4a2040", "\\", "#f3d9ee"),
    QUIET: Style("#2aa884", "-", "#d9f5ec"),
}
"""The look of each state of a file and each reason of a gap."""
