"""Validate the cache; alone, or as a step that raises below thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ares_notebook.cache.coverage import coverage, find_gaps
from ares_notebook.cache.entry import CacheEntry, Receipt
from ares_notebook.cache.history import sources_of
from ares_notebook.cache.market_guard import market_of
from ares_notebook.cache.quarantine import verified
from ares_notebook.cache.spans import Moment, Scope, cached_files, calls_of, nothing_cached, spans
from ares_notebook.cache.store import Store
from ares_notebook.download.run_info import RunInfo, record_run
from ares_notebook.errors import CorruptFile, NeverDownloaded
from ares_notebook.formatting import in_words_of, many
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import CacheFile
from ares_notebook.model.relations import inexact_relation
from ares_notebook.model.symbols import pair_of
from ares_notebook.model.time import to_ms, utc
from ares_notebook.quality.checks import RowTally
from ares_notebook.quality.findings import (
    GAPS,
    NEVER_DOWNLOADED,
    Finding,
    MissingRows,
    Severity,
    shortfalls,
)
from ares_notebook.quality.fingerprint import Fingerprint, fingerprint
from ares_notebook.quality.reconcile import reconcile
from ares_notebook.quality.report import QualityReport
from ares_notebook.runtime.progress import tracked
from ares_notebook.runtime.tasks import cancellable
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

# The check that an error of reading belongs to, by words of its message; else it is the schema.
_CHECK_OF = {
    "doubled or out of order": "order and uniqueness",
    "another period": "stamps inside the period",
    "another scale": "scale of prices",
}


class _Selection(TypedDict):
    """What a validation is about, besides symbol and interval."""

    start: Moment
    end: Moment
    settings: Settings
    datasets: Sequence[str] | None


_SOURCE_COLUMNS = ["file", "road", "url", "sha256", "at"]


def validate_cache(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> QualityReport:
    """
    Check every row and every byte of the cache; count what is wrong, repair nothing.

    Reads the disk only, each file table by table. An error is data that is wrong,
    missing or damaged; a warning is data that is unusual, but such as Binance has
    served. Rows that the last download did not ask for (its ``end``) are not missing.

    Complete files are compared with each other: candles with trades and with smaller
    candles of the same market, in every digit; the premium index with mark price over
    index price, less one; funding rates with those that follow from the 1m premium
    index. A difference is a warning, or information with its share where the exchange's
    own numbers differ, too. Nothing is compared whose counterpart is not in the cache.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    start, end : datetime, date or str, optional
        Only files that overlap ``[start, end)``, UTC. Defaults to the span of each series.
    settings : Settings, optional
        Of its own here: ``price_jump_share``, and the thresholds ``min_complete_share``,
        ``max_errors``, ``max_warnings``, which `QualityReport.raise_below_thresholds` holds.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    QualityReport
        True when there is no error.

    Raises
    ------
    NeverDownloaded
        If there is nothing to validate; the message says whether the folder, the
        cache, the symbol or the interval is what is not there.
    BadArgument
        If *symbol* or *interval* cannot be one.
    CacheUnavailable
        If the cache folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     report = validate_cache("BTCUSDT", "1d", settings=settings)
    >>> report.ok, report.files, report.rows
    (True, 2, 59)
    """
    import pandas as pd  # noqa: PLC0415 - slow to import

    chosen = settings_given(settings)
    store, scope = Store(chosen), Scope.of(symbol, interval, datasets)
    files = _files(store, scope, start, end)
    found = spans(store, scope, start, end)
    entries = [each for span in found for each in store.entries(span.files)]
    validation = _Validation(store, entries, chosen.price_jump_share)
    for entry in tracked(entries, chosen, "validate"):
        validation.check(entry)
    sound = [file for file in files if file not in validation.unreadable]
    compared = reconcile(store, [*sound, *_indices(store, scope)], chosen)
    findings = (
        *validation.findings,
        *_never_downloaded(store, entries),
        *_without_files(scope, files),
        *_differences(compared),
    )
    completeness = validation.missing.completeness()
    symbols = sorted({file.series.symbol for file in files})
    selection: _Selection = {"start": start, "end": end, "settings": chosen, "datasets": datasets}
    gaps = [find_gaps(each, interval, **selection) for each in symbols]
    return QualityReport(
        findings=findings,
        files=sum(entry.path is not None for entry in entries),
        rows=validation.rows,
        coverage=coverage(symbol, interval, **selection),
        gaps=pd.concat(gaps, ignore_index=True),
        sources=sources_of(entries)[_SOURCE_COLUMNS],
        reconciliation=compared,
        fingerprints=tuple(_fingerprints(store, entries, validation.unreadable, chosen)),
        market=market_of(store.folder) or chosen.market_name,
        made_at=datetime.now(UTC),
        completeness=completeness,
        shortfalls=shortfalls(findings, completeness, chosen),
        calls=calls_of(chosen),
    )


def _files(store: Store, scope: Scope, start: Moment, end: Moment) -> list[CacheFile]:
    """The files to validate; raises where there are none."""
    if not store.files() and _has_others(store.folder):
        msg = (
            f"{store.folder} is not a cache: none of the files in it is ours; "
            f"name another {in_words_of('cache_dir', '--cache-dir')}, or download something into it"
        )
        raise NeverDownloaded(msg)
    files = cached_files(store, scope, start, end)
    there = {file.dataset for file in files}
    candles = (each for each in scope.datasets or () if each.has_interval and scope.interval)
    if lacking := tuple(each for each in candles if each not in there):
        # Datasets without an interval belong to any, and would pass for it.
        raise nothing_cached(store, replace(scope, datasets=lacking))
    return files


def _has_others(folder: Path) -> bool:
    """Whether a folder without a file of a cache has files of something else."""
    return folder.is_dir() and any(each.name != ".ares" for each in folder.iterdir())


def _indices(store: Store, scope: Scope) -> list[CacheFile]:
    """The files of the index of a contract, whose symbol is the pair."""
    pair = pair_of(scope.symbol or "")
    if pair == (scope.symbol or ""):
        return []
    own = replace(scope, symbol=pair)
    return [
        file
        for file in store.files(pair)
        if file.dataset.rest_symbol_parameter == "pair" and own.has(file.series)
    ]


class _Validation:
    """Checks one file after the other, and collects the findings."""

    def __init__(
        self, store: Store, entries: Sequence[CacheEntry], price_jump_share: float
    ) -> None:
        self.findings: list[Finding] = []
        self.unreadable: set[CacheFile] = set()
        self.missing = MissingRows()
        self.rows = 0
        self._store = store
        self._share = price_jump_share
        self._now_ms = to_ms(datetime.now(UTC))
        self._last = {entry.file.series: entry.file for entry in entries if entry.path is not None}
        self._before: tuple[CacheFile, RowTally] | None = None

    def check(self, entry: CacheEntry) -> None:
        """Check the bytes, the rows and the gaps of one file."""
        receipt = self._store.receipt(entry.file)
        if entry.path is None and receipt is None:
            # It was never downloaded: one warning for all such files together.
            self.missing.add(entry.file, 0, entry.unexplained(self._now_ms))
            return
        entry = verified(self._store, entry)
        self.findings += _check_bytes(entry, receipt)
        self.findings += self._check_rows(entry)
        if entry.file in self.unreadable:
            whole = Gap(entry.file.period.start_ms, entry.file.period.end_ms)
            self.missing.add(entry.file, 0, [whole])
        else:
            self.findings += self._check_gaps(entry)

    def _check_rows(self, entry: CacheEntry) -> Iterator[Finding]:
        file, problem = entry.file, entry.problem
        before = None
        if self._before is not None:
            last_file, last_tally = self._before
            is_next = last_file.series == file.series and last_file.end_ms == file.start_ms
            before = last_tally if is_next else None
        tally = RowTally(file, self._share, before)
        try:
            for table in self._store.rows(file):
                tally.add(table)
        except CorruptFile as error:
            problem = str(error)
        self.rows += tally.rows
        self._before = (file, tally)
        found = tally.findings()
        yield from found
        if problem is not None:
            self.unreadable.add(file)
            check = next((name for words, name in _CHECK_OF.items() if words in problem), "schema")
            if not any(each.check == check and each.severity == "error" for each in found):
                yield Finding(file.name, check, "error", 1, problem)

    def _check_gaps(self, entry: CacheEntry) -> Iterator[Finding]:
        name, until_ms = entry.file.name, self._now_ms
        # The last file of a series may end before its period does, if no more was requested.
        is_last = entry.path is not None and self._last[entry.file.series] == entry.file
        is_running = entry.has_provenance and not entry.final and entry.trouble is None
        if entry.facts.rows and is_last and is_running:
            until_ms = entry.asked_end_ms
            words = f"asked for up to {utc(until_ms):%Y-%m-%d %H:%M:%S}, and no further"
            yield Finding(name, "open end", "information", 1, words)
        unproven = entry.unexplained(until_ms)
        own = [gap for gap in unproven if not entry.is_counted_before(gap)]
        self.missing.add(entry.file, entry.proven.rows, own)
        if unproven:
            words = _gap_in_words(entry, unproven[0])
            yield Finding(name, GAPS, "error", len(unproven), words)
        # Gaps in which rows are missing for certain; in a file without rows all are.
        proven = [
            gap
            for gap in entry.gaps(until_ms)
            if (gap.rows is not None or not entry.facts.rows)
            and not any(
                gap.start_ms < each.end_ms and each.start_ms < gap.end_ms for each in unproven
            )
        ]
        if proven:
            words = f"{_gap_in_words(entry, proven[0])}, proven absent"
            yield Finding(name, GAPS, "information", len(proven), words)


def _gap_in_words(entry: CacheEntry, gap: Gap) -> str:
    words = f"{utc(gap.start_ms):%Y-%m-%d %H:%M:%S} to {utc(gap.end_ms):%Y-%m-%d %H:%M:%S}"
    if gap.rows is not None:
        words += f", {many(gap.rows, 'row')}"
    if gap.after_id is not None and gap.before_id is not None:
        words += f" between ids {gap.after_id} and {gap.before_id}"
    return words + (f" ({entry.trouble.words})" if entry.trouble else "")


def _check_bytes(entry: CacheEntry, receipt: Receipt | None) -> Iterator[Finding]:
    """Whether the file is, byte by byte, the one that its receipt was written for."""
    name = entry.file.name
    if entry.legacy:
        words = (
            "the original downloader wrote it, and nothing proves its values; the next download of its "
            "period replaces it, or, of trades whose ids run on, keeps it"
        )
        yield Finding(name, "legacy format", "information", 1, words)
    elif entry.path is not None and not (entry.has_provenance or entry.is_altered):
        words = (
            "no receipt names the source of its bytes; the next download of its period replaces it"
        )
        yield Finding(name, "receipt", "information", 1, words)
    if receipt is None or receipt.sha256 is None:
        return
    if entry.path is None:
        words = f"the file is gone; its receipt counts {receipt.facts.rows:,} rows"
        yield Finding(name, "bytes", "error", 1, words)
    elif entry.is_altered:
        words = f"its bytes are not those of its receipt (sha256 {receipt.sha256[:12]}…)"
        yield Finding(name, "bytes", "error", 1, words)


def _never_downloaded(store: Store, entries: Iterable[CacheEntry]) -> Iterator[Finding]:
    """Periods between two others of a series that were never downloaded."""

    def kind(entry: CacheEntry) -> tuple[object, bool]:
        unknown = entry.path is None and store.receipt(entry.file) is None
        return entry.file.series, unknown

    for (_, unknown), group in groupby(entries, key=kind):
        if unknown:
            names = [entry.file.name for entry in group]
            words = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
            yield Finding(names[0], NEVER_DOWNLOADED, "warning", len(names), words)


def _without_files(scope: Scope, files: Sequence[CacheFile]) -> Iterator[Finding]:
    """Datasets that were named, and of which the cache has nothing."""
    there = {file.dataset for file in files}
    for dataset in scope.datasets or ():
        if dataset not in there:
            words = f"the cache has nothing of {dataset.name}"
            yield Finding(scope.symbol or dataset.name, NEVER_DOWNLOADED, "warning", 1, words)


def _differences(compared: pd.DataFrame) -> Iterator[Finding]:
    """Where rows are not those that follow from other datasets."""
    for row in compared.to_dict("records"):
        different = int(row["compared"]) - int(row["equal"])
        if different:
            words = f"{row['what']}: first at {row['first_difference']}"
            relation = inexact_relation(str(row["what"]))
            if relation is not None:
                words += f"; {relation.in_words(different / int(row['compared']))}"
            severity: Severity = "warning" if relation is None else "information"
            yield Finding(str(row["symbol"]), "reconciliation", severity, different, words)


def _fingerprints(
    store: Store, entries: Iterable[CacheEntry], unreadable: set[CacheFile], settings: Settings
) -> Iterator[Fingerprint]:
    """One for the files of each series that has rows, if all of them can be read."""
    for series, group in groupby(entries, key=lambda entry: entry.file.series):
        files = [entry.file for entry in group if entry.path is not None]
        if files and not unreadable.intersection(files):
            cached = [file for file in store.files(series.symbol) if file.series == series]
            # The rows of the last file may end before its period does.
            end = None if files[-1] == cached[-1] else files[-1].period.end
            yield fingerprint(
                series.symbol,
                series.interval,
                files[0].period.start,
                end,
                dataset=series.dataset.name,
                settings=settings,
            )


async def assure_quality(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> QualityReport:
    """
    Validate the cache and raise if a quality threshold is missed, which stops a pipeline.

    It does what `validate_cache` does, in a thread, so that the event loop stays free.
    The run history gets a line, and a notification is sent when quality is below
    threshold.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    start, end : datetime, date or str, optional
        Only files that overlap ``[start, end)``, UTC. Defaults to the span of each series.
    settings : Settings, optional
        Its thresholds ``min_complete_share``, ``max_errors``, ``max_warnings``; whom to
        notify.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    QualityReport
        Of a cache that meets them.

    Raises
    ------
    PoorQuality
        If a threshold is missed: which, by how much, and what to do. It carries the report.
    NeverDownloaded
        If there is nothing to validate.
    BadArgument
        If *symbol* or *interval* cannot be one.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder, min_complete_share=0.999)
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     report = run(assure_quality("BTCUSDT", settings=settings))
    >>> report.completeness[0].share
    1.0
    """
    chosen = settings_given(settings)
    run_info = RunInfo.about("validate", chosen, Scope.of(symbol, interval, datasets))
    selection: _Selection = {"start": start, "end": end, "settings": chosen, "datasets": datasets}
    work = cancellable(validate_cache, symbol, interval, **selection)
    report = await record_run(run_info, work)
    report.raise_below_thresholds()
    return report
