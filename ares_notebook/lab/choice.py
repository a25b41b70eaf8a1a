"""A choice, as a form holds it: which history, from where, and the code that brings the same."""

from __future__ import annotations

import re
import textwrap
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal

from ares_notebook.download.plan import Plan, plan_downloads
from ares_notebook.errors import BadArgument
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.symbols import validate_symbol
from ares_notebook.model.time import validate_interval
from ares_notebook.settings import Settings

__all__ = ["UNITS", "Choice", "Unit", "lookback_of", "symbols_in"]

Unit = Literal["years", "months", "days"]
UNITS: tuple[Unit, ...] = ("years", "months", "days")
"""What a lookback is counted in."""

_YEAR_DAYS = 365.25
_MONTHS = 12
_LINE = 88


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be downloaded, and where from."""

    # One or several.
    symbols: tuple[str, ...]
    # Of the k-lines.
    interval: str
    # How many *unit* to look back.
    count: int
    # Years and months step by the calendar.
    unit: Unit
    # Nothing at or after its midnight (UTC); None is now.
    end: date | None
    datasets: tuple[str, ...]
    settings: Settings
    # Lines of Python after which ``settings`` is a name for these; empty where they are the
    # defaults.
    settings_code: tuple[str, ...] = field(default=())
    # Whether a cluster does it, whose ``client`` the code has.
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

    def plans(self) -> tuple[Plan, ...]:
        """What would be done, a plan a symbol; reads the cache, touches no network."""
        years = _number(self._lookback())
        return tuple(
            plan_downloads(
                symbol,
                self.interval,
                years,
                end=self.end,
                settings=self.settings,
                datasets=self.datasets,
            )
            for symbol in self.symbols
        )

    def code(self) -> str:
        """Python for a cell of a notebook that downloads the same."""
        one = len(self.symbols) == 1
        symbol, indent = (_quoted(self.symbols[0]), "") if one else ("symbol", "    ")
        imports = ["import ares_notebook as ares"]
        if self.on_cluster:
            imports.append("from ares_notebook import scale")
            deed = self._call("plan = ares.plan_downloads", symbol, _LINE - len(indent))
            deed += "\nreport = scale.download(plan, client)  # that of the panel"
        else:
            deed = self._call("report = await ares.download_all_data", symbol, _LINE - len(indent))
        deed += "\nreport" if one else "\nprint(report)"
        loop = [] if one else [f"for symbol in {_tuple(self.symbols)}:"]
        return "\n".join([*imports, "", *self.settings_code, *loop, textwrap.indent(deed, indent)])

    def _call(self, function: str, symbol: str, width: int) -> str:
        parts = [symbol, _quoted(self.interval), self._lookback()]
        if self.end is not None:
            parts.append(f"end={_quoted(self.end.isoformat())}")
        if self.settings_code:
            parts.append("settings=settings")
        if len(self.datasets) < len(DATASETS):
            parts.append(f"datasets={_tuple(self.datasets)}")
        flat = f"{function}({', '.join(parts)})"
        if len(flat) <= width:
            return flat
        inner = "".join(f"    {part},\n" for part in parts)
        return f"{function}(\n{inner})"

    def _lookback(self) -> str:
        """``lookback_years`` as one writes it; months by the calendar, so in days."""
        if self.unit == "years":
            return f"{self.count}"
        return f"{self.count if self.unit == 'days' else self._days_of_months()} / {_YEAR_DAYS}"

    def _days_of_months(self) -> int:
        end = self.end or datetime.now(UTC).date()
        month = end.year * _MONTHS + end.month - 1 - self.count
        year, month = month // _MONTHS, month % _MONTHS + 1
        if year < 1:
            msg = f"{self.count} months reach back before the first year"
            raise BadArgument(msg)
        start = date(year, month, min(end.day, monthrange(year, month)[1]))
        return (end - start).days


def symbols_in(text: str) -> tuple[str, ...]:
    """The symbols of a line in which somebody wrote them."""
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    return tuple(dict.fromkeys(map(validate_symbol, words)))


def lookback_of(years: float) -> tuple[int, Unit]:
    """A lookback as a person would say it."""
    if years == int(years):
        return int(years), "years"
    months = years * _MONTHS
    if months == int(months):
        return int(months), "months"
    return max(1, round(years * _YEAR_DAYS)), "days"


def _number(text: str) -> float:
    count, _, days = text.partition(" / ")
    return int(count) / float(days) if days else int(count)


def _quoted(text: str) -> str:
    # Only what was checked comes here: no quote, no backslash.
    return f'"{text}"'


def _tuple(names: Sequence[str]) -> str:
    inner = ", ".join(map(_quoted, names))
    return f"({inner},)" if len(names) == 1 else f"({inner})"
