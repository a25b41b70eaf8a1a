"""Packages of extras: one that is not installed is an error of one sentence, at its first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ares_notebook.errors import MissingExtra

# Only what we import ourselves: where one of its own dependencies lacks, the error is its own.
_EXTRA_OF = {
    "ipywidgets": "lab",
    "matplotlib": "lab",
    "nest_asyncio": "lab",
    "nest_asyncio2": "lab",
    "apprise": "notify",
    "dask": "scale",
    "distributed": "scale",
    "fsspec": "scale",
    "s3fs": "scale",
}


@contextmanager
def needing(what: str) -> Iterator[None]:
    """Import a package of an extra, or raise with the command that installs it."""
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
    """Make what stands for a function, or a class, that cannot be imported yet."""

    def call(*arguments: Any, **options: Any) -> Any:
        return find()(*arguments, **options)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = sentence
    return call
