"""The modules of the demo exchange import little of each other, and of the package only the settings."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import ares_notebook.demo

FOLDER = Path(ares_notebook.demo.__file__).parent
PREFIX = "ares_notebook.demo."


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "ares_notebook.demo":
            found |= {PREFIX + alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] == "ares_notebook"}


GRAPH = {PREFIX + path.stem: imports_of(path) for path in FOLDER.glob("*.py")}


def test_there_are_no_circles() -> None:
    """No module imports, however indirectly, one that imports it."""
    assert len(list(TopologicalSorter(GRAPH).static_order())) >= len(GRAPH)


def test_only_the_settings_are_borrowed() -> None:
    """Of the rest of the project only the settings are used, and only by the exchange itself."""
    outside = {
        (module.removeprefix(PREFIX), name)
        for module, names in GRAPH.items()
        for name in names
        if not name.startswith(PREFIX)
    }

    assert outside == {("exchange", "ares_notebook.settings")}


def test_there_are_few_modules() -> None:
    """There are at most sixteen modules, besides the one that names the public classes."""
    assert len(GRAPH.keys() - {f"{PREFIX}__init__"}) <= 16


def test_imports_are_not_deep() -> None:
    """The longest chain of modules, of which each imports the next one, has at most eight."""
    lengths: dict[str, int] = {}
    for module in TopologicalSorter(GRAPH).static_order():
        if module in GRAPH and module != f"{PREFIX}__init__":
            lengths[module] = 1 + max((lengths.get(name, 0) for name in GRAPH[module]), default=0)

    assert max(lengths.values()) <= 8
