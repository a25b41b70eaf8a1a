"""
ccxt: into a list, which we write to a file as it is.

Candles by the loop over pages of its manual; funding by its own ``paginate``.
"""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import ccxt

task = json.loads(sys.argv[1])
url = task["url"]
is_funding = task["kind"] == "funding"
market = "linear" if is_funding else "spot"
exchange = ccxt.binance(
    {"options": {"fetchMarkets": {"types": [market]}, "fetchCurrencies": False}}
)
# It waits between requests by its own count of weights, which is of Binance's real limits.
api = {"public": "api/v3", "private": "api/v3", "v1": "api/v1", "fapiPublic": "fapi/v1",
       "fapiPublicV2": "fapi/v2", "fapiPrivate": "fapi/v1"}  # fmt: skip
for name, path in api.items():
    exchange.urls["api"][name] = f"{url}/{path}"
first, last = (
    int(datetime.fromisoformat(task[name]).replace(tzinfo=UTC).timestamp() * 1000)
    for name in ("start", "end")
)
rows: list[list[float]] = []
if is_funding:
    found = exchange.fetch_funding_rate_history(
        f"{task['symbol'].removesuffix('USDT')}/USDT:USDT", since=first,
        params={"until": last - 1, "paginate": True},
    )  # fmt: skip
    rows = [[each["timestamp"], each["fundingRate"]] for each in found]
while first < last and not is_funding:
    page = exchange.fetch_ohlcv("BTC/USDT", task["interval"], since=first, limit=1000,
                                params={"until": last - 1})  # fmt: skip
    if not page:
        break
    rows += page
    first = page[-1][0] + 1
out = Path(task["out"])
out.mkdir(parents=True, exist_ok=True)
with (out / "all.csv").open("w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows(rows)
