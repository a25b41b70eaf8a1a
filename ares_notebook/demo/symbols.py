"""The symbols of the demo exchange, when each of them trades, and times of the calendar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

Product = Literal["spot", "um", "cm"]
"""Spot, USD-M futures, or COIN-M futures."""

ARCHIVE_PATHS: dict[Product, str] = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
"""The folder of each product in the archive, below ``data/``."""

PRICE_KINDS = ("markPriceKlines", "indexPriceKlines", "premiumIndexKlines")
"""K-lines of prices that are computed, not traded; REST and the archive name them alike."""

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
"""In milliseconds."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A minute of the epoch, in 2160.
_NEVER = 10**8

BITCOIN_PRICES = (
    ("2017-08-01", 4_000), ("2018-01-01", 14_000), ("2018-12-15", 3_800),
    ("2019-07-01", 10_500), ("2020-03-15", 6_200), ("2020-10-01", 11_500),
    ("2021-04-15", 58_000), ("2021-07-15", 34_000), ("2021-11-10", 64_000),
    ("2022-06-20", 22_000), ("2023-01-01", 17_500), ("2023-10-15", 28_000),
    ("2024-03-15", 66_000), ("2024-09-01", 60_000), ("2025-01-20", 100_000),
    ("2025-04-10", 82_000), ("2025-10-05", 118_000), ("2026-06-01", 92_000),
    ("2028-01-01", 120_000),
)  # fmt: skip
"""US dollars a bitcoin on some days: all prices in dollars rise and fall with it."""


def minute_of(text: str) -> int:
    """Minute of the epoch of an ISO time, UTC."""
    return ms_of(datetime.fromisoformat(text).replace(tzinfo=UTC)) // MINUTE


