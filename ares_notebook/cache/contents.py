"""What a cache holds, a line a series: from names, sizes and receipts; few files are opened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.entry import COPIES, CacheEntry, Receipt
from ares_notebook.cache.gap_reasons import COMPLETE, FAILED
from ares_notebook.cache.spans import by_series, missing_spans, rows_end_ms
from ares_notebook.cache.store import Store
from ares_notebook.formatting import block, line, many, size_in_words, table
from ares_notebook.model.facts import NOT_PUBLISHED, Facts
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.time import utc
from ares_notebook.settings import Settings

_MOST_LINES = 20
# How much is read at most of files that no receipt vouches for: some tenths of a second.
_MOST_COUNTED_BYTES = 32_000_000
_COLUMNS = (
    "dataset", "symbol", "interval", "from (UTC)", "until (UTC)", "state", "rows", "files", "size"
)  # fmt: skip
_NUMBERS = ("rows", "files", "size")
_EMPTY = "proven to have no rows"
_MEANING = (
    "complete: no row is missing from the start of the first file of a series to its last row; "
    "`cache.gaps()` and `cache.coverage()` look on to the end of its last file, or to now"
)


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
    def is_complete(self) -> bool:
        """Whether its rows were counted, and none is missing."""
        return self.state in (COMPLETE, _EMPTY)

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
    # Those that lack rows first, then those that are not counted.
    series: tuple[HeldSeries, ...]
    copied_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """
        Look into a cache; raises `CacheUnavailable` if it cannot be read.

        A file whose size and time are not those of its receipt has to be read to be counted. Series
        with more of these than `_MOST_COUNTED_BYTES` are not counted.
        """
        store = Store(settings)
        sizes = _files_in(store.folder)
        found, left_bytes = [], _MOST_COUNTED_BYTES
        for series, files in by_series(store.files()):
            notes = {file.name: _Noted.of(store, file, sizes) for file in files}
            to_read = sum(each.unknown_bytes for each in notes.values())
            if to_read > left_bytes:
                found.append(_uncounted(series, files, notes))
            else:
                left_bytes -= to_read
                found.append(_held(store, series, files, notes))
        found.sort(key=lambda each: (each.is_complete, each.rows is not None))
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
        complete = sum(each.is_complete for each in self.series)
        uncounted = sum(each.rows is None for each in self.series)
        lacking = len(self.series) - complete - uncounted
        if complete == len(self.series):
            return "all complete"
        counts = {
            "complete": complete,
            "lacks rows" if lacking == 1 else "lack rows": lacking,
            "not counted": uncounted,
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)

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
        return [*lines, _MEANING]


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
    def bytes(self) -> int:
        """Its size on the disk."""
        return 0 if self.status is None else self.status.st_size

    @property
    def unknown_bytes(self) -> int:
        """How much must be read to count its rows."""
        return self.bytes if self.receipt is None else 0

    @property
    def is_settled(self) -> bool:
        """Whether every row of its period is there, or proven absent."""
        return self.receipt is not None and self.receipt.final


_Notes = Mapping[str, _Noted]


def _uncounted(series: Series, files: Sequence[CacheFile], notes: _Notes) -> HeldSeries:
    """What is known of a series of which too much would have to be read."""
    there = [each for each in notes.values() if each.status is not None]
    unknown = sum(each.receipt is None for each in there)
    return HeldSeries(
        series,
        len(there),
        sum(each.bytes for each in there),
        None,
        files[0].start_ms,
        files[-1].end_ms,
        f"{many(unknown, 'file')} not counted",
    )


def _held(store: Store, series: Series, files: Sequence[CacheFile], notes: _Notes) -> HeldSeries:
    """What the cache holds of one series, of which it knows these *files*."""
    start_ms, end_ms = files[0].start_ms, files[-1].end_ms
    wanted = files_between(series, utc(start_ms), utc(end_ms))
    opened = _opened(store, wanted, notes)
    facts = _facts(notes, opened)
    firsts = [each.first_ms for each in facts if each.first_ms is not None]
    ends = [each.covered_until_ms for each in facts if each.covered_until_ms is not None]
    rows = sum(each.rows for each in facts)
    state = _state(wanted, opened)
    if state == COMPLETE and not rows:
        state = NOT_PUBLISHED if opened and opened[-1].is_unpublished else _EMPTY
    return HeldSeries(
        series,
        sum(each.status is not None for each in notes.values()),
        sum(each.bytes for each in notes.values()),
        rows,
        min(firsts, default=start_ms),
        max(ends, default=end_ms),
        state,
    )


def _opened(store: Store, wanted: Sequence[CacheFile], notes: _Notes) -> list[CacheEntry]:
    """The entries from the first to the last file that is not settled; *wanted* has no gaps."""
    known = [notes.get(file.name) for file in wanted]
    open_at = [at for at, each in enumerate(known) if each is None or not each.is_settled]
    return store.entries(wanted[open_at[0] : open_at[-1] + 1]) if open_at else []


def _facts(notes: _Notes, opened: Sequence[CacheEntry]) -> list[Facts]:
    """What is known of the rows of each file on the disk."""
    measured = {entry.file.name: entry.facts for entry in opened}
    return [
        measured[name] if each.receipt is None else each.receipt.facts
        for name, each in notes.items()
        if each.status is not None
    ]


def _state(wanted: Sequence[CacheFile], opened: Sequence[CacheEntry]) -> str:
    """Whether rows are missing from the first file to where the rows end."""
    if not opened:
        return COMPLETE
    unreadable = [entry for entry in opened if entry.problem is not None]
    last, end_ms = opened[-1], wanted[-1].end_ms
    if last.file == wanted[-1] and last.problem is None:
        end_ms = rows_end_ms(reversed(opened))
    troubles = [each.trouble.reason for each in opened if each.trouble is not None]
    counts = {
        "open gap": len(missing_spans(opened, wanted[0].start_ms, end_ms)),
        "failed file": troubles.count(FAILED),
        "unreadable file": len(unreadable),
    }
    return ", ".join(many(count, what) for what, count in counts.items() if count) or COMPLETE
