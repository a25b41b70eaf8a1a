"""Ours: what a cache has, and where it has gaps, of all its symbols."""

from __future__ import annotations

import json
import sys
import time

import ares_notebook as ares

task = json.loads(sys.argv[1])
settings = ares.Settings(cache_dir=task["cache"], market="demo", progress=False)
start = time.perf_counter()
table = ares.coverage(settings=settings)
covered = time.perf_counter()
gaps = sum(len(ares.find_gaps(each, settings=settings)) for each in table["symbol"].unique())
done = time.perf_counter()
states = set(table["state"])
if len(table) != task["count"] or states - {"complete", "confirmed absent upstream"}:
    sys.exit(f"{len(table)} rows of {task['count']}, states {states}")
print(
    json.dumps(
        {
            "files": len(table),
            "gaps": gaps,
            "coverage_seconds": covered - start,
            "gaps_seconds": done - covered,
            "work_seconds": done - start,
        }
    )
)
