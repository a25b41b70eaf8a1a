"""An extra that is not installed costs its feature and nothing else, and says so in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ares_notebook
from ares_notebook.errors import MissingExtra
from ares_notebook.extras import needing

OPTIONAL = ("ipywidgets", "anywidget", "matplotlib", "apprise", "dask", "nest_asyncio2")
PICTURES = [name for name, home in ares_notebook._HOMES.items() if home.startswith("plots.")]
WIDGETS = {"DownloadPanel", "chart", "coverage_map"}
LOST = {
    "ipywidgets": WIDGETS,
    "anywidget": WIDGETS,
    "matplotlib": set(PICTURES),
    "apprise": set(),
    "dask": set(),
    "nest_asyncio2": set(),
}
CASES = [*((name,) for name in OPTIONAL), OPTIONAL]

BLOCK = """
import importlib.abc, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
"""
USE = """
import tempfile
from ares_notebook import *
import ares_notebook
print(*sorted(n for n in ares_notebook.__all__ if n not in vars(ares_notebook)))
with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    settings = exchange.settings(cache_dir=folder)
    wanted = {"end": "2025-03-01", "settings": settings}
    print(run(download_klines_data("BTCUSDT", "1d", 0.1, **wanted)).complete)
"""
ASK = """
import ares_notebook
from ares_notebook.errors import MissingExtra
for name in {names!r}:
    call = getattr(ares_notebook, name)
    print(call.__name__, call.__doc__)
    try: call()
    except MissingExtra as error: print(error.name, error)
"""


def without(names: tuple[str, ...], code: str, folder: Path, *arguments: str):
    """Run *code* where none of *names* can be imported, and give what became of it."""
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"{BLOCK.format(names=names)}\n{code}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("names", CASES, ids="-".join)
def test_a_missing_extra_costs_only_its_feature(names, tmp_path):
    """An import of everything and a download work; just the names that need it are stood in for."""
    done = without(names, USE, tmp_path)

    lost, complete = done.stdout.splitlines()
    assert done.stderr == ""
    assert set(lost.split()) == set().union(*(LOST[name] for name in names))
    assert complete == "True"


@pytest.mark.parametrize("arguments", [["--help"], ["demo"]], ids="".join)
def test_the_command_line_needs_no_extra(arguments, tmp_path):
    """With none of them the command line says what it can, and the demo brings its market."""
    code = "import runpy; runpy.run_module('ares_notebook', run_name='__main__')"
    done = without(OPTIONAL, code, tmp_path, *arguments)

    assert done.returncode == 0
    assert "fingerprint" in done.stdout or "complete: " in done.stdout


@pytest.mark.parametrize("lacking", ["ipywidgets", "anywidget", "matplotlib"])
def test_the_sentence_comes_with_the_use(lacking, tmp_path):
    """Who calls what stands for a name is told which package lacks, and how to install the extra."""
    names = sorted(LOST[lacking])
    done = without((lacking,), ASK.format(names=names), tmp_path)

    remedy = (
        f"needs {lacking}, which is not installed here: pip install {lacking}, "
        'or, with all that the extra has, pip install "ares-notebook[lab]"'
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        line for name in names for line in (f"{name} {name} {remedy}", f"{lacking} {name} {remedy}")
    ]


def test_nested_loops_name_their_extra(tmp_path):
    """A nest-asyncio2 whose files are gone is told of like any other."""
    lines = [
        "from ares_notebook.lab import allow_nested_loops",
        "try: allow_nested_loops()",
        "except ImportError as error: print(error)",
    ]
    done = without(("nest_asyncio2",), "\n".join(lines), tmp_path)

    assert done.stdout == (
        "allow_nested_loops needs nest-asyncio2, which is not installed here: pip install nest-asyncio2, "
        'or, with all that the extra has, pip install "ares-notebook[lab]"\n'
    )


def test_what_was_installed_meanwhile_serves_without_a_restart(tmp_path):
    """Both the name asked for anew and the stand-in at hand find the extra that has come."""
    lines = [
        "import ares_notebook as ares",
        "old = ares.plot_coverage",
        "del sys.meta_path[0]",
        "def answer(call):",
        "    try: call()",
        "    except TypeError as error: return str(error)",
        "print(ares.plot_coverage.__module__)",
        "print(answer(old) == answer(ares.plot_coverage))",
    ]
    done = without(("matplotlib",), "\n".join(lines), tmp_path)

    assert done.stderr == ""
    assert done.stdout.split() == ["ares_notebook.plots.coverage", "True"]


def test_a_module_of_ours_that_lacks_comes_out_as_it_is(tmp_path):
    """A bug of our own is not taken for an extra that lacks."""
    lines = [
        "import ares_notebook",
        # How Python is told that there is no such module.
        "sys.modules['ares_notebook.plots.figure'] = None",
        "ares_notebook.plot_coverage",
    ]
    done = without((), "\n".join(lines), tmp_path)

    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of ares_notebook.")
    assert "MissingExtra" not in done.stderr


@pytest.mark.parametrize("name", ["ares_notebook.plots.figure", "PIL", "matplotlib.axes", None])
def test_only_a_package_of_an_extra_counts(name):
    """What else cannot be imported, a part of an installed package included, stays what it is."""
    error = ModuleNotFoundError("gone", name=name)

    with pytest.raises(ModuleNotFoundError) as caught, needing("plot_coverage"):
        raise error

    assert caught.value is error


@pytest.mark.parametrize(
    ("module", "extra"), [("apprise", "notify"), ("dask", "scale"), ("distributed", "scale")]
)
def test_each_package_has_its_extra(module, extra):
    """The sentence names the extra that brings the package."""
    with (
        pytest.raises(MissingExtra, match=rf'pip install "ares-notebook\[{extra}\]"$'),
        needing("it"),
    ):
        raise ModuleNotFoundError(name=module)
