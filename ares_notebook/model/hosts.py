"""URLs in the settings: which are valid, and to which market they belong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from ares_notebook.errors import BadArgument

BINANCE = "binance"
"""The name of the market at Binance's own URLs."""

_SPOT = frozenset(
    f"https://{host}"
    for host in (
        "api.binance.com",
        "api-gcp.binance.com",
        *(f"api{number}.binance.com" for number in range(1, 5)),
        "data-api.binance.vision",
    )
)
# Any other host, even of the same domain, must be named by `market=`.
_BINANCE_AT: Mapping[str, frozenset[str]] = {
    "spot_url": _SPOT,
    "spot_fallback_url": _SPOT,
    "futures_url": frozenset({"https://fapi.binance.com"}),
    "coin_futures_url": frozenset({"https://dapi.binance.com"}),
    "archive_url": frozenset({"https://data.binance.vision"}),
    "archive_listing_url": frozenset(
        {"https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"}
    ),
}
# Exchanges of Binance's name with order books of their own.
_OTHERS = {
    "binance.us": "binance.us",
    "binance.tr": "binance.tr",
    "trbinance.com": "binance.tr",
    "testnet.binance.vision": "testnet",
    "binancefuture.com": "testnet",
    "demo-api.binance.com": "testnet",
    "demo-fapi.binance.com": "testnet",
    "demo-dapi.binance.com": "testnet",
}
# Domains that require https.
_WITH_TLS = ("binance.com", "binance.vision", "amazonaws.com", *_OTHERS)


def masked(text: str) -> str:
    """*text* with ``***`` for what may be secret in a URL: user, password, query and fragment."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    if "@" in rest:
        # A password may hold any letter, a slash or a question mark too.
        rest = f"***@{rest.rpartition('@')[2]}"
    elif separator:
        # Of `user:password` without a host the second looks like a port.
        rest = re.sub(r"^([^/?#:]*):(?!\d{1,5}(?:[/?#]|$))[^/?#]+", r"\1:***", rest)
    return f"{scheme}{separator}{re.sub(r'[?#].+', '?***', rest, flags=re.DOTALL)}"


def plain_url(value: object) -> str:
    """A URL of http or https without its trailing slash."""
    text = str(value).rstrip("/")
    if "@" in text:
        msg = (
            "must hold no user and no password: the exchange needs none, and URLs are shown in "
            "errors, logs and receipts"
        )
        raise ValueError(msg)
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        # Its text may quote a password.
        host = None
    if not host or parts.scheme not in ("https", "http"):
        msg = 'is not a URL such as "https://api.binance.com"'
        raise ValueError(msg)
    if set(text) & set("?#\\ ") or not text.isprintable():
        # Line ends, control characters and marks of writing direction are not printable.
        msg = "must be a plain URL, without query, fragment, blanks and invisible characters"
        raise ValueError(msg)
    if parts.scheme == "http" and any(_is_in(host, domain) for domain in _WITH_TLS):
        msg = "must begin with https: without TLS its answers could be changed on the way"
        raise ValueError(msg)
    return text


def market_at(field: str, url: str) -> str:
    """The market of one URL: ``binance``, another known one, or its host."""
    parts = urlsplit(url)
    # Without port, upper case and the root's dot.
    host = (parts.hostname or "").rstrip(".")
    if f"{parts.scheme}://{host}{parts.path}" in _BINANCE_AT[field]:
        return BINANCE
    return next((name for domain, name in _OTHERS.items() if _is_in(host, domain)), host)


def market_of_all(
    urls: Mapping[str, str], market: str | None, variables: Mapping[str, str] | None = None
) -> str:
    """The market of all URLs; `BadArgument` if they are of several."""
    at = {field: market_at(field, url) for field, url in urls.items()}
    # Most of Binance's are defaults, so a message shows only their names.
    written = {
        field: field if at[field] == BINANCE else f"{field}={url!r}" for field, url in urls.items()
    }
    for field, variable in (variables or {}).items():
        written[field] += f" (from {variable})"
    known = {BINANCE, *_OTHERS.values()}.intersection(at.values())
    if len(known) > 1:
        raise _mixed(written, at, "set all to one market; where it lacks one, to its API")
    if market == BINANCE and known - {BINANCE}:
        raise _mixed(written, at, "and market='binance' is said; set it to theirs, or leave it out")
    if market:
        return market
    if all(is_loopback(name) for name in at.values()):
        return at.get("archive_url", "localhost")
    if len(set(at.values())) > 1:
        remedy = "set all to one market; where some are its mirrors, name it with market="
        raise _mixed(written, at, remedy)
    return next(iter(at.values()))


def _mixed(written: Mapping[str, str], at: Mapping[str, str], remedy: str) -> BadArgument:
    of = {market: [written[each] for each in at if at[each] == market] for market in at.values()}
    markets = "; ".join(
        f"{', '.join(fields)} {'are' if len(fields) > 1 else 'is'} of {market!r}"
        for market, fields in of.items()
    )
    return BadArgument(f"one cache would mix markets: {markets}; {remedy}")


def _is_in(host: str, domain: str) -> bool:
    """Whether a host is of a domain, label by label."""
    return host == domain or host.endswith(f".{domain}")


def is_loopback(host: str) -> bool:
    """Whether a host is of this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
