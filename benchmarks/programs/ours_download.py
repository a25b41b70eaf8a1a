"""Ours: a checked download into the cache, as a user writes it."""

from __future__ import annotations

import json
import sys

import ares_notebook as ares

task = json.loads(sys.argv[1])
url = task["url"]
settings = ares.Settings(
    spot_url=url,
    spot_fallback_url=f"{url}/data-api",
    futures_url=url,
    archive_url=url,
    archive_listing_url=f"{url}/data.binance.vision",
    cache_dir=task["out"],
    market="demo",
    max_concurrency=task["concurrency"],
    source=task.get("source", "auto"),
    progress=False,
)
if task["kind"] == "klines":
    report = ares.run(
        ares.download_klines_data(
            task["symbol"], task["interval"], task["years"], end=task["end"], settings=settings
        )
    )
else:
    download = {"trades": ares.download_agg_trades_data, "funding": ares.download_futures_data}
    report = ares.run(
        download[task["kind"]](task["symbol"], task["years"], end=task["end"], settings=settings)
    )
if not report.complete:
    sys.exit(f"not complete:\n{report}")
print(json.dumps({"rows": report.rows_written, "bytes": report.bytes_received}))
