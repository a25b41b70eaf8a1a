"""Open interest, long/short ratios and volumes of takers: as daily files, and as rows of REST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ares_notebook.demo.funding import mark_prices
from ares_notebook.demo.noise import bits, fractal_noise, random_words, seed_of
from ares_notebook.demo.symbols import DAY, MINUTE, Instrument, Product, minute_of, moment_of
from ares_notebook.demo.tables import TAKER, VOLUME, CandleSource, Ints, join_candles

HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,"
    "count_toptrader_long_short_ratio,sum_toptrader_long_short_ratio,"
    "count_long_short_ratio,sum_taker_long_short_vol_ratio\n"
)
TAKER_KINDS = ("takerlongshortRatio", "takerBuySellVol")
"""The timestamps of these are the start of a period; those of all others a moment."""

REST_DAYS = 30
"""So many days back REST has rows."""

_ROW_MS = 5 * MINUTE
_DAY_ROWS = DAY // _ROW_MS
_ONE = 100_000_000
# Open interest in ordinary days' volume.
_USUAL_DAYS = 10
_RATIO_SWING = 0.5

FIRST_DAY = minute_of("2021-12-01") * MINUTE // DAY
"""The first day (of the epoch) that the archive has."""


def _day(text: str) -> int:
    """Day of the epoch."""
    return minute_of(text) * MINUTE // DAY


# Labels of USD-M are the end of the five minutes before this day, then the start; those of COIN-M
# always were the start.
_LABELS_START_FROM = _day("2026-06-25")
# Open interest has sixteen decimals from then on, eight before.
_SIXTEEN_DECIMALS_FROM = _day("2024-01-01")
# From these days on the labels of some files are seconds late, and the rows of some are not in order.
_DRIFTS_FROM, _DRIFT_ONE_IN = _day("2024-09-01"), 11
_UNSORTED_FROM, _UNSORTED_ONE_IN = _day("2026-01-01"), 3

# Days without a file, from one to another, both inclusive: of all symbols, and of one.
_MISSING = (("2022-02-23", "2022-02-23"), ("2024-06-11", "2024-06-12"))
_MISSING_OF = {
    "BTCUSD_PERP": (
        ("2023-09-25", "2023-09-25"), ("2023-11-19", "2023-11-19"), ("2024-03-04", "2024-06-08"),
    ),
}  # fmt: skip
# Rows of a day that are left out, or have an open interest of zero.
_ABSENT_ROWS = {("BTCUSDT", _day("2024-02-16")): range(162, _DAY_ROWS)}
_ZERO_ROWS = {
    ("BTCUSDT", _day("2022-03-07")): range(_DAY_ROWS - 102, _DAY_ROWS),
    ("BTCUSDT", _day("2022-03-08")): range(14),
}


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Open interest and ratios at some moments."""

    # In steps of the contract.
    open_interest: Ints
    # In units of the eighth decimal, as are the ratios: accounts and positions of top traders,
    # accounts of all.
    value: Ints
    top_accounts: Ints
    top_positions: Ints
    accounts: Ints


def has_file(instrument: Instrument, day: int) -> bool:
    """Whether the archive ever got the file of a day of the epoch."""
    missing = (*_MISSING, *_MISSING_OF.get(instrument.symbol, ()))
    return day >= FIRST_DAY and not any(_day(low) <= day <= _day(high) for low, high in missing)


def metrics_csv(source: CandleSource, day: int) -> bytes:
    """The file of a day of the epoch: labels, order, decimals and missing rows as Binance has them."""
    instrument = source.instrument
    starts_ms = day * DAY + np.arange(_DAY_ROWS, dtype=np.int64) * _ROW_MS
    texts = _row_texts(source, starts_ms, day)
    listed = (starts_ms >= instrument.first_ms) & (starts_ms < instrument.end_ms)
    absent = _ABSENT_ROWS.get((instrument.symbol, day), ())
    rows = [row for row in np.flatnonzero(listed).tolist() if row not in absent]
    choice, order = _words_of(instrument, np.array([day])), _words_of(instrument, starts_ms)
    if day >= _UNSORTED_FROM and int(bits(choice, 8, 16)[0]) % _UNSORTED_ONE_IN == 0:
        rows.sort(key=bits(order, 8, 32).tolist().__getitem__)
    return (HEADER + "".join(texts[row] for row in rows)).encode()


