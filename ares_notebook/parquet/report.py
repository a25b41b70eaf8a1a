"""What became of the cache as Parquet: a table, two faces, a truth value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ares_notebook.errors import AresError
from ares_notebook.formatting import block, line, many, size_in_words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ParquetItem", "ParquetReport"]

_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class ParquetItem:
    """What became of one cache file."""

    # Its name.
    file: str
    # Skipped is what is there already, made of just these bytes.
    action: Literal["skip", "write", "fail"]
    # Of the Parquet file.
    rows: int = 0
    bytes: int = 0
    # Why it failed; what was there before is still there.
    error: AresError | None = None


@dataclass(frozen=True, slots=True)
class ParquetReport:
    """
    What `to_parquet` has done.

    True when nothing failed.

    Parameters
    ----------
    folder : Path
        Where the dataset lies.
    items : tuple of ParquetItem
        One a cache file.

    Examples
    --------
    >>> report = ParquetReport(Path("lake"), (ParquetItem("klines_BTCUSDT_1h_2025-01.csv", "write", 744, 30_000),))
    >>> bool(report), report.rows, print(report)
    lake: 1 file written, 0 there already; 744 rows, 30.0 KB
    (True, 744, None)
    """

    folder: Path
    items: tuple[ParquetItem, ...] = ()

    def __bool__(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[ParquetItem, ...]:
        """What could not be written."""
        return tuple(each for each in self.items if each.error is not None)

    @property
    def rows(self) -> int:
        """How many rows are there now, of all that was looked at."""
        return sum(each.rows for each in self.items)

    def to_frame(self) -> pd.DataFrame:
        """
        A row a cache file: file, action, rows, bytes, error.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and not needed to write

        return pd.DataFrame(
            {
                "file": each.file,
                "action": each.action,
                "rows": each.rows,
                "bytes": each.bytes,
                "error": str(each.error or ""),
            }
            for each in self.items
        )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._lines()])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        return block(self._headline(), "".join(map(line, self._lines())))

    def _headline(self) -> str:
        counts = Counter(each.action for each in self.items)
        size = size_in_words(sum(each.bytes for each in self.items))
        failed = f", {counts['fail']} failed" if counts["fail"] else ""
        return (
            f"{self.folder}: {many(counts['write'], 'file')} written, {counts['skip']} there "
            f"already{failed}; {self.rows:,} rows, {size}"
        )

    def _lines(self) -> Iterator[str]:
        failed = self.failed
        for each in failed[:_MOST_LINES]:
            yield f"  failed {each.file}: {each.error}"
        if len(failed) > _MOST_LINES:
            yield f"  … and {len(failed) - _MOST_LINES} more; see report.to_frame()"
