"""Rows as the lines that they are in a cache file, and what must be known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ares_notebook.model.datasets import Dataset

__all__ = ["Lines", "time_keys"]

_COMMA, _LINE_END = b",\n"
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    r"""Lines of a cache file, ready to be written."""

    # What each row is known by: the trade's id, else its stamp; see `time_keys`.
    keys: npt.NDArray[np.int64]
    # Microseconds since the epoch, UTC.
    stamps_us: npt.NDArray[np.int64]
    # The lines, each with its end.
    text: npt.NDArray[np.uint8]
    # For funding, the time between two events by the archive's own column, 0 where it does not say;
    # it is measured by, and not stored.
    hours: npt.NDArray[np.int64] | None = None

    @classmethod
    def none(cls) -> Lines:
        """No line at all."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.keys)

    def between(self, start_ms: int, end_ms: int) -> Lines:
        """Those with ``start_ms <= timestamp < end_ms``."""
        inside = (self.stamps_us >= start_ms * 1000) & (self.stamps_us < end_ms * 1000)
        return self.only(inside)

    def after(self, before: Lines) -> Lines:
        """
        These, but for a first line that is the last one of *before* once more.

        Archives of outage days repeat some rows, also just where a block ends.
        """
        if not len(self) or not len(before) or self.keys[0] != before.keys[-1]:
            return self
        again = self.only(np.arange(len(self)) == 0)
        last = before.only(np.arange(len(before)) == len(before) - 1)
        is_same = np.array_equal(again.text, last.text)
        return self.only(np.arange(len(self)) > 0) if is_same else self

    def with_hours(self, told: Mapping[int, int]) -> Lines:
        """The same with the hours that were told with each, by its key; not even looked at where none were."""
        if not told:
            return self
        hours = np.array([told.get(key, 0) for key in self.keys.tolist()], np.int64)
        return replace(self, hours=hours)

    def narrowed(self, columns: int) -> Lines:
        """The same with only their first *columns* cells: old files have no more."""
        marks = np.flatnonzero((self.text == _COMMA) | (self.text == _LINE_END))
        in_lines = marks.reshape(len(self), -1)
        cuts, ends = in_lines[:, columns - 1], in_lines[:, -1]
        starts = np.concatenate([[0], ends[:-1] + 1])
        # Of each line the head stays, the rest goes, and its end stays again.
        lengths = np.stack([cuts - starts, ends - cuts, np.ones_like(ends)], axis=1)
        stays = np.repeat(np.tile([True, False, True], len(self)), lengths.ravel())
        return Lines(self.keys, self.stamps_us, self.text[stays], self.hours)

    def only(self, kept: npt.NDArray[np.bool_]) -> Lines:
        """Those that are marked."""
        if kept.all():
            return self
        ends = np.flatnonzero(self.text == _LINE_END) + 1
        letters = np.repeat(kept, np.diff(ends, prepend=0))
        hours = None if self.hours is None else self.hours[kept]
        return Lines(self.keys[kept], self.stamps_us[kept], self.text[letters], hours)


def time_keys(dataset: Dataset, stamps_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """
    What a row without an id is known by: its stamp in microseconds.

    A funding event is known by its hour: the exchange stamps it up to 47 ms late,
    and not always alike.
    """
    return stamps_us // _HOUR_US if dataset.key == "event_time" else stamps_us
