"""Prices of spot, contracts, indices and premiums belong together."""

from __future__ import annotations

import numpy as np
import pytest

from ares_notebook.demo import generator
from ares_notebook.demo.funding import PriceSeries, funding_of, mark_prices, premiums
from ares_notebook.demo.generator import TradeGenerator, first_id_of_day
from ares_notebook.demo.market import candles_between
from ares_notebook.demo.symbols import (
    DAY,
    INSTRUMENTS,
    MINUTE,
    PRICE_GAPS,
    PRICE_KINDS,
    QUIET,
    minute_of,
)
from ares_notebook.demo.tables import CLOSE, COUNT, HIGH, LOW, OPEN, OPENED, VOLUME

CONTRACTS = [
    ("um", "BTCUSDT"), ("um", "SOLUSDT"), ("um", "1000SHIBUSDT"), ("um", "BTCUSDT_250627"),
    ("cm", "BTCUSD_PERP"), ("cm", "ETHUSD_PERP"), ("cm", "BTCUSD_250627"),
]  # fmt: skip
MARK, INDEX, PREMIUM = PRICE_KINDS
ONE = 100_000_000


def contract(product: str, symbol: str) -> TradeGenerator:
    return TradeGenerator(INSTRUMENTS[product][symbol], 20_000)  # type: ignore[index]


def candles(source: TradeGenerator | PriceSeries, start: str, end: str, interval: str = "1m"):  # type: ignore[no-untyped-def]
    """Rows of candles by name of their column."""
    first, last = minute_of(start) * MINUTE, minute_of(end) * MINUTE - 1
    return candles_between(source, interval, first, last).rows


@pytest.mark.parametrize(("product", "symbol"), CONTRACTS)
def test_a_contract_costs_the_index_times_one_plus_the_premium(product: str, symbol: str) -> None:
    """Each minute of a contract opens within a tick of index x (1 + premium)."""
    source = contract(product, symbol)
    pair = source.instrument.pair
    traded, index, premium = (
        candles(each, "2025-03-02", "2025-03-04")[OPEN]
        for each in (
            source,
            PriceSeries(product, INDEX, pair),  # type: ignore[arg-type]
            PriceSeries(product, PREMIUM, symbol),  # type: ignore[arg-type]
        )
    )
    rows = candles(source, "2025-03-02", "2025-03-04")
    expected = index * (1 + premium / ONE)
    error = np.abs(traded * source.instrument.tick - expected)[rows[COUNT] > 0]

    assert error.max() <= source.instrument.tick + 1


def test_the_index_is_the_spot_price() -> None:
    """The indices BTCUSDT and BTCUSD open each minute at the price of spot."""
    spot = candles(
        TradeGenerator(INSTRUMENTS["spot"]["BTCUSDT"], 20_000), "2025-05-01", "2025-05-02"
    )

    for product, pair in (("um", "BTCUSDT"), ("cm", "BTCUSD")):
        series = PriceSeries(product, INDEX, pair)  # type: ignore[arg-type]
        assert np.array_equal(
            candles(series, "2025-05-01", "2025-05-02")[OPEN], spot[OPEN] * 1_000_000
        )


