"""Download history: a row a source, from the receipts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.spans import cached_files
from ares_notebook.cache.store import Store
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["download_history", "sources_of"]

_COLUMNS = [
    "at",
    "dataset",
    "symbol",
    "interval",
    "file",
    "start",
    "end",
    "road",
    "url",
    "sha256",
]


def download_history(
    symbol: str | None = None, interval: str | None = None, *, settings: Settings | None = None
) -> pd.DataFrame:
    """
    What came when, and by which road: a row a source of a file, oldest first.

    Reads the disk only. It is what the receipts of today's files tell: a file that
    was replaced whole tells of its replacement, one without a receipt of nothing.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        Only k-lines of this interval, beside trades and funding.
    settings : Settings, optional

    Returns
    -------
    pandas.DataFrame
        Columns ``at, dataset, symbol, interval, file, start, end, road, url, sha256``.
        ``at`` is when it came, ``start`` and ``end`` the period of the file, all aware
        UTC; ``road`` is ``monthly archive``, ``daily archive``, ``rest``, ``legacy``
        (the original downloader wrote it) or ``salvaged`` (what was good in a damaged file);
        ``sha256`` is that of the archive, missing for the other roads.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of that.
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
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-02-10", settings=settings))
    ...     table = download_history(settings=settings)
    >>> sorted(zip(table["file"], table["road"]))
    [('klines_BTCUSDT_1d_2025-01.csv', 'monthly archive'), ('klines_BTCUSDT_1d_2025-02.csv', 'rest')]
    """
    store = Store(settings or Settings())
    entries = (store.entry(file) for file in cached_files(store, symbol, interval))
    # A stable sort: what came at one moment stays in order of the files.
    return sources_of(entries).sort_values("at", kind="stable", ignore_index=True)


def sources_of(entries: Iterable[CacheEntry]) -> pd.DataFrame:
    """The sources of some files, in their order, as `download_history` returns them."""
    import pandas as pd  # noqa: PLC0415 - the store alone does without it

    from ares_notebook.cache.table import CacheTable  # noqa: PLC0415 - as above

    rows = [
        {
            "dataset": entry.file.dataset.name,
            "symbol": entry.file.series.symbol,
            "interval": entry.file.series.interval or "",
            "file": entry.file.name,
            "start": entry.file.period.start,
            "end": entry.file.period.end,
            **asdict(source),
        }
        for entry in entries
        for source in entry.sources
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    # Somebody may have edited a receipt: a moment that is none becomes NaT.
    table["at"] = pd.to_datetime(table["at"], utc=True, format="ISO8601", errors="coerce")
    stamps = dict.fromkeys(("at", "start", "end"), "datetime64[us, UTC]")
    return CacheTable(table.astype(stamps))
