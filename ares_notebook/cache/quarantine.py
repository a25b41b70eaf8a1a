"""Damaged files: moved aside with a note, and what is good in them read out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc

from ares_notebook.cache.disk import flush_to_disk, put_text
from ares_notebook.cache.legacy import read_legacy
from ares_notebook.errors import CorruptFile
from ares_notebook.market.rows import Table, empty_rows
from ares_notebook.market.scale import in_scale
from ares_notebook.market.series import CacheFile

__all__ = ["quarantine", "salvage"]


def quarantine(folder: Path, path: Path, why: str) -> Path:
    """
    Move a damaged file out of the cache, with a note beside it that says why.

    Parameters
    ----------
    folder : Path
        Of the quarantine; made if it is not there.
    path : Path
        The damaged file.
    why : str

    Returns
    -------
    Path
        Where it is now. Nothing there is ever read or removed by this package.

    Raises
    ------
    OSError
        If it cannot be moved; it is then still in its place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    # A colon is no part of a file name on Windows.
    target = folder / f"{path.name}.{now:%Y%m%dT%H%M%S%f}"
    note = {"file": path.name, "why": why, "at": now.isoformat(timespec="seconds")}
    put_text(target.with_name(f"{target.name}.json"), json.dumps(note, indent=1) + "\n")
    path.replace(target)
    flush_to_disk(folder)
    return target


def salvage(path: Path, file: CacheFile) -> Table:
    """
    What is good in a damaged file: its readable rows that lie in its period, ascending, each once.

    Good as far as the rows themselves tell: they are for use until a whole file
    replaces them, not instead of one. Read as a whole.

    Returns
    -------
    pyarrow.Table
        Without rows where nothing can be read.
    """
    if path.name.endswith(".zst"):
        # What follows a broken block of compression cannot be found again.
        return empty_rows(file.dataset)
    try:
        rows = read_legacy(path, file.dataset)
    except CorruptFile:
        return empty_rows(file.dataset)
    if any(rows[column.name].null_count for column in file.dataset.columns):
        # An old file is measured as it is; a mixture of both is nobody's.
        return empty_rows(file.dataset)
    start_us, end_us = file.period.start_ms * 1000, file.period.end_ms * 1000
    stamps = rows["timestamp"]
    inside = pc.and_(pc.greater_equal(stamps, start_us), pc.less(stamps, end_us))
    return in_scale(file.dataset, rows.filter(inside))
