"""Validate the cache; alone, or as a step that raises below thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from ares_notebook.cache.coverage import coverage
from ares_notebook.cache.damage import verified
from ares_notebook.cache.entry import Have
from ares_notebook.cache.gaps import find_gaps
from ares_notebook.cache.history import sources_of
from ares_notebook.cache.market_guard import market_of
from ares_notebook.cache.neighbours import haves_of
from ares_notebook.cache.receipts import Receipt
from ares_notebook.cache.spans import cached_files, spans
from ares_notebook.cache.store import Store
from ares_notebook.download.run_info import Errand, on_record
from ares_notebook.errors import CorruptFile, NeverDownloaded
from ares_notebook.model.facts import Hole
from ares_notebook.model.files import CacheFile
from ares_notebook.model.time import to_ms, utc
from ares_notebook.quality.checks import RowTally
from ares_notebook.quality.findings import Finding
from ares_notebook.quality.fingerprint import Fingerprint, fingerprint
from ares_notebook.quality.reconcile import reconcile
from ares_notebook.quality.report import QualityReport
from ares_notebook.quality.thresholds import MissingRows, shortfalls
from ares_notebook.runtime.progress import tracked
from ares_notebook.runtime.threads import breakable
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["assure_quality", "validate_cache"]

# What a reader's sentence is a finding of; anything else is text that is not ours.
_CHECK_OF = {
    "doubled or out of order": "order and uniqueness",
    "another period": "stamps inside the period",
    "another scale": "scale of prices",
}
_SOURCE_COLUMNS = ["file", "road", "url", "sha256", "at"]


def validate_cache(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    settings: Settings | None = None,
) -> QualityReport:
    """
    Check every row and every byte of the cache; count what is wrong, repair nothing.

    Reads the disk only, each file table by table. An error is data that is wrong,
    missing or damaged; a warning is data that is unusual, but such as Binance has
    served. Rows that the last download did not ask for (its ``end``) are not missing.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        Only k-lines of this interval, beside trades and funding.
    settings : Settings, optional
        Of its own here: ``price_jump_share``, and the thresholds ``min_complete_share``,
        ``max_errors``, ``max_warnings``, which `QualityReport.raise_below_thresholds` holds.

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
    chosen = settings or Settings()
    store = Store(chosen)
    files = _files(store, symbol, interval)
    haves = [
        each for span in spans(store, symbol, interval) for each in haves_of(store, span.files)
    ]
    audit = _Audit(store, haves, chosen.price_jump_share)
    for have in tracked(haves, chosen, "validate"):
        audit.look_at(have)
    sound = [file for file in files if file not in audit.unreadable]
    compared = reconcile(store, sound, chosen)
    findings = (*audit.findings, *_never_asked_for(store, haves), *_differences(compared))
    completeness = audit.missing.completeness()
    return QualityReport(
        findings=findings,
        files=sum(have.path is not None for have in haves),
        rows=audit.rows,
        coverage=coverage(symbol, interval, settings=chosen),
        gaps=_gaps(files, interval, chosen),
        sources=sources_of(haves)[_SOURCE_COLUMNS],
        reconciliation=compared,
        fingerprints=tuple(_fingerprints(haves, audit.unreadable, chosen)),
        market=market_of(store.folder) or chosen.market_name,
        made_at=datetime.now(UTC),
        completeness=completeness,
        shortfalls=shortfalls(findings, completeness, chosen),
    )


def _files(store: Store, symbol: str | None, interval: str | None) -> list[CacheFile]:
    """What is to be validated; never nothing."""
    if not store.files() and store.folder.is_dir() and any(store.folder.iterdir()):
        msg = (
            f"{store.folder} is not a cache: none of the files in it is ours; "
            f"name another cache_dir, or download something into it"
        )
        raise NeverDownloaded(msg)
    files = cached_files(store, symbol, interval)
    if interval is not None and not any(file.series.interval for file in files):
        # Trades and funding belong to any interval, and would pass for it.
        there = {each.series.interval for each in cached_files(store, symbol, None)} - {None}
        msg = (
            f"{store.folder} holds no k-lines of {interval}"
            f"{f' of {symbol}' if symbol else ''}; there are {', '.join(map(str, sorted(there, key=str))) or 'none'}"
        )
        raise NeverDownloaded(msg)
    return files


