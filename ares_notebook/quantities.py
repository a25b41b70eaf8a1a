"""Counts, sizes and times in words."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["many", "named", "size_in_words", "time_in_words"]

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_FEW = 10
_FEW_NAMES = 4


def many(count: int, what: str) -> str:
    """
    A count with its noun, which is of many in the same letters as of one.

    Examples
    --------
    >>> many(1, "file"), many(2_000, "file"), many(2, "ERROR")
    ('1 file', '2,000 files', '2 ERRORS')
    """
    plural = "S" if what.isupper() else "s"
    return f"{count:,} {what}{'' if count == 1 else plural}"


def named(names: Sequence[str], between: str = ", ") -> str:
    """
    Some names: all of a few, of many the first three and how many more there are.

    Examples
    --------
    >>> named(["BTCUSDT", "ETHUSDT"]), named([f"S{at}" for at in range(500)], ",")
    ('BTCUSDT, ETHUSDT', 'S0,S1,S2 and 497 more')
    """
    if len(names) <= _FEW_NAMES:
        return between.join(names)
    first = between.join(names[: _FEW_NAMES - 1])
    return f"{first} and {len(names) - _FEW_NAMES + 1:,} more"


def size_in_words(count: float) -> str:
    """
    Bytes, in the decimal units that disks are sold in.

    Examples
    --------
    >>> size_in_words(999), size_in_words(12_345_678)
    ('999 B', '12.3 MB')
    """
    number = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004 - decimal units
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def time_in_words(seconds: float) -> str:
    """
    A stretch of time, no more exactly than one cares.

    Examples
    --------
    >>> time_in_words(0.4), time_in_words(75), time_in_words(5_400), time_in_words(200_000)
    ('1 s', '1 min 15 s', '1 h 30 min', '2 d 7 h')
    """
    whole = max(1, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min {rest} s" if rest and minutes < _FEW else f"{minutes} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
