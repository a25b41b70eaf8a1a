"""What the form of the panel asks for, and the Python code that downloads the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from textwrap import indent
from typing import Any

from ares_notebook.cache.store import Store
from ares_notebook.download.plan import Plan, make_plan
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import many
from ares_notebook.model.datasets import (
    DATASETS,
    DEFAULT_DATASETS,
    Dataset,
    dataset_named,
    datasets_named,
)
from ares_notebook.model.files import Series
from ares_notebook.model.markets import MARKETS, SPOT, Market
from ares_notebook.model.symbols import (
    contract_of,
    datasets_of_symbol,
    market_of_contract,
    validate_symbol,
)
from ares_notebook.model.time import Period, validate_interval
from ares_notebook.model.window import Lookback, window_of
from ares_notebook.settings import Settings

NO_DATASET = "tick at least one dataset"

_YEAR_DAYS = 365.25
_MONTHS = 12
_LINE = 88
_LONGEST_TUPLE = _LINE - len("    datasets=,")
_DATE = re.compile(r"\d{4}-\d")


def datasets_of(market: Market) -> tuple[Dataset, ...]:
    """The datasets of a market; beside those of spot stands the funding of the perpetual of that name."""
    return tuple(
        each
        for each in DATASETS
        if market in each.markets or (market is SPOT and each.name in DEFAULT_DATASETS)
    )


def market_of(datasets: Sequence[str], symbol: str) -> Market:
    """The first market that has all *datasets*, and has them of *symbol* if one does."""
    wanted = set(datasets_named(datasets)) if datasets else set()
    found = [each for each in MARKETS if wanted <= set(datasets_of(each))]
    if not found:
        names = ", ".join(each.name for each in DATASETS if each in wanted)
        msg = f"datasets: no one market has all of {names}; name those of one, and use another panel for others"
        raise BadArgument(msg)
    for market in found:
        with suppress(BadArgument):
            check_symbols([symbol], datasets, market)
            return market
    return found[0]


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be downloaded, and where from."""

    symbols: tuple[str, ...]
    # Of candles.
    interval: str
    # As typed: a number of years, a text such as "6 months" or "90d", or the date of the start.
    lookback: str
    # Nothing at or after its midnight (UTC); None is now.
    end: date | None
    datasets: tuple[str, ...]
    settings: Settings
    # Whose datasets and symbols are offered.
    market: Market = SPOT
    # Lines of Python that define ``settings``; empty where these are the defaults.
    settings_code: tuple[str, ...] = ()
    # Whether a cluster downloads, whose ``client`` the code has.
    on_cluster: bool = False

    def __post_init__(self) -> None:
        if not self.datasets:
            raise BadArgument(NO_DATASET)
        validate_interval(self.interval)
        check_symbols(self.symbols, self.datasets, self.market)

    def __str__(self) -> str:
        words = [", ".join(self.symbols)]
        if has_interval(self.datasets):
            words.append(self.interval)
        # The name of a contract tells its market.
        if self.market is not SPOT and not all(map(contract_of, self.symbols)):
            words.append(f"of {self.market.label}")
        return " ".join(words)

    @property
    def trades(self) -> Dataset:
        """The trades of its market, whose cost is shown before they are ticked."""
        return next(each for each in datasets_of(self.market) if each.key == "id")

    @property
    def with_trades(self) -> tuple[str, ...]:
        """Its datasets, and the trades of its market unless one of its symbols has none."""
        with suppress(BadArgument):
            check_symbols(self.symbols, [self.trades.name], self.market)
            return (*self.datasets, self.trades.name)
        return self.datasets

    @property
    def window(self) -> Period:
        """The window that is asked for, aware UTC, half-open."""
        return window_in(self.lookback, self.end)

    def plans(self, datasets: Sequence[str] = ()) -> list[Plan]:
        """The plan of each symbol, of its own datasets or *datasets*; sends no request."""
        window, store = self.window, Store(self.settings)
        names = datasets or self.datasets
        return [
            make_plan(symbol, self.interval, window, self.settings, names, store=store)
            for symbol in self.symbols
        ]

    def code(self) -> str:
        """Python for a cell of a notebook that downloads the same."""
        return "\n".join([*self.imports, "", *self.settings_code, self.download_call(), "report"])

    @property
    def imports(self) -> list[str]:
        """The imports that its calls need."""
        others = ["from ares_notebook import scale"] if self.on_cluster else []
        return ["import ares_notebook as ares", *others]

    def download_call(self) -> str:
        """The call that downloads it."""
        is_one = len(self.symbols) == 1
        function = "report = await ares.download_" + ("all_data" if is_one else "universe")
        after = []
        if self.on_cluster:
            function = f"plan = ares.plan_{'downloads' if is_one else 'universe'}"
            after = ["report = scale.download(plan, client)  # that of the panel"]
        symbols = self.symbols[0] if is_one else self.symbols
        arguments = [literal(symbols), literal(self.interval), *self._arguments()]
        return "\n".join([call_text(function, arguments), *after])

    @property
    def settings_argument(self) -> list[str]:
        """How a call names the settings, unless they are the defaults."""
        return ["settings=settings"] if self.settings_code else []

    def _arguments(self) -> list[str]:
        start, lookback = _start_or_lookback(self.lookback)
        parts = [literal(lookback) if start is None else f"start={literal(start)}"]
        if self.end is not None:
            parts.append(f"end={literal(self.end)}")
        return [*parts, *self.settings_argument, f"datasets={literal(self.datasets)}"]


