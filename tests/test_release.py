"""The workflow of a release: what is built, and who may publish it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import ares_notebook

ROOT = Path(__file__).parents[1]
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
JOBS = WORKFLOW["jobs"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def before(name: str) -> set[str]:
    """The jobs that must have ended well before this one begins."""
    needed = set(JOBS[name].get("needs", ()))
    return needed | {each for one in needed for each in before(one)}


def test_only_the_last_job_may_publish():
    """One job alone can ask for a token of PyPI's: it runs by a tag alone, after all others, and runs no code of ours."""
    allowed = [name for name, job in JOBS.items() if "id-token" in job.get("permissions", {})]
    steps = JOBS["publish"]["steps"]

    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert allowed == ["publish"]
    assert JOBS["publish"]["if"] == "github.ref_type == 'tag'"
    assert before("publish") == JOBS.keys() - {"publish"}
    assert [each for each in steps if "run" in each or "checkout" in each.get("uses", "")] == []


@pytest.mark.parametrize("system", ["ubuntu", "macos", "windows"])
def test_there_is_a_wheel_for_each_system(system):
    """Wheels are built for Linux, macOS and Windows, of the oldest Python that the project takes."""
    machines = JOBS["wheels"]["strategy"]["matrix"]["machine"]
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=").replace(".", "")

    assert any(each.startswith(system) for each in machines)
    assert PROJECT["tool"]["cibuildwheel"]["build"] == f"cp{oldest}-*"


def test_the_package_knows_its_version():
    """What a tag is held against is what the package says of itself."""
    assert ares_notebook.__version__ == PROJECT["project"]["version"]
