"""
The numbers of the exchange: one grammar for every source, and one text for every number.

Binance writes plain decimals. Where the archive of funding rates is written by Java's
``BigDecimal``, a rate nearer to zero than a millionth has an exponent (``-1.8E-7``); REST
writes the same rate as ``-0.00000018``, and so does the cache.
"""

from __future__ import annotations

from decimal import Decimal

from ares_notebook.model.datasets import Column

__all__ = ["LONGEST_PART", "UNUSUAL_NUMBER", "pattern_of", "plain_number", "plain_pattern_of"]

LONGEST_PART = 24
"""The most digits before the point, and behind it; no number of the exchange is as long."""

_PLAIN = rf"(?:0|[1-9][0-9]{{0,{LONGEST_PART - 1}}})(?:\.[0-9]{{1,{LONGEST_PART}}})?"
# Written out it is no longer than a plain one may be.
_SCIENTIFIC = r"[0-9](?:\.[0-9]{1,8})?E[+-](?:[1-9]|1[0-6])"
_INTEGER = r"(?:0|[1-9][0-9]{0,18})"
_OF_ANOTHER_KIND = {
    # A stamp below zero is a number, and no moment.
    "time": f"-?{_INTEGER}",
    "close": _INTEGER,
    "hours": "(?:0|[1-9][0-9]?)",
}

UNUSUAL_NUMBER = r"E|^-0(?:\.0+)?$"
"""Finds the numbers of the grammar that the cache writes in another way: see `plain_number`."""


def pattern_of(column: Column) -> str:
    """The regular expression of all that may stand in a cell of *column*, but for flags."""
    if column.kind == "number":
        return f"{'-?' if column.signed else ''}(?:{_PLAIN}|{_SCIENTIFIC})"
    return plain_pattern_of(column)


def plain_pattern_of(column: Column) -> str:
    """The same of a cell of a cache file, in which no number has an exponent."""
    if column.kind == "number":
        return f"{'-?' if column.signed else ''}(?:{_PLAIN})"
    if column.kind == "integer":
        # An id that there is none of is -1.
        return f"(?:{_INTEGER}|-1)" if column.signed else _INTEGER
    return _OF_ANOTHER_KIND[column.kind]


def plain_number(text: str) -> str:
    """The one text of a number of the grammar: plain, with its digits, and no zero below zero."""
    plain = f"{Decimal(text):f}" if "E" in text else text
    return plain if plain.strip("-0.") else plain.removeprefix("-")
