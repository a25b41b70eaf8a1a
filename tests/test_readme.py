"""README and site are true: their commands and examples run, against the demo exchange."""

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
from benchmarks import readme

REPOSITORY = Path(__file__).parent.parent
README = REPOSITORY / "README.md"
# The recipes want libraries that may not be here, and tests/test_recipes.py runs them. The shim of the migration is a
# module of another project, and what the hosts show goes on
# from the panel's cell, or installs the package.
_NO_CELLS = {"recipes.md", "migration.md", "hosts.md", "hosted.md"}
PAGES = [
    README,
    *(page for page in sorted((REPOSITORY / "docs").glob("*.md")) if page.name not in _NO_CELLS),
]
BLOCKS = {
    page.name: re.findall(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for page in PAGES
}


def commands(blocks: list[tuple[str, str]]) -> list[str]:
    """What is typed into a shell."""
    return [
        line.removeprefix("$ ").partition("  #")[0].strip()
        for language, text in blocks
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


def run_python(code: str, page: str) -> dict[str, object]:
    """Run a block as a cell, which may await."""
    names: dict[str, object] = {}
    result = eval(compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307 - our own page
    if asyncio.iscoroutine(result):
        asyncio.run(result)
    return names


# Dask 2026.8 is older than what pandas 3.1 warns of.
@pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")
@pytest.mark.parametrize(
    "page", [page for page, blocks in BLOCKS.items() if "python" in dict(blocks)]
)
def test_each_example_of_a_page_runs(page, environment, tmp_path, monkeypatch):
    """A reader who pastes the examples of a page, one after the other, into new cells gets no error."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for language, code in BLOCKS[page]:
        if language == "python":
            names = run_python(code, page)
            assert "ares" in names
            assert getattr(names.get("report"), "complete", True)


def test_the_first_example_prints_what_the_readme_shows(tmp_path, monkeypatch, capsys):
    """The offline example prints the very lines below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARES_PROGRESS", "0")
    blocks = BLOCKS["README.md"]
    first = next(at for at, (language, _) in enumerate(blocks) if language == "python")
    run_python(blocks[first][1], "README.md")

    assert blocks[first + 1] == ("text", capsys.readouterr().out)


# Each is a process of its own, one after the other: on a busy machine they take longer than a test may.
@pytest.mark.timeout(400)
def test_each_command_of_ours_runs(environment, tmp_path):
    """Every `ares-notebook` line of the README, then of each page, exits with 0 in one folder, once."""
    ours: dict[str, str] = {}
    for page, blocks in BLOCKS.items():
        for line in commands(blocks):
            if line.startswith("ares-notebook"):
                ours.setdefault(line, page)
    failed = []
    for line, page in ours.items():
        arguments = shlex.split(line)[1:]
        done = subprocess.run(  # noqa: S603 - our own pages
            [sys.executable, "-m", "ares_notebook", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            failed.append((page, arguments, done.stderr[-2000:]))

    assert len(ours) >= 10
    assert failed == []


def test_each_make_command_is_a_target():
    """Every `make` line of README and site names a target of the Makefile."""
    makefile = (README.parent / "Makefile").read_text()
    wanted = [
        line.split()[1]
        for blocks in BLOCKS.values()
        for line in commands(blocks)
        if line.startswith("make")
    ]

    assert wanted
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in wanted)


def test_the_settings_table_names_every_setting_with_its_default():
    """The site's table of settings has every field, and no other."""
    table = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
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


def test_the_readme_is_one_that_is_read():
    """The README has no more than 180 lines, and its figures are those of the last measurement."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 180
    assert [
        page for page in readme.PAGES if page.read_text(encoding="utf-8") != readme.current(page)
    ] == []


def test_the_changelog_has_no_torn_or_doubled_line():
    """Each line of a list of the changelog begins an entry or goes on with it, and stands there once."""
    text = (README.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    lists = [part.strip("\n").splitlines() for part in re.split(r"^#.*$", text, flags=re.MULTILINE)]
    lines = [line for part in lists if part and part[0].startswith("- ") for line in part]

    assert lines
    assert [line for line in lines if not line.startswith(("- ", "  "))] == []
    assert sorted(set(lines)) == sorted(lines)
