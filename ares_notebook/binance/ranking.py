"""Which symbols of spot are traded most."""

from __future__ import annotations

import json
from functools import partial

from ares_notebook.binance.api import Api
from ares_notebook.binance.http import Ask
from ares_notebook.errors import BadAnswer
from ares_notebook.model.markets import SPOT

# Of all symbols at once [rest-api.md, "24hr ticker price change statistics"].
_WEIGHT = 80
_MOST_BYTES = 8 << 20


async def symbols_by_volume(api: Api, quote: str) -> tuple[str, ...]:
    """The symbols of spot that end in *quote*, those with the largest volume of the last 24 hours first."""
    ask = partial(
        Ask,
        description="the volumes of the last 24 hours",
        params={"type": "MINI"},
        weight=_WEIGHT,
        most_bytes=_MOST_BYTES,
    )
    volumes = await api.ask(SPOT, "ticker/24hr", ask, _volumes)
    own = [symbol for symbol in volumes if symbol.endswith(quote) and volumes[symbol] > 0]
    return tuple(sorted(own, key=lambda symbol: (-volumes[symbol], symbol)))


def _volumes(body: bytes) -> dict[str, float]:
    """By symbol, what changed hands in the quote asset."""
    try:
        return {str(each["symbol"]): float(each["quoteVolume"]) for each in json.loads(body)}
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        msg = f"the exchange was asked for its volumes, and something else came: {body[:80]!r}"
        raise BadAnswer(msg) from error
