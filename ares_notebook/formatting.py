"""Text for people: numbers with their units, calls that can be pasted, and pieces of HTML."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

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


# Words of the shell that belong to each call of the running command; None outside the shell.
_SHELL: ContextVar[tuple[str, ...] | None] = ContextVar("ares_shell_words", default=None)


@contextmanager
def speaking_shell(*common: str) -> Iterator[None]:
    """Write calls as shell commands in this context; *common* words end each of them."""
    token = _SHELL.set(common)
    try:
        yield
    finally:
        _SHELL.reset(token)


def in_words_of(python: str, shell: str) -> str:
    """The one of two texts that fits where it is shown: in Python, or in the shell."""
    return python if _SHELL.get() is None else shell


def datasets_argument(names: Sequence[str]) -> str:
    """The argument that names these datasets, in Python or in the shell."""
    return in_words_of(
        f"`datasets={tuple(names)!r}`".replace("'", '"'), f"`--datasets {','.join(names)}`"
    )


def call(python: str, verb: str, *arguments: str | None, **options: object) -> str:
    """A call that can be pasted where it is shown: *python*, or in the shell the command of *verb*."""
    common = _SHELL.get()
    return python if common is None else shell_call(verb, *arguments, *common, **options)


class Unquoted(str):
    """A name in the code of a call, such as that of a variable."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PythonCalls:
    """How messages write calls in Python, so that they work on the cache that a message is about."""

    # They are no part of a value that holds them, so any two are equal.
    owner: str = field(default="ares", compare=False)
    # What its owner calls a function of the package.
    name_of: Callable[[str], str] = field(default=str, compare=False)
    # Whether the settings must be passed.
    with_settings: bool = field(default=False, compare=False)

    def __call__(self, function: str, *arguments: object, **options: object) -> str:
        """Such as ``await ares.repair_gaps("BTCUSDT", "1h")``; what is None is left out."""
        if self.with_settings:
            options["settings"] = Unquoted("settings")
        words = [_literal(each) for each in arguments if each is not None]
        words += [f"{name}={_literal(each)}" for name, each in options.items() if each is not None]
        verb = function.removeprefix("await ")
        called = f"{self.owner}.{self.name_of(verb)}"
        return f"{function.removesuffix(verb)}{called}({', '.join(words)})"


IN_PYTHON = PythonCalls()
"""Of the package, for the cache of the environment."""


def dataset_calls(name: str, symbol: str, calls: PythonCalls = IN_PYTHON) -> str:
    """How a dataset of a symbol is loaded and downloaded, in Python or in the shell."""
    rest = Unquoted("…")
    load = calls("load_rows", name, symbol, rest)
    download = calls("await download_all_data", symbol, rest, datasets=(name,))
    return in_words_of(f"`{load}`, `{download}`", f"`--datasets {name}`")


def _literal(value: object) -> str:
    if isinstance(value, Unquoted):
        return value
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        items = ", ".join(map(_literal, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    return repr(value)


def shell_call(verb: str, *arguments: str | None, **options: object) -> str:
    """A shell command, such as ``ares-notebook repair BTCUSDT 1h``; what is None is left out."""
    words = ["ares-notebook", verb, *(each for each in arguments if each is not None)]
    for name, each in options.items():
        if each is not None:
            words.append(f"--{name.replace('_', '-')}")
            words += (
                [] if each is True else [",".join(each) if isinstance(each, tuple) else f"{each}"]
            )
    return shlex.join(words)


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


TIMES = ("start", "end", "first", "last", "at")
"""The columns of tables that are times."""
COUNTS = ("rows", "expected", "holes", "confirmed_absent", "missing")
"""The columns of tables that are counts."""


def head_in_words(name: str) -> str:
    """The name of a column, as it is shown."""
    return f"{name} (UTC)" if name in TIMES else name


def cell_in_words(name: str, value: Any) -> str:
    """A cell of a column as text: times to the minute, shares in percent; None of no time or an unknown count."""
    if value is None:
        return "-" if name in TIMES else "?"
    if name in TIMES:
        return f"{value:%Y-%m-%d %H:%M}"
    if name == "share":
        return f"{value:.2%}"
    return f"{value:,}" if name in COUNTS else str(value)


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the heads among them, in columns that end flush, as pandas shows them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        " ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
