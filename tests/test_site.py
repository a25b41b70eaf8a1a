"""The site builds without a warning, and has every public name with what its docstring promises."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import ares_notebook
from ares_notebook import errors
from ares_notebook.lab import allow_nested_loops

REPOSITORY = Path(__file__).parent.parent
VALUES = {name: getattr(ares_notebook, name) for name in ares_notebook.__all__}
TREE = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}
pytestmark = pytest.mark.timeout(600)


class Page(HTMLParser):
    """The text of a page, its entries, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.title = "", ""
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self._tag = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an entry and a link."""
        reported = dict(attrs)
        self._tag = tag
        self.ids.update(filter(None, (reported.get("id"), reported.get("name"))))
        self.links.update(filter(None, (reported.get("href"), reported.get("src"))))

    def handle_data(self, data: str) -> None:
        """Add text."""
        if self._tag not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory):
    """What Sphinx said, and the folder of its pages; as `make docs` does it."""
    folder = tmp_path_factory.mktemp("site") / "html"
    done = subprocess.run(  # noqa: S603 - our own site
        [
            sys.executable,
            *["-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-j", "auto", "docs"],
            folder,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    return done, folder


@pytest.fixture(scope="module")
def pages(built) -> dict[str, Page]:
    """The pages by their addresses."""
    _, folder = built
    return {
        path.relative_to(folder).as_posix(): Page(path)
        for path in folder.rglob("*.html")
        if "_static" not in path.parts
    }


def plain(text: str) -> str:
    """Text without marks and blanks, to compare by."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text)
    return re.sub(r"[`*\s\\]|[“”‘’'\"]|–|-|…|\.\.\.", "", text)


def first_sentence(value: object) -> str:
    """The first paragraph of a docstring, which is its promise."""
    return plain((inspect.getdoc(value) or "").partition("\n\n")[0])


def test_it_builds_without_a_word(built):
    """Sphinx, told to make an error of each warning and of each name that leads nowhere, says nothing."""
    done, _ = built

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_public_name_has_its_entry(pages):
    """Each public name, and no other, has a page of its own, which holds the first sentence of its docstring."""
    entries = {
        name.removeprefix("_made/api/ares_notebook.").removesuffix(".html"): page
        for name, page in pages.items()
        if name.startswith("_made/api/")
    }
    silent = [
        name
        for name, value in VALUES.items()
        if callable(value) and first_sentence(value) not in plain(entries[name].text)
    ]

    assert set(entries) == set(ares_notebook.__all__)
    assert silent == []


def test_every_error_has_its_entry(pages):
    """The page of errors has an entry for each, with the first sentence of its docstring."""
    page = pages["_made/errors.html"]

    assert {f"ares_notebook.errors.{name}" for name in TREE} <= page.ids
    assert [
        name for name, value in TREE.items() if first_sentence(value) not in plain(page.text)
    ] == []
    assert first_sentence(allow_nested_loops) in plain(pages["_made/api.html"].text)


def test_objects_show_what_they_can_do(pages):
    """A class has its methods, a cache those that are functions elsewhere, and settings all defaults."""
    api = "_made/api/ares_notebook."
    cache, settings = pages[f"{api}Cache.html"], plain(pages[f"{api}Settings.html"].text)

    assert "ares_notebook.Job.wait" in pages[f"{api}Job.html"].ids
    assert "ares_notebook.DemoExchange.fail" in pages[f"{api}DemoExchange.html"].ids
    assert "ares_notebook.symbols_in_cache.html#ares_notebook.symbols_in_cache" in cache.links
    assert [
        each.name
        for each in fields(ares_notebook.Settings)
        if plain(f"{each.name}=") not in settings
    ] == []


def test_no_link_leads_nowhere(built, pages):
    """Each link and picture inside the site leads to a file, and to an entry of it, that are there."""
    _, folder = built
    broken = []
    for name, page in pages.items():
        for link in page.links:
            address, entry = urldefrag(unquote(link))
            if re.match(r"\w+:", link) or address.startswith("//"):
                continue
            path = (folder / name).parent / address.partition("?")[0] if address else folder / name
            if not path.exists():
                broken.append((name, link))
                continue
            target = path.resolve().relative_to(folder.resolve()).as_posix()
            if entry and target in pages and entry not in pages[target].ids:
                broken.append((name, link))

    assert broken == []


def test_search_finds_names_and_pages(built):
    """The index of the search has the titles of the pages and the names of the reference."""
    index = (built[1] / "searchindex.js").read_text(encoding="utf-8")

    assert '"download_klines_data"' in index
    assert "Is it complete?" in index


def test_nothing_of_this_machine_is_shown(pages):
    """No page shows an address in memory, or the folder that it was built in."""
    told = {name for name, page in pages.items() if re.search(r"\b0x[0-9a-f]{8,}", page.text)}
    told |= {name for name, page in pages.items() if str(REPOSITORY) in page.text}

    assert told == set()
