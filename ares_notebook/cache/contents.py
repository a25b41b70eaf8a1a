"""What a cache holds, a line a series: from names, sizes and receipts, without opening a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.entry import COPIES, Receipt
from ares_notebook.cache.gap_reasons import COMPLETE, FAILED
from ares_notebook.cache.spans import by_series, missing_spans, rows_end_ms
from ares_notebook.cache.store import Store
from ares_notebook.formatting import block, line, many, size_in_words, table
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.time import utc
from ares_notebook.settings import Settings

_MOST_LINES = 20
_COLUMNS = ("dataset", "symbol", "interval", "from", "until", "state", "rows", "files", "size")
_NUMBERS = ("rows", "files", "size")
_EMPTY = "proven to have no rows"


@dataclass(frozen=True, slots=True)
class HeldSeries:
    """What a cache holds of one series."""

    series: Series
    files: int
    bytes: int
    # None where files were not counted.
    rows: int | None
    # Of its rows, half-open; of its files where these were not counted.
    start_ms: int
    end_ms: int
    # Whether rows are missing between them.
    state: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Its line; see `_COLUMNS`."""
        rows = "not counted" if self.rows is None else f"{self.rows:,}"
        moments = (f"{utc(each):%Y-%m-%d %H:%M}" for each in (self.start_ms, self.end_ms))
        names = (self.series.dataset.name, self.series.symbol, self.series.interval_word)
        return *names, *moments, self.state, rows, f"{self.files:,}", size_in_words(self.bytes)


@dataclass(frozen=True, slots=True)
class CacheContents:
    """What a cache holds."""

    folder: Path
    market: str | None
    # Those that are not complete first.
    series: tuple[HeldSeries, ...]
    copied_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """
        Look into a cache; raises `CacheUnavailable` if it cannot be read.

        A file whose size and time are not those of its receipt is not counted: that takes as long
        as reading it.
        """
        store = Store(settings)
        sizes = _files_in(store.folder)
        found = [_held(store, *each, sizes) for each in by_series(store.files())]
        found.sort(key=lambda each: each.state in (COMPLETE, _EMPTY))
        copies = _files_in(store.folder / COPIES).values()
        market = store.market if found else None
        return cls(store.folder, market, tuple(found), sum(each.st_size for each in copies))

    def __str__(self) -> str:
        if not self.series:
            return f"{self._headline}\n{self._advice}"
        rows = [_COLUMNS, *(each.cells for each in self.series[:_MOST_LINES])]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = [
            "  ".join(
                cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
                for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self._headline, *(f"  {each}" for each in aligned), *self._rest])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        if not self.series:
            return block(self._headline, line(self._advice))
        rows = (each.cells for each in self.series[:_MOST_LINES])
        return block(
            self._headline, table(_COLUMNS, rows, numbers=_NUMBERS), *map(line, self._rest)
        )

    @property
    def _headline(self) -> str:
        if not self.series:
            state = "holds no cache file yet" if self.folder.is_dir() else "does not exist yet"
            return f"Cache {self.folder} {state}"
        symbols = many(len({each.series.symbol for each in self.series}), "symbol")
        files = many(sum(each.files for each in self.series), "file")
        size = size_in_words(sum(each.bytes for each in self.series))
        parts = [f"{len(self.series):,} series of {symbols}", f"{files}, {size}"]
        if self.copied_bytes:
            parts.append(f"Arrow copies, {size_in_words(self.copied_bytes)}")
        market = f" ({self.market})" if self.market else ""
        return f"Cache {self.folder}{market}: {'; '.join([*parts, self._completeness])}"

    @property
    def _completeness(self) -> str:
        left = sum(each.state not in (COMPLETE, _EMPTY) for each in self.series)
        return f"{left:,} of them not complete" if left else "all complete"

    @property
    def _advice(self) -> str:
        return (
            'Fill it with `await cache.download("BTCUSDT", "1h", 1)`, or get candles with '
            '`await cache.klines("BTCUSDT", "1h", "2025-01-01")`.'
        )

    @property
    def _rest(self) -> list[str]:
        more = len(self.series) - _MOST_LINES
        lines = [f"… and {more:,} more series; `cache.coverage()` has all"] if more > 0 else []
        if any(each.rows is None for each in self.series):
            lines.append("`cache.coverage()` counts what is not counted here; that may take long")
        return lines


