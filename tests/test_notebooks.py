"""The committed notebooks: executed, comparable, of no machine; and that the comparison is strict."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from execute_notebooks import executed
from nbformat import NotebookNode
from nbval.plugin import get_sanitize_patterns

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NAMES = [
    "01_download",
    "02_coverage_gaps",
    "03_validate_cache",
    "04_panel",
    "05_research",
    "06_scale",
    "07_perpetuals",
    "08_many_symbols",
    "09_hosted",
]
MOST_CELLS = 12
OF_A_MACHINE = re.compile(r"/(home|tmp|root|work|Users|var|opt|usr)/|[A-Z]:\\\\")

OF_A_RUN = {"widgets": {}, "language_info": {"name": "python", "version": "3.99"}}

every = pytest.mark.parametrize("name", NAMES)


def read(name: str) -> NotebookNode:
    """A committed notebook."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(name: str) -> list[NotebookNode]:
    """Its code cells."""
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def outputs(name: str) -> list[NotebookNode]:
    """All outputs of all cells."""
    return [output for cell in code_cells(name) for output in cell.outputs]


# --- the nine ---


def test_the_notebooks_are_these_nine():
    """There are nine notebooks, in the order of their numbers, and no other."""
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@every
def test_it_is_valid_and_runs_under_any_python(name):
    """A notebook keeps to the format, names the usual kernel, and holds no widgets' state."""
    notebook = read(name)
    nbformat.validate(notebook)

    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata


@every
def test_every_cell_was_run_in_order(name):
    """No code cell is empty or without a number, and the numbers are 1 to n."""
    cells = code_cells(name)

    assert all(cell.source.strip() for cell in cells)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@every
def test_nothing_went_wrong(name):
    """No output is an error, and none was written to stderr."""
    assert [each for each in outputs(name) if each.output_type == "error"] == []
    assert [each for each in outputs(name) if each.get("name") == "stderr"] == []


@every
def test_no_output_needs_a_kernel(name):
    """No output is a live widget, which a page without a kernel shows as an error."""
    kinds = {kind for each in outputs(name) for kind in each.get("data", {})}

    assert not [kind for kind in kinds if "widget" in kind or "javascript" in kind]


@every
def test_no_picture_is_a_white_block_on_a_dark_page(name):
    """No picture asks JupyterLab to paint a background behind it."""
    metadata = [each.get("metadata", {}) for each in outputs(name)]

    assert not [each for each in metadata if "needs_background" in json.dumps(each)]


@every
def test_some_output_is_compared(name):
    """At least one output is text, since pictures are never compared."""
    texts = [each.get("text") or each.get("data", {}).get("text/plain") for each in outputs(name)]

    assert any(texts)


@every
def test_no_cell_escapes_the_comparison(name):
    """The only tag is the one of the parameters, on exactly one cell, and nbval gets no marker."""
    tags = [tag for cell in read(name).cells for tag in cell.metadata.get("tags", ())]

    assert tags == ["parameters"]
    assert not [cell.source for cell in code_cells(name) if "NBVAL_" in cell.source]


