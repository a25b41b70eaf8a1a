"""Programs that run as a user without rights, since root may do anything."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# All is imported while it can be: root's Python may lie where nobody can read it.
_BEGIN = """
import asyncio, encodings.ascii, encodings.idna, importlib, os, sys
import pandas
import pyarrow.csv
import ares_notebook as ares
from ares_notebook.errors import AresError
for each in ("cache.prune", "cache.writer", "cache.quarantine", "step1", "download.runner", "quality.validate"):
    importlib.import_module(f"ares_notebook.{each}")

if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


def as_nobody(program: str, *arguments: str | Path, **environment: str) -> str:
    """
    Run *program* as a user who owns nothing; gives what it printed.

    It begins with ``asyncio``, ``os``, ``sys`` and ``ares`` imported.
    """
    if os.name != "posix":
        pytest.skip("rights are those of POSIX")
    done = subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", _BEGIN + program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1600:]
    return done.stdout


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own are their owner's alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
