"""The API reference: pages of HTML from the docstrings, made by pdoc."""

from __future__ import annotations

import re
import sys
from inspect import signature
from pathlib import Path

import pdoc
import pdoc.doc
import pdoc.render
from markupsafe import Markup

import ares_notebook
from ares_notebook import errors, lab, settings
from ares_notebook.cache_object import BoundVerb

MODULES = (ares_notebook, errors, lab)
# What frameworks and the demo's own server call, and no user.
HOOKS = (
    "DemoExchange.market_us",
    "DemoExchange.wall_s",
    "DownloadPanel.children",
    "Settings.model_config",
    "Settings.settings_customise_sources",
)
_TEMPLATE = Path(__file__).parent / "template"
# Where a name may stand that has an entry: terms of a list with their types, literals, bases, a tree.
_PLACES = re.compile(
    r"<strong>[^<]*</strong>(?: \([^)<]*\))?|<code>[\w.]+(?:\(\))?</code>"
    r'|<span class="base">[^<]*</span>|<pre class="tree">[^<]*</pre>'
)
_WORD = re.compile(r"(?<![\w./#])(?:ares_notebook\.)?([A-Za-z_]\w*)((?:\.[a-z_]+)*)(?![\w.])")
_TREE = re.compile(r"<p>((?:(?!</p>).)*├(?:(?!</p>).)*)</p>", flags=re.DOTALL)
# The colon of a term of which nothing is said.
_BARE = re.compile(r"(</strong> \([^)]*\)):(?=\s*</)")
# The modules of a type, as text and as pygments colours them.
_TYPE = r"(?=(?:<a [^>]*>)?(?:[A-Z]|datetime\b|date\b))"
_HOME = re.compile(
    rf"\b(?:[a-z_]\w*\.)+{_TYPE}"
    rf'|(?:<span class="n">[a-z_]\w*</span><span class="o">\.</span>)+(?=<span class="n">{_TYPE})'
    # And the mark of a type that is not known yet.
    r'|~(?=_T)|<span class="o">~</span>'
)


def build(target: Path) -> list[Path]:
    """
    Write the pages into *target*; nothing is shown but the public names.

    Parameters
    ----------
    target : Path
        A folder; what pdoc wrote there before is written anew.

    Returns
    -------
    list of Path
        The pages.
    """
    modules = _documented()
    pdoc.render.configure(
        docformat="numpy",
        show_source=False,
        template_directory=_TEMPLATE,
        footer_text=f"ares_notebook {ares_notebook.__version__}",
    )
    environment = pdoc.render.env
    environment.globals["hooks"] = HOOKS
    environment.filters["linked"] = _Links(modules)
    environment.filters["short"] = lambda text: Markup(_HOME.sub("", str(text)))  # noqa: S704 - our own code
    pages = {
        target / f"{name.replace('.', '/')}.html": pdoc.render.html_module(module, modules)
        for name, module in modules.items()
    }
    pages[target / "index.html"] = pdoc.render.html_index(modules)
    pages[target / "search.js"] = pdoc.render.search_index(modules)
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(pages)


def _documented() -> dict[str, pdoc.doc.Module]:
    """The modules as pdoc sees them, complete."""
    for name in ares_notebook.__all__:
        # The names are lazy, and pdoc sees only what the module already holds.
        getattr(ares_notebook, name)
    modules = {module.__name__: pdoc.doc.Module(module) for module in MODULES}
    # A constant knows not where it was defined, and there its docstring stands.
    constants = pdoc.doc.Module(settings).members
    for name, entry in modules["ares_notebook"].members.items():
        if entry.kind == "variable":
            entry.docstring = constants[name].docstring
    members = modules["ares_notebook"].members
    # They take values by any name, and pdoc reads no `__signature__`.
    given = signature(ares_notebook.Settings)
    shown = [each.replace(default=_plain(each.default)) for each in given.parameters.values()]
    members["Settings"].made_by = given.replace(parameters=shown)
    # The types of a method are known where its function is defined.
    for name, verb in list(vars(ares_notebook.Cache).items()):
        if isinstance(verb, BoundVerb):
            bound = members[verb.find().__name__].signature
            own = [each for each in bound.parameters.values() if each.name != "settings"]
            members["Cache"].members[name].signature = bound.replace(parameters=own)
    return modules


def _plain(default: object) -> object:
    return str(default) if isinstance(default, Path) else default


class _Links:
    """Turns the names in a docstring that have an entry into links to it."""

    def __init__(self, modules: dict[str, pdoc.doc.Module]) -> None:
        self._home = {
            entry.name: module.fullname
            for module in modules.values()
            for entry in module.members.values()
        }

    def __call__(self, html: str, page: str) -> Markup:
        """The same page with links; *page* is the module that it stands in."""

        def link(found: re.Match[str]) -> str:
            name, rest = found[1], found[2]
            home = self._home.get(name)
            # In bold a small letter begins a parameter, which may be called as a function is.
            if home is None or (name[0].islower() and found.string.startswith("<strong>")):
                return found[0]
            address = f"{pdoc.render_helpers.relative_link(page, home)}#{name}{rest}"
            return f'<a href="{address}">{found[0]}</a>'

        # A str of its own: Markup would escape what is put in.
        html = _TREE.sub(r'<pre class="tree">\1</pre>', str(html))
        html = _BARE.sub(r"\1", html)
        return Markup(_PLACES.sub(lambda place: _WORD.sub(link, place[0]), html))  # noqa: S704 - our own code


if __name__ == "__main__":
    build(Path(sys.argv[1]))
