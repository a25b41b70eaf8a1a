"""What is kept and what goes, and the report of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ares_notebook.errors import AresError
from ares_notebook.formatting import block, line, many, size_in_words, table
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.model.time import to_ms, utc

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Found", "Limits", "PruneItem", "PruneReport", "Trace", "decided"]

_MOST_LINES = 12
_HINT = "Pass dry_run=False (in the shell --yes) to do it."


@dataclass(frozen=True, slots=True)
class PruneItem:
    """What becomes of one thing in the cache."""

    # Its name, seen from the cache folder.
    file: str
    # A cache file, a damaged one in the quarantine with its note, or the receipt of a period
    # without a file.
    what: Literal["file", "quarantined", "receipt"]
    # How large it is on disk; a receipt counts nothing.
    bytes: int
    action: Literal["delete", "keep"] = "keep"
    # Why it goes, or why it stays though it should go; empty for what just stays.
    reason: str = ""
    # Why it could not be deleted; it is still there.
    error: AresError | None = None

    def kept(self, why: str, error: AresError | None = None) -> PruneItem:
        """The same, staying after all."""
        return replace(self, action="keep", reason=why, error=error)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """
    What `prune_cache` has deleted, or would delete, and what stays.

    True when nothing failed. Sizes are bytes on disk.

    Parameters
    ----------
    items : tuple of PruneItem
        All that was looked at, in the order in which it goes: damaged files first, then
        the oldest.
    dry_run : bool
        Whether it is only what would be done.

    Examples
    --------
    >>> old = PruneItem("klines_BTCUSDT_1h_2020-01.csv", "file", 44_000, "delete", "it is old")
    >>> new = PruneItem("klines_BTCUSDT_1h_2025-01.csv", "file", 50_000)
    >>> report = PruneReport((old, new))
    >>> report.files, report.bytes_freed, report.bytes_left, bool(report)
    (1, 44000, 50000, True)
    """

    items: tuple[PruneItem, ...] = ()
    dry_run: bool = True

    def __bool__(self) -> bool:
        return not self.failed

    @property
    def gone(self) -> tuple[PruneItem, ...]:
        """What went, or would go."""
        return tuple(each for each in self.items if each.action == "delete")

    @property
    def stayed(self) -> tuple[PruneItem, ...]:
        """What stays."""
        return tuple(each for each in self.items if each.action == "keep")

    @property
    def failed(self) -> tuple[PruneItem, ...]:
        """What could not be deleted."""
        return tuple(each for each in self.items if each.error is not None)

    @property
    def files(self) -> int:
        """How many files went, or would go; damaged ones too, receipts not."""
        return _files(self.gone)

    @property
    def bytes_freed(self) -> int:
        """Bytes of what went, or would go."""
        return sum(each.bytes for each in self.gone)

    @property
    def bytes_left(self) -> int:
        """Bytes of what stays."""
        return sum(each.bytes for each in self.stayed)

    def to_frame(self) -> pd.DataFrame:
        """
        A row a thing: file, what, bytes, action, reason, error.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and few ask for it

        columns = ("file", "what", "bytes", "action", "reason")
        rows = [
            {
                **{name: getattr(each, name) for name in columns},
                "error": "" if each.error is None else str(each.error),
            }
            for each in self.items
        ]
        return pd.DataFrame(rows, columns=[*columns, "error"])

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        told = [f"  {each.file}  {_words(each)}" for each in self._told()]
        more = len(told) - _MOST_LINES
        rest = [f"  … and {more} more; see report.to_frame()"] if more > 0 else []
        return "\n".join([self._headline(), *told[:_MOST_LINES], *rest])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        told = self._told()
        more = len(told) - _MOST_LINES
        rest = line(f"… and {more} more; see report.to_frame()") if more > 0 else ""
        names = ("file", "size", "action", "reason")
        rows = [
            (each.file, size_in_words(each.bytes), each.action, _why(each))
            for each in told[:_MOST_LINES]
        ]
        listed = table(names, rows, numbers=("size",)) if rows else ""
        return block(self._headline(), listed, rest)

    def _told(self) -> list[PruneItem]:
        """What is worth a line: what could not be deleted first, what just stays not at all."""
        odd = [each for each in self.stayed if each.reason]
        return [*sorted(odd, key=lambda each: each.error is None), *self.gone]

    def _headline(self) -> str:
        state = f"{len(self.failed)} FAILED: " if self.failed else ""
        left = _files(self.stayed)
        words = (
            f"{state}{self._deed()}; "
            f"{many(left, 'file')}, {size_in_words(self.bytes_left)} stay{'s' if left == 1 else ''}."
        )
        return f"{words} {_HINT}" if self.dry_run and self.gone else words

    def _deed(self) -> str:
        """What goes, in words; receipts of empty periods are told of beside files."""
        if not self.gone:
            return "nothing to delete" if self else "nothing deleted"
        receipts = sum(each.what == "receipt" for each in self.gone)
        parts = [many(self.files, "file")] if self.files else []
        parts += [f"{many(receipts, 'receipt')} of periods without a file"] if receipts else []
        done = "would delete" if self.dry_run else "deleted"
        return f"{done} {' and '.join(parts)}, {size_in_words(self.bytes_freed)}"


