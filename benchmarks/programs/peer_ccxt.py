"""ccxt: the loop over pages of its manual, into a list, which we write to a file as it is."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import ccxt

task = json.loads(sys.argv[1])
url = task["url"]
exchange = ccxt.binance(
    {"options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}}
)
# It waits between requests by its own count of weights, which is of Binance's real limits.
for name, path in (("public", "api/v3"), ("private", "api/v3"), ("v1", "api/v1")):
    exchange.urls["api"][name] = f"{url}/{path}"
first, last = (
    int(datetime.fromisoformat(task[name]).replace(tzinfo=UTC).timestamp() * 1000)
    for name in ("start", "end")
)
rows: list[list[float]] = []
while first < last:
    page = exchange.fetch_ohlcv("BTC/USDT", task["interval"], since=first, limit=1000,
                                params={"until": last - 1})  # fmt: skip
    if not page:
        break
    rows += page
    first = page[-1][0] + 1
out = Path(task["out"])
out.mkdir(parents=True)
with (out / "all.csv").open("w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows(rows)
