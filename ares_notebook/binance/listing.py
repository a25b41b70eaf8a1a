"""The archive's listing: its pages, and the symbols and days it contains."""

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
from ares_notebook.model.markets import Market
from ares_notebook.model.symbols import Listed, validate_symbol

_LOGGER = logging.getLogger("DataDownloader")
# The largest folder of the archive has a tenth of them; a longer listing is taken for endless.
_MOST_PAGES = 100
FEW_KEYS = 20
"""Enough to find the first zip, even behind some unrelated keys; a page of a thousand is 300 KB."""
_LISTING_TAG = "ListBucketResult"
_SIZE = re.compile(r"[0-9]{1,18}")


class Page(NamedTuple):
    """A page of the listing."""

    # Bytes of each object, by its key.
    sizes: dict[str, int]
    # Subfolders, each with a slash at its end.
    folders: tuple[str, ...]
    # Where the next page begins; empty on the last.
    next_marker: str


async def list_page(
    transport: Transport, prefix: str, marker: str = "", *, most: int | None = None
) -> Page:
    """One page of the keys under *prefix* that follow *marker*."""
    params = {"delimiter": "/", "prefix": prefix} | ({"marker": marker} if marker else {})
    if most is not None:
        params["max-keys"] = str(most)
    url = transport.settings.archive_listing_url
    ask = Ask(url, f"the archive's listing of {prefix}", params=params)
    return await transport.get(ask, partial(_read_page, prefix))


async def first_days(
    transport: Transport, folder: str, stem: str, *, marker: str = "", most: int | None = None
) -> list[date]:
    """First days of the periods of the zips in *folder*, ascending; other keys are ignored."""
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
        # A date that does not exist, such as 2025-02-30.
        return None


async def pages(
    transport: Transport, prefix: str, marker: str = "", most: int | None = None
) -> AsyncIterator[Page]:
    """All pages of the keys under *prefix*; `BadAnswer` where the listing has no end."""
    for _ in range(_MOST_PAGES):
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
        # A page for browsers has status 200 too, and is no empty listing.
        msg = f"the listing of {prefix} is not one: {body[:80]!r}"
        raise BadAnswer(msg)
    sizes = {}
    for entry in root.iterfind("{*}Contents"):
        size = entry.findtext("{*}Size", "")
        sizes[entry.findtext("{*}Key", "")] = int(size) if _SIZE.fullmatch(size) else 0
    folders = tuple(each.findtext("{*}Prefix", "") for each in root.iterfind("{*}CommonPrefixes"))
    if root.findtext("{*}IsTruncated") != "true":
        return Page(sizes, folders, "")
    last = max([*sizes, *folders], default="")
    return Page(sizes, folders, root.findtext("{*}NextMarker") or last)


def _parsed(body: bytes) -> Element | None:
    # XML bombs need declarations, which a listing does not have. Nor does it have zero bytes, as
    # declarations in UTF-16 would.
    if b"<!DOCTYPE" in body[:1024].upper() or b"<!ENTITY" in body.upper() or b"\0" in body:
        return None
    parser = XMLParser()  # noqa: S314 - declarations are refused above
    try:
        parser.feed(body)
        root: Element = parser.close()
    except (ParseError, LookupError, ValueError):
        # The latter two are raised for unknown and for unsupported encodings.
        return None
    return root


# A day is published within hours, at most within a week or so.
_RECENT = timedelta(days=14)
_NAMES_LOGGED = 3


async def symbols_of(transport: Transport, market: Market) -> tuple[str, ...]:
    """All symbols that ever had candles in the archive, sorted."""
    # A symbol listed this month has daily files only; some old ones have monthly files only.
    folders = [f"{market.archive}{cut}/klines/" for cut in ("monthly", "daily")]
    found = await asyncio.gather(*(_names_in(transport, folder) for folder in folders))
    names = set().union(*found)
    symbols = sorted(filter(_is_symbol, names))
    others = sorted(names.difference(symbols))
    if others:
        some = [name[:40] for name in others[:_NAMES_LOGGED]]
        _LOGGER.warning("the archive lists %d names that are no symbols: %r …", len(others), some)
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

    Costs two requests for a symbol that is traded today, four for any other.
    """
    monthly, daily = (f"{market.archive}{cut}/klines/{symbol}/1d/" for cut in ("monthly", "daily"))
    stem = f"{symbol}-1d-"
    recent = datetime.now(UTC).date() - _RECENT
    head = await first_days(transport, daily, stem, most=FEW_KEYS)
    tail = await first_days(transport, daily, stem, marker=f"{daily}{stem}{recent}")
    if head and tail:
        return Listed(symbol, head[0], tail[-1])
    # The days end in the last month.
    months = await first_days(transport, monthly, stem)
    end = f"{months[-1]:%Y-%m}" if months else ""
    tail = await first_days(transport, daily, stem, marker=f"{daily}{stem}{end}")
    if not months:
        return Listed(symbol, tail[0], tail[-1]) if tail else Listed(symbol)
    first = head[0] if head else months[0]
    end_of_months = (months[-1] + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return Listed(symbol, first, tail[-1] if tail else end_of_months)


async def _names_in(transport: Transport, folder: str) -> set[str]:
    """Names of the subfolders of *folder*."""
    found = [page async for page in pages(transport, folder)]
    return {each.removeprefix(folder).rstrip("/") for page in found for each in page.folders}


def _is_symbol(name: str) -> bool:
    try:
        return validate_symbol(name) == name
    except BadArgument:
        return False
