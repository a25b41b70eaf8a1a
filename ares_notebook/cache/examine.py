"""Look into a file for which nobody vouches: all that its rows can tell."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ares_notebook.cache.have import Have
from ares_notebook.cache.text import is_ours, open_text, read_rows, unreadable
from ares_notebook.errors import CorruptFile
from ares_notebook.market.facts import Facts
from ares_notebook.market.measure import Measure
from ares_notebook.market.numbers import UNUSUAL_NUMBER, plain_pattern_of
from ares_notebook.market.periods import utc
from ares_notebook.market.rows import Table, header_of, keys_of, stamps_ms, text_of
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
        for table in read_rows(path, file) if legacy else _as_we_write(path, file):
            _check_scale(path, table, scale)
            measure.add(keys_of(file.dataset, table), stamps_ms(table))
    except CorruptFile as error:
        _LOGGER.info("%s", error)
        return Have(file, str(path), problem=str(error))
    facts = measure.facts()
    if not legacy and not _within(file, facts):
        return Have(file, str(path), problem=f"{path} holds rows of another period")
    return Have(file, str(path), facts, legacy=legacy)


def _as_we_write(path: Path, file: CacheFile) -> Iterator[Table]:
    """
    The rows of a file with our header, if its text is what we would write for them.

    Where another hand wrote, the rows that are read may be ours and the bytes are not
    (a blank line, other digits of a stamp), and who vouches for a file does so for its bytes.
    """
    with open_text(path) as stream:
        stream.read(len(header_of(file.dataset)))
        for table in read_rows(path, file):
            _check_cells(path, file, table)
            text = text_of(file.dataset, table) if table.num_rows else b""
            _compare(path, stream, text)
            yield table
        if stream.read(1):
            raise unreadable(path, ValueError("there is more in it than its rows"))


def _compare(path: Path, stream: Any, text: Any) -> None:
    try:
        there = stream.read(len(text))
    except OSError as error:
        raise unreadable(path, error) from error
    if memoryview(there) != memoryview(text):
        raise unreadable(path, ValueError("its text is not as we write these rows"))


def _check_cells(path: Path, file: CacheFile, table: Table) -> None:
    """Refuse cells that read as text whatever they are, and are none of the exchange's."""
    for column in file.dataset.columns:
        if column.kind == "flag":
            sound = pc.is_in(table[column.name], pa.array(["True", "False"]))
        elif column.kind == "number":
            cells = table[column.name]
            grammar = pc.match_substring_regex(cells, f"^(?:{plain_pattern_of(column)})$")
            sound = pc.and_not(grammar, pc.match_substring_regex(cells, UNUSUAL_NUMBER))
        elif column.kind == "integer":
            sound = pc.greater_equal(table[column.name], -1 if column.signed else 0)
        else:
            continue
        if pc.all(sound).as_py() is False:
            stamp = utc(int(stamps_ms(table)[pc.index(sound, value=False).as_py()]))
            reason = f"the {column.name} of {stamp:%Y-%m-%d %H:%M:%S} is none as we write them"
            raise unreadable(path, ValueError(reason))


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
