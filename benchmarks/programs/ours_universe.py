"""Ours: one plan over all symbols of a cache in which nothing is to be done, and its coverage."""

from __future__ import annotations

import json
import sys
import time

import ares_notebook as ares

task = json.loads(sys.argv[1])
settings = ares.Settings(cache_dir=task["cache"], market="demo", progress=False)
start = time.perf_counter()
ALL = ("klines", "agg_trades", "futures")
plan = ares.plan_universe(
    task["symbols"], "1m", task["years"], end=task["end"], datasets=ALL, settings=settings
)
planned = time.perf_counter()
words, to_do = str(plan), len(plan.to_do)
report = ares.run(ares.download_universe(
    task["symbols"], "1m", task["years"], end=task["end"], datasets=ALL, settings=settings
))  # fmt: skip
again = time.perf_counter()
del plan
table = ares.coverage(settings=settings)
done = time.perf_counter()
if to_do or not report.complete or report.requests or len(report.steps) != task["count"]:
    sys.exit(f"{to_do} files to do, {words}\n{report}")
if len(table) != task["count"]:
    sys.exit(f"{len(table)} rows of {task['count']}")
print(
    json.dumps(
        {
            "files": len(table),
            "plan_seconds": planned - start,
            "again_seconds": again - planned,
            "coverage_seconds": done - again,
            "work_seconds": done - start,
        }
    )
)
