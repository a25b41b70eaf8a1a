"""Findings of a validation, their styles, and the thresholds that they are held against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.model.rows import Table
from ares_notebook.model.time import utc
from ares_notebook.settings import Settings

__all__ = [
    "SEVERITIES",
    "STYLES",
    "Completeness",
    "Finding",
    "MissingRows",
    "Severity",
    "Style",
    "moment_in_words",
    "row_in_words",
    "shortfalls",
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


GAPS = "holes"
"""The check whose errors are the affair of the share that is there."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much of a series is there."""

    # As its files are called, such as ``klines_BTCUSDT_1h``.
    series: str
    # How many are there.
    rows: int
    # How many are not, and could be had; what the exchange has confirmed as absent is not counted.
    # Estimated, by the pace of the rows that are there, where nobody can count: days of trades that
    # were never seen.
    missing: int
    # Gaps of which nobody knows how many rows they hide, if any; each counts as one at least.
    unproven: int = 0

    @property
    def words(self) -> str:
        """What lacks, in words; at a gap of unknown size nobody can count."""
        rows = "1 row is" if self.missing == 1 else f"{self.missing:,} rows are"
        missing = [f"{rows} missing"] if self.missing > self.unproven else []
        gaps = "1 gap" if self.unproven == 1 else f"{self.unproven:,} gaps"
        unproven = [f"{gaps} of unknown size not proven"] if self.unproven else []
        return " and ".join(missing + unproven)

    @property
    def share(self) -> float:
        """Rows that are there, of those that should be; 1 where none should."""
        expected = self.rows + self.missing
        return self.rows / expected if expected else 1.0


@dataclass(slots=True)
class _Sum:
    """A series while it is summed up; times in milliseconds."""

    rows: int = 0
    rows_ms: int = 0
    missing: int = 0
    uncounted_ms: list[int] = field(default_factory=list)

    def completed(self, series: Series) -> Completeness:
        pace = self.rows / self.rows_ms if self.rows_ms else 0.0
        # What nobody has asked about may hide a row, so it counts as one at least.
        guessed = sum(max(1, round(length * pace)) for length in self.uncounted_ms)
        gaps = len(self.uncounted_ms)
        return Completeness(series.stem, self.rows, self.missing + guessed, gaps)


class MissingRows:
    """Sums up, file by file, what is there of each series and what lacks."""

    def __init__(self) -> None:
        self._sums: dict[Series, _Sum] = {}

    def add(self, file: CacheFile, rows: int, gaps: Sequence[Gap]) -> None:
        """One file more."""
        made = self._sums.setdefault(file.series, _Sum())
        lengths = [gap.end_ms - gap.start_ms for gap in gaps]
        made.rows += rows
        made.rows_ms += max(0, file.period.end_ms - file.period.start_ms - sum(lengths))
        made.missing += sum(gap.rows or 0 for gap in gaps)
        made.uncounted_ms += [
            length for gap, length in zip(gaps, lengths, strict=True) if gap.rows is None
        ]

    def completeness(self) -> tuple[Completeness, ...]:
        """A value a series, in the order in which they came."""
        return tuple(made.completed(series) for series, made in self._sums.items())


def shortfalls(
    findings: Iterable[Finding], completeness: Iterable[Completeness], settings: Settings
) -> tuple[str, ...]:
    """Which thresholds of the settings are missed: a sentence each, none where all are met."""
    return (*_short(completeness, settings.min_complete_share), *_too_many(findings, settings))


def _short(completeness: Iterable[Completeness], least: float) -> Iterator[str]:
    for each in completeness:
        if each.share < least:
            yield (
                f"{each.series} is complete to {_percent(each.share)}, and min_complete_share asks for "
                f"{_percent(least)}: {each.words}"
            )


def _percent(share: float) -> str:
    # Rounded down, so that what lacks a row of a million is not told as all.
    return f"{int(share * 100_000) / 1_000:g} %"


def _too_many(findings: Iterable[Finding], settings: Settings) -> Iterator[str]:
    found = list(findings)
    errors = [each for each in found if each.severity == "error" and each.check != GAPS]
    warnings = [each for each in found if each.severity == "warning"]
    for name, some, most in (
        ("errors", errors, settings.max_errors),
        ("warnings", warnings, settings.max_warnings),
    ):
        if most is not None and len(some) > most:
            word = name if len(some) > 1 else name.removesuffix("s")
            yield f"{len(some):,} {word}, and max_{name} bears {most:,}: the first is {some[0]}"
