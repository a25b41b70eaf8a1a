"""Text for people: numbers with their units, and pieces of HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_CELL = (
    "padding:2px 10px 2px 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid var(--jp-border-color2, #ccc)"
)
_BLOCK = "color:var(--jp-ui-font-color1, inherit);font-size:var(--jp-ui-font-size1, 13px)"


def text(value: object) -> str:
    """*value* as text, escaped for HTML."""
    return html.escape(str(value))


def line(value: object, style: str = "") -> str:
    """A line of escaped text."""
    return f'<div style="{style}">{text(value)}</div>' if style else f"<div>{text(value)}</div>"


def block(headline: object, *parts: str) -> str:
    """An escaped headline, followed by *parts*, which are HTML already."""
    return f'<div style="{_BLOCK}"><strong>{text(headline)}</strong>{"".join(parts)}</div>'


def table(
    names: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()
) -> str:
    """A table; every cell is escaped, columns in *numbers* are aligned to the right."""
    aligned = [f"{_CELL};text-align:right" if name in numbers else _CELL for name in names]
    head = "".join(
        f'<th scope="col" style="{style}">{text(name)}</th>'
        for name, style in zip(names, aligned, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{text(cell)}</td>'
            for cell, style in zip(row, aligned, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        '<table style="border-collapse:collapse;margin:4px 0;font-size:inherit">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def folded(summary: object, body: str, *, is_open: bool = False) -> str:
    """*body* (HTML) that a click on *summary* (escaped) shows and hides, without a script."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{text(summary)}</summary>{body}</details>"


_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_FEW = 10
_FEW_NAMES = 4


def many(count: int, what: str) -> str:
    """A count with its noun in singular or plural; upper case stays upper case."""
    plural = "S" if what.isupper() else "s"
    return f"{count:,} {what}{'' if count == 1 else plural}"


def named(names: Sequence[str], between: str = ", ") -> str:
    """Up to four names in full; of more, the first three and the count of the others."""
    if len(names) <= _FEW_NAMES:
        return between.join(names)
    first = between.join(names[: _FEW_NAMES - 1])
    return f"{first} and {len(names) - _FEW_NAMES + 1:,} more"


def did_you_mean(names: Sequence[str]) -> str:
    """The question whether one of *names* is meant."""
    *others, last = names
    first = f"{', '.join(others)} or " if others else ""
    return f"did you mean {first}{last}?"


def refused(origin: str, fault: str) -> str:
    """The message about an answer from *origin* of which nothing is stored."""
    return f"{origin}: {fault}; nothing is stored, run again later"


def size_in_words(count: float) -> str:
    """Bytes in decimal units."""
    number = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004 - decimal units
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def time_in_words(seconds: float) -> str:
    """A duration in its one or two largest units."""
    whole = max(1, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min {rest} s" if rest and minutes < _FEW else f"{minutes} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