def _files_in(folder: Path) -> dict[str, os.stat_result]:
    """The files of a folder by their names; none if there is no such folder."""
    found = {}
    try:
        with os.scandir(folder) as listed:
            for each in listed:
                # Another process may delete a file meanwhile.
                with suppress(FileNotFoundError):
                    found[each.name] = each.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise cannot_access(folder, error) from error
    return found


@dataclass(frozen=True, slots=True)
class _Noted:
    """One file as it is on the disk, and what its receipt tells of just these bytes."""

    status: os.stat_result | None
    receipt: Receipt | None

    @classmethod
    def of(cls, store: Store, file: CacheFile, sizes: Mapping[str, os.stat_result]) -> Self:
        status = sizes.get(file.name) or sizes.get(f"{file.name}.zst")
        receipt = store.receipt(file)
        known = (receipt.size, receipt.mtime_ns) if receipt is not None else None
        own = (None, None) if status is None else (status.st_size, status.st_mtime_ns)
        return cls(status, receipt if known == own else None)

    @property
    def is_counted(self) -> bool:
        return self.status is None or self.receipt is not None

    @property
    def is_settled(self) -> bool:
        """Whether every row of its period is there, or proven absent."""
        return self.receipt is not None and self.receipt.final


def _held(
    store: Store, series: Series, files: Sequence[CacheFile], sizes: Mapping[str, os.stat_result]
) -> HeldSeries:
    """What the cache holds of one series, of which it knows these *files*."""
    notes = {file.name: _Noted.of(store, file, sizes) for file in files}
    there = [each for each in notes.values() if each.status is not None]
    held_bytes = sum(each.status.st_size for each in there if each.status is not None)
    start_ms, end_ms = files[0].start_ms, files[-1].end_ms
    uncounted = sum(not each.is_counted for each in notes.values())
    if uncounted:
        state = f"{many(uncounted, 'file')} not counted"
        return HeldSeries(series, len(there), held_bytes, None, start_ms, end_ms, state)
    facts = [each.receipt.facts for each in there if each.receipt is not None]
    firsts = [each.first_ms for each in facts if each.first_ms is not None]
    ends = [each.covered_until_ms for each in facts if each.covered_until_ms is not None]
    rows = sum(each.rows for each in facts)
    state = _state(store, files_between(series, utc(start_ms), utc(end_ms)), notes)
    if state == COMPLETE and not rows:
        state = _EMPTY
    return HeldSeries(
        series,
        len(there),
        held_bytes,
        rows,
        min(firsts, default=start_ms),
        max(ends, default=end_ms),
        state,
    )


def _state(store: Store, wanted: Sequence[CacheFile], notes: Mapping[str, _Noted]) -> str:
    """Whether rows are missing from the first file to where the rows end; *wanted* has no gaps."""
    known = [notes.get(file.name) for file in wanted]
    open_at = [at for at, each in enumerate(known) if each is None or not each.is_settled]
    if not open_at:
        return COMPLETE
    entries = store.entries(wanted[open_at[0] : open_at[-1] + 1])
    end_ms = rows_end_ms(entries[-1]) if open_at[-1] == len(wanted) - 1 else wanted[-1].end_ms
    troubles = [each.trouble.reason for each in entries if each.trouble is not None]
    counts = {
        "open gap": len(missing_spans(entries, wanted[0].start_ms, end_ms)),
        "failed file": troubles.count(FAILED),
    }
    return ", ".join(many(count, what) for what, count in counts.items() if count) or COMPLETE
