"""The archive's listing: its pages, and which symbols and days it has."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, XMLParser

from ares_notebook.binance.http import Ask, Transport
from ares_notebook.errors import BadAnswer, BadArgument
from ares_notebook.model.symbols import Listed, Market, validate_symbol

__all__ = [
    "FEW_KEYS",
    "MOST_PAGES",
    "Page",
    "days_of",
    "first_days",
    "list_page",
    "pages",
    "symbols_of",
]

MOST_PAGES = 100
"""A listing of more pages has no end: the largest folder of the archive has a tenth of them."""
FEW_KEYS = 20
"""A page of a thousand keys is 300 KB; the first zip is on this one or, behind what strayed in, near."""
_LISTING_TAG = "ListBucketResult"
_SIZE = re.compile(r"[0-9]{1,18}")


class Page(NamedTuple):
    """A page of the listing."""

    # Bytes of each object, by its key.
    sizes: dict[str, int]
    # What lies a level deeper, each with a slash at its end.
    folders: tuple[str, ...]
    # Where the next page begins; empty on the last.
    next_marker: str


async def list_page(
    transport: Transport, prefix: str, marker: str = "", *, most: int | None = None
) -> Page:
    """A page of what lies under *prefix*, after *marker*."""
    params = {"delimiter": "/", "prefix": prefix} | ({"marker": marker} if marker else {})
    if most is not None:
        params["max-keys"] = str(most)
    url = transport.settings.archive_listing_url
    ask = Ask(url, f"the archive's listing of {prefix}", params=params)
    return await transport.get(ask, partial(_read_page, prefix))


async def first_days(
    transport: Transport, folder: str, stem: str, *, marker: str = "", most: int | None = None
) -> list[date]:
    """The first days of the periods of the zips in *folder*, in order; other keys are strays."""
    pattern = re.compile(rf"{re.escape(folder + stem)}([0-9]{{4}}-[0-9]{{2}}(?:-[0-9]{{2}})?)\.zip")
    found: set[date] = set()
    async for page in pages(transport, folder, marker, most):
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


async def pages(
    transport: Transport, prefix: str, marker: str = "", most: int | None = None
) -> AsyncIterator[Page]:
    """Page after page of what lies under *prefix*, to the end."""
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


def _read_page(prefix: str, body: bytes) -> Page:
    root = _parsed(body)
    if root is None or root.tag.rpartition("}")[2] != _LISTING_TAG:
        # The browser's page comes with status 200 too; it is no empty listing.
        msg = f"the listing of {prefix} is not one: {body[:80]!r}"
        raise BadAnswer(msg)
    sizes = {
        _text(entry, "Key"): _size(_text(entry, "Size"))
        for entry in root
        if entry.tag.endswith("Contents")
    }
    entries = (entry for entry in root if entry.tag.endswith("CommonPrefixes"))
    folders = tuple(_text(entry, "Prefix") for entry in entries)
    if _text(root, "IsTruncated") != "true":
        return Page(sizes, folders, "")
    last = max([*sizes, *folders], default="")
    return Page(sizes, folders, _text(root, "NextMarker") or last)


def _parsed(body: bytes) -> Element | None:
    # A document type is where XML hides bombs; a listing has none.
    # Nor has it a zero byte: that is where UTF-16 would hide one.
    if b"<!DOCTYPE" in body[:1024].upper() or b"<!ENTITY" in body.upper() or b"\0" in body:
        return None
    parser = XMLParser()  # noqa: S314 - declarations are refused above
    try:
        parser.feed(body)
        root: Element = parser.close()
    except (ParseError, LookupError, ValueError):
        # The latter two are of encodings that there are not, and that it cannot read.
        return None
    return root


def _text(parent: Element, name: str) -> str:
    for child in parent:
        if child.tag.rpartition("}")[2] == name:
            return child.text or ""
    return ""


def _size(text: str) -> int:
    return int(text) if _SIZE.fullmatch(text) else 0


_LOGGER = logging.getLogger("DataDownloader")
_FOLDERS: dict[Market, str] = {
    "spot": "data/spot/{cut}/klines/",
    "futures": "data/futures/um/{cut}/klines/",
}
# A day is published within hours, at times within a week.
_LATELY = timedelta(days=14)
_MOST_STRAYS_TOLD = 3


async def symbols_of(transport: Transport, market: Market) -> tuple[str, ...]:
    """All symbols that ever had candles in the archive, in order."""
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

    Two requests for a symbol that is traded today, four for one that is not, however long it was
    listed. Where the archive has months and no days, those of the months.
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
