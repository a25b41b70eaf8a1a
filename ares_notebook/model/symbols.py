"""Symbols as the exchange writes them, and what must never become one."""

from __future__ import annotations

import os
import re
import sys

from ares_notebook.errors import BadArgument

__all__ = ["check_file_name", "validate_symbol"]

# Letters and digits of any script (币安人生USDT is traded), joined at most by
# single _ or - inside; never a path character, a dot, a space or a control.
_SYMBOL = re.compile(r"[^\W_]+(?:[_-][^\W_]+)*")
_LONGEST = 40


def validate_symbol(symbol: str) -> str:
    """
    Return *symbol* in upper case if it can be one.

    Whether it is traded is for the exchange to say; here only its form is judged, since it becomes
    part of file names and of addresses.
    """
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
    """Make sure that a file can be called so, in the letters that this Python has for names."""
    try:
        os.fsencode(text)
        # PyArrow has no names for what Python itself could not read as text.
        text.encode()
    except UnicodeEncodeError:
        msg = (
            f"{argument}={text!r} cannot be the name of a file here, where this Python knows "
            f"those of {sys.getfilesystemencoding()} alone; start it with PYTHONUTF8=1"
        )
        raise BadArgument(msg) from None
