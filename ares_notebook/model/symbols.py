"""Symbols: how they are written, and tables of many."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from ares_notebook.errors import BadArgument
from ares_notebook.model.markets import market_named
from ares_notebook.model.time import as_utc

# Letters and digits of any script (币安人生USDT is traded), joined at most by
# single _ or - inside; never a path character, a dot, a space or a control.
_SYMBOL = re.compile(r"[^\W_]+(?:[_-][^\W_]+)*")
_LONGEST = 40


def validate_symbol(symbol: str) -> str:
    """Return *symbol* in upper case if it is fit for file names and URLs."""
    text = symbol.strip().upper() if isinstance(symbol, str) else ""
    if text.count("/") == 1 and _SYMBOL.fullmatch(text.replace("/", "")):
        hint = text.replace("/", "")
        msg = f"symbol={symbol!r}: Binance writes this pair without a slash, {hint!r}"
        raise BadArgument(msg)
    if not _SYMBOL.fullmatch(text) or len(text) > _LONGEST:
        msg = f"symbol={symbol!r} is not a trading symbol; write one word of letters and digits, such as 'BTCUSDT'"
        raise BadArgument(msg)
    check_file_name(text, "symbol")
    return text


def check_file_name(text: str, argument: str) -> None:
    """Check that a file name can be encoded by this Python."""
    try:
        os.fsencode(text)
        # PyArrow cannot handle surrogates.
        text.encode()
    except UnicodeEncodeError:
        msg = (
            f"{argument}={text!r} cannot be the name of a file here, where this Python knows "
            f"those of {sys.getfilesystemencoding()} alone; start it with PYTHONUTF8=1"
        )
        raise BadArgument(msg) from None


class Listed(NamedTuple):
    """A symbol, and its first and last trading day if known."""

    symbol: str
    # Inclusive, UTC.
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Universe:
    """
    All symbols of a market that are quoted in one coin and were listed on one day.

    Parameters
    ----------
    quote : str, optional
        How their names end, such as ``"USDT"``. Defaults to any.
    listed_on : date, datetime or str, optional
        A day, UTC, on which they traded. Defaults to any.
    market : {"spot", "um", "cm"}
        Futures are those margined in USD: perpetuals, and contracts with an end.

    Raises
    ------
    BadArgument
        If an argument cannot be meant.

    Examples
    --------
    >>> universe = Universe("usdt", "2021-01-01")
    >>> universe.quote, universe.listed_on
    ('USDT', datetime.date(2021, 1, 1))
    >>> universe.has("BTCUSDT"), universe.has("ETHBTC"), universe.has("USDT")
    (True, False, False)
    """

    quote: str | None = None
    listed_on: date | datetime | str | None = None
    market: str = "spot"

    def __post_init__(self) -> None:
        market_named(self.market)
        # The instance is frozen.
        if self.quote is not None:
            object.__setattr__(self, "quote", _quote(self.quote))
        if self.listed_on is not None:
            object.__setattr__(self, "listed_on", self.day)

    @property
    def day(self) -> date | None:
        """*listed_on* as the day that it is."""
        return None if self.listed_on is None else as_utc(self.listed_on, "listed_on").date()

    def has(self, symbol: str) -> bool:
        """
        Whether *symbol* is quoted so.

        Parameters
        ----------
        symbol : str
            In upper case.

        Returns
        -------
        bool
        """
        # A symbol that is all quote has no coin before it.
        return self.quote is None or (symbol.endswith(self.quote) and symbol != self.quote)

    def traded(self, listed: Listed) -> bool:
        """
        Whether a symbol was listed on the day that is meant.

        Parameters
        ----------
        listed : Listed

        Returns
        -------
        bool
        """
        first, last, day = listed.first, listed.last, self.day
        return day is None or (first is not None and last is not None and first <= day <= last)

    def __str__(self) -> str:
        quoted = f" quoted in {self.quote}" if self.quote else ""
        listed = f" listed on {self.listed_on}" if self.listed_on else ""
        return f"all {self.market} symbols{quoted}{listed}"


def _quote(text: str) -> str:
    try:
        return validate_symbol(text)
    except BadArgument:
        msg = f"quote={text!r} ends the name of no symbol; write one word, such as 'USDT'"
        raise BadArgument(msg) from None
