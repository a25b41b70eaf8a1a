"""
The downloader from end to end: direct use, the way through step1, errors and fallbacks.

Runs under pytest, and as a script that prints what it checked:

    python tests/test_data_downloader.py

Both go against the demo exchange, which is chosen here by name. Nothing is ever replaced
by a stand-in that was not asked for: an exchange that is out of reach is an error.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import tempfile
import traceback
from pathlib import Path

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import AresError, PoorQuality, ServerFault, UnknownSymbol

DAY = 1 / 365.25
END = "2025-03-05"
START_MS, END_MS = 1_740_787_200_000, 1_741_132_800_000  # 2025-03-01 to 2025-03-05
LOGGER = logging.getLogger("step1")


def without_exchange(settings: Settings) -> Settings:
    """The same cache, and addresses at which nobody listens."""
    nobody = dict.fromkeys(
        ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url"),
        "http://127.0.0.1:9",
    )
    return settings.replace(**nobody, max_retries=0)


# --- direct use ---


async def test_all_three_datasets_come(settings):
    """A call brings candles, trades and funding; the report is true as the original's answer was."""
    report = await ares.download_all_data("BTCUSDT", "1h", DAY, end=END, settings=settings)

    names = sorted(path.name for path in settings.cache_dir.glob("*.csv"))
    assert report
    assert report.complete
    assert names == [
        "aggtrades_BTCUSDT_2025-03-04.csv",
        "futures_BTCUSDT_2025-03.csv",
        "klines_BTCUSDT_1h_2025-03.csv",
    ]


async def test_each_dataset_comes_alone(settings):
    """The three single verbs bring each its own dataset and no other."""
    for download, prefix in (
        (ares.download_klines_data("BTCUSDT", "4h", DAY, end=END, settings=settings), "klines"),
        (ares.download_agg_trades_data("BTCUSDT", DAY, end=END, settings=settings), "aggtrades"),
        (ares.download_futures_data("BTCUSDT", DAY, end=END, settings=settings), "futures"),
    ):
        report = await download
        assert [step.file_name.split("_")[0] for step in report.steps] == [prefix]


async def test_the_second_time_nothing_is_asked_for(exchange, settings):
    """A complete cache costs no request."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end=END, settings=settings)
    exchange.requests.clear()
    report = await ares.download_klines_data("BTCUSDT", "1h", DAY, end=END, settings=settings)

    assert report.complete
    assert exchange.requests == []


async def test_what_came_can_be_loaded(settings):
    """The candles of the window are a frame of floats by the hour, and it says that it is complete."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end=END, settings=settings)
    frame = ares.load_klines("BTCUSDT", "1h", "2025-03-04", END, settings=settings)

    assert len(frame) == 24
    assert str(frame.index.tz) == "UTC"
    assert frame["close"].dtype == "float64"
    assert frame.attrs["complete"] is True


# --- the way through step1 ---


async def test_step1_completes_what_it_has(settings):
    """A frame with gaps, an empty one and none at all come back complete, in one call."""
    whole = await ares.fetch_missing_data(
        "BTCUSDT", START_MS, END_MS, {"klines": None}, LOGGER, interval="1h", settings=settings
    )
    given = {"klines": whole["klines"].iloc[::3], "futures": pd.DataFrame(), "agg_trades": None}
    data = await ares.fetch_missing_data(
        "BTCUSDT", START_MS, END_MS, given, LOGGER, interval="1h", settings=settings
    )

    assert set(data) == set(given)
    assert all(frame.attrs["complete"] for frame in data.values())
    pd.testing.assert_frame_equal(data["klines"], whole["klines"])
    assert len(data["futures"]) == 12


async def test_step1_stops_where_quality_is_poor(settings):
    """A pipeline that asks for quality gets an error that names file, finding and remedy."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=settings)
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:40] + lines[50:]))
    # With its receipt the whole file would count for altered.
    (settings.cache_dir / ".ares" / "receipts" / f"{path.name}.json").unlink()

    with pytest.raises(PoorQuality, match=r"10 rows are missing.*2025-02.csv.*repair_gaps"):
        await ares.assure_quality("BTCUSDT", "1h", settings=settings)


# --- errors ---


async def test_an_exchange_out_of_reach_is_no_empty_file(settings):
    """Where nobody answers the report is false, says why, and nothing is on disk."""
    own = without_exchange(settings)
    report = await ares.download_all_data("BTCUSDT", "1h", DAY, end=END, settings=own)

    assert not report
    assert len(report.failed) == len(report.steps) == 3
    assert "run again" in str(report)
    assert list(settings.cache_dir.glob("*.csv")) == []


async def test_what_is_cached_is_served_without_an_exchange(settings):
    """Where nobody answers what the cache holds is loaded, and what is missing is said."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-04", settings=settings)
    data = await ares.fetch_missing_data(
        "BTCUSDT",
        START_MS,
        END_MS,
        {"klines": None},
        LOGGER,
        interval="1h",
        settings=without_exchange(settings),
    )

    assert len(data["klines"]) == 72
    assert data["klines"].attrs["complete"] is False
    assert data["klines"].attrs["missing"] == [
        ["2025-03-04T00:00:00+00:00", "2025-03-05T00:00:00+00:00"]
    ]


