"""Symbols: how they are written, and tables of many."""

from __future__ import annotations

import os
import re
import string
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import IN_PYTHON, PythonCalls, dataset_calls, did_you_mean
from ares_notebook.model.datasets import DATASETS, Dataset, default_datasets
from ares_notebook.model.markets import CM, SPOT, UM, Market, market_named
from ares_notebook.model.time import as_utc, to_ms

# Letters and digits of any script (币安人生USDT is traded), joined at most by
# single _ or - inside; never a path character, a dot, a space or a control.
_SYMBOL = re.compile(r"[^\W_]+(?:[_-][^\W_]+)*")
_LONGEST = 40
# str.upper would replace letters: "ſ" by "S", "ß" by "SS", "ﬁ" by "FI".
_ASCII_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
# A pair as other programs write it: BTC-USDT, BTC/USDT:USDT (ccxt), BINANCE:BTCUSDT.P (TradingView).
_PAIR = re.compile(
    r"(?:BINANCE[^\W_]*:)?(?P<base>[^\W_]+)"
    r"(?:(?:\s*[-‐–—−_/.]\s*|\s+)(?!(?:P|PERP|SWAP)\Z)(?P<quote>[^\W_]+)(?::[^\W_]+)?)?"
    r"(?:[-_.\s](?:P|PERP|SWAP))?"
)
# What follows one of these is another symbol, and not its quote coin.
_WHOLE_PAIR = re.compile(r".+(?:USDT|USDC|FDUSD)")
# Names with a separator that Binance itself uses: what they are, and the market that has them, if any
# dataset is of it. COIN-M quotes in USD itself, USD-M had BTCBUSD_210129.
_CONTRACTS: dict[str, tuple[re.Pattern[str], Market | None]] = {
    "a COIN-M perpetual": (re.compile(r"[^\W_]+USD_PERP"), CM),
    "a COIN-M delivery contract": (re.compile(rf"(?:{CM.symbols.pattern})(?<=_\d{{6}})"), CM),
    "a USD-M delivery contract": (re.compile(r"[^\W_]+_\d{6}"), UM),
    "an option": (re.compile(r"[^\W_]+-\d{6}-[\d_-]+-[CP]"), None),
}
# A pair joined by a separator is no name of Binance.
_JOINED = re.compile(r"[^\W_]+[_-](?!PERP$|SWAP$|\d)[^\W_]+(?:[_-](?:PERP|SWAP))?")
# Coins in which most is quoted come first; those of COIN-M perpetuals come last.
_QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB", "TRY", "EUR", "USD_PERP", "_PERP")
_MOST_SUGGESTED = 3
# Delivery contracts end at this time of their day, UTC.
_DELIVERY_MS = 8 * 3_600_000


def validate_symbol(symbol: str) -> str:
    """Return *symbol* with ASCII letters in upper case if it is fit for file names and URLs."""
    text = symbol.strip().translate(_ASCII_UPPER) if isinstance(symbol, str) else ""
    if _is_symbol(text):
        check_file_name(text, "symbol")
        return text
    meant = _as_one_word(text)
    if meant is None:
        msg = f"symbol={symbol!r} is not a trading symbol; write one word of letters and digits, such as 'BTCUSDT'"
    else:
        way = "without a slash" if "/" in text else "as one word in plain capital letters"
        msg = (
            f"symbol={symbol!r}: {did_you_mean([meant])} Binance writes this pair {way}, {meant!r}"
        )
    raise BadArgument(msg)


def _is_symbol(text: str) -> bool:
    """Whether a name is written as Binance writes its names, in capital letters of their plain form."""
    is_word = _SYMBOL.fullmatch(text) is not None and len(text) <= _LONGEST
    is_plain = text == text.upper() and unicodedata.is_normalized("NFKC", text)
    return is_word and is_plain and not _JOINED.fullmatch(text)


def _as_one_word(text: str) -> str | None:
    """A pair that is written as other programs do, as Binance writes it; None if *text* is none."""
    # Full-width letters are not those of Latin; zero-width characters cannot be seen.
    plain = unicodedata.normalize("NFKC", text)
    plain = "".join(each for each in plain if unicodedata.category(each) != "Cf").strip().upper()
    match = _PAIR.fullmatch(plain)
    if match is None or (match["quote"] and _WHOLE_PAIR.fullmatch(match["base"])):
        return None
    word = match["base"] + (match["quote"] or "")
    return word if _is_symbol(word) else None


