"""The form of the panel: controls that know nothing of downloads, and read as a `Choice`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import ipywidgets as widgets

from ares_notebook.errors import BadArgument
from ares_notebook.lab.choice import UNITS, Choice, lookback_of, symbols_in
from ares_notebook.lab.source import ADDRESS, BINANCE, DEMO, MarketSources
from ares_notebook.model.datasets import DATASETS, dataset_named
from ares_notebook.model.intervals import INTERVALS
from ares_notebook.model.time import as_utc
from ares_notebook.settings import CACHE_DIR, Settings

__all__ = ["Form"]


_MOST_COUNT = 9_999


class Form:
    """The controls of a choice."""

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
        self._known: tuple[str, ...] = ()
        self._make_what(given)
        self._make_ticks(datasets)
        self.end.value = None if end is None else as_utc(end).date()
        self._make_where(given)
        ticks = widgets.HBox([*self.ticks.values()])
        ticks.add_class("ares-ticks")
        self.box = widgets.VBox(
            [
                _row([self.symbols, self.interval, self.count, self.unit, self.end]),
                _row([self.source, self.address, self.folder, ticks]),
            ]
        )
        self.source.observe(self._source_changed, "value")
        if source is not None:
            self.source.value = _name_of(source)
            if given.cache_dir != Path(CACHE_DIR):
                # Whoever names source and folder together means them together.
                self.folder.value = str(given.cache_dir)
        self.symbols.observe(self._offer, "value")

    def _make_what(self, given: Settings) -> None:
        count, unit = lookback_of(given.lookback_years)
        self.symbols = _field(
            widgets.Combobox(value=given.symbol, placeholder="BTCUSDT, ETHUSDT"), "Symbols", 17
        )
        self.interval = _field(
            widgets.Dropdown(options=tuple(INTERVALS), value=given.interval), "Interval", 6
        )
        self.count = _field(
            widgets.BoundedIntText(value=count, min=1, max=_MOST_COUNT), "Lookback", 6
        )
        self.unit = _field(widgets.Dropdown(options=UNITS, value=unit), "Unit", 7)
        self.end = _field(widgets.DatePicker(), "End, exclusive (UTC; empty: now)", 17)

    def _make_ticks(self, datasets: Sequence[str]) -> None:
        ticked = {dataset_named(name).name for name in datasets}
        self.ticks = {
            dataset.name: widgets.Checkbox(
                value=dataset.name in ticked, description=dataset.title, indent=False
            )
            for dataset in DATASETS
        }
        for tick in self.ticks.values():
            tick.layout.width = "auto"

    def _make_where(self, given: Settings) -> None:
        names = self._sources.names
        self.source = _field(widgets.Dropdown(options=names, value=names[0]), "Source", 17)
        # Taken when it is whole: half an address is another host's.
        address = widgets.Text(placeholder="http://127.0.0.1:8900", continuous_update=False)
        self.address = _field(address, "Address", 17)
        self.address.layout.display = "none"
        self.folder = _field(widgets.Text(value=str(given.cache_dir)), "Cache folder", 17)

    def choice(self) -> Choice:
        """What the form says."""
        settings = self._sources.settings(self.source.value, self.address.value, self.folder.value)
        return Choice(
            symbols_in(self.symbols.value),
            self.interval.value,
            self.count.value,
            self.unit.value,
            self.end.value,
            tuple(dataset.name for dataset in DATASETS if self.ticks[dataset.name].value),
            settings,
            self._sources.code(self.source.value, settings),
            on_cluster=self._on_cluster,
        )

    def on_change(self, call: Callable[[], None]) -> None:
        """Let *call* be called whenever the choice may have changed."""
        whole = (self.symbols, self.interval, self.count, self.unit, self.end, self.source)
        for control in (*whole, *self.ticks.values(), self.address, self.folder):
            control.observe(lambda _change: call(), "value")

    def offer(self, known: Iterable[str]) -> None:
        """Let the symbol's type-ahead offer these."""
        self._known = tuple(known)
        self._offer(None)

    def unknown(self, symbols: Sequence[str]) -> list[str]:
        """Those of *symbols* that the exchange's list, where it is there, does not have."""
        return [each for each in symbols if self._known and each not in self._known]

    def close(self) -> None:
        """Stop what the form has started."""
        self._sources.close()

    def _offer(self, _change: Any) -> None:
        """The symbols, each after those that are written already: a list is typed one by one."""
        before, comma, _ = self.symbols.value.rpartition(",")
        written = f"{before}{comma} " if comma else ""
        options = tuple(written + symbol for symbol in self._known)
        if self.symbols.options != options:
            self.symbols.options = options

    def _source_changed(self, change: Any) -> None:
        """Each source has a folder of its own, unless somebody has named one."""
        self.address.layout.display = "" if change["new"] == ADDRESS else "none"
        if self.folder.value == self._sources.folder(change["old"]):
            self.folder.value = self._sources.folder(change["new"])


def _name_of(source: str) -> str:
    names = {"binance": BINANCE, "demo": DEMO}
    if source not in names:
        msg = f'source={source!r} is none of "binance", "demo"; pass settings for another address'
        raise BadArgument(msg)
    return names[source]


def _field(control: Any, label: str, width: int) -> Any:
    """A control under its label."""
    control.description = label
    control.add_class("ares-field")
    control.layout.width = f"{width}em"
    return control


def _row(controls: Sequence[Any]) -> widgets.HBox:
    box = widgets.HBox(controls)
    box.add_class("ares-row")
    return box
