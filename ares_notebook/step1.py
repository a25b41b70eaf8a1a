"""Complete the frames that a training pipeline has, through the cache."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import compress
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.spans import Spans, common_spans, missing_spans
from ares_notebook.cache.store import Store
from ares_notebook.cached_window import read_window
from ares_notebook.download.plan import Plan, make_plan
from ares_notebook.download.report import DownloadReport
from ares_notebook.download.run_info import RunInfo, planned, record_run
from ares_notebook.download.run_plans import run_plan
from ares_notebook.download.verbs import download_all_data
from ares_notebook.errors import (
    AresError,
    BadArgument,
    CacheError,
    IncompleteDownload,
    NotEnoughMemory,
    UnknownSymbol,
)
from ares_notebook.frame_attrs import attrs_of
from ares_notebook.frame_merging import KeyedFrame
from ares_notebook.model.datasets import Dataset, dataset_named
from ares_notebook.model.facts import Facts
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.symbols import trade_share
from ares_notebook.model.time import INTERVALS, Period, to_ms, utc
from ares_notebook.settings import Settings, settings_given

# Less than this fits any machine.
_SMALL_BYTES = 256 << 20
_YEAR_9999_MS = 253_370_764_800_000


async def fetch_missing_data(
    symbol: str,
    start_time_ms: int,
    end_time_ms: int,
    available_data: Mapping[str, pd.DataFrame | None],
    logger: logging.Logger,
    *,
    interval: str | None = None,
    settings: Settings | None = None,
) -> dict[str, pd.DataFrame]:
    """
    Complete the given frames over ``[start_time_ms, end_time_ms)``, through the cache.

    Only files of which the given frames and the cache both lack something are fetched, those
    of all datasets concurrently, as one run. All given rows are kept, and replace fetched
    ones with the same key. When the exchange is out of reach an error is logged, and the
    frames hold what there is; their ``attrs`` say whether that is all.

    Parameters
    ----------
    symbol : str
        A trading symbol, such as ``BTCUSDT``.
    start_time_ms, end_time_ms : int
        Milliseconds since the epoch, UTC; the end is exclusive.
    available_data : mapping
        From names of ``ares_notebook.DATASETS`` to a frame with a ``timestamp`` column or a
        datetime index, naive (taken as UTC) or aware; or to None or an empty frame. A dataset
        without a key is not fetched.
    logger : logging.Logger
        Logs errors, and what was fetched.
    interval : str, optional
        Of candles; ignored for other datasets. Defaults to the settings', or to the spacing of the
        given candles where that is shorter; where it is longer it must be passed, since candles of
        which every second one is missing have the same spacing.
    settings : Settings, optional
        Where to download from, and the cache. Defaults to those of the environment.

    Returns
    -------
    dict of str to pandas.DataFrame
        The same keys; frames with the columns and dtypes of those given (of `load_rows` where none
        was), ascending and unique, with ``attrs`` as those of `load_klines`, of the given range;
        `missing` lists what they lack.

    Raises
    ------
    BadArgument
        If an argument has a wrong value.
    NotEnoughMemory
        If the range would not fit in memory, with the numbers.
    UnknownSymbol
        If the exchange does not know the symbol.

    Examples
    --------
    >>> import logging, tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     data = run(fetch_missing_data(
    ...         "BTCUSDT", 1735689600000, 1735776000000, {"klines": None},
    ...         logging.getLogger("step1"), interval="1h",
    ...         settings=exchange.settings(cache_dir=folder)))
    >>> data["klines"].attrs["complete"]
    True
    """
    chosen = settings_given(settings)
    _check_given(available_data, logger)
    _check_range(start_time_ms, end_time_ms)
    start_ms, end_ms = int(start_time_ms), int(end_time_ms)
    # Nothing is there yet of the future; it stays in the answer as missing.
    until_ms = min(end_ms, to_ms(datetime.now(UTC)))
    store = Store(chosen)
    # All are checked before the first of them is fetched.
    requests: dict[str, _Request] = {}
    for name, frame in available_data.items():
        dataset = dataset_named(name)
        given = KeyedFrame.of(frame, dataset)
        series = Series.of(dataset, symbol, _interval(given, interval, chosen))
        requests[name] = _Request(series, given, start_ms, end_ms, until_ms, store, logger)
    await _fetch(list(requests.values()), chosen)
    return {name: await asyncio.to_thread(each.answer) for name, each in requests.items()}


async def download_all_data_with_consolidation(
    symbol: str, exchange_name: str, interval: str = "1m", *, settings: Settings | None = None
) -> DownloadReport:
    """
    Download all data types of a symbol, as the original downloader's function of this name.

    It consolidated nothing either: that is done by the step that calls it. New code calls
    `download_all_data`.

    Parameters
    ----------
    symbol : str
    exchange_name : {"BINANCE"}
        In any case of letters; of no other exchange there is anything.
    interval : str
        Of the candles.
    settings : Settings, optional
        Its ``lookback_years`` say how far back, by default those of the host project.

    Returns
    -------
    DownloadReport
        True if nothing failed.

    Raises
    ------
    BadArgument
        If an argument has a wrong value.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, run
    >>> with DemoExchange(trades_per_day=100) as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder, lookback_years=0.01)
    ...     report = run(download_all_data_with_consolidation("BTCUSDT", "BINANCE", "1h", settings=settings))
    >>> bool(report)
    True
    """
    if not isinstance(exchange_name, str) or exchange_name.upper() != "BINANCE":
        msg = (
            f"exchange_name={exchange_name!r}: there is only the history of Binance here; pass "
            f'"BINANCE", or call download_all_data(symbol, interval, lookback_years)'
        )
        raise BadArgument(msg)
    chosen = settings_given(settings)
    return await download_all_data(symbol, interval, chosen.lookback_years, settings=chosen)


def _check_given(available_data: object, logger: object) -> None:
    if not isinstance(available_data, Mapping):
        msg = (
            f"available_data={available_data!r} is a {type(available_data).__name__}; pass a mapping "
            f'from datasets to frames, such as {{"klines": None}} to fetch all candles of the range'
        )
        raise BadArgument(msg)
    if not isinstance(logger, logging.Logger | logging.LoggerAdapter):
        msg = f"logger={logger!r} is no logger; pass one, such as logging.getLogger(__name__)"
        raise BadArgument(msg)


def _check_range(start_ms: int, end_ms: int) -> None:
    for name, value in (("start_time_ms", start_ms), ("end_time_ms", end_ms)):
        is_number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not is_number or not 0 <= value < _YEAR_9999_MS:
            msg = (
                f"{name}={value!r} must be whole milliseconds since the epoch, before the year 9999"
            )
            raise BadArgument(msg)
    if start_ms >= end_ms:
        msg = f"start_time_ms={start_ms} is not before end_time_ms={end_ms}"
        raise BadArgument(msg)


def _interval(given: KeyedFrame, interval: str | None, settings: Settings) -> str | None:
    """The interval asked for, else that of the given candles, else the settings'."""
    if not given.dataset.has_interval or interval is not None:
        return interval
    steps = np.diff(given.stamps_us) // 1000
    if not len(steps):
        return settings.interval
    # Gaps only make steps longer, so the most frequent one is the interval.
    values, counts = np.unique(steps, return_counts=True)
    step = int(values[counts.argmax()])
    spaced = {length: name for name, length in INTERVALS.items() if length}
    own = INTERVALS[settings.interval]
    if own and step > own and step % own == 0:
        # Candles of the settings' interval of which every second one is missing have the same spacing.
        msg = (
            f"the given candles are {step // 1000} seconds apart, but the interval is "
            f"{settings.interval}: are they longer, or are some missing? Pass interval="
        )
        raise BadArgument(msg)
    if step not in spaced:
        if step >= 28 * INTERVALS["1d"]:
            return "1M"
        msg = f"the given candles are {step} ms apart, which is no interval of Binance's; pass interval="
        raise BadArgument(msg)
    return spaced[step]


