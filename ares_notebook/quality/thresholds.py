"""Quality thresholds: how much must be there, and how many findings are borne."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ares_notebook.model.facts import Gap
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.quality.findings import Finding
from ares_notebook.settings import Settings

__all__ = ["Completeness", "MissingRows", "shortfalls"]

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
