"""Coverage: a row a cache file, from receipts where they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import state_of
from ares_notebook.cache.neighbours import entries_of
from ares_notebook.cache.spans import cached_files, never
from ares_notebook.cache.store import Store
from ares_notebook.errors import NeverDownloaded
from ares_notebook.model.files import CacheFile
from ares_notebook.model.gaps import is_final
from ares_notebook.model.time import as_utc, to_ms
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["coverage"]


def coverage(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """
    What the cache holds: a row a file, oldest first a series.

    Reads the disk only; a file whose receipt holds is not opened.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        Only k-lines of this interval, beside trades and funding.
    start, end : datetime, date or str, optional
        Only files whose period overlaps ``[start, end)``; nothing at or after *end*
        is expected of them. By default whole files, up to now.
    settings : Settings, optional

    Returns
    -------
    pandas.DataFrame
        Columns ``dataset, symbol, interval, file, start, end, rows, expected, share,
        first, last, gaps, confirmed_absent, source, final, state``. ``expected`` counts the
        grid of k-lines, the ids of trades and the events of funding; ``holes`` are
        those that the exchange has not confirmed, ``confirmed_absent`` the rows of
        those that it has; ``source`` is ``archive``, ``rest``, both, ``legacy`` (a
        file of the original downloader), ``unknown`` (no receipt) or ``none`` (no file: the
        exchange has nothing, or it did not come). ``state`` says in a word how the file stands:
        ``complete``, or why rows are missing: ``confirmed absent upstream`` (all is
        there but for what the exchange itself does not have), ``before listing``, ``after
        delisting``, ``between listings``, ``unconfirmed``, ``not downloaded``, ``not yet
        published``, ``failed`` or ``corrupt, quarantined``, as in `find_gaps`. ``share`` runs from 0 to 1, ``final`` says
        that nothing more is to come. Times are aware UTC.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of that.
    BadArgument
        If an argument cannot be meant.
    CacheUnavailable
        If the cache folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     table = coverage(settings=settings)
    >>> table[["rows", "expected", "final"]].values.tolist()
    [[31, 31, True], [28, 28, True]]
    """
    from ares_notebook.cache.table import table_of  # noqa: PLC0415 - pandas is slow to import

    store = Store(settings or Settings())
    now = datetime.now(UTC)
    now_ms, until_ms = to_ms(now), to_ms(now if end is None else as_utc(end))
    files = cached_files(store, symbol, interval, start, end)
    known = [entry for group in _by_series(files) for entry in entries_of(store, group)]
    # A file that once had rows and lost them counts: it is to be seen that it is gone.
    if not any(entry.on_disk or entry.absences or entry.noted_rows for entry in known):
        raise NeverDownloaded(never(store, symbol, interval))
    # A file that was asked for and did not come has a row too, which says why.
    rows = [
        _row(entry, until_ms, now_ms)
        for entry in known
        if entry.on_disk or entry.absences or entry.noted_rows or entry.trouble
    ]
    return table_of(_COLUMNS, rows)


def _by_series(files: Iterable[CacheFile]) -> Iterator[list[CacheFile]]:
    """The files of each series, which are neighbours in a listing."""
    return (list(group) for _, group in groupby(files, key=attrgetter("series")))


_COLUMNS = [
    "dataset",
    "symbol",
    "interval",
    "file",
    "start",
    "end",
    "rows",
    "expected",
    "share",
    "first",
    "last",
    "holes",
    "confirmed_absent",
    "source",
    "final",
    "state",
]


def _row(entry: CacheEntry, until_ms: int, now_ms: int) -> tuple[Any, ...]:
    """The cells of one file, in the order of `_COLUMNS`; moments in milliseconds."""
    file, facts = entry.file, entry.facts
    # Rows beyond the end are there all the same, and then expected too.
    until_ms = max(until_ms, facts.covered_until_ms or 0)
    gaps = entry.gaps(until_ms)
    left = entry.unexplained(until_ms)
    proven = entry.proven
    missing, good = entry.missing(gaps), proven.rows - proven.off_grid
    expected = len(file.opens(until_ms)) if file.dataset.has_interval else good + missing
    return (
        file.dataset.name,
        file.series.symbol,
        file.series.interval or "",
        file.name,
        file.start_ms,
        file.end_ms,
        facts.rows,
        expected,
        good / expected if expected else float(entry.problem is None),
        facts.first_ms,
        facts.last_ms,
        len(left),
        missing - entry.missing(left),
        _source(entry),
        not left and (entry.final or _is_final(entry)),
        state_of(entry, gaps, left, now_ms),
    )


def _is_final(entry: CacheEntry) -> bool:
    """Whether it is final by what is known today: of its neighbours, too."""
    file = entry.file
    if entry.on_disk is not None and not entry.has_provenance:
        return False
    return is_final(file, entry.proven, entry.absences, file.grid_end_ms, entry.neighbours)


def _source(entry: CacheEntry) -> str:
    if entry.on_disk is None:
        return "none"
    if entry.legacy:
        return "legacy"
    roads = {source.road.rpartition(" ")[2] for source in entry.sources}
    return "+".join(sorted(roads)) or "unknown"
