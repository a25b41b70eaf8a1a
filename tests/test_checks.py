"""The checks of rows: each finds its defect, and lets real and sound rows pass."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.rows import schema_of
from ares_notebook.model.time import to_ms
from ares_notebook.quality.checks import ROW_CHECKS, RowTally

KLINES = parse_file_name("klines_BTCUSDT_1h_2025-01.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-01.csv")
FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")
START_US = to_ms(KLINES.period.start) * 1000
HOUR_US = 3_600_000_000


def candle(hour: float, **changes: object) -> dict[str, object]:
    """A sound candle of ten units, all of them bought by takers but four."""
    return {
        "timestamp": START_US + int(hour * HOUR_US),
        "open": "100.00",
        "high": "110.00",
        "low": "90.00",
        "close": "105.00",
        "volume": "10.0",
        "quote_asset_volume": "1000.0",
        "number_of_trades": 5,
        "taker_buy_base_asset_volume": "6.0",
        "taker_buy_quote_asset_volume": "600.0",
        **changes,
    }


def trade(number: int, **changes: object) -> dict[str, object]:
    """A sound trade a second, of two fills."""
    return {
        "timestamp": START_US + number * 1_000_000,
        "price": "100.00",
        "quantity": "1.0",
        "is_buyer_maker": "True",
        "agg_trade_id": 70 + number,
        "first_trade_id": 200 + 2 * number,
        "last_trade_id": 201 + 2 * number,
        **changes,
    }


def event(hour: int, late_us: int = 0) -> dict[str, object]:
    """A funding event, some microseconds late."""
    return {"timestamp": START_US + hour * HOUR_US + late_us, "fundingRate": "-0.00010000"}


def found(file, rows, *, size: int = 100, share: float = 0.2) -> dict[str, tuple[str, int, str]]:
    """What the checks find in rows that come in tables of *size*: severity, count, example."""
    tally = RowTally(file, share)
    for at in range(0, len(rows), size):
        tally.add(pa.Table.from_pylist(rows[at : at + size], schema_of(file.dataset)))
    assert tally.rows == len(rows)
    return {each.check: (each.severity, each.count, each.example) for each in tally.findings()}


ONE_CANDLE = [
    ({"open": "1x0.00"}, "schema", "error"),
    ({"volume": ""}, "schema", "error"),
    ({"close": "nan"}, "schema", "error"),
    ({"low": "100.000000000000000001"}, "low ≤ open, close ≤ high", "error"),
    ({"high": "104.999999999999999999"}, "low ≤ open, close ≤ high", "error"),
    ({"low": "0", "open": "100"}, "prices above zero", "warning"),
    ({"volume": "-9.0", "taker_buy_base_asset_volume": "-9.0"}, "non-negative volumes", "error"),
    (
        {"quote_asset_volume": "-0.00000001", "taker_buy_quote_asset_volume": "-0.1"},
        "non-negative volumes",
        "error",
    ),
    ({"number_of_trades": -1}, "non-negative volumes", "error"),
    ({"taker_buy_base_asset_volume": "-0.1"}, "non-negative volumes", "error"),
    ({"taker_buy_quote_asset_volume": "-0.1"}, "non-negative volumes", "error"),
    ({"taker_buy_base_asset_volume": "10.000000000000000001"}, "taker ≤ total", "error"),
    ({"taker_buy_quote_asset_volume": "1000.00000001"}, "taker ≤ total", "error"),
    ({"volume": "0.0", "taker_buy_base_asset_volume": "0"}, "zero volume is flat", "warning"),
    ({"open": "80.00", "low": "79.00"}, "price jumps", "warning"),
    ({"open": "130.00", "high": "131.00"}, "price jumps", "warning"),
    ({"timestamp": START_US + HOUR_US + 1_800_000_000}, "grid", "warning"),
    ({"timestamp": START_US + HOUR_US + 1}, "grid", "warning"),
    ({"timestamp": START_US + 31 * 24 * HOUR_US}, "stamps inside the period", "error"),
    ({"timestamp": START_US - HOUR_US}, "stamps inside the period", "error"),
]


@pytest.mark.parametrize(("changes", "check", "severity"), ONE_CANDLE)
def test_a_broken_candle_is_found(changes, check, severity):
    """A candle with one defect breaks just the check for it, to the last digit."""
    report = found(KLINES, [candle(0), candle(1, **changes)])

    assert {check: (severity, 1)} == {name: each[:2] for name, each in report.items()}


ONE_TRADE = [
    ({"price": "one"}, "schema", "error"),
    ({"is_buyer_maker": "Trve"}, "schema", "error"),
    ({"price": "0.00"}, "prices above zero", "warning"),
    ({"quantity": "0.00"}, "prices above zero", "warning"),
    ({"quantity": "-0.01"}, "non-negative volumes", "error"),
    ({"price": "120.01"}, "price jumps", "warning"),
    ({"timestamp": START_US - 1}, "stamps inside the period", "error"),
    ({"timestamp": START_US + 24 * HOUR_US}, "stamps inside the period", "error"),
    ({"timestamp": START_US + 999_999}, "stamps in order", "warning"),
    ({"first_trade_id": 205}, "trade ids run on", "information"),
]


@pytest.mark.parametrize(("changes", "check", "severity"), ONE_TRADE)
def test_a_broken_trade_is_found(changes, check, severity):
    """A trade with one defect breaks the check for it, once."""
    report = found(TRADES, [trade(0), trade(1), trade(2, **changes)])

    assert (severity, 1) == report[check][:2]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_tables_do_not_part_what_belongs_together(size):
    """A jump, a step back in time and ids apart are found wherever one table ends."""
    rows = [trade(0), trade(1, price="121.00"), trade(2, timestamp=START_US + 1), trade(3)]
    rows[3] = {**rows[3], "first_trade_id": 300, "last_trade_id": 301}
    report = found(TRADES, rows, size=size)

    assert report["price jumps"][1:] == (1, "2025-01-01 00:00:01 price=121.00 agg_trade_id=71")
    assert report["stamps in order"][1:] == (1, "2025-01-01 00:00:00.000001 agg_trade_id=72")
    assert report["trade ids run on"][1] == 1


def test_ids_beside_a_gap_are_no_finding():
    """Where trades are missing, their ids are not asked to run on."""
    assert found(TRADES, [trade(0), trade(5)]) == {}


def test_an_id_that_is_used_again_on_the_next_day_is_a_warning():
    """The first trade of a day with an id of the day before is told, not condemned."""
    day_before = RowTally(parse_file_name("aggtrades_BTCUSDT_2024-12-31.csv"), 0.2)
    last = pa.Table.from_pylist([trade(0, timestamp=START_US - 1)], schema_of(TRADES.dataset))
    day_before.add(last)
    tally = RowTally(TRADES, 0.2, day_before)
    tally.add(pa.Table.from_pylist([trade(0)], schema_of(TRADES.dataset)))

    assert [(each.check, each.severity) for each in tally.findings()] == [
        ("order and uniqueness", "warning")
    ]


@pytest.mark.parametrize(("share", "count"), [(0.05, 2), (0.3, 1), (0.5, 0)])
def test_the_share_of_a_jump_is_a_setting(share, count):
    """A step is a jump where it is larger than the share that was set."""
    rows = [candle(0), candle(1, open="96"), candle(2, open="150", high="160")]

    assert found(KLINES, rows, share=share).get("price jumps", ("", 0))[1] == count


@pytest.mark.parametrize("close", ["105.00", "105"])
def test_a_candle_without_a_trade_stays_at_the_last_close(close):
    """A flat candle without a trade is sound at the last close, whatever its zeros, else not."""
    still = {"volume": "0.00", "quote_asset_volume": "0", "number_of_trades": 0}
    still |= {"taker_buy_base_asset_volume": "0", "taker_buy_quote_asset_volume": "0"}
    flat = dict.fromkeys(("open", "high", "low", "close"), close)
    moved = dict.fromkeys(("open", "high", "low", "close"), "105.01")

    assert found(KLINES, [candle(0), candle(1, **flat, **still)]) == {}
    assert set(found(KLINES, [candle(0), candle(1, **moved, **still)])) == {"zero volume is flat"}
    assert found(KLINES, [candle(0, **moved, **still)]) == {}


@pytest.mark.parametrize(
    ("hours", "count"),
    [([0, 8, 16, 20, 24, 25, 26], 0), ([0, 7, 15], 1), ([0, 2, 10], 1), ([0, 24, 32], 0)],
)
def test_funding_is_due_8_4_or_1_hours_apart(hours, count):
    """Other steps than 8, 4 and 1 hours are odd; longer ones are gaps, and told as such."""
    report = found(FUNDING, [event(hour) for hour in hours])

    assert report.get("funding interval", ("", 0))[1] == count


def test_funding_comes_just_after_the_hour():
    """The exchange's own 47 ms are sound, a minute is not."""
    assert found(FUNDING, [event(0, 47_000), event(8)]) == {}
    assert found(FUNDING, [event(0), event(8, 60_000_000)]) == {
        "funding interval": ("warning", 1, "2025-01-01 08:01:00.000 fundingRate=-0.00010000")
    }


