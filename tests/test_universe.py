"""Many symbols: which there ever were, what a plan over them asks for, and how they are brought."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.binance.http import Transport
from ares_notebook.binance.listing import days_of, symbols_of
from ares_notebook.errors import BadAnswer, BadArgument, ServerFault
from ares_notebook.model.markets import SPOT
from ares_notebook.model.symbols import Listed

GONE = Listed("MATICUSDT", date(2019, 4, 26), date(2024, 9, 10))
# What the listing says of some symbols; made here, since asking takes the demo its time.
DAYS = [
    ("BTCUSDT", "2017-08-17", "2026-05-31"),
    ("MATICUSDT", "2019-04-26", "2024-09-10"),
    ("SUIUSDT", "2023-05-03", "2026-05-31"),
]


def listing(*symbols: str, market: str = "spot") -> pd.DataFrame:
    """A table as `list_symbols` returns it."""
    table = pd.DataFrame(DAYS, columns=["symbol", "first", "last"])
    table = table.astype({"first": "datetime64[s]", "last": "datetime64[s]"})
    table.attrs.update(market=market, until="2026-05-31")
    return table[table["symbol"].isin(symbols or ["BTCUSDT", "MATICUSDT", "SUIUSDT"])]


def planned(settings, symbols, **changes):
    """A plan of monthly candles over the years 2022 to 2024."""
    fields = {"interval": "1d", "end": "2025-01-01", "datasets": ["klines"], **changes}
    return ares.plan_universe(symbols, lookback_years=3, settings=settings, **fields)


def months(plan, symbol):
    """First and last file of a symbol, by its period."""
    [found] = [each for each in plan if each.symbol == symbol]
    return found.steps[0].file.stamp, found.steps[-1].file.stamp


# --- list ---


async def test_all_symbols_are_listed_with_their_days(settings, exchange):
    """Of a market all that is quoted so, in order; the archive's listing is all that is asked."""
    table = await ares.list_symbols("futures", quote="人生USDT", settings=settings)

    assert table["symbol"].tolist() == ["币安人生USDT"]
    assert table["first"].tolist() == [pd.Timestamp("2025-10-08")]
    assert (table["last"] >= table["first"]).all()
    assert table.attrs["market"] == "futures"
    assert all(each.path == "/data.binance.vision" for each in exchange.requests)
    assert len(exchange.requests) == 4


async def test_a_symbol_that_is_gone_has_its_last_day(settings):
    """What was delisted years ago ends on its last day, and what came later begins on its first."""
    async with Transport(settings) as transport:
        assert await days_of(transport, SPOT, "MATICUSDT") == GONE


async def test_a_symbol_with_months_alone_has_theirs(settings, exchange):
    """Where the archive has no days, a symbol is listed from its first month's to its last's."""
    exchange.withhold("daily/klines/MATICUSDT")
    async with Transport(settings) as transport:
        listed = await days_of(transport, SPOT, "MATICUSDT")

    assert listed == Listed("MATICUSDT", date(2019, 4, 1), date(2024, 9, 30))


async def test_a_symbol_without_a_month_has_its_days(tmp_path):
    """A symbol that is younger than the last published month is found among the days."""
    with DemoExchange(now=datetime(2023, 5, 20, 12, tzinfo=UTC)) as exchange:
        async with Transport(exchange.settings(cache_dir=tmp_path)) as transport:
            assert "SUIUSDT" in await symbols_of(transport, SPOT)
            listed = await days_of(transport, SPOT, "SUIUSDT")

    assert listed == Listed("SUIUSDT", date(2023, 5, 3), date(2023, 5, 19))


async def test_only_who_was_listed_on_a_day_is_kept(settings):
    """The day of the listing belongs to it, the one before does not."""
    for day, kept in (("2017-07-14", ["ETHBTC"]), (date(2017, 7, 13), [])):
        table = await ares.list_symbols(quote="btc", listed_on=day, settings=settings)

        assert table["symbol"].tolist() == kept


async def test_a_day_that_is_not_published_is_refused(settings):
    """Who asks for the universe of today is told how far the archive reaches, and gets no empty one."""
    with pytest.raises(BadArgument, match="the archive reaches to 20"):
        await ares.list_symbols(quote="BTC", listed_on=datetime.now(UTC), settings=settings)


