"""Repair: close the gaps inside what is there, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import partial

from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.quarantine import verified
from ares_notebook.cache.spans import Span, spans
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.plan import Plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, plan_and_run
from ares_notebook.model.symbols import validate_symbol
from ares_notebook.model.time import utc
from ares_notebook.runtime.progress import ProgressListener
from ares_notebook.settings import Settings

__all__ = ["plan_repair", "repair_gaps"]


async def repair_gaps(
    symbol: str,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    recheck: bool = False,
    on_progress: ProgressListener | None = None,
) -> DownloadReport:
    """
    Close the gaps of what the cache has of *symbol*; bring nothing beyond its last rows.

    Asks for exactly the missing spans. Damaged files are put into quarantine and
    replaced. What the exchange has confirmed as absent is not asked for again.

    Parameters
    ----------
    symbol : str
    interval : str, optional
        Only k-lines of this interval, beside trades and funding.
    start, end : datetime, date or str, optional
        Only files of ``[start, end)``; by default from the first row of a series to
        its last.
    settings : Settings, optional
    recheck : bool
        Ask once more for what the exchange once said it does not have.
    on_progress : callable, optional
        As in `download_all_data`.

    Returns
    -------
    DownloadReport
        One entry a file of the window; true when nothing failed.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of that.
    BadArgument, UnknownSymbol, CacheUnavailable, WrongMarket
        As `download_all_data`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1h", 0.2, end="2025-03-01", settings=settings))
    ...     (settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv").unlink()
    ...     report = run(repair_gaps("BTCUSDT", settings=settings))
    >>> report.rows_written
    744
    """
    chosen = settings or Settings()
    make = partial(
        plan_repair, symbol, interval, start=start, end=end, settings=chosen, recheck=recheck
    )
    return await plan_and_run(
        RunInfo("repair", chosen, str(symbol), interval or ""), make, on_progress
    )


def plan_repair(
    symbol: str,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    recheck: bool = False,
) -> Plan:
    """What `repair_gaps` would do, file by file; reads the cache, touches no network."""
    chosen = settings or Settings()
    store = Store(chosen)
    found = spans(store, validate_symbol(symbol), interval, start, end)
    steps = [step for span in found for step in _steps(span, store, chosen, recheck=recheck)]
    first = utc(min(span.start_ms for span in found))
    last = utc(max(span.end_ms for span in found))
    return Plan(chosen, validate_symbol(symbol), interval, first, last, tuple(steps))


def _steps(span: Span, store: Store, settings: Settings, *, recheck: bool) -> Iterator[Step]:
    # What rots on the disk keeps its size and time: the bytes themselves are looked at here.
    entries = [verified(store, entry) for entry in store.entries(span.files)]
    end_ms = min(span.end_ms, _end_ms(entries, store))
    for entry in entries:
        if entry.file.period.start_ms < end_ms:
            asked = replace(entry, absences=()) if recheck else entry
            step = decide(asked, end_ms, settings.source)
            yield replace(step, is_recheck=recheck)


def _end_ms(entries: Sequence[CacheEntry], store: Store) -> int:
    """Where the rows of a series end, or did when the last receipt that knew some was written."""
    for entry in reversed(entries):
        receipt = store.receipt(entry.file)
        if entry.final or (receipt is not None and receipt.final):
            return entry.file.grid_end_ms
        if entry.end_ms is not None:
            # What was asked for behind the last row, and is not proven, is a gap too.
            return max(entry.end_ms, *(each.end_ms for each in entry.absences), 0)
        if entry.problem is not None and receipt is None:
            # Nobody has noted how far it went, and what is readable may end before it did.
            return entry.file.grid_end_ms
    return entries[0].file.start_ms
