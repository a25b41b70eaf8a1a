"""Gaps: every gap has a reason, and only gaps are gaps."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import aiohttp
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import facts_of

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import REASONS
from ares_notebook.errors import BadArgument, NeverDownloaded
from ares_notebook.model.facts import Neighbours
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.gaps import Absence, gaps_in
from ares_notebook.model.rows import empty_rows
from ares_notebook.model.time import utc

DAY = 1 / 365.25
COLUMNS = ["dataset", "symbol", "interval", "start", "end", "missing", "reason", "note"]


def reported(table: pd.DataFrame) -> list[tuple[str, str, int | None, str]]:
    """Start, end, missing rows and reason of each gap."""
    return [
        (
            f"{row.start:%m-%d %H:%M}",
            f"{row.end:%m-%d %H:%M}",
            None if row.missing is pd.NA else int(row.missing),
            row.reason,
        )
        for row in table.itertuples()
    ]


async def klines(settings: Settings, years: float, end: str, interval: str = "1h"):
    """Bring k-lines."""
    return await ares.download_klines_data("BTCUSDT", interval, years, end=end, settings=settings)


async def test_a_halt_is_confirmed_absent_with_the_time_of_the_answer(settings):
    """A halt's candles are confirmed absent upstream, and the note tells who said so, and when."""
    await klines(settings, 0.05, "2025-04-01")
    table = ares.find_gaps("BTCUSDT", settings=settings)

    assert list(table.columns) == COLUMNS
    assert reported(table) == [("03-14 02:00", "03-14 04:00", 2, "confirmed absent upstream")]
    assert f"{datetime.now(UTC):%Y-%m-%d}" in table.loc[0, "note"]
    assert "the API has none" in table.loc[0, "note"]
    assert str(table["start"].dtype) == "datetime64[us, UTC]"


async def test_a_whole_file_that_lacks_between_two_is_not_downloaded(settings):
    """A month that is not there between two that are is a gap of all its candles."""
    await klines(settings, 0.3, "2025-03-01")
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv").unlink()
    shutil.rmtree(settings.cache_dir / ".ares")
    table = ares.find_gaps("BTCUSDT", "1h", settings=settings)

    [row] = [row for row in reported(table) if row[0].startswith("01")]
    assert row == ("01-01 00:00", "02-01 00:00", 744, "not downloaded")


async def test_before_listing_is_a_reason_of_its_own(exchange, settings):
    """Months before the first candle of the exchange are before listing, one gap in all."""
    first = await first_candle(exchange)
    end = f"{first + timedelta(days=40):%Y-%m-%d}"
    await ares.download_klines_data("SOLUSDT", "1d", 0.5, end=end, settings=settings)
    table = ares.find_gaps("SOLUSDT", end=end, settings=settings)

    assert set(table["reason"]) == {"before listing"}
    assert table["end"].max() == first


async def first_candle(exchange: DemoExchange) -> datetime:
    """When the demo exchange's first daily candle of SOLUSDT opens."""
    query = {"symbol": "SOLUSDT", "interval": "1d", "startTime": 1, "limit": 1}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{exchange.url}/api/v3/klines", params=query) as answer,
    ):
        return utc((await answer.json())[0][0])


async def test_a_failure_is_told_with_its_error(exchange, settings):
    """What did not come is failed, with the error in the note, also in a later look at the cache."""
    await klines(settings, 0.2, "2025-03-01")
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv").unlink()
    exchange.fail(".", times=None, status=503)
    hasty = settings.replace(max_retries=0)
    report = await ares.repair_gaps("BTCUSDT", settings=hasty)
    table = ares.find_gaps("BTCUSDT", settings=settings)

    assert not report
    [row] = table[table["reason"] == "failed"].itertuples()
    assert row.missing == 744
    assert "503" in row.note


