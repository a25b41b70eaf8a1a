"""
Prices of an index and of the contracts on it, and the funding of perpetuals that follows from them.

The index is the spot price. A contract costs the index times one plus its premium; the average premium of
eight hours, later minutes weighing more, clamped towards the interest rate, is the funding rate at their end.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import numpy as np

from ares_notebook.demo.noise import Floats, bits, fractal_noise, random_words, seed_of
from ares_notebook.demo.symbols import (
    BITCOIN_PRICES,
    HOUR,
    MINUTE,
    PRICE_GAPS,
    Instrument,
    Product,
    instrument_of,
    minute_of,
)
from ares_notebook.demo.tables import (
    CLOSE,
    COUNT,
    HIGH,
    LOW,
    ONE,
    OPEN,
    OPENED,
    Candles,
    Cells,
    Column,
    Ints,
    json_array,
    render,
    signed,
    whole,
)

_END_HOUR = minute_of("2040-01-01") // 60
_DEFAULT_HOURS = 8

# From when on a symbol is funded every so many hours; all changes at 00:00, 08:00 or 16:00.
_CHANGES: dict[str, tuple[tuple[str, int], ...]] = {
    "SOLUSDT": (
        ("2022-11-09T08:00", 1), ("2022-11-11T00:00", 4), ("2023-03-01T00:00", 8),
        ("2025-06-16T08:00", 4), ("2025-09-01T00:00", 8),
    ),
    "币安人生USDT": (("2025-10-08T08:00", 4),),
}  # fmt: skip
_FIRST = {"BTCUSDT": "2019-09-10T08:00"}
# In units of the eighth decimal, for eight hours; a premium so near to it changes nothing.
_INTEREST = 10_000
_CLAMP = 50_000


@dataclass(frozen=True, slots=True)
class Funding:
    """Funding events of one symbol, in the order of time."""

    # Milliseconds since the epoch; about half of them a little late.
    time_ms: Ints
    # Length of the interval that the payment is for.
    hours: Ints
    # In units of the eighth decimal.
    rate: Ints

    def __len__(self) -> int:
        return len(self.time_ms)

    def cut(self, rows: slice) -> Funding:
        """Some of the events."""
        return Funding(self.time_ms[rows], self.hours[rows], self.rate[rows])

    def csv(self, instrument: Instrument) -> bytes:
        """Write the events as an archive member has them, with its header."""
        has_exponents = instrument.product == "cm"
        rate = _with_exponents(self.rate) if has_exponents else signed(self.rate)
        columns: list[Column | bytes] = [
            whole(self.time_ms), b",", whole(self.hours), b",", rate, b"\n",
        ]  # fmt: skip
        header = b"calc_time,funding_interval_hours,last_funding_rate\n"
        return header + render(columns, len(self))

    def json(self, symbol: str, mark_prices: Cells) -> bytes:
        """Write the events as a REST response has them."""
        columns: list[Column | bytes] = [
            b'{"symbol":"' + symbol.encode() + b'","fundingTime":', whole(self.time_ms),
            b',"fundingRate":"', signed(self.rate), b'","markPrice":"', [mark_prices], b'"},',
        ]  # fmt: skip
        return json_array(columns, len(self))


def _with_exponents(rates: Ints) -> Column:
    """Text of rates as the archive has them: below a millionth as 6.0E-7 or -6E-8."""
    # Python writes decimals as Java's BigDecimal does.
    texts = [str(Decimal(rate).scaleb(-8)).encode() for rate in rates.tolist()]
    return [np.array(texts, dtype=np.bytes_)]


@lru_cache(maxsize=64)
def funding_of(instrument: Instrument) -> Funding:
    """All events of a symbol, far into the future."""
    hour, step = _schedule(instrument)
    # Late together, as the real ones are: one clock serves all symbols.
    clock = random_words(seed_of("funding", "clock"), hour)
    late_ms = bits(clock, 8, 1) * (1 + bits(clock, 16, 16) * 47 // 65_536)
    words = random_words(seed_of("funding", instrument.symbol), hour)
    # Half of all rates are the interest rate itself, as they are in quiet times.
    is_usual = bits(words, 0, 1) == 0
    rate = np.where(is_usual, _INTEREST, bits(words, 8, 16) * 80_000 // 65_536 - 30_000)
    return Funding(hour * HOUR + late_ms, step, rate * step // _DEFAULT_HOURS)


def adjusted_hours(instrument: Instrument, now_ms: int) -> int | None:
    """Hours between payments, or None for a symbol that always had the default."""
    if instrument.product == "spot" or instrument.symbol not in _CHANGES:
        return None
    hours = _DEFAULT_HOURS
    for start, step in _CHANGES[instrument.symbol]:
        if minute_of(start) * MINUTE <= now_ms:
            hours = step
    return hours


def _schedule(instrument: Instrument) -> tuple[Ints, Ints]:
    """Hours of the epoch at which funding is due, and the interval that ends there."""
    first = _FIRST.get(instrument.symbol)
    start = minute_of(first) // 60 if first else -(-instrument.first_minute // 480) * 8
    end = min(_END_HOUR, instrument.end_minute // 60)
    changes = [(minute_of(at) // 60, step) for at, step in _CHANGES.get(instrument.symbol, ())]
    periods = [(start, _DEFAULT_HOURS), *(each for each in changes if each[0] < end), (end, 0)]
    hours, steps = [np.array([start])], [np.array([_DEFAULT_HOURS])]
    for (low, step), (high, _) in itertools.pairwise(periods):
        due = np.arange(low + step, high + 1, step, dtype=np.int64)
        hours.append(due)
        steps.append(np.full(len(due), step))
    return np.concatenate(hours), np.concatenate(steps)


# --- prices ---

_BITCOIN_MINUTES = np.array([minute_of(day) for day, _ in BITCOIN_PRICES], dtype=np.int64)
_BITCOIN_LEVELS = np.array([price / 50_000 for _, price in BITCOIN_PRICES])

# Premiums, in units of the eighth decimal: by which a minute differs from the hours around it, and
# that of a delivery contract for a day that is left.
_PREMIUM_NOISE = 3_000
_DELIVERY_PREMIUM = 11_000
_DAY_MINUTES = 1_440
# Computed prices of futures begin there; the oldest contracts are older.
_PRICES_FROM_MINUTE = minute_of("2019-12-23T11:58")
_SAMPLES = 60


def index_ticks(instrument: Instrument, minutes: Ints) -> Ints:
    """Price of the index in its ticks at the start of some minutes of the epoch, ascending."""
    level = _bitcoin_level(minutes) if instrument.follows_bitcoin else np.ones(len(minutes))
    path = instrument.spot_symbol or instrument.symbol
    noise = fractal_noise(seed_of("price", path), minutes)
    ticks = (level * instrument.usual_price) * (noise + 1.0)
    return np.maximum(ticks.astype(np.int64), 2)


def _bitcoin_level(minutes: Ints) -> Floats:
    """Price of bitcoin in units of 50,000 dollars."""
    last = len(_BITCOIN_MINUTES) - 2
    left = np.clip(np.searchsorted(_BITCOIN_MINUTES, minutes, side="right") - 1, 0, last)
    spans = _BITCOIN_MINUTES[left + 1] - _BITCOIN_MINUTES[left]
    done = np.clip((minutes - _BITCOIN_MINUTES[left]) / spans, 0.0, 1.0)
    rise = _BITCOIN_LEVELS[left + 1] - _BITCOIN_LEVELS[left]
    level: Floats = _BITCOIN_LEVELS[left] + rise * done
    return level


def contract_prices(instrument: Instrument, minutes: Ints) -> Ints:
    """Price of a contract in units of the eighth decimal: the index and the premium on it."""
    return _on_index(instrument, minutes, premiums(instrument, minutes))


def mark_prices(instrument: Instrument, minutes: Ints) -> Ints:
    """
    Mark price in units of the eighth decimal.

    That of a perpetual is the index times one plus the last funding rate, which shrinks with the
    time to the next payment: at a payment it is the index itself.
    """
    if instrument.is_delivery:
        return _on_index(instrument, minutes, _delivery_premiums(instrument, minutes))
    starts, ends, place = _funding_intervals(instrument, minutes)
    rates = funding_of(instrument).rate[place - 1]
    left = (ends - minutes) / (ends - starts)
    return _on_index(instrument, minutes, np.where(minutes > starts, rates * left, 0.0))


def _on_index(instrument: Instrument, minutes: Ints, premium: Ints | Floats) -> Ints:
    """The index times one plus a premium, both in units of the eighth decimal."""
    index = index_ticks(instrument, minutes) * instrument.index_tick
    prices: Ints = index + (index * (premium / ONE)).astype(np.int64)
    return prices


def premiums(instrument: Instrument, minutes: Ints) -> Ints:
    """Premium of a contract over the index, in units of the eighth decimal."""
    words = random_words(seed_of("premium", instrument.product, instrument.symbol), minutes)
    noise = bits(words, 8, 16) * 2 * _PREMIUM_NOISE // 65_536 - _PREMIUM_NOISE
    if instrument.is_delivery:
        return _delivery_premiums(instrument, minutes) + noise
    starts, ends, place = _funding_intervals(instrument, minutes)
    levels = _premium_levels(instrument)
    last = len(levels) - 1
    before, level, after = (
        levels[np.clip(place + step, 0, last)].astype(np.float64) for step in (-1, 0, 1)
    )
    # A cubic from the border of the interval before to that of the next one. Its mean is the level that
    # the funding rate at the end of the interval needs, and so is the average with weights 1, 2 … n.
    left, right = (before + level) / 2, (level + after) / 2
    done = np.clip((minutes - starts) / (ends - starts), 0.0, 1.0)
    bend = 6.0 * (level - (left + right) / 2)
    twist = 5.0 * (right - left)
    curve = done * (1.0 - done) * (bend + twist * (1.0 - 2.0 * done))
    path = left + (right - left) * done + curve
    found: Ints = path.astype(np.int64) + noise
    return found


def _delivery_premiums(instrument: Instrument, minutes: Ints) -> Ints:
    """Premium of a delivery contract: it shrinks with the time to the delivery."""
    return (instrument.end_minute - minutes) * _DELIVERY_PREMIUM // _DAY_MINUTES


def _funding_intervals(instrument: Instrument, minutes: Ints) -> tuple[Ints, Ints, Ints]:
    """Start and end of the funding interval of each minute, and the place of its funding event."""
    ends = funding_of(instrument).time_ms // MINUTE
    place = np.clip(np.searchsorted(ends, minutes), 1, len(ends) - 1)
    return ends[place - 1], ends[place], place


@lru_cache(maxsize=64)
def _premium_levels(instrument: Instrument) -> Ints:
    """Average premium of the interval before each funding event."""
    events = funding_of(instrument)
    rate = events.rate * _DEFAULT_HOURS // events.hours
    words = random_words(seed_of("premium level", instrument.symbol), events.time_ms // HOUR)
    # The interest rate alone is paid for any premium that is near to it.
    near = bits(words, 8, 16) * 80_000 // 65_536 - 30_000
    levels: Ints = np.where(rate == _INTEREST, near, rate + _CLAMP * np.sign(rate - _INTEREST))
    return levels


# --- candles of computed prices ---


@dataclass(frozen=True, slots=True)
class PriceSeries:
    """Mark price or premium of a contract, or the price of an index."""

    product: Product
    # One of `PRICE_KINDS`.
    kind: str
    # A symbol, or the pair of an index.
    name: str

    @property
    def instrument(self) -> Instrument:
        """The contract, or the first one with the index."""
        return instrument_of(self.product, self.kind, self.name)

    @property
    def first_ms(self) -> int:
        """When it begins."""
        return max(self.instrument.first_minute, _PRICES_FROM_MINUTE) * MINUTE

    def minute_candles(self, day: int) -> Candles:
        """The 1m candles of a whole day of the epoch."""
        return _price_candles(self, day)

    def hour_candles(self, day: int) -> Candles:
        """The 1h candles of a whole day of the epoch."""
        return _price_hours(self, day)

    def running_candle(self, now_us: int) -> Candles:
        """The 1m candle in progress: it has the samples that there were, all of one price."""
        minute, microseconds = divmod(now_us, 60_000_000)
        day = minute // _DAY_MINUTES
        candle = _price_candles(self, day).between(minute * MINUTE, (minute + 1) * MINUTE)
        rows = candle.rows.copy()
        rows[HIGH : CLOSE + 1] = rows[OPEN]
        rows[COUNT] = 1 + microseconds // 1_000_000
        return Candles(rows)

    def values(self, minutes: Ints) -> Ints:
        """The price, in units of the eighth decimal, at the start of each minute."""
        instrument = self.instrument
        if self.kind == "indexPriceKlines":
            return index_ticks(instrument, minutes) * instrument.index_tick
        return (mark_prices if self.kind == "markPriceKlines" else premiums)(instrument, minutes)


@lru_cache(maxsize=768)
def _price_candles(series: PriceSeries, day: int) -> Candles:
    """The 1m candles of a whole day of the epoch."""
    minutes = np.arange(day * _DAY_MINUTES, (day + 1) * _DAY_MINUTES + 1, dtype=np.int64)
    values = series.values(minutes)
    minutes, start, end = minutes[:-1], values[:-1], values[1:]
    words = random_words(seed_of(series.kind, series.name), minutes)
    # How far the extremes are from open and close.
    is_premium = series.kind == "premiumIndexKlines"
    reach = np.full(len(minutes), _PREMIUM_NOISE) if is_premium else start // 10_000
    rows = np.zeros((10, len(minutes)), dtype=np.int64)
    rows[OPENED] = minutes * MINUTE
    rows[OPEN], rows[CLOSE], rows[COUNT] = start, end, _SAMPLES
    rows[HIGH] = np.maximum(start, end) + (reach * bits(words, 8, 12) >> 12)
    rows[LOW] = np.minimum(start, end) - (reach * bits(words, 24, 12) >> 12)
    is_there = (minutes * MINUTE >= series.first_ms) & (minutes < series.instrument.end_minute)
    for gap_start, gap_end in () if is_premium else PRICE_GAPS:
        is_there &= (minutes < gap_start) | (minutes >= gap_end)
    return Candles(rows[:, is_there])


@lru_cache(maxsize=16_384)
def _price_hours(series: PriceSeries, day: int) -> Candles:
    """The 1h candles of a whole day of the epoch."""
    return _price_candles(series, day).fold("1h")
