"""A run over a complete cache: it asks nothing, and imports nothing that it does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ares_notebook as ares

_AGAIN = """
import sys
import pytest

import ares_notebook as ares

settings = ares.Settings(cache_dir=sys.argv[1], market=sys.argv[2], progress=False)
report = ares.run(ares.download_all_data("BTCUSDT", "1d", 0.005, end="2025-01-15", settings=settings))
slow = {"aiohttp", "numpy", "pandas", "pyarrow"} & set(sys.modules)
print(report.complete, report.requests, len(report.steps), sorted(slow))
"""


async def test_a_complete_cache_needs_neither_network_nor_tables(settings):
    """In a new process the same download over a complete cache imports neither HTTP nor Arrow nor pandas."""
    first = await ares.download_all_data(
        "BTCUSDT", "1d", 0.005, end="2025-01-15", settings=settings
    )
    done = subprocess.run(  # noqa: S603, ASYNC221 - our own code, and nothing else waits
        [sys.executable, "-c", _AGAIN, str(settings.cache_dir), settings.market_name],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split(" ", 3) == ["True", "0", f"{len(first.steps)}", "[]\n"]


_SHELL = """
import sys
from ares_notebook.cli import main

try:
    main()
finally:
    print(sorted({"aiohttp", "numpy", "pandas", "pyarrow"} & set(sys.modules)))
"""


@pytest.mark.parametrize("verb", ["download", "--help"])
async def test_the_shell_needs_no_more(settings, verb):
    """On the command line, too, nothing slow is imported where nothing is to be done."""
    await ares.download_all_data("BTCUSDT", "1d", 0.005, end="2025-01-15", settings=settings)
    words = ["BTCUSDT", "1d", "--years", "0.005", "--end", "2025-01-15"]
    reported = {"ARES_CACHE_DIR": str(settings.cache_dir), "ARES_MARKET": settings.market_name}
    done = subprocess.run(  # noqa: S603, ASYNC221 - as above
        [sys.executable, "-c", _SHELL, verb, *(words if verb == "download" else [])],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **reported},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "[]"
    assert verb == "--help" or done.stdout.startswith("complete: ")
