"""What was measured on: machine and versions, and nothing that names a place."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

__all__ = ["describe"]

_PACKAGES = ("ares-notebook", "aiohttp", "isal", "numpy", "pandas", "pyarrow")


def describe() -> dict[str, str]:
    """Lines of a table: processor, memory, system, Python, packages."""
    release = platform.freedesktop_os_release() if sys.platform == "linux" else {}
    return {
        "processor": _first(r"^model name\s*: (.*)", "/proc/cpuinfo") or platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _gibibytes(_first(r"^MemTotal:\s*(\d+) kB", "/proc/meminfo")),
        "system": f"{release.get('PRETTY_NAME', platform.system())}, Linux {platform.release()}",
        "Python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def _first(pattern: str, path: str) -> str:
    """The first match in a file of the system's."""
    found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return found[1].strip() if found else ""


def _gibibytes(kilobytes: str) -> str:
    return f"{int(kilobytes or 0) / 2**20:.0f} GiB"
