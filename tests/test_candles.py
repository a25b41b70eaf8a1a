"""Candles rebuilt from trades and from smaller candles, to the last digit."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.errors import DataError
from ares_notebook.model.datasets import AGG_TRADES, KLINES
from ares_notebook.model.rows import empty_rows, schema_of
from ares_notebook.model.time import INTERVALS, opens_between
from ares_notebook.quality.reconcile import candles_of_candles, candles_of_trades, compare

MINUTE_US = 60_000_000
SUMS = (
    "volume",
    "quote_asset_volume",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
)


@st.composite
def tapes(draw: st.DrawFn) -> list[tuple[int, str, str, str, int, int, int]]:
    """Trades of some minutes: stamps that rise, any prices and quantities of eight digits."""
    number = st.integers(1, 10**17).map(lambda units: f"{units // 10**8}.{units % 10**8:08d}")
    count = draw(st.integers(0, 30))
    stamps = sorted(draw(st.lists(st.integers(0, 5 * MINUTE_US), min_size=count, max_size=count)))
    tape, single = [], 0
    for at, stamp in enumerate(stamps):
        last = single + draw(st.integers(0, 3))
        maker = draw(st.sampled_from(["True", "False"]))
        tape.append((stamp, draw(number), draw(number), maker, at, single, last))
        single = last + 1
    return tape


def table_of(tape) -> pa.Table:
    """Trades as a table."""
    columns = list(zip(*tape, strict=True)) or [[] for _ in AGG_TRADES.columns]
    return pa.table([list(each) for each in columns], schema=schema_of(AGG_TRADES))


@given(tapes(), st.integers(1, 8))
def test_candles_of_trades_are_those_of_plain_arithmetic(tape, size):
    """Of any trades, in blocks of any size, each candle is what Python's own decimals say."""
    table = table_of(tape)
    blocks = [table.slice(at, size) for at in range(0, table.num_rows, size)]
    made = {row["timestamp"]: row for row in candles_of_trades(blocks, "1m").to_pylist()}

    expected: dict[int, list] = {}
    for trade in tape:
        expected.setdefault(trade[0] // MINUTE_US * MINUTE_US, []).append(trade)
    assert list(made) == sorted(expected)
    with localcontext(prec=80):
        for opened, trades in expected.items():
            check(made[opened], trades)


def check(row, trades):
    """Compare a candle with its trades."""
    prices = [Decimal(trade[1]) for trade in trades]
    sizes = [Decimal(trade[2]) for trade in trades]
    taken = [trade[3] == "False" for trade in trades]
    assert [row[name] for name in ("open", "high", "low", "close")] == [
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
    ]
    assert [row[name] for name in SUMS] == [
        sum(sizes),
        sum(price * size for price, size in zip(prices, sizes, strict=True)),
        sum(size for size, took in zip(sizes, taken, strict=True) if took),
        sum(p * s for p, s, took in zip(prices, sizes, taken, strict=True) if took),
    ]
    assert row["number_of_trades"] == sum(trade[6] - trade[5] + 1 for trade in trades)


def candle(open_us: int, *prices: str, count: int = 3) -> tuple:
    """A candle with these prices: open, high, low, close."""
    return (open_us, *prices, "2.00000000", "9.00000001", count, "1.00000000", "4.00000000")


def candles(*rows) -> pa.Table:
    """Candles as a table."""
    return pa.table([list(each) for each in zip(*rows, strict=True)], schema=schema_of(KLINES))


@pytest.mark.parametrize("interval", ["5m", "1h", "1d", "3d", "1w", "1M"])
def test_small_candles_add_up_on_every_grid(interval):
    """A small candle counts for the large one in which it opens, weeks and months too."""
    start_ms = 1_735_689_600_000
    opens = opens_between(interval, start_ms, start_ms + 90 * INTERVALS["1d"])
    step_us = (opens[1] - opens[0]) * 1000
    one = candle(opens[0] * 1000, "5", "9", "4", "6")
    two = candle(opens[0] * 1000 + step_us - 60_000_000, "6", "7", "1", "2", count=4)
    three = candle(opens[1] * 1000, "2", "2", "2", "2")
    made = candles_of_candles([candles(one), candles(two, three)], interval).to_pylist()

    assert [row["timestamp"] for row in made] == [opens[0] * 1000, opens[1] * 1000]
    first = made[0]
    assert [int(first[name]) for name in ("open", "high", "low", "close")] == [5, 9, 1, 2]
    assert first["quote_asset_volume"] == Decimal("18.00000002")
    assert first["number_of_trades"] == 7


def test_nothing_adds_up_to_nothing():
    """Of no rows there are no candles."""
    assert candles_of_trades([], "1m").num_rows == 0
    assert candles_of_candles([empty_rows(KLINES)], "1h").num_rows == 0


def test_a_difference_in_the_last_digit_is_found():
    """The eighth digit counts, and the words name the candle, the column and both numbers."""
    stored = candles(candle(0, "5", "9", "4", "6"))
    rebuilt = candles_of_candles([candles(candle(0, "5", "9.00000001", "4", "6"))], "1m")
    found = compare(rebuilt, stored)

    assert (found.compared, found.equal, found.missing) == (1, 0, 0)
    assert found.first_difference == "1970-01-01 00:00:00 high: 9.00000001 rebuilt, 9 stored"


@pytest.mark.parametrize("rounding", ["ROUND_DOWN", "ROUND_HALF_UP"])
@pytest.mark.parametrize(("moved", "equal"), [("0", 1), ("0.00001000", 0)])
def test_trades_with_nine_digits_may_each_be_cut(rounding, moved, equal):
    """Quote volumes of nine-digit products may be off by a last digit a trade, and by no more."""
    tape = [(at, f"0.0{3000 + at}", f"{at + 1}.1237", "False", at, at, at) for at in range(499)]
    cut = [
        (Decimal(price) * Decimal(size)).quantize(Decimal("1e-8"), rounding=rounding)
        for _, price, size, *_ in tape
    ]
    prices, sizes = ([Decimal(trade[at]) for trade in tape] for at in (1, 2))
    quote, volume = str(sum(cut) + Decimal(moved)), str(sum(sizes))
    opened, last = str(prices[0]), str(prices[-1])
    stored = candles((0, opened, last, opened, last, volume, str(sum(cut)), 499, volume, quote))
    found = compare(candles_of_trades([table_of(tape)], "1m"), stored)

    assert found.equal == equal
    assert ("taker_buy_quote_asset_volume" in found.first_difference) == (not equal)


def test_a_candle_without_a_trade_has_no_price_of_its_own():
    """A large candle opens with its first trade, and an idle small one before it is no low."""
    idle = (0, *["1"] * 4, "0", "0", 0, "0", "0")
    made = candles_of_candles([candles(idle), candles(candle(MINUTE_US, "5", "9", "4", "6"))], "1h")

    assert [int(made[name][0].as_py()) for name in ("open", "high", "low", "close")] == [5, 9, 4, 6]
    assert candles_of_candles([candles(idle)], "1h")["number_of_trades"].to_pylist() == [0]


@pytest.mark.parametrize("word", ["abc", "0.123456789", "1" * 23])
def test_what_cannot_be_added_up_exactly_is_an_error(word):
    """A word, a ninth digit and a number too wide are refused, never wrong."""
    with pytest.raises(DataError, match="quantity"):
        candles_of_trades([table_of([(0, "1", word, "True", 0, 0, 0)])], "1m")


def test_candles_on_one_side_only_are_missing():
    """A candle that only one side has is counted, but one without a trade may lack."""
    idle = (60_000_000, *["6"] * 4, "0", "0", 0, "0", "0")
    stored = candles(candle(0, "5", "9", "4", "6"), idle)
    rebuilt = candles_of_candles([candles(candle(120_000_000, "6", "6", "6", "6"))], "1m")
    found = compare(rebuilt, stored)

    assert (found.compared, found.equal, found.missing) == (2, 0, 2)
    assert "nothing makes it up" in found.first_difference