@dataclass(frozen=True, slots=True)
class _Request:
    """One dataset of one call; times in milliseconds, and nothing is there after *until_ms*."""

    series: Series
    given: KeyedFrame
    start_ms: int
    end_ms: int
    until_ms: int
    store: Store
    logger: logging.Logger

    def wanted_files(self) -> set[CacheFile]:
        """The files of which the given rows and the cache both lack something that may be had."""
        return {
            file
            for start, end in self._missing([self.given])
            for file in files_between(self.series, start, end)
        }

    def answer(self) -> pd.DataFrame:
        """The given rows, with what the cache has of what they lack; an error of the cache is logged."""
        merged, market = self.given, None
        try:
            cached = read_window(self.store, self.series, self.start_ms, self.until_ms)
            market = cached.attrs["market"]
            merged = merged.merged(cached)
        except (BadArgument, NotEnoughMemory):
            raise
        except AresError as error:
            _log_error(self.logger, [self.series], error)
        missing = self._missing([self.given, merged])
        if self.end_ms > self.until_ms:
            missing.append((utc(max(self.start_ms, self.until_ms)), utc(self.end_ms)))
        span_ms = self.start_ms, self.end_ms
        # Given rows may lie outside of it.
        first, after = (each * 1000 for each in span_ms)
        is_inside = (merged.stamps_us >= first) & (merged.stamps_us < after)
        rows = int(np.count_nonzero(is_inside))
        merged.frame.attrs = attrs_of(self.series, market, span_ms, missing, rows)
        return merged.frame

    def _missing(self, frames: Sequence[KeyedFrame]) -> Spans:
        """What the cache and each of *frames* lack of the range, but for what is proven absent."""
        if self.start_ms >= self.until_ms:
            return []
        files = files_between(self.series, utc(self.start_ms), utc(self.until_ms))
        try:
            known = self.store.entries(files)
        except CacheError:
            # A cache that cannot be read proves nothing; its error is logged elsewhere.
            known = [CacheEntry(file) for file in files]
        missing = missing_spans(known, self.start_ms, self.until_ms)
        for frame in frames:
            entries = [self._entry_of(frame, entry) for entry in known]
            missing = common_spans(missing, missing_spans(entries, self.start_ms, self.until_ms))
        return missing

    def _entry_of(self, frame: KeyedFrame, entry: CacheEntry) -> CacheEntry:
        """What a frame would prove if it were the file."""
        if entry.is_altered and frame is not self.given:
            # Its rows are in the frame, and prove nothing there either.
            return entry
        return CacheEntry(entry.file, facts=_facts(frame, entry), absences=entry.absences)