def _files(items: Iterable[PruneItem]) -> int:
    return sum(each.what != "receipt" for each in items)


def _words(item: PruneItem) -> str:
    size = f"{size_in_words(item.bytes)}  " if item.what != "receipt" else ""
    return f"{size}{'kept: ' if item.action == 'keep' else ''}{_why(item)}"


def _why(item: PruneItem) -> str:
    return item.reason if item.error is None else str(item.error)


_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Trace:
    """A path as it was seen, by which a change is known."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is in the cache."""

    # What it is, or of a damaged one, what it was.
    file: CacheFile
    # As it stands in a report when it stays.
    item: PruneItem
    # From when its age counts: the end of its period, or when it was put aside.
    old_since_ms: int
    # All that it may consist of, in the order in which it is to be deleted.
    paths: tuple[Path, ...] = ()
    # Those that are there, as they were seen.
    traces: tuple[Trace, ...] = ()

    def going(self, why: str) -> Found:
        """The same, to be deleted."""
        return replace(self, item=replace(self.item, action="delete", reason=why))

    @property
    def goes(self) -> bool:
        """Whether it is to be deleted."""
        return self.item.action == "delete"


@dataclass(frozen=True, slots=True)
class Limits:
    """What may stay."""

    # What is that old goes; None: nothing for its age.
    keep_days: float | None = None
    # What does not fit goes; None: nothing for its size.
    max_bytes: int | None = None


def decided(found: Iterable[Found], now: datetime, limits: Limits) -> list[Found]:
    """
    Say of each thing whether it goes, and why.

    Pure: touches no disk, and knows no hour but *now*.
    """
    row = sorted(found, key=_place)
    if limits.keep_days is not None:
        row = _by_age(row, to_ms(now), limits.keep_days)
    if limits.max_bytes is not None:
        row = _by_size(row, limits.max_bytes)
    return _left_alone(row)


def _place(found: Found) -> tuple[bool, int, int, str]:
    """Damaged files, then the oldest; of one age the largest, since the fewest go then."""
    item = found.item
    return item.what != "quarantined", found.old_since_ms, -item.bytes, item.file


def _by_age(row: Sequence[Found], now_ms: int, keep_days: float) -> list[Found]:
    last_ms = now_ms - keep_days * _DAY_MS
    return [
        each.going(f"{_since(each)}, and {_days(keep_days)} kept")
        if each.old_since_ms <= last_ms
        else each
        for each in row
    ]


def _by_size(row: Sequence[Found], max_bytes: int) -> list[Found]:
    left = sum(each.item.bytes for each in row if not each.goes)
    made = []
    for each in row:
        found = each
        if left > max_bytes and not each.goes and each.item.what != "receipt":
            found = each.going(f"{_rank(each)}, and {size_in_words(max_bytes)} are kept")
            left -= each.item.bytes
        made.append(found)
    return made


def _left_alone(row: Sequence[Found]) -> list[Found]:
    """
    Let receipts of empty periods go with what was before and after them.

    One that stayed would make the series begin with it, and the periods that went
    after it a gap.
    """
    ends: dict[Series, int] = {}
    for each in row:
        if each.goes and each.item.what == "file":
            ends[each.file.series] = max(each.old_since_ms, ends.get(each.file.series, 0))
    return [
        each.going("its series begins after it now")
        if each.item.what == "receipt"
        and not each.goes
        and each.old_since_ms <= ends.get(each.file.series, 0)
        else each
        for each in row
    ]


def _since(found: Found) -> str:
    did = "it was put aside" if found.item.what == "quarantined" else "its period ended"
    return f"{did} on {utc(found.old_since_ms):%Y-%m-%d}"


def _days(count: float) -> str:
    return "1 day is" if count == 1 else f"{count:,g} days are"


def _rank(found: Found) -> str:
    return "it is damaged" if found.item.what == "quarantined" else "it is among the oldest"
