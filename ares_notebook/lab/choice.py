"""What the form of the panel asks for, and the Python code that downloads the same."""

from __future__ import annotations

import json
import re
import textwrap
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from ares_notebook.download.plan import Plan, plan_downloads
from ares_notebook.errors import BadArgument
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.symbols import validate_symbol
from ares_notebook.model.time import validate_interval
from ares_notebook.settings import Settings

__all__ = ["UNITS", "Choice", "Unit", "code_of_call", "lookback_of", "symbols_in"]

Unit = Literal["years", "months", "days"]
UNITS: tuple[Unit, ...] = ("years", "months", "days")
"""What a lookback is counted in."""

_YEAR_DAYS = 365.25
_MONTHS = 12
_LINE = 88


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be downloaded, and where from."""

    symbols: tuple[str, ...]
    # Of the k-lines.
    interval: str
    # How many *unit* to look back; years and months step by the calendar.
    count: int
    unit: Unit
    # Nothing at or after its midnight (UTC); None is now.
    end: date | None
    datasets: tuple[str, ...]
    settings: Settings
    # Lines of Python that define ``settings``; empty where these are the defaults.
    settings_code: tuple[str, ...] = ()
    # Whether a cluster downloads, whose ``client`` the code has.
    on_cluster: bool = False

    def __post_init__(self) -> None:
        if not self.symbols:
            msg = "name a symbol, such as BTCUSDT; several are separated by commas"
            raise BadArgument(msg)
        if not self.datasets:
            msg = "tick at least one of K-lines, Trades and Funding"
            raise BadArgument(msg)
        for symbol in self.symbols:
            validate_symbol(symbol)
        validate_interval(self.interval)

    def plans(self) -> list[Plan]:
        """The plan of each symbol; reads the cache and sends no request."""
        years, _ = self._lookback()
        return [
            plan_downloads(
                symbol,
                self.interval,
                years,
                end=self.end,
                settings=self.settings,
                datasets=self.datasets,
            )
            for symbol in self.symbols
        ]

    def code(self) -> str:
        """Python for a cell of a notebook that downloads the same."""
        imports = ["import ares_notebook as ares"]
        function = "report = await ares.download_all_data"
        if self.on_cluster:
            imports.append("from ares_notebook import scale")
            function = "plan = ares.plan_downloads"
        before, symbol, indent, last = [], _literal(self.symbols[0]), "", "report"
        if len(self.symbols) > 1:
            before = [f"for symbol in {_literal(self.symbols)}:"]
            symbol, indent, last = "symbol", "    ", "print(report)"
        arguments = [symbol, _literal(self.interval), self._lookback()[1], *self._keywords()]
        lines = [_call(function, arguments, _LINE - len(indent))]
        if self.on_cluster:
            lines.append("report = scale.download(plan, client)  # that of the panel")
        download = textwrap.indent("\n".join([*lines, last]), indent)
        return "\n".join([*imports, "", *self.settings_code, *before, download])

    def _keywords(self) -> list[str]:
        parts = [f"end={_literal(self.end)}"] if self.end is not None else []
        if self.settings_code:
            parts.append("settings=settings")
        if len(self.datasets) < len(DATASETS):
            parts.append(f"datasets={_literal(self.datasets)}")
        return parts

    def _lookback(self) -> tuple[float, str]:
        """The lookback in years, and the Python expression for it; months by the calendar."""
        if self.unit == "years":
            return self.count, str(self.count)
        days = self.count
        if self.unit == "months":
            end = self.end or datetime.now(UTC).date()
            days = (end - _months_before(end, self.count)).days
        return days / _YEAR_DAYS, f"{days} / {_YEAR_DAYS}"


def _months_before(end: date, months: int) -> date:
    year, month = divmod(end.year * _MONTHS + end.month - 1 - months, _MONTHS)
    if year < 1:
        msg = f"{months} months reach back before the first year"
        raise BadArgument(msg)
    return date(year, month + 1, min(end.day, monthrange(year, month + 1)[1]))


def symbols_in(text: str) -> tuple[str, ...]:
    """The symbols in a line of text, each once."""
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    return tuple(dict.fromkeys(map(validate_symbol, words)))


def lookback_of(years: float) -> tuple[int, Unit]:
    """A lookback in the largest unit of which it is a whole number."""
    if years == int(years):
        return int(years), "years"
    months = years * _MONTHS
    if months == int(months):
        return int(months), "months"
    return max(1, round(years * _YEAR_DAYS)), "days"


def code_of_call(function: str, keywords: Mapping[str, Any]) -> str:
    """Python that calls *function* with *keywords*."""
    return _call(function, [f"{key}={_literal(value)}" for key, value in keywords.items()], _LINE)


def _call(function: str, arguments: Sequence[str], width: int) -> str:
    """A call on one line, or with one argument per line where it is wider than *width*."""
    flat = f"{function}({', '.join(arguments)})"
    if len(flat) <= width:
        return flat
    inner = "".join(f"    {argument},\n" for argument in arguments)
    return f"{function}(\n{inner})"


def _literal(value: object) -> str:
    if isinstance(value, bool | int | float) or value is None:
        return repr(value)
    if isinstance(value, tuple):
        inner = ", ".join(map(_literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    text = str(value)
    # In double quotes; JSON escapes quotes and backslashes as Python does.
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)
