"""The form of the panel, and the markets that it can choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import ipywidgets as widgets

from ares_notebook.cache.disk import cannot_access
from ares_notebook.cache.store import Store
from ares_notebook.demo import DemoExchange
from ares_notebook.errors import (
    AresError,
    BadArgument,
    CacheUnavailable,
    UnknownSymbol,
    WrongMarket,
)
from ares_notebook.formatting import line
from ares_notebook.lab.choice import (
    NO_DATASET,
    Choice,
    check_symbols,
    code_of_call,
    datasets_of,
    has_interval,
    lookback_text,
    market_of,
    symbols_in,
    window_in,
)
from ares_notebook.lab.memory import FormState
from ares_notebook.model.datasets import DATASETS, Dataset, dataset_named
from ares_notebook.model.markets import MARKETS, Market, market_named
from ares_notebook.model.symbols import pair_of
from ares_notebook.model.time import INTERVALS, as_utc
from ares_notebook.model.window import window_in_words
from ares_notebook.settings import CACHE_DIR, SECRETS, URLS, Settings

BINANCE = "Binance"
DEMO = "Demo (made up, offline)"
ADDRESS = "Another address"
GIVEN = "As given"

_DEFAULTS = {each.name: each.default for each in fields(Settings)}
# The settings that differ between sources.
_OF_SOURCE = (*URLS, "market", "cache_dir")
# What the call of a download says itself.
_OF_CALL = ("symbol", "interval", "lookback_years")
# What the code must not contain.
_HINTS = {
    "api_key": "# The API key is taken from the environment: ARES_API_KEY",
    "notify": "# Who is notified is taken from the environment: ARES_NOTIFY",
}
# Where a server of all of Binance's hosts keeps the archive's listing.
_LISTING = "/data.binance.vision"
# The field that can mend an error.
_FIELD_OF = ((UnknownSymbol, "symbols"), ((CacheUnavailable, WrongMarket), "folder"))
# The controls of one value, as they are shown.
_FIELDS = ("symbols", "interval", "lookback", "end", "market", "source", "address", "folder")


class MarketSources:
    """The sources that a panel offers; the demo exchange is started when it is chosen."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._exchange: DemoExchange | None = None
        is_binance = all(getattr(given, name) == _DEFAULTS[name] for name in URLS)
        own = () if is_binance else (GIVEN,)
        self.names: tuple[str, ...] = (*own, BINANCE, DEMO, ADDRESS)

    def folder(self, name: str) -> str:
        """The default cache folder of a source; each has its own, so that markets do not mix."""
        if name == self.names[0]:
            return str(self._given.cache_dir)
        return {BINANCE: CACHE_DIR, DEMO: "demo_cache"}.get(name, "other_cache")

    def settings(self, name: str, address: str, cache_dir: str) -> Settings:
        """The settings of a source."""
        # Every field is passed, so that none is taken from the environment a second time.
        if name == GIVEN:
            return self._given.replace(cache_dir=cache_dir)
        kept = {key: value for key, value in asdict(self._given).items() if key not in _OF_SOURCE}
        kept["cache_dir"] = cache_dir
        if name == BINANCE:
            return Settings(**kept, **{each: _DEFAULTS[each] for each in URLS}, market=None)
        # The key is Binance's, and is sent to no other host.
        del kept["api_key"]
        if name == DEMO:
            return self._demo().settings(**kept)
        return Settings(**kept, **_urls_at(address), market=None, api_key=None)

    def code(self, name: str, settings: Settings) -> tuple[str, ...]:
        """Python that defines ``settings``, without what the call of a download says itself."""
        environment = Settings()
        changed = {
            key: value
            for key, value in asdict(settings).items()
            if key not in _OF_CALL
            and (value != _DEFAULTS[key] or value != getattr(environment, key))
        }
        hints = [_HINTS[key] for key in SECRETS if changed.pop(key, None)]
        if name != DEMO:
            lines = [code_of_call("settings = ares.Settings", changed), ""] if changed else []
            return (*hints, *lines)
        own = {key: value for key, value in changed.items() if key not in (*URLS, "market")}
        if str(settings.cache_dir) == self.folder(DEMO):
            own.pop("cache_dir", None)
        start = "exchange = ares.DemoExchange().start()"
        return (start, code_of_call("settings = exchange.settings", own), "")

    def close(self) -> None:
        """Stop the demo exchange, if it was started."""
        if self._exchange is not None:
            self._exchange.stop()
            self._exchange = None

    def _demo(self) -> DemoExchange:
        if self._exchange is None:
            self._exchange = DemoExchange().start()
        return self._exchange


