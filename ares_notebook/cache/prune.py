"""Keep a cache small: delete what is old, and what does not fit; look first."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from numbers import Real
from pathlib import Path
from stat import S_ISREG

from ares_notebook.cache.disk import PART_SUFFIX, cannot_access
from ares_notebook.cache.history import Run, note_run
from ares_notebook.cache.locks import held
from ares_notebook.cache.quarantine import quarantine_of, quarantined
from ares_notebook.cache.retention import Found, Limits, PruneItem, PruneReport, Trace, decided
from ares_notebook.cache.spans import meant, never
from ares_notebook.cache.store import Store
from ares_notebook.errors import BadArgument, CacheError, NeverDownloaded
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.model.time import to_ms
from ares_notebook.runtime.tasks import check_cancelled
from ares_notebook.settings import Settings, bytes_of

__all__ = ["prune_cache"]

_LOGGER = logging.getLogger("DataDownloader")
_DAY = timedelta(days=1)


def prune_cache(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    keep: float | timedelta | None = None,
    max_bytes: int | str | None = None,
    dry_run: bool = True,
    settings: Settings | None = None,
) -> PruneReport:
    """
    Delete what is older than *keep*, then the oldest of what does not fit *max_bytes*.

    By default only says what would go. Touches the disk only; a later download
    fetches again what went, where its lookback asks for it. With a file goes its
    receipt, and what the exchange confirmed as absent in it; receipts of empty
    periods age like files. What somebody is at work on, or has written since it was
    looked at, stays, and the report says so; nothing younger goes instead.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        Only k-lines of this interval, beside trades and funding, as in `coverage`.
    keep : float or timedelta, optional
        A file goes whose period ended so long ago, or longer; a number counts days,
        ``float("inf")`` keeps all. Damaged files in the quarantine go so long after they
        were put aside. Where *max_bytes* is not given either, both are those of the
        settings, ``keep_days`` and ``max_cache_bytes``.
    max_bytes : int or str, optional
        How large the rest may be: bytes on disk, or text such as ``"20 GB"``. Damaged
        files go first, then those whose period ended first. It is the size of what
        *symbol* and *interval* mean, without them that of all cache files and the
        quarantine; receipts, locks and the run history are not counted. Defaults to
        ``settings.max_cache_bytes``.
    dry_run : bool
        False deletes, and leaves a line in the run history. True (the default) deletes
        nothing, and returns what would be done. Whether
        somebody is at work on a file is only seen when it is to go.
    settings : Settings, optional

    Returns
    -------
    PruneReport
        What went or would go, and why; what stays. True when nothing failed: a file
        that cannot be deleted is told of there, and stops none of the others.

    Raises
    ------
    BadArgument
        If neither *keep* nor *max_bytes* is given, here or in the settings, or a value
        cannot be meant.
    NeverDownloaded
        If the cache holds nothing of that.
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
    would delete 1 file, 4.9 KB; 2 files, 9.3 KB stay. Pass dry_run=False (in the shell --yes) to do it.
      klines_BTCUSDT_1d_2025-01.csv  4.9 KB  it is among the oldest, and 10.0 KB are kept
    >>> print(report)
    deleted 1 file, 4.9 KB; 2 files, 9.3 KB stay.
      klines_BTCUSDT_1d_2025-01.csv  4.9 KB  it is among the oldest, and 10.0 KB are kept
    """
    chosen = settings or Settings()
    limits = _limits(keep, max_bytes, chosen)
    if not isinstance(dry_run, bool):
        msg = f"dry_run={dry_run!r} is neither True nor False"
        raise BadArgument(msg)
    store = Store(chosen)
    found = list(_found(store, meant(symbol, interval)))
    if not found:
        raise NeverDownloaded(never(store, symbol, interval))
    began = datetime.now(UTC)
    row = decided(found, began, limits)
    if dry_run:
        return PruneReport(tuple(each.item for each in row), dry_run)
    items: list[PruneItem] = []
    run = Run(began, "prune", (symbol or "").upper(), interval or "", ending="cancelled")
    try:
        for each in row:
            check_cancelled()
            items.append(_deleted(store, each) if each.goes else each.item)
        run = replace(run, ending="done")
    finally:
        # What was deleted before a stop is on record too.
        _note(store.folder, run, items)
    return PruneReport(tuple(items), dry_run)


def _note(folder: Path, run: Run, items: Sequence[PruneItem]) -> None:
    """Write the line of the run history."""
    report = PruneReport(tuple(items), dry_run=False)
    ending = "failed" if report.failed and run.ending == "done" else run.ending
    told = replace(
        run,
        ending=ending,
        files=report.files,
        seconds=round((datetime.now(UTC) - run.at).total_seconds(), 3),
        failures=len(report.failed),
        error="".join(f"{each.file}: {each.error}" for each in report.failed[:1]),
    )
    note_run(folder, told)


def _limits(keep: float | timedelta | None, size: int | str | None, settings: Settings) -> Limits:
    # Who names one limit means that one: the other of the settings must not delete beside it.
    is_said = keep is not None or size is not None
    given = keep if is_said else settings.keep_days
    days = None if given is None else _in_days(given)
    wanted = size if is_said else settings.max_cache_bytes
    if days is None and wanted is None:
        msg = (
            "what is to stay? Pass keep=30 (days) or max_bytes='20 GB', on the command line "
            "--keep-days or --max-bytes, or set ARES_KEEP_DAYS or ARES_MAX_CACHE_BYTES"
        )
        raise BadArgument(msg)
    return Limits(days, None if wanted is None else bytes_of(wanted, "max_bytes"))


def _in_days(keep: float | timedelta) -> float:
    if isinstance(keep, timedelta):
        days = keep / _DAY
    elif isinstance(keep, Real) and not isinstance(keep, bool):
        days = float(keep)
    else:
        msg = f"keep={keep!r} is no time; pass days, such as 30, or a timedelta"
        raise BadArgument(msg)
    if not days > 0:
        msg = f"keep={keep!r} must be more than 0 days"
        raise BadArgument(msg)
    return days


def _found(store: Store, is_meant: Callable[[Series], bool]) -> Iterator[Found]:
    """All that may be deleted of what is meant."""
    try:
        for file in filter(lambda each: is_meant(each.series), store.files()):
            paths = _paths(store, file)
            if traces := _traces(paths):
                size = sum(each.size for each in traces if each.path != paths[0])
                is_lone = [each.path for each in traces] == [paths[0]]
                item = PruneItem(file.name, "receipt" if is_lone else "file", size)
                yield Found(file, item, file.period.end_ms, paths, traces)
        for aside in quarantined(quarantine_of(store.folder)):
            if is_meant(aside.file.series):
                paths = (aside.note, aside.path)
                traces = _traces(paths)
                name = aside.path.relative_to(store.folder).as_posix()
                item = PruneItem(name, "quarantined", sum(each.size for each in traces))
                yield Found(aside.file, item, to_ms(aside.at), paths, traces)
    except OSError as error:
        raise cannot_access(store.folder, error) from error


def _paths(store: Store, file: CacheFile) -> tuple[Path, ...]:
    """
    All that a cache file may consist of, in the order in which it is deleted.

    The receipt first: a file without one is measured anew, but rows that only a receipt
    tells of are an error. The compressed form before the plain one, which is believed
    where both are there. So whoever kills us in between leaves nothing wrong.
    """
    plain = store.folder / file.name
    return store.receipt_path(file), plain.with_name(f"{plain.name}.zst"), plain


def _traces(paths: tuple[Path, ...]) -> tuple[Trace, ...]:
    """How those of the paths look now that are files."""
    seen = []
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if S_ISREG(status.st_mode):
            seen.append(Trace(path, status.st_size, status.st_mtime_ns))
    return tuple(seen)


def _deleted(store: Store, found: Found) -> PruneItem:
    """Delete it, if it is still what was looked at and nobody is at work on it; say what became of it."""
    item = found.item
    try:
        with held(store.lock_path(found.file)) as is_ours:
            if not is_ours:
                return item.kept("somebody is at work on it")
            now = _traces(found.paths)
            if now and now != found.traces:
                return item.kept("it has been changed since it was looked at")
            # Another pruning may have been first: then it is gone, as it should be.
            if now:
                _unlink([each.path for each in now])
    except CacheError as error:
        return item.kept(item.reason, error)
    _LOGGER.info("%s deleted: %s", item.file, item.reason)
    return item


def _unlink(paths: list[Path]) -> None:
    """Delete in this order; where one cannot be deleted, the first (the receipt) stays too."""
    first, *others = paths
    aside = first.with_name(f".{first.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        first.replace(aside)
        try:
            for path in (*others, aside):
                path.unlink()
        except OSError:
            aside.replace(first)
            raise
    except OSError as error:
        raise cannot_access(Path(error.filename or first), error) from error
