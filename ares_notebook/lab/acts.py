"""What was done with the panel: kept in the cache folder, and shown as code that does it again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import ipywidgets as widgets
from msgspec.structs import replace

from ares_notebook.download.plan import Plan
from ares_notebook.errors import AresError
from ares_notebook.formatting import text
from ares_notebook.lab.choice import Choice, call_text, has_interval, literal
from ares_notebook.lab.form import Form
from ares_notebook.lab.memory import (
    Act,
    ActWindow,
    FormState,
    read_memory,
    remembered,
    write_memory,
)
from ares_notebook.lab.views import code_html

MAP_ACTS: dict[str, Literal["repair", "load", "validate"]] = {
    "Repair this": "repair",
    "Load this": "load",
    "Validate this": "validate",
}
"""What is noted of what is done with a part of the map, by the button."""

_NOTHING = "# Nothing was done yet; each download, repair and validation adds its line here."
# How the code of the demo exchange begins.
_EXCHANGE = "exchange = "


class Acts:
    """
    What was done with a panel, newest last.

    The memory of the cache folder is read once, when the panel is made, and written after each
    act, and where a cache is also after each change of the form.
    """

    def __init__(self, form: Form) -> None:
        self._form, self._given = form, form.state()
        self._done: list[tuple[Act, Choice]] = []
        self.remark, self.html = widgets.HTML(), widgets.HTML()
        self.html.add_class("ares-code")
        self._recall(Path(form.folder.value))
        self._show()

    @property
    def last(self) -> FormState | None:
        """The form of the last download; None without one."""
        forms = (act.form for act, _ in reversed(self._done) if act.verb == "download")
        return next(forms, None)

    @property
    def code(self) -> str:
        """Python for a new kernel that does all of it again."""
        return "\n".join(_lines(self._done)) if self._done else _NOTHING

    def add(self, act: Act, choice: Choice) -> None:
        """Note what was done with *choice*."""
        self._done.append((act, choice))
        self._show()

    async def keep(self, choice: Choice) -> None:
        """Write form and acts into the folder of *choice*, where a cache is."""
        folder = choice.settings.cache_dir
        acts = tuple(_kept(act) for act, its in self._done if its.settings.cache_dir == folder)
        memory = remembered(_without_password(self._given), _without_password(self._state), acts)
        self._say(await asyncio.to_thread(write_memory, folder, memory))

    @property
    def _state(self) -> FormState:
        return self._form.state()

    def _recall(self, folder: Path) -> None:
        """Take form and acts from the memory of a folder; what cannot be meant is left out."""
        memory, remark = read_memory(folder)
        self._say(remark)
        if memory is None:
            return
        try:
            if memory.given == _without_password(self._given):
                self._form.restore(memory.form)
        except AresError as error:
            self._say(f"The form that was kept in {folder} is not used: {error}")
        for act in memory.acts:
            try:
                self._done.append((act, self._form.choice_of(act.form, str(folder))))
            except AresError as error:
                self._say(f"A line of the history in {folder} is left out: {error}")

    def _show(self) -> None:
        self.html.value = code_html(self.code)

    def _say(self, words: str) -> None:
        self.remark.value = f'<div class="ares-hint">{text(words)}</div>' if words else ""


def with_symbols(state: FormState, plans: Sequence[Plan]) -> FormState:
    """The state with the symbols of *plans* alone."""
    return replace(state, symbols=", ".join(plan.symbol for plan in plans))


def _kept(act: Act) -> Act:
    return replace(act, form=_without_password(act.form))


def _without_password(state: FormState) -> FormState:
    return replace(state, address="") if "@" in state.address else state


# --- as code ---


def _lines(done: Iterable[tuple[Act, Choice]]) -> Iterator[str]:
    """The imports once, the settings where they change, and a call for each act."""
    every = [*done]
    yield from dict.fromkeys(name for _, choice in every for name in choice.imports)
    yield ""
    shown: tuple[str, ...] = ()
    has_exchange = False
    for act, choice in every:
        if choice.settings_code != shown:
            shown = choice.settings_code
            for each in shown:
                # One demo exchange serves all of it.
                if not (has_exchange and each.startswith(_EXCHANGE)):
                    yield each
                has_exchange |= each.startswith(_EXCHANGE)
        yield _call_of(act, choice)


def _call_of(act: Act, choice: Choice) -> str:
    if act.window is not None:
        return _call_on(act.verb, act.window, choice)
    if act.verb == "download":
        return choice.download_call()
    interval = choice.interval if has_interval(choice.datasets) else None
    start, end = choice.window if choice.end is not None else (choice.window[0], None)
    return _each(
        act.verb, choice.symbols, _arguments(interval, start, end, choice.datasets, choice)
    )


def _call_on(verb: str, window: ActWindow, choice: Choice) -> str:
    """The call that does something with a part of one series."""
    if verb == "load":
        place = [window.dataset, window.symbol, window.interval, window.start, window.end]
        arguments = [*map(_moment_or_literal, place), *choice.settings_argument]
        return call_text("frame = ares.load_rows", arguments)
    arguments = _arguments(window.interval, window.start, window.end, (window.dataset,), choice)
    return _each(verb, (window.symbol,), arguments)


def _each(verb: str, symbols: Sequence[str], arguments: Sequence[str]) -> str:
    """A call for one symbol, or a loop over several."""
    function = (
        "report = await ares.repair_gaps" if verb == "repair" else "quality = ares.validate_cache"
    )
    if len(symbols) == 1:
        return call_text(function, [literal(symbols[0]), *arguments])
    inner = call_text(function, ["symbol", *arguments]).replace("\n", "\n    ")
    return f"for symbol in {literal(tuple(symbols))}:\n    {inner}"


def _arguments(
    interval: str | None,
    start: datetime,
    end: datetime | None,
    datasets: Sequence[str],
    choice: Choice,
) -> list[str]:
    return [
        *([literal(interval)] if interval else []),
        f"start={_moment_or_literal(start)}",
        *([f"end={_moment_or_literal(end)}"] if end else []),
        *choice.settings_argument,
        f"datasets={literal(tuple(datasets))}",
    ]


def _moment_or_literal(value: object) -> str:
    """A value as Python; a time as text, UTC, as a date where it is midnight."""
    if not isinstance(value, datetime):
        return literal(value)
    is_midnight = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
    return literal(f"{value:%Y-%m-%d}" if is_midnight else value.isoformat())
