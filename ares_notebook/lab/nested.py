"""Let libraries that start an event loop of their own do so in a cell, where one is running."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import re

from ares_notebook.errors import UnfitEnvironment
from ares_notebook.extras import needing

__all__ = ["allow_nested_loops"]

_REMEDY = 'pip install "ares-notebook[lab]"'
_GOOD_NEST = (1, 7, 4)
_NEW_KERNEL = (7,)


def allow_nested_loops() -> str:
    """
    Let other libraries call ``run_until_complete`` on the loop that runs the notebook.

    Nothing in this package needs it: `run` and `start` have a loop of their own, and
    ``await`` works in any cell. Some libraries that cannot be changed call
    ``asyncio.run`` or ``loop.run_until_complete`` and fail in a cell; this patches
    asyncio for the whole kernel, which is why it is not done unasked. Under ipykernel 7
    the original ``nest_asyncio`` makes cells that wait in the queue vanish, so that only
    its successor is taken there.

    Returns
    -------
    str
        What was applied, such as ``nest-asyncio2 1.7.4``.

    Raises
    ------
    UnfitEnvironment
        If neither is installed in a version that works here, or if the original was
        applied before.
    MissingExtra
        If its files are gone, though it is listed as installed.

    Examples
    --------
    >>> allow_nested_loops()  # doctest: +SKIP
    'nest-asyncio2 1.7.4'
    """
    name = _choice(
        ipykernel=_installed("ipykernel"),
        successor=_installed("nest-asyncio2"),
        original=_installed("nest-asyncio"),
        original_is_on=hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2"),
    )
    # By name, since neither publishes types, and neither may be imported unasked.
    with needing("allow_nested_loops"):
        importlib.import_module(name.replace("-", "_")).apply()
    return f"{name} {_installed(name)}"


def _choice(
    *, ipykernel: str | None, successor: str | None, original: str | None, original_is_on: bool
) -> str:
    """Which of the two works with what is installed."""
    is_new = ipykernel is not None and _parts(ipykernel) >= _NEW_KERNEL
    if original_is_on and is_new:
        msg = (
            f"nest_asyncio is applied already, and loses cells under ipykernel {ipykernel}; "
            "restart the kernel, and call allow_nested_loops() in its place"
        )
        raise UnfitEnvironment(msg)
    if successor is not None and _parts(successor) >= _GOOD_NEST and not original_is_on:
        return "nest-asyncio2"
    if original is not None and not is_new:
        return "nest-asyncio"
    there = f"nest-asyncio2 {successor}" if successor else "no nest-asyncio2"
    msg = f"there is {there}, and loops cannot be nested with ipykernel {ipykernel}: {_REMEDY}"
    raise UnfitEnvironment(msg)


def _installed(name: str) -> str | None:
    """Version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _parts(version: str) -> tuple[int, ...]:
    """The numbers at the start of a version, to compare by."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()
