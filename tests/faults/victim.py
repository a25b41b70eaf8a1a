"""
A program that works on a cache in a child of its own, which may be killed at any moment.

All is imported before the first child begins, so that kills fall into its work. It takes
orders, a line each, from standard input, and answers each with a line:

``start {"settings": {...}, "wanted": {...}}`` begins a download; the answer is "started".
With ``"verb"`` it begins another of VERBS, and *wanted* are its arguments.
With ``"strikes_at": n`` the child kills itself before its n-th deed on the disk, and exits
with 3 if it is about to write into a file under the name that only whole ones have.
``kill`` and ``wait`` end it, or let it end; the answer is its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import pandas as pd

import ares_notebook as ares
from ares_notebook.cache import reader, writer
from ares_notebook.download import runner
from ares_notebook.model import rows
from ares_notebook.quality import audit
from ares_notebook.runtime import loop

# Imported where they are used, else.
IMPORTED = (
    *(pd, loop, audit, reader, writer, rows, runner, ares.download_all_data),
    *(ares.repair_gaps, ares.audit_cache, ares.prune_cache),
)
DEEDS = {"os.rename", "os.remove", "os.mkdir", "open"}
WRITING = os.O_WRONLY | os.O_RDWR
WHOLE = (".csv", ".csv.zst", ".csv.json")
NOT_WHOLE = 3
VERBS = {
    "download": lambda **wanted: ares.run(ares.download_all_data(**wanted)),
    "repair": lambda **wanted: ares.run(ares.repair_gaps(**wanted)),
    "audit": lambda **wanted: ares.run(ares.audit_cache(update=True, **wanted)),
    "prune": lambda **wanted: ares.prune_cache(dry_run=False, **wanted),
}


def run_plan(order: dict) -> None:
    settings = ares.Settings(**order["settings"])
    if "strikes_at" in order:
        strike_at(order["strikes_at"], str(settings.cache_dir))
    wanted = {"symbol": "BTCUSDT", **order["wanted"]}
    VERBS[order.get("verb", "download")](settings=settings, **wanted)


def strike_at(number: int, folder: str) -> None:
    """Have SIGKILL strike before the deed of that number in the folder."""
    left = number

    def hear(event: str, arguments: tuple) -> None:
        nonlocal left
        if event in DEEDS and str(arguments[0]).startswith(folder):
            if event == "open" and arguments[2] & WRITING and str(arguments[0]).endswith(WHOLE):
                # Killed in the midst of writing it would leave a part under a whole one's name.
                os._exit(NOT_WHOLE)
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hear)


def started(order: dict) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        run_plan(order)
        status = 0
    finally:
        # Not back into the loop below, whatever happens.
        os._exit(status)


def main() -> None:
    child = 0
    for line in sys.stdin:
        verb, _, order = line.partition(" ")
        if verb == "start":
            child = started(json.loads(order))
            print("started", flush=True)  # noqa: T201 - its answer
            continue
        if verb.strip() == "kill":
            # A child that has ended is there until it is waited for: nobody else has its number.
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
