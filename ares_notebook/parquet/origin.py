"""What all files of a dataset have in common, noted beside them: whose data they are, and of what type."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ares_notebook.errors import BadArgument, WrongMarket

__all__ = ["ORIGIN", "Origin"]

ORIGIN = "_ares_origin.json"
"""The name of the note. Readers overlook what begins so."""


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Whose data a dataset holds, and of what type its numbers are.

    Parameters
    ----------
    market : str
        Made-up data must never mix with real.
    decimal : bool
        Exact decimals; else 64-bit floats. DuckDB and pandas cast one to the other
        without a word where both lie in a dataset.

    Examples
    --------
    >>> Origin("binance", decimal=False).numbers
    'float64'
    """

    market: str
    decimal: bool

    @property
    def numbers(self) -> str:
        """The type of the numbers, as it stands in the note."""
        return "decimal" if self.decimal else "float64"

    def to_json(self) -> bytes:
        """The text of the note."""
        return json.dumps({"market": self.market, "numbers": self.numbers}).encode() + b"\n"

    def check(self, place: str | Path, note: bytes) -> None:
        """
        Hold this against the note of the dataset at *place*.

        Raises
        ------
        WrongMarket
            If it holds the data of another market.
        BadArgument
            If its numbers are of the other type.
        """
        try:
            there = json.loads(note)
            market, numbers = there["market"], there.get("numbers")
        except (ValueError, KeyError, TypeError):
            market = numbers = "nobody knows whom"
        if market != self.market:
            msg = (
                f"{place} holds the data of {market!r}, and {self.market!r} would be mixed into it; "
                f"choose another place"
            )
            raise WrongMarket(msg)
        if numbers != self.numbers:
            msg = (
                f"{place} holds numbers as {numbers}, and {self.numbers} would be mixed into it, which "
                f"readers cast without a word; pass decimal={not self.decimal}, or choose another place"
            )
            raise BadArgument(msg)
