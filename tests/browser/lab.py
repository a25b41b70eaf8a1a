"""A notebook in JupyterLab, as its reader sees and works it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

_LONG_SECONDS = 120.0

# What JupyterLab's own application object tells; `app` is exposed for tests.
_STATUS = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
_CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => ({
    type: cell.model.type,
    source: cell.model.sharedModel.source,
    count: cell.model.executionCount ?? null,
    outputs: cell.model.outputs ? cell.model.outputs.toJSON() : [],
}))"""
# Not awaited, since the promise ends with the last cell.
_RUN_ALL = """async () => {
    await window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs');
    void window.jupyterapp.commands.execute('notebook:run-all-cells');
}"""
_RUN_MORE = """source => {
    const {content} = window.jupyterapp.shell.currentWidget;
    const cells = content.model.sharedModel;
    cells.insertCell(cells.cells.length, {cell_type: 'code', source});
    content.activeCellIndex = content.widgets.length - 1;
    void window.jupyterapp.commands.execute('notebook:run-cell');
    return content.activeCellIndex;
}"""


class Lab:
    """
    A page of JupyterLab.

    Parameters
    ----------
    page : playwright.sync_api.Page
    url : str
        Of the server.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url

    def open(self, name: str) -> None:
        """Open a notebook in a workspace that was reset, and wait for its kernel."""
        found = self.page.request.get(f"{self._url}/api/contents/{name}?content=0")
        assert found.ok, f"there is no notebook {name}"
        self.page.goto(f"{self._url}/lab/tree/{name}?reset")
        self.page.wait_for_function(f"{_STATUS} === 'idle'", timeout=60_000)

    def run_all(self, seconds: float = _LONG_SECONDS) -> None:
        """Run all cells, and wait for the last."""
        self.page.evaluate(_RUN_ALL)
        self.wait_until_run(seconds)

    def wait_until_run(self, seconds: float = _LONG_SECONDS) -> None:
        """Until each code cell has a number and the kernel is idle."""
        until(self._is_run, seconds, "all cells have run")

    def _is_run(self) -> bool:
        is_idle = self.page.evaluate(_STATUS) == "idle"
        return is_idle and all(cell["count"] is not None for cell in self.code_cells())

    def restart(self) -> None:
        """Restart the kernel, and wait until it is there."""
        self.page.evaluate(
            "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
        )
        self.page.wait_for_function(f"{_STATUS} === 'idle'", timeout=60_000)

    def code_cells(self) -> list[dict[str, Any]]:
        """The code cells as they stand: source, count, outputs."""
        return [cell for cell in self.page.evaluate(_CELLS) if cell["type"] == "code"]

    def run_cell(self, source: str, seconds: float = 30) -> str:
        """Run one more cell at the end, as a reader who types it in; what it printed and returned."""
        at = self.page.evaluate(_RUN_MORE, source)
        until(
            lambda: self.page.evaluate(_CELLS)[at]["count"] is not None,
            seconds,
            f"the cell {source!r} has run",
        )
        return "".join(map(text_of, self.page.evaluate(_CELLS)[at]["outputs"]))

    def complaints(self) -> list[str]:
        """All that cells wrote to stderr or raised."""
        outputs = [output for cell in self.code_cells() for output in cell["outputs"]]
        return [text_of(output) for output in outputs if is_complaint(output)]

    @property
    def outputs(self) -> Locator:
        """The outputs on the page; source code is none of them."""
        return self.page.locator(".jp-OutputArea")

    def use_theme(self, name: str) -> None:
        """Change to JupyterLab Light or JupyterLab Dark."""
        self.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            f"JupyterLab {name}",
        )
        self.page.wait_for_selector(
            f"body[data-jp-theme-name='JupyterLab {name}']", state="attached"
        )

    def screenshot(self, path: Path) -> None:
        """A picture of what is seen."""
        self.page.screenshot(path=path)


def is_complaint(output: dict[str, Any]) -> bool:
    """Whether an output is one that a reader must not see."""
    return output["output_type"] == "error" or output.get("name") == "stderr"


def text_of(output: dict[str, Any]) -> str:
    """The text of an output, whatever its kind."""
    if output["output_type"] == "stream":
        return "".join(output["text"])
    if output["output_type"] == "error":
        return f"{output['ename']}: {output['evalue']}"
    return "".join(output["data"].get("text/plain", ""))


def until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something is so; an AssertionError that names it if it does not come."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            msg = f"not within {seconds:g} s: {what}"
            raise AssertionError(msg)
        time.sleep(0.02)
