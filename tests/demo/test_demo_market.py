"""The synthetic market agrees with itself."""

from __future__ import annotations

import numpy as np
import pytest

from ares_notebook.demo import generator
from ares_notebook.demo.generator import DAY_MINUTES, TradeGenerator, first_id_of_day
from ares_notebook.demo.market import candles_between
from ares_notebook.demo.symbols import DAY, HALTS, INSTRUMENTS, MINUTE, minute_of
from ares_notebook.demo.tables import INTERVALS, advance, first_raw_id, join_candles, open_of

SYMBOLS = ("BTCUSDT", "ETHBTC", "DOGEUSDT", "币安人生USDT")
# Ordinary; with a halt; across the turn of the year with one; the first days of all.
DAYS = ("2026-01-14", "2025-10-10", "2024-12-31", "2025-01-01", "2021-04-25", "2018-02-09")


def source_of(symbol: str, trades_per_day: int = 20_000, product: str = "spot") -> TradeGenerator:
    return TradeGenerator(INSTRUMENTS[product][symbol], trades_per_day)  # type: ignore[index]


def day_of(text: str) -> int:
    return minute_of(text) // DAY_MINUTES


def trades_on(source: TradeGenerator, day: int):  # type: ignore[no-untyped-def]
    return generator.trades_between(
        source, first_id_of_day(source, day), first_id_of_day(source, day + 1)
    )


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("date", DAYS)
@pytest.mark.parametrize("trades_per_day", [100, 20_000, 150_000])
def test_trades_add_up_to_minutes(symbol: str, date: str, trades_per_day: int) -> None:
    """The trades of a day add up to its 1m candles in all ten columns."""
    source = source_of(symbol, trades_per_day)
    expected = generator.minute_candles(source, day_of(date))

    found = trades_on(source, day_of(date)).candles("1m")

    assert np.array_equal(expected.rows, found.rows)


@pytest.mark.parametrize("date", DAYS)
def test_seconds_add_up_to_minutes(date: str) -> None:
    """The 1s candles of a day, flat ones included, add up to its 1m candles."""
    source = source_of("BTCUSDT")
    start = day_of(date) * DAY

    seconds = candles_between(source, "1s", start, start + DAY - 1)

    assert np.array_equal(
        generator.minute_candles(source, day_of(date)).rows, seconds.fold("1m").rows
    )


