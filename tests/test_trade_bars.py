"""Candles made of trades: of an interval the exchange's own, of a volume or an amount none split."""

from __future__ import annotations

import tracemalloc
import warnings
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import BadArgument
from ares_notebook.load import IncompleteData

WINDOW = {"start": "2025-03-03", "end": "2025-03-05"}
MARKETS = {
    "agg_trades": ("klines", "BTCUSDT"),
    "um_agg_trades": ("um_klines", "BTCUSDT"),
    "cm_agg_trades": ("cm_klines", "BTCUSD_PERP"),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a cache with two days of trades and candles of each market."""
    folder = tmp_path_factory.mktemp("trade_bars")
    with DemoExchange(trades_per_day=3_000, weight_limit=10**6) as exchange:
        made = exchange.settings(cache_dir=folder / "cache", progress=False)
        for trades, (candles, symbol) in MARKETS.items():
            for interval in ("1m", "1h"):
                names = [trades, candles]
                work = ares.download_all_data(
                    symbol, interval, datasets=names, settings=made, **WINDOW
                )
                ares.run(work)
        yield made


def load(settings, dataset="agg_trades", *window, **options) -> pd.DataFrame:
    """Trades, without the warning that some are missing."""
    symbol = MARKETS[dataset][1]
    with warnings.catch_warnings(action="ignore", category=IncompleteData):
        return ares.load_rows(dataset, symbol, None, *window, settings=settings, **options)


def assert_same(made: pd.DataFrame, own: pd.DataFrame) -> None:
    """Compare bars bit for bit."""
    pd.testing.assert_frame_equal(made, own, check_exact=True, check_freq=False)


# --- bars of an interval ---


@pytest.mark.parametrize("decimal", [False, True])
@pytest.mark.parametrize("interval", ["1m", "1h"])
@pytest.mark.parametrize("dataset", MARKETS)
def test_bars_of_trades_are_the_exchanges_own(settings, dataset, interval, decimal):
    """Of each market the candles of its trades are its own, but for those without a trade."""
    candles, symbol = MARKETS[dataset]
    made = ares.candles_from_trades(load(settings, dataset, decimal=decimal), interval)
    own = ares.load_rows(candles, symbol, interval, **WINDOW, decimal=decimal, settings=settings)
    own = own[own["number_of_trades"] > 0]
    coins = [name for name in own if dataset.startswith("cm") and "base_asset" in name]
    off = (made[coins] - own[coins]).abs().astype(float)

    assert len(made) >= 48
    assert_same(made.drop(columns=coins), own.drop(columns=coins))
    # The exchange rounds the coins of each trade to the eighth digit.
    assert (off.le(own["number_of_trades"] * 1.01e-8, axis=0)).all(axis=None)
    assert (made.attrs["dataset"], made.attrs["interval"]) == (candles, interval)
    assert (made.attrs["made_from"], made.attrs["complete"]) == (dataset, True)


@pytest.mark.parametrize("step", ["5s", "90s", timedelta(minutes=10), "4h", "1d"])
def test_bars_of_any_step_make_longer_ones(settings, step):
    """A step that divides a day makes the bars of a day."""
    trades = load(settings)
    bars = ares.candles_from_trades(trades, step)

    assert_same(ares.resample_klines(bars, "1d"), ares.candles_from_trades(trades, "1d"))
    assert bars["number_of_trades"].sum() == (
        trades["last_trade_id"].iloc[-1] - trades["first_trade_id"].iloc[0] + 1
    )


def test_a_bar_without_a_trade_is_left_out(settings):
    """Trades do not show whether the market was open, so nothing is made up; and nothing is missing."""
    trades = load(settings)
    bars = ares.candles_from_trades(trades, "5s")

    assert len(bars) == len(trades.index.floor("5s").unique())
    assert (bars["number_of_trades"] > 0).all()
    assert ares.missing(bars).empty


def test_bars_at_the_ends_of_a_window_are_whole_or_left_out(settings):
    """A bar that a window cuts is left out; one that only ends after its last trade is whole."""
    bars = ares.candles_from_trades(
        load(settings, "agg_trades", "2025-03-03T00:30", "2025-03-03T04:10"), "1h"
    )
    loose = load(settings, "agg_trades", "2025-03-03T00:30", "2025-03-03T04:00")
    loose.attrs.clear()

    assert bars.index.hour.tolist() == [1, 2, 3]
    # Without attrs nobody knows whether trades are missing after the last one.
    assert ares.candles_from_trades(loose, "1h").index.hour.tolist() == [1, 2]


def test_bars_of_milliseconds_are_made_in_as_little_time_as_others(settings):
    """The grid of ten million bars takes some bytes each, and no object."""
    trades = load(settings, "agg_trades", "2025-03-03T00:00", "2025-03-03T03:00")
    tracemalloc.start()
    bars = ares.candles_from_trades(trades, "1ms")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(bars) == len(trades.index.floor("1ms").unique())
    assert bars["number_of_trades"].sum() == (
        trades["last_trade_id"].iloc[-1] - trades["first_trade_id"].iloc[0] + 1
    )
    assert peak < 40 * 3 * 3_600_000


@pytest.mark.parametrize("attrs", [True, False])
def test_more_bars_than_a_frame_has_room_for_are_refused(settings, attrs):
    """Two days of milliseconds are refused with their number, before the trades of a long window are read."""
    trades = load(settings)
    if not attrs:
        trades.attrs.clear()
    read = []
    blocks = (read.append(at) or trades.iloc[at : at + 500] for at in range(0, len(trades), 500))
    with pytest.raises(BadArgument, match=r"has 17\d,\d+,\d+ bars of 1ms.*pass a longer interval"):
        ares.candles_from_trades(blocks, "1ms")

    assert (len(read) == 1) is attrs


# --- bars of a volume or an amount ---


def plain(trades, column, least) -> list[list[int]]:
    """Which trades make each full bar, by plain arithmetic."""
    bars, bar, has = [], [], Decimal(0)
    with localcontext(prec=80):
        for at, (price, quantity) in enumerate(
            zip(trades["price"], trades["quantity"], strict=True)
        ):
            amount = Decimal(repr(quantity))
            has += amount * Decimal(repr(price)) if column == "dollars" else amount
            bar.append(at)
            if has >= least:
                bars.append(bar)
                bar, has = [], Decimal(0)
    return bars


number = st.integers(1, 10**6).map(lambda units: units / 10**3)


@st.composite
def tapes(draw) -> pd.DataFrame:
    """Trades without attrs, some in one microsecond; their ids run on."""
    count = draw(st.integers(1, 40))
    steps = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    index = pd.DatetimeIndex(np.cumsum(steps).astype("M8[us]"), name="timestamp").tz_localize("UTC")
    ids = np.arange(count)
    columns = {"price": st.lists(number, min_size=count, max_size=count)}
    columns["quantity"] = columns["price"]
    columns["is_buyer_maker"] = st.lists(st.booleans(), min_size=count, max_size=count)
    frame = pd.DataFrame({name: draw(each) for name, each in columns.items()}, index=index)
    return frame.assign(agg_trade_id=ids, first_trade_id=3 * ids, last_trade_id=3 * ids + 2)


@given(tapes(), st.sampled_from(["volume", "dollars"]), number, st.integers(1, 9))
def test_bars_are_filled_as_plain_arithmetic_says(trades, column, least, size):
    """Each bar ends with the trade that fills it, however trades are cut into blocks; none is split."""
    blocks = (trades.iloc[at : at + size] for at in range(0, len(trades), size))
    made = ares.candles_from_trades(blocks, **{column: least})
    runs = [trades.iloc[run] for run in plain(trades, column, Decimal(repr(least)))]

    assert made.index.tolist() == [run.index[0] for run in runs]
    assert made["open"].tolist() == [run["price"].iloc[0] for run in runs]
    assert made["close"].tolist() == [run["price"].iloc[-1] for run in runs]
    assert made["high"].tolist() == [run["price"].max() for run in runs]
    assert made["low"].tolist() == [run["price"].min() for run in runs]
    assert made["number_of_trades"].tolist() == [3 * len(run) for run in runs]
    sums = [float(sum(map(Decimal, map(repr, run["quantity"].tolist())))) for run in runs]
    assert made["volume"].tolist() == sums
    assert_same(made, ares.candles_from_trades(trades, **{column: least}))


@given(tapes(), st.integers(1, 9))
def test_blocks_of_any_size_make_the_same_bars_of_time(trades, size):
    """How trades are cut into blocks changes no bar of an interval."""
    trades.index = trades.index + (trades.index - trades.index[0]) * 500_000
    blocks = [trades.iloc[at : at + size] for at in range(0, len(trades), size)]
    one, many = (ares.candles_from_trades(each, "1s") for each in (trades, blocks))

    assert_same(many, one)
    assert many.attrs == one.attrs


def test_blocks_of_a_window_are_its_bars(settings):
    """What iter_agg_trades yields makes the bars of the whole window, with its attrs."""
    for options in ({"interval": "5s"}, {"volume": 7}, {"dollars": Decimal("1e6")}):
        blocks = ares.iter_agg_trades("BTCUSDT", rows=777, settings=settings)
        many = ares.candles_from_trades(blocks, **options)
        one = ares.candles_from_trades(load(settings), **options)
        assert_same(many, one)
        assert many.attrs == one.attrs


def test_dollars_of_coin_m_are_those_of_its_contracts(settings):
    """A contract of BTCUSD_PERP is 100 dollars, whatever its price."""
    trades = load(settings, "cm_agg_trades")
    by_dollars = ares.candles_from_trades(trades, dollars=100_000)
    by_contracts = ares.candles_from_trades(trades, volume=1_000)

    assert len(by_dollars) > 10
    assert_same(by_dollars, by_contracts)
    assert "base_asset_volume" in by_dollars


def test_decimals_stay_decimals(settings):
    """Bars of exact trades are exact: sums of decimals are those of plain arithmetic."""
    trades = load(settings, decimal=True)
    made = ares.candles_from_trades(trades, volume="12.5")
    first = trades.iloc[: plain(trades.astype(float), "volume", Decimal("12.5"))[0][-1] + 1]

    assert made["volume"].iloc[0] == sum(first["quantity"])
    assert made["quote_asset_volume"].iloc[0] == sum(first["quantity"] * first["price"])
    assert str(made["open"].iloc[0]) == str(first["price"].iloc[0])


def test_a_cut_that_needs_every_digit_is_made_in_every_digit():
    """Ten trades of 0.1 fill a bar of 1, which ten floats do not."""
    made = ares.candles_from_trades(tape(*[(0.1, at) for at in range(21)]), volume=1)

    assert made["volume"].tolist() == [1.0, 1.0]
    assert made["number_of_trades"].tolist() == [10, 10]


def tape(*trades: tuple[float, int], step: str = "1s") -> pd.DataFrame:
    """Trades of these quantities and ids, one each second."""
    quantities, ids = zip(*trades, strict=True)
    index = pd.date_range("2025-01-01", periods=len(ids), freq=step, tz="UTC", name="timestamp")
    columns = {"price": 2.0, "quantity": quantities, "is_buyer_maker": False}
    columns |= dict.fromkeys(("agg_trade_id", "first_trade_id", "last_trade_id"), ids)
    return pd.DataFrame(columns, index=index)


# --- what is missing ---

# Without the edges of the days, where only a receipt shows that no trade is missing.
INSIDE = ("2025-03-03T01:00", "2025-03-04T23:00")


@pytest.fixture
def holed(settings, tmp_path):
    """A cache whose trades lack fifty on 2025-03-03."""
    made = settings.replace(cache_dir=tmp_path / "cache")
    made.cache_dir.mkdir()
    for day in ("03", "04"):
        name = f"aggtrades_BTCUSDT_2025-03-{day}.csv"
        lines = (settings.cache_dir / name).read_text().splitlines(keepends=True)
        (made.cache_dir / name).write_text(
            "".join(lines[:1000] + lines[1050:] if day == "03" else lines)
        )
    return made


def test_a_bar_over_missing_trades_is_marked(settings, holed):
    """Bars of an interval over missing ids are NaN and listed; all others are as without a gap."""
    trades = load(holed, "agg_trades", *INSIDE)
    whole = ares.candles_from_trades(load(settings), "1m")
    made = ares.candles_from_trades(trades, "1m")
    at = int(np.flatnonzero(np.diff(trades["agg_trade_id"]) > 1)[0])
    first, last = trades.index[at].floor("1min"), trades.index[at + 1].floor("1min")
    is_lost = (made.index >= first) & (made.index <= last)
    start, end = (
        datetime.fromisoformat(made.attrs["missing"][0][0]),
        datetime.fromisoformat(made.attrs["missing"][0][1]),
    )

    assert trades.attrs["missing_count"] == made.attrs["missing_count"] == 1
    assert (start, end) == (made.index[is_lost][0], made.index[is_lost][-1] + timedelta(minutes=1))
    assert first - timedelta(minutes=1) < start < end <= last + timedelta(minutes=1)
    assert made[is_lost & made["close"].isna()].isna().all(axis=None)
    assert (end - start) / timedelta(minutes=1) == made["close"].isna().sum() > 10
    others = made.dropna().astype({"number_of_trades": "int64"})
    assert_same(others, whole.loc[others.index])
    assert whole.loc[INSIDE[0] : "2025-03-04T22:59"].index.isin(made.index).all()


@pytest.mark.parametrize("attrs", [True, False])
@pytest.mark.parametrize("rows", [10**6, 1000, 999, 100])
def test_a_filled_bar_over_missing_trades_is_marked(settings, holed, rows, attrs):
    """The bar that is not full when trades are missing is NaN; the next one begins after them."""
    trades, whole = (load(each, "agg_trades", *INSIDE) for each in (holed, settings))
    if not attrs:
        trades.attrs.clear()
    blocks = [trades.iloc[at : at + rows] for at in range(0, len(trades), rows)]
    made = ares.candles_from_trades(blocks, volume=20)
    at = int(np.flatnonzero(np.diff(trades["agg_trade_id"]) > 1)[0]) + 1
    is_lost = made["close"].isna()
    before, after = (
        ares.candles_from_trades(trades_of(each), volume=20)
        for each in (trades.iloc[:at], trades.iloc[at:])
    )
    lost = made.index[is_lost]

    assert is_lost.sum() == made.attrs["missing_count"] == 1
    assert made[is_lost].isna().all(axis=None)
    assert_same(made.dropna().astype({"number_of_trades": "int64"}), pd.concat([before, after]))
    assert before.index[-1] <= lost[0] <= trades.index[at - 1]
    [[start, end]] = made.attrs["missing"]
    assert pd.Timestamp(start) <= lost[0] < trades.index[at] <= pd.Timestamp(end)
    assert len(ares.missing(made)) == 1
    assert len(whole) - len(trades) == 50


def trades_of(frame) -> pd.DataFrame:
    """The same rows without attrs."""
    frame = frame.copy()
    frame.attrs.clear()
    return frame


def test_missing_trades_at_the_end_of_a_full_bar_are_marked_too():
    """Where a bar is just full when trades are missing, those are a bar of their own that is NaN."""
    made = ares.candles_from_trades(tape((1, 0), (1, 1), (1, 7), (1, 8)), volume=2)

    np.testing.assert_array_equal(made["volume"], [2.0, np.nan, 2.0])
    assert made.attrs["missing"] == [["2025-01-01T00:00:01+00:00", "2025-01-01T00:00:02+00:00"]]


def test_trades_that_may_be_missing_at_an_edge_leave_bars_incomplete(holed):
    """Where it is not known whether trades precede the first one, its bar of time is marked."""
    trades = load(holed)
    filled, minutes = (
        ares.candles_from_trades(trades, **each) for each in ({"volume": 20}, {"interval": "1m"})
    )

    assert trades.attrs["missing"][0][0] == "2025-03-03T00:00:00+00:00"
    for made in (filled, minutes):
        assert not made.attrs["complete"]
        assert made.attrs["missing"][0][0] == "2025-03-03T00:00:00+00:00"
    assert minutes.iloc[0].isna().all()
    assert filled.index[0] == trades.index[0]


def test_more_gaps_than_attrs_list_are_all_marked():
    """Of trades with more than a hundred gaps, attrs list some, and ids show all."""
    trades = tape(*[(1.0, 3 * at) for at in range(300)])
    trades.attrs = {
        "dataset": "agg_trades",
        "symbol": "BTCUSDT",
        "interval": None,
        "market": "demo",
    }
    trades.attrs |= {"start": "2025-01-01T00:00:00+00:00", "end": "2025-01-01T00:10:00+00:00"}
    trades.attrs |= {"complete": False, "missing_count": 300}
    trades.attrs["missing"] = [["2025-01-01T00:00:00+00:00", "2025-01-01T00:00:01+00:00"]] * 100
    seconds = ares.candles_from_trades(trades, "10s")
    filled = ares.candles_from_trades(trades, volume=1)

    assert seconds["close"].isna().all()
    assert len(seconds) == 60
    assert filled["close"].isna().sum() == 299
    assert len(ares.missing(seconds)) == 1


def test_missing_trades_may_have_the_time_of_their_neighbours():
    """Where the trade after a gap is the first of a bar, that bar may lack some of its moment."""
    trades = tape((1, 0), (1, 1), (1, 5), (1, 6), step="30s")
    window = ["2025-01-01T00:00:30.001000+00:00", "2025-01-01T00:01:00+00:00"]
    trades.attrs = {"dataset": "agg_trades", "missing": [window], "missing_count": 1}
    trades.attrs |= {"start": "2025-01-01T00:00:00+00:00", "end": "2025-01-01T00:03:00+00:00"}
    made = ares.candles_from_trades(trades, "1m")

    assert made["close"].isna().tolist() == [True, True]
    assert made.attrs["missing"] == [["2025-01-01T00:00:00+00:00", "2025-01-01T00:02:00+00:00"]]


def test_a_window_that_begins_within_a_millisecond_cuts_its_first_bar(settings):
    """Attrs state a window to the microsecond, so that a bar that it cuts by one is left out."""
    trades = load(settings, "agg_trades", "2025-03-03T00:00:00.000001", "2025-03-03T03:00:00")

    assert trades.attrs["start"] == "2025-03-03T00:00:00.000001+00:00"
    assert ares.candles_from_trades(trades, "1h").index.hour.tolist() == [1, 2]


def test_ids_that_are_proven_absent_are_no_gap():
    """Attrs that list nothing say that the exchange has no trade of the ids in between."""
    trades = tape((1, 0), (1, 5), (1, 6))
    trades.attrs = {"dataset": "agg_trades", "missing": [], "missing_count": 0}

    assert ares.candles_from_trades(trades, volume=2)["volume"].tolist() == [2.0]


def test_ids_of_single_trades_that_were_not_stored_are_not_counted(settings):
    """A bar with a trade of the original downloader's files has no count, and all else."""
    trades = load(settings, "agg_trades", "2025-03-03", "2025-03-04")
    is_old = trades.index < "2025-03-03T04:30"
    ids = {name: trades[name].mask(is_old) for name in ("first_trade_id", "last_trade_id")}
    new = ares.candles_from_trades(trades, "1h")
    made = ares.candles_from_trades(trades.assign(**ids), "1h")

    np.testing.assert_array_equal(
        made["number_of_trades"], new["number_of_trades"].where(new.index.hour > 4)
    )
    assert_same(made.drop(columns="number_of_trades"), new.drop(columns="number_of_trades"))
    assert made.attrs["complete"]


def test_trades_whose_stamps_go_back_are_taken_in_the_order_of_ids():
    """A frame is in the order of its stamps; a bar opens with the trade of the lowest id."""
    trades = tape((1, 1), (2, 0), (1, 2)).assign(price=[5.0, 4.0, 6.0])
    made = ares.candles_from_trades(trades, volume=4)

    assert made[["open", "close", "volume"]].to_numpy().tolist() == [[4.0, 6.0, 4.0]]


# --- what else takes bars, and refusals ---


def test_filled_bars_are_aligned_without_look_ahead(settings):
    """A bar of a volume is seen from the next one's first trade on, and never before its last one."""
    trades = load(settings)
    bars = ares.candles_from_trades(trades, volume=50)
    aligned = ares.align(trades[["price"]], bars[["close", "number_of_trades"]])
    ends = trades.index.searchsorted(bars.index) + 1

    seen = aligned["close"].notna().idxmax()
    assert seen == bars.index[1]
    assert (np.diff(ends) > 1).any()
    for at, (stamp, close) in enumerate(bars["close"].iloc[:-1].items()):
        row = aligned.loc[bars.index[at + 1]]
        row = row.iloc[-1] if isinstance(row, pd.DataFrame) else row
        assert row["close"] == close, stamp
    assert aligned.attrs["aligned"] == [["klines", "BTCUSDT", None]]
    assert ares.align(bars, trades[["price"]])["price"].notna().all()


def test_bars_of_seconds_are_aligned_and_drawn(settings):
    """A bar of five seconds is known at its close; plots take bars of every kind."""
    plot = pytest.importorskip("ares_notebook.plots.klines")
    seconds = ares.candles_from_trades(load(settings), "5s")
    minutes = ares.candles_from_trades(load(settings), "1m")
    aligned = ares.align(minutes, seconds)
    row = minutes.index[30]

    assert aligned.loc[row, "close_klines_5s"] == minutes.loc[row, "close"]
    for bars in (seconds, minutes, ares.candles_from_trades(load(settings), volume=50)):
        assert plot.plot_klines(bars).get_title(loc="left").startswith("BTCUSDT")


@pytest.mark.parametrize("column", ["volume", "dollars"])
@pytest.mark.parametrize(
    "least",
    [1e12, "1e12", 1e28, Decimal("1e45"), 1e300, "1e999999", 10**5000],
    ids=lambda each: type(each).__name__,
)
def test_an_amount_that_no_trades_reach_fills_no_bar(column, least):
    """However large an amount is, bars that are not full are left out."""
    made = ares.candles_from_trades(tape((1, 0), (1e9, 1)), **{column: least})

    assert made.empty
    assert made.attrs["complete"]


def test_any_small_amount_is_reached_by_each_trade():
    """An amount below the last digit of a trade, and one with more digits than sums have, is reached exactly."""
    trades = tape(*[(0.5, at) for at in range(4)])

    for least in (5e-324, "1e-999999", 1e-20, Decimal("0.1234567890123456789"), 0.5):
        assert len(ares.candles_from_trades(trades, volume=least)) == 4
    # Half a unit of the last digit of a sum more than a trade has.
    assert len(ares.candles_from_trades(trades, volume="0.50000000000000005")) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "pass one of interval="),
        ({"interval": "5s", "volume": 3}, "pass one of interval="),
        ({"volume": 3, "dollars": 3}, "pass one of interval="),
        ({"interval": "7min"}, "interval='7min' is none that bars can have"),
        ({"volume": 0}, "volume=0 is no amount"),
        ({"volume": float("nan")}, "volume=nan is no amount"),
        ({"dollars": float("inf")}, "dollars=inf is no amount"),
        ({"dollars": -5}, "dollars=-5 is no amount"),
        ({"dollars": "many"}, "dollars='many' is no amount"),
        ({"volume": True}, "volume=True is no amount"),
        ({"volume": "1e99999999999999999999"}, "is no amount"),
        ({"dollars": "1/3"}, "dollars='1/3' is no amount"),
    ],
)
def test_one_kind_of_bar_is_asked_for(options, words):
    """Nothing, two things, or what is no amount is refused."""
    with pytest.raises(BadArgument, match=words):
        ares.candles_from_trades(tape((1, 0)), **options)


