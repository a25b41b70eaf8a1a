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


def moved(make: Callable[..., str]) -> Callable[..., str]:
    """The same address on the local server."""

    def here(*arguments: Any, **named: Any) -> str:
        return make(*arguments, **named).replace("https://data.binance.vision", url)

    return here


for name in ("binance_vision_ohlcv_zip_url", "binance_vision_trades_zip_url"):
    setattr(archive, name, moved(getattr(archive, name)))

api = {"public": "api/v3", "private": "api/v3", "v1": "api/v1", "fapiPublic": "fapi/v1",
       "sapi": "sapi/v1"}  # fmt: skip
config = {
    "max_open_trades": 1,
    "stake_currency": "USDT",
    "stake_amount": 10,
    "dry_run": True,
    "trading_mode": "spot",
    "exchange": {
        "name": "binance",
        "key": "",
        "secret": "",
        "pair_whitelist": ["BTC/USDT"],
        "ccxt_config": {
            "urls": {"api": {each: f"{url}/{path}" for each, path in api.items()}},
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
        },
    },
    "pairlists": [{"method": "StaticPairList"}],
}
(out / "data").mkdir(parents=True)
(out / "config.json").write_text(json.dumps(config))
span = f"{task['start']}-{task['end']}".replace("-", "")
what = ["--dl-trades"] if task["kind"] == "trades" else ["-t", task["interval"]]
main(
    ["download-data", "-c", str(out / "config.json"), "--userdir", str(out), "-d", str(out / "data"),
     "--timerange", f"{span[:8]}-{span[8:]}", *what]
)  # fmt: skip
