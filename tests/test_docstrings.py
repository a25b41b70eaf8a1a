"""What the docstrings of public names promise is complete, and names what is really there."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import pytest

import ares_notebook
from ares_notebook import errors, lab, load

# What the demo's own server calls, and no user.
HOOKS = {"DemoExchange.market_us", "DemoExchange.ticking_s"}
RETURN_NOTHING = ("None", None)


def public() -> Iterator[tuple[str, Any]]:
    """All that can be called of the face, of `errors` and of `lab`."""
    for name in ares_notebook.__all__:
        value = getattr(ares_notebook, name)
        if callable(value):
            yield name, value
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, Exception):
            yield f"errors.{name}", value
    yield "lab.allow_nested_loops", lab.allow_nested_loops


PUBLIC = dict(public())
FACE = {name: value for name, value in PUBLIC.items() if not name.startswith("errors.")}


def members() -> Iterator[tuple[str, Any]]:
    """Methods and properties of the public classes, by their qualified names."""
    for name, value in PUBLIC.items():
        for own, member in vars(value).items() if inspect.isclass(value) else ():
            called = f"{name}.{own}"
            plain = inspect.unwrap(getattr(member, "__func__", member))
            is_reported = inspect.isfunction(plain) or isinstance(plain, property)
            if is_reported and not own.startswith("_") and called not in HOOKS:
                yield called, plain


MEMBERS = dict(members())
METHODS = {name: value for name, value in MEMBERS.items() if not isinstance(value, property)}
FULL = {**FACE, **METHODS}


def sections(value: object) -> dict[str, list[str]]:
    """The numpydoc sections of a docstring: by their heading the terms of each."""
    text = inspect.getdoc(value) or ""
    parts = re.split(r"^([A-Z]\w+)\n-+\n", text, flags=re.MULTILINE)
    return {
        heading: [
            term.lstrip("*")
            for line in body.splitlines()
            if line.strip() and not line.startswith(" ")
            for term in line.partition(" : ")[0].split(", ")
        ]
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def parameters(value: Any) -> list[str]:
    """What the caller may pass, in order."""
    if inspect.isclass(value) and issubclass(value, Exception):
        own = vars(value).get("__init__")
        return [] if own is None else list(inspect.signature(own).parameters)[1:]
    names = inspect.signature(value).parameters
    return [name for name in names if name not in ("self", "cls")]


def returns_something(value: Any) -> bool:
    """Whether a function answers anything."""
    return not inspect.isclass(value) and inspect.signature(value).return_annotation not in (
        *RETURN_NOTHING,
        inspect.Signature.empty,
    )


@pytest.mark.parametrize("name", [*PUBLIC, *MEMBERS])
def test_it_begins_with_a_promise(name):
    """Every public name, method and property begins with a sentence of its own."""
    value = {**PUBLIC, **MEMBERS}[name]

    first = inspect.cleandoc(value.__doc__ or "").partition("\n\n")[0]
    assert first.endswith((".", ":"))
    assert first[0].isupper() or not first[0].isalpha()


@pytest.mark.parametrize("name", [*PUBLIC, *METHODS])
def test_parameters_are_those_of_the_signature(name):
    """The section Parameters names exactly what may be passed, in the order of the signature."""
    value = {**PUBLIC, **METHODS}[name]

    assert sections(value).get("Parameters", []) == parameters(value)


@pytest.mark.parametrize("name", FULL)
def test_what_comes_back_is_reported(name):
    """A section Returns stands where something is returned, and nowhere else."""
    assert ("Returns" in sections(FULL[name])) == returns_something(FULL[name])


@pytest.mark.parametrize("name", FACE)
def test_there_is_an_example_with_its_output(name):
    """Every public callable shows at least one call that runs, and what it gives."""
    example = inspect.getdoc(FACE[name]).partition("Examples\n--------\n")[2]

    assert ">>> " in example


@pytest.mark.parametrize("name", [*PUBLIC, *MEMBERS])
def test_errors_that_are_named_are_errors(name):
    """Each term of Raises and Warns is an error of ours or of Python's."""
    reported = sections({**PUBLIC, **MEMBERS}[name])
    named = [*reported.get("Raises", []), *reported.get("Warns", [])]

    homes = (errors, load, builtins, futures)
    found = [
        next((getattr(home, term.rpartition(".")[2], None) for home in homes
              if hasattr(home, term.rpartition(".")[2])), None)
        for term in named
    ]  # fmt: skip
    assert all(inspect.isclass(each) and issubclass(each, Exception) for each in found)


def test_a_raised_error_that_is_told_in_prose_has_its_section():
    """Where a docstring says in a sentence that something raises, it has the section too."""
    talkers = {
        name
        for name, value in {**FACE, **MEMBERS}.items()
        if re.search(r"\b[Rr]aises\b(?!\n-)", inspect.getdoc(value) or "")
    }

    assert {
        name for name in talkers if "Raises" not in sections({**FACE, **MEMBERS}[name])
    } == set()
