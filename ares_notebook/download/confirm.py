"""Find out why rows are not there, by the cheapest answers that prove it; see ``docs/evidence.md``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from ares_notebook.binance.archive import Archive
from ares_notebook.binance.parse import Listing
from ares_notebook.binance.rest import FirstRow, Rest
from ares_notebook.download.file_update import FileUpdate
from ares_notebook.errors import BadAnswer, TransportError
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import Series
from ares_notebook.model.gaps import counted
from ares_notebook.model.symbols import delivery_ms
from ares_notebook.model.time import DAY_MS, opened_ms

_CONTRADICTED = "contradicted"
_HOUR_MS = 3_600_000
# BTCUSDT was listed on 2019-09-08 at 17:57 and first paid on 2019-09-10 at 08:00
# [website's export; the archive begins with 2020]. Where others' first payment was is not known.
_FIRST_FUNDING_MS = {"BTCUSDT": 1_568_102_400_000}
# So long before the end of a contract its last trade or payment may be, where rows cannot be counted.
_LAST_PAUSE_MS = {"id": 10 * 60_000, "event_time": 8 * _HOUR_MS, "open_time": 0}
# A name is in the archive's listing on the next day, at times within a week.
_LATEST_LISTING_MS = 14 * DAY_MS


@dataclass(frozen=True, slots=True)
class _Witnesses:
    """Who can be asked why rows of a file are not there."""

    file_update: FileUpdate
    archive: Archive | None
    rest: Rest

    @property
    def series(self) -> Series:
        return self.file_update.file.series


async def confirm(
    file_update: FileUpdate, archive: Archive | None, rest: Rest, gaps: Iterable[Gap]
) -> None:
    """Record what is known of *gaps* in which the API has just shown no row."""
    ask = _Witnesses(file_update, archive, rest)
    for gap in gaps:
        if gap.rows is None and rest.runs_on(file_update.file.series, gap):
            file_update.record([gap], "neighbours")
        elif rest.is_elsewhere(file_update.file.series, gap):
            file_update.record([gap], "other day")
        elif await rest.begins_before(file_update.file.series, gap.start_ms):
            await _confirm_silent(ask, gap)
        else:
            await _confirm_early(ask, gap)


async def confirm_unasked(
    file_update: FileUpdate, archive: Archive | None, rest: Rest
) -> list[Gap]:
    """
    The same for a file without rows that lies wholly before the first or after the last row.

    Asks for nothing that a file of the series has not asked for already: years before a listing
    cost no request a month.
    """
    answered: list[Gap] = []
    if file_update.facts.rows or not rest.knows_first(file_update.file.series):
        return answered
    ask = _Witnesses(file_update, archive, rest)
    first = await rest.first_row(ask.series)
    for gap in file_update.unexplained():
        if first is not None and gap.end_ms <= first.stamp_ms:
            await _confirm_early(ask, gap)
            answered.append(gap)
        elif rest.knows_last(ask.series):
            ended_ms = await _ended_ms(ask, gap)
            # What is before the end of the contract is asked for.
            if ended_ms is not None and ended_ms < gap.end_ms:
                file_update.record([replace(gap, start_ms=ended_ms)], "last row")
                answered.append(gap)
    return answered


async def confirm_unlisted(file_update: FileUpdate, archive: Archive | None, rest: Rest) -> bool:
    """
    Record what is known of a symbol that the API refuses; False where it may be a wrong name.

    Of a symbol that is delisted for long the API may know nothing: then the archive, read to its
    end, has the last row. What lies before its first row, or inside, nobody can prove, and nobody
    is left to be asked.
    """
    series = file_update.file.series
    if archive is None or not await archive.holds(series):
        return False
    listing = await rest.listing_of(series)
    if rest.has_served(series) or (listing is not None and not listing.is_over):
        # It is not unknown: the API has just had rows of it, or exchangeInfo says that it trades.
        return False
    for gap in file_update.unexplained():
        ended_ms = _end_in(file_update, gap, listing) if _is_tail(file_update, gap) else gap.end_ms
        for part in _cut_at(gap, ended_ms):
            start_ms = max(part.start_ms, (file_update.facts.last_ms or 0) + 1)
            if start_ms >= rest.now_ms - _LATEST_LISTING_MS:
                continue
            if part.start_ms >= ended_ms and await _is_last(
                file_update, archive, part, rest.now_ms
            ):
                file_update.record([part], "unlisted")
            elif await _is_not_there(file_update, archive, part, rest.now_ms):
                file_update.record([part], "not known")
    return True


async def _is_last(file_update: FileUpdate, archive: Archive, gap: Gap, now_ms: int) -> bool:
    """Whether the archive, read to its end, has rows before a gap and none behind it."""
    file, has_rows = file_update.file, bool(file_update.facts.rows)
    if has_rows and not _is_read(file_update, gap):
        return False
    if not has_rows and await archive.first_ms(file.series) >= file.start_ms:
        return False
    after_ms = file.end_ms if has_rows else gap.start_ms
    return not await archive.lists_any(file.series, after_ms, now_ms)


async def _is_not_there(file_update: FileUpdate, archive: Archive, gap: Gap, now_ms: int) -> bool:
    """Whether the archive lacks rows: its files were read, or there is none, and none is late."""
    if _is_read(file_update, gap):
        return True
    is_old = gap.end_ms < now_ms - _LATEST_LISTING_MS
    series = file_update.file.series
    return is_old and not await archive.has_any(series, gap.start_ms, gap.end_ms)


def _is_read(file_update: FileUpdate, gap: Gap) -> bool:
    """Whether the archive's files of a gap have been read."""
    return not any(
        each.start_ms < gap.end_ms and gap.start_ms < each.end_ms for each in file_update.unasked()
    )


