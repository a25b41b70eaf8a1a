"""
A cache that is full by its receipts, made without a market: years of three datasets a symbol.

The files themselves are stumps, whose size and time the receipts know: what reads receipts
and asks for sizes does the same work on it as on a real one, in a thousandth of the space.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

from ares_notebook.cache.entry import Receipt, Source
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.facts import Facts
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.gaps import Absence

HOUR_MS = 3_600_000
FETCHED = "2025-01-15T00:00:00+00:00"
TRADES_A_DAY = 1_000
EDGE_MS = 5

task = json.loads(sys.argv[1])
start, end = (datetime.fromisoformat(f"{task[name]}T00:00:00+00:00") for name in ("start", "end"))
cache = Path(task["cache"])
receipts = cache / ".ares" / "receipts"


def proven(
    dataset: Dataset, start_ms: int, end_ms: int, first_id: int
) -> tuple[Facts, tuple[Absence, ...]]:
    """What the rows of a file prove, and the ids of its neighbours, as a download notes it."""
    if dataset.name == "klines":
        minutes = (end_ms - start_ms) // 60_000
        return Facts(minutes, start_ms, end_ms - 60_000, start_ms, end_ms), ()
    if dataset.name == "futures":
        last_ms = end_ms - 8 * HOUR_MS
        rows = (end_ms - start_ms) // (8 * HOUR_MS)
        facts = Facts(rows, start_ms, last_ms, start_ms, last_ms + HOUR_MS, pace_ms=8 * HOUR_MS)
        return facts, ()
    first_ms, last_ms, last_id = start_ms + EDGE_MS, end_ms - EDGE_MS, first_id + TRADES_A_DAY - 1
    facts = Facts(TRADES_A_DAY, first_ms, last_ms, first_ms, last_ms, first_id, last_id)
    before = Absence(start_ms, first_ms + 1, "neighbours", FETCHED, None, first_id)
    after = Absence(last_ms, end_ms, "neighbours", FETCHED, last_id, None)
    return facts, (before, after)


def put(file: CacheFile, number: int) -> None:
    """A stump and its receipt."""
    path = cache / file.name
    path.write_text("a stump\n")
    seen = path.stat()
    facts, absences = proven(
        file.dataset, file.period.start_ms, file.period.end_ms, 1 + number * TRADES_A_DAY
    )
    url = f"https://data.binance.vision/data/{file.name}"
    receipt = Receipt(
        file.name, seen.st_size, seen.st_mtime_ns, "0" * 64, facts,
        (Source("daily archive", url, FETCHED, "1" * 64),), absences, True,
    )  # fmt: skip
    (receipts / f"{file.name}.json").write_text(receipt.to_json())


receipts.mkdir(parents=True)
(cache / ".ares" / "origin.json").write_text('{"market": "demo"}\n')
for symbol in task["symbols"]:
    for name, interval in (("klines", "1m"), ("agg_trades", None), ("futures", None)):
        for number, file in enumerate(files_between(Series.of(name, symbol, interval), start, end)):
            put(file, number)
