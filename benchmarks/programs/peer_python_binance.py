"""python-binance: REST into a list, which we write to a file as it is."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from binance.client import BaseClient, Client

task = json.loads(sys.argv[1])
BaseClient.API_URL = f"{task['url']}/api"
first, last = (
    int(datetime.fromisoformat(task[name]).replace(tzinfo=UTC).timestamp() * 1000)
    for name in ("start", "end")
)
# Its end is inclusive; its pages are of 1,000 rows of its own accord (a limit would be one of all rows).
rows = Client(ping=False).get_historical_klines(task["symbol"], task["interval"], first, last - 1)
out = Path(task["out"])
out.mkdir(parents=True, exist_ok=True)
with (out / "all.csv").open("w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows(rows)
