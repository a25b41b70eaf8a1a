"""What an audit found: a verdict a file, and the rows that differ."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from ares_notebook.cache.runs import Ending, Outcome
from ares_notebook.proof.difference import RowDifference

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AuditReport", "FileAudit", "Verdict"]

Verdict = Literal[
    "unchanged", "same rows", "differs", "replaced", "not replaced", "nothing to compare with",
    "cannot be read", "failed",
]  # fmt: skip
_BAD = ("differs", "not replaced", "cannot be read", "failed")
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class FileAudit:
    """
    What an audit found of one file.

    Parameters
    ----------
    file : str
    verdict : Verdict
        ``unchanged``: the exchange's checksum is still that of the bytes the file was
        made from. ``same rows``: the rows were compared. ``differs``, ``replaced``,
        ``not replaced``: they were, and are others. The rest says itself.
    road : str
        What it was compared with.
    count : int
        How many rows and cells differ.
    differences : tuple of RowDifference
        The first thousand of them.
    note : str
        What one should know besides: the error, the reason.
    """

    file: str
    verdict: Verdict
    road: str = ""
    count: int = 0
    differences: tuple[RowDifference, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """
    What an audit found; true when nothing differs and nothing failed.

    Parameters
    ----------
    files : tuple of FileAudit
        In order of their names.
    requests, bytes_received : int
    seconds : float
    """

    files: tuple[FileAudit, ...]
    requests: int = 0
    bytes_received: int = 0
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not any(each.verdict in _BAD for each in self.files)

    @property
    def outcome(self) -> Outcome:
        """What the run history says of it."""
        bad = [each for each in self.files if each.verdict in _BAD]
        is_failed = any(each.verdict == "failed" for each in bad)
        ending: Ending = "done" if not bad else "failed" if is_failed else "differs"
        error = "".join(f"{each.file}: {each.note or each.verdict}" for each in bad[:1])
        return Outcome(ending, len(self.files), len(bad), error)

    @property
    def differences(self) -> pd.DataFrame:
        """A row a difference: file, row, kind, column, cached, upstream."""
        import pandas as pd  # noqa: PLC0415 - few ask for it

        rows = [
            {"file": each.file, **asdict(one)} for each in self.files for one in each.differences
        ]
        columns = ["file", "row", "kind", "column", "cached", "upstream"]
        return pd.DataFrame(rows, columns=columns)

    def to_frame(self) -> pd.DataFrame:
        """
        A row a file: file, verdict, road, count, note.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd  # noqa: PLC0415 - as above

        columns = ["file", "verdict", "road", "count", "note"]
        rows = [{name: getattr(each, name) for name in columns} for each in self.files]
        return pd.DataFrame(rows, columns=columns)

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._lines()])

    def _headline(self) -> str:
        counts = Counter(each.verdict for each in self.files)
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        return (
            f"{'as upstream' if self else 'NOT as upstream'}: {len(self.files)} files ({said}), "
            f"{self.requests:,} requests, {self.bytes_received / 1e6:,.1f} MB in {self.seconds:.1f} s"
        )

    def _lines(self) -> list[str]:
        lines = list(self._told())
        more = len(lines) - _MOST_LINES
        rest = [f"  … and {more} more; see report.to_frame() and report.differences"]
        return lines[:_MOST_LINES] + (rest if more > 0 else [])

    def _told(self) -> Iterator[str]:
        for each in self.files:
            if each.verdict in ("unchanged", "same rows"):
                continue
            count = f" in {each.count:,}" if each.count else ""
            note = f": {each.note}" if each.note else ""
            yield f"  {each.verdict} {each.file}{count}{note}"
            for one in each.differences[:3]:
                what = f" {one.column}" if one.column else ""
                yield f"    {one.row} {one.kind}{what}: {one.cached or '-'} | {one.upstream or '-'}"

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        rows = "".join(f"<div>{html.escape(line)}</div>" for line in self._lines())
        return f"<div><strong>{html.escape(self._headline())}</strong>{rows}</div>"
