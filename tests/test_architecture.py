"""The architecture, read off the folders: six layers, no circles, one place for the network."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from ares_notebook.model.datasets import AGG_TRADES, DATASETS, FUTURES, KLINES

PACKAGE = Path(__file__).parent.parent / "ares_notebook"
PREFIX = "ares_notebook"
# A module imports only from layers before its own; what is in none of them is a face, on top of all.
LAYERS = ("model", "runtime", "binance", "cache", "download", "quality")
# Below them what knows nobody; the settings know the model, and all else knows the settings.
BASE = {"errors", "extras", "formatting", "host"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package, by its name without the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if name not in ("__init__", "__main__"):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> set[str]:
    """Names of all modules that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def ours(tree: ast.Module) -> set[str]:
    """Of those, the modules of the package, without its name."""
    return {
        name.removeprefix(f"{PREFIX}.") for name in imported(tree) if name.startswith(f"{PREFIX}.")
    }


ALL = dict(modules())
# The demo exchange is beside the layers: tests/demo/test_demo_imports.py reads its imports.
MODULES = {name: tree for name, tree in ALL.items() if name.split(".")[0] != "demo"}


def height(name: str) -> int:
    """The layer of a module, counted from the ground; that of faces is above all."""
    folder = name.split(".", maxsplit=1)[0]
    if folder in BASE:
        return -1
    if folder == "settings":
        return 1
    if folder in LAYERS:
        return 2 * LAYERS.index(folder)
    return 2 * len(LAYERS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    """A module imports only from its own layer and from those before it."""
    assert {each for each in ours(MODULES[name]) if height(each) > height(name)} == set()


def test_there_is_no_circle():
    """Modules can be put in an order in which each imports only from those before it."""
    graph = {name: ours(tree) & MODULES.keys() - {name} for name, tree in MODULES.items()}

    assert len([*TopologicalSorter(graph).static_order()]) == len(MODULES)


def test_every_layer_is_a_folder():
    """The six layers are the folders of these names, and none is empty."""
    assert all(any(name.startswith(f"{layer}.") for name in MODULES) for layer in LAYERS)


# Where somebody chooses it by name.
DEMO = {"cli.commands", "lab.form"}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in DEMO])
def test_the_demo_is_not_leant_on(name):
    """Only where it is chosen by name the demo exchange is known: no stand-in is ever fallen back to."""
    assert not any(each.split(".")[0] == "demo" for each in ours(MODULES[name]))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("binance.")])
def test_only_binance_knows_aiohttp(name):
    """No module outside `binance` speaks HTTP itself."""
    spoken = {each.split(".")[0] for each in imported(MODULES[name])}

    assert not spoken & {"aiohttp", "requests", "httpx", "urllib3", "http"}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("cache.")])
def test_the_cache_knows_no_network(name):
    """No module of `cache` imports one of `binance`."""
    assert not any(each.startswith("binance") for each in ours(MODULES[name]))


def test_the_name_of_a_class_is_unique():
    """No two classes of the package have the same name."""
    names = [
        node.name
        for tree in ALL.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]

    assert [name for name, times in Counter(names).items() if times > 1] == []


@pytest.mark.parametrize("name", ALL)
def test_every_body_fits_a_screen(name):
    """No body of a function is longer than 40 lines, and no module than 500."""
    path = PACKAGE / Path(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
    assert [each.name for each in functions(ALL[name]) if body_lines(each) > 40] == []


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods of a module."""
    return (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a body, its docstring left out."""
    start = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - start[0].lineno + 1 if start else 0


def test_no_module_names_a_dataset_of_futures():
    """Outside the model, the plots and the demo no code has the name or the value of a dataset of futures."""
    names = {each.name for each in DATASETS if each not in (KLINES, AGG_TRADES, FUTURES)}
    found = [
        (module, node.lineno)
        for module, tree in MODULES.items()
        if module.split(".")[0] not in ("model", "plots")
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and node.value in names)
        or (isinstance(node, ast.Name) and node.id.lower() in names)
    ]

    assert found == []
