"""Which market filled a cache: real data and demo data must never be mixed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ares_notebook.cache.disk import PART_SUFFIX, cannot_access, flush_to_disk, remove_part, rename
from ares_notebook.errors import CacheUnavailable, WrongMarket
from ares_notebook.model.files import CacheFile


def refuse_another(folder: Path, market: str, files: Iterable[tuple[CacheFile, Path]]) -> None:
    """Raise if *folder* was filled from another market than *market*."""
    known = market_of(folder)
    if known is None:
        files = list(files)
        is_noted = bool(files) and _note_of(folder).exists()
        # Another process may have written it since.
        known = market_of(folder) if is_noted else _market_of_old(files)
        if is_noted and known is None:
            msg = (
                f"{_note_of(folder)} is damaged, so it is not known which market's data {folder} holds; write "
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
    Write the market of *folder* to ``.ares/origin.json``, just before its first file is committed.

    Not earlier: a wrong address that delivers nothing must not bind the folder.
    """
    refuse_another(folder, market, files)
    if market_of(folder) is not None:
        return
    from filelock import FileLock  # noqa: PLC0415 - once for each cache

    note = _note_of(folder)
    # Always the same name, since it is not swept: what a killed process left is overwritten.
    part = note.with_name(f".{note.name}{PART_SUFFIX}")
    with FileLock(folder / ".ares" / "locks" / "origin.lock", thread_local=False):
        if market_of(folder) is None:
            try:
                part.write_text(json.dumps({"market": market}) + "\n", encoding="utf-8")
                flush_to_disk(part)
                rename(part, note)
            finally:
                remove_part(part)
            flush_to_disk(note.parent)
    # Another process may have been first; now there is a note, and no file has to be read.
    refuse_another(folder, market, ())


def market_of(folder: Path) -> str | None:
    """The market that filled *folder*; None without a readable note."""
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
    """Binance if all files are of the original downloader, which knew no other market."""
    found = None
    for file, path in files:
        # Slow to import, and few folders lack the note.
        from ares_notebook.cache.reader import is_ours  # noqa: PLC0415

        try:
            if is_ours(path, file.dataset):
                return None
            if path.stat().st_size:
                # An empty file proves nothing.
                found = "binance"
        except (CacheUnavailable, FileNotFoundError):
            # Another step may have moved it to the quarantine since the folder was listed.
            if path.exists():
                raise
    return found
