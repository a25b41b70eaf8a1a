"""JupyterLab and a browser for the tests in this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright
from reading import changed

from ares_notebook import DemoExchange, Settings

from .lab import Lab
from .server import LabServer

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# Read now, since no ARES_ variable of the machine reaches a test.
IS_REQUIRED = bool(os.environ.get("CI")) or os.environ.get("ARES_BROWSER") == "required"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium, for this folder only: asyncio tests cannot run beside its loop."""
    if CHROMIUM is None:
        why = "there is no chromium (apt-get install chromium): no tests in a browser"
        pytest.fail(why) if IS_REQUIRED else pytest.skip(why)
    with sync_playwright() as playwright:
        yield from launched(playwright)


def launched(playwright: Playwright) -> Iterator[Browser]:
    """A browser, closed at the end."""
    # In a container there is no sandbox, and all that is loaded is our own.
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def server(
    browser: Browser,  # noqa: ARG001 - without one a server is of no use
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LabServer]:
    """JupyterLab on a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    copy = folder / "notebooks"
    if NOTEBOOKS.is_dir():
        shutil.copytree(
            NOTEBOOKS, copy, ignore=shutil.ignore_patterns("demo_cache*", "data_cache*", ".*")
        )
    copy.mkdir(exist_ok=True)
    with LabServer(copy, folder / "home") as running:
        yield running


@pytest.fixture
def lab(browser: Browser, server: LabServer) -> Iterator[Lab]:
    """A page of its own, and no kernel left behind."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    yield Lab(context.new_page(), server.url)
    context.close()
    server.end_kernels()


@pytest.fixture
def notebook(server: LabServer, request: pytest.FixtureRequest) -> Callable[[list[str]], str]:
    """Write a notebook of these code cells into the server's folder; its name."""

    def write(cells: list[str]) -> str:
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
        made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        path = server.folder / f"{request.node.name}.ipynb"
        nbformat.write(made, path)
        return path.name

    return write


@pytest.fixture
def here(exchange: DemoExchange, settings: Settings) -> str:
    """A cell that makes settings which point at the test's exchange and its empty cache."""
    names = [*changed(exchange.settings()), "cache_dir"]
    reported = {name: str(getattr(settings, name)) for name in names}
    return f"import ares_notebook as ares\nsettings = ares.Settings(**{reported!r})"
