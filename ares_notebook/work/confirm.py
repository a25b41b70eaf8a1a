"""Find out why rows are not there, by the cheapest answers that prove it; see ``docs/evidence.md``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ares_notebook.errors import BadAnswer, TransportError
from ares_notebook.exchange.archive import Archive
from ares_notebook.exchange.rest import FirstRow, Rest
from ares_notebook.market.datasets import AGG_TRADES
from ares_notebook.market.facts import Hole
from ares_notebook.market.series import Series
from ares_notebook.work.draft import Draft

__all__ = ["confirm", "confirm_unasked"]

# The first payment of a contract is due within two days of its listing: BTCUSDT was listed
# on 2019-09-08 at 17:57, and first paid on 2019-09-10 at 08:00.
_LATEST_FIRST_FUNDING_MS = 48 * 3_600_000


@dataclass(frozen=True, slots=True)
class _Witnesses:
    """Who can be asked why rows of a file are not there."""

    draft: Draft
    archive: Archive | None
    rest: Rest

    @property
    def series(self) -> Series:
        return self.draft.file.series


async def confirm(draft: Draft, archive: Archive | None, rest: Rest, holes: Iterable[Hole]) -> None:
    """
    Record what is known of *holes* in which the API has just shown no row.

    Parameters
    ----------
    draft : Draft
    archive : Archive or None
        None where it may not be asked.
    rest : Rest
    holes : iterable of Hole

    Raises
    ------
    TransportError, DataError
        If an answer does not come.
    BadAnswer
        If the API lists a symbol and has no row of it at all: that is not believed.
    """
    ask = _Witnesses(draft, archive, rest)
    for hole in holes:
        if hole.rows is None and rest.runs_on(draft.file.series, hole):
            draft.record([hole], "neighbours")
        elif await rest.begins_before(draft.file.series, hole.start_ms):
            is_over = _is_tail(draft, hole) and await _has_ended(ask, hole.start_ms)
            draft.record([hole], "last row" if is_over else "rest")
        else:
            await _confirm_early(ask, hole)


async def confirm_unasked(draft: Draft, archive: Archive | None, rest: Rest) -> list[Hole]:
    """
    The same for a file without rows that lies wholly before the first or after the last row.

    Asks for nothing that a file of the series has not asked for already: years before a
    listing cost no request a month.

    Returns
    -------
    list of Hole
        Those for which there is nothing to ask the API for, proven or not.
    """
    answered: list[Hole] = []
    if draft.facts.rows or not rest.knows_first(draft.file.series):
        return answered
    ask = _Witnesses(draft, archive, rest)
    first = await rest.first_row(ask.series)
    for hole in draft.unexplained():
        if first is not None and hole.end_ms <= first.stamp_ms:
            await _confirm_early(ask, hole)
            answered.append(hole)
        elif rest.knows_last(ask.series) and await _has_ended(ask, hole.start_ms):
            draft.record([hole], "last row")
            answered.append(hole)
    return answered


def _is_tail(draft: Draft, hole: Hole) -> bool:
    """Whether no row of the file is behind the hole."""
    return hole.before_id is None and hole.end_ms > (draft.facts.last_ms or 0)


async def _has_ended(ask: _Witnesses, moment_ms: int) -> bool:
    """Whether the last row is before a moment, and the symbol does not trade any more."""
    if not await ask.rest.ends_before(ask.series, moment_ms):
        return False
    try:
        listing = await ask.rest.listing_of(ask.series)
    except (TransportError, BadAnswer):
        return False
    return listing is None or not listing.is_trading


async def _confirm_early(ask: _Witnesses, hole: Hole) -> None:
    """A hole that lies before the first row of the API, or reaches up to it."""
    first = await ask.rest.first_row(ask.series)
    if first is None:
        msg = (
            f"{ask.rest.url_of(ask.series)} lists {ask.series.symbol}, and has no "
            f"{ask.series.dataset.label} of it at all, whatever is asked for; that is not "
            f"believed, and nothing is stored: run again later, or check whether it has begun "
            f"to trade"
        )
        raise BadAnswer(msg)
    # The first trade lies in the last millisecond of the hole before it.
    end_ms = hole.end_ms - (hole.before_id is not None)
    if end_ms <= first.stamp_ms:
        word = await _why_early(ask, hole.start_ms, end_ms, first)
    else:
        # It has shown none of a hole in which its own first row lies: that proves nothing.
        word = "late history"
    ask.draft.record([hole], word)


async def _why_early(ask: _Witnesses, start_ms: int, end_ms: int, first: FirstRow) -> str:
    """The word for what proves that nothing lies in a stretch before the API's first row."""
    is_earlier = await _is_earlier_known(ask, start_ms)
    if is_earlier:
        is_proven = await _is_silent(ask, start_ms, end_ms) and await _is_beginning(
            ask, end_ms, first
        )
        return "between listings" if is_proven else "late history"
    if is_earlier is False and await _is_silent(ask, start_ms, end_ms):
        return "first rows"
    return await _is_beginning(ask, end_ms, first) or "late history"


async def _is_beginning(ask: _Witnesses, end_ms: int, first: FirstRow) -> str | None:
    """The word for the proof that the symbol's listing of today begins no earlier, if there is one."""
    series = ask.series
    try:
        if series.dataset.market == "spot":
            trades = Series.of(AGG_TRADES, series.symbol)
            trade = first if series == trades else await ask.rest.first_row(trades)
            is_first = trade is not None and trade.key == 0 and trade.stamp_ms >= end_ms
            return "first trade" if is_first else None
        listing = await ask.rest.listing_of(series)
    except (TransportError, BadAnswer):
        # Who cannot be asked proves nothing; the rows themselves have been asked for.
        return None
    if listing is None or listing.onboard_ms is None:
        return None
    # Between listing and first payment no row is due; a later beginning is that of the API alone.
    return "onboard date" if end_ms <= listing.onboard_ms + _LATEST_FIRST_FUNDING_MS else None


async def _is_earlier_known(ask: _Witnesses, start_ms: int) -> bool | None:
    """Whether rows of the name are known before the file; None where the archive cannot be asked."""
    if ask.draft.has_rows_before(start_ms):
        return True
    if ask.archive is None:
        return None
    try:
        return await ask.archive.first_ms(ask.series) < ask.draft.file.start_ms
    except (TransportError, BadAnswer):
        return None


async def _is_silent(ask: _Witnesses, start_ms: int, end_ms: int) -> bool:
    """Whether the archive has nothing of a stretch: its file was read, or none is listed."""
    if ask.archive is None or start_ms < ask.series.dataset.archive_since_ms:
        return False
    if not any(hole.start_ms < end_ms and start_ms < hole.end_ms for hole in ask.draft.unasked()):
        return True
    try:
        return not await ask.archive.lists_any(ask.series, start_ms, end_ms)
    except (TransportError, BadAnswer):
        return False
