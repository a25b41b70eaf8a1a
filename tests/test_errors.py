"""The tree of errors, as its docstring draws it."""

from __future__ import annotations

import pickle
import re

import pytest

from ares_notebook import errors
from ares_notebook.download.report import DownloadReport

_CLASSES = {
    name: each
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, Exception)
}


def drawn_parents() -> dict[str, str]:
    """Parent of each error, read off the drawing in the module's docstring."""
    branch: list[str] = []
    parents = {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"^((?:│   |    |├── |└── )*)([A-Z]\w+)(?:\s{2,}|$)", line)
        if not found:
            continue
        depth = len(found[1]) // 4
        branch[depth:] = [found[2]]
        if depth:
            parents[found[2]] = branch[depth - 1]
    return parents


def test_the_drawn_tree_is_the_tree():
    """Every error has the parent that the drawing gives it, and none is left out."""
    parents = {
        name: next(base for base in each.__mro__[1:] if base.__name__ in _CLASSES).__name__
        for name, each in _CLASSES.items()
        if name != "AresError"
    }

    assert parents == drawn_parents()


def test_a_bad_argument_is_a_value_error():
    """Who catches ValueError hears of an argument that cannot be meant."""
    assert issubclass(errors.BadArgument, ValueError)


def test_a_missing_extra_is_an_import_error():
    """Who catches ImportError hears of a package that is not installed."""
    assert issubclass(errors.MissingExtra, ImportError)


def test_a_transport_error_carries_its_url():
    """The address that failed is an attribute, not only words."""
    error = errors.NotFound("gone", "https://example.org/a.zip")

    assert (error.url, str(error)) == ("https://example.org/a.zip", "gone")


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (errors.BadArgument("a"), {}),
        (errors.RateLimited("a", "http://x", 7.0), {"url": "http://x", "retry_after_seconds": 7.0}),
        (errors.UnknownSymbol("a", "http://x"), {"url": "http://x"}),
        (errors.ChecksumMismatch("a"), {}),
        (errors.MissingExtra("a", name="dask"), {"name": "dask"}),
        (errors.IncompleteDownload("a", DownloadReport(seconds=2.0)), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_survive_the_way_between_processes(error, fields):
    """An error that was pickled, as a cluster's workers do, comes out the same."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert {name: getattr(again, name) for name in fields} == fields
    assert getattr(again, "report", None) == getattr(error, "report", None)