async def test_a_failure_is_forgotten_when_the_rows_have_come(exchange, settings):
    """After a run that succeeds no gap tells of the failure before it."""
    exchange.fail(".", times=None, status=503)
    await klines(settings.replace(max_retries=0), 0.05, "2025-03-01")
    exchange.faults.clear()
    await klines(settings, 0.05, "2025-03-01")

    assert ares.find_gaps("BTCUSDT", settings=settings).empty


async def test_what_the_archive_does_not_have_is_not_yet_published(exchange, settings):
    """With the archive alone, days that it does not have yet are not yet published."""
    exchange.withhold("1h-2025-02")
    own = settings.replace(source="archive")
    await klines(own, 0.1, "2025-03-01")
    table = ares.find_gaps("BTCUSDT", settings=own)

    assert reported(table)[-1] == ("02-01 00:00", "03-01 00:00", 672, "not yet published")


async def test_the_future_is_not_yet_published(settings):
    """What lies after now is not yet published, and is told only to who asks for it."""
    await klines(settings, 0.05, "2025-03-01")
    until = datetime.now(UTC) + timedelta(days=3)
    table = ares.find_gaps("BTCUSDT", end=until, settings=settings)

    assert table["reason"].tolist()[-2:] == ["not downloaded", "not yet published"]
    assert table["end"].max() == until.replace(minute=0, second=0, microsecond=0)


async def test_hours_without_a_trade_are_quiet(settings):
    """A gap in time over which the ids run on is quiet, and no row is missing in it."""
    await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-15", settings=settings)
    table = ares.find_gaps("BTCUSDT", settings=settings)

    assert reported(table.head(1))[0][2:] == (0, "quiet")
    assert set(table["reason"]) == {"quiet"}
    assert table.loc[0, "start"] < datetime(2025, 3, 14, 2, 1, tzinfo=UTC)


async def test_a_gap_in_ids_is_a_gap_though_no_second_is_missing(settings):
    """A trade that lacks between two ids is a gap of one row; without a receipt the edges are open, too."""
    await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-02", settings=settings)
    path = settings.cache_dir / "aggtrades_BTCUSDT_2025-03-01.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:100] + lines[101:]))
    # With its receipt the whole file would count for altered.
    (settings.cache_dir / ".ares" / "receipts" / f"{path.name}.json").unlink()
    table = ares.find_gaps("BTCUSDT", settings=settings)

    assert set(table["reason"]) == {"not downloaded"}
    assert table["missing"].fillna(0).tolist() == [0, 1, 0]
    assert table.loc[1, "end"] - table.loc[1, "start"] < timedelta(minutes=5)


async def test_a_damaged_file_is_corrupt(settings):
    """A file that cannot be read is told as corrupt, with what is wrong."""
    await klines(settings, 0.05, "2025-03-01")
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    path.write_bytes(path.read_bytes()[:-7])
    table = ares.find_gaps("BTCUSDT", settings=settings)

    assert reported(table) == [("02-01 00:00", "03-01 00:00", 672, "corrupt, quarantined")]
    assert "ends inside a line" in table.loc[0, "note"]


async def test_a_window_cuts_the_gaps(settings):
    """Gaps are cut to the window that was asked for."""
    await klines(settings, 0.05, "2025-04-01")
    table = ares.find_gaps("BTCUSDT", start="2025-03-14T03:00", end="2025-03-20", settings=settings)

    assert reported(table)[0][:2] == ("03-14 03:00", "03-14 04:00")


def test_reasons_are_the_documented_ones():
    """The vocabulary that is documented is all that there is."""
    assert list(REASONS) == [
        "not downloaded",
        "not yet published",
        "before listing",
        "after delisting",
        "between listings",
        "confirmed absent upstream",
        "unconfirmed",
        "corrupt, quarantined",
        "failed",
        "quiet",
    ]
    assert all(
        reason in (ares.find_gaps.__doc__ or "").replace("\n        ", " ") for reason in REASONS
    )