def _urls_at(address: str) -> dict[str, str]:
    """One address for all that Binance serves at several."""
    url = address.strip().rstrip("/")
    if urlsplit(url).scheme not in ("http", "https"):
        msg = f'the address {address!r} is not one; write it like "http://127.0.0.1:8900"'
        raise BadArgument(msg)
    return {**dict.fromkeys(URLS, url), "archive_listing_url": url + _LISTING}


class Form:
    """The controls of a choice, each with its problem below it."""

    def __init__(
        self,
        given: Settings,
        source: Literal["binance", "demo"] | None = None,
        end: date | str | None = None,
        datasets: Sequence[str] = (),
        *,
        on_cluster: bool = False,
    ) -> None:
        self._on_cluster = on_cluster
        self._sources = MarketSources(given)
        # The symbols of a market, by the exchange's list.
        self._listed: dict[str, tuple[str, ...]] = {}
        self._make_fields(given, market_of(datasets, given.symbol))
        self._make_ticks(datasets)
        self.end.value = None if end is None else as_utc(end).date()
        self.window = widgets.HTML()
        self.window.add_class("ares-window")
        # By field; an error stands at the field that can mend it.
        self.problems = {name: widgets.HTML() for name in (*_FIELDS, "datasets")}
        fields = {name: _with_problem(getattr(self, name), self.problems[name]) for name in _FIELDS}
        # Shown where it is needed.
        self.address_box = fields["address"]
        self.address_box.layout.display = "none"
        self._ticks_box = widgets.HBox([*self.ticks.values()])
        self._ticks_box.add_class("ares-ticks")
        own = ("symbols", "interval", "lookback", "end")
        others = [field for name, field in fields.items() if name not in own]
        self.box = widgets.VBox(
            [
                _row([fields[name] for name in own]),
                self.window,
                _row(others),
                _row([_with_problem(self._ticks_box, self.problems["datasets"])]),
            ]
        )
        self.box.add_class("ares-form")
        self.market.observe(self._market_changed, "value")
        self.source.observe(self._source_changed, "value")
        if source is not None:
            self.source.value = _name_of(source)
            if given.cache_dir != Path(CACHE_DIR):
                # A folder that is given together with a source belongs to it.
                self.folder.value = str(given.cache_dir)
        self.symbols.observe(self._offer, "value")

    def _make_fields(self, given: Settings, market: Market) -> None:
        names = self._sources.names
        is_usual = given.symbol == _DEFAULTS["symbol"]
        symbol = market.example if is_usual else given.symbol
        self.symbols = _field(
            widgets.Combobox(value=symbol, placeholder=_placeholder(market)), "Symbols", 17
        )
        markets = [(each.label[0].upper() + each.label[1:], each.name) for each in MARKETS]
        self.market = _field(widgets.Dropdown(options=markets, value=market.name), "Market", 11)
        self.interval = _field(
            widgets.Dropdown(options=tuple(INTERVALS), value=given.interval), "Interval", 6
        )
        # Texts that are read when editing ends: half of one means something else.
        lookback = widgets.Text(
            value=lookback_text(given.lookback_years),
            placeholder="6 months, 90d, 2 or 2024-09-01",
            continuous_update=False,
        )
        self.lookback = _field(lookback, "Lookback, or start date (UTC)", 17)
        self.end = _field(widgets.DatePicker(), "End, exclusive (UTC; empty: now)", 17)
        self.source = _field(widgets.Dropdown(options=names, value=names[0]), "Source", 17)
        address = widgets.Text(placeholder="http://127.0.0.1:8900", continuous_update=False)
        self.address = _field(address, "Address", 17)
        folder = widgets.Text(value=str(given.cache_dir), continuous_update=False)
        self.folder = _field(folder, "Cache folder", 17)

    def _make_ticks(self, datasets: Sequence[str]) -> None:
        ticked = {dataset_named(name) for name in datasets}
        for market in MARKETS:
            # In a market that is chosen later: its candles, and funding.
            its = datasets_of(market)
            candles = next(each for each in its if each.has_interval)
            usual = {candles, *(each for each in its if each.key == "event_time")}
            ticked |= usual.difference(datasets_of(self.chosen_market))
        self._ticks = {
            dataset: widgets.Checkbox(
                value=dataset in ticked,
                description=dataset.title,
                indent=False,
                layout={"width": "auto"},
            )
            for dataset in DATASETS
        }

    @property
    def chosen_market(self) -> Market:
        """The market whose datasets and symbols are offered."""
        return market_named(self.market.value)

    @property
    def ticks(self) -> dict[str, widgets.Checkbox]:
        """The checkboxes of the datasets of the chosen market, by the datasets' names."""
        return {each.name: self._ticks[each] for each in datasets_of(self.chosen_market)}

    @property
    def _ticked(self) -> tuple[str, ...]:
        return tuple(name for name, tick in self.ticks.items() if tick.value)

    @property
    def settings(self) -> Settings:
        """The settings of the source and the folder; raises `BadArgument` if one has a wrong value."""
        return self._sources.settings(self.source.value, self.address.value, self.folder.value)

    def choice(self) -> Choice:
        """What the form asks for; raises `BadArgument` if a field has a wrong value."""
        return self.choice_of(self.state(), self.folder.value)

    def state(self) -> FormState:
        """What stands in the form, but for the folder."""
        return FormState(
            self.market.value,
            self.symbols.value,
            self.interval.value,
            self.lookback.value,
            self.end.value,
            self.source.value,
            self.address.value,
            self._ticked,
        )

    def restore(self, state: FormState) -> None:
        """Put a state into the fields; raises `BadArgument`, and changes nothing, if one cannot be meant."""
        folder = self.folder.value
        market = self.choice_of(state, folder).market
        if state.interval not in INTERVALS:
            msg = f"there is no interval {state.interval!r}"
            raise BadArgument(msg)
        self.market.value = market.name
        # In this order, since the source changes fields after it.
        for name in ("source", "address", "symbols", "interval", "lookback", "end"):
            getattr(self, name).value = getattr(state, name)
        self.folder.value = folder
        self.tick(state.datasets)

    def tick(self, datasets: Sequence[str]) -> None:
        """Tick these datasets of the chosen market, and no others."""
        for name, box in self.ticks.items():
            box.value = name in datasets

    def choice_of(self, state: FormState, folder: str) -> Choice:
        """What a state asks for of a folder; raises `BadArgument` if it cannot be meant."""
        if state.source not in self._sources.names:
            msg = f"there is no source {state.source!r} here"
            raise BadArgument(msg)
        market, settings = (
            market_named(state.market),
            self._sources.settings(state.source, state.address, folder),
        )
        strange = set(state.datasets).difference(each.name for each in datasets_of(market))
        if strange:
            msg = f"{market.label} has no {', '.join(sorted(strange))}"
            raise BadArgument(msg)
        choice = Choice(
            symbols_in(state.symbols),
            state.interval,
            state.lookback,
            state.end,
            state.datasets,
            settings,
            market,
            self._sources.code(state.source, settings),
            on_cluster=self._on_cluster,
        )
        # Raises where there is no such window.
        _ = choice.window
        return choice

    def check(self) -> Choice | None:
        """The choice, its window shown; None if a field has a wrong value, each error shown there."""
        faults = dict(self._faults())
        for name, problem in self.problems.items():
            problem.value = problem_html(faults[name]) if name in faults else ""
        self.window.value = ""
        self.interval.disabled = bool(self._ticked) and not has_interval(self._ticked)
        if faults:
            return None
        choice = self.choice()
        self.window.value = line(window_in_words(*choice.window))
        self.remark_unlisted(choice.symbols)
        return choice

    def show_fault(self, name: str, words: str) -> None:
        """Show *words* at a field, until the form changes."""
        self.problems[name].value = problem_html(words)

    def show_errors(self, *errors: BaseException | None) -> bool:
        """Show errors at the field that can mend all of them; whether there is one."""
        for kinds, name in _FIELD_OF:
            if errors and all(isinstance(error, kinds) for error in errors):
                self.show_fault(name, ". ".join(dict.fromkeys(map(str, errors))))
                return True
        return False

    def show_cost(self, dataset: Dataset, words: str) -> None:
        """Show at its checkbox how large a dataset is; no *words* where that is not known."""
        self._ticks[dataset].description = f"{dataset.title} ({words})" if words else dataset.title

    def on_change(self, call: Callable[[], None]) -> None:
        """Call *call* whenever the choice may have changed."""
        for control in (*(getattr(self, name) for name in _FIELDS), *self._ticks.values()):
            control.observe(lambda _change: call(), "value")

    def offer(self, market: Market, known: Iterable[str]) -> None:
        """Let the completion of the symbol field offer the *known* of a market, and their pairs."""
        names = tuple(known)
        self._listed = {market.name: tuple(dict.fromkeys((*names, *map(pair_of, names))))}
        self._offer(None)

    @property
    def _known(self) -> tuple[str, ...]:
        """The symbols of the chosen market; none until the list has come."""
        return self._listed.get(self.market.value, ())

    def remark_unlisted(self, symbols: Sequence[str]) -> None:
        """Show which symbols the exchange's list lacks, if it has arrived."""
        remarks = []
        for symbol in symbols:
            if self._known and symbol not in self._known:
                near = get_close_matches(symbol, self._known, n=3, cutoff=0.8)
                hint = f"did you mean {' or '.join(near)}?" if near else "the archive may have it"
                remarks.append(f"{symbol} is not among the symbols that trade there today; {hint}")
        if remarks and not self.problems["symbols"].value:
            self.show_fault("symbols", ". ".join(remarks))

    def close(self) -> None:
        """Stop the demo exchange, if the form has started it."""
        self._sources.close()

    def _faults(self) -> Iterator[tuple[str, str]]:
        """The fields with a wrong value, and what is wrong with each."""
        end = self.end.value
        fault = _fault_of(window_in, "1 day", end)
        checks = {
            "symbols": _fault_of(self._check_symbols),
            "end": fault,
            "lookback": None if fault else _fault_of(window_in, self.lookback.value, end),
            "datasets": None if self._ticked else NO_DATASET,
        }
        if self.source.value == ADDRESS:
            checks["address"] = _fault_of(_urls_at, self.address.value)
        if not checks.get("address"):
            checks["folder"] = _fault_of(lambda: _check_folder(self.settings))
        yield from ((name, words) for name, words in checks.items() if words)

    def _check_symbols(self) -> None:
        check_symbols(symbols_in(self.symbols.value), self._ticked, self.chosen_market)

    def _offer(self, _change: Any) -> None:
        """Offer the known symbols, each after those that are typed already."""
        before, comma, _ = self.symbols.value.rpartition(",")
        typed = f"{before}{comma} " if comma else ""
        options = tuple(typed + symbol for symbol in self._known)
        if self.symbols.options != options:
            self.symbols.options = options

    def _market_changed(self, change: Any) -> None:
        """Offer the datasets of the market; change the symbol unless the user has named another."""
        self._ticks_box.children = [*self.ticks.values()]
        self._offer(None)
        self.symbols.placeholder = _placeholder(self.chosen_market)
        if self.symbols.value == market_named(change["old"]).example:
            self.symbols.value = self.chosen_market.example

    def _source_changed(self, change: Any) -> None:
        """Show the address where it is needed; change the folder unless the user has named one."""
        self.address_box.layout.display = "" if change["new"] == ADDRESS else "none"
        if self.folder.value == self._sources.folder(change["old"]):
            self.folder.value = self._sources.folder(change["new"])


