"""Tasks of a size: what is asked for, and which files of the archive that is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

__all__ = [
    "LATENCY",
    "NOW",
    "Task",
    "daily_candles",
    "days_of_trades",
    "full_cache",
    "hours_of_symbols",
    "months_of_candles",
    "pages_of_seconds",
]

Task = Mapping[str, Any]

_SYMBOL = "BTCUSDT"
# As many as our settings say unless told otherwise; said here, since the floor must have the same.
_BASE: Task = {"symbol": _SYMBOL, "concurrency": 16}
NOW = "2025-03-20T00:00:00+00:00"
LATENCY: Task = {"latency_seconds": 0.02, "now": NOW}


def months_of_candles(months: int) -> Task:
    """The last months before 2025 of one-minute candles, monthly files."""
    first = 2025 * 12 - months
    names = [f"{at // 12}-{at % 12 + 1:02d}" for at in range(first, 2025 * 12)]
    folder = f"data/spot/monthly/klines/{_SYMBOL}/1m"
    return {
        **_BASE,
        "kind": "klines",
        "interval": "1m",
        "start": f"{names[0]}-01",
        "end": "2025-01-01",
        "years": months / 12,
        "files": [f"{folder}/{_SYMBOL}-1m-{name}.zip" for name in names],
    }


def daily_candles(start: str, end: str) -> tuple[str, ...]:
    """
    Daily files of one-minute candles, from *start* to *end*, both included.

    freqtrade asks for nothing else, and binance-historical-data for the last of them.
    """
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    days = (first + timedelta(days=at) for at in range((last - first).days + 1))
    folder = f"data/spot/daily/klines/{_SYMBOL}/1m"
    return tuple(f"{folder}/{_SYMBOL}-1m-{day}.zip" for day in days)


def days_of_trades(days: int) -> Task:
    """The last days before 11 March 2025 of trades, daily files."""
    dates = [date(2025, 3, 11) - timedelta(days=at) for at in range(days, -1, -1)]
    folder = f"data/spot/daily/aggTrades/{_SYMBOL}"
    return {
        **_BASE,
        "kind": "trades",
        "start": f"{dates[0]}",
        "end": f"{dates[-1]}",
        "years": days / 365.25,
        "files": [f"{folder}/{_SYMBOL}-aggTrades-{each}.zip" for each in dates[:-1]],
    }


def hours_of_symbols(symbols: int) -> Task:
    """A year of hourly candles of several symbols, of which one field is read."""
    return {
        **_BASE,
        "kind": "klines",
        "interval": "1h",
        "start": "2024-01-01",
        "end": "2025-01-01",
        "symbols": [_SYMBOL, *(f"S{number:03d}USDT" for number in range(1, symbols))],
        "columns": ["close"],
        "files": [],
        "count": 12 * symbols,
    }


def pages_of_seconds(pages: int) -> Task:
    """The first seconds of March 2025, a thousand candles a page, by REST alone."""
    seconds = pages * 1_000
    days, rest = divmod(seconds, 86_400)
    end = f"2025-03-{days + 1:02d} {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    folder = f"data/spot/daily/klines/{_SYMBOL}/1s"
    return {
        **_BASE,
        "kind": "klines",
        "interval": "1s",
        "source": "rest",
        "start": "2025-03-01",
        "end": end,
        # Not quite back to where it starts, or the month before would be taken too.
        "years": seconds / 86_400 / 366,
        "most_rows": seconds,
        "files": [f"{folder}/{_SYMBOL}-1s-2025-03-{day + 1:02d}.zip" for day in range(days + 1)],
    }


def full_cache(symbols: int, start: str = "2020-01-01") -> Task:
    """Years up to 2025 of three datasets a symbol: 1,827 days, twice 60 months for five of them."""
    names = [_SYMBOL, *(f"S{number:03d}USDT" for number in range(1, symbols))]
    days = (date(2025, 1, 1) - date.fromisoformat(start)).days
    years = 2025 - int(start[:4])
    return {
        "symbols": names,
        "start": start,
        "end": "2025-01-01",
        "years": years,
        "files": [],
        "count": symbols * (days + 24 * years),
    }
