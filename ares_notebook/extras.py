"""Public names: those that an extra brings, and second names of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TypeVar, cast

from ares_notebook.errors import MissingExtra

# Only what we import ourselves: where one of its own dependencies lacks, the error is its own.
_EXTRA_OF = {
    "anywidget": "lab",
    "ipywidgets": "lab",
    "matplotlib": "lab",
    "nest_asyncio": "lab",
    "nest_asyncio2": "lab",
    "apprise": "notify",
    "duckdb": "sql",
    "dask": "scale",
    "distributed": "scale",
    "fsspec": "scale",
    "s3fs": "scale",
}


_F = TypeVar("_F", bound=Callable[..., object])


def also_named(name: str, function: _F) -> _F:
    """The same function under a second name, which its docstring shows too."""
    given = cast("FunctionType", function)
    copy = copied(given, name)
    copy.__doc__ = (given.__doc__ or "").replace(given.__name__, name)
    return cast("_F", copy)


def copied(function: FunctionType, name: str, **defaults: object) -> FunctionType:
    """A copy of a function, with *defaults* in place of those of its keyword-only parameters."""
    code = function.__code__.replace(co_name=name, co_qualname=name)
    copy = FunctionType(
        code, function.__globals__, name, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = {**(function.__kwdefaults__ or {}), **defaults}
    copy.__annotations__, copy.__doc__ = function.__annotations__, function.__doc__
    copy.__module__ = function.__module__
    return copy


@contextmanager
def needing(what: str) -> Iterator[None]:
    """Raise one sentence, `MissingExtra`, for a package of an extra that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get(error.name or "")
        if extra is None:
            raise
        package = str(error.name).replace("_", "-")
        msg = (
            f"{what} needs {package}, which is not installed here: pip install {package}, "
            f'or, with all that the extra has, pip install "ares-notebook[{extra}]"'
        )
        raise MissingExtra(msg, name=error.name) from error


def stand_in(name: str, sentence: str, find: Callable[[], Any]) -> Callable[..., Any]:
    """Make a replacement for a function, or a class, that cannot be imported yet."""

    def call(*arguments: Any, **options: Any) -> Any:
        return find()(*arguments, **options)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = sentence
    return call
