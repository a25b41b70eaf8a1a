"""Ours by the hands of so many workers; none: by one process. The time of the work alone is told beside."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import ares_notebook as ares


def main() -> None:
    """Carry out the task; the workers import this file, and must not begin it anew."""
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
        progress=False,
    )
    plan = ares.plan_downloads(
        task["symbol"], None, task["years"], end=task["end"], settings=settings,
        datasets=("agg_trades",),
    )  # fmt: skip
    report, seconds = carried_out(plan, task["workers"], a_core_each=task["a_core_each"])
    if not report.complete:
        sys.exit(f"not complete:\n{report}")
    told = {"rows": report.rows_written, "bytes": report.bytes_received, "work_seconds": seconds}
    print(json.dumps(told))


def carried_out(
    plan: ares.download.plan.Plan, workers: int, *, a_core_each: bool
) -> tuple[ares.DownloadReport, float]:
    """The report, and how long it took when the cluster was there."""
    if not workers:
        from ares_notebook.download.run_plans import run_plan

        began = time.perf_counter()
        return ares.run(run_plan(plan)), time.perf_counter() - began
    from distributed import Client, LocalCluster

    from ares_notebook import scale

    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        # A worker that has not imported us yet is not at work.
        client.run(_imported)
        if a_core_each:
            for number, worker in enumerate(client.scheduler_info()["workers"]):
                client.run(_bound_to, number % (os.cpu_count() or 1), workers=[worker])
        began = time.perf_counter()
        return scale.download(plan, client), time.perf_counter() - began


def _imported() -> None:
    import ares_notebook.download.runner  # noqa: F401 - for its time


def _bound_to(core: int) -> None:
    """All threads that there are; those to come inherit it."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


if __name__ == "__main__":
    main()
