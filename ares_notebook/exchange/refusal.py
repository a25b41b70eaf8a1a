"""A request, and what it means when the exchange refuses it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from ares_notebook.errors import (
    AresError,
    BadRequest,
    NotFound,
    RateLimited,
    RegionBlocked,
    ServerFault,
    UnknownSymbol,
)

__all__ = ["Ask", "refusal"]

_UNKNOWN_SYMBOL_CODE = -1121
# A date, which the standard allows too, is never what Binance says.
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Ask:
    """
    One request.

    Parameters
    ----------
    url : str
    description : str
        For the log and for errors.
    params : mapping
    headers : mapping
    weight : int
        What it costs of the host's budget.
    counter : str
        Which budget of the host; funding has one of its own.
    most_bytes : int
        A larger answer is refused. A page of a thousand rows has a tenth of that.
    """

    url: str
    description: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    weight: int = 0
    counter: str = ""
    most_bytes: int = 4 << 20


def refusal(ask: Ask, answer: aiohttp.ClientResponse, body: bytes) -> AresError:
    """Our error for a status that is not 200: by the status first, the body second."""
    status, what = answer.status, f"{ask.description}: {answer.status} from {ask.url}"
    code, said = _said(body)
    if status in (429, 418):
        named = answer.headers.get("Retry-After", "")
        seconds = float(named) if _SECONDS.fullmatch(named) else None
        wait = "for a while" if seconds is None else f"for {named} seconds"
        msg = f"{what}: asked too often{said}; the exchange wants no request {wait}, then run again"
        return RateLimited(msg, ask.url, seconds)
    if status == 404:  # noqa: PLR2004 - not found
        why = (
            "there is no such address; check the settings" if ask.counter else "it is not published"
        )
        return NotFound(f"{what}: {why}", ask.url)
    if status == 451:  # noqa: PLR2004 - blocked for legal reasons
        msg = (
            f"{what}: the API is closed to this region. Still open are the archive "
            f'(source="archive") and, for spot, https://data-api.binance.vision'
        )
        return RegionBlocked(msg, ask.url)
    if status >= 500 or status in (403, 408):  # noqa: PLR2004 - the server's own faults
        return ServerFault(
            f"{what}{said}; it may pass: run again later, what is done is kept", ask.url
        )
    if code == _UNKNOWN_SYMBOL_CODE:
        msg = f"{what}{said}; check the spelling, such as BTCUSDT: {dict(ask.params)}"
        return UnknownSymbol(msg, ask.url)
    return BadRequest(
        f"{what}{said} for {dict(ask.params)}; asking again will not help, check what was asked for",
        ask.url,
    )


def _said(body: bytes) -> tuple[int | None, str]:
    """The exchange's own code and words, where the body is its JSON."""
    try:
        answer = json.loads(body)
        code, words = int(answer["code"]), str(answer["msg"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None, ""
    # Nothing from outside may move a cursor or turn a line around.
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in words[:200])
    return code, f' (code {code}: "{shown}")'
