"""Damaged files: moved aside with a note, found again, and what is good in them read out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc

from ares_notebook.cache.disk import flush_to_disk, put_text
from ares_notebook.cache.reader import read_legacy
from ares_notebook.errors import CorruptFile
from ares_notebook.model.files import CacheFile, parse_file_name
from ares_notebook.model.rows import Table, empty_rows, in_scale

__all__ = ["Quarantined", "quarantine", "quarantine_of", "quarantined", "salvage"]

# A colon is no part of a file name on Windows.
_STAMP = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A damaged file in the quarantine."""

    # Where it is; its note lies beside it.
    path: Path
    # The file that it was.
    file: CacheFile
    # When it was put aside, aware UTC.
    at: datetime

    @property
    def note(self) -> Path:
        """What says why."""
        return _note_of(self.path)


def quarantine_of(folder: Path) -> Path:
    """Where the damaged files of the cache in *folder* are."""
    return folder / ".ares" / "quarantine"


def quarantine(folder: Path, path: Path, why: str, *, stays: bool = False) -> Path:
    """
    Move a damaged file out of the cache, with a note beside it that says why.

    One that *stays* is copied, and is in its place until another takes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    target = folder / f"{path.name}.{now:{_STAMP}}"
    note = {"file": path.name, "why": why, "at": now.isoformat(timespec="seconds")}
    put_text(_note_of(target), json.dumps(note, indent=1) + "\n")
    if stays:
        shutil.copy2(path, target)
        flush_to_disk(target)
    else:
        path.replace(target)
    flush_to_disk(folder)
    return target


def quarantined(folder: Path) -> Iterator[Quarantined]:
    """
    The damaged files in a quarantine, in order of their names; what has another name is not ours.
    """
    try:
        # listdir, not iterdir: a note and its file are one.
        names = {name.removesuffix(".json") for name in os.listdir(folder)}  # noqa: PTH208
    except FileNotFoundError:
        return
    for name in sorted(names):
        stem, _, stamp = name.rpartition(".")
        file = parse_file_name(stem)
        if file is None:
            continue
        try:
            at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
        except ValueError:
            continue
        yield Quarantined(folder / name, file, at)


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def salvage(path: Path, file: CacheFile) -> Table:
    """
    What is good in a damaged file: its readable rows that lie in its period, ascending, each once.

    Good as far as the rows themselves tell: they are for use until a whole file replaces them, not
    instead of one. Read as a whole.
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
