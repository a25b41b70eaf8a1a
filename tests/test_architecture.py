"""The floors of the house: a module imports only from below, and there are no circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ares_notebook"
PREFIX = "ares_notebook"

# From the ground up. The demo exchange is a house of its own.
FLOORS = [
    {"errors", "host", "markup", "messenger", "meter", "quantities", "stopping", "threads"},
    {"addresses", "bytesize", "loop"},
    {"cache.pruned", "cache.table", "extras"},
    {"lab.nested", "market.periods", "market.symbols"},
    {"market.evidence", "market.intervals"},
    {"market.datasets", "market.stamps", "market.universe", "settings"},
    {"market.lines", "market.numbers", "market.series", "notify"},
    {"market.facts", "market.halts", "market.rows", "shape"},
    {"market.funding"},
    {"market.measure", "market.holes", "market.scale"},
    {"exchange.clock", "exchange.moments"},
    {"exchange.budget", "exchange.expected"},
    {
        "exchange.express",
        "exchange.info",
        "exchange.inflate",
        "exchange.once",
        "exchange.paging",
        "exchange.refusal",
        "exchange.retry",
        "exchange.tables",
    },
    {"exchange.published", "exchange.transport"},
    {"exchange.catalogue", "exchange.pages", "exchange.zip"},
    {"exchange.archive", "exchange.listed", "exchange.rest"},
    {"cache.disk", "cache.receipts", "cache.retention"},
    {"cache.legacy", "cache.listing", "cache.runs"},
    {"cache.part"},
    {"cache.text"},
    {"cache.have", "cache.origin", "cache.patch", "cache.quarantine"},
    {"cache.splice"},
    {"cache.examine", "cache.seen"},
    {"cache.store"},
    {"cache.beside", "cache.cells", "cache.damage", "cache.lock", "cache.reasons", "cache.span"},
    {
        "cache.coverage",
        "cache.frames",
        "cache.gaps",
        "cache.history",
        "cache.prune",
        "cache.window",
    },
    {"work.decide", "work.progress"},
    {"tidings", "work.cost", "work.draft", "work.report", "work.sizes", "work.wanted"},
    {"work.confirm", "work.plan"},
    {"work.fill"},
    {"work.bring", "work.settle", "work.universe"},
    {"work.hands"},
    {"work.under_way"},
    {"work.carry_out"},
    {"work.on_record"},
    {"download", "job", "load", "work.repair", "work.several"},
    {"parquet.outcome", "parquet.typed"},
    {"parquet.object", "parquet.origin"},
    {"parquet.export"},
    {"step1", "scale.fit", "scale.lake", "universe"},
    {"scale.desk"},
    {"scale.watch"},
    {"scale.crew"},
    {"scale.place"},
    {"scale.cluster"},
    {"proof.calendar", "proof.difference", "proof.finding", "proof.looks", "proof.rows"},
    {"proof.count"},
    {"pictures.lettering"},
    {"pictures.canvas", "pictures.drawing"},
    {
        "pictures.coverage",
        "pictures.downloads",
        "pictures.funding",
        "pictures.gaps",
        "pictures.klines",
        "pictures.runs",
        "pictures.universe",
    },
    {
        "proof.candles",
        "proof.checks",
        "proof.fingerprint",
        "proof.picture",
        "proof.threshold",
        "proof.verdict",
    },
    {"proof.audit", "proof.certificate", "proof.reconcile", "proof.verify"},
    {"proof.quality"},
    {"proof.validate"},
    {"proof.assure"},
    {"lab.choice", "lab.source", "lab.style"},
    {"lab.form"},
    {"lab.estimate", "lab.face", "lab.gauge", "lab.standing"},
    {"lab.deeds", "lab.look", "lab.outcome"},
    {"lab.panel"},
    {"commands.options"},
    {"commands.show"},
    {"commands.bring", "commands.export", "commands.keep", "commands.look", "commands.universe"},
    {"commands.verbs"},
    {"cli"},
]
HEIGHT = {name: height for height, floor in enumerate(FLOORS) for name in floor}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the house but the demo's, by its name without the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "demo" and parts[-1] not in ("__init__", "__main__"):
            yield ".".join(parts), ast.parse(path.read_text(encoding="utf-8"))


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
    """Of those, the modules of the house, without the package's name."""
    return {
        name.removeprefix(f"{PREFIX}.") for name in imported(tree) if name.startswith(f"{PREFIX}.")
    }


MODULES = dict(modules())


def test_every_module_has_a_floor():
    """The table of floors names every module of the package, each once."""
    assert sorted(MODULES) == sorted(name for floor in FLOORS for name in floor)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    """A module imports only modules of floors below its own."""
    above = {each for each in ours(MODULES[name]) if HEIGHT.get(each, -1) >= HEIGHT[name]}

    assert set() == above


# Where somebody chooses it by name.
DEMO = {"commands.bring", "lab.source"}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in DEMO])
def test_the_demo_is_not_leant_on(name):
    """Only where it is chosen by name the demo exchange is known: no stand-in is ever fallen back to."""
    assert not any(each.split(".")[0] == "demo" for each in ours(MODULES[name]))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("exchange.")])
def test_only_the_exchange_knows_aiohttp(name):
    """No module outside `exchange` speaks HTTP itself."""
    spoken = {each.split(".")[0] for each in imported(MODULES[name])}

    assert not spoken & {"aiohttp", "requests", "httpx", "urllib3", "http"}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("cache.")])
def test_the_cache_knows_no_network(name):
    """No module of `cache` imports one of `exchange`."""
    assert not any(each.startswith("exchange") for each in ours(MODULES[name]))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_fits_a_room(name):
    """No module is longer than 350 lines, and no body than 40."""
    source = (PACKAGE / Path(*name.split("."))).with_suffix(".py").read_text(encoding="utf-8")

    assert len(source.splitlines()) <= 350
    assert [each.name for each in functions(MODULES[name]) if body_lines(each) > 40] == []


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods of a module."""
    return (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a body, its docstring left out."""
    start = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - start[0].lineno + 1 if start else 0
