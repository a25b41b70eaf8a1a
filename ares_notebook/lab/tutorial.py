"""The settings of a notebook that runs offline, and with one word on the real history."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ares_notebook.cache.market_guard import market_of
from ares_notebook.cache_object import Cache
from ares_notebook.errors import BadArgument
from ares_notebook.settings import Settings

_VARIABLE = "ARES_NOTEBOOK_SOURCE"
_SOURCES = ("demo", "binance")
_FOLDER = Path("demo_cache")


def demo_or_binance(name: str, *, binance: bool | None = None) -> Settings:
    """
    Return settings of the demo exchange, which is started, or of Binance.

    The demo exchange serves a made-up market on this machine, offline. Its cache is a folder of
    its own in ``demo_cache``, and begins empty, so that a notebook shows the same
    at each run. The cache of Binance is the one of the environment's settings, and is kept.

    Parameters
    ----------
    name : str
        The folder in ``demo_cache``, such as ``"01_download"``.
    binance : bool, optional
        Whether it is Binance. Defaults to what the environment variable ``ARES_NOTEBOOK_SOURCE``
        says, ``demo`` or ``binance``; without it, the demo exchange.

    Returns
    -------
    Settings
        Without a progress bar.

    Raises
    ------
    BadArgument
        If *name* is no name of a folder, or the variable has another value.

    Examples
    --------
    >>> settings = demo_or_binance("example")
    >>> settings.market_name, settings.cache_dir.as_posix()
    ('demo', 'demo_cache/example')
    """
    if not name or Path(name).name != name or name == "..":
        msg = f"name={name!r} is not the name of a folder; write it like '01_download'"
        raise BadArgument(msg)
    if binance if binance is not None else _source() == "binance":
        return Settings(progress=False)
    settings = Cache(Settings(cache_dir=_FOLDER / name, progress=False), demo=True).settings
    # Only what the demo exchange has filled, whatever else has this name.
    if market_of(settings.cache_dir) == settings.market_name:
        shutil.rmtree(settings.cache_dir)
    return settings


def _source() -> str:
    source = os.environ.get(_VARIABLE, "demo")
    if source not in _SOURCES:
        msg = f"{_VARIABLE}={source!r} is neither 'demo' nor 'binance'"
        raise BadArgument(msg)
    return source
