"""What a plan will cost: requests, bytes, time, room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ares_notebook.download.decide import Step, source_instead
from ares_notebook.errors import NotEnoughDisk, NotFound
from ares_notebook.formatting import many, size_in_words, time_in_words
from ares_notebook.model.markets import SPOT
from ares_notebook.model.time import period_of
from ares_notebook.settings import SPARE_BYTES, Settings

if TYPE_CHECKING:
    from ares_notebook.binance.archive import Archive

# What the spot API allows a minute [rest-api.md, "Limits"], and what a run asks of it
# besides rows: whether it knows the symbol.
_WEIGHT_A_MINUTE, _INFO_WEIGHT = 6000, 20
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
    # Of the spot API's request weight; archive and funding cost none of it.
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
        requests, weight = sum(each.requests for each in to_do), _weight(to_do)
        return cls(
            files=len(every),
            files_there=len(every) - len(to_do),
            rows=rows,
            bytes_received=received,
            bytes_stored=sum(each.bytes_stored for each in to_do),
            requests=requests,
            weight=weight,
            seconds=_seconds(received, rows, requests, weight, settings),
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


def _weight(to_do: Sequence[Step]) -> int:
    """Spot's weight alone: that of futures is a budget of its own, and the archive has none."""
    spot = [step for step in to_do if step.file.series.market is SPOT]
    symbols = {step.file.series.symbol for step in spot}
    asked = sum(
        step.requests * step.file.dataset.rest_weight(step.file.dataset.rest_rows)
        for step in spot
        if step.sources[:1] == ("rest",)
    )
    return asked + _INFO_WEIGHT * len(symbols)


def _seconds(received: int, rows: int, requests: int, weight: int, settings: Settings) -> float:
    """The slowest of line, answers, processor and the exchange's own limit."""
    if not requests:
        return 0.0
    allowed = _WEIGHT_A_MINUTE * settings.weight_share
    waiting = max(0.0, weight / allowed - 1) * 60
    answers = requests * _SECONDS_AN_ANSWER / settings.max_concurrency
    return _START_SECONDS + max(received / _BYTES_A_SECOND, answers, rows / _ROWS_A_SECOND, waiting)


def trades_in_words(trades: Sequence[Step]) -> str:
    """How large the trades of these steps are."""
    received = size_in_words(sum(step.bytes_received for step in trades))
    stored = size_in_words(sum(step.bytes_stored for step in trades))
    return f"trades are {many(len(trades), 'day')}: {received} to fetch, {stored} on disk"


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
    """Make sure that the trades among *steps* fit the free disk beside the others."""
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