def _row_texts(source: CandleSource, starts_ms: Ints, day: int) -> list[str]:
    """The rows of a file, in the order of time."""
    instrument = source.instrument
    ends_ms = starts_ms + _ROW_MS
    found = _snapshots(instrument, ends_ms)
    buys, sells = _taker_volumes(source, starts_ms, _ROW_MS)
    labels = starts_ms if _labels_start(instrument.product, day) else ends_ms
    labels = labels + _late_ms(instrument, starts_ms, day)
    more = "0" * (8 if day >= _SIXTEEN_DECIMALS_FROM else 0)
    zero = f"0E-{8 + len(more)}"
    zeros = _ZERO_ROWS.get((instrument.symbol, day), ())
    texts = []
    for row, label in enumerate(labels.tolist()):
        held = [int(found.open_interest[row]) * instrument.step, int(found.value[row])]
        amounts = [zero if row in zeros else _decimal(number) + more for number in held]
        ratios = [found.top_accounts[row], found.top_positions[row], found.accounts[row]]
        shown = ['""' if instrument.product == "cm" else _decimal(int(each)) for each in ratios]
        taker = _ratio(int(buys[row]), int(sells[row]))
        cells = [f"{moment_of(label):%Y-%m-%d %H:%M:%S}", instrument.symbol, *amounts, *shown]
        texts.append(",".join([*cells, _decimal(taker) if taker else "0E-8"]) + "\n")
    return texts


def _labels_start(product: Product, day: int) -> bool:
    """Whether the labels of a file are the start of each five minutes, or else the end."""
    return product == "cm" or day >= _LABELS_START_FROM


def moment_ms(product: Product, day: int, label_ms: int) -> int:
    """The end of the five minutes of a row, which its open interest is of, from its label."""
    on_grid_ms = label_ms // _ROW_MS * _ROW_MS
    return on_grid_ms + (_ROW_MS if _labels_start(product, day) else 0)


def _late_ms(instrument: Instrument, starts_ms: Ints, day: int) -> Ints:
    """How late the labels of a file are: on some days up to five seconds."""
    choice = _words_of(instrument, np.array([day]))
    if day < _DRIFTS_FROM or int(bits(choice, 32, 16)[0]) % _DRIFT_ONE_IN:
        return np.zeros(len(starts_ms), dtype=np.int64)
    return (1 + bits(_words_of(instrument, starts_ms), 48, 16) % 5) * 1_000


def _words_of(instrument: Instrument, places: Ints) -> np.typing.NDArray[np.uint64]:
    """Random bits for the order and the labels in the files of a symbol."""
    return random_words(seed_of("metrics", instrument.product, instrument.symbol), places)


# --- rows of REST ---


