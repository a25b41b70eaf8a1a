"""The face of the package: what it offers, what it costs to import, and whether its examples run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
import types
from functools import reduce
from pathlib import Path

import pytest

import ares_notebook

NAMES = [
    "CACHE_DIR",
    "DATASETS",
    "INTERVALS",
    "MAX_RETRIES",
    "RETRY_DELAY_SECONDS",
    "Cache",
    "DemoExchange",
    "DoctorReport",
    "DownloadPanel",
    "DownloadReport",
    "Fingerprint",
    "Job",
    "ParquetReport",
    "PruneReport",
    "QualityReport",
    "Settings",
    "Universe",
    "UniversePlan",
    "align",
    "arrow_table",
    "assure_quality",
    "audit_cache",
    "candles_from_trades",
    "chart",
    "coverage",
    "coverage_map",
    "doctor",
    "download_agg_trades_data",
    "download_all_data",
    "download_funding_data",
    "download_futures_data",
    "download_history",
    "download_klines_data",
    "download_universe",
    "download_with_retry",
    "fetch_missing_data",
    "find_gaps",
    "fingerprint",
    "get_daily_periods",
    "get_monthly_periods",
    "iter_agg_trades",
    "klines",
    "list_symbols",
    "load_agg_trades",
    "load_funding",
    "load_futures",
    "load_klines",
    "load_rows",
    "load_runs",
    "missing",
    "plan_audit",
    "plan_downloads",
    "plan_repair",
    "plan_universe",
    "plan_update",
    "plot_coverage",
    "plot_downloads",
    "plot_funding",
    "plot_gaps",
    "plot_klines",
    "plot_runs",
    "plot_universe",
    "prune_cache",
    "repair_gaps",
    "resample_klines",
    "rows",
    "run",
    "sql",
    "start",
    "symbols_in_cache",
    "to_parquet",
    "update",
    "validate_cache",
    "verify_fingerprint",
    "verify_parquet",
]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(ares_notebook.__path__, "ares_notebook.")
    if not module.name.endswith("__main__")
]
# What needs an extra has its own tests.
EXTRAS = ("lab", "plots", "scale")
CORE = [name for name in MODULES if name.split(".")[1] not in EXTRAS]


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after *code*."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_all_is_exactly_this():
    """The public names are the promised ones, and no other."""
    assert ares_notebook.__all__ == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_there(name):
    """Each public name imports, is listed by dir(), and if it can be called shows an example."""
    value = getattr(ares_notebook, name)

    assert name in dir(ares_notebook)
    if callable(value):
        assert "Examples" in value.__doc__
        assert ">>> " in value.__doc__
        assert value.__name__ == name


def test_star_import_brings_all_names():
    """An import of everything brings the public names."""
    scope: dict[str, object] = {}
    exec("from ares_notebook import *", scope)  # noqa: S102 - what users write in a cell

    assert set(NAMES) == scope.keys() - {"__builtins__"}


def test_unknown_name_is_an_attribute_error():
    """A name that is not there fails as it does in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'downlaod'"):
        ares_notebook.downlaod  # noqa: B018 - the typo is the point


def test_version_is_that_of_the_project():
    """The version that the package tells is that of pyproject.toml."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

    assert project["project"]["version"] == ares_notebook.__version__


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    """The examples in the docstrings of a module give what they say."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)

    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
    assert list(tmp_path.iterdir()) == []


INTERNALS = re.findall(
    r"^## `([\w.]+)` ([\w.]+)\n\n(.*?)(?=\n\n## |\Z)",
    (Path(__file__).parent / "internals.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize(
    ("module", "name", "example"), INTERNALS, ids=[f"{each[0]}.{each[1]}" for each in INTERNALS]
)
def test_an_internal_does_what_its_example_shows(module, name, example):
    """What has its example in `internals.md` gives just that, called beside its own module's names."""
    namespace = vars(importlib.import_module(module)).copy()
    test = doctest.DocTestParser().get_doctest(example, namespace, name, "internals.md", 0)

    assert test.examples
    assert reduce(getattr, name.split("."), importlib.import_module(module))
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0


@pytest.mark.parametrize("name", ["ares_notebook", *MODULES])
def test_module_says_what_it_is(name):
    """Each module begins with a sentence."""
    module = importlib.import_module(name)

    assert isinstance(module, types.ModuleType)
    assert module.__doc__


# What takes long to import, of the standard library too.
SLOW = {"aiohttp", "asyncio", "numpy", "pandas", "pyarrow", "tqdm", "dask", "matplotlib", "rich"}
_COMMAND = """
sys.argv = ["ares-notebook", {words}]
from ares_notebook.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""
_COVERAGE = _COMMAND.format(words='"coverage"')
_LOAD = """
import ares_notebook
assert len(ares_notebook.load_klines("BTCUSDT", "1d", end="2025-03-01")) == 59
"""


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import ares_notebook", SLOW | {"click", "dataclasses", "msgspec"}),
        (_COMMAND.format(words='"--help"'), SLOW | {"msgspec"}),
        (_COMMAND.format(words='"plan", "BTCUSDT", "1h", "--cache-dir", "none"'), SLOW),
        (_COMMAND.format(words='"download", "BTCUSDT", "1d", "--dry-run"'), SLOW - {"asyncio"}),
        (_COVERAGE, SLOW - {"asyncio"}),
        (_LOAD, SLOW - {"numpy", "pandas", "pyarrow"} | {"click"}),
    ],
    ids=["import", "help", "plan", "dry run", "coverage", "load"],
)
def test_only_what_is_needed_is_imported(code, absent, settings, monkeypatch):
    """Each face starts without the slow packages that it does not use, and none needs pydantic."""
    monkeypatch.setenv("ARES_CACHE_DIR", str(settings.cache_dir))
    monkeypatch.setenv("ARES_MARKET", "demo")
    if code in (_COVERAGE, _LOAD):
        work = ares_notebook.download_klines_data(
            "BTCUSDT", "1d", start="2025-01-01", end="2025-03-01", settings=settings
        )
        assert ares_notebook.run(work).complete
    loaded = loaded_by(code)

    assert "ares_notebook" in loaded
    assert loaded & (absent | {"pydantic", "typer"}) == set()


def test_core_needs_no_notebook():
    """The core with all of its public names imports nothing of Jupyter, and no plots."""
    imports = "\n".join(f"import {name}" for name in CORE)
    core = [name for name in NAMES if ares_notebook._HOMES[name].split(".")[0] not in EXTRAS]
    names = "\n".join(f"import ares_notebook; ares_notebook.{name}" for name in core)
    loaded = loaded_by(f"{imports}\n{names}")

    assert {"pandas", "aiohttp", "pyarrow"} <= loaded
    assert not loaded & {
        "jupyterlab",
        "ipywidgets",
        "IPython",
        "matplotlib",
        "nest_asyncio",
        "apprise",
    }