@pytest.mark.parametrize("pattern", ["prefix=data/spot/monthly/klines/$", "ETHBTC/1d/"])
async def test_a_listing_that_fails_raises(settings, exchange, pattern):
    """No part of a listing that did not come is taken for an empty one."""
    exchange.fail(pattern, times=None, status=503)

    with pytest.raises(ServerFault):
        await ares.list_symbols(quote="BTC", settings=settings)


async def test_a_listing_of_nothing_is_none(settings, exchange):
    """An address that lists no symbol is not the archive's, and the error says what to check."""
    exchange.fail(
        "prefix=",
        times=None,
        replace_body=lambda body: re.sub(rb"<CommonPrefixes>.*</CommonPrefixes>", b"", body),
    )

    with pytest.raises(BadAnswer, match="check archive_listing_url"):
        await ares.list_symbols(settings=settings)


async def test_a_listing_without_end_is_none(settings, exchange):
    """A page that leads to itself is not read for ever."""
    again = b"<IsTruncated>true</IsTruncated><NextMarker>data/spot/a</NextMarker>"
    exchange.fail(
        "prefix=",
        times=None,
        replace_body=lambda body: body.replace(b"<IsTruncated>false</IsTruncated>", again),
    )

    with pytest.raises(BadAnswer, match="has no end"):
        await ares.list_symbols(quote="BTC", settings=settings)
    assert len(exchange.requests) < 8


async def test_names_that_are_no_symbols_are_left_out(settings, exchange, caplog):
    """A folder that is called like a path becomes no symbol, and a word of it is in the log."""
    stray = b"<CommonPrefixes><Prefix>data/spot/daily/klines/../BTC/</Prefix></CommonPrefixes>"
    exchange.fail(
        "prefix=data/spot/daily/klines/$",
        times=None,
        replace_body=lambda body: body.replace(b"</ListB", stray + b"</ListB"),
    )

    table = await ares.list_symbols(quote="BTC", settings=settings)

    assert table["symbol"].tolist() == ["ETHBTC"]
    assert "'../BTC'" in caplog.text


