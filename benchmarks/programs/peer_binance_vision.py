"""binance-vision: checks sums, parses, sorts, writes one Parquet file, its default."""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta

import binance_vision._core as binance_vision

task = json.loads(sys.argv[1])
binance_vision.BASE_URL = task["url"]
result = binance_vision.fetch_data(
    task["symbol"],
    task["start"],
    # Its end is inclusive.
    date.fromisoformat(task["end"]) - timedelta(days=1),
    market="spot",
    data_type="klines" if task["kind"] == "klines" else "aggTrades",
    interval=task.get("interval"),
    output_path=f"{task['out']}/all.parquet",
)
if result.missing or result.failed:
    sys.exit(f"missing {result.missing}, failed {result.failed}")
