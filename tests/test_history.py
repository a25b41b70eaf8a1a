"""The download history: a row a source."""

from __future__ import annotations

import json

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
    """Each file has a row for each source that brought rows of it, with address and checksum."""
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


def redated(settings, file: str, at: str) -> None:
    """Let the receipt of a file tell that it came at another time."""
    path = settings.cache_dir / ".ares" / "receipts" / f"{file}.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for source in data["sources"]:
        source["at"] = at
    path.write_text(json.dumps(data), encoding="utf-8")


def test_what_came_last_stands_last(filled):
    """Rows are in order of time, not of names, in aware UTC."""
    redated(filled, "aggtrades_BTCUSDT_2025-03-09.csv", "2099-01-01T02:00:00+02:00")
    table = ares.download_history(settings=filled)

    assert {"datetime64[us, UTC]"} == {str(table[name].dtype) for name in ("at", "start", "end")}
    assert table["at"].iloc[-1] == pd.Timestamp("2099-01-01", tz="UTC")
    assert table["file"].iloc[-1] == "aggtrades_BTCUSDT_2025-03-09.csv"
    assert table.index.tolist() == list(range(len(table)))


def test_filters(filled):
    """An interval means its k-lines alone, and a dataset that is named means that one."""
    only = {"settings": filled, "datasets": ["agg_trades"]}
    assert set(ares.download_history("BTCUSDT", "1h", settings=filled)["dataset"]) == {"klines"}
    assert set(ares.download_history("BTCUSDT", **only)["dataset"]) == {"agg_trades"}
    with pytest.raises(NeverDownloaded, match="nothing of BTCUSDT 1m klines"):
        ares.download_history("BTCUSDT", "1m", settings=filled)
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
    redated(filled, "klines_BTCUSDT_1h_2025-02.csv", "yesterday")
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
