"""Rows of a window: what the cache lacks is downloaded, then it is loaded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import ares_notebook as ares
from ares_notebook.cached_window import IncompleteData
from ares_notebook.errors import (
    BadArgument,
    CorruptFile,
    IncompleteDownload,
    NeverDownloaded,
    UnknownSymbol,
    WrongMarket,
)

MONTHS = ("2025-01-01", "2025-03-01")


@pytest.fixture
def offline(exchange, settings):
    """Settings of an exchange that answers nothing any more, without new tries."""

    def cut():
        exchange.fail(".", times=None, status=503)
        return settings.replace(max_retries=0)

    return cut


async def test_what_lacks_is_brought_and_loaded(settings):
    """Of an empty cache the frame is that of a download and a load."""
    frame = await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)

    loaded = ares.load_klines("BTCUSDT", "1h", *MONTHS, settings=settings)
    assert frame.equals(loaded)
    assert frame.attrs == loaded.attrs
    assert len(frame) == 59 * 24
    assert frame.attrs["complete"]


async def test_where_all_is_there_nothing_is_asked(settings, exchange):
    """The second time no request is made, and the history has no new run."""
    first = await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)
    asked, runs = len(exchange.requests), len(ares.load_runs(settings=settings))

    second = await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)

    assert second.equals(first)
    assert len(exchange.requests) == asked
    assert len(ares.load_runs(settings=settings)) == runs


async def test_only_what_lacks_is_asked_for(settings, exchange):
    """Where a month is there only the other one is requested, as a run of a download."""
    await ares.klines("BTCUSDT", "1h", "2025-01-01", "2025-02-01", settings=settings)
    asked = len(exchange.requests)

    await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)

    zips = [each.path for each in exchange.requests[asked:] if each.path.endswith(".zip")]
    run = ares.load_runs(settings=settings).iloc[-1]
    assert [path.rpartition("-1h-")[2] for path in zips] == ["2025-02.zip"]
    assert (run["what"], run["symbol"], run["interval"]) == ("download", "BTCUSDT", "1h")


async def test_several_symbols_are_brought_as_one_run(settings, exchange):
    """What lacks of several symbols comes in one run, and the frame is that of a load of all."""
    both = ["BTCUSDT", "ETHUSDT"]
    await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)
    exchange.requests.clear()
    frame = await ares.klines(both, "1h", *MONTHS, columns="close", settings=settings)

    assert frame.equals(ares.load_klines(both, "1h", *MONTHS, columns="close", settings=settings))
    assert frame.attrs["complete"]
    assert list(frame.columns) == both
    assert not [each for each in exchange.requests if "BTCUSDT" in each.path]
    run = ares.load_runs(settings=settings).iloc[-1]
    assert (run["what"], run["symbol"], run["interval"]) == ("download", "BTCUSDT,ETHUSDT", "1h")
    exchange.requests.clear()
    await ares.rows("klines", both, "1h", *MONTHS, settings=settings)
    assert exchange.requests == []


async def test_one_of_several_symbols_that_does_not_come_is_named(settings, offline):
    """Where a symbol has no row and its download failed, the failure is raised; with rows it is a warning."""
    both = ["BTCUSDT", "ETHUSDT"]
    await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)
    await ares.klines("ETHUSDT", "1h", "2025-01-01", "2025-02-01", settings=settings)
    cut = offline()

    with pytest.raises(IncompleteDownload, match="3 of 6 files failed"):
        await ares.klines([*both, "BNBUSDT"], "1h", *MONTHS, settings=cut)
    with pytest.warns(IncompleteData, match="1 of 2 symbols lack rows: klines_ETHUSDT_1h") as told:
        frame = await ares.klines(both, "1h", *MONTHS, columns="close", settings=cut)
    assert told[0].filename == __file__
    assert frame["ETHUSDT"].count() == 31 * 24


async def test_rows_without_a_start_are_refused_before_any_request(settings, exchange):
    """An interval may be left out where there is none, a start may not."""
    frame = await ares.rows("funding", "BTCUSDT", start=MONTHS[0], end=MONTHS[1], settings=settings)
    assert frame.attrs["complete"]
    exchange.requests.clear()
    with pytest.raises(BadArgument, match="start= is missing"):
        await ares.rows("funding", "BTCUSDT", settings=settings)
    assert exchange.requests == []


async def test_trades_of_several_symbols_are_refused_before_any_request(settings, exchange):
    """Trades have no times in common."""
    with pytest.raises(BadArgument, match="no times in common"):
        await ares.rows("trades", ["BTCUSDT", "ETHUSDT"], None, *MONTHS, settings=settings)
    assert exchange.requests == []


@pytest.mark.parametrize(
    "wanted",
    [
        ("um_klines", "BTCUSDT", "1h", *MONTHS),
        ("cm_klines", "BTCUSD_PERP", "1d", *MONTHS),
        ("premium_index_klines", "BTCUSDT", "1d", *MONTHS),
        ("trades", "BTCUSDT", None, "2025-01-15", "2025-01-16"),
        ("um_agg_trades", "BTCUSDT", None, "2025-01-15", "2025-01-16"),
        ("funding", "BTCUSDT", None, *MONTHS),
        ("metrics", "BTCUSDT", None, "2025-01-15", "2025-01-17"),
    ],
    ids=lambda each: each[0],
)
async def test_rows_of_any_dataset_come_the_same_way(settings, exchange, wanted):
    """Of each kind of dataset the first call downloads and loads, and the second requests nothing."""
    first = await ares.rows(*wanted, settings=settings)
    asked = len(exchange.requests)
    second = await ares.rows(*wanted, settings=settings)

    kept = ares.load_rows(*wanted, settings=settings)
    assert len(first)
    assert first.attrs["complete"]
    assert first.equals(kept)
    assert second.equals(kept)
    assert len(exchange.requests) == asked


async def test_columns_and_decimals_are_those_of_the_loader(settings):
    """The frame has the columns that are named, with the exchange's digits where these are asked for."""
    frame = await ares.klines(
        "BTCUSDT", "1d", *MONTHS, columns=["close"], decimal=True, settings=settings
    )
    loaded = ares.load_klines(
        "BTCUSDT", "1d", *MONTHS, columns=["close"], decimal=True, settings=settings
    )

    assert frame.equals(loaded)
    assert type(frame["close"].iloc[0]).__name__ == "Decimal"


