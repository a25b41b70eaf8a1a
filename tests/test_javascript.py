"""The JavaScript of the widgets: small, typed, linted, and tested by Node."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from js_tools import JS, node, packages

from ares_notebook.lab.widget import esm

LAB = JS.parents[1] / "ares_notebook" / "lab"
SCRIPTS = sorted(LAB.rglob("*.js"))


def ended(*command: str | Path) -> str:
    """What a command said; fails where it failed."""
    done = subprocess.run(  # noqa: S603 - our own command
        [*map(str, command)], capture_output=True, text=True, check=False, timeout=100, cwd=JS
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_it_is_small():
    """All JavaScript of ours is less than 60 kB, unminified, and names no other server."""
    sources = [path.read_text(encoding="utf-8") for path in SCRIPTS]

    assert sum(map(len, sources)) < 60_000
    assert [each for each in sources if re.search(r"https?://|import\(", each)] == []


def test_it_is_typed(tmp_path):
    """TypeScript finds no error in what the JSDoc comments promise, strictly."""
    config = json.loads((JS / "tsconfig.json").read_text(encoding="utf-8"))
    config["include"] = [str((JS / each).absolute()) for each in config["include"]]
    (tmp_path / "tsconfig.json").write_text(json.dumps(config), encoding="utf-8")

    ended(node(), packages() / "typescript" / "bin" / "tsc", "-p", tmp_path)


def test_it_is_linted():
    """Biome's recommended rules hold for the scripts of the widgets, and for their tests."""
    biome = packages() / "@biomejs" / "biome" / "bin" / "biome"

    ended(node(), biome, "lint", f"--config-path={JS}", LAB / "static", JS)


def test_its_own_tests_pass():
    """The tests in JavaScript pass, of which there are some."""
    files = sorted(JS.glob("*.test.js"))
    said = ended(node(), "--test", "--test-reporter=tap", *files)

    assert int(re.search(r"^# pass (\d+)", said, flags=re.MULTILINE)[1]) >= len(files)


@pytest.mark.parametrize(
    "name", [path.name for path in SCRIPTS if "export default" in path.read_text(encoding="utf-8")]
)
def test_a_widgets_modules_become_one(name, tmp_path):
    """What a browser loads of a widget imports nothing, and is a module that Node can load."""
    made = tmp_path / "made.mjs"
    made.write_text(esm(name), encoding="utf-8")

    assert not re.search(r"^import ", esm(name), flags=re.MULTILINE)
    ended(node(), "--input-type=module", "-e", f"await import({json.dumps(made.as_uri())})")