def test_columns_that_the_ancestor_did_not_store_break_nothing():
    """Null cells are skipped by every check of candles and trades."""
    names = ("quote_asset_volume", "number_of_trades", "taker_buy_base_asset_volume")
    lacking = dict.fromkeys((*names, "taker_buy_quote_asset_volume"))
    without_ids = dict.fromkeys(("first_trade_id", "last_trade_id"))

    assert found(KLINES, [candle(0, **lacking), candle(1, **lacking)]) == {}
    assert found(TRADES, [trade(0, **without_ids), trade(1, **without_ids)]) == {}


def test_numbers_of_any_length_are_compared_exactly():
    """Forty digits and an exponent are numbers; one digit apart in the last is apart."""
    long = "12345678901234567890.12345678901234567891"
    rows = [candle(0, volume=long, taker_buy_base_asset_volume=long[:-1] + "0")]
    apart = [candle(0, volume=long, taker_buy_base_asset_volume=long[:-1] + "2")]

    assert found(KLINES, rows) == {}
    assert set(found(KLINES, apart)) == {"taker ≤ total"}
    assert found(KLINES, [candle(0, volume=long)]) == {}
    assert found(KLINES, [candle(0, taker_buy_base_asset_volume="1e-5")]) == {}


def test_one_cell_that_is_no_number_hides_no_other_row():
    """Beside a cell that cannot be read, the rows around it are still compared."""
    rows = [candle(0, open="?"), candle(1, low="104.00"), candle(2, low="102.00")]
    report = found(KLINES, rows)

    assert {name: each[1] for name, each in report.items()} == {
        "schema": 1,
        "low ≤ open, close ≤ high": 2,
    }


def test_months_have_a_grid_of_their_own():
    """A month's candle opens on its first day, and nowhere else."""
    file = parse_file_name("klines_BTCUSDT_1mo_2025-01.csv")

    assert found(file, [candle(0)]) == {}
    assert set(found(file, [candle(24)])) == {"grid"}


def test_the_example_is_the_first_row_that_breaks_the_promise():
    """Of several broken rows all are counted, and the first is shown with what matters."""
    rows = [candle(hour, low="101.00" if hour > 1 else "90.00") for hour in range(5)]

    assert found(KLINES, rows, size=2) == {
        "low ≤ open, close ≤ high": (
            "error",
            3,
            "2025-01-01 02:00:00 open=100.00 high=110.00 low=101.00 close=105.00",
        )
    }


def test_each_check_has_one_name_a_dataset_and_a_promise():
    """No dataset has two checks of one name, and every check says what it promises."""
    names = Counter(
        (each.name, dataset) for each in ROW_CHECKS for dataset in DATASETS if each.reads(dataset)
    )

    assert set(names.values()) == {1}
    assert all(each.rule.endswith(".") and len(each.rule) > 20 for each in ROW_CHECKS)
