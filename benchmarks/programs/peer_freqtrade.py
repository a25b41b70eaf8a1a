"""freqtrade's download-data: archive and REST, parsed, one Feather file a pair; no checksums."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import freqtrade.exchange.binance_public_data as archive
from freqtrade.main import main

task = json.loads(sys.argv[1])
url, out = task["url"], Path(task["out"])
is_funding = task["kind"] == "funding"
pair = f"{task['symbol'].removesuffix('USDT')}/USDT" + (":USDT" if is_funding else "")


def moved(make: Callable[..., str]) -> Callable[..., str]:
    """The same address on the local server."""

    def here(*arguments: Any, **named: Any) -> str:
        return make(*arguments, **named).replace("https://data.binance.vision", url)

    return here


for name in ("binance_vision_ohlcv_zip_url", "binance_vision_trades_zip_url"):
    setattr(archive, name, moved(getattr(archive, name)))

api = {"public": "api/v3", "private": "api/v3", "v1": "api/v1", "fapiPublic": "fapi/v1",
       "fapiPublicV2": "fapi/v2", "fapiPrivate": "fapi/v1", "sapi": "sapi/v1"}  # fmt: skip
config = {
    "max_open_trades": 1,
    "stake_currency": "USDT",
    "stake_amount": 10,
    "dry_run": True,
    "trading_mode": "futures" if is_funding else "spot",
    "margin_mode": "isolated" if is_funding else "",
    "exchange": {
        "name": "binance",
        "key": "",
        "secret": "",
        "pair_whitelist": [pair],
        "ccxt_config": {
            "urls": {"api": {each: f"{url}/{path}" for each, path in api.items()}},
            "options": {
                "fetchMarkets": {"types": ["linear" if is_funding else "spot"]},
                "fetchCurrencies": False,
            },
        },
    },
    "pairlists": [{"method": "StaticPairList"}],
}
(out / "data").mkdir(parents=True, exist_ok=True)
settings = out.with_name("freqtrade.json")
settings.write_text(json.dumps(config))
span = f"{task['start']}-{task['end']}".replace("-", "")
what = {
    "klines": ["-t", task.get("interval", "")],
    "trades": ["--dl-trades"],
    "funding": ["--candle-types", "funding_rate", "-t", "1h"],
}[task["kind"]]
main(
    ["download-data", "-c", str(settings), "--userdir", str(out), "-d", str(out / "data"),
     "--timerange", f"{span[:8]}-{span[8:]}", *what]
)  # fmt: skip
