"""Rows as the lines that they are in a cache file, and what must be known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ares_notebook.market.datasets import Dataset
from ares_notebook.market.rows import Table, keys_of, text_of

__all__ = ["Lines"]


_LINE_END = ord("\n")


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    r"""
    Lines of a cache file, ready to be written.

    Parameters
    ----------
    keys : array of int64
        What each row is known by; see `keys_of`.
    stamps_us : array of int64
        Microseconds since the epoch, UTC.
    text : array of uint8
        The lines, each with its end.

    Examples
    --------
    >>> stamps_us = np.array([1735689600003000, 1735718400001000])
    >>> text = b"2025-01-01 00:00:00.003,0.0001\n2025-01-01 08:00:00.001,0.0001\n"
    >>> lines = Lines(stamps_us // 3_600_000_000, stamps_us, np.frombuffer(text, np.uint8))
    >>> lines.between(1735718400000, 1735747200000).text.tobytes()
    b'2025-01-01 08:00:00.001,0.0001\n'
    """

    keys: npt.NDArray[np.int64]
    stamps_us: npt.NDArray[np.int64]
    text: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, dataset: Dataset, table: Table, columns: Sequence[str] | None = None) -> Lines:
        """The lines of a table's rows, in all its columns or in these."""
        shown = table if columns is None else table.select(list(columns))
        text = np.frombuffer(text_of(dataset, shown), np.uint8)
        return cls(keys_of(dataset, table), table["timestamp"].to_numpy(), text)

    def __len__(self) -> int:
        return len(self.keys)

    def between(self, start_ms: int, end_ms: int) -> Lines:
        """Those with ``start_ms <= timestamp < end_ms``."""
        inside = (self.stamps_us >= start_ms * 1000) & (self.stamps_us < end_ms * 1000)
        return self if inside.all() else self._only(inside)

    def after(self, before: Lines) -> Lines:
        """
        These, but for a first line that is the last one of *before* once more.

        Archives of outage days repeat some rows, also just where a block ends.
        """
        if not len(self) or not len(before) or self.keys[0] != before.keys[-1]:
            return self
        again = self._only(np.arange(len(self)) == 0)
        last = before._only(np.arange(len(before)) == len(before) - 1)
        is_same = np.array_equal(again.text, last.text)
        return self._only(np.arange(len(self)) > 0) if is_same else self

    def _only(self, kept: npt.NDArray[np.bool_]) -> Lines:
        ends = np.flatnonzero(self.text == _LINE_END) + 1
        letters = np.repeat(kept, np.diff(ends, prepend=0))
        return Lines(self.keys[kept], self.stamps_us[kept], self.text[letters])
