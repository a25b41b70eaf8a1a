"""What became of a download, file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import why_open
from ares_notebook.cache.history import Ending, RunOutcome
from ares_notebook.download.decide import Step
from ares_notebook.errors import AresError, IncompleteDownload
from ares_notebook.formatting import block, in_words_of, line, many, table

if TYPE_CHECKING:
    import pandas as pd

_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class StepReport:
    """What became of one cache file."""

    dataset: str
    file_name: str
    # ``skip``, ``extend`` or ``fetch``.
    action: str
    reason: str = ""
    # Rows that are new.
    rows: int = 0
    requests: int = 0
    bytes_received: int = 0
    # Gaps that no answer of the exchange explains.
    missing: int = 0
    # Why it failed; what was there before is still there.
    error: AresError | None = None
    # Why gaps are left though nothing failed, where that is known.
    why: str = ""

    @classmethod
    def of(
        cls,
        step: Step,
        *,
        rows: int = 0,
        missing: int = 0,
        error: AresError | None = None,
        why: str = "",
    ) -> Self:
        """What became of *step*."""
        return cls(
            step.file.dataset.name,
            step.file.name,
            step.action,
            step.reason,
            rows=rows,
            missing=missing,
            error=error,
            why=why,
        )


def skipped(step: Step) -> StepReport:
    """What became of a *step* in which nothing was to be done."""
    left = step.entry.unexplained(step.until_ms)
    is_refused = step.action == "skip" and step.gaps
    why = step.reason if is_refused else why_incomplete(step.entry, step.until_ms)
    return StepReport.of(step, missing=len(left), why=why)


def why_incomplete(entry: CacheEntry, until_ms: int) -> str:
    """Why a file of which nothing failed is not complete, as far as that is known; empty if it is."""
    left = entry.unexplained(until_ms)
    return ": ".join(filter(None, why_open(entry, left[0])[:2])) if left else ""


@dataclass(frozen=True, slots=True)
class DownloadReport:
    """
    What became of a download.

    True when nothing failed, as the original downloader's functions returned True.

    Parameters
    ----------
    steps : tuple of StepReport
        One a cache file, in the plan's order.
    seconds : float
        How long it took.
    notes : tuple of str
        What one should know besides: a symbol without a contract, a source that refused.
    overhead_requests : int
        Requests that belong to no file: the exchange's clock, its limits, listings.
    overhead_bytes : int
        What came over the line for these.
    is_cut_short : bool
        Whether less was requested than was wanted, since the exchange's clock is not there yet, or
        could not be asked.

    Examples
    --------
    >>> report = DownloadReport((StepReport("klines", "klines_BTCUSDT_1h_2025-01.csv", "skip"),))
    >>> bool(report), report.complete, report.rows_written
    (True, True, 0)
    """

    steps: tuple[StepReport, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    overhead_requests: int = 0
    overhead_bytes: int = field(default=0, repr=False)
    is_cut_short: bool = field(default=False, repr=False)

    @classmethod
    def joined(cls, reports: Iterable[DownloadReport]) -> DownloadReport:
        """
        One report of several downloads, done one after the other.

        Parameters
        ----------
        reports : iterable of DownloadReport

        Returns
        -------
        DownloadReport
            All steps, the sums, and each note once.

        Examples
        --------
        >>> one = DownloadReport((StepReport("klines", "klines_BTCUSDT_1h_2025-01.csv", "skip"),), 1.5)
        >>> DownloadReport.joined([one, one]).seconds
        3.0
        """
        every = tuple(reports)
        return cls(
            tuple(step for each in every for step in each.steps),
            sum(each.seconds for each in every),
            tuple(dict.fromkeys(note for each in every for note in each.notes)),
            sum(each.overhead_requests for each in every),
            sum(each.overhead_bytes for each in every),
            any(each.is_cut_short for each in every),
        )

    def __bool__(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[StepReport, ...]:
        """The steps that failed."""
        return tuple(step for step in self.steps if step.error is not None)

    @property
    def complete(self) -> bool:
        """Whether every wanted row is there, or its absence confirmed by the exchange."""
        return not (self.failed or self.is_cut_short or any(step.missing for step in self.steps))

    @property
    def outcome(self) -> RunOutcome:
        """What the run history says of it."""
        failures = self._failures()
        ending: Ending = "failed" if failures else "done" if self.complete else "incomplete"
        return RunOutcome(ending, len(self.steps), len(self.failed), "".join(failures[:1]))

    @property
    def rows_written(self) -> int:
        """Rows that are new in the cache."""
        return sum(step.rows for step in self.steps)

    @property
    def requests(self) -> int:
        """Requests sent; each new try counts."""
        return self.overhead_requests + sum(step.requests for step in self.steps)

    @property
    def bytes_received(self) -> int:
        """Bytes received; of the archive those of its zips."""
        return self.overhead_bytes + sum(step.bytes_received for step in self.steps)

    @property
    def actions(self) -> dict[str, int]:
        """How many files were skipped, extended, fetched; those that failed were not."""
        return dict(Counter(step.action for step in self.steps if step.error is None))

    def raise_for_failures(self) -> None:
        """
        Raise if a step failed; do nothing otherwise.

        Raises
        ------
        IncompleteDownload
            It carries this report.
        """
        if not self.failed:
            return
        raise IncompleteDownload(self.failed_in_words, self) from self.failed[0].error

    @property
    def failed_in_words(self) -> str:
        """How many files failed, and the first reason; empty if none did."""
        if not self.failed:
            return ""
        first, *others = self._failures()
        reasons = "reason" if len(others) == 1 else "reasons"
        more = f" (and for {len(others)} other {reasons})" if others else ""
        return f"{len(self.failed)} of {len(self.steps)} files failed: {first}{more}"

    def to_frame(self) -> pd.DataFrame:
        """
        A row a cache file: dataset, file, action, reason, rows, requests, bytes_received, missing, error.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and few ask for it

        return pd.DataFrame(
            {
                "dataset": step.dataset,
                "file": step.file_name,
                "action": step.action,
                "reason": step.reason,
                "rows": step.rows,
                "requests": step.requests,
                "bytes_received": step.bytes_received,
                "missing": step.missing,
                "error": "" if step.error is None else str(step.error),
            }
            for step in self.steps
        )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._lines()])

    def _headline(self) -> str:
        state = (
            f"{len(self.failed)} FAILED"
            if self.failed
            else ("complete" if self.complete else "incomplete")
        )
        counts = ", ".join(f"{count} {_PAST[action]}" for action, count in self.actions.items())
        return (
            f"{state}: {many(len(self.steps), 'file')} ({counts or ('none done' if self.steps else 'none wanted')}), {self.rows_written:,} new rows, "
            f"{self.requests:,} requests, {self.bytes_received / 1e6:,.1f} MB in {self.seconds:.1f} s"
        )

    def _lines(self) -> list[str]:
        failed = [f"  failed {words}" for words in self._failures()]
        by_reason: dict[str, list[StepReport]] = {}
        for step in self.steps:
            if step.missing and step.error is None:
                by_reason.setdefault(step.why, []).append(step)
        waiting = [
            f"  open   {_first_of([step.file_name for step in steps])}: "
            f"gaps left: {sum(step.missing for step in steps)}{why and f' ({why})'}"
            for why, steps in by_reason.items()
        ]
        notes = [f"  note   {note}" for note in self._notes_without_reasons()]
        return [*_shortened(failed), *_shortened(waiting), *notes]

    def _notes_without_reasons(self) -> list[str]:
        """The notes; a reason that a failure gives already is left out of them."""
        notes = list(self.notes)
        for reason in {str(step.error) for step in self.failed}:
            notes = [note.replace(f": {reason}", "") for note in notes]
        return notes

    def _failures(self) -> list[str]:
        """What failed and why; files that failed for one reason are one line."""
        by_reason: dict[str, list[str]] = {}
        for step in self.failed:
            by_reason.setdefault(str(step.error), []).append(step.file_name)
        return [f"{_first_of(names)}: {reason}" for reason, names in by_reason.items()]

    def _repr_html_(self) -> str:
        """The same for a notebook, with a line a dataset; all text from outside is escaped."""
        names = ("dataset", "files", "new rows", "requests", "MB")
        rows = [
            _sums(name, self.steps) for name in dict.fromkeys(each.dataset for each in self.steps)
        ]
        lines = "".join(map(line, self._lines()))
        return block(self._headline(), table(names, rows, numbers=names[1:]), lines)


def _first_of(names: Sequence[str]) -> str:
    """The first of some files, and how many more there are."""
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]


def _sums(dataset: str, steps: Iterable[StepReport]) -> tuple[str, ...]:
    """A dataset's line of the table."""
    ours = [step for step in steps if step.dataset == dataset]
    received = sum(step.bytes_received for step in ours)
    return (
        dataset,
        f"{len(ours):,}",
        f"{sum(step.rows for step in ours):,}",
        f"{sum(step.requests for step in ours):,}",
        f"{received / 1e6:,.1f}",
    )


_PAST = {"skip": "skipped", "extend": "extended", "fetch": "fetched"}


def _shortened(lines: list[str]) -> list[str]:
    """The first lines, and how many more there are."""
    if len(lines) <= _MOST_LINES:
        return lines
    more = len(lines) - _MOST_LINES
    return [
        *lines[:_MOST_LINES],
        f"  … and {more} more; see {in_words_of('report.to_frame()', '--json')}",
    ]
