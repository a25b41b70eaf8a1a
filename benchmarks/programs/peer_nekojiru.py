"""nekojiru-binance: checks sums, parses the columns as text, writes a CSV file a partition, in Rust."""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta

import nekojiru_binance

task = json.loads(sys.argv[1])
# Its end is inclusive.
last = date.fromisoformat(task["end"]) - timedelta(days=1)
told = nekojiru_binance.sync(
    "klines" if task["kind"] == "klines" else "agg-trades",
    "spot",
    task["symbol"],
    task["start"],
    f"{last}",
    task["out"],
    task.get("interval"),
    # Its default is Parquet, which takes it longer.
    format="csv",
    base_url=task["url"],
)
print(json.dumps({"rows": told["rows_written"]}))