@every
def test_a_reader_is_led(name):
    """A notebook is short, and what a code cell is for is told before it."""
    cells = read(name).cells
    kinds = [cell.cell_type for cell in cells]
    # The parameters and what is set up with them are one step.
    led = [at for at, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", ())]
    untold = [
        cell.source
        for at, cell in enumerate(cells)
        if kinds[at] == "code" and kinds[at - 1] == "code" and at - 1 not in led
    ]

    assert kinds[0] == "markdown"
    assert kinds.count("code") < MOST_CELLS
    assert untold == []


@every
def test_it_tells_of_no_machine(name):
    """Neither source nor output names a folder of whoever ran it."""
    texts = [cell.source for cell in read(name).cells]
    texts += [json.dumps(each) for each in outputs(name) if "image/png" not in each.get("data", {})]

    assert [text for text in texts if OF_A_MACHINE.search(text)] == []


# --- the comparison ---


def nbval_flags() -> list[str]:
    """The flags with which `make test` runs the notebooks."""
    line = re.search(
        r"-m pytest .*?(--nbval .*) notebooks/?$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert line, "make test compares no notebooks"
    return shlex.split(line[1])


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory) -> dict[str, str]:
    """What nbval says of each cell of a notebook, and of others whose outputs were changed."""
    folder = tmp_path_factory.mktemp("compared")
    cells = ["print('complete:', 4, 'files in 1.2 s')", "import ares_notebook as ares\n40 + 2"]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    nbformat.write(made, folder / "same.ipynb")
    same = nbformat.writes(executed(folder / "same.ipynb"))
    mute = nbformat.reads(same, as_version=4)
    mute.cells[0].outputs = []
    texts = {
        "same": same,
        "slower": same.replace("4 files in 1.2 s", "4 files in 31.7 s"),
        "fewer": same.replace("4 files in", "3 files in"),
        "wrong": same.replace('"42"', '"43"'),
        "mute": nbformat.writes(mute),
    }
    assert len(set(texts.values())) == len(texts)
    for name, text in texts.items():
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")
    return compared(folder)


def compared(folder: Path) -> dict[str, str]:
    """Run nbval on a folder; the verdict by notebook and cell."""
    done = subprocess.run(  # noqa: S603 - our own command
        [
            *(sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-rA", "--color=no"),
            *("-p", "no:cacheprovider", *nbval_flags(), folder),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    pattern = r"^(PASSED|FAILED) \S*?(\w+)\.ipynb::Cell (\d)"
    found = re.findall(pattern, done.stdout, re.MULTILINE)
    return {f"{name} {cell}": word for word, name, cell in found}


def test_an_unchanged_notebook_passes(verdicts):
    """What nbval gets is what was executed, and it passes; another time taken does not matter."""
    found = [verdicts[f"{name} {cell}"] for name in ("same", "slower") for cell in (0, 1)]

    assert found == ["PASSED"] * 4


@pytest.mark.parametrize("changed", ["fewer 0", "wrong 1", "mute 0"])
def test_a_changed_output_fails(verdicts, changed):
    """One digit that differs, or an output that is not there, makes its cell fail, and no other."""
    name, cell = changed.split()

    assert verdicts[changed] == "FAILED"
    assert verdicts[f"{name} {1 - int(cell)}"] == "PASSED"


def sanitized(text: str) -> str:
    """What nbval compares of a text."""
    for pattern, replacement in get_sanitize_patterns((FOLDER / "sanitize.cfg").read_text()):
        text = re.sub(pattern, replacement, text)
    return text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.3 MB in 1.5 s", "0.3 MB in 1,012.0 s"),
        ("has none, 2026-11-25T11:22:41+00:00", "has none, 2027-01-01T00:00:00+00:00"),
        ("1 note; 2026-11-25 11:22 UTC", "1 note; 2027-01-01 00:00 UTC"),
        ("at http://127.0.0.1:39159", "at http://127.0.0.1:1024"),
        ("needs 1 MB, 12.3 GB free in demo_cache", "needs 1 MB, 1.0 TB free in demo_cache"),
        ("1h.csv.20261130T001230498845", "1h.csv.20270101T000000000000"),
        ("<object at 0x7f5fd07f7e50>", "<object at 0x7f5fd0000000>"),
    ],
)
def test_what_is_volatile_is_not_compared(one, other):
    """Times taken, moments of asking, ports, free space and addresses may differ."""
    assert one != other
    assert sanitized(one) == sanitized(other)


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-14 02:00:00+00:00 102.5",
        "klines BTCUSDT 1h, 2025-02-01T00:00 to 2025-04-01T00:00 UTC, 1,414 rows",
        "Plan for BTCUSDT 1h: 2024-12-30 → 2025-04-01 UTC, end exclusive, 92 days; into demo_cache",
        "To do: 8 files, 145.2 KB to fetch, 376.1 KB on disk, about 1 s.",
    ],
)
def test_what_the_data_say_is_compared(text):
    """The data's own stamps, windows, sizes and estimates are compared to the letter."""
    assert sanitized(text) == text


def test_an_execution_leaves_nothing_of_its_run(tmp_path):
    """An executed notebook holds its outputs, and no time, version or widget's id."""
    cell = nbformat.v4.new_code_cell(
        "import ipywidgets\nipywidgets.IntSlider(3)", metadata={"tags": ["parameters"]}
    )
    made = nbformat.v4.new_notebook(cells=[cell], metadata=OF_A_RUN)
    nbformat.write(made, tmp_path / "made.ipynb")

    notebook = executed(tmp_path / "made.ipynb")

    assert notebook.metadata.language_info == {"name": "python"}
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.cells[0].metadata == {"tags": ["parameters"]}
    assert notebook.cells[0].outputs[0].data == {"text/plain": "IntSlider(value=3)"}