def has_interval(datasets: Sequence[str]) -> bool:
    """Whether the files of any of *datasets* differ by an interval that is chosen."""
    return any(dataset_named(name).has_interval for name in datasets)


def check_symbols(symbols: Sequence[str], datasets: Sequence[str], market: Market) -> None:
    """Raise `BadArgument` unless *market* has symbols of this form, and all *datasets* of each."""
    if not symbols:
        msg = f"name a symbol, such as {market.example}; several are separated by commas"
        raise BadArgument(msg)
    for symbol in symbols:
        kind, its_market = contract_of(symbol), market_of_contract(symbol)
        if kind is not None and its_market is not market:
            way = (
                f"; choose the market {its_market.label}"
                if its_market
                else ", of which no market here has data"
            )
            msg = f"{symbol} is the name of {kind}{way}"
            raise BadArgument(msg)
        for name in datasets:
            _check_series(Series.of(name, symbol, "1d"), market)


def _check_series(series: Series, market: Market) -> None:
    """Raise `BadArgument` for a series of another market, or one that no symbol of this form has."""
    dataset, symbol = series.dataset, series.symbol
    # Beside those of spot stands the funding of a perpetual.
    if market not in dataset.markets:
        return
    if series.market is not market:
        msg = (
            f"{symbol} is the name of a symbol of {series.market.label}; choose that market, or "
            f"name a symbol of {market.label}, such as {market.example}"
        )
        raise BadArgument(msg)
    if dataset not in datasets_of_symbol(symbol, market):
        kind = contract_of(symbol) or "a pair"
        msg = (
            f"{symbol} is the name of {kind}, which has no {dataset.label}; untick {dataset.title}, "
            f"or name another symbol, such as {market.example}"
        )
        raise BadArgument(msg)


def window_in(lookback: str, end: date | None) -> Period:
    """The window of a lookback or a start, as it is typed, and an end; None is now."""
    start, length = _start_or_lookback(lookback)
    return window_of(length, start, end)


def _start_or_lookback(text: str) -> tuple[str | None, Lookback | None]:
    """The start that a text names, else the lookback."""
    stripped = text.strip()
    if not stripped:
        msg = 'say how far back: "6 months", "90d", a number of years, or a date: "2024-09-01"'
        raise BadArgument(msg)
    if _DATE.match(stripped):
        return stripped, None
    try:
        years = float(stripped)
    except ValueError:
        return None, stripped
    return None, int(years) if years.is_integer() else years


def symbols_in(text: str) -> tuple[str, ...]:
    """The symbols in a line of text, each once."""
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    return tuple(dict.fromkeys(map(validate_symbol, words)))


def lookback_text(years: float) -> str:
    """A lookback in the largest unit of which it is a whole number."""
    for unit, count in (("year", years), ("month", years * _MONTHS)):
        if count == int(count):
            return many(int(count), unit)
    return many(max(1, round(years * _YEAR_DAYS)), "day")


def code_of_call(function: str, keywords: Mapping[str, Any]) -> str:
    """Python that calls *function* with *keywords*."""
    return call_text(function, [f"{key}={literal(value)}" for key, value in keywords.items()])


def call_text(function: str, arguments: Sequence[str], longest: int = _LINE) -> str:
    """A call on one line, or with one argument per line where it is too wide."""
    flat = f"{function}({', '.join(arguments)})"
    if len(flat) <= longest:
        return flat
    inner = "".join(f"{argument},\n" for argument in arguments)
    return f"{function}(\n{indent(inner, '    ')})"


def literal(value: object) -> str:
    """A value as Python that makes it again."""
    if isinstance(value, bool | int | float) or value is None:
        return repr(value)
    if isinstance(value, tuple):
        items = [*map(literal, value)]
        return f"({items[0]},)" if len(items) == 1 else call_text("", items, _LONGEST_TUPLE)
    text = str(value)
    # In double quotes; JSON escapes quotes and backslashes as Python does.
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)
