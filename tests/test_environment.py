"""One truth for dependencies: what repeats pyproject.toml (conda's files, the lock, the citation) agrees with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
# What conda-forge calls by another name.
OF_CONDA = {"isal": "python-isal"}
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
    every = [project["dependencies"], *(extras[name] for name in ("lab", "test", "test-core"))]
    ranges = dict(split(each) for names in every for each in names)

    named = dict(split(each) for each in conda if isinstance(each, str))

    assert set(named) - {"python", "pip"} == ASKED_FOR
    assert {name: ranges[name] for name in ASKED_FOR} == {name: named[name] for name in ASKED_FOR}


def test_conda_takes_everything_else_from_the_project(project, conda):
    """environment.yml installs the project itself by pip, and asks for its Python."""
    pip = next(each["pip"] for each in conda if isinstance(each, dict))

    assert pip == ["-e .[lab,test]"]
    assert f"python{project['requires-python']}" in conda


def test_the_recipe_needs_what_the_project_needs(project):
    """conda/recipe.yaml has the core's dependencies in pyproject's ranges, its Python, version and command."""
    recipe = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text())
    python = f"python {project['requires-python']}"
    wanted = {
        f"{OF_CONDA.get(name, name)} {bounds}"
        for name, bounds in map(split, project["dependencies"])
    }
    commands = [" = ".join(each) for each in project["scripts"].items()]

    assert set(recipe["requirements"]["run"]) == {python, *wanted}
    assert python in recipe["requirements"]["host"]
    assert recipe["context"]["version"] == project["version"]
    assert recipe["build"]["python"]["entry_points"] == commands


def test_the_lock_holds_a_version_of_everything(project):
    """constraints.txt pins each package that the project or an extra names, within the named range."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    extras = project["optional-dependencies"].values()
    named = map(Requirement, project["dependencies"] + [each for names in extras for each in names])

    for each in named:
        versions = [
            next(iter(pin.specifier)).version
            for pin in pins
            if pin.name.replace("-", "_") == each.name.replace("-", "_")
        ]
        assert versions or each.name == "ares-notebook", f"make lock: nothing pins {each.name}"
        assert all(map(each.specifier.contains, versions)), f"make lock: {each} is not {versions}"


def test_the_citation_is_of_this_version(project):
    """CITATION.cff names the version, the licence and the authors of pyproject.toml."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]


def test_the_lists_of_tests_name_files():
    """Each line of core.txt and quick.txt is a file or folder that exists, and none of the quick ones wants a browser."""
    for name in ("core.txt", "quick.txt"):
        lines = (ROOT / "tests" / name).read_text().split()
        assert [
            each for each in lines if not (ROOT / each.removeprefix("--ignore=")).exists()
        ] == []
    assert "tests/browser" not in lines