def _facts(frame: KeyedFrame, entry: CacheEntry) -> Facts:
    """What the rows of a frame that lie in the file's period prove."""
    facts, stored = frame.facts_in(entry.file), entry.facts
    # Of a few funding events the pace may be known from the file that has them too.
    if facts.pace_ms is None and facts.covered_until_ms == stored.covered_until_ms:
        facts = msgspec.structs.replace(facts, pace_ms=stored.pace_ms)
    if facts.first_pace_ms is None and facts.covered_from_ms == stored.covered_from_ms:
        facts = msgspec.structs.replace(facts, first_pace_ms=stored.first_pace_ms)
    return facts


async def _fetch(requests: Sequence[_Request], settings: Settings) -> None:
    """Fetch what some datasets lack, as one run; errors are logged, unless the call itself is wrong."""
    files = await asyncio.to_thread(lambda: [each.wanted_files() for each in requests])
    requests = list(compress(requests, files))
    if not requests:
        return
    first = requests[0]
    series = [each.series for each in requests]
    try:
        run_info = RunInfo("fetch_missing_data", settings, first.series.symbol)
        make = partial(_plan, requests, frozenset().union(*files), settings)
        plan = await planned(run_info, make)
        for each in requests:
            await _check_memory(plan, each)
        report = await record_run(RunInfo.of("fetch_missing_data", plan), run_plan(plan))
        first.logger.info("%s of %s: %s", _labels(series), first.series.symbol, report)
        report.raise_for_failures()
    except (BadArgument, NotEnoughMemory, UnknownSymbol):
        raise
    except IncompleteDownload as error:
        # The files that did arrive are used.
        failed = {step.dataset for step in error.report.failed}
        _log_error(first.logger, [each for each in series if each.dataset.name in failed], error)
    except AresError as error:
        _log_error(first.logger, series, error)
    first.store.refresh()


def _plan(requests: Sequence[_Request], files: Collection[CacheFile], settings: Settings) -> Plan:
    """A plan for the wanted files of some datasets of one range."""
    first = requests[0]
    window = Period(utc(first.start_ms), utc(first.until_ms))
    interval = next(filter(None, (each.series.interval for each in requests)), None)
    names = [each.series.dataset.name for each in requests]
    plan = make_plan(first.series.symbol, interval, window, settings, names)
    return replace(plan, steps=tuple(step for step in plan.steps if step.file in files))


def _log_error(logger: logging.Logger, series: Sequence[Series], error: AresError) -> None:
    logger.error("%s of %s could not be completed: %s", _labels(series), series[0].symbol, error)


def _labels(series: Sequence[Series]) -> str:
    return ", ".join(each.dataset.label for each in series)


async def _check_memory(plan: Plan, request: _Request) -> None:
    """Raise before anything is fetched that would not fit; the archive's listing has the exact sizes."""
    dataset = request.series.dataset
    plan = replace(plan, steps=tuple(step for step in plan.steps if step.file.dataset == dataset))
    most = max(_SMALL_BYTES, _free_memory())
    # An estimate that no listing has confirmed may be of a symbol with as many trades as BTCUSDT.
    share = trade_share(request.series.symbol) if dataset.key == "id" else 1.0
    if _needed(plan, dataset) <= most * share:
        return
    plan = await plan.measure()
    needed = _needed(plan, dataset)
    if needed > most:
        days = (request.until_ms - request.start_ms) / 86_400_000
        msg = (
            f"{days:,.0f} days of {dataset.label} of {request.series.symbol} are about "
            f"{plan.rows:,} rows, {needed / 1e9:,.1f} GB in memory, and {most / 1e9:,.1f} GB "
            f"are free; ask for a shorter range, or download them and load windows"
        )
        raise NotEnoughMemory(msg)


def _needed(plan: Plan, dataset: Dataset) -> int:
    """Bytes of memory that the rows of a plan take, those that are there already included."""
    there = sum(step.entry.facts.rows for step in plan.steps)
    return round((plan.rows + there) * dataset.loaded_row_bytes)


def _free_memory() -> int:
    """Bytes of available memory; where the system does not report it, a size that few machines lack."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        kilobytes = next(line for line in text.splitlines() if line.startswith("MemAvailable:"))
        return int(kilobytes.split()[1]) << 10
    except (OSError, StopIteration, ValueError, IndexError):
        return 2 << 30
