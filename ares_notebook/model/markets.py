"""The markets as data: where the API and the archive of each are, and how its symbols are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ares_notebook.errors import BadArgument

FEW_SYMBOLS = 5
"""About more symbols than these, the API is asked for all at once where it can be, not for each."""


# Compared by identity, as datasets are.
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Market:
    """One market of the exchange: its symbols, its API, and its folder in the archive."""

    # As users write it in ``market=``.
    name: str
    # In a sentence.
    label: str
    # One of its symbols.
    example: str
    # The settings with the URL of its API, and of the host that is asked where that one is closed;
    # empty without one.
    url_field: str
    fallback_field: str
    # How paths of its API begin.
    api: str
    # Request weight of ``exchangeInfo``, and whether it can be asked for one symbol.
    info_weight: int
    is_info_by_symbol: bool
    # Request weight a window of so many seconds, until the exchange states its own.
    limit: tuple[int, float]
    # When it began, in milliseconds since the epoch.
    began_ms: int
    # The largest window of a page of candles, in milliseconds; 0 without one.
    most_window_ms: int
    # Whether a page holds the newest rows of its window; else the oldest.
    has_newest_first: bool
    # Whether trades of any time can be asked for by time; else only by id.
    has_trades_by_time: bool
    # The highest id that the first trade of a symbol has.
    first_id: int
    # Whether exchangeInfo tells when a symbol was listed.
    has_onboard_date: bool
    # Whether it halts at times, so that rows of the last hours need not come.
    has_halts: bool
    # Its folder in the archive.
    archive: str
    # Whether a listing of the archive may end long before its files do.
    has_late_listing: bool
    # Whether the names of its perpetuals differ from those of their pairs.
    names_contracts: bool
    # Matches its symbols, of those that are symbols of any market.
    symbols: re.Pattern[str]
    # US dollars of one contract, by how a symbol begins; empty where quantities are in the base asset.
    contracts_usd: tuple[tuple[str, int], ...] = ()

    def __reduce__(self) -> tuple[Callable[[str], Market], tuple[str]]:
        # Unpickled in another process it must be the same object, since it is compared by identity.
        return market_named, (self.name,)

    def __repr__(self) -> str:
        return f"<Market {self.name}>"

    def has(self, symbol: str) -> bool:
        """Whether *symbol* is written as those of this market are."""
        return bool(self.symbols.fullmatch(symbol))

    def contract_usd(self, symbol: str) -> int:
        """US dollars of one contract of *symbol*; 0 where a quantity is in the base asset."""
        return next((usd for start, usd in self.contracts_usd if symbol.startswith(start)), 0)


_DAY_MS = 86_400_000
# COIN-M quotes in USD itself: BTCUSD_PERP, BTCUSD_250926, and the pair BTCUSD of an index. A name on
# BUSD is one of USD-M, which had BTCBUSD_210129; of the coins of COIN-M only BNB ends so.
_COIN = r"\w+USD_PERP|(?:BNB|\w*[^\WB])USD(?:_\d{6})?"

SPOT = Market(
    name="spot",
    label="spot",
    example="BTCUSDT",
    url_field="spot_url",
    fallback_field="spot_fallback_url",
    api="/api/v3/",
    info_weight=20,
    is_info_by_symbol=True,
    limit=(6000, 60.0),
    began_ms=1_498_867_200_000,
    most_window_ms=0,
    has_newest_first=False,
    has_trades_by_time=True,
    first_id=0,
    has_onboard_date=False,
    has_halts=True,
    archive="data/spot/",
    names_contracts=False,
    has_late_listing=False,
    symbols=re.compile(r".+"),
)
"""The spot market."""

UM = Market(
    name="um",
    label="USD-M futures",
    example="BTCUSDT",
    url_field="futures_url",
    fallback_field="",
    api="/fapi/v1/",
    info_weight=1,
    is_info_by_symbol=False,
    limit=(2400, 60.0),
    began_ms=1_567_296_000_000,
    most_window_ms=0,
    has_newest_first=False,
    has_trades_by_time=False,
    first_id=1,
    has_onboard_date=True,
    has_halts=False,
    archive="data/futures/um/",
    names_contracts=False,
    has_late_listing=True,
    symbols=re.compile(r"(?!\w+USD_PERP$).+"),
)
"""Perpetuals and delivery contracts that are margined in USDT and USDC."""

CM = Market(
    name="cm",
    label="COIN-M futures",
    example="BTCUSD_PERP",
    url_field="coin_futures_url",
    fallback_field="",
    api="/dapi/v1/",
    info_weight=1,
    is_info_by_symbol=False,
    limit=(2400, 60.0),
    began_ms=1_590_969_600_000,
    most_window_ms=200 * _DAY_MS,
    has_newest_first=True,
    has_trades_by_time=False,
    first_id=1,
    has_onboard_date=True,
    has_halts=False,
    archive="data/futures/cm/",
    names_contracts=True,
    has_late_listing=True,
    symbols=re.compile(_COIN),
    # [recorded exchangeInfo, contractSize]
    contracts_usd=(("BTCUSD_", 100), ("", 10)),
)
"""Perpetuals and delivery contracts that are margined in the coin itself."""

MARKETS = (SPOT, UM, CM)
"""All markets."""

_ALIASES = {"futures": "um", "usdm": "um", "usd-m": "um", "coinm": "cm", "coin-m": "cm"}


def market_named(name: str) -> Market:
    """The market that users call *name*."""
    wanted = _ALIASES.get(name, name) if isinstance(name, str) else name
    found = next((market for market in MARKETS if market.name == wanted), None)
    if found is None:
        known = ", ".join(repr(market.name) for market in MARKETS)
        msg = f"market={name!r} is none of {known}"
        raise BadArgument(msg)
    return found