async def _confirm_silent(ask: _Witnesses, gap: Gap) -> None:
    """A gap about which an API whose history begins before it has no row."""
    ended_ms = await _ended_ms(ask, gap) if _is_tail(ask.file_update, gap) else None
    for part in _cut_at(gap, ended_ms):
        is_over = ended_ms is not None and part.start_ms >= ended_ms
        word = "last row" if is_over else await _why_silent(ask, part)
        ask.file_update.record([part], word)


async def _why_silent(ask: _Witnesses, gap: Gap) -> str:
    """The evidence for an empty answer about a time in which a symbol may have traded."""
    if _is_tail(ask.file_update, gap):
        is_past = gap.end_ms < ask.rest.now_ms - DAY_MS
        # What is younger is asked for once more, and may be the halt of this hour, where there are halts.
        is_due = gap.rows is not None and not ask.series.market.has_halts
        if (is_past or is_due) and not await ask.rest.reaches(ask.series, gap.end_ms):
            return "early end"
    return "no candle" if ask.series.dataset.writes_each_row else "rest"


def _is_tail(file_update: FileUpdate, gap: Gap) -> bool:
    """Whether no row of the file is behind the gap."""
    return gap.before_id is None and gap.end_ms > (file_update.facts.last_ms or 0)


async def _ended_ms(ask: _Witnesses, gap: Gap) -> int | None:
    """From when on a gap is behind the end of a symbol; None where it still trades, or has later rows."""
    # The last trade is in the first millisecond of the gap behind it.
    if not await ask.rest.ends_before(ask.series, gap.start_ms + (gap.after_id is not None)):
        return None
    try:
        listing = await ask.rest.listing_of(ask.series)
    except (TransportError, BadAnswer):
        return None
    # Only a delivered contract leaves the list: that it lacks any other name of which the API has rows
    # is a fault of the list.
    leaves = delivery_ms(ask.series.symbol) is not None
    is_over = leaves if listing is None else listing.is_over
    return _end_in(ask.file_update, gap, listing) if is_over else None


def _end_in(file_update: FileUpdate, gap: Gap, listing: Listing | None) -> int:
    """From when on a gap at the tail is behind the known end of a contract; its start without one."""
    file = file_update.file
    known_ms = (delivery_ms(file.series.symbol), None if listing is None else listing.delivery_ms)
    end_ms = max(each or 0 for each in known_ms)
    if end_ms <= gap.start_ms:
        return gap.start_ms
    due = counted(file, file_update.facts, replace(gap, end_ms=end_ms, rows=None)).rows
    if due is None and end_ms - gap.start_ms <= _LAST_PAUSE_MS[file.dataset.key]:
        return gap.start_ms
    return gap.start_ms if due == 0 else end_ms


async def _confirm_early(ask: _Witnesses, gap: Gap) -> None:
    """A gap before the first row of the API, or reaches up to it."""
    first = await ask.rest.first_row(ask.series)
    if first is None:
        msg = (
            f"{ask.rest.url_of(ask.series)} lists {ask.series.symbol}, and has no "
            f"{ask.series.dataset.label} of it at all, whatever is asked for; that is not "
            f"believed, and nothing is stored: run again later, or check whether it has begun "
            f"to trade"
        )
        raise BadAnswer(msg)
    # Payments are counted over the whole gap.
    due_ms = None if ask.series.dataset.key == "event_time" else await _due_ms(ask)
    for part in _cut_at(gap, due_ms):
        # The first trade is in the last millisecond of the gap before it.
        end_ms = part.end_ms - (part.before_id is not None)
        # An empty answer about the gap that holds its own first row proves nothing.
        is_before = end_ms <= first.stamp_ms
        word = await _why_early(ask, part.start_ms, end_ms, first) if is_before else "late history"
        ask.file_update.record([part], word)


def _cut_at(gap: Gap, moment_ms: int | None) -> list[Gap]:
    """The gap before a moment and that from it on, where it is inside."""
    if moment_ms is None or not gap.start_ms < moment_ms < gap.end_ms:
        return [gap]
    before = replace(gap, end_ms=moment_ms, before_id=None)
    return [before, replace(gap, start_ms=moment_ms, after_id=None)]


