"""
Receipts: what is known of one cache file, as a small readable JSON beside it.

Memory, never authority: a receipt counts only while the file is the one it was
written for. Lost or broken, it costs time, not data.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, TypeVar, cast

from ares_notebook.market.facts import Absence, Facts, Hole, Trouble

__all__ = ["Receipt", "Source"]

_LOGGER = logging.getLogger("DataDownloader")
_FORMAT = 1
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Source:
    """
    Where rows came from.

    Parameters
    ----------
    road : {"monthly archive", "daily archive", "rest", "legacy", "salvaged"}
        Legacy is what the ancestor wrote, salvaged what was good in a damaged file.
    url : str
    at : str
        When, ISO, UTC.
    sha256 : str, optional
        Of the archive, as its ``.CHECKSUM`` says and as it was.
    """

    road: str
    url: str
    at: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    What is known of one cache file.

    Parameters
    ----------
    file : str
        Its name; an absent file has a receipt too, which says why.
    size, mtime_ns, sha256
        The file when it was last seen; None when there is none.
    facts : Facts
        What its rows prove.
    sources : tuple of Source
        Oldest first.
    absences : tuple of Absence
        Facts about the exchange; they survive changes of the file.
    final : bool
        Whether its period is over and every row is there or explained.
    trouble : Trouble, optional
        Why rows are missing that were asked for.
    """

    file: str
    size: int | None
    mtime_ns: int | None
    sha256: str | None
    facts: Facts
    sources: tuple[Source, ...] = ()
    absences: tuple[Absence, ...] = ()
    final: bool = False
    trouble: Trouble | None = None

    def to_json(self) -> str:
        """The text that is stored; readable, and the same for the same receipt."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt | None:
        """Read what `to_json` wrote; None (and a line in the log) for anything else."""
        try:
            return _receipt(json.loads(text))
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
        ) as error:
            _LOGGER.debug("a receipt that cannot be read is measured anew: %s", error)
            return None


def _receipt(data: dict[str, Any]) -> Receipt:
    if data.pop("format") != _FORMAT:
        msg = "another format"
        raise ValueError(msg)
    facts = dict(data["facts"])
    quiet = facts.setdefault("quiet", [])
    lists = (facts["gaps"], quiet, data["sources"], data["absences"])
    if not all(isinstance(each, list) for each in lists):
        msg = "gaps, quiet, sources and absences must be lists"
        raise TypeError(msg)
    facts["gaps"] = tuple(_value(Hole, each) for each in facts["gaps"])
    facts["quiet"] = tuple(_value(Hole, each) for each in quiet)
    data["facts"] = _value(Facts, facts)
    data["sources"] = tuple(_value(Source, each) for each in data["sources"])
    data["absences"] = tuple(_value(Absence, each) for each in data["absences"])
    if data.get("trouble") is not None:
        data["trouble"] = _value(Trouble, data["trouble"])
    return _value(Receipt, data)


def _value(kind: type[_T], data: dict[str, Any]) -> _T:
    """Build *kind*, if every field is of the sort its annotation names."""
    for name, annotation in _annotations(cast("Hashable", kind)):
        if name in data and not _fits(data[name], annotation):
            msg = f"{name} is {data[name]!r}"
            raise TypeError(msg)
    return kind(**data)


@cache
def _annotations(kind: type) -> tuple[tuple[str, str], ...]:
    """Names and annotations of a dataclass; asked for once for each of thousands of receipts."""
    return tuple((each.name, str(each.type)) for each in fields(kind))


def _fits(value: object, annotation: str) -> bool:
    if value is None:
        return "None" in annotation
    if isinstance(value, bool):
        return annotation == "bool"
    if isinstance(value, int):
        return annotation.startswith("int")
    if isinstance(value, str):
        return annotation.startswith("str")
    return annotation.startswith(("tuple", "Facts", "Trouble"))