def suggested(symbol: str, known: Iterable[str]) -> list[str]:
    """At most three of *known* that *symbol* may stand for: one slip away, or quoting that coin."""
    written = symbol if contract_of(symbol) else _as_one_word(symbol) or symbol
    names = set(known) - {symbol}
    if written in names:
        return [written]
    near = [each for each in names if _is_one_slip(written, each)]
    near = near or [each for quote in _QUOTES if (each := written + quote) in names]
    return sorted(near, key=lambda each: (_rank(each), each))[:_MOST_SUGGESTED]


def contract_of(symbol: str) -> str | None:
    """What a contract of this name is; None if the name is that of a pair."""
    return next((kind for kind, (form, _) in _CONTRACTS.items() if form.fullmatch(symbol)), None)


def market_of_contract(symbol: str) -> Market | None:
    """The market of a contract; None for an option, and if the name is that of a pair."""
    kind = contract_of(symbol)
    return None if kind is None else _CONTRACTS[kind][1]


def is_delivery(symbol: str) -> bool:
    """Whether *symbol* is that of a delivery contract, which pays no funding."""
    return contract_of(symbol) is not None and symbol[-6:].isdecimal()


def delivery_ms(symbol: str) -> int | None:
    """When the delivery contract of this name ends: at 08:00 UTC of its date; None for other names."""
    if not is_delivery(symbol):
        return None
    try:
        day = datetime.strptime(symbol[-6:], "%y%m%d").replace(tzinfo=UTC)
    except ValueError:
        # No date.
        return None
    return to_ms(day) + _DELIVERY_MS


def pair_of(symbol: str) -> str:
    """The pair of a contract: ``BTCUSD`` of ``BTCUSD_PERP``; of another name the name itself."""
    return symbol if contract_of(symbol) is None else re.split("[_-]", symbol)[0]


def contract_hint(symbol: str, datasets: Iterable[Dataset], calls: PythonCalls = IN_PYTHON) -> str:
    """What *symbol* is, and in which datasets, if it is a contract that no one of *datasets* has."""
    kind = contract_of(symbol)
    if kind is None:
        return ""
    market = market_of_contract(symbol)
    if market is None:
        return f"the name is that of {kind}, of which no dataset is downloaded"
    datasets = list(datasets)
    its = datasets_of_symbol(symbol, market)
    if not set(its).isdisjoint(datasets):
        return ""
    return f"the name is that of {kind}, {whose_datasets(symbol, market, datasets, calls)}"


def whose_datasets(
    symbol: str,
    market: Market,
    wanted: Iterable[Dataset] = (),
    calls: PythonCalls = IN_PYTHON,
) -> str:
    """The datasets of a contract in words, and how the one is named that is like one of *wanted*."""
    its = datasets_of_symbol(symbol, market)
    kinds = {each.path_name for each in wanted}
    name = next((each.name for each in its if each.path_name in kinds), its[0].name)
    names = ", ".join(each.name for each in its)
    return f"whose datasets are {names}: {dataset_calls(name, symbol, calls)}"


def datasets_meant(symbol: str, market: Market) -> tuple[str, ...]:
    """What is meant for a symbol of *market* where no dataset is named; a contract has its own market."""
    own = market_of_contract(symbol) or market
    names = default_datasets(own)
    if own is SPOT:
        return names
    its = {each.name for each in datasets_of_symbol(symbol, own)}
    return tuple(name for name in names if name in its)


def datasets_of_symbol(symbol: str, market: Market) -> list[Dataset]:
    """
    The datasets of a contract or a pair of *market*.

    An index is that of a pair, and a delivery contract has no funding. Of USD-M the name of a pair
    is that of its perpetual too.
    """
    is_pair = contract_of(symbol) is None
    is_traded = not (is_pair and market.names_contracts)
    return [
        each
        for each in DATASETS
        if market in each.markets
        and (is_pair if each.rest_symbol_parameter == "pair" else is_traded)
        and not (is_delivery(symbol) and each.key == "event_time")
    ]


def hint(
    symbol: str,
    known: Iterable[str],
    datasets: Iterable[Dataset] = (),
    calls: PythonCalls = IN_PYTHON,
) -> str:
    """
    What *symbol* is if it is a contract that no one of *datasets* has, and which of *known* may be
    meant; empty if neither.
    """
    what, names = contract_hint(symbol, datasets, calls), set(known)
    # Of a contract that they may have, another of its kind is meant.
    written = pair_of(symbol) if what else symbol
    found = [written] if written in names - {symbol} else suggested(written, names)
    return "; ".join(filter(None, (what, did_you_mean(found) if found else "")))


