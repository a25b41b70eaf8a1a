"""What ``exchangeInfo`` tells: limits and symbols, in the words of spot and of futures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ares_notebook.demo.market import MarketListing
from ares_notebook.demo.symbols import Road

MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of request weight."""

    # Weight that a window holds.
    spot: int
    um: int
    # Length of a window.
    seconds: int

    @property
    def is_minute(self) -> bool:
        """Whether a window is Binance's own minute."""
        return self.seconds == MINUTE_SECONDS

    @property
    def header(self) -> str:
        """Name of the header that tells what is used of a window."""
        return f"x-mbx-used-weight-{'1m' if self.is_minute else f'{self.seconds}s'}"

    @property
    def window(self) -> str:
        """A window, in the words of the refusals."""
        return "1 MINUTE" if self.is_minute else f"{self.seconds} SECOND"

    def lines(self, road: Road) -> list[dict[str, Any]]:
        """``rateLimits`` as JSON has them."""
        weight = {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE" if self.is_minute else "SECOND",
            "intervalNum": 1 if self.is_minute else self.seconds,
            "limit": self.spot if road == "spot" else self.um,
        }
        raw = {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5}
        return [weight, {**raw, "limit": 300_000}] if road == "spot" else [weight]


def describe(one: MarketListing, road: Road) -> dict[str, Any]:
    """A symbol in the words of its road."""
    return _spot_symbol(one) if road == "spot" else _futures_symbol(one)


def _eighths(units: int) -> str:
    """A number of units of the eighth decimal, as text."""
    return f"{units // 10**8}.{units % 10**8:08d}"


def _spot_symbol(one: MarketListing) -> dict[str, Any]:
    """A symbol as spot describes it."""
    return {
        "symbol": one.symbol,
        "status": "TRADING" if one.is_trading else "BREAK",
        "baseAsset": one.base,
        "baseAssetPrecision": 8,
        "quoteAsset": one.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": one.is_trading,
        "isMarginTradingAllowed": False,
        "filters": _filters(one),
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _futures_symbol(one: MarketListing) -> dict[str, Any]:
    """A symbol as futures describes it."""
    return {
        "symbol": one.symbol,
        "pair": one.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": one.onboard_ms,
        "status": "TRADING" if one.is_trading else "SETTLING",
        "baseAsset": one.base,
        "quoteAsset": one.quote,
        "marginAsset": one.quote,
        "filters": _filters(one),
    }


def _filters(one: MarketListing) -> list[dict[str, str]]:
    """The grid that prices and quantities lie on."""
    tick, step = _eighths(one.tick), _eighths(one.step)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": "1000000.00000000",
            "tickSize": tick,
        },
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000.00000000", "stepSize": step},
    ]