async def test_a_part_that_does_not_come_is_warned_of_at_the_callers_line(settings, offline):
    """Where the download fails and a part is cached, the frame is that part, and a warning names this line."""
    await ares.klines("BTCUSDT", "1h", "2025-01-01", "2025-02-01", settings=settings)
    cut = offline()

    with pytest.warns(IncompleteData, match="lacks 2025-02-01") as caught:
        frame = await ares.klines("BTCUSDT", "1h", *MONTHS, settings=cut)

    assert [each.filename for each in caught] == [__file__]
    assert len(frame) == 31 * 24
    assert not frame.attrs["complete"]


async def test_without_an_end_a_tail_that_does_not_come_is_missing(settings, exchange):
    """Where the rows of the last hours do not come, the frame is not complete, though no end is named."""
    now = datetime.now(UTC)
    start, before = now - timedelta(days=2), now - timedelta(hours=3)
    await ares.klines("BTCUSDT", "1h", start, before, settings=settings)
    exchange.fail("klines", times=None, status=503)
    plain = settings.replace(max_retries=0)

    with pytest.warns(IncompleteData):
        frame = await ares.klines("BTCUSDT", "1h", start, settings=plain)

    assert not frame.attrs["complete"]


async def test_without_an_end_what_the_archive_lacks_is_missing(settings):
    """The archive alone has no candle of today, so that the frame up to now is not complete."""
    archive = settings.replace(source="archive")
    start = ares.get_daily_periods("4d")[0].start

    with pytest.warns(IncompleteData):
        frame = await ares.klines("BTCUSDT", "1h", start, settings=archive)

    assert len(frame) >= 48
    assert not frame.attrs["complete"]


async def test_without_an_end_a_clock_that_cannot_be_asked_is_told(settings, exchange):
    """Where the exchange's clock cannot be asked, the rows of the last day are missing in the frame."""
    exchange.fail("/api/v3/time", times=None, status=503)
    plain = settings.replace(max_retries=0)

    with pytest.warns(IncompleteData):
        frame = await ares.klines(
            "BTCUSDT", "1h", datetime.now(UTC) - timedelta(days=4), settings=plain
        )

    assert len(frame) >= 24
    assert not frame.attrs["complete"]


async def test_without_an_end_the_rows_end_where_those_of_the_exchange_do(settings):
    """Open interest of today is in no archive yet, and up to now lacks nothing."""
    start = ares.get_daily_periods("3d")[0].start

    frame = await ares.rows("metrics", "BTCUSDT", None, start, settings=settings)

    assert len(frame) >= 288
    assert frame.attrs["complete"]


async def test_nothing_at_all_raises_why_it_did_not_come(offline):
    """Where nothing comes and nothing is cached, the error is that of the download."""
    with pytest.raises(IncompleteDownload, match="503") as caught:
        await ares.klines("BTCUSDT", "1h", *MONTHS, settings=offline())

    assert caught.value.report.failed


async def test_a_damaged_file_is_replaced_before_it_is_loaded(settings):
    """A file that cannot be parsed is fetched anew, and the frame is whole."""
    await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv").write_text("no candles\n")
    with pytest.raises(CorruptFile):
        ares.load_klines("BTCUSDT", "1h", *MONTHS, settings=settings)

    frame = await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)

    assert len(frame) == 59 * 24
    assert frame.attrs["complete"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": "7h"},
        {"start": "yesterday"},
        {"end": "2100-01-01"},
        {"end": "2024-01-01"},
        {"columns": ["closing"]},
        {"symbol": "BTC/USDT"},
    ],
    ids=lambda each: next(iter(each)),
)
async def test_a_wrong_argument_asks_nothing(settings, exchange, wrong):
    """An argument that cannot be meant is refused before any request."""
    given = {"symbol": "BTCUSDT", "interval": "1h", "start": MONTHS[0], "end": MONTHS[1], **wrong}

    with pytest.raises(BadArgument):
        await ares.klines(**given, settings=settings)

    assert exchange.requests == []


async def test_an_unknown_symbol_is_told(settings):
    """A symbol that nobody knows raises what a download raises."""
    with pytest.raises(UnknownSymbol):
        await ares.klines("NOBODYUSDT", "1h", *MONTHS, settings=settings)


async def test_rows_of_another_market_are_not_returned(settings):
    """What another market has filled is refused, also where all of it is there."""
    await ares.klines("BTCUSDT", "1h", *MONTHS, settings=settings)
    other = settings.replace(market="another")

    with pytest.raises(WrongMarket):
        await ares.klines("BTCUSDT", "1h", *MONTHS, settings=other)


async def test_a_window_in_which_no_candle_is_closed_yet_is_never_downloaded(settings):
    """Of a window without a closed candle there is no frame that looks like an answer."""
    this_month = ares.get_monthly_periods("1d")[-1].start

    with pytest.raises(NeverDownloaded):
        await ares.klines("BTCUSDT", "1M", this_month, settings=settings)
