"""Where the time goes: each stage of a checked download alone, on the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ares_notebook.binance.csv_tables import rows_of_csv
from ares_notebook.binance.parse import lines_of_csv
from ares_notebook.binance.zips import lines_of
from ares_notebook.model.datasets import AGG_TRADES, KLINES
from ares_notebook.model.rows import text_of

task = json.loads(sys.argv[1])
dataset = KLINES if task["kind"] == "klines" else AGG_TRADES
seconds: dict[str, float] = {}
rows = 0


def timed(stage: str, work: Callable[[], Any]) -> Any:
    """Do it, and book its processor time: what stands beside us on the machine counts not."""
    start = time.process_time()
    result = work()
    seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - start
    return result


def sha256_of(texts: list[Any]) -> None:
    """As they are hashed, block by block."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text)


def inflated(data: bytes, member: str) -> list[bytes]:
    """All blocks of text."""
    return list(lines_of(io.BytesIO(data), member, member))


def laid_out(blocks: list[bytes], origin: str) -> list[Any]:
    """The lines of a cache file, as a download makes them."""
    return [lines_of_csv(dataset, block, origin).text for block in blocks]


def parsed(blocks: list[bytes], origin: str) -> list[Any]:
    """All rows, checked cell by cell."""
    return [rows_of_csv(dataset, block, origin)[0] for block in blocks]


def written(tables: list[Any]) -> list[Any]:
    """The lines of a cache file."""
    return [text_of(dataset, table) for table in tables]


def put(texts: list[Any]) -> None:
    """Write a file and make it durable."""
    with tempfile.TemporaryFile(dir=task["out"]) as file:
        for text in texts:
            file.write(text)
        file.flush()
        os.fsync(file.fileno())


Path(task["out"]).mkdir(parents=True)
# The first file twice, and once for nothing: what a library does at its first call is no stage.
for number, key in enumerate([task["files"][0], *task["files"]]):
    if number == 1:
        seconds.clear()
    with urllib.request.urlopen(f"{task['url']}/{key}") as answer:
        data = answer.read()
    member = key.rpartition("/")[2].removesuffix(".zip") + ".csv"
    timed("sha256 of the zip", partial(sha256_of, [data]))
    blocks = timed("inflate", partial(inflated, data, member))
    texts = timed("prove the lines and put them in order", partial(laid_out, blocks, key))
    timed("sha256 of the text", partial(sha256_of, texts))
    timed("to the disk", partial(put, texts))
    tables = timed("(for comparison: a CSV reader, and the checks)", partial(parsed, blocks, key))
    timed("(for comparison: a CSV writer)", partial(written, tables))
    rows += sum(table.num_rows for table in tables) if number else 0

nanoseconds = {stage: spent * 1e9 / rows for stage, spent in seconds.items()}
print(json.dumps({"rows": rows, "nanoseconds": nanoseconds}))
