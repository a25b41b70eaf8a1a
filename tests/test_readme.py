"""The README is true: its commands and examples run, against the demo exchange."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from ares_notebook import DemoExchange, Settings
from ares_notebook.settings import URLS

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [
    line.removeprefix("$ ").partition("  #")[0].strip()
    for language, text in BLOCKS
    if language == "console"
    for line in text.splitlines()
    if line.startswith("$ ")
]


@pytest.fixture
def environment(tmp_path: Path):
    """Variables that point every default at a demo exchange and a folder of the test's own."""
    with DemoExchange() as exchange:
        settings = exchange.settings(cache_dir=tmp_path / "data_cache")
        names = ["market", *(name for name in URLS)]
        reported = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in names}
        yield {**os.environ, **reported, "ARES_CACHE_DIR": "data_cache", "ARES_PROGRESS": "0"}


# Dask 2026.8 is older than what pandas 3.1 warns of.
@pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")
@pytest.mark.parametrize("code", PYTHON, ids=[text.splitlines()[-1][:40] for text in PYTHON])
def test_each_python_example_runs(code, environment, tmp_path, monkeypatch):
    """A reader who pastes an example of the README into a cell gets no error."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, object] = {}

    result = eval(compiled, names)  # noqa: S307 - our own README
    if asyncio.iscoroutine(result):
        asyncio.run(result)

    assert "ares" in names
    assert getattr(names.get("report"), "complete", True)


def test_each_command_of_ours_runs(environment, tmp_path):
    """Every `ares-notebook` line of the README exits with 0, in the order in which it stands."""
    ours = [shlex.split(line) for line in COMMANDS if line.startswith("ares-notebook")]

    statuses = [
        subprocess.run(  # noqa: S603 - our own README
            [sys.executable, "-m", "ares_notebook", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode
        for _, *arguments in ours
    ]

    assert len(ours) >= 3
    assert [0] * len(ours) == statuses


def test_each_make_command_is_a_target():
    """Every `make` line of the README names a target of the Makefile."""
    makefile = (README.parent / "Makefile").read_text()
    wanted = [line.split()[1] for line in COMMANDS if line.startswith("make")]

    assert wanted
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in wanted)


def test_the_settings_table_names_every_setting_with_its_default():
    """The README's table of settings has every field, and no other."""
    table = README.read_text(encoding="utf-8").partition("## Settings")[2].partition("##")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    reported = {
        name.strip(" `"): (variable.strip(), default.strip())
        for name, variable, default, *_ in rows
    }

    assert {each.name for each in fields(Settings)} == set(reported)
    for name, (variable, default) in reported.items():
        there = getattr(Settings, name)
        assert variable == f"`ARES_{name.upper()}`"
        assert default == f"{there:g}" if isinstance(there, float | int) else default


def test_the_changelog_has_no_torn_or_doubled_line():
    """Each line of a list of the changelog begins an entry or goes on with it, and stands there once."""
    text = (README.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    lists = [part.strip("\n").splitlines() for part in re.split(r"^#.*$", text, flags=re.MULTILINE)]
    lines = [line for part in lists if part and part[0].startswith("- ") for line in part]

    assert lines
    assert [line for line in lines if not line.startswith(("- ", "  "))] == []
    assert sorted(set(lines)) == sorted(lines)
