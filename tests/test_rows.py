"""Rows and their text in a cache file."""

from __future__ import annotations

import pyarrow as pa
import pytest

from ares_notebook.model.datasets import AGG_TRADES, DATASETS, FUTURES, KLINES
from ares_notebook.model.rows import empty_rows, header_of, keys_of, schema_of, stamps_ms, text_of
from ares_notebook.model.time import as_utc, to_ms


def us(text: str, micros: int = 0) -> int:
    return to_ms(as_utc(text)) * 1000 + micros


def candle(at: int) -> tuple:
    return (
        at,
        "0.00010000",
        "1",
        "2.50",
        "-0.0",
        "0.00000000",
        "12345678901234567890.12345678",
        7,
        "3",
        "4",
    )


def table(dataset, *rows):
    columns = list(zip(*rows, strict=True))
    return pa.table([pa.array(column) for column in columns], schema=schema_of(dataset))


def lines(dataset, *rows) -> list[str]:
    return text_of(dataset, table(dataset, *rows)).to_pybytes().decode().splitlines()


def test_decimals_keep_the_exchanges_digits():
    """No number passes through a float: trailing zeros and twenty digits stay."""
    [line] = lines(KLINES, candle(us("2025-01-01")))

    assert line == (
        "2025-01-01 00:00:00,0.00010000,1,2.50,-0.0,0.00000000,12345678901234567890.12345678,7,3,4"
    )


def test_an_off_grid_candle_carries_its_fraction_and_its_neighbours_none():
    """Only the cell that has a fraction shows one."""
    written = lines(KLINES, candle(us("2018-02-09T09:00")), candle(us("2018-02-09T09:28:14.789")))

    assert [line.split(",")[0] for line in written] == [
        "2018-02-09 09:00:00",
        "2018-02-09 09:28:14.789",
    ]


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        (us("2025-01-15"), "2025-01-15 00:00:00.000000"),
        (us("2025-01-15", 66_000), "2025-01-15 00:00:00.066000"),
        (us("2025-01-15", 1), "2025-01-15 00:00:00.000001"),
    ],
)
def test_trades_always_have_six_digits(stamp, text):
    """The stamp of a trade has microseconds, zeros included; flags are words."""
    [line] = lines(AGG_TRADES, (stamp, "1.10", "2", "True", 5, 6, 7))

    assert line == f"{text},1.10,2,True,5,6,7"


@pytest.mark.parametrize(("micros", "digits"), [(0, "000"), (3_000, "003"), (47_000, "047")])
def test_funding_always_has_three_digits(micros, digits):
    """The exchange's own jitter is kept, in milliseconds."""
    [line] = lines(FUTURES, (us("2025-01-01", micros), "-0.00010000"))

    assert line == f"2025-01-01 00:00:00.{digits},-0.00010000"


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_header_and_emptiness(dataset):
    """The header is one line without quotes; a table of no rows has no text and the same columns."""
    nothing = empty_rows(dataset)

    assert header_of(dataset) == ",".join(dataset.column_names).encode() + b"\n"
    assert text_of(dataset, nothing).to_pybytes() == b""
    assert tuple(nothing.column_names) == dataset.column_names


def test_a_row_is_known_by_its_key():
    """A trade is known by its id, a candle by its stamp, a funding event by its hour."""
    at = us("2025-01-01T08:00", 47_000)

    assert keys_of(AGG_TRADES, table(AGG_TRADES, (at, "1", "1", "True", 5, 6, 7))).tolist() == [5]
    assert keys_of(KLINES, table(KLINES, candle(at))).tolist() == [at]
    assert keys_of(FUTURES, table(FUTURES, (at, "0.1"))).tolist() == [at // 3_600_000_000]


def test_milliseconds_are_rounded_down():
    """A stamp in milliseconds never lies after the row."""
    rows = table(AGG_TRADES, (us("2025-01-01", 1_999), "1", "1", "True", 5, 6, 7))

    assert stamps_ms(rows).tolist() == [to_ms(as_utc("2025-01-01")) + 1]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_empty_piece_of_a_table_writes_nothing(place):
    """PyArrow fills the text of an empty batch with zeros; ours has the rows' lines alone."""
    pieces = [table(FUTURES, (us(day), "0.1")) for day in ("2025-01-01", "2025-01-02")]
    pieces.insert(place, empty_rows(FUTURES))

    text = text_of(FUTURES, pa.concat_tables(pieces)).to_pybytes()

    assert text == b"2025-01-01 00:00:00.000,0.1\n2025-01-02 00:00:00.000,0.1\n"
