"""Which market filled a cache: real candles and made-up ones must never mix."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ares_notebook.cache.disk import put_text
from ares_notebook.errors import WrongMarket
from ares_notebook.market.series import CacheFile

__all__ = ["claim", "market_of", "refuse_another"]


def refuse_another(folder: Path, market: str, files: Iterable[tuple[CacheFile, Path]]) -> None:
    """
    Raise if *folder* was filled from another market than *market*.

    Parameters
    ----------
    folder : Path
        The cache folder.
    market : str
    files : iterable of (CacheFile, Path)
        What is there; looked at only where no note is.

    Raises
    ------
    WrongMarket
        If another market filled it.
    OSError
        If the note cannot be read.
    """
    known = market_of(folder) or _market_of_old(files)
    if known not in (None, market):
        msg = (
            f"{folder} holds the data of {known!r}, and {market!r} would be mixed "
            f"into it; choose another folder with cache_dir"
        )
        raise WrongMarket(msg)


def claim(folder: Path, market: str, files: Iterable[tuple[CacheFile, Path]]) -> None:
    """
    Note in ``.ares/origin.json`` that *market* fills *folder*, with the first file that it gets.

    Not before: a wrong address, from which nothing came, must not bind the folder.

    Parameters
    ----------
    folder, market, files
        As in `refuse_another`; ``.ares`` exists.

    Raises
    ------
    WrongMarket
        As there.
    OSError
        If the note cannot be read or written.
    """
    refuse_another(folder, market, files)
    if market_of(folder) is None:
        note = folder / ".ares" / "origin.json"
        put_text(note, json.dumps({"market": market}) + "\n")


def market_of(folder: Path) -> str | None:
    """The market that filled *folder*; None where no note says so."""
    note = folder / ".ares" / "origin.json"
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["market"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _market_of_old(files: Iterable[tuple[CacheFile, Path]]) -> str | None:
    """The ancestor knew only Binance, so a folder of nothing but its files is Binance's."""
    from ares_notebook.cache.text import is_ours  # noqa: PLC0415 - slow, and few folders lack the note

    found = None
    for file, path in files:
        if is_ours(path, file.dataset):
            return None
        if path.stat().st_size:
            # An empty file is nobody's.
            found = "binance"
    return found
