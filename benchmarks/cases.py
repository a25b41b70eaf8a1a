"""What is measured, as data: cases and their sizes. How is `contest`'s affair."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.contenders import (
    ARCHIVISTS,
    CALLERS,
    CLUSTERS,
    GROWING,
    IMPORTS,
    PART_READERS,
    READERS,
    STAGES,
    STARTS,
    WIDE_READERS,
    Contender,
)
from benchmarks.tasks import (
    LATENCY,
    NOW,
    Task,
    daily_candles,
    days_of_trades,
    full_cache,
    hours_of_symbols,
    months_of_candles,
    pages_of_seconds,
)

__all__ = ["CASES", "SMALL", "Case"]


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
    extra : mapping
        What else the page has to know, and, by a contender's name, files for it alone.
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


def _on_cores(task: Task) -> dict[str, Task]:
    """The same at one, two, four and eight cores, as far as the machine has them."""
    # Two in any case, at which all are compared.
    there = max(2, os.cpu_count() or 1)
    return {f"{cores}": {**task, "cores": cores} for cores in (1, 2, 4, 8) if cores <= there}


_MAY: Task = {"columns": ["close", "volume"], "from": "2023-05-01", "to": "2023-06-01"}
CASES = (
    Case(
        "klines", "Five years of one-minute candles",
        "60 monthly archives into a cache; 20 ms latency per request. The cost at three and at "
        "ten times the size is of 6, 18 and 60 months.",
        ARCHIVISTS,
        {"1": months_of_candles(6), "3": months_of_candles(18), "10": months_of_candles(60)},
        "10",
        # All files at once: 300 MB, or some would be made anew while somebody waits for them.
        market={**LATENCY, "archive_memory_bytes": 512 << 20},
        warm=daily_candles("2020-01-01", "2025-01-01"),
    ),
    Case(
        "trades", "Ten days of a million trades each",
        "Ten daily archives into a cache; 20 ms latency per request.",
        ARCHIVISTS,
        {f"{days}": days_of_trades(days) for days in (1, 3, 10, 30)},
        "10",
        # All files at once, as above.
        market={**LATENCY, "trades_per_day": 1_000_000, "archive_memory_bytes": 1 << 30},
    ),
    Case(
        "months", "From one month to five years of one-minute candles",
        "Monthly archives into a cache; 20 ms latency per request. Of one month most is the start.",
        GROWING,
        {f"{months}": months_of_candles(months) for months in (1, 12, 60)},
        "1",
        market={**LATENCY, "archive_memory_bytes": 512 << 20},
        warm=daily_candles("2024-12-01", "2025-01-01"),
    ),
    Case(
        "cores", "Five years of one-minute candles, on so many cores",
        "Each contender is bound to so many cores of the machine, the server to none; 20 ms latency "
        "per request.",
        GROWING,
        _on_cores(months_of_candles(60)),
        "2",
        market={**LATENCY, "archive_memory_bytes": 512 << 20},
        warm=daily_candles("2024-12-01", "2025-01-01"),
    ),
    Case(
        "trade_cores", "Ten days of a million trades each, on so many cores",
        "Each contender is bound to so many cores of the machine, the server to none; 20 ms latency "
        "per request.",
        GROWING,
        _on_cores(days_of_trades(10)),
        "2",
        market={**LATENCY, "trades_per_day": 1_000_000},
    ),
    Case(
        "cluster", "The same by a cluster",
        "Ten daily archives into one cache, by one process and by the workers of a Dask cluster of "
        "this machine, each of one thread; 20 ms latency per request. A worker does several files "
        "at once and uses all cores; bound to a core each they show what another core brings. "
        "Beside whole processes, which start the cluster, the work alone. The server makes nothing "
        "meanwhile; it, the scheduler and all workers share the cores.",
        CLUSTERS,
        {"10": days_of_trades(10)},
        "10",
        market={**LATENCY, "trades_per_day": 1_000_000},
    ),
    Case(
        "rest", "A hundred pages of REST candles",
        "100,000 candles of one second, which lie in one month's file; 50 ms latency per request. "
        "python-binance sleeps a second after every third page, ccxt keeps to Binance's real limits.",
        CALLERS,
        {"1": pages_of_seconds(100)},
        "1",
        market={"latency_seconds": 0.05, "now": NOW},
    ),
    Case(
        "limit", "REST at the exchange's limit",
        "500 pages where the exchange grants a weight of 300 in ten seconds, of which our settings "
        "take their 80 %; the count is the server's own, over the windows that were ours from "
        "their beginning to their end.",
        CALLERS[:1],
        {"1": pages_of_seconds(500)},
        "1",
        market={"latency_seconds": 0.05, "now": NOW, "weight_limit": 300, "window_seconds": 10},
        extra={"allowed_weight": 240},
    ),
    Case(
        "again", "The same once more: five years of three datasets",
        "1,947 files a symbol, all there. The cache is made of receipts and stumps of files.",
        (Contender("ares_notebook", "ours_again.py", grows=True),),
        {"1": full_cache(1), "2": full_cache(2)},
        "1",
        market=LATENCY,
        prepare="make_cache.py",
    ),
    Case(
        "load", "Five years of one-minute candles into a DataFrame",
        "From the cache's 60 files to one pandas DataFrame; whole processes, and beside them the "
        "reading alone: the first in a process, and once more in it (ours: the median of three). Libraries other "
        "than ours neither know nor say whether it is complete.",
        READERS,
        {"1": months_of_candles(60)},
        "1",
        market=LATENCY,
        prepare="make_copies.py",
    ),
    Case(
        "window", "Two columns of one month out of five years of one-minute candles",
        "Close and volume of May 2023 from the same cache; others than ours open that month's file.",
        PART_READERS,
        {"1": {**months_of_candles(60), **_MAY}},
        "1",
        market=LATENCY,
        prepare="make_copies.py",
    ),
    Case(
        "day", "A day of a million trades into a DataFrame",
        "From the cache's file of that day to one pandas DataFrame.",
        PART_READERS,
        {"1": days_of_trades(1)},
        "1",
        market={**LATENCY, "trades_per_day": 1_000_000},
        prepare="make_copies.py",
    ),
    Case(
        "wide", "The closes of a hundred symbols side by side",
        "A year of hourly candles, 1,200 files, into one frame with a column a symbol; by other "
        "libraries a frame a symbol, joined by pandas.",
        WIDE_READERS,
        {"1": hours_of_symbols(100)},
        "1",
        market=LATENCY,
        prepare="make_copies.py",
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
        "universe", "A hundred symbols as one",
        "`plan_universe`, `download_universe` where nothing is to be done, and `coverage`, of five "
        "years of three datasets of each. The cache is made of receipts and stumps of files.",
        (Contender("ares_notebook", "ours_universe.py", grows=True),),
        {"1": full_cache(10), "3": full_cache(30), "10": full_cache(100)},
        "10",
        prepare="make_cache.py",
    ),
    Case(
        "start", "Start of the command line",
        "`ares-notebook plan` of one symbol over an empty cache and `--help`, whole processes, "
        "beside a bare interpreter.",
        STARTS,
        {"1": {}},
        "1",
        rounds=11,
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
        market={**LATENCY, "trades_per_day": 1_000_000},
        extra={"candles": months_of_candles(12)["files"], "trades": days_of_trades(1)["files"]},
    ),
)  # fmt: skip
"""All cases at full size."""


def _small() -> tuple[Case, ...]:
    """The same at a size for CI: without peers, one round."""
    full = {case.name: case for case in CASES}
    few = {**LATENCY, "trades_per_day": 20_000}
    small: dict[str, dict[str, Any]] = {
        "klines": {"sizes": {"1": months_of_candles(1), "10": months_of_candles(2)}, "warm": ()},
        "trades": {"sizes": {"1": days_of_trades(1), "10": days_of_trades(3)}, "market": few},
        "months": {
            "sizes": {"1": months_of_candles(1), "12": months_of_candles(2)},
            "warm": (),
        },
        "cores": {"sizes": _on_cores(months_of_candles(1)), "warm": (), "main": "1"},
        "trade_cores": {"sizes": _on_cores(days_of_trades(1)), "market": few, "main": "1"},
        # One worker proves as much as four, and starts in a quarter of the time.
        "cluster": {
            "sizes": {"10": days_of_trades(3)},
            "market": few,
            "contenders": CLUSTERS[:2],
        },
        "rest": {"sizes": {"1": pages_of_seconds(10)}},
        "limit": {
            "sizes": {"1": pages_of_seconds(100)},
            "market": {"now": NOW, "weight_limit": 60, "window_seconds": 2},
            "extra": {"allowed_weight": 48},
        },
        "again": {"sizes": {"1": full_cache(1, "2024-01-01"), "2": full_cache(2, "2024-01-01")}},
        "load": {"sizes": {"1": months_of_candles(1)}},
        "window": {
            "sizes": {
                "1": {**months_of_candles(1), **_MAY, "from": "2024-12-01", "to": "2025-01-01"}
            }
        },
        "day": {"market": few},
        "wide": {"sizes": {"1": hours_of_symbols(3)}},
        "coverage": {
            "sizes": {"1": full_cache(1, "2024-01-01"), "10": full_cache(3, "2024-01-01")}
        },
        "universe": {
            "sizes": {"1": full_cache(1, "2024-01-01"), "10": full_cache(5, "2024-01-01")}
        },
        "start": {},
        "import": {},
        "stages": {
            "market": few,
            "extra": {
                "candles": months_of_candles(1)["files"],
                "trades": days_of_trades(1)["files"],
            },
        },
    }
    chosen = {
        name: changes | {"contenders": _at_home(changes.get("contenders", full[name].contenders))}
        for name, changes in small.items()
    }
    return tuple(replace(full[name], rounds=1, **changes) for name, changes in chosen.items())


def _at_home(contenders: tuple[Contender, ...]) -> tuple[Contender, ...]:
    return tuple(each for each in contenders if not each.home)


SMALL = _small()
"""The same for CI."""
