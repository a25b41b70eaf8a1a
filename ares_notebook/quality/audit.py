"""Compare the cache with the exchange of today: checksums first, rows where they changed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from msgspec import structs

from ares_notebook.binance.archive import Archive
from ares_notebook.binance.http import Transport
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.entry import CacheEntry, Source
from ares_notebook.cache.history import Ending, RunOutcome
from ares_notebook.cache.locks import locked
from ares_notebook.cache.quarantine import compared, quarantine_entry, verified
from ares_notebook.cache.reader import read_rows
from ares_notebook.cache.spans import Scope, cached_files
from ares_notebook.cache.store import Store
from ares_notebook.cache.writer import FileWriter
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.fetch import Exchange, fetch_rows
from ares_notebook.download.file_update import FileUpdate
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.errors import AresError, BadAnswer, CorruptFile, NotFound
from ares_notebook.formatting import block, in_words_of, line
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import CacheFile
from ares_notebook.model.rows import between
from ares_notebook.model.time import DAY_MS, Cut, period_of, to_ms
from ares_notebook.quality.findings import first_lines
from ares_notebook.quality.row_difference import RowDifference, row_differences
from ares_notebook.runtime.progress import Meter, counted, metered
from ares_notebook.runtime.tasks import uninterrupted
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

_MOST_DIFFERENCES = 1000
_MOST_LINES = 20
_BAD = ("differs", "not replaced", "cannot be read", "failed")
Moment = datetime | date | str | None
Verdict = Literal[
    "unchanged", "same rows", "differs", "replaced", "not replaced", "nothing to compare with",
    "cannot be read", "failed",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileAudit:
    """What an audit found of one file."""

    file: str
    # ``unchanged``: the exchange's checksum is still that of the bytes the file was made from.
    # ``same rows``: the rows were compared. ``differs``, ``replaced``, ``not replaced``: they were
    # compared, and are different.
    verdict: Verdict
    # The source that it was compared with.
    road: str = ""
    # How many rows and cells differ.
    count: int = 0
    # The first thousand of them.
    differences: tuple[RowDifference, ...] = ()
    # The error, or the reason of the verdict.
    note: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found; true when nothing differs and nothing failed."""

    # In order of their names.
    files: tuple[FileAudit, ...]
    requests: int = 0
    bytes_received: int = 0
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not any(each.verdict in _BAD for each in self.files)

    @property
    def outcome(self) -> RunOutcome:
        """The entry of the run history."""
        bad = [each for each in self.files if each.verdict in _BAD]
        is_failed = any(each.verdict == "failed" for each in bad)
        ending: Ending = "done" if not bad else "failed" if is_failed else "differs"
        error = "".join(f"{each.file}: {each.note or each.verdict}" for each in bad[:1])
        return RunOutcome(ending, len(self.files), len(bad), error)

    @property
    def differences(self) -> pd.DataFrame:
        """A row a difference: file, row, kind, column, cached, upstream."""
        import pandas as pd  # noqa: PLC0415 - slow to import, and rarely needed

        rows = [
            {"file": each.file, **asdict(one)} for each in self.files for one in each.differences
        ]
        return pd.DataFrame(rows, columns=["file", *RowDifference.__slots__])

    def to_frame(self) -> pd.DataFrame:
        """A row a file: file, verdict, road, count, note."""
        import pandas as pd  # noqa: PLC0415 - as above

        columns = ["file", "verdict", "road", "count", "note"]
        rows = [[getattr(each, name) for name in columns] for each in self.files]
        return pd.DataFrame(rows, columns=columns)

    def __str__(self) -> str:
        return "\n  ".join([self._headline(), *self._lines()])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        return block(self._headline(), *map(line, self._lines()))

    def _headline(self) -> str:
        counts = Counter(each.verdict for each in self.files)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        return (
            f"{'as upstream' if self else 'NOT as upstream'}: {len(self.files)} files ({verdicts}), "
            f"{self.requests:,} requests, {self.bytes_received / 1e6:,.1f} MB in {self.seconds:.1f} s"
        )

    def _lines(self) -> list[str]:
        lines = []
        for each in self.files:
            if each.verdict in ("unchanged", "same rows"):
                continue
            count = f" in {each.count:,}" if each.count else ""
            note = f": {each.note}" if each.note else ""
            lines.append(f"{each.verdict} {each.file}{count}{note}")
            for one in each.differences[:3]:
                what = " ".join(filter(None, (one.row, one.kind, one.column)))
                lines.append(f"  {what}: {one.cached or '-'} | {one.upstream or '-'}")
        return first_lines(
            lines,
            _MOST_LINES,
            in_words_of("report.to_frame() and report.differences", "--json"),
        )


