"""Public names: those that an extra brings, and second names of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TypeVar, cast

from ares_notebook.errors import MissingExtra

# Only what we import ourselves: where one of its own dependencies lacks, the error is its own.
_EXTRA_OF = {
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
    code = given.__code__.replace(co_name=name, co_qualname=name)
    twin = FunctionType(code, given.__globals__, name, given.__defaults__, given.__closure__)
    twin.__kwdefaults__, twin.__annotations__ = given.__kwdefaults__, given.__annotations__
    twin.__doc__ = (given.__doc__ or "").replace(given.__name__, name)
    twin.__module__ = given.__module__
    return cast("_F", twin)


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
            f"{what} needs {package}, which is not installed here: "
            f'pip install "ares-notebook[{extra}]"'
        )
        raise MissingExtra(msg, name=error.name) from error


def stand_in(name: str, sentence: str, find: Callable[[], Any]) -> Callable[..., Any]:
    """Make a replacement for a function, or a class, that cannot be imported yet."""

    def call(*arguments: Any, **options: Any) -> Any:
        return find()(*arguments, **options)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = sentence
    return call
