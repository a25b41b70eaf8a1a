"""The house of the demo exchange has floors."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import ares_notebook.demo

HOUSE = Path(ares_notebook.demo.__file__).parent
OURS = "ares_notebook.demo."


def imports_of(path: Path) -> set[str]:
    """Modules of the project that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ares_notebook"):
            module = f"{node.module}."
            names = {alias.name for alias in node.names}
            found |= {module + name for name in names} if module == OURS else {module[:-1]}
    return found


def test_there_are_no_circles() -> None:
    """No module imports, however indirectly, one that imports it."""
    graph = {OURS + path.stem: imports_of(path) for path in HOUSE.glob("*.py")}

    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def test_only_the_settings_are_borrowed() -> None:
    """Of the rest of the project only the settings are used, and only by the exchange itself."""
    outside = {
        (path.stem, name)
        for path in HOUSE.glob("*.py")
        for name in imports_of(path)
        if not name.startswith(OURS)
    }

    assert outside == {("exchange", "ares_notebook.settings")}
