"""A long download in a process of its own, which looks at itself: memory, open files, tasks, threads."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import ares_notebook as ares


def state() -> dict[str, int]:
    """What the process holds at this moment."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "open_files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "threads": threading.active_count(),
    }


async def download(wish: dict[str, Any]) -> dict[str, Any]:
    """Download, and tell what was held on the way and what is left."""
    before, samples = state(), []
    this = asyncio.current_task()

    def look(progress: ares.Progress) -> None:
        samples.append({"files": progress.steps_done, **state()})
        if progress.steps_done >= wish["cancel_at"]:
            work.cancel()

    settings = ares.Settings(**wish["settings"])
    work = asyncio.create_task(
        ares.download_all_data(
            "BTCUSDT", "1h", wish["years"], end=wish["end"], settings=settings, on_progress=look
        )
    )
    [report] = await asyncio.gather(work, return_exceptions=True)
    ending = type(report).__name__
    reported = (
        {"failed": len(report.failed), "complete": report.complete}
        if ending == "DownloadReport"
        else {}
    )
    tasks = asyncio.all_tasks() - {this}
    await asyncio.get_running_loop().shutdown_default_executor()
    return {
        "ending": ending,
        **reported,
        "before": before,
        "samples": samples,
        "after": state(),
        "tasks_left": len(tasks),
    }


if __name__ == "__main__":
    json.dump(asyncio.run(download(json.load(sys.stdin))), sys.stdout)
