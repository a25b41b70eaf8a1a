"""
step1 of a training pipeline: download the data, check it against thresholds, write it consolidated.

    python examples/step1_data_collection.py BTCUSDT 1h --years 0.25 --demo

Exit status 0: the files are in --out. Otherwise 1: one line says why, and the files of an
earlier run are unchanged. Thresholds, retries and whom to notify come from the environment
(ARES_MIN_COMPLETE_SHARE, ARES_MAX_ERRORS, ARES_NOTIFY, ...).
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd

import ares_notebook as ares
from ares_notebook.download.plan import Plan
from ares_notebook.errors import AresError

logger = logging.getLogger("step1")


async def collect(
    symbol: str,
    interval: str,
    lookback_years: float,
    *,
    out: Path,
    settings: ares.Settings,
    datasets: tuple[str, ...] = ("klines", "agg_trades", "futures"),
    end: str | None = None,
) -> dict[str, Path]:
    """
    Download, validate, consolidate; write nothing that does not meet the thresholds.

    Raises
    ------
    IncompleteDownload
        If a file failed.
    PoorQuality
        If the data is below a threshold.
    """
    report = await ares.download_all_data(
        symbol, interval, lookback_years, end=end, datasets=datasets, settings=settings
    )
    logger.info("%s", report)
    report.raise_for_failures()

    quality = await ares.assure_quality(symbol, interval, settings=settings, datasets=datasets)
    logger.info("%s", quality)

    window = ares.plan_downloads(
        symbol, interval, lookback_years, end=end, datasets=datasets, settings=settings
    )
    frames = {name: loaded(name, interval, window) for name in datasets}
    return {
        name: consolidated(frame, out / f"{window.symbol}_{name}.parquet")
        for name, frame in frames.items()
    }


def loaded(dataset: str, interval: str, window: Plan) -> pd.DataFrame:
    """One dataset of the window as a frame; its ``attrs`` say whether it is complete."""
    return ares.load_rows(
        dataset, window.symbol, interval, window.start, window.end, settings=window.settings
    )


def consolidated(frame: pd.DataFrame, path: Path) -> Path:
    """Write one file whole or not at all: the next step must never read half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    frame.to_parquet(part)
    part.replace(path)
    return path


def main() -> int:
    """Run the step; the exit status tells the pipeline whether to go on."""
    words = argparse.ArgumentParser(description="step1: collect the data of a symbol.")
    words.add_argument("symbol")
    words.add_argument("interval")
    words.add_argument("--years", type=float, default=1.0)
    words.add_argument("--end", help="nothing at or after this moment, UTC; now by default")
    words.add_argument("--datasets", default="klines,agg_trades,futures")
    words.add_argument("--out", type=Path, default=Path("step1_data"))
    words.add_argument("--demo", action="store_true", help="a made-up market, offline")
    given = words.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    # A stand-in is chosen by name, and never fallen back to.
    with ares.DemoExchange() if given.demo else nullcontext() as exchange:
        try:
            files = ares.run(
                collect(
                    given.symbol,
                    given.interval,
                    given.years,
                    out=given.out,
                    settings=exchange.settings() if exchange else ares.Settings(),
                    datasets=tuple(given.datasets.split(",")),
                    end=given.end,
                )
            )
        except AresError as error:
            print(f"step1 stops the pipeline: {error}", file=sys.stderr)
            return 1
    for name, path in files.items():
        print(f"{name}: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
