"""From the cache's CSV files to one pandas DataFrame, by several libraries; each as fast as we know how."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

task = json.loads(sys.argv[1])
files = sorted(Path(task["cache"]).glob("klines_*.csv"))
Read = Callable[[], Any]


def ours() -> Read:
    """Receipts are heeded: the frame says whether it is complete."""
    import ares_notebook as ares

    settings = ares.Settings(cache_dir=task["cache"], market="demo")
    # Named here, since that is what imports pandas.
    load = ares.load_klines
    return lambda: load(task["symbol"], task["interval"], settings=settings)


def pandas_default() -> Read:
    """What most people write."""
    import pandas as pd

    return lambda: pd.concat([pd.read_csv(each, parse_dates=["timestamp"]) for each in files])


def pandas_pyarrow() -> Read:
    """The same with PyArrow inside."""
    import pandas as pd

    return lambda: pd.concat([pd.read_csv(each, engine="pyarrow") for each in files])


def pyarrow() -> Read:
    """PyArrow, its own threads in each file."""
    import pandas as pd  # noqa: F401 - the frame's, loaded before the clock starts
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    return lambda: pa.concat_tables([arrow_csv.read_csv(each) for each in files]).to_pandas()


def pyarrow_files() -> Read:
    """PyArrow, a thread a file."""
    from concurrent.futures import ThreadPoolExecutor

    import pandas as pd  # noqa: F401 - the frame's, loaded before the clock starts
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    options = arrow_csv.ReadOptions(use_threads=False, block_size=1 << 20)

    def read() -> Any:
        with ThreadPoolExecutor() as pool:
            tables = pool.map(lambda each: arrow_csv.read_csv(each, options), files)
            return pa.concat_tables(tables).to_pandas(split_blocks=True, self_destruct=True)

    return read


def polars() -> Read:
    """Polars, dates by its own guess."""
    import pandas as pd  # noqa: F401 - the frame's, loaded before the clock starts
    import polars as pl

    return lambda: pl.read_csv(files, try_parse_dates=True).to_pandas()


def polars_scan() -> Read:
    """Polars, lazy, the stamp's format told."""
    import pandas as pd  # noqa: F401 - the frame's, loaded before the clock starts
    import polars as pl

    stamp = pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S")
    lazy = pl.scan_csv(files, schema_overrides={"timestamp": pl.String}).with_columns(stamp)
    return lambda: lazy.collect().to_pandas()


def duckdb() -> Read:
    """Duckdb, which takes all files at once."""
    import duckdb as engine
    import pandas as pd  # noqa: F401 - the frame's, loaded before the clock starts

    names = [str(each) for each in files]
    return lambda: engine.read_csv(names).df()


started = time.perf_counter()
read = {
    "ours": ours,
    "pandas": pandas_default,
    "pandas, engine=pyarrow": pandas_pyarrow,
    "pyarrow": pyarrow,
    "pyarrow, a thread a file": pyarrow_files,
    "polars": polars,
    "polars, lazy": polars_scan,
    "duckdb": duckdb,
}[task["reader"]]()
ready = time.perf_counter()
frame = read()
done = time.perf_counter()
if "keep" in task:
    # Not timed: what was read, to be counted.
    frame = frame.reset_index() if frame.index.name == "timestamp" else frame
    frame.reset_index(drop=True).to_feather(task["keep"])
print(
    json.dumps(
        {"rows": len(frame), "work_seconds": done - ready, "import_seconds": ready - started}
    )
)
