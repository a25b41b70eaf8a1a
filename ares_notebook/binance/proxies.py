"""The proxy that the environment names for a URL; `~/.netrc` is never read."""

from __future__ import annotations

import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ares_notebook.errors import BadArgument
from ares_notebook.model.hosts import is_loopback, masked


def proxy_of(url: str) -> str | None:
    """The URL of the proxy that a request to *url* goes through; None without one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies()
    value = proxies.get(parts.scheme) or proxies.get("all")
    if not value or is_loopback(host) or proxy_bypass(host):
        return None
    text = value if "://" in value else f"http://{value}"
    if text.startswith("socks"):
        raise _refused(value, parts.scheme, "SOCKS proxies are not supported; name an HTTP proxy")
    try:
        proxy = urlsplit(text)
        # A path would be the rest of a password with a slash in it.
        is_valid = bool(proxy.hostname) and proxy.port != 0 and proxy.path in ("", "/")
    except ValueError:
        is_valid = False
    if not is_valid or proxy.scheme not in ("http", "https"):
        raise _refused(value, parts.scheme, "write http://host:port, or unset it")
    return text


def _refused(value: str, scheme: str, remedy: str) -> BadArgument:
    names = [
        each for part in (scheme, "all") for each in (f"{part}_proxy", f"{part}_proxy".upper())
    ]
    said_by = next((each for each in names if os.environ.get(each) == value), "the system's proxy")
    shown = masked(value)
    return BadArgument(f"{said_by} is {shown!r}, which is no proxy that can be used: {remedy}")
