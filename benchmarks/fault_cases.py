"""What goes wrong, as data: cases, and to whom each applies. How is `fault_contest`'s affair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.contenders import (
    CCXT,
    FREQTRADE,
    GAPLESS,
    OURS,
    PYTHON_BINANCE,
    UNZIPPER,
    VISION,
)
from benchmarks.tasks import Task

__all__ = ["CONTENDERS", "FAULT_CASES", "FaultCase"]

CONTENDERS = (OURS, UNZIPPER, VISION, FREQTRADE, GAPLESS, PYTHON_BINANCE, CCXT)
"""Ours first."""

_KEEPS_NO_FILE = dict.fromkeys(("python-binance", "ccxt"), "it keeps no file")
_NO_FUNDING = {
    **dict.fromkeys(("binance-historical-data", "binance-vision", "gapless-crypto-data"), "no funding"),
    "python-binance": "single pages only",
}  # fmt: skip
_NO_ARCHIVE = dict.fromkeys(("python-binance", "ccxt"), "it takes nothing from the archive")


@dataclass(frozen=True, slots=True)
class FaultCase:
    """
    Something that goes wrong, and what is asked for meanwhile.

    Parameters
    ----------
    name, title, about : str
    task : mapping
        What is asked for.
    before : {"nothing", "hole", "cut", "kill"}
        What has befallen the files of an earlier run; before a kill there are none.
    faults : tuple of mapping
        What goes wrong with requests: arguments of `ares_notebook.DemoExchange.fail`.
    withheld : str
        Archive files that are published only after the first run: a regular expression.
    timezone : str
        Where the machine is.
    runs : int
        How often it is asked for: a user whose run failed asks once more.
    apart : mapping of str to str
        Who takes no part, and why.
    """

    name: str
    title: str
    about: str
    task: Task
    before: Literal["nothing", "hole", "cut", "kill"] = "nothing"
    faults: tuple[Mapping[str, Any], ...] = ()
    withheld: str = ""
    timezone: str = "UTC"
    runs: int = 1
    apart: Mapping[str, str] = field(default_factory=dict)


def _candles(interval: str) -> Task:
    """December 2024, in milliseconds, and January 2025, in microseconds; a halt lies between."""
    folder = f"data/spot/monthly/klines/BTCUSDT/{interval}"
    return {
        "symbol": "BTCUSDT",
        "concurrency": 16,
        "kind": "klines",
        "interval": interval,
        "start": "2024-12-01",
        "end": "2025-02-01",
        "years": 2 / 12,
        "files": [f"{folder}/BTCUSDT-{interval}-{month}.zip" for month in ("2024-12", "2025-01")],
    }


def _funding() -> Task:
    """A year and a half, in which SOLUSDT pays every 8 hours, every hour, every 4 and 8 again."""
    folder = "data/futures/um/monthly/fundingRate/SOLUSDT"
    months = [f"{at // 12}-{at % 12 + 1:02d}" for at in range(2022 * 12 + 6, 2024 * 12)]
    return {
        "symbol": "SOLUSDT",
        "concurrency": 16,
        "kind": "funding",
        "start": "2022-07-01",
        "end": "2024-01-01",
        "years": 1.5,
        "files": [f"{folder}/SOLUSDT-fundingRate-{month}.zip" for month in months],
    }


_FIVE_MINUTES = _candles("5m")
FAULT_CASES = (
    FaultCase(
        "boundary", "µs boundary, no fault",
        "December 2024 and January 2025, where the archive's stamps turn from milliseconds to "
        "microseconds. The exchange stood still from 23:20 to 00:40 between them: there are no "
        "candles, and whoever delivers some has made them up. binance-historical-data leaves stamps as "
        "they were published, in two units; that is counted as right.",
        _FIVE_MINUTES,
    ),
    FaultCase(
        "hole", "hole in the middle",
        "300 rows are cut out of the middle of the largest file that a run has left; it is run again "
        "(gapless-crypto-data: its `fill_gaps`).",
        _FIVE_MINUTES, before="hole", apart=_KEEPS_NO_FILE,
    ),
    FaultCase(
        "cut", "truncated file",
        "The largest file that a run has left is cut to half its bytes; it is run again.",
        _FIVE_MINUTES, before="cut", apart=_KEEPS_NO_FILE,
    ),
    FaultCase(
        "kill", "SIGKILL mid-write",
        "All its processes are killed while the n-th file is being written, for "
        "n from one on, up to eight times, each time in an empty folder; it is run again. What is "
        "shown is the worst.",
        _candles("3m"), before="kill", apart=_KEEPS_NO_FILE,
    ),
    FaultCase(
        "429", "one 429",
        "The second request for data is answered with 429 and Retry-After: 1; it is run twice.",
        _FIVE_MINUTES, runs=2,
        faults=({"pattern": r"\.zip$|/klines\?", "skip": 1, "status": 429, "retry_after": 1},),
    ),
    FaultCase(
        "late", "late monthly archive",
        "January's monthly file is not published yet, its daily ones are; before it is run for the "
        "second time the month comes out.",
        _FIVE_MINUTES, runs=2, withheld=r"monthly/.*-2025-01\.zip", apart=_NO_ARCHIVE,
    ),
    FaultCase(
        "funding", "hourly funding",
        "Funding of SOLUSDT over 18 months, paid every 8 hours, every hour, every 4, every 8 "
        "(ccxt: by its own `paginate`).",
        _funding(), apart=_NO_FUNDING,
    ),
    FaultCase(
        "place", "TZ=America/New_York",
        "As without a fault, on a machine that is not in UTC.",
        _FIVE_MINUTES, timezone="America/New_York",
    ),
)  # fmt: skip
"""All cases; the first is the one without a fault."""
