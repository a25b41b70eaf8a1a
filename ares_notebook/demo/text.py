"""Columns of integers, written as the exchange writes its numbers, many rows at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Part = NDArray[np.uint32] | NDArray[np.bytes_] | bytes
Column = Sequence[Part]

ONE = 100_000_000
"""One, in the units of the eighth decimal that Binance counts in."""


def _groups_of_four() -> NDArray[np.uint32]:
    """
    Table of all four-digit groups: padded, leading, and leading as the last group.

    A leading group has NUL in the place of its leading zeros; the renderer drops
    every NUL at the end, and so never has to know how wide a number is.
    """
    padded = [b"%04d" % number for number in range(10_000)]
    leading = [b"\0\0\0\0"] + [(b"%d" % n).rjust(4, b"\0") for n in range(1, 10_000)]
    last = [b"\0\0\0" + b"0", *leading[1:]]
    return np.array(padded + leading + last, dtype="S4").view("<u4")


_TABLE = _groups_of_four()
_LEADING, _LAST = 10_000, 20_000
_FLAGS = {
    True: np.array([b"False", b"True"]),
    False: np.array([b"false", b"true"]),
}


def whole(values: Ints) -> Column:
    """Text of non-negative integers, without leading zeros."""
    groups: list[Part] = []
    rest, offset = values, _LAST
    largest = int(values.max(initial=0))
    while True:
        largest //= 10_000
        if not largest:
            groups.append(_TABLE.take(rest + offset))
            return groups[::-1]
        higher = rest // 10_000
        group = rest - higher * 10_000
        groups.append(_TABLE.take(group + offset * (higher == 0)))
        rest, offset = higher, _LEADING


def decimal(values: Ints, unit: int) -> Column:
    """Text of non-negative decimals, always with eight digits after the point."""
    # The product values * unit may leave 64 bits (a month of quote volume), its parts do not.
    above = values // (ONE // unit)
    below = (values - above * (ONE // unit)) * unit
    high = below // 10_000
    return [*whole(above), b".", _TABLE.take(high), _TABLE.take(below - high * 10_000)]


def signed(values: Ints) -> Column:
    """Text of decimals in units of the eighth decimal, with a minus where it is due."""
    sign = np.array([b"", b"-"]).take((values < 0).astype(np.int64))
    return [sign, *decimal(np.abs(values), 1)]


def flag(values: NDArray[np.bool_], *, capital: bool = True) -> Column:
    """Text of booleans: ``True``/``False``, or in lower case as JSON and futures have it."""
    return [_FLAGS[capital].take(values.astype(np.int64))]


def render(columns: Sequence[Column | bytes], rows: int) -> bytes:
    """Write rows of text."""
    parts = [p for column in columns for p in ([column] if isinstance(column, bytes) else column)]
    kinds = [f"S{len(p)}" if isinstance(p, bytes) else p.dtype.str for p in parts]
    frame = np.zeros(rows, dtype=[(f"p{i}", kind) for i, kind in enumerate(kinds)])
    for i, part in enumerate(parts):
        frame[f"p{i}"] = part
    return frame.tobytes().translate(None, b"\0")


def json_array(rows: bytes) -> bytes:
    """Make a JSON array of rows that each end in a comma."""
    return b"[" + rows[:-1] + b"]"
