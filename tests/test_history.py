"""The download history: a row a source."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.errors import NeverDownloaded

DAY = 1 / 365.25
COLUMNS = [
    "at",
    "dataset",
    "symbol",
    "interval",
    "file",
    "start",
    "end",
    "road",
    "url",
    "sha256",
]


@pytest.fixture
async def filled(settings):
    """Two months of hours, of which the second is not over, and a day of trades."""
    await ares.download_klines_data("BTCUSDT", "1h", 20 * DAY, end="2025-03-10", settings=settings)
    await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-10", settings=settings)
    return settings


def test_a_row_a_source(exchange, filled):
    """Each file has a row for each road that brought rows of it, with address and checksum."""
    table = ares.download_history(settings=filled).set_index("file")
    month = table.loc["klines_BTCUSDT_1h_2025-02.csv"]

    assert ares.download_history(settings=filled).columns.tolist() == COLUMNS
    assert (month["road"], month["dataset"], month["interval"]) == (
        "monthly archive",
        "klines",
        "1h",
    )
    assert month["url"].startswith(exchange.url)
    assert len(month["sha256"]) == 64
    assert (month["start"], month["end"]) == (
        pd.Timestamp("2025-02-01", tz="UTC"),
        pd.Timestamp("2025-03-01", tz="UTC"),
    )
    assert table.loc["aggtrades_BTCUSDT_2025-03-09.csv", "road"] == "daily archive"


async def test_times_are_utc_and_ascending(filled):
    """What came later stands later, in aware UTC, and a file that was completed has both runs."""
    before = datetime.now(UTC)
    await ares.download_klines_data("BTCUSDT", "1h", 20 * DAY, end="2025-03-11", settings=filled)
    table = ares.download_history("BTCUSDT", "1h", settings=filled)

    assert {"datetime64[us, UTC]"} == {str(table[name].dtype) for name in ("at", "start", "end")}
    assert table["at"].is_monotonic_increasing
    late = table[table["at"] >= before.replace(microsecond=0)]
    assert "klines_BTCUSDT_1h_2025-03.csv" in set(late["file"])


def test_filters(filled):
    """An interval leaves trades in, another interval's candles out."""
    assert set(ares.download_history("BTCUSDT", "1m", settings=filled)["dataset"]) == {"agg_trades"}
    with pytest.raises(NeverDownloaded, match="ETHUSDT"):
        ares.download_history("ETHUSDT", settings=filled)


def test_without_receipts_there_is_no_history(filled):
    """A cache whose receipts are lost has an empty table with all its columns and types."""
    for path in (filled.cache_dir / ".ares" / "receipts").iterdir():
        path.unlink()
    table = ares.download_history(settings=filled)

    assert table.empty
    assert table.columns.tolist() == COLUMNS
    assert str(table["at"].dtype) == "datetime64[us, UTC]"


def test_a_moment_that_is_none_is_left_open(filled):
    """A receipt that somebody has edited does not keep the others from being told."""
    path = filled.cache_dir / ".ares" / "receipts" / "klines_BTCUSDT_1h_2025-02.csv.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["sources"][0]["at"] = "yesterday"
    path.write_text(json.dumps(data), encoding="utf-8")
    table = ares.download_history(settings=filled).set_index("file")

    assert pd.isna(table.loc["klines_BTCUSDT_1h_2025-02.csv", "at"])
    assert table["at"].notna().sum() == len(table) - 1


def test_history_asks_nothing_and_writes_nothing(exchange, filled):
    """Looking costs no request and changes no file."""
    before = {path: path.stat().st_mtime_ns for path in filled.cache_dir.rglob("*")}
    exchange.requests.clear()
    ares.download_history(settings=filled)

    assert exchange.requests == []
    assert before == {path: path.stat().st_mtime_ns for path in filled.cache_dir.rglob("*")}
