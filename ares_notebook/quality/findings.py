"""Findings of a validation, the completeness of series, and the thresholds for both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ares_notebook.formatting import many
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.model.rows import Table
from ares_notebook.model.time import utc
from ares_notebook.settings import Settings

Severity = Literal["error", "warning", "information"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "information")
"""From the worst down: the data is wrong, is unusual, is worth knowing about."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found in one file."""

    # The cache file; the symbol, where several files are compared.
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
    """One row as an example: its timestamp, and the *shown* cells or all numbers."""
    [row] = table.slice(at, 1).to_pylist()
    digits = "milliseconds" if dataset.stamp_digits == 3 else "auto"  # noqa: PLR2004 - see Dataset
    stamp = moment_in_words(row["timestamp"], digits)
    names = shown or [column.name for column in dataset.columns if column.kind != "time"]
    return " ".join(
        [stamp, *(f"{name}={row[name]}" for name in names if row.get(name) is not None)]
    )


def moment_in_words(stamp_us: int, digits: str = "auto") -> str:
    """A timestamp as text, in UTC."""
    moment = utc(0) + timedelta(microseconds=stamp_us)
    return moment.replace(tzinfo=None).isoformat(" ", timespec=digits)


def first_lines(lines: Sequence[str], most: int, more_in: str) -> list[str]:
    """At most that many lines of a report, and how many more there are in *more_in*."""
    more = len(lines) - most
    return [*lines[:most], *([f"… and {more} more; see {more_in}"] if more > 0 else [])]


GAPS = "holes"
"""The check whose errors count for the completeness, not for ``max_errors``."""
NEVER_DOWNLOADED = "never downloaded"
"""The check that finds files, or datasets that were named, of which the cache has nothing."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much of a series is there."""

    # As its files are called, such as ``klines_BTCUSDT_1h``.
    series: str
    # How many rows are there.
    rows: int
    # How many are not, and could be had; what the exchange has confirmed as absent is not counted.
    # Estimated from the rows per time that are there, where they cannot be counted: days of trades that
    # were never downloaded.
    missing: int
    # The number of gaps of unknown size; each counts as one missing row at least.
    unproven: int = 0

    @property
    def words(self) -> str:
        """What is missing, in words; the size of an unproven gap is not known."""
        rows = "1 row is" if self.missing == 1 else f"{self.missing:,} rows are"
        missing = [f"{rows} missing"] if self.missing > self.unproven else []
        unproven = [f"{many(self.unproven, 'gap')} of unknown size not proven"]
        return " and ".join(missing + (unproven if self.unproven else []))

    @property
    def share(self) -> float:
        """Rows that are there, of those that should be; 1 where none should."""
        expected = self.rows + self.missing
        return self.rows / expected if expected else 1.0


class MissingRows:
    """Sums up, file by file, how many rows of each series are there and how many are missing."""

    def __init__(self) -> None:
        self._files: dict[Series, list[tuple[CacheFile, int, Sequence[Gap]]]] = {}

    def add(self, file: CacheFile, rows: int, gaps: Sequence[Gap]) -> None:
        """Add one file."""
        self._files.setdefault(file.series, []).append((file, rows, gaps))

    def completeness(self) -> tuple[Completeness, ...]:
        """One value a series, in the order in which they were added."""
        return tuple(_completeness(series, files) for series, files in self._files.items())


def _completeness(
    series: Series, files: Sequence[tuple[CacheFile, int, Sequence[Gap]]]
) -> Completeness:
    rows = missing = rows_ms = 0
    uncounted_ms: list[int] = []
    for file, count, gaps in files:
        gaps_ms = sum(gap.end_ms - gap.start_ms for gap in gaps)
        rows += count
        rows_ms += max(0, file.period.end_ms - file.period.start_ms - gaps_ms)
        missing += sum(gap.rows or 0 for gap in gaps)
        uncounted_ms += [gap.end_ms - gap.start_ms for gap in gaps if gap.rows is None]
    rate = rows / rows_ms if rows_ms else 0.0
    # A gap of unknown size may hide a row, so it counts as one at least.
    estimated = sum(max(1, round(length_ms * rate)) for length_ms in uncounted_ms)
    return Completeness(series.stem, rows, missing + estimated, len(uncounted_ms))


def shortfalls(
    findings: Sequence[Finding], completeness: Iterable[Completeness], settings: Settings
) -> tuple[str, ...]:
    """Which thresholds of the settings are missed: a sentence each, none where all are met."""
    least = settings.min_complete_share
    incomplete = (
        f"{each.series} is complete to {_percent(each.share)}, and min_complete_share asks for "
        f"{_percent(least)}: {each.words}"
        for each in completeness
        if each.share < least
    )
    return (*incomplete, *_too_many(findings, settings))


def _percent(share: float) -> str:
    # Rounded down, so that one missing row of a million does not become 100 %.
    return f"{int(share * 100_000) / 1_000:g} %"


def _too_many(findings: Sequence[Finding], settings: Settings) -> Iterator[str]:
    errors = [each for each in findings if each.severity == "error" and each.check != GAPS]
    warnings = [each for each in findings if each.severity == "warning"]
    for name, found, most in (
        ("error", errors, settings.max_errors),
        ("warning", warnings, settings.max_warnings),
    ):
        if most is not None and len(found) > most:
            count = many(len(found), name)
            yield f"{count}, and max_{name}s allows {most:,}: the first is {found[0]}"
