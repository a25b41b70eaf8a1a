"""The log of runs, and the history of each cache file, as tables."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec.json import Decoder
from msgspec.structs import asdict as struct_as_dict

from ares_notebook.cache.disk import add_lines, cannot_access
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.spans import Scope, cached_files
from ares_notebook.cache.store import Store
from ares_notebook.errors import NeverDownloaded
from ares_notebook.formatting import in_words_of
from ares_notebook.model.files import Series
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

_LOGGER = logging.getLogger("DataDownloader")
_COLUMNS = ["at", "dataset", "symbol", "interval", "file", "start", "end", "road", "url", "sha256"]
_COUNTS = ("files", "rows", "bytes_received", "requests", "retries", "rate_limited", "failures")
_DECODER = Decoder(dict[str, Any])
Ending = Literal["done", "incomplete", "failed", "cancelled", "below threshold", "differs"]


def download_history(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    settings: Settings | None = None,
    datasets: Sequence[str] | None = None,
) -> pd.DataFrame:
    """
    List when the rows of each file were downloaded and from where, oldest first.

    Reads the receipts of the present files: of a file that was replaced only the replacement is
    listed, and a file without a receipt is not listed.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all cached ones.
    interval : str, optional
        The interval of candles; without *datasets* only ``klines`` of it.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.
    datasets : sequence of str, optional
        Only these of ``ares_notebook.DATASETS``. Defaults to all that are cached, or to ``klines``
        if *interval* is given.

    Returns
    -------
    pandas.DataFrame
        One row for each source of a file, with the columns ``at, dataset, symbol, interval,
        file, start, end, road, url, sha256``. ``at`` is the time of the download, ``start`` and
        ``end`` the period of the file, all aware UTC; ``road`` is ``monthly archive``, ``daily
        archive``, ``rest``, ``legacy`` (the original downloader wrote it) or ``salvaged`` (the
        readable rows of a damaged file); ``sha256`` is that of the archive, missing for other
        sources.

    Raises
    ------
    NeverDownloaded
        If the cache holds nothing of the selection.
    BadArgument
        If *symbol* or *interval* is invalid.
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
    store, scope = Store(settings_given(settings)), Scope.of(symbol, interval, datasets)
    entries = (store.entry(file) for file in cached_files(store, scope))
    # A stable sort: sources of one time stay in order of the files.
    return sources_of(entries).sort_values("at", kind="stable", ignore_index=True)


def sources_of(entries: Iterable[CacheEntry]) -> pd.DataFrame:
    """The sources of some files, in their order, as `download_history` returns them."""
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
    return _table(rows, _COLUMNS, "us")


def _table(rows: list[dict[str, Any]], names: list[str], unit: Literal["ms", "us"]) -> pd.DataFrame:
    """Rows as a table with times in UTC; times and counts that cannot be read become missing."""
    import pandas as pd  # noqa: PLC0415 - runs are recorded without it

    table = pd.DataFrame(rows, columns=names)
    for name in ("at", "start", "end"):
        times = pd.to_datetime(table[name], utc=True, format="ISO8601", errors="coerce")
        table[name] = times.dt.as_unit(unit)
    return table


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The outcome of a run, as its report counts it."""

    # ``incomplete``: nothing failed, but rows are unconfirmed; ``below threshold`` of a
    # validation, ``differs`` of an audit.
    ending: Ending
    files: int = 0
    # Files that failed or differ; of a validation, missed thresholds.
    failures: int = 0
    # The first of them.
    error: str = ""
    # Rows that were read, if none is written.
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A line of the run history."""

    # When it began, aware UTC.
    at: datetime
    # The verb: ``download``, ``update``, ``repair``, ``fetch_missing_data``, ``audit``,
    # ``validate``, ``prune``.
    what: str
    # Several are separated by commas, of many symbols the first ones are named; empty for all.
    symbol: str = ""
    interval: str = ""
    datasets: str = ""
    # The requested window, half-open.
    start: datetime | None = None
    end: datetime | None = None
    # As in `RunOutcome`.
    ending: Ending = "done"
    files: int = 0
    # New in the cache; of a validation, rows read.
    rows: int = 0
    # Tries are counted; *rate_limited* are answers 429 and 418.
    bytes_received: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    seconds: float = 0.0
    failures: int = 0
    error: str = ""


