"""The site: Sphinx, numpydoc, MyST with the executed notebooks, PyData's theme. `make docs` builds it strictly."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from made_pages import links_of_site, make_pages, methods_of_cache
from sphinx.application import Sphinx

import ares_notebook

project = "ares_notebook"
author = "The ares_notebook developers"
version = release = ares_notebook.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
]
exclude_patterns = ["_build", "reference", "**.ipynb_checkpoints"]
root_doc = "index"
templates_path = ["_templates"]

# The notebooks are executed and compared by `make test-notebooks`; the site shows what they hold.
nb_execution_mode = "off"
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "signature"
# Types of the package are shown without the modules that they are in.
python_use_unqualified_type_names = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
default_role = "py:obj"
# Only names of our own must lead somewhere: the site is built offline, without others' inventories. A
# variable of types leads nowhere.
nitpick_ignore_regex = [(r"py:.*", r"(?!ares_notebook\.).*"), (r"py:.*", r".*\._T")]
# What a cache is inside: nothing is promised of it.
nitpick_ignore = [
    ("py:class", f"ares_notebook.{name}")
    for name in (
        "cache.entry.CacheEntry",
        "model.datasets.Dataset",
        "model.markets.Market",
        "model.facts.Trouble",
        "cache.spans.Scope",
    )
]

html_theme = "pydata_sphinx_theme"
html_title = f"ares_notebook {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": True,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
project_copyright = "the ares_notebook developers. MIT licence. Market data is Binance's; this project is not affiliated with Binance"
html_sidebars = {"index": []}


def _read(_: Sphinx, name: str, source: list[str]) -> None:
    """Turn the links of a page from the repository to the site."""
    suffix = ".ipynb" if name.startswith("_made/notebooks/") else ".md"
    source[0] = links_of_site(f"{name}{suffix}", source[0])


def _name_as_public() -> None:
    """References lead to the public names, not to the modules that these are defined in."""
    for name in ares_notebook.__all__:
        value = getattr(ares_notebook, name)
        if isinstance(value, type):
            value.__module__ = "ares_notebook"


def _methods(_: Sphinx, what: str, name: str, __: object, ___: object, lines: list[str]) -> None:
    """Below the docstring of `Cache`, its methods: each is a function that has its own page."""
    if (what, name) != ("class", "ares_notebook.Cache"):
        return
    lines += [
        "",
        ".. rubric:: Methods",
        "",
        "Each is the function beside it, with the settings bound.",
        "",
    ]
    lines += [
        f"* ``{method}``: :py:func:`ares_notebook.{function}`"
        for method, function in methods_of_cache()
    ]


def setup(app: Sphinx) -> None:
    """Make pages before anything is read."""
    _name_as_public()
    make_pages()
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _methods, priority=900)
