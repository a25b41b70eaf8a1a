"""
step1 of the made-up project, as it was written for the original downloader.

Nothing in it knows that another package does the work now.
"""

from __future__ import annotations

import asyncio
import glob
import sys
from pathlib import Path

import pandas as pd

project_root = Path(__file__).parents[3]
sys.path.insert(0, str(project_root))

from src.config import CONFIG  # noqa: E402 - as such projects do
from src.training.steps.data_downloader import (  # noqa: E402 - the same
    CACHE_DIR,
    download_all_data_with_consolidation,
    get_monthly_periods,
)
from src.utils.logger import setup_logging, system_logger  # noqa: E402 - the same

logger = system_logger.getChild("Step1DataCollection")
FOLDER = Path("data", "training")


def consolidated(pattern: str, key: str) -> pd.DataFrame:
    """All files of a kind as one table."""
    names = sorted(glob.glob(f"{CACHE_DIR}/{pattern}"))  # noqa: PTH207 - as it was
    frames = [pd.read_csv(name, parse_dates=["timestamp"], date_format="ISO8601") for name in names]
    return pd.concat(frames, ignore_index=True).drop_duplicates(key).sort_values(key)


async def run_step() -> bool:
    """Download, consolidate, store."""
    symbol, interval = CONFIG["trading_symbol"], CONFIG["trading_interval"]
    exchange = CONFIG["exchange_name"]
    success = await download_all_data_with_consolidation(symbol, exchange, interval)
    if not success:
        logger.error("Data download failed")
        return False
    tables = {
        "klines": consolidated(f"klines_{exchange}_{symbol}_{interval}_*.csv", "timestamp"),
        "agg_trades": consolidated(f"aggtrades_{exchange}_{symbol}_*.csv", "agg_trade_id"),
        "futures": consolidated(f"futures_{exchange}_{symbol}_*.csv", "timestamp"),
    }
    for name, table in tables.items():
        table.to_pickle(FOLDER / f"{exchange}_{symbol}_{name}.pkl")
        logger.info("%s: %d rows", name, len(table))
    logger.info("%d months", len(get_monthly_periods(CONFIG["lookback_years"])))
    return True


if __name__ == "__main__":
    setup_logging()
    FOLDER.mkdir(parents=True, exist_ok=True)
    sys.exit(0 if asyncio.run(run_step()) else 1)
