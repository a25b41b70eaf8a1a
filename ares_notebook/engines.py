"""The rows of the cache for other engines: Arrow tables, SQL, and blocks of bounded size."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from ares_notebook.cache.cells import chosen
from ares_notebook.cache.frames import arrow_of
from ares_notebook.cache.spans import Moment
from ares_notebook.cached_window import CachedWindow
from ares_notebook.model.files import Series
from ares_notebook.settings import Settings


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
