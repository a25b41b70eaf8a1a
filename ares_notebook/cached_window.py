"""A window of one series in the cache: its rows, and what is known of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import pandas as pd

from ares_notebook.cache.cells import Selection, chosen, read_cells
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.frames import frame_of
from ares_notebook.cache.quarantine import verified
from ares_notebook.cache.reader import is_compressed
from ares_notebook.cache.spans import (
    Moment,
    Scope,
    calls_of,
    download_call,
    missing_spans,
    series_span,
    universe_call,
)
from ares_notebook.cache.store import Store
from ares_notebook.errors import CacheUnavailable, CorruptFile, NeverDownloaded
from ares_notebook.formatting import PythonCalls, Unquoted, many, named
from ares_notebook.frame_attrs import MOST_LISTED, attrs_of, listed_windows
from ares_notebook.model.files import Series, files_between
from ares_notebook.model.time import as_utc, to_us, utc, utc_of_us
from ares_notebook.settings import Settings, settings_given

_T = TypeVar("_T")


class IncompleteData(UserWarning):
    """A loaded window has gaps; ``ares_notebook.missing(frame)`` lists them."""


@dataclass(frozen=True, slots=True)
class CachedWindow:
    """The files of a series in ``[start_ms, end_ms)``, all of which can be read."""

    store: Store
    series: Series
    start_ms: int
    end_ms: int
    entries: tuple[CacheEntry, ...]
    # Half-open window of its rows, in microseconds.
    rows_us: tuple[int, int]

    @classmethod
    def asked(cls, settings: Settings | None, series: Series, start: Moment, end: Moment) -> Self:
        """The window that a user asks for, by default all that the cache has of the series."""
        store = Store(settings_given(settings))
        span = series_span(store, series, start, end)
        return cls.within(store, series, (span.start_ms, span.end_ms), start, end)

    @classmethod
    def within(
        cls, store: Store, series: Series, span_ms: tuple[int, int], start: Moment, end: Moment
    ) -> Self:
        """The window of these milliseconds, in which the rows of ``[start, end)`` were asked for."""
        return replace(cls.of(store, series, *span_ms), rows_us=rows_asked_us(span_ms, start, end))

    @classmethod
    def of(cls, store: Store, series: Series, start_ms: int, end_ms: int) -> Self:
        """The window of a series; raises `CorruptFile` for a file that cannot be read."""
        files = files_between(series, utc(start_ms), utc(end_ms)) if start_ms < end_ms else []
        entries = store.entries(files)
        for entry in entries:
            if entry.problem is not None:
                verified(store, entry)
                raise CorruptFile(entry.problem)
        rows_us = (start_ms * 1000, end_ms * 1000)
        return cls(store, series, start_ms, end_ms, tuple(entries), rows_us)

    def read(
        self,
        columns: Sequence[str] | None,
        put_together: Callable[[Sequence[CacheEntry], Selection], _T],
        *,
        decimal: bool = False,
    ) -> _T:
        """The rows of the window, put together."""
        names = chosen(self.series.dataset, columns)
        wanted = Selection(names, decimal, *self.rows_us, self.store.arrow_copies)
        try:
            return put_together([each for each in self.entries if each.on_disk is not None], wanted)
        except CorruptFile:
            # Where the file was altered without a change of size and time, its receipt is invalidated,
            # so that the next download replaces it.
            found = [verified(self.store, entry) for entry in self.entries]
            if found == [*self.entries] or any(each.is_altered or each.problem for each in found):
                raise
            # A download has replaced a file meanwhile, and the new one has all rows of the old one.
            return replace(self, entries=tuple(found)).read(columns, put_together, decimal=decimal)

    def row_count(self) -> int:
        """How many rows it has; of files that are only partly in it, the stamps are read."""

        def put_together(entries: Sequence[CacheEntry], wanted: Selection) -> int:
            stamps = replace(wanted, columns=())
            return sum(
                each.facts.rows if wanted.has_all_of(each) else read_cells(each, stamps).num_rows
                for each in entries
            )

        return self.read(None, put_together)

    def frame(self, columns: Sequence[str] | None, *, decimal: bool) -> pd.DataFrame:
        """Its rows as a frame that states what is missing; see `check`."""
        frame = self.read(columns, frame_of, decimal=decimal)
        frame.attrs = self.attrs(len(frame))
        return frame

    def attrs(self, rows: int) -> dict[Any, Any]:
        """What a frame of its *rows* states about itself."""
        missing = missing_spans(self.entries, self.start_ms, self.end_ms)
        span_ms = self.start_ms, self.end_ms
        attrs = attrs_of(self.series, self._market(), span_ms, missing, rows)
        attrs["start"], attrs["end"] = (utc_of_us(each).isoformat() for each in self.rows_us)
        if altered := [entry.file.name for entry in self.entries if entry.is_altered]:
            attrs["altered"] = altered[:MOST_LISTED]
        if sha256 := self._known_fingerprint(rows):
            attrs["fingerprint"] = sha256
        return attrs

    def _known_fingerprint(self, rows: int) -> str | None:
        """The sha256 in the receipt of the only file, if that has all rows and none besides."""
        files = [(entry, entry.path) for entry in self.entries if entry.path is not None]
        if len(files) != 1:
            return None
        [(entry, path)] = files
        return None if is_compressed(path) or entry.facts.rows != rows else entry.sha256

    def _market(self) -> str | None:
        """The market of the rows; None where its note cannot be read, which makes no row wrong."""
        try:
            return self.store.market
        except CacheUnavailable:
            return None

    def check(self, attrs: dict[Any, Any], rows: int, stacklevel: int) -> None:
        """Raise `NeverDownloaded` where there is no row but a gap; warn where rows are missing."""
        self.refuse_nothing(attrs, rows)
        warn_incomplete(attrs, self.store.settings, stacklevel + 1)

    def refuse_nothing(self, attrs: dict[Any, Any], rows: int) -> None:
        """Raise `NeverDownloaded` where there is no row but a gap."""
        if not rows and not attrs["complete"]:
            raise NeverDownloaded(self._nothing())

    def _nothing(self) -> str:
        start, end = utc(self.start_ms), utc(self.end_ms)
        calls = calls_of(self.store.settings)
        call = download_call(Scope.about(self.series), start, end, calls)
        return (
            f"{self.store.folder} has no row of {self.series.stem} from {start:%Y-%m-%d %H:%M} to "
            f"{end:%Y-%m-%d %H:%M}; download them first with `{call}`"
        )


def rows_asked_us(span_ms: tuple[int, int], start: Moment, end: Moment) -> tuple[int, int]:
    """The part of a span in which rows were asked for: files and gaps are selected by milliseconds."""
    start_us, end_us = (each * 1000 for each in span_ms)
    if start is not None:
        start_us = max(start_us, to_us(as_utc(start, "start")))
    if end is not None:
        end_us = min(end_us, to_us(as_utc(end, "end")))
    return start_us, end_us


def read_window(
    store: Store,
    series: Series,
    start_ms: int,
    end_ms: int,
    columns: Sequence[str] | None = None,
    *,
    decimal: bool = False,
) -> pd.DataFrame:
    """
    The cached rows of ``[start_ms, end_ms)``, as `load_klines` returns them.

    Never warns: ``attrs`` states what is missing.
    """
    return CachedWindow.of(store, series, start_ms, end_ms).frame(columns, decimal=decimal)


def warn_incomplete(attrs: Mapping[Any, Any], settings: Settings | None, stacklevel: int) -> None:
    """Warn where the ``attrs`` of a frame, of one symbol or of several, state that rows are missing."""
    if attrs["complete"]:
        return
    calls = calls_of(settings_given(settings))
    lacking = _symbols_lacking if "symbols" in attrs else _windows_lacking
    message = lacking(attrs, calls)
    warnings.warn(message, IncompleteData, stacklevel=stacklevel + 1)


def _windows_lacking(attrs: Mapping[Any, Any], calls: PythonCalls) -> str:
    series = Series.of(attrs["dataset"], attrs["symbol"], attrs["interval"])
    windows, altered = listed_windows(attrs), attrs.get("altered")
    count = attrs["missing_count"]
    # Of more than a hundred windows the last is not listed.
    end = windows[-1][1] if count == len(windows) else as_utc(attrs["end"])
    call = download_call(Scope.about(series), windows[0][0], end, calls)
    advice = f"`{call}` fetches what the exchange has of it"
    if altered:
        # Few files are; it is slow to import.
        from ares_notebook.download.repair import repair_call  # noqa: PLC0415

        advice += (
            f"; {altered[0]}{_more(len(altered))} differs from its receipt: a program or a disk has "
            f"altered it, so its rows prove nothing; the next download of its period, or "
            f"`{repair_call([series], calls)}`, replaces it"
        )
    first, last = (each.replace(tzinfo=None) for each in windows[0])
    where = f"{first} to {last}{_more(count)}"
    return f"{series.stem} lacks {where} ({_missing(calls)} lists all); {advice}"


def _missing(calls: PythonCalls) -> str:
    return calls("missing", Unquoted("frame"))


def _more(count: int) -> str:
    return f" and {count - 1} more" if count > 1 else ""


def _symbols_lacking(attrs: Mapping[Any, Any], calls: PythonCalls) -> str:
    symbols = attrs["symbols"]
    lacking = [
        Series.of(attrs["dataset"], symbol, attrs["interval"])
        for symbol, own in symbols.items()
        if not own["complete"]
    ]
    listed = [listed_windows(symbols[each.symbol]) for each in lacking]
    start, end = as_utc(attrs["start"]), as_utc(attrs["end"])
    if all(listed):
        # Of many windows the last ones are not listed.
        start = min(windows[0][0] for windows in listed)
    call = universe_call(lacking, start, end, calls)
    return (
        f"{len(lacking)} of {many(len(symbols), 'symbol')} lack rows: "
        f"{named([each.stem for each in lacking])} ({_missing(calls)} lists where); "
        f"`{call}` fetches what the exchange has of them"
    )