def note_run(folder: Path, run: Run) -> None:
    """
    Add a line to the run history of an existing cache; a failure to write is only logged.

    Several processes may do so at once: a line is one write at the end of the file.
    """
    # os.path, since a folder without permission must not raise here.
    if not os.path.isdir(folder / ".ares"):  # noqa: PTH112 - as said
        return
    line = json.dumps(asdict(run), default=_time_text, ensure_ascii=False) + "\n"
    path = folder / ".ares" / "runs.jsonl"
    try:
        add_lines(path, line)
    except OSError as error:
        _LOGGER.warning("the run is not in the history: %s", cannot_access(path, error))


def _time_text(value: object) -> str:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)


def load_runs(*, settings: Settings | None = None) -> pd.DataFrame:
    """
    List the runs on the cache, oldest first.

    Downloads, updates, repairs, audits, validations (all but a plain `validate_cache`, which changes
    nothing) and prunings are runs, whether started in a cell, a script, the panel or the shell;
    so are those that had nothing to do, failed or were cancelled. A killed run leaves no line.

    Parameters
    ----------
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.

    Returns
    -------
    pandas.DataFrame
        One row for each run, with the columns ``at, what, symbol, interval, datasets, start,
        end, ending, files, rows, bytes_received, requests, retries, rate_limited, seconds,
        failures, error``. Times are aware UTC, ``at`` is the start of the run; ``ending`` is ``done``, ``incomplete``,
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
    path = settings_given(settings).cache_dir / ".ares" / "runs.jsonl"
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            runs = list(_lines(stream, path))
    except FileNotFoundError:
        msg = (
            f"there is no run history in {path.parent.parent}; a download begins it, "
            f"or name another folder with {in_words_of('cache_dir', '--cache-dir')}"
        )
        raise NeverDownloaded(msg) from None
    except OSError as error:
        raise cannot_access(path, error) from error
    import pandas as pd  # noqa: PLC0415 - runs are recorded without it

    from ares_notebook.cache.table import CacheTable  # noqa: PLC0415 - as above

    table = _table(runs, [field.name for field in fields(Run)], "ms")
    for name in (*_COUNTS, "seconds"):
        numbers = pd.to_numeric(table[name], errors="coerce")
        table[name] = numbers if name == "seconds" else numbers.astype("Int64")
    return CacheTable(table.sort_values("at", kind="stable", ignore_index=True))


def pruned_scopes(folder: Path) -> list[dict[str, Any]]:
    """The runs of a cache that have deleted files by `prune_cache`; none where nobody can tell."""
    path = folder / ".ares" / "runs.jsonl"
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return [
                run
                for run in _lines(stream, path)
                if run.get("what") == "prune" and run.get("files")
            ]
    except OSError as error:
        _LOGGER.debug("no run history to tell what was pruned: %s", error)
        return []


def covers(run: Mapping[str, Any], series: Series) -> bool:
    """Whether a run was about a series."""
    own = (("symbol", series.symbol), ("interval", series.interval_word and series.interval))
    names = [name for name in str(run.get("datasets") or "").split(",") if name]
    return all(not run.get(name) or not value or run[name] == value for name, value in own) and (
        not names or series.dataset.name in names
    )


def _lines(stream: Iterable[str], path: Path) -> Iterable[dict[str, Any]]:
    """The readable lines; others are logged and left out."""
    for number, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            yield _DECODER.decode(text)
        except (ValueError, RecursionError):
            _LOGGER.warning("%s, line %d is no run, and is left out", path, number)
