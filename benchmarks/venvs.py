"""The peers' homes: a venv each, of pinned versions, made once into ``.bench/venvs``."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["make", "pinned", "python_of"]

_LISTS = Path(__file__).parent / "peers"


def python_of(home: str, folder: Path) -> str:
    """The Python of a home; ours is the one that runs this."""
    return str(folder / home / "bin" / "python") if home else sys.executable


def pinned(home: str) -> dict[str, str]:
    """Names and versions in a home's list."""
    lines = (line.partition("#")[0].strip() for line in _list(home).read_text().splitlines())
    named = (line.partition("==") for line in lines if line)
    return {name: version for name, _, version in named}


def make(home: str, folder: Path) -> None:
    """
    Make a home, unless it is there as its list says.

    Raises
    ------
    subprocess.CalledProcessError
        If it cannot be made, such as without a package index.
    """
    place, wanted = folder / home, f"{platform.python_version()}\n{_list(home).read_text()}"
    stamp = place / "made_of.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"making the venv of {home} …", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    python = str(place / "bin" / "python")
    if uv := shutil.which("uv"):
        commands = [
            [uv, "venv", "-q", "--python", sys.executable, str(place)],
            [uv, "pip", "install", "-q", "--python", python, "-r", str(_list(home))],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(place)],
            [python, "-m", "pip", "install", "-q", "-r", str(_list(home))],
        ]
    for command in commands:
        subprocess.run(command, check=True)  # noqa: S603 - our own words
    stamp.write_text(wanted)


def _list(home: str) -> Path:
    return _LISTS / f"{home}.txt"
