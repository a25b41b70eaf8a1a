"""Delete old files, and the oldest of those that exceed a size."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from numbers import Real
from pathlib import Path
from stat import S_ISREG

from ares_notebook.cache.disk import PART_SUFFIX, cannot_access, delete, rename
from ares_notebook.cache.entry import COPIES, COPY_SUFFIX
from ares_notebook.cache.history import Run, note_run
from ares_notebook.cache.locks import held
from ares_notebook.cache.prune_report import PruneItem, PruneReport
from ares_notebook.cache.quarantine import quarantine_of, quarantined
from ares_notebook.cache.spans import Scope, nothing_cached
from ares_notebook.cache.store import Store
from ares_notebook.errors import BadArgument, CacheError
from ares_notebook.formatting import in_words_of, size_in_words
from ares_notebook.model.files import CacheFile, Series, forms_of, parse_file_name
from ares_notebook.model.time import DAY_MS, to_ms, utc
from ares_notebook.runtime.cancellation import check_cancelled
from ares_notebook.settings import Settings, bytes_of, settings_given

_LOGGER = logging.getLogger("DataDownloader")


def prune_cache(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    keep: float | timedelta | None = None,
    max_bytes: int | str | None = None,
    dry_run: bool = True,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> PruneReport:
    """
    Delete what is older than *keep*, then the oldest of what exceeds *max_bytes*.

    By default it only lists what would be deleted. No network is used; a later download fetches
    a deleted file again if its lookback covers it. A file is deleted together with its receipt
    and the confirmed absences in it; receipts of empty periods age like files. A file that
    another process holds, or that has changed since it was listed, is kept and reported; nothing
    younger is deleted in its stead.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all cached ones.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    keep : float or timedelta, optional
        Delete a file whose period ended this long ago or longer; a number counts days, and
        ``float("inf")`` keeps all. The age of a quarantined file counts from its quarantine.
        If neither *keep* nor *max_bytes* is given, ``keep_days`` and ``max_cache_bytes`` of
        the settings apply.
    max_bytes : int or str, optional
        Size limit of what is kept: bytes on disk, or text such as ``"20 GB"``. Arrow copies are
        deleted first, which costs only time, then quarantined files, then those whose period ended
        first. All three are counted; receipts, locks and the run history are not.
    dry_run : bool
        False deletes, and adds a line to the run history. True (the default) deletes nothing
        and returns what would be deleted. Whether another process holds a file is only
        checked when the file is deleted.
    settings : Settings, optional
        The cache folder and the default limits. Defaults to the environment's.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    PruneReport
        What was or would be deleted and why, and what is kept. True if nothing failed; a file
        that cannot be deleted is reported and does not stop the others.

    Raises
    ------
    BadArgument
        If no limit is given, here or in the settings, or an argument is invalid.
    NeverDownloaded
        If the cache holds nothing of the selection.
    CacheUnavailable
        If the folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.2, end="2025-04-01", settings=settings))
    ...     would = prune_cache(max_bytes="10 KB", settings=settings)
    ...     report = prune_cache(max_bytes="10 KB", dry_run=False, settings=settings)
    >>> print(would)
    would delete 1 file, 4.9 KB; 2 files, 9.3 KB stay. Pass dry_run=False to do it.
      klines_BTCUSDT_1d_2025-01.csv  4.9 KB  it is among the oldest, and 10.0 KB are kept
    >>> print(report)
    deleted 1 file, 4.9 KB; 2 files, 9.3 KB stay.
      klines_BTCUSDT_1d_2025-01.csv  4.9 KB  it is among the oldest, and 10.0 KB are kept
    """
    chosen = settings_given(settings)
    keep_days, most_bytes = _limits(keep, max_bytes, chosen)
    if not isinstance(dry_run, bool):
        msg = f"dry_run={dry_run!r} is neither True nor False"
        raise BadArgument(msg)
    store = Store(chosen)
    scope = Scope.of(symbol, interval, datasets)
    candidates = list(_candidates(store, scope))
    if not candidates:
        raise nothing_cached(store, scope)
    began = datetime.now(UTC)
    marked = mark_deletions(candidates, began, keep_days, most_bytes)
    if dry_run:
        return PruneReport(tuple(each.item for each in marked), dry_run)
    items: list[PruneItem] = []
    about = (scope.symbol or "", scope.interval or "", ",".join(scope.names))
    run = Run(began, "prune", *about, ending="cancelled")
    try:
        for each in marked:
            check_cancelled()
            items.append(_delete(store, each) if each.item.action == "delete" else each.item)
        run = replace(run, ending="done")
    finally:
        # A cancelled run has deleted files too.
        _record(store.folder, run, items)
    return PruneReport(tuple(items), dry_run)


def _record(folder: Path, run: Run, items: Sequence[PruneItem]) -> None:
    """Add the run to the run history."""
    report = PruneReport(tuple(items), dry_run=False)
    finished = replace(
        run,
        ending="failed" if report.failed and run.ending == "done" else run.ending,
        files=report.files,
        seconds=round((datetime.now(UTC) - run.at).total_seconds(), 3),
        failures=len(report.failed),
        error="".join(f"{each.file}: {each.error}" for each in report.failed[:1]),
    )
    note_run(folder, finished)


def _limits(
    keep: float | timedelta | None, size: int | str | None, settings: Settings
) -> tuple[float | None, int | None]:
    """The age limit in days and the size limit in bytes."""
    # An explicit limit is the only one: the other one of the settings must not delete more.
    if keep is None and size is None:
        keep, size = settings.keep_days, settings.max_cache_bytes
    if keep is None and size is None:
        options = in_words_of(
            "keep=30 (days) or max_bytes='20 GB'", "--keep-days 30 or --max-bytes '20 GB'"
        )
        msg = f"what is to stay? Pass {options}, or set ARES_KEEP_DAYS or ARES_MAX_CACHE_BYTES"
        raise BadArgument(msg)
    days = None if keep is None else _in_days(keep)
    return days, None if size is None else bytes_of(size, "max_bytes")


def _in_days(keep: float | timedelta) -> float:
    if isinstance(keep, timedelta):
        days = keep / timedelta(days=1)
    elif isinstance(keep, Real) and not isinstance(keep, bool):
        days = float(keep)
    else:
        msg = f"keep={keep!r} is no time; pass days, such as 30, or a timedelta"
        raise BadArgument(msg)
    if not days > 0:
        msg = f"keep={keep!r} must be more than 0 days"
        raise BadArgument(msg)
    return days


@dataclass(frozen=True, slots=True)
class PruneCandidate:
    """A cache file, quarantined file or lone receipt, with the paths that belong to it."""

    file: CacheFile
    item: PruneItem
    # From when its age counts: the end of its period, or its quarantine.
    old_since_ms: int
    # All paths that it may consist of, in the order of deletion.
    paths: tuple[Path, ...] = ()
    # Size and modification time of those that exist, by which a change is detected.
    states: dict[Path, tuple[int, int]] = field(default_factory=dict)


def mark_deletions(
    candidates: Iterable[PruneCandidate],
    now: datetime,
    keep_days: float | None = None,
    max_bytes: int | None = None,
) -> list[PruneCandidate]:
    """The candidates in the order of deletion, each item with its action and reason."""
    ordered = sorted(candidates, key=_deletion_order)
    reasons: dict[str, str] = {}
    if keep_days is not None:
        limit_ms = to_ms(now) - keep_days * DAY_MS
        kept = "1 day is" if keep_days == 1 else f"{keep_days:,g} days are"
        old = (each for each in ordered if each.old_since_ms <= limit_ms)
        reasons = {each.item.file: f"{_since(each)}, and {kept} kept" for each in old}
    if max_bytes is not None:
        reasons |= _exceeding(
            [each for each in ordered if each.item.file not in reasons], max_bytes
        )
    reasons = _lone_receipts(ordered, reasons) | reasons
    return [
        replace(each, item=replace(each.item, action="delete", reason=reasons[each.item.file]))
        if each.item.file in reasons
        else each
        for each in ordered
    ]


def _deletion_order(candidate: PruneCandidate) -> tuple[int, int, int, str]:
    """As `_RANKS`, then the oldest; of one age the largest, so that the fewest go."""
    item = candidate.item
    return _RANKS.get(item.what, 2), candidate.old_since_ms, -item.bytes, item.file


_RANKS = {"copy": 0, "quarantined": 1}
_WHY_FIRST = {"copy": "it is made anew when it is needed", "quarantined": "it is damaged"}


def _since(candidate: PruneCandidate) -> str:
    event = "it was quarantined" if candidate.item.what == "quarantined" else "its period ended"
    return f"{event} on {utc(candidate.old_since_ms):%Y-%m-%d}"


def _exceeding(candidates: Sequence[PruneCandidate], max_bytes: int) -> dict[str, str]:
    """The first ones that have to be deleted for the rest to fit, with the reason."""
    kept_bytes = sum(each.item.bytes for each in candidates)
    reasons = {}
    for item in (each.item for each in candidates if each.item.what != "receipt"):
        if kept_bytes <= max_bytes:
            break
        why = _WHY_FIRST.get(item.what, "it is among the oldest")
        reasons[item.file] = f"{why}, and {size_in_words(max_bytes)} are kept"
        kept_bytes -= item.bytes
    return reasons


def _lone_receipts(candidates: Sequence[PruneCandidate], reasons: dict[str, str]) -> dict[str, str]:
    """
    Receipts of empty periods before a deleted file.

    If one stayed, the series would begin with it and have a gap after it.
    """
    ends: dict[Series, int] = {}
    for each in candidates:
        if each.item.what == "file" and each.item.file in reasons:
            ends[each.file.series] = max(each.old_since_ms, ends.get(each.file.series, 0))
    return {
        each.item.file: "its series begins after it now"
        for each in candidates
        if each.item.what == "receipt" and each.old_since_ms <= ends.get(each.file.series, 0)
    }


def _candidates(store: Store, scope: Scope) -> Iterator[PruneCandidate]:
    try:
        for file in filter(lambda each: scope.has(each.series), store.files()):
            # The receipt first: a file without one is measured again, but rows that only a receipt
            # lists are an error. The forms that count where several exist come last. So a process
            # killed in between leaves nothing wrong.
            receipt = store.receipt_path(file)
            forms = (store.folder / form for form in reversed(forms_of(file.name)))
            paths: tuple[Path, ...] = (receipt, *forms)
            if states := _states(paths):
                size = sum(states[path][0] for path in states if path != receipt)
                is_lone = list(states) == [receipt]
                item = PruneItem(file.name, "receipt" if is_lone else "file", size)
                yield PruneCandidate(file, item, file.end_ms, paths, states)
        for path in sorted((store.folder / COPIES).glob(f"*{COPY_SUFFIX}")):
            copied = parse_file_name(path.name.removesuffix(COPY_SUFFIX).removesuffix(".zst"))
            if copied is not None and scope.has(copied.series) and (states := _states((path,))):
                item = PruneItem(path.relative_to(store.folder).as_posix(), "copy", states[path][0])
                yield PruneCandidate(copied, item, copied.end_ms, (path,), states)
        for each in quarantined(quarantine_of(store.folder)):
            if scope.has(each.file.series):
                paths = (each.note, each.path)
                states = _states(paths)
                name = each.path.relative_to(store.folder).as_posix()
                item = PruneItem(name, "quarantined", sum(size for size, _ in states.values()))
                yield PruneCandidate(each.file, item, to_ms(each.at), paths, states)
    except OSError as error:
        raise cannot_access(store.folder, error) from error


def _states(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Size and modification time of those paths that are files."""
    states = {}
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if S_ISREG(status.st_mode):
            states[path] = (status.st_size, status.st_mtime_ns)
    return states


def _delete(store: Store, candidate: PruneCandidate) -> PruneItem:
    """Delete it unless it has changed or another process holds its lock; return the outcome."""
    item = candidate.item
    try:
        with held(store.lock_path(candidate.file)) as is_ours:
            if not is_ours:
                return item.kept("another process is at work on it")
            states = _states(candidate.paths)
            if states and states != candidate.states:
                return item.kept("it has been changed since it was looked at")
            # Another pruning may have deleted it already.
            if states:
                _unlink(list(states))
    except CacheError as error:
        return item.kept(item.reason, error)
    _LOGGER.info("%s deleted: %s", item.file, item.reason)
    return item


def _unlink(paths: Sequence[Path]) -> None:
    """Delete in this order; if one cannot be deleted, the first (the receipt) stays too."""
    first, *others = paths
    aside = first.with_name(f".{first.name}.{os.getpid()}{PART_SUFFIX}")
    rename(first, aside)
    try:
        for path in (*others, aside):
            delete(path)
    except CacheError:
        rename(aside, first)
        raise
