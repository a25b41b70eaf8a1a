"""What lines and tables say, for tests that ask about cells and facts."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path

import pyarrow as pa

from ares_notebook import Settings
from ares_notebook.cache.reader import read_rows
from ares_notebook.model.datasets import AGG_TRADES, FUTURES, KLINES
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.measure import Measure
from ares_notebook.model.rows import empty_rows, header_of, keys_of, stamps_ms

NAMES = {
    KLINES: "klines_BTCUSDT_1h_2024-06.csv",
    AGG_TRADES: "aggtrades_BTCUSDT_2024-06-01.csv",
    FUTURES: "futures_BTCUSDT_2024-06.csv",
}


def changed(settings: Settings) -> dict[str, object]:
    """The settings that are no defaults, as JSON can hold them."""
    values = {each.name: getattr(settings, each.name) for each in fields(settings)}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if value != getattr(Settings, name)
    }


def table_of(dataset, pages):
    """The rows of some `Lines`, read as a cache file is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAMES[dataset]
        path.write_bytes(header_of(dataset) + b"".join(page.text.tobytes() for page in pages))
        tables = list(read_rows(path, parse_file_name(path.name)))
    return pa.concat_tables([empty_rows(dataset), *tables])


def facts_of(file, *tables):
    """What the rows of these tables prove of a file."""
    measure = Measure(file)
    for table in tables:
        measure.add(keys_of(file.dataset, table), stamps_ms(table))
    return measure.facts()
