"""What is left of a panel in a notebook that a program has executed, and in a page made of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

VIEW = "application/vnd.jupyter.widget-view+json"
SHOW = 'panel = ares.DownloadPanel(settings, end="2025-03-01", datasets=("klines",))\npanel'
DOWNLOAD = "report = await panel.download()"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A notebook that shows a panel and then has it download, executed by nbconvert; its page is beside it."""
    tmp_path = tmp_path_factory.mktemp("saved")
    setup = (
        "import ares_notebook as ares\n"
        "exchange = ares.DemoExchange().start()\n"
        f"settings = exchange.settings(interval='1d', cache_dir={str(tmp_path / 'cache')!r})"
    )
    cells = [nbformat.v4.new_code_cell(each) for each in (setup, SHOW, DOWNLOAD)]
    path = tmp_path / "saved.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    for kind, given_path in (("notebook", path), ("html", tmp_path / "saved.nbconvert.ipynb")):
        execute = ["--execute"] if kind == "notebook" else []
        subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "nbconvert", "--to", kind, *execute, given_path],
            check=True,
            capture_output=True,
        )
    return tmp_path / "saved.nbconvert.ipynb"


def test_an_executed_notebook_holds_what_the_panel_last_showed(saved):
    """Beside the live view there are text and HTML: form, window, report and coverage after the download."""
    notebook = nbformat.read(saved, as_version=4)
    static, live = (output.data for output in notebook.cells[1].outputs)

    assert set(static) == {"text/html", "text/plain"}
    assert set(live) == {VIEW}
    assert static["text/plain"].startswith("<DownloadPanel BTCUSDT 1d, 1 year, end 2025-03-01")
    for words in (
        "2024-03-01 → 2025-03-01 UTC, end exclusive, 365 days",
        str(saved.parent / "cache"),
        "Download: complete (BTCUSDT 1d).",
        "12 of 12 files complete, 365 rows",
        "Nothing to fetch: all 12 files are there",
        "12 fetched",
        "<svg",
    ):
        assert words in static["text/html"]


def test_a_page_shows_the_panel_without_a_kernel(saved):
    """The page that nbconvert makes holds the static view outside of any script."""
    page = saved.with_suffix(".html").read_text(encoding="utf-8")
    seen = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)

    assert "Download: complete (BTCUSDT 1d)." in seen
    assert "12 of 12 files complete, 365 rows" in seen
