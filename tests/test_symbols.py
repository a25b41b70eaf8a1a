"""Symbols, as far as their form goes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_notebook.errors import BadArgument
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.symbols import validate_symbol


@pytest.mark.parametrize(
    ("given_text", "symbol"),
    [
        ("btcusdt", "BTCUSDT"),
        (" BTCUSDT\n", "BTCUSDT"),
        ("1000shibusdt", "1000SHIBUSDT"),
        ("btcusd_perp", "BTCUSD_PERP"),
        ("币安人生usdt", "币安人生USDT"),
    ],
)
def test_a_symbol_is_upper_cased(given_text, symbol):
    """Case and blanks around are forgiven; letters of any script are legal."""
    assert validate_symbol(given_text) == symbol


@pytest.mark.parametrize("pair", ["BTC/USDT", "btc/usdt"])
def test_a_slash_gets_a_hint(pair):
    """Who writes the pair with a slash is told how Binance writes it."""
    with pytest.raises(BadArgument, match="'BTCUSDT'"):
        validate_symbol(pair)


@pytest.mark.parametrize(
    "wrong",
    [
        "", " ", ".", "..", "../BTC", "BTC/../X", "/", "BTC/", "A/B/C", "BTC\\USDT", "BTC USDT",
        "BTC\0", "BTC.USDT", "_BTC", "BTC__X", "BTC-", "C:BTC", "BTC*", "BTC%2F", "A" * 41,
        None, 5, b"BTCUSDT",
    ],
)  # fmt: skip
def test_what_cannot_be_a_symbol_is_refused(wrong):
    """Nothing that a path, an address or a pattern could be made of passes."""
    with pytest.raises(BadArgument, match="symbol="):
        validate_symbol(wrong)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_what_passes_makes_a_file_name_that_is_read_back(text):
    """Whatever passes becomes a file name that tells the same symbol again."""
    try:
        symbol = validate_symbol(text)
    except BadArgument:
        return

    assert parse_file_name(f"futures_{symbol}_2025-01.csv").series.symbol == symbol
    assert parse_file_name(f"klines_{symbol}_1m_2025-01.csv").series.symbol == symbol
    assert not set(symbol) & set("/\\.:*?%&#\0 ")
