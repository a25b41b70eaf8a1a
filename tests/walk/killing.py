"""Kills: downloads in children of `victim.py`, which strike themselves at a deed on the disk."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from reading import changed

from ares_notebook import Settings

_TESTS = Path(__file__).parents[1]


def kill_at_deed(settings: Settings, wanted: dict[str, Any], deed: int) -> int:
    """Download in a child that is killed before its n-th deed; its exit status: it may end before."""
    order = {
        "settings": changed(settings),
        "wanted": wanted,
        "strikes_at": deed,
    }
    _answer(f"start {json.dumps(order)}")
    return int(_answer("wait"))


@lru_cache(maxsize=1)
def _victim() -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, str(_TESTS / "faults" / "victim.py")],
        env={**os.environ, "PYTHONPATH": str(_TESTS.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _answer(order: str) -> str:
    process = _victim()
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{order}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()
