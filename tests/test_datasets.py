"""What the three kinds of file are: columns, names, addresses, grids."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.errors import BadArgument
from ares_notebook.model.datasets import (
    AGG_TRADES,
    CM_AGG_TRADES,
    CM_FUNDING,
    CM_KLINES,
    DATASETS,
    FUTURES,
    INDEX_PRICE_KLINES,
    KLINES,
    MARK_PRICE_KLINES,
    METRICS,
    PREMIUM_INDEX_KLINES,
    UM_AGG_TRADES,
    UM_KLINES,
    dataset_named,
)
from ares_notebook.model.files import CacheFile, Series, files_between, parse_file_name
from ares_notebook.model.symbols import pair_of
from ares_notebook.model.time import INTERVALS, as_utc, month_of, next_open_ms, to_ms

_HEADERS = {
    KLINES: "timestamp,open,high,low,close,volume,quote_asset_volume,number_of_trades,"
    "taker_buy_base_asset_volume,taker_buy_quote_asset_volume",
    AGG_TRADES: "timestamp,price,quantity,is_buyer_maker,agg_trade_id,first_trade_id,last_trade_id",
    FUTURES: "timestamp,fundingRate",
    UM_KLINES: "timestamp,open,high,low,close,volume,quote_asset_volume,number_of_trades,"
    "taker_buy_base_asset_volume,taker_buy_quote_asset_volume",
    UM_AGG_TRADES: "timestamp,price,quantity,is_buyer_maker,agg_trade_id,first_trade_id,"
    "last_trade_id",
    CM_KLINES: "timestamp,open,high,low,close,volume,base_asset_volume,number_of_trades,"
    "taker_buy_volume,taker_buy_base_asset_volume",
    CM_AGG_TRADES: "timestamp,price,quantity,is_buyer_maker,agg_trade_id,first_trade_id,"
    "last_trade_id",
    CM_FUNDING: "timestamp,fundingRate",
    MARK_PRICE_KLINES: "timestamp,open,high,low,close",
    INDEX_PRICE_KLINES: "timestamp,open,high,low,close",
    PREMIUM_INDEX_KLINES: "timestamp,open,high,low,close",
    METRICS: "timestamp,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio",
}


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_columns_are_those_that_are_promised(dataset):
    """The columns of a cache file, and their order, are fixed."""
    assert ",".join(dataset.column_names) == _HEADERS[dataset]


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_every_column_is_published(dataset):
    """Each cache column is among those that the exchange publishes, with the same meaning."""
    assert set(dataset.columns) <= set(dataset.published)


def test_an_unknown_dataset_lists_the_known_ones():
    """A typo in datasets= tells the names that there are."""
    with pytest.raises(BadArgument, match="'klines', 'agg_trades', 'futures'"):
        dataset_named("ticks")


def test_trades_and_funding_are_names_too():
    """The field's words for two datasets name the same datasets."""
    assert dataset_named("trades") is AGG_TRADES
    assert dataset_named("funding") is FUTURES


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("kline", "klines"), ("K-lines", "klines"), ("candles", "klines"), ("klinse", "klines"),
        ("aggTrades", "agg_trades"), ("trade", "agg_trades"), ("TRADES", "agg_trades"),
        ("open_interest", "metrics"), ("markPriceKlines", "mark_price_klines"),
        ("index_price", "index_price_klines"), ("premiumIndex", "premium_index_klines"),
        ("um_trades", "um_agg_trades"), ("future", "futures"), ("fundingRate", "futures"), ("funding rates", "futures"),
    ],
)  # fmt: skip
def test_a_slip_gets_a_hint(slip, meant):
    """A name that is near to one of a dataset, or the exchange's word for it, is refused with that name."""
    with pytest.raises(BadArgument, match=rf"did you mean {meant}\?$"):
        dataset_named(slip)


@pytest.mark.parametrize(
    ("name", "series", "start"),
    [
        ("klines_BTCUSDT_1h_2025-01.csv", ("klines", "BTCUSDT", "1h"), "2025-01-01"),
        ("klines_BTCUSDT_1mo_2025-01.csv", ("klines", "BTCUSDT", "1M"), "2025-01-01"),
        ("klines_BTCUSDT_1m_2025-01.csv.zst", ("klines", "BTCUSDT", "1m"), "2025-01-01"),
        ("aggtrades_BTCUSDT_2025-01-15.csv", ("agg_trades", "BTCUSDT", None), "2025-01-15"),
        ("futures_BTCUSDT_250328_2025-01.csv", ("futures", "BTCUSDT_250328", None), "2025-01-01"),
        ("klines_币安人生USDT_1d_2025-11.csv", ("klines", "币安人生USDT", "1d"), "2025-11-01"),
    ],
)
def test_names_tell_what_a_file_holds(name, series, start):
    """A cache file's name is read back to what it was made from."""
    file = parse_file_name(name)

    assert file.series == Series.of(*series)
    assert file.period.start == as_utc(start)
    assert file.name == name.removesuffix(".zst")


