"""The table of what the cache holds."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument, NeverDownloaded

DAY = 1 / 365.25
COLUMNS = [
    "dataset",
    "symbol",
    "interval",
    "file",
    "start",
    "end",
    "rows",
    "expected",
    "share",
    "first",
    "last",
    "holes",
    "confirmed_absent",
    "source",
    "final",
    "state",
]


@pytest.fixture
async def filled(settings):
    """A cache with two months of hours, a day of trades, two months of funding."""
    await ares.download_klines_data("BTCUSDT", "1h", 20 * DAY, end="2025-03-15", settings=settings)
    await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-15", settings=settings)
    await ares.download_futures_data("BTCUSDT", 20 * DAY, end="2025-03-15", settings=settings)
    return settings


def test_a_row_a_file(filled):
    """There is a row for each cache file, with its name and the promised columns."""
    table = ares.coverage(settings=filled)

    assert sorted(path.name for path in filled.cache_dir.glob("*.csv")) == table["file"].tolist()
    assert table.columns.tolist() == COLUMNS
    assert {"klines", "agg_trades", "futures"} == set(table["dataset"])


def test_numbers_of_a_complete_cache(filled):
    """Rows, expectation and confirmed absences of a complete cache add up, and no gap is left."""
    table = ares.coverage(settings=filled, end="2025-03-15").set_index("file")
    hours = table.loc["klines_BTCUSDT_1h_2025-03.csv"]

    # 14 days of hours, two of them within the halt.
    assert (hours["rows"], hours["expected"], hours["confirmed_absent"]) == (334, 336, 2)
    assert hours["share"] == pytest.approx(334 / 336)
    assert (table["rows"] + table["confirmed_absent"] == table["expected"]).all()
    assert {0} == set(table["holes"])


def test_running_file_is_not_final(filled):
    """A month that was over at the end is final, a running one is not."""
    table = ares.coverage(settings=filled, end="2025-03-15").set_index("file")

    assert table.loc["klines_BTCUSDT_1h_2025-02.csv", "final"]
    assert not table.loc["klines_BTCUSDT_1h_2025-03.csv", "final"]
    assert table.loc["aggtrades_BTCUSDT_2025-03-14.csv", "final"]


def test_times_are_utc(filled):
    """Starts, ends, firsts and lasts are aware UTC moments."""
    table = ares.coverage("BTCUSDT", "1h", settings=filled).sort_values("file", ascending=False)

    assert {"UTC"} == {str(table[name].dt.tz) for name in ("start", "end", "first", "last")}
    assert table["first"].tolist()[1] == pd.Timestamp("2025-02-01", tz="UTC")
    assert table["last"].tolist()[1] == pd.Timestamp("2025-02-28 23:00", tz="UTC")


def test_source_is_reported(filled):
    """The table says over which source the rows came."""
    table = ares.coverage(settings=filled).set_index("file")

    assert table.loc["klines_BTCUSDT_1h_2025-02.csv", "source"] == "archive"
    assert table.loc["futures_BTCUSDT_2025-03.csv", "source"] == "rest"


def test_lost_receipts_make_the_source_unknown(filled):
    """Without receipts rows are measured anew, the source is unknown, and halts are gaps again."""
    shutil.rmtree(filled.cache_dir / ".ares")
    table = ares.coverage(settings=filled, end="2025-03-15").set_index("file")

    assert {"unknown"} == set(table["source"])
    assert table.loc["klines_BTCUSDT_1h_2025-03.csv", "rows"] == 334
    assert table.loc["klines_BTCUSDT_1h_2025-03.csv", "holes"] == 1
    assert not table["final"].any()


def test_gap_is_counted(filled):
    """A gap that somebody made shows, and lowers the share."""
    path = filled.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:100] + lines[110:]))
    row = ares.coverage(settings=filled, end="2025-03-15").set_index("file").loc[path.name]

    assert (row["rows"], row["expected"], row["holes"], row["confirmed_absent"]) == (662, 672, 1, 0)
    assert not row["final"]


def test_window_and_filters(filled):
    """Symbol, interval, start and end choose among the files."""
    ask = {"settings": filled}

    assert len(ares.coverage("btcusdt", **ask)) == 5
    assert len(ares.coverage("btcusdt", "1h", **ask)) == 2
    with pytest.raises(NeverDownloaded, match="nothing of BTCUSDT 1m klines"):
        ares.coverage("BTCUSDT", "1m", **ask)
    assert ares.coverage(end="2025-02-10", **ask)["file"].tolist() == [
        "futures_BTCUSDT_2025-02.csv",
        "klines_BTCUSDT_1h_2025-02.csv",
    ]
    assert "klines_BTCUSDT_1h_2025-02.csv" not in set(
        ares.coverage(start="2025-03-01", **ask)["file"]
    )


@pytest.mark.parametrize("ask", [("ETHUSDT", None), ("ETHUSDT", "1h")])
def test_nothing_there_raises(filled, ask):
    """What was never downloaded is an error, not an empty table."""
    with pytest.raises(NeverDownloaded, match="ETHUSDT"):
        ares.coverage(*ask, settings=filled)


def test_empty_cache_raises_and_makes_no_folder(settings):
    """Looking at a cache that is not there raises, and does not make it."""
    with pytest.raises(NeverDownloaded):
        ares.coverage(settings=settings)

    assert not settings.cache_dir.exists()


@pytest.mark.parametrize(
    "wrong", [{"symbol": "BTC/USDT"}, {"interval": "7m"}, {"end": "never"}, {"start": 5}]
)
def test_wrong_argument_is_refused(filled, wrong):
    """An argument that cannot be meant is named."""
    with pytest.raises(BadArgument, match=next(iter(wrong))):
        ares.coverage(**wrong, settings=filled)


async def test_period_without_a_row_has_its_reason(settings):
    """A month before listing has no file and a row that says so: nothing expected, nothing missing."""
    await ares.download_klines_data("SOLUSDT", "1d", 0.3, end="2020-09-01", settings=settings)
    table = ares.coverage("SOLUSDT", settings=settings, end="2020-09-01").set_index("file")
    before = table.loc["klines_SOLUSDT_1d_2020-06.csv"]

    assert not (settings.cache_dir / before.name).exists()
    assert (before["source"], before["rows"], before["holes"], before["final"]) == (
        "none",
        0,
        0,
        True,
    )
    assert pd.isna(before["first"])


def test_old_file_is_legacy(settings):
    """A file of the original downloader is told from ours."""
    settings.cache_dir.mkdir()
    text = "timestamp,open,high,low,close,volume\n2025-02-01,1.0,1.0,1.0,1.0,1.0\n"
    (settings.cache_dir / "klines_BTCUSDT_1d_2025-02.csv").write_text(text)
    [row] = ares.coverage(settings=settings).to_dict("records")

    assert (row["source"], row["rows"], row["expected"], row["final"]) == ("legacy", 1, 28, False)


def test_strangers_are_left_out(filled):
    """Files that are not ours, copies by hand and compressed doubles do not count."""
    before = ares.coverage(settings=filled)["file"].tolist()
    for name in (
        "notes.csv",
        "klines_BTCUSDT_1h_2025-02 (1).csv",
        "klines_BTCUSDT_1h_2025-2.csv",
        ".x.part",
    ):
        (filled.cache_dir / name).write_text("x")

    assert before == ares.coverage(settings=filled)["file"].tolist()


def test_coverage_asks_nothing_and_writes_nothing(exchange, filled):
    """Looking costs no request and changes no file."""
    before = {path: path.stat().st_mtime_ns for path in filled.cache_dir.rglob("*")}
    exchange.requests.clear()
    ares.coverage(settings=filled)

    assert exchange.requests == []
    assert before == {path: path.stat().st_mtime_ns for path in filled.cache_dir.rglob("*")}


async def test_a_file_that_did_not_come_has_a_row_that_says_why(exchange, settings):
    """What was asked for and failed is shown as failed, and not as never asked for."""
    broken = settings.replace(max_retries=0)
    exchange.fail("2025-02", times=None, status=500)
    exchange.fail("startTime=17383680", times=None, status=500)
    await ares.download_klines_data("BTCUSDT", "1d", 59 / 365.25, end="2025-03-01", settings=broken)

    table = ares.coverage(settings=settings)

    assert dict(zip(table["file"], table["state"], strict=True)) == {
        "klines_BTCUSDT_1d_2025-01.csv": "complete",
        "klines_BTCUSDT_1d_2025-02.csv": "failed",
    }
    assert table["rows"].tolist() == [31, 0]
