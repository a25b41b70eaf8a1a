"""
Run a notebook with what a hosted kernel ships; what `make test-hosted` does.

An error in a cell is raised, and so is a package of `hosted.txt` that is not of its version any more. Outputs are
not compared: those of other versions look otherwise.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

PINNED = re.compile(r"^([\w-]+)==(\S+)", re.MULTILINE)


def replaced() -> list[str]:
    """What is installed in another version than the host ships."""
    pins = PINNED.findall((Path(__file__).parent / "hosted.txt").read_text(encoding="utf-8"))
    return [f"{name} {version(name)}, not {pin}" for name, pin in pins if version(name) != pin]


def main(path: Path) -> None:
    """Execute the notebook in a folder that is thrown away, and print what its cells print."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]
    print("\n".join(texts))  # noqa: T201 - a command


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.exit(", ".join(replaced()) or 0)
