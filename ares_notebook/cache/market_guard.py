"""Which market filled a cache: real candles and made-up ones must never mix."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ares_notebook.cache.disk import PART_SUFFIX, cannot_access, flush_to_disk
from ares_notebook.errors import CacheUnavailable, WrongMarket
from ares_notebook.model.files import CacheFile

__all__ = ["claim", "market_of", "refuse_another"]


def refuse_another(folder: Path, market: str, files: Iterable[tuple[CacheFile, Path]]) -> None:
    """Raise if *folder* was filled from another market than *market*."""
    known = market_of(folder)
    if known is None:
        files = list(files)
        is_noted = bool(files) and _note_of(folder).exists()
        # Another may have written it since.
        known = market_of(folder) if is_noted else _market_of_old(files)
        if is_noted and known is None:
            msg = (
                f"{_note_of(folder)} is damaged, so nobody knows whose data {folder} holds; write "
                f'{{"market": "binance"}} into it, or the market that they are of, or choose '
                f"another folder with cache_dir"
            )
            raise CacheUnavailable(msg)
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
    """
    refuse_another(folder, market, files)
    if market_of(folder) is None:
        from filelock import FileLock  # noqa: PLC0415 - once a cache

        with FileLock(folder / ".ares" / "locks" / "origin.lock", thread_local=False):
            if market_of(folder) is None:
                _note(folder, market)
        # Another may have been first; now there is a note, and no file needs to be looked at.
        refuse_another(folder, market, ())


def _note(folder: Path, market: str) -> None:
    """Write the note, whole, and onto the disk before the first file is."""
    note = _note_of(folder)
    # Always of one name, since nobody sweeps here: what a killed process left is written over.
    part = note.with_name(f".{note.name}{PART_SUFFIX}")
    try:
        part.write_text(json.dumps({"market": market}) + "\n", encoding="utf-8")
        flush_to_disk(part)
        part.replace(note)
    finally:
        part.unlink(missing_ok=True)
    flush_to_disk(note.parent)


def market_of(folder: Path) -> str | None:
    """The market that filled *folder*; None where no note says so."""
    note = _note_of(folder)
    try:
        market = json.loads(note.read_text(encoding="utf-8"))["market"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    except OSError as error:
        raise cannot_access(note, error) from error
    return market if isinstance(market, str) else None


def _note_of(folder: Path) -> Path:
    return folder / ".ares" / "origin.json"


def _market_of_old(files: Iterable[tuple[CacheFile, Path]]) -> str | None:
    """The original downloader knew only Binance, so a folder of nothing but its files is Binance's."""
    found = None
    for file, path in files:
        # Slow to import, and few folders lack the note.
        from ares_notebook.cache.reader import is_ours  # noqa: PLC0415

        if is_ours(path, file.dataset):
            return None
        if path.stat().st_size:
            # An empty file is nobody's.
            found = "binance"
    return found
