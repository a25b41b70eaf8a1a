"""
Run notebooks in place, so that their outputs are those of today; what `make notebooks` does.

The only way by which outputs come into the repository: the kernel is this Python's, in the
notebook's folder, and what differs from machine to machine or from run to run is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

_CELL_SECONDS = 120
_METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}
_WIDGET = "application/vnd.jupyter.widget-view+json"


class _Client(NotebookClient):
    """Keeps what each cell has displayed when it ended, which is what nbval compares."""

    def _update_display_id(self, display_id: str, msg: dict[str, Any]) -> None:
        """Leave out what a later cell displays in the place of it."""


def executed(path: Path) -> NotebookNode:
    """The notebook with the outputs of now; an error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    client = _Client(
        notebook,
        timeout=_CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute()
    return cleaned(notebook)


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """The same without what is another's at every run: times, versions, widgets' ids."""
    notebook.metadata = nbformat.from_dict(_METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": tags} if (tags := tags_of(cell)) else {})
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(_WIDGET, None)
        if "outputs" in cell:
            # The live view of a panel, without which its static view stands alone.
            cell.outputs = [each for each in cell.outputs if each.get("data", True)]
    return notebook


def tags_of(cell: NotebookNode) -> list[str]:
    """A cell's tags."""
    return list(cell.metadata.get("tags", ()))


def main(names: list[str]) -> None:
    """Run each, and write it only if all of its cells went well."""
    for path in map(Path, names):
        nbformat.write(executed(path), path)
        print(f"{path} is of today")  # noqa: T201 - a command


if __name__ == "__main__":
    main(sys.argv[1:])
