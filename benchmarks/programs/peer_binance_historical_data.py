"""binance-historical-data: unzips the archive's files as they are; no checks, nothing parsed."""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta

from binance_historical_data import BinanceDataDumper

task = json.loads(sys.argv[1])
first, last = date.fromisoformat(task["start"]), date.fromisoformat(task["end"])
# It takes daily files in the month in which it ends, and monthly ones before: a first of the
# month as its end saves it thirty files, and costs it one that nobody asked for.
if last.day != 1:
    last -= timedelta(days=1)
# Else it asks two hosts of the internet where we are, and which symbols there are.
BinanceDataDumper.get_list_all_trading_pairs = lambda _: [task["symbol"]]
dumper = BinanceDataDumper(
    path_dir_where_to_dump=task["out"],
    asset_class="spot",
    data_type="klines" if task["kind"] == "klines" else "aggTrades",
    data_frequency=task.get("interval", ""),
)
dumper._base_url = f"{task['url']}/data"  # noqa: SLF001 - it has no other way
dumper.dump_data(tickers=[task["symbol"]], date_start=first, date_end=last)
