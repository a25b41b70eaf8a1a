"""The configuration of the made-up project, in the words of the real one."""

from __future__ import annotations

from typing import Any

CONFIG: dict[str, Any] = {
    "trading_symbol": "BTCUSDT",
    "trading_interval": "1h",
    "exchange_name": "BINANCE",
    # Two days and a little, so that a test is fast.
    "lookback_years": 0.006,
    "MODEL_TRAINING": {"data_retention_days": 730},
}


class AresSettings:
    """Secrets of the project; market data needs none."""

    binance_api_key = ""
    binance_api_secret = ""


settings = AresSettings()
