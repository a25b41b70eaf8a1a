"""The proxy that the environment names for an address; `~/.netrc` is never read."""

from __future__ import annotations

import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ares_notebook.errors import BadArgument
from ares_notebook.model.hosts import is_loopback

__all__ = ["proxy_of"]


def proxy_of(url: str) -> str | None:
    """The address of the proxy that a request to *url* goes through; None without one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies()
    value = proxies.get(parts.scheme) or proxies.get("all")
    if not value or is_loopback(host) or proxy_bypass(host):
        return None
    text = value if "://" in value else f"http://{value}"
    proxy = urlsplit(text)
    try:
        is_address = bool(proxy.hostname) and proxy.port != 0
    except ValueError:
        is_address = False
    if proxy.scheme.startswith("socks"):
        raise _refused(value, parts.scheme, "SOCKS proxies are not supported; name an HTTP proxy")
    if proxy.scheme not in ("http", "https") or not is_address:
        raise _refused(value, parts.scheme, "write http://host:port, or unset it")
    return text


def _refused(value: str, scheme: str, remedy: str) -> BadArgument:
    names = [
        each for part in (scheme, "all") for each in (f"{part}_proxy", f"{part}_proxy".upper())
    ]
    said_by = next((each for each in names if os.environ.get(each) == value), "the system's proxy")
    # A proxy's password is shown nowhere.
    shown = value.rpartition("@")[2]
    return BadArgument(f"{said_by} is {shown!r}, which is no proxy that can be used: {remedy}")
