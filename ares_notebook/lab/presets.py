"""Forms that are filled in by one click."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import ipywidgets as widgets

from ares_notebook.binance.http import Transport
from ares_notebook.binance.ranking import symbols_by_volume
from ares_notebook.binance.rest import Rest
from ares_notebook.errors import AresError
from ares_notebook.formatting import many
from ares_notebook.lab.form import Form, problem_html
from ares_notebook.lab.memory import FormState
from ares_notebook.model.datasets import DEFAULT_DATASETS
from ares_notebook.model.markets import SPOT
from ares_notebook.runtime.job import Job, start

PAIR_PRESET = "BTC and ETH, 1h, 5 years"
TOP_PRESET = "Top 50 by volume"
LAST_PRESET = "My last choice"

_MOST = 50
_QUOTE = "USDT"


class Presets:
    """Buttons that fill in the form; the newest click counts, whenever the exchange answers."""

    def __init__(self, form: Form, last: Callable[[], FormState | None]) -> None:
        self._form, self._last = form, last
        self.job: Job[None] | None = None
        self._number = 0
        self.said = widgets.HTML()
        actions: dict[str, Callable[[], None]] = {
            PAIR_PRESET: self._fill_pair,
            TOP_PRESET: self._fill_top,
            LAST_PRESET: self._fill_last,
        }
        self.buttons = {name: self._button(name, action) for name, action in actions.items()}
        row = widgets.HBox([*self.buttons.values()])
        row.add_class("ares-row")
        row.add_class("ares-presets")
        self.box = widgets.VBox([row, self.said])
        self.follow()

    def follow(self) -> None:
        """Offer the last choice where there is one."""
        self.buttons[LAST_PRESET].disabled = self._last() is None

    def close(self) -> None:
        """Ask for nothing any more."""
        self._number += 1
        if self.job is not None:
            self.job.cancel()

    def _button(self, name: str, action: Callable[[], None]) -> widgets.Button:
        def clicked(_button: object) -> None:
            self.close()
            self.said.value = ""
            try:
                action()
            except Exception as error:  # noqa: BLE001 - a border: an error in a callback is shown nowhere else
                self.said.value = problem_html(str(error))

        button = widgets.Button(description=name)
        button.on_click(clicked)
        return button

    def _fill_pair(self) -> None:
        self._fill("BTCUSDT, ETHUSDT", "5 years")

    def _fill_last(self) -> None:
        last = self._last()
        if last is not None:
            self._form.restore(last)

    def _fill_top(self) -> None:
        self.said.value = _status(f"Asking the exchange for the volumes of {_QUOTE} pairs …")
        self.job = start(self._ask(self._number))

    async def _ask(self, number: int) -> None:
        try:
            settings = self._form.settings.replace(progress=False)
            async with Transport(settings) as transport:
                found = await symbols_by_volume(Rest(transport), _QUOTE)
        except AresError as error:
            if number == self._number:
                self.said.value = problem_html(f"The volumes could not be had: {error}")
            return
        names = found[:_MOST]
        # An answer to an earlier click is late.
        if number == self._number:
            await asyncio.to_thread(self._fill, ", ".join(names), self._form.lookback.value)
            self.said.value = _status(f"{many(len(names), 'symbol')}, the most traded first.")

    def _fill(self, symbols: str, lookback: str) -> None:
        """Candles of an hour and funding, of spot."""
        form = self._form
        form.market.value = SPOT.name
        form.symbols.value, form.interval.value = symbols, "1h"
        form.lookback.value = lookback
        form.tick([name for name in DEFAULT_DATASETS if name in form.ticks])


def _status(words: str) -> str:
    return f'<div class="ares-hint">{words}</div>'
