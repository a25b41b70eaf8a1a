"""What an audit found: files, and rows that differ."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.cache.history import Ending, RunOutcome
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.rows import Table, empty_rows, keys_of, text_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AuditReport", "FileAudit", "RowDifference", "Verdict", "row_differences"]

_CHANGED, _UPSTREAM, _CACHED = "changed", "only upstream", "only in the cache"


@dataclass(frozen=True, slots=True)
class RowDifference:
    """One cell, or one row, that is not the same on both sides."""

    # Its timestamp, as a cache file writes it; for trades also its id.
    row: str
    kind: str
    # Of a changed cell; empty for a whole row.
    column: str
    # The cell, or the row's line, on either side; empty where there is none.
    cached: str
    upstream: str


def row_differences(
    dataset: Dataset, cached: Iterable[Table], upstream: Iterable[Table]
) -> Iterator[RowDifference]:
    """
    Walk two ascending streams of rows side by side, and tell what is not the same.

    Text is compared as text: ``1.10`` and ``1.1`` differ. A null cell (a column that an old file
    does not have) is not compared. Memory holds a block of each.
    """
    left, right = _Stream(dataset, cached), _Stream(dataset, upstream)
    while left.fill() | right.fill():
        # As far as both are known; where one has ended, as far as the other is.
        ends = [each.last_key for each in (left, right) if each.table.num_rows]
        bound = min(ends)
        yield from _within(dataset, left.up_to(bound), right.up_to(bound))


class _Stream:
    """Rows that come in blocks, taken up to a key."""

    def __init__(self, dataset: Dataset, tables: Iterable[Table]) -> None:
        self._dataset = dataset
        self._tables = iter(tables)
        self.table = empty_rows(dataset)

    def fill(self) -> bool:
        """Have rows, if there are any more."""
        while not self.table.num_rows:
            following = next(self._tables, None)
            if following is None:
                return False
            self.table = following
        return True

    @property
    def last_key(self) -> int:
        """The key of the last row at hand."""
        return int(keys_of(self._dataset, self.table.slice(self.table.num_rows - 1))[0])

    def up_to(self, key: int) -> Table:
        """The rows at hand up to and with *key*; they are then gone."""
        at = int(np.searchsorted(keys_of(self._dataset, self.table), key, side="right"))
        taken, self.table = self.table.slice(0, at), self.table.slice(at)
        return taken


def _within(dataset: Dataset, cached: Table, upstream: Table) -> Iterator[RowDifference]:
    """The differences of two tables that cover the same keys."""
    if cached.equals(upstream):
        return
    ours, theirs = keys_of(dataset, cached), keys_of(dataset, upstream)
    found: list[tuple[int, RowDifference]] = []
    found += _alone(dataset, cached, ~np.isin(ours, theirs), _CACHED)
    found += _alone(dataset, upstream, ~np.isin(theirs, ours), _UPSTREAM)
    both = cached.filter(pa.array(np.isin(ours, theirs)))
    other = upstream.filter(pa.array(np.isin(theirs, ours)))
    found += _changed(dataset, both, other)
    # Keys are compared alone: of one row the columns keep their order.
    yield from (each for _, each in sorted(found, key=lambda pair: pair[0]))


def _alone(
    dataset: Dataset, table: Table, mask: npt.NDArray[np.bool_], kind: str
) -> Iterator[tuple[int, RowDifference]]:
    rows = table.filter(pa.array(mask))
    for at, key in enumerate(keys_of(dataset, rows)):
        line = _line(dataset, rows, at)
        sides = (line, "") if kind == _CACHED else ("", line)
        yield int(key), RowDifference(_name(dataset, rows, at), kind, "", *sides)


def _changed(
    dataset: Dataset, cached: Table, upstream: Table
) -> Iterator[tuple[int, RowDifference]]:
    keys = keys_of(dataset, cached)
    for column in dataset.columns:
        unequal = pc.not_equal(cached[column.name], upstream[column.name])
        for at in np.flatnonzero(pc.fill_null(unequal, fill_value=False).to_numpy()):
            sides = (_cell(dataset, each, column.name, int(at)) for each in (cached, upstream))
            name = _name(dataset, cached, int(at))
            yield int(keys[at]), RowDifference(name, _CHANGED, column.name, *sides)


def _cell(dataset: Dataset, table: Table, column: str, at: int) -> str:
    if column == "timestamp":
        return _line(dataset, table, at).partition(",")[0]
    return str(table[column][at].as_py())


def _name(dataset: Dataset, table: Table, at: int) -> str:
    stamp = _line(dataset, table, at).partition(",")[0]
    return f"{stamp} id {table['agg_trade_id'][at].as_py()}" if dataset.key == "id" else stamp


def _line(dataset: Dataset, table: Table, at: int) -> str:
    # Any: PyArrow publishes no types of its own.
    text: Any = text_of(dataset, table.slice(at, 1))
    return str(text.to_pybytes().decode()).rstrip("\n")


Verdict = Literal[
    "unchanged", "same rows", "differs", "replaced", "not replaced", "nothing to compare with",
    "cannot be read", "failed",
]  # fmt: skip
_BAD = ("differs", "not replaced", "cannot be read", "failed")
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class FileAudit:
    """What an audit found of one file."""

    file: str
    # ``unchanged``: the exchange's checksum is still that of the bytes the file was made from.
    # ``same rows``: the rows were compared. ``differs``, ``replaced``, ``not replaced``: they were,
    # and are others. The rest says itself.
    verdict: Verdict
    # What it was compared with.
    road: str = ""
    # How many rows and cells differ.
    count: int = 0
    # The first thousand of them.
    differences: tuple[RowDifference, ...] = ()
    # What one should know besides: the error, the reason.
    note: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found; true when nothing differs and nothing failed."""

    # In order of their names.
    files: tuple[FileAudit, ...]
    requests: int = 0
    bytes_received: int = 0
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not any(each.verdict in _BAD for each in self.files)

    @property
    def outcome(self) -> RunOutcome:
        """What the run history says of it."""
        bad = [each for each in self.files if each.verdict in _BAD]
        is_failed = any(each.verdict == "failed" for each in bad)
        ending: Ending = "done" if not bad else "failed" if is_failed else "differs"
        error = "".join(f"{each.file}: {each.note or each.verdict}" for each in bad[:1])
        return RunOutcome(ending, len(self.files), len(bad), error)

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
        """A row a file: file, verdict, road, count, note."""
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
