"""What is measured, as data: cases, contenders, sizes. How is `contest`'s affair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

__all__ = ["CASES", "SMALL", "Case", "Contender"]

Task = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """
    One who takes part.

    Parameters
    ----------
    name : str
        As the tables say it.
    program : str
        Its file in ``programs``; or ``-c`` and code.
    says : str
        What it does for the rows, in a few words.
    home : str
        Whose Python runs it: empty for ours, else the name of a list in ``peers``.
    leaves : str
        In which form it leaves its rows (see `rows.READERS`); empty: none to count.
    asks : mapping
        What is added to the case's task.
    grows : bool
        Whether it is measured at every size; the others only at the main one.
    parses : bool
        Whether it turns text into numbers; a plain unzip does not.
    """

    name: str
    program: str
    says: str = ""
    home: str = ""
    leaves: str = ""
    asks: Task = field(default_factory=dict)
    grows: bool = False
    parses: bool = True

    @property
    def is_peer(self) -> bool:
        """Whether it is somebody else's whole program; readers are but libraries."""
        return self.program.startswith("peer_")


@dataclass(frozen=True, slots=True)
class Case:
    """
    One thing that is measured.

    Parameters
    ----------
    name, title, about : str
    contenders : tuple of Contender
        Ours first: the floor must know how much it wrote.
    sizes : mapping of str to mapping
        Tasks by their size, such as 1, 3 and 10; files of the archive are under ``files``.
    main : str
        The size at which all are compared.
    market : mapping, optional
        Options of the demo exchange; without, no server is started.
    warm : tuple of str
        Archive files that only some contenders ask for, made ahead as well.
    prepare : str
        A program of ours that makes the cache that is read, not measured.
    rounds : int
        Runs of each; the table has the median.
    """

    name: str
    title: str
    about: str
    contenders: tuple[Contender, ...]
    sizes: Mapping[str, Task]
    main: str
    market: Task | None = None
    warm: tuple[str, ...] = ()
    prepare: str = ""
    rounds: int = 5
    extra: Task = field(default_factory=dict)


# --- tasks ---

