"""Look into a file for which nobody vouches: all that its rows can tell."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa

from ares_notebook.cache.have import Have
from ares_notebook.cache.text import is_ours, read_rows
from ares_notebook.errors import CorruptFile
from ares_notebook.market.facts import Facts
from ares_notebook.market.measure import Measure
from ares_notebook.market.periods import utc
from ares_notebook.market.rows import Table, header_of, keys_of, stamps_ms
from ares_notebook.market.scale import Scale
from ares_notebook.market.series import CacheFile

__all__ = ["examined"]

_LOGGER = logging.getLogger("DataDownloader")


def examined(file: CacheFile, path: Path) -> Have:
    """Nobody vouches for the file: all that its rows can tell is looked at."""
    measure, scale = Measure(file), Scale(file.dataset)
    try:
        legacy = not is_ours(path, file.dataset)
        if legacy:
            _check_line_ends(path, file)
        for table in read_rows(path, file):
            _check_scale(path, table, scale)
            measure.add(keys_of(file.dataset, table), stamps_ms(table))
    except CorruptFile as error:
        _LOGGER.info("%s", error)
        return Have(file, str(path), problem=str(error))
    facts = measure.facts()
    if not legacy and not _within(file, facts):
        return Have(file, str(path), problem=f"{path} holds rows of another period")
    return Have(file, str(path), facts, legacy=legacy)


def _check_line_ends(path: Path, file: CacheFile) -> None:
    """Refuse a file of ours that went through an editor: the ancestor's have other headers."""
    header = header_of(file.dataset)
    with path.open("rb") as stream:
        if stream.read(len(header) + 1) == header[:-1] + b"\r\n":
            msg = f"{path} is ours but for its line ends; download its period again"
            raise CorruptFile(msg)


def _check_scale(path: Path, table: Table, scale: Scale) -> None:
    try:
        at = scale.breaks_at(table)
    except pa.ArrowInvalid as error:
        msg = f"{path} holds numbers that are none ({error}); download its period again"
        raise CorruptFile(msg) from error
    if at is not None:
        stamp = utc(int(stamps_ms(table)[at]))
        msg = f"{path} holds a price of another scale at {stamp:%Y-%m-%d %H:%M:%S}, as of another symbol"
        raise CorruptFile(msg)


def _within(file: CacheFile, facts: Facts) -> bool:
    """Whether all rows are of the period that the name says."""
    if facts.first_ms is None or facts.last_ms is None:
        return True
    return file.period.start_ms <= facts.first_ms and facts.last_ms < file.period.end_ms
