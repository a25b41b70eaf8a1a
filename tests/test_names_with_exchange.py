"""Cache files whose names carry the exchange, as some versions of the original downloader wrote them."""

from __future__ import annotations

import csv
import io
import logging

import pytest

import ares_notebook as ares
from ares_notebook import Settings
from ares_notebook.cache.store import Store

DAY = 1 / 365.25
COLUMNS = {
    "klines": ["timestamp", "open", "high", "low", "close", "volume"],
    "aggtrades": ["timestamp", "price", "quantity", "is_buyer_maker", "agg_trade_id"],
    "futures": ["timestamp", "fundingRate"],
}
NAMES = {
    "klines_BTCUSDT_1h_2025-02.csv": "klines_BINANCE_BTCUSDT_1h_2025-02.csv",
    "aggtrades_BTCUSDT_2025-03-01.csv": "aggtrades_BINANCE_BTCUSDT_2025-03-01.csv",
    "futures_BTCUSDT_2025-02.csv": "futures_BINANCE_BTCUSDT_2025-02.csv",
}


async def download(settings: Settings, end: str):
    """Candles, trades and funding of the days around the end of February."""
    return await ares.download_all_data("BTCUSDT", "1h", start="2025-03-01", end=end, settings=settings), await ares.download_all_data("BTCUSDT", "1h", start="2025-02-27", end="2025-03-01", datasets=("klines", "futures"), settings=settings)  # fmt: skip


@pytest.fixture
async def whole(settings) -> Settings:
    """A cache of ours that has the same, and an empty one with the files under their old names."""
    other = settings.replace(cache_dir=settings.cache_dir.with_name("whole"))
    await download(other, "2025-03-02")
    own = settings.cache_dir / ".ares"
    own.mkdir(parents=True)
    (own / "origin.json").write_text('{"market": "demo"}')
    for name, old in NAMES.items():
        columns = COLUMNS[name.partition("_")[0]]
        rows = list(csv.DictReader(io.StringIO((other.cache_dir / name).read_text())))
        text = [",".join(columns), *(",".join(row[each] for each in columns) for row in rows)]
        (settings.cache_dir / old).write_text("\n".join(text) + "\n")
    return other


def on_disk(settings: Settings) -> set[str]:
    """The names of the cache files."""
    return {path.name for path in settings.cache_dir.glob("*.csv*")}


async def test_they_are_read_as_the_symbols(settings, whole):
    """Symbols, coverage and loads know the files as Binance's BTCUSDT, and the plan says what becomes of them."""
    frame = ares.load_klines("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=settings)
    truth = ares.load_klines("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=whole)
    table = ares.coverage(settings=settings)
    plan = ares.plan_downloads("BTCUSDT", "1h", start="2025-03-01", end="2025-03-02", settings=settings)  # fmt: skip

    assert ares.symbols_in_cache(settings=settings) == ["BTCUSDT"]
    assert frame["close"].equals(truth["close"])
    assert set(table["file"]) == set(NAMES)
    assert set(table["source"]) == {"legacy", "unknown"}
    trades = next(step for step in plan.steps if step.file.dataset.name == "agg_trades")
    assert trades.action != "fetch"


async def test_they_are_completed_under_their_names(exchange, settings, whole):
    """What a download adds or replaces keeps the exchange in its name, new files of the series too, and none is there twice."""
    trades = settings.cache_dir / NAMES["aggtrades_BTCUSDT_2025-03-01.csv"]
    text = trades.read_bytes()
    exchange.requests.clear()
    reports = await download(settings, "2025-03-02")
    zips = [each.path for each in exchange.requests if "aggTrades" in each.path and ".zip" in each.path]  # fmt: skip
    exchange.requests.clear()
    again = await download(settings, "2025-03-02")

    assert all(report.complete for report in (*reports, *again))
    assert exchange.requests == []
    assert zips == []
    assert trades.read_bytes() == text
    assert on_disk(settings) == {name.replace("_", "_BINANCE_", 1) for name in on_disk(whole)}
    for name in ("klines_BTCUSDT_1h_2025-02.csv", "klines_BTCUSDT_1h_2025-03.csv"):
        old = settings.cache_dir / name.replace("_", "_BINANCE_", 1)
        assert old.read_bytes() == (whole.cache_dir / name).read_bytes()


async def test_a_file_of_our_own_name_comes_first(settings, whole):
    """Where a file is there under both names ours counts, and pruning deletes both."""
    name, old = next(iter(NAMES.items()))
    (settings.cache_dir / name).write_bytes((whole.cache_dir / name).read_bytes())
    store = Store(settings)
    counted = [store.path_of(file).name for file in store.files() if file.series.interval]
    ares.prune_cache(keep=30, dry_run=False, settings=settings)

    assert counted == [name]
    assert old not in on_disk(settings)
    assert name not in on_disk(settings)


@pytest.mark.usefixtures("whole")
async def test_names_of_another_exchange_are_not_ours(settings, caplog):
    """Files of another exchange are left alone, and no symbol is made of its name."""
    caplog.set_level(logging.WARNING)
    other = settings.cache_dir / "klines_MEXC_ETHUSDT_1h_2025-02.csv"
    other.write_text("timestamp,open,high,low,close,volume\n")

    assert ares.symbols_in_cache(settings=settings) == ["BTCUSDT"]
    assert caplog.text == ""
