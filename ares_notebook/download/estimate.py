"""What a plan will cost: requests, bytes, time, room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ares_notebook.download.decide import Step, source_instead
from ares_notebook.errors import NotEnoughDisk, NotFound
from ares_notebook.formatting import many, size_in_words, time_in_words
from ares_notebook.model.markets import FEW_SYMBOLS, SPOT, Market
from ares_notebook.model.symbols import trade_share
from ares_notebook.model.time import period_of
from ares_notebook.settings import SPARE_BYTES, Settings

if TYPE_CHECKING:
    from ares_notebook.binance.archive import Archive

# Only for the estimated time: a line of 80 Mbit/s, 0.2 s an answer,
# and what two cores check and write (measured on a million trades a file).
_BYTES_A_SECOND, _SECONDS_AN_ANSWER, _ROWS_A_SECOND = 10e6, 0.2, 600_000
_START_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Cost:
    """What a download will cost, estimated; zero where everything is there."""

    # Files in all, and those with which nothing is to be done.
    files: int
    files_there: int
    # To come.
    rows: int
    # Over the line, and on disk.
    bytes_received: int
    bytes_stored: int
    requests: int
    # Request weight of the APIs; the archive costs none.
    weight: int
    seconds: float

    @classmethod
    def of(cls, steps: Iterable[Step], settings: Settings) -> Cost:
        """The cost of *steps*, of one plan or several."""
        every = tuple(steps)
        to_do = [step for step in every if step.action != "skip"]
        received, rows = (
            sum(each.bytes_received for each in to_do),
            sum(each.rows for each in to_do),
        )
        requests, weights = sum(each.requests for each in to_do), _weights(to_do)
        return cls(
            files=len(every),
            files_there=len(every) - len(to_do),
            rows=rows,
            bytes_received=received,
            bytes_stored=sum(each.bytes_stored for each in to_do),
            requests=requests,
            weight=sum(weights.values()),
            seconds=_seconds(received, rows, requests, weights, settings),
        )

    @property
    def files_to_do(self) -> int:
        """Files that are to be fetched or extended."""
        return self.files - self.files_there

    def __str__(self) -> str:
        if not self.files_to_do:
            return f"Nothing to do: all {self.files:,} files are there."
        weight = f" (weight {self.weight:,})" if self.weight else ""
        return (
            f"To do: {self.files_to_do:,} of {self.files:,} files, about {self.rows:,} rows, "
            f"{size_in_words(self.bytes_received)} to fetch in {self.requests:,} requests{weight}, "
            f"{size_in_words(self.bytes_stored)} on disk, about {time_in_words(self.seconds)}."
        )


def _weights(to_do: Sequence[Step]) -> dict[Market, int]:
    """The request weight that each API is asked for; the archive has none."""
    weights: dict[Market, int] = {}
    for step in to_do:
        dataset, market = step.file.dataset, step.file.series.market
        if step.sources[:1] == ("rest",) and not dataset.rest_pool:
            asked = step.requests * dataset.rest_weight(dataset.rest_rows)
            weights[market] = weights.get(market, 0) + asked
    # Those of futures list all symbols for one.
    symbols = {each.file.series.symbol for each in to_do if each.file.series.market is SPOT}
    if symbols:
        answers = len(symbols) if len(symbols) <= FEW_SYMBOLS else 1
        weights[SPOT] = weights.get(SPOT, 0) + SPOT.info_weight * answers
    return weights


def _seconds(
    received: int, rows: int, requests: int, weights: dict[Market, int], settings: Settings
) -> float:
    """The slowest of line, answers, processor and the exchange's own limits."""
    if not requests:
        return 0.0
    answers = requests * _SECONDS_AN_ANSWER / settings.max_concurrency
    waits = [_waiting_seconds(market, weight, settings) for market, weight in weights.items()]
    slowest = (received / _BYTES_A_SECOND, answers, rows / _ROWS_A_SECOND, *waits)
    return _START_SECONDS + max(slowest)


def _waiting_seconds(market: Market, weight: int, settings: Settings) -> float:
    most, window_seconds = market.limit
    return max(0.0, weight / (most * settings.weight_share) - 1) * window_seconds


