"""One truth for dependencies: environment.yml repeats pyproject.toml where conda must know."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ASKED_FOR = {
    "jupyterlab",
    "ipywidgets",
    "nest-asyncio",
    "aiohttp",
    "pandas",
    "matplotlib",
    "nbval",
    "pytest",
}


def split(requirement: str) -> tuple[str, str]:
    """Name and version range of a requirement."""
    name, bounds = re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", requirement.strip()).groups()
    return name.lower(), bounds


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def conda() -> list:
    return yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def test_conda_names_what_was_asked_for_in_the_projects_ranges(project, conda):
    """environment.yml names the eight packages that were asked for, in pyproject's ranges."""
    extras = project["optional-dependencies"]
    ranges = dict(map(split, project["dependencies"] + extras["lab"] + extras["test"]))

    named = dict(split(each) for each in conda if isinstance(each, str))

    assert set(named) - {"python", "pip"} == ASKED_FOR
    assert {name: ranges[name] for name in ASKED_FOR} == {name: named[name] for name in ASKED_FOR}


def test_conda_takes_everything_else_from_the_project(project, conda):
    """environment.yml installs the project itself by pip, and asks for its Python."""
    pip = next(each["pip"] for each in conda if isinstance(each, dict))

    assert pip == ["-e .[lab,test]"]
    assert f"python{project['requires-python']}" in conda
