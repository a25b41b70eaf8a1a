"""Reconcile the datasets of a cache: candles with trades, premium with prices, funding with premium."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.store import Store
from ares_notebook.errors import DataError
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.markets import SPOT
from ares_notebook.model.relations import Relation, related, relation_of
from ares_notebook.model.rows import Table, between, empty_rows, stamps_ms
from ares_notebook.model.time import DAY_MS, INTERVALS, divides, opens_between, utc
from ares_notebook.quality.premium import compare_funding, compare_premium, with_numbers
from ares_notebook.quality.rebuild import (
    Comparison,
    candles_of_candles,
    candles_of_trades,
    compare,
)
from ares_notebook.runtime.progress import tracked
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ["symbol", "what", *Comparison.__slots__]
# The complete files of a series.
_Whole = Callable[[Series], dict[CacheFile, CacheEntry]]


def reconcile(store: Store, files: Sequence[CacheFile], settings: Settings) -> pd.DataFrame:
    """
    Compute rows from those of other datasets where a `Relation` says how, and compare.

    Candles of trades, of spot, USD-M and COIN-M, are compared in every digit. Trades make up the
    finest interval that is stored (up to a day); each other interval is added up from the finest that
    divides it. The premium index is compared with mark price over index price, less one, and funding
    rates with those of the average premium of the hours before, each within the tolerance of its
    relation. Only what is complete on all sides is compared. Where the numbers of the exchange itself
    differ, the relation has the reason; elsewhere a difference is a fault of one side.
    """
    import pandas as pd  # noqa: PLC0415 - the rest does without it

    by_series: dict[Series, list[CacheFile]] = {}
    known = related(file.dataset for file in files)
    for file in sorted(files, key=lambda each: each.name):
        if file.dataset in known:
            by_series.setdefault(file.series, []).append(file)

    @cache
    def whole(series: Series) -> dict[CacheFile, CacheEntry]:
        entries = store.entries(by_series[series])
        return {entry.file: entry for entry in entries if _is_whole(entry)}

    rows = []
    for series in by_series:
        pairing = _Pairing.of(series, by_series)
        if pairing is None:
            continue
        files_of = list(whole(pairing.stepped))
        steps = tracked(files_of, settings, f"{series.symbol} {pairing.what}")
        total = Comparison()
        for comparison in _comparisons(store, whole, pairing, steps):
            total = total.plus(comparison)
        if total.compared:
            rows.append({"symbol": series.symbol, "what": pairing.what, **asdict(total)})
    return pd.DataFrame(rows, columns=_COLUMNS)


@dataclass(frozen=True, slots=True)
class _Pairing:
    """A series, and the series that its rows are computed from."""

    series: Series
    sources: tuple[Series, ...]
    relation: Relation

    @classmethod
    def of(cls, series: Series, there: Collection[Series]) -> _Pairing | None:
        """The pairing of *series* with others that are *there*; None where one is missing."""
        relation = relation_of(series.dataset)
        if relation is None:
            return None
        sources = relation.sources_of(series)
        if relation.rule == "trades":
            base = _base_of(series, sources[0], there)
            return None if base is None else cls(series, (base,), relation)
        return cls(series, sources, relation) if all(map(there.__contains__, sources)) else None

    @property
    def stepped(self) -> Series:
        """The series whose files are the steps: days of trades, else what is compared."""
        return self.sources[0] if self.sources[0].dataset.key == "id" else self.series

    @property
    def what(self) -> str:
        """What is compared with what."""
        if self.sources[0].dataset is not self.series.dataset:
            return self.relation.what(self.series)
        market = self.series.market
        of = "" if market is SPOT else f" of {market.label}"
        return f"{self.series.interval}{of} from {self.sources[0].interval}"


def _is_whole(entry: CacheEntry) -> bool:
    """Whether a file has all its rows up to where it ends, in our own columns."""
    if entry.path is None or entry.problem is not None or entry.legacy:
        return False
    # What was altered is compared too: it is where the two may differ.
    entry = replace(entry, is_altered=False)
    end_ms = _end_ms(entry)
    if entry.file.dataset.key == "id" and any(gap.rows for gap in entry.gaps(end_ms)):
        # Confirmed or not, those trades are in the candles and not in the file.
        return False
    return not entry.unexplained(end_ms)


def _end_ms(entry: CacheEntry) -> int:
    return entry.file.period.end_ms if entry.final else entry.facts.covered_until_ms or 0


def _base_of(series: Series, trades: Series, there: Collection[Series]) -> Series | None:
    """What the candles of *series* are rebuilt from: the finest that divides them, else trades."""
    own = (series.dataset, series.symbol)
    grids = [each for each in there if (each.dataset, each.symbol) == own]
    finest = min(grids, key=lambda each: _length_ms(each.interval))
    if series == finest:
        return trades if trades in there and _length_ms(series.interval) <= DAY_MS else None
    wanted = series.interval or ""
    smaller = [each for each in grids if each != series and divides(each.interval or "", wanted)]
    return min(smaller, key=lambda each: _length_ms(each.interval), default=None)


def _length_ms(interval: str | None) -> int:
    return INTERVALS[interval or "1M"] or 31 * DAY_MS


def _comparisons(
    store: Store, whole: _Whole, pairing: _Pairing, files: Iterable[CacheFile]
) -> Iterator[Comparison]:
    """Compare file by file; what cannot be compared is not equal either."""
    if pairing.relation.rule == "funding":
        yield _compare_payments(store, whole, pairing, files)
        return
    compare_file = _compare_prices if pairing.relation.rule == "premium" else _compare_candles
    for file in files:
        try:
            yield compare_file(store, whole, pairing, file)
        except DataError as error:
            yield Comparison(1, 0, 0, f"{file.name}: {error}")


def _compare_payments(
    store: Store, whole: _Whole, pairing: _Pairing, files: Iterable[CacheFile]
) -> Comparison:
    """Compare all payments; the premium before the first one of a file is in another file."""
    payments = _numbers(store, files)
    premium = _numbers(store, whole(pairing.sources[0]))
    try:
        return compare_funding(payments, premium, pairing.relation.tolerance)
    except DataError as error:
        return Comparison(1, 0, 0, f"{pairing.series.stem}: {error}")


def _compare_prices(store: Store, whole: _Whole, pairing: _Pairing, file: CacheFile) -> Comparison:
    """Compare one file of premium with those of mark and index price of the same period."""
    files = [CacheFile.of(each, file.period.start) for each in (pairing.series, *pairing.sources)]
    if not all(each in whole(each.series) for each in files):
        return Comparison()
    premium, mark, index = (_numbers(store, [each]) for each in files)
    return compare_premium(premium, mark, index, pairing.relation.tolerance)


def _numbers(store: Store, files: Iterable[CacheFile]) -> Iterator[Table]:
    return chain.from_iterable(with_numbers(store.rows(file), file.name) for file in files)


def _compare_candles(store: Store, whole: _Whole, pairing: _Pairing, file: CacheFile) -> Comparison:
    """Compare over one file: a day of trades, or a file of the larger candles."""
    series, [base] = pairing.series, pairing.sources
    start_ms, end_ms = file.period.start_ms, file.grid_end_ms
    if base.interval is not None:
        start_ms = file.opens(end_ms)[0]
    sides = []
    for each in (base, series):
        wanted = files_between(each, utc(start_ms), utc(end_ms))
        entries = whole(each)
        sides.append([entries[file] for file in wanted if file in entries])
        if len(sides[-1]) < len(wanted):
            return Comparison()
    # Of a running month only what both sides have.
    end_ms = min(end_ms, *(max(_end_ms(entries[-1]), start_ms) for entries in sides))
    small, stored = (_rows(store, entries, start_ms, end_ms) for entries in sides)
    opens = pa.array(
        np.asarray(opens_between(series.interval or "", start_ms, end_ms), np.int64) * 1000
    )
    candles = pa.concat_tables([empty_rows(series.dataset), *stored])
    rebuilt = _rebuilt(small, series, base)
    return compare(*(_opening(each, opens) for each in (rebuilt, candles)))


def _rebuilt(tables: Iterable[Table], series: Series, base: Series) -> Table:
    """The candles of *series* that rows of *base* make up."""
    interval = series.interval or ""
    if base.interval is not None:
        return candles_of_candles(tables, interval, series.dataset)
    contract_usd = series.market.contract_usd(series.symbol)
    return candles_of_trades(tables, interval, series.dataset, contract_usd)


def _rows(
    store: Store, entries: Iterable[CacheEntry], start_ms: int, end_ms: int
) -> Iterator[Table]:
    for entry in entries:
        for table in store.rows(entry.file):
            if table.num_rows and stamps_ms(table)[0] >= end_ms:
                break
            rows = between(table, start_ms, end_ms)
            if rows.num_rows:
                yield rows


def _opening(candles: Table, opens: pa.Array) -> Table:
    """The candles that open at these times; one that is cut by an end is not compared."""
    return candles.filter(pc.is_in(candles["timestamp"], value_set=opens))
