"""Coming from the original downloader: the shim of the guide works as it is printed there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ares_notebook

GUIDE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text(encoding="utf-8")
SHIM = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)[0]
CONFIG = """\
CONFIG = {"SYMBOL": "ETHUSDT", "INTERVAL": "4h", "LOOKBACK_YEARS": 1, "MODEL_TRAINING": {}}
"""
CALLER = """\
import asyncio
from src.training.steps.data_downloader import CACHE_DIR, download_all_data, get_monthly_periods

async def step1():
    success = await download_all_data("BTCUSDT", "1h", 0.01)
    if success:
        print("success", len(get_monthly_periods(1)), CACHE_DIR)

asyncio.run(step1())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as the original downloader's was, with the shim in the place of the module."""
    steps = tmp_path / "src" / "training" / "steps"
    steps.mkdir(parents=True)
    for folder in (steps, steps.parent, steps.parent.parent):
        (folder / "__init__.py").touch()
    (steps / "data_downloader.py").write_text(SHIM)
    (tmp_path / "src" / "config.py").write_text(CONFIG)
    (tmp_path / "step1.py").write_text(CALLER)
    return tmp_path


def test_the_shim_says_where_it_lies():
    """The shim is a remark that says where it lies, and code that is that of the made-up project."""
    own = Path(__file__).parent / "ares_project/src/training/steps/data_downloader.py"

    assert SHIM.startswith("# src/training/steps/data_downloader.py")
    assert own.read_text() == SHIM


def test_old_callers_go_on_working(project, settings):
    """A program that imports the original downloader's module gets its data, and takes the report for True."""
    names = ("spot_url", "futures_url", "archive_url", "archive_listing_url", "cache_dir", "market")
    reported = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in names}
    done = subprocess.run(
        [sys.executable, "step1.py"],
        cwd=project,
        env={**os.environ, **reported},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.stdout.split() == ["success", "13", "data_cache"], done.stderr
    assert {path.name.split("_")[0] for path in settings.cache_dir.glob("*.csv")} == {
        "klines",
        "aggtrades",
        "futures",
    }


def test_every_old_name_is_told_of():
    """Each public name that the original downloader had stands in the guide, and is there."""
    old = [
        "download_all_data",
        "download_all_data_with_consolidation",
        "download_klines_data",
        "download_agg_trades_data",
        "download_futures_data",
        "download_with_retry",
        "get_monthly_periods",
        "get_daily_periods",
        "fetch_missing_data",
        "CACHE_DIR",
        "MAX_RETRIES",
        "RETRY_DELAY_SECONDS",
    ]

    assert all(name in GUIDE and hasattr(ares_notebook, name) for name in old)
