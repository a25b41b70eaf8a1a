"""The next version of a cache file, until it is committed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Literal, Self
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry, Receipt, Source
from ares_notebook.cache.quarantine import quarantine_copy
from ares_notebook.cache.store import Store
from ares_notebook.cache.writer import FileWriter, Patch
from ares_notebook.download.decide import Step
from ares_notebook.model.facts import ALONE, Facts, Gap
from ares_notebook.model.files import CacheFile
from ares_notebook.model.gaps import Absence, gaps_in, is_final, meets, unasked, unexplained
from ares_notebook.model.rows import Lines
from ares_notebook.model.time import utc
from ares_notebook.runtime.tasks import uninterrupted

_PASSING_MS = 10_000

# More files at once than cores would only take more memory, and no less time. Who
# waits does so on the loop: a thread that waits is missing to those who check and store.
_CORES: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class FileUpdate:
    """
    The next version of one cache file: what is there, with patches in its gaps.

    A context manager; nothing of it is in the cache until `commit`, and what was not committed is
    removed.
    """

    def __init__(self, step: Step, store: Store, now_ms: Callable[[], int]) -> None:
        self.file = step.file
        self.until_ms = self._wanted_ms = step.until_ms
        self._now_ms = now_ms
        self._entry = step.entry
        self._store = store
        self._stack = ExitStack()
        self._writer: FileWriter | None = None
        # An old or unreadable file stays in place until a whole one replaces it.
        anew = step.action == "fetch"
        self._facts = Facts() if anew else step.entry.facts
        self._sources = () if anew else step.entry.sources
        self._absences = step.entry.absences
        self._anew = anew
        # An old file is completed in its own columns, and stays an old file.
        is_old = step.entry.legacy and not anew
        self._columns = self.file.dataset.original_names if is_old else None
        if is_old and not step.entry.has_provenance:
            self.add_source("legacy", step.file.name)
        self.is_unpublished = False
        # The zip that was read and ends inside a line, if one did.
        self.cut_url = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # With the error, so that a full disk that fails once more at the end raises no second one.
        self._stack.__exit__(kind, error, trace)

    @property
    def writer(self) -> FileWriter | None:
        """Its rows in a temporary file; None where it has none but those of the cache."""
        return self._writer

    def has_bytes(self, receipt: Receipt | None) -> bool:
        """Whether it is, byte by byte, the file that a receipt was written for."""
        return (
            receipt is not None
            and self._writer is not None
            and self._writer.sha256 == receipt.sha256
        )

    @property
    def facts(self) -> Facts:
        """What its rows prove."""
        return self._writer.facts if self._writer else self._facts

    @property
    def wanted(self) -> Gap:
        """All that the file must hold: up to the last candle that is closed."""
        start_ms, until_ms = self.file.period.start_ms, self.until_ms
        whole = gaps_in(self.file, Facts(), until_ms)
        return whole[0] if whole else Gap(start_ms, start_ms)

    @property
    def new_rows(self) -> int:
        """How many rows it has that the cache does not."""
        if self._anew:
            return self.facts.rows if self._is_no_loss else 0
        return max(0, self.facts.rows - self._entry.facts.rows)

    def unexplained(self) -> list[Gap]:
        """What no proof explains yet; see `model.gaps.unexplained`."""
        return self.outcome.unexplained(self.until_ms)

    def left(self) -> list[Gap]:
        """
        What of all that was wanted is not proven.

        What the exchange's clock has cut off counts too, but for the seconds in which time
        itself has passed.
        """
        is_cut = self._wanted_ms - self.until_ms > _PASSING_MS
        return self.outcome.unexplained(self._wanted_ms if is_cut else self.until_ms)

    def unasked(self, source: Literal["auto", "archive", "rest"] = "archive") -> list[Gap]:
        """What of it *source* has not been asked for either; see `model.gaps.unasked`."""
        now = self.outcome
        return unasked(self.file, now.gaps(self.until_ms), now.absences, source)

    @property
    def outcome(self) -> CacheEntry:
        """What the cache would hold if this were committed."""
        is_altered = self._entry.is_altered and not self._anew
        return replace(
            self._entry, facts=self.facts, absences=self._absences, is_altered=is_altered
        )

    @property
    def is_from_archive(self) -> bool:
        """Whether rows of it came from the archive."""
        return any(each.road.endswith("archive") for each in self._sources)

    def has_rows_before(self, moment_ms: int) -> bool:
        """Whether the cache has rows of the series that are earlier."""
        first_ms = self.facts.first_ms
        if first_ms is not None and first_ms < moment_ms:
            return True
        stamps = self._store.stamps_of(self.file.series.stem)
        return bool(stamps) and stamps[0] < self.file.stamp

    def end_now(self) -> None:
        """Want nothing that is later than now: it is not over."""
        self.until_ms = min(self.until_ms, self._now_ms())

    def record(self, gaps: Iterable[Gap], evidence: str) -> None:
        """Remember an answer about *gaps*, given now."""
        at = utc(self._now_ms()).isoformat(timespec="seconds")
        recorded = tuple(
            Absence(gap.start_ms, gap.end_ms, evidence, at, gap.after_id, gap.before_id)
            for gap in gaps
        )
        same = {(each.start_ms, each.end_ms, each.evidence) for each in recorded}
        kept = (
            each
            for each in self._absences
            if (each.start_ms, each.end_ms, each.evidence) not in same
        )
        self._absences = (*kept, *recorded)

    def add_source(self, name: str, url: str, sha256: str | None = None) -> None:
        """Remember where rows came from."""
        at = utc(self._now_ms()).isoformat(timespec="seconds")
        same = [each for each in self._sources if (each.road, each.url) != (name, url)]
        self._sources = (*same, Source(name, url, at, sha256))

    def new_writer(self) -> FileWriter:
        """A temporary file to fill; removed unless it is committed."""
        return self._stack.enter_context(self._store.writer(self.file, self._columns))

    async def write(self, lines: Iterator[Lines]) -> FileWriter:
        """A temporary file with *lines*, in the file's columns; read and written in a thread."""
        writer = self.new_writer()
        async with _cores():
            await asyncio.to_thread(writer.write_all, lines)
        return writer

    async def splice(self, patches: list[Patch]) -> None:
        """Put *patches* into their gaps, in a thread."""
        if len(patches) == 1 and not self.facts.rows:
            # Laid over nothing it is the whole, and need not be written twice.
            self._writer = patches[0].writer
        elif patches:
            self._writer = await self.write(self._spliced(patches))

    def _spliced(self, patches: list[Patch]) -> Iterator[Lines]:
        # Slow to import, and a new file needs no splicing.
        from ares_notebook.cache.reader import read_rows  # noqa: PLC0415
        from ares_notebook.cache.writer import spliced  # noqa: PLC0415
        from ares_notebook.model.rows import lines_of  # noqa: PLC0415

        dataset = self.file.dataset
        if self._writer is not None:
            base = read_rows(self._writer.path, self.file)
        else:
            base = iter(()) if self._anew else self._store.rows(self.file)
        # The funding interval that the archive states is not in the text of the parts.
        parts = [*([self._writer] if self._writer else []), *(patch.writer for patch in patches)]
        hours = {key: each for part in parts for key, each in part.stated_hours.items()}
        for table in spliced(dataset, base, patches):
            yield lines_of(dataset, table).with_hours(hours)

    async def commit(self) -> None:
        """
        Put the file into the cache, in a thread, if anything is new.

        A file that was to be replaced whole is replaced by no less.
        """
        now = self.outcome
        self.record(now.unrecorded_edges(self.until_ms), "neighbours")
        # Edges that the neighbouring days prove are kept, for when these are gone.
        # What is known of later than is wanted now is kept, too.
        open_gaps = replace(now, neighbours=ALONE).gaps(self.file.grid_end_ms)
        open_gaps += now.gaps(self.file.grid_end_ms)
        absences = _worth_keeping(self.file, open_gaps, self._absences)
        final = is_final(self.file, self.facts, absences, self.until_ms, self._entry.neighbours)
        if self._writer is not None and self.facts.rows and self._is_no_loss:
            if self._anew and self._entry.is_altered:
                await uninterrupted(quarantine_copy, self._store, self._entry)
            await uninterrupted(
                self._store.commit,
                self._writer,
                sources=self._sources,
                absences=absences,
                final=final,
            )
            if self._store.copies_at == "download" and self._store.arrow_copies != "off":
                await self._make_copy()
        elif self._is_worth_a_note(absences):
            known = replace(self._entry, absences=absences, sources=self._sources)
            await uninterrupted(self._store.update_receipt, known, final=final)

    async def _make_copy(self) -> None:
        # Slow to import, and most downloads make no copy.
        from ares_notebook.cache.cells import make_copy  # noqa: PLC0415

        async with _cores():
            await asyncio.to_thread(make_copy, self._store, self.file)

    @property
    def _is_no_loss(self) -> bool:
        """Whether what is there may go: a part of a new file is worth less than an old one."""
        if not self._anew or self.facts.rows >= self._entry.facts.rows:
            return True
        # Fewer rows may be all that there are: the old ones may be doubled, or of unknown origin.
        reaches = (self.facts.end_ms or 0) >= (self._entry.end_ms or 0)
        return reaches and not self.unasked()

    def _is_worth_a_note(self, absences: tuple[Absence, ...]) -> bool:
        if self._anew and self._entry.path is not None:
            return False
        is_unknown = self._entry.path is not None and not self._entry.has_provenance
        return absences != self._entry.absences or is_unknown


def _cores() -> asyncio.Semaphore:
    slots = asyncio.Semaphore(os.cpu_count() or 1)
    return _CORES.setdefault(asyncio.get_running_loop(), slots)


def _worth_keeping(
    file: CacheFile, gaps: list[Gap], absences: Iterable[Absence]
) -> tuple[Absence, ...]:
    """The answers about gaps; those that are no proof only where no proof is."""
    speaking = [each for each in absences if any(meets(gap, each) for gap in gaps)]
    left = unexplained(file, gaps, speaking)
    return tuple(
        each for each in speaking if each.is_proof or any(meets(gap, each) for gap in left)
    )
