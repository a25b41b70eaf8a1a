"""Rows of a cache into one pandas DataFrame, by several libraries; each as fast as we know how."""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

task = json.loads(sys.argv[1])
# Beside the cache: the same with compressed copies, and the same rows as Parquet.
cache = Path(task["cache"] + task.get("beside", ""))
names = task.get("symbols", [task["symbol"]])
columns = task.get("columns")
prefix = {"klines": "klines", "trades": "aggtrades"}[task["kind"]]
Read = Callable[[], Any]
Paths = list[Path]


def files(symbol: str) -> Paths:
    """The files of a symbol that hold the window."""
    found = sorted(cache.glob(f"{prefix}_{symbol}_*.*"))
    first, last = (task.get(name, "")[:7] for name in ("from", "to"))
    return [each for each in found if not first or first <= each.name.split("_")[-1][:7] < last]


def each_symbol(read: Callable[[Paths], pd.DataFrame]) -> Read:
    """What a user writes around a reader of files: one frame, of several symbols a column each."""

    def together() -> pd.DataFrame:
        if len(names) == 1:
            return read(files(names[0]))
        frames = {name: read(files(name)).set_index("timestamp")[columns[0]] for name in names}
        return pd.concat(frames, axis=1)

    return together


def ours(*, as_table: bool = False) -> Read:
    """Receipts are heeded: the frame says whether it is complete."""
    import ares_notebook as ares

    settings = ares.Settings(
        cache_dir=cache, market="demo", arrow_copies=task.get("copies", "plain")
    )
    symbol = names[0] if len(names) == 1 else names
    dataset = {"klines": "klines", "trades": "agg_trades"}[task["kind"]]
    # Named here, since that is what imports pandas.
    load = ares.arrow_table if as_table else ares.load_rows
    which = (dataset, symbol, task.get("interval"), task.get("from"), task.get("to"))
    return lambda: load(*which, columns=columns, settings=settings)


def first_load() -> Read:
    """The load that makes the copies."""
    shutil.rmtree(cache / ".ares" / "arrow", ignore_errors=True)
    return ours()


def pandas_default() -> Read:
    """What most people write."""
    wanted = ["timestamp", *columns] if columns else None
    return each_symbol(
        lambda paths: pd.concat(
            [pd.read_csv(each, parse_dates=["timestamp"], usecols=wanted) for each in paths]
        )
    )


def pandas_pyarrow() -> Read:
    """The same with PyArrow inside."""
    wanted = ["timestamp", *columns] if columns else None
    return each_symbol(
        lambda paths: pd.concat(
            [pd.read_csv(each, engine="pyarrow", usecols=wanted) for each in paths]
        )
    )


def pyarrow() -> Read:
    """PyArrow, its own threads in each file."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    wanted = ["timestamp", *columns] if columns else None
    options = arrow_csv.ConvertOptions(include_columns=wanted)

    def read(paths: Paths) -> pd.DataFrame:
        tables = [arrow_csv.read_csv(each, convert_options=options) for each in paths]
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame

    return each_symbol(read)


def pyarrow_files() -> Read:
    """PyArrow, a thread a file."""
    from concurrent.futures import ThreadPoolExecutor

    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    options = arrow_csv.ReadOptions(use_threads=False, block_size=1 << 20)

    def read(paths: Paths) -> pd.DataFrame:
        with ThreadPoolExecutor() as pool:
            tables = pool.map(lambda each: arrow_csv.read_csv(each, options), paths)
            whole = pa.concat_tables(tables)
            frame: pd.DataFrame = whole.to_pandas(split_blocks=True, self_destruct=True)
            return frame

    return each_symbol(read)


def polars() -> Read:
    """Polars, dates by its own guess."""
    import polars as pl

    wanted = ["timestamp", *columns] if columns else None
    return each_symbol(
        lambda paths: pl.read_csv(paths, try_parse_dates=True, columns=wanted).to_pandas()
    )


def polars_scan() -> Read:
    """Polars, lazy, the stamp's format told."""
    import polars as pl

    stamp = pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S%.f")
    chosen = pl.all() if columns is None else pl.col(["timestamp", *columns])

    def read(paths: Paths) -> pd.DataFrame:
        lazy = pl.scan_csv(paths, schema_overrides={"timestamp": pl.String}).with_columns(stamp)
        return lazy.select(chosen).collect().to_pandas()

    return each_symbol(read)


def duckdb() -> Read:
    """Duckdb, which takes all files at once."""
    import duckdb as engine

    chosen = ", ".join(["timestamp", *columns]) if columns else "*"
    return each_symbol(
        lambda paths: engine.read_csv([str(each) for each in paths]).project(chosen).df()
    )


def parquet() -> Read:
    """The same rows as Parquet, as pandas writes it, read by PyArrow."""
    wanted = ["timestamp", *columns] if columns else None
    return each_symbol(
        lambda paths: pd.concat([pd.read_parquet(each, columns=wanted) for each in paths])
    )


started = time.perf_counter()
read = {
    "ours": ours,
    "ours, a table": lambda: ours(as_table=True),
    "ours, first load": first_load,
    "pandas": pandas_default,
    "pandas, engine=pyarrow": pandas_pyarrow,
    "pyarrow": pyarrow,
    "pyarrow, a thread a file": pyarrow_files,
    "polars": polars,
    "polars, lazy": polars_scan,
    "duckdb": duckdb,
    "Parquet": parquet,
}[task["reader"]]()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
ready = time.perf_counter()
frame = read()
done = time.perf_counter()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
told = {"rows": len(frame), "work_seconds": done - ready, "import_seconds": ready - started}
if "keep" in task:
    # Not timed: what was read, to be counted.
    frame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    frame = frame.reset_index() if frame.index.name == "timestamp" else frame
    frame.reset_index(drop=True).to_feather(task["keep"])
elif isinstance(frame, pd.DataFrame):
    told["frame_bytes"] = int(frame.memory_usage(deep=True).sum())
    told["grown_bytes"] = after - before
if task.get("again", True) and "keep" not in task:
    # In the same process once more; ours, which take milliseconds, three times.
    times = []
    for _ in range(3 if task["reader"].startswith("ours") else 1):
        ready = time.perf_counter()
        read()
        times.append(time.perf_counter() - ready)
    told["again_seconds"] = statistics.median(times)
copies = list(cache.glob(".ares/arrow/*"))
if task["reader"] == "ours" and copies:
    texts = sum(each.stat().st_size for each in cache.glob("*.csv"))
    told["copy_share"] = sum(each.stat().st_size for each in copies) / texts
print(json.dumps(told))
