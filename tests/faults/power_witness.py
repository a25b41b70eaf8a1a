"""A program that downloads, and prints each write that is flushed and each name that is given, in order."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import ares_notebook as ares

flush, replace = os.fsync, os.replace


def reported(**fields: object) -> None:
    # In one piece: several threads tell.
    print(json.dumps(fields) + "\n", end="", flush=True)  # noqa: T201 - what it is for


def witnessed_flush(descriptor: int) -> None:
    flush(descriptor)
    reported(flushed=os.fstat(descriptor).st_ino, size=os.fstat(descriptor).st_size)


def witnessed_replace(source: str, target: str, **given: int) -> None:
    status = Path(source).stat()
    replace(source, target, **given)
    reported(named=str(target), inode=status.st_ino, size=status.st_size)


os.fsync, os.replace = witnessed_flush, witnessed_replace
interval, years, end, dataset = json.loads(sys.argv[1])
report = ares.run(ares.download_all_data("BTCUSDT", interval, years, end=end, datasets=[dataset]))
report.raise_for_failures()