def times_of(kind: str, period_ms: int, first_ms: int, now_ms: int) -> Ints:
    """Times of all rows that REST has: on the grid of the period, those of the last days."""
    last_ms = now_ms - (period_ms if kind in TAKER_KINDS else 0)
    floor_ms = max(now_ms - REST_DAYS * DAY, first_ms)
    return np.arange(-(-floor_ms // period_ms), last_ms // period_ms + 1) * period_ms


def statistics_rows(
    source: CandleSource, kind: str, period_ms: int, times_ms: Ints
) -> list[dict[str, Any]]:
    """Rows of REST, without the names of symbol or pair."""
    if not len(times_ms):
        return []
    if kind in TAKER_KINDS:
        buys, sells = _taker_volumes(source, times_ms, period_ms)
        step = source.instrument.step
        columns = ((buys * step).tolist(), (sells * step).tolist(), times_ms.tolist())
        return [taker_row(kind, *row) for row in zip(*columns, strict=True)]
    found = _snapshots(source.instrument, times_ms)
    if kind == "openInterestHist":
        held = (found.open_interest * source.instrument.step).tolist()
        rows = zip(held, found.value.tolist(), times_ms.tolist(), strict=True)
        return [open_interest_row(*row) for row in rows]
    ratios = {
        "topLongShortAccountRatio": found.top_accounts,
        "topLongShortPositionRatio": found.top_positions,
        "globalLongShortAccountRatio": found.accounts,
    }
    pairs = zip(ratios[kind].tolist(), times_ms.tolist(), strict=True)
    return [ratio_row(ratio, time_ms) for ratio, time_ms in pairs]


def open_interest_row(held: int, value: int, time_ms: int) -> dict[str, Any]:
    """Open interest, both numbers in units of the eighth decimal."""
    amounts = {"sumOpenInterest": _decimal(held), "sumOpenInterestValue": _decimal(value)}
    return {**amounts, "timestamp": time_ms}


def ratio_row(ratio: int, time_ms: int) -> dict[str, Any]:
    """A ratio of long to short (units of the eighth decimal), and the shares that make it."""
    long_share = round(ratio * 10_000 / (ratio + _ONE))
    shares = {"longAccount": long_share, "shortAccount": 10_000 - long_share}
    short = {name: f"{share / 10_000:.4f}" for name, share in shares.items()}
    return {"longShortRatio": f"{ratio / _ONE:.4f}", **short, "timestamp": time_ms}


def taker_row(kind: str, buy: int, sell: int, time_ms: int) -> dict[str, Any]:
    """Volumes of takers, in units of the eighth decimal."""
    if kind == "takerBuySellVol":
        volumes = {"takerBuyVol": f"{buy // _ONE}", "takerSellVol": f"{sell // _ONE}"}
        return {**volumes, "timestamp": time_ms}
    volumes = {"buyVol": f"{buy / _ONE:.4f}", "sellVol": f"{sell / _ONE:.4f}"}
    return {"buySellRatio": f"{_ratio(buy, sell) / _ONE:.4f}", **volumes, "timestamp": time_ms}


# --- numbers ---


def _snapshots(instrument: Instrument, times_ms: Ints) -> Snapshots:
    """Open interest and ratios at some moments, ascending."""
    minutes = times_ms // MINUTE
    open_interest, *ratios = (
        fractal_noise(seed_of(name, instrument.product, instrument.symbol), minutes)
        for name in ("open interest", "top accounts", "top positions", "accounts")
    )
    held = (instrument.day_volume * _USUAL_DAYS * (1.0 + open_interest)).astype(np.int64)
    mark = mark_prices(instrument, minutes) / _ONE
    if instrument.contract_usd:
        value = np.rint(held * instrument.contract_usd / mark * _ONE).astype(np.int64)
    else:
        # Four decimals: a float has no more of such a sum.
        value = np.rint(held * (instrument.step / _ONE) * mark * 10_000).astype(np.int64) * 10_000
    levels = [((1.0 + _RATIO_SWING * each) * _ONE).astype(np.int64) for each in ratios]
    return Snapshots(held, value, *levels)


def _taker_volumes(source: CandleSource, starts_ms: Ints, period_ms: int) -> tuple[Ints, Ints]:
    """Steps that takers bought and sold in the times that begin then."""
    first, end = int(starts_ms[0]), int(starts_ms[-1]) + period_ms
    days = range(first // DAY, -(-end // DAY))
    candles = join_candles(source.minute_candles(day) for day in days)
    borders = np.searchsorted(candles.opened, [starts_ms, starts_ms + period_ms])
    bought, traded = (
        np.concatenate([[0], np.cumsum(candles.rows[row])]).take(borders) for row in (TAKER, VOLUME)
    )
    buys = bought[1] - bought[0]
    return buys, traded[1] - traded[0] - buys


def _ratio(above: int, below: int) -> int:
    """A ratio in units of the eighth decimal; zero where there is none."""
    return above * _ONE // below if below else 0


def _decimal(units: int) -> str:
    """A non-negative number of units of the eighth decimal, as text."""
    return f"{units // _ONE}.{units % _ONE:08d}"
