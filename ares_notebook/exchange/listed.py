"""Which symbols the archive has, delisted ones included, and from which day to which."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta

from ares_notebook.errors import BadAnswer, BadArgument
from ares_notebook.exchange.catalogue import FEW_KEYS, first_days, pages
from ares_notebook.exchange.transport import Transport
from ares_notebook.market.symbols import validate_symbol
from ares_notebook.market.universe import Listed, Market

__all__ = ["days_of", "symbols_of"]

_LOGGER = logging.getLogger("DataDownloader")
_FOLDERS: dict[Market, str] = {
    "spot": "data/spot/{cut}/klines/",
    "futures": "data/futures/um/{cut}/klines/",
}
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
    head = await first_days(transport, daily, stem, most=FEW_KEYS)
    tail = await first_days(transport, daily, stem, marker=f"{daily}{stem}{lately}")
    if head and tail:
        return Listed(symbol, head[0], tail[-1])
    # The months say where the days end: on one page, whenever that was.
    months = await first_days(transport, monthly, stem)
    end = f"{months[-1]:%Y-%m}" if months else ""
    tail = await first_days(transport, daily, stem, marker=f"{daily}{stem}{end}")
    if not months:
        return Listed(symbol, tail[0], tail[-1]) if tail else Listed(symbol)
    first = head[0] if head else months[0]
    return Listed(symbol, first, tail[-1] if tail else _last_of_month(months[-1]))


async def _names_in(transport: Transport, folder: str) -> list[str]:
    """The names of the folders that lie in *folder*."""
    found = [page async for page in pages(transport, folder)]
    return [each.removeprefix(folder).rstrip("/") for page in found for each in page.folders]


def _is_symbol(name: str) -> bool:
    """Whether it is one, as the exchange writes them: what comes from outside is judged first."""
    try:
        return validate_symbol(name) == name
    except BadArgument:
        return False


def _last_of_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
