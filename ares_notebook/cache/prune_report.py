"""What a pruning has deleted, or would delete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ares_notebook.errors import AresError
from ares_notebook.formatting import block, in_words_of, line, many, size_in_words, table

if TYPE_CHECKING:
    import pandas as pd

_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class PruneItem:
    """One file of a `PruneReport`."""

    # Its name, relative to the cache folder.
    file: str
    # A cache file, its Arrow copy, a quarantined file with its note, or the receipt of a period
    # without a file.
    what: Literal["file", "copy", "quarantined", "receipt"]
    # Size on disk; 0 for a receipt.
    bytes: int
    action: Literal["delete", "keep"] = "keep"
    # Why it is deleted, or kept although it should be deleted; empty if it is just kept.
    reason: str = ""
    # Why it could not be deleted.
    error: AresError | None = None

    def kept(self, why: str, error: AresError | None = None) -> PruneItem:
        """The same item, kept after all."""
        return replace(self, action="keep", reason=why, error=error)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """
    What `prune_cache` has deleted, or would delete, and what is kept.

    True if nothing failed. Sizes are bytes on disk.

    Parameters
    ----------
    items : tuple of PruneItem
        All selected files in the order of deletion: Arrow copies, quarantined files, then the oldest.
    dry_run : bool
        Whether nothing was deleted.

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
        """The items that were or would be deleted."""
        return tuple(each for each in self.items if each.action == "delete")

    @property
    def stayed(self) -> tuple[PruneItem, ...]:
        """The items that are kept."""
        return tuple(each for each in self.items if each.action == "keep")

    @property
    def failed(self) -> tuple[PruneItem, ...]:
        """The items that could not be deleted."""
        return tuple(each for each in self.items if each.error is not None)

    @property
    def files(self) -> int:
        """Number of deleted files, with quarantined ones, without copies and receipts."""
        return _file_count(self.gone)

    @property
    def bytes_freed(self) -> int:
        """Bytes of the deleted items."""
        return sum(each.bytes for each in self.gone)

    @property
    def bytes_left(self) -> int:
        """Bytes of the kept items."""
        return sum(each.bytes for each in self.stayed)

    def to_frame(self) -> pd.DataFrame:
        """
        The items as a table.

        Returns
        -------
        pandas.DataFrame
            Columns ``file, what, bytes, action, reason, error``.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and few ask for it

        columns = ["file", "what", "bytes", "action", "reason", "error"]
        rows = [
            (each.file, each.what, each.bytes, each.action, each.reason, str(each.error or ""))
            for each in self.items
        ]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [f"  {each.file}  {_words(each)}" for each in self._listed[:_MOST_LINES]]
        return "\n".join([self._headline(), *lines, *[f"  {each}" for each in self._omitted()]])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        rows = [
            (each.file, size_in_words(each.bytes), each.action, _why(each))
            for each in self._listed[:_MOST_LINES]
        ]
        names = ("file", "size", "action", "reason")
        listed = table(names, rows, numbers=("size",)) if rows else ""
        return block(self._headline(), listed, *map(line, self._omitted()))

    @property
    def _listed(self) -> list[PruneItem]:
        """The items worth a line: failures first, data before copies, none that are just kept."""
        odd = [each for each in self.stayed if each.reason]
        odd.sort(key=lambda each: (each.error is None, each.what in _OTHERS))
        return [*odd, *sorted(self.gone, key=lambda each: each.what in _OTHERS)]

    def _omitted(self) -> list[str]:
        more = len(self._listed) - _MOST_LINES
        return (
            [f"… and {more} more; see {in_words_of('report.to_frame()', '--json')}"]
            if more > 0
            else []
        )

    def _headline(self) -> str:
        state = f"{len(self.failed)} FAILED: " if self.failed else ""
        left = _file_count(self.stayed)
        words = (
            f"{state}{self._deleted_in_words()}; "
            f"{many(left, 'file')}, {size_in_words(self.bytes_left)} stay{'s' if left == 1 else ''}."
        )
        option = in_words_of("dry_run=False", "--yes")
        return f"{words} Pass {option} to do it." if self.dry_run and self.gone else words

    def _deleted_in_words(self) -> str:
        if not self.gone:
            return "nothing to delete" if self else "nothing deleted"
        parts = [many(self.files, "file")] if self.files else []
        for what, words in _OTHERS.items():
            count = sum(each.what == what for each in self.gone)
            parts += [f"{count:,} {words[count != 1]}"] if count else []
        done = "would delete" if self.dry_run else "deleted"
        return f"{done} {' and '.join(parts)}, {size_in_words(self.bytes_freed)}"


# What is deleted besides files.
_OTHERS = {
    "copy": ("Arrow copy", "Arrow copies"),
    "receipt": ("receipt of periods without a file", "receipts of periods without a file"),
}


def _file_count(items: Iterable[PruneItem]) -> int:
    return sum(each.what not in _OTHERS for each in items)


def _words(item: PruneItem) -> str:
    size = f"{size_in_words(item.bytes)}  " if item.what != "receipt" else ""
    return f"{size}{'kept: ' if item.action == 'keep' else ''}{_why(item)}"


def _why(item: PruneItem) -> str:
    return item.reason if item.error is None else str(item.error)
