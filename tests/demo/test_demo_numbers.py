"""Numbers become text without ever being a float."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from ares_notebook.demo.tables import decimal, padded, render, signed, trimmed, whole

EDGES = [0, 1, 9, 10, 99, 9_999, 10_000, 10_001, 99_999_999, 10**8, 10**8 + 1, 10**12, 2**62]


def lines(column: list, count: int) -> list[str]:  # type: ignore[type-arg]
    return render([column, b"\n"], count).decode().splitlines()


def test_whole_numbers() -> None:
    """Integers come out as Python writes them."""
    assert [str(n) for n in EDGES] == lines(whole(np.array(EDGES)), len(EDGES))


@pytest.mark.parametrize("unit", [1, 10, 1_000, 10**6, 10**8])
def test_decimals(unit: int) -> None:
    """Decimals have eight digits after the point, also where the product leaves 64 bits."""
    expected = [f"{Decimal(n) * unit / 10**8:.8f}" for n in EDGES]

    assert expected == lines(decimal(np.array(EDGES), unit), len(EDGES))


@pytest.mark.parametrize("digits", range(9))
def test_padded_decimals(digits: int) -> None:
    """Padded decimals have as many digits after the point as their unit, and no point without one."""
    expected = [f"{Decimal(n) / 10**digits:.{digits}f}" for n in EDGES]

    assert expected == lines(padded(np.array(EDGES), 10 ** (8 - digits)), len(EDGES))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0.0"), (100, "1.0"), (1_020, "10.2"), (5, "0.05"), (123_456_789_000, "1234567890.0")],
)
def test_trimmed_decimals(number: int, text: str) -> None:
    """Trimmed decimals lose their trailing zeros but for the first digit after the point."""
    assert lines(trimmed(np.array([number]), 10**6), 1) == [text]
    # The same with zeros between the digits, and digits in both groups after the point.
    assert lines(trimmed(np.array([10**8 + 1, 10**8 + 10_000, 10**8 + 20_010]), 1), 3) == [
        "1.00000001",
        "1.0001",
        "1.0002001",
    ]


def test_signed() -> None:
    """Negative rates have a minus, small ones keep all their zeros."""
    assert lines(signed(np.array([-1, 0, -150_000_000])), 3) == [
        "-0.00000001",
        "0.00000000",
        "-1.50000000",
    ]


def test_each_row_has_its_own_width() -> None:
    """Rows of a table with wide and narrow numbers have no padding left in them."""
    numbers = np.array([7, 123_456_789_012])

    assert (
        render([b"<", whole(numbers), b";", decimal(numbers, 1), b">"], 2)
        == b"<7;0.00000007><123456789012;1234.56789012>"
    )
