"""The rows of the cache for other engines: Arrow tables, SQL, and blocks of bounded size."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from ares_notebook.cache.arrow_copies import arrow_field
from ares_notebook.cache.cells import chosen
from ares_notebook.cache.frames import arrow_of, frame_of
from ares_notebook.cache.reader import unreadable
from ares_notebook.cache.spans import Moment, Scope, nothing_cached
from ares_notebook.cache.store import Store
from ares_notebook.cached_window import CachedWindow
from ares_notebook.errors import BadArgument, CacheUnavailable
from ares_notebook.extras import needing
from ares_notebook.model.datasets import ALIASES, DATASETS, dataset_named
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import duckdb

_LOGGER = logging.getLogger("DataDownloader")


def arrow_table(
    dataset: str,
    symbol: str,
    interval: str | None = None,
    start: Moment = None,
    end: Moment = None,
    *,
    columns: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> pa.Table:
    """
    Rows of any dataset as an Arrow table, which Polars, DuckDB and pandas take without copying.

    Where there are Arrow copies of the files, the table is mapped from them: its cells are read
    from the disk when they are used, and take no memory of their own. The first call makes the
    copies of whole files.

    Parameters
    ----------
    dataset : str
        One of ``ares_notebook.DATASETS``.
    symbol : str
        As its market writes it.
    interval : str, optional
        Of candles; of other datasets it says nothing.
    start, end : datetime, date or str, optional
        Half-open window of timestamps, UTC. Defaults to what the cache spans.
    columns : sequence of str, optional
        Besides ``timestamp`` only these, in this order. Defaults to all.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.

    Returns
    -------
    pyarrow.Table
        ``timestamp`` (``timestamp[us, tz=UTC]``, ascending) and the columns of the dataset
        (float64, int64, bool); an empty cell is null. ``schema.metadata[b"ares"]`` is the JSON of
        what `load_rows` states in ``attrs``.

    Warns
    -----
    IncompleteData
        Once, if rows are missing.

    Raises
    ------
    NeverDownloaded, CorruptFile, CacheUnavailable, BadArgument
        As `load_rows`.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     table = arrow_table("klines", "BTCUSDT", "1d", "2025-02-01", columns=["close"], settings=settings)
    >>> table.num_rows, table.column_names
    (28, ['timestamp', 'close'])
    """
    series = Series.of(dataset, symbol, interval)
    names = [column.name for column in chosen(series.dataset, columns)]
    window = CachedWindow.asked(settings, series, start, end)
    table = window.read(names, arrow_of)
    attrs = window.attrs(table.num_rows)
    window.check(attrs, table.num_rows, stacklevel=2)
    return table.replace_schema_metadata({"ares": json.dumps(attrs)})


def iter_agg_trades(
    symbol: str,
    start: Moment = None,
    end: Moment = None,
    *,
    dataset: str = "agg_trades",
    rows: int = 1_000_000,
    columns: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> Iterator[pd.DataFrame]:
    """
    Yield the aggregated trades of a window in frames of bounded size.

    Memory holds a file (a day) and a frame, however long the window is.

    Parameters
    ----------
    symbol : str
        As in `load_agg_trades`.
    start, end : datetime, date or str, optional
        Half-open window, UTC. Defaults to what the cache spans.
    dataset : str
        Trades of another market: ``"um_agg_trades"`` or ``"cm_agg_trades"``.
    rows : int
        The most rows of a frame; all but the last have so many.
    columns : sequence of str, optional
        As in `load_klines`.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.

    Returns
    -------
    iterator of pandas.DataFrame
        Frames as `load_agg_trades` returns them, one after the other; ``attrs`` are those of the
        whole window, also ``rows``.

    Warns
    -----
    IncompleteData
        Once, before the first frame, if rows of the window are missing.

    Raises
    ------
    NeverDownloaded, CorruptFile, CacheUnavailable, BadArgument
        As `load_agg_trades`, before the first frame but for a file that changes meanwhile.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_agg_trades_data, run
    >>> with DemoExchange(trades_per_day=2500) as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_agg_trades_data("BTCUSDT", 2 / 365.25, end="2025-03-02", settings=settings))
    ...     sizes = [len(frame) for frame in iter_agg_trades("BTCUSDT", rows=2000, settings=settings)]
    >>> set(sizes[:-1]), sizes[-1] <= 2000
    ({2000}, True)
    """
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        msg = f"rows={rows!r} must be a whole number from 1 on"
        raise BadArgument(msg)
    if dataset_named(dataset).key != "id":
        trades = ", ".join(each.name for each in DATASETS if each.key == "id")
        msg = f"dataset={dataset!r} holds no trades; those that do are {trades}"
        raise BadArgument(msg)
    series = Series.of(dataset, symbol)
    names = [column.name for column in chosen(series.dataset, columns)]
    window = CachedWindow.asked(settings, series, start, end)
    count = window.row_count()
    attrs = window.attrs(count)
    # It is of all rows of a file, and a frame may have some of them.
    attrs.pop("fingerprint", None)
    window.check(attrs, count, stacklevel=2)
    return _in_frames(window, names, rows, attrs)


def _in_frames(
    window: CachedWindow, names: Sequence[str], rows: int, attrs: dict[Any, Any]
) -> Iterator[pd.DataFrame]:
    kept: list[pd.DataFrame] = []
    for entry in window.entries:
        kept.append(replace(window, entries=(entry,)).read(names, frame_of))
        whole = pd.concat(kept) if len(kept) > 1 else kept[0]
        full = len(whole) // rows * rows
        for at in range(0, full, rows):
            yield _with_attrs(whole.iloc[at : at + rows], attrs)
        # A copy, so that the frame of a day does not stay in memory for its rest.
        kept = [whole.iloc[full:].copy()]
    if kept and len(kept[0]):
        yield _with_attrs(kept[0], attrs)


def _with_attrs(frame: pd.DataFrame, attrs: dict[Any, Any]) -> pd.DataFrame:
    frame.attrs = dict(attrs)
    return frame


def sql(query: str, *, settings: Settings | None = None) -> duckdb.DuckDBPyRelation:
    """
    Ask the cache in SQL, by DuckDB.

    Each cached dataset is a table; of candles, each interval is one: ``klines_1h``,
    ``um_klines_1m``, ``agg_trades`` (also ``trades``), ``futures`` (also ``funding``), ``metrics``;
    ``show tables`` lists them. They have the columns of the dataset and before them ``symbol``,
    in capitals as the exchange writes it. Only files that the conditions on ``symbol`` and
    ``timestamp`` leave are read.

    Rows that are missing are missing in the answer: `coverage` and `find_gaps` say where. A query
    that runs does not notice Ctrl-C: that is DuckDB's way. If a file is damaged or altered, or is
    deleted meanwhile, DuckDB raises an error that names it when the rows are fetched; the log has
    the cause.

    Parameters
    ----------
    query : str
        A query; DuckDB's dialect.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read. Defaults to the environment's.

    Returns
    -------
    duckdb.DuckDBPyRelation
        Lazy: ``.df()`` is a pandas frame, ``.pl()`` one of Polars, ``.arrow()`` an Arrow reader,
        ``.fetchall()`` a list. Times are in UTC.

    Raises
    ------
    MissingExtra
        Without DuckDB (``pip install "ares-notebook[sql]"``).
    BadArgument
        If DuckDB refuses the query; the message is DuckDB's, with the tables that there are.
    NeverDownloaded
        If the cache is empty.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     sql("select count(*) from klines_1d where timestamp >= '2025-02-01'", settings=settings).fetchall()
    [(28,)]
    """
    store = Store(settings_given(settings))
    tables = _tables(store)
    if not tables:
        raise nothing_cached(store, Scope.of())
    with needing("sql"):
        import duckdb  # noqa: PLC0415 - of an extra
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    # A cache may have a million files: those of tables that the query does not name are not listed.
    words = {word.lower() for word in re.findall(r"\w+", query)}
    for name in tables.keys() & words or tables:
        connection.register(name, _as_dataset(store, tables[name]))
    try:
        answer = connection.sql(query)
    except duckdb.Error as error:
        # DuckDB's guess is among its own tables.
        told = str(error).partition("\nDid you mean")[0]
        msg = f"{told}; there are the tables {', '.join(sorted(tables))}"
        raise BadArgument(msg) from error
    if answer is None:
        msg = "the query has no answer; write a select"
        raise BadArgument(msg)
    return answer


def _tables(store: Store) -> dict[str, list[CacheFile]]:
    """The files of each table of `sql`."""
    tables: dict[str, list[CacheFile]] = {}
    for file in store.files():
        series = file.series
        name = series.dataset.name
        if series.dataset.has_interval:
            name += f"_{series.interval_word}"
        tables.setdefault(name, []).append(file)
    also = {alias: tables.get(dataset.name) for alias, dataset in ALIASES.items()}
    return tables | {alias: files for alias, files in also.items() if files}


def _as_dataset(store: Store, files: Sequence[CacheFile]) -> ds.FileSystemDataset:
    """The files as an Arrow dataset, of which each is read when a query opens it."""
    source = fs.PyFileSystem(_CacheFiles(store, files))
    layout = ds.IpcFileFormat()
    fragments = [
        layout.make_fragment(file.name, source, partition_expression=_rows_of(file))
        for file in files
        if store.path_of(file) is not None
    ]
    fields = map(arrow_field, files[0].dataset.columns)
    schema = pa.schema([pa.field("symbol", pa.string()), *fields])
    return ds.FileSystemDataset(fragments, schema, layout, source)


def _rows_of(file: CacheFile) -> ds.Expression:
    """What is true of each row of a file."""
    stamp = ds.field("timestamp")
    start, end = (
        pa.scalar(each * 1000, pa.timestamp("us", "UTC")) for each in (file.start_ms, file.end_ms)
    )
    return (ds.field("symbol") == file.series.symbol) & (stamp >= start) & (stamp < end)


class _CacheFiles(fs.FileSystemHandler):  # type: ignore[misc]  # PyArrow publishes no types
    """Cache files as files of Arrow, made of their copies or their text when they are opened."""

    def __init__(self, store: Store, files: Sequence[CacheFile]) -> None:
        self._store = store
        self._files = {file.name: file for file in files}
        # Each is opened twice, for its schema and for its rows.
        self._read = lru_cache(maxsize=4)(self._as_arrow)

    def _as_arrow(self, name: str) -> pa.Buffer:
        try:
            return self._made(name)
        except Exception as error:  # noqa: BLE001 - logged, and what is returned fails the query
            # PyArrow holds a lock while it asks an error of Python for its text, so that raising it
            # here may hang the query for good. This is no Arrow file, and the query names it.
            _LOGGER.error("%s cannot be read: %s", name, error)  # noqa: TRY400 - the cause is enough
            return pa.py_buffer(b"")

    def _made(self, name: str) -> pa.Buffer:
        file = self._files[name]
        window = CachedWindow.of(self._store, file.series, file.start_ms, file.end_ms)
        [entry] = window.entries
        if entry.is_altered:
            raise unreadable(self._store.folder / name, "its bytes are not those of its receipt")
        if entry.on_disk is None:
            msg = f"{name} was deleted after the query was made; ask again"
            raise CacheUnavailable(msg)
        table = window.read(None, arrow_of)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    def get_type_name(self) -> str:
        return "ares"

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.BufferReader(self._read(path))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return pa.BufferReader(self._read(path))

    def get_file_info(self, paths: Sequence[str]) -> list[fs.FileInfo]:
        return [fs.FileInfo(path, type=fs.FileType.File) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:  # noqa: ARG002 - PyArrow's interface
        return []

    def normalize_path(self, path: str) -> str:
        return path

    def _refuse(self, *arguments: object) -> None:  # noqa: ARG002 - as above
        msg = "the cache is read, and not written"
        raise OSError(msg)

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse
