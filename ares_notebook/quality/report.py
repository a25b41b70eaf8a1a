"""What a validation found: a table, two faces, and an exception for pipelines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ares_notebook.cache.disk import cannot_access, put_text
from ares_notebook.cache.history import Ending, RunOutcome
from ares_notebook.errors import PoorQuality
from ares_notebook.formatting import block, line, many, table
from ares_notebook.quality.findings import SEVERITIES, Completeness, Finding
from ares_notebook.quality.fingerprint import Fingerprint

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QualityReport"]

_MOST_LINES = 12
_MOST_NAMED = 3
_UNVERIFIED = ("receipt", "legacy format")
_COLUMNS = ("file", "check", "severity", "count", "example")


@dataclass(frozen=True, slots=True, eq=False)
class QualityReport:
    """
    What a validation found.

    True when there is no error.

    Parameters
    ----------
    findings : tuple of Finding
        In order of the files.
    files, rows : int
        How many were looked at.
    coverage : pandas.DataFrame
        A row a file; see `coverage`.
    gaps : pandas.DataFrame
        A row a gap; see `find_gaps`.
    sources : pandas.DataFrame
        Where the bytes came from, as the receipts tell: ``file, road, url, sha256, at``.
    reconciliation : pandas.DataFrame
        What adds up with what: ``symbol, what, compared, equal, missing,
        first_difference``.
    fingerprints : tuple of Fingerprint
        One a series that can be read.
    market : str
        Whose data it is.
    made_at : datetime
        Aware UTC.
    completeness : tuple of Completeness
        How much is there, a value a series.
    shortfalls : tuple of str
        The quality thresholds of the settings that are missed, a sentence each.

    Examples
    --------
    `validate_cache` makes it; in a pipeline it is asked one thing:

    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run, validate_cache
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     validate_cache(settings=settings).raise_for_errors()
    """

    findings: tuple[Finding, ...]
    files: int
    rows: int
    coverage: pd.DataFrame = field(repr=False)
    gaps: pd.DataFrame = field(repr=False)
    sources: pd.DataFrame = field(repr=False)
    reconciliation: pd.DataFrame = field(repr=False)
    fingerprints: tuple[Fingerprint, ...] = field(repr=False)
    market: str
    made_at: datetime
    completeness: tuple[Completeness, ...] = field(repr=False)
    shortfalls: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.ok

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings of data that is wrong, missing or damaged."""
        return tuple(each for each in self.findings if each.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings of data that is unusual."""
        return tuple(each for each in self.findings if each.severity == "warning")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def raise_for_errors(self) -> None:
        """
        Raise if there is an error; do nothing otherwise.

        Raises
        ------
        PoorQuality
            It names the first errors and the remedy, and carries this report.
        """
        if self.ok:
            return
        msg = f"{self._named_errors()}. {self._remedy()}"
        raise PoorQuality(msg, self)

    def raise_below_thresholds(self) -> None:
        """
        Raise if a quality threshold of the settings is missed; do nothing otherwise.

        Raises
        ------
        PoorQuality
            It names the thresholds, the first errors and the remedy, and carries this report.
        """
        if not self.shortfalls:
            return
        errors = f". {self._named_errors()}" if self.errors else ""
        msg = f"quality is below threshold: {'; '.join(self.shortfalls)}{errors}. {self._remedy()}"
        raise PoorQuality(msg, self)

    @property
    def outcome(self) -> RunOutcome:
        """What the run history says of it."""
        ending: Ending = "below threshold" if self.shortfalls else "done"
        first = "".join(self.shortfalls[:1])
        return RunOutcome(ending, self.files, len(self.shortfalls), first, rows=self.rows)

    def _named_errors(self) -> str:
        files = {each.file for each in self.errors}
        named = "; ".join(
            f"{each.file}: {each.check} ({each.count:,}, first: {each.example})"
            for each in self.errors[:_MOST_NAMED]
        )
        more = len(self.errors) - _MOST_NAMED
        return (
            f"{many(len(self.errors), 'error')} in {many(len(files), 'file')}: {named}"
            f"{f'; and {more} more' if more > 0 else ''}"
        )

    def to_frame(self) -> pd.DataFrame:
        """
        A row a finding: file, check, severity, count, example.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd  # noqa: PLC0415 - few ask for it

        return pd.DataFrame([asdict(each) for each in self.findings], columns=_COLUMNS)

    def save(self, path: str | Path) -> Path:
        """
        Write the report as one page of HTML that needs nothing else; whole or not at all.

        Parameters
        ----------
        path : str or Path
            The page, in a folder that is there.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        CacheUnavailable, NotEnoughDisk
            If it cannot be written.
        """
        from ares_notebook.quality.certificate import page  # noqa: PLC0415 - it draws a report

        target = Path(path).expanduser()
        try:
            put_text(target, page(self))
        except OSError as error:
            raise cannot_access(target, error) from error
        return target

    def _remedy(self) -> str:
        """What to do, as the first error asks for."""
        if self.ok:
            return (
                "report.to_frame() lists the findings; what is borne is set by "
                "min_complete_share, max_errors and max_warnings"
            )
        gaps = [each for each in self.errors if each.check == "holes"]
        if len(gaps) == len(self.errors):
            return "repair_gaps(symbol, interval) asks the exchange for what is missing"
        return (
            "repair_gaps(symbol, interval) closes gaps and replaces what is damaged; a file that it "
            "leaves as it is, move away, and download its period again with download_all_data"
        )

    def _headline(self) -> str:
        counts = Counter(each.severity for each in self.findings)
        unverified = sum(each.check in _UNVERIFIED for each in self.findings)
        state = (
            "sound" if not unverified else f"no error, but {many(unverified, 'file')} unverified"
        )
        if not self.ok:
            state = many(counts["error"], "ERROR")
        return (
            f"{state}: {many(self.files, 'file')} of {self.market}, {many(self.rows, 'row')}, "
            f"{many(counts['warning'], 'warning')}, {many(counts['information'], 'note')}; "
            f"{self.made_at:%Y-%m-%d %H:%M} UTC"
        )

    def _below(self) -> list[str]:
        # Errors speak for themselves; without any one would take the data for good.
        return [f"below threshold: {each}" for each in self.shortfalls] if self.ok else []

    def _by_severity(self) -> list[Finding]:
        return sorted(self.findings, key=lambda each: SEVERITIES.index(each.severity))

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [f"  {each}" for each in self._by_severity()]
        more = len(lines) - _MOST_LINES
        rest = [f"  … and {more} more; see report.to_frame()"] if more > 0 else []
        below = [f"  {each}" for each in self._below()]
        return "\n".join([self._headline(), *below, *lines[:_MOST_LINES], *rest])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        found = self._by_severity()
        more = len(found) - _MOST_LINES
        rest = line(f"… and {more} more; see report.to_frame()") if more > 0 else ""
        names = ("severity", "file", "check", "count", "first example")
        rows = [
            (each.severity, each.file, each.check, f"{each.count:,}", each.example)
            for each in found[:_MOST_LINES]
        ]
        told = table(names, rows, numbers=("count",)) if rows else ""
        below = "".join(map(line, self._below()))
        return block(self._headline(), below, told, rest)