class _Audit:
    """Looks at one file after the other, and keeps what it found."""

    def __init__(self, store: Store, haves: Sequence[Have], price_jump_share: float) -> None:
        self.findings: list[Finding] = []
        self.unreadable: set[CacheFile] = set()
        self.missing = MissingRows()
        self.rows = 0
        self._store = store
        self._share = price_jump_share
        self._now_ms = to_ms(datetime.now(UTC))
        self._ends = {have.file.series: have.file for have in haves if have.path is not None}
        self._before: tuple[CacheFile, RowTally] | None = None

    def look_at(self, have: Have) -> None:
        """Check the bytes, the rows and the holes of one file."""
        receipt = self._store.receipt(have.file)
        if have.path is None and receipt is None:
            # Nobody has asked for it: a warning, of all such files together.
            self.missing.add(have.file, 0, have.unexplained(self._now_ms))
            return
        have = verified(self._store, have)
        self.findings += _bytes(have, receipt)
        self.findings += self._rows(have)
        if have.file in self.unreadable:
            whole = Hole(have.file.period.start_ms, have.file.period.end_ms)
            self.missing.add(have.file, 0, [whole])
        else:
            self.findings += self._holes(have)

    def _rows(self, have: Have) -> Iterator[Finding]:
        file = have.file
        tally = RowTally(file, self._share, self._tally_before(file))
        why = have.problem
        try:
            for table in self._store.rows(file):
                tally.add(table)
        except CorruptFile as error:
            why = str(error)
        self.rows += tally.rows
        self._before = (file, tally)
        found = tally.findings()
        yield from found
        if why is not None:
            self.unreadable.add(file)
            check = next((name for words, name in _CHECK_OF.items() if words in why), "schema")
            if not any(each.check == check and each.severity == "error" for each in found):
                yield Finding(file.name, check, "error", 1, why)

    def _tally_before(self, file: CacheFile) -> RowTally | None:
        """What was counted in the file before, where that is the period before."""
        if self._before is None:
            return None
        last_file, tally = self._before
        follows = last_file.series == file.series and last_file.period.end == file.period.start
        return tally if follows else None

    def _holes(self, have: Have) -> Iterator[Finding]:
        name, until_ms = have.file.name, self._now_ms
        if have.facts.rows and self._is_open(have):
            until_ms = have.asked_end_ms
            words = f"asked for up to {utc(until_ms):%Y-%m-%d %H:%M:%S}, and no further"
            yield Finding(name, "open end", "information", 1, words)
        left = have.unexplained(until_ms)
        own = [hole for hole in left if not have.is_told_before(hole)]
        self.missing.add(have.file, have.proven.rows, own)
        if left:
            yield Finding(name, "holes", "error", len(left), _hole_in_words(have, left[0]))
        told = [
            each for each in _counted(have, until_ms) if not any(_meet(each, it) for it in left)
        ]
        if told:
            words = f"{_hole_in_words(have, told[0])}, proven absent"
            yield Finding(name, "holes", "information", len(told), words)

    def _is_open(self, have: Have) -> bool:
        """Whether a download, as its receipt tells, was not asked for the rest of the file."""
        is_last = self._ends[have.file.series] == have.file if have.path else False
        return is_last and have.is_witnessed and not have.final and have.trouble is None


def _counted(have: Have, until_ms: int) -> list[Hole]:
    """Holes in which rows are missing for certain; without any row, all of them."""
    return [hole for hole in have.holes(until_ms) if hole.rows is not None or not have.facts.rows]


def _meet(hole: Hole, other: Hole) -> bool:
    return hole.start_ms < other.end_ms and other.start_ms < hole.end_ms


