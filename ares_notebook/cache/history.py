"""The log of runs, and the history of each cache file, as tables."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec.structs import asdict as struct_as_dict

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.spans import cached_files
from ares_notebook.cache.store import Store
from ares_notebook.errors import NeverDownloaded
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ending", "Run", "RunOutcome", "download_history", "load_runs", "note_run", "sources_of"]

_FILE_COLUMNS = [
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
            **struct_as_dict(source),
        }
        for entry in entries
        for source in entry.sources
    ]
    table = pd.DataFrame(rows, columns=_FILE_COLUMNS)
    # Somebody may have edited a receipt: a moment that is none becomes NaT.
    table["at"] = pd.to_datetime(table["at"], utc=True, format="ISO8601", errors="coerce")
    stamps = dict.fromkeys(("at", "start", "end"), "datetime64[us, UTC]")
    return CacheTable(table.astype(stamps))


_LOGGER = logging.getLogger("DataDownloader")
Ending = Literal["done", "incomplete", "failed", "cancelled", "below threshold", "differs"]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of a run, as its report counts it."""

    # ``done``; ``incomplete``: nothing failed, but the exchange has not been heard of all;
    # ``failed``; ``cancelled``; of a validation ``below threshold``, of an audit ``differs``.
    ending: Ending
    # How many it was about.
    files: int = 0
    # Files that failed, or differ; of a validation thresholds that were missed.
    failures: int = 0
    # The first of them, in words.
    error: str = ""
    # Rows that were looked at, where none is written.
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A line of the history."""

    # When it began, aware UTC.
    at: datetime
    # The verb: ``download``, ``repair``, ``fetch_missing_data``, ``audit``, ``validate``,
    # ``prune``.
    what: str
    # Of what; several with commas between, of many symbols the first and how many more; empty for
    # all that is there.
    symbol: str = ""
    interval: str = ""
    datasets: str = ""
    # The window that was asked for, half-open.
    start: datetime | None = None
    end: datetime | None = None
    # As in `Outcome`.
    ending: Ending = "done"
    files: int = 0
    # New in the cache; of a validation rows looked at.
    rows: int = 0
    # Tries are counted; *rate_limited* are answers 429 and 418.
    bytes_received: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    # How long it took.
    seconds: float = 0.0
    failures: int = 0
    error: str = ""


_RUN_COLUMNS = [field.name for field in fields(Run)]
_MOMENTS = ("at", "start", "end")
_COUNTS = ("files", "rows", "bytes_received", "requests", "retries", "rate_limited", "failures")


def note_run(folder: Path, run: Run) -> None:
    """
    Add a line to the history of a cache that is there; one that cannot be written is no failure.

    Several processes may do so at once: a line is one write at the end of the file.
    """
    # os.path, since a folder that may not be looked into must not raise here.
    if not os.path.isdir(folder / ".ares"):  # noqa: PTH112 - as said
        # A cache that could not be begun has no history.
        return
    line = json.dumps(asdict(run), default=_moment, ensure_ascii=False) + "\n"
    path = folder / ".ares" / "runs.jsonl"
    try:
        with path.open("ab+", buffering=0) as stream:
            if stream.tell() and stream.seek(-1, os.SEEK_END) >= 0 and stream.read(1) != b"\n":
                # A machine that lost power in the middle of a line must not spoil this one.
                line = "\n" + line
            data = line.encode()
            if stream.write(data) < len(data):
                # A disk that is full takes a part, and says nothing.
                _LOGGER.warning("the run is not in the history: no space left to write %s", path)
    except OSError as error:
        _LOGGER.warning("the run is not in the history: %s", cannot_access(path, error))


def _moment(value: object) -> str:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)


def load_runs(*, settings: Settings | None = None) -> pd.DataFrame:
    """
    What was done with the cache: a row a run, oldest first.

    Reads the disk only. Downloads, repairs, audits, validations (all but a bare
    `validate_cache`, which only looks) and prunings are runs, whether they were started in
    a cell, a script, the panel or the shell; those that had nothing to do and those that
    failed or were cancelled as well. A run that was killed leaves no line.

    Parameters
    ----------
    settings : Settings, optional
        Its ``cache_dir`` says of which cache.

    Returns
    -------
    pandas.DataFrame
        Columns ``at, what, symbol, interval, datasets, start, end, ending, files, rows,
        bytes_received, requests, retries, rate_limited, seconds, failures, error``. Times
        are aware UTC, *at* is when it began; ``ending`` is ``done``, ``incomplete``,
        ``failed``, ``cancelled``, ``below threshold`` or ``differs``; ``rate_limited``
        counts answers 429 and 418.

    Raises
    ------
    NeverDownloaded
        If the cache has no history.
    CacheUnavailable
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     runs = load_runs(settings=settings)
    >>> runs[["what", "symbol", "ending", "files", "rows"]].values.tolist()
    [['download', 'BTCUSDT', 'done', 2, 59]]
    """
    path = (settings or Settings()).cache_dir / ".ares" / "runs.jsonl"
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return _table(list(_lines(stream, path)))
    except FileNotFoundError:
        msg = (
            f"there is no run history in {path.parent.parent}; a download begins it, "
            f"or name another folder with cache_dir"
        )
        raise NeverDownloaded(msg) from None
    except OSError as error:
        raise cannot_access(path, error) from error


def _lines(stream: Iterable[str], path: Path) -> Iterable[dict[str, object]]:
    """The lines that are whole; one that is not is told, and costs no other."""
    for number, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise ValueError(text)  # noqa: TRY301, TRY004 - told of below, as any other wrong line
        except (ValueError, RecursionError):
            _LOGGER.warning("%s, line %d is no run, and is left out", path, number)
            continue
        yield line


def _table(lines: list[dict[str, object]]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - those who only note runs do without it

    from ares_notebook.cache.table import CacheTable  # noqa: PLC0415 - as above

    table = pd.DataFrame(lines, columns=_RUN_COLUMNS)
    for name in _MOMENTS:
        moments = pd.to_datetime(table[name], utc=True, format="ISO8601", errors="coerce")
        table[name] = moments.astype("datetime64[ms, UTC]")
    for name in (*_COUNTS, "seconds"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    # Somebody may have edited a line: a count that is none becomes NA.
    table = table.astype(dict.fromkeys(_COUNTS, "Int64"))
    return CacheTable(table.sort_values("at", kind="stable", ignore_index=True))
