"""The example of a step1: it hands on what is good, and stops the pipeline where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import ares_notebook as ares

PROGRAM = Path(__file__).parents[1] / "examples" / "step1_data_collection.py"


@pytest.fixture
def step1(settings, tmp_path):
    """Run the example against the demo exchange."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        names = ("spot_url", "futures_url", "archive_url", "archive_listing_url", "cache_dir")
        reported = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in names}
        retries = {"ARES_MAX_RETRIES": "0", "ARES_MARKET": "demo"}
        given = ["BTCUSDT", "1h", "--years", repr(2 / 365.25), "--end", "2025-03-05", *arguments]
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, str(PROGRAM), *given],
            cwd=tmp_path,
            env={**os.environ, **reported, **retries, **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def test_step1_hands_on_one_file_a_dataset(step1, settings, tmp_path):
    """The consolidated files hold what the loaders give, complete."""
    done = step1()
    folder = tmp_path / "step1_data"

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        "BTCUSDT_agg_trades.parquet",
        "BTCUSDT_futures.parquet",
        "BTCUSDT_klines.parquet",
    ]
    frame = pd.read_parquet(folder / "BTCUSDT_klines.parquet")
    truth = ares.load_klines("BTCUSDT", "1h", "2025-03-03", "2025-03-05", settings=settings)
    pd.testing.assert_frame_equal(frame, truth, check_freq=False)
    assert frame.attrs["complete"] is True


def test_step1_takes_datasets_of_futures(step1, settings, tmp_path):
    """Candles of the perpetual and its open interest are consolidated as the loader gives them."""
    done = step1("--datasets", "um_klines,metrics")
    folder = tmp_path / "step1_data"

    assert done.returncode == 0, done.stderr
    for name in ("um_klines", "metrics"):
        frame = pd.read_parquet(folder / f"BTCUSDT_{name}.parquet")
        truth = ares.load_rows(name, "BTCUSDT", "1h", "2025-03-03", "2025-03-05", settings=settings)
        pd.testing.assert_frame_equal(frame, truth, check_freq=False)


def test_poor_quality_stops_the_pipeline(step1, tmp_path):
    """Below a threshold the exit status is 1, one line says why, and earlier files stay."""
    assert step1().returncode == 0
    path = tmp_path / "step1_data" / "BTCUSDT_agg_trades.parquet"
    before = path.stat()
    done = step1(ARES_MAX_WARNINGS="0", ARES_PRICE_JUMP_SHARE="0.00001")
    last = done.stderr.strip().splitlines()[-1]

    assert done.returncode == 1
    assert last.startswith("step1 stops the pipeline: quality is below threshold: ")
    assert "max_warnings allows 0" in last
    assert "Traceback" not in done.stderr
    assert path.stat() == before


def test_an_exchange_out_of_reach_stops_the_pipeline(step1, tmp_path):
    """Where nothing can be had nothing is handed on, not even an empty file."""
    nobody = "http://127.0.0.1:9"
    done = step1(
        ARES_SPOT_URL=nobody,
        ARES_SPOT_FALLBACK_URL=nobody,
        ARES_FUTURES_URL=nobody,
        ARES_ARCHIVE_URL=nobody,
        ARES_ARCHIVE_LISTING_URL=nobody,
    )

    assert done.returncode == 1
    assert "step1 stops the pipeline: 4 of 4 files failed" in done.stderr
    assert not (tmp_path / "step1_data").exists()
