"""What must be known before the first file is requested: the clock, the symbol, its contracts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from ares_notebook.binance.listing import symbols_of
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.locks import locked
from ares_notebook.cache.spans import calls_of
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.fetch import Exchange
from ares_notebook.download.file_update import FileUpdate
from ares_notebook.download.plan import Plan
from ares_notebook.errors import (
    AresError,
    BadArgument,
    CacheError,
    DataError,
    TransportError,
    UnknownSymbol,
)
from ares_notebook.model.datasets import FUTURES
from ares_notebook.model.files import Series
from ares_notebook.model.markets import CM, SPOT, UM, Market
from ares_notebook.model.symbols import (
    contract_hint,
    contract_of,
    hint,
    is_delivery,
    suggested,
    whose_datasets,
)
from ares_notebook.model.time import to_ms, utc

_LOGGER = logging.getLogger("DataDownloader")
# An end this near to now may be later than the exchange's own now.
_CLOCK_DOUBT = timedelta(days=1)
# So much clocks differ by themselves, and time passes while a plan is made.
_CLOCK_TOLERANCE = timedelta(seconds=10)


class Note(Protocol):
    """Keeps a note for the report."""

    def __call__(self, text: str, cause: AresError | None = None) -> None:
        """Keep *text*, and the error that explains it."""


async def preflight(plan: Plan, exchange: Exchange, store: Store, note: Note) -> Plan:
    """Ask for clock, symbol and perpetual, where the plan depends on them."""
    plan = _without_funding_of_delivery(plan, note)
    if plan.settings.source != "archive":
        plan = await _with_clock(plan, exchange.rest, note)
    plan = await _without_lacking_spot(plan, exchange, note)
    for market in (UM, CM):
        plan = await _without_lacking_contract(plan, market, exchange, store, note)
    return by_their_clock(plan, exchange.rest, note)


def by_their_clock(plan: Plan, rest: Rest, note: Note) -> Plan:
    """
    Take nothing for closed that is later than the answers so far say: our own clock may be fast.
    """
    now = utc(rest.now_ms)
    if now >= plan.end:
        return plan
    if plan.end - now <= _CLOCK_TOLERANCE:
        return plan.ending(now)
    note(
        f"by the exchange's clock it is {now:%Y-%m-%d %H:%M} UTC, so nothing after that is taken "
        f"for closed, although it was asked for up to {plan.end:%Y-%m-%d %H:%M}; is the clock of "
        f"this machine right?"
    )
    return replace(plan.ending(now), is_cut_short=True)


async def _with_clock(plan: Plan, rest: Rest, note: Note) -> Plan:
    """Ask the exchange for its time, where the end is near to our own."""
    ours = datetime.now(UTC)
    if ours - plan.end > _CLOCK_DOUBT:
        return plan
    try:
        await rest.server_time_ms()
    except (TransportError, DataError) as error:
        # By a clock of ours that is fast a candle still open would be stored as closed.
        now = ours - _CLOCK_DOUBT
        note(
            f"the exchange's clock could not be asked, so nothing after {now:%Y-%m-%d %H:%M} UTC "
            f"is taken for closed; run again for the rest",
            error,
        )
        is_cut_short = any(step.until_ms > to_ms(now) for step in plan.to_do)
        return replace(plan.ending(now), is_cut_short=is_cut_short) if now < plan.end else plan
    return by_their_clock(plan, rest, note)


def _without_funding_of_delivery(plan: Plan, note: Note) -> Plan:
    """
    Of a delivery contract there are no funding steps, and that is no failure beside others.

    Raises if there are no others.
    """
    if not is_delivery(plan.symbol):
        return plan
    steps = tuple(step for step in plan.steps if step.file.dataset.key != "event_time")
    if len(steps) == len(plan.steps):
        return plan
    lacking = {step.file.dataset: None for step in plan.steps if step not in steps}
    labels = " and ".join(each.label for each in lacking)
    words = f"{plan.symbol}: a delivery contract pays no funding, so it has no {labels}"
    if not steps:
        msg = f"{words}; {contract_hint(plan.symbol, lacking, calls_of(plan.settings))}"
        raise BadArgument(msg)
    note(words)
    return replace(plan, steps=steps)


async def _without_lacking_spot(plan: Plan, exchange: Exchange, note: Note) -> Plan:
    """Of a perpetual that has no spot symbol there are no spot steps, and that is no failure."""
    spot = [step for step in plan.to_do if step.file.series.market is SPOT]
    if not spot:
        return plan
    try:
        await _check_symbol(plan, _asked_of(spot), exchange, note)
    except UnknownSymbol as error:
        kept = tuple(step for step in plan.steps if step.file.series.market is not SPOT)
        if contract_of(plan.symbol) is not None:
            # Whether it exists is asked together with the steps of its own market.
            if not kept:
                raise
        elif not await _has_contract(plan, _contracts_of(plan), exchange, note):
            # A perpetual that cannot be asked for does not make a wrong name right.
            raise
        elif not kept:
            msg = (
                f"{plan.symbol} is a perpetual, and there is no spot symbol of this name, so it has "
                f"no spot candles and no spot trades; it is one {whose_datasets(plan.symbol, UM, calls=calls_of(plan.settings))}"
            )
            raise UnknownSymbol(msg) from error
        note(
            f"{plan.symbol}: there is no spot symbol of this name, so it has no spot candles and no "
            f"spot trades"
        )
        return replace(plan, steps=kept)
    return plan


def _asked_of(steps: Iterable[Step]) -> list[Series]:
    """The series of these steps, each once, and the candles of their symbol: any of them shows that it exists."""
    asked = list(dict.fromkeys(step.file.series for step in steps))
    return list(dict.fromkeys([*asked, *(series.candles for series in asked)]))


def _contracts_of(plan: Plan) -> list[Series]:
    """What is asked of a perpetual with the name of a spot symbol, and its funding rates."""
    asked = (each.file.series for each in plan.steps if each.file.series.market is UM)
    return list(dict.fromkeys([*asked, Series.of(FUTURES, plan.symbol)]))


async def _check_symbol(plan: Plan, asked: list[Series], exchange: Exchange, note: Note) -> None:
    """
    Make sure that the symbol exists, once, instead of failing at every file.

    A delisted one is unknown to the API and still in the archive. Where the API has told
    its limits the archive is asked first, which costs no weight: of 500 symbols each.
    """
    source, market = plan.settings.source, asked[0].market
    if (
        source == "auto"
        and exchange.rest.is_informed(market)
        and await exchange.archive.holds(*asked)
    ):
        return
    try:
        known = source != "archive" and await exchange.rest.knows(market, plan.symbol)
    except (TransportError, DataError) as error:
        note(f"the exchange could not be asked whether it knows {plan.symbol}", error)
        return
    if known or (source != "rest" and await exchange.archive.holds(*asked) is not False):
        return
    proof = {
        "auto": f"{plan.symbol} is not known to the exchange, and its archive has nothing of it",
        "archive": f"the exchange's archive has nothing of {plan.symbol}",
        "rest": f"{plan.symbol} is not known to the exchange",
    }
    example = plan.steps[0].file.series.market.example
    advice = await _hint(plan, exchange) or f"check the spelling, such as {example}"
    msg = f"{proof[source]}; {advice}"
    raise UnknownSymbol(msg)


# Whose lists tell what may be meant, after those of the markets that are asked for.
_USUAL: dict[Market, None] = {SPOT: None, UM: None}


async def _hint(plan: Plan, exchange: Exchange) -> str:
    """What may be meant by a symbol that nobody knows, from the lists of those that there are."""
    source, rest = plan.settings.source, exchange.rest
    datasets = {step.file.dataset: None for step in plan.steps}
    own = {step.file.series.market: None for step in plan.steps}
    lists = [] if source == "archive" else [partial(rest.symbols, each) for each in own | _USUAL]
    # What trades today comes before what was delisted.
    if source != "rest":
        lists += [partial(symbols_of, rest.transport, each) for each in own | {SPOT: None}]
    known: set[str] = set()
    for symbols in lists:
        try:
            known.update(await symbols())
        except (TransportError, DataError) as error:
            _LOGGER.info("no list of symbols, so none is suggested from it: %s", error)
        if suggested(plan.symbol, known):
            break
    else:
        known.update(await asyncio.to_thread(Store(plan.settings).symbols))
    return hint(plan.symbol, known, datasets, calls_of(plan.settings))


async def _without_lacking_contract(
    plan: Plan, market: Market, exchange: Exchange, store: Store, note: Note
) -> Plan:
    """Without a contract of this name the market has no steps, and that is no failure."""
    own = [step for step in plan.steps if step.file.series.market is market]
    steps = [step for step in own if step.action != "skip"]
    asked = _asked_of(steps)
    if any(step.entry.facts.rows and step.entry.has_provenance for step in own):
        # Rows that came from the exchange show that there is one.
        return plan
    if not steps or await _has_contract(plan, asked, exchange, note) is not False:
        return plan
    kept = tuple(step for step in plan.steps if step.file.series.market is not market)
    if not kept:
        # No other step has checked whether the symbol exists at all.
        await _check_symbol(plan, [Series.of("klines", plan.symbol, "1d")], exchange, note)
    labels = " and ".join(dict.fromkeys(step.file.dataset.label for step in steps))
    # The archive alone cannot know of a perpetual that is listed since this month; without it
    # nobody knows of one that was settled, and rows that are there contradict.
    has_rows = any(store.stamps_of(series.stem) for series in asked)
    is_proven = plan.settings.source == "auto" and not has_rows
    silent = "archive" if plan.settings.source == "archive" else "late history"
    if is_proven:
        note(f"{plan.symbol}: there is no perpetual of this name, so it has no {labels}")
    else:
        note(
            f"{plan.symbol}: there are no {labels} of it; that there never was a perpetual of this "
            f'name only API and archive together can prove (source="auto")'
        )
    try:
        for step in steps:
            async with locked(store, step.file):
                with FileUpdate(step, store, lambda: exchange.rest.now_ms) as file_update:
                    file_update.record(step.gaps, "no perpetual" if is_proven else silent)
                    await file_update.commit()
    except CacheError as error:
        note("that could not be noted, and is asked again next time", error)
    if not is_proven:
        # They stay in the report, as what is not complete.
        return replace(plan, steps=tuple(_again(step, market, plan, store) for step in plan.steps))
    return replace(plan, steps=kept)


def _again(step: Step, market: Market, plan: Plan, store: Store) -> Step:
    """A step of a market, decided anew after an answer was recorded."""
    if step.file.series.market is not market or step.action == "skip":
        return step
    return decide(store.entry(step.file), step.until_ms, plan.settings.source)


async def _has_contract(
    plan: Plan, asked: list[Series], exchange: Exchange, note: Note
) -> bool | None:
    """
    Whether there is anything of a contract to ask for; None where that cannot be known.

    A list that lacks the name may be that of a maintenance, and a settled contract is not in
    it: its rows, of each dataset that is asked for, are looked for before it is believed.
    """
    source, rest = plan.settings.source, exchange.rest
    if source != "rest" and await exchange.archive.holds(*asked) is not False:
        return True
    if source == "archive":
        return False
    try:
        if await rest.knows(asked[0].market, plan.symbol):
            return True
        for series in asked:
            if series.dataset.has_rest and await _has_row(rest, series):
                return True
    except (TransportError, DataError) as error:
        note(f"the exchange could not be asked for a perpetual {plan.symbol}", error)
        return None
    return False


async def _has_row(rest: Rest, series: Series) -> bool:
    """Whether the API has a row of *series*; of a symbol that it refuses it has none."""
    try:
        return await rest.first_row(series) is not None
    except UnknownSymbol:
        return False