async def test_stray_keys_are_no_days(settings, exchange):
    """Keys of other names, and days that no calendar has, move neither first nor last."""
    stray = "".join(
        f"<Contents><Key>data/spot/daily/klines/ETHBTC/1d/{name}</Key><Size>9</Size></Contents>"
        for name in ("ETHBTC-1d-1999-02-30.zip", "part-00000.zip", "ETHBTC-1h-2099-01-01.zip")
    ).encode()
    exchange.fail(
        "prefix=data/spot/daily/klines/ETHBTC/",
        times=None,
        replace_body=lambda body: body.replace(b"</ListB", stray + b"</ListB"),
    )

    table = await ares.list_symbols(quote="BTC", settings=settings)

    assert table["first"].tolist() == [pd.Timestamp("2017-07-14")]
    assert table["last"].iloc[0] < pd.Timestamp("2099-01-01")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"market": "coin"}, "market='coin'"),
        ({"quote": "../"}, "quote='../'"),
        ({"listed_on": "someday"}, "listed_on='someday'"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(wrong, words):
    """The message names the argument and its value."""
    with pytest.raises(BadArgument, match=words):
        ares.Universe(**wrong)


# --- plan ---


def test_months_outside_a_listing_are_not_asked_for(settings):
    """A window ends with the month of the delisting, and begins with that of the listing, whole."""
    plan = planned(settings, listing())

    assert months(plan, "BTCUSDT") == ("2022-01", "2024-12")
    assert months(plan, "MATICUSDT") == ("2022-01", "2024-09")
    assert months(plan, "SUIUSDT") == ("2023-05", "2024-12")
    [gone] = [each for each in plan if each.symbol == "MATICUSDT"]
    assert gone.steps[-1].sources[0] == "monthly archive"
    assert gone.end == datetime(2024, 10, 1, tzinfo=UTC)


def test_days_of_trades_end_with_the_last_day(settings):
    """Of trades, which are kept by the day, nothing is asked for after the day of the delisting."""
    plan = planned(settings, listing("MATICUSDT"), datasets=["agg_trades"])

    assert months(plan, "MATICUSDT") == ("2022-01-01", "2024-09-10")


def test_a_long_candle_that_is_open_at_an_edge_is_asked_for(settings):
    """A week that opens before the listing, or closes after the last month, is in the plan, whole."""
    table = listing("SUIUSDT", "MATICUSDT")
    table.loc[table["symbol"] == "SUIUSDT", "first"] = pd.Timestamp("2023-06-02")
    plan = planned(settings, table, interval="1w")

    assert months(plan, "SUIUSDT")[0] == "2023-05"
    [gone] = [each for each in plan if each.symbol == "MATICUSDT"]
    last = gone.steps[-1]
    assert last.file.stamp == "2024-09"
    assert last.until_ms == last.file.grid_end_ms > last.file.end_ms


def test_a_perpetual_may_be_older_and_live_longer(settings):
    """The days of spot bound no funding, and the days of futures no candles."""
    datasets = ["klines", "futures"]
    spot = planned(settings, listing("SUIUSDT"), datasets=datasets).plans[0].steps
    futures = planned(settings, listing("SUIUSDT", market="futures"), datasets=datasets).plans[0]

    assert [
        len([step for step in spot if step.file.dataset.name == name]) for name in datasets
    ] == [20, 36]
    assert sum(step.file.dataset.name == "klines" for step in futures.steps) == 36
    assert sum(step.file.dataset.name == "futures" for step in futures.steps) == 20


def test_what_is_as_old_as_the_archive_of_futures_may_be_older(settings):
    """A perpetual that is there from the archive's first day is asked for before it, too."""
    table = listing("BTCUSDT", market="futures")
    table["first"] = pd.Timestamp("2019-12-31")
    plan = ares.plan_universe(
        table, None, 1, end="2020-06-01", settings=settings, datasets=["futures"]
    )

    assert months(plan, "BTCUSDT")[0] == "2019-06"


def test_what_was_traded_when_it_was_listed_is_asked_for_to_the_end(settings):
    """A last day that is as late as others', or nearly, is no delisting, however old the table."""
    table = listing("BTCUSDT", "SUIUSDT").assign(last=pd.to_datetime(["2024-03-31", "2024-03-24"]))
    table.attrs["until"] = "2024-03-31"
    plan = planned(settings, table)

    assert [each.steps[-1].file.stamp for each in plan] == ["2024-12", "2024-12"]


def test_who_was_not_listed_in_the_window_is_named(settings):
    """A symbol without any file in the window is in no plan, and the plan says so."""
    plan = ares.plan_universe(
        listing(), "1d", 1, end="2022-01-01", settings=settings, datasets=["klines"]
    )

    assert plan.symbols == ("BTCUSDT", "MATICUSDT")
    assert plan.outside == ("SUIUSDT",)
    assert "not listed between 2021-01-01 and 2022-01-01" in str(plan)
    assert "SUIUSDT" in str(plan)


def test_names_and_a_table_of_names_alone_are_asked_for_whole(settings):
    """Without days, or with days that are not known, nothing is cut; each name counts once."""
    names = planned(settings, ["suiusdt", "SUIUSDT"])
    unknown = pd.DataFrame({"symbol": ["SUIUSDT"], "first": [pd.NaT], "last": [None]})

    assert len(names) == 1
    assert months(names, "SUIUSDT") == ("2022-01", "2024-12")
    assert planned(settings, unknown).plans[0].steps == names.plans[0].steps
    assert planned(settings, "SUIUSDT").symbols == ("SUIUSDT",)


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        ([], "symbols is empty"),
        (listing().head(0), "symbols is empty"),
        (pd.DataFrame({"name": ["BTCUSDT"]}), "no column 'symbol'"),
        (["../BTC"], "not a trading symbol"),
        (ares.Universe("USDT"), "list_symbols"),
    ],
)
def test_symbols_that_cannot_be_meant_are_refused(settings, symbols, words):
    """Nothing, something else, a path, or a filter that wants the network: each with a remedy."""
    with pytest.raises(BadArgument, match=words):
        planned(settings, symbols)


def test_a_plan_of_many_is_short_in_words(settings):
    """However many symbols there are, text and table tell of a few, of the rest, and of the cost."""
    plan = planned(settings, [f"S{at:02d}USDT" for at in range(50)])

    assert len(plan) == 50
    assert len(str(plan).splitlines()) < 15
    assert "… and 40 more; see plan.to_frame()" in str(plan)
    assert str(plan.cost) in str(plan)
    assert plan._repr_html_().count("<tr>") < 15
    assert len(plan.to_frame()) == 50
    assert plan.cost.files == len(plan.to_do) == plan.to_frame()["files"].sum() == 1_800