def ms_of(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment_of(time_ms: int) -> datetime:
    """The UTC time that is so many milliseconds after the epoch."""
    return EPOCH + timedelta(milliseconds=time_ms)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A symbol of spot or a contract of futures."""

    symbol: str
    base: str
    quote: str
    product: Product
    # Smallest price and quantity, in units of the eighth decimal. Their product is a whole number
    # of these units too, so that quote volumes have no ninth decimal.
    tick: int
    step: int
    # Price in ticks of the index, around which it moves, while bitcoin is at 50,000 dollars.
    usual_price: int
    # Steps that change hands on an ordinary day.
    day_volume: int
    # Minutes of the epoch between which it trades, end exclusive.
    first_minute: int
    end_minute: int = _NEVER
    # Minutes of the epoch from which to which nothing trades, ends exclusive: in a halt there is
    # no candle, in a quiet time there are candles without volume.
    halts: tuple[tuple[int, int], ...] = ()
    quiet: tuple[tuple[int, int], ...] = ()
    follows_bitcoin: bool = True
    # Of a contract: the name of its index, and the spot symbol whose price the index is.
    pair: str = ""
    spot_symbol: str = ""
    # Smallest price of the index, in units of the eighth decimal.
    index_tick: int = 0
    # US dollars of a COIN-M contract; 0 for all whose quantity is in coins.
    contract_usd: int = 0
    # Whether it ends on a day that is known when it begins.
    is_delivery: bool = False

    @property
    def writes_each_candle(self) -> bool:
        """Whether a minute without a trade has a candle."""
        return self.product != "spot"

    @property
    def quote_unit(self) -> int:
        """Size of one unit of quote volume, in units of the eighth decimal."""
        return self.tick * self.step // 100_000_000

    @property
    def first_ms(self) -> int:
        """When it begins to trade."""
        return self.first_minute * MINUTE

    @property
    def end_ms(self) -> int:
        """When it ends to trade."""
        return self.end_minute * MINUTE


_HALTS = (
    ("2017-09-06T16:00", "2017-09-06T23:00"), ("2017-12-04T06:00", "2017-12-04T06:49"),
    ("2017-12-18T12:29", "2017-12-18T13:34"), ("2018-01-04T03:00", "2018-01-04T05:06"),
    ("2018-02-08T00:28", "2018-02-09T10:00"), ("2018-06-26T02:00", "2018-06-26T12:00"),
    ("2018-07-04T00:22", "2018-07-04T08:00"), ("2018-10-19T06:00", "2018-10-19T09:30"),
    ("2018-11-14T02:00", "2018-11-14T09:00"), ("2019-03-12T02:00", "2019-03-12T08:00"),
    ("2019-05-15T03:00", "2019-05-15T13:00"), ("2019-06-07T21:13", "2019-06-07T22:15"),
    ("2019-08-15T02:00", "2019-08-15T10:00"), ("2019-11-13T02:00", "2019-11-13T04:24"),
    ("2019-11-25T02:00", "2019-11-25T04:00"), ("2020-02-09T02:00", "2020-02-09T03:00"),
    ("2020-02-19T11:35", "2020-02-19T17:30"), ("2020-03-04T09:21", "2020-03-04T11:30"),
    ("2020-04-25T02:00", "2020-04-25T04:30"), ("2020-06-28T02:00", "2020-06-28T05:30"),
    ("2020-11-30T06:00", "2020-11-30T07:00"), ("2020-12-21T13:47", "2020-12-21T18:00"),
    ("2020-12-25T02:00", "2020-12-25T03:00"), ("2021-02-11T03:41", "2021-02-11T05:00"),
    ("2021-03-06T02:00", "2021-03-06T03:30"), ("2021-04-20T02:00", "2021-04-20T04:30"),
    ("2021-04-25T04:01", "2021-04-25T08:45"), ("2021-08-13T02:00", "2021-08-13T06:30"),
    ("2021-09-29T07:00", "2021-09-29T09:00"), ("2022-05-11T09:12", "2022-05-11T09:47"),
    ("2022-10-06T22:00", "2022-10-07T00:20"), ("2023-03-24T12:40", "2023-03-24T14:00"),
    ("2023-11-09T03:15", "2023-11-09T03:32"), ("2024-03-05T19:40", "2024-03-05T20:25"),
    ("2024-08-05T06:10", "2024-08-05T06:18"), ("2024-11-19T18:50", "2024-11-19T21:00"),
    ("2024-12-31T23:20", "2025-01-01T00:40"), ("2025-03-14T02:00", "2025-03-14T04:30"),
    ("2025-04-22T07:36", "2025-04-22T09:00"), ("2025-08-29T06:14", "2025-08-29T07:05"),
    ("2025-10-10T21:18", "2025-10-10T21:52"), ("2026-02-12T02:00", "2026-02-12T05:00"),
    ("2026-05-20T11:07", "2026-05-20T11:29"), ("2026-09-03T02:00", "2026-09-03T03:30"),
)  # fmt: skip
HALTS = tuple((minute_of(start), minute_of(end)) for start, end in _HALTS)

_QUIET = (
    ("2021-04-18T05:02", "2021-04-18T05:05"), ("2022-04-30T14:10", "2022-04-30T14:12"),
    ("2023-09-05T03:00", "2023-09-05T03:41"), ("2024-09-12T04:10", "2024-09-12T04:31"),
    ("2025-03-03T17:21", "2025-03-03T17:24"), ("2025-08-29T06:14", "2025-08-29T06:22"),
    ("2026-05-20T11:07", "2026-05-20T11:12"),
)  # fmt: skip
QUIET = tuple((minute_of(start), minute_of(end)) for start, end in _QUIET)
"""Minutes of the epoch in which no contract was traded."""

_PRICE_GAPS = (
    ("2020-01-19T02:15", "2020-01-19T02:30"), ("2020-12-17T13:30", "2020-12-17T13:41"),
    ("2022-07-12T23:55", "2022-07-13T00:10"), ("2024-08-12T06:03", "2024-08-12T06:21"),
    ("2025-02-20T04:10", "2025-02-20T04:31"), ("2026-05-20T11:00", "2026-05-20T11:25"),
)  # fmt: skip
PRICE_GAPS = tuple((minute_of(start), minute_of(end)) for start, end in _PRICE_GAPS)
"""Minutes of the epoch in which there are no mark and index prices, in no source."""

# symbol: base, quote, price decimals, quantity decimals, price while bitcoin is at 50,000,
# daily volume in coins, first minute on spot, first minute of the perpetual or None
_COINS: tuple[tuple[str, str, int, int, float, int, str, str | None], ...] = (
    ("BTC", "USDT", 2, 5, 50_000, 9_000, "2017-08-17T04:00", "2019-09-08T18:00"),
    ("ETH", "USDT", 2, 4, 2_500, 90_000, "2017-08-17T04:00", "2019-11-27T08:00"),
    ("ETH", "BTC", 5, 3, 0.05, 30_000, "2017-07-14T04:00", None),
    ("BTC", "FDUSD", 2, 5, 50_000, 4_000, "2023-08-04T08:00", None),
    ("BNB", "USDT", 2, 3, 400, 200_000, "2017-11-06T03:54", "2020-02-10T08:00"),
    ("LTC", "USDT", 2, 3, 90, 300_000, "2017-12-13T03:32", "2020-01-09T08:00"),
    ("ADA", "USDT", 4, 1, 0.5, 40_000_000, "2018-04-17T04:00", "2020-01-31T08:00"),
    ("XRP", "USDT", 4, 1, 0.9, 90_000_000, "2018-05-04T08:11", "2020-01-06T08:00"),
    ("XLM", "USDT", 4, 0, 0.2, 30_000_000, "2018-05-31T09:00", "2020-01-20T08:00"),
    ("TRX", "USDT", 4, 1, 0.12, 60_000_000, "2018-06-11T11:33", "2020-01-15T08:00"),
    ("ETC", "USDT", 2, 2, 25, 900_000, "2018-06-12T05:00", "2020-01-16T08:00"),
    ("LINK", "USDT", 2, 2, 15, 900_000, "2019-01-16T10:00", "2020-01-17T08:00"),
    ("MATIC", "USDT", 4, 1, 0.8, 20_000_000, "2019-04-26T15:00", "2020-10-22T08:00"),
    ("ATOM", "USDT", 3, 2, 9, 900_000, "2019-04-29T04:00", "2020-02-07T08:00"),
    ("DOGE", "USDT", 5, 0, 0.12, 600_000_000, "2019-07-05T12:00", "2020-07-10T08:00"),
    ("BCH", "USDT", 1, 3, 400, 40_000, "2019-11-28T10:00", "2019-12-19T08:00"),
    ("SOL", "USDT", 2, 3, 110, 900_000, "2020-08-11T06:00", "2020-09-14T08:00"),
    ("DOT", "USDT", 3, 2, 6, 2_000_000, "2020-08-18T23:00", "2020-08-22T08:00"),
    ("UNI", "USDT", 3, 2, 8, 900_000, "2020-09-17T03:00", "2020-09-18T08:00"),
    ("AVAX", "USDT", 2, 2, 30, 900_000, "2020-09-22T06:30", "2020-09-23T08:00"),
    ("NEAR", "USDT", 3, 1, 4, 5_000_000, "2020-10-14T04:00", "2020-10-15T08:00"),
    ("FIL", "USDT", 3, 2, 6, 1_500_000, "2020-10-15T16:00", "2020-10-16T08:00"),
    ("APT", "USDT", 3, 2, 7, 1_000_000, "2022-10-19T01:00", "2022-10-19T08:00"),
    ("ARB", "USDT", 4, 1, 0.8, 30_000_000, "2023-03-23T17:00", "2023-03-24T08:00"),
    ("SUI", "USDT", 4, 1, 1.8, 30_000_000, "2023-05-03T12:00", "2023-05-04T08:00"),
    ("NEO", "USDT", 2, 2, 12, 900_000, "2017-11-20T02:00", "2020-02-17T08:00"),
    ("EOS", "USDT", 4, 1, 0.8, 20_000_000, "2018-05-28T09:00", "2020-01-08T08:00"),
    ("VET", "USDT", 5, 1, 0.03, 900_000_000, "2018-07-25T04:00", "2020-02-14T08:00"),
    ("WAVES", "USDT", 4, 2, 3, 3_000_000, "2019-01-18T10:00", "2020-08-05T08:00"),
    ("XMR", "USDT", 1, 3, 150, 50_000, "2019-03-15T04:00", "2020-02-03T08:00"),
    ("ZEC", "USDT", 2, 3, 30, 300_000, "2019-03-21T04:00", "2020-02-05T08:00"),
    ("OMG", "USDT", 3, 2, 1, 3_000_000, "2019-03-26T04:00", "2020-07-28T08:00"),
    ("FTM", "USDT", 4, 0, 0.5, 90_000_000, "2019-06-11T10:00", "2020-10-27T08:00"),
    ("ALGO", "USDT", 4, 0, 0.2, 50_000_000, "2019-06-22T00:00", "2020-06-17T08:00"),
    ("XTZ", "USDT", 3, 1, 1, 4_000_000, "2019-09-24T02:00", "2020-02-06T08:00"),
    ("HBAR", "USDT", 5, 0, 0.08, 200_000_000, "2019-09-29T04:00", "2021-03-16T08:00"),
    ("STX", "USDT", 4, 1, 1.5, 6_000_000, "2019-10-25T07:00", "2023-02-22T08:00"),
    ("MANA", "USDT", 4, 0, 0.4, 40_000_000, "2020-08-06T04:00", "2021-03-18T08:00"),
    ("SAND", "USDT", 4, 0, 0.4, 40_000_000, "2020-08-14T04:00", "2021-02-11T08:00"),
    ("ANT", "USDT", 3, 1, 5, 300_000, "2020-10-02T04:00", None),
    ("AAVE", "USDT", 2, 3, 100, 100_000, "2020-10-15T04:00", "2020-10-16T08:00"),
    ("INJ", "USDT", 3, 2, 20, 800_000, "2020-10-21T06:00", "2022-08-31T08:00"),
    ("AXS", "USDT", 3, 2, 7, 900_000, "2020-11-04T06:00", "2020-11-23T08:00"),
    ("GRT", "USDT", 4, 0, 0.2, 80_000_000, "2020-12-17T16:00", "2020-12-18T08:00"),
    ("XEM", "USDT", 4, 0, 0.04, 90_000_000, "2021-03-11T05:00", None),
    ("ICP", "USDT", 3, 2, 9, 800_000, "2021-05-11T01:00", "2022-09-27T08:00"),
    ("LDO", "USDT", 3, 2, 2, 4_000_000, "2022-05-10T07:00", "2022-09-21T08:00"),
    ("OP", "USDT", 3, 2, 2, 9_000_000, "2022-06-01T03:00", "2022-06-02T08:00"),
    ("WLD", "USDT", 3, 1, 2, 9_000_000, "2023-07-24T09:00", "2023-07-24T10:00"),
    ("SEI", "USDT", 4, 1, 0.4, 60_000_000, "2023-08-15T12:00", "2023-08-16T08:00"),
    ("TIA", "USDT", 3, 2, 6, 3_000_000, "2023-10-31T14:00", "2023-10-31T16:00"),
    ("ENA", "USDT", 4, 1, 0.5, 60_000_000, "2024-04-02T08:00", "2024-04-02T12:00"),
    ("币安人生", "USDT", 5, 1, 0.2, 50_000_000, "2025-10-07T10:00", "2025-10-08T08:00"),
)
_DELISTED = {
    "XMRUSDT": minute_of("2024-02-20T03:00"),
    "ANTUSDT": minute_of("2024-02-20T03:00"),
    "WAVESUSDT": minute_of("2024-06-17T03:00"),
    "OMGUSDT": minute_of("2024-06-17T03:00"),
    "XEMUSDT": minute_of("2024-06-17T03:00"),
    "MATICUSDT": minute_of("2024-09-10T03:00"),
    "FTMUSDT": minute_of("2025-01-13T03:00"),
}


class _Contract(NamedTuple):
    """What is different from one contract to another."""

    symbol: str
    base: str
    quote: str
    pair: str
    spot_symbol: str
    price_decimals: int
    quantity_decimals: int
    index_decimals: int
    # While bitcoin is at 50,000 dollars.
    price: float
    # A day, in coins, or in contracts of COIN-M.
    volume: int
    # First minute, and the one in which it is delivered.
    start: str
    end: str | None = None


_CONTRACTS = (
    _Contract("1000SHIBUSDT", "1000SHIB", "USDT", "1000SHIBUSDT", "SHIBUSDT", 6, 0, 6,
              0.02, 5_000_000_000, "2021-05-10T07:00"),
    _Contract("BTCUSDT_250627", "BTC", "USDT", "BTCUSDT", "BTCUSDT", 1, 3, 2,
              50_000, 300, "2024-12-27T08:00", "2025-06-27T08:00"),
    _Contract("BTCUSDT_261225", "BTC", "USDT", "BTCUSDT", "BTCUSDT", 1, 3, 2,
              50_000, 300, "2026-06-26T08:00", "2026-12-25T08:00"),
    _Contract("BTCUSD_PERP", "BTC", "USD", "BTCUSD", "BTCUSDT", 1, 0, 2,
              50_000, 4_000_000, "2020-08-10T07:00"),
    _Contract("ETHUSD_PERP", "ETH", "USD", "ETHUSD", "ETHUSDT", 2, 0, 2,
              2_500, 9_000_000, "2020-08-18T07:00"),
    _Contract("BTCUSD_250627", "BTC", "USD", "BTCUSD", "BTCUSDT", 1, 0, 2,
              50_000, 200_000, "2024-12-27T08:00", "2025-06-27T08:00"),
    _Contract("BTCUSD_261225", "BTC", "USD", "BTCUSD", "BTCUSDT", 1, 0, 2,
              50_000, 200_000, "2026-06-26T08:00", "2026-12-25T08:00"),
)  # fmt: skip
# The quantity of a contract has no more decimals than these.
_MOST_QUANTITY_DECIMALS = 3


def _spot_instruments() -> Iterator[Instrument]:
    """All symbols of spot."""
    for base, quote, price_decimals, quantity_decimals, price, volume, start, _ in _COINS:
        yield Instrument(
            symbol=base + quote,
            base=base,
            quote=quote,
            product="spot",
            tick=10 ** (8 - price_decimals),
            step=10 ** (8 - quantity_decimals),
            usual_price=round(price * 10**price_decimals),
            day_volume=int(volume * 10**quantity_decimals),
            first_minute=minute_of(start),
            end_minute=_DELISTED.get(base + quote, _NEVER),
            halts=HALTS,
            # A coin priced in bitcoin does not rise and fall with it.
            follows_bitcoin=quote != "BTC",
        )


def _contracts() -> Iterator[Instrument]:
    """All contracts of futures: the perpetuals of the coins, and those that have a row of their own."""
    for base, quote, price_decimals, quantity_decimals, price, volume, _, start in _COINS:
        if start is not None:
            name, decimals = base + quote, min(quantity_decimals, _MOST_QUANTITY_DECIMALS)
            names = (name, base, quote, name, name)
            digits = (price_decimals, decimals, price_decimals)
            yield _contract(_Contract(*names, *digits, price, volume, start))
    yield from map(_contract, _CONTRACTS)


def _contract(row: _Contract) -> Instrument:
    """A contract of futures."""
    is_coin_margined = row.quote == "USD"
    return Instrument(
        symbol=row.symbol,
        base=row.base,
        quote=row.quote,
        product="cm" if is_coin_margined else "um",
        tick=10 ** (8 - row.price_decimals),
        step=10 ** (8 - row.quantity_decimals),
        usual_price=round(row.price * 10**row.index_decimals),
        day_volume=int(row.volume * 10**row.quantity_decimals),
        first_minute=minute_of(row.start),
        end_minute=minute_of(row.end) if row.end else _DELISTED.get(row.symbol, _NEVER),
        quiet=QUIET,
        pair=row.pair,
        spot_symbol=row.spot_symbol,
        index_tick=10 ** (8 - row.index_decimals),
        contract_usd=(100 if row.base == "BTC" else 10) if is_coin_margined else 0,
        is_delivery=row.end is not None,
    )


def _by_product() -> dict[Product, dict[str, Instrument]]:
    """All instruments, by product and symbol."""
    found: dict[Product, dict[str, Instrument]] = {"spot": {}, "um": {}, "cm": {}}
    for one in (*_spot_instruments(), *_contracts()):
        found[one.product][one.symbol] = one
    return found


INSTRUMENTS = _by_product()

PAIRS: dict[Product, dict[str, Instrument]] = {
    product: {one.pair: one for one in sorted(them.values(), key=lambda one: -one.first_minute)}
    for product, them in INSTRUMENTS.items()
    if product != "spot"
}
"""Of the contracts with one index the first one, by the pair that names the index."""


def instrument_of(product: Product, kind: str, name: str) -> Instrument:
    """The instrument that data of a kind are of; *name* is a symbol, or the pair of an index."""
    return (PAIRS if kind == "indexPriceKlines" else INSTRUMENTS)[product][name]
