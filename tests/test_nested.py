"""Loops inside loops: what is chosen, what is refused, and that nothing of it happens unasked."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys

import pytest

from ares_notebook import lab
from ares_notebook.errors import UnfitEnvironment
from ares_notebook.runtime.loop import _choice

REMEDY = 'pip install "ares-notebook[lab]"'
LAB = [name for _, name, _ in pkgutil.iter_modules(lab.__path__, "ares_notebook.lab.")]


def choice(ipykernel="7.4.0", successor=None, original=None, *, is_on=False):
    """The choice among versions, in few words."""
    return _choice(
        ipykernel=ipykernel, successor=successor, original=original, original_is_on=is_on
    )


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after *code*."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_nothing_nests_loops_unasked():
    """The package and all modules of its lab import neither nest_asyncio nor its successor."""
    names = ["ares_notebook", *LAB]
    loaded = loaded_by("\n".join(f"import {name}" for name in names))

    assert "ares_notebook.runtime.loop" in loaded
    assert not loaded & {"nest_asyncio", "nest_asyncio2"}


def test_the_lab_alone_brings_no_widgets():
    """Who takes the lab's face, or its plots, gets no ipywidgets with it."""
    plots = [name for name in LAB if name.endswith((".canvas", ".nested"))]
    loaded = loaded_by("\n".join(f"import {name}" for name in ["ares_notebook.lab", *plots]))

    assert "ares_notebook.lab" in loaded
    assert "ipywidgets" not in loaded


@pytest.mark.parametrize("ipykernel", [None, "6.31.0", "7.1.0", "7.4.0", "10.0"])
@pytest.mark.parametrize("successor", ["1.7.4", "1.7.10", "2.0"])
def test_the_successor_is_taken_wherever_it_is_good(ipykernel, successor):
    """A good nest-asyncio2 is preferred to the original, under any kernel."""
    assert choice(ipykernel, successor, "1.6.0") == "nest-asyncio2"


@pytest.mark.parametrize("successor", [None, "1.7.3", "1.7"])
@pytest.mark.parametrize("ipykernel", [None, "6.31.0"])
def test_the_original_serves_old_kernels(ipykernel, successor):
    """Without a good successor the original is taken, where no cell is lost by it."""
    assert choice(ipykernel, successor, "1.6.0") == "nest-asyncio"


@pytest.mark.parametrize("successor", [None, "1.7.3"])
@pytest.mark.parametrize(("ipykernel", "original"), [("7.0.0", "1.6.0"), ("6.31.0", None)])
def test_what_does_not_work_is_refused_with_the_remedy(ipykernel, successor, original):
    """Where neither works the error holds the line that helps."""
    with pytest.raises(UnfitEnvironment, match=re.escape(REMEDY)):
        choice(ipykernel, successor, original)


def test_the_original_at_work_is_refused_under_a_new_kernel():
    """Once the original is applied it cannot be taken back, which the error says."""
    with pytest.raises(UnfitEnvironment, match="restart the kernel"):
        choice("7.4.0", "1.7.4", "1.6.0", is_on=True)


def test_the_original_at_work_goes_on_under_an_old_kernel():
    """Where the original is applied and harmless, the successor does not mix with it."""
    assert choice("6.31.0", "1.7.4", "1.6.0", is_on=True) == "nest-asyncio"