# --- download ---


async def test_a_universe_comes_and_the_next_run_asks_for_nothing(settings, exchange):
    """Delisted symbols are complete with their last day; what is there is not asked for again."""
    table = listing("MATICUSDT", "SUIUSDT")
    wanted = {"end": "2024-10-15", "settings": settings, "datasets": ["klines"]}
    report = await ares.download_universe(table, "1d", 0.2, **wanted)
    del exchange.requests[:]
    again = await ares.download_universe(table, "1d", 0.2, **wanted)

    assert report.complete
    assert [step.file_name for step in report.steps] == [
        f"klines_{symbol}_1d_2024-{month}.csv"
        for symbol, last in (("MATICUSDT", 9), ("SUIUSDT", 10))
        for month in [f"{each:02d}" for each in range(8, last + 1)]
    ]
    assert again.complete
    assert exchange.requests == []


async def test_a_filter_is_listed_and_downloaded(settings):
    """A Universe is what was listed on its day; who was not listed in the window is in a note."""
    universe = ares.Universe("FDUSD", "2023-08-04")
    wanted = {"settings": settings, "datasets": ["klines"]}
    report = await ares.download_universe(universe, "1d", 0.1, end="2023-09-01", **wanted)
    before = await ares.download_universe(universe, "1d", 0.1, end="2023-08-01", **wanted)

    assert [step.file_name for step in report.steps] == ["klines_BTCFDUSD_1d_2023-08.csv"]
    assert report.rows_written == 28
    assert before.steps == ()
    assert "nothing is asked for: BTCFDUSD" in str(before)


async def test_one_symbol_that_fails_stops_no_other(settings):
    """A typo among the names is an error of its own files."""
    report = await ares.download_universe(
        ["XYZUSDT", "ETHUSDT"], "1d", 0.05, end="2025-02-01", settings=settings, datasets=["klines"]
    )

    assert [step.file_name for step in report.failed] == ["klines_XYZUSDT_1d_2025-01.csv"]
    assert report.rows_written == 31


async def test_a_run_over_many_is_one_short_line_of_the_history(settings):
    """The history has one line of a universe, with three symbols and how many more."""
    names = [f"S{at:03d}USDT" for at in range(20)]
    rest = settings.replace(spot_url="http://127.0.0.1:9", source="rest")
    rest = rest.replace(spot_fallback_url="http://127.0.0.1:9", max_retries=0)
    await ares.download_universe(
        names, "1d", 0.01, end="2025-02-01", settings=rest, datasets=["klines"]
    )
    runs = ares.load_runs(settings=settings)

    assert runs["symbol"].tolist() == ["S000USDT,S001USDT,S002USDT and 17 more"]
    assert runs["ending"].tolist() == ["failed"]


async def test_a_universe_that_cannot_be_listed_is_a_run_that_failed(settings, exchange):
    """The listing's error comes out, and is on record where there is a cache."""
    (settings.cache_dir / ".ares").mkdir(parents=True)
    exchange.fail("prefix=", times=None, status=503)
    with pytest.raises(ServerFault):
        await ares.download_universe(
            ares.Universe("BTC"), "1d", 1, end="2025-01-01", settings=settings
        )

    runs = ares.load_runs(settings=settings)
    assert runs[["symbol", "ending"]].to_numpy().tolist() == [
        ["all spot symbols quoted in BTC", "failed"]
    ]


@pytest.mark.parametrize(
    ("market", "quote", "names"),
    [
        ("spot", "USDT", {"klines", "futures"}),
        ("um", "USDT", {"um_klines", "futures"}),
        ("cm", "USD_PERP", {"cm_klines", "cm_funding"}),
    ],
)
async def test_a_universe_without_datasets_is_of_its_market(settings, market, quote, names):
    """Where no dataset is named, candles and funding of the market are meant whose symbols are listed."""
    table = await ares.list_symbols(market, quote=quote, settings=settings)
    plan = ares.plan_universe(table, "1d", 0.1, end="2025-03-01", settings=settings)

    assert {step.file.dataset.name for each in plan for step in each.steps} == names
