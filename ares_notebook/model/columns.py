"""The columns of the exchange's rows: kinds of text, and which of them the cache keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["time", "symbol", "number", "integer", "flag", "close", "hours", "ignored"]


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column: its name in the cache, and the kind of its text.

    ``time`` is a timestamp, ``number`` a decimal kept as the exchange's text, ``integer`` a count or
    an id, ``flag`` True or False. ``close`` (a candle's close time), ``hours`` (between two events)
    and ``symbol`` are checked but not kept.
    """

    name: str
    kind: Kind
    # Whether a number may be negative; an integer may then be -1, the id of no trade.
    signed: bool = False
    # Whether zeros at the end of a number are dropped: those of futures are padded in one source and
    # not in another, and in files of one year and not of another.
    trimmed: bool = False
    # Whether the archive writes a time as text in UTC, up to some seconds after the start or the end of
    # its interval; its rows may be in any order.
    is_label: bool = False
    # Whether a number may be missing in a row: an empty cell in a cache file, NaN in a frame.
    may_be_empty: bool = False
    # Whether a row in which it is zero or empty was not measured, and so is a missing row.
    proves_row: bool = False
    # Whether an ignored column holds zeros alone in files of the archive; others are files of another kind.
    is_zero: bool = False


def decimals(*names: str) -> tuple[Column, ...]:
    """Columns of decimals."""
    return tuple(Column(name, "number") for name in names)


def kept(published: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns that the cache keeps, of those that the exchange publishes."""
    return tuple(
        each for each in published if each.kind not in ("close", "hours", "symbol", "ignored")
    )


def trimmed(published: tuple[Column, ...]) -> tuple[Column, ...]:
    """The same columns, with numbers that lose their zeros at the end."""
    return tuple(replace(each, trimmed=each.kind == "number") for each in published)


TIMESTAMP = Column("timestamp", "time")
CANDLE = (
    TIMESTAMP,
    *decimals("open", "high", "low", "close", "volume"),
    # A candle cut by a halt has a wrong close time (in old files even before its open time), so it
    # is not kept; those of most candles show the interval.
    Column("close_time", "close"),
    *decimals("quote_asset_volume"),
    Column("number_of_trades", "integer"),
    *decimals("taker_buy_base_asset_volume", "taker_buy_quote_asset_volume"),
    Column("ignore", "ignored"),
)
ID = Column("agg_trade_id", "integer")
ID_RANGE = (
    Column("first_trade_id", "integer", signed=True),
    Column("last_trade_id", "integer", signed=True),
)
PRICE_AND_QUANTITY = decimals("price", "quantity")
IS_BUYER_MAKER = Column("is_buyer_maker", "flag")
FUNDING = (
    TIMESTAMP,
    Column("funding_interval_hours", "hours"),
    Column("fundingRate", "number", signed=True),
)

# Their other columns are zero, or count samples and not trades.
PRICE = (
    TIMESTAMP,
    *decimals("open", "high", "low", "close"),
    Column("volume", "ignored", is_zero=True),
    Column("close_time", "close"),
    *(
        Column(name, "ignored")
        for name in (
            "quote_asset_volume",
            "number_of_samples",
            "taker_buy_base_asset_volume",
            "taker_buy_quote_asset_volume",
            "ignore",
        )
    ),
)

FUTURES_TRADE = trimmed((ID, *PRICE_AND_QUANTITY, *ID_RANGE, TIMESTAMP, IS_BUYER_MAKER))

# Labels of metrics are one to five seconds late in a tenth of the files since September 2024
# [measured by another public project]; files of 2026 are not in order [recorded files].
# Files of COIN-M have no ratios, and a quarter of the files of USD-M has cells that are empty
# [binance-public-data#498]. An open interest of zero has come with all else zero.
METRIC = (
    Column("timestamp", "time", is_label=True),
    Column("symbol", "symbol"),
    Column("sum_open_interest", "number", trimmed=True, proves_row=True),
    *(
        Column(name, "number", trimmed=True, may_be_empty=True)
        for name in (
            "sum_open_interest_value",
            "count_toptrader_long_short_ratio",
            "sum_toptrader_long_short_ratio",
            "count_long_short_ratio",
            "sum_taker_long_short_vol_ratio",
        )
    ),
)

# The names in headers of the archive, in the order of the columns above [recorded files]. The header of
# COIN-M candles calls quote volume what is in coins.
CANDLE_NAMES = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time"),
    *("quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
TRADE_NAMES = (
    *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id"),
    *("transact_time", "is_buyer_maker", "is_best_match"),
)
FUNDING_NAMES = ("calc_time", "funding_interval_hours", "last_funding_rate")
METRIC_NAMES = ("create_time", *(each.name for each in METRIC[1:]))
