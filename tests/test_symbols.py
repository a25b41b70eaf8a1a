"""Symbols, as far as their form goes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import speaking_shell
from ares_notebook.model.datasets import DATASETS, KLINES, dataset_named
from ares_notebook.model.files import Series, parse_file_name
from ares_notebook.model.markets import CM, SPOT, UM
from ares_notebook.model.symbols import (
    Universe,
    contract_hint,
    datasets_meant,
    datasets_of_symbol,
    hint,
    suggested,
    validate_symbol,
)


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


@pytest.mark.parametrize(
    "pair",
    [
        "BTC/USDT", "btc/usdt", "BTC-USDT", "BTC_USDT", "BTC–USDT", "BTC.USDT", "btc usdt", "BTC / USDT",
        "BTC/USDT:USDT", "BTC-USDT-SWAP", "BTC/USDT-PERP", "BTCUSDT.P", "BINANCE:BTCUSDT",
        "BINANCE:BTCUSDT.P", "ＢＴＣＵＳＤＴ", "ＢＴＣ／ＵＳＤＴ", "BTC\u200bUSDT", "\ufeffBTCUSDT",
    ],
)  # fmt: skip
def test_a_pair_as_others_write_it_gets_a_hint(pair):
    """Who writes a pair as other programs do is told how Binance writes it, and nothing is changed."""
    with pytest.raises(BadArgument, match=r"symbol=.*did you mean BTCUSDT\? .*'BTCUSDT'"):
        validate_symbol(pair)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("BTCU\u017fDT", "BTCUSDT"),  # long s
        ("btcu\ufb06", "BTCUST"),  # the ligature st
        ("\u00dfTCUSDT", "SSTCUSDT"),  # sharp s
        ("\ufb03USDT", "FFIUSDT"),  # the ligature ffi
        ("\u0131nchusdt", "INCHUSDT"),  # i without a dot
        ("\u212aAVAUSDT", "KAVAUSDT"),  # the sign of kelvin
        ("\u00b5USDT", "\u039cUSDT"),  # the sign of micro
        ("\u01c5USDT", "D\u017dUSDT"),  # a digraph
        ("\u00e9usdt", "\u00c9USDT"),  # a small letter that is not of ASCII
        ("BTC\u00b2USDT", "BTC2USDT"),  # a superscript
    ],
)
def test_a_letter_is_not_replaced_in_silence(written, meant):
    """A letter whose capital or plain form is another one is refused, and the plain name is suggested."""
    with pytest.raises(BadArgument, match=f"did you mean {meant}\\?.*plain capital letters"):
        validate_symbol(written)


@settings(deadline=None)
@given(st.text(max_size=6) | st.text("bT9_-\u017f\u00df\ufb06\u0131\u0130\u5e01 \n", max_size=8))
def test_what_passes_is_what_was_written(text):
    """Whatever passes is its input but for the case of ASCII letters and the blanks around it."""
    try:
        symbol = validate_symbol(text)
    except BadArgument:
        return

    written = text.strip()
    pairs = zip(symbol, written, strict=True)
    assert all(new == old or (old.isascii() and new == old.upper()) for new, old in pairs)
    assert validate_symbol(symbol) == symbol


@pytest.mark.parametrize("name", ["BTCUSD_PERP", "BTCUSDT_250328", "BTC-250328-100000-C"])
def test_names_of_contracts_are_legal(name):
    """The separators that Binance itself uses in names are kept."""
    assert validate_symbol(name) == name


@pytest.mark.parametrize("names", ["BTCUSDT ETHUSDT", "BTCUSDT/ETHUSDT", "BTCUSDT,ETHUSDT"])
def test_two_symbols_are_no_pair(names):
    """Of two symbols no third one is made."""
    with pytest.raises(BadArgument, match="is not a trading symbol"):
        validate_symbol(names)


KNOWN = ("BTCUSDT", "BTCUSDC", "BTCFDUSD", "ETHUSDT", "ETHBTC", "LTCUSDT", "ETCUSDT", "LTCBTC")


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("ETHUSTD", ["ETHUSDT"]),  # swapped
        ("BTCUSTD", ["BTCUSDT"]),
        ("ETHUSD", ["ETHUSDT"]),  # a letter less
        ("ETHUSDTT", ["ETHUSDT"]),  # a letter more
        ("EHTUSDT", ["ETHUSDT"]),
        ("ETHUSFT", ["ETHUSDT"]),  # another letter
        ("THUSDT", ["ETHUSDT"]),
        ("BTCUSD", ["BTCUSDT", "BTCUSDC"]),  # the usual coin to quote in first
        ("ATCUSDT", ["BTCUSDT", "ETCUSDT", "LTCUSDT"]),  # else by name, and three at most
        ("BTC", ["BTCUSDT", "BTCUSDC", "BTCFDUSD"]),  # the coin alone
        ("BTCUSDT_PERP", ["BTCUSDT"]),
        ("BTC-PERP", ["BTCUSDT", "BTCUSDC", "BTCFDUSD"]),
        ("EHTUSTD", []),  # two slips
        ("NOSUCHUSDT", []),
    ],
)
def test_one_slip_is_recognised(slip, meant):
    """A listed symbol is suggested for one that is one slip away from it, and for its coin alone."""
    assert suggested(slip, KNOWN) == meant


CONTRACTS = [
    ("BTCUSD_PERP", "a COIN-M perpetual", "cm_klines"),
    ("BTCUSD_250328", "a COIN-M delivery contract", "cm_klines"),
    ("BTCUSDT_250328", "a USD-M delivery contract", "um_klines"),
    ("BTCBUSD_210129", "a USD-M delivery contract", "um_klines"),
    ("BTC-250328-100000-C", "an option", None),
]


@pytest.mark.parametrize(("name", "kind", "dataset"), CONTRACTS)
def test_a_contract_is_told_what_it_is(name, kind, dataset):
    """The name of a contract says which kind it is, which datasets have it, and which pair is near to it."""
    words = hint(name, KNOWN, [KLINES])

    assert words.startswith(f"the name is that of {kind}, ")
    assert (f'datasets=("{dataset}",)' in words) == (dataset is not None)
    assert ("no dataset" in words) == (dataset is None)
    assert ("did you mean BTCUSDT" in words) == ("BUSD" not in name)


@pytest.mark.parametrize(("name", "dataset"), [(name, own) for name, _, own in CONTRACTS if own])
def test_a_contract_in_its_own_dataset_is_not_explained(name, dataset):
    """Where a dataset of its market is asked for, only another contract may be meant."""
    own = [dataset_named(dataset)]

    assert contract_hint(name, own) == ""
    assert hint("BTX" + name[3:], {name}, own) == f"did you mean {name}?"


def test_only_a_perpetual_has_funding():
    """The datasets of a delivery contract are named without funding, and never those of a pair's index."""
    assert "cm_funding" in contract_hint("BTCUSD_PERP", [])
    assert "cm_funding" not in contract_hint("BTCUSD_250328", [])
    assert "futures" not in contract_hint("BTCUSDT_250328", [])
    assert "index_price" not in contract_hint("BTCUSD_PERP", [])


