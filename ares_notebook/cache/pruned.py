"""What a pruning takes away, or would: a table, two faces, a truth value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ares_notebook.errors import AresError
from ares_notebook.markup import block, line, table
from ares_notebook.quantities import many, size_in_words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PruneItem", "PruneReport"]

_MOST_LINES = 12
_HINT = "Pass dry_run=False (in the shell --yes) to do it."


@dataclass(frozen=True, slots=True)
class PruneItem:
    """
    What becomes of one thing in the cache.

    Parameters
    ----------
    file : str
        Its name, seen from the cache folder.
    what : {"file", "quarantined", "receipt"}
        A cache file, a damaged one in the quarantine with its note, or the receipt of
        a period without a file.
    bytes : int
        How large it is on disk; a receipt counts nothing.
    action : {"delete", "keep"}
    reason : str
        Why it goes, or why it stays though it should go; empty for what just stays.
    error : AresError, optional
        Why it could not be deleted; it is still there.
    """

    file: str
    what: Literal["file", "quarantined", "receipt"]
    bytes: int
    action: Literal["delete", "keep"] = "keep"
    reason: str = ""
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
