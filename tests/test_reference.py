"""The API reference builds without a word, and has every public name with what it promises."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import ares_notebook
from ares_notebook import errors
from ares_notebook.lab import allow_nested_loops

BUILDER = Path(__file__).parent.parent / "docs" / "build_reference.py"
FACE, ERRORS, LAB = "ares_notebook.html", "ares_notebook/errors.html", "ares_notebook/lab.html"
VALUES = {name: getattr(ares_notebook, name) for name in ares_notebook.__all__}
TREE = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}
ENTRIES = [
    *((FACE, name, value) for name, value in VALUES.items() if callable(value)),
    *((ERRORS, name, value) for name, value in TREE.items()),
    (LAB, "allow_nested_loops", allow_nested_loops),
]


class Page(HTMLParser):
    """The text of each section of a page, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self._section = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an id, a link, and where a section begins."""
        reported = dict(attrs)
        if reported.get("id"):
            self.ids.add(reported["id"])
        if tag == "section" and reported.get("id"):
            self._section = reported["id"]
        if tag == "a" and reported.get("href"):
            self.links.add(unquote(reported["href"]))

    def handle_endtag(self, tag: str) -> None:
        """Note where a section ends."""
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        """Add text to the section that it stands in."""
        if self._section:
            self.sections[self._section] = self.sections.get(self._section, "") + data


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory):
    """What the builder said, and the folder of its pages; a warning is an error."""
    folder = tmp_path_factory.mktemp("reference")
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "error", BUILDER, folder],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done, folder


@pytest.fixture(scope="module")
def pages(built) -> dict[str, Page]:
    """The pages by their names."""
    _, folder = built
    return {name: Page(folder / name) for name in (FACE, ERRORS, LAB)}


def plain(text: str) -> str:
    """Text without marks and with single blanks, to compare by."""
    return " ".join(re.sub(r"[`*]", "", text).split())


def first_sentence(docstring: str) -> str:
    """The first paragraph of a docstring, which is its promise."""
    return plain(inspect.cleandoc(docstring).partition("\n\n")[0])


def test_it_builds_without_a_word(built):
    """The builder warns of nothing and prints nothing."""
    done, _ = built

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_page_of_the_package_has_the_public_names_and_no_other(pages):
    """Every public name has an entry, and nothing else has."""
    assert set(ares_notebook.__all__) == set(pages[FACE].sections)


@pytest.mark.parametrize(("page", "name", "value"), ENTRIES, ids=[each[1] for each in ENTRIES])
def test_an_entry_says_what_its_docstring_promises(pages, page, name, value):
    """The entry of a name holds the first sentence of its docstring."""
    assert first_sentence(value.__doc__) in plain(pages[page].sections[name])


@pytest.mark.parametrize("name", [name for name in VALUES if name.isupper()])
def test_a_constant_says_what_it_is(pages, name):
    """The entry of a constant holds its value and the sentence that stands below it."""
    source = inspect.getsource(importlib.import_module("ares_notebook.settings"))
    sentence = re.search(rf'^{name} = .*\n"""(.*)"""$', source, flags=re.MULTILINE)[1]

    assert f"{name} = {VALUES[name]!r} {sentence}" in plain(pages[FACE].sections[name])


def test_methods_have_their_entry(pages):
    """What an object can do stands under its class, and what its framework calls does not."""
    ids = pages[FACE].ids

    assert {"Job.wait", "DownloadReport.raise_for_failures", "DemoExchange.fail"} <= ids
    assert "Settings.settings_customise_sources" not in ids


def test_methods_of_a_cache_show_the_parameters_of_their_functions(pages):
    """The entry of a method that is bound from a function has its signature, without the settings."""
    shown = plain(pages[FACE].sections["Cache"])

    assert "def symbols() -> list[str]" in shown
    assert "def sql(query: str)" in shown
    assert "(unknown)" not in shown


def test_settings_show_their_defaults(pages):
    """The entry of the settings names every field with its default."""
    shown = plain(pages[FACE].sections["Settings"])

    assert all(f" {each.name}=" in shown for each in fields(ares_notebook.Settings))
    assert " max_retries=3," in shown


def test_errors_link_to_their_page(pages):
    """An error that a function documents leads to the entry of the error."""
    assert "ares_notebook/errors.html#BadArgument" in pages[FACE].links
    assert "#DownloadReport" in pages[FACE].links


@pytest.mark.parametrize("name", [FACE, ERRORS, LAB])
def test_no_link_leads_nowhere(pages, name):
    """Each link inside the reference leads to a page, and to an entry on it, that are there."""
    broken = []
    for link in pages[name].links:
        address, _, entry = link.partition("#")
        if address.startswith("http") or address.endswith("index.html"):
            continue
        target = str((Path("/") / name).parent.joinpath(address).resolve().relative_to("/"))
        page = pages[name if not address else target]
        if entry and entry not in page.ids:
            broken.append(link)

    assert broken == []


def test_no_address_of_memory_is_shown(built):
    """No page shows what differs from run to run."""
    _, folder = built

    assert not any(
        re.search(r"\b0x[0-9a-f]{6,}", page.read_text()) for page in folder.rglob("*.html")
    )