def _fault_of(check: Callable[..., object], *arguments: object) -> str | None:
    """What *check* finds wrong with its arguments; None if it finds nothing."""
    try:
        check(*arguments)
    except AresError as error:
        return str(error)
    return None


def _placeholder(market: Market) -> str:
    return f"such as {market.example}"


def _check_folder(settings: Settings) -> None:
    """Raise if the cache folder cannot be a folder, or holds the data of another market."""
    folder = settings.cache_dir.absolute()
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        raise cannot_access(nearest, NotADirectoryError())
    Store(settings).refuse_another()


def _name_of(source: str) -> str:
    names = {"binance": BINANCE, "demo": DEMO}
    if source not in names:
        msg = f'source={source!r} is none of "binance", "demo"; pass settings for another address'
        raise BadArgument(msg)
    return names[source]


def _field(control: Any, label: str, width_em: int) -> Any:
    """A control under its label."""
    control.description = label
    control.add_class("ares-field")
    control.layout.width = f"{width_em}em"
    return control


def _with_problem(control: Any, problem: widgets.HTML) -> widgets.VBox:
    return widgets.VBox([control, problem])


def _row(controls: Sequence[Any]) -> widgets.HBox:
    box = widgets.HBox(controls)
    box.add_class("ares-row")
    return box


def problem_html(words: str) -> str:
    """Words as an alert, which a screen reader reads at once."""
    return f'<div role="alert" class="ares-problem">{line(words)}</div>'