async def _why_early(ask: _Witnesses, start_ms: int, end_ms: int, first: FirstRow) -> str:
    """The evidence that there is no row in a stretch before the API's first row."""
    beginning = await _beginning(ask, end_ms, first)
    if beginning == _CONTRADICTED:
        return "late history"
    archive = await _archive_of(ask, start_ms, end_ms, first)
    if ask.file_update.has_rows_before(start_ms) or (archive is not None and archive.begins_before):
        is_proven = (
            archive is not None
            and archive.is_silent
            and not _goes_on(ask.file_update, end_ms, first)
        )
        return "between listings" if is_proven and beginning else "late history"
    if beginning:
        return beginning if ask.archive is not None else f"{beginning} alone"
    return "first rows" if archive is not None and archive.is_silent else "late history"


def _goes_on(file_update: FileUpdate, end_ms: int, first: FirstRow) -> bool:
    """Whether rows of an older listing are behind a stretch, so that it is inside that one."""
    last_ms = file_update.facts.last_ms
    return last_ms is not None and end_ms <= last_ms < first.stamp_ms


async def _beginning(ask: _Witnesses, end_ms: int, first: FirstRow) -> str:
    """The word for the proof that today's listing of the name begins no earlier; empty without one."""
    series = ask.series
    try:
        if series.market.has_onboard_date:
            due_ms = await _due_ms(ask)
            if due_ms is None:
                return ""
            if end_ms <= due_ms:
                # Contracts of a pair that were delivered have left the list, unless one of its own name is there.
                is_first = await ask.rest.knows(series.market, series.symbol)
                return "onboard date" if is_first else ""
            if not series.dataset.is_traded:
                return _CONTRADICTED
        return await _by_first_trade(ask, end_ms, first)
    except (TransportError, BadAnswer):
        # Who cannot be asked proves nothing; the rows themselves have been asked for.
        return ""


async def _by_first_trade(ask: _Witnesses, end_ms: int, first: FirstRow) -> str:
    """The word for the proof by the id of the first trade; without one a contract is due since its onboard date."""
    series = ask.series
    of_trades = (each for each in DATASETS if each.key == "id" and series.market in each.markets)
    trades = Series.of(next(of_trades), series.symbol)
    trade = first if series == trades else await ask.rest.first_row(trades)
    unproven = _CONTRADICTED if series.market.has_onboard_date else ""
    if trade is None:
        return unproven
    if trade.key > series.market.first_id:
        # There were trades before the first one that it has; if that one is of then, at this time.
        return _CONTRADICTED if trade.stamp_ms < end_ms + DAY_MS else unproven
    return "first trade" if trade.stamp_ms >= end_ms else unproven


async def _due_ms(ask: _Witnesses) -> int | None:
    """From when on a contract must have rows, by exchangeInfo; None where it tells no onboard date."""
    if not ask.series.market.has_onboard_date:
        return None
    try:
        listing = await ask.rest.listing_of(ask.series)
        onboard_ms = None if listing is None else listing.onboard_ms
        return None if onboard_ms is None else await _first_due_ms(ask, onboard_ms)
    except (TransportError, BadAnswer):
        return None


async def _first_due_ms(ask: _Witnesses, onboard_ms: int) -> int:
    """The same for a contract that was listed at a moment."""
    series = ask.series
    if series.interval is not None:
        return opened_ms(series.interval, onboard_ms)
    if series.dataset.key != "event_time":
        return onboard_ms
    # By the hours that the archive states, or those between the first payments; without, it may be each hour.
    pace_ms = (
        ask.file_update.facts.first_pace_ms or await ask.rest.first_pace_ms(series) or _HOUR_MS
    )
    next_due_ms = (onboard_ms // pace_ms + 1) * pace_ms
    return max(next_due_ms, _FIRST_FUNDING_MS.get(series.symbol, 0))


@dataclass(frozen=True, slots=True)
class _Archived:
    """What the archive has of a name: earlier files, and nothing of a stretch."""

    begins_before: bool
    is_silent: bool


async def _archive_of(
    ask: _Witnesses, start_ms: int, end_ms: int, first: FirstRow
) -> _Archived | None:
    """The evidence of the archive about a stretch; None where it cannot be asked, or proves nothing."""
    file, archive = ask.file_update.file, ask.archive
    if archive is None:
        return None
    try:
        begins_ms = await archive.first_ms(ask.series)
        lists_any = await archive.lists_any(ask.series, start_ms, end_ms)
        is_first = file.start_ms == start_ms and not await archive.lists_any(
            ask.series, start_ms - DAY_MS, start_ms
        )
    except (TransportError, BadAnswer):
        return None
    is_empty = begins_ms > ask.rest.now_ms
    if start_ms < ask.series.dataset.archive_since_ms or (
        # Of a name that has traded for weeks it has files: an empty listing is a fault of it.
        is_empty and first.stamp_ms < ask.rest.now_ms - _LATEST_LISTING_MS
    ):
        return None
    was_read = _is_read(ask.file_update, Gap(start_ms, end_ms))
    return _Archived(begins_ms < file.start_ms, not lists_any or (was_read and is_first))