CUTS = {
    "slice": lambda frame: frame.iloc[500:4000],
    "first": lambda frame: frame.iloc[1:],
    "middle": lambda frame: pd.concat([frame.iloc[:1234], frame.iloc[1250:]]),
    "mask": lambda frame: frame[frame["quantity"] > frame["quantity"].median()],
    "side": lambda frame: frame[frame["is_buyer_maker"]],
}


@pytest.mark.parametrize(
    "options", [{"interval": "1h"}, {"interval": "5s"}, {"volume": 20}, {"dollars": 1e6}]
)
@pytest.mark.parametrize("form", ["frame", "list", "iterator"])
@pytest.mark.parametrize("how", CUTS)
def test_cut_trades_are_trades_without_attrs(settings, how, form, options):
    """Of trades that were removed after loading each id that is not there is missing, in blocks too."""
    cut = CUTS[how](load(settings))
    given_ = [cut.iloc[at : at + 700] for at in range(0, len(cut), 700)]
    given_ = {"frame": cut, "list": given_, "iterator": iter(given_)}[form]
    like = ares.candles_from_trades(trades_of(cut), **options)
    window = ("start", "end", "rows", "complete", "missing", "missing_count")
    if form == "iterator" and "interval" not in options and how in ("middle", "mask", "side"):
        with pytest.raises(
            BadArgument, match=r"have other rows than their attrs state.*pass a list"
        ):
            ares.candles_from_trades(given_, **options)
        return
    made = ares.candles_from_trades(given_, **options)

    assert_same(made, like)
    assert {key: made.attrs[key] for key in window} == {key: like.attrs[key] for key in window}
    assert made.attrs["complete"] is (how in ("slice", "first"))
    assert (made.attrs["symbol"], made.attrs["rows"]) == ("BTCUSDT", len(made))