_SYMBOL = "BTCUSDT"
# As many as our settings say unless told otherwise; said here, since the floor must have the same.
_BASE: Task = {"symbol": _SYMBOL, "concurrency": 16}
_NOW = "2025-03-20T00:00:00+00:00"
_LATENCY: Task = {"latency_seconds": 0.02, "now": _NOW}


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
    """The first days of March 2025 of trades, daily files."""
    dates = [date(2025, 3, 1) + timedelta(days=at) for at in range(days + 1)]
    folder = f"data/spot/daily/aggTrades/{_SYMBOL}"
    return {
        **_BASE,
        "kind": "trades",
        "start": f"{dates[0]}",
        "end": f"{dates[-1]}",
        "years": days / 365.25,
        "files": [f"{folder}/{_SYMBOL}-aggTrades-{each}.zip" for each in dates[:-1]],
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
    """Years up to 2025 of three datasets a symbol: 1,826 days, twice 60 months for five of them."""
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


# --- contenders ---

OURS = Contender(
    "ares_notebook", "ours_download.py",
    "checksum, every row parsed and proven, atomic, durable, receipts",
    leaves="cache", grows=True,
)  # fmt: skip
FLOOR = Contender(
    "the floor", "floor.py", "checksum, inflated, as many bytes written, durable; no row looked at"
)
STREAMED = Contender(
    "bare PyArrow, streamed", "pyarrow_streamed.py",
    "checksum, parsed, reordered, durable; nothing proven",
    leaves="cache",
)  # fmt: skip
UNZIPPER = Contender(
    "binance-historical-data", "peer_binance_historical_data.py",
    "unzipped as it is; no checksum, nothing parsed",
    home="binance_historical_data", leaves="raw", parses=False,
)  # fmt: skip
VISION = Contender(
    "binance-vision", "peer_binance_vision.py", "checksum, parsed, one Parquet file",
    home="binance_vision", leaves="parquet",
)  # fmt: skip
FREQTRADE = Contender(
    "freqtrade", "peer_freqtrade.py", "no checksum, parsed, one Feather file",
    home="freqtrade", leaves="feather",
)  # fmt: skip
ARCHIVISTS = (OURS, FLOOR, STREAMED, UNZIPPER, VISION, FREQTRADE)
CALLERS = (
    replace(OURS, says="parsed and proven, atomic, durable, receipts", grows=False),
    Contender("python-binance", "peer_python_binance.py", "a list, written as CSV by us",
              home="python_binance", leaves="raw"),
    Contender("ccxt", "peer_ccxt.py", "a list of floats, written as CSV by us",
              home="ccxt", leaves="raw"),
)  # fmt: skip


def _reader(name: str, home: str = "", label: str = "") -> Contender:
    return Contender(
        label or name, "readers.py", home=home, leaves="feather", asks={"reader": name}
    )


READERS = (
    _reader("ours", label="ares_notebook"),
    _reader("pyarrow"),
    _reader("pyarrow, a thread a file"),
    _reader("pandas, engine=pyarrow"),
    _reader("pandas"),
    _reader("polars", "readers"),
    _reader("polars, lazy", "readers"),
    _reader("duckdb", "readers"),
)


def _import(name: str, module: str, home: str = "") -> Contender:
    return Contender(name, f"-c import {module}", home=home)


IMPORTS = (
    _import("ares_notebook", "ares_notebook"),
    # sys is there already: a bare interpreter.
    _import("nothing", "sys"),
    _import("pandas", "pandas"),
    _import("binance-historical-data", "binance_historical_data", "binance_historical_data"),
    _import("binance-vision", "binance_vision", "binance_vision"),
    _import("freqtrade", "freqtrade.main", "freqtrade"),
    _import("python-binance", "binance.client", "python_binance"),
    _import("ccxt", "ccxt", "ccxt"),
)
STAGES = (
    Contender("candles", "stages.py", asks={"kind": "klines"}),
    Contender("trades", "stages.py", asks={"kind": "trades"}),
)

# --- cases ---

CASES = (
    Case(
        "klines", "Five years of one-minute candles",
        "60 monthly archives into a cache; 20 ms latency per request. The cost at three and at "
        "ten times the size is of 6, 18 and 60 months.",
        ARCHIVISTS,
        {"1": months_of_candles(6), "3": months_of_candles(18), "10": months_of_candles(60)},
        "10",
        # All files at once: 300 MB, or some would be made anew while somebody waits for them.
        market={**_LATENCY, "archive_memory_bytes": 512 << 20},
        warm=daily_candles("2020-01-01", "2025-01-01"),
    ),
    Case(
        "trades", "Ten days of a million trades each",
        "Ten daily archives into a cache; 20 ms latency per request.",
        ARCHIVISTS,
        {"1": days_of_trades(1), "3": days_of_trades(3), "10": days_of_trades(10)},
        "10",
        market={**_LATENCY, "trades_per_day": 1_000_000},
    ),
    Case(
        "rest", "A hundred pages of REST candles",
        "100,000 candles of one second, which lie in one month's file; 50 ms latency per request. "
        "python-binance sleeps a second after every third page, ccxt keeps to Binance's real limits.",
        CALLERS,
        {"1": pages_of_seconds(100)},
        "1",
        market={"latency_seconds": 0.05, "now": _NOW},
    ),
    Case(
        "limit", "REST at the exchange's limit",
        "500 pages where the exchange grants a weight of 300 in ten seconds, of which our settings "
        "take their 80 %; the count is the server's own, over the windows that were ours from "
        "their beginning to their end.",
        (replace(OURS, grows=False),),
        {"1": pages_of_seconds(500)},
        "1",
        market={"latency_seconds": 0.05, "now": _NOW, "weight_limit": 300, "window_seconds": 10},
        extra={"allowed_weight": 240},
    ),
    Case(
        "again", "The same once more: five years of three datasets",
        "1,946 files a symbol, all there. The cache is made of receipts and stumps of files.",
        (Contender("ares_notebook", "ours_again.py", grows=True),),
        {"1": full_cache(1), "2": full_cache(2)},
        "1",
        market=_LATENCY,
        prepare="make_cache.py",
    ),
    Case(
        "load", "Five years of one-minute candles into a DataFrame",
        "From the cache's 60 CSV files to one pandas DataFrame; whole processes, and beside them "
        "the reading alone. Libraries other than ours neither know nor say whether it is complete.",
        READERS,
        {"1": months_of_candles(60)},
        "1",
        market=_LATENCY,
        prepare="ours_download.py",
        rounds=7,
    ),
    Case(
        "coverage", "Coverage and gaps of a hundred thousand files",
        "`coverage` of all there is and `find_gaps` of every symbol. The cache is made of receipts "
        "and stumps of files.",
        (Contender("ares_notebook", "ours_coverage.py", grows=True),),
        {"1": full_cache(5), "3": full_cache(16), "10": full_cache(52)},
        "10",
        prepare="make_cache.py",
    ),
    Case(
        "import", "Import",
        "`python -c 'import …'`, whole processes.",
        IMPORTS,
        {"1": {}},
        "1",
        rounds=11,
    ),
    Case(
        "stages", "Where the time goes",
        "Each stage of a checked download alone, in one thread, on the same bytes: processor time.",
        STAGES,
        {"1": {}},
        "1",
        market={**_LATENCY, "trades_per_day": 1_000_000},
        extra={"candles": months_of_candles(12)["files"], "trades": days_of_trades(1)["files"]},
    ),
)  # fmt: skip
"""All cases at full size."""


def _small() -> tuple[Case, ...]:
    """The same at a size for CI: without peers, one round."""
    full = {case.name: case for case in CASES}
    few = {**_LATENCY, "trades_per_day": 20_000}
    small: dict[str, dict[str, Any]] = {
        "klines": {"sizes": {"1": months_of_candles(1), "10": months_of_candles(3)}, "warm": ()},
        "trades": {"sizes": {"1": days_of_trades(1), "10": days_of_trades(3)}, "market": few},
        "rest": {"sizes": {"1": pages_of_seconds(10)}},
        "limit": {
            "sizes": {"1": pages_of_seconds(100)},
            "market": {"now": _NOW, "weight_limit": 60, "window_seconds": 2},
            "extra": {"allowed_weight": 48},
        },
        "again": {"sizes": {"1": full_cache(1, "2024-01-01"), "2": full_cache(2, "2024-01-01")}},
        "load": {"sizes": {"1": months_of_candles(2)}},
        "coverage": {
            "sizes": {"1": full_cache(1, "2024-01-01"), "10": full_cache(3, "2024-01-01")}
        },
        "import": {},
        "stages": {
            "market": few,
            "extra": {
                "candles": months_of_candles(1)["files"],
                "trades": days_of_trades(1)["files"],
            },
        },
    }
    return tuple(
        replace(
            full[name],
            contenders=tuple(each for each in full[name].contenders if not each.home),
            rounds=1,
            **changes,
        )
        for name, changes in small.items()
    )


SMALL = _small()
"""The same for CI."""