@pytest.mark.parametrize(("product", "symbol"), CONTRACTS)
def test_the_mark_price_is_near_the_contract(product: str, symbol: str) -> None:
    """The mark price of a perpetual or delivery contract differs from it by less than 0.4 percent."""
    source = contract(product, symbol)
    mark = candles(PriceSeries(product, MARK, symbol), "2025-03-05", "2025-03-06")  # type: ignore[arg-type]
    traded = candles(source, "2025-03-05", "2025-03-06")

    assert np.abs(mark[CLOSE] / (traded[CLOSE] * source.instrument.tick) - 1).max() < 0.004


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT", "BTCUSD_PERP"])
def test_funding_is_the_clamped_mean_of_the_premium(symbol: str) -> None:
    """A funding rate is within 0.001 percent of the mean premium of its hours, clamped to the interest."""
    product = "cm" if symbol.endswith("_PERP") else "um"
    instrument = INSTRUMENTS[product][symbol]  # type: ignore[index]
    events = funding_of(instrument)
    first = int(np.searchsorted(events.time_ms, minute_of("2022-10-20") * MINUTE))
    for event in range(first, first + 120):
        start, end = (int(events.time_ms[each]) // MINUTE for each in (event - 1, event))
        mean = premiums(instrument, np.arange(start, end)).mean()
        rate = mean + np.clip(10_000 - mean, -50_000, 50_000)
        assert abs(rate - events.rate[event] * 8 / events.hours[event]) < 1_000


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTCUSD_PERP"])
def test_funding_is_the_clamped_average_in_which_later_minutes_weigh_more(symbol: str) -> None:
    """By the public rule, with weights 1, 2 … n, a rate of eight hours is within 0.001 percent of its premium."""
    product = "cm" if symbol.endswith("_PERP") else "um"
    instrument = INSTRUMENTS[product][symbol]  # type: ignore[index]
    events = funding_of(instrument)
    for event in range(2_000, 2_120):
        start, end = (int(events.time_ms[each]) // MINUTE for each in (event - 1, event))
        premium = premiums(instrument, np.arange(start, end))
        mean = np.average(premium, weights=np.arange(1, end - start + 1))
        rate = mean + np.clip(10_000 - mean, -50_000, 50_000)
        assert abs(rate - events.rate[event]) < 1_000


def test_the_premium_is_small_and_goes_back_to_zero() -> None:
    """In a year the premium stays below 0.3 percent, changes its sign, and is 0 within 0.02 percent on average."""
    year = np.arange(minute_of("2024-01-01"), minute_of("2025-01-01"), 7)
    premium = premiums(INSTRUMENTS["um"]["BTCUSDT"], year) / ONE

    assert np.abs(premium).max() < 0.003
    assert (np.diff(np.sign(premium)) != 0).sum() > 300
    assert abs(premium.mean()) < 0.0002


def test_at_a_payment_the_mark_price_is_the_index() -> None:
    """At the minute of a funding payment nothing of its rate is left in the mark price."""
    instrument = INSTRUMENTS["um"]["BTCUSDT"]
    minutes = funding_of(instrument).time_ms[1_000:1_100] // MINUTE
    index = PriceSeries("um", INDEX, "BTCUSDT").values(minutes)

    assert np.array_equal(mark_prices(instrument, minutes), index)


def test_before_the_first_payment_the_mark_price_is_the_index() -> None:
    """From the listing to the first funding payment there is no rate in the mark price."""
    instrument = INSTRUMENTS["um"]["1000SHIBUSDT"]
    first_payment = funding_of(instrument).time_ms[0] // MINUTE
    minutes = np.arange(instrument.first_minute, first_payment)
    index = PriceSeries("um", INDEX, "1000SHIBUSDT").values(minutes)

    assert len(minutes) == 60
    assert np.array_equal(mark_prices(instrument, minutes), index)


@pytest.mark.parametrize("kind", PRICE_KINDS)
def test_computed_prices_have_no_jumps(kind: str) -> None:
    """A minute of mark price, index or premium opens where the one before closed, within its extremes."""
    rows = candles(PriceSeries("um", kind, "ETHUSDT"), "2025-06-30", "2025-07-02")

    assert np.array_equal(rows[OPEN][1:], rows[CLOSE][:-1])
    assert (rows[HIGH] >= np.maximum(rows[OPEN], rows[CLOSE])).all()
    assert (rows[LOW] <= np.minimum(rows[OPEN], rows[CLOSE])).all()
    assert set(rows[COUNT].tolist()) == {60}
    assert not rows[VOLUME].any()


@pytest.mark.parametrize(("product", "symbol"), CONTRACTS)
@pytest.mark.parametrize("trades_per_day", [100, 20_000])
def test_trades_of_a_contract_add_up_to_its_minutes(
    product: str, symbol: str, trades_per_day: int
) -> None:
    """The trades of a day add up to those 1m candles that have a volume, the turnover exactly."""
    source = TradeGenerator(INSTRUMENTS[product][symbol], trades_per_day)  # type: ignore[index]
    # A day with a quiet time.
    day = minute_of("2025-03-03") // 1_440
    rows = generator.minute_candles(source, day).rows
    ids = (first_id_of_day(source, day), first_id_of_day(source, day + 1))

    found = generator.trades_between(source, *ids).candles("1m", source.instrument).rows

    assert rows.shape[1] == 1_440
    assert np.array_equal(rows[:, rows[VOLUME] > 0], found)
    assert (rows[VOLUME] == 0).sum() == 3


@pytest.mark.parametrize(("product", "symbol"), [("um", "BTCUSDT"), ("cm", "BTCUSD_PERP")])
def test_a_minute_without_a_trade_is_flat(product: str, symbol: str) -> None:
    """Contracts have a candle also where nobody traded: of the last close, without volume."""
    for start, end in QUIET:
        first, last = (start - 1) * MINUTE, end * MINUTE
        rows = candles_between(contract(product, symbol), "1m", first, last).rows
        flat = rows[:, 1:-1]
        assert rows[OPENED].tolist() == list(range(first, last + 1, MINUTE))
        assert (flat[OPEN : CLOSE + 1] == rows[CLOSE][0]).all()
        assert not flat[VOLUME:].any()
        assert rows[VOLUME][0] > 0 < rows[VOLUME][-1]


def test_turnover_of_coin_margined_contracts_is_in_coins() -> None:
    """The base volume of BTCUSD_PERP is contracts x 100 dollars / price, within a millionth."""
    source = contract("cm", "BTCUSD_PERP")
    day = minute_of("2025-07-01") // 1_440
    trades = generator.trades_between(
        source, first_id_of_day(source, day), first_id_of_day(source, day + 1)
    )
    coins = (trades.quantity * 100 / (trades.price / 10)).sum()
    [turnover] = generator.hour_candles(source, day).fold("1d").rows[6]

    assert turnover / 10**12 == pytest.approx(coins, rel=1e-6)


@pytest.mark.parametrize("kind", [MARK, INDEX])
def test_price_gaps_are_in_no_source(kind: str) -> None:
    """The minutes of each gap are missing from mark price and index, not from the premium."""
    for start, end in PRICE_GAPS:
        first, last = (start - 1) * MINUTE, end * MINUTE
        rows = candles_between(PriceSeries("um", kind, "BTCUSDT"), "1m", first, last).rows
        assert rows[OPENED].tolist() == [first, last]
    premium = candles_between(PriceSeries("um", PREMIUM, "BTCUSDT"), "1m", first, last).rows
    assert premium.shape[1] == end - start + 2


def test_longer_candles_of_prices_add_up() -> None:
    """A 5m, 1h and 1d candle of the mark price has the extremes and the samples of its minutes."""
    minutes = candles(PriceSeries("um", MARK, "BTCUSDT"), "2024-08-12", "2024-08-13")
    for interval in ("5m", "1h", "1d"):
        rows = candles(PriceSeries("um", MARK, "BTCUSDT"), "2024-08-12", "2024-08-13", interval)
        assert rows[COUNT].sum() == minutes[COUNT].sum() == 60 * (1_440 - 18)
        assert (rows[HIGH].max(), rows[LOW].min()) == (minutes[HIGH].max(), minutes[LOW].min())


def test_a_delivery_contract_ends_at_the_index() -> None:
    """The premium of a delivery contract falls to nothing by its last minute."""
    instrument = INSTRUMENTS["um"]["BTCUSDT_250627"]
    last = instrument.end_minute - 1
    early, late = premiums(instrument, np.array([instrument.first_minute, last])) / ONE

    assert 0.015 < early < 0.025
    assert abs(late) < 0.0001
    days = range(last // 1_440, last // 1_440 + 2)
    source = contract("um", "BTCUSDT_250627")
    assert [len(generator.minute_candles(source, day)) for day in days] == [480, 0]
    assert last * MINUTE == generator.minute_candles(source, last // 1_440).opened[-1]
    assert days[1] * DAY > last * MINUTE