def test_nothing_there_is_said_in_words(settings):
    """No folder, an empty folder and another symbol are three different sentences."""
    with pytest.raises(NeverDownloaded, match="there is no cache folder"):
        ares.find_gaps("BTCUSDT", settings=settings)
    settings.cache_dir.mkdir()
    (settings.cache_dir / "notes.txt").write_text("no cache")
    with pytest.raises(NeverDownloaded, match="holds no cache file"):
        ares.find_gaps("BTCUSDT", settings=settings)
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv").write_text("timestamp,open\n")
    with pytest.raises(NeverDownloaded, match="nothing of ETHUSDT"):
        ares.find_gaps("ETHUSDT", settings=settings)
    with pytest.raises(BadArgument, match="is not before"):
        ares.find_gaps("BTCUSDT", start="2025-02-01", end="2025-01-01", settings=settings)


async def test_funding_that_is_not_due_yet_is_not_counted_twice(settings):
    """Of a running month of funding each rate that lacks is counted once, and as not downloaded."""
    await ares.download_futures_data("BTCUSDT", 0.02, end="2025-03-20T10:30", settings=settings)
    table = ares.find_gaps("BTCUSDT", settings=settings)

    assert set(table["reason"]) == {"not downloaded"}
    assert table["missing"].sum() == (31 - 20) * 3 + 1


# --- arithmetic ---

MONTH = parse_file_name("klines_BTCUSDT_1h_2025-02.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-02-03.csv")
HOUR_MS = 3_600_000


@given(st.sets(st.integers(0, 671)), st.integers(0, 672))
def test_have_and_missing_are_the_wanted(had, wanted):
    """Of any candles and any end: have plus missing is wanted, and no gap overlaps another."""
    start_ms = MONTH.period.start_ms
    until_ms = start_ms + wanted * HOUR_MS
    facts = facts_of(MONTH, candles([start_ms + at * HOUR_MS for at in sorted(had)]))
    gaps = gaps_in(MONTH, facts, until_ms)

    inside = sum(at < wanted for at in had)
    assert inside + sum(gap.rows or 0 for gap in gaps) == wanted
    ends = [(gap.start_ms, gap.end_ms) for gap in gaps]
    assert all(one[1] <= other[0] for one, other in pairwise(ends))


@given(st.sets(st.integers(0, 671)), st.lists(st.tuples(st.integers(0, 671), st.integers(1, 90))))
def test_explained_and_open_gaps_are_all_the_gaps(had, answers):
    """Whatever the exchange has answered: explained plus unexplained rows are the missing ones."""
    start_ms = MONTH.period.start_ms
    facts = facts_of(MONTH, candles([start_ms + at * HOUR_MS for at in sorted(had)]))
    absences = tuple(
        Absence(start_ms + at * HOUR_MS, start_ms + (at + length) * HOUR_MS, "rest", "2025-06-01")
        for at, length in answers
    )
    entry = CacheEntry(MONTH, facts=facts, absences=absences)
    heard = {at + step for at, length in answers for step in range(length)}

    left = entry.missing(entry.unexplained(MONTH.period.end_ms))
    assert left == len(set(range(672)) - had - heard)


@given(st.sets(st.integers(0, 400), min_size=1), st.integers(0, 50), st.integers(0, 50))
def test_ids_that_are_missing_are_counted_to_the_neighbours(had, before, after):
    """Of any ids of a day and of its neighbours: have plus missing is all between them."""
    ids = sorted(each + 1000 for each in had)
    facts = facts_of(TRADES, trades(ids))
    neighbours = Neighbours(ids[0] - 1 - before, ids[-1] + 1 + after)
    gaps = gaps_in(TRADES, facts, TRADES.period.end_ms, neighbours)

    between = neighbours.first_id_after - neighbours.last_id_before - 1
    assert len(ids) + sum(gap.rows or 0 for gap in gaps) == between
    assert all(gap.rows for gap in gaps)


