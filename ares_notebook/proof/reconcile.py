"""
Reconciliation of a cache: what is stored twice, in trades and in candles, must be the same.

Tried on what Binance served: quarters of an hour of BTCUSDT add up to the hours of
2022-01 and 2022-02 in every digit; where its own roads differ (2021-09-29) they do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ares_notebook.cache.beside import haves_of
from ares_notebook.cache.have import Have
from ares_notebook.cache.store import Store
from ares_notebook.errors import DataError
from ares_notebook.market.datasets import KLINES
from ares_notebook.market.intervals import INTERVALS, next_open_ms
from ares_notebook.market.periods import DAY_MS
from ares_notebook.market.rows import Table, between, empty_rows, stamps_ms
from ares_notebook.market.series import CacheFile, Series
from ares_notebook.proof.candles import (
    Comparison,
    candles_of_candles,
    candles_of_trades,
    compare,
)
from ares_notebook.settings import Settings
from ares_notebook.work.progress import tracked

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["reconcile"]

_COLUMNS = ["symbol", "what", "compared", "equal", "missing", "first_difference"]

# Stretches [start, end) in ms, ascending, apart from each other.
_Spans = list[tuple[int, int]]


def reconcile(store: Store, files: Sequence[CacheFile], settings: Settings) -> pd.DataFrame:
    """
    Rebuild candles from trades and large ones from small ones, and compare them with the stored.

    Compared are candles, up to a day from trades, that lie wholly where both sides are
    complete: in days of trades that are final and without a hole, and between candles of
    which none is missing but those that the exchange has confirmed absent. Trades are held
    against the finest candles of their month, candles against the finest that divide them.

    Parameters
    ----------
    store : Store
    files : sequence of CacheFile
        What may be read.
    settings : Settings
        Whether to show progress.

    Returns
    -------
    pandas.DataFrame
        A row for each pair of which candles could be compared: ``symbol``, ``what`` (such
        as ``1m from trades``, ``1h from 15m``), ``compared, equal, missing,
        first_difference`` as in `Comparison`. A file that cannot be added up counts
        as one candle that is not equal, and the difference says why.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     for interval in ("1h", "1d"):
    ...         report = run(download_klines_data("BTCUSDT", interval, 0.1, end="2025-03-01", settings=settings))
    ...     store = Store(settings)
    ...     table = reconcile(store, store.files(), settings)
    >>> table[["what", "compared", "equal", "first_difference"]].values.tolist()
    [['1d from 1h', 59, 59, '']]
    """
    import pandas as pd  # noqa: PLC0415 - the sums alone do without it

    books = _Books(store, files)
    totals: dict[tuple[str, str], Comparison] = {}
    for sum_ in tracked(books.sums(), settings, "reconcile"):
        key = (sum_.stored.series.symbol, sum_.what)
        totals[key] = totals.get(key, Comparison()) + books.compared(sum_)
    rows = [
        [*key, each.compared, each.equal, each.missing, each.first_difference]
        for key, each in totals.items()
        if each.compared
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


@dataclass(frozen=True, slots=True)
class _Sum:
    """One file's candles in ``[start_ms, end_ms)``, and the files that must add up to them."""

    stored: CacheFile
    parts: tuple[CacheFile, ...]
    start_ms: int
    end_ms: int

    @property
    def is_of_trades(self) -> bool:
        return self.parts[0].dataset.key == "id"

    @property
    def what(self) -> str:
        source = "trades" if self.is_of_trades else self.parts[0].series.interval
        return f"{self.stored.series.interval} from {source}"


class _Books:
    """What can be added up in a cache, and where it is complete."""

    def __init__(self, store: Store, files: Sequence[CacheFile]) -> None:
        self._store = store
        ordered = sorted(files, key=lambda file: (file.series.stem, file.period.start))
        self._files = {
            series: list(group) for series, group in groupby(ordered, key=attrgetter("series"))
        }
        self._complete = {
            series: _complete(haves_of(store, group))
            for series, group in self._files.items()
            if series.dataset.key != "event_time"
        }
        # The last close of what was rebuilt, by the end of its stretch.
        self._last: tuple[str, str, int, Decimal | None] | None = None
