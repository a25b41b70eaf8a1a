"""Which symbols the archive has, delisted ones included, and from which day to which."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

from ares_notebook.errors import BadAnswer, BadArgument
from ares_notebook.exchange.catalogue import MOST_PAGES, Page, list_page
from ares_notebook.exchange.transport import Transport
from ares_notebook.market.symbols import validate_symbol
from ares_notebook.market.universe import Listed, Market

__all__ = ["days_of", "symbols_of"]

_LOGGER = logging.getLogger("DataDownloader")
_FOLDERS: dict[Market, str] = {
    "spot": "data/spot/{cut}/klines/",
    "futures": "data/futures/um/{cut}/klines/",
}
# A page of a thousand keys is 300 KB; the first day is on it or, behind what strayed in, near.
_FEW_KEYS = 20
# A day is published within hours, at times within a week.
_LATELY = timedelta(days=14)
_MOST_STRAYS_TOLD = 3


async def symbols_of(transport: Transport, market: Market) -> tuple[str, ...]:
    """
    All symbols that ever had candles in the archive, in order.

    Parameters
    ----------
    transport : Transport
    market : {"spot", "futures"}

    Raises
    ------
    TransportError
        If a page of the listing does not come.
    BadAnswer
        If what came is no listing, is one without end, or lists no symbol.
    """
    # Whoever was listed this month has days only, and long ago some had months only.
    folders = [_FOLDERS[market].format(cut=cut) for cut in ("monthly", "daily")]
    found = await asyncio.gather(*(_names_in(transport, folder) for folder in folders))
    symbols = sorted({name for names in found for name in names if _is_symbol(name)})
    strays = sorted({name for names in found for name in names if not _is_symbol(name)})
    if strays:
        some = [name[:40] for name in strays[:_MOST_STRAYS_TOLD]]
        _LOGGER.warning("the archive lists %d names that are no symbols: %r …", len(strays), some)
    if not symbols:
        url = transport.settings.archive_listing_url
        msg = (
            f"{url} lists no symbol under {' or '.join(folders)}, so it is not the archive's "
            f"listing; check archive_listing_url"
        )
        raise BadAnswer(msg)
    return tuple(symbols)


async def days_of(transport: Transport, market: Market, symbol: str) -> Listed:
    """
    The first and the last day of which the archive has candles of *symbol*.

    Two requests for a symbol that is traded today, four for one that is not, however long
    it was listed. Where the archive has months and no days, those of the months.

    Parameters
    ----------
    transport : Transport
    market : {"spot", "futures"}
    symbol : str

    Raises
    ------
    TransportError, BadAnswer
        As in `symbols_of`.
    """
    monthly, daily = (
        f"{_FOLDERS[market].format(cut=cut)}{symbol}/1d/" for cut in ("monthly", "daily")
    )
    stem = f"{symbol}-1d-"
    lately = datetime.now(UTC).date() - _LATELY
    head = await _stamps(transport, daily, stem, most=_FEW_KEYS)
    tail = await _stamps(transport, daily, stem, marker=f"{daily}{stem}{lately}")
    if head and tail:
        return Listed(symbol, head[0], tail[-1])
    # The months say where the days end: on one page, whenever that was.
    months = await _stamps(transport, monthly, stem)
    end = f"{months[-1]:%Y-%m}" if months else ""
    tail = await _stamps(transport, daily, stem, marker=f"{daily}{stem}{end}")
    if not months:
        return Listed(symbol, tail[0], tail[-1]) if tail else Listed(symbol)
    first = head[0] if head else months[0]
    return Listed(symbol, first, tail[-1] if tail else _last_of_month(months[-1]))


async def _names_in(transport: Transport, folder: str) -> list[str]:
    """The names of the folders that lie in *folder*."""
    pages = [page async for page in _pages(transport, folder)]
    return [each.removeprefix(folder).rstrip("/") for page in pages for each in page.folders]


async def _stamps(
    transport: Transport, folder: str, stem: str, *, marker: str = "", most: int | None = None
) -> list[date]:
    """
    The days, or first days of months, of the zips in *folder*, in order; other keys are strays.

    With *most*, those of the first page that has any.
    """
    pattern = re.compile(rf"{re.escape(folder + stem)}([0-9]{{4}}-[0-9]{{2}}(?:-[0-9]{{2}})?)\.zip")
    found: set[date] = set()
    async for page in _pages(transport, folder, marker, most):
        matches = filter(None, map(pattern.fullmatch, page.sizes))
        found |= {day for match in matches if (day := _day(match[1])) is not None}
        if found and most is not None:
            break
    return sorted(found)


def _day(stamp: str) -> date | None:
    try:
        return date.fromisoformat(f"{stamp}-01"[:10])
    except ValueError:
        # A day that no calendar has is a stray, too.
        return None


async def _pages(
    transport: Transport, prefix: str, marker: str = "", most: int | None = None
) -> AsyncIterator[Page]:
    """Page after page, to the end."""
    for _ in range(MOST_PAGES):
        page = await list_page(transport, prefix, marker, most=most)
        yield page
        if not page.next_marker:
            return
        if page.next_marker <= marker:
            break
        marker = page.next_marker
    msg = f"the listing of {prefix} has no end; nothing is taken from it, run again later"
    raise BadAnswer(msg)


def _is_symbol(name: str) -> bool:
    """Whether it is one, as the exchange writes them: what comes from outside is judged first."""
    try:
        return validate_symbol(name) == name
    except BadArgument:
        return False


def _last_of_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