@pytest.mark.parametrize(
    "name",
    [
        "notes.csv",
        "klines_BTCUSDT_2025-01.csv",
        "klines_BTCUSDT_7m_2025-01.csv",
        "klines_BTCUSDT_1M_2025-01.csv",
        "klines_btcusdt_1h_2025-01.csv",
        "klines_BTCUSDT_1h_2025-01-01.csv",
        "klines_BTCUSDT_1h_2025-13.csv",
        "klines_BTCUSDT_1h_2025-01.csv.gz",
        "klines_BTCUSDT_1h_2025-01 (1).csv",
        ".klines_BTCUSDT_1h_2025-01.csv",
        "aggtrades_BTCUSDT_2025-01.csv",
        "aggtrades_BTCUSDT_2025-02-30.csv",
        "aggtrades_BTCUSDT_1h_2025-01-01.csv",
        "futures_BTCUSDT_2025-01.csv.part",
        "futures__2025-01.csv",
        "",
    ],
)
def test_other_names_are_not_ours(name):
    """A name that we would not write is no cache file."""
    assert parse_file_name(name) is None


@given(
    st.sampled_from(DATASETS),
    st.sampled_from(sorted(INTERVALS)),
    st.datetimes(datetime(2017, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants naive bounds
)
def test_every_name_is_read_back(dataset, interval, moment):
    """Any file of any series is known again by its name."""
    symbol = next(each for each in ("ETHBTC", "ETHUSD_PERP") if dataset.markets[0].has(each))
    is_pair = dataset.rest_symbol_parameter == "pair"
    series = Series.of(dataset, pair_of(symbol) if is_pair else symbol, interval)

    file = CacheFile.of(series, moment)

    assert parse_file_name(file.name) == file


def test_an_interval_is_kept_only_where_it_matters():
    """Trades of two intervals are one series; k-lines without an interval are refused."""
    assert Series.of("agg_trades", "BTCUSDT", "1h") == Series.of("agg_trades", "btcusdt")
    with pytest.raises(BadArgument, match="interval="):
        Series.of("klines", "BTCUSDT")


@pytest.mark.parametrize(
    ("series", "cut", "key"),
    [
        (
            ("klines", "BTCUSDT", "1M"),
            "month",
            "data/spot/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2025-01.zip",
        ),
        (
            ("klines", "BTCUSDT", "1h"),
            "day",
            "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-31.zip",
        ),
        (
            ("agg_trades", "BTCUSDT"),
            "day",
            "data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-31.zip",
        ),
        (
            ("futures", "BTCUSDT"),
            "month",
            "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01.zip",
        ),
    ],
)
def test_addresses_in_the_archive(series, cut, key):
    """Archive keys are spelt as Binance spells them."""
    assert Series.of(*series).archive_key(cut, as_utc("2025-01-31")) == key


@pytest.mark.parametrize(
    ("series", "cuts"),
    [
        (("klines", "BTCUSDT", "1h"), ("month", "day")),
        (("klines", "BTCUSDT", "3d"), ("month",)),
        (("klines", "BTCUSDT", "1w"), ("month",)),
        (("klines", "BTCUSDT", "1M"), ("month",)),
        (("agg_trades", "BTCUSDT"), ("day",)),
        (("futures", "BTCUSDT"), ("month",)),
    ],
)
def test_what_the_archive_offers(series, cuts):
    """Candles above a day and funding exist by month only, our trades by day."""
    assert Series.of(*series).archive_cuts == cuts


def test_files_between_hold_the_window():
    """A window of a few hours over midnight needs two days of trades and one month of candles."""
    start, end = as_utc("2025-01-15T23:00"), as_utc("2025-01-16T01:00")

    days = files_between(Series.of("agg_trades", "BTCUSDT"), start, end)
    months = files_between(Series.of("klines", "BTCUSDT", "1h"), start, end)

    assert [file.period.start.day for file in days] == [15, 16]
    assert [file.period for file in months] == [month_of(start)]


@pytest.mark.parametrize("interval", ["1h", "1d", "3d", "1w", "1M"])
def test_every_candle_belongs_into_one_file(interval):
    """The months' grids, put together, are the grid: no candle is twice or nowhere."""
    series = Series.of("klines", "BTCUSDT", interval)

    files = files_between(series, as_utc("2024-12-01"), as_utc("2025-05-01"))
    grids = [file.opens(file.grid_end_ms) for file in files]

    opens = [at for grid in grids for at in grid]
    assert all(next_open_ms(interval, one) == other for one, other in pairwise(opens))
    assert next_open_ms(interval, opens[-1]) == files[-1].grid_end_ms
    for file, grid in zip(files, grids, strict=True):
        assert all(file.period.start_ms <= at < file.period.end_ms for at in grid)


def test_a_week_over_the_border_is_its_months_last_candle():
    """The week that opens in January and closes in February is January's, once it is closed."""
    file = parse_file_name("klines_BTCUSDT_1w_2025-01.csv")

    assert file.grid_end_ms == to_ms(as_utc("2025-02-03"))
    assert len(file.opens(to_ms(as_utc("2025-02-03")))) == 4
    assert len(file.opens(to_ms(as_utc("2025-02-03")) - 1)) == 3


def test_trades_have_no_grid():
    """To ask trades for open times is a mistake of the caller."""
    file = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")

    with pytest.raises(TypeError, match="has no grid"):
        file.opens(0)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_a_dataset_stays_itself_in_another_process(dataset):
    """A dataset is compared by what it is: from another process it comes back as the same."""
    assert pickle.loads(pickle.dumps(dataset)) is dataset  # noqa: S301 - our own bytes
