"""Make bars of other intervals from candles, and bars of time, volume or dollars from trades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ares_notebook.alignment import stated_ends
from ares_notebook.cache.spans import Spans
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import named
from ares_notebook.frame_attrs import (
    iso_pairs,
    listed_windows,
    merged_windows,
    missing_windows,
    series_of,
    trusted_attrs,
)
from ares_notebook.frame_checks import check_frame, frame_in_words
from ares_notebook.model.candles import Cells, Flags, Int64s, first_rows, opens_of, put_together
from ares_notebook.model.datasets import DATASETS, Dataset, dataset_named
from ares_notebook.model.time import (
    as_utc,
    divides,
    interval_ms,
    interval_of_bars,
    next_open_ms,
    opens_between,
    to_us,
    utc,
    utc_of_us,
)
from ares_notebook.quality.rebuild import candles_of_trades
from ares_notebook.settings import Settings
from ares_notebook.trade_blocks import FilledBars, TradeBlocks, amount_of
from ares_notebook.wide import frames_of_symbols, side_by_side

# Fewer rows around a halt may all be further apart than their interval.
_CERTAIN_ROWS = 10
# A frame of candles of so many rows takes four gigabytes.
_MOST_BARS = 50_000_000


def resample_klines(
    frame: pd.DataFrame, interval: str | timedelta, *, settings: Settings | None = None
) -> pd.DataFrame:
    """
    Make candles of a longer interval from shorter ones.

    They are the exchange's own, of Decimals in every digit: on its grid (weeks from Monday, calendar months, three
    days as it counts them), each with the first open, the highest high, the lowest low, the last close
    and the sums of all other columns. A sum of floats is the float nearest to the sum of the decimals
    that they stand for. A candle without a trade repeats the last price, so it counts only where its
    bar has no other; this is known from ``number_of_trades`` or ``volume``.

    A bar is never made of a part of its candles: where the frame lacks some of them, all its columns
    are NaN, and ``attrs`` list it as missing. Where the exchange is proven to have no candle (a halt,
    the time before a listing), the bar is made of those that there are; one without any is left out.

    Parameters
    ----------
    frame : pandas.DataFrame
        Candles of any dataset, as a loader or this function returns them, or some columns of these;
        also those of several symbols, of which each is made by itself.
        What is missing is what ``attrs`` state. If they state another number of rows than there
        are, since rows were removed after loading, or without ``attrs``, every row that is not
        there counts as missing, and the window reaches from the first row to the end of the last.
    interval : str or timedelta
        The interval of the bars: one of Binance's, or any other length that divides a day
        (``"10m"``). That of *frame* must divide it; weeks and months are made of days or less.
    settings : Settings, optional
        Its ``cache_dir`` is the cache to read where more than a hundred windows are missing. Defaults
        to the environment's.

    Returns
    -------
    pandas.DataFrame
        Index ``timestamp`` (open time, UTC); the columns of *frame*. Numbers are float64, or Decimal
        where they were; counts are int64, or float64 where a bar is missing. Bars that begin
        before the window or end after it are left out. ``attrs`` as in `load_klines`, of the bars:
        ``interval``, ``start`` and ``end`` (of whole bars), ``rows``, ``complete``, ``missing``,
        ``missing_count``; ``made_from`` is the interval of *frame*.

    Raises
    ------
    BadArgument
        If *frame* holds no candles, has other columns or rows that are not ascending, if its interval
        is not known or does not divide that of the bars, if *interval* is none, or if the window has
        more than 50 million bars.

    Examples
    --------
    >>> hours = pd.date_range("2025-01-01", periods=5, freq="h", tz="UTC", name="timestamp")
    >>> frame = pd.DataFrame({"close": [5.0, 6.0, 4.0, 7.0, 8.0], "volume": [0.1, 0.2, 0.3, 0.1, 0.5]}, index=hours)
    >>> bars = resample_klines(frame, "4h")
    >>> bars["close"].tolist(), bars["volume"].tolist()
    ([7.0], [0.7])
    >>> bars.attrs["end"], bars.attrs["complete"]
    ('2025-01-01T04:00:00+00:00', True)
    """
    wanted = interval_of_bars(interval)
    if "symbols" in frame.attrs:
        each = frames_of_symbols(frame, settings)
        made = {name: resample_klines(one, wanted, settings=settings) for name, one in each}
        return side_by_side(made, frame)
    candles = _Candles.of(frame)
    check_divides(candles.interval, wanted)
    grid = _WholeBars.of(wanted, *candles.window_us)
    slots = opens_of(candles.stamps_us, wanted)
    is_lacking = grid.touching(_in_us(_windows_stated(candles, settings)))
    if "missing" not in candles.attrs:
        is_lacking |= grid.short_of(candles, slots)
    inside = slice(*np.searchsorted(slots, grid.bounds_us))
    slots = slots[inside]
    columns = {name: cells[inside] for name, cells in candles.columns.items()}
    bars = grid.framed(slots[first_rows(slots)], put_together(columns, slots), is_lacking)
    windows = grid.windows(is_lacking)
    attrs = frame.attrs | {"interval": wanted, "made_from": candles.interval}
    bars.attrs = _attrs_of(bars, attrs, grid.bounds_us, windows)
    return bars


def _windows_stated(candles: _Candles, settings: Settings | None) -> Spans:
    """The windows that candles lacked before any rows were removed."""
    attrs = candles.frame.attrs
    if "made_from" in attrs and "missing" not in candles.attrs:
        # Bars that are empty or were removed are not there, and count as missing by that.
        return listed_windows(attrs)
    return missing_windows(candles.frame, settings) if "missing" in attrs else []


def check_divides(short: str, interval: str) -> None:
    """Raise `BadArgument` unless candles of one interval make up bars of another."""
    if not divides(short, interval):
        msg = (
            f"candles of {short} do not make up those of {interval}: the shorter interval must divide "
            f"the longer one, and weeks and months are made of days or less"
        )
        raise BadArgument(msg)


def candles_from_trades(
    trades: pd.DataFrame | Iterable[pd.DataFrame],
    interval: str | timedelta | None = None,
    *,
    volume: float | Decimal | None = None,
    dollars: float | Decimal | None = None,
) -> pd.DataFrame:
    """
    Make candles from aggregated trades: of an interval, a volume or an amount of money.

    Give one of *interval*, *volume* and *dollars*. Sums are exact, as those of `resample_klines`.

    Bars of an interval are those that the exchange writes, but for bars without a trade, which are
    left out: trades do not show whether the market was open (then the exchange repeats the last
    price, with a volume of zero) or halted (then it writes none). Where the exchange cuts each product
    of price and quantity to eight digits, its ``quote_asset_volume`` may be less by one last digit a
    trade.

    A bar of volume or dollars ends with the trade that fills it. No trade is split, so it may hold
    more than was asked for; the next bar begins with the next trade, and the last one, which is not
    full, is left out.

    A bar over missing trades is NaN in all columns and listed as missing in ``attrs``. Of a volume or
    an amount this is the bar that was not full when they began; the next one begins after them.

    Parameters
    ----------
    trades : pandas.DataFrame or iterable of pandas.DataFrame
        Trades as `load_agg_trades` or `load_rows` returns them, with all columns; or blocks of them in
        order, as `iter_agg_trades` yields them: memory then holds one block and the bars. How they are
        cut into blocks changes nothing. What is missing is what ``attrs`` state. If these state
        another number of rows than there are, or without ``attrs``, every id that is not there is
        missing, and the window reaches from the first trade to the last.
    interval : str or timedelta, optional
        One of Binance's intervals, or any other length that divides a day, such as ``"5s"``.
    volume : float or Decimal, optional
        The least volume of a bar, in the unit of ``quantity``: the base asset, of COIN-M contracts.
    dollars : float or Decimal, optional
        The least sum of price × quantity of a bar, in the quote asset; of COIN-M, of the USD of the
        contracts.

    Returns
    -------
    pandas.DataFrame
        The columns of the k-lines of the market. Index ``timestamp`` (UTC): the open time of a bar of
        an interval, else the time of the first trade. ``attrs`` as those of `resample_klines`;
        ``interval`` is None for bars of volume or dollars, and ``made_from`` the dataset of
        the trades. Numbers are float64, or Decimal where prices were. ``number_of_trades`` counts
        single trades; it is NaN where the original downloader did not store their ids.

    Raises
    ------
    BadArgument
        If not one of the three is given, or it is none that bars can have; if the window has more than
        50 million bars of *interval*; if *trades* are of another kind, lack a column, or are not in
        the order of their ids; if bars of volume or dollars are made of an iterator whose blocks
        lack rows that were loaded, and ids that are proven absent.

    Examples
    --------
    >>> stamps = pd.to_datetime(["2025-01-01 00:00:01", "2025-01-01 00:00:04", "2025-01-01 00:00:10"], utc=True)
    >>> ids = [7, 8, 9]
    >>> trades = pd.DataFrame(
    ...     {"price": [10.0, 10.2, 10.1], "quantity": [0.1, 0.2, 0.5], "is_buyer_maker": False,
    ...      "agg_trade_id": ids, "first_trade_id": ids, "last_trade_id": ids}, index=stamps)
    >>> bars = candles_from_trades(trades, volume=0.3)
    >>> bars[["open", "close", "volume", "quote_asset_volume"]].values.tolist()
    [[10.0, 10.2, 0.3, 3.04], [10.1, 10.1, 0.5, 5.05]]
    """
    given = [each for each in (interval, volume, dollars) if each is not None]
    if len(given) != 1:
        msg = 'pass one of interval="5s", volume=100 and dollars=1_000_000'
        raise BadArgument(msg)
    blocks = TradeBlocks.of(trades)
    if interval is not None:
        return _bars_of_time(blocks, interval_of_bars(interval))
    return _bars_of_amounts(blocks, volume, dollars)


def _bars_of_time(blocks: TradeBlocks, interval: str) -> pd.DataFrame:
    # Too many bars are refused before all trades are read, where attrs state the window.
    _opens_ms(interval, *blocks.window_us())
    made = candles_of_trades(blocks.tables(), interval, blocks.candles, blocks.contract_usd)
    grid = _WholeBars.of(interval, *blocks.window_us())
    opens = made["timestamp"].to_numpy()
    inside = slice(*np.searchsorted(opens, grid.bounds_us))
    columns = {name: cells[inside] for name, cells in blocks.cells_of(made).items()}
    is_lacking = grid.touching(blocks.missing_us())
    bars = grid.framed(opens[inside], columns, is_lacking)
    windows = grid.windows(is_lacking)
    bars.attrs = _attrs_of(bars, _attrs_of_trades(blocks, interval), grid.bounds_us, windows)
    return bars


def _bars_of_amounts(
    blocks: TradeBlocks, volume: float | Decimal | None, dollars: float | Decimal | None
) -> pd.DataFrame:
    what = "volume" if dollars is None else "dollars"
    least = amount_of(volume if dollars is None else dollars, what)
    filled = FilledBars(blocks, least, is_money=dollars is not None)
    stamps, columns, is_lacking, windows_us = filled.bars()
    rows = np.flatnonzero(~is_lacking)
    cells = {name: _spread(each, rows, len(stamps)) for name, each in columns.items()}
    frame = pd.DataFrame(cells, index=_index_of(stamps))
    start, _ = blocks.window_us()
    end = max(start, filled.end_us)
    # Before the first bar trades may be missing, too. Windows are of milliseconds.
    windows_us += [(max(first, start), min(after, end)) for first, after in blocks.listed_us]
    windows = merged_windows((utc(a // 1000), utc(-(-b // 1000))) for a, b in windows_us)
    frame.attrs = _attrs_of(frame, _attrs_of_trades(blocks, None), (start, end), windows)
    return frame


@dataclass(frozen=True, slots=True)
class _Candles:
    """The candles of a frame, without rows that are empty."""

    frame: pd.DataFrame
    # Without its window if rows were removed.
    attrs: Mapping[Any, Any]
    interval: str
    # Microseconds since the epoch, UTC.
    stamps_us: Int64s
    columns: Mapping[str, Cells]
    # The half-open window in which all candles are there, missing, or proven absent.
    window_us: tuple[int, int]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> _Candles:
        """Check a frame that is to be resampled."""
        check_frame(frame, "load_rows")
        _check_columns(frame)
        interval = _interval_of(frame)
        index: Any = frame.index if len(frame) else pd.DatetimeIndex([], tz="UTC")
        stamps: Int64s = index.tz_convert("UTC").as_unit("us").asi8
        if (stamps[1:] <= stamps[:-1]).any():
            msg = "the rows of the frame are not ascending, or two have one timestamp; pass each row once, in order"
            raise BadArgument(msg)
        if frame.attrs.get("interval") is not None and len(frame) >= _CERTAIN_ROWS:
            # Raises if the index contradicts it, as after a resample that kept attrs.
            stated_ends(frame, stamps * 1000, "the frame")
        attrs, rows = trusted_attrs(frame), frame
        if frame.iloc[:, 0].hasnans:
            is_row = frame.notna().any(axis=1).to_numpy()
            rows, stamps = frame[is_row], stamps[is_row]
        columns = {str(name): _cells(rows[name]) for name in rows.columns}
        window_us = _window_us(attrs, stamps, interval)
        return cls(frame, attrs, interval, stamps, columns, window_us)


def _check_columns(frame: pd.DataFrame) -> None:
    """Raise `BadArgument` unless the columns of a frame are those of candles."""
    stated = frame.attrs.get("dataset")
    datasets: Sequence[Dataset] = DATASETS if stated is None else [dataset_named(stated)]
    names = list(frame.columns)
    own = [each for each in datasets if each.has_interval and {*names} & {*each.column_names}]
    if not own:
        msg = f"a frame of candles is needed, as load_klines() returns it: {frame_in_words(frame)}"
        raise BadArgument(msg)
    others = min(([n for n in names if n not in each.column_names] for each in own), key=len)
    if others or len({*names}) < len(names):
        what = (
            f"has the columns {named(list(map(str, others)))}" if others else "has a column twice"
        )
        msg = (
            f"the frame {what}, and it is not known how to put these together; select the columns of "
            f"candles: frame[{[name for name in dict.fromkeys(names) if name not in others]}]"
        )
        raise BadArgument(msg)


def _interval_of(frame: pd.DataFrame) -> str:
    """The interval of candles by their ``attrs``, else by their steps."""
    stated = frame.attrs.get("interval")
    if stated is not None:
        return interval_of_bars(stated)
    series = None if "made_from" in frame.attrs else series_of(frame)
    if series is None or series.interval is None:
        msg = (
            "it is not known how long a candle of the frame is: attrs state no interval, and its rows "
            'show none; if they are candles of an hour, set frame.attrs["interval"] = "1h"'
        )
        raise BadArgument(msg)
    return series.interval


def _window_us(attrs: Mapping[Any, Any], stamps: Int64s, interval: str) -> tuple[int, int]:
    """The window of candles: that of ``attrs``, to the end of its last candle, else that of the rows."""
    if "start" in attrs:
        start, end = to_us(as_utc(attrs["start"])), to_us(as_utc(attrs["end"]))
    elif len(stamps):
        start, end = int(stamps[0]), int(stamps[-1]) + 1
    else:
        return 0, 0
    last = opens_of(np.array([max(start, end - 1)]), interval)[0]
    return start, next_open_ms(interval, int(last) // 1000) * 1000


def _cells(column: pd.Series[Any]) -> Cells:
    """The cells of a column; an empty one is NaN, and among decimals ``Decimal("NaN")``."""
    if pd.api.types.is_integer_dtype(column.dtype) and not column.hasnans:
        return column.to_numpy(np.int64)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    cells = column.to_numpy(np.object_, copy=True)
    cells[column.isna().to_numpy()] = Decimal("NaN")
    others = {type(each).__name__ for each in cells} - {"Decimal"}
    if others:
        msg = (
            f"the column {column.name} of the frame holds {named(sorted(others))}; pass numbers, such as "
            f"frame.astype(float), or Decimals"
        )
        raise BadArgument(msg)
    return cells


@dataclass(frozen=True, slots=True)
class _WholeBars:
    """The whole bars of an interval in a window; each ends where the next one begins."""

    interval: str
    opens: Int64s
    ends: Int64s
    # The bars; without one, an empty window.
    bounds_us: tuple[int, int]

    @classmethod
    def of(cls, interval: str, start_us: int, end_us: int) -> _WholeBars:
        """The bars that open at or after *start_us* and end by *end_us*."""
        opens_ms = _opens_ms(interval, start_us, end_us)
        if not opens_ms:
            none = np.empty(0, np.int64)
            return cls(interval, none, none, (start_us, start_us))
        last_ms = next_open_ms(interval, opens_ms[-1])
        if isinstance(opens_ms, range):
            edges = np.arange(opens_ms.start, last_ms + 1, opens_ms.step, dtype=np.int64) * 1000
        else:
            edges = np.array([*opens_ms, last_ms], np.int64) * 1000
        return cls(interval, edges[:-1], edges[1:], (int(edges[0]), int(edges[-1])))

    def touching(self, windows_us: Iterable[tuple[int, int]]) -> Flags:
        """Which bars have a part in one of these windows."""
        edges = np.array([*windows_us], np.int64).reshape(-1, 2)
        first = np.searchsorted(self.ends, edges[:, 0], side="right")
        after = np.searchsorted(self.opens, edges[:, 1], side="left")
        changes = np.zeros(len(self.opens) + 1, np.int32)
        np.add.at(changes, first[first < after], 1)
        np.add.at(changes, after[first < after], -1)
        return np.asarray(np.cumsum(changes, dtype=np.int32)[:-1] > 0)

    def short_of(self, candles: _Candles, slots: Int64s) -> Flags:
        """Which bars have fewer candles than fit in; *slots* are the bars of these."""
        if candles.interval == self.interval:
            expected = np.ones(len(self.opens), np.int64)
        else:
            expected = (self.ends - self.opens) // (interval_ms(candles.interval) * 1000)
        # Of candles off the grid, after a halt, two may open in one interval.
        distinct = slots[first_rows(opens_of(candles.stamps_us, candles.interval))]
        counted = np.searchsorted(distinct, self.ends) - np.searchsorted(distinct, self.opens)
        return np.asarray(counted < expected)

    def framed(
        self, opens: Int64s, columns: Mapping[str, Cells], is_lacking: Flags
    ) -> pd.DataFrame:
        """A frame of the bars at *opens*, with an empty row for each that is lacking."""
        at = np.searchsorted(self.opens, opens)
        is_row = is_lacking.copy()
        is_row[at] = True
        rows, is_whole = np.flatnonzero(is_row), ~is_lacking[at]
        places = np.searchsorted(rows, at[is_whole])
        cells = {name: _spread(each[is_whole], places, len(rows)) for name, each in columns.items()}
        return pd.DataFrame(cells, index=_index_of(self.opens[rows]))

    def windows(self, is_lacking: Flags) -> Spans:
        """The windows of the bars that are lacking."""
        edges = np.diff(is_lacking.astype(np.int8), prepend=0, append=0)
        starts, ends = self.opens[edges[:-1] == 1], self.ends[edges[1:] == -1]
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        return [(utc(start // 1000), utc(end // 1000)) for start, end in pairs]


def _opens_ms(interval: str, start_us: int, end_us: int) -> Sequence[int]:
    """Open times of the whole bars of a window; raises `BadArgument` if they are too many for a frame."""
    opens_ms = opens_between(interval, -(-start_us // 1000), end_us // 1000)
    if len(opens_ms) > _MOST_BARS:
        msg = (
            f"the window from {utc_of_us(start_us):%Y-%m-%d %H:%M:%S} to "
            f"{utc_of_us(end_us):%Y-%m-%d %H:%M:%S} UTC has {len(opens_ms):,} bars of {interval}, more than "
            f"{_MOST_BARS:,}; pass a longer interval or load a shorter window"
        )
        raise BadArgument(msg)
    return opens_ms


def _spread(cells: Cells, places: npt.NDArray[np.intp], rows: int) -> Cells:
    """A column of so many rows, with *cells* at their places and NaN in all others."""
    if len(cells) == rows:
        return cells
    is_exact = cells.dtype == np.object_
    made: Cells = np.full(rows, Decimal("NaN") if is_exact else np.nan)
    made[places] = cells
    return made


def _index_of(stamps_us: Int64s) -> pd.DatetimeIndex:
    index = pd.DatetimeIndex(stamps_us.view("M8[us]"), name="timestamp")
    return index.tz_localize("UTC")


def _in_us(windows: Spans) -> list[tuple[int, int]]:
    return [(to_us(start), to_us(end)) for start, end in windows]


def _attrs_of_trades(blocks: TradeBlocks, interval: str | None) -> dict[Any, Any]:
    """The ``attrs`` of trades with dataset, interval and origin of their bars."""
    names = {"dataset": blocks.candles.name, "made_from": blocks.dataset.name}
    return blocks.attrs | names | {"interval": interval}


def _attrs_of(
    bars: pd.DataFrame, attrs: Mapping[Any, Any], bounds_us: tuple[int, int], windows: Spans
) -> dict[Any, Any]:
    """The ``attrs`` of *bars*: those of their rows, which already name dataset, interval and origin of the bars."""
    start, end = (utc_of_us(each).isoformat() for each in bounds_us)
    kept = {key: each for key, each in attrs.items() if key not in ("fingerprint", "aligned")}
    return kept | {
        "start": start,
        "end": end,
        "rows": len(bars),
        "complete": not windows,
        "missing": iso_pairs(windows),
        "missing_count": len(windows),
    }
