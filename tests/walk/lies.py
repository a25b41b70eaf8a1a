"""What the exchange does wrong: zips published short, a late history, a page that is empty, bad weather."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import replace
from functools import lru_cache
from typing import Any

from places import TRADES_PER_DAY, Place

from ares_notebook import DemoExchange
from ares_notebook.demo import Fault
from ares_notebook.demo.archive_files import SyntheticFiles
from ares_notebook.demo.generator import id_at
from ares_notebook.demo.market import PageQuery

KINDS = ("none", "archive", "late history", "page")
"""One source lies at a time: where all lie alike nobody can know."""

WEATHER: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "503": {"status": 503},
    "reset": {"reset": "head"},
    "reset in the body": {"reset": "body"},
    "short": {"short": True},
}

SHORT = ("one row less", "half", "without its head", "empty", "torn", "of another period")
_PAGES = r"/api/v3/(klines|aggTrades)\?|/fapi/v1/fundingRate\?"


# --- the archive ---


@lru_cache(maxsize=64)
def _text_of(key: str) -> bytes:
    """What a zip of the archive holds."""
    packed = SyntheticFiles(TRADES_PER_DAY).build(key)
    if packed is None:
        return b""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return archive.read(archive.namelist()[0])


def _shortened(key: str, other: str, kind: str, at: int) -> bytes:
    text = _text_of(key)
    lines = text.splitlines(keepends=True)
    head = lines[:1] if lines and not lines[0][:1].isdigit() else []
    rows = lines[len(head) :]
    if kind == "torn":
        return text[: -2 - at % 40]
    if kind == "of another period":
        return _text_of(other)
    kept = {
        "one row less": rows[:-1],
        "half": rows[: len(rows) // 2],
        "without its head": rows[1 + at % max(len(rows), 1) :],
        "empty": [],
    }
    return b"".join([*head, *kept[kind]])


def publish_short(exchange: DemoExchange, place: Place, number: int, kind: str, at: int) -> None:
    """Publish a zip of a place short, with a checksum that is right; the true one goes."""
    keys = place.keys()
    key, other = keys[number % len(keys)], keys[(number + 1) % len(keys)]
    if not _text_of(key):
        return
    publish_truth(exchange, key)
    name = key.rpartition("/")[2]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        member = name.removesuffix(".zip") + ".csv"
        archive.writestr(member, _shortened(key, other, kind, at))
    body = packed.getvalue()
    words = f"{hashlib.sha256(body).hexdigest()}  {name}".encode()
    pattern = re.escape(f"/{name}")
    exchange.fail(f"{pattern}.CHECKSUM$", times=None, replace_body=words)
    exchange.fail(f"{pattern}$", times=None, replace_body=body)


def publish_truth(exchange: DemoExchange, key: str = "") -> None:
    """Publish what was short whole, a key or all."""
    pattern = re.escape(f"/{key.rpartition('/')[2]}") if key else ""
    exchange.faults[:] = [
        each
        for each in exchange.faults
        if each.times is not None or (pattern and not each.pattern.startswith(pattern))
    ]


def withheld_pattern(place: Place, number: int, *, all_of_it: bool) -> str:
    """A pattern for what is not published of a place: all, the months, or one period."""
    keys = place.keys()
    stem = keys[number % len(keys)].rpartition("/")[2].removesuffix(".zip")
    patterns = [re.escape(f"/{stem}"), re.escape(f"/{stem}.zip")]
    if all_of_it:
        patterns += [f"/monthly/.*/{place.symbol}/", f"/{place.symbol}/"]
    return patterns[number % len(patterns)]


# --- REST ---


class LateMarket:
    """
    A market whose REST history begins late; the archive's does not.

    Parameters
    ----------
    market : Market
        The true one.
    first_us : int
        Before it REST has nothing.
    """

    def __init__(self, market: Any, first_us: int) -> None:
        self.market = market
        self._first_us = first_us

    def symbols(self, *args: Any) -> Any:
        """Those of the true one."""
        return self.market.symbols(*args)

    def klines(self, product: Any, symbol: str, interval: str, query: PageQuery) -> bytes:
        """A page."""
        return self.market.klines(product, symbol, interval, self._late(query))

    def agg_trades(self, product: Any, symbol: str, query: PageQuery) -> bytes:
        """A page; one from the first id begins with a large one."""
        if query.from_id is not None:
            first_id = id_at(self.market.generator(product, symbol), self._first_us)
            query = replace(query, from_id=max(query.from_id, first_id))
        return self.market.agg_trades(product, symbol, self._late(query))

    def funding(self, symbol: str, query: PageQuery) -> bytes:
        """A page."""
        return self.market.funding(symbol, self._late(query))

    def _late(self, query: PageQuery) -> PageQuery:
        if query.start_us is None:
            return query
        return replace(query, start_us=max(query.start_us, self._first_us))


def begin_late(exchange: DemoExchange, first_us: int | None) -> None:
    """Let REST's history begin then; None: let it be whole."""
    router = exchange._router
    market = router.market
    market = market.market if isinstance(market, LateMarket) else market
    router.market = market if first_us is None else LateMarket(market, first_us)


def lose_page(exchange: DemoExchange, skip: int, *, is_empty: bool) -> None:
    """Make one page of REST empty, or half, by mistake."""
    exchange.faults.insert(
        0, Fault(_PAGES, skip=skip, replace_body=b"[]" if is_empty else _half_of)
    )


def _half_of(body: bytes) -> bytes:
    try:
        rows = json.loads(body)
    except ValueError:
        return body
    return json.dumps(rows[: len(rows) // 2]).encode() if isinstance(rows, list) else body


def has_lost_page(exchange: DemoExchange) -> bool:
    """Whether one is still to be lost: two mistakes in a row are no mistake."""
    return any(each.pattern == _PAGES and each.seen <= each.skip for each in exchange.faults)


# --- the line ---


def bad_weather(exchange: DemoExchange, kind: str, skip: int, times: int) -> None:
    """Let some of the next requests suffer."""
    exchange.faults.insert(0, Fault(".", skip=skip, times=times, **WEATHER[kind]))


def clear_up(exchange: DemoExchange) -> None:
    """The exchange is sound again."""
    exchange.faults.clear()
    exchange._archive.withheld.clear()
    begin_late(exchange, None)
