"""What the panel shows without being asked: the cost of a choice, what is there, and the code."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as widgets

from ares_notebook.errors import AresError, BadArgument
from ares_notebook.exchange.rest import Rest
from ares_notebook.exchange.transport import Transport
from ares_notebook.job import Job, start
from ares_notebook.lab.choice import Choice
from ares_notebook.lab.estimate import estimate_html
from ares_notebook.lab.face import hint_html, problem_html
from ares_notebook.lab.form import Form
from ares_notebook.lab.standing import holes_html, picture_html, standing_of
from ares_notebook.market.datasets import AGG_TRADES
from ares_notebook.settings import Settings
from ares_notebook.work.plan import Plan

__all__ = ["Look"]

# Who types is not answered at every letter.
_PAUSE_SECONDS = 0.25
# A list that makes typing easier is not worth the patience of a download.
_HURRY = {"max_retries": 0, "request_timeout_seconds": 10.0, "progress": False}


class Look:
    """
    Keeps four views in step with the form: cost, coverage, holes, and the code.

    A change makes what is under way stop, so that an old choice never overwrites the
    answer to a newer one.

    Parameters
    ----------
    form : Form

    Attributes
    ----------
    hint, estimate, picture, holes, code : ipywidgets.Widget
        What is shown.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._looking: Job[None] | None = None
        self._listing: Job[None] | None = None
        self._listed = ""
        self.hint = widgets.HTML()
        self.estimate = widgets.HTML()
        self.estimate.add_class("ares-estimate")
        self.picture, self.holes = widgets.HTML(), widgets.HTML()
        self.code = widgets.Textarea(description="Code that does the same")
        self.code.add_class("ares-code")

    def begin(self) -> None:
        """Show everything at once, then follow the form."""
        choice = self._choice()
        if choice is not None:
            try:
                self._show_cost(choice.plans())
                self._show(*_drawn(choice))
            except AresError as error:
                self.estimate.value = problem_html(error)
            self._list_symbols(choice.settings)
        self._form.on_change(self.renew)

    def renew(self) -> None:
        """Look again, in the background; whatever was being looked at is left."""
        if self._looking is not None:
            self._looking.cancel()
        try:
            choice = self._choice()
        except Exception as error:  # noqa: BLE001 - a border: a callback's error is seen nowhere else
            self.estimate.value = problem_html(error)
            return
        if choice is not None:
            self._looking = start(self._look(choice))
            self._looking.then(self._looked)

    def close(self) -> None:
        """Stop looking."""
        for job in filter(None, (self._looking, self._listing)):
            job.cancel()

    async def show(self, choice: Choice) -> list[Plan]:
        """Say what is left to do and draw what is there, read in a thread; the plans."""
        plans = await asyncio.to_thread(choice.plans)
        self._show_cost(plans)
        self._show(*await asyncio.to_thread(_drawn, choice))
        return list(plans)

    def _show(self, picture: str, holes: str) -> None:
        self.picture.value, self.holes.value = picture, holes

    def _choice(self) -> Choice | None:
        """What the form says, with its code; None, and words in its place, where it cannot be meant."""
        try:
            choice = self._form.choice()
            code = choice.code()
        except BadArgument as error:
            self.estimate.value = problem_html(error)
            self.code.value = ""
            return None
        self.code.value = code
        self.code.rows = code.count("\n") + 1
        return choice

    async def _look(self, choice: Choice) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        self._list_symbols(choice.settings)
        plans = await self.show(choice)
        if AGG_TRADES.name in choice.datasets:
            # Only of trades the estimate may be far off: coins differ by a thousand times.
            self._show_cost([await _hurried(plan).measure() for plan in plans])

    def _looked(self, job: Job[None]) -> None:
        """An error is shown, unless somebody looks at something newer by now."""
        if job.error is not None and job is self._looking:
            self.estimate.value = problem_html(job.error)

    def _show_cost(self, plans: Sequence[Plan]) -> None:
        unknown = self._form.unknown([plan.symbol for plan in plans])
        notes = [f"{each} is not among the symbols that trade there today." for each in unknown]
        self.estimate.value = estimate_html(plans, notes)

    def _list_symbols(self, settings: Settings) -> None:
        """Let the exchange say what it trades, once a source."""
        if settings.spot_url == self._listed:
            return
        self._listed = settings.spot_url
        if self._listing is not None:
            self._listing.cancel()
        self._form.offer(())
        self._listing = start(self._list(settings))

    async def _list(self, settings: Settings) -> None:
        self.hint.value = ""
        try:
            async with Transport(settings.model_copy(update=_HURRY)) as transport:
                self._form.offer(await Rest(transport).symbols())
        except AresError as error:
            # Asked again at the next change: the exchange may be there by then.
            self._listed = ""
            words = f"The list of symbols could not be had, so type yours: {error}"
            self.hint.value = hint_html(words)


def _hurried(plan: Plan) -> Plan:
    return replace(plan, settings=plan.settings.model_copy(update=_HURRY))


def _drawn(choice: Choice) -> tuple[str, str]:
    standing = standing_of(choice)
    return picture_html(standing), holes_html(standing)