@pytest.mark.parametrize(
    ("symbol", "market", "lacks"),
    [
        ("BTCUSDT", SPOT, set()),
        ("BTCUSDT", UM, set()),
        ("BTCUSDT_250627", UM, {"futures", "index_price_klines"}),
        ("BTCUSD_PERP", CM, {"index_price_klines"}),
        ("BTCUSD_250627", CM, {"cm_funding", "index_price_klines"}),
    ],
)
def test_a_symbol_has_the_datasets_of_its_market_but_for(symbol, market, lacks):
    """An index is of a pair, and a delivery contract has no funding; all else a symbol has."""
    its = {each.name for each in datasets_of_symbol(symbol, market)}

    assert {each.name for each in DATASETS if market in each.markets} - its == lacks


def test_a_pair_that_is_no_contract_has_an_index_alone():
    """At COIN-M contracts have names of their own, and of the pair there is only the index price."""
    assert datasets_of_symbol("BTCUSD", CM) == [dataset_named("index_price_klines")]


def test_contracts_of_a_pair_are_not_named_by_it():
    """Where contracts have names of their own, a pair is refused for what only contracts have."""
    with pytest.raises(BadArgument, match=r"'BTCUSD' is a pair.*such as 'BTCUSD_PERP'"):
        Series.of("cm_klines", "BTCUSD", "1h")


@pytest.mark.parametrize(
    ("symbol", "names"),
    [
        ("BTCUSDT", ("klines", "futures")),
        ("BTCUSD_PERP", ("cm_klines", "cm_funding")),
        ("BTCUSD_250627", ("cm_klines",)),
        ("BTCUSDT_250627", ("um_klines",)),
    ],
)
def test_a_contract_means_its_own_datasets(symbol, names):
    """Where no dataset is named, a contract means candles and funding of its market, as far as it has them."""
    assert datasets_meant(symbol, SPOT) == names


@pytest.mark.parametrize(
    ("asked", "named"),
    [("klines", "cm_klines"), ("futures", "cm_funding"), ("agg_trades", "cm_agg_trades")],
)
def test_the_dataset_that_is_named_is_like_the_one_that_was_asked_for(asked, named):
    """Of a contract that a dataset does not have, the hint calls the dataset of the same kind."""
    words = contract_hint("BTCUSD_PERP", [dataset_named(asked)])

    assert f'load_rows("{named}", "BTCUSD_PERP", …)' in words
    assert f'datasets=("{named}",)' in words


def test_a_contract_is_quoted_as_its_pair():
    """The quote of a universe is that of the pair of a contract."""
    universe = Universe("USD", market="cm")

    assert universe.has("BTCUSD_PERP")
    assert universe.has("BTCUSD_250627")
    assert not universe.has("BTCUSDT_250627")


def test_the_shell_names_its_own_option():
    """In the shell the dataset of a contract is named by the option of a command."""
    with speaking_shell():
        assert contract_hint("BTCUSD_PERP", []).endswith(": `--datasets cm_klines`")


def test_a_symbol_of_another_market_is_refused_with_one_that_fits():
    """A dataset refuses the symbol of another market, and names one of its own and the dataset that has it."""
    with pytest.raises(BadArgument, match=r"USD-M futures are, such as 'BTCUSDT'.*cm_klines"):
        Series.of("um_klines", "BTCUSD_PERP", "1h")
    with pytest.raises(BadArgument, match=r"COIN-M futures are, such as 'BTCUSD_PERP'"):
        Series.of("cm_klines", "BTCUSDT", "1h")


@pytest.mark.parametrize(
    ("name", "pair"),
    [("BTCUSD_PERP", "BTCUSD"), ("BTCUSD_250328", "BTCUSD"), ("BTCUSDT_250328", "BTCUSDT")],
)
def test_an_index_is_that_of_a_pair(name, pair):
    """A contract has no index of its own, so its name is refused with that of its pair."""
    with pytest.raises(BadArgument, match=rf"index price.*write '{pair}', in a call"):
        Series.of("index_price_klines", name, "1h")


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
