"""A made-up Ares project: its step1, its configuration and its old files, all as they were."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument

PROJECT = Path(__file__).parent / "ares_project"
STEPS = "src/training/steps"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, with an empty cache folder."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data_cache").mkdir()
    return folder


@pytest.fixture
def run_in(project, settings):
    """Run a program of the project against the demo exchange, which counts as Binance there."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        names = [name for name in vars(settings) if name.endswith("_url")]
        reported = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in names}
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, *arguments],
            cwd=project,
            env={**os.environ, **reported, "ARES_MARKET": "binance"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


async def old_files(settings, project: Path) -> dict[str, pd.DataFrame]:
    """The last days in files as the original downloader wrote them: by pandas, through floats."""
    other = settings.replace(cache_dir=settings.cache_dir.with_name("truth"))
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=2)
    await ares.download_all_data("BTCUSDT", "1h", start=start, end=today, settings=other)
    names = {"klines": "klines_BINANCE_BTCUSDT_1h", "agg_trades": "aggtrades_BINANCE_BTCUSDT", "futures": "futures_BINANCE_BTCUSDT"}  # fmt: skip
    columns = {"klines": ["open", "high", "low", "close", "volume"], "agg_trades": ["price", "quantity", "is_buyer_maker", "agg_trade_id"], "futures": ["fundingRate"]}  # fmt: skip
    truth = {}
    for name, stem in names.items():
        frame = ares.load_rows(name, "BTCUSDT", "1h", start, today, settings=other)
        truth[name] = frame.tz_localize(None)[columns[name]]
        stamps = truth[name].index.strftime("%Y-%m-%d" if name == "agg_trades" else "%Y-%m")
        # All but the last hours, which the original would have fetched next.
        until = (today - timedelta(hours=9)).replace(tzinfo=None)
        for stamp, part in truth[name].groupby(stamps):
            part[part.index < until].to_csv(project / "data_cache" / f"{stem}_{stamp}.csv")
    return truth


async def test_step1_runs_unchanged_over_its_old_files(project, run_in, settings):
    """The step finds all rows under the names that it looks for; old ones are completed, and nothing is pruned."""
    truth = await old_files(settings, project)
    before = {path.name: path.read_bytes() for path in (project / "data_cache").iterdir()}
    done = run_in(f"{STEPS}/step1_data_collection.py")
    names = {path.name for path in (project / "data_cache").glob("*.csv")}

    assert done.returncode == 0, done.stdout + done.stderr
    assert "AresSystem.Step1DataCollection - INFO - klines: " in done.stdout
    assert before.keys() <= names
    assert all("_BINANCE_" in name for name in names)
    for name, frame in truth.items():
        key = "agg_trade_id" if name == "agg_trades" else "timestamp"
        table = pd.read_pickle(project / f"data/training/BINANCE_BTCUSDT_{name}.pkl")  # noqa: S301 - our own
        expected = frame.reset_index()
        found = table[table[key].isin(expected[key])]
        assert len(found) == len(expected), name
        for column in expected.columns.drop("timestamp"):
            assert found[column].tolist() == expected[column].tolist(), column
    # Whole old days of trades are kept as they are.
    whole = min(name for name in before if name.startswith("aggtrades"))
    assert (project / "data_cache" / whole).read_bytes() == before[whole]


def test_the_shim_as_a_script_downloads(project, run_in):
    """Run by its path the shim downloads what the project's configuration names."""
    done = run_in(f"{STEPS}/data_downloader.py", "--years", "0.003")
    kinds = {path.name.partition("_")[0] for path in (project / "data_cache").glob("*.csv")}

    assert done.returncode == 0, done.stderr
    assert kinds == {"klines", "aggtrades", "futures"}
    assert list((project / "data_cache").glob("klines_BTCUSDT_1h_*.csv"))


async def test_another_exchange_is_refused(settings, exchange):
    """The original's function for another exchange is an error, and not Binance's data in silence."""
    with pytest.raises(BadArgument, match="exchange_name='MEXC': there is only"):
        await ares.download_all_data_with_consolidation("BTCUSDT", "MEXC", "1h", settings=settings)

    assert exchange.requests == []
