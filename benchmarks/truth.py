"""
What the market says, read off the server's own zips by the standard library alone.

Nothing of the package, nor of what it is built on, takes part: ``zipfile`` and ``csv``
read, and every cell is turned into a whole number of units of the eighth decimal.
A process of its own, so that the benchmark stays small.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import urllib.request
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["VALUES", "whole"]

VALUES = {"klines": slice(1, 6), "trades": slice(1, 3), "funding": slice(2, 3)}
"""Where in a published row the values stand that are compared; its first cell is its key."""

_MICROSECONDS_FROM = 100_000_000_000_000
_DECIMALS = 8


def whole(cell: str) -> int:
    """
    A decimal as a whole number of units of the eighth decimal.

    Examples
    --------
    >>> whole("0.10"), whole("7162.12000000")
    (10000000, 716212000000)
    """
    units, _, rest = cell.partition(".")
    return int(units + rest.ljust(_DECIMALS, "0"))


def _read(task: dict[str, Any]) -> None:
    """Fetch the files, keep keys and values, tell how much text they held."""
    keys: list[int] = []
    values: list[list[int]] = []
    text_bytes = 0
    for name in task["files"]:
        with urllib.request.urlopen(f"{task['url']}/{name}") as answer:
            archive = zipfile.ZipFile(io.BytesIO(answer.read()))
        text = archive.read(archive.namelist()[0])
        text_bytes += len(text)
        _add(csv.reader(io.StringIO(text.decode())), task["kind"], keys, values)
    rows = slice(task.get("most_rows"))
    np.savez(task["out"], keys=np.array(keys[rows]), values=np.array(values[rows]))
    print(json.dumps({"rows": len(keys[rows]), "text_bytes": text_bytes}))


def _add(lines: Iterable[list[str]], kind: str, keys: list[int], values: list[list[int]]) -> None:
    """Append the rows of one file; stamps in milliseconds."""
    wanted = VALUES[kind]
    for cells in lines:
        if not cells[0].isdigit():
            # Files of funding have a head.
            continue
        key = int(cells[0])
        is_microseconds = kind == "klines" and key >= _MICROSECONDS_FROM
        keys.append(key // 1000 if is_microseconds else key)
        values.append([whole(cell) for cell in cells[wanted]])


if __name__ == "__main__":
    _read(json.loads(sys.argv[1]))