def test_a_second_without_a_trade_is_flat() -> None:
    """A second without a trade has the last close in all four prices, and no volume."""
    source = source_of("BTCUSDT")
    start = day_of("2026-01-14") * DAY

    rows = candles_between(source, "1s", start, start + DAY - 1).rows
    is_flat = rows[7] == 0

    assert rows.shape[1] == DAY // 1000
    assert 0.5 < is_flat.mean() < 1
    previous = np.roll(rows[4], 1)
    for line in (1, 2, 3, 4):
        assert np.array_equal(rows[line][is_flat], previous[is_flat])
    assert not rows[5:, is_flat].any()


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT"])
@pytest.mark.parametrize("interval", [iv for iv in INTERVALS if iv not in ("1s", "1m")])
def test_minutes_add_up_to_all_intervals(symbol: str, interval: str) -> None:
    """Any interval is the sum of its minutes, across halts and the turn of a year."""
    source = source_of(symbol)
    first = open_of(interval, minute_of("2024-11-18") * MINUTE)
    end = advance(interval, open_of(interval, minute_of("2025-01-05") * MINUTE), 1)
    days = range(first // DAY, -(-end // DAY))
    minutes = join_candles(generator.minute_candles(source, day) for day in days).between(
        first, end
    )

    found = candles_between(source, interval, first, end - 1)

    assert np.array_equal(minutes.fold(interval).rows, found.rows)


@pytest.mark.parametrize(
    ("interval", "opens"),
    [
        ("1w", ["2025-12-29", "2026-01-05"]),
        ("1M", ["2025-12-01", "2026-01-01"]),
        ("3d", ["2026-01-02", "2026-01-05"]),
    ],
)
def test_long_candles_open_where_binance_opens_them(interval: str, opens: list[str]) -> None:
    """Weeks open on Monday, months on the first, three-day candles count from 1970-01-02."""
    stamps = [minute_of(date) * MINUTE for date in opens]

    assert all(open_of(interval, stamp) == stamp for stamp in stamps)
    assert advance(interval, stamps[0], 1) == stamps[1]


@pytest.mark.parametrize("date", DAYS)
def test_ids_run_on(date: str) -> None:
    """Aggregate and raw ids have no gap, within a day, over midnight and over a halt."""
    source = source_of("BTCUSDT")
    first = first_id_of_day(source, day_of(date) - 1)
    end = first_id_of_day(source, day_of(date) + 1)

    trades = generator.trades_between(source, first, end)

    assert end - first == len(trades)
    assert np.array_equal(np.arange(first, end), trades.ids)
    last_raw = first_raw_id(trades.ids + 1) - 1
    assert np.array_equal(first_raw_id(trades.ids)[1:], last_raw[:-1] + 1)
    assert {1, 2, 3} == set((last_raw - first_raw_id(trades.ids) + 1).tolist())


def test_ids_start_at_zero_on_spot_and_at_one_on_futures() -> None:
    """The first aggregate id is 0 on spot and 1 on futures."""
    assert generator.id_at(source_of("BTCUSDT"), 0) == 0
    assert generator.id_at(source_of("BTCUSDT", product="um"), 0) == 1


@pytest.mark.parametrize("date", DAYS)
@pytest.mark.parametrize("trades_per_day", [100, 20_000, 1_000_000])
def test_times_never_decrease(date: str, trades_per_day: int) -> None:
    """Trades are in the order of time, several share a millisecond, all lie in their day."""
    times = trades_on(source_of("BTCUSDT", trades_per_day), day_of(date)).time_us

    steps = np.diff(times)

    assert (steps >= 0).all()
    assert (np.diff(times // 1000) == 0).mean() > 0.1
    assert {day_of(date)} == {int(times[0] // generator.DAY_US), int(times[-1] // generator.DAY_US)}


def test_microseconds_begin_in_2025() -> None:
    """Trades before 2025 are on whole milliseconds, later ones are not."""
    source = source_of("BTCUSDT")

    assert not (trades_on(source, day_of("2024-12-31")).time_us % 1000).any()
    assert (trades_on(source, day_of("2025-01-01")).time_us % 1000).any()


def test_a_million_trades_a_day_are_as_many() -> None:
    """Days have about as many trades as was asked for, a million at will."""
    source = source_of("BTCUSDT", 1_000_000)
    ids = [first_id_of_day(source, day_of("2025-05-01") + day) for day in range(31)]

    assert 900_000 < (ids[-1] - ids[0]) / 30 < 1_100_000


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_page_borders_do_not_matter(symbol: str) -> None:
    """Trades fetched in pages of any size are the trades fetched at once."""
    source = source_of(symbol)
    first = first_id_of_day(source, day_of("2025-10-10")) + 17
    whole = generator.trades_between(source, first, first + 30_000)

    for size in (1, 999, 7_919):
        low = 30_000 // size * size - size
        page = generator.trades_between(source, first + low, first + low + size)
        assert np.array_equal(whole.cut(low, low + size).time_us, page.time_us)
        assert np.array_equal(whole.cut(low, low + size).quantity, page.quantity)


def test_the_id_at_a_time_is_that_of_the_next_trade() -> None:
    """Looking a time up finds the first trade at or after it, in a halt the first after."""
    source = source_of("BTCUSDT")
    trades = trades_on(source, day_of("2025-10-10"))
    start, end = next(h for h in HALTS if h[0] == minute_of("2025-10-10T21:18"))

    for time_us in (*trades.time_us[::997].tolist(), (start + 5) * generator.MINUTE_US):
        expected = trades.first_id + int(np.searchsorted(trades.time_us, time_us))
        assert expected == generator.id_at(source, time_us)
    first = generator.id_at(source, start * generator.MINUTE_US)
    resumed = generator.trades_between(source, first, first + 1)
    assert end == resumed.time_us[0] // generator.MINUTE_US


def test_nothing_trades_in_a_halt() -> None:
    """Within a halt there is no candle of any length; the hour around one is partial."""
    source = source_of("BTCUSDT")
    start, end = (minute_of(at) * MINUTE for at in ("2025-04-22T07:36", "2025-04-22T09:00"))

    assert not len(candles_between(source, "1s", start, end - 1))
    assert not len(candles_between(source, "1m", start, end - 1))
    hours = candles_between(source, "1h", start - start % 3_600_000, end)
    assert [int(opened // 3_600_000 % 24) for opened in hours.opened] == [7, 9]


def test_a_perpetual_goes_on_in_a_halt() -> None:
    """Futures have a candle in every minute, halts of spot or not."""
    source = source_of("BTCUSDT", product="um")

    assert all(
        len(generator.minute_candles(source, day_of(date))) == DAY_MINUTES for date in DAYS[:5]
    )


@pytest.mark.parametrize("symbol", list(INSTRUMENTS["spot"]))
def test_prices_are_believable(symbol: str) -> None:
    """Prices are positive, high and low enclose open and close, a day moves by a few percent."""
    source = source_of(symbol)
    start = max(source.instrument.first_minute * MINUTE, minute_of("2022-01-01") * MINUTE)

    days = candles_between(source, "1d", start, start + 90 * DAY).rows
    spread = (days[2] - days[3]) / days[3]

    assert days[3].min() > 0
    assert (days[2] >= np.maximum(days[1], days[4])).all()
    assert (days[3] <= np.minimum(days[1], days[4])).all()
    assert 0.005 < np.median(spread) < 0.15
    assert (days[8] <= days[5]).all()


def test_bitcoin_is_worth_what_it_was_worth() -> None:
    """BTCUSDT opens near 4,000 in 2017 and near 100,000 in 2025."""
    source = source_of("BTCUSDT")

    def dollars(date: str) -> float:
        return float(generator.prices(source, np.array([minute_of(date)]))[0]) / 100

    assert 2_500 < dollars("2017-08-17") < 6_500
    assert 60_000 < dollars("2025-01-20") < 140_000


def test_the_number_of_trades_knows_nothing_of_prices() -> None:
    """Symbols of other prices have other trades, but as many in an ordinary day as asked."""
    for symbol in SYMBOLS:
        source = source_of(symbol)
        day = day_of("2026-02-01")
        count = first_id_of_day(source, day + 1) - first_id_of_day(source, day)
        assert 10_000 < count < 32_000


def test_symbols_are_the_promised_ones() -> None:
    """There are fifty symbols quoted in USDT, some gone, one not ASCII, some without a perpetual."""
    spot, perpetual = INSTRUMENTS["spot"], INSTRUMENTS["um"]

    assert sum(name.endswith("USDT") for name in spot) >= 50
    assert minute_of("2017-08-17T04:00") == spot["BTCUSDT"].first_minute
    assert minute_of("2020-08-11T06:00") == spot["SOLUSDT"].first_minute
    assert spot["MATICUSDT"].end_minute < minute_of("2025-01-01")
    assert not "币安人生USDT".isascii()
    gone = {"ANTUSDT", "XEMUSDT"}
    assert {"ETHBTC", "BTCFDUSD"} | gone == spot.keys() - perpetual.keys()
    assert all(spot[name].end_minute < minute_of("2025-02-01") for name in gone)
    for one in spot.values():
        assert one.quote_unit * 10**8 == one.tick * one.step