async def audit_cache(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: Moment = None,
    end: Moment = None,
    settings: Settings | None = None,
    update: bool = False,
    datasets: Sequence[str] | None = None,
) -> AuditReport:
    """
    Compare what is cached with what the exchange says today.

    First the bytes of each file are compared with its receipt. Of a file that was made
    from archives only their checksums are requested; where one has changed, the archive
    is downloaded and compared row by row. A file of both archive and REST is fetched
    anew and compared as a whole. Other files are compared with the archive if there is
    one now, else with REST. With ``source="rest"`` in the settings every file is
    compared with REST, which shows the rows in which archive and REST disagree.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all cached ones.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    start, end : datetime, date or str, optional
        Only files whose period overlaps ``[start, end)``.
    settings : Settings, optional
    update : bool
        Replace files that differ by what the exchange has now. The new file is written
        as a whole and verified first; one that would lose rows does not replace.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    AuditReport
        True when nothing differs and nothing failed.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of that.
    BadArgument
        If an argument is not valid.
    CacheUnavailable
        If the cache folder cannot be read or, with *update*, written.
    WrongMarket
        If another market filled the cache.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     audited = run(audit_cache(settings=settings))
    >>> audited.to_frame()["verdict"].tolist(), audited.requests
    (['unchanged', 'unchanged'], 2)
    """
    chosen = settings_given(settings)
    store, scope = Store(chosen), Scope.of(symbol, interval, datasets)
    find = partial(cached_files, store, scope, start, end)
    run_info = RunInfo.about("audit", chosen, scope)
    return await record_run(run_info, _audited(store, find, chosen, update=update))


