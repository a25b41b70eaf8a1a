"""Ours: the same download once more, when all is there."""

from __future__ import annotations

import json
import sys
import time

import ares_notebook as ares

task = json.loads(sys.argv[1])
url = task["url"]
settings = ares.Settings(
    spot_url=url,
    spot_fallback_url=f"{url}/data-api",
    futures_url=url,
    archive_url=url,
    archive_listing_url=f"{url}/data.binance.vision",
    cache_dir=task["cache"],
    market="demo",
    progress=False,
)
start = time.perf_counter()
files = requests = 0
for symbol in task["symbols"]:
    report = ares.run(
        ares.download_all_data(symbol, "1m", task["years"], end=task["end"], settings=settings)
    )
    files += len(report.steps)
    requests += report.requests
    if not report.complete or {step.action for step in report.steps} != {"skip"}:
        sys.exit(f"it should have had nothing to do:\n{report}")
print(
    json.dumps({"files": files, "requests": requests, "work_seconds": time.perf_counter() - start})
)
