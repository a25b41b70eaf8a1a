"""What the panel remembers in a cache folder: its form, and what was done; memory, never authority."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ares_notebook.cache.disk import cannot_access, put_text
from ares_notebook.errors import AresError

_VERSION: Literal[1] = 1
_LARGEST_BYTES = 1 << 18
MOST_ACTS = 100

# Of each value that a file may hold, no more than a person could have typed.
_Word = Annotated[str, Meta(max_length=200)]
_Line = Annotated[str, Meta(max_length=10_000)]
_Aware = Annotated[datetime, Meta(tz=True)]


class FormState(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the form, as it was typed; the folder is the one where it is kept."""

    market: _Word
    symbols: _Line
    interval: _Word
    lookback: _Word
    end: date | None
    source: _Word
    address: _Word
    datasets: Annotated[tuple[_Word, ...], Meta(max_length=50)]


class ActWindow(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of one series: its window is aware UTC, half-open."""

    dataset: _Word
    symbol: _Word
    interval: _Word | None
    start: _Aware
    end: _Aware


class Act(Struct, frozen=True, forbid_unknown_fields=True):
    """What was done, and with which form; with a window, of that alone."""

    verb: Literal["download", "repair", "validate", "load"]
    form: FormState
    window: ActWindow | None = None


class Memory(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept: the arguments of the panel, the form as it was left, and what was done."""

    version: Literal[1]
    # If a panel is made with other arguments, these are what its user wants.
    given: FormState
    form: FormState
    acts: Annotated[tuple[Act, ...], Meta(max_length=MOST_ACTS)] = ()


def remembered(given: FormState, form: FormState, acts: tuple[Act, ...]) -> Memory:
    """What is to be kept; of what was done, the newest."""
    return Memory(_VERSION, given, form, acts[-MOST_ACTS:])


def memory_path(folder: Path) -> Path:
    """Where the memory of a cache folder is kept."""
    return folder / ".ares" / "panel.json"


def read_memory(folder: Path) -> tuple[Memory | None, str]:
    """The memory of a cache folder, None if there is none; and a remark if it cannot be used."""
    path = memory_path(folder)
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, f"The panel begins anew: {cannot_access(path, error)}"
    if len(data) > _LARGEST_BYTES:
        return None, _unusable(path, "it is too large")
    try:
        return msgspec.json.decode(data, type=Memory), ""
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, _unusable(path, str(error))


def write_memory(folder: Path, memory: Memory) -> str:
    """Keep *memory* where a cache is; a remark if that cannot be done, since no work depends on it."""
    path = memory_path(folder)
    try:
        if os.path.isdir(path.parent):  # noqa: PTH112 - raises nothing where a folder is not ours
            put_text(path, msgspec.json.format(msgspec.json.encode(memory)).decode() + "\n")
    except OSError as error:
        return f"The panel's form is not kept: {cannot_access(path, error)}"
    except AresError as error:
        return f"The panel's form is not kept: {error}"
    return ""


def _unusable(path: Path, why: str) -> str:
    return f"The panel begins anew, since {path} is not one of its files ({why}); it is replaced at the next download."