def trades_in_words(trades: Sequence[Step]) -> str:
    """How large the trades of these steps are."""
    received = size_in_words(sum(step.bytes_received for step in trades))
    stored = size_in_words(sum(step.bytes_stored for step in trades))
    return f"trades are {many(len(trades), 'day')}: {received} to fetch, {stored} on disk"


def by_own_days(steps: Sequence[Step]) -> list[Step]:
    """Steps of one series of trades, estimated by its days that the cache has, if there are any."""
    own = [step.entry.facts.rows for step in steps if step.entry.final and step.entry.facts.rows]
    assumed = (
        trade_share(steps[0].file.series.symbol) * steps[0].file.dataset.rows_per_day if own else 0
    )
    factor = median(own) / assumed if own else 1.0
    return [_times(step, factor) if step.action != "skip" else step for step in steps]


def _times(step: Step, factor: float) -> Step:
    """A step that brings so many times the rows, by so many requests where these are pages."""
    is_paged = step.sources[:1] == ("rest",)
    return replace(
        step,
        rows=round(step.rows * factor),
        bytes_received=round(step.bytes_received * factor),
        bytes_stored=round(step.bytes_stored * factor),
        requests=max(1, round(step.requests * factor)) if is_paged else step.requests,
    )


_COMPRESSED_SHARE = 0.25


async def sized(step: Step, archive: Archive) -> Step:
    """The step with the exact size of its zip, where the archive's listing has it."""
    source = step.sources[0] if step.sources else "rest"
    whole = "monthly archive" if step.file.dataset.cut == "month" else "daily archive"
    if source != whole:
        return step
    try:
        size = await archive.size_of(
            step.file.series, step.file.dataset.cut, step.file.period.start
        )
    except NotFound:
        return await _with_spool(step, archive)
    if size is None:
        return step
    dataset = step.file.dataset
    # Rows of trades are known only by the size of their zip.
    rows = round(size / dataset.zipped_row_bytes) if dataset.key == "id" else step.rows
    stored = round(rows * dataset.stored_row_bytes)
    return replace(step, bytes_received=size, rows=rows, bytes_stored=stored)


async def _with_spool(step: Step, archive: Archive) -> Step:
    """The step with the size of the zip of its month, if that is what its day is cut from."""
    if not source_instead(step.file, step.sources[0]):
        return step
    month = period_of("month", step.file.period.start).start
    try:
        size = await archive.size_of(step.file.series, "month", month)
    except NotFound:
        return step
    return replace(step, spool_bytes=size or 0)


def needed_bytes(steps: Iterable[Step], settings: Settings) -> int:
    """The room on the disk that *steps* will take; of trades a share if they are compressed."""
    share = _COMPRESSED_SHARE if settings.compression else 1.0
    return sum(
        round(step.bytes_stored * (share if step.file.dataset.key == "id" else 1.0))
        for step in steps
    )


def free_bytes(settings: Settings) -> int:
    """What may be written into the cache folder, which need not exist; a spare is left free."""
    folder = settings.cache_dir.absolute()
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    return max(0, shutil.disk_usage(existing).free - SPARE_BYTES)


def check_disk(steps: Sequence[Step], settings: Settings) -> None:
    """Make sure that the trades among *steps* fit the free disk together with the others."""
    trades = [step for step in steps if step.file.dataset.key == "id"]
    needed = needed_bytes(trades, settings)
    free = free_bytes(settings) - (needed_bytes(steps, settings) - needed)
    # Without REST a day may come only from the zip of its month; one of these fits or none.
    if settings.source == "archive":
        needed += max((step.spool_bytes for step in trades), default=0)
    if trades and needed > free:
        msg = (
            f"{len(trades):,} days of trades need about {needed / 1e9:.1f} GB, and "
            f"{settings.cache_dir} has {max(0, free) / 1e9:.1f} GB to spare; choose a shorter "
            f'lookback, another cache_dir, or compression="zstd" (about a quarter of the size)'
        )
        raise NotEnoughDisk(msg)