def candles(opens: list[int]):
    """Rows that open at these times."""
    table = empty_rows(MONTH.dataset).select(["timestamp"])
    return table.from_pydict({"timestamp": [each * 1000 for each in opens]}, schema=table.schema)


def trades(ids: list[int]):
    """Rows with these ids, a minute apart."""
    start_us = TRADES.period.start_ms * 1000
    table = empty_rows(TRADES.dataset).select(["timestamp", "agg_trade_id"])
    stamps = [start_us + at * 60_000_000 for at in range(len(ids))]
    return table.from_pydict({"timestamp": stamps, "agg_trade_id": ids}, schema=table.schema)


async def test_55_recorded_months_have_the_known_halts_and_no_other(recorded, tmp_path):
    """On Binance's own 55 months each gap is a halt of the documented table, or before listing."""
    with DemoExchange(replay=recorded) as replay:
        own = replay.settings(cache_dir=tmp_path / "cache", retry_delay_seconds=0, progress=False)
        await ares.download_klines_data("BTCUSDT", "1h", 4.6, end="2022-03-01", settings=own)
        table = ares.find_gaps("BTCUSDT", end="2022-03-01", settings=own)

    first, *halts = table.itertuples()
    assert (first.reason, first.end) == ("before listing", datetime(2017, 8, 17, 4, tzinfo=UTC))
    assert {row.reason for row in halts} == {"confirmed absent upstream"}
    assert all("exchange halt" in row.note for row in halts)
    # binance.md, section 5, as far as whole hours show it.
    assert [f"{row.start:%Y-%m-%d}" for row in halts] == HALTS
    assert sum(row.missing for row in halts) == 169


HALTS = [
    "2017-09-06",
    "2018-01-04",
    "2018-02-08",
    "2018-06-26",
    "2018-06-27",
    "2018-07-04",
    "2018-10-19",
    "2018-11-14",
    "2019-03-12",
    "2019-05-15",
    "2019-08-15",
    "2019-11-13",
    "2019-11-25",
    "2020-02-09",
    "2020-02-19",
    "2020-03-04",
    "2020-04-25",
    "2020-06-28",
    "2020-11-30",
    "2020-12-21",
    "2020-12-25",
    "2021-02-11",
    "2021-03-06",
    "2021-04-20",
    "2021-04-25",
    "2021-08-13",
    "2021-09-29",
]


async def test_without_a_symbol_the_gaps_of_all_series_are_listed(settings):
    """Each row tells its series; together they are the gaps of each symbol, ordered as in the coverage."""
    for symbol in ("ETHUSDT", "BTCUSDT"):
        await ares.download_all_data(
            symbol,
            "1h",
            0.1,
            end="2025-04-01",
            settings=settings,
            datasets=("klines", "futures"),
        )
    (settings.cache_dir / "futures_ETHUSDT_2025-03.csv").unlink()

    table, only = ares.find_gaps(settings=settings), ares.find_gaps(None, "1h", settings=settings)

    assert list(table.columns) == COLUMNS
    each = [ares.find_gaps(symbol, settings=settings) for symbol in ("BTCUSDT", "ETHUSDT")]
    names = ["dataset", "symbol", "interval", "start"]
    both = pd.concat(each).sort_values(names, ignore_index=True)
    pd.testing.assert_frame_equal(pd.DataFrame(table), pd.DataFrame(both), check_frame_type=False)
    assert [*zip(table["dataset"], table["symbol"], strict=True)] == [
        ("futures", "ETHUSDT"),
        ("klines", "BTCUSDT"),
        ("klines", "ETHUSDT"),
    ]
    assert set(only["dataset"]) == {"klines"}
    assert ares.Cache(settings).gaps().equals(table)
    assert ares.find_gaps(end="2025-03-01", datasets=["klines"], settings=settings).empty
