"""What the columns of a frame are called on an axis, and in which unit."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

from ares_notebook.model.datasets import DATASETS, KLINES, Dataset
from ares_notebook.model.markets import CM

Attrs = Mapping[Hashable, Any]
_PERCENT = 100
# Of spot and of futures; the longer ones first, since USD ends none of the others.
_QUOTES = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "USDS", "BIDR", "BVND", "IDRT", "BKRW"),
    *("USD1", "EURI", "AEUR", "DOGE", "BTC", "ETH", "BNB", "XRP", "TRX", "SOL", "DOT", "DAI"),
    *("PAX", "VAI", "UST", "NGN", "RUB", "TRY", "EUR", "ZAR", "UAH", "GBP", "BRL", "AUD"),
    *("PLN", "RON", "ARS", "JPY", "MXN", "CZK", "COP", "USD"),
)
_RATIOS = {
    "count_toptrader_long_short_ratio": "long/short ratio, accounts of top traders",
    "sum_toptrader_long_short_ratio": "long/short ratio, positions of top traders",
    "count_long_short_ratio": "long/short ratio, all accounts",
    "sum_taker_long_short_vol_ratio": "taker buy/sell ratio, volume",
}


class Quantity(NamedTuple):
    """What a column holds."""

    # Its name with its unit.
    words: str
    # By what the numbers are multiplied to be in that unit.
    factor: int = 1


def assets_of(symbol: str) -> tuple[str, str]:
    """The base and the quote asset of a symbol; empty where they cannot be told from its name."""
    # Contracts: BTCUSD_PERP, BTCUSDT_250328.
    name, _, _ = symbol.partition("_")
    quote = next((each for each in _QUOTES if name.endswith(each) and name != each), "")
    return (name.removesuffix(quote), quote) if quote else ("", "")


def dataset_of(attrs: Attrs) -> Dataset:
    """The dataset of a frame; that of spot where its attrs do not tell."""
    return next((each for each in DATASETS if each.name == attrs.get("dataset")), KLINES)


def quantity_of(column: str, attrs: Attrs) -> Quantity:
    """What a column holds, as an axis says it."""
    base, quote = assets_of(str(attrs.get("symbol") or ""))
    counts_contracts = _is_coin_m(attrs)
    if column == "close":
        if dataset_of(attrs).price_names is None:
            return Quantity("premium, %", _PERCENT)
        return Quantity(_with_unit("price", quote))
    if column == "fundingRate":
        return Quantity("funding rate, %", _PERCENT)
    if column in ("volume", "sum_open_interest"):
        words = "volume" if column == "volume" else "open interest"
        return Quantity(_with_unit(words, "contracts" if counts_contracts else base))
    if column == "sum_open_interest_value":
        return Quantity(_with_unit("open interest", base if counts_contracts else quote))
    return Quantity(_RATIOS.get(column, column))


def _with_unit(words: str, unit: str) -> str:
    return f"{words}, {unit}" if unit else words


def _is_coin_m(attrs: Attrs) -> bool:
    """Whether the rows are of COIN-M, whose amounts count contracts."""
    markets = dataset_of(attrs).markets
    symbol = str(attrs.get("symbol") or "")
    return next((each for each in markets if each.has(symbol)), markets[-1]) is CM