def plan_audit(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: Moment = None,
    end: Moment = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> pd.DataFrame:
    """
    List what `audit_cache` would compare each file with; the dry run of an audit.

    Reads the cache only. The bytes of each file are compared with its receipt.

    Parameters
    ----------
    symbol, interval, start, end, settings, datasets
        As in `audit_cache`.

    Returns
    -------
    pandas.DataFrame
        One row per file: ``file``, ``compared_with``, ``rows``. ``compared_with`` is
        ``checksum`` (the rows are fetched only if it has changed), ``archive, else rest``,
        ``rest``, ``archive and rest`` (all rows are fetched), or ``nothing`` (it cannot be read,
        or only the archive has such rows and may not be asked).

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of the selection.
    BadArgument, CacheUnavailable, WrongMarket
        As `audit_cache`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-02-20", settings=settings))
    ...     table = plan_audit(settings=settings)
    >>> table["compared_with"].tolist()
    ['checksum', 'archive, else rest']
    """
    import pandas as pd  # noqa: PLC0415 - slow to import, and not needed to audit

    chosen = settings_given(settings)
    store, scope = Store(chosen), Scope.of(symbol, interval, datasets)
    files = cached_files(store, scope, start, end)
    store.refuse_another()
    entries = [compared(store, each) for each in store.entries(files) if each.path is not None]
    rows = [
        (each.file.name, _compared_with(each, chosen.source), each.facts.rows) for each in entries
    ]
    return pd.DataFrame(rows, columns=["file", "compared_with", "rows"])


_CHECKSUM, _TODAY, _REST = "checksum", "archive, else rest", "rest"
_WHOLE, _NOTHING = "archive and rest", "nothing"


def _compared_with(entry: CacheEntry, source: str) -> str:
    """What a file is compared with, by its sources and the one of the settings."""
    if entry.problem is not None or (source == "rest" and not entry.file.dataset.has_rest):
        return _NOTHING
    zips = sum(each.road.endswith("archive") for each in entry.sources)
    if entry.is_altered or (source != "rest" and not zips):
        return _TODAY
    if source == "rest":
        return _REST
    # A checksum confirms nothing of the rows that came from elsewhere.
    return _CHECKSUM if zips == len(entry.sources) else _WHOLE


async def _audited(
    store: Store, find: Callable[[], list[CacheFile]], chosen: Settings, *, update: bool
) -> AuditReport:
    meter, began = Meter(), time.monotonic()
    files = await asyncio.to_thread(find)
    entries = [entry for file in files for entry in store.entries([file]) if entry.path is not None]
    # Another market's rows would differ in all, and must not replace any.
    await asyncio.to_thread(store.prepare if update else store.refuse_another)
    with metered(meter):
        async with Transport(chosen) as transport:
            with closing(Archive(transport, store.folder)) as archive:
                exchange = Exchange(archive, Rest(transport), chosen.source)
                audit = _Audit(
                    store, exchange, asyncio.Semaphore(chosen.max_concurrency), update=update
                )
                work = [audit.audit(entry) for entry in entries]
                found = [each async for each in counted(work, chosen, "audit")]
    seconds = time.monotonic() - began
    done = tuple(sorted(found, key=lambda each: each.file))
    return AuditReport(done, meter.requests, meter.bytes_received, seconds)


@dataclass(slots=True)
class _Upstream:
    """Rows of the exchange, and the window that they cover."""

    source: str
    start_ms: int
    end_ms: int
    part: FileWriter


class _Audit:
    """Audits one file after the other; a failure concerns that file alone."""

    def __init__(
        self, store: Store, exchange: Exchange, slots: asyncio.Semaphore, *, update: bool
    ) -> None:
        self._store = store
        self._exchange = exchange
        self._slots = slots
        self._update = update

    async def audit(self, entry: CacheEntry) -> FileAudit:
        """Compare one file, and replace it where that is wanted."""
        name = entry.file.name
        async with self._slots:
            try:
                # The bytes first: a receipt may be of other bytes than are here.
                entry = await asyncio.to_thread(verified, self._store, entry)
                found = await self._compare(entry)
                if self._update and found.verdict in ("differs", "cannot be read"):
                    return await self._replace(entry, found)
            except NotFound as error:
                return FileAudit(name, "nothing to compare with", note=str(error))
            except CorruptFile as error:
                return FileAudit(name, "cannot be read", note=str(error))
            except AresError as error:
                return FileAudit(name, "failed", note=str(error))
            return found

    async def _compare(self, entry: CacheEntry) -> FileAudit:
        name, other = entry.file.name, _compared_with(entry, self._exchange.source)
        if entry.problem is not None:
            return FileAudit(name, "cannot be read", note=entry.problem)
        if other == _TODAY:
            found = await self._compare_with_today(entry)
            if not entry.is_altered:
                return found
            return replace(found, verdict="differs", note="its bytes are not those of its receipt")
        if other == _CHECKSUM:
            changed = [each for each in entry.sources if await self._has_changed(entry.file, each)]
            if not changed:
                return FileAudit(name, "unchanged", entry.sources[0].road)
            return await self._compare_rows(entry, [self._zip(entry, each) for each in changed])
        whole = self._fetched(entry) if other == _WHOLE else self._rest(entry)
        return await self._compare_rows(entry, [whole])

    async def _has_changed(self, file: CacheFile, source: Source) -> bool:
        checksum = await self._exchange.archive.checksum(file.series, *_cut(file, source))
        return source.sha256 != checksum

    async def _compare_with_today(self, entry: CacheEntry) -> FileAudit:
        """Compare with the archive that there is today, else with REST."""
        cut = entry.file.dataset.cut
        if cut in entry.file.series.archive_cuts:
            source = Source("monthly archive" if cut == "month" else "daily archive", "", "")
            try:
                return await self._compare_rows(entry, [self._zip(entry, source)])
            except NotFound:
                if self._exchange.source == "archive":
                    raise
        whole = self._rest(entry) if entry.file.dataset.has_rest else self._fetched(entry)
        return await self._compare_rows(entry, [whole])

    async def _compare_rows(
        self, entry: CacheEntry, opened: Sequence[AbstractAsyncContextManager[_Upstream]]
    ) -> FileAudit:
        """Compare with one source after the other, and sum up what differs."""
        count, source = 0, ""
        differences: list[RowDifference] = []
        for each in opened:
            async with each as upstream:
                source = upstream.source
                number, first = await asyncio.to_thread(_differ, self._store, entry, upstream)
                count += number
                differences += first
        verdict: Verdict = "differs" if count else "same rows"
        shown = tuple(differences[:_MOST_DIFFERENCES])
        return FileAudit(entry.file.name, verdict, source, count, shown)

    @asynccontextmanager
    async def _zip(self, entry: CacheEntry, source: Source) -> AsyncIterator[_Upstream]:
        file = entry.file
        cut, start = _cut(file, source)
        async with self._exchange.archive.fetch(file.series, cut, start) as fetched:
            start_ms, end_ms = file.period.start_ms, _end_ms(entry)
            if cut == "day":
                start_ms = to_ms(start)
                end_ms = min(end_ms, start_ms + DAY_MS)
            with self._store.writer(file) as part:
                # The zip of a month holds the other days too.
                rows = (lines.between(start_ms, end_ms) for lines in fetched.lines())
                await asyncio.to_thread(part.write_all, rows)
                yield _Upstream(source.road, start_ms, end_ms, part)

    @asynccontextmanager
    async def _rest(self, entry: CacheEntry) -> AsyncIterator[_Upstream]:
        file = entry.file
        whole = Gap(file.period.start_ms, _end_ms(entry))
        with self._store.writer(file) as part:
            async for lines in self._exchange.rest.lines(file.series, whole):
                await asyncio.to_thread(part.write_lines, lines)
            part.close()
            yield _Upstream("rest", whole.start_ms, whole.end_ms, part)

    @asynccontextmanager
    async def _fetched(self, entry: CacheEntry) -> AsyncIterator[_Upstream]:
        """A whole file of all its sources, as a download would write it today."""
        file = entry.file
        step = self._step(entry, _end_ms(entry))
        with FileUpdate(step, self._store, self._now_ms) as file_update:
            problem = await fetch_rows(file_update, step, self._exchange)
            if problem is not None or file_update.writer is None:
                msg = f"nothing of {file.name} came from the exchange"
                raise problem or BadAnswer(msg)
            source = "archive and rest" if file.dataset.has_rest else "daily archive"
            yield _Upstream(source, file.start_ms, step.until_ms, file_update.writer)

    async def _replace(self, entry: CacheEntry, found: FileAudit) -> FileAudit:
        """Replace a file by what the exchange has now, written as a whole and verified first."""
        file = entry.file
        async with locked(self._store, file):
            entry = await asyncio.to_thread(self._store.entry, file)
            is_untrue, end_ms = entry.is_untrue, _end_ms(entry)
            if entry.problem is not None:
                await uninterrupted(quarantine_entry, self._store, entry)
                entry = await asyncio.to_thread(self._store.entry, file)
            step = self._step(entry, end_ms)
            whole = structs.replace(step, entry=entry)
            with FileUpdate(whole, self._store, self._now_ms) as file_update:
                problem = await fetch_rows(file_update, step, self._exchange)
                is_loss = not is_untrue and file_update.facts.rows < entry.facts.rows
                if problem is not None or is_loss:
                    why = str(problem) if problem else "the exchange has fewer rows now"
                    return replace(found, verdict="not replaced", note=why)
                await file_update.commit()
        return replace(found, verdict="replaced")

    def _step(self, entry: CacheEntry, end_ms: int) -> Step:
        """What a download would do to fetch the whole file."""
        absent = CacheEntry(entry.file, absences=entry.absences)
        return decide(absent, end_ms, self._exchange.source)

    def _now_ms(self) -> int:
        return self._exchange.rest.now_ms


def _differ(
    store: Store, entry: CacheEntry, upstream: _Upstream
) -> tuple[int, list[RowDifference]]:
    """How much differs, and the first of it; CPU work, for a thread."""
    cached, fetched = (
        (between(table, upstream.start_ms, upstream.end_ms) for table in tables)
        for tables in (store.rows(entry.file), read_rows(upstream.part.path, entry.file))
    )
    dataset = entry.file.dataset
    return row_differences(dataset, cached, fetched, _MOST_DIFFERENCES, by_value=entry.legacy)


def _end_ms(entry: CacheEntry) -> int:
    """Up to where a file is compared: a running one up to its last row."""
    grid_end_ms = entry.file.grid_end_ms
    return grid_end_ms if entry.final else min(entry.end_ms or grid_end_ms, grid_end_ms)


def _cut(file: CacheFile, source: Source) -> tuple[Cut, datetime]:
    """Whether a zip is of a month or a day, and when that begins, by its URL."""
    cut: Cut = "month" if source.road == "monthly archive" else "day"
    if cut == "month" or not source.url:
        return cut, period_of(cut, file.period.start).start
    stamp = PurePosixPath(source.url).name.removesuffix(".zip")[-10:]
    return cut, datetime.fromisoformat(f"{stamp}T00:00+00:00")
