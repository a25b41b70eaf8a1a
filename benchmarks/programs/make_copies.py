"""
What readers read, made beforehand: a cache with its Arrow copies, and the same rows as Parquet.

Of several symbols the first one is downloaded, and its files and receipts are copied under the names of
the others: what is read, and how much of it, is the same.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import ares_notebook as ares

task = json.loads(sys.argv[1])
cache, url = Path(task["out"]), task["url"]
addresses = dict.fromkeys(("spot_url", "futures_url", "archive_url"), url)
settings = ares.Settings(
    **addresses,
    spot_fallback_url=f"{url}/data-api",
    archive_listing_url=f"{url}/data.binance.vision",
    cache_dir=cache,
    market="demo",
    progress=False,
)
names = task.get("symbols", [task["symbol"]])
window = {"start": task["start"], "end": task["end"], "settings": settings}
is_trades = task["kind"] == "trades"
if is_trades:
    work = ares.download_agg_trades_data(names[0], **window)
else:
    work = ares.download_klines_data(names[0], task["interval"], **window)
report = ares.run(work)
if not report.complete:
    sys.exit(f"not complete:\n{report}")
receipts = cache / ".ares" / "receipts"
for path in sorted(cache.glob("*.csv")):
    for symbol in names[1:]:
        name = path.name.replace(names[0], symbol)
        shutil.copy2(path, cache / name)
        receipt = (receipts / f"{path.name}.json").read_text().replace(path.name, name)
        (receipts / f"{name}.json").write_text(receipt)
lz4 = settings.replace(cache_dir=Path(f"{cache}-lz4"), arrow_copies="lz4")
shutil.copytree(cache, lz4.cache_dir)
parquet = Path(f"{cache}-parquet")
parquet.mkdir()
dataset = "agg_trades" if is_trades else "klines"
for symbol in names:
    # The loads that make the copies.
    which = (dataset, symbol, task.get("interval"))
    frame = ares.load_rows(*which, settings=lz4)
    frame = ares.load_rows(*which, settings=settings)
    frame = frame.reset_index()
    periods = frame["timestamp"].dt.tz_localize(None).dt.to_period("D" if is_trades else "M")
    for period, rows in frame.groupby(periods):
        stem = "_".join(filter(None, ("aggtrades" if is_trades else "klines", *which[1:])))
        rows.to_parquet(parquet / f"{stem}_{period}.parquet", index=False)