def test_some_blocks_of_a_window_are_their_own_window(settings):
    """Where an iterator ends early, so do the bars, and days that were loaded one by one are one window."""
    blocks = islice(ares.iter_agg_trades("BTCUSDT", rows=500, settings=settings), 3)
    bars = ares.candles_from_trades(blocks, "1h")
    days = [
        load(settings, "agg_trades", *each)
        for each in (("2025-03-03", "2025-03-04"), ("2025-03-04", "2025-03-05"))
    ]
    both = ares.candles_from_trades(days, "1h")
    whole = ares.candles_from_trades(load(settings), "1h")

    assert 0 < len(bars) < 24
    assert_same(bars, whole.loc[bars.index])
    assert bars.index[-1] + timedelta(hours=1) <= load(settings).index[1499]
    # Whether trades are missing before the first one and after the last, the ids do not tell.
    assert_same(both, whole.iloc[1:-1])
    assert both.attrs["complete"]


@pytest.mark.parametrize("last", ["2025-03-05", "2025-03-04T20:00"])
def test_trades_of_an_altered_day_prove_nothing_beside_another_day(settings, vouch, tmp_path, last):
    """Where days were loaded one by one, what the attrs of each list is missing, and a part of a day is no other."""
    made = settings.replace(cache_dir=tmp_path / "cache")
    (made.cache_dir / ".ares" / "receipts").mkdir(parents=True)
    for day in ("03", "04"):
        name = f"aggtrades_BTCUSDT_2025-03-{day}.csv"
        (made.cache_dir / name).write_bytes((settings.cache_dir / name).read_bytes())
        vouch(made, name)
    path = made.cache_dir / name
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    days = [load(made, "agg_trades", "2025-03-03", "2025-03-04")]
    days.append(load(made, "agg_trades", "2025-03-04").loc[:last])
    bars, filled = (
        ares.candles_from_trades(days, **each) for each in ({"interval": "1h"}, {"volume": 20})
    )

    assert days[1].attrs["altered"] == [name]
    # Beside it the end of the day before proves nothing either.
    assert bars["close"].isna().tolist() == (bars.index >= "2025-03-03T23:00Z").tolist()
    assert bars.index[-1].day == 4
    assert bars.attrs["missing"] == [["2025-03-03T23:00:00+00:00", bars.attrs["end"]]]
    assert not filled.attrs["complete"]
    assert filled.attrs["missing"][-1][0] <= "2025-03-04T00:00:00+00:00"


def test_what_are_no_trades_is_refused(settings):
    """Candles, single columns, and trades out of order are named."""
    trades = load(settings)
    candles = ares.candles_from_trades(trades, "1h")
    noisy = trades.assign(price=trades["price"] / 3)

    for given_, words in (
        (candles, "a frame of aggregated trades is needed, as load_agg_trades"),
        (trades[["price", "quantity"]], "lacks the columns is_buyer_maker, agg_trade_id"),
        (trades["price"], "not float"),
        ([], "there is no block of trades"),
        (5, "not int"),
        ([trades.iloc[100:200], trades.iloc[:100]], "not in the order of their ids"),
        ([trades, trades], "not in the order of their ids"),
        (noisy, "no number of at most eight digits"),
        (trades.tz_localize(None), "no time zone"),
    ):
        with pytest.raises(BadArgument, match=words):
            ares.candles_from_trades(given_, "1h")


def test_a_window_without_a_trade_has_no_bar(settings):
    """Of no trades there are no bars, with the columns of candles."""
    for options in ({"interval": "1h"}, {"volume": 1}):
        made = ares.candles_from_trades(load(settings).iloc[:0], **options)
        assert made.empty
        assert "quote_asset_volume" in made