def _hole_in_words(have: Have, hole: Hole) -> str:
    words = f"{utc(hole.start_ms):%Y-%m-%d %H:%M:%S} to {utc(hole.end_ms):%Y-%m-%d %H:%M:%S}"
    if hole.rows is not None:
        words += f", {hole.rows:,} row{'s' if hole.rows > 1 else ''}"
    if hole.after_id is not None and hole.before_id is not None:
        words += f" between ids {hole.after_id} and {hole.before_id}"
    return words + (f" ({have.trouble.words})" if have.trouble else "")


def _bytes(have: Have, receipt: Receipt | None) -> Iterator[Finding]:
    """Whether the file is, byte by byte, the one that its receipt was written for."""
    name = have.file.name
    if have.legacy:
        words = (
            "the original downloader wrote it, and nothing proves its values; the next download of its "
            "period replaces it, or, of trades whose ids run on, keeps it"
        )
        yield Finding(name, "legacy format", "information", 1, words)
    if have.path is not None and not (have.legacy or have.is_witnessed or have.is_altered):
        words = "no receipt tells where its bytes came from; the next download of its period replaces it"
        yield Finding(name, "receipt", "information", 1, words)
    if receipt is None or receipt.sha256 is None:
        return
    if have.path is None:
        words = f"the file is gone; its receipt tells of {receipt.facts.rows:,} rows"
        yield Finding(name, "bytes", "error", 1, words)
        return
    if have.is_altered:
        words = f"its bytes are not those of its receipt (sha256 {receipt.sha256[:12]}…)"
        yield Finding(name, "bytes", "error", 1, words)


def _never_asked_for(store: Store, haves: Iterable[Have]) -> Iterator[Finding]:
    """Periods between two others of a series that nobody has downloaded."""

    def kind(have: Have) -> tuple[object, bool]:
        unknown = have.path is None and store.receipt(have.file) is None
        return have.file.series, unknown

    for (_, unknown), group in groupby(haves, key=kind):
        if unknown:
            names = [have.file.name for have in group]
            words = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
            yield Finding(names[0], "never downloaded", "warning", len(names), words)


def _differences(compared: pd.DataFrame) -> Iterator[Finding]:
    """Where two datasets should add up to the same, and do not."""
    for row in compared.to_dict("records"):
        apart = int(row["compared"]) - int(row["equal"])
        if apart:
            words = f"{row['what']}: first at {row['first_difference']}"
            yield Finding(str(row["symbol"]), "reconciliation", "warning", apart, words)


def _gaps(files: Iterable[CacheFile], interval: str | None, settings: Settings) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - the checks alone do without it

    symbols = sorted({file.series.symbol for file in files})
    tables = [find_gaps(symbol, interval, settings=settings) for symbol in symbols]
    return pd.concat(tables, ignore_index=True)


def _fingerprints(
    haves: Iterable[Have], unreadable: set[CacheFile], settings: Settings
) -> Iterator[Fingerprint]:
    """One a series that has rows and can be read as a whole."""
    for series, group in groupby(haves, key=lambda have: have.file.series):
        files = [have.file for have in group if have.path is not None]
        if files and not unreadable.intersection(files):
            name = series.dataset.name
            yield fingerprint(series.symbol, series.interval, dataset=name, settings=settings)


async def assure_quality(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    settings: Settings | None = None,
) -> QualityReport:
    """
    Validate the cache and hold it against the quality thresholds; a pipeline goes no further where they are missed.

    What `validate_cache` does, in a thread, so that the loop stays free; besides, the
    run history gets a line, and who is to be notified is told when quality is below.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        Only k-lines of this interval, beside trades and funding.
    settings : Settings, optional
        Its thresholds ``min_complete_share``, ``max_errors``, ``max_warnings``; whom to
        notify.

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
    chosen = settings or Settings()
    errand = Errand("validate", chosen, str(symbol or "").upper(), interval or "")
    report = await on_record(errand, _validated(symbol, interval, chosen))
    report.raise_below_thresholds()
    return report


async def _validated(symbol: str | None, interval: str | None, settings: Settings) -> QualityReport:
    return await breakable(validate_cache, symbol, interval, settings=settings)
