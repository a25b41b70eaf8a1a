"""Parameters of an API request, read as strictly as Binance reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ares_notebook.demo.answers import Answer, error
from ares_notebook.demo.window import Window

_NUMBER = r"^[0-9]{1,20}$"
_SYMBOL = r"^[\w\-._&&[^a-z]]{1,50}$"
# The same in Python's dialect, which knows no intersections of classes.
_SYMBOL_LETTERS = re.compile(r"[^\W a-z]+(?:[\-._]|[^\W a-z])*")
_NUMBERS = frozenset({"startTime", "endTime", "limit", "fromId"})

_LONGEST = 50
_LARGEST = 1 << 61

# A time parameter as large as this is in microseconds.
_MICROSECONDS_FROM = 100_000_000_000_000


class Refused(Exception):
    """The request cannot be answered but by an error; never leaves this package."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Parameters:
    """Named values of a request that was found good."""

    # Values as they were sent.
    values: dict[str, str]

    def text(self, name: str, default: str = "") -> str:
        """A value, or *default* if it was not sent."""
        return self.values.get(name, default)

    def number(self, name: str) -> int | None:
        """A value as a number, or None if it was not sent."""
        return int(self.values[name]) if name in self.values else None

    def window(self, default: int, largest: int) -> Window:
        """The rows that are asked for; a limit beyond the largest is cut down in silence."""
        limit = self.number("limit")
        if limit == 0:
            raise Refused(error(-1130, "Data sent for parameter 'limit' is not valid."))
        start, end, first = map(self.number, ("startTime", "endTime", "fromId"))
        return Window(
            limit=min(limit or default, largest),
            start_us=None if start is None else _microseconds(start, 0),
            # A moment in milliseconds lasts to its last microsecond.
            end_us=None if end is None else _microseconds(end, 999),
            from_id=None if first is None else min(first, _LARGEST),
        )


def read(
    items: Sequence[tuple[str, str]], required: Sequence[str], optional: Sequence[str]
) -> Parameters:
    """Read the parameters of a request."""
    values = dict(items)
    if len(values) < len(items):
        name = next(n for n in values if sum(n == other for other, _ in items) > 1)
        raise Refused(error(-1101, f"Duplicate values for parameter '{name}' detected."))
    for name in required:
        if not values.get(name):
            raise Refused(
                error(
                    -1102,
                    f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
                )
            )
    known = [name for name in (*required, *optional) if name in values]
    for name in known:
        _check(name, values[name])
    if len(known) < len(values):
        text = (
            f"Not all sent parameters were read; read '{len(known)}' parameter(s) "
            f"but was sent '{len(values)}'."
        )
        raise Refused(error(-1104, text))
    return Parameters(values)


def read_symbols(text: str) -> list[str]:
    """Read a JSON list of symbols."""
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        pattern = r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$'
        raise Refused(_illegal("symbols", pattern))
    return names


def _check(name: str, value: str) -> None:
    """Look at the letters of one value."""
    if not value:
        raise Refused(error(-1105, f"Parameter '{name}' was empty."))
    # Only the digits of ASCII: \d would let others pass.
    if name in _NUMBERS and not re.fullmatch(r"[0-9]{1,20}", value):
        raise Refused(_illegal(name, _NUMBER))
    if name == "symbol" and not (_SYMBOL_LETTERS.fullmatch(value) and len(value) <= _LONGEST):
        raise Refused(_illegal(name, _SYMBOL))


def _illegal(name: str, pattern: str) -> Answer:
    """The answer to letters out of place."""
    text = f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'."
    return error(-1100, text)


def _microseconds(value: int, rest: int) -> int:
    """A time parameter, in ms or µs, in µs; out of range is put right, not refused."""
    if value >= _MICROSECONDS_FROM:
        return min(value, _LARGEST)
    return value * 1_000 + rest