def _is_one_slip(one: str, other: str) -> bool:
    """Whether one letter more, less or other, or two neighbours swapped, make *one* of *other*."""
    if abs(len(one) - len(other)) > 1:
        return False
    pairs = enumerate(zip(one, other, strict=False))
    same = next((at for at, (each, its) in pairs if each != its), min(len(one), len(other)))
    one, other = one[same:], other[same:]
    is_swap = one[:2] == other[1::-1] and one[2:] == other[2:]
    return is_swap or one[1:] in (other, other[1:]) or one == other[1:]


def _rank(symbol: str) -> int:
    """The place of its quote coin among the usual ones."""
    return next((at for at, each in enumerate(_QUOTES) if symbol.endswith(each)), len(_QUOTES))


def check_file_name(text: str, argument: str) -> None:
    """Check that a file name can be encoded by this Python."""
    try:
        os.fsencode(text)
        # PyArrow cannot handle surrogates.
        text.encode()
    except UnicodeEncodeError:
        msg = (
            f"{argument}={text!r} cannot be the name of a file here, where this Python knows "
            f"those of {sys.getfilesystemencoding()} alone; start it with PYTHONUTF8=1"
        )
        raise BadArgument(msg) from None


class Listed(NamedTuple):
    """A symbol, and its first and last trading day if known."""

    symbol: str
    # Inclusive, UTC.
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Universe:
    """
    All symbols of a market that are quoted in one coin and were listed on one day.

    Parameters
    ----------
    quote : str, optional
        How their names end, such as ``"USDT"``. Defaults to any.
    listed_on : date, datetime or str, optional
        A day, UTC, on which they traded. Defaults to any.
    market : {"spot", "um", "cm"}
        Futures are those margined in USD: perpetuals, and contracts with an end.

    Raises
    ------
    BadArgument
        If an argument cannot be meant.

    Examples
    --------
    >>> universe = Universe("usdt", "2021-01-01")
    >>> universe.quote, universe.listed_on
    ('USDT', datetime.date(2021, 1, 1))
    >>> universe.has("BTCUSDT"), universe.has("ETHBTC"), universe.has("USDT")
    (True, False, False)
    """

    quote: str | None = None
    listed_on: date | datetime | str | None = None
    market: str = "spot"

    def __post_init__(self) -> None:
        market_named(self.market)
        # The instance is frozen.
        if self.quote is not None:
            object.__setattr__(self, "quote", _quote(self.quote))
        if self.listed_on is not None:
            object.__setattr__(self, "listed_on", self.day)

    @property
    def day(self) -> date | None:
        """*listed_on* as the day that it is."""
        return None if self.listed_on is None else as_utc(self.listed_on, "listed_on").date()

    def has(self, symbol: str) -> bool:
        """
        Whether *symbol* is quoted so.

        Parameters
        ----------
        symbol : str
            In upper case.

        Returns
        -------
        bool
        """
        # A contract is quoted as its pair. A symbol that is all quote has no coin before it.
        names, quote = {symbol, pair_of(symbol)}, self.quote
        return quote is None or any(each.endswith(quote) and each != quote for each in names)

    def traded(self, listed: Listed) -> bool:
        """
        Whether a symbol was listed on the day that is meant.

        Parameters
        ----------
        listed : Listed

        Returns
        -------
        bool
        """
        first, last, day = listed.first, listed.last, self.day
        return day is None or (first is not None and last is not None and first <= day <= last)

    def __str__(self) -> str:
        quoted = f" quoted in {self.quote}" if self.quote else ""
        listed = f" listed on {self.listed_on}" if self.listed_on else ""
        return f"all {self.market} symbols{quoted}{listed}"


def _quote(text: str) -> str:
    try:
        return validate_symbol(text)
    except BadArgument:
        msg = f"quote={text!r} ends the name of no symbol; write one word, such as 'USDT'"
        raise BadArgument(msg) from None


# As shares of BTCUSDT's million a day; of five hundred symbols the average has 114,000 (docs/scale.md).
_TRADE_SHARES = {"BTCUSD": 1.0, "ETHUSD": 0.7}
_USUAL_TRADE_SHARE = 0.114


def trade_share(symbol: str) -> float:
    """How many trades a symbol has for each of BTCUSDT; for estimates, until its own are known."""
    known = (share for begin, share in _TRADE_SHARES.items() if symbol.startswith(begin))
    return next(known, _USUAL_TRADE_SHARE)
