"""Where the panel takes its data from: Binance, the demo exchange, or another address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ares_notebook.demo import DemoExchange
from ares_notebook.errors import BadArgument
from ares_notebook.settings import CACHE_DIR, SECRETS, Settings

__all__ = ["ADDRESS", "BINANCE", "DEMO", "GIVEN", "MarketSources"]

BINANCE = "Binance"
DEMO = "Demo (made up, offline)"
ADDRESS = "Another address"
GIVEN = "As given"

_URLS = ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url")
# What a source decides, and the rest of the settings does not.
_OF_SOURCE = (*_URLS, "market", "cache_dir")
# What the call says, so that the settings need not.
_OF_CALL = ("symbol", "interval", "lookback_years")
# What code must not tell.
_HINTS = {
    "api_key": "# The API key is taken from the environment: ARES_API_KEY",
    "notify": "# Who is notified is taken from the environment: ARES_NOTIFY",
}
# Where whoever serves Binance's hosts on one address keeps the archive's listing.
_LISTING = "/data.binance.vision"


class MarketSources:
    """The sources of one panel; the demo exchange is started when it is chosen, and never else."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._exchange: DemoExchange | None = None
        is_binance = all(getattr(given, name) == _default(name) for name in _URLS)
        own = () if is_binance else (GIVEN,)
        self.names: tuple[str, ...] = (*own, BINANCE, DEMO, ADDRESS)

    def folder(self, name: str) -> str:
        """The cache folder that a source has by default, so that markets do not mix."""
        if name == self.names[0]:
            return str(self._given.cache_dir)
        return {BINANCE: CACHE_DIR, DEMO: "demo_cache"}.get(name, "other_cache")

    def settings(self, name: str, address: str, cache_dir: str) -> Settings:
        """The settings of a source."""
        if name == GIVEN:
            return Settings(**{**_fields(self._given), "cache_dir": cache_dir})
        told = {key: value for key, value in _fields(self._given).items() if key not in _OF_SOURCE}
        told["cache_dir"] = cache_dir
        if name == BINANCE:
            return Settings(**{**told, **{each: _default(each) for each in _URLS}, "market": None})
        # A key is Binance's, and goes nowhere else.
        told.pop("api_key", None)
        if name == DEMO:
            return self._demo().settings(**told)
        return Settings(**{**told, **_at(address), "api_key": None})

    def code(self, name: str, settings: Settings) -> tuple[str, ...]:
        """
        Lines of Python after which ``settings`` is these; none where they are the defaults.

        Without what the call of a download says itself: symbol, interval, lookback.
        """
        told = {key: value for key, value in _told(settings).items() if key not in _OF_CALL}
        hints = [_HINTS[key] for key in SECRETS if told.pop(key, None)]
        if name != DEMO:
            lines = [f"settings = {_call('ares.Settings', told)}", ""] if told else []
            return (*hints, *lines)
        own = {key: value for key, value in told.items() if key not in (*_URLS, "market")}
        if str(settings.cache_dir) == self.folder(DEMO):
            own.pop("cache_dir", None)
        start = "exchange = ares.DemoExchange().start()"
        return (start, f"settings = {_call('exchange.settings', own)}", "")

    def close(self) -> None:
        """Stop the demo exchange, if it was started."""
        if self._exchange is not None:
            self._exchange.stop()
            self._exchange = None

    def _demo(self) -> DemoExchange:
        if self._exchange is None:
            self._exchange = DemoExchange().start()
        return self._exchange


def _default(name: str) -> Any:
    return Settings.model_fields[name].default


def _fields(settings: Settings) -> dict[str, Any]:
    """All of them, so that none is taken from the environment a second time."""
    return {name: getattr(settings, name) for name in Settings.model_fields}


def _told(settings: Settings) -> dict[str, Any]:
    """What differs from the defaults, or from what the environment would make of them."""
    here = Settings()
    return {
        key: value
        for key, value in _fields(settings).items()
        if value != _default(key) or value != getattr(here, key)
    }


def _at(address: str) -> dict[str, Any]:
    """One address that serves what Binance has on several."""
    url = address.strip().rstrip("/")
    if urlsplit(url).scheme not in ("http", "https"):
        msg = f'the address {address!r} is not one; write it like "http://127.0.0.1:8900"'
        raise BadArgument(msg)
    return {**dict.fromkeys(_URLS, url), "archive_listing_url": url + _LISTING, "market": None}


def _call(name: str, told: dict[str, Any]) -> str:
    """A call with keywords, on one line or a line each."""
    parts: Sequence[str] = [f"{key}={_literal(value)}" for key, value in told.items()]
    flat = f"{name}({', '.join(parts)})"
    if len(flat) <= 70:  # noqa: PLR2004 - what fits a cell with the assignment before it
        return flat
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _literal(value: object) -> str:
    if isinstance(value, bool | int | float) or value is None:
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    # Text as Python writes it, whatever is in it, in double quotes.
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if escaped.isprintable() else repr(str(value))