async def test_a_wrong_symbol_is_an_error(settings):
    """A symbol that does not exist is told as that."""
    with pytest.raises(UnknownSymbol, match="NOSUCHUSDT"):
        await ares.download_klines_data("NOSUCHUSDT", "1h", DAY, end=END, settings=settings)


async def test_a_silent_exchange_is_told_after_how_long(exchange, settings):
    """The message of a timeout names the request and the seconds, and says what to try."""
    exchange.fail("aggTrades", times=None, stall="head", stall_seconds=5)
    own = settings.replace(request_timeout_seconds=0.5, max_retries=0, source="rest")
    report = await ares.download_agg_trades_data("BTCUSDT", DAY, end=END, settings=own)
    message = str(report.failed[0].error)

    assert "aggregated trades of BTCUSDT" in message
    assert "timed out after 0.5 seconds" in message
    assert "raise request_timeout_seconds" in message


async def test_a_call_of_ones_own_is_tried_again(settings):
    """download_with_retry tries a passing fault again, and raises the last one, never a None."""
    calls: list[int] = []
    fault = ServerFault("down for a moment")

    async def flaky():
        calls.append(1)
        if len(calls) < 3:
            raise fault
        return "an answer"

    async def broken():
        raise fault

    assert await ares.download_with_retry(flaky, "flaky", settings=settings) == "an answer"
    with pytest.raises(ServerFault, match="down for a moment"):
        await ares.download_with_retry(broken, "broken", settings=settings)


# --- fallbacks, each of which is told ---


async def test_a_passing_fault_is_survived(exchange, settings):
    """One 429 and one 500 cost time and no row."""
    exchange.fail("klines", status=429, retry_after=0)
    exchange.fail("zip$", status=500)
    report = await ares.download_klines_data("BTCUSDT", "1h", 40 * DAY, end=END, settings=settings)

    assert report.complete
    assert {429, 500} <= {each.status for each in exchange.requests}


async def test_a_late_archive_is_replaced_by_rest(exchange, settings):
    """Rows whose archive is not published come over REST, and the receipt says so."""
    exchange.withhold("BTCUSDT")
    report = await ares.download_klines_data("BTCUSDT", "1h", 40 * DAY, end=END, settings=settings)

    assert report.complete
    assert set(ares.download_history("BTCUSDT", settings=settings)["road"]) == {"rest"}


async def test_a_closed_region_is_reported(exchange, settings):
    """A 451 of the API leads to the market-data host, and the report has a note of it."""
    exchange.fail("^/api/v3", status=451, times=None)
    report = await ares.download_klines_data("BTCUSDT", "1h", DAY, end=END, settings=settings)

    assert report.complete
    assert any("451" in note or "region" in note for note in report.notes)


def test_the_old_defaults_are_still_there():
    """The original's constants and the way to call it from a plain script stand."""
    assert (ares.CACHE_DIR, ares.MAX_RETRIES, ares.RETRY_DELAY_SECONDS) == ("data_cache", 3, 5)
    assert ares.run(asyncio.sleep(0, "done")) == "done"


def main() -> int:
    """Run every check with an exchange and a cache of its own, and say what it found."""
    failed = 0
    checks = [value for name, value in globals().items() if name.startswith("test_")]
    for check in checks:
        fact = inspect.getdoc(check)
        with (
            DemoExchange(trades_per_day=6_000) as exchange,
            tempfile.TemporaryDirectory() as folder,
        ):
            own = exchange.settings(
                cache_dir=Path(folder) / "cache", retry_delay_seconds=0, progress=False
            )
            offered = {"exchange": exchange, "settings": own}
            wanted = {name: offered[name] for name in inspect.signature(check).parameters}
            try:
                made = check(**wanted)
                if inspect.isawaitable(made):
                    asyncio.run(made)
            except (AssertionError, AresError, pytest.fail.Exception):
                failed += 1
                print(f"FAILED  {fact}")
                traceback.print_exc()
            else:
                print(f"ok      {fact}")
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    return min(failed, 1)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(main())
